//! What the mempool knows of one sender.

use super::Place;
use farthing_core::transaction::{Authority, Transaction, TransactionId};
use std::collections::{HashMap, VecDeque};

/// A sender of transactions that are in the mempool.
#[derive(Debug, Default)]
pub(super) struct Sender {
    pub(super) slot: u32,
    pub(super) bucket: usize,
    /// Orders senders that were executed at the same time: since when it waits for a turn.
    pub(super) arrival: u64,
    /// Where in the line of its bucket it stands, if it has anything queued.
    pub(super) place: Option<Place>,
    root: Kind,
    keys: Kind,
    /// Looked up only, never iterated.
    nonces: HashMap<(Authority, u64), Nonce>,
}

/// All that Root sent, or all that the delegated keys did.
#[derive(Debug, Default)]
struct Kind {
    /// What can be proposed, in order of arrival.
    queue: VecDeque<TransactionId>,
    /// All of these in the mempool, proposed and held back ones too.
    count: usize,
    /// What these will be charged of the account's bandwidth.
    charged_bytes: u64,
    /// What of that is for operations for Root alone.
    charged_for_limits: u64,
}

/// What is here with one nonce of an authority.
#[derive(Debug)]
struct Nonce {
    /// Queued or proposed.
    first: TransactionId,
    /// Held back until the first is settled.
    second: Option<TransactionId>,
}

impl Sender {
    /// Whether there are two with this transaction's nonce already.
    pub(super) fn has_two(&self, transaction: &Transaction) -> bool {
        self.nonces.get(&nonce(transaction)).is_some_and(|nonce| nonce.second.is_some())
    }

    /// How many there are of the same kind, Root's or its keys'.
    pub(super) fn count(&self, authority: &Authority) -> usize {
        if *authority == Authority::Root { self.root.count } else { self.keys.count }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.count + self.keys.count == 0
    }

    /// What waits before another transaction, in bytes that will be charged: all, or before an operation for Root alone only such.
    pub(super) fn charged_before(&self, transaction: &Transaction) -> u64 {
        match transaction.operation.is_for_root_alone() {
            true => self.root.charged_for_limits,
            false => self.root.charged_bytes + self.keys.charged_bytes,
        }
    }

    /// Adds a transaction, unless [`Sender::has_two`] with its nonce.
    pub(super) fn add(&mut self, id: TransactionId, transaction: &Transaction, charged_bytes: u64) {
        let kind = self.kind(&transaction.authority);
        kind.count += 1;
        kind.charged_bytes += charged_bytes;
        if transaction.operation.is_for_root_alone() {
            kind.charged_for_limits += charged_bytes;
        }
        match self.nonces.get_mut(&nonce(transaction)) {
            Some(nonce) => {
                assert!(nonce.second.is_none(), "no more than two");
                nonce.second = Some(id);
            }
            None => {
                self.nonces.insert(nonce(transaction), Nonce { first: id, second: None });
                self.queue(id, transaction);
            }
        }
    }

    /// Removes a transaction that is here. The one that it held back is queued.
    pub(super) fn remove(&mut self, id: &TransactionId, transaction: &Transaction, charged_bytes: u64) {
        let kind = self.kind(&transaction.authority);
        kind.count -= 1;
        kind.charged_bytes -= charged_bytes;
        if transaction.operation.is_for_root_alone() {
            kind.charged_for_limits -= charged_bytes;
        }
        // At most as many as one sender may have here. Left in, they would add up while other validators execute them.
        kind.queue.retain(|queued| queued != id);
        let name = nonce(transaction);
        let nonce = self.nonces.get_mut(&name).expect("the nonce of what is here");
        if nonce.second == Some(*id) {
            nonce.second = None;
        } else if let Some(second) = nonce.second.take() {
            nonce.first = second;
            self.queue(second, transaction);
        } else {
            self.nonces.remove(&name);
        }
    }

    /// Makes a transaction wait for its turn, behind others of its kind.
    pub(super) fn queue(&mut self, id: TransactionId, transaction: &Transaction) {
        self.kind(&transaction.authority).queue.push_back(id);
    }

    /// What it would have proposed next: Root's first, so that no delegated key delays its own end.
    pub(super) fn next(&self) -> Option<&TransactionId> {
        self.root.queue.front().or(self.keys.queue.front())
    }

    /// Takes [`Sender::next`] out of the queue.
    pub(super) fn pop_next(&mut self) {
        if self.root.queue.pop_front().is_none() {
            self.keys.queue.pop_front();
        }
    }

    /// How many could be proposed.
    pub(super) fn waiting(&self) -> usize {
        self.root.queue.len() + self.keys.queue.len()
    }

    /// What could be proposed, the last first.
    pub(super) fn last_first(&self) -> impl Iterator<Item = &TransactionId> {
        self.queued_by_keys().chain(self.root.queue.iter().rev())
    }

    /// What of the delegated keys could be proposed, the last first.
    pub(super) fn queued_by_keys(&self) -> impl Iterator<Item = &TransactionId> {
        self.keys.queue.iter().rev()
    }

    /// What this one, which could be proposed, holds back.
    pub(super) fn held_back_by(&self, transaction: &Transaction) -> Option<TransactionId> {
        self.nonces.get(&nonce(transaction)).and_then(|nonce| nonce.second)
    }

    fn kind(&mut self, authority: &Authority) -> &mut Kind {
        if *authority == Authority::Root { &mut self.root } else { &mut self.keys }
    }
}

fn nonce(transaction: &Transaction) -> (Authority, u64) {
    (transaction.authority, transaction.nonce)
}
