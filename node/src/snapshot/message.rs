//! What nodes say to one another about snapshots.

use super::Manifest;
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::hash::Digest;
use farthing_core::state_chunk::StateChunk;

/// A request, or the answer to one. How they are framed is [`crate::network`]'s matter.
#[derive(Clone, PartialEq, Debug, BorshSerialize, BorshDeserialize)]
pub enum SnapshotMessage {
    /// Asks for the manifest of the newest snapshot. Answered with [`SnapshotMessage::Manifest`].
    FetchManifest,
    /// The manifest; none if no snapshot is ready: it may be soon.
    Manifest(Option<Box<Manifest>>),
    /// Asks for a chunk. Answered with [`SnapshotMessage::Chunk`].
    FetchChunk(ChunkId),
    /// The chunk; none if the sender does not have that snapshot any more.
    Chunk(ChunkId, Option<StateChunk>),
}

/// Which chunk of which snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct ChunkId {
    /// The root of the snapshot's state.
    pub state_root: Digest,
    /// The chunk's number.
    pub number: u32,
}

impl SnapshotMessage {
    /// Whether it answers a request.
    pub fn is_answer(&self) -> bool {
        matches!(self, SnapshotMessage::Manifest(_) | SnapshotMessage::Chunk(..))
    }
}
