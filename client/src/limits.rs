//! What an account may still do: its bandwidth, its delegated keys, its policy.

use crate::account::{AsOf, NonceBits};
use crate::operation::{KeyLimitsJson, PolicyJson};
use farthing_core::amount::Amount;
use farthing_core::keys::PublicKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an account may still send.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BandwidthView {
    /// The address.
    pub address: String,
    /// What is left, in bytes; negative if overdrawn.
    #[schema(value_type = String, example = "19800")]
    #[serde(with = "crate::as_text")]
    pub available_bytes: i128,
    /// What it grows back to, in bytes.
    #[schema(value_type = String, example = "20000")]
    #[serde(with = "crate::as_text")]
    pub capacity_bytes: u128,
    /// How long it takes from nothing to the capacity, in milliseconds.
    pub refill_ms: u64,
    /// When it will be full if nothing is sent until then, in milliseconds since the Unix epoch.
    pub full_at_ms: u64,
    /// The factor by which the load of the network makes every transaction dearer now: 1 to 64.
    #[schema(example = 1.0)]
    pub multiplier: f64,
    /// What a transfer with one output and no reference costs now, in bytes.
    #[schema(value_type = String, example = "200")]
    #[serde(with = "crate::as_text")]
    pub transfer_bytes: u128,
    /// How many such transfers could be sent now.
    #[schema(value_type = String, example = "99")]
    #[serde(with = "crate::as_text")]
    pub transfers_left: u128,
    /// From when on such a transfer can be sent, in milliseconds since the Unix epoch: not after `as_of` if one can be sent now; none
    /// if it costs more than the capacity.
    pub next_transfer_at_ms: Option<u64>,
    /// Which state this is.
    pub as_of: AsOf,
}

/// The delegated keys of an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeysView {
    /// The address.
    pub address: String,
    /// The keys, in the order in which they were set; at most 16.
    pub keys: Vec<KeyView>,
    /// Which state this is.
    pub as_of: AsOf,
}

/// A delegated key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// The key, 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub public_key: PublicKey,
    /// What it may do.
    pub limits: KeyLimitsJson,
    /// What it spent in the period at hand, in mites; nothing if it has no limit for a period.
    #[schema(value_type = String, example = "2500000")]
    pub spent: Amount,
    /// When the next period begins, in milliseconds since the Unix epoch.
    pub next_period_at_ms: Option<u64>,
    /// Whether it is past its expiry, and so no longer known.
    pub is_expired: bool,
    /// What is locked for its existence, in mites.
    #[schema(value_type = String, example = "250000000")]
    pub reserve: Amount,
    /// The highest nonce that it used.
    pub nonce_high: u64,
    /// Which of the 128 nonces up to `nonce_high` were used: bit i stands for `nonce_high − i`.
    #[schema(value_type = String, example = "00000000000000000000000000000003")]
    pub nonce_seen: NonceBits,
    /// The nonce to use next: `nonce_high + 1`.
    pub next_nonce: u64,
}

/// The owner's own limits of an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// The address.
    pub address: String,
    /// What is in force.
    pub settings: PolicyJson,
    /// What was spent in the period at hand, in mites; nothing without a limit.
    #[schema(value_type = String, example = "2500000")]
    pub spent: Amount,
    /// When the next period begins, in milliseconds since the Unix epoch.
    pub next_period_at_ms: Option<u64>,
    /// A loosening that waits.
    pub pending: Option<PendingPolicyView>,
    /// Which state this is.
    pub as_of: AsOf,
}

/// A loosening of a policy that waits for the raise delay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingPolicyView {
    /// What will be in force.
    pub settings: PolicyJson,
    /// From when on, in milliseconds since the Unix epoch.
    pub effective_at_ms: u64,
}

impl KeyView {
    /// Whether a transaction of this key with this nonce can still execute, by the ledger's sliding window.
    pub fn is_fresh(&self, nonce: u64) -> bool {
        self.nonce_seen.is_fresh(self.nonce_high, nonce)
    }
}
