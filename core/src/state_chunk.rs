//! The state in chunks, for handing it from one node to another piece by piece.
//!
//! A chunk is a run of consecutive slots that are a whole subtree of the state's Merkle tree ([`crate::merkle`]): 2^level of them,
//! fewer in the last one. The tops of all chunks fold to the state root, so a receiver who knows a certified root can check the
//! list of tops before it fetches anything, and each chunk by itself as it comes, from whomever.

use crate::codec;
use crate::hash::Digest;
use crate::merkle::{self, MerkleTree};
use crate::state::SLOT_BYTES_MAX;
use crate::state_tree::state_root;
use borsh::{BorshDeserialize, BorshSerialize};

/// The usual level of chunks: 2,048 slots each, so that a chunk full of the largest accounts is still a message of a few megabytes.
pub const CHUNK_LEVEL: u32 = 11;

/// The most bytes of an encoded chunk of [`CHUNK_LEVEL`].
pub const CHUNK_BYTES_MAX: usize = 4 + (1 << CHUNK_LEVEL) * (4 + SLOT_BYTES_MAX);

/// Slots are numbered in 32 bits, so there are at most so many.
const SLOTS_MAX: u64 = 1 << 32;

/// The contents of consecutive slots: the encodings of their values, in order. Not checked until its top is.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct StateChunk {
    /// At most 2^[`CHUNK_LEVEL`] encodings of at most [`SLOT_BYTES_MAX`] bytes.
    #[borsh(deserialize_with = "read_slots")]
    pub slots: Vec<SlotBytes>,
}

/// The encoding of a slot's value.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct SlotBytes(#[borsh(deserialize_with = "read_slot")] pub Vec<u8>);

/// How a state of so many slots is cut into chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkLayout {
    slot_count: u64,
    level: u32,
}

impl ChunkLayout {
    /// Chunks of 2^`level` slots. `None` if there are no slots or more than can be numbered, or the level is above [`CHUNK_LEVEL`].
    pub fn new(slot_count: u64, level: u32) -> Option<ChunkLayout> {
        let possible = (1..=SLOTS_MAX).contains(&slot_count) && level <= CHUNK_LEVEL;
        possible.then_some(ChunkLayout { slot_count, level })
    }

    /// How many slots the state has.
    pub fn slot_count(&self) -> u64 {
        self.slot_count
    }

    /// How many chunks there are.
    pub fn chunk_count(&self) -> u64 {
        self.slot_count.div_ceil(1 << self.level)
    }

    /// The first slot of a chunk and how many it has; `None` if there is no such chunk.
    pub fn slots_of(&self, chunk: u32) -> Option<(u32, usize)> {
        let first = u64::from(chunk) << self.level;
        let count = self.slot_count.checked_sub(first)?.min(1 << self.level);
        (count > 0).then_some((first as u32, count as usize))
    }

    /// The top of a chunk with this content; `None` if there is no such chunk, or it has another number of slots.
    pub fn top_of(&self, number: u32, chunk: &StateChunk) -> Option<Digest> {
        let (_, count) = self.slots_of(number)?;
        let leaves: Vec<_> = chunk.slots.iter().map(|slot| merkle::leaf(&slot.0)).collect();
        // A state of less than one chunk has its top below the chunks' level.
        let level = self.level.min(merkle::depth(self.slot_count) as u32);
        (leaves.len() == count).then(|| merkle::subtree_top(leaves, level))
    }

    /// The state root that chunks with these tops make; `None` if there are more or fewer chunks.
    pub fn state_root(&self, tops: &[Digest]) -> Option<Digest> {
        let complete = tops.len() as u64 == self.chunk_count();
        complete.then(|| state_root(self.slot_count, &MerkleTree::new(tops.to_vec()).top()))
    }
}

fn read_slots<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<SlotBytes>> {
    codec::bounded_vec(reader, 1, 1 << CHUNK_LEVEL)
}

fn read_slot<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<u8>> {
    codec::bounded_vec(reader, 0, SLOT_BYTES_MAX)
}
