//! What a node keeps on disk, and the one trait through which it is read and written.
//!
//! The replica writes [`Batch`]es, each atomic, in one order; a synced batch makes itself and every batch before it durable.
//! [`rocks::RocksStorage`] is the real thing, [`memory::MemoryStorage`] that of the simulator; one test suite runs over both.
//!
//! A payload is stored once, in its vertex: a block refers to it, and its ids are computed from it ([`rocks::BlockBody`]). Account
//! state is written at flush points only, and rebuilt by replaying the blocks since the last one.
//!
//! # What is kept how long
//! Headers, certificates, histories with their indexes by reference and hold, evidence and state for ever; the rest as [`Retention`] says, in steps of 100 to 1,000 commits or
//! blocks, so that each may reach back up to 99 further than asked. Nothing at all is removed before the first flush.
//! - **Commits and vertices**, empty ones too: what peers may need that are some commits behind, and what replay needs. As long
//!   as blocks are not certified, all of them: there is no snapshot from which peers could go on without.
//! - **Bodies**: a block's record, its commit and its payloads. [`Storage::block`] finds nothing once the body is gone.
//! - **Index of ids**: an entry goes once its block's body is gone *and* its block is older than `transactions_ms`. Bodies stay until their ids
//!   are in it for good.
//!
//! # Snapshots
//! A snapshot of the state that comes from peers ([`crate::snapshot`]) is staged with [`Batch::stage`], chunk by chunk, and put in the
//! place of the state by [`Storage::install`]. Afterwards commits, vertices and bodies begin at its [`Base`]. What the database
//! held before and is still true stays: headers, certificates, histories, the index of ids, evidence; between these and
//! the base there may be a gap.

mod lines;
pub mod memory;
mod retention;
pub mod rocks;
pub mod watched;

pub use lines::{Direction, HistoryCursor, HistoryRecord, LineRange, OperationKind, Topic};
pub use retention::RETAIN_COMMITS_MIN;

use crate::snapshot::Manifest;
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_consensus::commit::Commit;
use farthing_consensus::vertex::{SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::address::Address;
use farthing_core::block::{BlockHeader, ResultCode};
use farthing_core::certificate::CertificateAttestation;
use farthing_core::flush::{FlushPoint, StateFlush};
use farthing_core::state::SlotRecord;
use farthing_core::state_chunk::StateChunk;
use farthing_core::transaction::TransactionId;
use std::collections::BTreeSet;

/// A block with everything but the payloads, which are in its vertices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockRecord {
    /// The header.
    pub header: BlockHeader,
    /// The vertices of the commit whose payload is not empty, in order.
    pub payloads: Vec<PayloadRecord>,
    /// The block's transactions, in the order of payloads and places. Dropped ones are missing.
    pub entries: Vec<BlockEntry>,
}

/// A vertex whose payload a block executed, or passed over as void.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct PayloadRecord {
    /// The vertex.
    pub vertex: VertexRef,
    /// Whether the payload was void: malformed, or with a bad signature.
    pub void: bool,
}

/// A transaction of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockEntry {
    /// Which of [`BlockRecord::payloads`] holds it.
    pub payload: u16,
    /// Its place in that payload.
    pub place: u32,
    /// Its id.
    pub id: TransactionId,
    /// What became of it.
    pub code: ResultCode,
}

/// Where a transaction stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionPosition {
    /// The block's height.
    pub height: u64,
    /// The place in [`BlockRecord::entries`].
    pub position: u32,
}

/// What the index of ids says of a transaction. It outlives the block's body, so it says what became of the transaction too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexedTransaction {
    /// Where it stands.
    pub position: TransactionPosition,
    /// What became of it there.
    pub code: ResultCode,
}

/// One atomic write.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Accepted vertices, to be found by reference and by round.
    pub vertices: Vec<VerifiedVertex>,
    /// Commits, to be found by index.
    pub commits: Vec<Commit>,
    /// The signing state: what this validator signed last. Only ever moves up.
    pub last_signed: Option<VertexRef>,
    /// A block with its index entries (id → position, and lines by account, reference and hold), found by height.
    pub block: Option<(BlockRecord, Vec<HistoryRecord>)>,
    /// A certificate for the block at a height: attestations of exactly that block.
    pub certificates: Vec<(u64, Vec<CertificateAttestation>)>,
    /// The slots that changed since the last flush, with the point they belong to.
    pub flush: Option<StateFlush>,
    /// Equivocations seen, as encoded pairs of signed headers, by (round, author). One convicts an author; of each author no more
    /// than [`EVIDENCE_PER_AUTHOR_MAX`] are kept, the rest is passed over.
    pub evidence: Vec<(u64, u16, Vec<u8>)>,
    /// A part of the snapshot that is being fetched.
    pub stage: Option<Stage>,
}

/// A part of a snapshot on its way. Storage checks none of it.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A snapshot begins. Chunks staged for the one before stay if they are the same in this one.
    Begin(Box<Manifest>),
    /// One of its chunks. Ignored if no snapshot was begun.
    Chunk(u32, StateChunk),
}

/// What is staged of a snapshot.
#[derive(Clone, PartialEq, Debug)]
pub struct Staged {
    /// The snapshot.
    pub manifest: Manifest,
    /// The chunks that are there.
    pub chunks: BTreeSet<u32>,
}

/// Where a database begins that started with a snapshot: the newest block and commit that the snapshot contained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Base {
    /// The block's height. Its header is there; it is certified.
    pub height: u64,
    /// The commit's index. Some commits before it are there, but not their vertices.
    pub commit_index: u64,
    /// The commit's time in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

impl Base {
    /// The first commit that is there with its vertices: those that came with the snapshot are not.
    fn oldest_commit(&self) -> u64 {
        self.commit_index + 1
    }
}

/// The slots of a state, ascending, as they are read.
pub type Slots<'a> = Box<dyn Iterator<Item = Result<SlotRecord, StorageError>> + 'a>;

/// The most equivocations that are kept of one author, so that it cannot fill the disk with them.
pub const EVIDENCE_PER_AUTHOR_MAX: usize = 16;

/// How much is kept; see [`Storage::prune`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Commits behind the newest whose vertices (empty ones too) and commits are kept for peers. At least [`RETAIN_COMMITS_MIN`].
    pub commits: u64,
    /// Blocks behind the newest whose bodies (payloads) are kept. Headers and certificates are kept for ever.
    pub blocks: u64,
    /// The index of ids reaches back at least this far before the newest block's timestamp, in milliseconds.
    pub transactions_ms: u64,
}

/// A failed read or write, or stored bytes that do not decode. None of them can be gone on from: the node stops.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database said no.
    #[error("the database failed: {0}; look at the disk (space, permissions, health) before starting again")]
    Database(String),
    /// Stored data is damaged.
    #[error(
        "the database is damaged: {0}; the next start moves it aside and fetches the ledger from the other nodes again"
    )]
    Damaged(String),
    /// Another process has the data directory.
    #[error("{0} is in use by another process: stop it, or give another data directory")]
    Locked(String),
    /// The data directory belongs to another network, or to another version's format.
    #[error("{0}")]
    Foreign(String),
    /// The signing state was to be initialized although something has been signed.
    #[error(
        "this data directory's validator has signed up to round {0} already: its signing state cannot be initialized again"
    )]
    SigningStateExists(u64),
}

impl StorageError {
    /// Whether stored data is damaged, so that it has to be fetched again.
    pub fn is_damage(&self) -> bool {
        matches!(self, StorageError::Damaged(_))
    }
}

/// Storage of one node. All methods may be called from any thread; batches must come from one.
pub trait Storage: Send + Sync + 'static {
    /// Writes a batch. With `sync`, returns only once it and all before it are durable. Writing a vertex again does nothing.
    ///
    /// # Errors
    /// After an error nothing may be assumed about the batch: stop the process.
    ///
    /// # Panics
    /// If the signing state would move down or sideways, or a commit or block would leave a gap after the newest one.
    fn apply(&self, batch: &Batch, sync: bool) -> Result<(), StorageError>;

    /// What this validator signed last, `None` for "nothing signed"; the outer `None` if the signing state is missing altogether.
    fn signing_state(&self) -> Result<Option<Option<VertexRef>>, StorageError>;

    /// Writes the signing state "nothing signed", synced. Only for key generation (`farthing-node init`).
    ///
    /// # Errors
    /// [`StorageError::SigningStateExists`] if something has been signed.
    fn initialize_signing_state(&self) -> Result<(), StorageError>;

    /// A vertex.
    fn vertex(&self, reference: &VertexRef) -> Result<Option<VerifiedVertex>, StorageError>;

    /// The signed header of a vertex. Cheaper than [`Storage::vertex`]: the payload is neither copied nor checked.
    fn vertex_header(&self, reference: &VertexRef) -> Result<Option<SignedHeader>, StorageError>;

    /// The stored vertices of rounds `from..=to`, ascending by reference, at most `limit`.
    fn vertices(&self, from: u64, to: u64, limit: usize) -> Result<Vec<VerifiedVertex>, StorageError>;

    /// The commit with this index.
    fn commit(&self, index: u64) -> Result<Option<Commit>, StorageError>;

    /// Index of the newest stored commit; 0 if there is none.
    fn newest_commit(&self) -> Result<u64, StorageError>;

    /// The lowest index whose commit is kept with all its vertices, or will be once it is made. 1 before anything was pruned.
    fn oldest_commit(&self) -> Result<u64, StorageError>;

    /// The block at this height (1 or more). Its ids are not stored, but computed from its payloads: who needs none asks for
    /// [`Storage::payloads`] or [`Storage::place`].
    fn block(&self, height: u64) -> Result<Option<BlockRecord>, StorageError>;

    /// The vertices of the block at this height, as in [`BlockRecord::payloads`]; `None` as for [`Storage::block`].
    fn payloads(&self, height: u64) -> Result<Option<Vec<PayloadRecord>>, StorageError>;

    /// The vertex whose payload holds the transaction at this position, and its place there; `None` if the block's body is not
    /// there, or has no such position.
    fn place(&self, position: TransactionPosition) -> Result<Option<(VertexRef, u32)>, StorageError>;

    /// The header of the block at this height, also of one whose body is pruned.
    fn header(&self, height: u64) -> Result<Option<BlockHeader>, StorageError>;

    /// Height of the newest stored block; 0 if there is none.
    fn newest_block(&self) -> Result<u64, StorageError>;

    /// The attestations stored for the block at this height.
    fn certificate(&self, height: u64) -> Result<Option<Vec<CertificateAttestation>>, StorageError>;

    /// Height of the newest block that has attestations stored; 0 if there is none.
    fn newest_certificate(&self) -> Result<u64, StorageError>;

    /// Where a transaction stands, and what became of it.
    fn transaction(&self, id: &TransactionId) -> Result<Option<IndexedTransaction>, StorageError>;

    /// Whether the histories of accounts are kept, of all blocks that were stored.
    fn keeps_history(&self) -> bool;

    /// The lines of a topic within a range, in the range's order, at most `limit`.
    fn lines(&self, topic: &Topic, range: &LineRange, limit: usize) -> Result<Vec<HistoryRecord>, StorageError>;

    /// An account's history, newest first, strictly before `before` if given, at most `limit` lines.
    ///
    /// # Errors
    /// Those of reading.
    fn history(
        &self,
        account: &Address,
        before: Option<HistoryCursor>,
        limit: usize,
    ) -> Result<Vec<HistoryRecord>, StorageError> {
        self.lines(&Topic::Account(*account), &LineRange::Before(before), limit)
    }

    /// All the evidence, as in [`Batch::evidence`], ascending by author, then by round.
    fn evidence(&self) -> Result<Vec<(u64, u16, Vec<u8>)>, StorageError>;

    /// Stores the state that the network begins with, piece by piece, and its point, durably; the point comes last, so that a crash on the
    /// way leaves nothing that counts. Only for a database without a flush point, before any batch has one.
    ///
    /// # Errors
    /// After an error stop the process.
    fn begin(&self, point: &FlushPoint, slots: &mut dyn Iterator<Item = SlotRecord>) -> Result<(), StorageError>;

    /// The newest flush point, and all slots as of it, whatever is written while they are read; `None` before there is one.
    fn slots(&self) -> Result<Option<(FlushPoint, Slots<'_>)>, StorageError>;

    /// As [`Storage::slots`], all at once.
    ///
    /// # Errors
    /// Those of reading.
    fn state(&self) -> Result<Option<(FlushPoint, Vec<SlotRecord>)>, StorageError> {
        let Some((point, slots)) = self.slots()? else { return Ok(None) };
        Ok(Some((point, slots.collect::<Result<_, _>>()?)))
    }

    /// What is staged of a snapshot; `None` if there is nothing.
    fn staged(&self) -> Result<Option<Staged>, StorageError>;

    /// Puts the staged snapshot in the place of the state, durably; a crash on the way is made good when the database is opened
    /// again. Returns whether this was done: not if a chunk is missing, nor if the snapshot is no newer than the newest stored
    /// commit. The caller must be the only user of the state then, and start anew from storage.
    ///
    /// # Errors
    /// After an error stop the process.
    fn install(&self) -> Result<bool, StorageError>;

    /// Where this database begins; `None` if at the genesis document.
    fn base(&self) -> Result<Option<Base>, StorageError>;

    /// Removes what `retention` does not keep, a bounded amount of work a call. What is needed to rebuild state from the
    /// newest flush point (its commits, blocks and payloads) is never removed. Returns whether there may be more to do.
    ///
    /// Makes every batch before it durable.
    ///
    /// # Panics
    /// If `retention` keeps fewer than [`RETAIN_COMMITS_MIN`] commits.
    fn prune(&self, retention: &Retention) -> Result<bool, StorageError>;
}

impl Staged {
    /// Whether all chunks are there, and the snapshot leads beyond the newest stored commit.
    fn is_installable(&self, newest_commit: u64) -> bool {
        let is_complete = self.chunks.len() == self.manifest.tops.len();
        is_complete && self.manifest.base().commit_index > newest_commit
    }
}

/// Asserts what the caller promises about a batch, given what is stored.
fn assert_batch_follows(batch: &Batch, last_signed: Option<VertexRef>, newest_commit: u64, newest_block: u64) {
    if let (Some(old), Some(new)) = (last_signed, batch.last_signed) {
        assert!(new == old || new.round > old.round, "the signing state may only move up: {old:?} to {new:?}");
    }
    let mut newest = newest_commit;
    for commit in &batch.commits {
        assert!(commit.index >= 1, "commit 0 is the genesis document");
        assert!(newest == 0 || commit.index <= newest + 1, "commit {} after commit {newest}", commit.index);
        newest = newest.max(commit.index);
    }
    if let Some((block, _)) = &batch.block {
        let height = block.header.height;
        assert!(height >= 1, "block 0 is the genesis document");
        assert!(newest_block == 0 || height <= newest_block + 1, "block {height} after block {newest_block}");
    }
}
