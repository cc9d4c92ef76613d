//! Capturing for payees that are offline.

use super::{ChannelError, Terms};
use farthing_core::hold::Hold;
use farthing_core::transaction::{Operation, TransactionId};
use farthing_core::voucher::Voucher;
use std::collections::BTreeMap;

/// The best vouchers of many channels.
#[derive(Debug)]
pub struct Watcher {
    channels: BTreeMap<TransactionId, (Terms, Voucher)>,
    channels_max: usize,
    safety_ms: u64,
}

impl Watcher {
    /// A watcher of at most so many channels, that captures so long before a channel's end.
    pub fn new(channels_max: usize, safety_ms: u64) -> Watcher {
        Watcher { channels: BTreeMap::new(), channels_max, safety_ms }
    }

    /// Takes a voucher of a hold that the ledger has, if it is better than the one it has. Returns whether it was kept; it is not if there
    /// is no room for another channel.
    ///
    /// # Errors
    /// [`ChannelError`] says what is wrong with the voucher.
    pub fn watch(&mut self, terms: Terms, voucher: Voucher) -> Result<bool, ChannelError> {
        terms.check(&voucher)?;
        voucher.verify(&terms.chain, &terms.key)?;
        let known = self.channels.get(&terms.hold);
        let is_better = known.is_none_or(|(_, best)| voucher.cumulative > best.cumulative);
        let has_room = known.is_some() || self.channels.len() < self.channels_max;
        if is_better && has_room {
            self.channels.insert(terms.hold, (terms, voucher));
        }
        Ok(is_better && has_room)
    }

    /// Takes over what the ledger says of a hold now; `None` if it is gone, which ends the watch.
    ///
    /// # Errors
    /// [`ChannelError::NotAChannel`], [`ChannelError::NotForMe`] or [`ChannelError::OtherKey`] if it is another hold.
    pub fn observe(&mut self, id: &TransactionId, hold: Option<&Hold>) -> Result<(), ChannelError> {
        let Some((terms, _)) = self.channels.get_mut(id) else { return Ok(()) };
        match hold {
            Some(hold) => *terms = terms.renewed(hold)?,
            None => drop(self.channels.remove(id)),
        }
        Ok(())
    }

    /// The holds that are watched, ascending: the ones to look at now and then, more often than any close delay.
    pub fn holds(&self) -> impl Iterator<Item = &TransactionId> {
        self.channels.keys()
    }

    /// The captures to be sent now, in the watcher's own transactions: of channels that are closing or near their end.
    pub fn due(&self, now_ms: u64) -> Vec<Operation> {
        let due = self.channels.values().filter(|(terms, _)| terms.is_due(now_ms, self.safety_ms));
        due.filter_map(|(terms, voucher)| terms.capture(voucher, false)).collect()
    }
}
