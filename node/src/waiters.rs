//! Clients that wait for transactions to be settled or certified.

use crate::id_map::IdMap;
use crate::replica::{Settled, SettledBlock};
use crate::storage::TransactionPosition;
use farthing_core::block::{BlockHash, BlockHeader, DropReason, ResultCode};
use farthing_core::transaction::TransactionId;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Waiting clients at most; further ones are told at once that their transaction is pending.
const WAITERS_MAX: usize = 200_000;

/// If there is no room, one in so many looks for waiters that gave up: looking at all of them takes milliseconds.
const CLEAN_EVERY: usize = 1_000;

/// What became of a transaction.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// It is in a block.
    InBlock {
        /// Where.
        position: TransactionPosition,
        /// What became of it there.
        code: ResultCode,
        /// The block's header.
        header: Arc<BlockHeader>,
        /// The block's hash.
        block_hash: BlockHash,
        /// Whether the block is certified.
        certified: bool,
    },
    /// It was left out.
    Dropped(DropReason),
    /// It had to leave the full mempool for others.
    Evicted,
}

/// The waiting clients. Those that gave up are found out when their transaction is settled, or when room is needed.
#[derive(Default)]
pub struct Waiters {
    /// Looked up only; cleaned of those that gave up.
    by_id: IdMap<TransactionId, Waiting>,
    /// By the height that must be certified.
    by_height: BTreeMap<u64, Vec<(oneshot::Sender<Settlement>, Settlement)>>,
    count: usize,
    /// Those that found no room, modulo [`CLEAN_EVERY`].
    without_room: usize,
}

/// Those who wait for one transaction: nearly always one, which so needs no memory of its own.
struct Waiting {
    first: Waiter,
    others: Vec<Waiter>,
}

struct Waiter {
    certified: bool,
    reply: oneshot::Sender<Settlement>,
}

impl Waiters {
    /// Waits until the transaction is settled, with `certified` until its block is certified too. If there is no room, the reply
    /// is dropped.
    pub fn wait(&mut self, id: TransactionId, certified: bool, reply: oneshot::Sender<Settlement>) {
        if self.has_room() {
            self.count += 1;
            let waiter = Waiter { certified, reply };
            match self.by_id.entry(id) {
                Entry::Vacant(entry) => drop(entry.insert(Waiting { first: waiter, others: Vec::new() })),
                Entry::Occupied(mut entry) => entry.get_mut().others.push(waiter),
            }
        }
    }

    /// Waits until a block is certified, for the answer to a transaction that stands in it.
    pub fn wait_certified(&mut self, height: u64, settlement: Settlement, reply: oneshot::Sender<Settlement>) {
        if self.has_room() {
            self.count += 1;
            self.by_height.entry(height).or_default().push((reply, settlement));
        }
    }

    /// Answers those who wait for what was settled; `certified_height` tells which blocks are certified already.
    pub fn settle(&mut self, settled: &Settled, certified_height: u64) {
        if let Some(block) = &settled.block {
            self.settle_block(block, certified_height);
        }
        for (id, reason) in &settled.dropped {
            for waiter in self.take(id) {
                // A client that gave up does not want to know; the same below.
                let _ = waiter.reply.send(Settlement::Dropped(*reason));
            }
        }
        for id in &settled.evicted {
            for waiter in self.take(id) {
                let _ = waiter.reply.send(Settlement::Evicted);
            }
        }
    }

    /// Answers those who wait for certified blocks.
    pub fn certified_up_to(&mut self, height: u64) {
        let later = self.by_height.split_off(&(height + 1));
        for (reply, mut settlement) in std::mem::replace(&mut self.by_height, later).into_values().flatten() {
            self.count -= 1;
            if let Settlement::InBlock { certified, .. } = &mut settlement {
                *certified = true;
            }
            let _ = reply.send(settlement);
        }
    }

    fn settle_block(&mut self, block: &SettledBlock, certified_height: u64) {
        if self.by_id.is_empty() {
            return;
        }
        let header = Arc::new(block.header.clone());
        let height = header.height;
        for (position, (id, code)) in (0..).zip(&block.results) {
            for waiter in self.take(id) {
                let settlement = Settlement::InBlock {
                    position: TransactionPosition { height, position },
                    code: *code,
                    header: header.clone(),
                    block_hash: block.hash,
                    certified: height <= certified_height,
                };
                if waiter.certified && height > certified_height {
                    self.wait_certified(height, settlement, waiter.reply);
                } else {
                    let _ = waiter.reply.send(settlement);
                }
            }
        }
    }

    fn take(&mut self, id: &TransactionId) -> impl Iterator<Item = Waiter> + use<> {
        let waiting = self.by_id.remove(id);
        self.count -= waiting.as_ref().map_or(0, Waiting::len);
        waiting.into_iter().flat_map(|waiting| std::iter::once(waiting.first).chain(waiting.others))
    }

    fn has_room(&mut self) -> bool {
        if self.count < WAITERS_MAX {
            return true;
        }
        if self.without_room == 0 {
            self.by_id.retain(|_, waiting| waiting.clean());
            self.by_height.values_mut().for_each(|waiters| waiters.retain(|(reply, _)| !reply.is_closed()));
            self.count = self.by_id.values().map(Waiting::len).sum::<usize>()
                + self.by_height.values().map(Vec::len).sum::<usize>();
        }
        self.without_room = (self.without_room + 1) % CLEAN_EVERY;
        self.count < WAITERS_MAX
    }
}

impl Waiting {
    fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// Forgets those that gave up. False if nobody is left.
    fn clean(&mut self) -> bool {
        self.others.retain(|waiter| !waiter.reply.is_closed());
        if !self.first.reply.is_closed() {
            return true;
        }
        let next = self.others.pop();
        let is_left = next.is_some();
        next.into_iter().for_each(|next| self.first = next);
        is_left
    }
}

#[cfg(test)]
#[path = "waiters_tests.rs"]
mod tests;
