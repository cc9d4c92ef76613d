use super::*;
use crate::test_support::{START_MS, address, genesis, key};
use farthing_core::hold::Condition;
use farthing_core::transaction::{Authority, OpenHold};

/// Executes these operations of account 1 as the next commit. Returns the lines of its history, in order, and the transactions.
fn run_commit(ledger: &mut Ledger, operations: Vec<Operation>) -> (Vec<HistoryRecord>, Vec<VerifiedTransaction>) {
    let (chain, index) = (*ledger.chain(), ledger.commit_index() + 1);
    let nonce = ledger.account(&address(1)).expect("of the genesis document").nonces.next();
    let transactions: Vec<_> = (nonce..)
        .zip(operations)
        .map(|(nonce, operation)| {
            let valid_until_ms = START_MS + 60_000;
            let (sender, authority) = (address(1), Authority::Root);
            let transaction = Transaction { sender, authority, nonce, valid_until_ms, operation };
            transaction.sign(&chain, &key(1)).verify(&chain).expect("well signed")
        })
        .collect();
    let vertex = VertexRef { round: index, author: 0, digest: Digest::ZERO };
    let (previous, vertices) = (Digest::ZERO, vec![vertex]);
    let commit = Commit { epoch: 0, index, previous, leader: vertex, vertices, timestamp_ms: START_MS + index };
    let verdicts = vec![(vertex, Verdict::Valid(transactions.clone()))];
    let block = run(ledger, &commit, Digest::ZERO, verdicts, None, true).block.expect("something was executed");
    assert!(block.record.entries.iter().all(|entry| entry.code.is_executed()), "{:?}", block.record.entries);
    let lines = block.history.into_iter().filter(|line| line.account == address(1) && line.direction == Direction::Out);
    (lines.collect(), transactions)
}

/// The line of a top-up names the payee of the hold, whether that was opened before or in the same block.
#[test]
fn a_top_up_is_told_with_its_payee() {
    let mut ledger = Ledger::genesis(&genesis());
    let mites = Amount::from_mites;
    let expires_at_ms = START_MS + 1_000_000;
    let open = || {
        let (payee, amount, condition) = (address(2), mites(100), Condition::Payee);
        Operation::OpenHold(Box::new(OpenHold { payee, amount, condition, expires_at_ms, reference: None }))
    };
    let (lines, opened) = run_commit(&mut ledger, vec![open()]);
    assert_eq!((lines[0].counterparty, lines[0].amount), (address(2), mites(100)));
    let top_up = |hold| Operation::TopUp { hold, amount: mites(7), expires_at_ms };
    let (lines, _) = run_commit(&mut ledger, vec![top_up(opened[0].id())]);
    assert_eq!((lines[0].counterparty, lines[0].amount), (address(2), mites(7)));

    // The id of what is opened in the same block, found out on a copy.
    let (_, opened) = run_commit(&mut ledger.clone(), vec![open()]);
    let (lines, _) = run_commit(&mut ledger, vec![open(), top_up(opened[0].id())]);
    assert_eq!((lines.len(), lines[1].counterparty, lines[1].amount), (2, address(2), mites(7)));
}
