//! Delegated keys: what they may do, what they replay, and that they never raise their own limits.

use crate::helpers::{
    GENESIS_MS, KEY_RESERVE, VALIDITY_MS, act, address, balance, commit, key, mites, network, next, outcome, output,
};
use farthing_core::block::DropReason::{NonceUsed, UnknownKey};
use farthing_core::block::ResultCode::*;
use farthing_core::delegated_key::{KEYS_MAX, KeyLimits, KeyOperations};
use farthing_core::execution::Ledger;
use farthing_core::hold::Condition;
use farthing_core::keys::PublicKey;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{
    Authority::{self, Root},
    OpenHold, Operation, SetKey,
};

const ANN: u8 = 1;
const BOB: u8 = 2;
const CAT: u8 = 3;

fn app(n: u8) -> PublicKey {
    key(100 + n).public_key()
}

fn by(n: u8) -> Authority {
    Authority::Key(app(n))
}

fn anything() -> KeyLimits {
    KeyLimits { operations: KeyOperations::ALL, payees: None, transaction_max: None, limit: None, expires_at_ms: None }
}

fn set(n: u8, limits: KeyLimits) -> Operation {
    Operation::SetKey(Box::new(SetKey { public_key: app(n), limits }))
}

fn remove(n: u8) -> Operation {
    Operation::RemoveKey { public_key: app(n) }
}

fn pay(to: u8, amount: u64) -> Operation {
    Operation::Transfer { outputs: vec![output(to, amount, false)] }
}

fn network_of_two() -> Ledger {
    Ledger::genesis(&network(&[(ANN, 10_000), (BOB, 1_000)]))
}

#[test]
fn a_key_spends_within_its_limits() {
    let mut ledger = network_of_two();
    let limits = KeyLimits {
        payees: Some(vec![address(BOB), address(ANN)]),
        transaction_max: Some(mites(60)),
        limit: Some(SpendingLimit { amount: mites(100), period_ms: 10_000 }),
        ..anything()
    };
    assert_eq!(act(&mut ledger, 0, ANN, by(1), pay(BOB, 1)), Err(UnknownKey));
    assert_eq!(act(&mut ledger, 0, ANN, Root, set(1, limits)), Ok(Executed));
    assert_eq!(balance(&ledger, ANN), Some(10_000 - KEY_RESERVE));
    // The genesis lies 400 ms into a period of ten seconds.
    let table = [
        (0, pay(CAT, 1), NoSuchAccount),
        (0, pay(BOB, 61), OverTransactionLimit),
        (0, pay(BOB, 60), Executed),
        (0, pay(BOB, 41), OverKeyLimit),
        (0, pay(ANN, 40), Executed),
        (9_599, pay(BOB, 1), OverKeyLimit),
        (9_600, pay(BOB, 60), Executed),
        (9_600, Operation::Transfer { outputs: vec![output(BOB, 20, false), output(BOB, 20, false)] }, Executed),
        (9_600, pay(BOB, 1), OverKeyLimit),
        (50_000, pay(BOB, 60), Executed),
    ];
    for (number, (now, operation, code)) in table.into_iter().enumerate() {
        assert_eq!(act(&mut ledger, now, ANN, by(1), operation), Ok(code), "number {number}");
    }
    assert_eq!(balance(&ledger, BOB), Some(1_000 + 60 + 60 + 40 + 60));
    assert_eq!(act(&mut ledger, 50_000, ANN, Root, pay(BOB, 500)), Ok(Executed), "Root is not bound");
    ledger.audit();
}

#[test]
fn reserves_count_and_unlisted_payees_are_refused() {
    let mut ledger = network_of_two();
    let limits = KeyLimits { payees: Some(vec![address(CAT)]), transaction_max: Some(mites(150)), ..anything() };
    act(&mut ledger, 0, ANN, Root, set(1, limits)).unwrap();
    assert_eq!(act(&mut ledger, 0, ANN, by(1), pay(BOB, 1)), Ok(PayeeNotAllowed));
    assert_eq!(act(&mut ledger, 0, ANN, by(1), pay(ANN, 1)), Ok(PayeeNotAllowed), "not even oneself");
    let open = |amount| Operation::Transfer { outputs: vec![output(CAT, amount, true)] };
    assert_eq!(act(&mut ledger, 0, ANN, by(1), open(51)), Ok(OverTransactionLimit), "51 and a reserve of 100");
    assert_eq!(act(&mut ledger, 0, ANN, by(1), open(50)), Ok(Executed));
}

#[test]
fn no_key_touches_keys_or_policy() {
    let mut ledger = network_of_two();
    act(&mut ledger, 0, ANN, Root, set(1, anything())).unwrap();
    let operations = [set(1, anything()), set(2, anything()), remove(1), Operation::SetPolicy(Box::default())];
    for operation in operations {
        assert_eq!(act(&mut ledger, 0, ANN, by(1), operation), Ok(OperationNotAllowed));
    }
    let operations = KeyOperations::TRANSFER.and(KeyOperations::RELEASE);
    act(&mut ledger, 0, ANN, Root, set(1, KeyLimits { operations, ..anything() })).unwrap();
    assert_eq!(act(&mut ledger, 0, ANN, by(1), pay(BOB, 1)), Ok(Executed));
    assert_eq!(act(&mut ledger, 0, ANN, by(1), Operation::Reclaim { account: address(BOB) }), Ok(OperationNotAllowed));
    assert_eq!(ledger.account(&address(ANN)).unwrap().keys(), [app(1)]);
}

#[test]
fn setting_again_keeps_nonces_and_what_was_spent() {
    let mut ledger = network_of_two();
    let budget =
        |amount, period_ms| KeyLimits { limit: Some(SpendingLimit { amount: mites(amount), period_ms }), ..anything() };
    act(&mut ledger, 0, ANN, Root, set(1, budget(100, 10_000))).unwrap();
    assert_eq!(act(&mut ledger, 0, ANN, by(1), pay(BOB, 90)), Ok(Executed));
    act(&mut ledger, 10, ANN, Root, set(1, budget(120, 10_000))).unwrap();
    assert_eq!(balance(&ledger, ANN), Some(10_000 - KEY_RESERVE - 90), "no second reserve");
    assert_eq!(act(&mut ledger, 10, ANN, by(1), pay(BOB, 31)), Ok(OverKeyLimit));
    assert_eq!(act(&mut ledger, 10, ANN, by(1), pay(BOB, 30)), Ok(Executed));
    // A longer period begins with what was spent in the old one that is not over.
    act(&mut ledger, 20, ANN, Root, set(1, budget(200, 86_400_000))).unwrap();
    assert_eq!(act(&mut ledger, 12_000, ANN, by(1), pay(BOB, 81)), Ok(OverKeyLimit));
    assert_eq!(act(&mut ledger, 12_000, ANN, by(1), pay(BOB, 80)), Ok(Executed));
    assert_eq!(ledger.key(&address(ANN), &app(1)).unwrap().nonces.high(), 5);
}

#[test]
fn an_expired_or_removed_key_is_unknown_and_costs_nothing() {
    let mut ledger = network_of_two();
    let limits = KeyLimits { expires_at_ms: Some(GENESIS_MS + 1_000), ..anything() };
    act(&mut ledger, 0, ANN, Root, set(1, limits)).unwrap();
    assert_eq!(act(&mut ledger, 999, ANN, by(1), pay(BOB, 1)), Ok(Executed));
    let before = ledger.account(&address(ANN)).cloned();
    assert_eq!(act(&mut ledger, 1_000, ANN, by(1), pay(BOB, 1)), Err(UnknownKey));
    assert_eq!(ledger.account(&address(ANN)).cloned(), before);
    act(&mut ledger, 2_000, ANN, Root, set(1, anything())).unwrap();
    assert_eq!(act(&mut ledger, 2_000, ANN, by(1), pay(BOB, 1)), Ok(Executed), "Root gives it more time");
    act(&mut ledger, 3_000, ANN, Root, remove(1)).unwrap();
    assert_eq!(balance(&ledger, ANN), Some(10_000 - 2), "the reserve returned");
    assert_eq!(act(&mut ledger, 3_000, ANN, by(1), pay(BOB, 1)), Err(UnknownKey));
    assert_eq!(act(&mut ledger, 3_000, ANN, Root, remove(1)), Ok(NoSuchKey));
    assert_eq!(act(&mut ledger, 3_000, BOB, by(1), pay(ANN, 1)), Err(UnknownKey), "keys are of one account");
    ledger.audit();
}

#[test]
fn a_key_that_is_set_again_replays_nothing() {
    let mut ledger = network_of_two();
    act(&mut ledger, 0, ANN, Root, set(1, anything())).unwrap();
    let payment = next(&ledger, 0, ANN, by(1), pay(BOB, 7));
    assert_eq!(outcome(&commit(&mut ledger, 0, std::slice::from_ref(&payment))), Ok(Executed));
    act(&mut ledger, 10, ANN, Root, remove(1)).unwrap();
    // Within the validity the nonces come back from the tombstone.
    act(&mut ledger, 20, ANN, Root, set(1, anything())).unwrap();
    assert_eq!(outcome(&commit(&mut ledger, VALIDITY_MS, std::slice::from_ref(&payment))), Err(NonceUsed));
    act(&mut ledger, VALIDITY_MS, ANN, Root, remove(1)).unwrap();
    let tombstones = |ledger: &Ledger| {
        ledger.account(&address(ANN)).unwrap().extras.as_ref().map_or(0, |extras| extras.tombstones.len())
    };
    assert_eq!(tombstones(&ledger), 1);
    // After it they are forgotten, and the payment is past its time.
    act(&mut ledger, 2 * VALIDITY_MS, ANN, Root, set(1, anything())).unwrap();
    assert_eq!(ledger.key(&address(ANN), &app(1)).unwrap().nonces.high(), 1, "still remembered at the last moment");
    act(&mut ledger, 2 * VALIDITY_MS, ANN, Root, remove(1)).unwrap();
    act(&mut ledger, 3 * VALIDITY_MS + 1, ANN, Root, set(1, anything())).unwrap();
    assert_eq!(ledger.key(&address(ANN), &app(1)).unwrap().nonces.high(), 0);
    assert_eq!(tombstones(&ledger), 0);
    assert!(outcome(&commit(&mut ledger, 3 * VALIDITY_MS + 1, &[payment])).is_err());
    ledger.audit();
}

#[test]
fn keys_and_tombstones_together_are_at_most_sixteen() {
    let mut ledger = network_of_two();
    for n in 0..KEYS_MAX as u8 {
        assert_eq!(act(&mut ledger, 0, ANN, Root, set(n, anything())), Ok(Executed));
    }
    assert_eq!(act(&mut ledger, 0, ANN, Root, set(16, anything())), Ok(TooManyKeys));
    assert_eq!(act(&mut ledger, 0, ANN, Root, set(3, anything())), Ok(Executed), "one that is there");
    act(&mut ledger, 0, ANN, Root, remove(3)).unwrap();
    assert_eq!(
        act(&mut ledger, VALIDITY_MS, ANN, Root, set(16, anything())),
        Ok(TooManyKeys),
        "a tombstone stands there"
    );
    assert_eq!(act(&mut ledger, VALIDITY_MS, ANN, Root, set(3, anything())), Ok(Executed), "whose key may come back");
    act(&mut ledger, VALIDITY_MS, ANN, Root, remove(3)).unwrap();
    assert_eq!(act(&mut ledger, 2 * VALIDITY_MS + 1, ANN, Root, set(16, anything())), Ok(Executed));
    assert_eq!(ledger.account(&address(ANN)).unwrap().keys().len(), KEYS_MAX);
    ledger.audit();
}

/// A key with a budget of ten mites must not lock a hold of a thousand for 400 days.
#[test]
fn a_key_that_moves_the_expiry_of_a_hold_spends_it_again() {
    let mut ledger = network_of_two();
    let expires_at_ms = GENESIS_MS + 1_000_000;
    let (payee, amount, condition) = (address(BOB), mites(1_000), Condition::Payee);
    let open = Operation::OpenHold(Box::new(OpenHold { payee, amount, condition, expires_at_ms, reference: None }));
    let hold = next(&ledger, 0, ANN, Root, open.clone()).id(ledger.chain());
    assert_eq!(act(&mut ledger, 0, ANN, Root, open), Ok(Executed));
    let top_up = |amount, expires_at_ms| Operation::TopUp { hold, amount: mites(amount), expires_at_ms };
    let allow = |ledger: &mut Ledger, amount| {
        let limit = Some(SpendingLimit { amount: mites(amount), period_ms: 86_400_000 });
        assert_eq!(act(ledger, 0, ANN, Root, set(1, KeyLimits { limit, ..anything() })), Ok(Executed));
    };
    allow(&mut ledger, 10);
    assert_eq!(act(&mut ledger, 0, ANN, by(1), top_up(1, expires_at_ms + 1)), Ok(OverKeyLimit));
    assert_eq!(act(&mut ledger, 0, ANN, by(1), top_up(1, expires_at_ms)), Ok(Executed), "more, but not later");
    allow(&mut ledger, 1_002);
    assert_eq!(act(&mut ledger, 0, ANN, by(1), top_up(1, expires_at_ms + 1)), Ok(OverKeyLimit), "1 + 1,001 + 1");
    allow(&mut ledger, 1_003);
    assert_eq!(act(&mut ledger, 0, ANN, by(1), top_up(1, expires_at_ms + 1)), Ok(Executed));
    assert_eq!(ledger.key(&address(ANN), &app(1)).unwrap().spent.amount, mites(1_003));
    assert_eq!(act(&mut ledger, 0, ANN, Root, top_up(1, expires_at_ms + 2)), Ok(Executed), "Root is not bound");
    ledger.audit();
}
