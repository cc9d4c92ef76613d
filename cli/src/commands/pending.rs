//! `farthing pending`: the payments whose outcome is open.

use super::{Context, explain, name_of, now_ms};
use crate::delivery::{Finding, find_out};
use crate::describe;
use crate::error::Error;
use crate::journal::{self, Entry, Journal};
use crate::network::Network;
use crate::output::{self, note};
use farthing_client::TransactionState;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long other commands spend on payments of earlier ones.
const QUIET_TIME: Duration = Duration::from_secs(5);

/// Asks about every open payment, and shows them.
pub async fn run(context: &Context) -> Result<(), Error> {
    let network = context.network()?;
    let found = settle(context, &network, Instant::now() + context.timeout).await?;
    if found.is_empty() {
        return context.format.print(&json!({ "payments": [] }), "no payment is open");
    }
    let rows: Vec<Vec<String>> = found.iter().map(|(entry, finding)| row(&network, entry, finding)).collect();
    let values: Vec<Value> = found.iter().map(|(entry, finding)| to_json(&network, entry, finding)).collect();
    context.format.print(&json!({ "payments": values }), &output::table(&rows))
}

/// Asks about the open payments of earlier commands before another one does its own work, and tells on standard error what
/// became of them. Failures are left to that command to run into.
pub async fn settle_quietly(context: &Context, network: &Network) {
    match settle(context, network, Instant::now() + QUIET_TIME).await {
        Ok(found) => {
            for (entry, finding) in found.iter().filter(|(_, finding)| !matches!(finding, Finding::Open { .. })) {
                note(&format!("note: an earlier payment: {}", row(network, entry, finding).join("  ")));
            }
        }
        Err(error) => note(&format!("note: payments of earlier commands could not be looked at: {error}")),
    }
}

/// What became of every payment in the journals that no other process is working on; forgets those that are settled.
async fn settle(context: &Context, network: &Network, deadline: Instant) -> Result<Vec<(Entry, Finding)>, Error> {
    let mut found = Vec::new();
    for signatory in journal::signatories(&context.home, &network.chain)? {
        let journal = Journal::open(&context.home, &network.chain, &signatory)?;
        for nonce in journal.open_nonces()? {
            let Some(payment) = journal.claim(nonce)? else { continue };
            let Ok(finding) = tokio::time::timeout_at(deadline.into(), find_out(network, &payment.entry)).await else {
                return Ok(found);
            };
            let finding = finding?;
            let entry = payment.entry.clone();
            if !matches!(finding, Finding::Open { .. }) {
                payment.settle()?;
            }
            found.push((entry, finding));
        }
    }
    Ok(found)
}

/// The state of a payment in a word, and in a sentence.
fn state_of(entry: &Entry, finding: &Finding) -> (String, String) {
    let nothing = describe::nothing(&entry.signed.transaction.operation);
    match finding {
        Finding::Settled(status) => {
            let block = status.block.map(|block| format!("block {}", block.height)).unwrap_or_default();
            let text = match (status.status, status.code) {
                (TransactionState::Rejected, Some(code)) => format!("{block}: {}; {nothing}", explain(code)),
                (TransactionState::Expired, _) => format!("it was never in a block; {nothing}"),
                _ => block,
            };
            (name_of(&status.status), text)
        }
        Finding::NeverExecuted => ("expired".into(), format!("it was never in a block; {nothing}")),
        Finding::NonceUsed => (
            "unknown".into(),
            "its number was used, but the nodes no longer know by what: look at `farthing history`".into(),
        ),
        Finding::Open { why } => {
            let valid_until_ms = entry.signed.transaction.valid_until_ms;
            let until = if valid_until_ms > now_ms() { "may execute until" } else { "could execute until" };
            ("open".into(), format!("{why}; {until} {}", output::time(valid_until_ms)))
        }
    }
}

fn row(network: &Network, entry: &Entry, finding: &Finding) -> Vec<String> {
    let (state, text) = state_of(entry, finding);
    let what = describe::operation(&entry.signed.transaction.operation, network.prefix());
    vec![state, what, entry.id.to_string(), text]
}

fn to_json(network: &Network, entry: &Entry, finding: &Finding) -> Value {
    let (state, detail) = state_of(entry, finding);
    let transaction = &entry.signed.transaction;
    let to = match transaction.outputs() {
        [output] => Some(output.to.encode(network.prefix())),
        _ => None,
    };
    let status = match finding {
        Finding::Settled(status) => Some(status),
        _ => None,
    };
    json!({
        "id": entry.id,
        "status": state,
        "code": status.and_then(|status| status.code),
        "block": status.and_then(|status| status.block),
        "detail": detail,
        "from": transaction.sender.encode(network.prefix()),
        "operation": describe::operation(&transaction.operation, network.prefix()),
        "to": to,
        "amount": describe::amount(&transaction.operation),
        "nonce": transaction.nonce,
        "created_ms": entry.created_ms,
        "valid_until_ms": transaction.valid_until_ms,
    })
}
