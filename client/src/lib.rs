//! The HTTP API of a Farthing node, as types, and a client for it.
//!
//! The node serves these types and everybody else reads them, so that both sides of the API are one definition.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/transactions?wait=accepted\|final\|certified&timeout_ms=` | [`SubmitResponse`] |
//! | `GET /v1/transactions/{id}` | [`TransactionStatus`] |
//! | `GET /v1/transactions/{id}/receipt` | [`farthing_core::receipt::Receipt`] |
//! | `GET /v1/accounts/{address}` | [`AccountView`] |
//! | `GET /v1/accounts/{address}/proof` | [`farthing_core::state_proof::StateProof`] |
//! | `GET /v1/accounts/{address}/history?cursor=&limit=` | [`HistoryPage`] |
//! | `GET /v1/accounts/{address}/bandwidth` | [`BandwidthView`] |
//! | `GET /v1/accounts/{address}/keys` | [`KeysView`] |
//! | `GET /v1/accounts/{address}/keys/{key}/proof` | [`farthing_core::state_proof::StateProof`] |
//! | `GET /v1/accounts/{address}/policy` | [`PolicyView`] |
//! | `GET /v1/accounts/{address}/holds?cursor=&limit=` | [`HoldsPage`] |
//! | `GET /v1/holds/{id}` | [`HoldView`] |
//! | `GET /v1/holds/{id}/proof` | [`farthing_core::state_proof::StateProof`] |
//! | `GET /v1/references/{reference}?cursor=&limit=` | [`ReferencePage`] |
//! | `GET /v1/accounts/{address}/events?after=`, also of a reference, a hold, and `/v1/blocks/events` | a stream of [`Event`]s |
//! | `GET /v1/blocks/{height}`, `GET /v1/blocks/latest` | [`BlockView`] |
//! | `GET /v1/status` | [`NodeStatus`] |
//! | `GET /v1/validators` | a list of [`ValidatorView`] |
//! | `GET /v1/evidence` | a list of [`Evidence`] |
//! | `GET /v1/genesis` | the genesis document ([`farthing_core::genesis::Genesis::from_json`]) |
//! | `GET /healthz`, `GET /readyz`, `GET /metrics` | for operators |
//!
//! A submission is one [`SignedTransactionJson`] or a list of them (`application/json`), or the signed borsh encodings of one
//! or many, concatenated (`application/octet-stream`); at most [`TRANSACTIONS_MAX`] and [`REQUEST_BYTES_MAX`]. Submitting the
//! same bytes again, to any node, is harmless.
//!
//! Every failure is a [`Problem`] (RFC 9457) with one stable [`ProblemCode`].
//!
//! For applications that take or make payments there are also payment requests ([`PaymentRequest`]), payment links
//! ([`PaymentLink`]) and payment channels ([`channel`]).
#![forbid(unsafe_code)]

mod account;
mod block;
pub mod channel;
mod event;
mod evidence;
mod hold;
mod http;
mod limits;
mod operation;
mod payment_link;
mod payment_request;
mod problem;
mod status;
mod transaction;
mod transfer;

pub use account::{
    AccountView, AsOf, Direction, HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, HistoryEntry, HistoryPage, HistoryQuery,
    NonceBits, OperationName,
};
pub use block::{BlockTransaction, BlockView};
pub use event::{BlockEvent, Event, EventTopic, Events, EventsQuery, PositionEvent, parse_event};
pub use evidence::{Evidence, EvidenceError, SignedVertexHeader};
pub use hold::{HoldState, HoldTerms, HoldView, HoldsPage, ReferencePage};
pub use http::{Client, ClientError};
pub use limits::{BandwidthView, KeyView, KeysView, PendingPolicyView, PolicyView};
pub use operation::{
    ConditionJson, KeyLimitsJson, KeyOperationJson, LimitJson, OperationJson, OutputJson, PolicyJson,
    TransactionJsonError,
};
pub use payment_link::{PaymentLink, PaymentLinkError};
pub use payment_request::{PAYMENT_REQUEST_BYTES_MAX, PaymentRequest, PaymentRequestError};
pub use problem::{Problem, ProblemCode};
pub use status::{NodeStatus, Role, StateRoot, ValidatorView};
pub use transaction::{
    BlockPosition, DroppedReason, REQUEST_BYTES_MAX, SignedTransactionJson, Submission, SubmitQuery, SubmitResponse,
    TRANSACTIONS_MAX, TransactionState, TransactionStatus, WAIT_TIMEOUT_MS_DEFAULT, WAIT_TIMEOUT_MS_MAX, Wait,
    decode_concatenated,
};
pub use transfer::{TransferError, VALIDITY_MS_DEFAULT, transfer, validity_ms};

/// Large numbers as strings of decimal digits, since JSON's lose what is beyond 53 bits.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
