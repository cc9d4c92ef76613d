//! Replay protection: a sliding window of nonces.
//!
//! Each (sender, authority) has one [`NonceWindow`]. It remembers the highest nonce used and, as bits, which of the
//! [`WINDOW_LEN`] nonces up to it were used. So transactions may be in flight in any order, through several nodes, and each
//! executes at most once:
//!
//! | nonce | fresh? |
//! |---|---|
//! | 0 | no: [`DropReason::NonceTooHigh`] (the first nonce is 1) |
//! | at most `high − 128` | no: [`DropReason::NonceUsed`], whether it was used or not |
//! | `high − 127` to `high` | if its bit is clear, else [`DropReason::NonceUsed`] |
//! | `high + 1` to `high + 2^20` | yes |
//! | above | no: [`DropReason::NonceTooHigh`] |
//!
//! A nonce that is not fresh because it was used or left behind never becomes fresh again. A client that never issues nonce
//! `k + 128` before `k` is settled never loses one.

use crate::block::DropReason;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// How many nonces a window tells apart: the highest used one and the 127 below it.
pub const WINDOW_LEN: u64 = u128::BITS as u64;

/// How far above the highest used nonce a fresh one may lie.
pub const NONCE_AHEAD_MAX: u64 = 1 << 20;

/// Which nonces were used. A new window has used none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonceWindow {
    high: u64,
    /// A `u128`, low half first: so an account needs no padding. Borsh encodes it as it would a `u128`.
    #[serde(with = "seen_as_hex")]
    seen: [u64; 2],
}

impl NonceWindow {
    /// Whether a nonce is fresh.
    ///
    /// # Errors
    /// [`DropReason::NonceUsed`] or [`DropReason::NonceTooHigh`], as the table above says.
    pub fn check(&self, nonce: u64) -> Result<(), DropReason> {
        if nonce == 0 {
            return Err(DropReason::NonceTooHigh);
        }
        if nonce > self.high {
            let near = nonce - self.high <= NONCE_AHEAD_MAX;
            return if near { Ok(()) } else { Err(DropReason::NonceTooHigh) };
        }
        let behind = self.high - nonce;
        let used = behind >= WINDOW_LEN || self.seen() & (1 << behind) != 0;
        if used { Err(DropReason::NonceUsed) } else { Ok(()) }
    }

    /// Uses a fresh nonce.
    ///
    /// # Panics
    /// If the nonce is not fresh: whoever consumes one must have checked it.
    pub fn consume(&mut self, nonce: u64) {
        assert_eq!(self.check(nonce), Ok(()), "nonce {nonce} is consumed though not fresh in {self:?}");
        let mut seen = self.seen();
        if nonce > self.high {
            let shift = nonce - self.high;
            seen = if shift < WINDOW_LEN { seen << shift } else { 0 };
            self.high = nonce;
        }
        seen |= 1 << (self.high - nonce);
        self.seen = [seen as u64, (seen >> 64) as u64];
        assert_ne!(self.check(nonce), Ok(()), "nonce {nonce} is still fresh after it was consumed");
    }

    /// The highest nonce used; 0 if none was.
    pub fn high(&self) -> u64 {
        self.high
    }

    /// Bit `i` tells whether nonce `high − i` was used.
    pub fn seen(&self) -> u128 {
        u128::from(self.seen[1]) << 64 | u128::from(self.seen[0])
    }

    /// The nonce that a client should use next: the one above the highest used. Always fresh, except after `u64::MAX`,
    /// which takes 2^44 transactions to reach.
    pub fn next(&self) -> u64 {
        self.high.saturating_add(1)
    }
}

/// The bits as 32 hexadecimal digits in JSON, where a number would lose most of them.
mod seen_as_hex {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>([low, high]: &[u64; 2], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{high:016x}{low:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u64; 2], D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let seen = crate::hash::parse_hex(&text).map(u128::from_be_bytes).map_err(serde::de::Error::custom)?;
        Ok([seen as u64, (seen >> 64) as u64])
    }
}
