//! The driver: the only owner of a replica, and the only place where it meets sockets, disk and clocks.
//!
//! It runs on a thread of its own, so that executing a large commit never holds up network tasks. Everything that happens to the
//! node arrives here as one event after another.

use crate::handle::{AccountState, Command, RefuseReason, Snapshot, Submitted, Wait};
use crate::intake::IntakeMeter;
use crate::journal::{Journal, Write};
use crate::metrics::Metrics;
use crate::network::{Network, NetworkEvent};
use crate::replica::log::Ticket;
use crate::replica::{Admission, Effect, Event, Replica, Stop};
use crate::responder::{Job, Responder};
use crate::storage::{IndexedTransaction, Stage, Storage, StorageError};
use crate::verifier::{Outcome, Verifier};
use crate::waiters::{Settlement, Waiters};
use farthing_consensus::engine::Now;
use farthing_core::transaction::{TransactionId, VerifiedTransaction};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How far ahead the timer is set if the engine wants none.
const NO_TIMER: Duration = Duration::from_secs(3_600);

/// The clocks of a process.
#[derive(Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Clocks that start now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ms: self.start.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }

    fn instant(&self, monotonic_ms: u64) -> Instant {
        self.start + Duration::from_millis(monotonic_ms)
    }
}

/// Everything around a replica.
pub struct Driver {
    pub(crate) replica: Replica,
    pub(crate) clock: Clock,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) journal: Journal,
    pub(crate) verifier: Verifier,
    pub(crate) network: Network,
    pub(crate) responder: Responder,
    pub(crate) metrics: Metrics,
    pub(crate) intake: IntakeMeter,
    pub(crate) waiters: Waiters,
    /// The height of the newest block that is stored.
    pub(crate) blocks: watch::Sender<u64>,
    /// The height up to which all blocks are certified, and their certificates stored.
    pub(crate) certified: watch::Sender<u64>,
    pub(crate) timer: Instant,
    pub(crate) inbox: Inbox,
}

/// Where events come from.
pub struct Inbox {
    pub(crate) done: mpsc::UnboundedReceiver<Result<Ticket, StorageError>>,
    pub(crate) verified: mpsc::UnboundedReceiver<Outcome>,
    pub(crate) network: mpsc::Receiver<NetworkEvent>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) stop: CancellationToken,
}

/// One thing that happened.
enum Incoming {
    Done(Result<Ticket, StorageError>),
    Verified(Outcome),
    Network(NetworkEvent),
    Command(Command),
    Timer,
    Stop,
}

/// How the doing of effects ended.
#[derive(PartialEq, Eq)]
enum Applied {
    All,
    /// The replica has to be started anew.
    SnapshotStaged,
}

impl Driver {
    /// A timer that has not been set.
    pub fn no_timer() -> Instant {
        Instant::now() + NO_TIMER
    }

    /// Works until it is told to stop, or until a snapshot is staged: then the driver itself comes back. `effects` are those of
    /// the replica's start.
    ///
    /// # Errors
    /// [`Stop`] if the node cannot go on.
    pub async fn run(mut self, mut effects: Vec<Effect>) -> Result<Option<Box<Driver>>, Stop> {
        loop {
            if self.apply(effects).await == Applied::SnapshotStaged {
                return Ok(Some(Box::new(self)));
            }
            effects = match self.inbox.next(self.timer).await {
                Incoming::Stop => return Ok(None),
                Incoming::Done(Err(error)) => return Err(error.into()),
                Incoming::Done(Ok(ticket)) => self.step(Event::Persisted(ticket))?,
                Incoming::Verified(Outcome::Payload(vertex, verdict)) => {
                    self.step(Event::Verdict { vertex, verdict })?
                }
                Incoming::Verified(Outcome::Forwarded(from, checked)) => {
                    self.step(Event::Forwarded { from, checked })?
                }
                Incoming::Timer => {
                    self.timer = Driver::no_timer();
                    self.step(Event::Timer)?
                }
                Incoming::Network(NetworkEvent::Connected(peer)) => self.step(Event::Connected(peer))?,
                Incoming::Network(NetworkEvent::Disconnected(peer)) => self.step(Event::Disconnected(peer))?,
                Incoming::Network(NetworkEvent::Message { from, message }) => {
                    self.step(Event::Message { from, message })?
                }
                Incoming::Network(NetworkEvent::Listening(address)) => {
                    tracing::info!(%address, "listening for validators");
                    Vec::new()
                }
                Incoming::Command(command) => self.command(command)?,
            };
        }
    }

    fn step(&mut self, event: Event) -> Result<Vec<Effect>, Stop> {
        let mut effects = Vec::new();
        self.replica.step(self.clock.now(), event, &mut effects)?;
        Ok(effects)
    }

    /// Does what the replica wants, in order.
    async fn apply(&mut self, effects: Vec<Effect>) -> Applied {
        for effect in effects {
            match effect {
                Effect::Persist { ticket, batch, sync } => {
                    if let Some(Stage::Begin(manifest)) = &batch.stage {
                        let (height, chunks) = (manifest.parent.height, manifest.tops.len());
                        tracing::info!(height, chunks, "peers keep too little: a snapshot of the state is fetched");
                    }
                    self.journal.write(Write { ticket, batch, sync }).await;
                }
                Effect::Send { to, message } => self.network.send(to, message),
                Effect::Answer { to, request, unsynced } => self.responder.answer(Job { to, request, unsynced }),
                Effect::Disconnect { peer, reason } => self.network.disconnect(peer, reason),
                Effect::Verify(vertex) => self.verifier.check_vertex(vertex),
                Effect::CheckForwarded { from, transactions } => self.verifier.check_forwarded(from, transactions),
                Effect::SetTimer { at_ms } => self.timer = self.clock.instant(at_ms),
                Effect::Settled(settled) => {
                    self.metrics.settled(&settled, self.clock.now().wall_ms);
                    self.progress();
                    for author in &settled.void_authors {
                        tracing::warn!(author, "a validator proposed a void payload");
                    }
                    self.waiters.settle(&settled, self.replica.certified_height());
                    if let Some(block) = &settled.block {
                        self.blocks.send_replace(block.header.height);
                    }
                }
                Effect::CertifiedUpTo(height) => {
                    self.waiters.certified_up_to(height);
                    self.certified.send_replace(height);
                }
                Effect::InstallSnapshot => return Applied::SnapshotStaged,
            }
        }
        Applied::All
    }

    /// Tells how far the replica is.
    fn progress(&mut self) {
        let progress = self.replica.progress();
        self.metrics.progress(&progress);
        let now = Duration::from_millis(self.clock.now().monotonic_ms);
        self.intake.tell(now, progress.mempool_transactions, progress.mempool_removed);
    }

    fn command(&mut self, command: Command) -> Result<Vec<Effect>, Stop> {
        // Whoever asked may have gone; then nobody misses the answer.
        match command {
            Command::Submit { transactions, wait, reply } => return self.submit(transactions, wait, reply),
            Command::Account(address, reply) => {
                let ledger = self.replica.ledger();
                let _ = reply.send(Snapshot::of(ledger, AccountState::of(ledger, &address)));
            }
            Command::Holds(ids, reply) => {
                let ledger = self.replica.ledger();
                let holds = ids.iter().map(|id| ledger.hold(id).cloned()).collect();
                let _ = reply.send(Snapshot::of(ledger, holds));
            }
            Command::Prove(of, reply) => {
                let _ = reply.send(of.prove(self.replica.ledger()));
            }
            Command::IsPending(id, reply) => {
                let _ = reply.send(self.replica.is_pending(&id));
            }
            Command::Status(reply) => {
                let _ = reply.send(self.replica.status());
            }
        }
        Ok(Vec::new())
    }

    fn submit(
        &mut self,
        transactions: Vec<VerifiedTransaction>,
        wait: Wait,
        reply: oneshot::Sender<Vec<Submitted>>,
    ) -> Result<Vec<Effect>, Stop> {
        let ids: Vec<_> = transactions.iter().map(VerifiedTransaction::id).collect();
        let mut effects = Vec::new();
        if !self.replica.takes_transactions() {
            let refused = ids.iter().map(|_| Submitted::Refused(RefuseReason::NotReady)).collect();
            let _ = reply.send(refused);
            return Ok(effects);
        }
        let admissions = self.replica.submit(self.clock.now(), transactions, &mut effects)?;
        let submitted = ids
            .into_iter()
            .zip(admissions)
            .map(|(id, admission)| self.submitted(id, admission, wait))
            .collect::<Result<_, StorageError>>()?;
        self.progress();
        let _ = reply.send(submitted);
        Ok(effects)
    }

    fn submitted(&mut self, id: TransactionId, admission: Admission, wait: Wait) -> Result<Submitted, StorageError> {
        if let Err(reason) = Result::<(), RefuseReason>::from(admission) {
            return Ok(Submitted::Refused(reason));
        }
        let (reply, settlement) = oneshot::channel();
        match (admission, wait) {
            (Admission::InBlock, _) => self.settled_before(id, wait, reply)?,
            (_, Wait::Accepted) => return Ok(Submitted::Pending(None)),
            (_, Wait::Final | Wait::Certified) => self.waiters.wait(id, wait == Wait::Certified, reply),
        }
        Ok(Submitted::Pending(Some(settlement)))
    }

    /// Answers for a transaction that is in a stored block.
    fn settled_before(
        &mut self,
        id: TransactionId,
        wait: Wait,
        reply: oneshot::Sender<Settlement>,
    ) -> Result<(), StorageError> {
        let Some(IndexedTransaction { position, code }) = self.storage.transaction(&id)? else { return Ok(()) };
        let height = position.height;
        let Some(header) = self.storage.header(height)? else { return Ok(()) };
        let certified = height <= self.replica.certified_height();
        let block_hash = header.hash();
        let settlement = Settlement::InBlock { position, code, header: Arc::new(header), block_hash, certified };
        if wait == Wait::Certified && !certified {
            self.waiters.wait_certified(height, settlement, reply);
        } else {
            let _ = reply.send(settlement);
        }
        Ok(())
    }
}

impl Inbox {
    /// The next thing that happens. What finishes work comes before what brings new work, submissions last.
    async fn next(&mut self, timer: Instant) -> Incoming {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Incoming::Stop,
            done = self.done.recv() => Incoming::Done(done.expect("the journal lives as long as the driver")),
            outcome = self.verified.recv() => {
                Incoming::Verified(outcome.expect("the verifier lives as long as the driver"))
            }
            () = tokio::time::sleep_until(timer) => Incoming::Timer,
            Some(event) = self.network.recv() => Incoming::Network(event),
            Some(command) = self.commands.recv() => Incoming::Command(command),
            else => Incoming::Stop,
        }
    }
}
