//! The bound of what a leader may bring in.

use super::{committee, unsigned};
use crate::commit::COMMIT_VERTICES_MAX;
use crate::dag::Dag;
use crate::linearizer::Linearizer;
use crate::vertex::{Author, Round, VertexRef};
use bytes::Bytes;
use std::sync::Arc;

/// Commits a leader of this round that brings in everything below it: 4 · (round − 1) + 1 vertices.
fn commit_all_below(round: Round) -> usize {
    let committee = Arc::new(committee(4).with_gc_depth(100_000));
    let mut dag = Dag::new(committee.clone(), 0);
    let mut parents: Vec<VertexRef> = committee.authors().map(|author| committee.genesis_ref(author)).collect();
    for below in 1..round {
        let vertex = |author: Author| unsigned(author, below, parents.clone(), 0, Bytes::new());
        let vertices: Vec<_> = committee.authors().map(vertex).collect();
        parents = vertices.iter().map(|vertex| vertex.reference()).collect();
        vertices.into_iter().for_each(|vertex| dag.insert(vertex));
    }
    let leader = unsigned(committee.leader(round), round, parents, 0, Bytes::new());
    dag.insert(leader.clone());
    Linearizer::new(committee, None).sequence(&mut dag, leader.reference()).commit.vertices.len()
}

#[test]
fn a_commit_up_to_the_bound_is_made() {
    let round = (COMMIT_VERTICES_MAX as u64 - 1) / 4 + 1;
    assert_eq!(commit_all_below(round), COMMIT_VERTICES_MAX - 3);
}

#[test]
#[should_panic(expected = "more than the 32768 that anybody decodes")]
fn a_commit_above_the_bound_halts() {
    commit_all_below((COMMIT_VERTICES_MAX as u64 - 1) / 4 + 2);
}
