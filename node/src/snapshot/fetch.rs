//! Fetching a snapshot from the validators: whom to ask for what, and what to make of the answers.
//!
//! A state machine without clock or sockets: events and times go in, [`Action`]s come out.
//!
//! - Everybody connected is asked for a manifest, again after a second if there is none yet. Those that hold are *offers*. The newest
//!   is taken when everybody has answered, or [`CHOICE_MS`] after the first, so that one peer's old snapshot does not win.
//! - Its chunks are asked of all who offer that very snapshot, a few at a time of each, so the slowest holds up little.
//! - A peer whose manifest or chunk does not hold is dropped and not asked again for a while; one that does not answer in time, or
//!   does not have the snapshot any more, is no source for it any longer, and the others come first then.
//! - A snapshot that takes longer than [`CHUNK_MS`] a chunk is abandoned, and those who offered it are not asked for a while.
//! - When no source is left, the newest offer of the others is taken, or everybody is asked again. Chunks that are the same in the
//!   next snapshot stay.

use super::message::{ChunkId, SnapshotMessage};
use super::{MANIFEST_BYTES_MAX, Manifest};
use crate::storage::{Stage, Staged};
use farthing_consensus::committee::Committee;
use farthing_consensus::message::MESSAGE_BYTES_MAX;
use farthing_consensus::vertex::Author;
use farthing_core::state_chunk::{CHUNK_BYTES_MAX, ChunkLayout, StateChunk};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// From the first offer to the choice at most, in milliseconds.
pub const CHOICE_MS: u64 = 3_000;

/// A peer that has no snapshot ready is asked again after so many milliseconds; making one takes a while.
const ASK_AGAIN_MS: u64 = 1_000;

/// How long a peer may take to answer, in milliseconds.
const ANSWER_MS: u64 = 10_000;

/// How long a peer that sent something wrong is not asked, in milliseconds.
const BAN_MS: u64 = 60_000;

/// What a chunk may take on average, in milliseconds: the only peer with the newest snapshot must not make this node wait for ever.
const CHUNK_MS: u64 = 2_000;

/// Chunks asked of one peer at a time, fewer than the requests that it takes in.
const CHUNKS_PER_PEER: usize = 2;

/// Chunks asked for at a time in all: they may all arrive at once.
const CHUNKS_ASKED_MAX: usize = 8;

const _: () = assert!(MANIFEST_BYTES_MAX < MESSAGE_BYTES_MAX && CHUNK_BYTES_MAX + 64 < MESSAGE_BYTES_MAX);
const _: () = assert!(CHUNKS_PER_PEER < crate::network::REQUESTS_UNANSWERED_MAX);

/// What a fetch wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send to a validator.
    Send(Author, SnapshotMessage),
    /// Drop a validator that sent something wrong; the label says what.
    Drop(Author, &'static str),
    /// Write this down.
    Stage(Stage),
    /// Everything is staged: install it, once that is written.
    Complete,
}

/// The fetching of one snapshot.
#[derive(Debug)]
pub struct Fetch {
    committee: Arc<Committee>,
    chunk_level: u32,
    newest_commit: u64,
    peers: BTreeMap<Author, Source>,
    /// Peers that sent something wrong, and until when they are not asked.
    banned: BTreeMap<Author, u64>,
    /// When the first offer came, as long as none is chosen.
    offered_at_ms: Option<u64>,
    chosen: Option<Chosen>,
    /// What was staged before: its chunks need not be fetched where they are the same.
    staged: Option<Staged>,
}

/// A connected validator.
#[derive(Debug, Default)]
struct Source {
    /// It was asked for a manifest, and has to answer by then.
    asked_until_ms: Option<u64>,
    /// It is not asked for a manifest before.
    ask_after_ms: u64,
    /// Its manifest, which holds.
    offer: Option<Arc<Manifest>>,
    /// The chunks it was asked for, and by when it has to answer.
    chunks: BTreeMap<u32, u64>,
}

/// The snapshot being fetched.
#[derive(Debug)]
struct Chosen {
    manifest: Arc<Manifest>,
    layout: ChunkLayout,
    missing: BTreeSet<u32>,
    /// When it has taken too long.
    until_ms: u64,
}

impl Fetch {
    /// Begins to fetch a snapshot that leads beyond the own `newest_commit`. `staged` is what storage holds of an earlier attempt.
    pub fn new(
        committee: Arc<Committee>,
        chunk_level: u32,
        newest_commit: u64,
        staged: Option<Staged>,
        connected: impl Iterator<Item = Author>,
    ) -> Fetch {
        let peers = connected.map(|author| (author, Source::default())).collect();
        Fetch {
            committee,
            chunk_level,
            newest_commit,
            peers,
            banned: BTreeMap::new(),
            offered_at_ms: None,
            chosen: None,
            staged,
        }
    }

    /// Whether the chosen snapshot leads no further than this commit.
    pub fn is_behind(&self, newest_commit: u64) -> bool {
        self.chosen.as_ref().is_some_and(|chosen| chosen.manifest.base().commit_index <= newest_commit)
    }

    /// A connection to a validator stands.
    pub fn on_connected(&mut self, peer: Author) {
        self.peers.insert(peer, Source::default());
    }

    /// It is gone, with the answers it owed.
    pub fn on_disconnected(&mut self, peer: Author) {
        self.peers.remove(&peer);
    }

    /// A validator answered.
    pub fn on_message(&mut self, from: Author, message: SnapshotMessage, now_ms: u64, actions: &mut Vec<Action>) {
        match message {
            SnapshotMessage::Manifest(manifest) => self.on_manifest(from, manifest, now_ms, actions),
            SnapshotMessage::Chunk(id, chunk) => self.on_chunk(from, id, chunk, now_ms, actions),
            SnapshotMessage::FetchManifest | SnapshotMessage::FetchChunk(_) => {}
        }
    }

    fn on_manifest(&mut self, from: Author, manifest: Option<Box<Manifest>>, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(source) = self.peers.get_mut(&from) else { return };
        if source.asked_until_ms.take().is_none() {
            return;
        }
        source.ask_after_ms = now_ms + ASK_AGAIN_MS;
        let Some(manifest) = manifest else { return };
        if manifest.verify(&self.committee, self.chunk_level).is_err() {
            self.ban(from, "bad_snapshot", now_ms, actions);
        } else if manifest.base().commit_index > self.newest_commit {
            source.offer = Some(Arc::new(*manifest));
            self.offered_at_ms.get_or_insert(now_ms);
        }
    }

    fn on_chunk(
        &mut self,
        from: Author,
        id: ChunkId,
        chunk: Option<StateChunk>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(source) = self.peers.get_mut(&from) else { return };
        source.chunks.remove(&id.number);
        let Some(Chosen { manifest, layout, missing, .. }) = &mut self.chosen else { return };
        if id.state_root != manifest.state_root() {
            return;
        }
        let Some(chunk) = chunk else {
            // It has replaced this snapshot by a newer one, or never had it: the others come first now.
            source.offer = None;
            source.chunks.clear();
            source.ask_after_ms = now_ms + ANSWER_MS;
            return;
        };
        // One that comes late, or a second time, is as good as any.
        if layout.top_of(id.number, &chunk) != manifest.tops.get(id.number as usize).copied() {
            self.ban(from, "bad_chunk", now_ms, actions);
        } else if missing.remove(&id.number) {
            actions.push(Action::Stage(Stage::Chunk(id.number, chunk)));
            if missing.is_empty() {
                actions.push(Action::Complete);
            }
        }
    }

    fn ban(&mut self, peer: Author, reason: &'static str, now_ms: u64, actions: &mut Vec<Action>) {
        self.banned.insert(peer, now_ms + BAN_MS);
        self.peers.insert(peer, Source::default());
        actions.push(Action::Drop(peer, reason));
    }

    /// Does what is due.
    pub fn poll(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.banned.retain(|_, until_ms| *until_ms > now_ms);
        for source in self.peers.values_mut() {
            source.give_up(now_ms);
        }
        if self.chosen.as_ref().is_some_and(|chosen| chosen.until_ms <= now_ms) {
            for peer in self.sources().collect::<Vec<_>>() {
                self.peers.get_mut(&peer).expect("a source is a peer").ask_after_ms = now_ms + BAN_MS;
            }
            self.abandon();
        } else if self.chosen.is_some() && self.sources().next().is_none() {
            self.abandon();
        }
        if self.chosen.is_none() {
            self.choose(now_ms, actions);
        }
        self.ask_for_manifests(now_ms, actions);
        self.ask_for_chunks(now_ms, actions);
    }

    /// When to poll again, if nothing happens before.
    pub fn next_poll_ms(&self) -> Option<u64> {
        let choice = match &self.chosen {
            Some(chosen) => Some(chosen.until_ms),
            None => self.offered_at_ms.map(|at_ms| at_ms + CHOICE_MS),
        };
        let of_peers = self.peers.iter().flat_map(|(peer, source)| {
            let asks = source.offer.is_none() && source.asked_until_ms.is_none();
            let ask_ms = asks.then(|| source.ask_after_ms.max(self.banned.get(peer).copied().unwrap_or(0)));
            source.asked_until_ms.into_iter().chain(ask_ms).chain(source.chunks.values().copied())
        });
        choice.into_iter().chain(of_peers).min()
    }

    /// Nobody has the chosen snapshot any more.
    fn abandon(&mut self) {
        let Some(Chosen { manifest, missing, .. }) = self.chosen.take() else { return };
        let chunks = (0..manifest.tops.len() as u32).filter(|number| !missing.contains(number)).collect();
        self.staged = Some(Staged { manifest: (*manifest).clone(), chunks });
        self.offered_at_ms = None;
        for source in self.peers.values_mut() {
            *source = Source { ask_after_ms: source.ask_after_ms, ..Source::default() };
        }
    }

    /// Takes the newest offer, if it is time.
    fn choose(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(offered_at_ms) = self.offered_at_ms else { return };
        let asked = self.peers.iter().filter(|(peer, _)| !self.banned.contains_key(peer));
        let everybody_answered = asked.map(|(_, source)| source).all(|source| source.offer.is_some());
        if !everybody_answered && now_ms < offered_at_ms + CHOICE_MS {
            return;
        }
        self.offered_at_ms = None;
        let offers = self.peers.values().filter_map(|source| source.offer.as_ref());
        let Some(manifest) = offers.max_by_key(|manifest| manifest.anchor.height).cloned() else { return };
        let layout = manifest.layout(self.chunk_level).expect("an offer was verified");
        let is_staged = |number: &u32| {
            self.staged.as_ref().is_some_and(|staged| {
                staged.chunks.contains(number) && staged.manifest.has_same_chunk(&manifest, *number)
            })
        };
        let missing: BTreeSet<u32> = (0..manifest.tops.len() as u32).filter(|number| !is_staged(number)).collect();
        actions.push(Action::Stage(Stage::Begin(Box::new((*manifest).clone()))));
        if missing.is_empty() {
            actions.push(Action::Complete);
        }
        self.staged = None;
        let until_ms = now_ms + ANSWER_MS + CHUNK_MS * missing.len() as u64;
        self.chosen = Some(Chosen { manifest, layout, missing, until_ms });
    }

    /// Those who offer the chosen snapshot.
    fn sources(&self) -> impl Iterator<Item = Author> + '_ {
        let root = self.chosen.as_ref().map(|chosen| chosen.manifest.anchor.state_root);
        let offers =
            move |source: &Source| source.offer.as_ref().map(|offer| offer.anchor.state_root) == root && root.is_some();
        self.peers.iter().filter(move |(_, source)| offers(source)).map(|(peer, _)| *peer)
    }

    fn ask_for_manifests(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        for (peer, source) in &mut self.peers {
            let is_due = source.offer.is_none() && source.asked_until_ms.is_none() && source.ask_after_ms <= now_ms;
            if is_due && !self.banned.contains_key(peer) {
                source.asked_until_ms = Some(now_ms + ANSWER_MS);
                actions.push(Action::Send(*peer, SnapshotMessage::FetchManifest));
            }
        }
    }

    /// Asks for the lowest missing chunks that nobody was asked for, one a source in turn.
    fn ask_for_chunks(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let sources: Vec<Author> = self.sources().collect();
        let Some(Chosen { manifest, missing, .. }) = &self.chosen else { return };
        let asked: BTreeSet<u32> = self.peers.values().flat_map(|source| source.chunks.keys().copied()).collect();
        let mut room = CHUNKS_ASKED_MAX.saturating_sub(asked.len());
        let mut wanted = missing.iter().copied().filter(|number| !asked.contains(number));
        let state_root = manifest.state_root();
        for _ in 0..CHUNKS_PER_PEER {
            for peer in &sources {
                let source = self.peers.get_mut(peer).expect("a source is a peer");
                if room == 0 || source.chunks.len() >= CHUNKS_PER_PEER {
                    continue;
                }
                let Some(number) = wanted.next() else { return };
                source.chunks.insert(number, now_ms + ANSWER_MS);
                room -= 1;
                actions.push(Action::Send(*peer, SnapshotMessage::FetchChunk(ChunkId { state_root, number })));
            }
        }
    }
}

impl Source {
    /// Stops waiting for what is overdue. A peer that is late with a chunk has to offer its snapshot again.
    fn give_up(&mut self, now_ms: u64) {
        if self.asked_until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            self.asked_until_ms = None;
            self.ask_after_ms = now_ms + ASK_AGAIN_MS;
        }
        if self.chunks.values().any(|until_ms| *until_ms <= now_ms) {
            self.chunks.clear();
            self.offer = None;
            self.ask_after_ms = now_ms + ANSWER_MS;
        }
    }
}
