//! How a full node has its clients' transactions proposed: it forwards them to validators.
//!
//! Its mempool is the same as a validator's, and so is admission; but what a validator would propose is sent to one validator after
//! the other, a batch at a time to each. A transaction stays in the mempool until a block settles it or its validity ends.
//! Nobody's word is taken for more than it is worth: what a validator took but no block settled within [`SETTLED_WITHIN_MS`] is
//! offered to another one, so a validator that withholds or dies delays a transaction and no more; and what a validator does not
//! take is offered again as long as this node's own state would admit it. Offering the same bytes twice is harmless.

use super::{Admission, Effect, Held, Replica, Settled};
use crate::mempool::Mempool;
use crate::network::{FORWARD_BYTES_MAX, Outbound, Peer};
use crate::storage::StorageError;
use crate::verifier::Checked;
use farthing_consensus::vertex::Author;
use farthing_core::transaction::{SignedTransaction, TransactionId, VerifiedTransaction};
use std::collections::{BTreeMap, BTreeSet};

/// How long a validator may take to answer before another one is asked.
const ANSWERED_WITHIN_MS: u64 = 1_000;

/// How long a transaction that a validator took may take to be settled here before it is offered to another one.
const SETTLED_WITHIN_MS: u64 = 3_000;

/// When to offer again what a validator had no room for, or did not admit.
const RETRY_AFTER_MS: u64 = 500;

/// What is under way to validators, and what is to be offered again.
#[derive(Debug, Default)]
pub(super) struct Forwarder {
    /// The batch that each validator has not answered yet. One that did not answer in time gets nothing until it does.
    under_way: BTreeMap<Author, UnderWay>,
    /// What was answered, by the time at which it is offered again and a number that tells entries apart.
    again: BTreeMap<(u64, u64), Vec<TransactionId>>,
    next_number: u64,
    /// The validator asked last.
    last: Author,
}

#[derive(Debug)]
struct UnderWay {
    ids: Vec<TransactionId>,
    /// Until when it has to be answered; none once that has passed.
    until_ms: Option<u64>,
}

impl Forwarder {
    /// When there is something to do next, apart from what is new in the mempool.
    fn due_ms(&self) -> Option<u64> {
        let unanswered = self.under_way.values().filter_map(|under_way| under_way.until_ms);
        unanswered.chain(self.again.keys().next().map(|(at_ms, _)| *at_ms)).min()
    }

    /// The next validator in turn that is connected and has nothing under way.
    fn next_validator(&self, connected: &BTreeSet<Author>) -> Option<Author> {
        let later = connected.range(self.last.saturating_add(1)..);
        later.chain(connected).copied().find(|author| !self.under_way.contains_key(author))
    }

    fn offer_again(&mut self, at_ms: u64, ids: Vec<TransactionId>) {
        if !ids.is_empty() {
            self.again.insert((at_ms, self.next_number), ids);
            self.next_number += 1;
        }
    }

    /// Puts what is due back in line.
    fn take_due(&mut self, now_ms: u64, mempool: &mut Mempool) {
        for under_way in self.under_way.values_mut() {
            if under_way.until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
                under_way.until_ms = None;
                mempool.propose_again(std::mem::take(&mut under_way.ids));
            }
        }
        while let Some(entry) = self.again.first_entry().filter(|entry| entry.key().0 <= now_ms) {
            mempool.propose_again(entry.remove());
        }
    }
}

impl Replica {
    /// When the timer has to ring for forwarding.
    pub(super) fn forwarding_due_ms(&self) -> Option<u64> {
        self.forwarder.due_ms()
    }

    /// On a full node: forwards what waits in the mempool.
    pub(super) fn forward(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.own.is_some() {
            return;
        }
        self.forwarder.take_due(now_ms, &mut self.mempool);
        // Each round makes a validator busy.
        while self.mempool.has_waiting()
            && let Some(to) = self.forwarder.next_validator(&self.connected)
        {
            let ledger = self.executor.ledger();
            let timestamp_ms = ledger.timestamp_ms();
            let batch = self.mempool.take(FORWARD_BYTES_MAX, |transaction| {
                ledger.check(transaction.transaction(), timestamp_ms).map(drop).map_err(|refusal| refusal.reason)
            });
            if !batch.refused.is_empty() {
                self.log.push(Held::Settled(Settled { dropped: batch.refused, ..Settled::default() }));
            }
            if batch.transactions.is_empty() {
                continue;
            }
            let ids = batch.transactions.iter().map(VerifiedTransaction::id).collect();
            let until_ms = Some(now_ms + ANSWERED_WITHIN_MS);
            self.forwarder.under_way.insert(to, UnderWay { ids, until_ms });
            self.forwarder.last = to;
            effects.push(Effect::Send { to: Peer::Validator(to), message: Outbound::Forward(batch.payload) });
        }
    }

    /// A validator's answer to what was forwarded to it.
    pub(super) fn forwarded(&mut self, from: Author, taken: &[bool], now_ms: u64, effects: &mut Vec<Effect>) {
        let Some(UnderWay { ids, until_ms }) = self.forwarder.under_way.remove(&from) else { return };
        if until_ms.is_none() {
            // It was late: others were asked since.
            return;
        }
        if taken.len() != ids.len() {
            self.mempool.propose_again(ids);
            effects.push(Effect::Disconnect { peer: Peer::Validator(from), reason: "bad_forwarded" });
            return;
        }
        let (mut settles, mut retries) = (Vec::new(), Vec::new());
        for (id, taken) in ids.into_iter().zip(taken) {
            if *taken { settles.push(id) } else { retries.push(id) }
        }
        self.forwarder.offer_again(now_ms + SETTLED_WITHIN_MS, settles);
        self.forwarder.offer_again(now_ms + RETRY_AFTER_MS, retries);
    }

    /// What was under way to this validator is offered to others.
    pub(super) fn forwarding_disconnected(&mut self, from: Author) {
        if let Some(under_way) = self.forwarder.under_way.remove(&from) {
            self.mempool.propose_again(under_way.ids);
        }
    }

    /// On a validator: a full node forwarded transactions. Their signatures are checked first, as if no one had.
    pub(super) fn check_forwarded(&self, from: Peer, transactions: Vec<SignedTransaction>) -> Effect {
        match self.takes_transactions() && self.own.is_some() {
            true => Effect::CheckForwarded { from, transactions },
            false => Effect::Send { to: from, message: Outbound::Forwarded(vec![false; transactions.len()]) },
        }
    }

    /// On a validator: what a full node forwarded has been checked.
    pub(super) fn admit_forwarded(
        &mut self,
        from: Peer,
        checked: Checked,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StorageError> {
        let Ok(transactions) = checked.into_iter().collect::<Result<Vec<_>, _>>() else {
            // A full node checks signatures before it forwards.
            effects.push(Effect::Disconnect { peer: from, reason: "bad_forward" });
            return Ok(());
        };
        let is_taken = |admission| matches!(admission, Admission::Pending | Admission::InBlock);
        let admissions = transactions.into_iter().map(|transaction| self.admit(transaction).map(is_taken));
        let taken = admissions.collect::<Result<_, _>>()?;
        effects.push(Effect::Send { to: from, message: Outbound::Forwarded(taken) });
        Ok(())
    }
}
