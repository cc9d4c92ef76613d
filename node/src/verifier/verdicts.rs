//! Signatures that were found good, so that none is checked twice: a transaction comes from a client or a full node, and again in a
//! vertex, or in two. Remembered under id *and* signature: whoever publishes somebody's transaction with another signature is checked
//! anew. Bad ones are not remembered.

use crate::id_map::IdMap;
use farthing_core::keys::Signature;
use farthing_core::transaction::{TransactionId, VerifiedTransaction};
use farthing_core::verification::UnverifiedTransaction;
use std::sync::{Mutex, MutexGuard};

/// Transactions remembered at least, once there were so many; twice as many at most. So many just fill a table of 2^16 places, of 97
/// bytes each: 13 MB in all.
pub(super) const VERDICTS_MIN: usize = 7 << 13;

/// The verdicts, in two generations: the older is forgotten when the younger is full.
pub(super) struct Verdicts {
    generation_max: usize,
    generations: Mutex<Generations>,
}

/// The signatures that were found good, by transaction: of several good ones of one, the last.
#[derive(Default)]
struct Generations {
    young: IdMap<TransactionId, Signature>,
    old: IdMap<TransactionId, Signature>,
}

impl Verdicts {
    /// None yet, with generations of `generation_max` transactions.
    pub(super) fn new(generation_max: usize) -> Verdicts {
        Verdicts { generation_max, generations: Mutex::default() }
    }

    /// Marks those as known whose signature was found good.
    pub(super) fn mark_known(&self, transactions: &mut [UnverifiedTransaction]) {
        let generations = self.lock();
        let is_in = |generation: &IdMap<_, _>, transaction: &UnverifiedTransaction| {
            generation.get(&transaction.id()) == Some(transaction.signature())
        };
        for transaction in transactions {
            if is_in(&generations.young, transaction) || is_in(&generations.old, transaction) {
                transaction.set_known();
            }
        }
    }

    /// Remembers good signatures.
    pub(super) fn remember<'a>(&self, transactions: impl IntoIterator<Item = &'a VerifiedTransaction>) {
        let mut generations = self.lock();
        for transaction in transactions {
            let Generations { young, old } = &mut *generations;
            if young.len() == self.generation_max {
                // The younger one then begins in memory that is there already.
                std::mem::swap(young, old);
                young.clear();
            }
            young.insert(transaction.id(), transaction.signed().signature);
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
