//! `GET /v1/accounts/…`.

use super::extract::{NoParameters, Parameters, Segment};
use super::problem::ApiError;
use super::{ApiState, lines};
use crate::handle::{AccountState, Provable, Snapshot};
use crate::storage::Topic;
use axum::Json;
use axum::extract::State;
use farthing_client::{AccountView, AsOf, HistoryPage, HistoryQuery, NonceBits, Problem, ProblemCode};
use farthing_core::address::{Address, AddressPrefix};
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
    let as_of = as_of(&snapshot);
    let AccountState { account, .. } = snapshot.value.ok_or_else(|| no_such_account(&address, prefix))?;
    Ok(Json(AccountView {
        address: address.encode(prefix),
        balance: account.balance,
        reserve: account.reserve,
        sponsor: account.sponsor.map(|sponsor| sponsor.encode(prefix)),
        nonce_high: account.nonces.high(),
        nonce_seen: NonceBits(account.nonces.seen()),
        next_nonce: account.nonces.next(),
        as_of,
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
    if let Some(proof) = state.node.proof(Provable::Account(address)).await? {
        return Ok(Json(proof));
    }
    Err(match state.node.account(address).await?.value {
        Some(_) => ApiError::new(
            ProblemCode::NotCertifiedYet,
            "no certified block publishes a state with this account yet: ask again shortly",
        ),
        None => no_such_account(&address, prefix),
    })
}

/// What an account paid, received and did, newest first.
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
    let (lines, next) = lines::page(&state, Topic::Account(address), &query).await?;
    let prefix = state.node.info().genesis.prefix();
    let entries = lines.iter().filter(|line| !lines::is_echo(line)).map(|line| lines::entry(line, prefix)).collect();
    Ok(Json(HistoryPage { entries, next }))
}

/// Which state an answer was read from.
pub(super) fn as_of<T>(snapshot: &Snapshot<T>) -> AsOf {
    AsOf { height: snapshot.height, commit_index: snapshot.commit_index, timestamp_ms: snapshot.timestamp_ms }
}

/// There is no such account.
pub(super) fn no_such_account(address: &Address, prefix: &AddressPrefix) -> ApiError {
    ApiError::new(
        ProblemCode::NoSuchAccount,
        format!("no account has the address {}: it is opened by a payment that says \"open\"", address.encode(prefix)),
    )
}
