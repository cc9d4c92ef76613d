//! `GET /v1/blocks/…`.

use super::ApiState;
use super::extract::{NoParameters, Segment};
use super::problem::ApiError;
use super::view::NodeView;
use crate::storage::{Storage, StorageError};
use axum::Json;
use axum::extract::State;
use farthing_client::{BlockTransaction, BlockView, Problem, ProblemCode};
use farthing_core::certificate::LINKS_MAX;
use std::sync::Arc;

/// A block: its header, and its transactions with their results.
///
/// Headers are kept for ever, from the snapshot on that the node started from, if it did; of a block whose body is pruned the list of
/// transactions is empty and `pruned` says so. Commits
/// without transactions make no block, but for one a second at most that publishes a changed state root.
#[utoipa::path(
    get,
    path = "/v1/blocks/{height}",
    tag = "blocks",
    params(("height" = String, Path, description = "The block's height, from 1 on, or `latest`.", example = "latest")),
    responses(
        (status = 200, description = "The block.", body = BlockView),
        (status = 400, description = "`invalid_parameter`: not a height.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_block`, or `not_kept`: it came before the snapshot that this node started from.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn block(
    State(state): State<Arc<ApiState>>,
    Segment(segment): Segment,
    _: NoParameters,
) -> Result<Json<BlockView>, ApiError> {
    let height = parse_height(&segment)?;
    state.blocking(move |node| read_block(node, height)).await.map(Json)
}

/// Whether this node holds a certificate of the block: its own, or that of a block soon after, which vouches for it too.
pub(super) fn is_certified(storage: &dyn Storage, height: u64) -> Result<bool, StorageError> {
    let last = storage.newest_block()?.min(height.saturating_add(LINKS_MAX as u64));
    for attested in height..=last {
        if storage.certificate(attested)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What came before the snapshot that this node started from is not here.
pub(super) fn not_kept(storage: &dyn Storage) -> Result<ApiError, StorageError> {
    let begins_at = storage.base()?.map_or(0, |base| base.height);
    Ok(ApiError::new(
        ProblemCode::NotKept,
        format!("this node started from a snapshot at block {begins_at} and has nothing before it: ask another one"),
    ))
}

/// `None` for the latest.
fn parse_height(text: &str) -> Result<Option<u64>, ApiError> {
    if text == "latest" {
        return Ok(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Some).ok_or_else(|| {
        ApiError::new(ProblemCode::InvalidParameter, "the height of a block is a whole number, or \"latest\"")
    })
}

fn read_block(node: &dyn NodeView, height: Option<u64>) -> Result<BlockView, ApiError> {
    let storage = node.storage();
    let newest = storage.newest_block()?;
    let height = height.unwrap_or(newest);
    if height == 0 {
        return Err(ApiError::new(
            ProblemCode::NoSuchBlock,
            "block 0 stands for the genesis document, see /v1/genesis; the first transaction makes block 1",
        ));
    }
    let (header, entries) = match (storage.block(height)?, storage.header(height)?) {
        (Some(block), _) => (block.header, Some(block.entries)),
        (None, Some(header)) => (header, None),
        (None, None) if height <= newest => return Err(not_kept(storage)?),
        (None, None) => {
            let detail = format!("there is no block {height}, the newest is {newest}");
            return Err(ApiError::new(ProblemCode::NoSuchBlock, detail));
        }
    };
    Ok(BlockView {
        hash: header.hash(),
        header,
        certified: is_certified(storage, height)?,
        pruned: entries.is_none(),
        transactions: entries
            .unwrap_or_default()
            .into_iter()
            .map(|entry| BlockTransaction { id: entry.id, code: entry.code })
            .collect(),
    })
}
