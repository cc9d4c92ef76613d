//! `farthing cancel`: makes sure that a transaction never will be final, by using up its number.
//!
//! What uses the number up is a release of a hold that there is not: it moves nothing, and is rejected whatever the account's limits
//! and balance. Its receipt proves that no other transaction with that number can execute any more.

use super::Context;
use crate::args::CancelArgs;
use crate::delivery::{Delivery, Finding, deliver, find_out};
use crate::error::{Error, ErrorCode};
use crate::journal::{Entry, InFlight};
use crate::order::Desk;
use farthing_client::{DroppedReason, TransactionState, TransactionStatus, Wait};
use farthing_core::hash::Digest;
use farthing_core::transaction::Operation;
use serde_json::json;
use std::time::Instant;

/// Cancels a transaction by its number.
pub async fn run(context: &Context, args: CancelArgs) -> Result<(), Error> {
    let network = context.network()?;
    let desk = Desk::open(context, &network, &args.signing)?;
    let high = desk.nonce_high().await?;
    let journal = desk.journal()?;
    let open = desk.claim(&journal, args.nonce).await?;
    if args.nonce == 0 || args.nonce > high.saturating_add(crate::journal::WINDOW) {
        return Err(Error::usage(format!("no transaction has the number {}: the highest seen is {high}", args.nonce)));
    }
    let secret = desk.unlock()?;
    let signed = desk.sign(&secret, args.nonce, Operation::Release { hold: Digest::ZERO });
    let id = signed.transaction.id(&network.chain);
    let entry = Entry { id, created_ms: super::now_ms(), signed };
    match deliver(&network, &entry, Wait::Final, Instant::now() + context.timeout).await {
        Delivery::Settled(status) => {
            if let Some(open) = open {
                open.settle()?;
            }
            cancelled(context, args.nonce, &status)
        }
        Delivery::Refused(status) if status.reason == Some(DroppedReason::NonceUsed) => {
            too_late(&network, args.nonce, open).await
        }
        Delivery::NotSent(error) => Err(error),
        Delivery::Refused(status) | Delivery::Accepted(status) => {
            let detail = status.detail.unwrap_or_else(|| "no node took the cancellation".into());
            Err(Error::new(ErrorCode::Dropped, detail))
        }
        Delivery::Unknown { last } => Err(Error::new(
            ErrorCode::OutcomeUnknown,
            format!("whether number {} is cancelled is not known: {last}; cancel it again", args.nonce),
        )),
    }
}

fn cancelled(context: &Context, nonce: u64, status: &TransactionStatus) -> Result<(), Error> {
    if status.status == TransactionState::Expired {
        let message = "the network's clock and this machine's differ too much: set the clock and cancel again";
        return Err(Error::new(ErrorCode::Expired, message));
    }
    let block = status.block.map(|block| format!("  block {}", block.height)).unwrap_or_default();
    let text = format!("number {nonce} is cancelled: no other transaction can have it{block}  id {}", status.id);
    context.format.print(&json!({ "cancelled": nonce, "id": status.id, "block": status.block }), &text)
}

/// The number was used: says by what, as far as the wallet knows.
async fn too_late(network: &crate::network::Network, nonce: u64, open: Option<InFlight>) -> Result<(), Error> {
    let Some(open) = open else {
        let message = format!("it is too late: number {nonce} is used already; see `farthing history`");
        return Err(Error::new(ErrorCode::Rejected, message));
    };
    let id = open.entry.id;
    let finding = find_out(network, &open.entry).await?;
    let what = match &finding {
        Finding::Settled(status) if status.status == TransactionState::Executed => "it was executed",
        Finding::Settled(_) | Finding::NeverExecuted => "it was rejected, and did nothing",
        Finding::NonceUsed | Finding::Open { .. } => "the nodes do not say by what; see `farthing history`",
    };
    if !matches!(finding, Finding::Open { .. }) {
        open.settle()?;
    }
    Err(Error::new(ErrorCode::Rejected, format!("it is too late: number {nonce} is used already: {what}"))
        .with("id", id.to_string()))
}
