//! The Merkle tree over the state's slots, kept at the state of the last root.
//!
//! `state root = H("state-root/v2" ‖ slot count ‖ top)` (see [`crate::merkle`]). The tree is updated in one batch a root, so that
//! upper nodes are shared by many changes; between two roots it stays as it was, so that objects can be proven against the
//! root that was published.
//!
//! Leaves are not kept: the lowest nodes in memory are those over pairs of slots. When a slot changes, the leaf of the other one is hashed
//! again from its record, which lies beside it: 0.2 µs more a changed slot, for 32 bytes of each.

use crate::hash::Digest;
use crate::merkle::{self, MerkleTree, MerkleUpdate, NOTHING};
use crate::object::SlotView;
use crate::state::State;

/// The tree over all slots.
#[derive(Clone, Debug)]
pub struct StateTree {
    /// Its leaves are the nodes over pairs of slots; a state of one slot has that one's leaf there.
    pairs: MerkleTree,
    slot_count: u64,
}

/// Hashes leaves, with one buffer for all encodings.
#[derive(Default)]
struct Hasher {
    buffer: Vec<u8>,
}

/// The state root over this many slots with this top node.
pub fn state_root(slot_count: u64, top: &Digest) -> Digest {
    merkle::root("state-root/v2", slot_count, top)
}

impl StateTree {
    /// The tree of a state, built from nothing.
    pub fn new(state: &State) -> StateTree {
        let (slot_count, mut hasher) = (state.slot_count(), Hasher::default());
        let pairs = 0..slot_count.div_ceil(2) as usize;
        StateTree { pairs: MerkleTree::new(pairs.map(|pair| hasher.pair(state, pair)).collect()), slot_count }
    }

    /// The root of the state that the tree stands at.
    pub fn root(&self) -> Digest {
        state_root(self.slot_count, &self.pairs.top())
    }

    /// How many slots the tree covers.
    pub fn slot_count(&self) -> u64 {
        self.slot_count
    }

    /// The path of a slot at the root that the tree stands at, which must be the last one of `state`.
    ///
    /// # Panics
    /// If the tree has no such slot.
    pub(crate) fn path(&self, state: &State, slot: u32) -> Vec<Digest> {
        assert!(u64::from(slot) < self.slot_count, "slot {slot} of {}", self.slot_count);
        if self.slot_count == 1 {
            return Vec::new();
        }
        let sibling = slot ^ 1;
        let is_there = u64::from(sibling) < self.slot_count;
        let leaf = if is_there { Hasher::default().leaf(&state.view_at_last_root(sibling)) } else { NOTHING };
        [leaf].into_iter().chain(self.pairs.path(u64::from(slot / 2))).collect()
    }

    /// The root of the present state, while the tree stays where it is.
    pub fn root_of(&self, state: &State) -> Digest {
        state_root(state.slot_count(), &self.pairs.top_after(&self.plan(state)))
    }

    /// Moves the tree, and what the state calls its last root, to the present state.
    pub fn settle(&mut self, state: &mut State) {
        let update = self.plan(state);
        self.pairs.apply(update);
        self.slot_count = state.slot_count();
        state.settle();
        assert_eq!(self.pairs.count(), self.slot_count.div_ceil(2), "the tree and the state have different slots");
    }

    fn plan(&self, state: &State) -> MerkleUpdate {
        let (mut hasher, mut changes) = (Hasher::default(), Vec::with_capacity(state.changed_count() + 1));
        let mut pairs = state.changed().map(|slot| slot as usize / 2).peekable();
        while let Some(pair) = pairs.next() {
            // Both slots of it may have changed.
            let _ = pairs.next_if_eq(&pair);
            changes.push((pair, hasher.pair(state, pair)));
        }
        self.pairs.plan(changes)
    }
}

impl Hasher {
    fn leaf(&mut self, slot: &SlotView<'_>) -> Digest {
        slot.encode_into(&mut self.buffer);
        merkle::leaf(&self.buffer)
    }

    /// The node over slots `2 × pair` and `2 × pair + 1` of the present state.
    fn pair(&mut self, state: &State, pair: usize) -> Digest {
        let left = u32::try_from(2 * pair).expect("slots are numbered in 32 bits");
        let left_leaf = self.leaf(&state.view(left));
        match state.slot_count() {
            1 => left_leaf,
            count if u64::from(left) + 1 == count => merkle::node(&left_leaf, &NOTHING),
            _ => merkle::node(&left_leaf, &self.leaf(&state.view(left + 1))),
        }
    }
}
