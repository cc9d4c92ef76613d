//! Signatures that were found good, so that none is checked twice: a transaction comes from a client or a full node, and again in a
//! vertex, or in two. Remembered under id *and* signature ([`farthing_core::verification::verdict_key`]): whoever publishes somebody's
//! transaction with another signature is checked anew. Bad ones are not remembered.

use crate::id_map::IdSet;
use farthing_core::hash::Digest;
use std::sync::{Mutex, MutexGuard};

/// Verdicts remembered at least, once there were so many; twice as many at most, in some 10 MB.
pub(super) const VERDICTS_MIN: usize = 1 << 17;

/// The verdicts, in two generations: the older is forgotten when the younger is full.
pub(super) struct Verdicts {
    generation_max: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: IdSet<Digest>,
    old: IdSet<Digest>,
}

impl Verdicts {
    /// None yet, with generations of `generation_max` verdicts.
    pub(super) fn new(generation_max: usize) -> Verdicts {
        Verdicts { generation_max, generations: Mutex::default() }
    }

    /// For each key, whether its signature is known to be good.
    pub(super) fn are_known(&self, keys: &[Digest]) -> Vec<bool> {
        let generations = self.lock();
        keys.iter().map(|key| generations.young.contains(key) || generations.old.contains(key)).collect()
    }

    /// Remembers good signatures.
    pub(super) fn remember(&self, keys: impl IntoIterator<Item = Digest>) {
        let mut generations = self.lock();
        for key in keys {
            if generations.young.len() == self.generation_max {
                generations.old = std::mem::take(&mut generations.young);
            }
            generations.young.insert(key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let generations = self.lock();
        generations.young.len() + generations.old.len()
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().expect("nothing panics while it holds this lock")
    }
}
