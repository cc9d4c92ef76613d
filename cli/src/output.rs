//! What a command prints: aligned text for people, or exactly one JSON value on standard output for programs.
//!
//! Notes and prompts go to standard error, so that standard output is clean in both formats.

use crate::error::Error;
use serde::Serialize;
use std::io::Write;

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON value, errors too.
    Json,
}

impl Format {
    /// Prints the result of a command: `value` as JSON, or `text`.
    pub fn print(self, value: &impl Serialize, text: &str) -> Result<(), Error> {
        match self {
            Format::Text => write_out(&printable(text.trim_end())),
            Format::Json => write_out(&serde_json::to_string_pretty(value).expect("results are plain data")),
        }
    }

    /// Prints the failure of a command: JSON on standard output, text on standard error.
    pub fn print_error(self, error: &Error) {
        match self {
            // Nobody is left to tell if this fails; the exit code remains.
            Format::Json => drop(write_out(&error.to_json().to_string())),
            Format::Text => note(&format!("error: {error}")),
        }
    }
}

/// Prints text on standard output.
pub fn write_out(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| Error::local(format!("cannot write to standard output: {error}")))
}

/// Prints a line on standard error.
pub fn note(text: &str) {
    // A closed standard error must not change what the command does.
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(text));
}

/// The text without what could control a terminal: some of it comes from nodes and files of strangers.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Lines of cells in columns as wide as their widest cell, two spaces apart.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Lines of a label and its value, aligned.
pub fn fields(fields: &[(&str, String)]) -> String {
    table(&fields.iter().map(|(label, value)| vec![(*label).to_string(), value.clone()]).collect::<Vec<_>>())
}

/// A time as `2026-01-31 12:00:00 UTC`, from milliseconds since the Unix epoch.
pub fn time(timestamp_ms: u64) -> String {
    let seconds = timestamp_ms / 1_000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The beginning and the end of a long identifier.
pub fn shorten(text: &str) -> String {
    let length = text.chars().count();
    if length <= 20 {
        return text.into();
    }
    let head: String = text.chars().take(12).collect();
    let tail: String = text.chars().skip(length - 6).collect();
    format!("{head}…{tail}")
}

/// The date of a day since the Unix epoch in the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`, for days from 1970 on).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_the_gregorian_calendar() {
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(951_782_399_999), "2000-02-28 23:59:59 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(time(1_767_225_600_000), "2026-01-01 00:00:00 UTC");
        assert_eq!(time(4_107_542_400_000), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn nothing_from_outside_controls_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nc\u{9b}"), "a\u{fffd}[2Jb\u{fffd}\nc\u{fffd}");
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [vec!["a…b".to_string(), "1".into()], vec!["longer".into(), "22".into()]];
        assert_eq!(table(&rows), "a…b     1\nlonger  22\n");
    }

    #[test]
    fn only_long_identifiers_are_shortened() {
        assert_eq!(shorten("12345678901234567890"), "12345678901234567890");
        assert_eq!(shorten("farl1qpzry9x8gf2tvdw0s3jn54khce6mua7l"), "farl1qpzry9x…6mua7l");
    }
}
