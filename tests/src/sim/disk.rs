//! A disk: it writes in order, takes its time to sync, and keeps a prefix of what was under way when the power fails.

use super::plan::MS_US;
use super::random::Random;
use farthing_node::replica::log::Ticket;
use farthing_node::storage::memory::MemoryStorage;
use farthing_node::storage::{Batch, Retention, Storage, StorageError};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// One write under way.
pub struct Write {
    /// Its number.
    pub ticket: Ticket,
    /// What.
    pub batch: Box<Batch>,
    /// Whether it is done only when it is durable.
    pub sync: bool,
}

/// The disk of one node.
pub struct Disk {
    storage: Arc<MemoryStorage>,
    under_way: VecDeque<Write>,
    sync_us: RangeInclusive<u64>,
    /// The planted mistake: nothing is synced, whatever is said.
    is_lying: bool,
}

impl Disk {
    /// The empty disk of a validator that has signed nothing.
    pub fn new(sync_us: RangeInclusive<u64>, is_lying: bool) -> Disk {
        let storage = Arc::new(MemoryStorage::default());
        storage.initialize_signing_state().expect("a new disk has signed nothing");
        Disk { storage, under_way: VecDeque::new(), sync_us, is_lying }
    }

    /// What the replica reads.
    pub fn storage(&self) -> &Arc<MemoryStorage> {
        &self.storage
    }

    /// Takes a write. Returns when it will be done, if nothing is ahead of it.
    pub fn push(&mut self, write: Write, random: &mut Random) -> Option<u64> {
        self.under_way.push_back(write);
        (self.under_way.len() == 1).then(|| self.duration_us(random))
    }

    /// The write at the head is done. Returns it, and how long the one behind it takes.
    ///
    /// # Errors
    /// Never, as long as storage is in memory.
    pub fn complete(&mut self, random: &mut Random) -> Result<(Write, Option<u64>), StorageError> {
        let write = self.under_way.pop_front().expect("a write is under way");
        self.storage.apply(&write.batch, write.sync && !self.is_lying)?;
        let next_us = (!self.under_way.is_empty()).then(|| self.duration_us(random));
        Ok((write, next_us))
    }

    /// All that is under way is done.
    ///
    /// # Errors
    /// As [`Disk::complete`].
    pub fn complete_all(&mut self) -> Result<(), StorageError> {
        for write in self.under_way.drain(..) {
            self.storage.apply(&write.batch, write.sync && !self.is_lying)?;
        }
        Ok(())
    }

    /// Removes what need not be kept, as the journal does now and then.
    ///
    /// # Errors
    /// As [`Disk::complete`].
    pub fn prune(&self, retention: &Retention) -> Result<(), StorageError> {
        if !self.is_lying {
            self.storage.prune(retention)?;
        }
        Ok(())
    }

    /// The power fails: of what was not synced, and of what was under way, a prefix is there.
    ///
    /// # Errors
    /// As [`Disk::complete`].
    pub fn crash(&mut self, random: &mut Random) -> Result<(), StorageError> {
        let reached = random.range(0..=self.under_way.len() as u64) as usize;
        for write in self.under_way.drain(..).take(reached) {
            self.storage.apply(&write.batch, false)?;
        }
        let unsynced = self.storage.unsynced() as u64;
        let kept = if self.is_lying { 0 } else { random.range(0..=unsynced) };
        self.storage.crash(kept as usize);
        Ok(())
    }

    fn duration_us(&self, random: &mut Random) -> u64 {
        match self.under_way.front() {
            Some(write) if write.sync => random.range(self.sync_us.clone()),
            _ => random.range(10..=MS_US / 5),
        }
    }
}
