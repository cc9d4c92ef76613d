//! What a replica does for its peers: connections, subscriptions and requests.
//!
//! Requests are answered from storage, which may take milliseconds: the replica says what to answer ([`Effect::Answer`]), and
//! whoever runs it reads and sends, at its leisure ([`answer`]).

use super::{Effect, Replica};
use crate::network::{Inbound, Outbound, Peer};
use crate::snapshot::{ChunkId, SnapshotMessage, Snapshots};
use crate::storage::{Storage, StorageError};
use farthing_consensus::archive::{Archive, answer_fetch_commits, answer_fetch_vertices};
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Input, Now};
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::hash::{ChainHash, Digest};
use std::cell::RefCell;
use std::sync::Arc;

/// How many rounds of own vertices a new subscriber gets at once. Older ones it fetches, or it catches up by commits.
const BACKLOG_ROUNDS: u64 = 120;

/// How many payload bytes of own vertices a new subscriber gets at once; older ones are left out. Half of the least that an outgoing
/// queue holds.
const BACKLOG_BYTES: usize = 6 * 1024 * 1024;

/// A peer's request that is answered from storage.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// The peer wants these vertices.
    FetchVertices {
        /// Which ones.
        refs: Vec<VertexRef>,
        /// Their own ancestors above this round fill what room is left.
        above_round: Round,
    },
    /// The peer wants commits.
    FetchCommits {
        /// The first index wanted.
        from_index: u64,
        /// What this node knows of the votes for its newest commits: [`Archive::recent_votes`].
        recent_votes: Vec<SignedHeader>,
    },
    /// The peer wants the manifest of the newest snapshot.
    FetchManifest,
    /// The peer wants a chunk of a snapshot.
    FetchChunk(ChunkId),
}

/// What may not leave this node though storage shows it: own vertices above a round, whose write may still be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsynced {
    /// The own author number.
    pub own: Author,
    /// The round of the last own vertex that is known to be durable.
    pub durable_round: Round,
}

/// What requests are answered from.
#[derive(Clone)]
pub struct Sources {
    /// The committee.
    pub committee: Arc<Committee>,
    /// The storage.
    pub storage: Arc<dyn Storage>,
    /// Copies of the state. Whoever runs the replica sees to it that they are made anew when one was asked for
    /// ([`Snapshots::refresh`]).
    pub snapshots: Arc<Snapshots>,
}

/// Answers a request. `unsynced` is none on a full node, which signs nothing.
///
/// # Errors
/// [`StorageError`]: the node must stop.
pub fn answer(sources: &Sources, request: Request, unsynced: Option<Unsynced>) -> Result<Outbound, StorageError> {
    let Sources { committee, storage, snapshots } = sources;
    let chain = committee.chain();
    let failure = RefCell::new(None);
    let mut archive = StoredArchive { storage: &**storage, chain, recent_votes: Vec::new(), unsynced, failure };
    let answer = match request {
        Request::FetchVertices { refs, above_round } => answer_fetch_vertices(&archive, &refs, above_round),
        Request::FetchCommits { from_index, recent_votes } => {
            archive.recent_votes = recent_votes;
            answer_fetch_commits(&archive, committee, from_index)
        }
        Request::FetchManifest => {
            let manifest = snapshots.newest()?.map(|manifest| Box::new((*manifest).clone()));
            return Ok(Outbound::Snapshot(SnapshotMessage::Manifest(manifest)));
        }
        Request::FetchChunk(id) => {
            let chunk = snapshots.chunk(&id.state_root, id.number);
            return Ok(Outbound::Snapshot(SnapshotMessage::Chunk(id, chunk)));
        }
    };
    match archive.failure.into_inner() {
        Some(failure) => Err(failure),
        None => Ok(Outbound::Message(answer)),
    }
}

impl Replica {
    pub(super) fn connected(&mut self, peer: Peer) {
        match peer {
            Peer::Validator(author) => {
                self.connected.insert(author);
                if let Some(fetch) = &mut self.fetch {
                    fetch.on_connected(author);
                }
                self.inputs.push_back(Input::Connected(author));
            }
            Peer::Follower(_) => {
                self.followers.insert(peer);
            }
        }
    }

    pub(super) fn disconnected(&mut self, peer: Peer) {
        self.subscribers.remove(&peer);
        match peer {
            Peer::Validator(author) => {
                self.connected.remove(&author);
                if let Some(fetch) = &mut self.fetch {
                    fetch.on_disconnected(author);
                }
                self.forwarding_disconnected(author);
                self.inputs.push_back(Input::Disconnected(author));
            }
            Peer::Follower(_) => {
                self.followers.remove(&peer);
            }
        }
    }

    pub(super) fn message(
        &mut self,
        now: Now,
        from: Peer,
        message: Inbound,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StorageError> {
        match (from, message) {
            (_, Inbound::Subscribe { from_round }) => self.subscribe(from, from_round, effects)?,
            (_, Inbound::FetchVertices { refs, above_round }) => {
                effects.push(self.answer_later(from, Request::FetchVertices { refs, above_round }));
            }
            (_, Inbound::FetchCommits { from_index }) => {
                let recent_votes = self.engine.recent_votes();
                effects.push(self.answer_later(from, Request::FetchCommits { from_index, recent_votes }));
            }
            (_, Inbound::FetchLatest) => {
                let own = match &self.last_broadcast {
                    Some(reference) => self.storage.vertex_header(reference)?.map(Box::new),
                    None => None,
                };
                let yours = match from {
                    Peer::Validator(author) => self.engine.latest_of(author).cloned().map(Box::new),
                    Peer::Follower(_) => None,
                };
                effects.push(Effect::Send { to: from, message: Outbound::Message(Message::Latest { own, yours }) });
            }
            (_, Inbound::Snapshot(SnapshotMessage::FetchManifest)) => {
                effects.push(self.answer_later(from, Request::FetchManifest));
            }
            (_, Inbound::Snapshot(SnapshotMessage::FetchChunk(id))) => {
                effects.push(self.answer_later(from, Request::FetchChunk(id)));
            }
            (_, Inbound::Forward { transactions }) => effects.push(self.check_forwarded(from, transactions)),
            (Peer::Validator(from), Inbound::Forwarded { taken }) => {
                self.forwarded(from, &taken, now.monotonic_ms, effects);
            }
            (Peer::Validator(from), Inbound::Vertex(vertex)) => {
                self.inputs.push_back(Input::Pushed { from, vertex });
            }
            (Peer::Validator(from), Inbound::Vertices(vertices)) => {
                self.inputs.push_back(Input::Fetched { from, vertices });
            }
            (Peer::Validator(from), Inbound::Commits { commits, votes, oldest_index }) => {
                self.inputs.push_back(Input::FetchedCommits { from, commits, votes, oldest_index });
            }
            (Peer::Validator(from), Inbound::Latest { own, yours }) => {
                self.inputs.push_back(Input::Latest { from, own, yours });
            }
            // A validator's answers about snapshots do not come here.
            (_, Inbound::Snapshot(_))
            | (
                Peer::Follower(_),
                Inbound::Vertex(_)
                | Inbound::Vertices(_)
                | Inbound::Commits { .. }
                | Inbound::Latest { .. }
                | Inbound::Forwarded { .. },
            ) => {
                effects.push(Effect::Disconnect { peer: from, reason: "follower_spoke" });
            }
        }
        Ok(())
    }

    /// Sends the own vertices broadcast so far from a round on, and each new one from now on. One that is just being written is
    /// not among them, even if storage shows it already: it may not be durable yet. It is broadcast once it is.
    fn subscribe(&mut self, peer: Peer, from_round: Round, effects: &mut Vec<Effect>) -> Result<(), StorageError> {
        if self.own.is_none() {
            return Ok(());
        }
        let newest = self.last_broadcast.map_or(0, |vertex| vertex.round);
        let from_round = from_round.max(newest.saturating_sub(BACKLOG_ROUNDS)).max(1);
        let (mut backlog, mut bytes) = (Vec::new(), 0);
        let mut next = self.last_broadcast;
        // The first parent of a vertex is its author's vertex before it, of a lower round: nobody else's is read.
        while let Some(reference) = next.filter(|reference| reference.round >= from_round) {
            let Some(vertex) = self.storage.vertex(&reference)? else { break };
            bytes += vertex.payload().len();
            if bytes > BACKLOG_BYTES {
                break;
            }
            next = vertex.header().parents.first().copied();
            backlog.push(vertex);
        }
        let send = |vertex| Effect::Send { to: peer, message: Outbound::Vertex(vertex) };
        effects.extend(backlog.into_iter().rev().map(send));
        self.subscribers.insert(peer);
        Ok(())
    }

    fn answer_later(&self, to: Peer, request: Request) -> Effect {
        let durable_round = self.last_broadcast.map_or(0, |vertex| vertex.round);
        let unsynced = self.own.as_ref().map(|own| Unsynced { own: own.author, durable_round });
        Effect::Answer { to, request, unsynced }
    }
}

/// Storage as consensus reads it to answer peers. The first failure is kept, and reads as "not here".
struct StoredArchive<'a> {
    storage: &'a dyn Storage,
    chain: &'a ChainHash,
    recent_votes: Vec<SignedHeader>,
    unsynced: Option<Unsynced>,
    failure: RefCell<Option<StorageError>>,
}

impl StoredArchive<'_> {
    fn is_unsynced(&self, reference: &VertexRef) -> bool {
        let is_above = |limit: Unsynced| reference.author == limit.own && reference.round > limit.durable_round;
        self.unsynced.is_some_and(is_above)
    }

    fn ok<T: Default>(&self, result: Result<T, StorageError>) -> T {
        result.unwrap_or_else(|failure| {
            self.failure.borrow_mut().get_or_insert(failure);
            T::default()
        })
    }
}

impl Archive for StoredArchive<'_> {
    fn vertex(&self, reference: &VertexRef) -> Option<VerifiedVertex> {
        if self.is_unsynced(reference) { None } else { self.ok(self.storage.vertex(reference)) }
    }

    fn header(&self, reference: &VertexRef) -> Option<SignedHeader> {
        if self.is_unsynced(reference) { None } else { self.ok(self.storage.vertex_header(reference)) }
    }

    fn commit(&self, index: u64) -> Option<Commit> {
        self.ok(self.storage.commit(index))
    }

    fn commit_digest(&self, index: u64) -> Option<Digest> {
        self.commit(index).map(|commit| commit.digest(self.chain))
    }

    fn newest_commit(&self) -> u64 {
        self.ok(self.storage.newest_commit())
    }

    fn oldest_commit(&self) -> u64 {
        self.ok(self.storage.oldest_commit())
    }

    fn recent_votes(&self) -> Vec<SignedHeader> {
        self.recent_votes.clone()
    }
}
