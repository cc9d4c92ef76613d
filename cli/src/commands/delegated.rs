//! `farthing keys delegate`, `keys remove` and `keys list --account`: keys that may spend a budget of an account.

use super::{Context, now_ms, public_key, span};
use crate::args::{Allowed, DelegateArgs, RemoveArgs};
use crate::error::{Error, ErrorCode};
use crate::order::Desk;
use crate::{keystore, output};
use farthing_client::{KeyLimitsJson, KeyView};
use farthing_core::delegated_key::{KeyLimits, KeyOperations, PAYEES_MAX};
use farthing_core::spending_limit::{PERIOD_MS, SpendingLimit};
use farthing_core::transaction::{Operation, SetKey};
use serde_json::json;

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;

/// Lists the delegated keys of an account.
pub async fn list(context: &Context, account: &str) -> Result<(), Error> {
    let network = context.network()?;
    let address = context.account(&network, Some(account))?.encode(network.prefix());
    let view = network.ask(async |client| client.keys(&address).await).await?;
    let names = keystore::list(&context.home)?;
    let rows: Vec<Vec<String>> = view
        .keys
        .iter()
        .map(|key| {
            let name = names.iter().find(|name| name.file.public_key() == key.public_key);
            let shown = name.map_or_else(|| output::shorten(&key.public_key.to_string()), |name| name.name.clone());
            vec![shown, limits_text(key, view.as_of.timestamp_ms)]
        })
        .collect();
    let text = match rows.is_empty() {
        true => "no delegated keys: `farthing keys delegate` makes one".into(),
        false => output::table(&rows),
    };
    context.format.print(&view, &text)
}

/// Lets a key spend from the account.
pub async fn delegate(context: &Context, args: DelegateArgs) -> Result<(), Error> {
    let network = context.network()?;
    let key = public_key(&context.home, &args.key)?;
    let limits = limits(context, &args, network.prefix())?;
    let desk = Desk::open(context, &network, &args.signing)?;
    if desk.account().0 == key {
        return Err(Error::usage("an account's own key needs no delegation: name another key"));
    }
    let shown = KeyLimitsJson::new(&limits, network.prefix());
    let placed = desk.place(Operation::SetKey(Box::new(SetKey { public_key: key, limits }))).await?;
    let value = placed.to_json(&network, json!({ "public_key": key, "limits": shown }));
    let account = desk.account().encode(network.prefix());
    let text = format!(
        "{}\nkey {} may spend from {account} now: it signs with `farthing send … --from NAME --account {account}`",
        placed.text(),
        output::shorten(&key.to_string()),
    );
    context.format.print(&value, &text)
}

/// Ends a delegated key.
pub async fn remove(context: &Context, args: RemoveArgs) -> Result<(), Error> {
    let network = context.network()?;
    let public_key = public_key(&context.home, &args.key)?;
    let desk = Desk::open(context, &network, &args.signing)?;
    let placed = desk.place(Operation::RemoveKey { public_key }).await?;
    context.format.print(&placed.to_json(&network, json!({ "public_key": public_key })), &placed.text())
}

fn limits(
    context: &Context,
    args: &DelegateArgs,
    prefix: &farthing_core::address::AddressPrefix,
) -> Result<KeyLimits, Error> {
    let limit = match (args.per_day, args.per_hour, args.per_period.zip(args.period)) {
        (Some(amount), ..) => Some(SpendingLimit { amount, period_ms: DAY_MS }),
        (_, Some(amount), _) => Some(SpendingLimit { amount, period_ms: HOUR_MS }),
        (_, _, Some((amount, period_ms))) => Some(SpendingLimit { amount, period_ms }),
        (None, None, None) => None,
    };
    if limit.is_none() && !args.unlimited {
        return Err(Error::usage(
            "how much may the key spend? give --per-day, --per-hour or --per-period; --unlimited is all there is",
        ));
    }
    if limit.is_some_and(|limit| !PERIOD_MS.contains(&limit.period_ms)) {
        return Err(Error::usage("a --period is 1s to 400d"));
    }
    if args.payees.len() > PAYEES_MAX {
        return Err(Error::usage(format!("a key has at most {PAYEES_MAX} payees")));
    }
    let payees = args.payees.iter().map(|payee| keystore::resolve(&context.home, payee, prefix));
    let payees = payees.collect::<Result<Vec<_>, Error>>()?;
    let expires_at_ms = match args.expires {
        Some(0) => return Err(Error::new(ErrorCode::Usage, "--expires is a time span of more than nothing")),
        Some(span_ms) => Some(now_ms().saturating_add(span_ms)),
        None => None,
    };
    Ok(KeyLimits {
        operations: args.allow.iter().fold(KeyOperations::NONE, |all, allowed| all.and(operation(*allowed))),
        payees: (!payees.is_empty()).then_some(payees),
        transaction_max: args.max,
        limit,
        expires_at_ms,
    })
}

fn operation(allowed: Allowed) -> KeyOperations {
    match allowed {
        Allowed::Transfer => KeyOperations::TRANSFER,
        Allowed::OpenHold => KeyOperations::OPEN_HOLD,
        Allowed::Capture => KeyOperations::CAPTURE,
        Allowed::Release => KeyOperations::RELEASE,
        Allowed::TopUp => KeyOperations::TOP_UP,
        Allowed::Reclaim => KeyOperations::RECLAIM,
        Allowed::All => KeyOperations::ALL,
    }
}

fn limits_text(key: &KeyView, now_ms: u64) -> String {
    let limits = &key.limits;
    let operations = limits.operations.iter().map(super::name_of).collect::<Vec<_>>().join(", ");
    let mut parts = vec![operations];
    if let Some(limit) = limits.limit {
        parts.push(format!("{} of {} spent in this period of {}", key.spent, limit.amount, span(limit.period_ms)));
    }
    if let Some(max) = limits.transaction_max {
        parts.push(format!("at most {max} at a time"));
    }
    if let Some(payees) = &limits.payees {
        let payees: Vec<String> = payees.iter().map(|payee| output::shorten(payee)).collect();
        parts.push(format!("to {}", payees.join(", ")));
    }
    match limits.expires_at_ms {
        Some(_) if key.is_expired => parts.push("expired".into()),
        Some(at_ms) => parts.push(format!("for another {}", span(at_ms.saturating_sub(now_ms)))),
        None => {}
    }
    parts.join("; ")
}
