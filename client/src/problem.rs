//! Failures of the API: problem details (RFC 9457) with one stable code each.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Why a request failed, as `application/problem+json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:farthing:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What programs should decide by.
    pub code: ProblemCode,
    /// What is wrong this time, and what to do about it.
    pub detail: String,
}

/// The stable codes of problems. A code is never given another meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// 400: the body is not the JSON or the encoding that was announced.
    MalformedBody,
    /// 400: a path segment or query parameter has the wrong form or lies outside its bounds.
    InvalidParameter,
    /// 400: an address is mistyped.
    MalformedAddress,
    /// 400: an address or a transaction is of another network.
    WrongNetwork,
    /// 400: a cursor that this node did not give out.
    InvalidCursor,
    /// 400: no transaction, or more than fit in one request.
    TransactionCount,
    /// 404: no account has this address.
    NoSuchAccount,
    /// 404: this node knows no such transaction.
    NoSuchTransaction,
    /// 404: there is and was no such hold.
    NoSuchHold,
    /// 404: the account has no such delegated key.
    NoSuchKey,
    /// 404: there is no block of this height yet.
    NoSuchBlock,
    /// 404: no such resource.
    NoSuchResource,
    /// 404: the resource exists, but this node does not keep it (an index turned off in its configuration).
    NotKept,
    /// 405: the resource does not take this method.
    MethodNotAllowed,
    /// 408: the request arrived too slowly.
    RequestTimeout,
    /// 409: the transaction is in no block yet, or its block is not certified yet: ask again.
    NotCertifiedYet,
    /// 410: the node once had it and has pruned it; ask an archive node.
    Pruned,
    /// 413: more bytes than a request may have.
    BodyTooLarge,
    /// 415: neither `application/json` nor `application/octet-stream`.
    UnsupportedMediaType,
    /// 429: too many requests from this address, or too many at once; slow down.
    TooManyRequests,
    /// 500: the node made a mistake; it is in its log.
    Internal,
    /// 503: the node is starting, catching up or overloaded: ask another one, or again later.
    Unavailable,
    /// A code that this version of the client does not know.
    #[serde(other)]
    Unknown,
}

impl Problem {
    /// A problem of this kind; `detail` says what is wrong this time and what to do about it.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:farthing:problem:{code}"),
            title: code.title().into(),
            status: code.status(),
            code,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.detail.is_empty() { &self.title } else { &self.detail })
    }
}

impl ProblemCode {
    /// The HTTP status that goes with the code.
    pub fn status(self) -> u16 {
        use ProblemCode::*;
        match self {
            MalformedBody | InvalidParameter | MalformedAddress | WrongNetwork | InvalidCursor | TransactionCount => {
                400
            }
            NoSuchAccount | NoSuchTransaction | NoSuchHold | NoSuchKey | NoSuchBlock | NoSuchResource | NotKept => 404,
            MethodNotAllowed => 405,
            RequestTimeout => 408,
            NotCertifiedYet => 409,
            Pruned => 410,
            BodyTooLarge => 413,
            UnsupportedMediaType => 415,
            TooManyRequests => 429,
            Internal | Unknown => 500,
            Unavailable => 503,
        }
    }

    /// The kind of problem in a few words.
    pub fn title(self) -> &'static str {
        self.texts().1
    }

    /// The code as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        self.texts().0
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            ProblemCode::MalformedBody => ("malformed_body", "the body is malformed"),
            ProblemCode::InvalidParameter => ("invalid_parameter", "a parameter is invalid"),
            ProblemCode::MalformedAddress => ("malformed_address", "the address is malformed"),
            ProblemCode::WrongNetwork => ("wrong_network", "another network"),
            ProblemCode::InvalidCursor => ("invalid_cursor", "the cursor is invalid"),
            ProblemCode::TransactionCount => ("transaction_count", "no or too many transactions"),
            ProblemCode::NoSuchAccount => ("no_such_account", "no such account"),
            ProblemCode::NoSuchTransaction => ("no_such_transaction", "no such transaction"),
            ProblemCode::NoSuchHold => ("no_such_hold", "no such hold"),
            ProblemCode::NoSuchKey => ("no_such_key", "no such delegated key"),
            ProblemCode::NoSuchBlock => ("no_such_block", "no such block"),
            ProblemCode::NoSuchResource => ("no_such_resource", "no such resource"),
            ProblemCode::NotKept => ("not_kept", "this node does not keep it"),
            ProblemCode::MethodNotAllowed => ("method_not_allowed", "method not allowed"),
            ProblemCode::RequestTimeout => ("request_timeout", "the request took too long"),
            ProblemCode::NotCertifiedYet => ("not_certified_yet", "not certified yet"),
            ProblemCode::Pruned => ("pruned", "pruned"),
            ProblemCode::BodyTooLarge => ("body_too_large", "the body is too large"),
            ProblemCode::UnsupportedMediaType => ("unsupported_media_type", "unsupported media type"),
            ProblemCode::TooManyRequests => ("too_many_requests", "too many requests"),
            ProblemCode::Internal => ("internal", "internal error"),
            ProblemCode::Unavailable => ("unavailable", "the node is not available"),
            ProblemCode::Unknown => ("unknown", "unknown problem"),
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
