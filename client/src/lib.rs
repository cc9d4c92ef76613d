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
#![forbid(unsafe_code)]

mod account;
mod block;
pub mod channel;
mod evidence;
mod http;
mod operation;
mod problem;
mod status;
mod transaction;
mod transfer;

pub use account::{
    AccountView, AsOf, Direction, HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, HistoryEntry, HistoryPage, HistoryQuery,
    NonceBits,
};
pub use block::{BlockTransaction, BlockView};
pub use evidence::{Evidence, EvidenceError, SignedVertexHeader};
pub use http::{Client, ClientError};
pub use operation::{
    ConditionJson, KeyLimitsJson, KeyOperationJson, LimitJson, OperationJson, OutputJson, PolicyJson,
    TransactionJsonError,
};
pub use problem::{Problem, ProblemCode};
pub use status::{NodeStatus, Role, StateRoot, ValidatorView};
pub use transaction::{
    BlockPosition, DroppedReason, REQUEST_BYTES_MAX, SignedTransactionJson, Submission, SubmitQuery, SubmitResponse,
    TRANSACTIONS_MAX, TransactionState, TransactionStatus, WAIT_TIMEOUT_MS_DEFAULT, WAIT_TIMEOUT_MS_MAX, Wait,
    decode_concatenated,
};
pub use transfer::{TransferError, VALIDITY_MS_DEFAULT, transfer, validity_ms};
