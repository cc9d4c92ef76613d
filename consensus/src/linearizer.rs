//! Sequencing (§7): what a committed leader brings in, in which order, and the chain of commits.

use crate::commit::{COMMIT_VERTICES_MAX, Commit, CommittedVertices};
use crate::committee::Committee;
use crate::dag::Dag;
use crate::vertex::{Author, Round, VerifiedVertex, VertexRef};
use farthing_core::hash::Digest;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Makes commits of decided leaders.
pub struct Linearizer {
    committee: Arc<Committee>,
    last: LastCommit,
}

/// The newest commit, as far as the next one needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastCommit {
    /// Its index; 0 is the genesis document.
    pub index: u64,
    /// Its digest.
    pub digest: Digest,
    /// Its leader; none for genesis.
    pub leader: Option<VertexRef>,
    /// The round of its leader, 0 for genesis.
    pub leader_round: Round,
    /// Its timestamp.
    pub timestamp_ms: u64,
}

impl Linearizer {
    /// A linearizer that continues after a commit, or at the start of the epoch's chain. (Only epoch 0 starts at index 0; later
    /// epochs come with the switch of epochs.)
    pub fn new(committee: Arc<Committee>, newest: Option<&Commit>) -> Linearizer {
        let last = match newest {
            Some(commit) => LastCommit {
                index: commit.index,
                digest: commit.digest(committee.chain()),
                leader: Some(commit.leader),
                leader_round: commit.leader.round,
                timestamp_ms: commit.timestamp_ms,
            },
            None => LastCommit {
                index: 0,
                digest: committee.previous_commit(),
                leader: None,
                leader_round: 0,
                timestamp_ms: committee.genesis_timestamp_ms(),
            },
        };
        Linearizer { committee, last }
    }

    /// The newest commit.
    pub fn last(&self) -> &LastCommit {
        &self.last
    }

    /// Makes the next commit: the leader and its ancestors above the gc round that are not flagged, which it flags. The caller
    /// collects garbage afterwards.
    ///
    /// # Panics
    /// If the leader is flagged already or not in the DAG, or brings in more than [`COMMIT_VERTICES_MAX`] vertices.
    pub fn sequence(&mut self, dag: &mut Dag, leader: VertexRef) -> CommittedVertices {
        assert!(!dag.is_committed(&leader), "the leader {leader:?} was committed twice");
        let timestamp_ms = self.last.timestamp_ms.max(self.median_timestamp(dag, leader));
        let mut references = flag_history(dag, leader);
        assert!(
            references.len() <= COMMIT_VERTICES_MAX,
            "HALT: the leader of round {} brings in {} vertices, more than the {COMMIT_VERTICES_MAX} that anybody decodes. \
             Byzantine validators made many copies of their vertices (see the limits in the documentation of consensus). \
             Nothing of this commit was stored. Do not restart before a program that deals with them.",
            leader.round,
            references.len()
        );
        let distance = |author: Author| {
            let size = self.committee.size() as u64;
            (u64::from(author) + size - u64::from(leader.author)) % size
        };
        references.sort_by_key(|reference| (reference.round, distance(reference.author), reference.digest));
        assert!(references.last() == Some(&leader), "a leader has the highest round of its own history");
        let vertices = references.iter().map(|reference| vertex(dag, reference).clone()).collect();
        let commit = Commit {
            epoch: self.committee.epoch(),
            index: self.last.index + 1,
            previous: self.last.digest,
            leader,
            vertices: references,
            timestamp_ms,
        };
        let digest = commit.digest(self.committee.chain());
        self.last =
            LastCommit { index: commit.index, digest, leader: Some(leader), leader_round: leader.round, timestamp_ms };
        CommittedVertices { commit, digest, vertices }
    }

    /// The median of the timestamps of the leader's parents in the round before: element ⌊m / 2⌋ of m. With at most f Byzantine
    /// authors among them it lies between two honest clocks.
    fn median_timestamp(&self, dag: &Dag, leader: VertexRef) -> u64 {
        let parents = vertex(dag, &leader).header().parents.iter();
        let mut timestamps: Vec<u64> = parents
            .filter(|parent| parent.round + 1 == leader.round)
            .map(|parent| match parent.round {
                0 => self.committee.genesis_timestamp_ms(),
                _ => vertex(dag, parent).header().timestamp_ms,
            })
            .collect();
        timestamps.sort_unstable();
        timestamps[timestamps.len() / 2]
    }
}

/// Flags the vertex and those of its ancestors that are not flagged yet, and returns them in no useful order. Flagged vertices have
/// flagged ancestors, so the walk stops at them.
fn flag_history(dag: &mut Dag, leader: VertexRef) -> Vec<VertexRef> {
    let mut found = BTreeSet::from([leader]);
    let mut open = vec![leader];
    while let Some(next) = open.pop() {
        for parent in &vertex(dag, &next).header().parents {
            if parent.round > dag.gc_round() && !dag.is_committed(parent) && found.insert(*parent) {
                open.push(*parent);
            }
        }
    }
    for reference in &found {
        dag.flag_committed(*reference);
    }
    found.into_iter().collect()
}

fn vertex<'a>(dag: &'a Dag, reference: &VertexRef) -> &'a VerifiedVertex {
    dag.get(reference).expect("the DAG holds a leader's history above the gc round")
}
