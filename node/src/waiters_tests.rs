use super::*;
use crate::test_support::genesis;
use farthing_core::execution::Ledger;
use farthing_core::hash::Digest;

fn id(number: u8) -> TransactionId {
    Digest([number; 32])
}

/// Block `height` with these transactions, all executed.
fn block(height: u64, ids: &[u8]) -> Settled {
    let header = BlockHeader { height, ..Ledger::genesis(&genesis()).newest().clone() };
    let results = ids.iter().map(|number| (id(*number), ResultCode::Executed)).collect();
    Settled { block: Some(SettledBlock { hash: header.hash(), header, results }), ..Settled::default() }
}

fn wait(waiters: &mut Waiters, number: u8, certified: bool) -> oneshot::Receiver<Settlement> {
    let (reply, settlement) = oneshot::channel();
    waiters.wait(id(number), certified, reply);
    settlement
}

/// Height, position and whether it is certified, if the answer has come.
fn answer(receiver: &mut oneshot::Receiver<Settlement>) -> Option<(u64, u32, bool)> {
    match receiver.try_recv() {
        Ok(Settlement::InBlock { position, certified, .. }) => Some((position.height, position.position, certified)),
        Ok(other) => panic!("not in a block: {other:?}"),
        Err(_) => None,
    }
}

#[test]
fn everybody_who_waits_for_a_transaction_is_answered_when_it_is_settled() {
    let mut waiters = Waiters::default();
    let (mut first, mut second) = (wait(&mut waiters, 2, false), wait(&mut waiters, 2, false));
    let mut other = wait(&mut waiters, 9, false);
    waiters.settle(&block(1, &[1, 2]), 0);
    assert_eq!(answer(&mut first), Some((1, 1, false)));
    assert_eq!(answer(&mut second), Some((1, 1, false)));
    assert_eq!(answer(&mut other), None);
    assert_eq!(waiters.count, 1);
}

#[test]
fn who_waits_for_a_certificate_is_answered_when_the_block_is_certified() {
    let mut waiters = Waiters::default();
    let mut patient = wait(&mut waiters, 1, true);
    waiters.settle(&block(5, &[1]), 4);
    waiters.certified_up_to(4);
    assert_eq!(answer(&mut patient), None);
    waiters.certified_up_to(6);
    assert_eq!(answer(&mut patient), Some((5, 0, true)));
    assert_eq!(waiters.count, 0);

    let mut late = wait(&mut waiters, 2, true);
    waiters.settle(&block(6, &[2]), 6);
    assert_eq!(answer(&mut late), Some((6, 0, true)), "certified before this node could say so");
}

#[test]
fn what_is_dropped_is_told_with_its_reason() {
    let mut waiters = Waiters::default();
    let mut certified = wait(&mut waiters, 1, true);
    let dropped = vec![(id(1), DropReason::Expired), (id(7), DropReason::NonceUsed)];
    waiters.settle(&Settled { dropped, ..Settled::default() }, 0);
    assert!(matches!(certified.try_recv(), Ok(Settlement::Dropped(DropReason::Expired))));
    let mut evicted = wait(&mut waiters, 2, false);
    waiters.settle(&Settled { evicted: vec![id(2)], ..Settled::default() }, 0);
    assert!(matches!(evicted.try_recv(), Ok(Settlement::Evicted)));
    assert_eq!(waiters.count, 0);
}

#[test]
fn without_room_nobody_waits_until_those_that_gave_up_are_found() {
    let mut waiters = Waiters::default();
    let mut waiting: Vec<_> = (0..WAITERS_MAX).map(|_| wait(&mut waiters, 1, false)).collect();
    assert!(wait(&mut waiters, 2, false).try_recv().is_err());
    assert!(!waiters.by_id.contains_key(&id(2)), "turned away");
    waiting.truncate(10);
    let mut admitted = (0..=CLEAN_EVERY).map(|_| wait(&mut waiters, 3, false)).last().expect("one");
    assert!(waiters.count < WAITERS_MAX);
    waiters.settle(&block(1, &[1, 3]), 0);
    assert_eq!(answer(&mut admitted), Some((1, 1, false)));
    assert_eq!(answer(&mut waiting[0]), Some((1, 0, false)));
    assert_eq!(waiters.count, 0);
}
