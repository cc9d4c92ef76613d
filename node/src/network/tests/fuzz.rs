//! Hostile bytes on the streams between nodes: see `tests/fuzz/src/lib.rs`.

use super::super::frame::{Frame, Kind, decode_snapshot, decode_vertex};
use super::super::receive::read_content;
use super::*;
use crate::snapshot::{ChunkId, SnapshotMessage};
use farthing_consensus::vertex::Vertex;
use farthing_core::codec;
use farthing_core::hash::Digest;
use farthing_core::state_chunk::{SlotBytes, StateChunk};
use farthing_fuzz::Target;
use futures::io::Cursor;

fn bytes(frame: &Frame) -> Vec<u8> {
    [&frame.head[..], &frame.payload].concat()
}

/// What comes out of a frame, which must be all that stood in it.
fn decode(kind: Kind, content: bytes::Bytes) -> Result<(), String> {
    let encoded = if kind == Kind::Hello {
        return if content.len() == 33 { Ok(()) } else { Err("a hello of another length".into()) };
    } else if kind == Kind::Vertex {
        let vertex: Vertex = decode_vertex(content.clone()).map_err(|error| error.to_string())?;
        Frame::encode(Outbound::Message(Message::Vertex(vertex)))
    } else if let Some(message) = decode_snapshot(kind, &content) {
        Frame::encode(Outbound::Snapshot(message.map_err(|error| error.to_string())?))
    } else {
        let message: Message =
            codec::decode(&content, kind.length_max()).map_err(|error: codec::CodecError| error.to_string())?;
        Frame::encode(Outbound::Message(message))
    };
    assert_eq!((encoded.kind, &bytes(&encoded)[4..]), (kind, &content[..]), "it has another encoding");
    Ok(())
}

/// Every kind of message, alone and all after one another, with heartbeats between them.
#[test]
fn streams_of_frames() {
    let world = World::new(4);
    let mut seeds: Vec<Vec<u8>> = super::frames::messages(&world)
        .into_iter()
        .map(|(_, message)| bytes(&Frame::encode(Outbound::Message(message))))
        .collect();
    let id = ChunkId { state_root: Digest([3; 32]), number: 2 };
    let chunk = StateChunk { slots: vec![SlotBytes(vec![7; 40]); 3] };
    let snapshots = [
        SnapshotMessage::FetchManifest,
        SnapshotMessage::Manifest(None),
        SnapshotMessage::FetchChunk(id),
        SnapshotMessage::Chunk(id, None),
        SnapshotMessage::Chunk(id, Some(chunk)),
    ];
    seeds.extend(snapshots.map(|message| bytes(&Frame::encode(Outbound::Snapshot(message)))));
    seeds.push(bytes(&Frame::hello(world.committee.chain())));
    seeds.push(seeds.join(&[0; 8][..]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    Target::bytes("frames", seeds, |input| {
        let mut stream = Cursor::new(input);
        while stream.position() < input.len() as u64 {
            let read = runtime.block_on(read_content(&mut stream, |_| Ok(())));
            let (kind, content) = read.map_err(|end| end.to_string())?;
            assert!(content.len() <= kind.length_max());
            decode(kind, content)?;
        }
        Ok(())
    })
    .check();
}
