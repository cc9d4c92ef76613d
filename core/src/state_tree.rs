//! The Merkle tree over the state's slots, kept at the state of the last root.
//!
//! `state root = H("state-root/v2" ‖ slot count ‖ top)` (see [`crate::merkle`]). The tree is updated in one batch a root, so that
//! upper nodes are shared by many changes; between two roots it stays as it was, so that objects can be proven against the
//! root that was published.

use crate::hash::Digest;
use crate::merkle::{self, MerkleTree, MerkleUpdate};
use crate::state::State;

/// The tree over all slots.
#[derive(Clone, Debug)]
pub struct StateTree {
    tree: MerkleTree,
}

/// The state root over this many slots with this top node.
pub fn state_root(slot_count: u64, top: &Digest) -> Digest {
    merkle::root("state-root/v2", slot_count, top)
}

impl StateTree {
    /// The tree of a state, built from nothing.
    pub fn new(state: &State) -> StateTree {
        let slots = 0..u32::try_from(state.slot_count()).expect("slots are numbered in 32 bits");
        StateTree { tree: MerkleTree::new(slots.map(|slot| merkle::leaf(&state.record(slot).bytes)).collect()) }
    }

    /// The root of the state that the tree stands at.
    pub fn root(&self) -> Digest {
        state_root(self.tree.count(), &self.tree.top())
    }

    /// How many slots the tree covers.
    pub fn slot_count(&self) -> u64 {
        self.tree.count()
    }

    /// The path of a slot.
    ///
    /// # Panics
    /// If the tree has no such slot.
    pub fn path(&self, slot: u32) -> Vec<Digest> {
        self.tree.path(u64::from(slot))
    }

    /// The root of the present state, while the tree stays where it is.
    pub fn root_of(&self, state: &State) -> Digest {
        let update = self.plan(state);
        state_root(self.tree.count_after(&update), &self.tree.top_after(&update))
    }

    /// Moves the tree, and what the state calls its last root, to the present state.
    pub fn settle(&mut self, state: &mut State) {
        let update = self.plan(state);
        self.tree.apply(update);
        state.settle();
        assert_eq!(self.tree.count(), state.slot_count(), "the tree and the state have different slots");
    }

    fn plan(&self, state: &State) -> MerkleUpdate {
        let leaf = |slot: u32| (slot as usize, merkle::leaf(&state.record(slot).bytes));
        self.tree.plan(state.changed().into_iter().map(leaf).collect())
    }
}
