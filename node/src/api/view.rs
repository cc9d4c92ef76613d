//! What the API asks of a running node.

use crate::handle::{AccountState, NodeInfo, Provable, Snapshot, SubmitOutcome, Unavailable, Wait};
use crate::replica::ReplicaStatus;
use crate::storage::{Storage, StorageError, TransactionPosition};
use farthing_core::address::Address;
use farthing_core::hold::Hold;
use farthing_core::receipt::Receipt;
use farthing_core::state_proof::StateProof;
use farthing_core::transaction::{SignedTransaction, TransactionId};
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::sync::watch;

/// A running node, seen from the API. [`crate::handle::NodeHandle`] is the real one; the API's tests have another.
///
/// [`Unavailable`] means that the node is stopping or that its queue is full.
pub trait NodeView: Send + Sync + 'static {
    /// What does not change while the node runs.
    fn info(&self) -> &NodeInfo;

    /// The node's storage, for reading. Calls block.
    fn storage(&self) -> &dyn Storage;

    /// Whether a submission of so many transactions is taken now, or what was taken before has to be executed first. Small ones are taken
    /// when others are not.
    fn has_room(&self, count: usize) -> bool;

    /// Submits transactions, and waits for what `wait` says, but no longer than `timeout`. One outcome each, in order.
    fn submit(
        &self,
        transactions: Vec<SignedTransaction>,
        wait: Wait,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Vec<SubmitOutcome>, Unavailable>>;

    /// An account in the newest executed state.
    fn account(&self, address: Address) -> BoxFuture<'_, Result<Snapshot<Option<AccountState>>, Unavailable>>;

    /// Holds in the newest executed state, each `None` if it is not there.
    fn holds(&self, ids: Vec<TransactionId>) -> BoxFuture<'_, Result<Snapshot<Vec<Option<Hold>>>, Unavailable>>;

    /// Proof of something in a state that a certified block publishes; `None` if there is no such thing or no such block yet.
    fn proof(&self, of: Provable) -> BoxFuture<'_, Result<Option<StateProof>, Unavailable>>;

    /// Whether the transaction waits in the mempool.
    fn is_pending(&self, id: TransactionId) -> BoxFuture<'_, Result<bool, Unavailable>>;

    /// Where the node stands.
    fn status(&self) -> BoxFuture<'_, Result<ReplicaStatus, Unavailable>>;

    /// A transaction out of its block's payload; `None` when that is pruned. Blocks.
    fn transaction(&self, position: TransactionPosition) -> Result<Option<SignedTransaction>, StorageError>;

    /// The receipt of a transaction; `None` while its block is not certified, or when its body is pruned. Blocks.
    fn receipt(&self, position: TransactionPosition) -> Result<Option<Receipt>, StorageError>;

    /// The height of the newest block, as it changes: when it is seen here, the block is in storage.
    fn blocks(&self) -> watch::Receiver<u64>;

    /// All metrics of the node in OpenMetrics text.
    fn metrics_text(&self) -> String;
}
