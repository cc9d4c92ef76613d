//! Payment channels: both sides and a watcher against the ledger itself.

use farthing_client::channel::{ChannelError, Payee, Payer, Terms, Watcher};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::block::ResultCode;
use farthing_core::execution::{CommitContext, Ledger};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::hold::Condition;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Authority, OpenHold, Operation, Transaction, TransactionId};
use farthing_core::voucher::Voucher;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const START_MS: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;
const SAFETY_MS: u64 = 10 * 60_000;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn address(n: u8) -> Address {
    Address(key(n).public_key())
}

fn mites(mites: u64) -> Amount {
    Amount::from_mites(mites)
}

/// A ledger of Ann (1), Bob (2) and a watcher (3), in which Ann has opened a channel to Bob that ends in ten hours.
fn opened() -> (Ledger, TransactionId) {
    let validator =
        Validator { name: "one".into(), public_key: key(100).public_key(), network_key: key(101).public_key() };
    let accounts = (1..=3).map(|n| (address(n), Amount::from_far(10).unwrap())).collect();
    let prefix = "tst".parse().unwrap();
    let genesis = Genesis::new("test", &prefix, START_MS, Parameters::generous(), vec![validator], accounts).unwrap();
    let mut ledger = Ledger::genesis(&genesis);
    let open = OpenHold {
        payee: address(2),
        amount: mites(1_000),
        condition: Condition::Voucher { key: key(50).public_key(), close_delay_ms: HOUR },
        expires_at_ms: START_MS + 10 * HOUR,
        reference: None,
    };
    let (code, id) = run(&mut ledger, START_MS, 1, Operation::OpenHold(Box::new(open)));
    assert_eq!(code, ResultCode::Executed);
    (ledger, id)
}

/// Executes an operation.
fn run(ledger: &mut Ledger, now_ms: u64, sender: u8, operation: Operation) -> (ResultCode, TransactionId) {
    let nonce = ledger.account(&address(sender)).unwrap().nonces.next();
    let (sender_address, valid_until_ms) = (address(sender), now_ms + 60_000);
    let transaction =
        Transaction { sender: sender_address, authority: Authority::Root, nonce, valid_until_ms, operation };
    let signed = transaction.sign(ledger.chain(), &key(sender)).verify(ledger.chain()).unwrap();
    let id = signed.id();
    let index = ledger.commit_index() + 1;
    let context = CommitContext { epoch: 0, index, digest: Digest::ZERO, timestamp_ms: now_ms };
    let block = ledger.execute(&context, &[signed]).block.expect("not dropped");
    (block.results[0].1.code, id)
}

fn terms(ledger: &Ledger, id: TransactionId) -> Terms {
    Terms::of(*ledger.chain(), id, ledger.hold(&id).unwrap(), &address(2)).unwrap()
}

#[test]
fn a_stream_of_payments_is_settled_once() {
    let (mut ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let (payer_file, payee_file) = (directory.path().join("payer"), directory.path().join("payee"));
    let mut payer = Payer::create(&payer_file, *ledger.chain(), id, mites(1_000), key(50)).unwrap();
    let mut payee = Payee::create(&payee_file, terms(&ledger, id), SAFETY_MS).unwrap();
    assert!(payee.capture().is_none(), "there is nothing yet");
    for second in 1..=50 {
        // Both are started again now and then.
        if second % 10 == 0 {
            payer = Payer::open(&payer_file, key(50)).unwrap();
            payee = Payee::open(&payee_file).unwrap();
        }
        let voucher = payer.pay(mites(7)).unwrap();
        assert_eq!(payee.accept(&voucher, mites(7), START_MS + 1_000 * second).unwrap(), mites(7));
    }
    let before = ledger.account(&address(2)).unwrap().balance;
    let settle = payee.close().unwrap();
    assert_eq!(run(&mut ledger, START_MS + 60_000, 2, settle).0, ResultCode::Executed);
    assert_eq!(ledger.account(&address(2)).unwrap().balance, before.checked_add(mites(350)).unwrap());
    assert!(ledger.hold(&id).is_none());
}

#[test]
fn a_payer_never_signs_for_more_than_its_budget_nor_for_less_than_before() {
    let (ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payer");
    let mut payer = Payer::create(&path, *ledger.chain(), id, mites(100), key(50)).unwrap();
    assert!(matches!(payer.pay(Amount::ZERO), Err(ChannelError::NothingPaid)));
    assert!(payer.best().is_none());
    let first = payer.pay(mites(60)).unwrap();
    assert!(matches!(payer.pay(mites(41)), Err(ChannelError::OverBudget { .. })));
    assert!(matches!(payer.pay(mites(u64::MAX)), Err(ChannelError::OverBudget { .. })));
    drop(payer);
    let mut payer = Payer::open(&path, key(50)).unwrap();
    assert_eq!((payer.best(), payer.spent(), payer.hold()), (Some(first), mites(60), id), "the same bytes again");
    assert_eq!(payer.pay(mites(40)).unwrap().cumulative, mites(100));
    assert!(matches!(payer.set_budget(mites(99)), Err(ChannelError::BudgetTooLow { .. })));
    payer.set_budget(mites(150)).unwrap();
    assert_eq!(payer.pay(mites(50)).unwrap().cumulative, mites(150));

    assert!(matches!(Payer::open(&path, key(51)), Err(ChannelError::NotThisChannel { .. })));
    let again = Payer::create(&path, *ledger.chain(), id, mites(100), key(50));
    assert!(matches!(again, Err(ChannelError::File { .. })), "a channel is not forgotten by creating it again");
    std::fs::write(&path, b"FARCHAN1 damaged").unwrap();
    assert!(matches!(Payer::open(&path, key(50)), Err(ChannelError::NotThisChannel { .. })));
}

#[test]
fn what_cannot_be_written_is_not_signed_for() {
    let (ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payer");
    let mut payer = Payer::create(&path, *ledger.chain(), id, mites(100), key(50)).unwrap();
    payer.pay(mites(10)).unwrap();
    // Where the next file would be written stands a directory.
    std::fs::create_dir(directory.path().join("payer.next")).unwrap();
    assert!(matches!(payer.pay(mites(10)), Err(ChannelError::File { .. })));
    assert_eq!(payer.spent(), mites(10));
    std::fs::remove_dir(directory.path().join("payer.next")).unwrap();
    assert_eq!(payer.pay(mites(10)).unwrap().cumulative, mites(20));
}

#[test]
fn a_payee_refuses_what_it_could_not_capture() {
    let (ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let terms = terms(&ledger, id);
    let mut payee = Payee::create(directory.path().join("payee"), terms, SAFETY_MS).unwrap();
    let sign = |cumulative| Voucher::sign(&terms.chain, id, mites(cumulative), &key(50));
    payee.accept(&sign(100), mites(100), START_MS).unwrap();
    let mut refused = |voucher: Voucher, now_ms| payee.accept(&voucher, mites(10), now_ms).unwrap_err();
    assert!(matches!(refused(sign(100), START_MS), ChannelError::TooLittle { .. }), "the same again");
    assert!(matches!(refused(sign(90), START_MS), ChannelError::TooLittle { .. }));
    assert!(matches!(refused(sign(109), START_MS), ChannelError::TooLittle { .. }));
    assert!(matches!(refused(sign(1_001), START_MS), ChannelError::OverHold { .. }));
    let other = Voucher { hold: Digest([1; 32]), ..sign(110) };
    assert!(matches!(refused(other, START_MS), ChannelError::OtherHold(_)));
    let forged = Voucher { cumulative: mites(111), ..sign(110) };
    assert!(matches!(refused(forged, START_MS), ChannelError::Signature(_)));
    let late = START_MS + 10 * HOUR - SAFETY_MS;
    assert!(matches!(refused(sign(110), late), ChannelError::EndsTooSoon));
    assert_eq!(payee.best(), Some(&sign(100)));
    assert_eq!(payee.accept(&sign(110), mites(10), late - 1).unwrap(), mites(10));
}

#[test]
fn many_vouchers_are_accepted_at_once() {
    let (ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let terms = terms(&ledger, id);
    let path = directory.path().join("payee");
    let mut payee = Payee::create(&path, terms, SAFETY_MS).unwrap();
    let rng = || ChaCha20Rng::seed_from_u64(1);
    let mut vouchers: Vec<Voucher> =
        (1..=100).map(|step| Voucher::sign(&terms.chain, id, mites(3 * step), &key(50))).collect();
    assert_eq!(payee.accept_all(&[], START_MS, rng()).unwrap(), Amount::ZERO);
    assert_eq!(payee.accept_all(&vouchers[..60], START_MS, rng()).unwrap(), mites(180));
    assert!(matches!(payee.accept_all(&vouchers[..70], START_MS, rng()), Err(ChannelError::TooLittle { .. })));
    vouchers[80].signature = vouchers[81].signature;
    assert!(matches!(payee.accept_all(&vouchers[60..], START_MS, rng()), Err(ChannelError::Signature(_))));
    vouchers.swap(61, 62);
    assert!(matches!(payee.accept_all(&vouchers[60..70], START_MS, rng()), Err(ChannelError::TooLittle { .. })));
    assert_eq!(Payee::open(&path).unwrap().best().unwrap().cumulative, mites(180));
}

#[test]
fn a_payee_captures_in_time() {
    let (mut ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payee");
    let mut payee = Payee::create(&path, terms(&ledger, id), SAFETY_MS).unwrap();
    let voucher = Voucher::sign(ledger.chain(), id, mites(100), &key(50));
    payee.accept(&voucher, mites(100), START_MS).unwrap();
    let end = START_MS + 10 * HOUR;
    assert_eq!(payee.next_check_ms(end - HOUR), end - HOUR / 2, "the payer might start closing");
    assert_eq!(payee.next_check_ms(end - SAFETY_MS - 1), end - SAFETY_MS);
    assert!(payee.due(end - SAFETY_MS - 1).is_none() && payee.due(end).is_none());
    let mut late = Payee::open(&path).unwrap();
    assert!(late.due(end - SAFETY_MS).is_some(), "a payee that was started again, too");

    // The payer closes before: it is due at once, and after it is captured no more.
    assert!(payee.due(START_MS + 1).is_none());
    assert_eq!(run(&mut ledger, START_MS + 1, 1, Operation::Release { hold: id }).0, ResultCode::Executed);
    payee.observe(ledger.hold(&id)).unwrap();
    let capture = payee.due(START_MS + 2).expect("the payer is closing");
    assert!(matches!(
        payee.accept(&Voucher::sign(ledger.chain(), id, mites(200), &key(50)), mites(1), START_MS + 2),
        Err(ChannelError::EndsTooSoon)
    ));
    assert_eq!(run(&mut ledger, START_MS + 2, 2, capture).0, ResultCode::Executed);
    payee.observe(ledger.hold(&id)).unwrap();
    assert!(payee.due(START_MS + 3).is_none());
    late.observe(ledger.hold(&id)).unwrap();
    assert!(late.due(START_MS + 3).is_none());
}

#[test]
fn a_watcher_captures_for_a_payee_that_is_offline() {
    let (mut ledger, id) = opened();
    let mut watcher = Watcher::new(1, SAFETY_MS);
    let sign = |cumulative| Voucher::sign(ledger.chain(), id, mites(cumulative), &key(50));
    let (low, high) = (sign(100), sign(250));
    let known = terms(&ledger, id);
    assert!(watcher.watch(known, high).unwrap());
    assert!(!watcher.watch(known, low).unwrap(), "it has a better one");
    assert!(watcher.watch(known, Voucher { cumulative: mites(300), ..high }).is_err());
    let other = Digest([1; 32]);
    let elsewhere = Voucher::sign(ledger.chain(), other, mites(1), &key(50));
    assert!(!watcher.watch(Terms { hold: other, ..known }, elsewhere).unwrap(), "no room");
    assert!(watcher.due(START_MS + 1).is_empty());
    assert_eq!(run(&mut ledger, START_MS + 1, 1, Operation::Release { hold: id }).0, ResultCode::Executed);
    for hold in watcher.holds().copied().collect::<Vec<_>>() {
        watcher.observe(&hold, ledger.hold(&hold)).unwrap();
    }
    let before = ledger.account(&address(2)).unwrap().balance;
    let due = watcher.due(START_MS + 2);
    assert_eq!(due.len(), 1);
    assert_eq!(run(&mut ledger, START_MS + 2, 3, due[0].clone()).0, ResultCode::Executed);
    assert_eq!(ledger.account(&address(2)).unwrap().balance, before.checked_add(mites(250)).unwrap());
    watcher.observe(&id, ledger.hold(&id)).unwrap();
    assert!(watcher.due(START_MS + 3).is_empty());
    watcher.observe(&id, None).unwrap();
    assert_eq!(watcher.holds().count(), 0);
}

#[test]
fn a_hold_for_somebody_else_is_no_channel() {
    let (mut ledger, id) = opened();
    let hold = ledger.hold(&id).unwrap().clone();
    let stranger = Terms::of(*ledger.chain(), id, &hold, &address(3));
    assert!(matches!(stranger, Err(ChannelError::NotForMe)));
    // And what is shown later must be the same one.
    let directory = tempfile::tempdir().unwrap();
    let mut payee = Payee::create(directory.path().join("payee"), terms(&ledger, id), SAFETY_MS).unwrap();
    let mut open = |payee, key, close_delay_ms| {
        let condition = Condition::Voucher { key, close_delay_ms };
        let expires_at_ms = START_MS + 10 * HOUR;
        let open = OpenHold { payee, amount: mites(9_000), condition, expires_at_ms, reference: None };
        let (code, id) = run(&mut ledger, START_MS, 1, Operation::OpenHold(Box::new(open)));
        assert_eq!(code, ResultCode::Executed);
        ledger.hold(&id).unwrap().clone()
    };
    let mine = key(50).public_key();
    assert!(matches!(payee.observe(Some(&open(address(3), mine, HOUR))), Err(ChannelError::NotForMe)));
    assert!(matches!(payee.observe(Some(&open(address(2), key(51).public_key(), HOUR))), Err(ChannelError::OtherKey)));
    assert_eq!(payee.terms().amount, mites(1_000));
}

#[test]
fn nothing_is_accepted_once_the_hold_is_gone() {
    let (mut ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payee");
    let mut payee = Payee::create(&path, terms(&ledger, id), SAFETY_MS).unwrap();
    let sign = |ledger: &Ledger, cumulative| Voucher::sign(ledger.chain(), id, mites(cumulative), &key(50));
    payee.accept(&sign(&ledger, 100), mites(1), START_MS).unwrap();
    // Released with another key of the payee's, behind the application's back.
    let shown = ledger.hold(&id).unwrap().clone();
    assert_eq!(run(&mut ledger, START_MS + 1, 2, Operation::Release { hold: id }).0, ResultCode::Executed);
    payee.observe(ledger.hold(&id)).unwrap();
    assert!(matches!(payee.accept(&sign(&ledger, 200), mites(1), START_MS + 2), Err(ChannelError::Closed)));
    let mut payee = Payee::open(&path).unwrap();
    let all = payee.accept_all(&[sign(&ledger, 200)], START_MS + 2, ChaCha20Rng::seed_from_u64(1));
    assert!(matches!(all, Err(ChannelError::Closed)));
    let late = START_MS + 10 * HOUR - 1;
    assert!(payee.capture().is_none() && payee.due(late).is_none());
    // A node that lagged said so: what there is must not be lost, but no more is accepted.
    payee.observe(Some(&shown)).unwrap();
    assert!(payee.due(late).is_some());
    assert!(matches!(payee.accept(&sign(&ledger, 200), mites(1), START_MS + 2), Err(ChannelError::Closed)));
}

#[test]
fn nothing_is_accepted_once_the_payee_closes() {
    let (mut ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payee");
    let mut payee = Payee::create(&path, terms(&ledger, id), SAFETY_MS).unwrap();
    payee.accept(&Voucher::sign(ledger.chain(), id, mites(100), &key(50)), mites(1), START_MS).unwrap();
    let close = payee.close().unwrap();
    // The capture is under way, and the process is started again.
    let mut payee = Payee::open(&path).unwrap();
    let more = Voucher::sign(ledger.chain(), id, mites(200), &key(50));
    assert!(matches!(payee.accept(&more, mites(1), START_MS + 1), Err(ChannelError::Closed)));
    assert_eq!(payee.close().unwrap(), close, "it can be sent again");
    assert!(payee.due(START_MS + 10 * HOUR - 1).is_some(), "and is not forgotten before it got through");
    assert_eq!(run(&mut ledger, START_MS + 2, 2, close).0, ResultCode::Executed);
    assert!(ledger.hold(&id).is_none());

    let (mut ledger, id) = opened();
    let mut unused = Payee::create(directory.path().join("unused"), terms(&ledger, id), SAFETY_MS).unwrap();
    let release = unused.close().unwrap();
    assert_eq!(run(&mut ledger, START_MS + 2, 2, release).0, ResultCode::Executed);
    assert!(ledger.hold(&id).is_none());
}

#[test]
fn there_is_time_to_notice_that_the_payer_closes() {
    let (ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payee");
    let long = Payee::create(&path, terms(&ledger, id), HOUR / 2 + 1);
    assert!(matches!(long, Err(ChannelError::SafetyTooLong { .. })));
    Payee::create(&path, terms(&ledger, id), HOUR / 2).unwrap();
}

#[test]
fn a_crash_in_the_middle_of_a_creation_leaves_nothing_in_the_way() {
    let (ledger, id) = opened();
    let directory = tempfile::tempdir().unwrap();
    let (path, next) = (directory.path().join("payer"), directory.path().join("payer.next"));
    let create = || Payer::create(&path, *ledger.chain(), id, mites(100), key(50));
    // The disk fails it.
    std::fs::create_dir(&next).unwrap();
    assert!(matches!(create(), Err(ChannelError::File { .. })));
    std::fs::remove_dir(&next).unwrap();
    // It ends while it writes.
    std::fs::write(&next, b"FARCH").unwrap();
    let mut payer = create().unwrap();
    assert!(!next.exists());
    // It ends before the second name is removed: the next write must not go through that name into the file in use.
    std::fs::hard_link(&path, &next).unwrap();
    let before = std::fs::read(&path).unwrap();
    let in_use = directory.path().join("in use");
    std::fs::hard_link(&path, &in_use).unwrap();
    payer.pay(mites(10)).unwrap();
    assert_eq!(std::fs::read(&in_use).unwrap(), before);
    assert_eq!(Payer::open(&path, key(50)).unwrap().spent(), mites(10));
}
