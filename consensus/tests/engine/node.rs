//! A node of the network: an engine, what it has on disk, and what it was seen to do.

use bytes::Bytes;
use farthing_consensus::archive::Archive;
use farthing_consensus::commit::{Commit, CommittedVertices};
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Engine, Output, Recovered, Settings, Signing};
use farthing_consensus::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::hash::Digest;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a node has on disk, as far as it is synced.
#[derive(Clone)]
pub struct Disk {
    pub vertices: BTreeMap<VertexRef, VerifiedVertex>,
    pub commits: BTreeMap<u64, Commit>,
    pub signing: Signing,
    pub executed: u64,
    pub block: (u64, Digest),
    /// How many payloads were executed.
    pub payloads: usize,
}

pub struct Node {
    pub author: Option<Author>,
    pub engine: Option<Engine>,
    pub disk: Disk,
    pub settings: Settings,
    pub sync_ms: u64,
    pub execution_ms: u64,
    pub wall_skew_ms: i64,
    pub delay_extra_ms: u64,
    pub mempool: VecDeque<Bytes>,
    pub committed_payloads: Vec<Bytes>,
    pub broadcasts: Vec<(u64, VerifiedVertex)>,
    /// The last own vertex that is durable.
    pub broadcast_last: Option<VertexRef>,
    /// How many of its newest commits it serves; all if none.
    pub retained_commits: Option<u64>,
    pub gc_depth: u64,
    pub evidence: Vec<(SignedHeader, SignedHeader)>,
    pub behind_retention: Vec<(u64, Vec<Author>)>,
    /// By height and hash, the authors whose accepted vertices attest the block.
    pub attested: BTreeMap<(u64, Digest), BTreeSet<Author>>,
    pub payload_requests: Vec<usize>,
    pub commit_times: Vec<(u64, u64)>,
    pub execution_lag_max: u64,
    pub is_serving: bool,
    pub told_waiting: bool,
    pub incarnation: u64,
    pub commits_seen: u64,
    pub subscribers: BTreeSet<usize>,
    pub unreleased: VecDeque<Output>,
    pub execution_queue: VecDeque<CommittedVertices>,
    pub next_execution_ms: u64,
}

impl Node {
    pub fn new(author: Option<Author>, gc_depth: u64) -> Node {
        Node {
            author,
            engine: None,
            disk: Disk::default(),
            settings: Settings::default(),
            sync_ms: 4,
            execution_ms: 1,
            wall_skew_ms: 0,
            delay_extra_ms: 0,
            mempool: VecDeque::new(),
            committed_payloads: Vec::new(),
            broadcasts: Vec::new(),
            broadcast_last: None,
            evidence: Vec::new(),
            behind_retention: Vec::new(),
            retained_commits: None,
            gc_depth,
            attested: BTreeMap::new(),
            payload_requests: Vec::new(),
            commit_times: Vec::new(),
            execution_lag_max: 0,
            is_serving: true,
            told_waiting: false,
            incarnation: 0,
            commits_seen: 0,
            subscribers: BTreeSet::new(),
            unreleased: VecDeque::new(),
            execution_queue: VecDeque::new(),
            next_execution_ms: 0,
        }
    }

    /// The lowest round of which vertices are kept: those from which the oldest commit kept draws.
    pub fn oldest_round(&self) -> Round {
        let before = self.disk.commits.get(&(self.oldest_commit() - 1));
        before
            .filter(|_| self.retained_commits.is_some())
            .map_or(0, |commit| commit.leader.round.saturating_sub(self.gc_depth) + 1)
    }

    /// The highest vertex stored of an author.
    pub fn highest_of(&self, author: Option<Author>) -> Option<SignedHeader> {
        let of_author = self.disk.vertices.values().rev().find(|vertex| Some(vertex.author()) == author);
        of_author.map(|vertex| vertex.signed_header().clone())
    }

    /// Commits stored but not executed are executed again after a restart.
    pub fn redeliver(&mut self, chain: &Digest) {
        let disk = &self.disk;
        let with_vertices = |commit: &Commit| CommittedVertices {
            commit: commit.clone(),
            digest: commit.digest(chain),
            vertices: commit.vertices.iter().map(|reference| disk.vertices[reference].clone()).collect(),
        };
        self.execution_queue =
            disk.commits.range(disk.executed + 1..).map(|(_, commit)| with_vertices(commit)).collect();
    }
}

impl Default for Disk {
    /// Of a new validator: it has signed nothing.
    fn default() -> Disk {
        Disk {
            vertices: BTreeMap::new(),
            commits: BTreeMap::new(),
            signing: Signing::Intact(None),
            executed: 0,
            block: (0, Digest::default()),
            payloads: 0,
        }
    }
}

impl Disk {
    pub fn last_signed(&self) -> Option<VertexRef> {
        match self.signing {
            Signing::Intact(last_signed) => last_signed,
            Signing::Lost => None,
        }
    }

    pub fn write(&mut self, persist: Output) {
        let Output::Persist { vertices, commits, last_signed } = persist else { unreachable!("only this is written") };
        self.vertices.extend(vertices.into_iter().map(|vertex| (vertex.reference(), vertex)));
        for commit in commits {
            assert!(
                commit.vertices.iter().all(|reference| self.vertices.contains_key(reference)),
                "vertices come first"
            );
            self.commits.insert(commit.index, commit);
        }
        if last_signed.is_some() {
            self.signing = Signing::Intact(last_signed);
        }
    }

    pub fn recovered(&self, committee: &Committee) -> Recovered {
        let newest = self.commits.last_key_value().map_or(0, |(_, commit)| commit.leader.round);
        let gc_round = committee.gc_round(newest);
        Recovered {
            signing: self.signing,
            equivocators: Vec::new(),
            commits: self.commits.values().cloned().collect(),
            vertices: self.vertices.values().filter(|vertex| vertex.round() > gc_round).cloned().collect(),
        }
    }
}

impl Archive for Node {
    fn vertex(&self, reference: &VertexRef) -> Option<VerifiedVertex> {
        self.disk.vertices.get(reference).filter(|_| reference.round >= self.oldest_round()).cloned()
    }

    fn commit(&self, index: u64) -> Option<Commit> {
        self.disk.commits.get(&index).filter(|_| index >= self.oldest_commit()).cloned()
    }

    fn commit_digest(&self, index: u64) -> Option<Digest> {
        let chain = Digest::of_bytes(b"a chain for tests");
        self.disk.commits.get(&index).map(|commit| commit.digest(&chain))
    }

    fn header(&self, reference: &VertexRef) -> Option<SignedHeader> {
        self.disk.vertices.get(reference).map(|vertex| vertex.signed_header().clone())
    }

    fn oldest_commit(&self) -> u64 {
        self.retained_commits.map_or(1, |retained| (self.newest_commit() + 1).saturating_sub(retained).max(1))
    }

    fn newest_commit(&self) -> u64 {
        self.disk.commits.last_key_value().map_or(0, |(index, _)| *index)
    }

    fn recent_votes(&self) -> Vec<SignedHeader> {
        self.engine.as_ref().map(Engine::recent_votes).unwrap_or_default()
    }
}
