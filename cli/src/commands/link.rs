//! `farthing link`: payment links, for somebody who has no account yet.
//!
//! A link is kept in the wallet, durably, before it is funded: whatever happens on the way, the money can be taken back by claiming it.

use super::send::parse_amount;
use super::{Context, random};
use crate::args::{LinkCommand, SigningArgs};
use crate::delivery::{Delivery, deliver};
use crate::error::{Error, ErrorCode};
use crate::files;
use crate::journal::Entry;
use crate::network::Network;
use crate::order::{Desk, has_account};
use crate::{output, prompt};
use farthing_client::{
    DroppedReason, PaymentLink, PaymentLinkError, ProblemCode, TransactionState, Wait, transfer, validity_ms,
};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Operation, Output};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The most bytes of a kept link.
const LINK_BYTES_MAX: u64 = 1_024;

/// The most links of one wallet that are listed.
const LINKS_MAX: usize = 1_000;

/// Runs a command on links.
pub async fn run(context: &Context, command: LinkCommand) -> Result<(), Error> {
    let network = context.network()?;
    match command {
        LinkCommand::Create { amount, no_reserve, signing } => {
            create(context, &network, parse_amount(&amount)?, no_reserve, &signing).await
        }
        LinkCommand::Claim { link, to } => claim(context, &network, &link, to.as_deref()).await,
        LinkCommand::List => list(context, &network).await,
    }
}

async fn create(
    context: &Context,
    network: &Network,
    amount: Amount,
    no_reserve: bool,
    signing: &SigningArgs,
) -> Result<(), Error> {
    let link = PaymentLink { key: SecretKey::from_seed(&random()?), amount };
    let reserve = network.genesis.parameters().account_reserve;
    let funded = if no_reserve { Some(amount) } else { amount.checked_add(reserve) };
    let funded = funded.ok_or_else(|| Error::usage("that is more than there can be"))?;
    let desk = Desk::open(context, network, signing)?;
    let account = desk.look().await?;
    if funded.checked_add(reserve).is_none_or(|needed| needed > account.balance) {
        return Err(Error::new(
            ErrorCode::InsufficientFunds,
            format!(
                "the balance is {}, and this needs {funded} for the claimant and {reserve} for the link's own account, which you \
                 can reclaim later: nothing was sent",
                account.balance
            ),
        ));
    }
    desk.confirm(&format!("Put {funded} into a link"))?;
    let secret = desk.unlock()?;
    let text = link.to_text(network.prefix());
    let folder = context.home.links(&network.chain);
    files::create_dir(&folder)?;
    files::write(&folder.join(format!("{}.link", link.address().0)), text.as_bytes())?;
    let output = Output { to: link.address(), amount: funded, reference: None, open: true };
    let placed = desk.send(&secret, Operation::Transfer { outputs: vec![output] }).await?;
    let value = placed.to_json(network, json!({ "link": text, "claimant_gets": amount }));
    let shown = format!(
        "{}\n{text}\nWhoever has this link can claim {amount} with `farthing link claim`; so can you, as long as nobody has.",
        placed.text()
    );
    context.format.print(&value, &shown)
}

async fn claim(context: &Context, network: &Network, link: &str, to: Option<&str>) -> Result<(), Error> {
    let link = match link {
        "-" => prompt::secret_text(Path::new("-"))?.to_string(),
        text => text.to_string(),
    };
    let link = PaymentLink::parse(&link, network.prefix()).map_err(|error| match error {
        PaymentLinkError::WrongNetwork { .. } => Error::new(ErrorCode::WrongNetwork, error.to_string()),
        _ => Error::usage(error.to_string()),
    })?;
    let to = context.account(network, to)?;
    let from = link.address().encode(network.prefix());
    let gone = || Error::new(ErrorCode::NotFound, "there is no money in this link: somebody has claimed it already");
    let account = network
        .ask(async |client| match client.account(&from).await {
            Err(error) if error.code() == Some(ProblemCode::NoSuchAccount) => Ok(None),
            answer => answer.map(Some),
        })
        .await?
        .filter(|account| !account.balance.is_zero())
        .ok_or_else(gone)?;
    let reserve = network.genesis.parameters().account_reserve;
    let opens = !has_account(network, &to).await?;
    let available = if opens { account.balance.checked_sub(reserve) } else { Some(account.balance) };
    let available = available.filter(|amount| !amount.is_zero()).ok_or_else(|| {
        Error::new(
            ErrorCode::InsufficientFunds,
            format!("the link holds {}, which does not pay the reserve of {reserve} of a new account: claim it with --to an \
                     account that there is", account.balance),
        )
    })?;
    let amount = available.min(link.amount);
    let mut outputs = vec![Output { to, amount, reference: None, open: opens }];
    let rest = available.checked_sub(amount).expect("the lesser of the two");
    let payer = account.sponsor.as_deref().map(|sponsor| Address::decode(sponsor, network.prefix())).transpose()?;
    match payer {
        _ if rest.is_zero() => {}
        Some(payer) if payer != to && has_account(network, &payer).await? => {
            outputs.push(Output { to: payer, amount: rest, reference: None, open: false });
        }
        // There is nobody else to have it.
        _ => outputs[0].amount = available,
    }
    let amount = outputs[0].amount;
    let valid_until_ms = super::now_ms() + validity_ms(network.genesis.parameters());
    let signed = transfer(&network.chain, &link.key, account.next_nonce, valid_until_ms, outputs)
        .map_err(|error| Error::local(error.to_string()))?;
    // Its key is in the link and nowhere in the wallet: if the outcome is not known, claiming again is harmless.
    let id = signed.transaction.id(&network.chain);
    let entry = Entry { id, created_ms: super::now_ms(), signed };
    let status = match deliver(network, &entry, Wait::Final, Instant::now() + context.timeout).await {
        Delivery::Settled(status) | Delivery::Refused(status) | Delivery::Accepted(status) => status,
        Delivery::NotSent(error) => return Err(error),
        Delivery::Unknown { last } => {
            let message = format!("whether the money was claimed is not known: {last}; claim again in a moment to see");
            return Err(Error::new(ErrorCode::OutcomeUnknown, message).with("id", id.to_string()));
        }
    };
    match (status.status, status.code) {
        (TransactionState::Executed, _) => {}
        (_, Some(code)) => {
            return Err(Error::new(
                ErrorCode::Rejected,
                format!("rejected: {}; nothing was claimed", super::explain(code)),
            ));
        }
        _ if status.reason == Some(DroppedReason::NonceUsed) => {
            let message =
                "the link was claimed meanwhile, perhaps by an earlier claim of yours: see `farthing history`";
            return Err(Error::new(ErrorCode::Dropped, message));
        }
        _ => {
            let detail = status.detail.unwrap_or_else(|| "no node took the claim".into());
            return Err(Error::new(ErrorCode::Dropped, format!("nothing was claimed: {detail}")));
        }
    }
    let address = to.encode(network.prefix());
    let value = json!({ "id": status.id, "status": status.status, "block": status.block, "to": address, "amount": amount, "opened": opens });
    let opened = if opens { ", whose account was opened" } else { "" };
    context.format.print(&value, &format!("claimed {amount} for {address}{opened}  id {}", status.id))
}

async fn list(context: &Context, network: &Network) -> Result<(), Error> {
    let (mut rows, mut values) = (Vec::new(), Vec::<Value>::new());
    for path in kept(&context.home.links(&network.chain))? {
        let Some(bytes) = files::read(&path, LINK_BYTES_MAX)? else { continue };
        let text = String::from_utf8_lossy(&bytes).trim().to_string();
        let link = PaymentLink::parse(&text, network.prefix())
            .map_err(|error| Error::local(format!("{} is damaged: {error}", path.display())))?;
        let address = link.address().encode(network.prefix());
        let balance = network
            .ask(async |client| match client.account(&address).await {
                Err(error) if error.code() == Some(ProblemCode::NoSuchAccount) => Ok(None),
                answer => answer.map(|account| Some(account.balance)),
            })
            .await?;
        let state = match balance {
            None => "not funded, or reclaimed",
            Some(balance) if balance.is_zero() => "claimed",
            Some(_) => "open",
        };
        values.push(
            json!({ "link": text, "address": address, "amount": link.amount, "state": state, "balance": balance }),
        );
        rows.push(vec![state.to_string(), link.amount.to_string(), address, text]);
    }
    let text =
        if rows.is_empty() { "no links yet: `farthing link create` makes one".into() } else { output::table(&rows) };
    context.format.print(&json!({ "links": values }), &text)
}

/// The files of the links that were made here.
fn kept(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(files::failure("read", folder, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries.take(LINKS_MAX) {
        let path = entry.map_err(|error| files::failure("read", folder, &error))?.path();
        paths.extend(Some(path).filter(|path| path.extension().is_some_and(|extension| extension == "link")));
    }
    paths.sort();
    Ok(paths)
}
