//! The commands, one file each, and what several of them share.

pub mod account;
pub mod bandwidth;
pub mod cancel;
pub mod channel;
pub mod delegated;
pub mod hold;
pub mod keys;
pub mod link;
pub mod pay_many;
pub mod pending;
pub mod policy;
pub mod profiles;
pub mod proofs;
pub mod receipt;
pub mod reclaim;
pub mod request;
pub mod send;
pub mod status;
pub mod watch;

use crate::error::Error;
use crate::files::Home;
use crate::keystore;
use crate::network::Network;
use crate::output::Format;
use farthing_core::address::Address;
use farthing_core::block::ResultCode;
use farthing_core::keys::PublicKey;
use farthing_core::transaction::TransactionId;
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// The wallet's folder.
    pub home: Home,
    /// How to print.
    pub format: Format,
    /// The profile named on the command line.
    pub profile: Option<String>,
    /// How long to wait for an outcome.
    pub timeout: Duration,
}

impl Context {
    /// The network of the profile in use.
    pub fn network(&self) -> Result<Network, Error> {
        Network::open(&self.home, self.profile.as_deref())
    }

    /// The account that an argument names: an address, a key, or, without one, the key to pay with.
    pub fn account(&self, network: &Network, argument: Option<&str>) -> Result<Address, Error> {
        match argument {
            Some(text) => keystore::resolve(&self.home, text, network.prefix()),
            None => Ok(keystore::select(&self.home, None, network.profile.from.as_deref())?.address()),
        }
    }
}

/// This machine's clock, in milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("the clock is before the year 584,000,000")
}

/// A time span in words: `3 d 4 h`, `12 min`, `now` for nothing.
pub fn span(milliseconds: u64) -> String {
    let seconds = milliseconds.div_ceil(1_000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, ..) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Bytes of the system's randomness.
pub fn random() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::local(format!("the system has no randomness: {error}")))?;
    Ok(bytes)
}

/// The public key that a text names: a key of this wallet by its name, or 64 hexadecimal digits.
pub fn public_key(home: &Home, text: &str) -> Result<PublicKey, Error> {
    if keystore::check_name(text).is_ok()
        && let Some(key) = keystore::find(home, text)?
    {
        return Ok(key.file.public_key());
    }
    text.trim().parse().map_err(|_| {
        Error::usage(format!(
            "{text:?} is neither the name of a key of this wallet nor a public key of 64 hexadecimal digits"
        ))
    })
}

/// The name of an API value, as JSON has it: `insufficient_balance`.
pub fn name_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("not the name of a plain enum: {other:?}"),
    }
}

/// What a result code means for the payer.
pub fn explain(code: ResultCode) -> &'static str {
    match code {
        ResultCode::Executed => "it was executed",
        ResultCode::OperationNotAllowed => "the key may not do this",
        ResultCode::PayeeIsSender => "the payee is the payer",
        ResultCode::NoSuchAccount => "the payee has no account; if the address is right, send again with --open",
        ResultCode::NoSuchHold => "there is no such hold, or no more",
        ResultCode::NoSuchKey => "the account has no such key",
        ResultCode::TooManyKeys => "the account has as many keys as it may have",
        ResultCode::NotEntitled => "the hold does not let the sender do this now",
        ResultCode::HoldEnded => "the hold has ended",
        ResultCode::HoldClosing => "the hold is closing",
        ResultCode::ExpiryOutOfRange => "the hold's expiry is past, too far ahead or earlier than it was",
        ResultCode::WrongCumulative => "the hold does not hold that much",
        ResultCode::BadProof => "the voucher or preimage does not fit the hold",
        ResultCode::NotReclaimable => "the account is in use, or was not long ago",
        ResultCode::AmountOverflow => "it adds up to more than there can be",
        ResultCode::PayeeNotAllowed => "the key may not pay this payee",
        ResultCode::OverTransactionLimit => "it is more than the key may spend at a time",
        ResultCode::OverKeyLimit => "it is more than the key may spend in this period",
        ResultCode::AccountBlocked => "the account is blocked by its policy",
        ResultCode::OverSpendingLimit => "it is more than the account's policy allows in this period",
        ResultCode::InsufficientBalance => "the balance did not cover it",
        ResultCode::InsufficientReserve => "the balance did not cover the reserve of what it opens",
    }
}

/// Parses the id of a payment.
pub fn parse_id(text: &str) -> Result<TransactionId, Error> {
    text.trim().parse().map_err(|_| {
        Error::usage(format!(
            "{:?} is not the id of a payment: it has 64 hexadecimal digits",
            text.chars().take(80).collect::<String>()
        ))
    })
}
