//! `GET /v1/holds/…`, `GET /v1/accounts/{address}/holds` and `GET /v1/references/…`.

use super::accounts::as_of;
use super::extract::{NoParameters, Parameters, Segment};
use super::problem::ApiError;
use super::{ApiState, lines};
use crate::handle::Provable;
use crate::storage::{Direction, HistoryRecord, LineRange, Storage, StorageError, Topic};
use axum::Json;
use axum::extract::State;
use farthing_client::{
    AsOf, HistoryPage, HistoryQuery, HoldState, HoldView, HoldsPage, Problem, ProblemCode, ReferencePage,
};
use farthing_core::address::AddressPrefix;
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use farthing_core::state_proof::StateProof;
use farthing_core::transaction::TransactionId;
use std::sync::Arc;

/// The most lines of a closed hold that are read to say what was captured.
const LINES_OF_HOLD_MAX: usize = 1_000;

/// A hold: what was set aside, what of it was captured, and under which terms.
///
/// A hold that was closed is still answered, with the state `closed`.
#[utoipa::path(
    get,
    path = "/v1/holds/{id}",
    tag = "holds",
    params(("id" = String, Path, description = "The hold: the id of the transaction that opened it, 64 hexadecimal digits.")),
    responses(
        (status = 200, description = "The hold.", body = HoldView),
        (status = 400, description = "`invalid_parameter`: not an id.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_hold`.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn hold(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<HoldView>, ApiError> {
    let id = segment.transaction_id()?;
    read(&state, id).await?.map(Json).ok_or_else(|| no_such_hold(id))
}

/// Proof of a hold: its state at a certified block that publishes a state root.
///
/// Anybody with the genesis document can verify it offline. That a hold is closed cannot be proven so; the receipt of the transaction that
/// closed it proves that.
#[utoipa::path(
    get,
    path = "/v1/holds/{id}/proof",
    tag = "holds",
    params(("id" = String, Path, description = "The hold: the id of the transaction that opened it, 64 hexadecimal digits.")),
    responses(
        (status = 200, description = "The proof.", body = serde_json::Value),
        (status = 400, description = "`invalid_parameter`: not an id.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_hold`: it may be closed.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`not_certified_yet`: the hold is too new, ask again.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn hold_proof(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<StateProof>, ApiError> {
    let id = segment.transaction_id()?;
    if let Some(proof) = state.node.proof(Provable::Hold(id)).await? {
        return Ok(Json(proof));
    }
    Err(match state.node.holds(vec![id]).await?.value.pop().flatten() {
        Some(_) => ApiError::new(
            ProblemCode::NotCertifiedYet,
            "no certified block publishes a state with this hold yet: ask again shortly",
        ),
        None => no_such_hold(id),
    })
}

/// The holds that an account is payer or payee of, newest first, closed ones too.
///
/// Follow `next` for older ones.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}/holds",
    tag = "holds",
    params(("address" = String, Path, description = "The account's address."), HistoryQuery),
    responses(
        (status = 200, description = "A page of holds.", body = HoldsPage),
        (status = 400, description = "`malformed_address`, `wrong_network`, `invalid_parameter` or `invalid_cursor`.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn holds(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<Json<HoldsPage>, ApiError> {
    let address = segment.address(state.node.info().genesis.prefix())?;
    let (openings, next) = lines::page(&state, Topic::HoldsOf(address), &query).await?;
    let holds = views(&state, openings).await?;
    Ok(Json(HoldsPage { holds, next }))
}

/// What was paid with a reference, and the holds that were opened with it, newest first.
///
/// A reference is the payee's own mark for a payment. Anybody can pay anybody with any reference: look at `account`, who was paid.
/// Follow `next` for older entries.
#[utoipa::path(
    get,
    path = "/v1/references/{reference}",
    tag = "references",
    params(("reference" = String, Path, description = "The reference, 64 hexadecimal digits."), HistoryQuery),
    responses(
        (status = 200, description = "A page of what was paid.", body = ReferencePage),
        (status = 400, description = "`invalid_parameter` or `invalid_cursor`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reference(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<Json<ReferencePage>, ApiError> {
    let reference = segment.reference()?;
    let (lines, next) = lines::page(&state, Topic::Reference(reference.0), &query).await?;
    let prefix = state.node.info().genesis.prefix();
    Ok(Json(ReferencePage { entries: lines.iter().map(|line| lines::entry(line, prefix)).collect(), next }))
}

/// Every operation on a hold and what it paid, newest first.
///
/// Follow `next` for older entries. A hold that there never was has an empty history.
#[utoipa::path(
    get,
    path = "/v1/holds/{id}/history",
    tag = "holds",
    params(("id" = String, Path, description = "The hold: the id of the transaction that opened it, 64 hexadecimal digits."), HistoryQuery),
    responses(
        (status = 200, description = "A page of what was done.", body = HistoryPage),
        (status = 400, description = "`invalid_parameter` or `invalid_cursor`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn history(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<Json<HistoryPage>, ApiError> {
    let (lines, next) = lines::page(&state, Topic::Hold(segment.transaction_id()?), &query).await?;
    let prefix = state.node.info().genesis.prefix();
    Ok(Json(HistoryPage { entries: lines.iter().map(|line| lines::entry(line, prefix)).collect(), next }))
}

async fn read(state: &ApiState, id: TransactionId) -> Result<Option<HoldView>, ApiError> {
    let snapshot = state.node.holds(vec![id]).await?;
    let prefix = state.node.info().genesis.prefix().clone();
    let as_of = as_of(&snapshot);
    if let Some(Some(hold)) = snapshot.value.first() {
        return Ok(Some(HoldView::new(id, hold, &prefix, as_of)));
    }
    state.blocking(move |node| Ok(closed(node.storage(), id, &prefix, as_of)?)).await
}

/// The holds that these lines opened.
async fn views(state: &ApiState, openings: Vec<HistoryRecord>) -> Result<Vec<HoldView>, ApiError> {
    let ids = openings.iter().map(|line| line.id).collect();
    let snapshot = state.node.holds(ids).await?;
    let prefix = state.node.info().genesis.prefix().clone();
    let as_of = as_of(&snapshot);
    let found = move |storage: &dyn Storage| {
        let mut views = Vec::with_capacity(openings.len());
        for (line, hold) in openings.iter().zip(&snapshot.value) {
            views.push(match hold {
                Some(hold) => HoldView::new(line.id, hold, &prefix, as_of),
                None => closed_view(storage, line, &prefix, as_of)?,
            });
        }
        Ok::<_, StorageError>(views)
    };
    state.blocking(move |node| Ok(found(node.storage())?)).await
}

/// A hold that is no more, by its lines; `None` if there was none.
fn closed(
    storage: &dyn Storage,
    id: TransactionId,
    prefix: &AddressPrefix,
    as_of: AsOf,
) -> Result<Option<HoldView>, StorageError> {
    let lines = storage.lines(&Topic::Hold(id), &LineRange::After((0, 0, 0)), 1)?;
    lines.first().map(|opening| closed_view(storage, opening, prefix, as_of)).transpose()
}

fn closed_view(
    storage: &dyn Storage,
    opening: &HistoryRecord,
    prefix: &AddressPrefix,
    as_of: AsOf,
) -> Result<HoldView, StorageError> {
    let range = LineRange::After(opening.cursor());
    let lines = storage.lines(&Topic::Hold(opening.id), &range, LINES_OF_HOLD_MAX)?;
    let payee = opening.counterparty;
    let to_payee = lines.iter().filter(|line| line.direction == Direction::In && line.account == payee);
    let captured = Amount::checked_sum(to_payee.map(|line| line.amount));
    Ok(HoldView {
        id: opening.id,
        state: HoldState::Closed,
        payer: opening.account.encode(prefix),
        payee: payee.encode(prefix),
        amount: opening.amount,
        captured: captured.filter(|_| lines.len() < LINES_OF_HOLD_MAX),
        reference: opening.reference.map(Digest),
        terms: None,
        as_of,
    })
}

fn no_such_hold(id: TransactionId) -> ApiError {
    let detail = format!("there is no hold {id}: a hold is called by the id of the transaction that opened it");
    ApiError::new(ProblemCode::NoSuchHold, detail)
}
