//! Frames: how messages are cut out of a stream of bytes, and the bounds that hold before anything is allocated.
//!
//! ```text
//! frame     = length: u32 little-endian ‖ content of that many bytes
//! content   = kind: u8 ‖ the rest of the message's borsh encoding (whose first byte is the kind)
//! forward   = 0x30 ‖ signed transactions, one after the other, each delimiting itself
//! forwarded = 0x31 ‖ one bool for each of them, as borsh encodes a list
//! hello     = length 33 ‖ 0xff ‖ chain hash: 32 bytes          the first frame in each direction, and only there
//! heartbeat = length 0
//! ```

use super::{Outbound, REQUESTS_UNANSWERED_MAX};
use crate::payload;
use crate::snapshot::{MANIFEST_BYTES_MAX, SnapshotMessage};
use bytes::Bytes;
use farthing_consensus::message::{ANSWER_BYTES_MAX, FETCH_VERTICES_MAX, MESSAGE_BYTES_MAX, Message};
use farthing_consensus::vertex::{PAYLOAD_BYTES_MAX, SignedHeader, Vertex};
use farthing_core::codec::{self, CodecError};
use farthing_core::hash::ChainHash;
use farthing_core::state_chunk::CHUNK_BYTES_MAX;
use farthing_core::transaction::{SIGNED_TRANSACTION_BYTES_MAX, SignedTransaction};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// A peer from which not a byte comes for so long is gone.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A peer that takes not a byte for so long is too slow. Tests do not wait that long, but longer than a busy machine holds them up.
pub(super) const STALL_MAX: Duration = Duration::from_secs(if cfg!(test) { 6 } else { 20 });

/// A heartbeat is sent after so long without anything else. Three fit into [`SILENCE_MAX`].
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);

/// The most bytes of a vertex's header with its signature: 128 parents take 5.4 KB, 16 attestations 1.7 KB, the rest 200 bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of the content of a vertex frame.
pub(super) const VERTEX_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + HEADER_BYTES_MAX;

/// The most bytes of a fetch of vertices: kind, count, references of 42 bytes, and a round.
const FETCH_VERTICES_BYTES_MAX: usize = 1 + 4 + 42 * FETCH_VERTICES_MAX + 8;

/// The most bytes of an answer with vertices, which may hold one more than fits [`ANSWER_BYTES_MAX`].
const VERTICES_BYTES_MAX: usize = ANSWER_BYTES_MAX + VERTEX_BYTES_MAX;

/// The most bytes of an answer with the latest vertices: kind, and two headers that may be there.
const LATEST_BYTES_MAX: usize = 1 + 2 * (1 + HEADER_BYTES_MAX);

/// The most bytes waiting for a peer on the sync stream: the answers to all requests handed over, and our own requests.
pub(super) const SYNC_QUEUE_BYTES_MAX: usize = REQUESTS_UNANSWERED_MAX * MESSAGE_BYTES_MAX + 1024 * 1024;

/// The bytes of a fetch of a chunk: kind, state root, number.
const FETCH_CHUNK_BYTES: usize = 1 + 32 + 4;

/// The most bytes of transactions that a full node forwards in one message; any transaction fits.
pub const FORWARD_BYTES_MAX: usize = 128 * 1024;

/// The most transactions in one such message.
pub const FORWARD_TRANSACTIONS_MAX: usize = 1_024;

const _: () = assert!(SIGNED_TRANSACTION_BYTES_MAX <= FORWARD_BYTES_MAX);

/// The bytes of a hello's content.
const HELLO_BYTES: usize = 33;

/// A heartbeat, whole.
pub(super) const HEARTBEAT: [u8; 4] = [0; 4];

/// The two streams of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Channel {
    Vertices,
    Sync,
}

/// The first byte of a frame's content; for messages of consensus it is borsh's tag of the [`Message`] variant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Vertex = 0,
    Subscribe = 1,
    FetchVertices = 2,
    Vertices = 3,
    FetchCommits = 4,
    Commits = 5,
    FetchLatest = 6,
    Latest = 7,
    FetchManifest = 0x20,
    Manifest = 0x21,
    FetchChunk = 0x22,
    Chunk = 0x23,
    Forward = 0x30,
    Forwarded = 0x31,
    Hello = 0xff,
}

/// An outgoing frame. The payload of a pushed vertex is shared with whoever else holds it.
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Length, kind, and everything else but the payload.
    pub(super) head: Vec<u8>,
    pub(super) payload: Bytes,
}

/// Why a stream cannot be read or written any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("nothing came for {} seconds", SILENCE_MAX.as_secs())]
    Silent,
    #[error("nothing was taken for {} seconds", STALL_MAX.as_secs())]
    Stalled,
}

impl Channel {
    pub(super) const ALL: [Channel; 2] = [Channel::Vertices, Channel::Sync];

    /// The libp2p protocol name.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Channel::Vertices => "/farthing/vertices/1",
            Channel::Sync => "/farthing/sync/1",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Channel::Vertices => "vertices",
            Channel::Sync => "sync",
        }
    }
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            0 => Kind::Vertex,
            1 => Kind::Subscribe,
            2 => Kind::FetchVertices,
            3 => Kind::Vertices,
            4 => Kind::FetchCommits,
            5 => Kind::Commits,
            6 => Kind::FetchLatest,
            7 => Kind::Latest,
            0x20 => Kind::FetchManifest,
            0x21 => Kind::Manifest,
            0x22 => Kind::FetchChunk,
            0x23 => Kind::Chunk,
            0x30 => Kind::Forward,
            0x31 => Kind::Forwarded,
            0xff => Kind::Hello,
            _ => return None,
        })
    }

    /// The stream that frames of this kind go over; none for the hello, which goes over both.
    pub(super) fn channel(self) -> Option<Channel> {
        match self {
            Kind::Vertex | Kind::Subscribe => Some(Channel::Vertices),
            Kind::FetchVertices | Kind::Vertices | Kind::FetchCommits | Kind::Commits => Some(Channel::Sync),
            Kind::FetchLatest | Kind::Latest | Kind::Forward | Kind::Forwarded => Some(Channel::Sync),
            Kind::FetchManifest | Kind::Manifest | Kind::FetchChunk | Kind::Chunk => Some(Channel::Sync),
            Kind::Hello => None,
        }
    }

    /// For a request, what it must be answered with.
    pub(super) fn answer(self) -> Option<Kind> {
        match self {
            Kind::FetchVertices => Some(Kind::Vertices),
            Kind::FetchCommits => Some(Kind::Commits),
            Kind::FetchLatest => Some(Kind::Latest),
            Kind::FetchManifest => Some(Kind::Manifest),
            Kind::FetchChunk => Some(Kind::Chunk),
            Kind::Forward => Some(Kind::Forwarded),
            Kind::Vertex | Kind::Subscribe | Kind::Hello => None,
            Kind::Vertices | Kind::Commits | Kind::Latest | Kind::Manifest | Kind::Chunk | Kind::Forwarded => None,
        }
    }

    /// Whether it answers a request.
    pub(super) fn is_answer(self) -> bool {
        matches!(self, Kind::Vertices | Kind::Commits | Kind::Latest | Kind::Manifest | Kind::Chunk | Kind::Forwarded)
    }

    /// The most bytes of the content of a frame of this kind.
    pub(super) fn length_max(self) -> usize {
        match self {
            Kind::Vertex => VERTEX_BYTES_MAX,
            Kind::Subscribe | Kind::FetchCommits => 1 + 8,
            Kind::FetchVertices => FETCH_VERTICES_BYTES_MAX,
            Kind::Vertices => VERTICES_BYTES_MAX,
            Kind::Commits => MESSAGE_BYTES_MAX,
            Kind::FetchLatest => 1,
            Kind::Latest => LATEST_BYTES_MAX,
            Kind::FetchManifest => 1,
            Kind::Manifest => 1 + 1 + MANIFEST_BYTES_MAX,
            Kind::FetchChunk => FETCH_CHUNK_BYTES,
            Kind::Chunk => FETCH_CHUNK_BYTES + 1 + CHUNK_BYTES_MAX,
            Kind::Forward => 1 + FORWARD_BYTES_MAX,
            Kind::Forwarded => 1 + 4 + FORWARD_TRANSACTIONS_MAX,
            Kind::Hello => HELLO_BYTES,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Kind::Vertex => "vertex",
            Kind::Subscribe => "subscribe",
            Kind::FetchVertices => "fetch_vertices",
            Kind::Vertices => "vertices",
            Kind::FetchCommits => "fetch_commits",
            Kind::Commits => "commits",
            Kind::FetchLatest => "fetch_latest",
            Kind::Latest => "latest",
            Kind::FetchManifest => "fetch_manifest",
            Kind::Manifest => "manifest",
            Kind::FetchChunk => "fetch_chunk",
            Kind::Chunk => "chunk",
            Kind::Forward => "forward",
            Kind::Forwarded => "forwarded",
            Kind::Hello => "hello",
        }
    }
}

impl Frame {
    pub(super) fn hello(chain: &ChainHash) -> Frame {
        let mut content = vec![Kind::Hello as u8];
        content.extend_from_slice(chain.as_bytes());
        Frame::new(Kind::Hello, content, Bytes::new())
    }

    pub(super) fn encode(message: Outbound) -> Frame {
        let message = match message {
            Outbound::Vertex(vertex) => return Frame::vertex(vertex.vertex()),
            Outbound::Message(Message::Vertex(vertex)) => return Frame::vertex(&vertex),
            Outbound::Message(message) => message,
            Outbound::Snapshot(message) => return Frame::snapshot(&message),
            Outbound::Forward(transactions) => {
                return Frame::new(Kind::Forward, vec![Kind::Forward as u8], transactions);
            }
            Outbound::Forwarded(taken) => {
                let content = [&[Kind::Forwarded as u8][..], &codec::encode(&taken)].concat();
                return Frame::new(Kind::Forwarded, content, Bytes::new());
            }
        };
        let content = codec::encode(&message);
        let kind = Kind::from_byte(content[0]).expect("every message has a kind");
        Frame::new(kind, content, Bytes::new())
    }

    /// The bytes of the content.
    pub(super) fn length(&self) -> usize {
        self.head.len() - 4 + self.payload.len()
    }

    fn vertex(vertex: &Vertex) -> Frame {
        let mut content = vec![Kind::Vertex as u8];
        content.extend_from_slice(&codec::encode(&vertex.signed));
        content.extend_from_slice(&(vertex.payload.len() as u32).to_le_bytes());
        Frame::new(Kind::Vertex, content, vertex.payload.clone())
    }

    fn snapshot(message: &SnapshotMessage) -> Frame {
        let (kind, rest) = match message {
            SnapshotMessage::FetchManifest => (Kind::FetchManifest, Vec::new()),
            SnapshotMessage::Manifest(manifest) => (Kind::Manifest, codec::encode(manifest)),
            SnapshotMessage::FetchChunk(id) => (Kind::FetchChunk, codec::encode(id)),
            SnapshotMessage::Chunk(id, chunk) => (Kind::Chunk, codec::encode(&(id, chunk))),
        };
        let mut content = vec![kind as u8];
        content.extend_from_slice(&rest);
        Frame::new(kind, content, Bytes::new())
    }

    fn new(kind: Kind, content: Vec<u8>, payload: Bytes) -> Frame {
        let length = u32::try_from(content.len() + payload.len()).expect("a message is far below 4 GiB");
        let mut head = Vec::with_capacity(4 + content.len());
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&content);
        Frame { kind, head, payload }
    }
}

/// Decodes the content of a vertex frame; the vertex's payload shares the bytes.
pub(super) fn decode_vertex(content: Bytes) -> Result<Vertex, io::Error> {
    let mut rest = &content[1..];
    let signed: SignedHeader = borsh::BorshDeserialize::deserialize(&mut rest)?;
    let length: u32 = borsh::BorshDeserialize::deserialize(&mut rest)?;
    if length as usize != rest.len() || rest.len() > PAYLOAD_BYTES_MAX {
        return Err(codec::malformed(format!("a payload of {length} bytes in a frame that has {} for it", rest.len())));
    }
    let payload = content.slice(content.len() - rest.len()..);
    Ok(Vertex { signed, payload })
}

/// Decodes the content of a frame about snapshots; none for other kinds.
pub(super) fn decode_snapshot(kind: Kind, content: &[u8]) -> Option<Result<SnapshotMessage, CodecError>> {
    let (rest, max) = (&content[1..], kind.length_max());
    Some(match kind {
        Kind::FetchManifest => codec::decode::<()>(rest, max).map(|()| SnapshotMessage::FetchManifest),
        Kind::Manifest => codec::decode(rest, max).map(SnapshotMessage::Manifest),
        Kind::FetchChunk => codec::decode(rest, max).map(SnapshotMessage::FetchChunk),
        Kind::Chunk => codec::decode(rest, max).map(|(id, chunk)| SnapshotMessage::Chunk(id, chunk)),
        _ => return None,
    })
}

/// Decodes the content of a frame with forwarded transactions.
pub(super) fn decode_forward(content: &[u8]) -> Result<Vec<SignedTransaction>, CodecError> {
    match payload::decode(&content[1..])? {
        transactions if (1..=FORWARD_TRANSACTIONS_MAX).contains(&transactions.len()) => Ok(transactions),
        transactions => Err(CodecError::Malformed(format!("{} transactions", transactions.len()))),
    }
}

/// Decodes the content of an answer to such a frame.
pub(super) fn decode_forwarded(content: &[u8]) -> Result<Vec<bool>, CodecError> {
    codec::decode(&content[1..], Kind::Forwarded.length_max())
}

/// Fills `buffer`; every byte that comes starts the clock of [`SILENCE_MAX`] again.
pub(super) async fn read_exact<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut [u8]) -> Result<(), StreamError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read =
            timeout(SILENCE_MAX, stream.read(&mut buffer[filled..])).await.map_err(|_| StreamError::Silent)??;
        if read == 0 {
            return Err(StreamError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        filled += read;
    }
    Ok(())
}

/// Writes all of `bytes`; every byte that is taken starts the clock of [`STALL_MAX`] again.
pub(super) async fn write_all<W: AsyncWrite + Unpin>(stream: &mut W, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let written = timeout(STALL_MAX, stream.write(bytes)).await.map_err(|_| StreamError::Stalled)??;
        if written == 0 {
            return Err(StreamError::Io(io::ErrorKind::WriteZero.into()));
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Sees to it that what was written is on its way.
pub(super) async fn flush<W: AsyncWrite + Unpin>(stream: &mut W) -> Result<(), StreamError> {
    timeout(STALL_MAX, stream.flush()).await.map_err(|_| StreamError::Stalled)?.map_err(StreamError::Io)
}
