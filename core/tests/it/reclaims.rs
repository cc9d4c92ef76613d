//! Reclaiming: when an account may be freed, where its reserve goes, and that nothing replays afterwards.

use crate::helpers::{
    GENESIS_MS, HOLD_RESERVE, RECLAIM_MS, RESERVE, VALIDITY_MS, act, address, balance, commit, key, mites, network,
    network_with, next, outcome, output, parameters,
};
use farthing_core::bandwidth::BandwidthParameters;
use farthing_core::block::DropReason::Expired;
use farthing_core::block::ResultCode::*;
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::execution::Ledger;
use farthing_core::genesis::Parameters;
use farthing_core::hold::Condition;
use farthing_core::policy::PolicySettings;
use farthing_core::transaction::{Authority::Root, OpenHold, Operation, SetKey};

const ANN: u8 = 1;
const BOB: u8 = 2;
const CAT: u8 = 3;

fn pay(to: u8, amount: u64, open: bool) -> Operation {
    Operation::Transfer { outputs: vec![output(to, amount, open)] }
}

fn reclaim(person: u8) -> Operation {
    Operation::Reclaim { account: address(person) }
}

/// Ann has opened Cat's account with 500 mites at the genesis.
fn with_cat() -> Ledger {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 10_000), (BOB, 1_000)]));
    act(&mut ledger, 0, ANN, Root, pay(CAT, 500, true)).unwrap();
    ledger
}

#[test]
fn an_account_that_was_empty_for_long_is_freed() {
    let mut ledger = with_cat();
    assert_eq!(act(&mut ledger, 0, CAT, Root, pay(BOB, 500, false)), Ok(Executed));
    assert_eq!(act(&mut ledger, RECLAIM_MS, BOB, Root, reclaim(CAT)), Ok(NotReclaimable), "not a moment too early");
    assert_eq!(act(&mut ledger, RECLAIM_MS + 1, BOB, Root, reclaim(CAT)), Ok(Executed));
    assert_eq!(balance(&ledger, CAT), None);
    assert_eq!((balance(&ledger, ANN), balance(&ledger, BOB)), (Some(9_500), Some(1_500)), "the sponsor has it back");
    assert_eq!(act(&mut ledger, RECLAIM_MS + 1, BOB, Root, reclaim(CAT)), Ok(NoSuchAccount));
    // The slot is empty, and the next new object takes it.
    assert_eq!(ledger.state().slot_count(), 4);
    act(&mut ledger, RECLAIM_MS + 1, BOB, Root, pay(9, 1, true)).unwrap();
    assert_eq!((ledger.state().slot_of(&address(9)), ledger.state().slot_count()), (Some(3), 4));
    ledger.audit();
}

#[test]
fn an_account_in_use_is_not() {
    let idle = RECLAIM_MS + 10;
    let refused = |name: &str, prepare: &dyn Fn(&mut Ledger)| {
        let mut ledger = with_cat();
        prepare(&mut ledger);
        assert_eq!(act(&mut ledger, idle, BOB, Root, reclaim(CAT)), Ok(NotReclaimable), "{name}");
        ledger.audit();
    };
    let empty = |ledger: &mut Ledger, at| {
        let rest = balance(ledger, CAT).unwrap();
        assert_eq!(act(ledger, at, CAT, Root, pay(BOB, rest, false)), Ok(Executed));
    };
    refused("with a balance", &|_| ());
    refused("that paid not long ago", &|ledger| empty(ledger, 10));
    refused("whose transaction was rejected not long ago", &|ledger| {
        empty(ledger, 0);
        assert_eq!(act(ledger, 10, CAT, Root, pay(BOB, 1, false)), Ok(InsufficientBalance));
    });
    refused("with a key", &|ledger| {
        let limits = KeyLimits {
            operations: KeyOperations::ALL,
            payees: None,
            transaction_max: None,
            limit: None,
            expires_at_ms: None,
        };
        let public_key = key(60).public_key();
        act(ledger, 0, CAT, Root, Operation::SetKey(Box::new(SetKey { public_key, limits }))).unwrap();
        empty(ledger, 0);
    });
    let hold = |payee: u8, amount: u64| {
        Operation::OpenHold(Box::new(OpenHold {
            payee: address(payee),
            amount: mites(amount),
            condition: Condition::Payee,
            expires_at_ms: GENESIS_MS + 1,
            reference: None,
        }))
    };
    refused("that is payer of a hold, though it has ended", &|ledger| {
        assert_eq!(act(ledger, 0, CAT, Root, hold(BOB, 500 - HOLD_RESERVE)), Ok(Executed));
    });
    refused("that is payee of a hold", &|ledger| {
        empty(ledger, 0);
        assert_eq!(act(ledger, 0, ANN, Root, hold(CAT, 1)), Ok(Executed));
    });
    let mut ledger = with_cat();
    let all = balance(&ledger, BOB).unwrap();
    act(&mut ledger, 0, BOB, Root, pay(ANN, all, false)).unwrap();
    assert_eq!(act(&mut ledger, idle, BOB, Root, reclaim(BOB)), Ok(NotReclaimable), "one's own");
    assert_eq!(act(&mut ledger, 3 * idle, ANN, Root, reclaim(BOB)), Ok(Executed), "of the genesis document");
    ledger.audit();
}

/// Else who has stolen the key of an account under a policy empties it, has it freed and opens it again without one.
#[test]
fn an_account_under_a_policy_is_not_before_its_raise_delay() {
    let delay = 10 * RECLAIM_MS;
    let mut ledger = with_cat();
    let policy =
        |raise_delay_ms| Operation::SetPolicy(Box::new(PolicySettings { limit: None, raise_delay_ms, blocked: false }));
    assert_eq!(act(&mut ledger, 0, CAT, Root, policy(delay)), Ok(Executed));
    assert_eq!(act(&mut ledger, 0, CAT, Root, pay(BOB, 500, false)), Ok(Executed));
    assert_eq!(act(&mut ledger, RECLAIM_MS + 1, BOB, Root, reclaim(CAT)), Ok(NotReclaimable));
    assert_eq!(act(&mut ledger, delay, BOB, Root, reclaim(CAT)), Ok(NotReclaimable));
    let loosened = ledger.clone();
    assert_eq!(act(&mut ledger, delay + 1, BOB, Root, reclaim(CAT)), Ok(Executed));
    // A loosening counts once its time has come.
    let mut ledger = loosened;
    assert_eq!(act(&mut ledger, delay, CAT, Root, policy(0)), Ok(Executed));
    assert_eq!(act(&mut ledger, 2 * delay, BOB, Root, reclaim(CAT)), Ok(Executed), "the delay is none by then");
    ledger.audit();
}

/// Overdrawn to −F, freed and opened again, a reserve would send twice what an account may.
#[test]
fn freeing_and_opening_again_mints_no_bandwidth() {
    const W: u64 = 1_000_000;
    let bandwidth =
        BandwidthParameters { base_bytes: 2_000, key_floor_bytes: 0, refill_ms: W, ..parameters().bandwidth };
    let parameters = Parameters { bandwidth, reclaim_after_ms: W, ..parameters() };
    let mut ledger = Ledger::genesis(&network_with(parameters, &[(ANN, 10_000), (BOB, 1_000)]));
    act(&mut ledger, 0, ANN, Root, pay(CAT, 1, true)).unwrap();
    act(&mut ledger, 0, CAT, Root, pay(BOB, 1, false)).unwrap();
    let mut sent = 1;
    while act(&mut ledger, 0, CAT, Root, pay(BOB, 1, false)).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 2 * 2_000 / 200, "a plain transfer is charged 200 bytes");
    assert_eq!(act(&mut ledger, W + 1, BOB, Root, reclaim(CAT)), Ok(NotReclaimable), "not negative any more, not full");
    assert_eq!(act(&mut ledger, 2 * W - 1, BOB, Root, reclaim(CAT)), Ok(NotReclaimable));
    assert_eq!(act(&mut ledger, 2 * W, BOB, Root, reclaim(CAT)), Ok(Executed));
    ledger.audit();
}

#[test]
fn without_the_sponsor_the_reclaimer_gets_the_reserve() {
    let mut ledger = with_cat();
    // Cat opens Dan's account and leaves.
    const DAN: u8 = 4;
    act(&mut ledger, 0, CAT, Root, pay(DAN, 10, true)).unwrap();
    act(&mut ledger, 0, CAT, Root, pay(BOB, 500 - 10 - RESERVE, false)).unwrap();
    act(&mut ledger, 0, DAN, Root, pay(BOB, 10, false)).unwrap();
    let late = RECLAIM_MS + 1;
    assert_eq!(act(&mut ledger, late, ANN, Root, reclaim(CAT)), Ok(Executed));
    let before = (balance(&ledger, ANN).unwrap(), balance(&ledger, BOB).unwrap());
    assert_eq!(act(&mut ledger, late, BOB, Root, reclaim(DAN)), Ok(Executed));
    assert_eq!((balance(&ledger, ANN).unwrap(), balance(&ledger, BOB).unwrap()), (before.0, before.1 + RESERVE));
    ledger.audit();
}

#[test]
fn an_account_that_is_opened_again_replays_nothing() {
    let mut ledger = with_cat();
    let payments = [
        next(&ledger, 0, CAT, Root, pay(BOB, 100, false)),
        farthing_core::transaction::Transaction { nonce: 7, ..next(&ledger, 0, CAT, Root, pay(BOB, 400, false)) },
        // Rejected, at the last moment at which its validity can end.
        farthing_core::transaction::Transaction { nonce: 8, ..next(&ledger, 0, CAT, Root, pay(BOB, 1, false)) },
    ];
    let block = commit(&mut ledger, 0, &payments).block.unwrap();
    let codes: Vec<_> = block.results.iter().map(|(_, result)| result.code).collect();
    assert_eq!(codes, [Executed, Executed, InsufficientBalance]);
    assert_eq!(payments[2].valid_until_ms, GENESIS_MS + VALIDITY_MS);
    let late = RECLAIM_MS + 1;
    act(&mut ledger, late, ANN, Root, reclaim(CAT)).unwrap();
    act(&mut ledger, late, ANN, Root, pay(CAT, 1_000, true)).unwrap();
    let cat = ledger.account(&address(CAT)).unwrap();
    assert_eq!((cat.nonces.high(), cat.balance), (0, mites(1_000)), "it begins anew");
    for payment in &payments {
        assert_eq!(outcome(&commit(&mut ledger, late, std::slice::from_ref(payment))), Err(Expired));
    }
    assert_eq!(balance(&ledger, CAT), Some(1_000));
}
