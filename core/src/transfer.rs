//! One transfer: all of its outputs, or a rejection.
//!
//! The total of the outputs is debited first; then the outputs are credited in order. An output to an address without an
//! account opens it at its turn, which locks the reserve from what the sender's balance is then. So:
//! - A sender needs the whole total even for what it pays to itself, but an output to itself can pay for the reserve of a
//!   **later** output, not of an earlier one.
//! - An output without `open` may pay an account that an earlier output of the same transfer opens.
//! - Paying the same address twice opens it once.
//!
//! What counts against the limits of key and policy is the total and the reserves, whoever is paid.
//!
//! Everything is decided before anything changes. Where several codes apply, the lowest is given, wherever in the list of outputs
//! it arises.

use crate::account::Account;
use crate::address::Address;
use crate::amount::Amount;
use crate::bandwidth::Bandwidth;
use crate::block::ResultCode;
use crate::context::Context;
use crate::object::Object;
use crate::state::State;
use crate::transaction::Output;
use std::collections::BTreeSet;

/// Executes or rejects a transfer.
pub(crate) fn execute(context: &mut Context<'_>, outputs: &[Output]) -> Result<(), ResultCode> {
    let plan = plan(context, outputs)?;
    apply(context, outputs, &plan);
    Ok(())
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

/// A transfer that can be done.
struct Plan {
    payees: Vec<Payee>,
    total: Amount,
    /// The total and the reserves.
    spent_mites: u128,
}

fn plan(context: &Context<'_>, outputs: &[Output]) -> Result<Plan, ResultCode> {
    let mut opened = BTreeSet::new();
    let payees: Vec<Payee> =
        outputs.iter().map(|output| payee(context.state, output, &mut opened)).collect::<Result<_, _>>()?;
    let total = Amount::checked_sum(outputs.iter().map(|output| output.amount)).ok_or(ResultCode::AmountOverflow)?;
    let reserve = context.parameters.account_reserve;
    let spent_mites = u128::from(total.mites()) + opened.len() as u128 * u128::from(reserve.mites());
    context.check_limits(spent_mites, outputs.iter().map(|output| &output.to))?;
    let balance = context.state.in_slot(context.sender).balance;
    let rest = balance.checked_sub(total).ok_or(ResultCode::InsufficientBalance)?;
    check_reserves(context.sender, rest, outputs, &payees, reserve)?;
    Ok(Plan { payees, total, spent_mites })
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
            Payee::InSlot(slot) if slot == sender => {
                rest = rest.checked_add(output.amount).expect("no more than the balance was");
            }
            Payee::InSlot(_) | Payee::OpenedBefore => {}
        }
    }
    Ok(())
}

fn apply(context: &mut Context<'_>, outputs: &[Output], plan: &Plan) {
    context.record_spent(plan.spent_mites);
    context.debit(context.sender, plan.total);
    for (output, payee) in outputs.iter().zip(&plan.payees) {
        let slot = match *payee {
            Payee::InSlot(slot) => slot,
            Payee::OpenedBefore => context.state.slot_of(&output.to).expect("opened by an earlier output"),
            Payee::Opens => open(context, output.to),
        };
        context.credit(slot, output.amount);
    }
}

/// Opens an account, with the sender as its sponsor. Returns its slot.
fn open(context: &mut Context<'_>, address: Address) -> u32 {
    let (parameters, reserve) = (&context.parameters.bandwidth, context.parameters.account_reserve);
    let sponsor = context.state.address_in_slot(context.sender);
    let bandwidth = Bandwidth::new(parameters, parameters.base_bytes.into(), context.now_ms);
    context.debit(context.sender, reserve);
    context.state.insert(Object::Account { address, account: Account::opened(sponsor, reserve, bandwidth) })
}
