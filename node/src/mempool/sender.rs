//! What the mempool knows of one sender.

use super::EntryKey;
use super::lines::Stand;
use farthing_core::address::Address;
use farthing_core::transaction::{Authority, Transaction};
use std::collections::VecDeque;

/// A sender of transactions that are in the mempool.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) address: Address,
    pub(super) slot: u32,
    pub(super) bucket: usize,
    /// Orders senders that were executed at the same time: since when it waits for a turn.
    pub(super) arrival: u64,
    /// Where it stands, if it has anything queued.
    pub(super) stand: Option<Stand>,
    root: Kind,
    keys: Kind,
    /// Ascending by authority and number. Few: nearly all senders have one or two here, and none more than
    /// [`super::PER_SENDER_MAX`] of a kind.
    nonces: Vec<Nonce>,
}

/// All that Root sent, or all that the delegated keys did.
#[derive(Debug, Default)]
struct Kind {
    /// What can be proposed, in order of arrival.
    queue: VecDeque<EntryKey>,
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
    name: (Authority, u64),
    /// Queued or proposed.
    first: EntryKey,
    /// Held back until the first is settled.
    second: Option<EntryKey>,
}

impl Sender {
    /// One that has nothing here yet.
    pub(super) fn new(address: Address) -> Sender {
        let (root, keys) = (Kind::default(), Kind::default());
        Sender { address, slot: 0, bucket: 0, arrival: 0, stand: None, root, keys, nonces: Vec::new() }
    }

    /// Whether there are two with this transaction's nonce already.
    pub(super) fn has_two(&self, transaction: &Transaction) -> bool {
        self.find(transaction).is_ok_and(|place| self.nonces[place].second.is_some())
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
    pub(super) fn add(&mut self, entry: EntryKey, transaction: &Transaction, charged_bytes: u64) {
        let kind = self.kind(&transaction.authority);
        kind.count += 1;
        kind.charged_bytes += charged_bytes;
        if transaction.operation.is_for_root_alone() {
            kind.charged_for_limits += charged_bytes;
        }
        match self.find(transaction) {
            Ok(place) => {
                let replaced = self.nonces[place].second.replace(entry);
                assert!(replaced.is_none(), "no more than two");
            }
            Err(place) => {
                self.nonces.insert(place, Nonce { name: nonce(transaction), first: entry, second: None });
                self.queue(entry, transaction);
            }
        }
    }

    /// Removes a transaction that is here. The one that it held back is queued.
    pub(super) fn remove(&mut self, entry: EntryKey, transaction: &Transaction, charged_bytes: u64) {
        let kind = self.kind(&transaction.authority);
        kind.count -= 1;
        kind.charged_bytes -= charged_bytes;
        if transaction.operation.is_for_root_alone() {
            kind.charged_for_limits -= charged_bytes;
        }
        // At most as many as one sender may have here. Left in, they would add up while other validators execute them.
        kind.queue.retain(|queued| *queued != entry);
        let place = self.find(transaction).expect("the nonce of what is here");
        let nonce = &mut self.nonces[place];
        if nonce.second == Some(entry) {
            nonce.second = None;
        } else if let Some(second) = nonce.second.take() {
            nonce.first = second;
            self.queue(second, transaction);
        } else {
            self.nonces.remove(place);
        }
    }

    /// Makes a transaction wait for its turn, behind others of its kind.
    pub(super) fn queue(&mut self, entry: EntryKey, transaction: &Transaction) {
        self.kind(&transaction.authority).queue.push_back(entry);
    }

    /// What it would have proposed next: Root's first, so that no delegated key delays its own end.
    pub(super) fn next(&self) -> Option<EntryKey> {
        self.root.queue.front().or(self.keys.queue.front()).copied()
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
    pub(super) fn last_first(&self) -> impl Iterator<Item = EntryKey> {
        self.queued_by_keys().chain(self.root.queue.iter().rev().copied())
    }

    /// What of the delegated keys could be proposed, the last first.
    pub(super) fn queued_by_keys(&self) -> impl Iterator<Item = EntryKey> {
        self.keys.queue.iter().rev().copied()
    }

    /// What this one, which could be proposed, holds back.
    pub(super) fn held_back_by(&self, transaction: &Transaction) -> Option<EntryKey> {
        self.find(transaction).ok().and_then(|place| self.nonces[place].second)
    }

    /// Where its nonce stands, or would.
    fn find(&self, transaction: &Transaction) -> Result<usize, usize> {
        let name = nonce(transaction);
        self.nonces.binary_search_by(|nonce| nonce.name.cmp(&name))
    }

    fn kind(&mut self, authority: &Authority) -> &mut Kind {
        if *authority == Authority::Root { &mut self.root } else { &mut self.keys }
    }
}

fn nonce(transaction: &Transaction) -> (Authority, u64) {
    (transaction.authority, transaction.nonce)
}
