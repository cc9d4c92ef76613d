//! Snapshots on their way into the database: staged chunk by chunk, then put in the place of the state.

use super::{RocksStorage, bad_key, database_error, keys};
use crate::snapshot::Manifest;
use crate::storage::{Stage, Staged, Storage as _, StorageError};
use farthing_core::codec;
use farthing_core::state_chunk::StateChunk;
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

impl RocksStorage {
    /// Adds a part of a snapshot to `write`.
    pub(super) fn put_stage(&self, write: &mut WriteBatch, stage: &Stage) -> Result<(), StorageError> {
        let column = self.column(keys::SNAPSHOT);
        match stage {
            Stage::Begin(manifest) => {
                if let Some(before) = self.read_staged()? {
                    for number in before.chunks {
                        if !before.manifest.has_same_chunk(manifest, number) {
                            write.delete_cf(column, keys::chunk(number));
                        }
                    }
                }
                write.put_cf(column, keys::SNAPSHOT_MANIFEST, codec::encode(&**manifest));
            }
            Stage::Chunk(number, chunk) => {
                let begun = self.db.get_pinned_cf(column, keys::SNAPSHOT_MANIFEST);
                if begun.map_err(|error| database_error(&error))?.is_some() {
                    write.put_cf(column, keys::chunk(*number), codec::encode(chunk));
                }
            }
        }
        Ok(())
    }

    /// What [`crate::storage::Storage::staged`] answers.
    pub(super) fn read_staged(&self) -> Result<Option<Staged>, StorageError> {
        let Some(manifest) = self.read(keys::SNAPSHOT, keys::SNAPSHOT_MANIFEST)? else { return Ok(None) };
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound(keys::SNAPSHOT_MANIFEST);
        let numbers = self.scan(keys::SNAPSHOT, IteratorMode::Start, options).map(|entry| {
            let (key, _) = entry?;
            keys::chunk_of(&key).ok_or_else(|| bad_key(keys::SNAPSHOT, &key))
        });
        let chunks = numbers.collect::<Result<BTreeSet<u32>, StorageError>>()?;
        Ok(Some(Staged { manifest, chunks }))
    }

    /// What [`crate::storage::Storage::install`] does.
    pub(super) fn install_staged(&self) -> Result<bool, StorageError> {
        let Some(staged) = self.read_staged()? else { return Ok(false) };
        if !staged.is_installable(self.newest_commit()?) {
            return Ok(false);
        }
        // Their blocks go.
        self.write_recent_ids()?;
        let mut mark = WriteBatch::default();
        mark.put_cf(self.column(keys::META), keys::META_INSTALLING, []);
        self.write(mark, true)?;
        self.finish_install()
    }

    /// Goes on with an installation that was interrupted at any moment, if there is one.
    pub(super) fn resume_install(&self) -> Result<(), StorageError> {
        if self.is_installing()? {
            self.finish_install()?;
        }
        Ok(())
    }

    /// Whether an installation is under way.
    pub(super) fn is_installing(&self) -> Result<bool, StorageError> {
        let mark = self.db.get_pinned_cf(self.column(keys::META), keys::META_INSTALLING);
        Ok(mark.map_err(|error| database_error(&error))?.is_some())
    }

    /// Everything after the mark. Until the last write, which removes the mark, it can be done again from the start.
    fn finish_install(&self) -> Result<bool, StorageError> {
        let damaged = |what: &str| StorageError::Damaged(format!("the snapshot being installed: {what}"));
        let staged = self.read_staged()?.ok_or_else(|| damaged("it is gone"))?;
        let manifest = staged.manifest;
        let slot_count = self.replace_slots(&staged.chunks)?;
        if slot_count != manifest.slot_count {
            return Err(damaged("it has more or fewer slots than it says"));
        }
        let mut floors = self.floors.lock().expect("no holder of the lock panics and goes on");
        let new = floors.at_snapshot(&manifest);
        let mut write = WriteBatch::default();
        self.replace_chain(&mut write, &manifest, new.rounds)?;
        let meta = self.column(keys::META);
        write.put_cf(meta, keys::META_FLOORS, codec::encode(&new));
        write.put_cf(meta, keys::META_BASE, codec::encode(&manifest.base()));
        write.put_cf(meta, keys::META_FLUSH_POINT, codec::encode(&manifest.point()));
        write.put_cf(meta, keys::META_INDEXED, codec::encode(&manifest.base().height));
        write.delete_cf(meta, keys::META_INSTALLING);
        let snapshot = self.column(keys::SNAPSHOT);
        write.delete_range_cf(snapshot, keys::chunk(0).as_slice(), keys::SNAPSHOT_MANIFEST);
        write.delete_cf(snapshot, keys::SNAPSHOT_MANIFEST);
        self.write(write, true)?;
        *floors = new;
        self.recent_ids.begin_after(manifest.base().height);
        self.newest_commit.store(manifest.base().commit_index, Ordering::Release);
        self.oldest_commit.store(manifest.base().oldest_commit(), Ordering::Release);
        self.newest_block.store(self.last_number(keys::HEADERS)?, Ordering::Release);
        Ok(true)
    }

    /// Replaces all slots by those of the staged chunks, a chunk at a time. Returns how many there are.
    fn replace_slots(&self, chunks: &BTreeSet<u32>) -> Result<u64, StorageError> {
        let state = self.column(keys::STATE);
        let mut clear = WriteBatch::default();
        clear.delete_range_cf(state, keys::slot(0), keys::slot(u32::MAX));
        clear.delete_cf(state, keys::slot(u32::MAX));
        self.write(clear, false)?;
        let mut next_slot = 0u64;
        for number in chunks {
            let key = keys::chunk(*number);
            let chunk: StateChunk = self
                .read(keys::SNAPSHOT, &key)?
                .ok_or_else(|| StorageError::Damaged(format!("the chunk {number} of the staged snapshot is gone")))?;
            let mut write = WriteBatch::default();
            for slot in &chunk.slots {
                let number = u32::try_from(next_slot)
                    .map_err(|_| StorageError::Damaged("the staged snapshot has too many slots".into()))?;
                write.put_cf(state, keys::slot(number), &slot.0);
                next_slot += 1;
            }
            self.write(write, false)?;
        }
        Ok(next_slot)
    }

    /// Replaces the commits by those of the snapshot, and removes what belongs to the old ones.
    fn replace_chain(&self, write: &mut WriteBatch, manifest: &Manifest, first_round: u64) -> Result<(), StorageError> {
        let base = manifest.base();
        let (zero, end) = (keys::number(0), keys::number(u64::MAX));
        write.delete_range_cf(self.column(keys::COMMITS), zero, end);
        for commit in manifest.contained_commits() {
            write.put_cf(self.column(keys::COMMITS), keys::number(commit.index), codec::encode(commit));
        }
        write.delete_range_cf(self.column(keys::BLOCKS), zero, end);
        write.put_cf(self.column(keys::HEADERS), keys::number(base.height), codec::encode(&manifest.parent));
        for column in [keys::VERTICES, keys::PAYLOADS, keys::LOOSE] {
            write.delete_range_cf(self.column(column), zero, keys::number(first_round));
        }
        // The blocks of the payloads that stay are gone.
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let first = keys::number(first_round);
        for entry in self.scan(keys::PAYLOADS, IteratorMode::From(&first, Direction::Forward), options) {
            write.put_cf(self.column(keys::LOOSE), entry?.0, []);
        }
        Ok(())
    }
}
