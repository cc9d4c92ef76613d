//! The network: long-lived streams between validators, and from full nodes to validators.
//!
//! This module moves frames. What a frame means to consensus, and what to answer, is the driver's matter.
//!
//! # Who talks to whom
//! The committee's members are known by the peer ids of their network keys. Between two members the one with the lower peer id
//! dials, for ever, with back-off; an inbound connection from a member that we are to dial is refused, so two members never
//! hold connections in both directions. A newer connection from a member replaces the older one: the network key proves that it is
//! the same member, which must have lost the older one. Everybody else is a *follower* (a full node): followers always dial, at
//! most [`NetworkConfig::followers_max`] of them are admitted.
//!
//! # Connections and streams
//! TCP with `TCP_NODELAY`, Noise, Yamux. A connection carries exactly two streams, opened once by the dialer, used in both
//! directions and by nobody else (see [`streams`]): `/farthing/vertices/1` for vertices and subscriptions, `/farthing/sync/1` for
//! fetches and their answers, so that bulk never delays a vertex. A connection ends when either stream does.
//!
//! # Frames
//! A frame is its length as a little-endian `u32` and then that many bytes: the borsh encoding of a
//! [`farthing_consensus::message::Message`], whose first byte is the kind, or a [`SnapshotMessage`], forwarded transactions or the
//! answer to them behind their kinds. The first frame in each direction of each stream is a hello with
//! the chain hash. A frame of length zero is a heartbeat, sent when there is nothing else. The length is checked against the
//! bound of its kind, stream and sender before anything is allocated for it (see [`frame`]).
//!
//! # Breaches
//! A peer that breaks the protocol is disconnected, counted in `farthing_network_breaches_total{reason}` and refused for
//! ten seconds. Breaches are: an unknown or misplaced kind, an oversized or malformed frame, a vertex that is not valid or not the sender's
//! own, a vertex or a subscription from a follower, transactions forwarded by a validator, an answer that nobody asked for, too many unanswered requests, another chain.
//!
//! # Bounds
//! Outgoing: a queue for each stream, bounded in bytes; a peer whose queue would overflow is disconnected (it subscribes again later).
//! Incoming: a peer's next frame is read only when the driver's channel took the one before; a request is handed over only while fewer
//! than [`REQUESTS_UNANSWERED_MAX`] ([`FOLLOWER_REQUESTS_UNANSWERED_MAX`]) of that peer's requests wait for their answer to be
//! written, so a peer cannot make us build answers faster than it reads them; full nodes have an allowance of requests and of bytes
//! besides ([`FollowerLimits`]), so that however many they are they never slow validators down; and a peer's subscriptions are handed over at most twice a second, since each may make us
//! read old vertices from disk. A peer that takes nothing for 20 s, or from which nothing comes for 10 s, is disconnected.

mod allowance;
mod connection;
mod frame;
mod gate;
mod metrics;
mod queue;
mod receive;
mod streams;
mod swarm;
#[cfg(test)]
mod tests;

pub use allowance::FollowerLimits;
pub use frame::{FORWARD_BYTES_MAX, FORWARD_TRANSACTIONS_MAX};

use crate::snapshot::SnapshotMessage;
use bytes::Bytes;
use connection::{Connection, End};
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::keys::{PublicKey, SecretKey};
use farthing_core::transaction::SignedTransaction;
use libp2p::Multiaddr;
use metrics::Metrics;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many of a peer's requests are with the driver, or their answers in the queue, at a time. The peer's further ones wait.
pub const REQUESTS_UNANSWERED_MAX: usize = 3;

/// The same for a full node's requests.
pub const FOLLOWER_REQUESTS_UNANSWERED_MAX: usize = 1;

/// The least that [`NetworkConfig::queue_bytes_max`] may be: what a subscription to old rounds brings, and as much again.
pub const QUEUE_BYTES_MIN: usize = 12 * 1024 * 1024;

const _: () = assert!(QUEUE_BYTES_MIN <= NetworkConfig::QUEUE_BYTES_MAX);

/// How many events may wait for the driver before peers are read more slowly.
const EVENTS_MAX: usize = 64;

/// Somebody we are connected to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Peer {
    /// A member of the committee.
    Validator(Author),
    /// A full node; the number of this connection, never used again in this process.
    Follower(u64),
}

/// A member of the committee as the network knows it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its author number.
    pub author: Author,
    /// The key of its libp2p identity.
    pub network_key: PublicKey,
    /// Where it listens: `/ip4/…/tcp/…` or `/ip6/…/tcp/…`. Without one it is not dialed.
    pub address: Option<Multiaddr>,
}

/// What the network is started with.
pub struct NetworkConfig {
    /// The network key: this node's libp2p identity.
    pub identity: SecretKey,
    /// The committee: vertices are verified under it.
    pub committee: Arc<Committee>,
    /// All members of the committee, this node too if it is one.
    pub members: Vec<Member>,
    /// This node's author number; none for a follower.
    pub own: Option<Author>,
    /// Addresses to listen on; none to dial only. Port 0 takes a free one, see [`NetworkEvent::Listening`].
    pub listen: Vec<Multiaddr>,
    /// The most followers admitted at a time.
    pub followers_max: usize,
    /// What each of them may have.
    pub follower_limits: FollowerLimits,
    /// The most bytes waiting for a peer on the vertices stream; at least [`QUEUE_BYTES_MIN`]. What may wait on the sync stream follows
    /// from [`REQUESTS_UNANSWERED_MAX`].
    pub queue_bytes_max: usize,
}

impl NetworkConfig {
    /// The most connections that a node with this configuration has at a time, those included that are closing.
    pub fn connections_max(followers_max: usize, members: usize) -> usize {
        gate::connections_max(followers_max, members)
    }

    /// The usual number of followers.
    pub const FOLLOWERS_MAX: usize = 8;
    /// The usual bound of the vertices waiting for a peer, in bytes.
    pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
}

/// What a peer said, decoded within bounds.
#[derive(Clone, PartialEq, Debug)]
pub enum Inbound {
    /// A validator pushed this vertex of its own. Verified.
    Vertex(VerifiedVertex),
    /// The peer wants our own vertices.
    Subscribe {
        /// The first round wanted.
        from_round: Round,
    },
    /// The peer wants these vertices. Must be answered with exactly one [`Message::Vertices`].
    FetchVertices {
        /// Which ones.
        refs: Vec<VertexRef>,
        /// Their own ancestors above this round fill what room is left.
        above_round: Round,
    },
    /// The answer to one of our [`Message::FetchVertices`]. Verified.
    Vertices(Vec<VerifiedVertex>),
    /// The peer wants commits. Must be answered with exactly one [`Message::Commits`].
    FetchCommits {
        /// The first index wanted.
        from_index: u64,
    },
    /// The answer to one of our [`Message::FetchCommits`]. Neither the chain of commits nor the votes are checked.
    Commits {
        /// Claimed to be consecutive.
        commits: Vec<Commit>,
        /// Claimed to vouch for them.
        votes: Vec<SignedHeader>,
        /// Claimed to be the lowest commit that the peer keeps.
        oldest_index: u64,
    },
    /// The peer wants to know what we signed last, and what we hold of its own. Must be answered with exactly one
    /// [`Message::Latest`].
    FetchLatest,
    /// The answer to one of our [`Message::FetchLatest`]. Not checked.
    Latest {
        /// The peer's own latest vertex.
        own: Option<Box<SignedHeader>>,
        /// The highest of ours that it holds.
        yours: Option<Box<SignedHeader>>,
    },
    /// A request for a part of a snapshot, which must be answered exactly once, or the answer to one of ours, unchecked.
    Snapshot(SnapshotMessage),
    /// A full node forwards transactions of its clients. Must be answered with exactly one [`Outbound::Forwarded`].
    Forward {
        /// 1 to [`FORWARD_TRANSACTIONS_MAX`]; their signatures are not checked.
        transactions: Vec<SignedTransaction>,
    },
    /// The answer to one of our [`Outbound::Forward`].
    Forwarded {
        /// For each transaction, in order, whether it is in the validator's mempool or in a block.
        taken: Vec<bool>,
    },
}

/// What happens on the network. The events of one peer come in order: connected, its messages, disconnected.
#[derive(Clone, PartialEq, Debug)]
pub enum NetworkEvent {
    /// A connection to the peer stands; it may be sent to.
    Connected(Peer),
    /// The connection to the peer is gone, and with it what was queued and the answers it owed.
    Disconnected(Peer),
    /// The peer said something.
    Message {
        /// Who.
        from: Peer,
        /// What.
        message: Inbound,
    },
    /// This node listens on the address.
    Listening(Multiaddr),
}

/// What can be sent.
// Handed over at once, never kept in numbers, so boxing the large variant would only cost.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Outbound {
    /// An own vertex. Its payload is shared, not copied.
    Vertex(VerifiedVertex),
    /// About snapshots.
    Snapshot(SnapshotMessage),
    /// Signed transactions, one after the other, up to [`FORWARD_BYTES_MAX`], for a validator to propose.
    Forward(Bytes),
    /// The answer: for each transaction, in order, whether it is in the mempool or in a block.
    Forwarded(Vec<bool>),
    /// Anything else.
    Message(Message),
}

/// Why the network cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A member's network key is not a point of the curve.
    #[error("the network key {key} of validator {author} is not a valid ed25519 key: correct the genesis document")]
    NetworkKey {
        /// The member.
        author: Author,
        /// Its key.
        key: PublicKey,
    },
    /// Two members have the same network key.
    #[error("validators {first} and {second} have the same network key: correct the genesis document")]
    DuplicateNetworkKey {
        /// One of them.
        first: Author,
        /// The other.
        second: Author,
    },
    /// The own key does not fit the role.
    #[error("this node's network key {key} {problem}: configure the network key that belongs to this node")]
    Identity {
        /// The own network key.
        key: PublicKey,
        /// What is wrong with it.
        problem: String,
    },
    /// An address that cannot be dialed or listened on.
    #[error(
        "the address {address} is not supported: write it as /ip4/203.0.113.7/tcp/7400 or /ip6/2001:db8::7/tcp/7400"
    )]
    Address {
        /// The address.
        address: Multiaddr,
    },
    /// Listening failed.
    #[error("cannot listen on {address}: {reason}; choose another address or stop what uses it")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the operating system said.
        reason: String,
    },
    /// The queue bound is too small to be of use.
    #[error("queue_bytes_max is {given}, at least {min} is needed")]
    QueueTooSmall {
        /// The configured bound.
        given: usize,
        /// The least allowed.
        min: usize,
    },
    /// The encrypted transport could not be set up.
    #[error("the transport cannot be set up: {0}")]
    Transport(String),
}

/// A handle to the running network. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

/// What the handle, the swarm and the connections share.
struct Shared {
    committee: Arc<Committee>,
    queue_bytes_max: usize,
    follower_limits: FollowerLimits,
    events: mpsc::Sender<NetworkEvent>,
    /// The connections that the driver was told of.
    connections: Mutex<BTreeMap<Peer, Arc<Connection>>>,
    metrics: Metrics,
    /// Asks everything to stop.
    stop: CancellationToken,
    /// Everything has stopped.
    stopped: CancellationToken,
}

impl Network {
    /// Starts the network on the current tokio runtime. Must be called within one.
    ///
    /// Events come in a bounded channel; while it is full, peers are read more slowly. The metrics of this module and those of libp2p
    /// go into `registry`.
    ///
    /// # Errors
    /// [`NetworkError`] says which part of the configuration to mend.
    pub fn start(
        config: NetworkConfig,
        registry: &mut Registry,
    ) -> Result<(Network, mpsc::Receiver<NetworkEvent>), NetworkError> {
        if config.queue_bytes_max < QUEUE_BYTES_MIN {
            return Err(NetworkError::QueueTooSmall { given: config.queue_bytes_max, min: QUEUE_BYTES_MIN });
        }
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared {
            committee: config.committee.clone(),
            queue_bytes_max: config.queue_bytes_max,
            follower_limits: config.follower_limits,
            events,
            connections: Mutex::new(BTreeMap::new()),
            metrics: Metrics::register(registry),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
        });
        let actor = swarm::Actor::new(config, shared.clone(), registry)?;
        tokio::spawn(actor.run());
        Ok((Network { shared }, receiver))
    }

    /// Queues a message to a peer; if there is no such connection any more, nothing happens. Never blocks. A peer whose queue is full is
    /// disconnected and counted.
    ///
    /// Each [`Inbound::FetchVertices`], [`Inbound::FetchCommits`], [`Inbound::FetchLatest`] and [`Inbound::Forward`] must be answered
    /// exactly once; a peer's further requests wait for that.
    pub fn send(&self, to: Peer, message: Outbound) {
        if let Some(connection) = self.shared.connection(to) {
            connection.send(message);
        }
    }

    /// Disconnects a peer that broke the protocol in a way that only the driver can see. It is counted by `reason` (a short
    /// label, such as `"bad_commits"`) and refused for a while.
    pub fn disconnect(&self, peer: Peer, reason: &'static str) {
        if let Some(connection) = self.shared.connection(peer) {
            connection.close(End::breach(reason, "reported by the node"));
        }
    }

    /// The peers connected now, validators first.
    pub fn connected(&self) -> Vec<Peer> {
        self.shared.connections().keys().copied().collect()
    }

    /// How many bytes can be queued to the peer on the vertices stream before it overflows; 0 if it is not connected. For pacing
    /// what follows a subscription to old rounds.
    pub fn room(&self, peer: Peer) -> usize {
        self.shared.connection(peer).map_or(0, |connection| connection.room())
    }

    /// Closes all connections and waits until every task has ended. What is still queued is lost.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.stopped.cancelled().await;
    }
}

impl Shared {
    fn connection(&self, peer: Peer) -> Option<Arc<Connection>> {
        self.connections().get(&peer).cloned()
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, BTreeMap<Peer, Arc<Connection>>> {
        self.connections.lock().expect("nothing panics while it holds this lock")
    }

    /// Tells the driver; gives up when the network stops or the driver is gone.
    async fn emit(&self, event: NetworkEvent) {
        tokio::select! {
            _ = self.events.send(event) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
