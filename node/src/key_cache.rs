//! Public keys that are decoded already, of accounts that sign often.
//!
//! Decoding a key costs about half of what else a signature costs in a large batch. The cache is bounded: sets of [`WAYS`] keys, in
//! which a new key takes the place of the oldest. Which set a key belongs to depends on a secret of this process, so that nobody can
//! choose keys that push each other, or another's, out. A flood of new keys still can; then keys are decoded as without a cache.

use farthing_core::keys::PublicKey;
use farthing_core::signature::{DecodedKey, SignatureError};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard};

/// How many keys a node keeps: 210 MB of them, once a million accounts have signed.
pub const KEYS_MAX: usize = 1 << 20;

/// How many keys a set holds.
const WAYS: usize = 8;

/// A cache that several threads use at once.
pub struct KeyCache {
    sets: Box<[Mutex<Set>]>,
    secret: RandomState,
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
        KeyCache { sets: (0..keys_max / WAYS).map(|_| Mutex::default()).collect(), secret: RandomState::new() }
    }

    /// The decoded key.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`], about which nothing is kept.
    pub fn decode(&self, key: &PublicKey) -> Result<DecodedKey, SignatureError> {
        let hash = self.secret.hash_one(key.0);
        let tag = (hash >> 32) as u32;
        if let Some(known) = self.set(hash).get(tag, key) {
            return Ok(known);
        }
        let decoded = DecodedKey::decode(key)?;
        // Another thread may have decoded it meanwhile; the same key twice does no harm.
        self.set(hash).put(tag, decoded);
        Ok(decoded)
    }

    fn set(&self, hash: u64) -> MutexGuard<'_, Set> {
        let index = hash as usize % self.sets.len();
        self.sets[index].lock().expect("nothing panics while it holds this lock")
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
        cache.sets.iter().any(|set| set.lock().unwrap().keys.iter().any(|known| known.key() == key))
    }

    fn count(cache: &KeyCache) -> usize {
        cache.sets.iter().map(|set| set.lock().unwrap().keys.len()).sum()
    }

    #[test]
    fn a_key_is_decoded_once_as_the_rule_says() {
        let cache = KeyCache::new(64);
        for _ in 0..3 {
            assert_eq!(cache.decode(&key(1)), DecodedKey::decode(&key(1)));
            assert_eq!(count(&cache), 1);
        }
        // The identity, which is of small order.
        let mut bad = PublicKey([0; 32]);
        bad.0[0] = 1;
        assert_eq!(cache.decode(&bad), Err(SignatureError::BadKey));
        assert_eq!(count(&cache), 1);
    }

    #[test]
    fn the_cache_is_bounded_and_the_oldest_go_first() {
        let cache = KeyCache::new(2 * WAYS);
        for number in 0..200 {
            cache.decode(&key(number)).expect("a key");
            assert!(count(&cache) <= 2 * WAYS);
            assert!(holds(&cache, &key(number)), "the newest is there");
        }
        assert!(!holds(&cache, &key(0)));
    }
}
