//! `farthing send`: checks what can be checked, signs, writes the journal, sends, and waits until the payment is final.

use super::{Context, explain, name_of, now_ms, pending};
use crate::args::SendArgs;
use crate::delivery::{Delivery, deliver};
use crate::error::{Error, ErrorCode};
use crate::journal::{InFlight, Journal};
use crate::network::Network;
use crate::output;
use crate::{keystore, prompt};
use farthing_client::{
    AccountView, DroppedReason, ProblemCode, TransactionState, TransactionStatus, Wait, transfer, validity_ms,
};
use farthing_core::address::Address;
use farthing_core::amount::{Amount, AmountError};
use farthing_core::block::ResultCode;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::Output;
use serde_json::json;
use std::time::{Duration, Instant};

/// How often to look whether the oldest open payment is settled, when there are as many as may be.
const WINDOW_POLL: Duration = Duration::from_millis(250);

/// A payment before it has a number and a signature.
struct Payment {
    payer: Address,
    output: Output,
}

/// Pays somebody.
pub async fn run(context: &Context, args: SendArgs) -> Result<(), Error> {
    let amount = parse_amount(&args.amount)?;
    let reference = args.reference.as_deref().map(parse_reference).transpose()?;
    let network = context.network()?;
    let to = keystore::resolve(&context.home, &args.to, network.prefix())?;
    let key = keystore::select(&context.home, args.from.as_deref(), network.profile.from.as_deref())?;
    let payment = Payment { payer: key.address(), output: Output { to, amount, reference, open: args.open } };

    pending::settle_quietly(context, &network).await;
    let account = check(&network, &payment).await?;
    if !args.yes && !network.profile.is_local() && prompt::is_interactive() {
        let question = format!("Pay {amount} to {} on {}?", to.encode(network.prefix()), network.genesis.network());
        if !prompt::confirm(&question, "--yes")? {
            return Err(Error::usage("nothing was sent"));
        }
    }
    let secret = key.unlock(args.password_file.as_deref())?;

    let deadline = Instant::now() + context.timeout;
    let in_flight = prepare(context, &network, &payment, &account, &secret, deadline).await?;
    let started = Instant::now();
    let wait = if args.no_wait { Wait::Accepted } else { Wait::Final };
    let delivery = deliver(&network, &in_flight.entry, wait, deadline).await;
    report(context, &network, in_flight, delivery, started.elapsed())
}

/// Refuses what the ledger would reject, before anything is signed. Returns the payer's account.
async fn check(network: &Network, payment: &Payment) -> Result<AccountView, Error> {
    let prefix = network.prefix();
    let payer = payment.payer.encode(prefix);
    let account = network.ask(async |client| client.account(&payer).await).await.map_err(|error| match error.code {
        ErrorCode::NoSuchAccount => Error::new(
            ErrorCode::InsufficientFunds,
            format!(
                "{payer} has no account yet, so it has nothing to pay with: have somebody pay to it with --open first"
            ),
        ),
        _ => error,
    })?;
    let (to, amount) = (payment.output.to, payment.output.amount);
    let mut needed = Some(amount);
    if !has_account(network, &to).await? {
        if !payment.output.open {
            return Err(Error::new(
                ErrorCode::NoSuchAccount,
                format!(
                    "{} has no account: check the address; if you are sure, --open opens the account, which locks {} of yours",
                    to.encode(prefix),
                    network.genesis.parameters().account_reserve
                ),
            ));
        }
        needed = amount.checked_add(network.genesis.parameters().account_reserve);
    }
    if needed.is_none_or(|needed| needed > account.balance) {
        let needed = needed.map_or_else(|| "more than there can be".into(), |needed| needed.to_string());
        let locked = if needed == amount.to_string() { "" } else { " with the reserve of the new account" };
        return Err(Error::new(
            ErrorCode::InsufficientFunds,
            format!("the balance is {}, and this needs {needed}{locked}: nothing was sent", account.balance),
        )
        .with("balance", account.balance.mites().to_string()));
    }
    Ok(account)
}

async fn has_account(network: &Network, address: &Address) -> Result<bool, Error> {
    let text = address.encode(network.prefix());
    network
        .ask(async |client| match client.account(&text).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(ProblemCode::NoSuchAccount) => Ok(false),
            Err(error) => Err(error),
        })
        .await
}

/// Numbers and signs the payment and writes it to the journal. Waits while there are as many open payments as may be.
async fn prepare(
    context: &Context,
    network: &Network,
    payment: &Payment,
    account: &AccountView,
    secret: &SecretKey,
    deadline: Instant,
) -> Result<InFlight, Error> {
    let journal = Journal::open(&context.home, &network.chain, &payment.payer)?;
    loop {
        let lock = journal.lock()?;
        match lock.next_nonce(account.nonce_high) {
            Ok(nonce) => {
                let now = now_ms();
                let valid_until_ms = now + validity_ms(network.genesis.parameters());
                let outputs = vec![payment.output.clone()];
                let signed = transfer(&network.chain, secret, nonce, valid_until_ms, outputs)
                    .map_err(|error| Error::usage(error.to_string()))?;
                return lock.record(signed, now);
            }
            Err(error) if error.code == ErrorCode::TooManyOpen && Instant::now() + WINDOW_POLL < deadline => {
                // Others need the lock to settle theirs.
                drop(lock);
                tokio::time::sleep(WINDOW_POLL).await;
                pending::settle_quietly(context, network).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tells the user, and settles the journal wherever the outcome is known.
fn report(
    context: &Context,
    network: &Network,
    in_flight: InFlight,
    delivery: Delivery,
    took: Duration,
) -> Result<(), Error> {
    let id = in_flight.entry.id.to_string();
    let error = match delivery {
        Delivery::Settled(status) if status.status == TransactionState::Executed => {
            let text = executed_text(&status, took);
            print(context, network, &in_flight, &status, took, &text)?;
            return in_flight.settle();
        }
        Delivery::Accepted(status) => {
            let text = format!("accepted in {} ms  id {id}", took.as_millis());
            // It stays in the journal until a later command has seen it settled.
            return print(context, network, &in_flight, &status, took, &text);
        }
        Delivery::Settled(status) if status.status == TransactionState::Rejected => rejected(&status),
        Delivery::Settled(status) => Error::new(
            ErrorCode::Expired,
            detailed("the payment expired before it was in a block: it never will be; nothing was paid", &status),
        ),
        Delivery::Refused(status) => refused(&status),
        Delivery::NotSent(error) => error,
        Delivery::Unknown { last } => return Err(unknown(&in_flight, &last).with("id", id)),
    };
    in_flight.settle()?;
    Err(error.with("id", id))
}

fn executed_text(status: &TransactionStatus, took: Duration) -> String {
    let block = status.block.map(|block| format!("  block {}", block.height)).unwrap_or_default();
    format!("final in {} ms{block}  id {}", took.as_millis(), status.id)
}

fn print(
    context: &Context,
    network: &Network,
    in_flight: &InFlight,
    status: &TransactionStatus,
    took: Duration,
    text: &str,
) -> Result<(), Error> {
    let transaction = &in_flight.entry.signed.transaction;
    let output = &transaction.outputs()[0];
    let value = json!({
        "id": status.id,
        "status": status.status,
        "block": status.block,
        "latency_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "from": transaction.sender.encode(network.prefix()),
        "to": output.to.encode(network.prefix()),
        "amount": output.amount,
        "reference": output.reference.map(hex::encode),
        "nonce": transaction.nonce,
        "valid_until_ms": transaction.valid_until_ms,
    });
    context.format.print(&value, text)
}

fn rejected(status: &TransactionStatus) -> Error {
    let Some(code) = status.code else {
        return Error::new(ErrorCode::Rejected, detailed("the payment was rejected", status));
    };
    let kind = match code {
        ResultCode::InsufficientBalance | ResultCode::InsufficientReserve => ErrorCode::InsufficientFunds,
        ResultCode::NoSuchAccount => ErrorCode::NoSuchAccount,
        _ => ErrorCode::Rejected,
    };
    let block = status.block.map(|block| format!(" in block {}", block.height)).unwrap_or_default();
    Error::new(kind, format!("rejected{block}: {}; nothing was paid", explain(code))).with("result", name_of(&code))
}

fn refused(status: &TransactionStatus) -> Error {
    let (kind, what) = match status.reason {
        Some(DroppedReason::Expired | DroppedReason::ValidTooLong) => {
            (ErrorCode::Expired, "the network's clock and this machine's differ too much: set the clock and pay again")
        }
        Some(DroppedReason::NonceUsed) => (
            ErrorCode::Dropped,
            "another wallet with the same key used this payment's number: look at `farthing history` and pay again",
        ),
        _ => (ErrorCode::Dropped, "no node took the payment"),
    };
    let error = Error::new(kind, detailed(&format!("{what}; nothing was paid"), status));
    match &status.reason {
        Some(reason) => error.with("reason", name_of(reason)),
        None => error,
    }
}

fn unknown(in_flight: &InFlight, last: &str) -> Error {
    let transaction = &in_flight.entry.signed.transaction;
    Error::new(
        ErrorCode::OutcomeUnknown,
        format!(
            "the outcome is not known: {last}\nthe payment may have been made, or may still be until {}: do not pay again before \
             you know; `farthing pending` asks about it and sends the same payment again\nid {}",
            output::time(transaction.valid_until_ms),
            in_flight.entry.id
        ),
    )
    .with("valid_until_ms", transaction.valid_until_ms)
}

fn detailed(text: &str, status: &TransactionStatus) -> String {
    match &status.detail {
        Some(detail) => format!("{text} ({detail})"),
        None => text.into(),
    }
}

/// Parses an amount given as one or two arguments: `"0.0025 FAR"` or `0.0025 FAR`.
fn parse_amount(words: &[String]) -> Result<Amount, Error> {
    let amount = words.join(" ").parse::<Amount>();
    let amount = amount.map_err(|error: AmountError| Error::new(ErrorCode::MalformedAmount, error.to_string()))?;
    if amount.is_zero() {
        return Err(Error::new(ErrorCode::MalformedAmount, "a payment is of at least 1 mite"));
    }
    Ok(amount)
}

/// 64 hexadecimal digits as they are; a text of 1 to 32 bytes filled up with zeros.
fn parse_reference(text: &str) -> Result<[u8; 32], Error> {
    let mut reference = [0; 32];
    if text.len() == 64 && hex::decode_to_slice(text, &mut reference).is_ok() {
        return Ok(reference);
    }
    if !(1..=32).contains(&text.len()) {
        return Err(Error::usage(format!(
            "a --reference is 64 hexadecimal digits or a text of 1 to 32 bytes; this has {} bytes",
            text.len()
        )));
    }
    reference[..text.len()].copy_from_slice(text.as_bytes());
    Ok(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_digits_or_short_texts() {
        assert_eq!(parse_reference(&"ab".repeat(32)).unwrap(), [0xab; 32]);
        assert_eq!(parse_reference("order 17").unwrap()[..9], *b"order 17\0");
        assert_eq!(parse_reference(&"x".repeat(32)).unwrap(), [b'x'; 32]);
        for wrong in ["", &"x".repeat(33), &"x".repeat(64)] {
            assert_eq!(parse_reference(wrong).unwrap_err().code, ErrorCode::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn amounts_need_a_unit_and_come_in_one_word_or_two() {
        let parse = |words: &[&str]| parse_amount(&words.iter().map(|word| (*word).to_string()).collect::<Vec<_>>());
        for words in [&["0.0025 FAR"][..], &["0.0025", "FAR"], &["0.0025far"], &["2500000", "mite"]] {
            assert_eq!(parse(words).unwrap().mites(), 2_500_000, "{words:?}");
        }
        for words in [&["0.0025"][..], &["0.00000000001", "FAR"], &["1.5", "mite"], &["0", "FAR"], &["-1", "FAR"]] {
            assert_eq!(parse(words).unwrap_err().code, ErrorCode::MalformedAmount, "{words:?}");
        }
    }
}
