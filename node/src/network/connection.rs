//! One connection to one peer: its hello, its queues, its five tasks, and its end.

use super::allowance::Allowance;
use super::frame::{self, Channel, Frame, HEARTBEAT, HEARTBEAT_EVERY, Kind, SYNC_QUEUE_BYTES_MAX, StreamError};
use super::metrics::Direction;
use super::queue::Queue;
use super::receive::{Receiver, Request, read_content};
use super::streams::HANDSHAKE_MAX;
use super::{FOLLOWER_REQUESTS_UNANSWERED_MAX, NetworkEvent, Outbound, Peer, REQUESTS_UNANSWERED_MAX, Shared};
use farthing_core::hash::{ChainHash, Digest};
use futures::AsyncReadExt as _;
use futures::io::WriteHalf;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, Stream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How many of a peer's requests may wait to be handed over; all but a few are small.
const REQUESTS_WAITING_MAX: usize = 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The peer broke the protocol: a label for counting, and what people want to know.
    #[error("it broke the protocol ({reason}): {detail}")]
    Breach { reason: &'static str, detail: String },
    /// The peer is on another network.
    #[error("it belongs to another network: its chain is {theirs}, ours is {ours}")]
    OtherChain { ours: ChainHash, theirs: ChainHash },
    /// This node made a message that no peer takes. What it is made of comes from others, so it must not stop the node.
    #[error("this node has a {kind} message of {length} bytes for it, which is too long")]
    TooLong { kind: &'static str, length: usize },
    /// The peer did not read what was queued for it.
    #[error("it reads too slowly: its queue is full")]
    Overflow,
    /// The connection failed.
    #[error("{0}")]
    Lost(#[from] StreamError),
    /// The hello did not come in time.
    #[error("it did not greet within {} seconds", HANDSHAKE_MAX.as_secs())]
    NotGreeted,
    /// The same peer has connected anew.
    #[error("the peer connected anew")]
    Replaced,
    /// The network stops.
    #[error("this node is stopping")]
    Stopped,
}

impl End {
    pub(super) fn breach(reason: &'static str, detail: impl Into<String>) -> End {
        End::Breach { reason, detail: detail.into() }
    }
}

/// A connection, as seen by those that send over it or close it.
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) shared: Arc<Shared>,
    vertices: Queue,
    sync: Queue,
    /// Our requests that the peer has not answered yet, by the kind of the answer.
    owed: Counts,
    /// The peer's requests that were handed to the driver and are not answered yet, by the kind of the answer.
    asked: Counts,
    /// What is left to a full node of what it may have.
    allowance: Option<Mutex<Allowance>>,
    /// How many more of the peer's requests may be handed to the driver: see [`REQUESTS_UNANSWERED_MAX`].
    pub(super) unanswered: Semaphore,
    /// Why it was closed from this side; the first reason counts.
    closed_for: Mutex<Option<End>>,
    closed: CancellationToken,
    /// Nothing of this connection reaches the driver any more.
    pub(super) done: CancellationToken,
}

/// Everything that the tasks of a connection are made of.
pub(super) struct Established {
    pub(super) id: ConnectionId,
    pub(super) peer_id: PeerId,
    pub(super) address: Multiaddr,
    pub(super) vertices: Stream,
    pub(super) sync: Stream,
    pub(super) connection: Arc<Connection>,
    /// The connection that this one replaces: the driver learns of its end first.
    pub(super) predecessor: Option<Arc<Connection>>,
}

/// What is left of a connection.
pub(super) struct Ended {
    pub(super) id: ConnectionId,
    pub(super) peer_id: PeerId,
    pub(super) connection: Arc<Connection>,
    pub(super) address: Multiaddr,
    pub(super) end: End,
    /// Whether the hello succeeded, so that the driver was told of the connection.
    pub(super) greeted: bool,
}

impl Connection {
    pub(super) fn new(peer: Peer, shared: Arc<Shared>) -> Arc<Connection> {
        let (allowance, unanswered_max) = match peer {
            Peer::Validator(_) => (None, REQUESTS_UNANSWERED_MAX),
            Peer::Follower(_) => {
                let allowance = Allowance::new(shared.follower_limits, Instant::now());
                (Some(Mutex::new(allowance)), FOLLOWER_REQUESTS_UNANSWERED_MAX)
            }
        };
        Arc::new(Connection {
            peer,
            vertices: Queue::new(shared.queue_bytes_max),
            sync: Queue::new(SYNC_QUEUE_BYTES_MAX),
            shared,
            owed: Counts::default(),
            asked: Counts::default(),
            allowance,
            unanswered: Semaphore::new(unanswered_max),
            closed_for: Mutex::new(None),
            closed: CancellationToken::new(),
            done: CancellationToken::new(),
        })
    }

    /// Queues a message, or closes the connection if it cannot be queued. An answer to what was asked over an earlier connection
    /// of this peer goes nowhere: over this one nobody waits for it.
    pub(super) fn send(&self, message: Outbound) {
        let frame = Frame::encode(message);
        if frame.kind.is_answer() {
            if !self.asked.take(frame.kind) {
                return;
            }
            self.spend_bytes(frame.length());
        }
        if let Some(answer) = frame.kind.answer() {
            self.owed.add(answer);
        }
        if frame.length() > frame.kind.length_max() {
            return self.close(End::TooLong { kind: frame.kind.label(), length: frame.length() });
        }
        let channel = frame.kind.channel().expect("messages have a stream");
        if !self.queue(channel).push(frame) {
            self.close(End::Overflow);
        }
    }

    /// Ends the connection soon.
    pub(super) fn close(&self, end: End) {
        let mut closed_for = lock(&self.closed_for);
        closed_for.get_or_insert(end);
        self.closed.cancel();
    }

    /// Waits until it is closed from this side, and says why.
    async fn ended(&self) -> End {
        tokio::select! {
            () = self.closed.cancelled() => {
                let closed_for = lock(&self.closed_for).take();
                closed_for.unwrap_or(End::Stopped)
            }
            () = self.shared.stop.cancelled() => End::Stopped,
        }
    }

    pub(super) fn room(&self) -> usize {
        self.vertices.room()
    }

    /// A full node has had so many bytes.
    fn spend_bytes(&self, bytes: usize) {
        if let Some(allowance) = &self.allowance {
            lock(allowance).spend_bytes(Instant::now(), bytes);
        }
    }

    /// Waits until a full node may ask again; validators always may.
    async fn may_ask(&self) {
        if let Some(allowance) = &self.allowance {
            loop {
                let taken = lock(allowance).take_request(Instant::now());
                match taken {
                    Ok(()) => return,
                    Err(wait) => tokio::time::sleep(wait).await,
                }
            }
        }
    }

    /// Whether the peer owes us an answer of this kind.
    pub(super) fn owes(&self, kind: Kind) -> bool {
        self.owed.has(kind)
    }

    /// The peer has answered, if this is an answer.
    pub(super) fn answered(&self, kind: Kind) {
        if kind.is_answer() {
            assert!(self.owed.take(kind), "an answer is read only if it is owed");
        }
    }

    fn queue(&self, channel: Channel) -> &Queue {
        match channel {
            Channel::Vertices => &self.vertices,
            Channel::Sync => &self.sync,
        }
    }
}

/// Counts by kind.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<Kind, u32>>);

impl Counts {
    fn add(&self, kind: Kind) {
        *self.lock().entry(kind).or_default() += 1;
    }

    /// Takes one off; false if there is none.
    fn take(&self, kind: Kind) -> bool {
        match self.lock().get_mut(&kind) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    fn has(&self, kind: Kind) -> bool {
        self.lock().get(&kind).is_some_and(|count| *count > 0)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, u32>> {
        lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

impl Established {
    /// Runs the connection to its end.
    pub(super) async fn run(self) -> Ended {
        let Established { id, peer_id, address, mut vertices, mut sync, connection, predecessor } = self;
        let greeting = greet_both(&connection, &mut vertices, &mut sync).await;
        if let Some(predecessor) = predecessor {
            predecessor.done.cancelled().await;
        }
        let (end, greeted) = match greeting {
            Ok(()) => (serve(&connection, vertices, sync, &address).await, true),
            Err(end) => (end, false),
        };
        connection.done.cancel();
        Ended { id, peer_id, connection, address, end, greeted }
    }
}

/// Exchanges hellos on both streams.
async fn greet_both(connection: &Connection, vertices: &mut Stream, sync: &mut Stream) -> Result<(), End> {
    let chain = connection.shared.committee.chain();
    let both = futures::future::try_join(greet(vertices, chain), greet(sync, chain));
    tokio::select! {
        biased;
        end = connection.ended() => Err(end),
        greeted = timeout(HANDSHAKE_MAX, both) => greeted.map_err(|_| End::NotGreeted)?.map(|_| ()),
    }
}

/// Sends our hello and checks the peer's.
async fn greet(stream: &mut Stream, ours: &ChainHash) -> Result<(), End> {
    frame::write_all(stream, &Frame::hello(ours).head).await?;
    frame::flush(stream).await?;
    let (_, content) = read_content(stream, |kind| match kind {
        Kind::Hello => Ok(()),
        _ => Err(End::breach("no_hello", format!("its first frame is of the kind {}", kind.label()))),
    })
    .await?;
    let theirs = <[u8; 32]>::try_from(&content[1..])
        .map(Digest)
        .map_err(|_| End::breach("malformed", format!("a hello of {} bytes", content.len())))?;
    if theirs == *ours { Ok(()) } else { Err(End::OtherChain { ours: *ours, theirs }) }
}

/// Tells the driver, moves frames until something ends it, tells the driver again.
async fn serve(connection: &Arc<Connection>, vertices: Stream, sync: Stream, address: &Multiaddr) -> End {
    let (peer, shared) = (connection.peer, &connection.shared);
    let before = shared.connections().insert(peer, connection.clone());
    assert!(before.is_none(), "a peer has one connection at a time");
    shared.metrics.connected(peer);
    tracing::info!(?peer, %address, "connected");
    shared.emit(NetworkEvent::Connected(peer)).await;

    let (requests, waiting) = mpsc::channel(REQUESTS_WAITING_MAX);
    let mut tasks = JoinSet::new();
    for (channel, stream) in [(Channel::Vertices, vertices), (Channel::Sync, sync)] {
        let (read_half, write_half) = stream.split();
        tasks.spawn(Receiver::new(connection.clone(), channel, read_half, requests.clone()).run());
        tasks.spawn(write_frames(connection.clone(), channel, write_half));
    }
    tasks.spawn(hand_over_requests(connection.clone(), waiting));
    let end = tokio::select! {
        biased;
        end = connection.ended() => end,
        joined = tasks.join_next() => joined.expect("five tasks run").expect("none of them panics or is cancelled"),
    };
    tasks.shutdown().await;

    shared.connections().remove(&peer);
    shared.metrics.disconnected(peer);
    shared.emit(NetworkEvent::Disconnected(peer)).await;
    end
}

/// Writes what is queued for one stream, and heartbeats when nothing is.
async fn write_frames(connection: Arc<Connection>, channel: Channel, mut stream: WriteHalf<Stream>) -> End {
    loop {
        if let Err(error) = write_next(&connection, channel, &mut stream).await {
            return End::Lost(error);
        }
    }
}

async fn write_next(
    connection: &Connection,
    channel: Channel,
    stream: &mut WriteHalf<Stream>,
) -> Result<(), StreamError> {
    let queue = connection.queue(channel);
    let frame = match queue.try_pop() {
        Some(frame) => frame,
        None => {
            frame::flush(stream).await?;
            match timeout(HEARTBEAT_EVERY, queue.pop()).await {
                Ok(frame) => frame,
                Err(_) => return frame::write_all(stream, &HEARTBEAT).await,
            }
        }
    };
    frame::write_all(stream, &frame.head).await?;
    frame::write_all(stream, &frame.payload).await?;
    connection.shared.metrics.frame(Direction::Out, channel, 4 + frame.length());
    connection.shared.metrics.message(Direction::Out, frame.kind);
    if frame.kind.is_answer() {
        connection.unanswered.add_permits(1);
    }
    Ok(())
}

/// Hands the peer's requests to the driver, a few at a time: see [`REQUESTS_UNANSWERED_MAX`].
async fn hand_over_requests(connection: Arc<Connection>, mut waiting: mpsc::Receiver<Request>) -> End {
    while let Some(Request { kind, bytes, message, .. }) = waiting.recv().await {
        connection.unanswered.acquire().await.expect("it is never closed").forget();
        connection.may_ask().await;
        connection.spend_bytes(bytes);
        connection.asked.add(kind.answer().expect("only requests are handed over here"));
        connection.shared.emit(NetworkEvent::Message { from: connection.peer, message }).await;
    }
    // The receivers have ended, and it is for them to say why.
    std::future::pending().await
}
