//! A disk behind a journal as the real one: groups of writes share a sync; a write can be read before it is durable, and is
//! done only after.
//!
//! # What a power failure leaves
//! A **prefix** of what was not synced, in the order of writing. That is what RocksDB gives: every batch is one record of the
//! write-ahead log, records are appended in order and carry checksums, and recovery stops at the first that is torn or missing
//! (`TolerateCorruptedTailRecords`), whatever may lie behind it. So a batch is there whole or not at all, and never without those
//! before it, although the file system may write the pages of the log in any order.
//!
//! A disk that keeps an arbitrary **subset** of batches would break that promise of the log. Our batches lean on it: a commit's
//! vertices may stand in an earlier batch than the commit, a block's commit does. The safety of the network does not lean on it,
//! since nothing is sent or said before all that is ahead of it is durable; only whether such a database can be opened does. With
//! [`Disk::tears`] a power failure keeps a subset, to show just that: the node starts, or refuses to, and never contradicts
//! itself.

use super::plan::MS_US;
use super::random::{MILLION, Random};
use farthing_node::replica::log::Ticket;
use farthing_node::storage::memory::MemoryStorage;
use farthing_node::storage::{Batch, Retention, Storage, StorageError};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Writes of one group at most, as in the journal.
const GROUP_MAX: usize = 64;

/// One write under way.
pub struct Write {
    /// Its number.
    pub ticket: Ticket,
    /// What.
    pub batch: Box<Batch>,
    /// Whether it is done only when it is durable.
    pub sync: bool,
}

/// What a mistaken journal does. For tests of the checker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// It says that writes are synced which are lost with the power.
    LosesSyncedWrites,
    /// It says that a write is done as soon as it can be read; it is synced, but later.
    DoneBeforeSynced,
}

/// The disk of one node.
pub struct Disk {
    storage: Arc<MemoryStorage>,
    waiting: VecDeque<Write>,
    group: Group,
    sync_us: RangeInclusive<u64>,
    mistake: Option<Mistake>,
    /// Whether power failures leave a subset of what was not synced, and not a prefix.
    pub tears: bool,
}

/// The writes that share a sync.
#[derive(Default)]
enum Group {
    /// There is none.
    #[default]
    Idle,
    /// They are on their way to where they can be read.
    Writing,
    /// They can be read, and are being synced; those behind the last one to be synced are not written yet.
    Syncing { tickets: Vec<Ticket>, unwritten: Vec<Write> },
}

/// What happened when the journal went on.
pub struct Progress {
    /// Writes that are done, in order.
    pub done: Vec<Ticket>,
    /// After how long it goes on again.
    pub next_us: Option<u64>,
}

impl Disk {
    /// The empty disk of a validator that has signed nothing.
    pub fn new(sync_us: RangeInclusive<u64>, mistake: Option<Mistake>) -> Disk {
        let storage = Arc::new(MemoryStorage::default());
        storage.initialize_signing_state().expect("a new disk has signed nothing");
        Disk { storage, waiting: VecDeque::new(), group: Group::Idle, sync_us, mistake, tears: false }
    }

    /// A disk takes the place of this one: with this on it, or with nothing, not even a signing state.
    pub fn replace(&mut self, storage: Option<MemoryStorage>) {
        self.storage = Arc::new(storage.unwrap_or_default());
        self.waiting.clear();
        self.group = Group::Idle;
    }

    /// What the replica reads.
    pub fn storage(&self) -> &Arc<MemoryStorage> {
        &self.storage
    }

    /// How many writes are not done.
    pub fn under_way(&self) -> usize {
        let in_group = match &self.group {
            Group::Idle | Group::Writing => 0,
            Group::Syncing { tickets, unwritten } => tickets.len() + unwritten.len(),
        };
        self.waiting.len() + in_group
    }

    /// Takes a write. Returns when the journal will have written it, if nothing is ahead of it.
    pub fn push(&mut self, write: Write, random: &mut Random) -> Option<u64> {
        self.waiting.push_back(write);
        matches!(self.group, Group::Idle).then(|| self.begin(random))
    }

    /// The journal goes on: writes a group, or has synced one.
    ///
    /// # Errors
    /// Never, as long as storage is in memory.
    pub fn proceed(&mut self, random: &mut Random) -> Result<Progress, StorageError> {
        match std::mem::take(&mut self.group) {
            Group::Idle => Ok(Progress { done: Vec::new(), next_us: None }),
            Group::Writing => self.write_group(random),
            Group::Syncing { tickets, unwritten } => {
                if self.mistake != Some(Mistake::LosesSyncedWrites) {
                    self.storage.apply(&Batch::default(), true)?;
                }
                let mut done = if self.mistake.is_none() { tickets } else { Vec::new() };
                for write in &unwritten {
                    self.storage.apply(&write.batch, false)?;
                    done.push(write.ticket);
                }
                Ok(Progress { done, next_us: self.next(random) })
            }
        }
    }

    /// Does all that is under way at once, before something is done that must come after it.
    ///
    /// # Errors
    /// As [`Disk::proceed`].
    pub fn complete_all(&mut self) -> Result<(), StorageError> {
        if let Group::Syncing { unwritten, .. } = std::mem::take(&mut self.group) {
            unwritten.iter().try_for_each(|write| self.storage.apply(&write.batch, false))?;
        }
        for write in self.waiting.drain(..) {
            self.storage.apply(&write.batch, false)?;
        }
        self.storage.apply(&Batch::default(), self.mistake.is_none())
    }

    /// Whether the journal is syncing right now.
    pub fn is_syncing(&self) -> bool {
        matches!(self.group, Group::Syncing { .. })
    }

    /// Removes what need not be kept, as the journal does now and then.
    ///
    /// # Errors
    /// As [`Disk::proceed`].
    pub fn prune(&self, retention: &Retention) -> Result<(), StorageError> {
        // Pruning makes everything durable, which a journal with a mistake must not.
        if self.mistake.is_none() && !self.is_syncing() {
            self.storage.prune(retention)?;
        }
        Ok(())
    }

    /// The power fails: what waited is gone; of what was written and not synced, a prefix is there.
    ///
    /// # Errors
    /// As [`Disk::proceed`].
    pub fn crash(&mut self, random: &mut Random) -> Result<(), StorageError> {
        // The journal may have got some way with what it was about to write.
        let writing = match std::mem::take(&mut self.group) {
            Group::Idle => Vec::new(),
            Group::Writing => self.waiting.drain(..).collect(),
            Group::Syncing { unwritten, .. } => unwritten,
        };
        self.waiting.clear();
        let reached = random.range(0..=writing.len() as u64) as usize;
        for write in writing.iter().take(reached) {
            self.storage.apply(&write.batch, false)?;
        }
        if self.tears {
            self.storage.crash_keeping(|| random.chance(MILLION / 2));
            return Ok(());
        }
        let unsynced = self.storage.unsynced() as u64;
        let kept = if self.mistake.is_some() { 0 } else { random.range(0..=unsynced) };
        self.storage.crash(kept as usize);
        Ok(())
    }

    fn write_group(&mut self, random: &mut Random) -> Result<Progress, StorageError> {
        let count = self.waiting.len().min(GROUP_MAX);
        // Some more may have come while the journal was at it.
        let count = if random.chance(MILLION / 2) { count } else { random.range(1..=count as u64) as usize };
        let mut group: Vec<Write> = self.waiting.drain(..count).collect();
        let first_synced = group.iter().position(|write| write.sync).unwrap_or(group.len());
        let unwritten = group.iter().rposition(|write| write.sync).map_or(group.len(), |last| last + 1);
        let unwritten = group.split_off(unwritten);
        for write in &group {
            self.storage.apply(&write.batch, false)?;
        }
        let tickets: Vec<Ticket> = group.iter().map(|write| write.ticket).collect();
        let done = if self.mistake.is_some() { tickets.clone() } else { tickets[..first_synced].to_vec() };
        if first_synced == group.len() {
            return Ok(Progress { done, next_us: self.next(random) });
        }
        self.group = Group::Syncing { tickets: tickets[first_synced..].to_vec(), unwritten };
        Ok(Progress { done, next_us: Some(random.range(self.sync_us.clone())) })
    }

    fn next(&mut self, random: &mut Random) -> Option<u64> {
        (!self.waiting.is_empty()).then(|| self.begin(random))
    }

    fn begin(&mut self, random: &mut Random) -> u64 {
        self.group = Group::Writing;
        random.range(10..=MS_US / 5)
    }
}
