//! Asking the user. Only on a terminal: without one every question is an error that names the flag to give instead.

use crate::error::{Error, ErrorCode};
use crate::files;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// The most bytes of a file with a password or with words.
pub const SECRET_BYTES_MAX: u64 = 4_096;

/// Whether somebody can be asked: both the question and the answer need a terminal.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A password: the first line of `file` (`-` is standard input), else typed without being shown.
pub fn password(question: &str, file: Option<&Path>) -> Result<Zeroizing<String>, Error> {
    match file {
        Some(path) => {
            let text = secret_text(path)?;
            Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_string()))
        }
        None => hidden(question, "--password-file FILE"),
    }
}

/// A new password: as [`password`], but typed twice, and not empty.
pub fn new_password(file: Option<&Path>) -> Result<Zeroizing<String>, Error> {
    let chosen = match file {
        Some(path) => password("", Some(path))?,
        None => {
            let flags = "--password-file FILE (or --no-password for a throw-away key)";
            let first = hidden("New password: ", flags)?;
            if *first != *hidden("Again: ", flags)? {
                return Err(Error::usage("the two passwords differ: try again"));
            }
            first
        }
    };
    if chosen.is_empty() {
        return Err(Error::usage("the password is empty: choose one, or give --no-password for a throw-away key"));
    }
    Ok(chosen)
}

/// A secret typed without being shown; `flag` is what to give where there is no terminal.
pub fn hidden(question: &str, flag: &str) -> Result<Zeroizing<String>, Error> {
    if !is_interactive() {
        return Err(prompt_needed(flag));
    }
    let typed = rpassword::prompt_password(question)
        .map_err(|error| Error::local(format!("cannot read from the terminal: {error}")))?;
    Ok(Zeroizing::new(typed))
}

/// Asks for a yes. Anything else is a no.
pub fn confirm(question: &str, flag: &str) -> Result<bool, Error> {
    if !is_interactive() {
        return Err(prompt_needed(flag));
    }
    let failed = |error| Error::local(format!("cannot use the terminal: {error}"));
    let mut err = std::io::stderr().lock();
    write!(err, "{question} [y/N] ").and_then(|()| err.flush()).map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The text of a file with a secret in it.
pub fn secret_text(path: &Path) -> Result<Zeroizing<String>, Error> {
    let bytes = Zeroizing::new(files::read_named(path, SECRET_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::usage(format!("{} is not text", path.display())))?;
    Ok(Zeroizing::new(text.to_string()))
}

fn prompt_needed(flag: &str) -> Error {
    Error::new(ErrorCode::PromptNeeded, format!("there is no terminal to ask on: give {flag}"))
}
