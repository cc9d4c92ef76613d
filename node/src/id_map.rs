//! Maps by transaction id or address, for the hot path.
//!
//! Their keys are 32 bytes of which an outsider may have chosen many, so the hash depends on a secret of this process; but as they are
//! digests or public keys and nothing else, folding two words of them suffices, and the general hash of the standard library,
//! several times as slow, is not needed.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};

/// A map by id or address.
pub type IdMap<K, V> = HashMap<K, V, IdHash>;

/// A set of ids or addresses.
pub type IdSet<K> = HashSet<K, IdHash>;

/// Makes hashers with a secret of its own.
#[derive(Clone, Debug)]
pub struct IdHash {
    secret: [u64; 2],
}

/// Hashes one key.
#[derive(Clone, Debug)]
pub struct IdHasher {
    secret: [u64; 2],
    hash: u64,
}

impl Default for IdHash {
    fn default() -> IdHash {
        // Each of these is seeded by the operating system's entropy.
        IdHash { secret: [0u64, 1].map(|number| RandomState::new().hash_one(number)) }
    }
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { secret: self.secret, hash: 0 }
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(16) {
            let mut padded = [0; 16];
            padded[..pair.len()].copy_from_slice(pair);
            let words = u128::from_le_bytes(padded);
            let (low, high) = (words as u64, (words >> 64) as u64);
            let product = u128::from(low ^ self.secret[0]).wrapping_mul(u128::from(high ^ self.secret[1] ^ self.hash));
            self.hash = (product as u64) ^ ((product >> 64) as u64);
        }
    }

    fn write_usize(&mut self, _length: usize) {
        // The length of the key, which is always the same.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use farthing_core::hash::Digest;
    use std::collections::BTreeSet;

    #[test]
    fn hashes_depend_on_every_byte_and_on_the_secret() {
        let (build, other) = (IdHash::default(), IdHash::default());
        let mut seen = BTreeSet::new();
        for byte in 0..32 {
            for value in 0..=255 {
                let mut key = Digest::ZERO;
                key.0[byte] = value;
                seen.insert(build.hash_one(key));
                assert_ne!(build.hash_one(key), other.hash_one(key));
            }
        }
        // Digest::ZERO came 32 times.
        assert_eq!(seen.len(), 32 * 255 + 1);
    }

    #[test]
    fn similar_keys_spread_over_the_low_and_the_high_bits() {
        let build = IdHash::default();
        let hash =
            |number: u64| build.hash_one(Digest([number.to_le_bytes(); 4].concat().try_into().expect("32 bytes")));
        let (mut low, mut high) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..1_000 {
            low.insert(hash(number) & 0xffff);
            high.insert(hash(number) >> 48);
        }
        // Of 1,000 random numbers below 65,536 about 992 are distinct.
        assert!(low.len() > 950 && high.len() > 950, "{} {}", low.len(), high.len());
    }
}
