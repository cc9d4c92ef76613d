//! Checks on what happens over time: memory stays bounded (R), commits resume after healing (V), evidence is kept.

use super::checker::Violation;
use super::network::NodeId;
use super::world::World;
use farthing_consensus::vertex::{Author, Round, VerifiedVertex};
use farthing_consensus::{FETCHING_MAX, SUSPENDED_BYTES_MAX};
use farthing_node::storage::{Storage, StorageError};
use std::collections::BTreeSet;

/// Rounds within which commits resume once everything works again.
pub const RESUME_ROUNDS_MAX: u64 = 10;

/// Steps of a node between two looks at what it holds.
const LOOK_EVERY_STEPS: u64 = 32;

/// Rounds above the gc round that a DAG may hold: what stalls slow down, and as many in a stall.
const ROUNDS_HELD_MAX: u64 = 1_000;

/// Writes, outputs that wait for them, and commits that wait for execution. Far above what a working node ever has.
const WRITES_MAX: u64 = 1_024;
const OUTPUTS_MAX: usize = 4_096;
const COMMITS_MAX: usize = 512;

/// What is watched over time.
#[derive(Default)]
pub struct Health {
    /// Honest nodes that were shown two vertices of an author for one slot.
    expected_evidence: BTreeSet<(NodeId, Author)>,
    /// When everything works again: the clocks' round and the commits then, until there is another commit.
    resuming: Option<(Round, u64)>,
    /// How many rounds the first commit after healing took.
    pub resume_rounds: u64,
    /// The most encoded bytes of suspended vertices in one node.
    pub suspended_bytes_max: u64,
}

/// What one node holds in memory, for the checker.
#[derive(Clone, Copy, Default, Debug)]
pub struct Holdings {
    /// Encoded bytes of suspended vertices.
    pub suspended_bytes: usize,
    /// Vertices being fetched.
    pub fetching: usize,
    /// Vertices in the DAG.
    pub accepted: usize,
    /// Transactions in the mempool.
    pub mempool_transactions: usize,
    /// Their encoded bytes.
    pub mempool_bytes: usize,
    /// Writes that are not done.
    pub writes: u64,
    /// Outputs that wait for them.
    pub outputs: usize,
    /// Commits that wait for execution.
    pub commits: usize,
}

/// What a node may hold in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many validators there are.
    pub validators: usize,
    /// How many rounds the DAG keeps.
    pub gc_depth: u64,
    /// Transactions in the mempool.
    pub mempool_transactions: usize,
    /// Their encoded bytes.
    pub mempool_bytes: usize,
}

impl Bounds {
    /// Whether a node keeps to them.
    ///
    /// # Errors
    /// [`Violation::Bounds`] names what there is too much of.
    pub fn check(&self, node: NodeId, held: &Holdings) -> Result<(), Violation> {
        // Some equivocating copies are granted to each slot.
        let accepted_max = self.validators * 4 * (self.gc_depth + ROUNDS_HELD_MAX) as usize;
        let fetching_max = self.validators * FETCHING_MAX + farthing_consensus::commit::COMMIT_VERTICES_MAX;
        let figures = [
            ("suspended bytes", held.suspended_bytes, self.validators * SUSPENDED_BYTES_MAX),
            ("vertices being fetched", held.fetching, fetching_max),
            ("vertices", held.accepted, accepted_max),
            ("transactions in the mempool", held.mempool_transactions, self.mempool_transactions),
            ("bytes in the mempool", held.mempool_bytes, self.mempool_bytes),
            ("writes under way", held.writes as usize, WRITES_MAX as usize),
            ("outputs that wait", held.outputs, OUTPUTS_MAX),
            ("commits that wait", held.commits, COMMITS_MAX),
        ];
        match figures.into_iter().find(|(_, actual, max)| actual > max) {
            Some((what, actual, max)) => Err(Violation::Bounds(format!("node {node} has {actual} {what}, not {max}"))),
            None => Ok(()),
        }
    }
}

impl World {
    /// Looks now and then at what an honest node holds.
    pub(super) fn check_bounds(&mut self, id: NodeId) -> Result<(), Violation> {
        let node = &mut self.nodes[id];
        node.steps += 1;
        let Some(replica) = node.replica.as_ref().filter(|_| node.is_honest) else { return Ok(()) };
        if !node.steps.is_multiple_of(LOOK_EVERY_STEPS) {
            return Ok(());
        }
        let (engine, progress, backlog) = (replica.engine_status(), replica.progress(), replica.backlog());
        let held = Holdings {
            suspended_bytes: engine.suspended_bytes,
            fetching: engine.fetching,
            accepted: engine.accepted,
            mempool_transactions: progress.mempool_transactions,
            mempool_bytes: progress.mempool_bytes,
            writes: backlog.writes,
            outputs: backlog.outputs,
            commits: backlog.commits,
        };
        self.health.suspended_bytes_max = self.health.suspended_bytes_max.max(engine.suspended_bytes as u64);
        let bounds = Bounds {
            validators: self.plan.validators,
            gc_depth: self.plan.gc_depth,
            mempool_transactions: self.plan.mempool.transactions_max,
            mempool_bytes: self.plan.mempool.bytes_max,
        };
        bounds.check(id, &held)
    }

    /// Everything works again: from here on, rounds without a commit are counted.
    pub(super) fn expect_commits(&mut self) {
        self.health.resuming = Some((self.highest_round(), self.checker.commits()));
    }

    /// # Errors
    /// [`Violation::Progress`] if rounds go on and commits do not.
    pub(super) fn check_commits(&mut self) -> Result<(), Violation> {
        let Some((since, commits)) = self.health.resuming else { return Ok(()) };
        let rounds = self.highest_round().saturating_sub(since);
        check_resumed(rounds, self.checker.commits() - commits)?;
        if self.checker.commits() > commits {
            self.health.resume_rounds = rounds;
            self.health.resuming = None;
        }
        Ok(())
    }

    /// A vertex is about to be shown to a node: if it accepted another one of the same slot, it must keep evidence.
    pub(super) fn expect_evidence(&mut self, id: NodeId, vertex: &VerifiedVertex) -> Result<(), Violation> {
        let (round, author) = (vertex.round(), vertex.author());
        let node = &self.nodes[id];
        if self.plan.role_of(author).is_none() || !node.is_honest {
            return Ok(());
        }
        let Some(replica) = &node.replica else { return Ok(()) };
        let accepted = node.disk.storage().vertices(round, round, usize::MAX).map_err(lost)?;
        let is_second = accepted.iter().any(|accepted| accepted.author() == author && accepted != vertex);
        if is_second && round > replica.engine_status().gc_round {
            self.health.expected_evidence.insert((id, author));
        }
        Ok(())
    }

    /// Evidence that was not synced is lost with the power; what was accepted shows it again.
    pub(super) fn forget_unsynced_evidence(&mut self, id: NodeId) {
        self.health.expected_evidence.retain(|(node, _)| *node != id);
    }

    /// # Errors
    /// [`Violation::Evidence`] if an honest node accepted or was shown two vertices of a slot, and cannot prove it.
    pub(super) fn check_evidence(&self) -> Result<(), Violation> {
        for id in self.honest() {
            let storage = self.nodes[id].disk.storage();
            let shown = self.health.expected_evidence.iter().filter(|(node, _)| *node == id).map(|(_, author)| *author);
            check_evidence(id, &**storage, shown.collect())?;
        }
        Ok(())
    }
}

/// Whether commits resumed in time, so many rounds after healing.
///
/// # Errors
/// [`Violation::Progress`] if they did not.
pub fn check_resumed(rounds: u64, new_commits: u64) -> Result<(), Violation> {
    if new_commits > 0 || rounds <= RESUME_ROUNDS_MAX {
        return Ok(());
    }
    Err(Violation::Progress(format!("{rounds} rounds after everything works again there is no commit")))
}

/// Whether a node's storage holds evidence against these authors, and against all of whom it holds two vertices for a slot.
///
/// # Errors
/// [`Violation::Evidence`] names the author.
pub fn check_evidence(node: NodeId, storage: &dyn Storage, mut shown: BTreeSet<Author>) -> Result<(), Violation> {
    let vertices = storage.vertices(1, Round::MAX, usize::MAX).map_err(lost)?;
    let slot = |vertex: &VerifiedVertex| (vertex.round(), vertex.author());
    let twice = vertices.windows(2).filter(|pair| slot(&pair[0]) == slot(&pair[1]));
    shown.extend(twice.map(|pair| pair[0].author()));
    let kept: BTreeSet<Author> = storage.evidence().map_err(lost)?.into_iter().map(|(_, author, _)| author).collect();
    match shown.difference(&kept).next() {
        Some(author) => Err(Violation::Evidence(format!(
            "node {node} saw two vertices of validator {author}, and kept no evidence"
        ))),
        None => Ok(()),
    }
}

fn lost(error: StorageError) -> Violation {
    Violation::Lost(error.to_string())
}
