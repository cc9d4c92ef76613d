//! The index from addresses to slots: the one hash map of the ledger, for look-ups only.

use crate::address::Address;

/// Which slot an address has. Nothing can iterate over it, so that the order of a hash map cannot leak into a result.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressIndex {
    #[expect(clippy::disallowed_types, reason = "look-ups only, and private to this file")]
    slots: std::collections::HashMap<Address, u32>,
}

impl AddressIndex {
    /// The slot of an address.
    pub(crate) fn get(&self, address: &Address) -> Option<u32> {
        self.slots.get(address).copied()
    }

    /// Adds an address. Returns whether it is new; if not, nothing changes.
    #[must_use]
    pub(crate) fn insert(&mut self, address: Address, slot: u32) -> bool {
        match self.slots.entry(address) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(slot);
                true
            }
            std::collections::hash_map::Entry::Occupied(_) => false,
        }
    }

    /// How many addresses there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
