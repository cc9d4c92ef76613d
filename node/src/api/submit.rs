//! `POST /v1/transactions`.
//!
//! Idempotent by construction: a transaction is known by its id, and the node says where it stands whether these bytes arrive
//! for the first time or not. The answer is one status for each transaction, also when the only one was refused: being refused
//! is an outcome of the transaction, a problem is a failure of the request. Only when the node refuses everything for reasons of
//! its own (not ready, mempool full) is the request as a whole a problem, so that clients turn to another node.

use super::ApiState;
use super::extract::{Parameters, read_body};
use super::problem::{ApiError, address_code};
use super::server::PeerAddress;
use super::transactions::block_position;
use crate::handle::{RefuseReason, SubmitOutcome, Wait as NodeWait};
use crate::storage::TransactionPosition;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use farthing_client::{
    DroppedReason, Problem, ProblemCode, SignedTransactionJson, Submission, SubmitQuery, SubmitResponse,
    TRANSACTIONS_MAX, TransactionJsonError, TransactionState, TransactionStatus, WAIT_TIMEOUT_MS_DEFAULT,
    WAIT_TIMEOUT_MS_MAX, Wait, decode_concatenated,
};
use farthing_core::address::AddressPrefix;
use farthing_core::block::{DropReason, ResultCode};
use farthing_core::codec::CodecError;
use farthing_core::transaction::SignedTransaction;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most transactions of a submission whose answer carries receipts; each takes kilobytes and a path through its block.
const RECEIPTS_MAX: usize = 64;

/// About the least that a transaction takes in a body.
const SIGNED_BYTES_MIN: usize = 128;

/// Bodies that may hold a small submission: eight transactions with an output or two as JSON.
const SMALL_BODY_BYTES_MAX: usize = 8 * 1024;

/// The longest body that is decoded at once, where it arrives: more takes milliseconds, and is moved out of the way.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Submits transactions, one or many.
///
/// The body is one transaction or a list of up to 1,024 as JSON, or the signed canonical (borsh) encodings of one or many, one after
/// the other, as `application/octet-stream`. At most 1 MiB.
///
/// With `wait=accepted` (the default) the node answers as soon as its mempool has taken or refused each transaction; with
/// `wait=final` when each is in a block that is decided and synced to this node's disk; with `wait=certified` when each block is
/// certified, and then submissions of up to 64 transactions are answered with receipts. After `timeout_ms` the node answers with
/// what it knows.
///
/// Submitting the same bytes again is harmless, to this node or another, and gives the same answer.
///
/// A full node answers as a validator does: it checks signatures, admits against its own executed state, and forwards what it
/// takes to one validator after the other until a block settles it.
#[utoipa::path(
    post,
    path = "/v1/transactions",
    tag = "transactions",
    params(SubmitQuery),
    request_body(
        description = "One transaction, a list of them, or concatenated signed encodings.",
        content(
            (Submission = "application/json", example = json!({
                "sender": "farl1…",
                "nonce": 1,
                "valid_until_ms": 1_800_000_000_000_u64,
                "operation": { "transfer": { "outputs": [{ "to": "farl1…", "amount": "2500000", "open": false }] } },
                "signature": "…128 hexadecimal digits…",
            })),
            ("application/octet-stream"),
        ),
    ),
    responses(
        (status = 200, description = "Each transaction is in a block, or refused (`dropped`, with `reason`).", body = SubmitResponse),
        (status = 202, description = "Some are not yet where `wait` asks for: `pending`, or not certified.", body = SubmitResponse),
        (status = 400, description = "`malformed_body`, `malformed_address`, `wrong_network`, `transaction_count` or `invalid_parameter`. Nothing was submitted.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "`request_timeout`: the body arrived too slowly.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`: more than 1 MiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_requests`, or too many bad signatures from this address; `Retry-After` says when.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: starting, catching up or full. Nothing was accepted; `Retry-After` says when to try again, or try another node.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn submit(
    State(state): State<Arc<ApiState>>,
    Parameters(query): Parameters<SubmitQuery>,
    request: Request,
) -> Result<(StatusCode, Json<SubmitResponse>), ApiError> {
    let timeout = wait_timeout(&query)?;
    let format = BodyFormat::of(request.headers())?;
    let PeerAddress(address) = *request.extensions().get().expect("set by the server for every request");
    state.bad_signatures.check(address, Instant::now()).map_err(ApiError::too_many_bad_signatures)?;
    let mut held = state.bodies.hold(address);
    let body = read_body(request, &state.config, &mut held).await?;
    // How many there are is not known before they are decoded, and is looked at again then.
    let count = if body.len() <= SMALL_BODY_BYTES_MAX { 1 } else { body.len().div_ceil(SIGNED_BYTES_MIN) };
    if !state.node.has_room(count) {
        return Err(ApiError::new(
            ProblemCode::Unavailable,
            "the node has taken as many transactions as it executes in good time: try again in a moment, or another node",
        ));
    }
    let transactions = decode(&state, format, body).await?;
    let count = transactions.len();
    state.metrics.submitted(count);
    let outcomes = state.node.submit(transactions, node_wait(query.wait), timeout).await?;
    assert_eq!(outcomes.len(), count, "one outcome for each transaction");
    drop(held);
    state.bad_signatures.charge(
        address,
        outcomes.iter().filter(|outcome| is_bad_signature(outcome)).count(),
        Instant::now(),
    );
    refuse_if_none_taken(&outcomes)?;
    let complete = outcomes.iter().all(|outcome| is_complete(outcome, query.wait));
    let mut statuses: Vec<_> = outcomes.iter().map(status_of).collect();
    if query.wait == Wait::Certified && count <= RECEIPTS_MAX {
        statuses = with_receipts(&state, statuses).await?;
    }
    let status = if complete { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(SubmitResponse { transactions: statuses })))
}

/// What the body claims to be.
#[derive(Clone, Copy)]
enum BodyFormat {
    Json,
    Encoded,
}

impl BodyFormat {
    fn of(headers: &HeaderMap) -> Result<BodyFormat, ApiError> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(BodyFormat::Json),
            "application/octet-stream" => Ok(BodyFormat::Encoded),
            _ => Err(ApiError::new(
                ProblemCode::UnsupportedMediaType,
                "set the Content-Type to application/json, or to application/octet-stream for signed encodings",
            )),
        }
    }
}

fn wait_timeout(query: &SubmitQuery) -> Result<Duration, ApiError> {
    match query.timeout_ms.unwrap_or(WAIT_TIMEOUT_MS_DEFAULT) {
        timeout_ms @ 0..=WAIT_TIMEOUT_MS_MAX => Ok(Duration::from_millis(timeout_ms)),
        timeout_ms => Err(ApiError::new(
            ProblemCode::InvalidParameter,
            format!("timeout_ms is {timeout_ms}: a node waits {WAIT_TIMEOUT_MS_MAX} ms at most"),
        )),
    }
}

fn node_wait(wait: Wait) -> NodeWait {
    match wait {
        Wait::Accepted => NodeWait::Accepted,
        Wait::Final => NodeWait::Final,
        Wait::Certified => NodeWait::Certified,
    }
}

async fn decode(state: &ApiState, format: BodyFormat, body: Bytes) -> Result<Vec<SignedTransaction>, ApiError> {
    let inline = body.len() <= INLINE_BYTES_MAX;
    let decode = move |prefix: &AddressPrefix| match format {
        BodyFormat::Json => decode_json(&body, prefix),
        BodyFormat::Encoded => decode_encoded(&body),
    };
    if inline {
        return decode(state.node.info().genesis.prefix());
    }
    state.blocking(move |node| decode(node.info().genesis.prefix())).await
}

fn decode_json(body: &[u8], prefix: &AddressPrefix) -> Result<Vec<SignedTransaction>, ApiError> {
    // Looking at the first character, rather than trying both forms, keeps the parser's message of what is wrong and where.
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let parsed: Result<Vec<SignedTransactionJson>, _> =
        if is_list { serde_json::from_slice(body) } else { serde_json::from_slice(body).map(|one| vec![one]) };
    let transactions = parsed.map_err(|error| {
        ApiError::new(ProblemCode::MalformedBody, format!("the body is not a transaction or a list of them: {error}"))
    })?;
    if !(1..=TRANSACTIONS_MAX).contains(&transactions.len()) {
        return Err(ApiError::new(
            ProblemCode::TransactionCount,
            format!("{} transactions: a request takes 1 to {TRANSACTIONS_MAX}", transactions.len()),
        ));
    }
    transactions
        .iter()
        .enumerate()
        .map(|(number, transaction)| {
            transaction.to_signed(prefix).map_err(|error| {
                let code = match &error {
                    TransactionJsonError::Address(error) => address_code(error),
                    TransactionJsonError::OutputCount(_)
                    | TransactionJsonError::NothingPaid
                    | TransactionJsonError::TwoProofs
                    | TransactionJsonError::Bound(_) => ProblemCode::MalformedBody,
                };
                ApiError::new(code, format!("transaction {number}: {error}"))
            })
        })
        .collect()
}

fn decode_encoded(body: &[u8]) -> Result<Vec<SignedTransaction>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::new(ProblemCode::TransactionCount, "the body is empty: it must hold a transaction"));
    }
    decode_concatenated(body).map_err(|error| {
        let code = match error {
            CodecError::TooLong { .. } => ProblemCode::BodyTooLarge,
            CodecError::Malformed(_) => ProblemCode::MalformedBody,
        };
        ApiError::new(code, error.to_string())
    })
}

/// Refuses the request if the node took nothing of it for reasons of its own.
fn refuse_if_none_taken(outcomes: &[SubmitOutcome]) -> Result<(), ApiError> {
    let node_refused = |outcome: &SubmitOutcome| {
        matches!(outcome, SubmitOutcome::Refused { reason: RefuseReason::NotReady | RefuseReason::MempoolFull, .. })
    };
    match outcomes.first() {
        Some(SubmitOutcome::Refused { reason, .. }) if outcomes.iter().all(node_refused) => {
            Err(ApiError::new(ProblemCode::Unavailable, refuse_detail(reason)))
        }
        _ => Ok(()),
    }
}

fn is_bad_signature(outcome: &SubmitOutcome) -> bool {
    matches!(outcome, SubmitOutcome::Refused { reason: RefuseReason::BadSignature, .. })
}

/// Whether the transaction is where `wait` asks for, or can get no further.
fn is_complete(outcome: &SubmitOutcome, wait: Wait) -> bool {
    match outcome {
        SubmitOutcome::Pending { .. } => false,
        SubmitOutcome::InBlock { certified, .. } => *certified || wait != Wait::Certified,
        SubmitOutcome::Refused { .. } => true,
    }
}

fn status_of(outcome: &SubmitOutcome) -> TransactionStatus {
    match outcome {
        SubmitOutcome::Pending { id } => TransactionStatus::new(*id, TransactionState::Pending),
        SubmitOutcome::InBlock { id, position, code, header, block_hash, certified } => TransactionStatus {
            code: Some(*code),
            detail: rejected_detail(*code).map(Into::into),
            block: Some(block_position(header, *block_hash, position.position)),
            certified: *certified,
            ..TransactionStatus::new(*id, executed_state(*code))
        },
        SubmitOutcome::Refused { id, reason: reason @ RefuseReason::Unknown } => TransactionStatus {
            detail: Some(refuse_detail(reason).into()),
            ..TransactionStatus::new(*id, TransactionState::Unknown)
        },
        SubmitOutcome::Refused { id, reason } => TransactionStatus {
            reason: Some(dropped_reason(reason)),
            detail: Some(refuse_detail(reason).into()),
            passes_at_ms: match reason {
                RefuseReason::Later { passes_at_ms, .. } => Some(*passes_at_ms),
                _ => None,
            },
            ..TransactionStatus::new(*id, TransactionState::Dropped)
        },
    }
}

/// Adds the receipts of what is certified.
async fn with_receipts(
    state: &ApiState,
    mut statuses: Vec<TransactionStatus>,
) -> Result<Vec<TransactionStatus>, ApiError> {
    state
        .blocking(move |node| {
            for status in statuses.iter_mut().filter(|status| status.certified) {
                if let Some(block) = status.block {
                    status.receipt =
                        node.receipt(TransactionPosition { height: block.height, position: block.position })?;
                }
            }
            Ok(statuses)
        })
        .await
}

/// The state of a transaction that is in a block.
pub(super) fn executed_state(code: ResultCode) -> TransactionState {
    if code.is_executed() { TransactionState::Executed } else { TransactionState::Rejected }
}

/// What a rejection means and what to do about it; `None` for executed transactions.
pub(super) fn rejected_detail(code: ResultCode) -> Option<&'static str> {
    match code {
        ResultCode::Executed => None,
        ResultCode::OperationNotAllowed => {
            Some("the delegated key may not use this operation; nothing was done: sign with another key of the account")
        }
        ResultCode::PayeeIsSender => Some("a hold for oneself; nothing was done: name another payee"),
        ResultCode::NoSuchAccount => Some(
            "the transaction names an address that has no account; nothing was done: check the address, or set \"open\" on the \
             output to open it",
        ),
        ResultCode::NoSuchHold => Some("there is no such hold, or it was closed before; nothing was done"),
        ResultCode::NoSuchKey => Some("the account has no such delegated key; nothing was done"),
        ResultCode::TooManyKeys => Some(
            "the account has as many delegated keys as it may have; nothing was done: remove one, whose place is free an hour later",
        ),
        ResultCode::NotEntitled => Some(
            "the sender may not do this to the hold, or not before its end; nothing was done: see who may do what in the documentation",
        ),
        ResultCode::HoldEnded => Some("the hold has ended; nothing was done: it can only be released"),
        ResultCode::HoldClosing => Some("the payer has started closing the hold; nothing was done: open another one"),
        ResultCode::ExpiryOutOfRange => {
            Some("the hold's expiry is past, more than 400 days ahead or earlier than it was; nothing was done")
        }
        ResultCode::WrongCumulative => {
            Some("more than the hold's amount; nothing was done: check the cumulative amount, or wait for a top-up")
        }
        ResultCode::BadProof => Some("the voucher or preimage does not meet the hold's condition; nothing was done"),
        ResultCode::NotReclaimable => Some(
            "the account has money, keys or holds, or was used not long ago; nothing was done: it must be empty for a day",
        ),
        ResultCode::AmountOverflow => Some("it adds up to more money than there can be; nothing was paid"),
        ResultCode::PayeeNotAllowed => Some("the delegated key may not pay this payee; nothing was paid"),
        ResultCode::OverTransactionLimit => {
            Some("more than the delegated key may spend at a time; nothing was paid: send less")
        }
        ResultCode::OverKeyLimit => Some(
            "more than the delegated key may spend in this period; nothing was paid: wait for the next period, or send less",
        ),
        ResultCode::AccountBlocked => Some("the account's owner has blocked it; nothing was paid: change its policy"),
        ResultCode::OverSpendingLimit => Some(
            "more than the account's policy allows in this period; nothing was paid: wait for the next period, or send less",
        ),
        ResultCode::InsufficientBalance => {
            Some("the sender's balance was less than what is to be paid; nothing was paid, send less")
        }
        ResultCode::InsufficientReserve => Some(
            "the sender's balance did not suffice to lock the reserve of what the transaction makes; nothing was paid",
        ),
    }
}

fn dropped_reason(reason: &RefuseReason) -> DroppedReason {
    match reason {
        RefuseReason::BadSignature => DroppedReason::BadSignature,
        RefuseReason::Dropped(reason) | RefuseReason::Later { reason, .. } => DroppedReason::from(*reason),
        RefuseReason::MempoolFull => DroppedReason::MempoolFull,
        RefuseReason::SenderFull | RefuseReason::NonceFull => DroppedReason::SenderLimit,
        RefuseReason::NotReady | RefuseReason::Unknown => DroppedReason::Other,
    }
}

fn refuse_detail(reason: &RefuseReason) -> &'static str {
    match reason {
        RefuseReason::BadSignature => {
            "the signature is not the sender's over this transaction on this network: sign it again"
        }
        RefuseReason::Later { reason, .. } => refuse_detail(&RefuseReason::Dropped(*reason)),
        RefuseReason::Dropped(DropReason::UnknownSender) => {
            "the sender has no account: somebody must pay to it with \"open\""
        }
        RefuseReason::Dropped(DropReason::UnknownKey) => {
            "the sender has no such delegated key, or it was removed or has expired: sign with another key of the account"
        }
        RefuseReason::Dropped(DropReason::Expired) => {
            "valid_until_ms has passed: if it is in no block by now it never will be; sign a new one"
        }
        RefuseReason::Dropped(DropReason::ValidTooLong) => {
            "valid_until_ms lies further ahead than the network allows: sign one that expires sooner"
        }
        RefuseReason::Dropped(DropReason::NonceUsed) => {
            "the nonce is used by another transaction, or too old to tell: sign with the account's next_nonce"
        }
        RefuseReason::Dropped(DropReason::NonceTooHigh) => {
            "the nonce is 0 or too far above the account's highest: sign with the account's next_nonce"
        }
        RefuseReason::Unknown => {
            "it cannot be executed any more, perhaps because it was: this node started from a snapshot and does not know what came \
             before it; ask another one"
        }
        RefuseReason::Dropped(DropReason::InsufficientBandwidth) => {
            "the account has sent more than its bandwidth allows: it grows back with time, and with a higher balance"
        }
        RefuseReason::MempoolFull => "the node's mempool is full: try again shortly, or another node",
        RefuseReason::SenderFull => {
            "the sender has too many transactions waiting at this node: wait until some are in a block"
        }
        RefuseReason::NonceFull => {
            "two transactions with its nonce are waiting at this node, of which one at most will be in a block: wait until it is"
        }
        RefuseReason::NotReady => "the node is starting or catching up: try again shortly, or another node",
    }
}
