//! A made-up ledger to store. Nothing in it is signed: storage does not look at signatures.

use bytes::Bytes;
use farthing_consensus::commit::Commit;
use farthing_consensus::vertex::{SignedHeader, VerifiedVertex, Vertex, VertexHeader, VertexRef};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::block::{BlockHeader, ResultCode};
use farthing_core::flush::{FlushPoint, StateFlush};
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, Signature};
use farthing_core::state::SlotRecord;
use farthing_core::transaction::{Authority, Operation, Output, SignedTransaction, Transaction, TransactionId};
use farthing_node::storage::memory::MemoryStorage;
use farthing_node::storage::rocks::{OpenOptions, RocksStorage};
use farthing_node::storage::{
    Batch, BlockEntry, BlockRecord, Direction, HistoryRecord, OperationKind, PayloadRecord, Storage,
};
use rocksdb::{DB, Options};
use std::ops::Range;
use std::path::Path;

/// The time between two commits.
pub const COMMIT_MS: u64 = 500;

/// Runs a check over both kinds of storage.
pub fn over_both(check: impl Fn(&dyn Storage)) {
    check(&MemoryStorage::default());
    let directory = tempfile::tempdir().unwrap();
    check(&open(directory.path()));
}

pub fn open(path: &Path) -> RocksStorage {
    RocksStorage::open(path, &options()).unwrap()
}

/// The options of a full node of the test network.
pub fn options() -> OpenOptions {
    OpenOptions { chain: digest("chain", 0), validator: None, history: true }
}

/// Opens without any of our options and checks.
pub fn open_raw(path: &Path) -> DB {
    let families = DB::list_cf(&Options::default(), path).unwrap();
    DB::open_cf(&Options::default(), path, families).unwrap()
}

/// The key under which a vertex is stored.
pub fn key_of(vertex: &VerifiedVertex) -> Vec<u8> {
    let reference = vertex.reference();
    let (round, author) = (reference.round.to_be_bytes(), reference.author.to_be_bytes());
    [&round[..], &author[..], &reference.digest.as_bytes()[..]].concat()
}

/// Some digest.
pub fn digest(what: &str, number: u64) -> Digest {
    Digest::of("test", &[what.as_bytes(), &number.to_le_bytes()])
}

pub fn account(number: u64) -> Address {
    Address(PublicKey(digest("account", number).0))
}

/// A vertex; those with different tags are equivocating copies of one another.
pub fn vertex(round: u64, author: u16, tag: u64, parents: Vec<VertexRef>, payload: &[u8]) -> VerifiedVertex {
    let header = VertexHeader {
        epoch: 0,
        round,
        author,
        timestamp_ms: tag,
        parents: if parents.is_empty() { vec![reference(round - 1, author)] } else { parents },
        payload_digest: Digest::of_bytes(payload),
        commit_vote: Some((round, digest("vote", round))),
        attestations: Vec::new(),
    };
    let signed = SignedHeader { header, signature: Signature([7; 64]) };
    VerifiedVertex::from_own_storage(Vertex { signed, payload: Bytes::copy_from_slice(payload) })
}

/// A vertex that hardly matters.
pub fn simple_vertex(round: u64, author: u16, payload: &[u8]) -> VerifiedVertex {
    vertex(round, author, 0, Vec::new(), payload)
}

/// A reference to no vertex in particular.
pub fn reference(round: u64, author: u16) -> VertexRef {
    VertexRef { round, author, digest: digest("reference", round) }
}

pub fn commit(index: u64, vertices: Vec<VertexRef>) -> Commit {
    let leader = *vertices.last().expect("a leader");
    let previous = digest("commit", index - 1);
    Commit { epoch: 0, index, previous, leader, vertices, timestamp_ms: index * COMMIT_MS }
}

pub fn header(height: u64, commit_index: u64, transaction_count: u32) -> BlockHeader {
    BlockHeader {
        chain: options().chain,
        epoch: 0,
        height,
        previous: digest("block", height.saturating_sub(1)),
        commit_index,
        commit_digest: digest("commit", commit_index),
        timestamp_ms: commit_index * COMMIT_MS,
        transactions_root: digest("root", height),
        state_root: None,
        transaction_count,
    }
}

/// The transaction at `position` of the block at `height`, unless a test puts it elsewhere.
pub fn transaction(height: u64, position: u32) -> SignedTransaction {
    let outputs = vec![Output { to: account(1), amount: Amount::from_mites(1), reference: None, open: false }];
    let transaction = Transaction {
        sender: account(0),
        authority: Authority::Root,
        nonce: u64::from(position),
        valid_until_ms: height * COMMIT_MS,
        operation: Operation::Transfer { outputs },
    };
    let half = digest("signature", height << 32 | u64::from(position)).0;
    SignedTransaction { transaction, signature: Signature([half, half].concat().try_into().unwrap()) }
}

/// Its id.
pub fn id(height: u64, position: u32) -> TransactionId {
    transaction(height, position).transaction.id(&options().chain)
}

/// A payload of these transactions.
pub fn payload(height: u64, positions: Range<u32>) -> Vec<u8> {
    positions.flat_map(|position| transaction(height, position).encode()).collect()
}

/// A block of this many transactions, all in the first payload: that of [`payload`].
pub fn block(height: u64, commit_index: u64, payloads: &[VertexRef], transactions: u32) -> BlockRecord {
    let entry = |place| BlockEntry { payload: 0, place, id: id(height, place), code: ResultCode::Executed };
    BlockRecord {
        header: header(height, commit_index, transactions),
        payloads: payloads.iter().map(|vertex| PayloadRecord { vertex: *vertex, void: false }).collect(),
        entries: (0..transactions).map(entry).collect(),
    }
}

pub fn history_line(of: Address, height: u64, position: u32, line: u32) -> HistoryRecord {
    HistoryRecord {
        account: of,
        height,
        position,
        line,
        id: id(height, position),
        code: ResultCode::Executed,
        operation: OperationKind::Transfer,
        direction: if line == 0 { Direction::Out } else { Direction::In },
        counterparty: account(999),
        amount: Amount::from_mites(u64::from(line) + 1),
        reference: None,
        hold: None,
        output_count: 1,
        timestamp_ms: height * COMMIT_MS,
    }
}

pub fn flush(height: u64, commit_index: u64, slots: &[(u32, &[u8])]) -> StateFlush {
    let point = FlushPoint {
        header: header(height, commit_index, 1),
        commit_index,
        timestamp_ms: commit_index * COMMIT_MS,
        state_root: digest("state", height),
    };
    let slots = slots.iter().map(|(slot, bytes)| SlotRecord { slot: *slot, bytes: bytes.to_vec() }).collect();
    StateFlush { point, slots }
}

/// A network that goes on by one round, and one commit of all its vertices, at a time.
#[derive(Clone)]
pub struct Network {
    pub authors: u16,
    /// Rounds and commits so far.
    pub index: u64,
    /// Blocks so far.
    pub height: u64,
    /// The vertices of the last round.
    pub last_round: Vec<VertexRef>,
}

impl Network {
    pub fn new(authors: u16) -> Network {
        Network { authors, index: 0, height: 0, last_round: Vec::new() }
    }

    /// The next round, with nothing in it.
    pub fn idle(&mut self) -> Batch {
        self.round(&[])
    }

    /// The next round, with this payload from author 0, of which nothing comes into a block.
    pub fn dropped(&mut self, payload: &[u8]) -> Batch {
        self.round(payload)
    }

    /// The next round, with a payload of so many transactions from author 0, which make a block.
    pub fn busy(&mut self, transactions: u32) -> Batch {
        self.height += 1;
        let mut batch = self.round(&payload(self.height, 0..transactions));
        let payloads = if transactions == 0 { &[] } else { &self.last_round[..1] };
        let record = block(self.height, self.index, payloads, transactions);
        let line = |position| history_line(account(0), self.height, position, 0);
        let history = (0..transactions).map(line).collect();
        batch.block = Some((record, history));
        batch.certificates = vec![(self.height, Vec::new())];
        batch
    }

    /// A flush of the state as it is now.
    pub fn flush(&self) -> Batch {
        Batch { flush: Some(flush(self.height, self.index, &[(0, b"globals")])), ..Batch::default() }
    }

    fn round(&mut self, payload: &[u8]) -> Batch {
        self.index += 1;
        let of_author = |author| {
            let payload = if author == 0 { payload } else { &[] };
            vertex(self.index, author, 0, self.last_round.clone(), payload)
        };
        let vertices: Vec<VerifiedVertex> = (0..self.authors).map(of_author).collect();
        self.last_round = vertices.iter().map(VerifiedVertex::reference).collect();
        let commits = vec![commit(self.index, self.last_round.clone())];
        Batch { vertices, commits, ..Batch::default() }
    }
}
