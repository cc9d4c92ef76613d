//! Framing without sockets: every message there and back, and every way a frame can be wrong.

use super::super::connection::End;
use super::super::frame::{Frame, Kind, VERTEX_BYTES_MAX, decode_snapshot, decode_vertex};
use super::super::receive::read_content;
use super::*;
use crate::snapshot::{ChunkId, SnapshotMessage};
use farthing_consensus::message::FETCH_VERTICES_MAX;
use farthing_consensus::vertex::PAYLOAD_BYTES_MAX;
use farthing_core::codec;
use farthing_core::hash::Digest;
use farthing_core::state::SLOT_BYTES_MAX;
use farthing_core::state_chunk::{CHUNK_LEVEL, SlotBytes, StateChunk};
use futures::io::Cursor;

pub(super) fn messages(world: &World) -> Vec<(Kind, Message)> {
    let vertex = world.vertex(0, vec![5; 100]);
    let commit = Commit {
        epoch: 0,
        index: 1,
        previous: *world.committee.chain(),
        leader: vertex.reference(),
        vertices: vec![vertex.reference()],
        timestamp_ms: 9,
    };
    vec![
        (Kind::Vertex, Message::Vertex(vertex.vertex().clone())),
        (Kind::Subscribe, Message::Subscribe { from_round: u64::MAX }),
        (
            Kind::FetchVertices,
            Message::FetchVertices { refs: vec![vertex.reference(); FETCH_VERTICES_MAX], above_round: 1 },
        ),
        (Kind::Vertices, Message::Vertices { vertices: vec![vertex.vertex().clone(); 3] }),
        (Kind::FetchCommits, Message::FetchCommits { from_index: u64::MAX }),
        (
            Kind::Commits,
            Message::Commits { commits: vec![commit], votes: vec![vertex.signed_header().clone()], oldest_index: 1 },
        ),
        (Kind::FetchLatest, Message::FetchLatest),
        (Kind::Latest, Message::Latest { own: None, yours: Some(Box::new(vertex.signed_header().clone())) }),
    ]
}

#[tokio::test]
async fn a_frame_is_a_length_and_the_encoded_message() {
    let world = World::new(4);
    for (kind, message) in messages(&world) {
        let frame = Frame::encode(Outbound::Message(message.clone()));
        let bytes = [&frame.head[..], &frame.payload].concat();
        assert_eq!(frame.kind, kind);
        assert_eq!(bytes[..4], (frame.length() as u32).to_le_bytes());
        assert_eq!(bytes[4..], codec::encode(&message), "the content is the message's encoding");
        assert!(frame.length() <= kind.length_max());

        let heartbeats_before = [&[0; 12][..], &bytes].concat();
        let (read, content) = read_content(&mut Cursor::new(heartbeats_before), |_| Ok(())).await.unwrap();
        assert_eq!((read, &content[..]), (kind, &bytes[4..]));
    }
}

#[test]
fn messages_about_snapshots_go_there_and_back_within_their_bounds() {
    let id = ChunkId { state_root: Digest([3; 32]), number: u32::MAX };
    let slot = SlotBytes(vec![7; SLOT_BYTES_MAX]);
    let full = StateChunk { slots: vec![slot; 1 << CHUNK_LEVEL] };
    let messages = [
        (Kind::FetchManifest, SnapshotMessage::FetchManifest),
        (Kind::Manifest, SnapshotMessage::Manifest(None)),
        (Kind::FetchChunk, SnapshotMessage::FetchChunk(id)),
        (Kind::Chunk, SnapshotMessage::Chunk(id, None)),
        (Kind::Chunk, SnapshotMessage::Chunk(id, Some(full))),
    ];
    for (kind, message) in messages {
        let frame = Frame::encode(Outbound::Snapshot(message.clone()));
        let content = &frame.head[4..];
        assert_eq!((frame.kind, content[0], frame.length()), (kind, kind as u8, content.len()));
        assert!(frame.length() <= kind.length_max(), "{kind:?}");
        assert_eq!(decode_snapshot(kind, content).unwrap().unwrap(), message);
        let longer = [content, &[0]].concat();
        assert!(decode_snapshot(kind, &longer).unwrap().is_err(), "{kind:?} with something behind it");
        if content.len() > 1 {
            assert!(decode_snapshot(kind, &content[..content.len() - 1]).unwrap().is_err(), "{kind:?} cut short");
        }
    }
    assert!(decode_snapshot(Kind::Commits, &[5]).is_none());
}

#[test]
fn the_largest_vertex_fits_its_bound() {
    let world = World::new(128);
    let vertex = world.vertex(0, vec![5; PAYLOAD_BYTES_MAX]);
    let frame = Frame::encode(Outbound::Vertex(vertex.clone()));
    // Sixteen attestations, which this vertex does not carry, take less than two kilobytes.
    assert!(frame.length() + 2048 < VERTEX_BYTES_MAX);
    let content = bytes::Bytes::from([&frame.head[4..], &frame.payload].concat());
    assert_eq!(&decode_vertex(content).unwrap(), vertex.vertex());
}

#[test]
fn a_vertex_frame_has_exactly_its_payload() {
    let world = World::new(4);
    let frame = Frame::encode(Outbound::Vertex(world.vertex(0, vec![5; 100])));
    let content = [&frame.head[4..], &frame.payload].concat();
    assert!(decode_vertex(content.clone().into()).is_ok());
    for length in 1..content.len() {
        assert!(decode_vertex(content[..length].to_vec().into()).is_err(), "cut to {length} bytes");
    }
    assert!(decode_vertex([&content[..], &[0]].concat().into()).is_err(), "a byte too many");
}

#[tokio::test]
async fn wrong_frames_are_refused() {
    let over = |kind: Kind| [&(kind.length_max() as u32 + 1).to_le_bytes()[..], &[kind as u8]].concat();
    // Nothing follows the header: a reader that allocated and waited for the rest would report the end of the stream instead.
    for (kind, _) in messages(&World::new(4)) {
        assert_eq!(reason(&over(kind)).await, "oversized", "{kind:?}");
    }
    assert_eq!(reason(&[0xff; 5]).await, "oversized");
    assert_eq!(reason(&[1, 0, 0, 0, 8]).await, "unknown_kind");
    assert_eq!(reason(&[1, 0, 0, 0]).await, "lost");
    assert_eq!(reason(&[9, 0, 0, 0, 1, 2, 3]).await, "lost");
    assert_eq!(reason(&[0, 0, 0, 0]).await, "lost");
}

async fn reason(bytes: &[u8]) -> &'static str {
    match read_content(&mut Cursor::new(bytes), |_| Ok(())).await.unwrap_err() {
        End::Breach { reason, .. } => reason,
        End::Lost(_) => "lost",
        other => panic!("{other}"),
    }
}
