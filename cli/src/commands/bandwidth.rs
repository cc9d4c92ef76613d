//! `farthing bandwidth`: what an account may still send, and when that grows back.

use super::{Context, span};
use crate::error::Error;
use crate::output;
use farthing_client::BandwidthView;

/// Shows the bandwidth of an account.
pub async fn run(context: &Context, argument: Option<&str>) -> Result<(), Error> {
    let network = context.network()?;
    let address = context.account(&network, argument)?.encode(network.prefix());
    let view = network.ask(async |client| client.bandwidth(&address).await).await?;
    context.format.print(&view, &text(&view))
}

fn text(view: &BandwidthView) -> String {
    let now_ms = view.as_of.timestamp_ms;
    let full = match view.full_at_ms.saturating_sub(now_ms) {
        0 => "full".into(),
        wait_ms => format!("full in {}, at {}", span(wait_ms), output::time(view.full_at_ms)),
    };
    let next = match view.next_transfer_at_ms {
        None => "never: one costs more than the account can have".to_string(),
        Some(at_ms) if at_ms <= now_ms => format!("{} now", view.transfers_left),
        Some(at_ms) => format!("the next in {}, at {}", span(at_ms - now_ms), output::time(at_ms)),
    };
    let load =
        if view.multiplier > 1.0 { format!("{:.2} times as dear as usual", view.multiplier) } else { "low".into() };
    output::fields(&[
        ("bandwidth", format!("{} of {} bytes", view.available_bytes, view.capacity_bytes)),
        ("grows back", format!("{full}; from nothing in {}", span(view.refill_ms))),
        ("plain transfers", format!("{next}, at {} bytes each", view.transfer_bytes)),
        ("network load", load),
        ("address", view.address.clone()),
    ])
}
