//! `farthing reclaim`: frees an account that was empty for long.

use super::Context;
use crate::args::ReclaimArgs;
use crate::error::Error;
use crate::keystore;
use crate::order::Desk;
use farthing_core::transaction::Operation;
use serde_json::json;

/// Frees an account.
pub async fn run(context: &Context, args: ReclaimArgs) -> Result<(), Error> {
    let network = context.network()?;
    let account = keystore::resolve(&context.home, &args.address, network.prefix())?;
    let desk = Desk::open(context, &network, &args.signing)?;
    let placed = desk.place(Operation::Reclaim { account }).await?;
    context.format.print(&placed.to_json(&network, json!({})), &placed.text())
}
