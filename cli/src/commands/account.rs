//! `farthing balance` and `farthing history`

use super::{Context, name_of, pending, proofs};
use crate::args::HistoryArgs;
use crate::error::{Error, ErrorCode};
use crate::output;
use farthing_client::{Direction, HistoryEntry, HistoryQuery, OperationName};
use farthing_core::block::ResultCode;
use serde_json::json;

/// Shows what an account holds.
pub async fn balance(context: &Context, argument: Option<&str>) -> Result<(), Error> {
    let network = context.network()?;
    let address = context.account(&network, argument)?.encode(network.prefix());
    pending::settle_quietly(context, &network).await;
    let account = network
        .ask(async |client| client.account(&address).await)
        .await
        .map_err(|error| no_account(error, &address))?;
    let mut fields = vec![("balance", account.balance.to_string()), ("address", account.address.clone())];
    if !account.reserve.is_zero() {
        fields.push(("reserve", format!("{} of its sponsor's, locked", account.reserve)));
    }
    context.format.print(&account, &output::fields(&fields))
}

/// Shows what an account held in a certified state, after checking the proof against the genesis document.
pub async fn proven_balance(context: &Context, argument: Option<&str>) -> Result<(), Error> {
    let network = context.network()?;
    let key = context.account(&network, argument)?;
    let address = key.encode(network.prefix());
    pending::settle_quietly(context, &network).await;
    let proof = proofs::fetch(context, &network, async |client| client.account_proof(&address).await)
        .await
        .map_err(|error| no_account(error, &address))?;
    let Some((_, account)) = proof.account().filter(|(proven, _)| **proven == key) else {
        return Err(Error::new(ErrorCode::BadProof, "the node's proof is of another account: ask another node"));
    };
    proof.verify(&network.genesis).map_err(|error| {
        Error::new(ErrorCode::BadProof, format!("the node's proof proves nothing: {error}; ask another node"))
    })?;
    let header = &proof.header;
    let value = json!({
        "address": address,
        "balance": account.balance,
        "reserve": account.reserve,
        "verified": { "before_height": header.height, "timestamp_ms": header.timestamp_ms, "block_hash": header.hash() },
    });
    let mut fields = vec![("balance", account.balance.to_string()), ("address", address)];
    if !account.reserve.is_zero() {
        fields.push(("reserve", format!("{} of its sponsor's, locked", account.reserve)));
    }
    let as_of = format!("before block {} of {}, by a certificate", header.height, output::time(header.timestamp_ms));
    fields.push(("verified", as_of));
    context.format.print(&value, &output::fields(&fields))
}

/// Shows what went in and out.
pub async fn history(context: &Context, args: HistoryArgs) -> Result<(), Error> {
    let network = context.network()?;
    let address = context.account(&network, args.account.as_deref())?.encode(network.prefix());
    pending::settle_quietly(context, &network).await;
    let query = HistoryQuery { cursor: args.cursor, limit: Some(args.limit) };
    let page = network
        .ask(async |client| client.history(&address, &query).await)
        .await
        .map_err(|error| no_account(error, &address))?;
    let mut text = match page.entries.is_empty() {
        true => "nothing yet".to_string(),
        false => output::table(&page.entries.iter().map(row).collect::<Vec<_>>()),
    };
    if let Some(cursor) = &page.next {
        text.push_str(&format!("more: --cursor {cursor}"));
    }
    context.format.print(&page, &text)
}

/// Says what to do about an account that does not exist.
fn no_account(error: Error, address: &str) -> Error {
    if error.code != ErrorCode::NoSuchAccount {
        return error;
    }
    let message =
        format!("{address} has no account yet: it is opened by the first payment to it that is sent with --open");
    Error { message, ..error }
}

/// An entry in cells.
pub fn row(entry: &HistoryEntry) -> Vec<String> {
    let sign = match entry.direction {
        Direction::In => "+",
        Direction::Out => "-",
        Direction::ToSelf => "=",
    };
    let other = match (&entry.counterparty, entry.outputs) {
        (Some(address), _) => output::shorten(address),
        (None, 0 | 1) => String::new(),
        (None, outputs) => format!("{outputs} payees"),
    };
    let result = if entry.code == ResultCode::Executed { String::new() } else { name_of(&entry.code) };
    let reference = entry.reference.as_deref().map(reference_text).unwrap_or_default();
    let operation = match entry.operation {
        OperationName::Transfer => String::new(),
        other => name_of(&other),
    };
    let note = [result, operation, reference].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    let amount = if entry.amount.is_zero() { String::new() } else { format!("{sign}{}", entry.amount) };
    vec![output::time(entry.timestamp_ms), amount, other, entry.id.to_string(), note]
}

/// A reference as the text that it was made from, or its digits.
fn reference_text(digits: &str) -> String {
    let bytes = hex::decode(digits).unwrap_or_default();
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let padded = bytes.len() == 32 && bytes[text.len()..].iter().all(|byte| *byte == 0);
    match std::str::from_utf8(text) {
        Ok(text) if padded && !text.is_empty() && !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => output::shorten(digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_made_from_text_is_shown_as_text() {
        let padded = |text: &str| format!("{:0<64}", hex::encode(text));
        assert_eq!(reference_text(&padded("order 17")), "\"order 17\"");
        assert_eq!(reference_text(&"ab".repeat(32)), "abababababab…ababab");
        assert_eq!(reference_text(&padded("a\nb")), "610a62000000…000000", "no control characters on the terminal");
        assert_eq!(reference_text(&"00".repeat(32)), "000000000000…000000");
    }
}
