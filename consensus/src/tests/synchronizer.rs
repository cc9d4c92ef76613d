//! Suspension and its bounds (§3, §9).

use super::language::{NamedDag, parse};
use super::{committee, unsigned};
use crate::dag::Dag;
use crate::fetcher::Fetcher;
use crate::message::{FETCH_VERTICES_MAX, Message};
use crate::synchronizer::{FETCHING_MAX, SUSPENDED_BYTES_MAX, Synchronizer};
use crate::vertex::{PAYLOAD_BYTES_MAX, VerifiedVertex, VertexRef};
use bytes::Bytes;
use farthing_core::hash::Digest;
use std::collections::BTreeSet;
use std::sync::Arc;

struct Parts {
    dag: Dag,
    synchronizer: Synchronizer,
    fetcher: Fetcher,
}

impl Parts {
    fn new(gc_round: u64) -> Parts {
        let dag = Dag::new(Arc::new(committee(4)), gc_round);
        Parts { dag, synchronizer: Synchronizer::new(4), fetcher: Fetcher::new(300) }
    }

    fn suspend(&mut self, vertex: &VerifiedVertex) -> Vec<VerifiedVertex> {
        self.synchronizer.suspend(vertex.clone(), &self.dag, &mut self.fetcher, vertex.author(), 50)
    }

    fn accept(&mut self, vertex: &VerifiedVertex) -> Vec<VertexRef> {
        self.dag.insert(vertex.clone());
        let complete = self.synchronizer.on_accepted(&vertex.reference(), &mut self.fetcher);
        complete.iter().map(VerifiedVertex::reference).collect()
    }
}

fn round(dag: &NamedDag, round: usize) -> Vec<VerifiedVertex> {
    dag.model.by_round[round].iter().filter_map(|vertex| dag.model.vertices[*vertex].real.clone()).collect()
}

/// A parent that does not exist.
fn bogus(round: u64, author: u16, salt: u64) -> VertexRef {
    VertexRef { round, author, digest: Digest::of_bytes(&salt.to_le_bytes()) }
}

#[test]
fn a_vertex_waits_for_all_its_parents_and_no_longer() {
    let dag = parse(4, 60, "1: A B C\n2: A\n3: A:A");
    let mut parts = Parts::new(0);
    let (first, second, third) = (round(&dag, 1), round(&dag, 2).remove(0), round(&dag, 3).remove(0));
    parts.suspend(&third);
    assert!(parts.fetcher.is_wanted(&second.reference()));
    parts.suspend(&second);
    assert!(!parts.fetcher.is_wanted(&second.reference()), "it is here, only its parents are missing");
    assert_eq!((parts.synchronizer.len(), parts.fetcher.len()), (2, 3));
    assert!(parts.accept(&first[0]).is_empty());
    assert!(parts.accept(&first[2]).is_empty());
    assert_eq!(parts.accept(&first[1]), [second.reference()]);
    assert_eq!(parts.accept(&second), [third.reference()]);
    assert_eq!((parts.synchronizer.len(), parts.synchronizer.bytes(), parts.fetcher.len()), (0, 0, 0));
}

#[test]
fn a_rising_gc_round_frees_what_waited_for_collected_parents() {
    let dag = parse(4, 60, "1: A B C\n2: A B C\n3: A");
    let mut parts = Parts::new(0);
    let (second, third) = (round(&dag, 2), round(&dag, 3).remove(0));
    second.iter().for_each(|vertex| drop(parts.suspend(vertex)));
    parts.suspend(&third);
    parts.dag.collect(1);
    let complete = parts.synchronizer.on_collected(1, &mut parts.fetcher);
    assert_eq!(complete.len(), 3, "round 2 lacks nothing above round 1");
    assert!(parts.fetcher.len() == 0, "fetches at or below the gc round are cancelled");
    assert_eq!(parts.synchronizer.len(), 1, "round 3 waits for round 2");
    for (position, vertex) in second.iter().enumerate() {
        assert_eq!(parts.accept(vertex).len(), usize::from(position == 2));
    }
}

#[test]
fn collected_vertices_are_dropped_though_parents_are_missing() {
    let dag = parse(4, 60, "1: A B C\n2: A B C\n3: A");
    let mut parts = Parts::new(0);
    let third = round(&dag, 3).remove(0);
    parts.suspend(&third);
    parts.dag.collect(3);
    assert!(parts.synchronizer.on_collected(3, &mut parts.fetcher).is_empty());
    assert_eq!((parts.synchronizer.len(), parts.synchronizer.bytes(), parts.fetcher.len()), (0, 0, 0));
}

#[test]
fn suspended_bytes_of_one_author_are_bounded_and_the_lowest_stay() {
    let mut parts = Parts::new(0);
    let payload = Bytes::from(vec![1; PAYLOAD_BYTES_MAX]);
    let mut dropped = Vec::new();
    let rounds = 2..60_u64;
    for round in rounds.clone() {
        dropped.extend(parts.suspend(&unsigned(0, round, vec![bogus(round - 1, 0, 0)], 0, payload.clone())));
        assert!(parts.synchronizer.bytes() <= SUSPENDED_BYTES_MAX);
    }
    let kept = parts.synchronizer.len();
    assert!(kept > 20 && kept + dropped.len() == rounds.count());
    assert!(dropped.iter().all(|vertex| vertex.round() >= 2 + kept as u64));
    // Another author is not affected.
    assert!(parts.suspend(&unsigned(1, 70, vec![bogus(69, 1, 0)], 0, payload)).is_empty());
}

#[test]
fn fetches_for_one_author_are_bounded() {
    let mut parts = Parts::new(0);
    for salt in 0..1_000 {
        let parents = (0..4).map(|author| bogus(10 + salt, author, salt)).collect();
        parts.suspend(&unsigned(0, 11 + salt, parents, 0, Bytes::new()));
        assert!(parts.fetcher.len() <= FETCHING_MAX);
    }
    assert!(parts.fetcher.len() > FETCHING_MAX / 2);
}

#[test]
fn a_dropped_vertex_that_another_waits_for_is_fetched_again() {
    let mut parts = Parts::new(0);
    let payload = Bytes::from(vec![1; PAYLOAD_BYTES_MAX]);
    let high = unsigned(0, 100, vec![bogus(99, 0, 0)], 0, payload.clone());
    parts.suspend(&high);
    parts.suspend(&unsigned(1, 101, vec![high.reference()], 0, Bytes::new()));
    assert!(!parts.fetcher.is_wanted(&high.reference()));
    let dropped: Vec<_> = (2..60)
        .flat_map(|round| parts.suspend(&unsigned(0, round, vec![bogus(round - 1, 0, 0)], 0, payload.clone())))
        .collect();
    assert!(dropped.contains(&high));
    assert!(parts.fetcher.is_wanted(&high.reference()) && parts.synchronizer.is_wanted(&high.reference()));
}

fn refs_of(message: &Message) -> &[VertexRef] {
    match message {
        Message::FetchVertices { refs, .. } => refs,
        other => panic!("{other:?} is not a fetch"),
    }
}

#[test]
fn a_fetch_goes_to_the_source_first_and_then_to_the_others() {
    let mut fetcher = Fetcher::new(300);
    let peers = BTreeSet::from([0, 2, 3]);
    fetcher.want(bogus(5, 1, 0), 2, 0, 50);
    assert!(fetcher.poll(&peers, 49).is_empty());
    assert_eq!(fetcher.next_poll_ms(&peers), Some(50));
    let asked: Vec<u16> = [50, 350, 650, 950].map(|now_ms| fetcher.poll(&peers, now_ms)[0].0).to_vec();
    assert_eq!(asked, [2, 3, 0, 2]);
    fetcher.cancel(&bogus(5, 1, 0));
    assert_eq!(fetcher.next_poll_ms(&peers), None);
}

#[test]
fn whoever_builds_on_what_is_missing_is_asked_for_it_next() {
    let dag = parse(4, 60, "1: A B C D\n2: A B C D\n3: D");
    let connected = BTreeSet::from([0, 1, 2, 3]);
    let mut parts = Parts::new(0);
    let (first, third) = (round(&dag, 1), round(&dag, 3).remove(0));
    let others: Vec<_> = round(&dag, 2).into_iter().filter(|vertex| vertex.author() != third.author()).collect();
    let second = &others[0];
    parts.suspend(second);
    let asked = parts.fetcher.poll(&connected, 50);
    let peers = |asked: &[(u16, Message)]| asked.iter().map(|(peer, _)| *peer).collect::<Vec<_>>();
    assert_eq!(peers(&asked), [second.author()], "its author, who does not answer");
    parts.suspend(&third);
    let asked = parts.fetcher.poll(&connected, 60);
    assert_eq!(peers(&asked), [third.author()], "and nobody else yet");
    let refs = refs_of(&asked[0].1);
    assert!(
        first.iter().all(|vertex| refs.contains(&vertex.reference())),
        "also what the suspended parent lacks: {refs:?}"
    );
}

#[test]
fn there_is_one_bounded_request_in_flight_to_a_peer() {
    let mut fetcher = Fetcher::new(300);
    let peers = BTreeSet::from([0, 2, 3]);
    for salt in 0..200 {
        fetcher.want(bogus(5, 1, salt), 2, 0, 0);
    }
    let requests = fetcher.poll(&peers, 0);
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|(_, message)| refs_of(message).len() == FETCH_VERTICES_MAX));
    assert!(fetcher.poll(&peers, 100).is_empty());
    // An answer frees its peer; what it left out is asked for again at once.
    fetcher.on_answer(0, 5, 100);
    let again = fetcher.poll(&peers, 100);
    assert_eq!((again.len(), again[0].0), (1, 0));
    assert_eq!(fetcher.poll(&peers, 400).len(), 3, "and time does");
}

#[test]
fn what_nobody_has_is_asked_for_less_and_less() {
    let mut fetcher = Fetcher::new(300);
    let peers = BTreeSet::from([0, 2, 3]);
    fetcher.want(bogus(5, 1, 0), 2, 0, 0);
    let asked = (0..60_000).filter(|now_ms| !fetcher.poll(&peers, *now_ms).is_empty()).count();
    assert!((15..30).contains(&asked), "{asked} times in a minute");
}

#[test]
fn with_nobody_connected_nothing_is_asked() {
    let mut fetcher = Fetcher::new(300);
    fetcher.want(bogus(5, 1, 0), 2, 0, 0);
    assert!(fetcher.poll(&BTreeSet::new(), 1_000).is_empty());
    assert_eq!(fetcher.next_poll_ms(&BTreeSet::new()), None);
    assert_eq!(fetcher.poll(&BTreeSet::from([3]), 1_001).len(), 1);
}
