//! Compaction of everything at once, for operators: in operation RocksDB compacts by and by, and never all.

use super::{RocksStorage, database_error, keys, open};
use crate::storage::StorageError;
use farthing_core::codec;
use rocksdb::WriteBatch;
use std::collections::BTreeMap;

impl RocksStorage {
    /// Writes everything into tables, the ids that are in memory too, and leaves out what was removed or replaced. Takes about as
    /// long as to read and write what is stored. The caller must be the storage's only user.
    ///
    /// # Errors
    /// After an error stop the process.
    pub fn compact(&self) -> Result<(), StorageError> {
        self.write_recent_ids()?;
        for name in keys::ALL {
            let column = self.column(name);
            self.db.flush_cf(column).map_err(|error| database_error(&error))?;
            self.db.compact_range_cf(column, None::<&[u8]>, None::<&[u8]>);
        }
        // Compaction does not say if it fails, but nothing can be written after that.
        let mut probe = WriteBatch::default();
        probe.put_cf(self.column(keys::META), keys::META_FORMAT, codec::encode(&open::FORMAT_VERSION));
        self.write(probe, true)
    }

    /// The bytes of the tables of each kind of data, by its name. What is only in logs and memory yet is missing.
    ///
    /// # Errors
    /// [`StorageError::Database`] if RocksDB cannot tell.
    pub fn table_bytes(&self) -> Result<BTreeMap<String, u64>, StorageError> {
        let mut bytes = BTreeMap::new();
        for file in self.db.live_files().map_err(|error| database_error(&error))? {
            *bytes.entry(file.column_family_name).or_default() += file.size as u64;
        }
        Ok(bytes)
    }
}
