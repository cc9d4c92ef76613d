//! Spending limits over fixed windows, as policies and delegated keys have them.
//!
//! Time is cut into windows of the limit's period, counted from the Unix epoch: window n begins at `n × period`. In each of them at most
//! the limit's amount may leave the spendable balance. Across the border of two windows up to twice the amount may leave in a
//! short time: that is the price of needing nothing but one counter.

use crate::amount::Amount;
use crate::codec;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The shortest and the longest period of a limit, in milliseconds: a second and 400 days.
pub const PERIOD_MS: std::ops::RangeInclusive<u64> = 1_000..=400 * 86_400_000;

/// At most so much in each window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendingLimit {
    /// How much; nothing is a limit, too.
    pub amount: Amount,
    /// How long a window is, in milliseconds, within [`PERIOD_MS`].
    #[borsh(deserialize_with = "read_period")]
    pub period_ms: u64,
}

/// What was spent in the newest window in which anything was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// When that window began, in milliseconds since the Unix epoch.
    pub window_ms: u64,
    /// How much.
    pub amount: Amount,
}

impl SpendingLimit {
    /// When the window began that holds this time, both in milliseconds since the Unix epoch.
    pub fn window_ms(&self, now_ms: u64) -> u64 {
        now_ms - now_ms % self.period_ms
    }

    /// When the next window begins, in milliseconds since the Unix epoch.
    pub fn next_window_ms(&self, now_ms: u64) -> u64 {
        self.window_ms(now_ms).saturating_add(self.period_ms)
    }

    /// Whether so much more, in mites, may be spent at this time.
    pub fn allows(&self, spent: &Spent, now_ms: u64, mites: u128) -> bool {
        u128::from(spent.in_window(self, now_ms).mites()) + mites <= u128::from(self.amount.mites())
    }

    /// Whether this limit allows nothing that `other` forbids, whatever was spent: no more in windows that are made of whole windows of
    /// the other's. Windows that are merely longer would not do: with a period chosen well, one ends whenever somebody likes.
    fn is_within(&self, other: &SpendingLimit) -> bool {
        self.amount <= other.amount && self.period_ms.is_multiple_of(other.period_ms)
    }
}

/// Whether `a` allows nothing that `b` forbids; no limit allows everything.
pub(crate) fn is_as_tight(a: Option<&SpendingLimit>, b: Option<&SpendingLimit>) -> bool {
    match (a, b) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(a), Some(b)) => a.is_within(b),
    }
}

impl Spent {
    /// What was spent in the limit's window that holds this time.
    pub fn in_window(&self, limit: &SpendingLimit, now_ms: u64) -> Amount {
        if self.window_ms == limit.window_ms(now_ms) { self.amount } else { Amount::ZERO }
    }

    /// Adds what the limit allowed, in mites.
    pub(crate) fn add(&mut self, limit: &SpendingLimit, now_ms: u64, mites: u128) {
        let sum = u128::from(self.in_window(limit, now_ms).mites()) + mites;
        let amount = Amount::from_mites(u64::try_from(sum).expect("the limit allowed it"));
        *self = Spent { window_ms: limit.window_ms(now_ms), amount };
    }

    /// What counts as spent under a new limit: all that was spent in the window of the old one that is not over yet.
    pub(crate) fn carried(&self, old: Option<&SpendingLimit>, new: Option<&SpendingLimit>, now_ms: u64) -> Spent {
        let amount = old.map_or(Amount::ZERO, |old| self.in_window(old, now_ms));
        new.map_or(Spent::default(), |new| Spent { window_ms: new.window_ms(now_ms), amount })
    }
}

fn read_period<R: std::io::Read>(reader: &mut R) -> std::io::Result<u64> {
    let period_ms = u64::deserialize_reader(reader)?;
    if PERIOD_MS.contains(&period_ms) {
        return Ok(period_ms);
    }
    Err(codec::malformed(format!("a period of {period_ms} ms: a limit's period is a second to 400 days")))
}
