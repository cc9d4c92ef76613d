//! What the API may ask of a running node.

pub use crate::replica::ReplicaStatus;

use crate::api::NodeView;
use crate::certifier::stored_certificate;
use crate::genesis_document::GenesisDocument;
use crate::intake::Intake;
use crate::mempool::Full;
use crate::payload;
use crate::replica::Admission;
use crate::storage::{Storage, StorageError, TransactionPosition};
use crate::verifier::SubmissionChecker;
use crate::waiters::Settlement;
use farthing_consensus::committee::Committee;
use farthing_consensus::vertex::{Author, VertexRef};
use farthing_core::account::Account;
use farthing_core::address::Address;
use farthing_core::admission::BandwidthStatus;
use farthing_core::block::{BlockHash, BlockHeader, DropReason, ResultCode, TransactionResult};
use farthing_core::certificate::Certificate;
use farthing_core::delegated_key::DelegatedKey;
use farthing_core::execution::Ledger;
use farthing_core::genesis::Genesis;
use farthing_core::hash::ChainHash;
use farthing_core::hold::Hold;
use farthing_core::keys::PublicKey;
use farthing_core::receipt::{Receipt, transaction_path};
use farthing_core::state_proof::{StateProof, UncertifiedStateProof};
use farthing_core::transaction::{SignedTransaction, TransactionId, VerifiedTransaction};
use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// How long a proof waits until the block that it rests on is certified: each new root is published in a block that is not yet, for
/// as long as two rounds take.
const CERTIFICATE_PATIENCE: Duration = Duration::from_secs(2);

/// What does not change while a node runs.
pub struct NodeInfo {
    /// The genesis document, perhaps without its accounts.
    pub genesis: Arc<Genesis>,
    /// The genesis document as it is handed out.
    pub genesis_document: GenesisDocument,
    /// Its hash.
    pub chain: ChainHash,
    /// This node's validator number; none for a full node.
    pub own: Option<Author>,
    /// The committee.
    pub committee: Arc<Committee>,
    /// The program's version.
    pub version: &'static str,
}

/// What a submitter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For nothing: the mempool has it.
    Accepted,
    /// Until it is in a block here (or cannot be any more).
    Final,
    /// Until that block is certified too.
    Certified,
}

/// What became of one submitted transaction so far.
#[derive(Debug, Clone)]
pub enum SubmitOutcome {
    /// It is in the mempool, in no block that this node knows. With another wait than [`Wait::Accepted`]: time ran out.
    Pending {
        /// The transaction.
        id: TransactionId,
    },
    /// It is in a block, perhaps since long ago.
    InBlock {
        /// The transaction.
        id: TransactionId,
        /// Where it stands.
        position: TransactionPosition,
        /// What became of it there.
        code: ResultCode,
        /// The block's header.
        header: Arc<BlockHeader>,
        /// The block's hash.
        block_hash: BlockHash,
        /// Whether the block is certified.
        certified: bool,
    },
    /// It is in no block, and not in the mempool.
    Refused {
        /// The transaction.
        id: TransactionId,
        /// Why.
        reason: RefuseReason,
    },
}

/// Why a transaction was not taken, or left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefuseReason {
    /// Its signature is not its sender's.
    BadSignature,
    /// The ledger would leave it out of any block now, or did.
    Dropped(DropReason),
    /// The ledger would leave it out of any block now, perhaps because it is in one already: this node started from a snapshot
    /// and cannot tell.
    Unknown,
    /// The ledger would leave it out of a block now, but not from a time on.
    Later {
        /// Why not now.
        reason: DropReason,
        /// From when on, in milliseconds since the Unix epoch.
        passes_at_ms: u64,
    },
    /// The mempool is full.
    MempoolFull,
    /// The sender has too many transactions in the mempool.
    SenderFull,
    /// Two transactions with its nonce are in the mempool.
    NonceFull,
    /// This node takes no transactions now: it is behind, or not connected to enough validators.
    NotReady,
}

/// The node is stopping, or has too much to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is busy or stopping: try again in a moment, or ask another node")]
pub struct Unavailable;

/// Something in the newest executed state, and as of when.
#[derive(Debug, Clone)]
pub struct Snapshot<T> {
    /// What it is.
    pub value: T,
    /// The newest block in the state.
    pub height: u64,
    /// The newest commit in the state.
    pub commit_index: u64,
    /// That commit's time in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

impl<T> Snapshot<T> {
    /// What a ledger says now.
    pub(crate) fn of(ledger: &Ledger, value: T) -> Snapshot<T> {
        Snapshot {
            value,
            height: ledger.newest().height,
            commit_index: ledger.commit_index(),
            timestamp_ms: ledger.timestamp_ms(),
        }
    }
}

/// An account, with what the ledger keeps of it elsewhere.
#[derive(Debug, Clone)]
pub struct AccountState {
    /// The account.
    pub account: Account,
    /// What it may still send.
    pub bandwidth: BandwidthStatus,
    /// Its delegated keys, in the order in which they were set.
    pub keys: Vec<(PublicKey, DelegatedKey)>,
}

impl AccountState {
    /// The account of an address, after the newest commit.
    pub(crate) fn of(ledger: &Ledger, address: &Address) -> Option<AccountState> {
        let account = ledger.account(address)?.clone();
        let bandwidth = ledger.bandwidth(address, ledger.timestamp_ms())?;
        let key = |public_key: &PublicKey| Some((*public_key, ledger.key(address, public_key)?.clone()));
        let keys = account.keys().iter().filter_map(key).collect();
        Some(AccountState { account, bandwidth, keys })
    }
}

/// What there can be a proof of.
#[derive(Debug, Clone, Copy)]
pub enum Provable {
    /// An account.
    Account(Address),
    /// A hold.
    Hold(TransactionId),
    /// A delegated key of an account.
    Key(Address, PublicKey),
}

impl Provable {
    /// The proof, before the block that it rests on is certified.
    pub(crate) fn prove(&self, ledger: &Ledger) -> Option<UncertifiedStateProof> {
        match self {
            Provable::Account(address) => ledger.prove_account(address),
            Provable::Hold(id) => ledger.prove_hold(id),
            Provable::Key(owner, public_key) => ledger.prove_key(owner, public_key),
        }
    }
}

/// What the driver is asked.
pub(crate) enum Command {
    Submit { transactions: Vec<VerifiedTransaction>, wait: Wait, reply: oneshot::Sender<Vec<Submitted>> },
    Account(Address, oneshot::Sender<Snapshot<Option<AccountState>>>),
    Holds(Vec<TransactionId>, oneshot::Sender<Snapshot<Vec<Option<Hold>>>>),
    Prove(Provable, oneshot::Sender<Option<UncertifiedStateProof>>),
    IsPending(TransactionId, oneshot::Sender<bool>),
    Status(oneshot::Sender<ReplicaStatus>),
}

/// The driver's answer to one submitted transaction.
pub(crate) enum Submitted {
    /// It was refused.
    Refused(RefuseReason),
    /// It is pending; with a receiver, wait for what becomes of it.
    Pending(Option<oneshot::Receiver<Settlement>>),
}

impl From<Admission> for Result<(), RefuseReason> {
    fn from(admission: Admission) -> Result<(), RefuseReason> {
        match admission {
            Admission::Pending | Admission::InBlock => Ok(()),
            Admission::Dropped(reason) => Err(RefuseReason::Dropped(reason)),
            Admission::Unknown => Err(RefuseReason::Unknown),
            Admission::Later { reason, passes_at_ms } => Err(RefuseReason::Later { reason, passes_at_ms }),
            Admission::Full(Full::InAll) => Err(RefuseReason::MempoolFull),
            Admission::Full(Full::ForSender) => Err(RefuseReason::SenderFull),
            Admission::Full(Full::ForNonce) => Err(RefuseReason::NonceFull),
        }
    }
}

/// A handle to a running node. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    pub(crate) info: Arc<NodeInfo>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) checker: SubmissionChecker,
    pub(crate) intake: Intake,
    /// The height of the newest block that is stored.
    pub(crate) blocks: watch::Receiver<u64>,
    /// The height up to which all blocks are certified, and their certificates stored, since the start.
    pub(crate) certified: watch::Receiver<u64>,
    pub(crate) registry: Arc<Mutex<Registry>>,
}

impl NodeHandle {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Unavailable)?;
        answer.await.map_err(|_| Unavailable)
    }

    async fn submit_and_wait(
        &self,
        transactions: Vec<SignedTransaction>,
        wait: Wait,
        timeout: Duration,
    ) -> Result<Vec<SubmitOutcome>, Unavailable> {
        let deadline = Instant::now() + timeout;
        let taken = self.intake.take(transactions.len()).ok_or(Unavailable)?;
        let bad_signature = |id| SubmitOutcome::Refused { id, reason: RefuseReason::BadSignature };
        let ids: Vec<_> = transactions.iter().map(|signed| signed.transaction.id(&self.info.chain)).collect();
        let checked = self.checker.check(transactions).await.map_err(|_| Unavailable)?;
        let good: Vec<_> = checked.iter().map(Result::is_ok).collect();
        let transactions: Vec<_> = checked.into_iter().flatten().collect();
        let submitted = if transactions.is_empty() {
            Vec::new()
        } else {
            self.ask(|reply| Command::Submit { transactions, wait, reply }).await?
        };
        drop(taken);
        let mut submitted = submitted.into_iter();
        let mut outcomes = Vec::with_capacity(ids.len());
        for (id, good) in ids.into_iter().zip(good) {
            outcomes.push(match good.then(|| submitted.next()).flatten() {
                Some(submitted) => outcome(id, submitted, deadline).await,
                None => bad_signature(id),
            });
        }
        Ok(outcomes)
    }

    /// The certificate of a block, if there is one within [`CERTIFICATE_PATIENCE`].
    async fn certificate(&self, height: u64) -> Result<Option<Certificate>, StorageError> {
        certificate_within(&*self.storage, self.certified.clone(), height, CERTIFICATE_PATIENCE).await
    }

    /// The transaction at a place of a vertex's payload; `None` if the vertex is not there any more.
    fn stored_transaction(&self, vertex: &VertexRef, place: u32) -> Result<Option<SignedTransaction>, StorageError> {
        let Some(stored) = self.storage.vertex(vertex)? else { return Ok(None) };
        let damaged = |what: String| StorageError::Damaged(format!("the payload of vertex {vertex:?}: {what}"));
        let mut transactions = payload::decode(stored.payload()).map_err(|error| damaged(error.to_string()))?;
        if place as usize >= transactions.len() {
            return Err(damaged(format!("there is no transaction {place}")));
        }
        Ok(Some(transactions.swap_remove(place as usize)))
    }
}

impl NodeView for NodeHandle {
    fn info(&self) -> &NodeInfo {
        &self.info
    }

    fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    fn has_room(&self, count: usize) -> bool {
        self.intake.has_room(count)
    }

    fn submit(
        &self,
        transactions: Vec<SignedTransaction>,
        wait: Wait,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Vec<SubmitOutcome>, Unavailable>> {
        self.submit_and_wait(transactions, wait, timeout).boxed()
    }

    fn account(&self, address: Address) -> BoxFuture<'_, Result<Snapshot<Option<AccountState>>, Unavailable>> {
        self.ask(move |reply| Command::Account(address, reply)).boxed()
    }

    fn holds(&self, ids: Vec<TransactionId>) -> BoxFuture<'_, Result<Snapshot<Vec<Option<Hold>>>, Unavailable>> {
        self.ask(move |reply| Command::Holds(ids, reply)).boxed()
    }

    fn proof(&self, of: Provable) -> BoxFuture<'_, Result<Option<StateProof>, Unavailable>> {
        async move {
            let Some(proof) = self.ask(|reply| Command::Prove(of, reply)).await? else { return Ok(None) };
            let certificate = self.certificate(proof.header().height).await.map_err(|_| Unavailable)?;
            Ok(certificate.map(|certificate| proof.certify(certificate)))
        }
        .boxed()
    }

    fn is_pending(&self, id: TransactionId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.ask(move |reply| Command::IsPending(id, reply)).boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<ReplicaStatus, Unavailable>> {
        self.ask(Command::Status).boxed()
    }

    fn transaction(&self, position: TransactionPosition) -> Result<Option<SignedTransaction>, StorageError> {
        match self.storage.place(position)? {
            Some((vertex, place)) => self.stored_transaction(&vertex, place),
            None => Ok(None),
        }
    }

    fn receipt(&self, position: TransactionPosition) -> Result<Option<Receipt>, StorageError> {
        let Some(block) = self.storage.block(position.height)? else { return Ok(None) };
        let Some(transaction) = self.transaction(position)? else { return Ok(None) };
        let Some(certificate) = stored_certificate(&*self.storage, position.height)? else { return Ok(None) };
        let results: Vec<_> =
            block.entries.iter().map(|entry| TransactionResult { id: entry.id, code: entry.code }).collect();
        Ok(Some(Receipt {
            transaction,
            code: results[position.position as usize].code,
            position: position.position,
            path: transaction_path(&results, position.position),
            header: block.header,
            certificate,
        }))
    }

    fn blocks(&self) -> watch::Receiver<u64> {
        self.blocks.clone()
    }

    fn metrics_text(&self) -> String {
        let registry = self.registry.lock().expect("nothing panics while it holds this lock");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("writing into memory cannot fail");
        text
    }
}

/// The certificate of a block, as soon as there is one. `certified` is the height up to which all blocks are.
async fn certificate_within(
    storage: &dyn Storage,
    mut certified: watch::Receiver<u64>,
    height: u64,
    patience: Duration,
) -> Result<Option<Certificate>, StorageError> {
    if let Some(certificate) = stored_certificate(storage, height)? {
        return Ok(Some(certificate));
    }
    // If time runs out or the node stops, the answer is what is stored by then.
    let _ = tokio::time::timeout(patience, certified.wait_for(|certified| *certified >= height)).await;
    stored_certificate(storage, height)
}

async fn outcome(id: TransactionId, submitted: Submitted, deadline: Instant) -> SubmitOutcome {
    let settlement = match submitted {
        Submitted::Refused(reason) => return SubmitOutcome::Refused { id, reason },
        Submitted::Pending(None) => return SubmitOutcome::Pending { id },
        Submitted::Pending(Some(settlement)) => settlement,
    };
    match tokio::time::timeout_at(deadline, settlement).await {
        Ok(Ok(Settlement::InBlock { position, code, header, block_hash, certified })) => {
            SubmitOutcome::InBlock { id, position, code, header, block_hash, certified }
        }
        Ok(Ok(Settlement::Dropped(reason))) => SubmitOutcome::Refused { id, reason: RefuseReason::Dropped(reason) },
        Ok(Ok(Settlement::Evicted)) => SubmitOutcome::Refused { id, reason: RefuseReason::MempoolFull },
        // Time ran out, or there was no room to wait.
        Err(_) | Ok(Err(_)) => SubmitOutcome::Pending { id },
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
