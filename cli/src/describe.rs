//! Operations in words.

use crate::output;
use farthing_core::address::AddressPrefix;
use farthing_core::amount::Amount;
use farthing_core::hold::Condition;
use farthing_core::transaction::{Operation, Output};

/// What an operation does, beginning with a verb: "pay 1 FAR to farl1…".
pub fn operation(operation: &Operation, prefix: &AddressPrefix) -> String {
    let short = |id: &farthing_core::hash::Digest| output::shorten(&id.to_string());
    match operation {
        Operation::Transfer { outputs } => transfer(outputs, prefix),
        Operation::OpenHold(open) => {
            let what = match open.condition {
                Condition::Payee => "set aside",
                Condition::Voucher { .. } => "open a channel of",
                Condition::Hashlock { .. } => "set aside, under a hashlock,",
            };
            format!("{what} {} for {}", open.amount, output::shorten(&open.payee.encode(prefix)))
        }
        Operation::Capture(capture) => {
            let rest = if capture.is_final { " and give the rest back" } else { "" };
            format!("capture up to {} of hold {}{rest}", capture.cumulative, short(&capture.hold))
        }
        Operation::Release { hold } => format!("release hold {}", short(hold)),
        Operation::TopUp { hold, amount, .. } => format!("add {amount} to hold {}", short(hold)),
        Operation::SetKey(set) => format!("delegate to key {}", output::shorten(&set.public_key.to_string())),
        Operation::RemoveKey { public_key } => format!("remove key {}", output::shorten(&public_key.to_string())),
        Operation::SetPolicy(_) => "set the policy".into(),
        Operation::Reclaim { account } => format!("reclaim {}", output::shorten(&account.encode(prefix))),
    }
}

/// What leaves the account by an operation, without reserves; `None` if it adds up to more than there can be.
pub fn amount(operation: &Operation) -> Option<Amount> {
    match operation {
        Operation::Transfer { outputs } => Amount::checked_sum(outputs.iter().map(|output| output.amount)),
        Operation::OpenHold(open) => Some(open.amount),
        Operation::TopUp { amount, .. } => Some(*amount),
        _ => Some(Amount::ZERO),
    }
}

/// What has not happened if an operation failed.
pub fn nothing(operation: &Operation) -> &'static str {
    match operation {
        Operation::Transfer { .. } => "nothing was paid",
        _ => "nothing was done",
    }
}

fn transfer(outputs: &[Output], prefix: &AddressPrefix) -> String {
    let total = Amount::checked_sum(outputs.iter().map(|output| output.amount));
    let total = total.map_or_else(|| "more than there can be".into(), |total| total.to_string());
    match outputs {
        [only] => format!("pay {total} to {}", output::shorten(&only.to.encode(prefix))),
        _ => format!("pay {total} to {} payees", outputs.len()),
    }
}
