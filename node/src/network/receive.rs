//! Reading: from the bytes of one stream to what the driver is told.

use super::connection::{Connection, End};
use super::frame::{self, Channel, Kind};
use super::metrics::Direction;
use super::{Inbound, NetworkEvent, Peer};
use bytes::Bytes;
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{VerifiedVertex, Vertex};
use farthing_core::codec;
use futures::AsyncRead;
use futures::io::ReadHalf;
use libp2p::Stream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// The least time between two subscriptions of a peer; earlier ones wait, and what comes behind them too. Consensus subscribes at
/// most once a second.
pub(super) const SUBSCRIPTION_EVERY: Duration = Duration::from_millis(500);

/// How many batches of forwarded transactions may wait to be handed over, which are the only large requests. A full node sends a
/// validator one at a time.
const FORWARDS_WAITING_MAX: usize = 2;

/// A request of the peer that waits to be handed to the driver.
pub(super) struct Request {
    pub(super) kind: Kind,
    /// Those of the frame.
    pub(super) bytes: usize,
    pub(super) message: Inbound,
    /// The place that it takes among those that wait, if it is a large one.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// Reads one stream of a connection.
pub(super) struct Receiver {
    connection: Arc<Connection>,
    channel: Channel,
    stream: ReadHalf<Stream>,
    requests: mpsc::Sender<Request>,
    forwards: Arc<Semaphore>,
    /// When the next subscription may be handed over.
    subscription_at: Instant,
}

impl Receiver {
    pub(super) fn new(
        connection: Arc<Connection>,
        channel: Channel,
        stream: ReadHalf<Stream>,
        requests: mpsc::Sender<Request>,
    ) -> Receiver {
        let forwards = Arc::new(Semaphore::new(FORWARDS_WAITING_MAX));
        Receiver { connection, channel, stream, requests, forwards, subscription_at: Instant::now() }
    }

    /// Reads until the connection fails or the peer breaks the protocol.
    pub(super) async fn run(mut self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    async fn next(&mut self) -> Result<(), End> {
        let Receiver { connection, channel, stream, requests, forwards, subscription_at } = self;
        let (kind, content) = read_content(stream, |kind| admit(connection, *channel, kind)).await?;
        let bytes = 4 + content.len();
        connection.shared.metrics.frame(Direction::In, *channel, bytes);
        connection.shared.metrics.message(Direction::In, kind);
        let message = decode(connection, kind, content)?;
        if kind == Kind::Subscribe {
            tokio::time::sleep_until(*subscription_at).await;
            *subscription_at = Instant::now() + SUBSCRIPTION_EVERY;
        }
        if kind.answer().is_some() {
            let too_many = || End::breach("too_many_requests", "it does not wait for answers to what it asks");
            let place = match kind {
                Kind::Forward => Some(forwards.clone().try_acquire_owned().map_err(|_| too_many())?),
                _ => None,
            };
            return requests.try_send(Request { kind, bytes, message, _place: place }).map_err(|_| too_many());
        }
        connection.shared.emit(NetworkEvent::Message { from: connection.peer, message }).await;
        Ok(())
    }
}

/// Reads the next frame's content, passing over heartbeats. Nothing is allocated for a kind that `admit` refuses or a length
/// above the kind's bound.
pub(super) async fn read_content<R: AsyncRead + Unpin>(
    stream: &mut R,
    admit: impl Fn(Kind) -> Result<(), End>,
) -> Result<(Kind, Bytes), End> {
    let mut length = [0; 4];
    loop {
        frame::read_exact(stream, &mut length).await?;
        if length != frame::HEARTBEAT {
            break;
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    let mut first = [0];
    frame::read_exact(stream, &mut first).await?;
    let kind = Kind::from_byte(first[0])
        .ok_or_else(|| End::breach("unknown_kind", format!("a frame of the unknown kind {}", first[0])))?;
    admit(kind)?;
    if length > kind.length_max() {
        let detail = format!("a {} frame of {length} bytes, at most {} are allowed", kind.label(), kind.length_max());
        return Err(End::breach("oversized", detail));
    }
    let mut content = vec![0; length];
    content[0] = first[0];
    frame::read_exact(stream, &mut content[1..]).await?;
    Ok((kind, content.into()))
}

/// Whether this peer may now send a frame of this kind over this stream.
fn admit(connection: &Connection, channel: Channel, kind: Kind) -> Result<(), End> {
    if kind.channel() != Some(channel) {
        let detail = format!("a {} frame on {}", kind.label(), channel.protocol());
        return Err(End::breach("misplaced", detail));
    }
    match (kind, connection.peer) {
        (Kind::Vertex, Peer::Follower(_)) => {
            Err(End::breach("follower_vertex", "it pushed a vertex, but is no validator"))
        }
        (Kind::Subscribe, Peer::Follower(_)) => {
            Err(End::breach("follower_subscribed", "it wants vertices pushed, but full nodes follow by commits"))
        }
        (Kind::Forward, Peer::Validator(_)) => {
            Err(End::breach("validator_forward", "it forwarded transactions, but can propose them itself"))
        }
        _ if kind.is_answer() && !connection.owes(kind) => {
            Err(End::breach("unsolicited", format!("a {} frame that nobody asked for", kind.label())))
        }
        _ => Ok(()),
    }
}

/// Decodes what was admitted, and verifies the vertices in it.
fn decode(connection: &Connection, kind: Kind, content: Bytes) -> Result<Inbound, End> {
    let malformed = |detail: String| End::breach("malformed", format!("a malformed {} frame: {detail}", kind.label()));
    if kind == Kind::Vertex {
        let vertex = frame::decode_vertex(content).map_err(|error| malformed(error.to_string()))?;
        let author = vertex.signed.header.author;
        if connection.peer != Peer::Validator(author) {
            return Err(End::breach("wrong_author", format!("it pushed a vertex of validator {author}")));
        }
        return Ok(Inbound::Vertex(verify(connection, vertex)?));
    }
    if kind == Kind::Forward {
        let transactions = frame::decode_forward(&content).map_err(|error| malformed(error.to_string()))?;
        return Ok(Inbound::Forward { transactions });
    }
    if kind == Kind::Forwarded {
        let taken = frame::decode_forwarded(&content).map_err(|error| malformed(error.to_string()))?;
        connection.answered(kind);
        return Ok(Inbound::Forwarded { taken });
    }
    if let Some(message) = frame::decode_snapshot(kind, &content) {
        let message = message.map_err(|error| malformed(error.to_string()))?;
        connection.answered(kind);
        return Ok(Inbound::Snapshot(message));
    }
    let message = codec::decode(&content, kind.length_max()).map_err(|error| malformed(error.to_string()))?;
    connection.answered(kind);
    Ok(match message {
        Message::Vertex(_) => unreachable!("vertex frames are decoded above"),
        Message::Subscribe { from_round } => Inbound::Subscribe { from_round },
        Message::FetchVertices { refs, above_round } => Inbound::FetchVertices { refs, above_round },
        Message::Vertices { vertices } => {
            Inbound::Vertices(vertices.into_iter().map(|vertex| verify(connection, vertex)).collect::<Result<_, _>>()?)
        }
        Message::FetchCommits { from_index } => Inbound::FetchCommits { from_index },
        Message::Commits { commits, votes, oldest_index } => Inbound::Commits { commits, votes, oldest_index },
        Message::FetchLatest => Inbound::FetchLatest,
        Message::Latest { own, yours } => Inbound::Latest { own, yours },
    })
}

fn verify(connection: &Connection, vertex: Vertex) -> Result<VerifiedVertex, End> {
    let (author, round) = (vertex.signed.header.author, vertex.signed.header.round);
    connection.shared.committee.verify(vertex).map_err(|error| {
        End::breach(
            "invalid_vertex",
            format!("the vertex of validator {author} for round {round} is not valid: {error}"),
        )
    })
}
