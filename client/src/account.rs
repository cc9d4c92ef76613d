//! Accounts and their history.

use farthing_core::amount::Amount;
use farthing_core::block::ResultCode;
use farthing_core::transaction::TransactionId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// The most entries of a page of history.
pub const HISTORY_LIMIT_MAX: u32 = 100;

/// The entries of a page when the request names no limit.
pub const HISTORY_LIMIT_DEFAULT: u32 = 20;

/// An account as the node's newest executed state has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccountView {
    /// The address.
    pub address: String,
    /// What can be spent, in mites.
    #[schema(value_type = String, example = "2500000")]
    pub balance: Amount,
    /// What the sponsor's money locks for the account's existence, in mites.
    #[schema(value_type = String, example = "1000000000")]
    pub reserve: Amount,
    /// The address of the account that opened this one; none for accounts of the genesis document.
    pub sponsor: Option<String>,
    /// The highest nonce used.
    pub nonce_high: u64,
    /// Which of the 128 nonces up to `nonce_high` were used: bit i stands for `nonce_high − i`.
    #[schema(value_type = String, example = "00000000000000000000000000000003")]
    pub nonce_seen: NonceBits,
    /// The nonce to use next: `nonce_high + 1`.
    pub next_nonce: u64,
    /// Which state this is.
    pub as_of: AsOf,
}

impl AccountView {
    /// Whether a transaction with this nonce can still execute, by the ledger's sliding window: above `nonce_high`, or among
    /// the 128 up to it and not used yet. (The upper bound of the window is for the node to check.)
    pub fn is_fresh(&self, nonce: u64) -> bool {
        self.nonce_seen.is_fresh(self.nonce_high, nonce)
    }
}

/// The 128 bits of a nonce window, in JSON 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NonceBits(pub u128);

impl NonceBits {
    /// Whether a nonce is fresh, if `high` is the highest one used and these are the bits below it.
    pub(crate) fn is_fresh(self, high: u64, nonce: u64) -> bool {
        match high.checked_sub(nonce) {
            None => true,
            Some(distance) => nonce > 0 && distance < 128 && self.0 >> distance & 1 == 0,
        }
    }
}

impl fmt::Display for NonceBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for NonceBits {
    type Err = String;

    fn from_str(text: &str) -> Result<NonceBits, String> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = if digits { u128::from_str_radix(text, 16).ok() } else { None };
        bits.map(NonceBits).ok_or_else(|| "expected 32 hexadecimal digits".into())
    }
}

impl Serialize for NonceBits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NonceBits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<NonceBits, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which state an answer was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AsOf {
    /// The height of the newest executed block.
    pub height: u64,
    /// The index of the newest executed commit.
    pub commit_index: u64,
    /// The timestamp of that commit, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

/// Which part of an account's history to give.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Where the page before ended (its `next`); without it the newest entries come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most so many entries: 1 to 100, 20 without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of an account's history, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryPage {
    /// The entries, newest first.
    pub entries: Vec<HistoryEntry>,
    /// The cursor of the next, older page; none if there is no more.
    pub next: Option<String>,
}

/// A transaction as one of its accounts sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// The account that sees it so.
    pub account: String,
    /// The transaction.
    #[schema(value_type = String)]
    pub id: TransactionId,
    /// What it did.
    pub operation: OperationName,
    /// Which way the money went.
    pub direction: Direction,
    /// The other account: the sender of what came in or the other party of the hold that it came from, the payee of what went out
    /// if there is only one.
    pub counterparty: Option<String>,
    /// What was paid to this account (in), or by it to others and itself, or set aside (out, self), in mites. Nothing moved if it was
    /// rejected.
    #[schema(value_type = String, example = "2500000")]
    pub amount: Amount,
    /// What became of it.
    #[schema(value_type = String, example = "executed")]
    pub code: ResultCode,
    /// The reference of the first output that concerns this account, 64 hexadecimal digits.
    pub reference: Option<String>,
    /// The hold that it opened or is about.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<TransactionId>,
    /// The height of its block.
    pub height: u64,
    /// Its position in the block.
    pub position: u32,
    /// The timestamp of the block in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// How many outputs the transfer has; 0 if it is none.
    pub outputs: u32,
}

/// What a transaction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationName {
    /// It paid.
    Transfer,
    /// It set money aside.
    OpenHold,
    /// It paid from a hold.
    Capture,
    /// It gave a hold back, or started its closing.
    Release,
    /// It added to a hold.
    TopUp,
    /// It set a delegated key.
    SetKey,
    /// It removed a delegated key.
    RemoveKey,
    /// It set the account's policy.
    SetPolicy,
    /// It freed an account.
    Reclaim,
}

/// Which way the money of a transaction went, seen from one account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To this account.
    In,
    /// From this account.
    Out,
    /// From this account to itself alone.
    #[serde(rename = "self")]
    ToSelf,
}
