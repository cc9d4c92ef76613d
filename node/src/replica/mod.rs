//! A replica: engine, mempool, executor and certifier as one synchronous machine over a storage trait.
//!
//! It is driven by [`Event`]s and time and answers with [`Effect`]s; it never waits, starts nothing and reads no clock. The driver
//! runs it in production, the simulator in tests, both the same code.
//!
//! What must be durable first is held back in one ordered log ([`log::OutputLog`]): a vertex is sent, a commit executed and a
//! client answered only when storage reported every write ahead of it as done. Writes that others rely on are synced: own
//! vertices and commits. A block's write is not synced by itself: it follows from its commit, and the next own vertex, which
//! is the first to attest it, is written after it and synced.

mod forwarding;
pub mod log;
mod recovery;
pub mod serve;
mod snapshot;
mod status;

pub use recovery::{RecoveryError, Replayed, ReplicaSettings};
pub use snapshot::Links;
pub use status::{Backlog, Progress, ReplicaStatus};

use crate::certifier::{Certified, Certifier, WrongState};
use crate::executor::{Executed, Executor, Verdict};
use crate::id_map::IdSet;
use crate::mempool::{Full, Mempool};
use crate::network::{Inbound, Outbound, Peer};
use crate::snapshot::fetch::Fetch;
use crate::storage::{Batch, Storage, StorageError};
use crate::verifier::Checked;
use bytes::Bytes;
use farthing_consensus::commit::CommittedVertices;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Engine, Input, Now, Output};
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{Author, VerifiedVertex, VertexRef};
use farthing_core::block::{BlockHeader, DropReason, Refusal, ResultCode};
use farthing_core::certificate::Attestation;
use farthing_core::codec;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{SignedTransaction, Transaction, TransactionId, VerifiedTransaction};
use forwarding::Forwarder;
use log::{OutputLog, Ticket};
use serve::{Request, Unsynced};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The validator that a replica speaks for.
#[derive(Clone)]
pub struct Own {
    /// Its number.
    pub author: Author,
    /// Its key.
    pub key: SecretKey,
}

/// What happens to a replica.
#[derive(Debug)]
pub enum Event {
    /// The time asked for with [`Effect::SetTimer`] has come.
    Timer,
    /// A connection stands.
    Connected(Peer),
    /// A connection is gone.
    Disconnected(Peer),
    /// A peer said something.
    Message {
        /// Who.
        from: Peer,
        /// What, decoded and with its vertices verified.
        message: Inbound,
    },
    /// Verification of a payload ended.
    Verdict {
        /// The vertex.
        vertex: VertexRef,
        /// The verdict.
        verdict: Verdict,
    },
    /// Signatures of transactions that a full node forwarded were checked.
    Forwarded {
        /// The full node.
        from: Peer,
        /// The transactions, in order.
        checked: Checked,
    },
    /// The write with this ticket is done (and durable, if it was to be synced), and so are all before it.
    Persisted(Ticket),
}

/// What a replica wants done. The driver does these at once and in order.
#[derive(Debug)]
pub enum Effect {
    /// Write atomically, in the order of tickets; then say [`Event::Persisted`].
    Persist {
        /// The number of the write.
        ticket: Ticket,
        /// What to write.
        batch: Box<Batch>,
        /// Whether it must be durable before it counts as done.
        sync: bool,
    },
    /// Send to a peer.
    Send {
        /// To whom.
        to: Peer,
        /// What.
        message: Outbound,
    },
    /// Answer a peer's request from storage, now or soon: [`serve::answer`].
    Answer {
        /// Whom.
        to: Peer,
        /// What it asked.
        request: Request,
        /// What must not be answered.
        unsynced: Option<Unsynced>,
    },
    /// Drop a peer that broke the protocol.
    Disconnect {
        /// Whom.
        peer: Peer,
        /// Why, for the log and the metrics.
        reason: &'static str,
    },
    /// Check the transactions of this vertex; then say [`Event::Verdict`].
    Verify(VerifiedVertex),
    /// Check the signatures of these transactions; then say [`Event::Forwarded`].
    CheckForwarded {
        /// The full node that forwarded them.
        from: Peer,
        /// The transactions.
        transactions: Vec<SignedTransaction>,
    },
    /// Say [`Event::Timer`] at this monotonic time in milliseconds. Replaces the time asked for before.
    SetTimer {
        /// When.
        at_ms: u64,
    },
    /// Transactions whose fate is known.
    Settled(Settled),
    /// All blocks up to this height are certified.
    CertifiedUpTo(u64),
    /// A snapshot is staged: end this replica ([`Replica::into_links`]), wait for its writes, [`Storage::install`] the snapshot,
    /// start another one from storage, and have it take over ([`Replica::take_over`]). Nothing that comes after this in the same
    /// step matters.
    InstallSnapshot,
}

/// Transactions whose fate is known, after the execution of one commit or at the end of their validity.
#[derive(Debug, Default)]
pub struct Settled {
    /// The block, if there is one, with its transactions in order.
    pub block: Option<SettledBlock>,
    /// What was left out.
    pub dropped: Vec<(TransactionId, DropReason)>,
    /// What had to leave a full mempool for others.
    pub evicted: Vec<TransactionId>,
    /// Authors whose payload was void.
    pub void_authors: Vec<Author>,
}

/// A block that can be read from storage from now on.
#[derive(Debug)]
pub struct SettledBlock {
    /// The header.
    pub header: BlockHeader,
    /// The hash.
    pub hash: Digest,
    /// The transactions with their results, in order.
    pub results: Vec<(TransactionId, ResultCode)>,
}

/// What the mempool says to a submitted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is in the mempool, or in a block that is just being written: wait for it to be settled.
    Pending,
    /// It is in a block already: look it up by its id.
    InBlock,
    /// It would be left out of any block at this time.
    Dropped(DropReason),
    /// The same, but perhaps because it is in a block already: the index of ids does not reach back over the time in which it was
    /// valid, since this node started from a snapshot.
    Unknown,
    /// The ledger would leave it out now, but not from a time on.
    Later {
        /// Why not now.
        reason: DropReason,
        /// From when on, in milliseconds since the Unix epoch.
        passes_at_ms: u64,
    },
    /// There is no room.
    Full(Full),
}

/// Why a replica cannot go on: the process must stop.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The state is not that of the network.
    #[error(transparent)]
    WrongState(#[from] WrongState),
}

/// The replica.
pub struct Replica {
    committee: Arc<Committee>,
    own: Option<Own>,
    engine: Engine,
    executor: Executor,
    mempool: Mempool,
    certifier: Certifier,
    storage: Arc<dyn Storage>,
    log: OutputLog<Held>,
    inputs: VecDeque<Input>,
    /// Validators with a connection.
    connected: BTreeSet<Author>,
    followers: BTreeSet<Peer>,
    subscribers: BTreeSet<Peer>,
    /// The payload given to the engine last, with its transactions, which need no second check.
    proposal: Option<(Bytes, Vec<VerifiedTransaction>)>,
    /// Transactions executed in blocks whose write is not done yet. Looked up only.
    being_written: IdSet<TransactionId>,
    /// On a full node: transactions under way to validators.
    forwarder: Forwarder,
    /// What the engine was told about the mempool.
    told_waiting: bool,
    /// The last own vertex that is known to be durable. Nothing of a later one may leave, though storage may show it already.
    last_broadcast: Option<VertexRef>,
    /// All blocks up to this height are certified, by certificates that are written.
    certified_height: u64,
    evidence_count: u64,
    /// The state root computed last, and after which commit.
    state_root: Option<(u64, Digest)>,
    /// The commit time from which on the index of ids is complete.
    indexed_from_ms: u64,
    /// What the start executed again.
    replayed: Replayed,
    /// The snapshot that is being fetched, because this node is behind what its peers keep.
    fetch: Option<Fetch>,
    chunk_level: u32,
    /// When the engine wants to be woken, and when the driver was asked to.
    engine_timer_ms: Option<u64>,
    timer_ms: Option<u64>,
}

/// An output that waits for writes.
#[derive(Debug)]
enum Held {
    Broadcast(VerifiedVertex),
    Send(Author, Message),
    Commit(CommittedVertices),
    Settled(Settled),
    CertifiedUpTo(u64),
    Install,
}

impl Replica {
    /// Takes in one event.
    ///
    /// # Errors
    /// [`Stop`]: the process must end, nothing that was asked for after the failure may be done.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) -> Result<(), Stop> {
        match event {
            Event::Timer => {
                self.timer_ms = None;
                self.engine_timer_ms.take_if(|at_ms| *at_ms <= now.monotonic_ms);
                self.inputs.push_back(Input::Timer);
            }
            Event::Connected(peer) => self.connected(peer),
            Event::Disconnected(peer) => self.disconnected(peer),
            Event::Message { from: Peer::Validator(from), message: Inbound::Snapshot(answer) }
                if answer.is_answer() =>
            {
                self.snapshot_answer(now, from, answer, effects);
            }
            Event::Message { from, message } => self.message(now, from, message, effects)?,
            Event::Forwarded { from, checked } => self.admit_forwarded(from, checked, effects)?,
            Event::Verdict { vertex, verdict } => self.executor.verdict(&vertex, verdict),
            Event::Persisted(ticket) => self.log.done(ticket),
        }
        self.run(now, effects)
    }

    /// Offers transactions to the mempool. The answers stand in the same order.
    ///
    /// # Errors
    /// As [`Replica::step`].
    pub fn submit(
        &mut self,
        now: Now,
        transactions: Vec<VerifiedTransaction>,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Admission>, Stop> {
        let admissions =
            transactions.into_iter().map(|transaction| self.admit(transaction)).collect::<Result<_, StorageError>>()?;
        self.run(now, effects)?;
        Ok(admissions)
    }

    /// Whether a transaction is in the mempool or in a block that is being written.
    pub fn is_pending(&self, id: &TransactionId) -> bool {
        self.mempool.contains(id) || self.being_written.contains(id)
    }

    /// The ledger, for questions about accounts.
    pub fn ledger(&mut self) -> &mut farthing_core::execution::Ledger {
        self.executor.ledger_mut()
    }

    /// The newest block executed.
    pub fn newest_height(&self) -> u64 {
        self.executor.ledger().newest().height
    }

    /// What the start executed again, because the state on disk was older.
    pub fn replayed(&self) -> Replayed {
        self.replayed
    }

    /// Whether transactions can be submitted here now: to be proposed, or on a full node to be forwarded.
    pub fn takes_transactions(&self) -> bool {
        self.is_ready()
    }

    /// The highest block with a quorum's attestations that can be read from storage.
    pub fn certified_height(&self) -> u64 {
        self.certified_height
    }

    /// Works until nothing is left to do before the next event.
    fn run(&mut self, now: Now, effects: &mut Vec<Effect>) -> Result<(), Stop> {
        // Each round takes an input or releases an output; both are finitely many, and only the engine makes new ones.
        loop {
            self.forward(now.monotonic_ms, effects);
            if self.own.is_some() && self.told_waiting != self.mempool.has_waiting() {
                self.told_waiting = self.mempool.has_waiting();
                self.inputs.push_back(Input::PayloadWaiting(self.told_waiting));
            }
            if let Some(input) = self.inputs.pop_front() {
                self.engine_step(now, input, effects)?;
            } else if let Some(held) = self.log.pop() {
                self.release(held, effects);
            } else if let Some(executed) = self.executor.execute_next() {
                self.executed(executed, effects)?;
            } else {
                self.poll_fetch(now, effects);
                self.set_timer(now, effects);
                return Ok(());
            }
        }
    }

    fn engine_step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) -> Result<(), Stop> {
        let mut outputs = Vec::new();
        self.engine.step(now, input, &mut outputs);
        self.engine_outputs(outputs, effects)
    }

    fn engine_outputs(&mut self, outputs: Vec<Output>, effects: &mut Vec<Effect>) -> Result<(), Stop> {
        for output in outputs {
            match output {
                Output::Persist { vertices, commits, last_signed } => {
                    let batch = Batch { vertices, commits, last_signed, ..Batch::default() };
                    self.persist(batch, true, effects);
                }
                Output::Broadcast(vertex) => self.log.push(Held::Broadcast(vertex)),
                Output::Send { to, message } => self.log.push(Held::Send(to, message)),
                Output::RequestPayload { bytes_max } => self.propose(bytes_max),
                Output::SetTimer { at_ms } => self.engine_timer_ms = Some(at_ms),
                Output::Commit(commit) => self.log.push(Held::Commit(commit)),
                Output::Accepted(vertex) => self.accepted(vertex, effects)?,
                Output::Uncommitted(vertices) => self.uncommitted(&vertices),
                Output::BehindRetention { .. } => self.begin_fetch()?,
                Output::Evidence(pair) => {
                    self.evidence_count += 1;
                    let header = &pair.0.header;
                    let evidence = vec![(header.round, header.author, codec::encode(&*pair))];
                    self.persist(Batch { evidence, ..Batch::default() }, false, effects);
                }
            }
        }
        Ok(())
    }

    fn persist(&mut self, batch: Batch, sync: bool, effects: &mut Vec<Effect>) {
        let ticket = self.log.barrier();
        effects.push(Effect::Persist { ticket, batch: Box::new(batch), sync });
    }

    fn release(&mut self, held: Held, effects: &mut Vec<Effect>) {
        match held {
            Held::Broadcast(vertex) => {
                self.last_broadcast = Some(vertex.reference());
                for peer in &self.subscribers {
                    effects.push(Effect::Send { to: *peer, message: Outbound::Vertex(vertex.clone()) });
                }
            }
            Held::Send(to, message) => {
                effects.push(Effect::Send { to: Peer::Validator(to), message: Outbound::Message(message) });
            }
            Held::Commit(commit) => {
                for vertex in &commit.vertices {
                    self.want_verdict(vertex, effects);
                }
                self.executor.enqueue(commit);
            }
            Held::Settled(settled) => {
                for (id, _) in settled.block.iter().flat_map(|block| &block.results) {
                    self.being_written.remove(id);
                }
                effects.push(Effect::Settled(settled));
            }
            Held::CertifiedUpTo(height) => {
                self.certified_height = height;
                effects.push(Effect::CertifiedUpTo(height));
            }
            Held::Install => effects.push(Effect::InstallSnapshot),
        }
    }

    /// Answers the engine's wish for a payload, as its very next input.
    fn propose(&mut self, bytes_max: usize) {
        let ledger = self.executor.ledger();
        let now_ms = ledger.timestamp_ms();
        let proposal = self.mempool.take(bytes_max, |transaction| {
            ledger.check(transaction.transaction(), now_ms).map(drop).map_err(|refusal| refusal.reason)
        });
        if !proposal.refused.is_empty() {
            // Those that are in a block by now were settled with it.
            self.log.push(Held::Settled(Settled { dropped: proposal.refused, ..Settled::default() }));
        }
        self.proposal = Some((proposal.payload.clone(), proposal.transactions));
        self.inputs.push_front(Input::Payload(proposal.payload));
    }

    fn accepted(&mut self, vertex: VerifiedVertex, effects: &mut Vec<Effect>) -> Result<(), Stop> {
        let is_own = self.own.as_ref().is_some_and(|own| own.author == vertex.author());
        if is_own
            && !vertex.payload().is_empty()
            && let Some((_, transactions)) = self.proposal.take_if(|(payload, _)| payload == vertex.payload())
        {
            self.executor.want_verdict(vertex.reference());
            self.executor.verdict(&vertex.reference(), Verdict::Valid(transactions));
        }
        self.want_verdict(&vertex, effects);
        for attestation in &vertex.header().attestations {
            let certified = self.certifier.attested(vertex.author(), attestation)?;
            self.certified(certified, effects);
        }
        Ok(())
    }

    fn want_verdict(&mut self, vertex: &VerifiedVertex, effects: &mut Vec<Effect>) {
        if !vertex.payload().is_empty() && self.executor.want_verdict(vertex.reference()) {
            effects.push(Effect::Verify(vertex.clone()));
        }
    }

    fn certified(&mut self, certified: Option<Certified>, effects: &mut Vec<Effect>) {
        let Some(certified) = certified else { return };
        let certificates = vec![(certified.height, certified.attestations)];
        self.persist(Batch { certificates, ..Batch::default() }, false, effects);
        self.log.push(Held::CertifiedUpTo(self.certifier.certified_height()));
    }

    /// Own vertices that nobody committed: what they carried is proposed again, also if it was admitted before a restart. Those
    /// that peers showed after amnesia may hold anything, so only what was verified here counts; if that is not done yet, it is
    /// as if the restart had lost it.
    fn uncommitted(&mut self, vertices: &[VerifiedVertex]) {
        let ledger = self.executor.ledger();
        for vertex in vertices {
            let Some(Verdict::Valid(transactions)) = self.executor.verdict_on(&vertex.reference()) else { continue };
            for transaction in transactions {
                let id = transaction.id();
                if self.mempool.contains(&id) {
                    self.mempool.propose_again([id]);
                } else if let Ok(standing) = ledger.check(transaction.transaction(), ledger.timestamp_ms()) {
                    // Nobody waits for it here any more. If there is no room, it is as if the restart had lost it.
                    if let Ok(evicted) = self.mempool.insert(transaction.clone(), &standing) {
                        tell_evicted(&mut self.log, evicted);
                    }
                }
            }
        }
    }

    fn executed(&mut self, executed: Executed, effects: &mut Vec<Effect>) -> Result<(), Stop> {
        let Executed { commit_index, block, mut dropped, flush, void_authors } = executed;
        for (id, _) in &dropped {
            self.mempool.remove(id);
        }
        let mut settled = Settled { void_authors, ..Settled::default() };
        let (mut position, mut attestation) = (None, None);
        let mut batch = Batch { flush, ..Batch::default() };
        if let Some(block) = block {
            self.mempool.executed(block.senders);
            let header = block.record.header.clone();
            let results: Vec<_> = block.record.entries.iter().map(|entry| (entry.id, entry.code)).collect();
            for (id, _) in &results {
                self.mempool.remove(id);
                self.being_written.insert(*id);
            }
            position = Some((header.height, block.hash));
            attestation = self
                .own
                .as_ref()
                .map(|own| Attestation::sign(self.committee.chain(), header.height, block.hash, &own.key));
            settled.block = Some(SettledBlock { header, hash: block.hash, results });
            batch.block = Some((block.record, block.history));
        }
        let expired = self.mempool.expire(self.executor.ledger().timestamp_ms());
        dropped.extend(expired.into_iter().map(|id| (id, DropReason::Expired)));
        settled.dropped = dropped;
        if batch.block.is_some() || batch.flush.is_some() {
            self.persist(batch, false, effects);
        }
        self.log.push(Held::Settled(settled));
        if let Some((height, hash)) = position {
            let certified = self.certifier.executed(height, hash)?;
            self.certified(certified, effects);
        }
        self.executor.forget_up_to(self.engine.status().gc_round);
        self.inputs.push_back(Input::Executed { index: commit_index, block: position, attestation });
        Ok(())
    }

    /// Whether a transaction that would be dropped for this reason may be in a block that the index of ids does not know of.
    fn may_have_been_executed(&self, transaction: &Transaction, reason: DropReason) -> bool {
        let validity_max_ms = self.executor.ledger().parameters().validity_max_ms;
        let valid_from_ms = transaction.valid_until_ms.saturating_sub(validity_max_ms);
        let may_follow_execution = matches!(
            reason,
            DropReason::UnknownSender | DropReason::UnknownKey | DropReason::Expired | DropReason::NonceUsed
        );
        may_follow_execution && valid_from_ms < self.indexed_from_ms
    }

    fn admit(&mut self, transaction: VerifiedTransaction) -> Result<Admission, StorageError> {
        let id = transaction.id();
        if self.is_pending(&id) {
            return Ok(Admission::Pending);
        }
        let ledger = self.executor.ledger();
        let queued_bytes = self.mempool.charged_before(transaction.transaction());
        let standing = match ledger.check_behind(transaction.transaction(), ledger.timestamp_ms(), queued_bytes) {
            Ok(standing) => standing,
            Err(refusal) => return self.refused(&transaction, refusal),
        };
        Ok(match self.mempool.insert(transaction, &standing) {
            Ok(evicted) => {
                tell_evicted(&mut self.log, evicted);
                Admission::Pending
            }
            Err(full) => Admission::Full(full),
        })
    }

    /// What to say of a transaction that the ledger refuses: the same bytes again, after they were executed, get the answer that they
    /// got.
    fn refused(&self, transaction: &VerifiedTransaction, refusal: Refusal) -> Result<Admission, StorageError> {
        Ok(match (self.storage.transaction(&transaction.id())?, refusal) {
            (Some(_), _) => Admission::InBlock,
            (None, Refusal { reason, .. }) if self.may_have_been_executed(transaction.transaction(), reason) => {
                Admission::Unknown
            }
            (None, Refusal { reason, passes_at_ms: Some(passes_at_ms) }) => Admission::Later { reason, passes_at_ms },
            (None, Refusal { reason, passes_at_ms: None }) => Admission::Dropped(reason),
        })
    }
}

/// Tells those who wait for transactions that had to leave the mempool.
fn tell_evicted(log: &mut OutputLog<Held>, evicted: Vec<TransactionId>) {
    if !evicted.is_empty() {
        log.push(Held::Settled(Settled { evicted, ..Settled::default() }));
    }
}

#[cfg(test)]
mod tests;
