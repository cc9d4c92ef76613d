//! One transfer: all of its outputs, or a rejection.
//!
//! The total of the outputs is debited first; then the outputs are credited in order. An output to an address without an
//! account opens it at its turn, which locks the reserve from what the sender's balance is then. So:
//! - A sender needs the whole total even for what it pays to itself, but an output to itself can pay for the reserve of a
//!   **later** output, not of an earlier one.
//! - An output without `open` may pay an account that an earlier output of the same transfer opens.
//! - Paying the same address twice opens it once.
//!
//! Everything is decided before anything changes. Where several codes apply, the lowest is given, wherever in the list of outputs
//! it arises.

use crate::account::Account;
use crate::address::Address;
use crate::amount::Amount;
use crate::block::ResultCode;
use crate::state::State;
use crate::transaction::Output;
use std::collections::BTreeSet;

/// Executes or rejects a transfer of the account in slot `sender`, which is charged `reserve` for each account it opens.
pub(crate) fn execute(state: &mut State, sender: u32, outputs: &[Output], reserve: Amount) -> ResultCode {
    match plan(state, sender, outputs, reserve) {
        Ok((total, payees)) => {
            apply(state, sender, outputs, reserve, total, &payees);
            ResultCode::Executed
        }
        Err(code) => code,
    }
}

/// Who an output pays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Payee {
    /// The account in this slot.
    InSlot(u32),
    /// An account that this output opens.
    Opens,
    /// An account that an earlier output of the transfer opens.
    OpenedBefore,
}

/// The total and the payees, if the transfer can be done.
fn plan(state: &State, sender: u32, outputs: &[Output], reserve: Amount) -> Result<(Amount, Vec<Payee>), ResultCode> {
    let total = Amount::checked_sum(outputs.iter().map(|output| output.amount)).ok_or(ResultCode::AmountOverflow)?;
    let rest = state.in_slot(sender).balance.checked_sub(total).ok_or(ResultCode::InsufficientBalance)?;
    let mut opened = BTreeSet::new();
    let payees: Vec<Payee> =
        outputs.iter().map(|output| payee(state, output, &mut opened)).collect::<Result<_, ResultCode>>()?;
    check_reserves(sender, rest, outputs, &payees, reserve)?;
    Ok((total, payees))
}

fn payee(state: &State, output: &Output, opened: &mut BTreeSet<Address>) -> Result<Payee, ResultCode> {
    match state.slot_of(&output.to) {
        Some(slot) => Ok(Payee::InSlot(slot)),
        None if opened.contains(&output.to) => Ok(Payee::OpenedBefore),
        None if output.open => {
            opened.insert(output.to);
            Ok(Payee::Opens)
        }
        None => Err(ResultCode::NoSuchAccount),
    }
}

/// Follows the sender's balance through the outputs, from `rest`, what the total leaves of it.
fn check_reserves(
    sender: u32,
    mut rest: Amount,
    outputs: &[Output],
    payees: &[Payee],
    reserve: Amount,
) -> Result<(), ResultCode> {
    for (output, payee) in outputs.iter().zip(payees) {
        match *payee {
            Payee::Opens => rest = rest.checked_sub(reserve).ok_or(ResultCode::InsufficientReserve)?,
            Payee::InSlot(slot) if slot == sender => rest = plus(rest, output.amount),
            Payee::InSlot(_) | Payee::OpenedBefore => {}
        }
    }
    Ok(())
}

fn apply(state: &mut State, sender: u32, outputs: &[Output], reserve: Amount, total: Amount, payees: &[Payee]) {
    let sponsor = state.address_in_slot(sender);
    state.update(sender, |account| account.balance = minus(account.balance, total));
    for (output, payee) in outputs.iter().zip(payees) {
        let slot = match *payee {
            Payee::InSlot(slot) => slot,
            Payee::OpenedBefore => state.slot_of(&output.to).expect("opened by an earlier output"),
            Payee::Opens => {
                state.update(sender, |account| account.balance = minus(account.balance, reserve));
                state.open(output.to, Account::opened(sponsor, reserve))
            }
        };
        state.update(slot, |account| account.balance = plus(account.balance, output.amount));
    }
}

/// No balance can overflow, since all money together does not.
fn plus(balance: Amount, amount: Amount) -> Amount {
    balance.checked_add(amount).expect("all money together is less than 2^64 mites")
}

fn minus(balance: Amount, amount: Amount) -> Amount {
    balance.checked_sub(amount).expect("planned before")
}
