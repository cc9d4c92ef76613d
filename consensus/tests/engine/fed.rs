//! A single engine that is fed by hand.

use crate::network::{committee, secret_key};
use bytes::Bytes;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Engine, Input, Now, Output, Recovered, Settings, Signing};
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{Author, Round, VerifiedVertex, VertexHeader, VertexRef};
use farthing_core::hash::Digest;
use std::sync::Arc;

/// The engine of validator 4 of five, which has lost its signing state so that it never proposes; fed by hand by the others, who are
/// a quorum.
pub struct Fed {
    pub committee: Arc<Committee>,
    pub engine: Engine,
    pub now_ms: u64,
}

impl Fed {
    pub fn new() -> Fed {
        let committee = Arc::new(committee(5));
        let now = Now { monotonic_ms: 0, wall_ms: 0 };
        let recovered = Recovered { signing: Signing::Lost, ..Recovered::fresh() };
        let own = Some((4, secret_key(4)));
        let engine = Engine::start(committee.clone(), own, Settings::default(), recovered, now, &mut Vec::new());
        Fed { committee, engine, now_ms: 0 }
    }

    pub fn step(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.engine.step(Now { monotonic_ms: self.now_ms, wall_ms: 0 }, input, &mut outputs);
        outputs
    }

    pub fn push(&mut self, vertex: &VerifiedVertex) -> Vec<Output> {
        self.step(Input::Pushed { from: vertex.author(), vertex: vertex.clone() })
    }

    pub fn vertex(&self, author: Author, round: Round, parents: Vec<VertexRef>, timestamp_ms: u64) -> VerifiedVertex {
        let header = VertexHeader {
            epoch: 0,
            round,
            author,
            timestamp_ms,
            parents,
            payload_digest: Digest::of_bytes(&[]),
            commit_vote: None,
            attestations: Vec::new(),
        };
        let vertex = VerifiedVertex::sign(header, Bytes::new(), self.committee.chain(), &secret_key(author));
        self.committee.verify(vertex.vertex().clone()).expect("valid")
    }

    /// One vertex an author on top of `before`, the own parent first.
    pub fn round(&self, round: Round, before: &[VertexRef]) -> Vec<VerifiedVertex> {
        let authors = 0..before.len() as Author;
        authors.map(|author| self.vertex(author, round, own_first(before, author), 0)).collect()
    }

    pub fn genesis(&self) -> Vec<VertexRef> {
        (0..4).map(|author| self.committee.genesis_ref(author)).collect()
    }
}

pub fn own_first(parents: &[VertexRef], author: Author) -> Vec<VertexRef> {
    let (own, others): (Vec<_>, Vec<_>) = parents.iter().partition(|parent| parent.author == author);
    [own, others].concat()
}

pub fn references(vertices: &[VerifiedVertex]) -> Vec<VertexRef> {
    vertices.iter().map(VerifiedVertex::reference).collect()
}

pub fn subscriptions(outputs: &[Output]) -> Vec<(Author, Round)> {
    let is_subscription = |output: &Output| match output {
        Output::Send { to, message: Message::Subscribe { from_round } } => Some((*to, *from_round)),
        _ => None,
    };
    outputs.iter().filter_map(is_subscription).collect()
}

pub fn accepted(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Accepted(_))).count()
}
