//! Starting a replica from what its storage holds: a new network, or a node that stopped at any moment.
//!
//! The state is read at its last flush point and checked against its root; that of the genesis document is stored first of all. The
//! commits since are executed again, with the verdicts that were stored with their blocks, and must give the stored headers; of the
//! state roots in these only the last is computed. Then the engine gets its commits and vertices back.

use super::forwarding::Forwarder;
use super::{Effect, Own, Replica, Stop};
use crate::certifier::{Certifier, WrongState};
use crate::executor::{self, Executor, Verdict};
use crate::id_map::IdSet;
use crate::mempool::{Mempool, MempoolLimits};
use crate::replica::log::OutputLog;
use crate::storage::{Batch, PayloadRecord, Storage, StorageError};
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Engine, Input, Now, Output, RECOVERY_COMMITS, Recovered, Settings, Signing};
use farthing_consensus::vertex::{Author, VerifiedVertex, VertexRef};
use farthing_core::block::BlockHeader;
use farthing_core::certificate::Attestation;
use farthing_core::execution::Ledger;
use farthing_core::flush::RestoreError;
use farthing_core::genesis::Genesis;
use farthing_core::state_chunk::CHUNK_LEVEL;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// How many of the newest blocks are attested again at most, if no own vertex is known that attests them.
const ATTEST_AGAIN_MAX: u64 = 64;

/// The most vertices that the engine gets back.
const VERTICES_MAX: usize = 200_000;

/// Why a replica cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Storage failed, or what it holds does not decode.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The stored state is not what its root says.
    #[error(transparent)]
    State(#[from] RestoreError),
    /// Something that must be there is not.
    #[error("the database is damaged: {0} is missing")]
    Missing(String),
    /// More vertices than a start reads: rounds went on without commits for many hours. It says nothing about the disk.
    #[error(
        "the database has more than {VERTICES_MAX} vertices above round {0}, more than a start reads: rounds went on for very long without          commits. Let the validators that still run go on; if commits come again, move this database aside and start without it"
    )]
    TooManyVertices(u64),
    /// Executing a stored commit again gave another block.
    #[error(
        "executing commit {commit_index} again gave a block {now} where {stored} is stored: this program or its database is \
         damaged, or the program is another version; nothing was signed"
    )]
    Diverged {
        /// The commit.
        commit_index: u64,
        /// The stored block.
        stored: String,
        /// The block computed now.
        now: String,
    },
    /// The state is not that of the network.
    #[error(transparent)]
    WrongState(#[from] WrongState),
    /// The first step failed.
    #[error(transparent)]
    Stop(#[from] Stop),
}

impl RecoveryError {
    /// Whether stored data is damaged, so that it has to be fetched again. Where a program of another version could be the reason it
    /// is not: then nothing may be thrown away.
    pub fn is_damage(&self) -> bool {
        match self {
            RecoveryError::Storage(error) | RecoveryError::Stop(Stop::Storage(error)) => error.is_damage(),
            RecoveryError::State(error) => !matches!(error, RestoreError::OtherChain { .. }),
            RecoveryError::Missing(_) => true,
            RecoveryError::TooManyVertices(_)
            | RecoveryError::Diverged { .. }
            | RecoveryError::WrongState(_)
            | RecoveryError::Stop(Stop::WrongState(_)) => false,
        }
    }
}

/// Local choices for a replica.
#[derive(Clone, Debug, Default)]
pub struct ReplicaSettings {
    /// Those of the engine.
    pub engine: Settings,
    /// The bounds of the mempool.
    pub mempool: MempoolLimits,
    /// How much commit time lies between two flushes of the state, in milliseconds; `None` for the ledger's default.
    pub flush_interval_ms: Option<u64>,
    /// Chunks of snapshots have 2^`chunk_level` slots, the same at all nodes of a network; `None` for [`CHUNK_LEVEL`].
    pub chunk_level: Option<u32>,
}

/// What a start executed again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replayed {
    /// Blocks.
    pub blocks: u64,
    /// The transactions in them.
    pub transactions: u64,
}

impl Replica {
    /// Starts from what `storage` holds. `own` is the validator to speak for; without one the replica follows.
    ///
    /// # Errors
    /// [`RecoveryError`] says what is wrong with the stored data. Nothing was signed then.
    pub fn start(
        genesis: &Genesis,
        committee: Arc<Committee>,
        own: Option<Own>,
        settings: ReplicaSettings,
        storage: Arc<dyn Storage>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Replica, RecoveryError> {
        let (signing, last_signed) = match (&own, storage.signing_state()?) {
            // The engine learns from the others what may have been signed before it signs again.
            (Some(_), None) => (Signing::Lost, None),
            (Some(_), Some(last_signed)) => (Signing::Intact(last_signed), last_signed),
            (None, _) => (Signing::Intact(None), None),
        };
        let mut ledger = stored_ledger(genesis, &*storage)?;
        if let Some(interval_ms) = settings.flush_interval_ms {
            ledger.set_flush_interval_ms(interval_ms);
        }
        let replayed = replay(&mut ledger, &committee, &*storage)?;
        let recovered = recovered(&committee, &*storage, signing)?;
        let certifier = certifier(genesis, &*storage, &ledger, &recovered.vertices)?;
        let certified_height = certifier.certified_height();
        let own_vertices =
            own.iter().flat_map(|own| recovered.vertices.iter().filter(move |vertex| vertex.author() == own.author));
        let attested = own_vertices
            .flat_map(|vertex| vertex.header().attestations.iter().map(|attestation| attestation.height))
            .max();
        // What was executed needs no verdict any more; its attestations were counted above.
        let executed: BTreeSet<VertexRef> =
            recovered.commits.iter().flat_map(|commit| commit.vertices.iter().copied()).collect();
        let indexed_from_ms = storage.base()?.map_or(0, |base| base.timestamp_ms);
        let mut outputs = Vec::new();
        let engine_own = own.as_ref().map(|own| (own.author, own.key.clone()));
        let engine = Engine::start(committee.clone(), engine_own, settings.engine, recovered, now, &mut outputs);
        let mut replica = Replica {
            committee,
            own,
            engine,
            executor: Executor::new(ledger, storage.keeps_history()),
            mempool: Mempool::new(settings.mempool),
            certifier,
            storage,
            log: OutputLog::new(),
            inputs: VecDeque::new(),
            connected: BTreeSet::new(),
            followers: BTreeSet::new(),
            subscribers: BTreeSet::new(),
            proposal: None,
            being_written: IdSet::default(),
            forwarder: Forwarder::default(),
            told_waiting: false,
            last_broadcast: last_signed,
            certified_height,
            evidence_count: 0,
            state_root: None,
            indexed_from_ms,
            replayed,
            fetch: None,
            chunk_level: settings.chunk_level.unwrap_or(CHUNK_LEVEL),
            engine_timer_ms: None,
            timer_ms: None,
        };
        outputs.retain(|output| !matches!(output, Output::Accepted(vertex) if executed.contains(&vertex.reference())));
        replica.tell_executed(attested)?;
        replica.engine_outputs(outputs, effects)?;
        replica.run(now, effects)?;
        Ok(replica)
    }

    /// Tells the engine which blocks are not certified yet, and attests those that no own vertex is known to attest. Of certified
    /// ones it hears nothing: their attestations may be collected, and it would wait for them instead of idling.
    fn tell_executed(&mut self, attested: Option<u64>) -> Result<(), RecoveryError> {
        let newest = self.executor.ledger().newest().height;
        let first = self.certified_height.max(newest.saturating_sub(ATTEST_AGAIN_MAX)) + 1;
        for height in first..=newest {
            let header = stored_header(&*self.storage, height)?;
            let hash = header.hash();
            let again = attested.is_none_or(|attested| height > attested);
            let attestation = self
                .own
                .as_ref()
                .filter(|_| again)
                .map(|own| Attestation::sign(self.committee.chain(), height, hash, &own.key));
            let block = Some((height, hash));
            self.inputs.push_back(Input::Executed { index: header.commit_index, block, attestation });
        }
        let index = self.executor.ledger().commit_index();
        let told = self.executor.ledger().newest().commit_index;
        if index > told || (first > newest && index > 0) {
            self.inputs.push_back(Input::Executed { index, block: None, attestation: None });
        }
        Ok(())
    }
}

/// The ledger at the newest flush point; without one, at the genesis document, whose state is stored then.
fn stored_ledger(genesis: &Genesis, storage: &dyn Storage) -> Result<Ledger, RecoveryError> {
    let Some((point, slots)) = storage.slots()? else {
        let mut ledger = Ledger::genesis(genesis);
        let (point, mut slots) = ledger.flush_whole();
        storage.begin(&point, &mut slots)?;
        drop(slots);
        return Ok(ledger);
    };
    let mut failure = None;
    let ledger =
        Ledger::restore(genesis, point, slots.map_while(|slot| slot.map_err(|error| failure = Some(error)).ok()));
    match failure {
        Some(failure) => Err(failure.into()),
        None => Ok(ledger?),
    }
}

/// Executes the stored commits after the flush point, and stores those of their blocks that a crash kept from being written.
fn replay(ledger: &mut Ledger, committee: &Committee, storage: &dyn Storage) -> Result<Replayed, RecoveryError> {
    let newest = storage.newest_commit()?;
    let newest_rooted = newest_rooted_block(ledger.newest().height, storage)?;
    let mut replayed = Replayed::default();
    for index in ledger.commit_index() + 1..=newest {
        let commit = stored_commit(storage, index)?;
        // The next stored block is this commit's or a later one's. Its entries are not read: they would be computed from the
        // payloads, as they are here.
        let height = ledger.newest().height + 1;
        let next = storage.header(height)?;
        let is_stored = next.as_ref().is_some_and(|header| header.commit_index == index);
        let stored = if is_stored { Some(stored_payloads(storage, height)?) } else { None };
        let verdicts = verdicts(&commit, stored.as_deref(), committee, storage)?;
        // A commit without a block, before that of the next one, has no root either; nor is the state flushed there, as long as no root
        // has been computed and compared.
        let is_covered_later = |header: &&BlockHeader| header.height < newest_rooted || !is_stored;
        let known_root = next.as_ref().filter(is_covered_later).and_then(|header| header.state_root);
        let executed = executor::run(ledger, &commit, commit.digest(committee.chain()), verdicts, known_root, false);
        let computed = executed.block.as_ref().map(|block| &block.record.header);
        replayed.blocks += u64::from(computed.is_some());
        replayed.transactions += computed.map_or(0, |header| header.transaction_count.into());
        if let Some(next) = &next
            && (is_stored || computed.is_some())
            && computed != Some(next)
        {
            return Err(RecoveryError::Diverged {
                commit_index: index,
                stored: next.hash().to_string(),
                now: computed.map_or("none".into(), |header| header.hash().to_string()),
            });
        }
        let block = executed.block.filter(|_| next.is_none()).map(|block| (block.record, block.history));
        if block.is_some() || executed.flush.is_some() {
            storage.apply(&Batch { block, flush: executed.flush, ..Batch::default() }, false)?;
        }
    }
    // Whatever this start writes or finds written is durable before anything is sent.
    storage.apply(&Batch::default(), true)?;
    Ok(replayed)
}

/// The newest stored block above this height that carries a state root; 0 if there is none. The root is computed for this one, and compared:
/// those of the blocks before it need not be.
fn newest_rooted_block(above: u64, storage: &dyn Storage) -> Result<u64, RecoveryError> {
    for height in (above + 1..=storage.newest_block()?).rev() {
        if stored_header(storage, height)?.state_root.is_some() {
            return Ok(height);
        }
    }
    Ok(0)
}

/// The verdicts on a commit's payloads: as stored with its block; if that was not written, the signatures are checked again.
fn verdicts(
    commit: &Commit,
    stored: Option<&[PayloadRecord]>,
    committee: &Committee,
    storage: &dyn Storage,
) -> Result<Vec<(VertexRef, Verdict)>, RecoveryError> {
    let mut verdicts = Vec::new();
    for reference in &commit.vertices {
        let vertex = storage
            .vertex(reference)?
            .ok_or_else(|| RecoveryError::Missing(format!("vertex {reference:?} of commit {}", commit.index)))?;
        if vertex.payload().is_empty() {
            continue;
        }
        let void = stored.map(|payloads| payloads.iter().any(|payload| payload.vertex == *reference && payload.void));
        let verdict = match void {
            Some(void) => executor::verdict_from_own_storage(vertex.payload(), void, committee.chain())
                .ok_or_else(|| RecoveryError::Missing(format!("a readable payload of vertex {reference:?}")))?,
            None => check_payload(vertex.payload(), committee),
        };
        verdicts.push((*reference, verdict));
    }
    Ok(verdicts)
}

/// Checks a payload's signatures one by one: rare and few, and needs no entropy.
fn check_payload(payload: &[u8], committee: &Committee) -> Verdict {
    let Ok(transactions) = crate::payload::decode(payload) else { return Verdict::Void };
    let verified = transactions.into_iter().map(|signed| signed.verify(committee.chain())).collect::<Result<_, _>>();
    verified.map_or(Verdict::Void, Verdict::Valid)
}

/// What the engine gets back: as many of the newest commits as it asks for, and the vertices above the gc round.
fn recovered(committee: &Committee, storage: &dyn Storage, signing: Signing) -> Result<Recovered, RecoveryError> {
    let newest = storage.newest_commit()?;
    let first = (newest + 1).saturating_sub(RECOVERY_COMMITS as u64).max(1);
    let commits = (first..=newest).map(|index| stored_commit(storage, index)).collect::<Result<Vec<_>, _>>()?;
    let gc_round = commits.last().map_or(0, |commit| committee.gc_round(commit.leader.round));
    let vertices = storage.vertices(gc_round + 1, u64::MAX, VERTICES_MAX + 1)?;
    if vertices.len() > VERTICES_MAX {
        return Err(RecoveryError::TooManyVertices(gc_round));
    }
    let mut equivocators: Vec<Author> = storage.evidence()?.into_iter().map(|(_, author, _)| author).collect();
    equivocators.dedup();
    Ok(Recovered { signing, commits, vertices, equivocators })
}

fn certifier(
    genesis: &Genesis,
    storage: &dyn Storage,
    ledger: &Ledger,
    vertices: &[VerifiedVertex],
) -> Result<Certifier, RecoveryError> {
    let newest = ledger.newest().height;
    // The block that a snapshot leads up to is certified by the one that follows it.
    let base = storage.base()?.map_or(0, |base| base.height);
    let mut certified = newest;
    while certified > base && storage.certificate(certified)?.is_none() {
        certified -= 1;
    }
    let mut certifier = Certifier::new(genesis, certified);
    for height in certified + 1..=newest {
        certifier.executed(height, stored_header(storage, height)?.hash())?;
    }
    for vertex in vertices {
        for attestation in &vertex.header().attestations {
            if let Some(done) = certifier.attested(vertex.author(), attestation)? {
                let certificates = vec![(done.height, done.attestations)];
                storage.apply(&Batch { certificates, ..Batch::default() }, false)?;
            }
        }
    }
    Ok(certifier)
}

fn stored_commit(storage: &dyn Storage, index: u64) -> Result<Commit, RecoveryError> {
    storage.commit(index)?.ok_or_else(|| RecoveryError::Missing(format!("commit {index}")))
}

fn stored_payloads(storage: &dyn Storage, height: u64) -> Result<Vec<PayloadRecord>, RecoveryError> {
    storage.payloads(height)?.ok_or_else(|| RecoveryError::Missing(format!("the body of block {height}")))
}

fn stored_header(storage: &dyn Storage, height: u64) -> Result<BlockHeader, RecoveryError> {
    storage.header(height)?.ok_or_else(|| RecoveryError::Missing(format!("the header of block {height}")))
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
