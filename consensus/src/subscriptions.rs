//! The streams of pushed vertices (§9): one from each connected peer, asked for again after anything on it was dropped (§3).

use crate::committee::Committee;
use crate::dag::Dag;
use crate::message::Message;
use crate::vertex::{Author, Round};
use std::collections::BTreeSet;

/// Pushed vertices further than this above the highest accepted round are dropped.
pub const AHEAD_ROUNDS_MAX: u64 = 500;

/// The least time between two subscriptions to one peer.
const RESUBSCRIBE_MS: u64 = 1_000;

/// The connected peers and what was dropped of their streams.
pub struct Subscriptions {
    /// An observer subscribes to nothing: it follows by commits.
    is_observer: bool,
    connected: BTreeSet<Author>,
    peers: Vec<Peer>,
}

#[derive(Clone, Default)]
struct Peer {
    subscribed_at_ms: Option<u64>,
    /// The lowest round dropped since then.
    dropped: Option<Round>,
}

impl Subscriptions {
    /// Nobody connected.
    pub fn new(committee: &Committee, is_observer: bool) -> Subscriptions {
        Subscriptions { is_observer, connected: BTreeSet::new(), peers: vec![Peer::default(); committee.size()] }
    }

    /// The connected peers.
    pub fn connected(&self) -> &BTreeSet<Author> {
        &self.connected
    }

    /// A connection stands.
    pub fn on_connected(&mut self, peer: Author) {
        self.connected.insert(peer);
        self.peers[usize::from(peer)] = Peer::default();
    }

    /// A connection is gone.
    pub fn on_disconnected(&mut self, peer: Author) {
        self.connected.remove(&peer);
    }

    /// A vertex of a peer's stream was dropped though it may be needed.
    pub fn on_dropped(&mut self, peer: Author, round: Round) {
        let dropped = &mut self.peers[usize::from(peer)].dropped;
        *dropped = Some(dropped.map_or(round, |lowest| lowest.min(round)));
    }

    /// The subscriptions to send now. While far behind, what is pushed is not even looked at, so nothing is asked for again.
    pub fn poll(&mut self, dag: &Dag, is_far_behind: bool, now_ms: u64) -> Vec<(Author, Message)> {
        let mut requests = Vec::new();
        if self.is_observer {
            return requests;
        }
        for author in &self.connected {
            let peer = &mut self.peers[usize::from(*author)];
            if peer.due_ms(dag, is_far_behind).is_some_and(|due_ms| now_ms >= due_ms) {
                *peer = Peer { subscribed_at_ms: Some(now_ms), dropped: None };
                let from_round = dag.highest_of(*author).max(dag.gc_round()) + 1;
                requests.push((*author, Message::Subscribe { from_round }));
            }
        }
        requests
    }

    /// When to poll again.
    pub fn next_poll_ms(&self, dag: &Dag, is_far_behind: bool) -> Option<u64> {
        if self.is_observer {
            return None;
        }
        self.connected.iter().filter_map(|author| self.peers[usize::from(*author)].due_ms(dag, is_far_behind)).min()
    }
}

impl Peer {
    /// When to subscribe: at once if never done, and after a drop as soon as what was dropped would be taken.
    fn due_ms(&self, dag: &Dag, is_far_behind: bool) -> Option<u64> {
        let Some(subscribed_at_ms) = self.subscribed_at_ms else { return Some(0) };
        let is_useful = !is_far_behind && self.dropped? <= dag.highest_round() + AHEAD_ROUNDS_MAX;
        is_useful.then_some(subscribed_at_ms + RESUBSCRIBE_MS)
    }
}
