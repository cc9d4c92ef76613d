//! Sections 6 and 7 read as naively as can be: every question is answered from the parents, nothing is remembered. Each mutant
//! plants one mistake, which the tests that use the model must notice.

use super::unsigned;
use crate::committee::Committee;
use crate::vertex::{VerifiedVertex, VertexRef};
use bytes::Bytes;
use std::collections::BTreeSet;

/// A set of vertices by number, below 256.
pub type View = [u128; 2];

pub fn contains(view: &View, vertex: usize) -> bool {
    view[vertex / 128] >> (vertex % 128) & 1 == 1
}

pub fn union(a: &View, b: &View) -> View {
    [a[0] | b[0], a[1] | b[1]]
}

pub fn single(vertex: usize) -> View {
    let mut view = [0; 2];
    view[vertex / 128] = 1 << (vertex % 128);
    view
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// The rule itself.
    None,
    /// Skips when any one vertex at the slot has a quorum of non-votes, instead of all.
    SkipAny,
    /// Skips an empty slot without a quorum of authors in the next round.
    SkipEmpty,
    /// Skips on f + 1 non-votes.
    SkipF1,
    /// Commits directly on f certificates.
    DirectF1,
    /// Lets a slot two rounds above be the anchor.
    Anchor2,
    /// Passes over an undecided slot in search of an anchor.
    SkipUndecided,
    /// Uses certificates that are not in the anchor's history.
    LocalCertificates,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Commit(usize),
    Skip,
    Undecided,
}

/// A commit: leader, vertices in order, timestamp.
pub type ModelCommit = (usize, Vec<usize>, u64);

pub struct ModelVertex {
    pub round: usize,
    pub author: usize,
    pub parents: Vec<usize>,
    pub history: View,
    /// The same as a real vertex; of round 0, author's genesis reference only.
    pub reference: VertexRef,
    pub real: Option<VerifiedVertex>,
}

/// A DAG; its first n vertices are genesis.
pub struct Model {
    pub committee: Committee,
    pub vertices: Vec<ModelVertex>,
    pub by_round: Vec<Vec<usize>>,
}

impl Model {
    pub fn new(committee: Committee) -> Model {
        let genesis = committee.authors().map(|author| ModelVertex {
            round: 0,
            author: usize::from(author),
            parents: Vec::new(),
            history: single(usize::from(author)),
            reference: committee.genesis_ref(author),
            real: None,
        });
        let vertices: Vec<ModelVertex> = genesis.collect();
        Model { by_round: vec![(0..committee.size()).collect()], vertices, committee }
    }

    pub fn add(&mut self, round: usize, author: usize, parents: Vec<usize>) -> usize {
        let number = self.vertices.len();
        let references = parents.iter().map(|parent| self.vertices[*parent].reference).collect();
        let timestamp_ms = super::GENESIS_MS + (number as u64 * 7_919) % 10_007;
        let real = unsigned(author as u16, round as u64, references, timestamp_ms, Bytes::new());
        let history = parents.iter().fold(single(number), |all, parent| union(&all, &self.vertices[*parent].history));
        self.by_round.resize(self.by_round.len().max(round + 1), Vec::new());
        self.by_round[round].push(number);
        let reference = real.reference();
        self.vertices.push(ModelVertex { round, author, parents, history, reference, real: Some(real) });
        number
    }

    /// Takes the rounds above `round` out again.
    pub fn truncate(&mut self, round: usize) {
        self.by_round.truncate(round + 1);
        self.vertices.truncate(self.by_round.iter().map(Vec::len).sum());
    }

    pub fn everything(&self) -> View {
        (0..self.vertices.len()).fold([0; 2], |all, vertex| union(&all, &single(vertex)))
    }

    fn seen(&self, view: &View, round: usize) -> Vec<usize> {
        let all = self.by_round.get(round).into_iter().flatten();
        all.copied().filter(|vertex| contains(view, *vertex)).collect()
    }

    fn authors(&self, vertices: impl IntoIterator<Item = usize>) -> usize {
        vertices.into_iter().map(|vertex| self.vertices[vertex].author).collect::<BTreeSet<_>>().len()
    }

    fn votes(&self, voter: usize, leader: usize) -> bool {
        self.vertices[voter].parents.contains(&leader)
    }

    fn certifies(&self, vertex: usize, leader: usize) -> bool {
        let parents = self.vertices[vertex].parents.iter().copied();
        let voting = parents.filter(|parent| {
            self.vertices[*parent].round == self.vertices[leader].round + 1 && self.votes(*parent, leader)
        });
        self.authors(voting) >= self.committee.quorum()
    }

    /// The status of each slot from round 1 to the highest round in view.
    pub fn decide(&self, view: &View, mutant: Mutant) -> Vec<Status> {
        let top = (0..self.by_round.len()).rev().find(|round| !self.seen(view, *round).is_empty()).unwrap_or(0);
        let mut decided = vec![Status::Undecided; top + 1];
        for round in (1..=top).rev() {
            decided[round] = self.decide_slot(view, round, &decided, mutant);
        }
        decided.remove(0);
        decided
    }

    fn decide_slot(&self, view: &View, round: usize, decided: &[Status], mutant: Mutant) -> Status {
        let (quorum, f) = (self.committee.quorum(), self.committee.faulty_max());
        let leader = usize::from(self.committee.leader(round as u64));
        let mut candidates = self.seen(view, round);
        candidates.retain(|vertex| self.vertices[*vertex].author == leader);
        let voters = self.seen(view, round + 1);
        let has_quorum_above = self.authors(voters.clone()) >= quorum;
        let enough = if mutant == Mutant::SkipF1 { f + 1 } else { quorum };
        let blamed = |leader: &usize| {
            self.authors(voters.iter().copied().filter(|voter| !self.votes(*voter, *leader))) >= enough
        };
        let is_skipped = match mutant {
            Mutant::SkipAny => has_quorum_above && (candidates.is_empty() || candidates.iter().any(blamed)),
            Mutant::SkipEmpty if candidates.is_empty() => true,
            _ => has_quorum_above && candidates.iter().all(blamed),
        };
        if is_skipped {
            return Status::Skip;
        }
        let certificates_needed = if mutant == Mutant::DirectF1 { f } else { quorum };
        let certifying = self.seen(view, round + 2);
        let is_committed = |leader: &&usize| {
            self.authors(certifying.iter().copied().filter(|vertex| self.certifies(*vertex, **leader)))
                >= certificates_needed
        };
        if let Some(leader) = candidates.iter().find(is_committed) {
            return Status::Commit(*leader);
        }
        let first_anchor = round + if mutant == Mutant::Anchor2 { 2 } else { 3 };
        for status in decided.iter().skip(first_anchor) {
            match status {
                Status::Skip => {}
                Status::Undecided if mutant == Mutant::SkipUndecided => {}
                Status::Undecided => return Status::Undecided,
                Status::Commit(anchor) => {
                    let linked = certifying.iter().filter(|vertex| {
                        mutant == Mutant::LocalCertificates || contains(&self.vertices[*anchor].history, **vertex)
                    });
                    let linked: Vec<usize> = linked.copied().collect();
                    let is_certified = |leader: &&usize| linked.iter().any(|vertex| self.certifies(*vertex, **leader));
                    return candidates.iter().find(is_certified).map_or(Status::Skip, |leader| Status::Commit(*leader));
                }
            }
        }
        Status::Undecided
    }

    /// The commits in order, up to the first undecided slot.
    pub fn sequence(&self, decided: &[Status]) -> Vec<ModelCommit> {
        let mut flagged = BTreeSet::new();
        let (mut gc_round, mut timestamp, mut commits) = (0, super::GENESIS_MS, Vec::new());
        for status in decided {
            let leader = match status {
                Status::Undecided => break,
                Status::Skip => continue,
                Status::Commit(leader) => *leader,
            };
            let history = &self.vertices[leader].history;
            let is_new = |vertex: &usize| {
                contains(history, *vertex) && self.vertices[*vertex].round > gc_round && !flagged.contains(vertex)
            };
            let mut brought: Vec<usize> = (0..self.vertices.len()).filter(is_new).collect();
            assert!(brought.contains(&leader), "a leader was committed twice");
            // A flagged vertex above the gc round has only flagged ancestors there, so a walk that stops at flags finds the same.
            flagged.extend(brought.iter().copied());
            let size = self.committee.size();
            let distance = |author: usize| (author + size - self.vertices[leader].author) % size;
            brought.sort_by_key(|vertex| {
                let vertex = &self.vertices[*vertex];
                (vertex.round, distance(vertex.author), vertex.reference.digest)
            });
            timestamp = timestamp.max(self.median_timestamp(leader));
            gc_round = gc_round.max(self.vertices[leader].round.saturating_sub(self.committee.gc_depth() as usize));
            commits.push((leader, brought, timestamp));
        }
        commits
    }

    fn median_timestamp(&self, leader: usize) -> u64 {
        let parents = self.vertices[leader].parents.iter().map(|parent| &self.vertices[*parent]);
        let mut timestamps: Vec<u64> = parents
            .filter(|parent| parent.round + 1 == self.vertices[leader].round)
            .map(|parent| parent.real.as_ref().map_or(super::GENESIS_MS, |real| real.header().timestamp_ms))
            .collect();
        timestamps.sort();
        timestamps[timestamps.len() / 2]
    }
}
