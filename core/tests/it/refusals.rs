//! The table of operations and refusals: every code that an operation can meet, met; and which comes first.

use crate::helpers::{GENESIS_MS, RESERVE, act, address, balance, key, mites, network, next, output};
use farthing_core::block::ResultCode::{self, *};
use farthing_core::delegated_key::{KEYS_MAX, KeyLimits, KeyOperations};
use farthing_core::execution::Ledger;
use farthing_core::hash::Digest;
use farthing_core::hold::Condition;
use farthing_core::keys::PublicKey;
use farthing_core::policy::PolicySettings;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{
    Authority::{self, Root},
    Capture, OpenHold, Operation, Proof, SetKey, TransactionId,
};
use std::collections::BTreeSet;

const ANN: u8 = 1;
const BOB: u8 = 2;
const CAT: u8 = 3;
const NOBODY: u8 = 9;
const DAY: u64 = 86_400_000;
/// Operations take place this long after the genesis, their preparation at the genesis.
const NOW: u64 = 1_000;

/// The rows of the table in the documentation of the crate, without `Executed`, which all can meet.
const TABLE: [(&str, &[ResultCode]); 9] = [
    (
        "Transfer",
        &[
            OperationNotAllowed,
            NoSuchAccount,
            AmountOverflow,
            PayeeNotAllowed,
            OverTransactionLimit,
            OverKeyLimit,
            AccountBlocked,
            OverSpendingLimit,
            InsufficientBalance,
            InsufficientReserve,
        ],
    ),
    (
        "OpenHold",
        &[
            OperationNotAllowed,
            PayeeIsSender,
            NoSuchAccount,
            ExpiryOutOfRange,
            PayeeNotAllowed,
            OverTransactionLimit,
            OverKeyLimit,
            AccountBlocked,
            OverSpendingLimit,
            InsufficientBalance,
            InsufficientReserve,
        ],
    ),
    ("Capture", &[OperationNotAllowed, NoSuchHold, NotEntitled, HoldEnded, WrongCumulative, BadProof]),
    ("Release", &[OperationNotAllowed, NoSuchHold, NotEntitled]),
    (
        "TopUp",
        &[
            OperationNotAllowed,
            NoSuchHold,
            NotEntitled,
            HoldEnded,
            HoldClosing,
            ExpiryOutOfRange,
            AmountOverflow,
            PayeeNotAllowed,
            OverTransactionLimit,
            OverKeyLimit,
            AccountBlocked,
            OverSpendingLimit,
            InsufficientBalance,
        ],
    ),
    ("SetKey", &[OperationNotAllowed, TooManyKeys, AccountBlocked, OverSpendingLimit, InsufficientReserve]),
    ("RemoveKey", &[OperationNotAllowed, NoSuchKey]),
    ("SetPolicy", &[OperationNotAllowed]),
    ("Reclaim", &[OperationNotAllowed, NoSuchAccount, NotReclaimable]),
];

fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Transfer { .. } => "Transfer",
        Operation::OpenHold(_) => "OpenHold",
        Operation::Capture(_) => "Capture",
        Operation::Release { .. } => "Release",
        Operation::TopUp { .. } => "TopUp",
        Operation::SetKey(_) => "SetKey",
        Operation::RemoveKey { .. } => "RemoveKey",
        Operation::SetPolicy(_) => "SetPolicy",
        Operation::Reclaim { .. } => "Reclaim",
    }
}

fn app() -> PublicKey {
    key(60).public_key()
}

fn anything() -> KeyLimits {
    KeyLimits { operations: KeyOperations::ALL, payees: None, transaction_max: None, limit: None, expires_at_ms: None }
}

fn daily(amount: u64) -> Option<SpendingLimit> {
    Some(SpendingLimit { amount: mites(amount), period_ms: DAY })
}

fn set_key(public_key: PublicKey, limits: KeyLimits) -> Operation {
    Operation::SetKey(Box::new(SetKey { public_key, limits }))
}

fn set_policy(limit: Option<SpendingLimit>, blocked: bool) -> Operation {
    Operation::SetPolicy(Box::new(PolicySettings { limit, raise_delay_ms: 0, blocked }))
}

fn pay(to: u8, amount: u64) -> Operation {
    Operation::Transfer { outputs: vec![output(to, amount, false)] }
}

fn open(payee: u8, amount: u64, expires_at_ms: u64) -> Operation {
    let (payee, amount, condition) = (address(payee), mites(amount), Condition::Payee);
    Operation::OpenHold(Box::new(OpenHold { payee, amount, condition, expires_at_ms, reference: None }))
}

fn capture(hold: TransactionId, cumulative: u64, proof: Proof) -> Operation {
    Operation::Capture(Box::new(Capture { hold, cumulative: mites(cumulative), proof, is_final: false }))
}

/// A network where Ann has 2,000 mites left after what was prepared, an app's key, and two holds for Bob: one that he captures at will,
/// one with vouchers.
struct Scene {
    ledger: Ledger,
    hold: TransactionId,
    channel: TransactionId,
}

fn scene() -> Scene {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 5_000), (BOB, 1_000), (CAT, 1_000)]));
    act(&mut ledger, 0, ANN, Root, set_key(app(), anything())).unwrap();
    let expires_at_ms = GENESIS_MS + DAY;
    let mut opened = |condition| {
        let (payee, amount) = (address(BOB), mites(100));
        let operation =
            Operation::OpenHold(Box::new(OpenHold { payee, amount, condition, expires_at_ms, reference: None }));
        let id = next(&ledger, 0, ANN, Root, operation.clone()).id(ledger.chain());
        assert_eq!(act(&mut ledger, 0, ANN, Root, operation), Ok(Executed));
        id
    };
    let hold = opened(Condition::Payee);
    let channel = opened(Condition::Voucher { key: key(90).public_key(), close_delay_ms: 3_600_000 });
    let rest = balance(&ledger, ANN).unwrap() - 2_000;
    assert_eq!(act(&mut ledger, 0, ANN, Root, pay(CAT, rest)), Ok(Executed));
    Scene { ledger, hold, channel }
}

/// All cases that have been met.
#[derive(Default)]
struct Met(BTreeSet<(&'static str, ResultCode)>);

impl Met {
    /// Meets a code, after a preparation by Root of Ann.
    fn check(
        &mut self,
        code: ResultCode,
        prepare: &[Operation],
        now: u64,
        sender: u8,
        authority: Authority,
        operation: impl Fn(&Scene) -> Operation,
    ) {
        let mut scene = scene();
        for preparation in prepare {
            assert_eq!(act(&mut scene.ledger, 0, ANN, Root, preparation.clone()), Ok(Executed));
        }
        let operation = operation(&scene);
        let name = name(&operation);
        let before = [ANN, BOB, CAT].map(|person| balance(&scene.ledger, person));
        let result = act(&mut scene.ledger, now, sender, authority, operation);
        assert_eq!(result, Ok(code), "{name} as {code:?}");
        assert_eq!([ANN, BOB, CAT].map(|person| balance(&scene.ledger, person)), before, "{name}: nothing moves");
        scene.ledger.audit();
        self.0.insert((name, code));
    }
}

#[test]
fn every_operation_meets_every_refusal_of_its_row() {
    let mut met = Met::default();
    let later = GENESIS_MS + DAY;
    let by_app = Authority::Key(app());

    // What the limits of keys and policies refuse, of everything that spends.
    let limited = |limits: KeyLimits| [set_key(app(), limits)];
    let spending: [fn(&Scene) -> Operation; 3] = [
        |_| pay(BOB, 50),
        |_| open(BOB, 50, GENESIS_MS + DAY),
        |scene| Operation::TopUp { hold: scene.hold, amount: mites(50), expires_at_ms: GENESIS_MS + DAY },
    ];
    for operation in spending {
        let none = KeyLimits { operations: KeyOperations::NONE, ..anything() };
        met.check(OperationNotAllowed, &limited(none), NOW, ANN, by_app, operation);
        let payees = KeyLimits { payees: Some(vec![address(CAT)]), ..anything() };
        met.check(PayeeNotAllowed, &limited(payees), NOW, ANN, by_app, operation);
        let small = KeyLimits { transaction_max: Some(mites(49)), ..anything() };
        met.check(OverTransactionLimit, &limited(small), NOW, ANN, by_app, operation);
        met.check(OverKeyLimit, &limited(KeyLimits { limit: daily(49), ..anything() }), NOW, ANN, by_app, operation);
        met.check(AccountBlocked, &[set_policy(None, true)], NOW, ANN, Root, operation);
        met.check(OverSpendingLimit, &[set_policy(daily(49), false)], NOW, ANN, Root, operation);
    }
    let set_another = |_: &Scene| set_key(key(61).public_key(), anything());
    met.check(AccountBlocked, &[set_policy(None, true)], NOW, ANN, Root, set_another);
    met.check(OverSpendingLimit, &[set_policy(daily(109), false)], NOW, ANN, Root, set_another);

    // What only Root may do, and what a key may if it is told so.
    let none = || limited(KeyLimits { operations: KeyOperations::NONE, ..anything() });
    met.check(OperationNotAllowed, &none(), NOW, ANN, by_app, |scene| capture(scene.channel, 1, Proof::None));
    met.check(OperationNotAllowed, &none(), NOW, ANN, by_app, |scene| Operation::Release { hold: scene.channel });
    met.check(OperationNotAllowed, &none(), NOW, ANN, by_app, |_| Operation::Reclaim { account: address(BOB) });
    met.check(OperationNotAllowed, &[], NOW, ANN, by_app, set_another);
    met.check(OperationNotAllowed, &[], NOW, ANN, by_app, |_| Operation::RemoveKey { public_key: app() });
    met.check(OperationNotAllowed, &[], NOW, ANN, by_app, |_| set_policy(None, false));

    // Transfers.
    met.check(NoSuchAccount, &[], NOW, ANN, Root, |_| pay(NOBODY, 1));
    met.check(AmountOverflow, &[], NOW, ANN, Root, |_| Operation::Transfer {
        outputs: vec![output(BOB, u64::MAX, false), output(BOB, 1, false)],
    });
    met.check(InsufficientBalance, &[], NOW, ANN, Root, |_| pay(BOB, 2_001));
    met.check(InsufficientReserve, &[], NOW, ANN, Root, |_| Operation::Transfer {
        outputs: vec![output(NOBODY, 2_001 - RESERVE, true)],
    });

    // Holds.
    met.check(PayeeIsSender, &[], NOW, ANN, Root, |_| open(ANN, 1, later));
    met.check(NoSuchAccount, &[], NOW, ANN, Root, |_| open(NOBODY, 1, later));
    met.check(ExpiryOutOfRange, &[], NOW, ANN, Root, |_| open(BOB, 1, GENESIS_MS + NOW));
    met.check(InsufficientBalance, &[], NOW, ANN, Root, |_| open(BOB, 2_001, later));
    met.check(InsufficientBalance, &[], NOW, ANN, Root, |_| open(BOB, u64::MAX, later));
    met.check(InsufficientReserve, &[], NOW, ANN, Root, |_| open(BOB, 2_000, later));

    let gone = Digest([5; 32]);
    met.check(NoSuchHold, &[], NOW, BOB, Root, |_| capture(gone, 1, Proof::None));
    met.check(NotEntitled, &[], NOW, ANN, Root, |scene| capture(scene.hold, 1, Proof::None));
    met.check(HoldEnded, &[], DAY, BOB, Root, |scene| capture(scene.hold, 1, Proof::None));
    met.check(WrongCumulative, &[], NOW, BOB, Root, |scene| capture(scene.hold, 101, Proof::None));
    met.check(BadProof, &[], NOW, BOB, Root, |scene| capture(scene.hold, 1, Proof::Preimage([0; 32])));

    met.check(NoSuchHold, &[], NOW, BOB, Root, |_| Operation::Release { hold: gone });
    met.check(NotEntitled, &[], NOW, ANN, Root, |scene| Operation::Release { hold: scene.hold });

    let top_up = |hold, amount, expires_at_ms| Operation::TopUp { hold, amount: mites(amount), expires_at_ms };
    met.check(NoSuchHold, &[], NOW, ANN, Root, |_| top_up(gone, 1, later));
    met.check(NotEntitled, &[], NOW, BOB, Root, |scene| top_up(scene.hold, 1, later));
    met.check(HoldEnded, &[], DAY, ANN, Root, |scene| top_up(scene.hold, 1, later + DAY));
    let closing = Operation::Release { hold: scene().channel };
    met.check(HoldClosing, &[closing], NOW, ANN, Root, |scene| top_up(scene.channel, 1, later));
    met.check(ExpiryOutOfRange, &[], NOW, ANN, Root, |scene| top_up(scene.hold, 1, later - 1));
    met.check(AmountOverflow, &[], NOW, ANN, Root, |scene| top_up(scene.hold, u64::MAX - 99, later));
    met.check(InsufficientBalance, &[], NOW, ANN, Root, |scene| top_up(scene.hold, 2_001, later));
    met.check(InsufficientBalance, &[], NOW, ANN, Root, |scene| top_up(scene.hold, u64::MAX - 100, later));

    // Keys.
    let others: Vec<Operation> = (1..KEYS_MAX as u8).map(|n| set_key(key(100 + n).public_key(), anything())).collect();
    met.check(TooManyKeys, &others, NOW, ANN, Root, |_| set_key(key(99).public_key(), anything()));
    met.check(InsufficientReserve, &[pay(CAT, 1_900)], NOW, ANN, Root, set_another);
    met.check(NoSuchKey, &[], NOW, ANN, Root, |_| Operation::RemoveKey { public_key: key(61).public_key() });

    // Reclaims.
    met.check(NoSuchAccount, &[], NOW, ANN, Root, |_| Operation::Reclaim { account: address(NOBODY) });
    met.check(NotReclaimable, &[], NOW, ANN, Root, |_| Operation::Reclaim { account: address(BOB) });

    let table: BTreeSet<_> =
        TABLE.into_iter().flat_map(|(name, codes)| codes.iter().map(move |code| (name, *code))).collect();
    assert_eq!(met.0, table, "the table is complete, and nothing else is met");
}

/// A transfer by a key that breaks every rule there is; as one after the other is mended, the next code comes to light.
#[test]
fn the_lowest_code_wins() {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 5_000), (BOB, 1_000)]));
    let by_app = Authority::Key(app());
    let mut limits = KeyLimits {
        operations: KeyOperations::NONE,
        payees: Some(vec![address(CAT)]),
        transaction_max: Some(mites(1)),
        limit: daily(1),
        expires_at_ms: None,
    };
    let set = |ledger: &mut Ledger, limits: &KeyLimits| {
        assert_eq!(act(ledger, 0, ANN, Root, set_key(app(), limits.clone())), Ok(Executed));
    };
    set(&mut ledger, &limits);
    act(&mut ledger, 0, ANN, Root, set_policy(daily(1), true)).unwrap();
    let huge = output(BOB, u64::MAX, false);
    let mut outputs = vec![huge.clone(), huge, output(NOBODY, 6_000, false)];
    let pay = |ledger: &mut Ledger, outputs: &[farthing_core::transaction::Output]| {
        act(ledger, 0, ANN, by_app, Operation::Transfer { outputs: outputs.to_vec() }).unwrap()
    };
    assert_eq!(pay(&mut ledger, &outputs), OperationNotAllowed);
    limits.operations = KeyOperations::TRANSFER;
    set(&mut ledger, &limits);
    assert_eq!(pay(&mut ledger, &outputs), NoSuchAccount);
    outputs[2].open = true;
    assert_eq!(pay(&mut ledger, &outputs), AmountOverflow);
    outputs.drain(..2);
    assert_eq!(pay(&mut ledger, &outputs), PayeeNotAllowed);
    limits.payees = None;
    set(&mut ledger, &limits);
    assert_eq!(pay(&mut ledger, &outputs), OverTransactionLimit);
    limits.transaction_max = None;
    set(&mut ledger, &limits);
    assert_eq!(pay(&mut ledger, &outputs), OverKeyLimit);
    limits.limit = None;
    set(&mut ledger, &limits);
    assert_eq!(pay(&mut ledger, &outputs), AccountBlocked);
    act(&mut ledger, 0, ANN, Root, set_policy(daily(1), false)).unwrap();
    assert_eq!(pay(&mut ledger, &outputs), OverSpendingLimit);
    act(&mut ledger, 0, ANN, Root, set_policy(None, false)).unwrap();
    assert_eq!(pay(&mut ledger, &outputs), InsufficientBalance);
    outputs[0].amount = mites(balance(&ledger, ANN).unwrap());
    assert_eq!(pay(&mut ledger, &outputs), InsufficientReserve);
    outputs[0].amount = mites(balance(&ledger, ANN).unwrap() - RESERVE);
    assert_eq!(pay(&mut ledger, &outputs), Executed);
    ledger.audit();
}

/// The same of an opening of a hold, by Root.
#[test]
fn the_lowest_code_wins_for_holds() {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 300), (BOB, 1_000)]));
    act(&mut ledger, 0, ANN, Root, set_policy(daily(1), true)).unwrap();
    let mut open_hold = |prepare: Option<Operation>, payee: u8, amount: u64, expires_at_ms: u64| {
        if let Some(prepare) = prepare {
            act(&mut ledger, 0, ANN, Root, prepare).unwrap();
        }
        act(&mut ledger, 0, ANN, Root, open(payee, amount, expires_at_ms)).unwrap()
    };
    let later = GENESIS_MS + DAY;
    assert_eq!(open_hold(None, ANN, 301, 0), PayeeIsSender);
    assert_eq!(open_hold(None, NOBODY, 301, 0), NoSuchAccount);
    assert_eq!(open_hold(None, BOB, 301, 0), ExpiryOutOfRange);
    assert_eq!(open_hold(None, BOB, 301, later), AccountBlocked);
    assert_eq!(open_hold(Some(set_policy(daily(1), false)), BOB, 301, later), OverSpendingLimit);
    assert_eq!(open_hold(Some(set_policy(None, false)), BOB, 301, later), InsufficientBalance);
    assert_eq!(open_hold(None, BOB, 171, later), InsufficientReserve);
    assert_eq!(open_hold(None, BOB, 170, later), Executed);
}
