//! The thread that writes to storage: in order, many writes under one sync, and nothing after a failure.

use crate::replica::log::Ticket;
use crate::storage::{Batch, Retention, Storage, StorageError};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Writes that may wait. The driver waits for room, without holding up anything that the journal waits for.
const WRITES_MAX: usize = 256;

/// Writes that are done under one sync at most.
const GROUP_MAX: usize = 64;

/// How often old data is removed.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

/// One write.
pub struct Write {
    /// Its number.
    pub ticket: Ticket,
    /// What.
    pub batch: Box<Batch>,
    /// Whether it is done only when it is durable.
    pub sync: bool,
}

/// The way in, and the thread. Dropping it lets the thread finish what waits, and joins it.
pub struct Journal {
    writes: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Starts the thread. `done` hears of each write that is done (which means that all before it are), or of the failure after
    /// which nothing is written any more. It never has more to hear than writes that wait.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(
        storage: Arc<dyn Storage>,
        retention: Retention,
        done: mpsc::UnboundedSender<Result<Ticket, StorageError>>,
    ) -> std::io::Result<Journal> {
        let (writes, writes_in) = mpsc::channel(WRITES_MAX);
        let worker = Worker { storage, retention, done, pruned: Instant::now() };
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || worker.run(writes_in))?;
        Ok(Journal { writes: Some(writes), thread: Some(thread) })
    }

    /// Queues a write, waiting for room. If the journal has stopped after a failure, nothing happens: the failure was told.
    pub async fn write(&self, write: Write) {
        let writes = self.writes.as_ref().expect("only dropping takes it");
        let _ = writes.send(write).await;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    storage: Arc<dyn Storage>,
    retention: Retention,
    done: mpsc::UnboundedSender<Result<Ticket, StorageError>>,
    pruned: Instant,
}

impl Worker {
    fn run(mut self, mut writes: mpsc::Receiver<Write>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while writes.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            let written = self.write_group(&group).and_then(|()| self.prune());
            group.clear();
            if let Err(error) = written {
                let _ = self.done.send(Err(error));
                return;
            }
        }
    }

    /// Writes in order. Every write up to the last one to be synced shares that one's sync, except those before the first one to
    /// be synced, which need not wait for it.
    fn write_group(&self, group: &[Write]) -> Result<(), StorageError> {
        let first_synced = group.iter().position(|write| write.sync).unwrap_or(group.len());
        let last_synced = group.iter().rposition(|write| write.sync);
        for (place, write) in group.iter().enumerate() {
            self.storage.apply(&write.batch, last_synced == Some(place))?;
            let waits_for_sync = place >= first_synced && last_synced.is_some_and(|last| place < last);
            if !waits_for_sync {
                // If nobody listens any more the node is stopping.
                let _ = self.done.send(Ok(write.ticket));
            }
        }
        Ok(())
    }

    fn prune(&mut self) -> Result<(), StorageError> {
        if self.pruned.elapsed() >= PRUNE_EVERY {
            self.storage.prune(&self.retention)?;
            self.pruned = Instant::now();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
