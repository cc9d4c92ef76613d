//! `farthing send`: checks what can be checked, signs, writes the journal, sends, and waits until the payment is final.

use super::Context;
use crate::args::SendArgs;
use crate::error::{Error, ErrorCode};
use crate::keystore;
use crate::order::{Desk, has_account};
use farthing_client::AccountView;
use farthing_core::amount::{Amount, AmountError};
use farthing_core::transaction::{Operation, Output};
use serde_json::json;

/// Pays somebody.
pub async fn run(context: &Context, args: SendArgs) -> Result<(), Error> {
    let amount = parse_amount(&args.amount)?;
    let reference = args.reference.as_deref().map(parse_reference).transpose()?;
    let network = context.network()?;
    let to = keystore::resolve(&context.home, &args.to, network.prefix())?;
    let desk = Desk::open(context, &network, &args.signing)?;
    pay(context, &desk, Output { to, amount, reference, open: args.open }).await
}

/// Makes one payment, and says so.
pub async fn pay(context: &Context, desk: &Desk<'_>, output: Output) -> Result<(), Error> {
    let network = desk.network();
    let account = desk.look().await?;
    check(desk, &account, &output).await?;
    desk.confirm(&format!("Pay {} to {}", output.amount, output.to.encode(network.prefix())))?;
    let secret = desk.unlock()?;
    let placed = desk.send(&secret, Operation::Transfer { outputs: vec![output] }).await?;
    context.format.print(&placed.to_json(network, json!({})), &placed.text())
}

/// Refuses what the ledger would reject, before anything is signed.
async fn check(desk: &Desk<'_>, account: &AccountView, output: &Output) -> Result<(), Error> {
    let network = desk.network();
    let reserve = network.genesis.parameters().account_reserve;
    let mut needed = Some(output.amount);
    if !has_account(network, &output.to).await? {
        if !output.open {
            return Err(Error::new(
                ErrorCode::NoSuchAccount,
                format!(
                    "{} has no account: check the address; if you are sure, --open opens the account, which locks {reserve} of yours",
                    output.to.encode(network.prefix()),
                ),
            ));
        }
        needed = output.amount.checked_add(reserve);
    }
    if needed.is_none_or(|needed| needed > account.balance) {
        let needed = needed.map_or_else(|| "more than there can be".into(), |needed| needed.to_string());
        let locked = if needed == output.amount.to_string() { "" } else { " with the reserve of the new account" };
        return Err(Error::new(
            ErrorCode::InsufficientFunds,
            format!("the balance is {}, and this needs {needed}{locked}: nothing was sent", account.balance),
        )
        .with("balance", account.balance.mites().to_string()));
    }
    Ok(())
}

/// Parses an amount given as one or two arguments: `"0.0025 FAR"` or `0.0025 FAR`.
pub fn parse_amount(words: &[String]) -> Result<Amount, Error> {
    let amount = words.join(" ").parse::<Amount>();
    let amount = amount.map_err(|error: AmountError| Error::new(ErrorCode::MalformedAmount, error.to_string()))?;
    if amount.is_zero() {
        return Err(Error::new(ErrorCode::MalformedAmount, "a payment is of at least 1 mite"));
    }
    Ok(amount)
}

/// 64 hexadecimal digits as they are; a text of 1 to 32 bytes filled up with zeros.
pub fn parse_reference(text: &str) -> Result<[u8; 32], Error> {
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
