//! Turns, verdicts, and the pool with real signatures.

use super::turns::{Source, Turns};
use super::verdicts::Verdicts;
use super::*;
use crate::test_support::{genesis, key, transfer};
use bytes::Bytes;
use farthing_consensus::vertex::{Author, VertexHeader};
use farthing_core::hash::Digest;
use farthing_core::transaction::Transaction;
use std::time::{Duration, Instant};

/// A vertex with this payload, of no round in particular.
fn vertex(author: Author, payload: Vec<u8>) -> VerifiedVertex {
    let header = VertexHeader {
        epoch: 0,
        round: 1,
        author,
        timestamp_ms: 0,
        parents: Vec::new(),
        payload_digest: Digest::of_bytes(&payload),
        commit_vote: None,
        attestations: Vec::new(),
    };
    VerifiedVertex::sign(header, Bytes::from(payload), &genesis().chain_hash(), &key(101 + author as u8))
}

/// `count` transfers of one sender, from this nonce on.
fn transfers(sender: u8, from_nonce: u64, count: u64) -> Vec<SignedTransaction> {
    let (chain, key) = (genesis().chain_hash(), key(sender));
    let first = transfer(sender, from_nonce).transaction().clone();
    let nonces = from_nonce..from_nonce + count;
    nonces.map(|nonce| Transaction { nonce, ..first.clone() }.sign(&chain, &key)).collect()
}

/// The same, encoded.
fn encoded(sender: u8, from_nonce: u64, count: u64) -> Vec<u8> {
    transfers(sender, from_nonce, count).iter().flat_map(SignedTransaction::encode).collect()
}

fn with_bad_signature(sender: u8, nonce: u64) -> SignedTransaction {
    let mut signed = transfer(sender, nonce).signed().clone();
    signed.signature.0[40] ^= 1;
    signed
}

fn start() -> (Verifier, mpsc::UnboundedReceiver<Outcome>) {
    let (outcomes_in, outcomes) = mpsc::unbounded_channel();
    (Verifier::start(genesis().chain_hash(), 1, outcomes_in).expect("a thread"), outcomes)
}

fn payload_verdict(outcome: Option<Outcome>) -> (Author, bool) {
    match outcome {
        Some(Outcome::Payload(reference, verdict)) => (reference.author, matches!(verdict, Verdict::Valid(_))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sources_have_their_turns() {
    let mut turns = Turns::default();
    assert_eq!(turns.pop_if(|_, _| true), None);
    for work in 0..5 {
        turns.push(Source::Validator(3), work);
    }
    turns.push(Source::Clients, 10);
    turns.push(Source::Clients, 11);
    turns.push(Source::Validator(0), 20);
    assert_eq!((turns.len(Source::Validator(3)), turns.len(Source::Followers)), (5, 0));
    let mut order = Vec::new();
    while let Some((_, work)) = turns.pop_if(|_, _| true) {
        order.push(work);
    }
    assert_eq!(order, [0, 10, 20, 1, 11, 2, 3, 4]);

    // Who is passed over keeps the turn, and taking more in one turn leaves no turn behind for nothing.
    turns.push(Source::Validator(0), 5);
    for work in 0..3 {
        turns.push(Source::Clients, work);
    }
    let of_clients = |source, _: &i32| source == Source::Clients;
    assert_eq!(turns.pop_if(of_clients), Some((Source::Clients, 0)));
    assert_eq!(turns.sources().collect::<Vec<_>>(), [Source::Validator(0), Source::Clients]);
    assert_eq!(turns.pop_more(Source::Clients), Some(1));
    assert_eq!(turns.pop_if(|source, work| of_clients(source, work) && *work != 2), None);
    assert_eq!(turns.pop_more(Source::Clients), Some(2));
    assert_eq!(turns.pop_more(Source::Clients), None);
    assert_eq!(turns.pop_if(of_clients), None);
    assert_eq!(turns.pop_if(|_, _| true), Some((Source::Validator(0), 5)));
    assert_eq!(turns.sources().count(), 0);
}

/// What a thread took: the authors of vertices, or how many submissions.
fn taken(turn: Option<Turn>) -> (Vec<Author>, usize) {
    match turn {
        Some(Turn::Vertices(vertices)) => (vertices.iter().map(VerifiedVertex::author).collect(), 0),
        Some(Turn::Suspect(vertex)) => (vec![vertex.author()], 0),
        Some(Turn::Submissions(submissions)) => (vec![], submissions.len()),
        None => (vec![], 0),
    }
}

#[test]
fn small_batches_of_a_kind_come_one_after_the_other_while_more_gathers() {
    let mut state = State::default();
    let (small, large) = (encoded(1, 1, 100), encoded(1, 1, 1_300));
    let push_vertex = |state: &mut State, author, payload: &Vec<u8>| {
        state.push(Source::Validator(author), Work::Vertex(vertex(author, payload.clone())));
    };
    let push_submission = |state: &mut State, source, count| {
        let (reply, _) = oneshot::channel();
        let submission = Submission { transactions: transfers(2, 1, count), reply: Reply::Client(reply) };
        state.push(source, Work::Submission(submission));
    };
    push_vertex(&mut state, 0, &small);
    assert_eq!(taken(state.begin()), (vec![0], 0));
    // A batch of payloads is being checked: the next ones gather until they make another, and nobody else waits for that.
    push_vertex(&mut state, 1, &small);
    push_submission(&mut state, Source::Clients, 10);
    push_vertex(&mut state, 2, &large);
    assert!(!state.may_begin(Source::Validator(1)));
    assert_eq!(taken(state.begin()), (vec![], 1));
    assert_eq!(taken(state.begin()), (vec![], 0));
    push_vertex(&mut state, 0, &large);
    assert_eq!(taken(state.begin()), (vec![1, 2], 0), "some four hundred thousand bytes: of them what is one batch");
    assert_eq!(taken(state.begin()), (vec![], 0));
    state.payloads.threads = 0;
    assert_eq!(taken(state.begin()), (vec![0], 0));
    assert_eq!((state.payloads.waiting, state.submissions.waiting), (0, 0));

    // Submissions of clients and full nodes share that rule, and no batch.
    push_submission(&mut state, Source::Clients, 500);
    push_submission(&mut state, Source::Clients, 500);
    assert_eq!(taken(state.begin()), (vec![], 0));
    push_submission(&mut state, Source::Followers, 24);
    assert_eq!(taken(state.begin()), (vec![], 2));
    assert_eq!(taken(state.begin()), (vec![], 0));
    state.submissions.threads = 0;
    assert_eq!(taken(state.begin()), (vec![], 1));

    // Suspects are checked alone, and nobody waits for them.
    state.payloads.threads = 0;
    state.suspects.add(3);
    push_vertex(&mut state, 3, &small);
    push_vertex(&mut state, 0, &small);
    assert_eq!(taken(state.begin()), (vec![3], 0));
    assert_eq!(taken(state.begin()), (vec![0], 0));
    assert_eq!(state.payloads.threads, 1);

    // Four batches of payloads come before one of submissions.
    state.submissions.threads = 0;
    push_submission(&mut state, Source::Clients, 1);
    for batch in 0..5 {
        state.payloads.threads = 0;
        push_vertex(&mut state, 0, &small);
        assert_eq!(taken(state.begin()), if batch == 4 { (vec![], 1) } else { (vec![0], 0) }, "{batch}");
    }
}

#[test]
fn after_a_void_payload_some_are_checked_alone() {
    let mut suspects = Suspects::default();
    assert!(!suspects.take(1));
    suspects.add(1);
    for _ in 0..100 {
        assert!(suspects.contains(1) && !suspects.contains(2));
        assert!(suspects.take(1) && !suspects.take(2));
    }
    assert!(!suspects.contains(1) && !suspects.take(1));
}

#[tokio::test]
async fn payloads_that_share_a_batch_have_verdicts_of_their_own() {
    let (verifier, mut outcomes) = start();
    let mut bad = encoded(1, 1, 50);
    bad.extend(with_bad_signature(1, 51).encode());
    // Keeps the one thread busy until the others wait.
    verifier.check_vertex(vertex(4, encoded(2, 1, 1_400)));
    for (author, payload) in [(0, encoded(3, 1, 100)), (1, bad), (2, vec![1, 2, 3]), (3, encoded(4, 1, 100))] {
        verifier.check_vertex(vertex(author, payload));
    }
    for _ in 0..5 {
        let (author, valid) = payload_verdict(outcomes.recv().await);
        assert_eq!(valid, ![1, 2].contains(&author), "{author}");
    }
    let state = verifier.shared.lock();
    assert!([1, 2].iter().all(|author| state.suspects.contains(*author)));
    assert!([0, 3, 4].iter().all(|author| !state.suspects.contains(*author)));
}

#[test]
fn verdicts_are_remembered_within_bounds() {
    let verdicts = Verdicts::new(10);
    let is_known = |signed: &SignedTransaction| {
        let mut unverified = [UnverifiedTransaction::new(signed.clone(), &genesis().chain_hash())];
        verdicts.mark_known(&mut unverified);
        unverified[0].is_known()
    };
    for nonce in 1..100 {
        verdicts.remember([&transfer(1, nonce)]);
        assert!(verdicts.len() <= 20);
        // The newest ten at least are known.
        let mut newest = nonce.saturating_sub(9).max(1)..=nonce;
        assert!(newest.all(|nonce| is_known(transfer(1, nonce).signed())), "{nonce}");
    }
    assert!(!is_known(transfer(1, 1).signed()) && !is_known(transfer(1, 500).signed()));
    // With another signature it would have to be checked.
    let mut resigned = transfer(1, 99).signed().clone();
    assert!(is_known(&resigned));
    resigned.signature.0[63] ^= 1;
    assert!(!is_known(&resigned));
}

#[tokio::test]
async fn a_flood_of_one_author_does_not_delay_the_others() {
    const FLOOD: usize = 200;
    // Bad payloads of one validator, seconds of work together.
    let mut bad = encoded(1, 1, 500);
    bad.extend(with_bad_signature(1, 501).encode());
    let flood = vec![vertex(3, bad); FLOOD];
    // This thread may be held up between two lines while the flood is checked, though hardly every time.
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let (payload, client) = checked_before_others(&flood).await;
        // In the order of arrival all of the flood would have come first.
        if payload < FLOOD / 4 && client < FLOOD / 2 {
            return;
        }
        attempts.push((payload, client));
    }
    panic!("so many payloads of the flood came before another author's payload and before a client: {attempts:?}");
}

/// How much of a flood is checked before the payload of another author, and before a client's transaction, that come after it.
async fn checked_before_others(flood: &[VerifiedVertex]) -> (usize, usize) {
    let (verifier, mut outcomes) = start();
    let good = vertex(0, encoded(2, 1, 3));
    for bad in flood {
        verifier.check_vertex(bad.clone());
    }
    verifier.check_vertex(good);
    let checker = verifier.submissions();
    let checked = tokio::spawn(async move { checker.check(vec![transfer(3, 1).signed().clone()]).await });
    let mut before = 0;
    loop {
        match payload_verdict(outcomes.recv().await) {
            (0, valid) => break assert!(valid),
            (_, valid) => assert!(!valid),
        }
        before += 1;
    }
    assert!(matches!(checked.await.expect("no panic").as_deref(), Ok([Ok(_)])));
    (before, before + outcomes.len())
}

#[tokio::test]
async fn a_signature_is_checked_once() {
    let (verifier, mut outcomes) = start();
    let transactions = transfers(1, 1, 1_000);
    let checked = verifier.submissions().check(transactions.clone()).await.expect("room");
    assert!(checked.iter().all(Result::is_ok));
    // Known now: many payloads of them take less time than checking one of them would.
    let payload: Vec<_> = transactions.iter().flat_map(SignedTransaction::encode).collect();
    let (mut remembered, mut fresh) = (Duration::MAX, Duration::MAX);
    for round in 0..5u64 {
        let started = Instant::now();
        verifier.check_vertex(vertex(0, payload.clone()));
        let Some(Outcome::Payload(_, Verdict::Valid(verified))) = outcomes.recv().await else { panic!() };
        remembered = remembered.min(started.elapsed());
        assert!(verified.iter().map(VerifiedTransaction::signed).eq(&transactions), "all of them, in order");
        let others = encoded(2, 1 + 1_000 * round, 1_000);
        let started = Instant::now();
        verifier.check_vertex(vertex(0, others));
        assert!(payload_verdict(outcomes.recv().await).1);
        fresh = fresh.min(started.elapsed());
    }
    assert!(remembered < fresh / 2, "remembered: {remembered:?}, checked: {fresh:?}");

    // The same transaction with another signature is not known, whoever sends it.
    let mut forged = transactions.clone();
    forged[500].signature.0[40] ^= 1;
    let payload: Vec<_> = forged.iter().flat_map(SignedTransaction::encode).collect();
    verifier.check_vertex(vertex(0, payload));
    assert!(!payload_verdict(outcomes.recv().await).1);
    let checked = verifier.submissions().check(forged).await.expect("room");
    assert!(checked.iter().enumerate().all(|(place, result)| result.is_ok() == (place != 500)));
    // Nor does a bad one become good by being seen, or a vertex's good ones be lost beside a bad one.
    let mixed = [transfer(3, 7).signed().clone(), with_bad_signature(3, 8)];
    for _ in 0..2 {
        let checked = verifier.submissions().check(mixed.to_vec()).await.expect("room");
        assert!(checked[0].is_ok() && checked[1].is_err());
    }
}

#[tokio::test]
async fn what_full_nodes_forward_is_told_to_the_driver() {
    let (verifier, mut outcomes) = start();
    let from = Peer::Follower(7);
    verifier.check_forwarded(from, vec![transfer(1, 1).signed().clone(), with_bad_signature(1, 2)]);
    let Some(Outcome::Forwarded(peer, checked)) = outcomes.recv().await else { panic!() };
    assert_eq!(peer, from);
    assert!(checked[0].is_ok() && checked[1].is_err());
}

#[tokio::test]
async fn submissions_beyond_the_bound_are_refused_and_the_end_is_told() {
    let (verifier, _outcomes) = start();
    // Keeps the one thread busy for long enough.
    for first in 0..20 {
        verifier.check_vertex(vertex(0, encoded(1, 1 + 1_400 * first, 1_400)));
    }
    let bad = with_bad_signature(2, 1);
    let checker = verifier.submissions();
    let waiting: Vec<_> = (0..3 * SUBMISSIONS_MAX)
        .map(|_| {
            let checker = checker.clone();
            let bad = bad.clone();
            tokio::spawn(async move { checker.check(vec![bad]).await })
        })
        .collect();
    let mut refused = 0;
    for task in waiting {
        match task.await.expect("no panic") {
            Err(Busy) => refused += 1,
            Ok(checked) => assert!(checked[0].is_err()),
        }
    }
    assert!(refused > 0, "some found no room");
    drop(verifier);
    assert_eq!(checker.check(vec![transfer(1, 1).signed().clone()]).await.err(), Some(Busy));
}

#[test]
fn a_payload_that_does_not_decode_is_void() {
    let (verifier, mut outcomes) = start();
    let cut = encoded(1, 1, 2);
    for payload in [vec![1, 2, 3], cut[..cut.len() - 1].to_vec()] {
        verifier.check_vertex(vertex(2, payload));
        assert_eq!(payload_verdict(outcomes.blocking_recv()), (2, false));
    }
}
