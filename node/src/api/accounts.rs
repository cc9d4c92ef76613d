//! `GET /v1/accounts/…`.

use super::ApiState;
use super::extract::{NoParameters, Parameters, Segment};
use super::problem::ApiError;
use crate::storage::{Direction as LineDirection, HistoryCursor, HistoryRecord};
use axum::Json;
use axum::extract::State;
use farthing_client::{
    AccountView, AsOf, Direction, HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, HistoryEntry, HistoryPage, HistoryQuery,
    NonceBits, Problem, ProblemCode,
};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::hash::Digest;
use farthing_core::state_proof::StateProof;
use std::sync::Arc;

/// An account, as the newest executed state has it.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}",
    tag = "accounts",
    params(("address" = String, Path, description = "The account's address.")),
    responses(
        (status = 200, description = "The account.", body = AccountView),
        (status = 400, description = "`malformed_address` or `wrong_network`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_account`.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn account(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<AccountView>, ApiError> {
    let prefix = state.node.info().genesis.prefix();
    let address = segment.address(prefix)?;
    let snapshot = state.node.account(address).await?;
    let account = snapshot.account.ok_or_else(|| no_such_account(&address, prefix))?;
    Ok(Json(AccountView {
        address: address.encode(prefix),
        balance: account.balance,
        reserve: account.reserve,
        sponsor: account.sponsor.map(|sponsor| sponsor.encode(prefix)),
        nonce_high: account.nonces.high(),
        nonce_seen: NonceBits(account.nonces.seen()),
        next_nonce: account.nonces.next(),
        as_of: AsOf {
            height: snapshot.height,
            commit_index: snapshot.commit_index,
            timestamp_ms: snapshot.timestamp_ms,
        },
    }))
}

/// Proof of an account: its state at a certified block that publishes a state root.
///
/// Anybody with the genesis document can verify it offline. The state proven is up to a few seconds older than the newest.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}/proof",
    tag = "accounts",
    params(("address" = String, Path, description = "The account's address.")),
    responses(
        (status = 200, description = "The proof.", body = serde_json::Value),
        (status = 400, description = "`malformed_address` or `wrong_network`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_account`.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`not_certified_yet`: the account is too new, ask again.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn account_proof(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<StateProof>, ApiError> {
    let prefix = state.node.info().genesis.prefix();
    let address = segment.address(prefix)?;
    if let Some(proof) = state.node.account_proof(address).await? {
        return Ok(Json(proof));
    }
    Err(match state.node.account(address).await?.account {
        Some(_) => ApiError::new(
            ProblemCode::NotCertifiedYet,
            "no certified block publishes a state with this account yet: ask again shortly",
        ),
        None => no_such_account(&address, prefix),
    })
}

/// What an account paid and received, newest first.
///
/// Follow `next` for older entries. An address without an account has an empty history.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}/history",
    tag = "accounts",
    params(("address" = String, Path, description = "The account's address."), HistoryQuery),
    responses(
        (status = 200, description = "A page of the history.", body = HistoryPage),
        (status = 400, description = "`malformed_address`, `wrong_network`, `invalid_parameter` or `invalid_cursor`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_kept`: this node keeps no histories.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn history(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<Json<HistoryPage>, ApiError> {
    let address = segment.address(state.node.info().genesis.prefix())?;
    let before = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let limit = query.limit.unwrap_or(HISTORY_LIMIT_DEFAULT);
    if !(1..=HISTORY_LIMIT_MAX).contains(&limit) {
        return Err(ApiError::new(
            ProblemCode::InvalidParameter,
            format!("limit is {limit}: a page has 1 to {HISTORY_LIMIT_MAX} entries"),
        ));
    }
    if !state.node.storage().keeps_history() {
        return Err(ApiError::new(
            ProblemCode::NotKept,
            "this node keeps no histories of accounts (storage.history in its configuration): ask another one",
        ));
    }
    let limit = limit as usize;
    // One line more than asked for tells whether there is a next page.
    let mut lines = state.blocking(move |node| Ok(node.storage().history(&address, before, limit + 1)?)).await?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next = lines.last().filter(|_| more).map(cursor);
    let prefix = state.node.info().genesis.prefix();
    let entries = lines.into_iter().filter(|line| !is_echo(line)).map(|line| entry(line, prefix)).collect();
    Ok(Json(HistoryPage { entries, next }))
}

fn no_such_account(address: &Address, prefix: &AddressPrefix) -> ApiError {
    ApiError::new(
        ProblemCode::NoSuchAccount,
        format!("no account has the address {}: it is opened by a payment that says \"open\"", address.encode(prefix)),
    )
}

/// Opaque to clients: the place of the last line they got.
fn cursor(line: &HistoryRecord) -> String {
    format!("{}.{}.{}", line.height, line.position, line.line)
}

fn parse_cursor(text: &str) -> Result<HistoryCursor, ApiError> {
    let parse = || {
        let mut parts = text.split('.');
        let cursor = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(cursor)
    };
    parse().ok_or_else(|| {
        ApiError::new(
            ProblemCode::InvalidCursor,
            "the cursor is not one of this API: give the \"next\" of a page, unchanged",
        )
    })
}

/// Whether the account pays itself alone; such a transfer has a line for each direction.
fn is_to_self(line: &HistoryRecord) -> bool {
    line.counterparty == line.account && line.output_count == 1
}

/// Whether the line is the incoming one of a payment to oneself, which the outgoing one stands for.
fn is_echo(line: &HistoryRecord) -> bool {
    is_to_self(line) && line.direction == LineDirection::In
}

fn entry(line: HistoryRecord, prefix: &AddressPrefix) -> HistoryEntry {
    let direction = match line.direction {
        _ if is_to_self(&line) => Direction::ToSelf,
        LineDirection::Out => Direction::Out,
        LineDirection::In => Direction::In,
    };
    let counterparty = match line.direction {
        LineDirection::Out if line.output_count > 1 => None,
        LineDirection::Out | LineDirection::In => Some(line.counterparty.encode(prefix)),
    };
    HistoryEntry {
        id: line.id,
        direction,
        counterparty,
        amount: line.amount,
        code: line.code,
        reference: line.reference.map(|reference| Digest(reference).to_string()),
        height: line.height,
        position: line.position,
        timestamp_ms: line.timestamp_ms,
        outputs: line.output_count,
    }
}
