//! The index from the names of objects to their slots: the one hash table of the ledger, for look-ups only.

use crate::address::Address;
use crate::keys::PublicKey;
use crate::transaction::TransactionId;
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// What an object in the state is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Name {
    /// An account, by its address.
    Account(Address),
    /// A hold, by the transaction that opened it.
    Hold(TransactionId),
    /// A delegated key, by its owner and itself.
    Key(Address, PublicKey),
}

/// Which slot an object has. It holds slots alone, about ten bytes an object: whoever asks says what name a slot's object has. Nothing
/// can iterate over it, so that its order, which differs from process to process, cannot leak into a result.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotIndex {
    slots: HashTable<u32>,
    /// Seeded at random, so that nobody can choose addresses that collide.
    hasher: RandomState,
}

impl SlotIndex {
    /// The slot of the object with this name; `is_named` says whether a slot's object has it.
    pub(crate) fn get(&self, name: &Name, is_named: impl Fn(u32) -> bool) -> Option<u32> {
        self.slots.find(self.hasher.hash_one(name), |slot| is_named(*slot)).copied()
    }

    /// Adds an object that has none with its name in the index; `name_of` gives the name of a slot that is in it.
    pub(crate) fn insert(&mut self, name: &Name, slot: u32, name_of: impl Fn(u32) -> Name) {
        let hasher = &self.hasher;
        self.slots.insert_unique(hasher.hash_one(name), slot, |slot| hasher.hash_one(name_of(*slot)));
    }

    /// Removes the object in a slot.
    ///
    /// # Panics
    /// If it is not there.
    pub(crate) fn remove(&mut self, name: &Name, slot: u32) {
        let entry = self.slots.find_entry(self.hasher.hash_one(name), |other| *other == slot);
        entry.unwrap_or_else(|_| panic!("slot {slot} is not in the index as {name:?}")).remove();
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
