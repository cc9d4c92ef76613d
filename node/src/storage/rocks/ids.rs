//! The index of ids: in memory for the newest blocks, in tables for all before them.
//!
//! Ids are random. Put one by one through the log and a write buffer, they cost several times what everything else about a transaction
//! costs to store. So those of the newest blocks are kept in memory, and once there are [`TABLE_IDS`] of them they are sorted and become
//! one table, which RocksDB takes as it is. The height up to which this was done is stored after the table, and the
//! bodies above it are never pruned: what memory held is read off them when the database is opened.
//!
//! A table is made only when the blocks that it speaks of are durable.

use super::{RocksStorage, database_error, keys, open};
use crate::id_map::IdMap;
use crate::storage::{BlockRecord, IndexedTransaction, Storage as _, StorageError, TransactionPosition};
use farthing_core::codec;
use farthing_core::transaction::TransactionId;
use rocksdb::{IngestExternalFileOptions, SstFileWriter, WriteBatch};
use std::sync::{RwLock, RwLockReadGuard};

/// How many ids make a table: 1.5 MB of it, and three times that in memory before.
const TABLE_IDS: usize = 1 << 15;

/// Where a table is written before RocksDB takes it. A crash may leave one behind, which the next one replaces.
const TABLE_FILE: &str = "transactions.table";

/// The ids that are in no table yet.
#[derive(Default)]
pub(super) struct RecentIds(RwLock<Recent>);

#[derive(Default)]
struct Recent {
    by_id: IdMap<TransactionId, IndexedTransaction>,
    /// The height of the newest block among theirs, or of the newest one in the tables.
    newest: u64,
    /// The height of the newest block in the tables.
    in_tables: u64,
}

impl RecentIds {
    /// There are none, and the next block is the one above this height.
    pub(super) fn begin_after(&self, height: u64) {
        self.change(|recent| *recent = Recent { by_id: IdMap::default(), newest: height, in_tables: height });
    }

    fn read(&self) -> RwLockReadGuard<'_, Recent> {
        self.0.read().expect("no holder of the lock panics and goes on")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Recent) -> T) -> T {
        change(&mut self.0.write().expect("no holder of the lock panics and goes on"))
    }
}

impl RocksStorage {
    /// Reads the ids that are in no table off their blocks.
    pub(super) fn load_recent_ids(&self) -> Result<(), StorageError> {
        let in_tables = self.read(keys::META, keys::META_INDEXED)?.unwrap_or(0);
        self.recent_ids.begin_after(in_tables);
        for height in in_tables + 1..=self.newest_block()? {
            // Those below what pruning left of an older version's database are in the tables, too.
            if let Some(block) = self.block(height)? {
                self.note_ids(&block);
            }
            if self.recent_ids.read().by_id.len() >= TABLE_IDS {
                self.write_recent_ids()?;
            }
        }
        Ok(())
    }

    /// What the index says of a transaction.
    pub(super) fn find_id(&self, id: &TransactionId) -> Result<Option<IndexedTransaction>, StorageError> {
        let recent = self.recent_ids.read().by_id.get(id).copied();
        match recent {
            Some(indexed) => Ok(Some(indexed)),
            None => self.read(keys::TRANSACTIONS, id.as_bytes()),
        }
    }

    /// Adds the ids of a block that has been written.
    pub(super) fn add_ids(&self, block: &BlockRecord) -> Result<(), StorageError> {
        self.note_ids(block);
        if self.recent_ids.read().by_id.len() < TABLE_IDS { Ok(()) } else { self.write_recent_ids() }
    }

    fn note_ids(&self, block: &BlockRecord) {
        let height = block.header.height;
        self.recent_ids.change(|recent| {
            for (position, entry) in (0..).zip(&block.entries) {
                let position = TransactionPosition { height, position };
                recent.by_id.insert(entry.id, IndexedTransaction { position, code: entry.code });
            }
            recent.newest = recent.newest.max(height);
        });
    }

    /// Makes sure that all blocks below `height` have their ids in tables, so that their bodies may go.
    pub(super) fn write_ids_below(&self, height: u64) -> Result<(), StorageError> {
        if self.recent_ids.read().in_tables + 1 < height { self.write_recent_ids() } else { Ok(()) }
    }

    /// Writes all ids that are in no table into one. Only the thread that writes batches may call this.
    pub(super) fn write_recent_ids(&self) -> Result<(), StorageError> {
        let (mut ids, newest) = {
            let recent = self.recent_ids.read();
            (recent.by_id.iter().map(|(id, indexed)| (*id, *indexed)).collect::<Vec<_>>(), recent.newest)
        };
        ids.sort_unstable_by_key(|(id, _)| *id);
        self.db.flush_wal(true).map_err(|error| database_error(&error))?;
        if !ids.is_empty() {
            self.add_table(&ids).map_err(|error| database_error(&error))?;
        }
        let mut write = WriteBatch::default();
        write.put_cf(self.column(keys::META), keys::META_INDEXED, codec::encode(&newest));
        self.write(write, false)?;
        self.recent_ids.change(|recent| {
            recent.by_id.clear();
            recent.in_tables = newest;
        });
        Ok(())
    }

    fn add_table(&self, ids: &[(TransactionId, IndexedTransaction)]) -> Result<(), rocksdb::Error> {
        let path = self.path.join(TABLE_FILE);
        let options = open::transactions_table();
        let mut table = SstFileWriter::create(&options);
        table.open(&path)?;
        for (id, indexed) in ids {
            table.put(id.as_bytes(), codec::encode(indexed))?;
        }
        table.finish()?;
        let mut ingestion = IngestExternalFileOptions::default();
        ingestion.set_move_files(true);
        self.db.ingest_external_file_cf_opts(self.column(keys::TRANSACTIONS), &ingestion, vec![path])
    }
}
