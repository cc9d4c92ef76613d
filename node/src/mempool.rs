//! Transactions that were checked and are in no block yet.
//!
//! Bounded in all and for each sender. Proposals take from the senders in turn, one transaction a turn, so that nobody's flood
//! delays anybody else. A transaction stays here, marked as proposed, until it is executed, dropped or expired; if its vertex is
//! collected without being committed, it is proposed again.

use crate::id_map::IdMap;
use bytes::Bytes;
use farthing_core::address::Address;
use farthing_core::transaction::{TransactionId, VerifiedTransaction};
use std::collections::{BTreeSet, VecDeque};

/// How much a mempool holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MempoolLimits {
    /// Transactions in all.
    pub transactions_max: usize,
    /// Encoded bytes in all.
    pub bytes_max: usize,
    /// Transactions of one sender. More than its replay window (128) can never be in flight.
    pub per_sender_max: usize,
}

impl Default for MempoolLimits {
    fn default() -> MempoolLimits {
        MempoolLimits { transactions_max: 200_000, bytes_max: 128 << 20, per_sender_max: 256 }
    }
}

/// Why there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The mempool as a whole is full.
    InAll,
    /// This sender has too many in it.
    ForSender,
}

/// The mempool.
#[derive(Debug)]
pub struct Mempool {
    limits: MempoolLimits,
    /// Looked up only, never iterated.
    entries: IdMap<TransactionId, Entry>,
    /// The same.
    senders: IdMap<Address, Sender>,
    /// The senders that have something to propose, in the order of their turns.
    turns: VecDeque<Address>,
    /// By end of validity.
    expiry: BTreeSet<(u64, TransactionId)>,
    bytes: usize,
    waiting: usize,
    removed: u64,
}

#[derive(Debug)]
struct Entry {
    transaction: VerifiedTransaction,
    encoded: Bytes,
    proposed: bool,
}

#[derive(Debug, Default)]
struct Sender {
    /// What is not proposed yet, in order of arrival.
    queue: VecDeque<TransactionId>,
    /// All of the sender's transactions in the mempool, proposed ones too.
    count: usize,
    /// Whether the sender stands in `turns`.
    in_turn: bool,
}

impl Mempool {
    /// An empty mempool.
    pub fn new(limits: MempoolLimits) -> Mempool {
        Mempool {
            limits,
            entries: IdMap::default(),
            senders: IdMap::default(),
            turns: VecDeque::new(),
            expiry: BTreeSet::new(),
            bytes: 0,
            waiting: 0,
            removed: 0,
        }
    }

    /// Adds a transaction; one that is there already changes nothing.
    ///
    /// # Errors
    /// [`Full`] if there is no room for it.
    pub fn insert(&mut self, transaction: VerifiedTransaction) -> Result<(), Full> {
        let id = transaction.id();
        if self.entries.contains_key(&id) {
            return Ok(());
        }
        let sender = transaction.transaction().sender;
        let encoded: Bytes = transaction.signed().encode().into();
        if self.entries.len() >= self.limits.transactions_max || self.bytes + encoded.len() > self.limits.bytes_max {
            return Err(Full::InAll);
        }
        if self.senders.get(&sender).is_some_and(|sender| sender.count >= self.limits.per_sender_max) {
            return Err(Full::ForSender);
        }
        self.bytes += encoded.len();
        self.expiry.insert((transaction.transaction().valid_until_ms, id));
        self.senders.entry(sender).or_default().count += 1;
        self.entries.insert(id, Entry { transaction, encoded, proposed: false });
        self.enqueue(sender, id);
        Ok(())
    }

    /// Takes transactions for a proposal, up to `bytes_max` encoded bytes (or one that alone has more), the senders in turn;
    /// none if `bytes_max` is 0. `admit` is asked about each again; one that it refuses leaves the mempool and is given back among the refused.
    pub fn take<E>(
        &mut self,
        bytes_max: usize,
        mut admit: impl FnMut(&VerifiedTransaction) -> Result<(), E>,
    ) -> Proposal<E> {
        let mut proposal = Proposal { payload: Bytes::new(), transactions: Vec::new(), refused: Vec::new() };
        let (mut encoded, mut bytes) = (Vec::new(), 0);
        // Every turn takes a transaction from a queue or a sender out of the line, both finitely many, or ends the loop.
        while let Some(address) = self.turns.pop_front() {
            let sender = self.senders.get_mut(&address).expect("a sender with a turn");
            sender.in_turn = false;
            let Some(id) = sender.queue.pop_front() else {
                // All of it left before its turn came.
                self.give_turn(address);
                continue;
            };
            let entry = self.entries.get_mut(&id).expect("what leaves the mempool leaves the queue");
            if let Err(error) = admit(&entry.transaction) {
                proposal.refused.push((id, error));
                self.remove(&id);
                self.give_turn(address);
                continue;
            }
            // A single large transaction may exceed the budget (never a vertex's limit), or it would block the line for ever.
            let fits = bytes + entry.encoded.len() <= bytes_max || (bytes == 0 && bytes_max > 0);
            if !fits {
                // The first that does not fit ends the proposal and stays first in line.
                sender.queue.push_front(id);
                sender.in_turn = true;
                self.turns.push_front(address);
                break;
            }
            bytes += entry.encoded.len();
            entry.proposed = true;
            self.waiting -= 1;
            encoded.push(entry.encoded.clone());
            proposal.transactions.push(entry.transaction.clone());
            self.give_turn(address);
        }
        proposal.payload = crate::payload::join(&encoded);
        proposal
    }

    /// Puts proposed transactions that are still here back in line: their vertex was not committed.
    pub fn propose_again(&mut self, ids: impl IntoIterator<Item = TransactionId>) {
        for id in ids {
            if let Some(entry) = self.entries.get_mut(&id)
                && entry.proposed
            {
                entry.proposed = false;
                let sender = entry.transaction.transaction().sender;
                self.enqueue(sender, id);
            }
        }
    }

    /// Removes a transaction that was executed, rejected or dropped. Unknown ones are fine.
    pub fn remove(&mut self, id: &TransactionId) {
        let Some(entry) = self.entries.remove(id) else { return };
        let transaction = entry.transaction.transaction();
        self.bytes -= entry.encoded.len();
        self.removed += 1;
        self.expiry.remove(&(transaction.valid_until_ms, *id));
        let sender = self.senders.get_mut(&transaction.sender).expect("a sender of an entry");
        if !entry.proposed {
            self.waiting -= 1;
            // At most as many as one sender may have here. Left in, they would add up while other validators execute them.
            sender.queue.retain(|queued| queued != id);
        }
        sender.count -= 1;
        if sender.count == 0 && !sender.in_turn {
            self.senders.remove(&transaction.sender);
        }
    }

    /// Removes and returns what can no longer execute at `timestamp_ms`.
    pub fn expire(&mut self, timestamp_ms: u64) -> Vec<TransactionId> {
        let expired: Vec<_> =
            self.expiry.iter().take_while(|(until, _)| *until < timestamp_ms).map(|(_, id)| *id).collect();
        for id in &expired {
            self.remove(id);
        }
        expired
    }

    /// Whether the transaction is here.
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.entries.contains_key(id)
    }

    /// Whether there is anything to propose.
    pub fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Transactions here, proposed ones too.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Their encoded bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many have left, for whatever reason.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    fn enqueue(&mut self, address: Address, id: TransactionId) {
        self.waiting += 1;
        self.senders.get_mut(&address).expect("counted before").queue.push_back(id);
        self.give_turn(address);
    }

    /// Puts the sender at the end of the line if it has anything queued, and forgets it if it has nothing at all.
    fn give_turn(&mut self, address: Address) {
        let Some(sender) = self.senders.get_mut(&address) else { return };
        if sender.in_turn {
            return;
        }
        if !sender.queue.is_empty() {
            sender.in_turn = true;
            self.turns.push_back(address);
        } else if sender.count == 0 {
            self.senders.remove(&address);
        }
    }
}

/// What [`Mempool::take`] found.
#[derive(Debug)]
pub struct Proposal<E> {
    /// The payload for a vertex.
    pub payload: Bytes,
    /// Its transactions, in the same order.
    pub transactions: Vec<VerifiedTransaction>,
    /// What could not be admitted any more, and left the mempool.
    pub refused: Vec<(TransactionId, E)>,
}

const _: () = assert!(
    farthing_core::transaction::SIGNED_TRANSACTION_BYTES_MAX <= farthing_consensus::vertex::PAYLOAD_BYTES_MAX,
    "every transaction must fit a vertex"
);

#[cfg(test)]
#[path = "mempool_tests.rs"]
mod tests;
