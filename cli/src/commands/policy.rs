//! `farthing policy`: the owner's own limits.

use super::{Context, span};
use crate::args::{PolicyCommand, SigningArgs};
use crate::error::Error;
use crate::network::Network;
use crate::order::Desk;
use crate::output;
use farthing_client::{LimitJson, PolicyJson, PolicyView};
use farthing_core::address::Address;
use farthing_core::policy::RAISE_DELAY_MS_MAX;
use farthing_core::transaction::Operation;
use serde_json::json;

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;

/// Shows or changes the policy.
pub async fn run(context: &Context, command: Option<PolicyCommand>) -> Result<(), Error> {
    let network = context.network()?;
    match command.unwrap_or(PolicyCommand::Show { account: None }) {
        PolicyCommand::Show { account } => {
            let address = context.account(&network, account.as_deref())?;
            let view = read(&network, &address).await?;
            context.format.print(&view, &text(&view))
        }
        PolicyCommand::Set { per_day, per_hour, no_limit, raise_delay, signing } => {
            if per_day.is_none() && per_hour.is_none() && !no_limit && raise_delay.is_none() {
                return Err(Error::usage("nothing to set: give --per-day, --per-hour, --no-limit or --raise-delay"));
            }
            if raise_delay.is_some_and(|delay| delay > RAISE_DELAY_MS_MAX) {
                return Err(Error::usage("a raise delay is at most 30d"));
            }
            let limit = per_day
                .map(|amount| LimitJson { amount, period_ms: DAY_MS })
                .or(per_hour.map(|amount| LimitJson { amount, period_ms: HOUR_MS }));
            set(context, &network, &signing, |policy| {
                if no_limit || limit.is_some() {
                    policy.limit = limit;
                }
                policy.raise_delay_ms = raise_delay.unwrap_or(policy.raise_delay_ms);
            })
            .await
        }
        PolicyCommand::Block { signing } => set(context, &network, &signing, |policy| policy.blocked = true).await,
        PolicyCommand::Unblock { signing } => set(context, &network, &signing, |policy| policy.blocked = false).await,
    }
}

/// Sets the whole policy that is wanted: what is in force, or else to come, with a change. That ends any loosening that waits but for what
/// is wanted of it.
async fn set(
    context: &Context,
    network: &Network,
    signing: &SigningArgs,
    change: impl FnOnce(&mut PolicyJson),
) -> Result<(), Error> {
    let desk = Desk::open(context, network, signing)?;
    let now = read(network, desk.account()).await?;
    let mut wanted = now.pending.map_or(now.settings, |pending| pending.settings);
    change(&mut wanted);
    let placed = desk.place(Operation::SetPolicy(Box::new(wanted.into()))).await?;
    let after = read(network, desk.account()).await?;
    let value = placed.to_json(network, json!({ "policy": after }));
    context.format.print(&value, &format!("{}\n{}", placed.text(), text(&after)))
}

async fn read(network: &Network, address: &Address) -> Result<PolicyView, Error> {
    let address = address.encode(network.prefix());
    network.ask(async |client| client.policy(&address).await).await
}

fn text(view: &PolicyView) -> String {
    let now_ms = view.as_of.timestamp_ms;
    let mut fields = vec![("in force", settings_text(&view.settings))];
    if let (Some(_), Some(at_ms)) = (view.settings.limit, view.next_period_at_ms) {
        fields.push((
            "spent",
            format!("{} in this period, which ends in {}", view.spent, span(at_ms.saturating_sub(now_ms))),
        ));
    }
    if let Some(pending) = &view.pending {
        let wait = span(pending.effective_at_ms.saturating_sub(now_ms));
        fields.push(("to come", format!("in {wait}: {}", settings_text(&pending.settings))));
    }
    fields.push(("address", view.address.clone()));
    output::fields(&fields)
}

fn settings_text(policy: &PolicyJson) -> String {
    let limit = match policy.limit {
        Some(limit) => format!("at most {} in every {}", limit.amount, span(limit.period_ms)),
        None => "no limit".into(),
    };
    let blocked = if policy.blocked { "BLOCKED: nothing leaves the account; " } else { "" };
    let delay = match policy.raise_delay_ms {
        0 => "can be loosened at once".into(),
        delay => format!("a loosening waits {}", span(delay)),
    };
    format!("{blocked}{limit}; {delay}")
}
