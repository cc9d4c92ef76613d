//! Holds: money that is set aside for a payee, under a condition. Deposits and authorisations, tabs, payment channels, swaps.
//!
//! A hold is called by the id of the transaction that opened it. The opening takes the amount and a small reserve from the payer's balance.
//!
//! | condition | who captures | how much |
//! |---|---|---|
//! | `Payee` | the payee | up to the amount, at will |
//! | `Voucher { key, close_delay_ms }` | anybody, for the payee, with a signature of `key` ([`crate::voucher`]) | what the voucher says |
//! | `Hashlock { digest }` | anybody, for the payee, with 32 bytes whose SHA-256 is the digest | all of it, which closes the hold |
//!
//! Whoever sends a capture pays the bandwidth, and the money goes to the payee: a watcher can serve a payee that is offline.
//!
//! # States
//! `end = min(expires_at, closing_at)`; `closing_at` is set when the payer of a voucher hold releases it: the time of that commit
//! plus the close delay. A hold is *open*, *closing* (`closing_at` is set) or *ended* (`now ≥ end`); nothing happens by itself, so an ended hold
//! stays where it is until somebody releases it.
//!
//! | operation | by | open | closing | ended |
//! |---|---|---|---|---|
//! | `Capture` | the payee; with voucher or preimage anybody | pays | pays | `HoldEnded` |
//! | `Capture`, `final` | the payee | pays, closes | pays, closes | `HoldEnded` |
//! | `Capture`, `final`, or of a `Payee` hold | anybody else | `NotEntitled` | `NotEntitled` | `NotEntitled` |
//! | `TopUp` | the payer | more, later | `HoldClosing` | `HoldEnded` |
//! | `TopUp` | anybody else | `NotEntitled` | `NotEntitled` | `NotEntitled` |
//! | `Release` | the payee | closes | closes | closes |
//! | `Release` | the payer of a `Voucher` hold | starts closing | nothing | closes |
//! | `Release` | the payer of another hold, anybody else | `NotEntitled` | `NotEntitled` | closes |
//!
//! - To pay is to move `cumulative − captured` from the hold to the payee's balance. A `cumulative` up to what was captured already
//!   succeeds and pays nothing: so vouchers may arrive in any order.
//! - From a `Hashlock` hold all of the amount is paid, whatever `cumulative` says up to it. Else a payer who sees the preimage in a capture
//!   under way could have each one refused by a top-up of one mite ahead of it, until the hold ends.
//! - To close is to give the rest and the reserve back to the payer, and to free the slot. Every later operation on it is `NoSuchHold`.
//! - A closing hold that has ended counts as ended (`HoldEnded`, not `HoldClosing`).
//! - A top-up by a delegated key that moves the expiry counts as spending what is left in the hold once more, against the limits of the
//!   key and of the account: else a key with a budget of one mite could lock a large hold for 400 days.
//! - What is set aside in all, over the life of a hold, is at most 2^64 − 1 mites (`AmountOverflow`).
//! - The proof must be of the kind of the condition: none for `Payee`, else `BadProof`.
//!
//! Neither account can be reclaimed while the hold is there.

use crate::address::Address;
use crate::amount::Amount;
use crate::block::ResultCode;
use crate::codec;
use crate::context::Context;
use crate::hash::{ChainHash, Digest};
use crate::keys::PublicKey;
use crate::object::Object;
use crate::transaction::{Capture, OpenHold, Proof, TransactionId};
use crate::voucher::Voucher;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The furthest that a hold's expiry may lie ahead of the commit that opens it or tops it up, in milliseconds: 400 days.
pub const EXPIRY_AHEAD_MS_MAX: u64 = 400 * 86_400_000;

/// The shortest and the longest close delay of a voucher hold, in milliseconds: an hour and 30 days.
pub const CLOSE_DELAY_MS: std::ops::RangeInclusive<u64> = 3_600_000..=30 * 86_400_000;

/// The most bytes that the encoding of a hold takes, without its id.
pub const HOLD_BYTES_MAX: usize = 32 + 32 + 8 + 8 + CONDITION_BYTES_MAX + 8 + 9 + 33 + 8;

/// The most bytes that the encoding of a condition takes.
pub(crate) const CONDITION_BYTES_MAX: usize = 1 + 32 + 8;

/// A hold as the state has it.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Who opened it. In JSON the hexadecimal digits of the key, as the payee.
    #[serde(with = "codec::hex")]
    pub payer: Address,
    /// Whom it is for.
    #[serde(with = "codec::hex")]
    pub payee: Address,
    /// What was set aside in all, top-ups included; over a long life more than all the money there is.
    pub amount: Amount,
    /// What of it was paid to the payee.
    pub captured: Amount,
    /// What a capture needs.
    pub condition: Condition,
    /// The end, unless it closes before, in milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// When the closing that the payer started is over, in milliseconds since the Unix epoch.
    pub closing_at_ms: Option<u64>,
    /// The payee's own mark for this payment.
    pub reference: Option<Digest>,
    /// What is locked for its existence, of the payer's.
    pub reserve: Amount,
}

/// What a capture of a hold needs. A tag, once given, is never used for anything else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// The payee's own transaction.
    Payee,
    /// A voucher.
    Voucher {
        /// The key that signs vouchers.
        key: PublicKey,
        /// How long the payee has to capture after the payer started closing, in milliseconds, within [`CLOSE_DELAY_MS`].
        #[borsh(deserialize_with = "read_close_delay")]
        close_delay_ms: u64,
    },
    /// A preimage.
    Hashlock {
        /// The SHA-256 of the preimage.
        digest: Digest,
    },
}

impl Hold {
    /// From when on nothing can be captured any more, in milliseconds since the Unix epoch.
    pub fn end_ms(&self) -> u64 {
        self.closing_at_ms.map_or(self.expires_at_ms, |closing_at_ms| closing_at_ms.min(self.expires_at_ms))
    }

    /// What is left in it for payee or payer.
    pub fn rest(&self) -> Amount {
        self.amount.checked_sub(self.captured).expect("no more is captured than there is")
    }

    /// All the money in it.
    pub(crate) fn held_mites(&self) -> u128 {
        u128::from(self.rest().mites()) + u128::from(self.reserve.mites())
    }

    fn is_ended(&self, now_ms: u64) -> bool {
        now_ms >= self.end_ms()
    }
}

/// The digest of a hashlock that this preimage opens: its SHA-256.
pub fn hashlock(preimage: &[u8; 32]) -> Digest {
    Digest(Sha256::digest(preimage).into())
}

/// Executes or rejects an `OpenHold`.
pub(crate) fn open(context: &mut Context<'_>, operation: &OpenHold) -> Result<(), ResultCode> {
    let OpenHold { payee, amount, condition, expires_at_ms, reference } = *operation;
    let payer = context.state.address_in_slot(context.sender);
    if payee == payer {
        return Err(ResultCode::PayeeIsSender);
    }
    let payee_slot = context.state.slot_of(&payee).ok_or(ResultCode::NoSuchAccount)?;
    if expires_at_ms <= context.now_ms || expires_at_ms - context.now_ms > EXPIRY_AHEAD_MS_MAX {
        return Err(ResultCode::ExpiryOutOfRange);
    }
    let reserve = context.parameters.hold_reserve;
    let spent = u128::from(amount.mites()) + u128::from(reserve.mites());
    context.check_limits(spent, std::iter::once(&payee))?;
    let rest = context.state.in_slot(context.sender).balance.checked_sub(amount);
    if rest.ok_or(ResultCode::InsufficientBalance)? < reserve {
        return Err(ResultCode::InsufficientReserve);
    }
    context.record_spent(spent);
    context.debit(context.sender, amount);
    context.debit(context.sender, reserve);
    count_holds(context, [context.sender, payee_slot], |holds| holds + 1);
    let captured = Amount::ZERO;
    let hold =
        Hold { payer, payee, amount, captured, condition, expires_at_ms, closing_at_ms: None, reference, reserve };
    context.state.insert(Object::hold(context.id, hold));
    Ok(())
}

/// Executes or rejects a `Capture`.
pub(crate) fn capture(context: &mut Context<'_>, operation: &Capture) -> Result<(), ResultCode> {
    let Capture { hold: id, cumulative, is_final, .. } = *operation;
    let slot = context.state.hold_slot(&id).ok_or(ResultCode::NoSuchHold)?;
    let hold = context.state.hold_in_slot(slot).clone();
    let by_payee = context.state.address_in_slot(context.sender) == hold.payee;
    if !by_payee && (is_final || hold.condition == Condition::Payee) {
        return Err(ResultCode::NotEntitled);
    }
    if hold.is_ended(context.now_ms) {
        return Err(ResultCode::HoldEnded);
    }
    let is_hashlock = matches!(hold.condition, Condition::Hashlock { .. });
    if cumulative > hold.amount {
        return Err(ResultCode::WrongCumulative);
    }
    if !proves(&operation.proof, &hold.condition, context.chain, id, cumulative) {
        return Err(ResultCode::BadProof);
    }
    let cumulative = if is_hashlock { hold.amount } else { cumulative };
    if let Some(paid) = cumulative.checked_sub(hold.captured).filter(|paid| !paid.is_zero()) {
        let payee = context.state.slot_of(&hold.payee).expect("an account that is party to a hold stays");
        context.state.update_hold(slot, |hold| hold.captured = cumulative);
        context.pay(payee, paid, hold.payer, hold.reference.map(|reference| reference.0));
    }
    if is_final || is_hashlock {
        close(context, slot);
    }
    Ok(())
}

/// Executes or rejects a `Release`.
pub(crate) fn release(context: &mut Context<'_>, id: &TransactionId) -> Result<(), ResultCode> {
    let slot = context.state.hold_slot(id).ok_or(ResultCode::NoSuchHold)?;
    let hold = context.state.hold_in_slot(slot);
    let sender = context.state.address_in_slot(context.sender);
    if hold.is_ended(context.now_ms) || sender == hold.payee {
        close(context, slot);
        return Ok(());
    }
    let Condition::Voucher { close_delay_ms, .. } = hold.condition else { return Err(ResultCode::NotEntitled) };
    if sender != hold.payer {
        return Err(ResultCode::NotEntitled);
    }
    if hold.closing_at_ms.is_none() {
        let closing_at_ms = context.now_ms.saturating_add(close_delay_ms);
        context.state.update_hold(slot, |hold| hold.closing_at_ms = Some(closing_at_ms));
    }
    Ok(())
}

/// Executes or rejects a `TopUp` by `amount`, with the new expiry.
pub(crate) fn top_up(
    context: &mut Context<'_>,
    id: &TransactionId,
    amount: Amount,
    expires_at_ms: u64,
) -> Result<(), ResultCode> {
    let slot = context.state.hold_slot(id).ok_or(ResultCode::NoSuchHold)?;
    let hold = context.state.hold_in_slot(slot);
    if context.state.address_in_slot(context.sender) != hold.payer {
        return Err(ResultCode::NotEntitled);
    }
    if hold.is_ended(context.now_ms) {
        return Err(ResultCode::HoldEnded);
    }
    if hold.closing_at_ms.is_some() {
        return Err(ResultCode::HoldClosing);
    }
    if expires_at_ms < hold.expires_at_ms || expires_at_ms - context.now_ms > EXPIRY_AHEAD_MS_MAX {
        return Err(ResultCode::ExpiryOutOfRange);
    }
    // What was captured counts, so the sum can exceed the supply: money that was captured can be set aside again.
    let total = hold.amount.checked_add(amount).ok_or(ResultCode::AmountOverflow)?;
    let rest = if context.key.is_some() && expires_at_ms > hold.expires_at_ms { hold.rest() } else { Amount::ZERO };
    let spent = u128::from(rest.mites()) + u128::from(amount.mites());
    context.check_limits(spent, std::iter::once(&hold.payee))?;
    if context.state.in_slot(context.sender).balance < amount {
        return Err(ResultCode::InsufficientBalance);
    }
    context.record_spent(spent);
    context.debit(context.sender, amount);
    context.state.update_hold(slot, |hold| {
        hold.amount = total;
        hold.expires_at_ms = expires_at_ms;
    });
    Ok(())
}

fn proves(proof: &Proof, condition: &Condition, chain: &ChainHash, hold: TransactionId, cumulative: Amount) -> bool {
    match (proof, condition) {
        (Proof::None, Condition::Payee) => true,
        (Proof::Voucher(signature), Condition::Voucher { key, .. }) => {
            Voucher { hold, cumulative, signature: *signature }.verify(chain, key).is_ok()
        }
        (Proof::Preimage(preimage), Condition::Hashlock { digest }) => hashlock(preimage) == *digest,
        _ => false,
    }
}

/// Gives the rest and the reserve back to the payer and frees the slot.
fn close(context: &mut Context<'_>, slot: u32) {
    let hold = context.state.remove_hold(slot);
    let [payer, payee] = [&hold.payer, &hold.payee]
        .map(|party| context.state.slot_of(party).expect("an account that is party to a hold stays"));
    count_holds(context, [payer, payee], |holds| holds.checked_sub(1).expect("it was counted at its opening"));
    let returned = hold.rest().checked_add(hold.reserve).expect("all money together is less than 2^64 mites");
    if !returned.is_zero() {
        context.pay(payer, returned, hold.payee, hold.reference.map(|reference| reference.0));
    }
}

fn count_holds(context: &mut Context<'_>, accounts: [u32; 2], change: fn(u32) -> u32) {
    for slot in accounts {
        context
            .state
            .update_account(slot, |account| account.update_extras(|extras| extras.holds = change(extras.holds)));
    }
}

fn read_close_delay<R: std::io::Read>(reader: &mut R) -> std::io::Result<u64> {
    let delay_ms = u64::deserialize_reader(reader)?;
    if CLOSE_DELAY_MS.contains(&delay_ms) {
        return Ok(delay_ms);
    }
    Err(codec::malformed(format!("a close delay of {delay_ms} ms: it is an hour to 30 days")))
}
