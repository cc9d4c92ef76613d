//! Fetching vertices by reference from peers (§9): what is wanted, from whom it is asked, and when again.
//!
//! A want is due at some time. Due wants go out oldest first in requests of at most [`FETCH_VERTICES_MAX`], one request in flight
//! to a peer. The first attempt goes to the peer that sent the child, later ones to the others in turn; but whoever sends something
//! that builds on a wanted vertex has it, and is asked next.

use crate::message::{FETCH_VERTICES_MAX, Message};
use crate::vertex::{Author, Round, VertexRef};
use std::collections::{BTreeMap, BTreeSet};

/// After this many attempts in vain the time between two attempts doubles with each one, up to [`BACKOFF_FACTOR_MAX`]: a reference
/// that nobody can resolve must not keep peers busy.
const ATTEMPTS_BEFORE_BACKOFF: u32 = 8;
const BACKOFF_FACTOR_MAX: u64 = 16;

/// Fetches in progress.
pub struct Fetcher {
    retry_ms: u64,
    wants: BTreeMap<VertexRef, Want>,
    schedule: BTreeSet<(u64, VertexRef)>,
    /// Requests in flight, by peer.
    requests: BTreeMap<Author, Request>,
}

struct Want {
    due_ms: u64,
    source: Author,
    /// Own ancestors above this round come with it, if there is room in the answer.
    above_round: Round,
    attempts: u32,
    /// Who is asked next, out of turn.
    next: Option<Author>,
}

struct Request {
    expires_at_ms: u64,
    refs: Vec<VertexRef>,
}

impl Fetcher {
    /// Nothing wanted. `retry_ms` is how long a peer may take to answer.
    pub fn new(retry_ms: u64) -> Fetcher {
        Fetcher { retry_ms, wants: BTreeMap::new(), schedule: BTreeSet::new(), requests: BTreeMap::new() }
    }

    /// How many vertices are wanted.
    pub fn len(&self) -> usize {
        self.wants.len()
    }

    /// Whether a vertex is wanted.
    pub fn is_wanted(&self, reference: &VertexRef) -> bool {
        self.wants.contains_key(reference)
    }

    /// Wants a vertex from `due_ms` on, first of all from `source`, and own ancestors of it above `above_round` if they fit into the
    /// answer. Already wanted, it is at most asked for earlier.
    pub fn want(&mut self, reference: VertexRef, source: Author, above_round: Round, due_ms: u64) {
        let want = self.wants.entry(reference).or_insert(Want { due_ms, source, above_round, attempts: 0, next: None });
        if want.attempts == 0 && due_ms < want.due_ms {
            self.schedule.remove(&(want.due_ms, reference));
            want.due_ms = due_ms;
        }
        self.schedule.insert((want.due_ms, reference));
    }

    /// A peer sent something that builds on a wanted vertex, so it has it, if it is honest: it is asked next, from `due_ms` on. Else a
    /// Byzantine author that shows a vertex and neither its parents nor any answer would hold up, for one retry after the other,
    /// what honest authors build on it.
    pub fn offer(&mut self, reference: &VertexRef, peer: Author, due_ms: u64) {
        let Some(want) = self.wants.get_mut(reference) else { return };
        if want.source == peer && want.attempts == 0 {
            return;
        }
        want.next = Some(peer);
        if due_ms < want.due_ms {
            self.schedule.remove(&(want.due_ms, *reference));
            want.due_ms = due_ms;
            self.schedule.insert((due_ms, *reference));
        }
    }

    /// Wants a vertex no more: it arrived, or nobody needs it.
    pub fn cancel(&mut self, reference: &VertexRef) {
        if let Some(want) = self.wants.remove(reference) {
            self.schedule.remove(&(want.due_ms, *reference));
        }
    }

    /// Wants nothing at or below a round any more.
    pub fn cancel_collected(&mut self, gc_round: Round) {
        while let Some((reference, _)) =
            self.wants.first_key_value().filter(|(reference, _)| reference.round <= gc_round)
        {
            let reference = *reference;
            self.cancel(&reference);
        }
    }

    /// A peer answered. What it left out of an answer that was not empty, it is asked for again at once (answers have a bound of
    /// bytes); call this before the vertices that came are cancelled.
    pub fn on_answer(&mut self, from: Author, answered: usize, now_ms: u64) {
        let Some(request) = self.requests.remove(&from) else { return };
        if answered == 0 {
            return;
        }
        for reference in request.refs {
            if let Some(want) = self.wants.get_mut(&reference) {
                self.schedule.remove(&(want.due_ms, reference));
                want.due_ms = now_ms;
                self.schedule.insert((now_ms, reference));
            }
        }
    }

    /// A connection is gone, and with it the answer.
    pub fn on_disconnected(&mut self, peer: Author) {
        self.requests.remove(&peer);
    }

    /// The requests to send now.
    pub fn poll(&mut self, connected: &BTreeSet<Author>, now_ms: u64) -> Vec<(Author, Message)> {
        self.requests.retain(|_, request| request.expires_at_ms > now_ms);
        let peers: Vec<Author> = connected.iter().copied().collect();
        let mut batches: BTreeMap<Author, (Vec<VertexRef>, Round)> = BTreeMap::new();
        let mut room =
            (peers.len() - self.requests.keys().filter(|peer| connected.contains(peer)).count()) * FETCH_VERTICES_MAX;
        while room > 0
            && let Some((due_ms, reference)) = self.schedule.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms)
        {
            let want = self.wants.get_mut(&reference).expect("what is scheduled is wanted");
            let is_free = |peer: &Author| {
                !self.requests.contains_key(peer)
                    && batches.get(peer).is_none_or(|(refs, _)| refs.len() < FETCH_VERTICES_MAX)
            };
            let offered = want.next.take().filter(|peer| connected.contains(peer) && is_free(peer));
            let peer = offered.or_else(|| choose_peer(&peers, want.source, want.attempts, is_free));
            let peer = peer.expect("some peer has room");
            let (refs, above_round) = batches.entry(peer).or_insert((Vec::new(), Round::MAX));
            refs.push(reference);
            *above_round = want.above_round.min(*above_round);
            room -= 1;
            let doublings = want.attempts.saturating_sub(ATTEMPTS_BEFORE_BACKOFF).min(BACKOFF_FACTOR_MAX.ilog2());
            want.attempts = want.attempts.saturating_add(1);
            want.due_ms = now_ms + (self.retry_ms << doublings);
            self.schedule.remove(&(due_ms, reference));
            self.schedule.insert((want.due_ms, reference));
        }
        let expires_at_ms = now_ms + self.retry_ms;
        for (peer, (refs, _)) in &batches {
            self.requests.insert(*peer, Request { expires_at_ms, refs: refs.clone() });
        }
        let message = |(refs, above_round)| Message::FetchVertices { refs, above_round };
        batches.into_iter().map(|(peer, batch)| (peer, message(batch))).collect()
    }

    /// When to poll again; `None` if nothing is wanted.
    pub fn next_poll_ms(&self, connected: &BTreeSet<Author>) -> Option<u64> {
        let (due_ms, _) = self.schedule.first()?;
        if connected.is_empty() {
            return None;
        }
        let is_all_busy = connected.iter().all(|peer| self.requests.contains_key(peer));
        let free_at_ms = self.requests.values().map(|request| request.expires_at_ms).min().unwrap_or(0);
        Some(if is_all_busy { (*due_ms).max(free_at_ms) } else { *due_ms })
    }
}

/// The source for the first attempt, then the other peers in turn; of those the next one that is free.
fn choose_peer(peers: &[Author], source: Author, attempts: u32, is_free: impl Fn(&Author) -> bool) -> Option<Author> {
    let start = peers.partition_point(|peer| *peer < source) + attempts as usize;
    (0..peers.len()).map(|step| peers[(start + step) % peers.len()]).find(is_free)
}
