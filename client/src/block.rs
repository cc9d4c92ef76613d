//! Blocks.

use farthing_core::block::{BlockHash, BlockHeader, ResultCode};
use farthing_core::transaction::TransactionId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BlockView {
    /// The header.
    #[schema(value_type = Object)]
    pub header: BlockHeader,
    /// The hash of the header.
    #[schema(value_type = String)]
    pub hash: BlockHash,
    /// Whether this node holds a certificate of it.
    pub certified: bool,
    /// Whether the node has pruned the block's transactions; then the list is empty.
    pub pruned: bool,
    /// The transactions with their results, in order.
    pub transactions: Vec<BlockTransaction>,
}

/// A transaction of a block and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BlockTransaction {
    /// The transaction.
    #[schema(value_type = String)]
    pub id: TransactionId,
    /// What became of it.
    #[schema(value_type = String, example = "executed")]
    pub code: ResultCode,
}
