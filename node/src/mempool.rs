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
mod lines;
mod sender;

use crate::id_map::IdMap;
use bytes::Bytes;
use eviction::Eviction;
use farthing_core::address::Address;
use farthing_core::admission::Standing;
use farthing_core::transaction::{Authority, Transaction, TransactionId, VerifiedTransaction};
use lines::{Lines, Stand};
use sender::Sender;
use slab::Slab;
use std::collections::BTreeSet;

/// The most transactions that [`MempoolLimits::per_sender_max`] may allow: adding one to a sender's takes time in proportion to them.
pub const PER_SENDER_MAX: usize = 10_000;

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

/// The place of a transaction in [`Mempool::entries`].
type EntryKey = usize;

/// The place of a sender in [`Mempool::senders`].
type SenderKey = usize;

/// The mempool.
#[derive(Debug)]
pub struct Mempool {
    limits: MempoolLimits,
    entries: Slab<Entry>,
    /// Looked up only, never iterated; the same below.
    ids: IdMap<TransactionId, EntryKey>,
    senders: Slab<Sender>,
    addresses: IdMap<Address, SenderKey>,
    lines: Lines,
    /// By end of validity.
    expiry: BTreeSet<(u64, EntryKey)>,
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
    sender: SenderKey,
    charged_bytes: u64,
    proposed: bool,
}

impl Mempool {
    /// An empty mempool.
    pub fn new(limits: MempoolLimits) -> Mempool {
        Mempool {
            limits,
            entries: Slab::new(),
            ids: IdMap::default(),
            senders: Slab::new(),
            addresses: IdMap::default(),
            lines: Lines::new(),
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
        if self.ids.contains_key(&id) {
            return Ok(Vec::new());
        }
        let Transaction { sender: address, authority, valid_until_ms, .. } = *transaction.transaction();
        if let Some(sender) = self.sender(&address) {
            if sender.has_two(transaction.transaction()) {
                return Err(Full::ForNonce);
            }
            if sender.count(&authority) >= self.limits.per_sender_max {
                return Err(Full::ForSender);
            }
        }
        let encoded: Bytes = transaction.signed().encode().into();
        let evicted = self.victims(encoded.len(), transaction.transaction(), standing).ok_or(Full::InAll)?;
        let evicted = evicted.into_iter().map(|entry| self.remove_entry(entry)).collect();
        let (senders, addresses) = (&mut self.senders, &mut self.addresses);
        let key = *addresses.entry(address).or_insert_with(|| senders.insert(Sender::new(address)));
        let sender = &mut senders[key];
        (sender.slot, sender.bucket) = (standing.slot, bucket_of(standing));
        if sender.waiting() == 0 {
            sender.arrival = self.arrivals;
            self.arrivals += 1;
        }
        self.bytes += encoded.len();
        let charged_bytes = standing.charged_bytes;
        let vacant = self.entries.vacant_entry();
        let entry = vacant.key();
        sender.add(entry, transaction.transaction(), charged_bytes);
        vacant.insert(Entry { transaction, encoded, sender: key, charged_bytes, proposed: false });
        self.ids.insert(id, entry);
        self.expiry.insert((valid_until_ms, entry));
        self.update_line(key);
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
        let mut payload = Vec::with_capacity(bytes_max.min(self.bytes));
        // Every turn takes a transaction from a queue, of which there are finitely many, or ends the loop.
        while let Some((bucket, key)) = self.lines.next() {
            let next = self.senders[key].next().expect("a sender in line has something queued");
            let entry = &mut self.entries[next];
            if let Err(error) = admit(&entry.transaction) {
                proposal.refused.push((self.remove_entry(next), error));
                continue;
            }
            // A single large transaction may exceed the budget (never a vertex's limit), or it would block the line for ever.
            let fits = payload.len() + entry.encoded.len() <= bytes_max || (payload.is_empty() && bytes_max > 0);
            if !fits {
                // The first that does not fit ends the proposal and stays first in line.
                break;
            }
            entry.proposed = true;
            payload.extend_from_slice(&entry.encoded);
            proposal.transactions.push(entry.transaction.clone());
            let sender = &mut self.senders[key];
            sender.pop_next();
            // A turn counts as if it were executed, so that the others of the bucket come first.
            let slot = sender.slot;
            self.mark_executed(slot);
            self.line_up_last(key);
            self.lines.end_turn(bucket);
        }
        // It is kept for as long as its vertex is.
        payload.shrink_to_fit();
        proposal.payload = payload.into();
        proposal
    }

    /// Puts proposed transactions that are still here back in line: their vertex was not committed.
    pub fn propose_again(&mut self, ids: impl IntoIterator<Item = TransactionId>) {
        for id in ids {
            let Some(key) = self.ids.get(&id) else { continue };
            let entry = &mut self.entries[*key];
            if entry.proposed {
                entry.proposed = false;
                let sender = entry.sender;
                self.senders[sender].queue(*key, entry.transaction.transaction());
                self.line_up_last(sender);
            }
        }
    }

    /// Removes a transaction that was executed, rejected or dropped. Unknown ones are fine.
    pub fn remove(&mut self, id: &TransactionId) {
        if let Some(key) = self.ids.get(id) {
            self.remove_entry(*key);
        }
    }

    /// Notes that a block was executed, with the accounts in these slots as senders.
    pub fn executed(&mut self, senders: impl IntoIterator<Item = (Address, u32)>) {
        self.now = self.now.saturating_add(1);
        for (address, slot) in senders {
            self.mark_executed(slot);
            if let Some(key) = self.addresses.get(&address) {
                self.line_up_last(*key);
            }
        }
    }

    /// Removes and returns what can no longer execute at `timestamp_ms`.
    pub fn expire(&mut self, timestamp_ms: u64) -> Vec<TransactionId> {
        let expired = self.expiry.iter().take_while(|(until, _)| *until < timestamp_ms);
        let expired: Vec<EntryKey> = expired.map(|(_, entry)| *entry).collect();
        expired.into_iter().map(|entry| self.remove_entry(entry)).collect()
    }

    /// Whether the transaction is here.
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.ids.contains_key(id)
    }

    /// What the sender's transactions that come before this one, proposed ones too, will be charged of its bandwidth, in bytes: all that are
    /// here, or before an operation for Root alone only such.
    pub fn charged_before(&self, transaction: &Transaction) -> u64 {
        self.sender(&transaction.sender).map_or(0, |sender| sender.charged_before(transaction))
    }

    /// Whether there is anything to propose.
    pub fn has_waiting(&self) -> bool {
        !self.lines.is_empty()
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

    fn sender(&self, address: &Address) -> Option<&Sender> {
        self.addresses.get(address).map(|key| &self.senders[*key])
    }

    /// Removes a transaction. Returns its id.
    fn remove_entry(&mut self, key: EntryKey) -> TransactionId {
        let Entry { transaction, encoded, sender: sender_key, charged_bytes, .. } = self.entries.remove(key);
        let id = transaction.id();
        self.ids.remove(&id);
        self.expiry.remove(&(transaction.transaction().valid_until_ms, key));
        self.bytes -= encoded.len();
        self.removed += 1;
        let sender = &mut self.senders[sender_key];
        sender.remove(key, transaction.transaction(), charged_bytes);
        let is_gone = sender.is_empty();
        self.update_line(sender_key);
        if is_gone {
            let sender = self.senders.remove(sender_key);
            self.addresses.remove(&sender.address);
        }
        id
    }

    /// What has to leave to make room for a transaction of so many encoded bytes; `None` if not enough would. Nothing is changed.
    fn victims(&self, bytes: usize, transaction: &Transaction, standing: &Standing) -> Option<Vec<EntryKey>> {
        let transactions = (self.entries.len() + 1).saturating_sub(self.limits.transactions_max);
        let bytes = (self.bytes + bytes).saturating_sub(self.limits.bytes_max);
        if transactions == 0 && bytes == 0 {
            return Some(Vec::new());
        }
        let mut eviction = Eviction::new(self, transactions, bytes);
        if transaction.authority == Authority::Root
            && let Some(sender) = self.addresses.get(&transaction.sender)
        {
            eviction.evict_own_keys(*sender);
        }
        eviction.evict_others(standing);
        eviction.evicted()
    }

    /// As [`Mempool::update_line`], behind those that were executed at the same time.
    fn line_up_last(&mut self, key: SenderKey) {
        self.senders[key].arrival = self.arrivals;
        self.arrivals += 1;
        self.update_line(key);
    }

    /// Has a sender stand where it belongs, if it has anything queued.
    fn update_line(&mut self, key: SenderKey) {
        let executed = self.executed_at(self.senders[key].slot);
        let sender = &mut self.senders[key];
        let (bucket, place, waiting) = (sender.bucket, (executed, sender.arrival), sender.waiting());
        let to = (waiting > 0).then_some(Stand { bucket, place, waiting });
        self.lines.move_to(key, &mut sender.stand, to);
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

/// The bucket of a sender: how often what it owns can be halved.
fn bucket_of(standing: &Standing) -> usize {
    (u64::BITS - standing.owned_mites.leading_zeros()) as usize
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
