//! Bounds: what is dropped and asked for again (§3), and flow control (§12), at a single engine that is fed by hand or in a network.

use crate::fed::{Fed, accepted, own_first, references, subscriptions};
use crate::network::{Network, committee};
use crate::progress::run_under_load;
use bytes::Bytes;
use farthing_consensus::archive::{Archive, answer_fetch_vertices};
use farthing_consensus::commit::Commit;
use farthing_consensus::engine::{Engine, Input, Now, Output, Settings};
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::hash::Digest;
use std::collections::BTreeMap;

/// A vertex far above all others, with parents that nobody knows.
fn far_vertex(fed: &Fed, author: Author, round: Round) -> VerifiedVertex {
    let parents: Vec<VertexRef> =
        (0..4).map(|author| VertexRef { round: round - 1, author, digest: Digest::of_bytes(b"unknown") }).collect();
    fed.vertex(author, round, own_first(&parents, author), 0)
}

#[test]
fn pushed_vertices_are_dropped_above_the_highest_accepted_round_plus_500_and_subscribed_to_again() {
    let mut fed = Fed::new();
    assert_eq!(subscriptions(&fed.step(Input::Connected(1))), [(1, 1)]);
    let first = fed.round(1, &fed.genesis());
    fed.push(&first[1]);
    fed.push(&far_vertex(&fed, 1, 501));
    assert_eq!(fed.engine.status().suspended, 1);
    fed.push(&far_vertex(&fed, 1, 502));
    assert_eq!(fed.engine.status().suspended, 1);
    // Too high still, so there is no use in asking yet.
    fed.now_ms = 5_000;
    assert_eq!(subscriptions(&fed.step(Input::Timer)), []);
    for vertex in [&first[0], &first[2], &first[3]] {
        fed.push(vertex);
    }
    let second = fed.round(2, &references(&first));
    assert_eq!(subscriptions(&fed.push(&second[1])), [(1, 3)], "from above the author's highest accepted round");
    assert_eq!(subscriptions(&fed.step(Input::Timer)), [], "and once");
}

#[test]
fn only_the_author_pushes_a_vertex_and_nothing_unasked_is_taken() {
    let mut fed = Fed::new();
    let first = fed.round(1, &fed.genesis());
    assert_eq!(accepted(&fed.step(Input::Pushed { from: 2, vertex: first[1].clone() })), 0);
    assert_eq!(accepted(&fed.step(Input::Fetched { from: 1, vertices: first.clone() })), 0);
    assert_eq!(accepted(&fed.push(&first[1])), 1);
    assert_eq!(accepted(&fed.push(&first[1])), 0, "and once only");
}

#[test]
fn of_an_equivocator_the_first_is_kept_and_another_only_if_referenced() {
    let mut fed = Fed::new();
    fed.step(Input::Connected(0));
    let mut first = fed.round(1, &fed.genesis());
    let other = fed.vertex(3, 1, own_first(&fed.genesis(), 3), 77);
    first.iter().for_each(|vertex| drop(fed.push(vertex)));
    let outputs = fed.push(&other);
    assert_eq!(accepted(&outputs), 0);
    let evidence = outputs.iter().filter(|output| matches!(output, Output::Evidence(_))).count();
    assert_eq!((evidence, fed.engine.status().equivocators), (1, vec![3]));
    // Author 0 references the other one: its vertex waits, the other is fetched, and both are accepted.
    first[3] = other.clone();
    let second = fed.vertex(0, 2, own_first(&references(&first), 0), 0);
    assert_eq!(accepted(&fed.push(&second)), 0);
    fed.now_ms = 50;
    let fetch =
        Output::Send { to: 0, message: Message::FetchVertices { refs: vec![other.reference()], above_round: 0 } };
    assert!(fed.step(Input::Timer).iter().any(|output| format!("{output:?}") == format!("{fetch:?}")));
    let outputs = fed.step(Input::Fetched { from: 0, vertices: vec![other] });
    assert_eq!(accepted(&outputs), 2);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Evidence(_))), "it is known already");
}

#[test]
fn a_missing_parent_is_fetched_from_the_sender_and_then_from_others() {
    let mut fed = Fed::new();
    (0..4).for_each(|peer| drop(fed.step(Input::Connected(peer))));
    let first = fed.round(1, &fed.genesis());
    first[..3].iter().for_each(|vertex| drop(fed.push(vertex)));
    let second = fed.round(2, &references(&first));
    fed.push(&second[2]);
    let mut asked = Vec::new();
    for now_ms in [49, 50, 349, 350, 650] {
        fed.now_ms = now_ms;
        let outputs = fed.step(Input::Timer);
        asked.extend(outputs.iter().filter_map(|output| match output {
            Output::Send { to, message: Message::FetchVertices { .. } } => Some((now_ms, *to)),
            _ => None,
        }));
    }
    assert_eq!(asked, [(50, 2), (350, 3), (650, 0)]);
}

#[test]
fn what_is_collected_is_not_taken_any_more() {
    let mut network = Network::new(committee(4), 1);
    network.start_all();
    network.crash(3);
    run_under_load(&mut network, 50, 8_000);
    let status = network.status(0);
    assert!(status.gc_round > 5);
    let mut fed = Fed { committee: network.committee.clone(), ..Fed::new() };
    fed.engine = {
        let recovered = network.nodes[0].disk.recovered(&network.committee);
        let now = Now { monotonic_ms: 0, wall_ms: 0 };
        Engine::start(network.committee.clone(), None, Settings::default(), recovered, now, &mut Vec::new())
    };
    let gc_round = fed.engine.status().gc_round;
    let parents_at = |round: Round| -> Vec<VertexRef> {
        network.nodes[0].disk.vertices.keys().filter(|reference| reference.round == round).copied().collect()
    };
    let late = |round: Round| {
        let mut parents = vec![fed.committee.genesis_ref(3)];
        parents.extend(parents_at(round - 1));
        fed.vertex(3, round, parents, 0)
    };
    let (below, above) = (late(gc_round), late(gc_round + 1));
    assert_eq!(accepted(&fed.push(&below)), 0);
    assert_eq!(accepted(&fed.push(&above)), 1, "its parents are at the gc round, so none is needed");
}

#[test]
fn lagging_execution_stops_payload_but_not_votes() {
    let mut network = Network::new(committee(4), 2);
    network.start_all();
    run_under_load(&mut network, 50, 2_000);
    network.nodes[1].execution_ms = 60_000;
    run_under_load(&mut network, 50, 15_000);
    let status = network.status(1);
    assert!(status.last_commit > status.executed + 64, "{status:?}");
    assert_eq!(status.payload_bytes_max, 0);
    let (requests, vertices) = (network.nodes[1].payload_requests.len(), network.nodes[1].broadcasts.len());
    run_under_load(&mut network, 50, 5_000);
    assert_eq!(network.nodes[1].payload_requests.len(), requests, "no payload is asked for");
    assert!(network.nodes[1].broadcasts.len() > vertices + 10, "but vertices are made");
    assert!(network.status(0).payload_bytes_max > 0, "the others are not concerned");
    network.nodes[1].execution_ms = 1;
    network.run_for(70_000);
    assert!(network.nodes.iter().all(|node| node.mempool.is_empty()), "it all comes in the end");
    assert_eq!(network.nodes[1].disk.block, network.nodes[0].disk.block);
}

#[test]
fn the_payload_budget_follows_what_the_network_carries() {
    let mut network = Network::new(committee(4), 3);
    network.start_all();
    run_under_load(&mut network, 20, 10_000);
    let budget = network.status(0).payload_bytes_max;
    assert_eq!(budget, 256 * 1024, "rounds are as fast as can be, so payload may grow to the limit");
    assert!(network.nodes[0].payload_requests.iter().all(|bytes| (32 * 1024..=256 * 1024).contains(bytes)));
    network.delay_ms = (200, 300);
    run_under_load(&mut network, 20, 20_000);
    let slower = network.status(0).payload_bytes_max;
    assert!(slower < budget, "{slower} bytes");
}

#[test]
#[should_panic(expected = "the very next input")]
fn a_payload_that_nobody_asked_for_is_a_broken_contract() {
    Fed::new().step(Input::Payload(Bytes::new()));
}

/// Vertices that can be fetched.
struct Store(BTreeMap<VertexRef, VerifiedVertex>);

impl Archive for Store {
    fn vertex(&self, reference: &VertexRef) -> Option<VerifiedVertex> {
        self.0.get(reference).cloned()
    }

    fn header(&self, reference: &VertexRef) -> Option<SignedHeader> {
        self.vertex(reference).map(|vertex| vertex.signed_header().clone())
    }

    fn commit(&self, _: u64) -> Option<Commit> {
        None
    }

    fn commit_digest(&self, _: u64) -> Option<Digest> {
        None
    }

    fn newest_commit(&self) -> u64 {
        0
    }

    fn oldest_commit(&self) -> u64 {
        1
    }

    fn recent_votes(&self) -> Vec<SignedHeader> {
        Vec::new()
    }
}

/// Author 3 sends its vertices to everybody, and keeps another chain of `length` vertices to itself until author 0 references its end.
/// Returns how many fetches it takes until that is accepted.
fn fetches_of_a_private_chain(length: Round, comes_with_ancestors: bool) -> usize {
    let mut fed = Fed::new();
    (0..4).for_each(|peer| drop(fed.step(Input::Connected(peer))));
    let mut public = fed.genesis();
    let mut private = fed.committee.genesis_ref(3);
    let mut store = Store(BTreeMap::new());
    for round in 1..=length {
        let hidden = fed.vertex(3, round, [&[private][..], &public[..3]].concat(), 77);
        private = hidden.reference();
        store.0.insert(private, hidden);
        let vertices = fed.round(round, &public);
        vertices.iter().for_each(|vertex| drop(fed.push(vertex)));
        public = references(&vertices);
    }
    let revealing = fed.vertex(0, length + 1, [&public[..3], &[private]].concat(), 0);
    fed.push(&revealing);
    fed.now_ms = 50;
    let mut outputs = fed.step(Input::Timer);
    for fetches in 0.. {
        let request = outputs.iter().find_map(|output| match output {
            Output::Send { to, message: Message::FetchVertices { refs, above_round } } => {
                Some((*to, refs, *above_round))
            }
            _ => None,
        });
        let Some((to, refs, above_round)) = request else {
            assert!(fed.engine.status().highest_accepted[0] == length + 1, "{:?}", fed.engine.status());
            return fetches;
        };
        let above_round = if comes_with_ancestors { above_round } else { Round::MAX };
        let Message::Vertices { vertices } = answer_fetch_vertices(&store, refs, above_round) else { unreachable!() };
        assert!((1..=32).contains(&vertices.len()));
        let vertices = vertices.into_iter().map(|vertex| fed.committee.verify(vertex).expect("valid")).collect();
        outputs = fed.step(Input::Fetched { from: to, vertices });
    }
    unreachable!()
}

#[test]
fn a_private_chain_comes_32_vertices_a_fetch() {
    assert_eq!(fetches_of_a_private_chain(50, true), 2);
    assert_eq!(fetches_of_a_private_chain(32, true), 1);
    assert_eq!(fetches_of_a_private_chain(50, false), 50, "without ancestors it is one a fetch");
}

#[test]
fn ancestors_of_what_was_asked_for_are_taken_only_if_something_references_them() {
    let mut fed = Fed::new();
    fed.step(Input::Connected(0));
    let first = fed.round(1, &fed.genesis());
    let second = fed.round(2, &references(&first));
    fed.push(&second[0]);
    assert_eq!(fed.engine.status().suspended, 1);
    // Asked for are the four of round 1. One of round 2 comes with them, on which nothing waits.
    let vertices = vec![first[1].clone(), second[1].clone(), first[2].clone()];
    let outputs = fed.step(Input::Fetched { from: 0, vertices });
    assert_eq!(accepted(&outputs), 2);
    assert_eq!(fed.engine.status().highest_accepted, [0, 1, 1, 0, 0]);
}
