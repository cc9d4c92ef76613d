//! `farthing hold`: money set aside for somebody.

use super::send::{parse_amount, parse_reference};
use super::{Context, now_ms, random, span};
use crate::args::HoldCommand;
use crate::error::{Error, ErrorCode};
use crate::keystore;
use crate::network::Network;
use crate::order::Desk;
use crate::output;
use farthing_client::{ConditionJson, HistoryQuery, HoldState, HoldView};
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use farthing_core::hold::{Condition, EXPIRY_AHEAD_MS_MAX, hashlock};
use farthing_core::transaction::{Capture, OpenHold, Operation, Proof, TransactionId};
use serde_json::json;

/// Runs a command on holds.
pub async fn run(context: &Context, command: HoldCommand) -> Result<(), Error> {
    if let HoldCommand::Secret = command {
        return secret(context);
    }
    let network = &context.network()?;
    match command {
        HoldCommand::Open { payee, amount, expires, reference, hashlock, signing } => {
            let open = OpenHold {
                amount: parse_amount(&amount)?,
                payee: keystore::resolve(&context.home, &payee, network.prefix())?,
                condition: hashlock.map_or(Condition::Payee, |digest| Condition::Hashlock { digest }),
                expires_at_ms: expiry(expires)?,
                reference: reference.as_deref().map(parse_reference).transpose()?.map(Digest),
            };
            let desk = Desk::open(context, network, &signing)?;
            let placed = desk.place(Operation::OpenHold(Box::new(open))).await?;
            let value = placed.to_json(network, json!({ "hold": placed.entry.id }));
            context.format.print(&value, &format!("{}\nhold {}", placed.text(), placed.entry.id))
        }
        HoldCommand::Capture { hold, amount, is_final, preimage, signing } => {
            let amount = if amount.is_empty() { None } else { Some(parse_amount(&amount)?) };
            let view = read(network, &hold).await?;
            let capture = capture(&view, amount, preimage, is_final)?;
            let desk = Desk::open(context, network, &signing)?;
            let placed = desk.place(Operation::Capture(Box::new(capture))).await?;
            let took = capture.cumulative.checked_sub(view.captured.unwrap_or(Amount::ZERO)).unwrap_or(Amount::ZERO);
            let value = placed.to_json(network, json!({ "captured": took }));
            context.format.print(&value, &format!("captured {took}: {}", placed.text()))
        }
        HoldCommand::Release { hold, signing } => {
            let desk = Desk::open(context, network, &signing)?;
            let placed = desk.place(Operation::Release { hold }).await?;
            context.format.print(&placed.to_json(network, json!({})), &placed.text())
        }
        HoldCommand::TopUp { hold, amount, expires, signing } => {
            let amount = parse_amount(&amount)?;
            let terms = read(network, &hold).await?.terms.ok_or_else(|| closed(&hold))?;
            let expires_at_ms = match expires {
                Some(span_ms) => expiry(span_ms)?.max(terms.expires_at_ms),
                None => terms.expires_at_ms,
            };
            let desk = Desk::open(context, network, &signing)?;
            let placed = desk.place(Operation::TopUp { hold, amount, expires_at_ms }).await?;
            context.format.print(&placed.to_json(network, json!({})), &placed.text())
        }
        HoldCommand::Show { hold } => {
            let view = read(network, &hold).await?;
            context.format.print(&view, &text(&view))
        }
        HoldCommand::List { account, limit, cursor } => {
            let address = context.account(network, account.as_deref())?.encode(network.prefix());
            let query = HistoryQuery { cursor, limit: Some(limit) };
            let page = network.ask(async |client| client.holds(&address, &query).await).await?;
            let rows: Vec<Vec<String>> = page.holds.iter().map(|hold| row(hold, &address)).collect();
            let mut text = if rows.is_empty() { "no holds".into() } else { output::table(&rows) };
            if let Some(cursor) = &page.next {
                text.push_str(&format!("more: --cursor {cursor}"));
            }
            context.format.print(&page, &text)
        }
        HoldCommand::Secret => unreachable!("answered above"),
    }
}

/// A hold, as a node has it.
pub async fn read(network: &Network, hold: &TransactionId) -> Result<HoldView, Error> {
    network.ask(async |client| client.hold(hold).await).await
}

/// The end of a hold that ends so many milliseconds from now.
pub fn expiry(span_ms: u64) -> Result<u64, Error> {
    // A minute less: the network's clock may be behind this machine's.
    if span_ms == 0 || span_ms > EXPIRY_AHEAD_MS_MAX {
        return Err(Error::usage("a hold's --expires is a time span of at most 400d"));
    }
    Ok(now_ms() + span_ms.min(EXPIRY_AHEAD_MS_MAX - 60_000))
}

/// A hold that is no more.
pub fn closed(hold: &TransactionId) -> Error {
    Error::new(ErrorCode::NotFound, format!("hold {hold} is closed: nothing can be done with it any more"))
}

fn secret(context: &Context) -> Result<(), Error> {
    let preimage = random()?;
    let digest = hashlock(&preimage);
    let fields = [("preimage", hex::encode(preimage)), ("hashlock", digest.to_string())];
    let note = "Keep the preimage to yourself until the other side's hold is open: whoever knows it can capture both.";
    let value = json!({ "preimage": hex::encode(preimage), "hashlock": digest });
    context.format.print(&value, &format!("{}{note}", output::fields(&fields)))
}

fn capture(
    view: &HoldView,
    amount: Option<Amount>,
    preimage: Option<Digest>,
    is_final: bool,
) -> Result<Capture, Error> {
    let Some(terms) = &view.terms else { return Err(closed(&view.id)) };
    let captured = view.captured.unwrap_or(Amount::ZERO);
    let (proof, is_final) = match (&terms.condition, preimage) {
        (ConditionJson::Payee, None) => (Proof::None, is_final),
        // It closes by itself; only the payee may say so.
        (ConditionJson::Hashlock { digest }, Some(preimage)) if hashlock(&preimage.0) == *digest => {
            (Proof::Preimage(preimage.0), false)
        }
        (ConditionJson::Hashlock { digest }, Some(_)) => {
            return Err(Error::usage(format!("the SHA-256 of this preimage is not the hold's hashlock {digest}")));
        }
        (ConditionJson::Hashlock { .. }, None) => return Err(Error::usage("the hold has a hashlock: give --preimage")),
        (ConditionJson::Voucher { .. }, _) => {
            return Err(Error::usage("the hold is a channel: settle it with `farthing channel close`"));
        }
        (ConditionJson::Payee, Some(_)) => return Err(Error::usage("the hold has no hashlock: leave --preimage out")),
    };
    let cumulative = match amount {
        Some(amount) if matches!(proof, Proof::None) => captured.checked_add(amount).ok_or_else(too_much)?,
        Some(_) => return Err(Error::usage("a hashlock pays all of the hold: leave the amount out")),
        None => view.amount,
    };
    if cumulative > view.amount {
        let left = view.amount.checked_sub(captured).unwrap_or(Amount::ZERO);
        let message = format!("the hold has {left} left: nothing was sent");
        return Err(Error::new(ErrorCode::InsufficientFunds, message));
    }
    Ok(Capture { hold: view.id, cumulative, proof, is_final })
}

fn too_much() -> Error {
    Error::usage("that is more than there can be")
}

/// A hold for people.
pub fn text(view: &HoldView) -> String {
    let mut fields = vec![
        ("hold", view.id.to_string()),
        ("state", state_text(view)),
        ("amount", view.amount.to_string()),
        ("captured", view.captured.map_or_else(|| "?".into(), |captured| captured.to_string())),
        ("payer", view.payer.clone()),
        ("payee", view.payee.clone()),
    ];
    if let Some(terms) = &view.terms {
        let condition = match &terms.condition {
            ConditionJson::Payee => "captured by the payee".to_string(),
            ConditionJson::Voucher { close_delay_ms, .. } => {
                format!("captured with vouchers; closing takes {}", span(*close_delay_ms))
            }
            ConditionJson::Hashlock { digest } => format!("captured with the preimage of {digest}"),
        };
        fields.push(("condition", condition));
        fields.push(("ends", output::time(terms.end_ms)));
        fields.push(("reserve", format!("{} of the payer's, locked", terms.reserve)));
    }
    fields.extend(view.reference.map(|reference| ("reference", reference.to_string())));
    output::fields(&fields)
}

fn state_text(view: &HoldView) -> String {
    let left = view.terms.as_ref().map(|terms| span(terms.end_ms.saturating_sub(view.as_of.timestamp_ms)));
    match (view.state, left) {
        (HoldState::Open, Some(left)) => format!("open for another {left}"),
        (HoldState::Closing, Some(left)) => format!("closing: can be captured for another {left}"),
        (HoldState::Ended, _) => "ended: anybody can release it".into(),
        _ => "closed".into(),
    }
}

fn row(hold: &HoldView, own: &str) -> Vec<String> {
    let (sign, other) = if hold.payer == own { ("for", &hold.payee) } else { ("from", &hold.payer) };
    vec![
        super::name_of(&hold.state),
        hold.amount.to_string(),
        format!("{sign} {}", output::shorten(other)),
        hold.id.to_string(),
    ]
}
