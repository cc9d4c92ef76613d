//! What leaves a full mempool for a transaction.

use super::lines::BUCKETS;
use super::{EntryKey, Mempool, SenderKey, bucket_of};
use farthing_core::admission::Standing;
use std::collections::BTreeMap;

/// The choice of what has to leave. Nothing does before it is known that it is enough.
pub(super) struct Eviction<'a> {
    mempool: &'a Mempool,
    evicted: Vec<EntryKey>,
    /// How many transactions and encoded bytes must leave still.
    transactions: usize,
    bytes: usize,
    /// For each bucket, how many would be waiting.
    waiting: [usize; BUCKETS],
}

impl<'a> Eviction<'a> {
    /// To make room for so many transactions and encoded bytes.
    pub(super) fn new(mempool: &'a Mempool, transactions: usize, bytes: usize) -> Eviction<'a> {
        let waiting = std::array::from_fn(|bucket| mempool.lines.waiting(bucket));
        Eviction { mempool, evicted: Vec::new(), transactions, bytes, waiting }
    }

    /// What leaves, in this order; `None` if it is not enough.
    pub(super) fn evicted(self) -> Option<Vec<EntryKey>> {
        self.has_room().then_some(self.evicted)
    }

    /// For a transaction of Root: of its own delegated keys' the newest.
    pub(super) fn evict_own_keys(&mut self, sender: SenderKey) {
        let mempool = self.mempool;
        for entry in mempool.senders[sender].queued_by_keys() {
            if self.has_room() {
                return;
            }
            self.evict(entry);
        }
    }

    /// As the documentation of [`super`] says.
    pub(super) fn evict_others(&mut self, standing: &Standing) {
        let (mempool, own) = (self.mempool, bucket_of(standing));
        let mut lines = BTreeMap::new();
        // Each round takes the next of one of finitely many lines.
        while !self.has_room() {
            let fullest = (0..BUCKETS).max_by_key(|bucket| (self.waiting[*bucket], *bucket == own));
            let fullest = fullest.expect("there are buckets");
            let line = lines.entry(fullest).or_insert_with(|| last_first(mempool, fullest));
            let Some((executed, entry)) = line.next() else { return };
            if fullest == own && mempool.executed_at(standing.slot) >= executed {
                return;
            }
            if !self.evicted.contains(&entry) {
                self.evict(entry);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.transactions == 0 && self.bytes == 0
    }

    /// Evicts a queued transaction, or as long as it is enough, the one that it holds back.
    fn evict(&mut self, key: EntryKey) {
        let entry = &self.mempool.entries[key];
        let sender = &self.mempool.senders[entry.sender];
        if let Some(second) = sender.held_back_by(entry.transaction.transaction()) {
            self.count(second);
            if self.has_room() {
                return;
            }
        }
        self.count(key);
        self.waiting[sender.bucket] -= 1;
    }

    fn count(&mut self, key: EntryKey) {
        self.transactions = self.transactions.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(self.mempool.entries[key].encoded.len());
        self.evicted.push(key);
    }
}

/// What the senders of a bucket have queued, the last of the last sender first, each with when the sender was executed last.
fn last_first(mempool: &Mempool, bucket: usize) -> impl Iterator<Item = (u32, EntryKey)> {
    let line = mempool.lines.last_first(bucket);
    line.flat_map(|(executed, sender)| mempool.senders[sender].last_first().map(move |entry| (executed, entry)))
}
