//! Bandwidth: how it grows and is spent, who is dropped for want of it, and what load does.

use crate::helpers::{GENESIS_MS, act, address, commit, key, mites, network_with, next, outcome, output, parameters};
use farthing_core::amount::Amount;
use farthing_core::bandwidth::{Bandwidth, BandwidthParameters, Load, Multiplier, capacity_bytes};
use farthing_core::block::DropReason::InsufficientBandwidth;
use farthing_core::block::ResultCode::Executed;
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::execution::Ledger;
use farthing_core::genesis::{Genesis, Parameters};
use farthing_core::policy::PolicySettings;
use farthing_core::transaction::{
    Authority::{self, Root},
    Operation, SetKey,
};
use proptest::prelude::*;

const ANN: u8 = 1;
const BOB: u8 = 2;
const CAT: u8 = 3;
/// A plain transfer is charged 160 bytes and one output.
const PLAIN: u64 = 200;

/// Ten plain transfers for everybody, and one more for each mite of the balance, a day; no limit of load.
fn small() -> BandwidthParameters {
    BandwidthParameters {
        base_bytes: 10 * PLAIN,
        bytes_per_far: PLAIN * 1_000_000_000,
        key_floor_bytes: 2 * PLAIN,
        target_bytes_per_second: 1_000_000_000,
        ..BandwidthParameters::default()
    }
}

const W: u64 = 86_400_000;

fn genesis(bandwidth: BandwidthParameters, balances: &[(u8, u64)]) -> Genesis {
    network_with(Parameters { bandwidth, ..parameters() }, balances)
}

fn pay(to: u8, amount: u64) -> Operation {
    Operation::Transfer { outputs: vec![output(to, amount, false)] }
}

fn available(ledger: &Ledger, person: u8, now: u64) -> i128 {
    ledger.bandwidth(&address(person), GENESIS_MS + now).unwrap().available_bytes
}

#[test]
fn capacity_follows_the_balance() {
    let table = [(0, 20_000), (1, 20_000), (99_999, 20_000), (100_000, 20_001), (1_000_000_000, 30_000)];
    for (balance, expect) in table {
        assert_eq!(capacity_bytes(&BandwidthParameters::default(), Amount::from_mites(balance)), expect, "{balance}");
    }
    let most = BandwidthParameters {
        base_bytes: 1_000_000_000_000,
        bytes_per_far: 10_000_000_000_000_000,
        refill_ms: 2_592_000_000,
        ..BandwidthParameters::default()
    };
    let capacity = capacity_bytes(&most, Amount::from_mites(u64::MAX));
    let full = Bandwidth::new(&most, capacity, 0);
    assert_eq!(full.available(&most, capacity, u64::MAX), full.byte_ms(), "nothing overflows within the bounds");
}

#[test]
fn a_refill_takes_w_and_is_even() {
    let parameters = BandwidthParameters::default();
    let empty = Bandwidth::new(&parameters, 0, 1_000);
    let capacity = 30_000;
    let bytes = |after: u64| empty.available(&parameters, capacity, 1_000 + after) / i128::from(W);
    assert_eq!(
        [bytes(0), bytes(W / 4), bytes(W / 2), bytes(W - 1), bytes(W), bytes(2 * W)],
        [0, 7_500, 15_000, 29_999, 30_000, 30_000]
    );
}

proptest! {
    #[test]
    fn time_is_the_same_in_any_steps(steps in prop::collection::vec(0u64..200_000, 1..20), balance in 0u64..1_000_000_000_000) {
        let parameters = BandwidthParameters::default();
        let capacity = capacity_bytes(&parameters, Amount::from_mites(balance));
        let start = Bandwidth::new(&parameters, 0, 0);
        let mut byte_ms = start.byte_ms();
        let mut now = 0;
        for step in &steps {
            now += step;
            byte_ms = (byte_ms + capacity as i128 * i128::from(*step)).min(parameters.byte_ms(capacity));
        }
        prop_assert_eq!(start.available(&parameters, capacity, now), byte_ms);
    }

    #[test]
    fn it_passes_when_it_says(spent in 1u64..30, balance in 0u64..20, later in 0u64..200_000) {
        let mut ledger = Ledger::genesis(&genesis(small(), &[(ANN, 1_000), (BOB, 1)]));
        let rest = 1_000 - balance;
        act(&mut ledger, 0, ANN, Root, pay(BOB, rest)).unwrap();
        for _ in 0..spent {
            let _ = act(&mut ledger, 0, ANN, Root, pay(ANN, 1));
        }
        let now = GENESIS_MS + later;
        let wanted = next(&ledger, later, ANN, Root, pay(ANN, 1));
        match ledger.check(&wanted, now) {
            Ok(_) => prop_assert!(available(&ledger, ANN, later) >= i128::from(PLAIN)),
            Err(refusal) => {
                prop_assert_eq!(refusal.reason, InsufficientBandwidth);
                let at_ms = refusal.passes_at_ms.unwrap();
                let at = |at_ms: u64| ledger.check(&next(&ledger, at_ms - GENESIS_MS, ANN, Root, pay(ANN, 1)), at_ms);
                prop_assert!(at(at_ms).is_ok());
                prop_assert!(at(at_ms - 1).is_err());
            }
        }
    }
}

#[test]
fn a_mempool_stops_at_nothing_and_a_block_at_minus_f() {
    let mut ledger = Ledger::genesis(&genesis(small(), &[(ANN, 5), (BOB, 1)]));
    let mut admitted = 0;
    let mut executed = 0;
    loop {
        let transaction = next(&ledger, 0, ANN, Root, pay(ANN, 1));
        admitted += u32::from(ledger.check(&transaction, GENESIS_MS).is_ok());
        match outcome(&commit(&mut ledger, 0, &[transaction])) {
            Ok(code) => assert_eq!(code, Executed),
            Err(reason) => {
                assert_eq!(reason, InsufficientBandwidth);
                break;
            }
        }
        executed += 1;
    }
    // Ten for everybody, five for five mites; and ten more that other validators let through.
    assert_eq!((admitted, executed), (15, 25));
    assert_eq!(available(&ledger, ANN, 0), -10 * i128::from(PLAIN));
    let status = ledger.bandwidth(&address(ANN), GENESIS_MS).unwrap();
    assert_eq!(status.capacity_bytes, 15 * u128::from(PLAIN));
    assert_eq!(status.full_at_ms, GENESIS_MS + (25 * W).div_ceil(15));
    // A rejected transaction costs as much; a dropped one nothing.
    assert_eq!(act(&mut ledger, W / 15 - 1, ANN, Root, pay(9, 1)), Err(InsufficientBandwidth));
    assert!(act(&mut ledger, W / 15, ANN, Root, pay(9, 1)).unwrap() != Executed);
    assert_eq!(available(&ledger, ANN, W / 15), -10 * i128::from(PLAIN));
}

#[test]
fn what_waits_before_counts() {
    let ledger = Ledger::genesis(&genesis(small(), &[(ANN, 5)]));
    let transaction = next(&ledger, 0, ANN, Root, pay(ANN, 1));
    let standing = ledger.check_behind(&transaction, GENESIS_MS, 14 * PLAIN).unwrap();
    assert_eq!(standing.charged_bytes, PLAIN);
    assert_eq!(Some(standing.slot), ledger.state().slot_of(&address(ANN)));
    assert_eq!(standing.owned_mites, ledger.account(&address(ANN)).unwrap().balance.mites());
    for behind in [1, PLAIN, 20 * PLAIN] {
        let refusal = ledger.check_behind(&transaction, GENESIS_MS, 14 * PLAIN + behind).unwrap_err();
        // The capacity is that of 15; what waits before takes what there is and leaves.
        let passes_at_ms = GENESIS_MS + (behind * W).div_ceil(15 * PLAIN);
        assert_eq!((refusal.reason, refusal.passes_at_ms), (InsufficientBandwidth, Some(passes_at_ms)), "{behind}");
    }
    let outputs = vec![output(ANN, 1, false); 50];
    let large = next(&ledger, 0, ANN, Root, Operation::Transfer { outputs });
    let refusal = ledger.check(&large, GENESIS_MS).unwrap_err();
    assert_eq!((refusal.reason, refusal.passes_at_ms), (InsufficientBandwidth, None), "more than the capacity");
}

#[test]
fn delegated_keys_leave_enough_for_root() {
    let mut ledger = Ledger::genesis(&genesis(small(), &[(ANN, 1_000), (BOB, 1)]));
    let limits = KeyLimits {
        operations: KeyOperations::ALL,
        payees: None,
        transaction_max: None,
        limit: None,
        expires_at_ms: None,
    };
    let app = key(60).public_key();
    act(&mut ledger, 0, ANN, Root, Operation::SetKey(Box::new(SetKey { public_key: app, limits }))).unwrap();
    while act(&mut ledger, 0, ANN, Authority::Key(app), pay(ANN, 1)).is_ok() {}
    let left = available(&ledger, ANN, 0);
    // A transfer by a key takes 32 bytes more.
    assert!((2 * i128::from(PLAIN)..2 * i128::from(PLAIN) + 232).contains(&left), "{left}");
    let transaction = next(&ledger, 0, ANN, Authority::Key(app), pay(ANN, 1));
    assert_eq!(ledger.check(&transaction, GENESIS_MS).unwrap_err().reason, InsufficientBandwidth);
    let remove = Operation::RemoveKey { public_key: app };
    assert_eq!(ledger.check(&next(&ledger, 0, ANN, Root, remove.clone()), GENESIS_MS).map(drop), Ok(()));
    assert_eq!(act(&mut ledger, 0, ANN, Root, remove), Ok(Executed));
}

/// What delegated keys leave is not enough when everything is dear: then Root overdraws, for what ends a key, and for nothing else.
#[test]
fn root_ends_a_key_at_any_multiplier() {
    let parameters = BandwidthParameters { target_bytes_per_second: 20, ..small() };
    let mut ledger = Ledger::genesis(&genesis(parameters, &[(ANN, 1_000), (BOB, 1_000)]));
    let app = key(60).public_key();
    let limits = KeyLimits {
        operations: KeyOperations::ALL,
        payees: None,
        transaction_max: None,
        limit: None,
        expires_at_ms: None,
    };
    let set = Operation::SetKey(Box::new(SetKey { public_key: app, limits }));
    act(&mut ledger, 0, ANN, Root, set.clone()).unwrap();
    // As long as it is admitted the app sends, and Bob makes everything four times dearer meanwhile.
    let mut now = 0;
    while ledger.multiplier(GENESIS_MS + now).sixteen_bits() < 4 * 65_536 {
        now += 1_000;
        act(&mut ledger, now, BOB, Root, pay(BOB, 1)).unwrap();
    }
    while act(&mut ledger, now, ANN, Authority::Key(app), pay(ANN, 1)).is_ok() {}
    let policy = Operation::SetPolicy(Box::new(PolicySettings { blocked: true, ..PolicySettings::default() }));
    let remove = Operation::RemoveKey { public_key: app };
    let ask = |ledger: &Ledger, operation: &Operation, queued: u64| {
        let transaction = next(ledger, now, ANN, Root, operation.clone());
        ledger.check_behind(&transaction, GENESIS_MS + now, queued).map(drop).map_err(|refusal| refusal.reason)
    };
    // Down to what a key may not take, and some of Root's own below.
    while ask(&ledger, &pay(ANN, 1), 0).is_ok() {
        act(&mut ledger, now, ANN, Root, pay(ANN, 1)).unwrap();
    }
    for operation in [&remove, &set, &policy] {
        assert_eq!(ask(&ledger, operation, 0), Ok(()), "{operation:?}");
        assert_eq!(ask(&ledger, operation, 10 * PLAIN), Err(InsufficientBandwidth), "behind others to −F, no further");
    }
    let left = available(&ledger, ANN, now);
    assert!((0..4 * i128::from(PLAIN) * 2).contains(&left), "{left}");
    assert_eq!(act(&mut ledger, now, ANN, Root, remove), Ok(Executed));
}

#[test]
fn moving_money_mints_nothing() {
    let mut ledger = Ledger::genesis(&genesis(small(), &[(ANN, 1_000), (BOB, 1)]));
    // Bob is full for one mite; a fortune grants capacity at once, and bandwidth only with time.
    assert_eq!(available(&ledger, BOB, 0), 11 * i128::from(PLAIN));
    act(&mut ledger, 0, ANN, Root, pay(BOB, 1_000)).unwrap();
    assert_eq!(available(&ledger, BOB, 0), 11 * i128::from(PLAIN));
    assert_eq!(available(&ledger, ANN, 0), 10 * i128::from(PLAIN), "a lower capacity clamps");
    assert_eq!(available(&ledger, BOB, W / 4), 11 * i128::from(PLAIN) + i128::from(1_011 * PLAIN / 4));
    // Back and forth in one moment: whatever Ann had is gone.
    act(&mut ledger, 0, BOB, Root, pay(ANN, 1_000)).unwrap();
    assert_eq!(available(&ledger, ANN, 0), 10 * i128::from(PLAIN));
    // An account that is opened begins with what everybody has.
    act(&mut ledger, 0, ANN, Root, Operation::Transfer { outputs: vec![output(CAT, 500, true)] }).unwrap();
    assert_eq!(available(&ledger, CAT, 0), 10 * i128::from(PLAIN));
}

#[test]
fn a_fortune_that_hops_sends_no_more_than_one_that_stays() {
    // One keeps 1,000 mites and sends whenever it can; two others hand theirs to one another all the time.
    let sent = |hops: bool| {
        let mut ledger = Ledger::genesis(&genesis(small(), &[(ANN, 1_000), (BOB, 1)]));
        let mut sent = 0u64;
        for step in 0..48 {
            let now = step * W / 24;
            let (from, to) = if hops && step % 2 == 1 { (BOB, ANN) } else { (ANN, BOB) };
            while act(&mut ledger, now, from, Root, pay(from, 1)) == Ok(Executed) {
                sent += 1;
            }
            if hops {
                // It leaves with its last transfer of the hour: what it overdraws is made up for before the next one.
                let all = ledger.account(&address(from)).unwrap().balance.mites();
                let _ = act(&mut ledger, now + 1_000_000, from, Root, pay(to, all));
            }
        }
        sent
    };
    let (stays, hops) = (sent(false), sent(true));
    // The second account has what every account has, twice over in two days and once overdrawn; nothing else is gained.
    assert!(hops <= stays + 3 * 10 + 11, "{hops} and {stays}");
}

#[test]
fn splitting_that_would_mint_is_refused() {
    let check = |base_bytes: u64, bytes_per_far: u64, reserve: u64| {
        let bandwidth = BandwidthParameters { base_bytes, bytes_per_far, key_floor_bytes: 0, ..Default::default() };
        let reserve = mites(reserve);
        let parameters = Parameters {
            account_reserve: reserve,
            hold_reserve: reserve,
            key_reserve: reserve,
            bandwidth,
            ..Parameters::default()
        };
        let validators = crate::helpers::validators(1);
        let accounts = vec![(address(ANN), mites(1_000_000_000_000))];
        Genesis::new("test", &"tst".parse().unwrap(), GENESIS_MS, parameters, validators, accounts)
            .map_err(|error| error.to_string())
    };
    assert!(check(20_000, 10_000, 1_000_000_000).is_ok());
    assert!(check(20_001, 10_000, 1_000_000_000).unwrap_err().contains("splitting"));
    assert!(check(20_000, 9_999, 1_000_000_000).unwrap_err().contains("splitting"));
    assert!(check(20_000, 10_000, 999_999_999).unwrap_err().contains("splitting"));
    assert!(check(0, 10_000, 1_000_000_000).unwrap_err().contains("base_bytes"));
    assert!(check(1, 10_000_000_000_000_001, 1_000_000_000).unwrap_err().contains("bytes_per_far"));
}

#[test]
fn load_raises_the_price_and_idleness_lowers_it() {
    let parameters = BandwidthParameters { target_bytes_per_second: 800, ..BandwidthParameters::default() };
    let one = Multiplier::ONE;
    assert_eq!(one.after_second(800, 800), one, "at the target");
    assert_eq!(one.after_second(0, 800), one, "never below 1");
    assert_eq!(one.after_second(1_600, 800).sixteen_bits(), 65_536 / 2 * 3, "a half for a target's worth of excess");
    assert_eq!(one.after_second(2_400, 800).sixteen_bits(), 2 * 65_536, "at most the double");
    assert_eq!(one.after_second(u64::MAX, 800).sixteen_bits(), 2 * 65_536);
    assert_eq!(Multiplier::MAX.after_second(u64::MAX, 800), Multiplier::MAX, "never above 64");
    assert_eq!(Multiplier::MAX.after_second(0, 800).sixteen_bits(), 65_536 * 56, "down by an eighth");
    assert_eq!([one.times(3), Multiplier::MAX.times(3)], [3, 192]);
    assert_eq!(one.after_second(801, 800).times(1_000), 1_001, "rounded up");

    let load = Load { multiplier: Multiplier::MAX, second: 100, charged_bytes: 800 };
    assert_eq!(load.at(&parameters, 100_999), load, "the same second");
    assert_eq!(
        load.at(&parameters, 101_000),
        Load { second: 101, charged_bytes: 0, ..load },
        "charged as much as the target"
    );
    let idle = load.at(&parameters, 103_000).multiplier.sixteen_bits();
    assert_eq!(idle, 65_536 * 49, "two idle seconds");
    assert_eq!(load.at(&parameters, 1_000_000).multiplier, one);
    assert!(load.at(&parameters, 132_000).multiplier > one && load.at(&parameters, 134_000).multiplier == one);
}

#[test]
fn a_busy_second_makes_the_next_one_dearer_for_all() {
    let busy = BandwidthParameters { target_bytes_per_second: PLAIN, ..small() };
    let mut ledger = Ledger::genesis(&genesis(busy, &[(ANN, 1_000), (BOB, 1_000)]));
    let batch: Vec<_> =
        (1..=9).map(|nonce| crate::helpers::transfer(ANN, nonce, vec![output(ANN, 1, false)])).collect();
    commit(&mut ledger, 0, &batch);
    let before = available(&ledger, BOB, 700);
    assert_eq!(ledger.multiplier(GENESIS_MS + 599), Multiplier::ONE, "the same second");
    assert_eq!(ledger.multiplier(GENESIS_MS + 600).sixteen_bits(), 2 * 65_536);
    act(&mut ledger, 700, BOB, Root, pay(BOB, 1)).unwrap();
    assert_eq!(before - available(&ledger, BOB, 700), 2 * i128::from(PLAIN));
}
