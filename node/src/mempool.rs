//! Transactions that were checked and are in no block yet.
//!
//! Bounded in all and for each sender. A transaction stays here, marked as proposed, until it is executed, dropped or expired; if its
//! vertex is collected without being committed, it is proposed again.
//!
//! Proposals take one transaction a turn: the buckets in turn, and of a bucket the sender that was executed least recently, the one
//! that has waited longest among equals. Buckets are the powers of two of what a sender owns (balance and reserve). So a flood
//! delays others of its own bucket alone, by one transaction an account at most; to stand in all buckets takes money for all of them, and
//! to be many in one, that many times its money.
//!
//! Of the transactions with one nonce of an authority only one can be executed, and the others would cost their sender nothing. So one at
//! a time is proposed, and one more is kept, which has its turn when the first was dropped or has left: enough to cancel a transaction.
//!
//! Of one sender, what Root signed comes before what its delegated keys did, is bounded by itself, and can take their room: no key keeps
//! its owner from removing it.
//!
//! When all is full, the bucket with the most waiting transactions gives way to one with fewer: its sender executed most recently
//! loses the newest of its transactions. Within a bucket, it gives way to a sender executed less recently.

mod eviction;
mod sender;

use crate::id_map::IdMap;
use bytes::Bytes;
use eviction::Eviction;
use farthing_core::address::Address;
use farthing_core::execution::Ledger;
use farthing_core::transaction::{Authority, Transaction, TransactionId, VerifiedTransaction};
use sender::Sender;
use std::collections::{BTreeMap, BTreeSet};

/// Buckets: one for owning nothing, one for each power of two of a mite.
const BUCKETS: usize = 65;

/// How much a mempool holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MempoolLimits {
    /// Transactions in all.
    pub transactions_max: usize,
    /// Encoded bytes in all.
    pub bytes_max: usize,
    /// Transactions of one sender that Root signed, and as many that its delegated keys did. More than the replay window of an
    /// authority (128) can never be in flight.
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
    /// The mempool as a whole is full, of transactions that come before this one.
    InAll,
    /// This sender has too many in it.
    ForSender,
    /// There are two with the same nonce of the same authority.
    ForNonce,
}

/// What the ledger says of a transaction and its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What the transaction will be charged of the sender's bandwidth, before the multiplier, in bytes.
    pub charged_bytes: u64,
    /// The slot of the sender's account.
    pub slot: u32,
    /// The sender's balance and reserve, in mites.
    pub owned_mites: u64,
}

impl Standing {
    /// The standing of a transaction whose sender has an account; `None` if it has none.
    pub fn of(ledger: &Ledger, transaction: &Transaction) -> Option<Standing> {
        let slot = ledger.state().slot_of(&transaction.sender)?;
        let account = ledger.account(&transaction.sender)?;
        Some(Standing {
            charged_bytes: ledger.charged_bytes(transaction),
            slot,
            // Both are part of the supply.
            owned_mites: account.balance.mites().saturating_add(account.reserve.mites()),
        })
    }

    fn bucket(&self) -> usize {
        (u64::BITS - self.owned_mites.leading_zeros()) as usize
    }
}

/// The mempool.
#[derive(Debug)]
pub struct Mempool {
    limits: MempoolLimits,
    /// Looked up only, never iterated.
    entries: IdMap<TransactionId, Entry>,
    senders: BTreeMap<Address, Sender>,
    buckets: Vec<Bucket>,
    /// The bucket whose turn it is.
    turn: usize,
    /// By end of validity.
    expiry: BTreeSet<(u64, TransactionId)>,
    bytes: usize,
    /// How many have left, for whatever reason.
    removed: u64,
    /// When the account in each slot was executed last, in blocks since the start; 0 for never. Not more than there are slots.
    executed: Vec<u32>,
    /// Blocks since the start.
    now: u32,
    /// The number of the next sender that gets in line.
    arrivals: u64,
}

#[derive(Debug)]
struct Entry {
    transaction: VerifiedTransaction,
    encoded: Bytes,
    charged_bytes: u64,
    proposed: bool,
}

/// When a sender was executed last, and its arrival: the lowest is next.
type Place = (u32, u64);

#[derive(Debug, Default)]
struct Bucket {
    line: BTreeMap<Place, Address>,
    /// Transactions that its senders have queued.
    waiting: usize,
}

impl Mempool {
    /// An empty mempool.
    pub fn new(limits: MempoolLimits) -> Mempool {
        Mempool {
            limits,
            entries: IdMap::default(),
            senders: BTreeMap::new(),
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            turn: 0,
            expiry: BTreeSet::new(),
            bytes: 0,
            removed: 0,
            executed: Vec::new(),
            now: 1,
            arrivals: 0,
        }
    }

    /// Adds a transaction; one that is there already changes nothing. Returns what had to leave for it.
    ///
    /// # Errors
    /// [`Full`] if there is no room for it.
    pub fn insert(
        &mut self,
        transaction: VerifiedTransaction,
        standing: &Standing,
    ) -> Result<Vec<TransactionId>, Full> {
        let id = transaction.id();
        if self.entries.contains_key(&id) {
            return Ok(Vec::new());
        }
        let Transaction { sender: address, authority, valid_until_ms, .. } = *transaction.transaction();
        if let Some(sender) = self.senders.get(&address) {
            if sender.has_two(transaction.transaction()) {
                return Err(Full::ForNonce);
            }
            if sender.count(&authority) >= self.limits.per_sender_max {
                return Err(Full::ForSender);
            }
        }
        let encoded: Bytes = transaction.signed().encode().into();
        let evicted = self.victims(encoded.len(), transaction.transaction(), standing).ok_or(Full::InAll)?;
        for id in &evicted {
            self.remove(id);
        }
        self.bytes += encoded.len();
        self.expiry.insert((valid_until_ms, id));
        self.leave_line(&address);
        let sender = self.senders.entry(address).or_default();
        (sender.slot, sender.bucket) = (standing.slot, standing.bucket());
        if sender.waiting() == 0 {
            sender.arrival = self.arrivals;
            self.arrivals += 1;
        }
        sender.add(id, transaction.transaction(), standing.charged_bytes);
        self.entries.insert(id, Entry { transaction, encoded, charged_bytes: standing.charged_bytes, proposed: false });
        self.get_in_line(&address);
        Ok(evicted)
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
        // Every turn takes a transaction from a queue, of which there are finitely many, or ends the loop.
        while let Some(address) = self.next_sender() {
            let sender = self.senders.get_mut(&address).expect("a sender in line");
            let id = *sender.next().expect("a sender in line has something queued");
            let entry = self.entries.get_mut(&id).expect("what leaves the mempool leaves the queue");
            if let Err(error) = admit(&entry.transaction) {
                proposal.refused.push((id, error));
                self.remove(&id);
                continue;
            }
            // A single large transaction may exceed the budget (never a vertex's limit), or it would block the line for ever.
            let fits = bytes + entry.encoded.len() <= bytes_max || (bytes == 0 && bytes_max > 0);
            if !fits {
                // The first that does not fit ends the proposal and stays first in line.
                break;
            }
            bytes += entry.encoded.len();
            entry.proposed = true;
            encoded.push(entry.encoded.clone());
            proposal.transactions.push(entry.transaction.clone());
            self.leave_line(&address);
            let sender = self.senders.get_mut(&address).expect("it was there just now");
            sender.pop_next();
            // A turn counts as if it were executed, so that the others of the bucket come first.
            let (slot, bucket) = (sender.slot, sender.bucket);
            self.mark_executed(slot);
            self.get_in_line_last(&address);
            self.turn = (bucket + 1) % BUCKETS;
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
                let address = entry.transaction.transaction().sender;
                self.leave_line(&address);
                let sender = self.senders.get_mut(&address).expect("a sender of an entry");
                sender.queue(id, self.entries[&id].transaction.transaction());
                self.get_in_line_last(&address);
            }
        }
    }

    /// Removes a transaction that was executed, rejected or dropped. Unknown ones are fine.
    pub fn remove(&mut self, id: &TransactionId) {
        let Some(entry) = self.entries.remove(id) else { return };
        let transaction = entry.transaction.transaction();
        let address = transaction.sender;
        self.bytes -= entry.encoded.len();
        self.removed += 1;
        self.expiry.remove(&(transaction.valid_until_ms, *id));
        self.leave_line(&address);
        let sender = self.senders.get_mut(&address).expect("a sender of an entry");
        sender.remove(id, transaction, entry.charged_bytes);
        if sender.is_empty() {
            self.senders.remove(&address);
        } else {
            self.get_in_line(&address);
        }
    }

    /// Notes that a block was executed, with the accounts in these slots as senders.
    pub fn executed(&mut self, senders: impl IntoIterator<Item = (Address, u32)>) {
        self.now = self.now.saturating_add(1);
        for (address, slot) in senders {
            self.mark_executed(slot);
            if self.senders.contains_key(&address) {
                self.leave_line(&address);
                self.get_in_line_last(&address);
            }
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

    /// What the sender's transactions that come before this one, proposed ones too, will be charged of its bandwidth, in bytes: all that are
    /// here, or before an operation for Root alone only such.
    pub fn charged_before(&self, transaction: &Transaction) -> u64 {
        self.senders.get(&transaction.sender).map_or(0, |sender| sender.charged_before(transaction))
    }

    /// Whether there is anything to propose.
    pub fn has_waiting(&self) -> bool {
        self.buckets.iter().any(|bucket| bucket.waiting > 0)
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

    /// The first in line of the bucket whose turn it is.
    fn next_sender(&self) -> Option<Address> {
        let bucket =
            (0..BUCKETS).map(|step| (self.turn + step) % BUCKETS).find(|bucket| self.buckets[*bucket].waiting > 0)?;
        self.buckets[bucket].line.first_key_value().map(|(_, address)| *address)
    }

    /// What has to leave to make room for a transaction of so many encoded bytes; `None` if not enough would. Nothing is changed.
    fn victims(&self, bytes: usize, transaction: &Transaction, standing: &Standing) -> Option<Vec<TransactionId>> {
        let transactions = (self.entries.len() + 1).saturating_sub(self.limits.transactions_max);
        let bytes = (self.bytes + bytes).saturating_sub(self.limits.bytes_max);
        let mut eviction = Eviction::new(self, transactions, bytes);
        if transaction.authority == Authority::Root {
            eviction.evict_own_keys(&transaction.sender);
        }
        eviction.evict_others(standing);
        eviction.evicted()
    }

    fn leave_line(&mut self, address: &Address) {
        let Some(sender) = self.senders.get_mut(address) else { return };
        if let Some(place) = sender.place.take() {
            let bucket = &mut self.buckets[sender.bucket];
            bucket.line.remove(&place);
            bucket.waiting -= sender.waiting();
        }
    }

    /// As [`Mempool::get_in_line`], behind those that were executed at the same time.
    fn get_in_line_last(&mut self, address: &Address) {
        self.senders.get_mut(address).expect("a sender of an entry").arrival = self.arrivals;
        self.arrivals += 1;
        self.get_in_line(address);
    }

    /// Puts a sender that stands in no line in that of its bucket, if it has anything queued.
    fn get_in_line(&mut self, address: &Address) {
        let executed = self.executed_at(self.senders[address].slot);
        let sender = self.senders.get_mut(address).expect("looked at just now");
        if sender.waiting() == 0 {
            return;
        }
        let place = (executed, sender.arrival);
        sender.place = Some(place);
        let bucket = &mut self.buckets[sender.bucket];
        bucket.line.insert(place, *address);
        bucket.waiting += sender.waiting();
    }

    fn executed_at(&self, slot: u32) -> u32 {
        self.executed.get(slot as usize).copied().unwrap_or(0)
    }

    fn mark_executed(&mut self, slot: u32) {
        let slot = slot as usize;
        if self.executed.len() <= slot {
            self.executed.resize(slot + 1, 0);
        }
        self.executed[slot] = self.now;
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
