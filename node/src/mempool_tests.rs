use super::*;
use crate::test_support::{START_MS, genesis, key, transfer, transfer_until};
use farthing_core::transaction::Operation;

fn mempool(transactions_max: usize, per_sender_max: usize) -> Mempool {
    Mempool::new(MempoolLimits { transactions_max, bytes_max: 1 << 20, per_sender_max })
}

/// What a sender of `transfer` owns, unless a test says otherwise.
fn standing(transaction: &VerifiedTransaction) -> Standing {
    Standing { charged_bytes: 7, slot: u32::from(sender_and_nonce(transaction).0), owned_mites: 1_000 }
}

fn insert(mempool: &mut Mempool, transaction: VerifiedTransaction) -> Result<(), Full> {
    let standing = standing(&transaction);
    mempool.insert(transaction, &standing).map(|evicted| assert_eq!(evicted, [], "nothing has to leave"))
}

/// Inserts for a sender that owns so much. Returns what had to leave.
fn insert_owning(mempool: &mut Mempool, sender: u8, nonce: u64, owned_mites: u64) -> Result<Vec<(u8, u64)>, Full> {
    let transaction = transfer(sender, nonce);
    let standing = Standing { owned_mites, ..standing(&transaction) };
    let name = |id| {
        let mut all = (1..=4).flat_map(|sender| (1..=9).map(move |nonce| (sender, nonce)));
        all.find(|(sender, nonce)| transfer(*sender, *nonce).id() == id).expect("one of these")
    };
    Ok(mempool.insert(transaction, &standing)?.into_iter().map(name).collect())
}

/// Executes a block of transactions of these senders.
fn execute(mempool: &mut Mempool, senders: &[u8]) {
    let slots = senders.iter().map(|sender| (crate::test_support::address(*sender), u32::from(*sender)));
    mempool.executed(slots.collect::<Vec<_>>());
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
        insert(&mut mempool, transfer(1, nonce)).expect("room");
    }
    insert(&mut mempool, transfer(2, 1)).expect("room");
    insert(&mut mempool, transfer(3, 1)).expect("room");
    assert_eq!(take(&mut mempool, 10_000), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (1, 4)]);
    assert!(!mempool.has_waiting());
    assert_eq!(mempool.len(), 6, "proposed ones stay until they are executed");
}

#[test]
fn buckets_take_turns_whoever_is_in_them() {
    let mut mempool = mempool(100, 100);
    for nonce in 1..=3 {
        assert_eq!(insert_owning(&mut mempool, 1, nonce, 1_000), Ok(vec![]));
        assert_eq!(insert_owning(&mut mempool, 2, nonce, 1_023), Ok(vec![]));
    }
    for nonce in 1..=2 {
        assert_eq!(insert_owning(&mut mempool, 3, nonce, 1_024), Ok(vec![]));
        assert_eq!(insert_owning(&mut mempool, 4, nonce, 0), Ok(vec![]));
    }
    let first = [(4, 1), (1, 1), (3, 1), (4, 2), (2, 1), (3, 2)];
    assert_eq!(take(&mut mempool, 10_000), [first.as_slice(), &[(1, 2), (2, 2), (1, 3), (2, 3)]].concat());
}

#[test]
fn the_sender_executed_least_recently_is_next() {
    let mut mempool = mempool(100, 100);
    execute(&mut mempool, &[3]);
    execute(&mut mempool, &[2]);
    for sender in 1..=3 {
        insert(&mut mempool, transfer(sender, 1)).expect("room");
        insert(&mut mempool, transfer(sender, 2)).expect("room");
    }
    let bytes = transfer(1, 1).signed().encode().len();
    assert_eq!(take(&mut mempool, 3 * bytes), [(1, 1), (3, 1), (2, 1)]);
    // While they wait, a block executes some of theirs.
    execute(&mut mempool, &[1]);
    execute(&mut mempool, &[3]);
    assert_eq!(take(&mut mempool, 10_000), [(2, 2), (1, 2), (3, 2)]);
    // It is remembered of those that have nothing here, too.
    for sender in 1..=3 {
        mempool.remove(&transfer(sender, 1).id());
        mempool.remove(&transfer(sender, 2).id());
    }
    assert!(mempool.senders.is_empty());
    execute(&mut mempool, &[2]);
    insert(&mut mempool, transfer(2, 3)).expect("room");
    insert(&mut mempool, transfer(4, 3)).expect("room");
    assert_eq!(take(&mut mempool, 10_000), [(4, 3), (2, 3)]);
}

#[test]
fn who_adds_to_its_queue_keeps_its_place() {
    let mut mempool = mempool(100, 100);
    insert(&mut mempool, transfer(1, 1)).expect("room");
    insert(&mut mempool, transfer(2, 1)).expect("room");
    insert(&mut mempool, transfer(1, 2)).expect("room");
    mempool.remove(&transfer(1, 1).id());
    assert_eq!(take(&mut mempool, 10_000), [(1, 2), (2, 1)]);
}

#[test]
fn a_full_mempool_gives_way_to_who_comes_first() {
    let mut mempool = mempool(4, 100);
    execute(&mut mempool, &[2]);
    for (sender, nonce) in [(1, 1), (2, 1), (2, 2), (1, 2)] {
        insert(&mut mempool, transfer(sender, nonce)).expect("room");
    }
    // Of its own bucket, somebody executed later gives way, with its newest; nobody else does.
    assert_eq!(insert_owning(&mut mempool, 3, 1, 1_000), Ok(vec![(2, 2)]));
    assert_eq!(insert_owning(&mut mempool, 3, 2, 1_000), Ok(vec![(2, 1)]));
    assert_eq!(insert_owning(&mut mempool, 3, 3, 1_000), Err(Full::InAll));
    assert_eq!(insert_owning(&mut mempool, 2, 3, 1_000), Err(Full::InAll));
    // A bucket with fewer takes from the fullest, until it has as many; proposed ones stay.
    execute(&mut mempool, &[4]);
    assert_eq!(insert_owning(&mut mempool, 4, 1, 5_000), Ok(vec![(3, 2)]));
    assert_eq!(insert_owning(&mut mempool, 4, 2, 5_000), Ok(vec![(3, 1)]));
    assert_eq!(insert_owning(&mut mempool, 4, 3, 5_000), Err(Full::InAll));
    let bytes = transfer(1, 1).signed().encode().len();
    assert_eq!(take(&mut mempool, 3 * bytes), [(1, 1), (4, 1), (1, 2)]);
    assert_eq!(insert_owning(&mut mempool, 3, 4, 1_000), Ok(vec![(4, 2)]));
    assert_eq!((mempool.len(), take(&mut mempool, 10_000)), (4, vec![(3, 4)]));
    assert_eq!(insert_owning(&mut mempool, 1, 3, 70_000), Err(Full::InAll));
    assert_eq!([1, 2, 3, 4].map(|sender| mempool.charged_before(transfer(sender, 1).transaction())), [14, 0, 7, 7]);
}

#[test]
fn a_proposal_stops_at_its_budget_and_goes_on_in_order() {
    let mut mempool = mempool(100, 100);
    let bytes = transfer(1, 1).signed().encode().len();
    for nonce in 1..=3 {
        insert(&mut mempool, transfer(1, nonce)).expect("room");
    }
    assert_eq!(take(&mut mempool, 2 * bytes), [(1, 1), (1, 2)]);
    assert_eq!(take(&mut mempool, 0), [], "no budget, no payload");
    assert_eq!(take(&mut mempool, 1), [(1, 3)], "one that exceeds the budget by itself does not block the line");
}

#[test]
fn bounds_hold_in_all_and_for_a_sender() {
    let mut mempool = mempool(3, 2);
    assert_eq!(insert(&mut mempool, transfer(1, 1)), Ok(()));
    assert_eq!(insert(&mut mempool, transfer(1, 2)), Ok(()));
    assert_eq!(insert(&mut mempool, transfer(1, 3)), Err(Full::ForSender));
    assert_eq!(insert(&mut mempool, transfer(1, 1)), Ok(()), "the same one again changes nothing");
    assert_eq!(insert(&mut mempool, transfer(2, 1)), Ok(()));
    assert_eq!(insert(&mut mempool, transfer(3, 1)), Err(Full::InAll));
    mempool.remove(&transfer(1, 1).id());
    assert_eq!(insert(&mut mempool, transfer(3, 1)), Ok(()));
    let bytes = 3 * transfer(1, 1).signed().encode().len();
    assert_eq!((mempool.len(), mempool.bytes()), (3, bytes));
    let charged = [1, 2, 3, 4].map(|number| mempool.charged_before(transfer(number, 1).transaction()));
    assert_eq!(charged, [7, 7, 7, 0], "what is charged is counted for each sender");

    let mut tiny = Mempool::new(MempoolLimits { transactions_max: 9, bytes_max: 200, per_sender_max: 9 });
    assert_eq!(insert(&mut tiny, transfer(1, 1)), Ok(()));
    assert_eq!(insert(&mut tiny, transfer(2, 1)), Err(Full::InAll), "bytes are bounded too");
}

#[test]
fn what_was_not_committed_is_proposed_again_and_what_was_executed_is_not() {
    let mut mempool = mempool(100, 100);
    insert(&mut mempool, transfer(1, 1)).expect("room");
    insert(&mut mempool, transfer(1, 2)).expect("room");
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
        insert(&mut mempool, transfer(1, nonce)).expect("room");
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
        insert(&mut mempool, transfer(1, nonce)).expect("room");
        mempool.remove(&transfer(1, nonce).id());
    }
    assert!(mempool.senders.is_empty() && mempool.addresses.is_empty() && mempool.lines.is_empty());
    insert(&mut mempool, transfer(2, 1)).expect("room");
    assert_eq!(take(&mut mempool, 10_000), [(2, 1)]);
    assert_eq!(mempool.senders.len(), 1, "of what is proposed the sender is known");
    assert!(mempool.lines.is_empty() && (0..lines::BUCKETS).all(|bucket| mempool.lines.waiting(bucket) == 0));
}

#[test]
fn transactions_expire_when_their_time_is_past() {
    let mut mempool = mempool(100, 100);
    insert(&mut mempool, transfer_until(1, 1, START_MS + 10)).expect("room");
    insert(&mut mempool, transfer_until(2, 1, START_MS + 20)).expect("room");
    assert_eq!(mempool.expire(START_MS + 10), [], "valid until and including that time");
    assert_eq!(mempool.expire(START_MS + 11), [transfer_until(1, 1, START_MS + 10).id()]);
    assert_eq!(take(&mut mempool, 10_000), [(2, 1)]);
}

/// A transaction of account 1 by Root, or by its delegated key.
fn of_account_1(authority: Authority, nonce: u64, operation: Operation) -> VerifiedTransaction {
    let chain = genesis().chain_hash();
    let signer = if authority == Authority::Root { key(1) } else { key(60) };
    let transaction = Transaction { authority, operation, ..transfer(1, nonce).transaction().clone() };
    transaction.sign(&chain, &signer).verify(&chain).expect("well signed")
}

fn by_key(nonce: u64) -> VerifiedTransaction {
    let operation = transfer(1, nonce).transaction().operation.clone();
    of_account_1(Authority::Key(key(60).public_key()), nonce, operation)
}

fn remove_key(nonce: u64) -> VerifiedTransaction {
    of_account_1(Authority::Root, nonce, Operation::RemoveKey { public_key: key(60).public_key() })
}

/// Of transactions with one nonce all but one would be dropped, at no cost to their sender.
#[test]
fn of_one_nonce_one_is_proposed_at_a_time() {
    let mut mempool = mempool(100, 100);
    let variant = |number| transfer_until(1, 5, START_MS + 1_000 + number);
    assert_eq!(insert(&mut mempool, variant(0)), Ok(()));
    assert_eq!(insert(&mut mempool, variant(1)), Ok(()), "that may cancel the first");
    assert_eq!(insert(&mut mempool, variant(2)), Err(Full::ForNonce));
    assert_eq!(insert(&mut mempool, variant(1)), Ok(()), "the same one again changes nothing");
    assert_eq!(insert(&mut mempool, by_key(5)), Ok(()), "another authority has nonces of its own");
    let proposed = |mempool: &mut Mempool| -> Vec<_> {
        let proposal = mempool.take(10_000, |_| Ok::<(), ()>(()));
        proposal.transactions.iter().map(VerifiedTransaction::id).collect()
    };
    assert_eq!(proposed(&mut mempool), [variant(0).id(), by_key(5).id()]);
    assert!(!mempool.has_waiting() && mempool.contains(&variant(1).id()), "the second is held back");
    // Not committed: it is still the first.
    mempool.propose_again([variant(0).id(), variant(1).id()]);
    assert_eq!(proposed(&mut mempool), [variant(0).id()]);
    // Dropped: now the second has its turn, and there is room for another one.
    mempool.remove(&variant(0).id());
    assert_eq!(insert(&mut mempool, variant(2)), Ok(()));
    assert_eq!(proposed(&mut mempool), [variant(1).id()]);
    // What is held back can leave by itself.
    assert_eq!(mempool.expire(START_MS + 1_002), [variant(1).id()]);
    assert_eq!(proposed(&mut mempool), [variant(2).id()]);
    mempool.remove(&variant(2).id());
    mempool.remove(&by_key(5).id());
    assert!(mempool.is_empty() && mempool.senders.is_empty());
}

/// A flood of 256 per account must not come out of one nonce, whatever the ledger says of each by itself.
#[test]
fn one_nonce_is_no_flood() {
    let mut mempool = mempool(1_000, 256);
    let admitted = (0..256).filter(|number| insert(&mut mempool, transfer_until(1, 1, START_MS + number)).is_ok());
    assert_eq!(admitted.count(), 2);
    assert_eq!(take(&mut mempool, 1 << 20).len(), 1);
}

#[test]
fn a_delegated_key_does_not_keep_root_out() {
    let mut mempool = mempool(8, 3);
    for nonce in 1..=3 {
        assert_eq!(insert(&mut mempool, by_key(nonce)), Ok(()));
    }
    assert_eq!(insert(&mut mempool, by_key(4)), Err(Full::ForSender));
    assert_eq!(mempool.charged_before(transfer(1, 1).transaction()), 21);
    assert_eq!(mempool.charged_before(remove_key(1).transaction()), 0, "nothing that comes before it");
    assert_eq!(insert(&mut mempool, remove_key(1)), Ok(()));
    assert_eq!(mempool.charged_before(remove_key(2).transaction()), 7);
    let proposal = mempool.take(10_000, |_| Ok::<(), ()>(()));
    let ids: Vec<_> = proposal.transactions.iter().map(VerifiedTransaction::id).collect();
    assert_eq!(ids, [remove_key(1), by_key(1), by_key(2), by_key(3)].map(|transaction| transaction.id()));
    // Proposed ones of the key do not keep it out either.
    assert_eq!(insert(&mut mempool, remove_key(2)), Ok(()));
}

#[test]
fn root_takes_the_room_of_its_delegated_keys() {
    let mut mempool = mempool(3, 3);
    execute(&mut mempool, &[1]);
    assert_eq!(insert(&mut mempool, transfer(2, 1)), Ok(()));
    assert_eq!(insert(&mut mempool, by_key(1)), Ok(()));
    assert_eq!(insert(&mut mempool, by_key(2)), Ok(()));
    let remove = remove_key(1);
    let standing = standing(&remove);
    assert_eq!(mempool.insert(by_key(3), &standing), Err(Full::InAll), "others were executed less recently");
    assert_eq!(mempool.insert(remove, &standing), Ok(vec![by_key(2).id()]), "the newest of the key's");
    assert_eq!(mempool.insert(remove_key(2), &standing), Ok(vec![by_key(1).id()]));
    assert_eq!(mempool.insert(remove_key(3), &standing), Err(Full::InAll));
    assert_eq!(mempool.len(), 3);
}

/// What was evicted for a transaction that found no room after all would be lost for nothing, and nobody told.
#[test]
fn nothing_leaves_for_what_finds_no_room() {
    let bytes = transfer(1, 1).signed().encode().len();
    let mut mempool = Mempool::new(MempoolLimits { transactions_max: 9, bytes_max: 3 * bytes, per_sender_max: 9 });
    execute(&mut mempool, &[3]);
    for (sender, nonce) in [(1, 1), (3, 1), (2, 1)] {
        assert_eq!(insert(&mut mempool, transfer(sender, nonce)), Ok(()));
    }
    // The newcomer comes before sender 3, whose one transaction is not enough.
    execute(&mut mempool, &[4]);
    let outputs = vec![transfer(4, 1).transaction().outputs()[0].clone(); 3];
    let large = Transaction { operation: Operation::Transfer { outputs }, ..transfer(4, 1).transaction().clone() };
    let chain = genesis().chain_hash();
    let large = large.sign(&chain, &key(4)).verify(&chain).expect("well signed");
    assert!(large.signed().encode().len() > bytes);
    let standing = Standing { slot: 9, ..standing(&large) };
    mempool.executed([(crate::test_support::address(1), 1), (crate::test_support::address(2), 2)]);
    mempool.mark_executed(9);
    mempool.executed([(crate::test_support::address(3), 3)]);
    assert_eq!(mempool.insert(large, &standing), Err(Full::InAll));
    assert_eq!(mempool.len(), 3, "all are still there");
    assert!(mempool.contains(&transfer(3, 1).id()));
}

#[test]
fn what_is_held_back_leaves_before_what_holds_it_back() {
    let mut mempool = mempool(3, 9);
    let second = transfer_until(1, 1, START_MS + 5);
    execute(&mut mempool, &[1]);
    assert_eq!(insert(&mut mempool, transfer(1, 1)), Ok(()));
    assert_eq!(insert(&mut mempool, second.clone()), Ok(()));
    assert_eq!(insert(&mut mempool, transfer(1, 2)), Ok(()));
    let next = |nonce| (transfer(2, nonce), standing(&transfer(2, nonce)));
    let mut evicted = |(transaction, standing): (_, Standing)| mempool.insert(transaction, &standing);
    assert_eq!(evicted(next(1)), Ok(vec![transfer(1, 2).id()]));
    assert_eq!(evicted(next(2)), Ok(vec![second.id()]));
    assert_eq!(evicted(next(3)), Ok(vec![transfer(1, 1).id()]));
}
