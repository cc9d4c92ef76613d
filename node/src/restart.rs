//! Starting the replica from storage: when the process starts, and again when a snapshot has taken the place of its state.

use crate::driver::{Driver, Inbox};
use crate::journal::Journal;
use crate::replica::log::Ticket;
use crate::replica::{Effect, Own, RecoveryError, Replica, ReplicaSettings, Stop};
use crate::storage::{Retention, Storage, StorageError};
use crate::waiters::Waiters;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::Now;
use farthing_core::genesis::Genesis;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Why a driver ended that was not told to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The replica cannot go on.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// No replica can be started from what storage holds.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// There is no thread to be had.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Failure {
        Failure::Stop(Stop::Storage(error))
    }
}

impl Failure {
    /// Whether stored data is damaged, so that it has to be fetched again.
    pub fn is_damage(&self) -> bool {
        match self {
            Failure::Stop(Stop::Storage(error)) => error.is_damage(),
            Failure::Recovery(error) => error.is_damage(),
            Failure::Stop(Stop::WrongState(_)) | Failure::Thread(_) => false,
        }
    }
}

/// All that a replica is started with but storage and time.
pub struct Starter {
    /// The genesis document; with its accounts until storage has a state.
    pub genesis: Arc<Genesis>,
    /// The committee.
    pub committee: Arc<Committee>,
    /// The validator to speak for.
    pub own: Option<Own>,
    /// The replica's settings.
    pub settings: ReplicaSettings,
    /// How much the journal keeps.
    pub retention: Retention,
    /// Where a journal says what it has done.
    pub done: mpsc::UnboundedSender<Result<Ticket, StorageError>>,
}

impl Starter {
    /// Starts a replica from what storage holds.
    ///
    /// # Errors
    /// As [`Replica::start`].
    pub fn start(
        &self,
        storage: &Arc<dyn Storage>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Replica, RecoveryError> {
        let Starter { genesis, committee, own, settings, .. } = self;
        Replica::start(genesis, committee.clone(), own.clone(), settings.clone(), storage.clone(), now, effects)
    }

    /// Starts a journal.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn journal(&self, storage: &Arc<dyn Storage>) -> std::io::Result<Journal> {
        Journal::start(storage.clone(), self.retention, self.done.clone())
    }

    /// Runs a driver until it is told to stop; each time a snapshot is staged, installs it and goes on from there.
    ///
    /// # Errors
    /// [`Failure`] if the node cannot go on.
    pub async fn run(self, mut driver: Driver, mut effects: Vec<Effect>) -> Result<(), Failure> {
        while let Some(staged) = driver.run(effects).await? {
            (driver, effects) = self.install(*staged)?;
        }
        Ok(())
    }

    /// Puts the staged snapshot in the place of the state, and a new replica in that of the old one.
    fn install(&self, driver: Driver) -> Result<(Driver, Vec<Effect>), Failure> {
        let Driver { replica, journal, mut inbox, storage, .. } = driver;
        let links = replica.into_links();
        // Ends once all it was given is written.
        drop(journal);
        discard_done(&mut inbox)?;
        let is_installed = storage.install()?;
        let mut effects = Vec::new();
        let mut replica = self.start(&storage, driver.clock.now(), &mut effects)?;
        replica.take_over(driver.clock.now(), links, &mut effects).map_err(Failure::Stop)?;
        if is_installed {
            tracing::info!(height = replica.newest_height(), "a snapshot of the state was installed");
        }
        let journal = self.journal(&storage)?;
        let driver = Driver {
            replica,
            journal,
            inbox,
            storage,
            // Nothing is known any more of the transactions that they wait for: they are told so.
            waiters: Waiters::default(),
            timer: Driver::no_timer(),
            ..driver
        };
        Ok((driver, effects))
    }
}

/// Nobody waits for what the old journal did, unless it failed.
fn discard_done(inbox: &mut Inbox) -> Result<(), StorageError> {
    while let Ok(done) = inbox.done.try_recv() {
        done?;
    }
    Ok(())
}
