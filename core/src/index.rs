//! The index from the names of objects to their slots: the one hash table of the ledger, for look-ups only.
//!
//! It holds slots alone, about ten bytes an object: whoever asks says what name a slot's object has. Nothing can iterate over it,
//! so that its order, which differs from process to process, cannot leak into a result.
//!
//! Whoever opens accounts chooses their addresses, so nobody may be able to choose ones that collide. Names are hashed by multilinear
//! hashing over their 64-bit words with secret 128-bit multipliers of this process: any two different names collide, in all 64 bits or in any
//! of them, no more often than random numbers do (Lemire and Kaser, "Strongly universal string hashing is fast", 2014), however they were
//! chosen, as long as the choice does not follow from the secret. It does not: no hash and no order leaves the table, and what a collision
//! costs, tens of nanoseconds, is lost in the milliseconds until a transaction is final. The sum is linear, so that names at equal
//! distances could lie close together for an unlucky secret; a mixing that loses nothing ends that. All this takes a fraction of the
//! time of SipHash, several times in the way of each transfer.

use crate::address::Address;
use crate::keys::PublicKey;
use crate::transaction::TransactionId;
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// The table is cut into parts, each of which grows by itself: whole, it would hold up execution for seconds to grow beyond millions.
const PARTS: usize = 256;

/// The most 64-bit words of a name, and one more for its kind.
const WORDS_MAX: usize = 9;

/// What an object in the state is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    /// An account, by its address.
    Account(Address),
    /// A hold, by the transaction that opened it.
    Hold(TransactionId),
    /// A delegated key, by its owner and itself.
    Key(Address, PublicKey),
}

/// Which slot an object has.
#[derive(Clone, Debug)]
pub(crate) struct SlotIndex {
    parts: Box<[HashTable<u32>]>,
    hasher: NameHasher,
}

/// The secret: what is added in the end, and what each word is multiplied with.
#[derive(Clone)]
struct NameHasher {
    offset: u128,
    multipliers: [u128; WORDS_MAX],
}

impl SlotIndex {
    /// An empty index with room for so many objects.
    pub(crate) fn with_capacity(objects: usize) -> SlotIndex {
        let part = || HashTable::with_capacity(objects.div_ceil(PARTS));
        SlotIndex { parts: (0..PARTS).map(|_| part()).collect(), hasher: NameHasher::new() }
    }

    /// The slot of the object with this name; `is_named` says whether a slot's object has it.
    pub(crate) fn get(&self, name: &Name, is_named: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = self.hasher.hash(name);
        self.parts[part(hash)].find(hash, |slot| is_named(*slot)).copied()
    }

    /// Adds an object that has none with its name in the index; `name_of` gives the name of a slot that is in it.
    pub(crate) fn insert(&mut self, name: &Name, slot: u32, name_of: impl Fn(u32) -> Name) {
        let (hasher, hash) = (&self.hasher, self.hasher.hash(name));
        self.parts[part(hash)].insert_unique(hash, slot, |slot| hasher.hash(&name_of(*slot)));
    }

    /// Removes the object in a slot.
    ///
    /// # Panics
    /// If it is not there.
    pub(crate) fn remove(&mut self, name: &Name, slot: u32) {
        let hash = self.hasher.hash(name);
        let entry = self.parts[part(hash)].find_entry(hash, |other| *other == slot);
        entry.unwrap_or_else(|_| panic!("slot {slot} is not in the index as {name:?}")).remove();
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }
}

/// The part of the table for names with this hash. A table looks at the lowest bits, as many as it needs, and at the highest ones.
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

impl NameHasher {
    /// With a new secret.
    fn new() -> NameHasher {
        // SipHash with a random key of the operating system, as a generator.
        let random = RandomState::new();
        let number =
            |place: usize| u128::from(random.hash_one(2 * place)) << 64 | u128::from(random.hash_one(2 * place + 1));
        NameHasher { offset: number(WORDS_MAX), multipliers: std::array::from_fn(number) }
    }

    /// The upper half of `offset + kind × multiplier + word × multiplier + …` modulo 2^128, mixed.
    fn hash(&self, name: &Name) -> u64 {
        let (kind, first, second) = match name {
            Name::Account(address) => (0, &address.0.0, None),
            Name::Hold(id) => (1, &id.0, None),
            Name::Key(owner, key) => (2, &owner.0.0, Some(&key.0)),
        };
        let mut sum = self.offset.wrapping_add(self.multipliers[0].wrapping_mul(kind));
        let words = words(first).into_iter().chain(second.map(words).into_iter().flatten());
        for (word, multiplier) in words.zip(&self.multipliers[1..]) {
            sum = sum.wrapping_add(multiplier.wrapping_mul(u128::from(word)));
        }
        mixed((sum >> 64) as u64)
    }
}

impl std::fmt::Debug for NameHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NameHasher")
    }
}

/// Carries every bit into all others; one to one. The end of MurmurHash3.
fn mixed(mut number: u64) -> u64 {
    for multiplier in [0xFF51_AFD7_ED55_8CCD, 0xC4CE_B9FE_1A85_EC53] {
        number = (number ^ number >> 33).wrapping_mul(multiplier);
    }
    number ^ number >> 33
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|place| u64::from_le_bytes(words[place]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Digest;
    use std::collections::BTreeMap;

    /// Names that look alike: of each kind, and counting upwards in the first or in the last byte.
    fn names() -> Vec<Name> {
        let at = |place: usize, number: u8| {
            let mut bytes = [0; 32];
            bytes[place] = number;
            bytes
        };
        let bytes = [0, 7, 8, 31].into_iter().flat_map(|place| (1..=255).map(move |number| at(place, number)));
        let names = bytes.chain([[0; 32]]).flat_map(|bytes| {
            let key = PublicKey(bytes);
            let zero = PublicKey([0; 32]);
            let keys = [Name::Key(Address(key), zero), Name::Key(Address(key), key)];
            [Name::Account(Address(key)), Name::Hold(Digest(bytes))].into_iter().chain(keys)
        });
        let mut names: Vec<Name> = names.collect();
        names.pop();
        names
    }

    #[test]
    fn what_was_put_in_is_found_until_it_is_removed() {
        let names = names();
        let mut index = SlotIndex::with_capacity(0);
        let find = |index: &SlotIndex, name: &Name| index.get(name, |slot| names[slot as usize] == *name);
        for (slot, name) in (0..).zip(&names) {
            assert_eq!(find(&index, name), None);
            index.insert(name, slot, |slot| names[slot as usize]);
        }
        assert_eq!(index.len(), names.len());
        for (slot, name) in (0..).zip(&names) {
            assert_eq!(find(&index, name), Some(slot));
            index.remove(name, slot);
            assert_eq!(find(&index, name), None);
        }
        assert_eq!(index.len(), 0);
    }

    #[test]
    fn names_that_look_alike_collide_no_more_than_random_numbers() {
        let (names, hasher) = (names(), NameHasher::new());
        let parts = names.iter().map(|name| part(hasher.hash(name)));
        let lowest = names.iter().map(|name| hasher.hash(name) as usize % 256);
        let highest = names.iter().map(|name| (hasher.hash(name) >> 57) as usize);
        for places in [parts.collect::<Vec<_>>(), lowest.collect(), highest.collect()] {
            let mut counts = BTreeMap::<usize, usize>::new();
            places.iter().for_each(|place| *counts.entry(*place).or_default() += 1);
            // About 16 or 32 are expected in each place. The words differ by multiples of powers of two, which is what a weak hash
            // would map to few places.
            let largest = counts.values().max().copied().unwrap_or(0);
            assert!(largest < 160, "{largest} of {} names are in one place", names.len());
        }
        let mut hashes: Vec<u64> = names.iter().map(|name| hasher.hash(name)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), names.len(), "4,000 names do not collide in 64 bits");
    }

    #[test]
    fn every_index_has_a_secret_of_its_own() {
        let name = Name::Account(Address(PublicKey([1; 32])));
        assert_ne!(NameHasher::new().hash(&name), NameHasher::new().hash(&name));
    }
}
