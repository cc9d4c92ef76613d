//! Public keys that are decoded already, of accounts that sign often.
//!
//! Decoding a key costs about half of what else a signature costs in a large batch. The cache is bounded: sets of [`WAYS`] keys, in
//! which a new key takes the place of the oldest. Which set a key belongs to depends on a secret of this process, so that nobody can
//! choose keys that push each other, or another's, out. A flood of new keys still can; then keys are decoded as without a cache.

use crate::id_map::IdHash;
use farthing_core::keys::PublicKey;
use farthing_core::signature::{DecodedKey, SignatureError};
use std::hash::BuildHasher as _;
use std::sync::RwLock;

/// How many keys a node keeps: 210 MB of them, once a million accounts have signed.
pub const KEYS_MAX: usize = 1 << 20;

/// How many keys a set holds.
const WAYS: usize = 8;

/// A cache that several threads use at once. One lock for all of it, taken twice a batch: to take and let go a lock for each key would keep
/// the processor from waiting for many of them at a time.
pub struct KeyCache {
    sets: RwLock<Box<[Set]>>,
    secret: IdHash,
}

/// The keys of a set, and a part of each one's hash, so that a look-up touches one cache line besides the key it finds.
#[derive(Default)]
struct Set {
    tags: [u32; WAYS],
    keys: Vec<DecodedKey>,
    oldest: usize,
}

impl KeyCache {
    /// A cache of at most `keys_max` keys, a positive multiple of [`WAYS`]. It takes memory as it fills.
    pub fn new(keys_max: usize) -> KeyCache {
        assert!(keys_max > 0 && keys_max.is_multiple_of(WAYS));
        let sets = (0..keys_max / WAYS).map(|_| Set::default()).collect();
        KeyCache { sets: RwLock::new(sets), secret: IdHash::default() }
    }

    /// The decoded keys; the results stand in the same order. About bad ones nothing is kept.
    pub fn decode_all(&self, keys: &[PublicKey]) -> Vec<Result<DecodedKey, SignatureError>> {
        let known = self.known(keys);
        let mut new = Vec::new();
        let decoded = keys.iter().zip(known).map(|(key, known)| match known {
            Some(known) => Ok(known),
            None => DecodedKey::decode(key).inspect(|decoded| new.push(*decoded)),
        });
        let decoded = decoded.collect();
        self.put(&new);
        decoded
    }

    fn known(&self, keys: &[PublicKey]) -> Vec<Option<DecodedKey>> {
        let sets = self.sets.read().expect("nothing panics while it holds this lock");
        let known = |key: &PublicKey| {
            let (set, tag) = self.place(key, sets.len());
            sets[set].get(tag, key)
        };
        keys.iter().map(known).collect()
    }

    /// Adds keys. Another thread may have added one meanwhile, and one may stand twice among them.
    fn put(&self, keys: &[DecodedKey]) {
        if keys.is_empty() {
            return;
        }
        let mut sets = self.sets.write().expect("nothing panics while it holds this lock");
        for key in keys {
            let (set, tag) = self.place(key.key(), sets.len());
            if sets[set].get(tag, key.key()).is_none() {
                sets[set].put(tag, *key);
            }
        }
    }

    /// The set that a key belongs to, of so many, and its tag there.
    fn place(&self, key: &PublicKey, sets: usize) -> (usize, u32) {
        let hash = self.secret.hash_one(key.0);
        (hash as usize % sets, (hash >> 32) as u32)
    }
}

impl Set {
    fn get(&self, tag: u32, key: &PublicKey) -> Option<DecodedKey> {
        let mut candidates = self.keys.iter().zip(self.tags).filter(|(_, known)| *known == tag);
        candidates.find(|(known, _)| known.key() == key).map(|(known, _)| *known)
    }

    fn put(&mut self, tag: u32, key: DecodedKey) {
        if self.keys.len() < WAYS {
            self.tags[self.keys.len()] = tag;
            self.keys.push(key);
        } else {
            (self.tags[self.oldest], self.keys[self.oldest]) = (tag, key);
            self.oldest = (self.oldest + 1) % WAYS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use farthing_core::hash::Digest;
    use farthing_core::keys::SecretKey;

    fn key(number: u64) -> PublicKey {
        SecretKey::from_seed(Digest::of_bytes(&number.to_le_bytes()).as_bytes()).public_key()
    }

    fn holds(cache: &KeyCache, key: &PublicKey) -> bool {
        cache.sets.read().unwrap().iter().any(|set| set.keys.iter().any(|known| known.key() == key))
    }

    fn count(cache: &KeyCache) -> usize {
        cache.sets.read().unwrap().iter().map(|set| set.keys.len()).sum()
    }

    #[test]
    fn a_key_is_decoded_once_as_the_rule_says() {
        let cache = KeyCache::new(64);
        for _ in 0..3 {
            assert_eq!(cache.decode_all(&[key(1), key(1)]), [DecodedKey::decode(&key(1)), DecodedKey::decode(&key(1))]);
            assert_eq!(count(&cache), 1);
        }
        // The identity, which is of small order.
        let mut bad = PublicKey([0; 32]);
        bad.0[0] = 1;
        assert_eq!(cache.decode_all(&[bad, key(1)]), [Err(SignatureError::BadKey), DecodedKey::decode(&key(1))]);
        assert_eq!(count(&cache), 1);
    }

    #[test]
    fn the_cache_is_bounded_and_the_oldest_go_first() {
        let cache = KeyCache::new(2 * WAYS);
        for number in 0..200 {
            cache.decode_all(&[key(number)])[0].expect("a key");
            assert!(count(&cache) <= 2 * WAYS);
            assert!(holds(&cache, &key(number)), "the newest is there");
        }
        assert!(!holds(&cache, &key(0)));
    }
}
