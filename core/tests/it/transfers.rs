//! Tables of transfers: what each does to everybody's money, and which code wins where several apply.

use crate::helpers::{RESERVE, address, commit, mites, network, outcome, output, transfer};
use farthing_core::block::ResultCode::{self, *};
use farthing_core::execution::Ledger;
use farthing_core::transaction::Output;

const ANN: u8 = 1;
const BOB: u8 = 2;
/// Nobody has an account for these two.
const CAT: u8 = 3;
const DAN: u8 = 4;

/// Ann, who has 1,000 mites, makes a transfer; Bob has 500.
fn check(name: &str, outputs: Vec<Output>, code: ResultCode, ann: u64, bob: u64, cat: Option<u64>, dan: Option<u64>) {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 1_000), (BOB, 500)]));
    let execution = commit(&mut ledger, 0, &[transfer(ANN, 1, outputs)]);
    assert_eq!(outcome(&execution), Ok(code), "{name}");
    let balance = |person| ledger.account(&address(person)).map(|account| account.balance);
    assert_eq!(balance(ANN), Some(mites(ann)), "{name}: Ann");
    assert_eq!(balance(BOB), Some(mites(bob)), "{name}: Bob");
    assert_eq!(balance(CAT), cat.map(mites), "{name}: Cat");
    assert_eq!(balance(DAN), dan.map(mites), "{name}: Dan");
    let nonces = ledger.account(&address(ANN)).unwrap().nonces;
    assert_eq!((nonces.high(), nonces.seen()), (1, 1), "{name}: the nonce is consumed, executed or rejected");
    ledger.audit();
}

fn executes(name: &str, outputs: Vec<Output>, ann: u64, bob: u64, cat: Option<u64>, dan: Option<u64>) {
    check(name, outputs, Executed, ann, bob, cat, dan);
}

fn rejects(name: &str, outputs: Vec<Output>, code: ResultCode) {
    check(name, outputs, code, 1_000, 500, None, None);
}

#[test]
fn a_transfer_pays_its_outputs() {
    executes("one", vec![output(BOB, 1, false)], 999, 501, None, None);
    executes("all of it", vec![output(BOB, 1_000, false)], 0, 1_500, None, None);
    executes("open does nothing to an account there is", vec![output(BOB, 5, true)], 995, 505, None, None);
    executes("one payee twice", vec![output(BOB, 5, false), output(BOB, 6, false)], 989, 511, None, None);
    executes("oneself", vec![output(ANN, 1_000, false)], 1_000, 500, None, None);
    executes("oneself and another", vec![output(ANN, 900, false), output(BOB, 100, false)], 900, 600, None, None);
}

#[test]
fn opening_locks_the_reserve_at_its_turn() {
    executes("an account is opened", vec![output(CAT, 1, true)], 899, 500, Some(1), None);
    executes("all the rest is the reserve", vec![output(CAT, 900, true)], 0, 500, Some(900), None);
    executes("two", vec![output(CAT, 1, true), output(DAN, 2, true)], 797, 500, Some(1), Some(2));
    executes("one, twice", vec![output(CAT, 1, true), output(CAT, 2, true)], 897, 500, Some(3), None);
    executes(
        "opened before, not to be opened now",
        vec![output(CAT, 1, true), output(CAT, 2, false)],
        897,
        500,
        Some(3),
        None,
    );
    let reserve_from_oneself = vec![output(ANN, 100, false), output(CAT, 900, true)];
    executes("what one pays oneself pays a later reserve", reserve_from_oneself, 0, 500, Some(900), None);
}

#[test]
fn each_failure_has_its_code() {
    rejects("overflow", vec![output(BOB, u64::MAX, false), output(BOB, 1, false)], AmountOverflow);
    rejects("too much", vec![output(BOB, 1_001, false)], InsufficientBalance);
    rejects("too much in sum", vec![output(BOB, 500, false), output(BOB, 501, false)], InsufficientBalance);
    rejects("more than one has to oneself", vec![output(ANN, 1_001, false)], InsufficientBalance);
    rejects("nobody there", vec![output(CAT, 1, false)], NoSuchAccount);
    rejects("opened too late", vec![output(CAT, 1, false), output(CAT, 1, true)], NoSuchAccount);
    rejects("no money for the reserve", vec![output(CAT, 901, true)], InsufficientReserve);
    rejects("nor for two", vec![output(CAT, 401, true), output(DAN, 400, true)], InsufficientReserve);
    let too_late = vec![output(CAT, 900, true), output(ANN, 100, false)];
    rejects("what one pays oneself does not pay an earlier reserve", too_late, InsufficientReserve);
}

#[test]
fn of_two_failures_the_lower_code_wins() {
    let overflow = || vec![output(BOB, u64::MAX, false), output(BOB, u64::MAX, false)];
    let too_much = || vec![output(BOB, 1_001, false)];
    let nobody = || vec![output(CAT, 1, false)];
    let no_reserve = || vec![output(DAN, 950, true)];
    let pairs = [
        (nobody(), overflow(), NoSuchAccount),
        (nobody(), too_much(), NoSuchAccount),
        (nobody(), no_reserve(), NoSuchAccount),
        (overflow(), too_much(), AmountOverflow),
        (overflow(), no_reserve(), AmountOverflow),
        (too_much(), no_reserve(), InsufficientBalance),
    ];
    for (first, second, code) in pairs {
        rejects("in one order", [first.clone(), second.clone()].concat(), code);
        rejects("in the other", [second, first].concat(), code);
    }
}

#[test]
fn an_opened_account_knows_its_sponsor_and_can_pay() {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 1_000)]));
    commit(
        &mut ledger,
        0,
        &[transfer(ANN, 1, vec![output(CAT, 50, true)]), transfer(CAT, 1, vec![output(ANN, 20, false)])],
    );
    let cat = ledger.account(&address(CAT)).unwrap();
    assert_eq!((cat.balance, cat.reserve, cat.sponsor), (mites(30), mites(RESERVE), Some(address(ANN))));
    assert_eq!(ledger.account(&address(ANN)).unwrap().balance, mites(1_000 - 100 - 50 + 20));
    assert_eq!(ledger.state().slot_of(&address(CAT)), Some(2));
    assert_eq!((ledger.account_count(), ledger.state().slot_count()), (2, 3));
}

#[test]
fn a_transfer_of_the_most_outputs_executes() {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 1_024), (BOB, 1)]));
    let execution = commit(&mut ledger, 0, &[transfer(ANN, 1, vec![output(BOB, 1, false); 1_024])]);
    assert_eq!(outcome(&execution), Ok(Executed));
    assert_eq!(ledger.account(&address(BOB)).unwrap().balance, mites(1_025));
}
