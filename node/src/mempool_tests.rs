use super::*;
use crate::test_support::{START_MS, transfer, transfer_until};

fn mempool(transactions_max: usize, per_sender_max: usize) -> Mempool {
    Mempool::new(MempoolLimits { transactions_max, bytes_max: 1 << 20, per_sender_max })
}

fn take(mempool: &mut Mempool, bytes_max: usize) -> Vec<(u8, u64)> {
    let proposal = mempool.take(bytes_max, |_| Ok::<(), ()>(()));
    assert_eq!(crate::payload::decode(&proposal.payload).expect("decodes").len(), proposal.transactions.len());
    proposal.transactions.iter().map(sender_and_nonce).collect()
}

fn sender_and_nonce(transaction: &VerifiedTransaction) -> (u8, u64) {
    let sender = (1..=4).find(|number| crate::test_support::address(*number) == transaction.transaction().sender);
    (sender.expect("one of the four"), transaction.transaction().nonce)
}

#[test]
fn senders_take_turns_one_transaction_each() {
    let mut mempool = mempool(100, 100);
    for nonce in 1..=4 {
        mempool.insert(transfer(1, nonce)).expect("room");
    }
    mempool.insert(transfer(2, 1)).expect("room");
    mempool.insert(transfer(3, 1)).expect("room");
    assert_eq!(take(&mut mempool, 10_000), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (1, 4)]);
    assert!(!mempool.has_waiting());
    assert_eq!(mempool.len(), 6, "proposed ones stay until they are executed");
}

#[test]
fn a_proposal_stops_at_its_budget_and_goes_on_in_order() {
    let mut mempool = mempool(100, 100);
    let bytes = transfer(1, 1).signed().encode().len();
    for nonce in 1..=3 {
        mempool.insert(transfer(1, nonce)).expect("room");
    }
    assert_eq!(take(&mut mempool, 2 * bytes), [(1, 1), (1, 2)]);
    assert_eq!(take(&mut mempool, 0), [], "no budget, no payload");
    assert_eq!(take(&mut mempool, 1), [(1, 3)], "one that exceeds the budget by itself does not block the line");
}

#[test]
fn bounds_hold_in_all_and_for_a_sender() {
    let mut mempool = mempool(3, 2);
    assert_eq!(mempool.insert(transfer(1, 1)), Ok(()));
    assert_eq!(mempool.insert(transfer(1, 2)), Ok(()));
    assert_eq!(mempool.insert(transfer(1, 3)), Err(Full::ForSender));
    assert_eq!(mempool.insert(transfer(1, 1)), Ok(()), "the same one again changes nothing");
    assert_eq!(mempool.insert(transfer(2, 1)), Ok(()));
    assert_eq!(mempool.insert(transfer(3, 1)), Err(Full::InAll));
    mempool.remove(&transfer(1, 1).id());
    assert_eq!(mempool.insert(transfer(3, 1)), Ok(()));
    let bytes = 3 * transfer(1, 1).signed().encode().len();
    assert_eq!((mempool.len(), mempool.bytes()), (3, bytes));

    let mut tiny = Mempool::new(MempoolLimits { transactions_max: 9, bytes_max: 200, per_sender_max: 9 });
    assert_eq!(tiny.insert(transfer(1, 1)), Ok(()));
    assert_eq!(tiny.insert(transfer(2, 1)), Err(Full::InAll), "bytes are bounded too");
}

#[test]
fn what_was_not_committed_is_proposed_again_and_what_was_executed_is_not() {
    let mut mempool = mempool(100, 100);
    mempool.insert(transfer(1, 1)).expect("room");
    mempool.insert(transfer(1, 2)).expect("room");
    assert_eq!(take(&mut mempool, 10_000).len(), 2);
    mempool.remove(&transfer(1, 1).id());
    mempool.propose_again([transfer(1, 1).id(), transfer(1, 2).id(), transfer(1, 2).id()]);
    assert!(mempool.has_waiting());
    assert_eq!(take(&mut mempool, 10_000), [(1, 2)]);
    mempool.remove(&transfer(1, 2).id());
    assert!(mempool.is_empty() && mempool.bytes() == 0 && mempool.senders.is_empty());
}

#[test]
fn what_leaves_before_its_turn_is_passed_over() {
    let mut mempool = mempool(100, 100);
    for nonce in 1..=3 {
        mempool.insert(transfer(1, nonce)).expect("room");
    }
    mempool.remove(&transfer(1, 2).id());
    let proposal = mempool.take(10_000, |transaction| match transaction.transaction().nonce {
        1 => Err("used"),
        _ => Ok(()),
    });
    assert_eq!(proposal.refused, [(transfer(1, 1).id(), "used")]);
    assert_eq!(proposal.transactions, [transfer(1, 3)]);
    assert_eq!(mempool.len(), 1);
}

#[test]
fn what_others_execute_leaves_nothing_behind() {
    let mut mempool = mempool(100, 100);
    for nonce in 1..=50 {
        mempool.insert(transfer(1, nonce)).expect("room");
        mempool.remove(&transfer(1, nonce).id());
    }
    assert_eq!(mempool.senders.values().map(|sender| sender.queue.len()).sum::<usize>(), 0);
    assert_eq!(mempool.turns.len(), 1, "a sender stands in the line once");
    mempool.insert(transfer(2, 1)).expect("room");
    assert_eq!(take(&mut mempool, 10_000), [(2, 1)]);
    assert_eq!((mempool.senders.len(), mempool.turns.len()), (1, 0));
}

#[test]
fn transactions_expire_when_their_time_is_past() {
    let mut mempool = mempool(100, 100);
    mempool.insert(transfer_until(1, 1, START_MS + 10)).expect("room");
    mempool.insert(transfer_until(2, 1, START_MS + 20)).expect("room");
    assert_eq!(mempool.expire(START_MS + 10), [], "valid until and including that time");
    assert_eq!(mempool.expire(START_MS + 11), [transfer_until(1, 1, START_MS + 10).id()]);
    assert_eq!(take(&mut mempool, 10_000), [(2, 1)]);
}
