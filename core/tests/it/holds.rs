//! Holds: the table of their states, and what it leaves open.

use crate::helpers::{HOLD_RESERVE, act, address, balance, key, mites, network};
use farthing_core::block::ResultCode::{self, *};
use farthing_core::execution::Ledger;
use farthing_core::hash::Digest;
use farthing_core::hold::{Condition, EXPIRY_AHEAD_MS_MAX, hashlock};
use farthing_core::transaction::{Authority, Capture, OpenHold, Operation, Proof, TransactionId};
use farthing_core::voucher::Voucher;
use std::collections::BTreeMap;

const ANN: u8 = 1;
const BOB: u8 = 2;
const CAT: u8 = 3;
const PREIMAGE: [u8; 32] = [7; 32];
const CLOSE_DELAY: u64 = 3_600_000;
/// The expiry of every hold here, after the genesis.
const EXPIRY: u64 = 10_000_000;
const AMOUNT: u64 = 100;
const START: u64 = crate::helpers::GENESIS_MS;

fn network_of_three() -> Ledger {
    Ledger::genesis(&network(&[(ANN, 10_000), (BOB, 1_000), (CAT, 1_000)]))
}

fn condition(name: &str) -> Condition {
    match name {
        "payee" => Condition::Payee,
        "voucher" => Condition::Voucher { key: key(90).public_key(), close_delay_ms: CLOSE_DELAY },
        "hashlock" => Condition::Hashlock { digest: hashlock(&PREIMAGE) },
        other => panic!("no condition {other:?}"),
    }
}

fn open_operation(condition: Condition) -> Operation {
    let (payee, amount, expires_at_ms) = (address(BOB), mites(AMOUNT), START + EXPIRY);
    Operation::OpenHold(Box::new(OpenHold {
        payee,
        amount,
        condition,
        expires_at_ms,
        reference: Some(Digest([6; 32])),
    }))
}

/// Ann opens a hold for Bob at the genesis.
fn opened(ledger: &mut Ledger, condition: Condition) -> TransactionId {
    let id = crate::helpers::next(ledger, 0, ANN, Authority::Root, open_operation(condition)).id(ledger.chain());
    assert_eq!(root(ledger, 0, ANN, open_operation(condition)), Executed);
    assert!(ledger.hold(&id).is_some());
    id
}

fn root(ledger: &mut Ledger, after_ms: u64, sender: u8, operation: Operation) -> ResultCode {
    act(ledger, after_ms, sender, Authority::Root, operation).unwrap()
}

fn capture(hold: TransactionId, cumulative: u64, proof: Proof, is_final: bool) -> Operation {
    Operation::Capture(Box::new(Capture { hold, cumulative: mites(cumulative), proof, is_final }))
}

fn voucher(ledger: &Ledger, hold: TransactionId, cumulative: u64) -> Proof {
    Proof::Voucher(Voucher::sign(ledger.chain(), hold, mites(cumulative), &key(90)).signature)
}

/// The operation of the table by this name.
fn operation(name: &str, ledger: &Ledger, condition: &str, hold: TransactionId) -> Operation {
    let usual = if condition == "hashlock" { AMOUNT } else { 40 };
    let good = |cumulative| match condition {
        "payee" => Proof::None,
        "hashlock" => Proof::Preimage(PREIMAGE),
        _ => voucher(ledger, hold, cumulative),
    };
    let wrong = match condition {
        "payee" => Proof::Preimage(PREIMAGE),
        "hashlock" => Proof::Preimage([8; 32]),
        _ => voucher(ledger, hold, usual + 1),
    };
    match name {
        "capture" => capture(hold, usual, good(usual), false),
        "final" => capture(hold, usual, good(usual), true),
        "wrong" => capture(hold, usual, wrong, false),
        "excess" => capture(hold, AMOUNT + 1, good(AMOUNT + 1), false),
        "top_up" => Operation::TopUp { hold, amount: mites(10), expires_at_ms: START + EXPIRY + 1 },
        "shorter" => Operation::TopUp { hold, amount: mites(10), expires_at_ms: START + EXPIRY - 1 },
        "release" => Operation::Release { hold },
        other => panic!("no operation {other:?}"),
    }
}

/// Each line says, for all combinations of what it lists: the code; what Ann and Bob get; what becomes of the hold.
const TABLE: &str = "
    payee            open            bob         capture                    Executed          0    40  open
    payee            open            bob         final                      Executed          190  40  gone
    payee            open            bob         wrong                      BadProof          0    0   open
    payee            open            bob         excess                     WrongCumulative   0    0   open
    payee            open            ann,cat     capture,final,wrong,excess NotEntitled       0    0   open
    payee            expired         ann,cat     capture,final,wrong,excess NotEntitled       0    0   open
    payee            expired         bob         capture,final,wrong,excess HoldEnded         0    0   open

    hashlock         open            ann,bob,cat capture                    Executed          130  100 gone
    hashlock         open            bob         final                      Executed          130  100 gone
    hashlock         open            ann,cat     final                      NotEntitled       0    0   open
    hashlock         open            ann,bob,cat wrong                      BadProof          0    0   open
    hashlock         open            ann,bob,cat excess                     WrongCumulative   0    0   open
    hashlock         expired         ann,bob,cat capture,wrong,excess       HoldEnded         0    0   open
    hashlock         expired         bob         final                      HoldEnded         0    0   open
    hashlock         expired         ann,cat     final                      NotEntitled       0    0   open

    voucher          open            ann,bob,cat capture                    Executed          0    40  open
    voucher          closing         ann,bob,cat capture                    Executed          0    40  closing
    voucher          open,closing    bob         final                      Executed          190  40  gone
    voucher          open            ann,cat     final                      NotEntitled       0    0   open
    voucher          open            ann,bob,cat wrong                      BadProof          0    0   open
    voucher          open            ann,bob,cat excess                     WrongCumulative   0    0   open
    voucher          closing         ann,cat     final                      NotEntitled       0    0   closing
    voucher          closing         ann,bob,cat wrong                      BadProof          0    0   closing
    voucher          closing         ann,bob,cat excess                     WrongCumulative   0    0   closing
    voucher          expired         ann,bob,cat capture,wrong,excess       HoldEnded         0    0   open
    voucher          closed          ann,bob,cat capture,wrong,excess       HoldEnded         0    0   closing
    voucher          expired         bob         final                      HoldEnded         0    0   open
    voucher          closed          bob         final                      HoldEnded         0    0   closing
    voucher          expired         ann,cat     final                      NotEntitled       0    0   open
    voucher          closed          ann,cat     final                      NotEntitled       0    0   closing

    payee,hashlock,voucher open      ann         top_up                     Executed          -10  0   open
    payee,hashlock,voucher open      ann         shorter                    ExpiryOutOfRange  0    0   open
    payee,hashlock,voucher expired   ann         top_up,shorter             HoldEnded         0    0   open
    payee,hashlock,voucher open,expired bob,cat  top_up,shorter             NotEntitled       0    0   open
    voucher          closing         ann         top_up,shorter             HoldClosing       0    0   closing
    voucher          closed          ann         top_up,shorter             HoldEnded         0    0   closing
    voucher          closing,closed  bob,cat     top_up,shorter             NotEntitled       0    0   closing

    payee,hashlock,voucher open,expired bob      release                    Executed          230  0   gone
    payee,hashlock,voucher expired   ann,cat     release                    Executed          230  0   gone
    payee,hashlock   open            ann,cat     release                    NotEntitled       0    0   open
    voucher          closing,closed  bob         release                    Executed          230  0   gone
    voucher          closed          ann,cat     release                    Executed          230  0   gone
    voucher          open            ann         release                    Executed          0    0   closing
    voucher          closing         ann         release                    Executed          0    0   closing
    voucher          open            cat         release                    NotEntitled       0    0   open
    voucher          closing         cat         release                    NotEntitled       0    0   closing
";

#[test]
fn every_transition_and_refusal() {
    let mut seen = BTreeMap::new();
    for line in TABLE.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [conditions, states, actors, operations, code, ann, bob, after] = fields[..] else { panic!("{line}") };
        for condition in conditions.split(',') {
            for state in states.split(',') {
                for actor in actors.split(',') {
                    for operation in operations.split(',') {
                        let case = [condition, state, actor, operation];
                        assert_eq!(seen.insert(case, line), None, "{case:?} stands twice");
                        check(case, code, ann.parse().unwrap(), bob.parse().unwrap(), after);
                    }
                }
            }
        }
    }
    // Two conditions with two states, one with four; three actors; seven operations.
    assert_eq!(seen.len(), (2 * 2 + 4) * 3 * 7, "the table is complete");
}

fn check([condition_name, state, actor, name]: [&str; 4], code: &str, ann: i64, bob: i64, after: &str) {
    let case = format!("{condition_name} {state} {actor} {name}");
    let mut ledger = network_of_three();
    let hold = opened(&mut ledger, condition(condition_name));
    if ["closing", "closed"].contains(&state) {
        assert_eq!(root(&mut ledger, 1_000, ANN, Operation::Release { hold }), Executed, "{case}");
    }
    let now = match state {
        "open" | "closing" => 2_000,
        "closed" => 1_000 + CLOSE_DELAY,
        _ => EXPIRY,
    };
    let sender = match actor {
        "ann" => ANN,
        "bob" => BOB,
        _ => CAT,
    };
    let before = [ANN, BOB, CAT].map(|person| balance(&ledger, person).unwrap() as i64);
    let operation = operation(name, &ledger, condition_name, hold);
    let result = root(&mut ledger, now, sender, operation);
    assert_eq!(format!("{result:?}"), code, "{case}");
    let gained = [ANN, BOB, CAT].map(|person| balance(&ledger, person).unwrap() as i64);
    assert_eq!([gained[0] - before[0], gained[1] - before[1], gained[2] - before[2]], [ann, bob, 0], "{case}");
    let left = ledger.hold(&hold);
    let stands = match left {
        None => "gone",
        Some(hold) if hold.closing_at_ms.is_some() => "closing",
        Some(_) => "open",
    };
    assert_eq!(stands, after, "{case}");
    let closing_at_ms = left.and_then(|hold| hold.closing_at_ms);
    let started = if state == "open" { 2_000 } else { 1_000 };
    assert!(closing_at_ms.is_none_or(|at_ms| at_ms == START + started + CLOSE_DELAY), "{case}: closing starts once");
    ledger.audit();
}

#[test]
fn a_hold_ends_at_the_millisecond() {
    for (condition_name, close_at, end) in
        [("payee", None, EXPIRY), ("voucher", Some(1_000), 1_000 + CLOSE_DELAY), ("voucher", Some(EXPIRY - 5), EXPIRY)]
    {
        for (now, code) in [(end - 1, Executed), (end, HoldEnded)] {
            let mut ledger = network_of_three();
            let hold = opened(&mut ledger, condition(condition_name));
            if let Some(close_at) = close_at {
                assert_eq!(root(&mut ledger, close_at, ANN, Operation::Release { hold }), Executed);
            }
            assert_eq!(ledger.hold(&hold).unwrap().end_ms(), START + end);
            let capture = operation("capture", &ledger, condition_name, hold);
            assert_eq!(
                root(&mut ledger, now, BOB, capture),
                code,
                "{condition_name} closed at {close_at:?}, now {now}"
            );
        }
    }
}

#[test]
fn captures_are_cumulative_and_come_in_any_order() {
    let mut ledger = network_of_three();
    let hold = opened(&mut ledger, condition("voucher"));
    let mut paid = Vec::new();
    for cumulative in [30, 10, 30, 0, 55, 54, 100] {
        let proof = voucher(&ledger, hold, cumulative);
        // Cat watches for Bob.
        assert_eq!(root(&mut ledger, 10, CAT, capture(hold, cumulative, proof, false)), Executed);
        paid.push(balance(&ledger, BOB).unwrap() - 1_000);
    }
    assert_eq!(paid, [30, 30, 30, 30, 55, 55, 100]);
    // All of it is captured, and the hold stays until it is released.
    assert_eq!(ledger.hold(&hold).unwrap().rest(), mites(0));
    assert_eq!(root(&mut ledger, 20, BOB, Operation::Release { hold }), Executed);
    assert_eq!(balance(&ledger, ANN), Some(9_900), "the reserve returned");
    assert_eq!(root(&mut ledger, 30, BOB, Operation::Release { hold }), NoSuchHold);
    assert_eq!(
        (ledger.account(&address(ANN)).unwrap().holds(), ledger.account(&address(BOB)).unwrap().holds()),
        (0, 0)
    );
}

#[test]
fn a_voucher_is_for_one_hold_on_one_network() {
    let mut ledger = network_of_three();
    let (first, second) = (opened(&mut ledger, condition("voucher")), opened(&mut ledger, condition("voucher")));
    let elsewhere = Voucher::sign(&Digest([1; 32]), first, mites(40), &key(90));
    for (hold, proof) in [
        (second, voucher(&ledger, first, 40)),
        (first, Proof::Voucher(elsewhere.signature)),
        (first, Proof::Voucher(Voucher::sign(ledger.chain(), first, mites(40), &key(ANN)).signature)),
        (first, Proof::None),
    ] {
        assert_eq!(root(&mut ledger, 10, BOB, capture(hold, 40, proof, false)), BadProof);
    }
}

#[test]
fn a_top_up_lets_more_be_captured_for_longer() {
    let mut ledger = network_of_three();
    let hold = opened(&mut ledger, condition("payee"));
    let longer = |expires_at| Operation::TopUp { hold, amount: mites(50), expires_at_ms: START + expires_at };
    assert_eq!(root(&mut ledger, 10, BOB, capture(hold, 101, Proof::None, false)), WrongCumulative);
    assert_eq!(root(&mut ledger, 10, ANN, longer(EXPIRY)), Executed, "the same expiry is not earlier");
    assert_eq!(root(&mut ledger, 10, ANN, longer(EXPIRY + 5)), Executed);
    assert_eq!(balance(&ledger, ANN), Some(10_000 - AMOUNT - HOLD_RESERVE - 100));
    assert_eq!(root(&mut ledger, EXPIRY + 4, BOB, capture(hold, 200, Proof::None, true)), Executed);
    assert_eq!((balance(&ledger, ANN), balance(&ledger, BOB)), (Some(9_800), Some(1_200)));
}

#[test]
fn the_expiry_lies_at_most_400_days_ahead() {
    let mut ledger = network_of_three();
    let now = 5_000;
    let open = |expires_at_ms| {
        let (payee, amount, condition) = (address(BOB), mites(1), Condition::Payee);
        Operation::OpenHold(Box::new(OpenHold { payee, amount, condition, expires_at_ms, reference: None }))
    };
    let last = START + now + EXPIRY_AHEAD_MS_MAX;
    let table = [
        (0, ExpiryOutOfRange),
        (START + now, ExpiryOutOfRange),
        (START + now + 1, Executed),
        (last, Executed),
        (last + 1, ExpiryOutOfRange),
        (u64::MAX, ExpiryOutOfRange),
    ];
    for (expires_at_ms, code) in table {
        assert_eq!(root(&mut ledger, now, ANN, open(expires_at_ms)), code, "{expires_at_ms}");
    }
    let hold = opened_later(&mut ledger, now, open(last));
    let top_up = |expires_at_ms| Operation::TopUp { hold, amount: mites(1), expires_at_ms };
    assert_eq!(root(&mut ledger, now, ANN, top_up(last)), Executed);
    assert_eq!(root(&mut ledger, now, ANN, top_up(last + 1)), ExpiryOutOfRange);
}

fn opened_later(ledger: &mut Ledger, now: u64, operation: Operation) -> TransactionId {
    let id = crate::helpers::next(ledger, now, ANN, Authority::Root, operation.clone()).id(ledger.chain());
    assert_eq!(root(ledger, now, ANN, operation), Executed);
    id
}

#[test]
fn one_preimage_swaps_two_holds() {
    let mut ledger = network_of_three();
    let there = opened(&mut ledger, condition("hashlock"));
    let back = OpenHold {
        payee: address(ANN),
        amount: mites(70),
        condition: condition("hashlock"),
        expires_at_ms: START + EXPIRY / 2,
        reference: None,
    };
    let operation = Operation::OpenHold(Box::new(back));
    let back = crate::helpers::next(&ledger, 0, BOB, Authority::Root, operation.clone()).id(ledger.chain());
    assert_eq!(root(&mut ledger, 0, BOB, operation), Executed);
    assert_eq!(root(&mut ledger, 10, ANN, capture(back, 70, Proof::Preimage(PREIMAGE), false)), Executed);
    assert_eq!(root(&mut ledger, 20, BOB, capture(there, AMOUNT, Proof::Preimage(PREIMAGE), false)), Executed);
    assert_eq!((balance(&ledger, ANN), balance(&ledger, BOB)), (Some(10_000 - 100 + 70), Some(1_000 + 100 - 70)));
}

/// The payer sees the preimage in a capture that is under way, and tops the hold up ahead of it.
#[test]
fn a_top_up_does_not_stop_the_capture_of_a_hashlock() {
    let mut ledger = network_of_three();
    let hold = opened(&mut ledger, condition("hashlock"));
    let top_up = Operation::TopUp { hold, amount: mites(1), expires_at_ms: START + EXPIRY };
    assert_eq!(root(&mut ledger, 10, ANN, top_up), Executed);
    assert_eq!(root(&mut ledger, 10, BOB, capture(hold, AMOUNT, Proof::Preimage(PREIMAGE), false)), Executed);
    assert_eq!((balance(&ledger, ANN), balance(&ledger, BOB)), (Some(10_000 - AMOUNT - 1), Some(1_000 + AMOUNT + 1)));
    assert!(ledger.hold(&hold).is_none());
}

#[test]
fn what_holds_pay_is_told_to_histories() {
    let mut ledger = network_of_three();
    let hold = opened(&mut ledger, condition("payee"));
    let last = crate::helpers::next(&ledger, 10, BOB, Authority::Root, capture(hold, 40, Proof::None, true));
    let block = crate::helpers::commit(&mut ledger, 10, &[last]).block.unwrap();
    let moves: Vec<_> =
        block.moves.iter().map(|(position, moved)| (*position, moved.from, moved.to, moved.amount.mites())).collect();
    assert_eq!(moves, [(0, address(ANN), address(BOB), 40), (0, address(BOB), address(ANN), 60 + HOLD_RESERVE)]);
    assert!(block.moves.iter().all(|(_, moved)| moved.reference == Some([6; 32])));
}

/// Money that was captured can be set aside again, so what a hold saw in all is not bounded by the supply.
#[test]
fn a_hold_never_sees_more_than_can_be_counted() {
    let reserve = mites(5_000_000_000);
    let parameters = farthing_core::genesis::Parameters {
        account_reserve: reserve,
        hold_reserve: reserve,
        key_reserve: reserve,
        ..crate::helpers::parameters()
    };
    let half = 1 << 63;
    let mut ledger = Ledger::genesis(&crate::helpers::network_with(parameters, &[(ANN, u64::MAX - 1), (BOB, 1)]));
    let hold = opened(&mut ledger, condition("payee"));
    let top_up = |amount| Operation::TopUp { hold, amount: mites(amount), expires_at_ms: START + EXPIRY };
    let pay_back = |amount| Operation::Transfer { outputs: vec![crate::helpers::output(ANN, amount, false)] };
    assert_eq!(root(&mut ledger, 0, ANN, top_up(half)), Executed);
    assert_eq!(root(&mut ledger, 0, BOB, capture(hold, half, Proof::None, false)), Executed);
    assert_eq!(root(&mut ledger, 0, BOB, pay_back(half)), Executed);
    assert_eq!(root(&mut ledger, 0, ANN, top_up(half)), AmountOverflow);
    assert_eq!(root(&mut ledger, 0, ANN, top_up(half - AMOUNT)), AmountOverflow);
    assert_eq!(root(&mut ledger, 0, ANN, top_up(half - AMOUNT - 1)), Executed);
    assert_eq!(root(&mut ledger, 0, BOB, capture(hold, u64::MAX, Proof::None, true)), Executed);
    ledger.audit();
}
