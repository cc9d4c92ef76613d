//! Policies: what binds every authority, and what waits.

use crate::helpers::{GENESIS_MS, act, address, mites, network, output};
use farthing_core::block::ResultCode::{self, *};
use farthing_core::execution::Ledger;
use farthing_core::policy::PolicySettings;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{Authority::Root, Operation};

const ANN: u8 = 1;
const BOB: u8 = 2;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

fn limit(amount: u64, period_ms: u64) -> Option<SpendingLimit> {
    Some(SpendingLimit { amount: mites(amount), period_ms })
}

fn settings(limit: Option<SpendingLimit>, raise_delay_ms: u64, blocked: bool) -> PolicySettings {
    PolicySettings { limit, raise_delay_ms, blocked }
}

fn set(ledger: &mut Ledger, now: u64, wanted: PolicySettings) {
    assert_eq!(act(ledger, now, ANN, Root, Operation::SetPolicy(Box::new(wanted))), Ok(Executed));
}

fn pay(ledger: &mut Ledger, now: u64, amount: u64) -> ResultCode {
    act(ledger, now, ANN, Root, Operation::Transfer { outputs: vec![output(BOB, amount, false)] }).unwrap()
}

fn network_of_two() -> Ledger {
    Ledger::genesis(&network(&[(ANN, 10_000), (BOB, 1_000)]))
}

/// What is in force at a time after the genesis.
fn in_force(ledger: &Ledger, now: u64) -> PolicySettings {
    let policy = ledger.account(&address(ANN)).unwrap().policy().copied();
    policy.map_or(PolicySettings::default(), |policy| policy.settings_at(GENESIS_MS + now))
}

/// From one policy to another: what is in force at once, and an hour later.
#[test]
fn tightening_is_at_once_and_loosening_waits() {
    let daily = |amount| limit(amount, DAY);
    let table = [
        ("a limit", settings(None, HOUR, false), settings(daily(5), HOUR, false), settings(daily(5), HOUR, false)),
        (
            "a lower one",
            settings(daily(9), HOUR, false),
            settings(daily(5), HOUR, false),
            settings(daily(5), HOUR, false),
        ),
        (
            "a higher one",
            settings(daily(5), HOUR, false),
            settings(daily(9), HOUR, false),
            settings(daily(5), HOUR, false),
        ),
        ("none", settings(daily(5), HOUR, false), settings(None, HOUR, false), settings(daily(5), HOUR, false)),
        (
            "the same over longer",
            settings(daily(5), HOUR, false),
            settings(limit(5, 2 * DAY), HOUR, false),
            settings(limit(5, 2 * DAY), HOUR, false),
        ),
        (
            "less, but over shorter",
            settings(daily(5), HOUR, false),
            settings(limit(4, HOUR), HOUR, false),
            settings(daily(5), HOUR, false),
        ),
        (
            "less over longer, with other borders",
            settings(daily(5), HOUR, false),
            settings(limit(4, DAY + HOUR), HOUR, false),
            settings(daily(5), HOUR, false),
        ),
        ("blocking", settings(None, HOUR, false), settings(None, HOUR, true), settings(None, HOUR, true)),
        ("unblocking", settings(None, HOUR, true), settings(None, HOUR, false), settings(None, HOUR, true)),
        ("a longer delay", settings(None, HOUR, false), settings(None, DAY, false), settings(None, DAY, false)),
        ("a shorter delay", settings(None, HOUR, false), settings(None, 1, false), settings(None, HOUR, false)),
        ("some of each", settings(daily(5), HOUR, false), settings(daily(9), DAY, true), settings(daily(5), DAY, true)),
    ];
    for (name, from, wanted, at_once) in table {
        let mut ledger = network_of_two();
        set(&mut ledger, 0, from);
        set(&mut ledger, 1_000, wanted);
        assert_eq!(in_force(&ledger, 1_000), at_once, "{name}: at once");
        assert_eq!(in_force(&ledger, 999 + HOUR), at_once, "{name}: until the delay is over");
        assert_eq!(in_force(&ledger, 1_000 + HOUR), wanted, "{name}: then");
    }
}

#[test]
fn without_a_delay_all_is_at_once() {
    let mut ledger = network_of_two();
    set(&mut ledger, 0, settings(limit(5, DAY), 0, true));
    set(&mut ledger, 0, settings(limit(9, HOUR), 0, false));
    assert_eq!(in_force(&ledger, 0), settings(limit(9, HOUR), 0, false));
    set(&mut ledger, 0, PolicySettings::default());
    assert_eq!(ledger.account(&address(ANN)).unwrap().extras, None, "no trace is left");
}

#[test]
fn the_owner_ends_what_a_thief_began() {
    let mut ledger = network_of_two();
    let safe = settings(limit(10, DAY), HOUR, false);
    set(&mut ledger, 0, safe);
    set(&mut ledger, 1_000, PolicySettings::default());
    assert_eq!(pay(&mut ledger, 1_000, 11), OverSpendingLimit);
    set(&mut ledger, 2_000, safe);
    assert_eq!(in_force(&ledger, 1_000 + 2 * HOUR), safe);
    assert_eq!(pay(&mut ledger, 1_000 + 2 * HOUR, 11), OverSpendingLimit);
}

#[test]
fn the_limit_counts_each_window() {
    let mut ledger = network_of_two();
    set(&mut ledger, 0, settings(limit(100, 10_000), HOUR, false));
    // The genesis lies 400 ms into a window.
    let table = [
        (0, 60, Executed),
        (0, 41, OverSpendingLimit),
        (9_599, 40, Executed),
        (9_599, 1, OverSpendingLimit),
        (9_600, 100, Executed),
        (9_600, 1, OverSpendingLimit),
        (100_000, 101, OverSpendingLimit),
        (100_000, 100, Executed),
    ];
    for (now, amount, code) in table {
        assert_eq!(pay(&mut ledger, now, amount), code, "{amount} at {now}");
    }
    // A lower limit finds what was spent already.
    set(&mut ledger, 100_001, settings(limit(50, DAY), HOUR, false));
    assert_eq!(pay(&mut ledger, 100_002, 1), OverSpendingLimit);
}

/// Windows count from the epoch, so a thief can choose longer periods one of whose windows is about to end.
#[test]
fn nobody_spends_a_limit_again_by_longer_periods() {
    let mut ledger = network_of_two();
    set(&mut ledger, 0, settings(limit(100, DAY), HOUR, false));
    assert_eq!(pay(&mut ledger, 0, 100), Executed);
    let mut now = 1_000;
    for _ in 0..20 {
        // The least period above the day's that has a border within the next minute.
        let borders = (GENESIS_MS + now) / DAY;
        let period = (GENESIS_MS + now + 60_000) / borders;
        assert!(period > DAY && period * borders > GENESIS_MS + now);
        set(&mut ledger, now, settings(limit(100, period), HOUR, false));
        now += 60_001;
        assert_eq!(pay(&mut ledger, now, 1), OverSpendingLimit);
    }
}

#[test]
fn a_loosening_counts_from_its_time_on() {
    let mut ledger = network_of_two();
    set(&mut ledger, 0, settings(limit(10, DAY), HOUR, true));
    set(&mut ledger, 0, settings(limit(200, DAY), 0, false));
    assert_eq!(pay(&mut ledger, HOUR - 1, 1), AccountBlocked);
    assert_eq!(pay(&mut ledger, HOUR, 201), OverSpendingLimit);
    assert_eq!(pay(&mut ledger, HOUR, 200), Executed);
    assert_eq!(pay(&mut ledger, HOUR, 1), OverSpendingLimit);
    let policy = *ledger.account(&address(ANN)).unwrap().policy().unwrap();
    assert_eq!((policy.pending, policy.settings), (None, settings(limit(200, DAY), 0, false)));
}

#[test]
fn what_comes_in_is_not_blocked() {
    let mut ledger = network_of_two();
    set(&mut ledger, 0, settings(None, HOUR, true));
    let to_ann = Operation::Transfer { outputs: vec![output(ANN, 5, false)] };
    assert_eq!(act(&mut ledger, 0, BOB, Root, to_ann), Ok(Executed));
    assert_eq!(pay(&mut ledger, 0, 1), AccountBlocked);
    assert_eq!(ledger.account(&address(ANN)).unwrap().balance, mites(10_005));
}
