//! Failures as the user sees them: a stable code, an exit code, and a message that says what to do.

use farthing_client::{ClientError, ProblemCode};
use serde_json::{Map, Value, json};
use std::fmt;

/// A failed command.
#[derive(Debug)]
pub struct Error {
    /// What programs should decide by.
    pub code: ErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// More for programs, such as the transaction's id.
    pub details: Map<String, Value>,
}

/// The kinds of failure, each with the process's exit code. `--output json` prints the name in snake case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 1: something on this machine fails: disk, permissions, a damaged file of the wallet's own.
    LocalFailure,
    /// 2: the command line is wrong, or something it names does not exist or is not of the right form.
    Usage,
    /// 2: an address is mistyped.
    MalformedAddress,
    /// 2: an address, a file or a node belongs to another network.
    WrongNetwork,
    /// 2: an amount has no unit, too many decimals, or is no number.
    MalformedAmount,
    /// 2: a key file's password is wrong, or the file was changed.
    WrongPassword,
    /// 2: something must be asked, and there is no terminal to ask on.
    PromptNeeded,
    /// 3: no node answers, or not as it should.
    Unreachable,
    /// 4: the transaction is in a block and did nothing.
    Rejected,
    /// 4: the transaction is in no block: nobody took it.
    Dropped,
    /// 4: the transaction's validity passed before it executed; it never will.
    Expired,
    /// 4: no account has this address.
    NoSuchAccount,
    /// 4: the node knows no such transaction, block or entry.
    NotFound,
    /// 4: a receipt that does not prove what it says.
    BadReceipt,
    /// 4: a proof of a balance that does not prove it.
    BadProof,
    /// 4: as many payments as an account may have in flight are still open.
    TooManyOpen,
    /// 5: the balance does not cover it.
    InsufficientFunds,
    /// 6: the payment was sent, and nobody could say what became of it.
    OutcomeUnknown,
}

impl ErrorCode {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        use ErrorCode::*;
        match self {
            LocalFailure => 1,
            Usage | MalformedAddress | WrongNetwork | MalformedAmount | WrongPassword | PromptNeeded => 2,
            Unreachable => 3,
            Rejected | Dropped | Expired | NoSuchAccount | NotFound | BadReceipt | BadProof | TooManyOpen => 4,
            InsufficientFunds => 5,
            OutcomeUnknown => 6,
        }
    }
}

impl Error {
    /// A failure.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Error {
        Error { code, message: message.into(), details: Map::new() }
    }

    /// A mistake on the command line or in what it names.
    pub fn usage(message: impl Into<String>) -> Error {
        Error::new(ErrorCode::Usage, message)
    }

    /// Something that fails on this machine.
    pub fn local(message: impl Into<String>) -> Error {
        Error::new(ErrorCode::LocalFailure, message)
    }

    /// The same failure with one more detail for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Error {
        self.details.insert(name.into(), value.into());
        self
    }

    /// The object that `--output json` prints: `{"error": {"code", "exit_code", "message", …details}}`.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("code".into(), json!(self.code));
        fields.insert("exit_code".into(), json!(self.code.exit_code()));
        fields.insert("message".into(), json!(self.message));
        fields.extend(self.details.clone());
        json!({ "error": fields })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<farthing_core::address::AddressError> for Error {
    fn from(error: farthing_core::address::AddressError) -> Error {
        let code = match error {
            farthing_core::address::AddressError::WrongNetwork { .. } => ErrorCode::WrongNetwork,
            _ => ErrorCode::MalformedAddress,
        };
        Error::new(code, error.to_string())
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Error {
        let code = match &error {
            ClientError::Address { .. } => ErrorCode::Usage,
            ClientError::Unreachable { .. } | ClientError::NoAnswer { .. } | ClientError::BadAnswer { .. } => {
                ErrorCode::Unreachable
            }
            ClientError::Problem(problem) => match problem.code {
                ProblemCode::NoSuchAccount => ErrorCode::NoSuchAccount,
                ProblemCode::NoSuchTransaction
                | ProblemCode::NoSuchBlock
                | ProblemCode::NoSuchResource
                | ProblemCode::NotKept
                | ProblemCode::Pruned
                | ProblemCode::NotCertifiedYet => ErrorCode::NotFound,
                ProblemCode::MalformedAddress => ErrorCode::MalformedAddress,
                ProblemCode::WrongNetwork => ErrorCode::WrongNetwork,
                ProblemCode::InvalidParameter | ProblemCode::InvalidCursor => ErrorCode::Usage,
                _ => ErrorCode::Unreachable,
            },
        };
        Error::new(code, error.to_string())
    }
}
