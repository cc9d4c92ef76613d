//! Pruning: taking away what the floors leave below them, and giving the disk back.
//!
//! Vertices without payload, and bodies, lie in the order in which they go: a range at a time. Payloads and commits stay
//! as long as a block has its body: they go one by one, payloads with their block's body (if their round has passed), those of no block
//! from the list of loose ones. Entries of the index of ids go when compaction comes by (see `open`).
//!
//! Whatever goes, goes in one synced batch with the new floors. Hence it goes only after everything that pruning was decided
//! upon, above all the flush point, is durable.

use super::{BlockBody, RocksStorage, bad_key, keys};
use crate::storage::retention::Floors;
use crate::storage::{Retention, Storage as _, StorageError};
use farthing_core::block::BlockHeader;
use farthing_core::codec;
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};
use std::sync::atomic::Ordering;

impl RocksStorage {
    /// One step of [`crate::storage::Storage::prune`].
    pub(super) fn prune_step(&self, retention: &Retention) -> Result<bool, StorageError> {
        let mut floors = self.floors.lock().expect("no holder of the lock panics and goes on");
        let Some(flush_point) = self.read(keys::META, keys::META_FLUSH_POINT)? else { return Ok(false) };
        let (old, new) = (*floors, floors.next(self, &flush_point, retention)?);
        if new == old {
            return Ok(false);
        }
        self.write_ids_below(new.bodies)?;
        let mut write = WriteBatch::default();
        self.prune_bodies(&mut write, &old, &new)?;
        self.prune_commits(&mut write, &old, &new)?;
        self.prune_vertices(&mut write, &old, &new)?;
        write.put_cf(self.column(keys::META), keys::META_FLOORS, codec::encode(&new));
        self.write(write, true)?;
        *floors = new;
        self.oldest_commit.fetch_max(new.oldest_commit(), Ordering::AcqRel);
        self.transactions_floor.store(new.transactions, Ordering::Release);
        Ok(true)
    }

    /// Removes the bodies below the floor, with the payloads and commits that were kept only for their sake.
    fn prune_bodies(&self, write: &mut WriteBatch, old: &Floors, new: &Floors) -> Result<(), StorageError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound(keys::number(new.bodies));
        let first = keys::number(old.bodies);
        for entry in self.scan(keys::BLOCKS, IteratorMode::From(&first, Direction::Forward), options) {
            let (key, bytes) = entry?;
            let body: BlockBody = super::decode(keys::BLOCKS, &key, &bytes)?;
            let header: Option<BlockHeader> = self.read(keys::HEADERS, &key)?;
            let commit_index = header.ok_or_else(|| bad_key(keys::BLOCKS, &key))?.commit_index;
            if commit_index < new.commits {
                write.delete_cf(self.column(keys::COMMITS), keys::number(commit_index));
            }
            for payload in body.payloads() {
                let key = keys::vertex(&payload.vertex);
                if payload.vertex.round < new.rounds {
                    write.delete_cf(self.column(keys::PAYLOADS), key);
                } else {
                    write.put_cf(self.column(keys::LOOSE), key, []);
                }
            }
        }
        if old.bodies < new.bodies {
            write.delete_range_cf(self.column(keys::BLOCKS), first, keys::number(new.bodies));
        }
        Ok(())
    }

    /// Removes the commits below the floor that made no block, or one without a body.
    fn prune_commits(&self, write: &mut WriteBatch, old: &Floors, new: &Floors) -> Result<(), StorageError> {
        let mut height = self.first_block_from(old.commits, new.bodies)?;
        for index in old.commits..new.commits {
            match self.header(height)? {
                Some(header) if header.commit_index == index => height += 1,
                _ => write.delete_cf(self.column(keys::COMMITS), keys::number(index)),
            }
        }
        Ok(())
    }

    /// The lowest height at or above `height` whose block's commit is `commit_index` or later; one above the newest if there is none.
    fn first_block_from(&self, commit_index: u64, height: u64) -> Result<u64, StorageError> {
        // Headers are stored without gaps, and commit indexes rise with them.
        let (mut low, mut high) = (height.max(1), self.newest_block()? + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.header(middle)? {
                Some(header) if header.commit_index >= commit_index => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low)
    }

    /// Removes the vertices of rounds below the floor, but for payloads of blocks.
    fn prune_vertices(&self, write: &mut WriteBatch, old: &Floors, new: &Floors) -> Result<(), StorageError> {
        let (from, to) = (keys::number(old.rounds), keys::number(new.rounds));
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        for entry in self.scan(keys::LOOSE, IteratorMode::From(&from, Direction::Forward), options) {
            let (key, _) = entry?;
            let vertex = keys::vertex_of(&key).ok_or_else(|| bad_key(keys::LOOSE, &key))?;
            assert!(vertex.round < new.rounds, "within the bounds of the scan");
            write.delete_cf(self.column(keys::PAYLOADS), &key);
            write.delete_cf(self.column(keys::LOOSE), &key);
        }
        if old.rounds < new.rounds {
            write.delete_range_cf(self.column(keys::VERTICES), from, to);
        }
        Ok(())
    }
}
