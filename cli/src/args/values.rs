//! Values on the command line that need more than a word.

use farthing_core::amount::Amount;
use farthing_core::hash::Digest;

/// A time span such as `90s`, `15m`, `12h` or `30d`, in milliseconds.
///
/// # Errors
/// What is wrong with it, for clap.
pub fn duration(text: &str) -> Result<u64, String> {
    const UNITS: [(char, u64); 4] = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
    let wrong = || format!("{text:?} is not a time span: write, for example, 90s, 15m, 12h or 30d");
    let unit = text.chars().next_back().and_then(|last| UNITS.iter().find(|(letter, _)| *letter == last));
    let (_, milliseconds) = unit.ok_or_else(wrong)?;
    let digits = &text[..text.len() - 1];
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(*milliseconds).ok_or_else(wrong)
}

/// An amount with its unit, in one word.
///
/// # Errors
/// What is wrong with it, for clap.
pub fn amount(text: &str) -> Result<Amount, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// 64 hexadecimal digits.
///
/// # Errors
/// What is wrong with it, for clap.
pub fn digest(text: &str) -> Result<Digest, String> {
    text.trim().parse().map_err(|error| format!("{error}: 64 hexadecimal digits are expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_have_a_number_and_a_unit() {
        let parsed = ["90s", "15m", "12h", "30d", "0s"].map(|text| duration(text).unwrap());
        assert_eq!(parsed, [90_000, 900_000, 43_200_000, 2_592_000_000, 0]);
        for wrong in ["", "30", "d", "1w", "-1d", "1.5h", "99999999999999999d", "1dd"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
