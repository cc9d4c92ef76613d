//! `GET /v1/transactions/…`.

use super::ApiState;
use super::blocks::{is_certified, not_kept};
use super::extract::{NoParameters, Segment};
use super::problem::ApiError;
use super::submit::{executed_state, rejected_detail};
use super::view::NodeView;
use crate::storage::{IndexedTransaction, StorageError, TransactionPosition};
use axum::Json;
use axum::extract::State;
use farthing_client::{
    BlockPosition, Problem, ProblemCode, SignedTransactionJson, TransactionState, TransactionStatus,
};
use farthing_core::block::{BlockHash, BlockHeader};
use farthing_core::receipt::Receipt;
use farthing_core::transaction::TransactionId;
use std::sync::Arc;

/// What the node knows of a transaction.
///
/// A transaction that the node does not know is `unknown`, which is no proof that it is in no block: the index of ids reaches
/// back over the time a transaction may be valid, and no further than the node retains.
#[utoipa::path(
    get,
    path = "/v1/transactions/{id}",
    tag = "transactions",
    params(("id" = String, Path, description = "The transaction's id, 64 hexadecimal digits.")),
    responses(
        (status = 200, description = "Its status, `unknown` too.", body = TransactionStatus),
        (status = 400, description = "`invalid_parameter`: not an id.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn transaction(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<TransactionStatus>, ApiError> {
    let id = segment.transaction_id()?;
    if let Some(status) = stored_status(&state, id).await? {
        return Ok(Json(status));
    }
    if state.node.is_pending(id).await? {
        return Ok(Json(TransactionStatus::new(id, TransactionState::Pending)));
    }
    // Between the two questions it may have left the mempool for a block.
    let stored = stored_status(&state, id).await?;
    Ok(Json(stored.unwrap_or_else(|| TransactionStatus::new(id, TransactionState::Unknown))))
}

/// The receipt of a transaction: proof of what became of it.
///
/// A receipt holds the transaction, its result, the path to its block's header and the certificate of that block. Anybody with the
/// genesis document can verify it offline.
#[utoipa::path(
    get,
    path = "/v1/transactions/{id}/receipt",
    tag = "transactions",
    params(("id" = String, Path, description = "The transaction's id, 64 hexadecimal digits.")),
    responses(
        (status = 200, description = "The receipt.", body = serde_json::Value),
        (status = 400, description = "`invalid_parameter`: not an id.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_transaction`, or `not_kept`: this node started from a snapshot and does not know what came before it.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`not_certified_yet`: ask again.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "`pruned`: the node no longer has the block's body.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn receipt(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<Receipt>, ApiError> {
    let id = segment.transaction_id()?;
    let Some(indexed) = state.blocking(move |node| Ok(node.storage().transaction(&id)?)).await? else {
        return Err(match state.node.is_pending(id).await? {
            true => {
                ApiError::new(ProblemCode::NotCertifiedYet, "the transaction is in no block yet: ask again shortly")
            }
            false => state.blocking(move |node| Ok(no_such_transaction(node, id)?)).await?,
        });
    };
    state.blocking(move |node| read_receipt(node, indexed.position)).await.map(Json)
}

/// A node that started from a snapshot does not know what came before.
fn no_such_transaction(node: &dyn NodeView, id: TransactionId) -> Result<ApiError, StorageError> {
    match node.storage().base()? {
        Some(_) => not_kept(node.storage()),
        None => Ok(ApiError::new(ProblemCode::NoSuchTransaction, format!("this node knows no transaction {id}"))),
    }
}

/// Where a transaction stands, as the API says it.
pub(super) fn block_position(header: &BlockHeader, hash: BlockHash, position: u32) -> BlockPosition {
    BlockPosition {
        height: header.height,
        hash,
        position,
        timestamp_ms: header.timestamp_ms,
        commit_index: header.commit_index,
    }
}

/// The status of a transaction that is in a block, `None` if the index does not have it.
async fn stored_status(state: &ApiState, id: TransactionId) -> Result<Option<TransactionStatus>, ApiError> {
    state.blocking(move |node| read_status(node, id)).await
}

fn read_status(node: &dyn NodeView, id: TransactionId) -> Result<Option<TransactionStatus>, ApiError> {
    let Some(IndexedTransaction { position, code }) = node.storage().transaction(&id)? else {
        return Ok(None);
    };
    let header = node.storage().header(position.height)?.expect("the index of transactions points into blocks");
    let transaction = node.transaction(position)?;
    let prefix = node.info().genesis.prefix();
    Ok(Some(TransactionStatus {
        code: Some(code),
        detail: rejected_detail(code).map(Into::into),
        block: Some(block_position(&header, header.hash(), position.position)),
        certified: is_certified(node.storage(), position.height)?,
        transaction: transaction.map(|signed| SignedTransactionJson::new(&signed, prefix)),
        ..TransactionStatus::new(id, executed_state(code))
    }))
}

fn read_receipt(node: &dyn NodeView, position: TransactionPosition) -> Result<Receipt, ApiError> {
    if let Some(receipt) = node.receipt(position)? {
        return Ok(receipt);
    }
    Err(match node.storage().payloads(position.height)? {
        Some(_) => ApiError::new(
            ProblemCode::NotCertifiedYet,
            format!("block {} is not certified yet: ask again shortly", position.height),
        ),
        None => pruned(position),
    })
}

fn pruned(position: TransactionPosition) -> ApiError {
    ApiError::new(
        ProblemCode::Pruned,
        format!(
            "the transaction is final, number {} of block {}, whose body this node has pruned: ask one that retains more",
            position.position, position.height
        ),
    )
}
