//! What a replica says about itself.

use super::Replica;
use farthing_consensus::vertex::{Author, Round};
use farthing_core::block::BlockHash;
use farthing_core::hash::Digest;

/// A replica at one moment.
#[derive(Clone, Debug)]
pub struct ReplicaStatus {
    /// The round of the engine's clock.
    pub round: Round,
    /// The highest accepted round of each author.
    pub highest_rounds: Vec<Round>,
    /// The newest commit decided or applied.
    pub commit_index: u64,
    /// The newest commit executed.
    pub executed_index: u64,
    /// The newest block executed.
    pub height: u64,
    /// Its hash.
    pub block_hash: BlockHash,
    /// The state root after it.
    pub state_root: Digest,
    /// The time of the newest executed commit in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The highest block that a quorum attests.
    pub certified_height: u64,
    /// How many accounts there are.
    pub accounts: u64,
    /// Transactions in the mempool.
    pub mempool_transactions: usize,
    /// Their encoded bytes.
    pub mempool_bytes: usize,
    /// Validators with a connection.
    pub connected: Vec<Author>,
    /// Full nodes with a connection.
    pub followers: usize,
    /// Whether commits are fetched from peers because this node is behind.
    pub catching_up: bool,
    /// Whether this validator does not know what it has signed, and signs nothing before others have told it.
    pub amnesia: bool,
    /// Whether there is nothing to do, and rounds go on slowly.
    pub idle: bool,
    /// Whether this node is of use to clients: connected to enough validators, and not behind.
    pub ready: bool,
    /// Whether it has a validator key: then it proposes transactions itself, otherwise it forwards them.
    pub is_validator: bool,
    /// Equivocations seen since the start.
    pub evidence: u64,
}

/// The figures of a replica that are cheap to have, for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The round of the engine's clock.
    pub round: Round,
    /// The newest commit decided or applied.
    pub commit_index: u64,
    /// The newest block executed.
    pub height: u64,
    /// The highest block that a quorum attests.
    pub certified_height: u64,
    /// How many accounts there are.
    pub accounts: u64,
    /// Transactions in the mempool.
    pub mempool_transactions: usize,
    /// Their encoded bytes.
    pub mempool_bytes: usize,
    /// Transactions that have left the mempool since the start, for whatever reason.
    pub mempool_removed: u64,
    /// Equivocations seen since the start.
    pub evidence: u64,
}

/// What waits within a replica. Each of these is bounded by what the engine lets happen before it waits itself.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Writes that are not done.
    pub writes: u64,
    /// Outputs that wait for them.
    pub outputs: usize,
    /// Commits that wait for execution.
    pub commits: usize,
}

impl Replica {
    /// A picture of the engine.
    pub fn engine_status(&self) -> farthing_consensus::engine::Status {
        self.engine.status()
    }

    /// What waits.
    pub fn backlog(&self) -> Backlog {
        Backlog { writes: self.log.outstanding(), outputs: self.log.len(), commits: self.executor.queued() }
    }

    /// How far the replica is.
    pub fn progress(&self) -> Progress {
        let engine = self.engine.status();
        Progress {
            round: engine.round,
            commit_index: engine.last_commit,
            height: self.newest_height(),
            certified_height: self.certified_height(),
            accounts: self.executor.ledger().account_count(),
            mempool_transactions: self.mempool.len(),
            mempool_bytes: self.mempool.bytes(),
            mempool_removed: self.mempool.removed(),
            evidence: self.evidence_count,
        }
    }

    /// What the replica knows of itself. The state root takes time in proportion to what changed since the last one.
    pub fn status(&mut self) -> ReplicaStatus {
        let state_root = self.state_root();
        let engine = self.engine.status();
        let ledger = self.executor.ledger();
        ReplicaStatus {
            round: engine.round,
            highest_rounds: engine.highest_accepted,
            commit_index: engine.last_commit,
            executed_index: ledger.commit_index(),
            height: ledger.newest().height,
            block_hash: ledger.newest_hash(),
            state_root,
            timestamp_ms: ledger.timestamp_ms(),
            certified_height: self.certified_height(),
            accounts: ledger.account_count(),
            mempool_transactions: self.mempool.len(),
            mempool_bytes: self.mempool.bytes(),
            connected: self.connected.iter().copied().collect(),
            followers: self.followers.len(),
            catching_up: engine.catching_up,
            amnesia: engine.amnesia,
            idle: engine.idle,
            ready: self.is_ready(),
            is_validator: self.own.is_some(),
            evidence: self.evidence_count,
        }
    }

    /// The state root, computed once a commit however often it is asked for.
    fn state_root(&mut self) -> Digest {
        let ledger = self.executor.ledger();
        match self.state_root {
            Some((commit_index, root)) if commit_index == ledger.commit_index() => root,
            _ => {
                let root = ledger.state_root();
                self.state_root = Some((ledger.commit_index(), root));
                root
            }
        }
    }

    /// Whether this node is of use to clients.
    pub fn is_ready(&self) -> bool {
        let needed = match self.own {
            Some(_) => self.committee.quorum() - 1,
            None => 1,
        };
        let engine = self.engine.status();
        self.connected.len() >= needed.min(self.committee.size()) && !engine.catching_up && !engine.amnesia
    }
}
