//! Admission: which transactions are dropped, and what the others consume before they are executed.
//!
//! The reasons and their order are in the documentation of the crate, what bandwidth is in [`crate::bandwidth`].

use crate::address::Address;
use crate::bandwidth::{Multiplier, capacity_bytes, charged_bytes, refilled_at_ms};
use crate::block::{DropReason, Refusal};
use crate::execution::Ledger;
use crate::replay::NonceWindow;
use crate::transaction::{Authority, Transaction};

/// A transaction that is not dropped.
pub(crate) struct Admission {
    /// The slot of the sender's account.
    pub(crate) sender: u32,
    /// The slot of the delegated key that signed; `None` for Root.
    pub(crate) key: Option<u32>,
    /// What it is charged before the multiplier, in bytes.
    charged_bytes: u64,
    /// What it costs, in byte·milliseconds.
    cost_byte_ms: i128,
}

/// What is known of a transaction that a mempool may take, and of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What the transaction will be charged of the sender's bandwidth, before the multiplier, in bytes.
    pub charged_bytes: u64,
    /// The slot of the sender's account.
    pub slot: u32,
    /// The sender's balance and reserve, in mites.
    pub owned_mites: u64,
}

/// What an account may still send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BandwidthStatus {
    /// What is left, in whole bytes, rounded down; negative if overdrawn.
    pub available_bytes: i128,
    /// What it grows back to, in bytes.
    pub capacity_bytes: u128,
    /// When it will be full if nothing is sent until then, in milliseconds since the Unix epoch.
    pub full_at_ms: u64,
    /// The factor by which every transaction's bytes are multiplied now.
    pub multiplier: Multiplier,
}

impl Ledger {
    /// Whether a mempool should take this transaction, for a commit at `now_ms` (milliseconds since the Unix epoch, not before the newest
    /// commit) in the present state. Execution is a little more lenient with bandwidth, never stricter, unless the load rises.
    ///
    /// # Errors
    /// [`Refusal`] says why not, and when it could be.
    pub fn check(&self, transaction: &Transaction, now_ms: u64) -> Result<Standing, Refusal> {
        self.check_behind(transaction, now_ms, 0)
    }

    /// As [`Ledger::check`], for a transaction that waits behind others of its sender that were charged so many bytes in all
    /// ([`Standing::charged_bytes`]). Of an operation for Root alone, only others of these count: it is taken ahead of all others.
    ///
    /// # Errors
    /// [`Refusal`] says why not, and when it could be.
    pub fn check_behind(&self, transaction: &Transaction, now_ms: u64, queued_bytes: u64) -> Result<Standing, Refusal> {
        let sender = self.admit(transaction, now_ms)?;
        let floor_byte_ms = match sender.key {
            Some(_) => self.key_floor_byte_ms(),
            None if transaction.operation.is_for_root_alone() => self.root_floor_byte_ms(),
            None => 0,
        };
        let own_byte_ms = sender.cost_byte_ms + floor_byte_ms;
        let wanted_byte_ms = own_byte_ms + self.cost_byte_ms(queued_bytes, now_ms);
        let account = self.state.in_slot(sender.sender);
        let parameters = &self.parameters.bandwidth;
        let capacity = capacity_bytes(parameters, account.balance);
        let missing = wanted_byte_ms - account.bandwidth.available(parameters, capacity, now_ms);
        if missing <= 0 {
            // Both are part of the supply.
            let owned_mites = account.balance.mites().saturating_add(account.reserve.mites());
            return Ok(Standing { charged_bytes: sender.charged_bytes, slot: sender.sender, owned_mites });
        }
        // What waits before it leaves with what it takes; so only what it takes itself must fit into the capacity.
        let fits = own_byte_ms <= parameters.byte_ms(capacity);
        let passes_at_ms = fits.then(|| refilled_at_ms(capacity, now_ms, missing));
        Err(Refusal { reason: DropReason::InsufficientBandwidth, passes_at_ms })
    }

    /// What a transaction is charged before the multiplier, in bytes.
    fn charged_bytes(&self, transaction: &Transaction) -> u64 {
        charged_bytes(&self.parameters.bandwidth, transaction.signed_bytes(), &transaction.operation)
    }

    /// What an account may still send at this time (milliseconds since the Unix epoch); `None` if there is no such account.
    pub fn bandwidth(&self, address: &Address, now_ms: u64) -> Option<BandwidthStatus> {
        let account = self.state.account(address)?;
        let parameters = &self.parameters.bandwidth;
        let capacity = capacity_bytes(parameters, account.balance);
        let available = account.bandwidth.available(parameters, capacity, now_ms);
        let full = parameters.byte_ms(capacity);
        Some(BandwidthStatus {
            available_bytes: available.div_euclid(i128::from(parameters.refill_ms)),
            capacity_bytes: capacity,
            full_at_ms: account.bandwidth.available_at_ms(parameters, capacity, now_ms, full)?,
            multiplier: self.multiplier(now_ms),
        })
    }

    /// The multiplier at this time (milliseconds since the Unix epoch, not before the newest commit).
    pub fn multiplier(&self, now_ms: u64) -> Multiplier {
        self.state.load().at(&self.parameters.bandwidth, now_ms).multiplier
    }

    /// Decides whether a block includes a transaction.
    pub(crate) fn admit_to_block(&self, transaction: &Transaction, now_ms: u64) -> Result<Admission, DropReason> {
        let admission = self.admit(transaction, now_ms).map_err(|refusal| refusal.reason)?;
        let parameters = &self.parameters.bandwidth;
        let floor_byte_ms = match admission.key {
            Some(_) => self.key_floor_byte_ms(),
            None => self.root_floor_byte_ms(),
        };
        let account = self.state.in_slot(admission.sender);
        let capacity = capacity_bytes(parameters, account.balance);
        let left = account.bandwidth.available(parameters, capacity, now_ms) - admission.cost_byte_ms;
        if left < floor_byte_ms { Err(DropReason::InsufficientBandwidth) } else { Ok(admission) }
    }

    /// Consumes nonce and bandwidth of an admitted transaction.
    pub(crate) fn consume(&mut self, admission: &Admission, nonce: u64, now_ms: u64) {
        let parameters = &self.parameters.bandwidth;
        let load = self.state.load().at(parameters, now_ms).plus(admission.charged_bytes);
        self.state.set_load(load);
        self.state.update_account(admission.sender, |account| {
            account.bandwidth.refresh(parameters, capacity_bytes(parameters, account.balance), now_ms);
            account.bandwidth.spend(admission.cost_byte_ms);
            if admission.key.is_none() {
                account.nonces.consume(nonce);
            }
        });
        if let Some(key) = admission.key {
            self.state.update_key(key, |key| key.nonces.consume(nonce));
        }
    }

    /// All checks but that of bandwidth. The order is that of [`DropReason`].
    fn admit(&self, transaction: &Transaction, now_ms: u64) -> Result<Admission, Refusal> {
        let refuse = |reason| Refusal { reason, passes_at_ms: None };
        let sender = self.state.slot_of(&transaction.sender).ok_or(refuse(DropReason::UnknownSender))?;
        let (key, nonces) = self.authority(transaction, sender, now_ms).ok_or(refuse(DropReason::UnknownKey))?;
        if now_ms > transaction.valid_until_ms {
            return Err(refuse(DropReason::Expired));
        }
        let validity_max_ms = self.parameters.validity_max_ms;
        if transaction.valid_until_ms - now_ms > validity_max_ms {
            let passes_at_ms = Some(transaction.valid_until_ms - validity_max_ms);
            return Err(Refusal { reason: DropReason::ValidTooLong, passes_at_ms });
        }
        nonces.check(transaction.nonce).map_err(refuse)?;
        let charged_bytes = self.charged_bytes(transaction);
        Ok(Admission { sender, key, charged_bytes, cost_byte_ms: self.cost_byte_ms(charged_bytes, now_ms) })
    }

    /// The slot of the delegated key, if one signed, and the nonces of the authority; `None` if there is no such key at this time.
    fn authority(&self, transaction: &Transaction, sender: u32, now_ms: u64) -> Option<(Option<u32>, &NonceWindow)> {
        match &transaction.authority {
            Authority::Root => Some((None, &self.state.in_slot(sender).nonces)),
            Authority::Key(public_key) => {
                let slot = self.state.key_slot(&transaction.sender, public_key)?;
                let key = self.state.key_in_slot(slot);
                (!key.is_expired(now_ms)).then_some((Some(slot), &key.nonces))
            }
        }
    }

    fn cost_byte_ms(&self, charged_bytes: u64, now_ms: u64) -> i128 {
        self.parameters.bandwidth.byte_ms(self.multiplier(now_ms).times(charged_bytes))
    }

    /// −F: how far Root may overdraw in a block.
    fn root_floor_byte_ms(&self) -> i128 {
        -self.parameters.bandwidth.byte_ms(self.parameters.bandwidth.base_bytes.into())
    }

    fn key_floor_byte_ms(&self) -> i128 {
        self.parameters.bandwidth.byte_ms(self.parameters.bandwidth.key_floor_bytes.into())
    }
}
