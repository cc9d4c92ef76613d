//! Full nodes and what they forward.

use super::*;
use crate::test_support::{transfer, transfer_until};

/// The validator to which machine `id` forwarded last.
fn forwarded_last(cluster: &Cluster, id: MachineId) -> Author {
    let to = cluster.machines[id].sent.iter().rev().find(|(_, message)| matches!(message, Outbound::Forward(_)));
    match to {
        Some((Peer::Validator(author), _)) => *author,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_node_has_transactions_proposed() {
    let mut cluster = Cluster::connected(4, 1);
    cluster.run(1_000);
    let transactions: Vec<_> = (1..=100).map(|nonce| transfer(2, nonce)).collect();
    let admissions = cluster.submit(4, transactions.clone());
    assert!(admissions.iter().all(|admission| *admission == Admission::Pending));
    assert!(cluster.replica(4).is_pending(&transactions[0].id()));
    cluster.run_until("the transfers", |cluster| {
        transactions.iter().all(|transaction| cluster.is_settled(4, transaction))
    });
    let status = cluster.status(4);
    assert_eq!((status.mempool_transactions, status.is_validator), (0, false));
    // Once each, to one validator at a time.
    let forwards: usize = (0..4).map(|author| cluster.forwarded_to(4, author)).sum();
    assert!((1..=2).contains(&forwards), "{forwards} batches");
    // The same bytes again are answered from what is stored.
    assert_eq!(cluster.submit(4, transactions[..1].to_vec()), [Admission::InBlock]);
    // What its own state does not admit goes nowhere.
    let expired = transfer_until(1, 1, START_MS - 1);
    assert_eq!(cluster.submit(4, vec![expired]), [Admission::Dropped(DropReason::Expired)]);
    cluster.run(5_000);
    assert_eq!((0..4).map(|author| cluster.forwarded_to(4, author)).sum::<usize>(), forwards);
}

#[test]
fn a_validator_that_does_not_answer_is_passed_over() {
    let mut cluster = Cluster::connected(4, 1);
    cluster.run(1_000);
    let first = transfer(2, 1);
    cluster.submit(4, vec![first.clone()]);
    let asked = forwarded_last(&cluster, 4);
    // The whole machine vanishes, and nobody has noticed yet.
    cluster.machines[usize::from(asked)].is_cut_off = true;
    cluster.queue.clear();
    cluster.run_until("the transfer", |cluster| cluster.is_settled(4, &first));
    assert_ne!(forwarded_last(&cluster, 4), asked);
    // It owes an answer still, so it gets nothing more.
    for nonce in 2..=10 {
        cluster.submit(4, vec![transfer(2, nonce)]);
        cluster.run(200);
    }
    assert_eq!(cluster.forwarded_to(4, asked), 1);
    cluster.run_until("the others", |cluster| cluster.is_settled(4, &transfer(2, 10)));
}

#[test]
fn what_a_validator_took_and_lost_is_offered_to_another() {
    let mut cluster = Cluster::connected(4, 1);
    cluster.run(1_000);
    let transaction = transfer(2, 1);
    cluster.submit(4, vec![transaction.clone()]);
    let asked = usize::from(forwarded_last(&cluster, 4));
    // It says that it took the transaction, and dies before it proposes anything.
    let from = cluster.name(asked);
    cluster.queue.clear();
    cluster.machines[asked].is_cut_off = true;
    let message = Inbound::Forwarded { taken: vec![true] };
    cluster.queue.push_back((4, Event::Message { from, message }));
    cluster.run(2_500);
    assert!(!cluster.is_settled(4, &transaction), "nobody else has it yet");
    cluster.run_until("the transfer", |cluster| cluster.is_settled(4, &transaction));
}

#[test]
fn a_disconnected_validator_is_not_waited_for() {
    let mut cluster = Cluster::connected(4, 1);
    cluster.run(1_000);
    let transaction = transfer(2, 1);
    cluster.submit(4, vec![transaction.clone()]);
    let asked = usize::from(forwarded_last(&cluster, 4));
    cluster.queue.clear();
    cluster.cut_off(asked);
    assert_ne!(usize::from(forwarded_last(&cluster, 4)), asked, "the next one is asked at once");
    cluster.run_until("the transfer", |cluster| cluster.is_settled(4, &transaction));
}

#[test]
fn what_validators_do_not_take_is_offered_again_while_it_is_valid() {
    let mut cluster = Cluster::connected(4, 1);
    cluster.run(1_000);
    for validator in 0..4 {
        cluster.machines[validator].takes_no_forwards = true;
    }
    let transaction = transfer(2, 1);
    let brief = transfer_until(2, 2, START_MS + cluster.now_ms + 10_000);
    cluster.submit(4, vec![transaction.clone(), brief.clone()]);
    cluster.run(3_000);
    assert!(cluster.replica(4).is_pending(&transaction.id()), "that nobody takes it is not the end of it");
    assert!((0..4).all(|author| cluster.forwarded_to(4, author) > 0), "everybody was asked");
    let offers: usize = (0..4).map(|author| cluster.forwarded_to(4, author)).sum();
    assert!((5..=8).contains(&offers), "{offers} offers in three seconds");
    cluster.run(10_000);
    assert_eq!(cluster.machines[4].dropped, [(brief.id(), DropReason::Expired)]);
    cluster.machines[3].takes_no_forwards = false;
    cluster.run_until("the transfer", |cluster| cluster.is_settled(4, &transaction));
}

#[test]
fn a_full_node_that_forwards_bad_signatures_is_dropped() {
    let mut cluster = Cluster::connected(4, 1);
    cluster.run(1_000);
    let good = transfer(2, 1);
    let mut bad = transfer(2, 2).signed().clone();
    bad.signature.0[40] ^= 1;
    let message = Inbound::Forward { transactions: vec![good.signed().clone(), bad] };
    cluster.queue.push_back((0, Event::Message { from: Peer::Follower(4), message }));
    cluster.run(2_000);
    assert_eq!(cluster.machines[0].disconnects, [(Peer::Follower(4), "bad_forward")]);
    assert!(!cluster.is_settled(1, &good), "nothing of it is taken");
}

#[test]
fn an_answer_of_the_wrong_length_is_a_breach() {
    let mut cluster = Cluster::connected(4, 1);
    cluster.run(1_000);
    let transaction = transfer(2, 1);
    cluster.submit(4, vec![transaction.clone()]);
    let asked = forwarded_last(&cluster, 4);
    cluster.queue.clear();
    let message = Inbound::Forwarded { taken: vec![true; 2] };
    cluster.queue.push_back((4, Event::Message { from: Peer::Validator(asked), message }));
    cluster.settle();
    assert_eq!(cluster.machines[4].disconnects, [(Peer::Validator(asked), "bad_forwarded")]);
    cluster.run_until("the transfer", |cluster| cluster.is_settled(4, &transaction));
}
