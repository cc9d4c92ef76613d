//! The state that a network begins with: up to ten million slots, written before the node does anything else.
//!
//! They become tables that RocksDB takes as they are, like those of ids (see `ids`): through the log and the write buffers they would be
//! written three times.

use super::{RocksStorage, database_error, keys, open};
use crate::storage::StorageError;
use farthing_core::codec;
use farthing_core::flush::FlushPoint;
use farthing_core::state::SlotRecord;
use rocksdb::{IngestExternalFileOptions, SstFileWriter, WriteBatch};
use std::path::PathBuf;

/// How many slots make a table: about 40 MB of it.
const TABLE_SLOTS: usize = 1 << 19;

/// Where a table is written before RocksDB takes it.
pub(super) const TABLE_FILE: &str = "state.table";

impl RocksStorage {
    /// What [`crate::storage::Storage::begin`] does. Slots that an attempt before left behind are the same, and are replaced.
    pub(super) fn write_first_state(
        &self,
        point: &FlushPoint,
        slots: &mut dyn Iterator<Item = SlotRecord>,
    ) -> Result<(), StorageError> {
        let mut slots = slots.peekable();
        while slots.peek().is_some() {
            let path = self.new_table(TABLE_FILE)?;
            self.add_slots(&mut slots.by_ref().take(TABLE_SLOTS), path).map_err(|error| database_error(&error))?;
        }
        let mut write = WriteBatch::default();
        write.put_cf(self.column(keys::META), keys::META_FLUSH_POINT, codec::encode(point));
        self.write(write, true)
    }

    fn add_slots(&self, slots: &mut dyn Iterator<Item = SlotRecord>, path: PathBuf) -> Result<(), rocksdb::Error> {
        let options = open::state_table();
        let mut table = SstFileWriter::create(&options);
        table.open(&path)?;
        for record in slots {
            table.put(keys::slot(record.slot), record.bytes)?;
        }
        table.finish()?;
        let mut ingestion = IngestExternalFileOptions::default();
        ingestion.set_move_files(true);
        self.db.ingest_external_file_cf_opts(self.column(keys::STATE), &ingestion, vec![path])
    }
}
