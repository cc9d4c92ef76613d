//! The index of ids: in memory for the newest blocks, in tables for all before them.
//!
//! Ids are random. Put one by one through the log and a write buffer, they cost several times what everything else about a transaction
//! costs to store. So those of the newest blocks are kept in memory, and once there are [`TABLE_IDS`] of them they are sorted and become
//! one table, which RocksDB takes as it is. The height up to which this was done is stored after the table, and the
//! bodies above it are never pruned: what memory held is computed from them when the database is opened.
//!
//! A table is made only when the blocks that it speaks of are durable.
//!
//! # What is stored of a transaction
//! The first 20 bytes of its id as the key, and [`STORED_BYTES`] as the value. Ids are hashes, so two transactions with one key are 2^80
//! hashes' work, and one with the key of another's, 2^160. Who did that work could have the index tell of the one what became of
//! the other. That proves nothing: a receipt holds the transaction itself. And where the body is still there, whoever asks for the
//! transaction finds the other one, with another id.

use super::{RocksStorage, database_error, keys, open};
use crate::storage::{BlockRecord, IndexedTransaction, Storage as _, StorageError, TransactionPosition};
use borsh::BorshDeserialize as _;
use farthing_core::block::ResultCode;
use farthing_core::codec;
use farthing_core::transaction::TransactionId;
use rocksdb::{IngestExternalFileOptions, SstFileWriter, WriteBatch};
use std::path::PathBuf;
use std::sync::{RwLock, RwLockReadGuard};

/// How many ids make a table: 2 MB of it. In memory they take twice that.
const TABLE_IDS: usize = 1 << 16;

/// Ids in memory are found by this many of their first bits; [`TABLE_IDS`] are 16 to a bucket.
const BUCKET_BITS: u32 = 12;

/// A table is made after so many blocks at the latest: when the database is opened, the payloads of those that are in none are read.
const TABLE_BLOCKS: u64 = 1_000;

/// Where a table is written before RocksDB takes it.
pub(super) const TABLE_FILE: &str = "transactions.table";

/// The bytes of a stored value: the height (5, big-endian), the position (4, big-endian) and the code.
pub const STORED_BYTES: usize = 10;

/// Heights are below this: at a thousand blocks a second, for 34 years.
const HEIGHT_END: u64 = 1 << 40;

impl IndexedTransaction {
    /// The value that is stored of it.
    ///
    /// # Panics
    /// If the height is 2^40 or more.
    pub fn to_stored(self) -> [u8; STORED_BYTES] {
        let TransactionPosition { height, position } = self.position;
        assert!(height < HEIGHT_END, "a height of {height}");
        let mut stored = [0; STORED_BYTES];
        stored[..5].copy_from_slice(&height.to_be_bytes()[3..]);
        stored[5..9].copy_from_slice(&position.to_be_bytes());
        stored[9] = self.code as u8;
        stored
    }

    /// What a stored value says; `None` for bytes that are no such value.
    pub fn from_stored(stored: &[u8]) -> Option<IndexedTransaction> {
        let stored: &[u8; STORED_BYTES] = stored.try_into().ok()?;
        let (_, rest) = stored.split_first_chunk::<5>()?;
        let (position, code) = rest.split_first_chunk()?;
        let position = TransactionPosition { height: stored_height(stored)?, position: u32::from_be_bytes(*position) };
        Some(IndexedTransaction { position, code: ResultCode::try_from_slice(code).ok()? })
    }
}

/// The height in a stored value, for compaction.
pub(super) fn stored_height(stored: &[u8]) -> Option<u64> {
    let height: &[u8; 5] = stored.first_chunk()?;
    Some(height.iter().fold(0, |height, byte| height << 8 | u64::from(*byte)))
}

/// The ids that are in no table yet.
#[derive(Default)]
pub(super) struct RecentIds(RwLock<Recent>);

/// A key of the index and its value.
type Stored = ([u8; keys::ID_BYTES], [u8; STORED_BYTES]);

struct Recent {
    /// 2^[`BUCKET_BITS`] of them, ascending; within one, the order of blocks.
    buckets: Vec<Vec<Stored>>,
    /// How many there are in all.
    count: usize,
    /// The height of the newest block among theirs, or of the newest one in the tables.
    newest: u64,
    /// The height of the newest block in the tables.
    in_tables: u64,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent { buckets: vec![Vec::new(); 1 << BUCKET_BITS], count: 0, newest: 0, in_tables: 0 }
    }
}

impl Recent {
    fn add(&mut self, id: &TransactionId, indexed: IndexedTransaction) {
        let key = keys::transaction(id);
        self.buckets[bucket_of(&key)].push((key, indexed.to_stored()));
        self.count += 1;
    }

    fn find(&self, key: &[u8; keys::ID_BYTES]) -> Option<&[u8; STORED_BYTES]> {
        let newest_first = self.buckets[bucket_of(key)].iter().rev();
        newest_first.filter(|(other, _)| other == key).map(|(_, stored)| stored).next()
    }

    /// Nothing is in memory any more, all up to this height is in tables. The buckets keep their room.
    fn clear(&mut self, height: u64) {
        self.buckets.iter_mut().for_each(Vec::clear);
        (self.count, self.newest, self.in_tables) = (0, height, height);
    }
}

/// The bucket of a key.
fn bucket_of(key: &[u8; keys::ID_BYTES]) -> usize {
    let [first, second, ..] = *key;
    usize::from(u16::from_be_bytes([first, second]) >> (u16::BITS - BUCKET_BITS))
}

impl RecentIds {
    /// There are none, and the next block is the one above this height.
    pub(super) fn begin_after(&self, height: u64) {
        self.change(|recent| recent.clear(height));
    }

    fn read(&self) -> RwLockReadGuard<'_, Recent> {
        self.0.read().expect("no holder of the lock panics and goes on")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Recent) -> T) -> T {
        change(&mut self.0.write().expect("no holder of the lock panics and goes on"))
    }
}

impl RocksStorage {
    /// Computes the ids that are in no table from their blocks.
    pub(super) fn load_recent_ids(&self) -> Result<(), StorageError> {
        let in_tables = self.read(keys::META, keys::META_INDEXED)?.unwrap_or(0);
        self.recent_ids.begin_after(in_tables);
        for height in in_tables + 1..=self.newest_block()? {
            // Where a snapshot took the place of the state, there is a gap.
            if let Some(block) = self.block(height)? {
                self.add_ids(&block)?;
            }
        }
        Ok(())
    }

    /// What the index says of a transaction.
    pub(super) fn find_id(&self, id: &TransactionId) -> Result<Option<IndexedTransaction>, StorageError> {
        let key = keys::transaction(id);
        let damaged = || StorageError::Damaged(format!("{} {}: not a value", keys::TRANSACTIONS, hex::encode(key)));
        if let Some(stored) = self.recent_ids.read().find(&key) {
            return IndexedTransaction::from_stored(stored).ok_or_else(damaged).map(Some);
        }
        let stored = self.db.get_pinned_cf(self.column(keys::TRANSACTIONS), key);
        let Some(stored) = stored.map_err(|error| database_error(&error))? else { return Ok(None) };
        IndexedTransaction::from_stored(&stored).ok_or_else(damaged).map(Some)
    }

    /// Adds the ids of a block that has been written.
    pub(super) fn add_ids(&self, block: &BlockRecord) -> Result<(), StorageError> {
        let height = block.header.height;
        let (count, blocks) = self.recent_ids.change(|recent| {
            for (position, entry) in (0..).zip(&block.entries) {
                let position = TransactionPosition { height, position };
                recent.add(&entry.id, IndexedTransaction { position, code: entry.code });
            }
            recent.newest = recent.newest.max(height);
            (recent.count, recent.newest - recent.in_tables)
        });
        if count < TABLE_IDS && blocks < TABLE_BLOCKS { Ok(()) } else { self.write_recent_ids() }
    }

    /// Makes sure that all blocks below `height` have their ids in tables, so that their bodies may go.
    pub(super) fn write_ids_below(&self, height: u64) -> Result<(), StorageError> {
        if self.recent_ids.read().in_tables + 1 < height { self.write_recent_ids() } else { Ok(()) }
    }

    /// Writes all ids that are in no table into one. Only the thread that writes batches may call this.
    pub(super) fn write_recent_ids(&self) -> Result<(), StorageError> {
        self.db.flush_wal(true).map_err(|error| database_error(&error))?;
        // Other threads go on reading: nobody but this one changes anything.
        let newest = {
            let recent = self.recent_ids.read();
            if recent.count > 0 {
                let path = self.new_table(TABLE_FILE)?;
                self.add_table(&recent, path).map_err(|error| database_error(&error))?;
            }
            recent.newest
        };
        let mut write = WriteBatch::default();
        write.put_cf(self.column(keys::META), keys::META_INDEXED, codec::encode(&newest));
        self.write(write, false)?;
        self.recent_ids.change(|recent| recent.clear(newest));
        Ok(())
    }

    fn add_table(&self, recent: &Recent, path: PathBuf) -> Result<(), rocksdb::Error> {
        let options = open::transactions_table();
        let mut table = SstFileWriter::create(&options);
        table.open(&path)?;
        let mut sorted = Vec::new();
        for bucket in &recent.buckets {
            sorted.clear();
            sorted.extend_from_slice(bucket);
            // What has the same key stays in the order of blocks. A table takes a key once: the newest counts, as in memory.
            sorted.sort_by_key(|(key, _)| *key);
            for same in sorted.chunk_by(|(left, _), (right, _)| left == right) {
                let (key, stored) = same.last().expect("a chunk is not empty");
                table.put(key, stored)?;
            }
        }
        table.finish()?;
        let mut ingestion = IngestExternalFileOptions::default();
        ingestion.set_move_files(true);
        self.db.ingest_external_file_cf_opts(self.column(keys::TRANSACTIONS), &ingestion, vec![path])
    }
}
