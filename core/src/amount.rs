//! Amounts of money: whole mites, and the decimal form people read and type.

use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;
use std::str::FromStr;

/// Mites in one FAR.
pub const MITES_PER_FAR: u64 = 1_000_000_000;

/// An amount in mites; 1 FAR is 1,000,000,000 mites.
///
/// There is no arithmetic that wraps, saturates or panics: only [`Amount::checked_add`] and [`Amount::checked_sub`].
/// JSON carries it as a string of decimal digits, since a JSON number loses digits above 2^53 in many readers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, BorshSerialize, BorshDeserialize)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);

    /// So many mites.
    pub const fn from_mites(mites: u64) -> Amount {
        Amount(mites)
    }

    /// So many FAR, or `None` if that is more than 2^64 − 1 mites.
    pub const fn from_far(far: u64) -> Option<Amount> {
        match far.checked_mul(MITES_PER_FAR) {
            Some(mites) => Some(Amount(mites)),
            None => None,
        }
    }

    /// The number of mites.
    pub const fn mites(self) -> u64 {
        self.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` on overflow.
    #[must_use]
    pub const fn checked_add(self, other: Amount) -> Option<Amount> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Amount(sum)),
            None => None,
        }
    }

    /// The difference, or `None` if `other` is more.
    #[must_use]
    pub const fn checked_sub(self, other: Amount) -> Option<Amount> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Amount(difference)),
            None => None,
        }
    }

    /// The sum of many, or `None` on overflow.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Amount>) -> Option<Amount> {
        amounts.into_iter().try_fold(Amount::ZERO, Amount::checked_add)
    }
}

/// A text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// No unit, or one that does not exist.
    #[error("{0:?} has no unit: write, for example, \"0.0025 FAR\" or \"2500000 mite\"")]
    Unit(String),
    /// Something that is not a plain decimal number.
    #[error("{0:?} is not a number: write digits with at most one point, for example \"0.0025 FAR\"")]
    Number(String),
    /// A fraction finer than a mite.
    #[error("{text:?} has {decimals} decimals: {unit} takes at most {max}")]
    TooManyDecimals {
        /// What was typed.
        text: String,
        /// Its decimals.
        decimals: usize,
        /// The unit.
        unit: &'static str,
        /// The decimals that the unit has.
        max: usize,
    },
    /// More than 2^64 − 1 mites.
    #[error("{0:?} is more than there can be (18446744073.709551615 FAR)")]
    TooLarge(String),
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Parses `0.0025 FAR`, `0.0025far`, `25 mite` or `25mites`: a decimal number and a unit, in any case, with or without a space.
    fn from_str(text: &str) -> Result<Amount, AmountError> {
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| AmountError::Unit(text.into()))?;
        let (number, unit) = trimmed.split_at(split);
        let (unit, max) = match unit.to_ascii_lowercase().as_str() {
            "far" => ("FAR", 9),
            "mite" | "mites" => ("mite", 0),
            _ => return Err(AmountError::Unit(text.into())),
        };
        parse_decimal(text, number.trim_end(), unit, max)
    }
}

fn parse_decimal(text: &str, number: &str, unit: &'static str, max: usize) -> Result<Amount, AmountError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(AmountError::Number(text.into()));
    }
    let fraction = if number.contains('.') { fraction } else { "" };
    if fraction.len() > max {
        return Err(AmountError::TooManyDecimals { text: text.into(), decimals: fraction.len(), unit, max });
    }
    // All digits of the amount in mites: the fraction is filled up with zeros to the unit's decimals.
    let mites = format!("{whole}{fraction:0<max$}");
    mites.parse().map(Amount).map_err(|_| AmountError::TooLarge(text.into()))
}

impl fmt::Display for Amount {
    /// The decimal form in FAR without trailing zeros: `0.0025 FAR`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / MITES_PER_FAR, self.0 % MITES_PER_FAR);
        if fraction == 0 {
            return write!(f, "{whole} FAR");
        }
        let fraction = format!("{fraction:09}");
        write!(f, "{whole}.{} FAR", fraction.trim_end_matches('0'))
    }
}

impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize<'de>>::deserialize(deserializer)?;
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let mites = if plain { text.parse().ok() } else { None };
        mites.map(Amount).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is not an amount: write whole mites as a string, for example \"2500000\""
            ))
        })
    }
}
