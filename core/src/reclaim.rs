//! Reclaiming: freeing the slot of an account that was empty and untouched for long.
//!
//! Anybody may reclaim an account of which all of this holds; otherwise the transaction is rejected with `NotReclaimable`:
//! - its balance is 0, and for more than `reclaim_after_ms` (24 h) nothing was paid to it and none of its nonces was used;
//! - if it has a policy, the raise delay has passed since, too: else its money's owner could be rid of the policy sooner than by
//!   loosening it, since an account that is opened again has none;
//! - it has no delegated keys (tombstones do not count: they are past their time by then);
//! - it is payer or payee of no hold;
//! - its bandwidth is full. An account that is opened again begins with a full one, so freeing and opening it mints nothing.
//!
//! The reserve goes back to the sponsor, if it still has an account, else to the sender of the reclaim.
//!
//! **Freed accounts that are opened again replay nothing.** An account that is opened again begins with a new nonce window, so what keeps
//! its old transactions out is their validity: whatever used a nonce did so more than `reclaim_after_ms` ago, and could be valid
//! for at most `validity_max_ms` from then on, which genesis demands to be no more than `reclaim_after_ms`. The same holds for a transaction that
//! was superseded by another one with its nonce, provided that its `valid_until_ms` was within `validity_max_ms` of that one's block.

use crate::address::Address;
use crate::bandwidth::capacity_bytes;
use crate::block::ResultCode;
use crate::context::Context;

/// Executes or rejects a `Reclaim`.
pub(crate) fn execute(context: &mut Context<'_>, address: &Address) -> Result<(), ResultCode> {
    let slot = context.state.slot_of(address).ok_or(ResultCode::NoSuchAccount)?;
    if !is_reclaimable(context, slot) {
        return Err(ResultCode::NotReclaimable);
    }
    assert_ne!(slot, context.sender, "the sender used a nonce just now");
    let account = context.state.remove_account(slot);
    let sponsor = account.sponsor.and_then(|sponsor| context.state.slot_of(&sponsor));
    if !account.reserve.is_zero() {
        context.pay(sponsor.unwrap_or(context.sender), account.reserve, *address, None);
    }
    Ok(())
}

fn is_reclaimable(context: &Context<'_>, slot: u32) -> bool {
    let account = context.state.in_slot(slot);
    let parameters = &context.parameters.bandwidth;
    let raise_delay_ms = account.policy().map_or(0, |policy| policy.settings_at(context.now_ms).raise_delay_ms);
    let idle_ms = context.parameters.reclaim_after_ms.max(raise_delay_ms);
    let idle = account.empty_since_ms().is_some_and(|since| context.now_ms - since > idle_ms);
    let capacity = capacity_bytes(parameters, account.balance);
    let is_full = account.bandwidth.available(parameters, capacity, context.now_ms) == parameters.byte_ms(capacity);
    idle && is_full && account.keys().is_empty() && account.holds() == 0
}
