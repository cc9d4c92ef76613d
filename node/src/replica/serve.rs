//! What a replica does for its peers: connections, subscriptions and requests, answered from storage.

use super::{Effect, Replica};
use crate::network::{Inbound, Outbound, Peer};
use crate::storage::{Storage, StorageError};
use farthing_consensus::archive::{Archive, answer_fetch_commits, answer_fetch_vertices};
use farthing_consensus::commit::Commit;
use farthing_consensus::engine::Input;
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{Round, SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::hash::{ChainHash, Digest};
use std::cell::RefCell;

/// How many rounds of own vertices a new subscriber gets at once. Older ones it fetches, or it catches up by commits.
const BACKLOG_ROUNDS: u64 = 120;

/// How many payload bytes of own vertices a new subscriber gets at once; older ones are left out. Half of the least that an outgoing
/// queue holds.
const BACKLOG_BYTES: usize = 6 * 1024 * 1024;

impl Replica {
    pub(super) fn connected(&mut self, peer: Peer) {
        match peer {
            Peer::Validator(author) => {
                self.connected.insert(author);
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
                self.inputs.push_back(Input::Disconnected(author));
            }
            Peer::Follower(_) => {
                self.followers.remove(&peer);
            }
        }
    }

    pub(super) fn message(
        &mut self,
        from: Peer,
        message: Inbound,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StorageError> {
        match (from, message) {
            (_, Inbound::Subscribe { from_round }) => self.subscribe(from, from_round, effects)?,
            (_, Inbound::FetchVertices { refs, above_round }) => {
                let answer =
                    self.with_archive(Vec::new(), |archive| answer_fetch_vertices(archive, &refs, above_round))?;
                effects.push(Effect::Send { to: from, message: Outbound::Message(answer) });
            }
            (_, Inbound::FetchCommits { from_index }) => {
                let votes = self.engine.recent_votes();
                let answer = self.with_archive(votes, |archive| answer_fetch_commits(archive, from_index))?;
                effects.push(Effect::Send { to: from, message: Outbound::Message(answer) });
            }
            (_, Inbound::FetchLatest) => {
                let own = match &self.last_broadcast {
                    Some(reference) => self.storage.vertex_header(reference)?,
                    None => None,
                };
                let yours = match from {
                    Peer::Validator(author) => self.engine.latest_of(author).cloned(),
                    Peer::Follower(_) => None,
                };
                effects.push(Effect::Send { to: from, message: Outbound::Message(Message::Latest { own, yours }) });
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
            (
                Peer::Follower(_),
                Inbound::Vertex(_) | Inbound::Vertices(_) | Inbound::Commits { .. } | Inbound::Latest { .. },
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

    fn with_archive<T>(
        &self,
        recent_votes: Vec<SignedHeader>,
        ask: impl FnOnce(&StoredArchive<'_>) -> T,
    ) -> Result<T, StorageError> {
        let archive = StoredArchive {
            storage: &*self.storage,
            chain: *self.committee.chain(),
            recent_votes,
            failure: RefCell::new(None),
        };
        let answer = ask(&archive);
        match archive.failure.into_inner() {
            Some(failure) => Err(failure),
            None => Ok(answer),
        }
    }
}

/// Storage as consensus reads it to answer peers. The first failure is kept, and reads as "not here".
struct StoredArchive<'a> {
    storage: &'a dyn Storage,
    chain: ChainHash,
    recent_votes: Vec<SignedHeader>,
    failure: RefCell<Option<StorageError>>,
}

impl StoredArchive<'_> {
    fn ok<T: Default>(&self, result: Result<T, StorageError>) -> T {
        result.unwrap_or_else(|failure| {
            self.failure.borrow_mut().get_or_insert(failure);
            T::default()
        })
    }
}

impl Archive for StoredArchive<'_> {
    fn vertex(&self, reference: &VertexRef) -> Option<VerifiedVertex> {
        self.ok(self.storage.vertex(reference))
    }

    fn header(&self, reference: &VertexRef) -> Option<SignedHeader> {
        self.ok(self.storage.vertex_header(reference))
    }

    fn commit(&self, index: u64) -> Option<Commit> {
        self.ok(self.storage.commit(index))
    }

    fn commit_digest(&self, index: u64) -> Option<Digest> {
        self.commit(index).map(|commit| commit.digest(&self.chain))
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
