//! Storage on disk, in RocksDB.
//!
//! A [`Batch`] is one atomic write. Durability rests on the write-ahead log: a batch that was not synced may be lost in a power failure,
//! but never without those after it, and never in part. RocksDB checks the checksum of everything it reads; on top of that
//! a vertex must have the reference, and its payload the digest, under which it is found.
//!
//! Everything has a bound: write buffers, caches, open files, logs (see `open`), and what is kept (see `prune`).

mod begin;
mod body;
mod compact;
mod ids;
mod keys;
mod lines;
mod logs;
mod open;
mod prune;
mod snapshot;

pub use body::BlockBody;
pub use ids::STORED_BYTES;
pub use open::{FORMAT_VERSION, OpenOptions};

use super::retention::Floors;
use super::{
    Base, Batch, BlockRecord, EVIDENCE_PER_AUTHOR_MAX, HistoryRecord, IndexedTransaction, LineRange, PayloadRecord,
    Retention, Slots, Staged, Storage, StorageError, Topic, TransactionPosition, assert_batch_follows,
};
use borsh::BorshDeserialize;
use farthing_consensus::commit::Commit;
use farthing_consensus::vertex::{SignedHeader, VerifiedVertex, Vertex, VertexRef};
use farthing_core::block::BlockHeader;
use farthing_core::certificate::CertificateAttestation;
use farthing_core::codec;
use farthing_core::flush::FlushPoint;
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::state::SlotRecord;
use farthing_core::transaction::TransactionId;
use ids::RecentIds;
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// About what a vertex takes beside its payload, in a batch: room for it is made before.
const VERTEX_BYTES: usize = 1024;

/// A key and its value.
type Entry = (Box<[u8]>, Box<[u8]>);

/// A node's database. One process at a time has it open.
pub struct RocksStorage {
    db: DB,
    path: PathBuf,
    /// The network, which ids depend on.
    chain: ChainHash,
    keeps_history: bool,
    recent_ids: RecentIds,
    newest_commit: AtomicU64,
    newest_block: AtomicU64,
    /// How far pruning has got, as stored.
    floors: Mutex<Floors>,
    /// [`Floors::oldest_commit`] or [`Base::oldest_commit`], for readers.
    oldest_commit: AtomicU64,
    /// [`Floors::transactions`], for readers and for compaction.
    transactions_floor: Arc<AtomicU64>,
}

impl RocksStorage {
    /// Opens the database in the directory `path`, which is made, with a new database in it, if it does not exist.
    ///
    /// # Errors
    /// [`StorageError::Locked`] if it is open already, [`StorageError::Foreign`] if it is another network's, another validator's or of
    /// another format, [`StorageError::Damaged`] if it is seen to be broken, else [`StorageError::Database`].
    pub fn open(path: &Path, options: &OpenOptions) -> Result<RocksStorage, StorageError> {
        let transactions_floor = Arc::new(AtomicU64::new(0));
        let db = open::open(path, options, &transactions_floor)?;
        let floors: Floors = RocksStorage::read_from(&db, keys::META, keys::META_FLOORS)?.unwrap_or_default();
        transactions_floor.store(floors.transactions, Ordering::Release);
        let base: Option<Base> = RocksStorage::read_from(&db, keys::META, keys::META_BASE)?;
        let oldest_commit = floors.oldest_commit().max(base.map_or(0, |base| base.oldest_commit()));
        let storage = RocksStorage {
            db,
            path: path.to_owned(),
            chain: options.chain,
            keeps_history: options.history,
            recent_ids: RecentIds::default(),
            newest_commit: AtomicU64::new(0),
            newest_block: AtomicU64::new(0),
            oldest_commit: AtomicU64::new(oldest_commit),
            floors: Mutex::new(floors),
            transactions_floor,
        };
        storage.newest_commit.store(storage.last_number(keys::COMMITS)?, Ordering::Release);
        storage.newest_block.store(storage.last_number(keys::HEADERS)?, Ordering::Release);
        storage.resume_install()?;
        for name in [begin::TABLE_FILE, ids::TABLE_FILE] {
            storage.new_table(name)?;
        }
        storage.load_recent_ids()?;
        Ok(storage)
    }

    /// Where a table of this name is to be written before RocksDB takes it. What a crash left there may be a second name of a table that
    /// RocksDB has taken: the name is removed, since whoever wrote into the file would destroy that table.
    fn new_table(&self, name: &str) -> Result<PathBuf, StorageError> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StorageError::Database(format!("cannot remove {}: {error}", path.display())))
            }
            _ => Ok(path),
        }
    }

    /// Bytes on disk, logs included.
    ///
    /// # Errors
    /// [`StorageError::Database`] if the directory cannot be read.
    pub fn usage(&self) -> Result<u64, StorageError> {
        let failed = |error: std::io::Error| {
            StorageError::Database(format!("cannot list the files of {}: {error}", self.path.display()))
        };
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            match entry.and_then(|entry| entry.metadata()) {
                Ok(metadata) => bytes += metadata.len(),
                // Files come and go while we look.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(bytes)
    }

    fn column(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("opened with all column families")
    }

    fn read<T: BorshDeserialize>(&self, column: &str, key: &[u8]) -> Result<Option<T>, StorageError> {
        RocksStorage::read_from(&self.db, column, key)
    }

    fn read_from<T: BorshDeserialize>(db: &DB, column: &str, key: &[u8]) -> Result<Option<T>, StorageError> {
        let family = db.cf_handle(column).expect("opened with all column families");
        let Some(bytes) = db.get_pinned_cf(family, key).map_err(|error| database_error(&error))? else {
            return Ok(None);
        };
        decode(column, key, &bytes).map(Some)
    }

    /// The last key of a column family whose keys are numbers; 0 if it is empty.
    fn last_number(&self, column: &str) -> Result<u64, StorageError> {
        match self.scan(column, IteratorMode::End, ReadOptions::default()).next() {
            None => Ok(0),
            Some(entry) => {
                let (key, _) = entry?;
                let key: [u8; 8] = (*key).try_into().map_err(|_| bad_key(column, &key))?;
                Ok(u64::from_be_bytes(key))
            }
        }
    }

    /// Keys and values from `mode` on, within the bounds that `options` set.
    fn scan(
        &self,
        column: &str,
        mode: IteratorMode<'_>,
        options: ReadOptions,
    ) -> impl Iterator<Item = Result<Entry, StorageError>> {
        let entries = self.db.iterator_cf_opt(self.column(column), options, mode);
        entries.map(|entry| entry.map_err(|error| database_error(&error)))
    }

    fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), StorageError> {
        let written = match (batch.is_empty(), sync) {
            (false, true) => self.db.write_opt(batch, &open::synced()),
            (false, false) => self.db.write_opt(batch, &WriteOptions::default()),
            // There is nothing to write, but what was written before is to be durable.
            (true, true) => self.db.flush_wal(true),
            (true, false) => Ok(()),
        };
        written.map_err(|error| database_error(&error))
    }

    fn put_vertex(&self, write: &mut WriteBatch, vertex: &VerifiedVertex) -> Result<(), StorageError> {
        let key = keys::vertex(&vertex.reference());
        if vertex.payload().is_empty() {
            write.put_cf(self.column(keys::VERTICES), key, codec::encode(vertex.vertex()));
            return Ok(());
        }
        let payloads = self.column(keys::PAYLOADS);
        // A stored one may belong to a block already: then it must not become loose again.
        if self.db.get_pinned_cf(payloads, key).map_err(|error| database_error(&error))?.is_none() {
            write.put_cf(payloads, key, codec::encode(vertex.vertex()));
            write.put_cf(self.column(keys::LOOSE), key, []);
        }
        Ok(())
    }

    fn put_block(&self, write: &mut WriteBatch, block: &BlockRecord, history: &[HistoryRecord]) {
        let height = block.header.height;
        write.put_cf(self.column(keys::HEADERS), keys::number(height), codec::encode(&block.header));
        write.put_cf(self.column(keys::BLOCKS), keys::number(height), codec::encode(&BlockBody::of(block)));
        for payload in &block.payloads {
            write.delete_cf(self.column(keys::LOOSE), keys::vertex(&payload.vertex));
        }
        self.put_lines(write, history);
    }

    /// Adds evidence to `write`, as far as there is room for its author.
    fn put_evidence(&self, write: &mut WriteBatch, evidence: &[(u64, u16, Vec<u8>)]) -> Result<(), StorageError> {
        if evidence.is_empty() {
            return Ok(());
        }
        let mut stored = self.evidence()?;
        for (round, author, proof) in evidence {
            let of_author = stored.iter().filter(|(_, stored_author, _)| stored_author == author);
            if of_author.clone().count() < EVIDENCE_PER_AUTHOR_MAX
                && of_author.clone().all(|(stored_round, _, _)| stored_round != round)
            {
                write.put_cf(self.column(keys::EVIDENCE), keys::evidence(*author, *round), proof);
                stored.push((*round, *author, proof.clone()));
            }
        }
        Ok(())
    }

    /// Decodes a stored vertex and checks that it is the one that its key stands for.
    fn checked_vertex(&self, column: &str, key: &[u8], bytes: &[u8]) -> Result<VerifiedVertex, StorageError> {
        let vertex: Vertex = decode(column, key, bytes)?;
        let payload_fits = vertex.signed.header.payload_digest == Digest::of_bytes(&vertex.payload);
        let vertex = VerifiedVertex::from_own_storage(vertex);
        if !payload_fits || keys::vertex_of(key) != Some(vertex.reference()) {
            return Err(StorageError::Damaged(format!(
                "{column} {}: another vertex, or an altered one",
                hex::encode(key)
            )));
        }
        Ok(vertex)
    }
}

impl Storage for RocksStorage {
    fn apply(&self, batch: &Batch, sync: bool) -> Result<(), StorageError> {
        let (newest_commit, newest_block) = (self.newest_commit()?, self.newest_block()?);
        let last_signed = if batch.last_signed.is_some() { self.signing_state()?.flatten() } else { None };
        assert_batch_follows(batch, last_signed, newest_commit, newest_block);

        let vertices_bytes = batch.vertices.iter().map(|vertex| vertex.payload().len() + VERTEX_BYTES).sum();
        let mut write = WriteBatch::with_capacity_bytes(vertices_bytes);
        for vertex in &batch.vertices {
            self.put_vertex(&mut write, vertex)?;
        }
        for commit in &batch.commits {
            write.put_cf(self.column(keys::COMMITS), keys::number(commit.index), codec::encode(commit));
        }
        let meta = self.column(keys::META);
        if batch.last_signed.is_some() {
            write.put_cf(meta, keys::META_LAST_SIGNED, codec::encode(&batch.last_signed));
        }
        if let Some((block, history)) = &batch.block {
            self.put_block(&mut write, block, history);
        }
        for (height, attestations) in &batch.certificates {
            write.put_cf(self.column(keys::CERTIFICATES), keys::number(*height), codec::encode(attestations));
        }
        if let Some(flush) = &batch.flush {
            write.put_cf(meta, keys::META_FLUSH_POINT, codec::encode(&flush.point));
            for record in &flush.slots {
                write.put_cf(self.column(keys::STATE), keys::slot(record.slot), &record.bytes);
            }
        }
        self.put_evidence(&mut write, &batch.evidence)?;
        if let Some(stage) = &batch.stage {
            self.put_stage(&mut write, stage)?;
        }
        self.write(write, sync)?;
        if let Some((block, _)) = &batch.block {
            self.add_ids(block)?;
        }

        let commit = batch.commits.iter().map(|commit| commit.index).max().unwrap_or(0);
        self.newest_commit.fetch_max(commit, Ordering::AcqRel);
        let block = batch.block.as_ref().map_or(0, |(block, _)| block.header.height);
        self.newest_block.fetch_max(block, Ordering::AcqRel);
        Ok(())
    }

    fn signing_state(&self) -> Result<Option<Option<VertexRef>>, StorageError> {
        self.read(keys::META, keys::META_LAST_SIGNED)
    }

    fn initialize_signing_state(&self) -> Result<(), StorageError> {
        if let Some(Some(signed)) = self.signing_state()? {
            return Err(StorageError::SigningStateExists(signed.round));
        }
        let mut write = WriteBatch::default();
        write.put_cf(self.column(keys::META), keys::META_LAST_SIGNED, codec::encode(&None::<VertexRef>));
        self.write(write, true)
    }

    fn vertex(&self, reference: &VertexRef) -> Result<Option<VerifiedVertex>, StorageError> {
        let key = keys::vertex(reference);
        for column in [keys::PAYLOADS, keys::VERTICES] {
            let bytes = self.db.get_pinned_cf(self.column(column), key).map_err(|error| database_error(&error))?;
            if let Some(bytes) = bytes {
                return self.checked_vertex(column, &key, &bytes).map(Some);
            }
        }
        Ok(None)
    }

    fn vertex_header(&self, reference: &VertexRef) -> Result<Option<SignedHeader>, StorageError> {
        let key = keys::vertex(reference);
        for column in [keys::VERTICES, keys::PAYLOADS] {
            let bytes = self.db.get_pinned_cf(self.column(column), key).map_err(|error| database_error(&error))?;
            let Some(bytes) = bytes else { continue };
            let damaged = || StorageError::Damaged(format!("{column} {}: an altered vertex", hex::encode(key)));
            let signed = SignedHeader::deserialize(&mut &bytes[..]).map_err(|_| damaged())?;
            return if signed.reference() == *reference { Ok(Some(signed)) } else { Err(damaged()) };
        }
        Ok(None)
    }

    fn vertices(&self, from: u64, to: u64, limit: usize) -> Result<Vec<VerifiedVertex>, StorageError> {
        let first = keys::number(from);
        let in_rounds = |column: &'static str| {
            let mut options = ReadOptions::default();
            if let Some(end) = to.checked_add(1) {
                options.set_iterate_upper_bound(keys::number(end));
            }
            self.scan(column, IteratorMode::From(&first, Direction::Forward), options)
        };
        let mut empty = in_rounds(keys::VERTICES).peekable();
        let mut full = in_rounds(keys::PAYLOADS).peekable();
        let mut vertices = Vec::new();
        while vertices.len() < limit {
            // An error sorts as if it came first: it ends the scan.
            let take_full = match (empty.peek(), full.peek()) {
                (Some(Ok((empty, _))), Some(Ok((full, _)))) => full < empty,
                (Some(_), Some(full)) => full.is_err(),
                (empty, _) => empty.is_none(),
            };
            let (column, next) = if take_full { (keys::PAYLOADS, full.next()) } else { (keys::VERTICES, empty.next()) };
            let Some(entry) = next else { break };
            let (key, bytes) = entry?;
            vertices.push(self.checked_vertex(column, &key, &bytes)?);
        }
        Ok(vertices)
    }

    fn commit(&self, index: u64) -> Result<Option<Commit>, StorageError> {
        self.read(keys::COMMITS, &keys::number(index))
    }

    fn newest_commit(&self) -> Result<u64, StorageError> {
        Ok(self.newest_commit.load(Ordering::Acquire))
    }

    fn oldest_commit(&self) -> Result<u64, StorageError> {
        Ok(self.oldest_commit.load(Ordering::Acquire))
    }

    fn block(&self, height: u64) -> Result<Option<BlockRecord>, StorageError> {
        self.read_block(height)
    }

    fn payloads(&self, height: u64) -> Result<Option<Vec<PayloadRecord>>, StorageError> {
        Ok(self.read_body(height)?.map(|body| body.payloads().collect()))
    }

    fn place(&self, position: TransactionPosition) -> Result<Option<(VertexRef, u32)>, StorageError> {
        self.read_place(position)
    }

    fn header(&self, height: u64) -> Result<Option<BlockHeader>, StorageError> {
        self.read(keys::HEADERS, &keys::number(height))
    }

    fn newest_block(&self) -> Result<u64, StorageError> {
        Ok(self.newest_block.load(Ordering::Acquire))
    }

    fn certificate(&self, height: u64) -> Result<Option<Vec<CertificateAttestation>>, StorageError> {
        self.read(keys::CERTIFICATES, &keys::number(height))
    }

    fn newest_certificate(&self) -> Result<u64, StorageError> {
        self.last_number(keys::CERTIFICATES)
    }

    fn transaction(&self, id: &TransactionId) -> Result<Option<IndexedTransaction>, StorageError> {
        let indexed = self.find_id(id)?;
        let floor = self.transactions_floor.load(Ordering::Acquire);
        Ok(indexed.filter(|indexed| indexed.position.height >= floor))
    }

    fn keeps_history(&self) -> bool {
        self.keeps_history
    }

    fn lines(&self, topic: &Topic, range: &LineRange, limit: usize) -> Result<Vec<HistoryRecord>, StorageError> {
        self.read_lines(topic, range, limit)
    }

    fn evidence(&self) -> Result<Vec<(u64, u16, Vec<u8>)>, StorageError> {
        let entries = self.scan(keys::EVIDENCE, IteratorMode::Start, ReadOptions::default());
        let decoded = entries.map(|entry| {
            let (key, proof) = entry?;
            let (author, round) = keys::evidence_of(&key).ok_or_else(|| bad_key(keys::EVIDENCE, &key))?;
            Ok((round, author, proof.into_vec()))
        });
        decoded.collect()
    }

    fn begin(&self, point: &FlushPoint, slots: &mut dyn Iterator<Item = SlotRecord>) -> Result<(), StorageError> {
        self.write_first_state(point, slots)
    }

    fn slots(&self) -> Result<Option<(FlushPoint, Slots<'_>)>, StorageError> {
        let read_point = || self.read::<FlushPoint>(keys::META, keys::META_FLUSH_POINT);
        let Some(mut point) = read_point()? else { return Ok(None) };
        loop {
            // While a snapshot is put in the place of the state, the slots are of neither.
            if self.is_installing()? {
                return Ok(None);
            }
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            // An iterator sees the database as it is when it is made. Point and slots change together, so if the point is the
            // same before and after, it is that of the slots.
            let entries = self.scan(keys::STATE, IteratorMode::Start, options);
            let after = read_point()?.ok_or_else(|| StorageError::Damaged("the flush point is gone".into()))?;
            if after == point && !self.is_installing()? {
                let slots = entries.map(|entry| {
                    let (key, bytes) = entry?;
                    let slot = (*key).try_into().map_err(|_| bad_key(keys::STATE, &key))?;
                    Ok(SlotRecord { slot: u32::from_be_bytes(slot), bytes: bytes.into_vec() })
                });
                return Ok(Some((point, Box::new(slots))));
            }
            point = after;
        }
    }

    fn staged(&self) -> Result<Option<Staged>, StorageError> {
        self.read_staged()
    }

    fn install(&self) -> Result<bool, StorageError> {
        self.install_staged()
    }

    fn base(&self) -> Result<Option<Base>, StorageError> {
        self.read(keys::META, keys::META_BASE)
    }

    fn prune(&self, retention: &Retention) -> Result<bool, StorageError> {
        self.prune_step(retention)
    }
}

fn decode<T: BorshDeserialize>(column: &str, key: &[u8], bytes: &[u8]) -> Result<T, StorageError> {
    codec::decode(bytes, bytes.len())
        .map_err(|error| StorageError::Damaged(format!("{column} {}: {error}", hex::encode(key))))
}

fn bad_key(column: &str, key: &[u8]) -> StorageError {
    StorageError::Damaged(format!("{column} {}: not a key", hex::encode(key)))
}

fn database_error(error: &rocksdb::Error) -> StorageError {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => StorageError::Damaged(error.to_string()),
        _ => StorageError::Database(error.to_string()),
    }
}
