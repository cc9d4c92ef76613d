//! A Byzantine validator with a program of its own: it hears all vertices, and builds, shows and hides whatever its [`Conduct`]
//! says, at the pace of the others. It has no ledger, makes no commits, and keeps nothing on disk.
//!
//! What it sends is valid unless it means to break the protocol: what stops at the door of an honest validator teaches little.

use super::fault::{Counts, Fault};
use super::forgery;
use super::network::Frame;
use super::node::EPOCH_MS;
use super::plan::{Conduct, MS_US, Plan};
use super::random::{MILLION, Random};
use bytes::Bytes;
use farthing_consensus::committee::Committee;
use farthing_consensus::message::{FETCH_VERTICES_MAX, Message};
use farthing_consensus::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexHeader, VertexRef};
use farthing_core::certificate::Attestation;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_node::network::{Inbound, Outbound, Peer};
use farthing_node::replica::Event;
use farthing_node::snapshot::SnapshotMessage;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The least time between two of its vertices.
const PERIOD_US: u64 = 50 * MS_US;

/// Vertices of so many rounds are remembered.
const ROUNDS_MAX: u64 = 400;

/// Transactions that clients gave it and that it has not proposed.
const POOL_MAX: usize = 64;

/// Of a million vertices, how many it keeps to itself for ever, to build on them later.
const ORPHANS_PER_MILLION: u32 = 100_000;

/// What it sends: to whom, and what.
pub type Outgoing = Vec<(Peer, Frame)>;

/// A Byzantine validator.
pub struct Adversary {
    author: Author,
    key: SecretKey,
    committee: Arc<Committee>,
    conduct: Conduct,
    random: Random,
    /// The vertex seen first at each slot, its own newest one too.
    slots: BTreeMap<(Round, Author), VertexRef>,
    vertices: BTreeMap<VertexRef, VerifiedVertex>,
    /// What it builds on: genesis at first.
    own: VertexRef,
    /// The round of its newest vertex.
    last_round: Round,
    orphan: Option<VertexRef>,
    proposed_us: u64,
    connected: BTreeSet<Peer>,
    subscribers: BTreeSet<Peer>,
    /// Vertices to be shown to everybody once a round is reached.
    held_back: VecDeque<(Round, VerifiedVertex)>,
    /// Encoded transactions of clients, and bad ones that it was given.
    pool: VecDeque<Bytes>,
    bad_pool: VecDeque<Bytes>,
}

impl Adversary {
    /// A validator that is about to misbehave.
    pub fn new(author: Author, key: SecretKey, committee: Arc<Committee>, conduct: Conduct, plan: &Plan) -> Adversary {
        Adversary {
            author,
            key,
            own: committee.genesis_ref(author),
            committee,
            conduct,
            random: Random::new(plan.seed, &format!("adversary {author}")),
            slots: BTreeMap::new(),
            vertices: BTreeMap::new(),
            last_round: 0,
            orphan: None,
            proposed_us: 0,
            connected: BTreeSet::new(),
            subscribers: BTreeSet::new(),
            held_back: VecDeque::new(),
            pool: VecDeque::new(),
            bad_pool: VecDeque::new(),
        }
    }

    /// A client gave it a transaction.
    pub fn offer(&mut self, encoded: Bytes) {
        if self.pool.len() < POOL_MAX {
            self.pool.push_back(encoded);
        }
    }

    /// It made up a transaction that does not hold.
    pub fn offer_bad(&mut self, encoded: Bytes) {
        if self.bad_pool.len() < POOL_MAX {
            self.bad_pool.push_back(encoded);
        }
    }

    /// Something happens to it.
    pub fn on_event(&mut self, now_us: u64, event: Event, counts: &mut Counts) -> Outgoing {
        let mut outgoing = Vec::new();
        match event {
            Event::Connected(peer) => {
                self.connected.insert(peer);
                if matches!(peer, Peer::Validator(_)) {
                    let from_round = self.highest_round().saturating_sub(50).max(1);
                    outgoing.push((peer, Frame::new(Message::Subscribe { from_round })));
                }
            }
            Event::Disconnected(peer) => {
                self.connected.remove(&peer);
                self.subscribers.remove(&peer);
            }
            Event::Message { from, message } => self.on_message(from, message, counts, &mut outgoing),
            // What only replicas ask for.
            _ => {}
        }
        if self.is_silent(now_us) {
            counts.add(Fault::Silent);
            return Vec::new();
        }
        outgoing
    }

    /// Time goes on: it makes the next vertex if it can.
    pub fn act(&mut self, now_us: u64, counts: &mut Counts) -> Outgoing {
        let mut outgoing = Vec::new();
        if self.is_silent(now_us) || now_us < self.proposed_us + PERIOD_US {
            return outgoing;
        }
        let Some(round) = self.next_round() else { return outgoing };
        let Some(parents) = self.choose_parents(round, counts) else { return outgoing };
        self.proposed_us = now_us;
        self.last_round = round;
        let is_making_orphan = self.conduct.orphan_after_rounds.is_some() && self.orphan.is_none();
        if is_making_orphan && self.random.chance(ORPHANS_PER_MILLION) {
            counts.add(Fault::HiddenVertices);
            self.orphan = Some(self.make(round, parents, Bytes::new(), now_us, counts).reference());
            return outgoing;
        }
        let mut versions = vec![self.make_any(round, parents.clone(), now_us, counts)];
        if self.random.chance(self.conduct.equivocations_per_million) {
            counts.add(Fault::Equivocation);
            for _ in 0..self.random.range(1..=3) {
                versions.push(self.make_any(round, parents.clone(), now_us, counts));
            }
        }
        for vertex in &versions {
            self.remember(vertex);
        }
        self.build_on(&versions);
        self.show(&versions, counts, &mut outgoing);
        self.break_protocol(&versions[0], counts, &mut outgoing);
        outgoing
    }

    /// From the end of the faults on it only does what honest validators must be able to live with for ever.
    pub fn heal(&mut self) {
        self.conduct.invalid_per_million = 0;
    }

    fn is_silent(&self, now_us: u64) -> bool {
        self.conduct.silent_from_us.is_some_and(|from_us| now_us >= from_us)
    }

    fn highest_round(&self) -> Round {
        self.slots.last_key_value().map_or(0, |((round, _), _)| *round)
    }

    fn on_message(&mut self, from: Peer, message: Inbound, counts: &mut Counts, outgoing: &mut Outgoing) {
        match message {
            Inbound::Vertex(vertex) => self.remember(&vertex),
            Inbound::Subscribe { from_round } => {
                self.subscribers.insert(from);
                let own = self.slots.range((from_round, 0)..).filter(|((_, author), _)| *author == self.author);
                let own: Vec<_> = own.filter_map(|(_, reference)| self.vertices.get(reference)).collect();
                let is_open = !self.conduct.hides();
                outgoing.extend(own.into_iter().filter(|_| is_open).map(|vertex| (from, push(vertex))));
            }
            Inbound::FetchVertices { refs, .. } => {
                let mut vertices: Vec<_> =
                    refs.iter().filter_map(|reference| self.vertices.get(reference)).cloned().collect();
                if self.random.chance(self.conduct.lies_per_million) {
                    counts.add(Fault::Lies);
                    match self.random.range(0..=2) {
                        0 => return,
                        1 => vertices.clear(),
                        _ => vertices = self.vertices.values().rev().take(FETCH_VERTICES_MAX).cloned().collect(),
                    }
                }
                let vertices = vertices.iter().map(|vertex| vertex.vertex().clone()).collect();
                outgoing.push((from, Frame::new(Message::Vertices { vertices })));
            }
            Inbound::FetchCommits { from_index } => {
                let (mut commits, mut votes, mut oldest_index) = (Vec::new(), Vec::new(), 1);
                if self.random.chance(self.conduct.lies_per_million) {
                    counts.add(Fault::Lies);
                    let known: Vec<_> = self.vertices.values().rev().take(20).cloned().collect();
                    (commits, votes) =
                        forgery::commits(from_index, self.author, &self.key, &self.committee, &known, &mut self.random);
                    oldest_index = self.random.pick(&[0, 1, from_index, u64::MAX]);
                }
                outgoing.push((from, Frame::new(Message::Commits { commits, votes, oldest_index })));
            }
            Inbound::FetchLatest => {
                let mut of = match from {
                    Peer::Validator(author) => self.signed_by(author),
                    Peer::Follower(_) => Vec::new(),
                };
                let mut own = self.signed_by(self.author);
                if self.random.chance(self.conduct.lies_per_million) {
                    counts.add(Fault::Lies);
                    own.truncate(self.random.position(own.len() + 1));
                    of.truncate(self.random.position(of.len() + 1));
                }
                outgoing.push((
                    from,
                    Frame::new(Message::Latest { own: own.pop().map(Box::new), yours: of.pop().map(Box::new) }),
                ));
            }
            Inbound::Snapshot(SnapshotMessage::FetchManifest) => {
                outgoing.push((from, Frame::of_outbound(Outbound::Snapshot(SnapshotMessage::Manifest(None)))));
            }
            // Answers to what it never asks, and what only full nodes say.
            _ => {}
        }
    }

    /// The vertices that it remembers of an author, ascending.
    fn signed_by(&self, author: Author) -> Vec<SignedHeader> {
        let of_author = self.vertices.values().filter(|vertex| vertex.author() == author);
        of_author.map(|vertex| vertex.signed_header().clone()).collect()
    }

    fn remember(&mut self, vertex: &VerifiedVertex) {
        let reference = vertex.reference();
        self.slots.entry((reference.round, reference.author)).or_insert(reference);
        self.vertices.insert(reference, vertex.clone());
        let lowest = self.highest_round().saturating_sub(ROUNDS_MAX);
        self.slots = self.slots.split_off(&(lowest, 0));
        self.vertices = self.vertices.split_off(&VertexRef { round: lowest, author: 0, digest: Digest::ZERO });
    }

    fn at_round(&self, round: Round) -> impl Iterator<Item = VertexRef> + '_ {
        self.slots.range((round, 0)..(round + 1, 0)).map(|(_, reference)| *reference)
    }

    /// The highest round for which a quorum of the round before is known.
    fn next_round(&self) -> Option<Round> {
        let highest = self.highest_round();
        let quorum = self.committee.quorum();
        let others_at = |round: Round| self.at_round(round).filter(|vertex| vertex.author != self.author).count();
        let has_quorum = |round: &Round| {
            let is_due = !self.conduct.is_late || others_at(*round) + 1 >= quorum;
            is_due && (*round == 1 || self.at_round(round - 1).count() >= quorum)
        };
        (self.last_round + 1..=highest + 1).rev().take(10).find(has_quorum)
    }

    /// The own vertex that it builds on, then those of the round before. `None` if they do not suffice.
    fn choose_parents(&mut self, round: Round, counts: &mut Counts) -> Option<Vec<VertexRef>> {
        let mut own = self.own;
        if let (Some(orphan), Some(rounds)) = (self.orphan, self.conduct.orphan_after_rounds)
            && round >= orphan.round + rounds
        {
            (own, self.orphan) = (orphan, None);
        }
        let mut others: Vec<VertexRef> = match round {
            1 => self.committee.authors().map(|author| self.committee.genesis_ref(author)).collect(),
            _ => self.at_round(round - 1).collect(),
        };
        others.retain(|parent| parent.author != self.author);
        let needed = self.committee.quorum() - usize::from(own.round + 1 == round);
        let leader = self.committee.leader(round - 1);
        if self.conduct.withholds_votes && others.len() > needed && others.iter().any(|other| other.author == leader) {
            counts.add(Fault::WithheldVotes);
            others.retain(|parent| parent.author != leader);
        }
        if others.len() < needed {
            return None;
        }
        if round > 1 && self.random.chance(self.conduct.phantoms_per_million) {
            counts.add(Fault::PhantomParents);
            let place = self.random.position(others.len());
            others[place].digest = Digest(self.random.bytes());
        }
        Some(std::iter::once(own).chain(others).collect())
    }

    fn make_any(&mut self, round: Round, parents: Vec<VertexRef>, now_us: u64, counts: &mut Counts) -> VerifiedVertex {
        let payload = if self.random.chance(self.conduct.bad_payloads_per_million) {
            counts.add(Fault::BadPayloads);
            let theirs: Vec<Bytes> =
                self.vertices.values().rev().take(30).map(|vertex| vertex.payload().clone()).collect();
            forgery::payload(&theirs, self.pool.make_contiguous(), self.bad_pool.pop_front(), &mut self.random)
        } else {
            let count = self.pool.len().min(20);
            self.pool.drain(..count).collect::<Vec<_>>().concat().into()
        };
        self.make(round, parents, payload, now_us, counts)
    }

    fn make(
        &mut self,
        round: Round,
        parents: Vec<VertexRef>,
        payload: Bytes,
        now_us: u64,
        counts: &mut Counts,
    ) -> VerifiedVertex {
        let mut header = VertexHeader {
            epoch: self.committee.epoch(),
            round,
            author: self.author,
            timestamp_ms: EPOCH_MS + now_us / MS_US,
            parents,
            payload_digest: Digest::of_bytes(&payload),
            commit_vote: None,
            attestations: Vec::new(),
        };
        if self.conduct.claims_falsely {
            counts.add(Fault::FalseClaims);
            self.claim_falsely(&mut header);
        }
        let vertex = VerifiedVertex::sign(header, payload, self.committee.chain(), &self.key);
        let checked = self.committee.verify(vertex.vertex().clone());
        assert!(checked.is_ok(), "an adversary's vertices are valid: {checked:?}");
        vertex
    }

    fn claim_falsely(&mut self, header: &mut VertexHeader) {
        let hour_ms = 3_600_000;
        let now_ms = header.timestamp_ms;
        header.timestamp_ms = self.random.pick(&[0, u64::MAX, now_ms - hour_ms, now_ms + hour_ms, now_ms]);
        let far = self.random.pick(&[1, 10, 1_000, u64::MAX]);
        header.commit_vote = Some((far, Digest(self.random.bytes())));
        let chain = *self.committee.chain();
        header.attestations = (0..self.random.range(0..=16))
            .map(|_| {
                let height = self.random.pick(&[0, 1, 5, 50, 500, u64::MAX]);
                Attestation::sign(&chain, height, Digest(self.random.bytes()), &self.key)
            })
            .collect();
    }

    /// Chooses which of its versions the next vertex follows. One with a parent that does not exist leads nowhere.
    fn build_on(&mut self, versions: &[VerifiedVertex]) {
        let is_real = |parent: &VertexRef| parent.round == 0 || self.vertices.contains_key(parent);
        let real: Vec<_> =
            versions.iter().filter(|vertex| vertex.header().parents.iter().skip(1).all(is_real)).collect();
        if !real.is_empty() {
            self.own = real[self.random.position(real.len())].reference();
        }
    }

    fn show(&mut self, versions: &[VerifiedVertex], counts: &mut Counts, outgoing: &mut Outgoing) {
        let is_hidden = self.random.chance(self.conduct.hidden_per_million);
        // Of what it hides, it shows this much at once: to nobody, to some, to most.
        let share = if is_hidden { self.random.pick(&[0, MILLION / 4, MILLION * 3 / 4]) } else { MILLION };
        if is_hidden {
            counts.add(Fault::HiddenVertices);
            if self.random.chance(MILLION / 4) {
                let due = versions[0].round() + self.random.range(1..=80);
                self.held_back.push_back((due, versions[0].clone()));
            }
        }
        for peer in &self.subscribers {
            let is_shown = self.conduct.hidden_from.map(Peer::Validator) != Some(*peer);
            if is_shown && self.random.chance(share) {
                outgoing.push((*peer, push(&versions[self.random.position(versions.len())])));
            }
        }
        let highest = versions[0].round();
        while let Some((_, vertex)) = self.held_back.pop_front_if(|(due, _)| *due <= highest) {
            outgoing.extend(self.subscribers.iter().map(|peer| (*peer, push(&vertex))));
        }
    }

    fn break_protocol(&mut self, vertex: &VerifiedVertex, counts: &mut Counts, outgoing: &mut Outgoing) {
        if !self.random.chance(self.conduct.invalid_per_million) || self.connected.is_empty() {
            return;
        }
        counts.add(Fault::Invalid);
        let peers: Vec<Peer> = self.connected.iter().copied().collect();
        let peer = self.random.pick(&peers);
        outgoing.push((peer, forgery::invalid(vertex, &self.key, &self.committee, &mut self.random)));
    }
}

fn push(vertex: &VerifiedVertex) -> Frame {
    Frame::new(Message::Vertex(vertex.vertex().clone()))
}
