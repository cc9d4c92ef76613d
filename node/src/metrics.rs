//! The node's own figures for `/metrics`; those of the network and of the API are registered by them.

use crate::replica::{Progress, Replayed, Settled};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters and gauges of ledger and consensus.
#[derive(Clone)]
pub struct Metrics {
    blocks: Counter,
    executed: Counter,
    rejected: Counter,
    dropped: Counter,
    evicted: Counter,
    void_payloads: Counter,
    block_delay_seconds: Histogram,
    round: Gauge,
    commit_index: Gauge,
    height: Gauge,
    certified_height: Gauge,
    accounts: Gauge,
    mempool_transactions: Gauge,
    mempool_bytes: Gauge,
    evidence: Gauge,
    replayed_blocks: Gauge,
    replayed_transactions: Gauge,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            blocks: Counter::default(),
            executed: Counter::default(),
            rejected: Counter::default(),
            dropped: Counter::default(),
            evicted: Counter::default(),
            void_payloads: Counter::default(),
            block_delay_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 12)),
            round: Gauge::default(),
            commit_index: Gauge::default(),
            height: Gauge::default(),
            certified_height: Gauge::default(),
            accounts: Gauge::default(),
            mempool_transactions: Gauge::default(),
            mempool_bytes: Gauge::default(),
            evidence: Gauge::default(),
            replayed_blocks: Gauge::default(),
            replayed_transactions: Gauge::default(),
        };
        let m = metrics.clone();
        let registry = registry.sub_registry_with_prefix("farthing");
        registry.register("blocks", "Blocks executed since the start", m.blocks);
        registry.register("transactions_executed", "Transactions executed in blocks", m.executed);
        registry.register("transactions_rejected", "Transactions rejected in blocks", m.rejected);
        registry.register("transactions_dropped", "Transactions left out of blocks", m.dropped);
        registry.register("transactions_evicted", "Transactions that left a full mempool for others", m.evicted);
        registry.register("void_payloads", "Payloads passed over as void", m.void_payloads);
        registry.register(
            "block_delay_seconds",
            "From a block's timestamp to its results being readable here",
            m.block_delay_seconds,
        );
        registry.register("round", "The clock's round", m.round);
        registry.register("commit_index", "The newest commit", m.commit_index);
        registry.register("height", "The newest block", m.height);
        registry.register("certified_height", "The highest block that a quorum attests", m.certified_height);
        registry.register("accounts", "Accounts", m.accounts);
        registry.register("mempool_transactions", "Transactions in the mempool", m.mempool_transactions);
        registry.register("mempool_bytes", "Their encoded bytes", m.mempool_bytes);
        registry.register("evidence", "Equivocations seen since the start", m.evidence);
        registry.register("replayed_blocks", "Blocks that the start executed again", m.replayed_blocks);
        registry.register("replayed_transactions", "The transactions in them", m.replayed_transactions);
        metrics
    }

    /// Tells what the start executed again.
    pub fn replayed(&self, replayed: Replayed) {
        self.replayed_blocks.set(replayed.blocks as i64);
        self.replayed_transactions.set(replayed.transactions as i64);
    }

    /// Counts what was settled, at this wall clock time in milliseconds.
    pub fn settled(&self, settled: &Settled, wall_ms: u64) {
        if let Some(block) = &settled.block {
            self.blocks.inc();
            let executed = block.results.iter().filter(|(_, code)| code.is_executed()).count();
            self.executed.inc_by(executed as u64);
            self.rejected.inc_by((block.results.len() - executed) as u64);
            let delay_ms = wall_ms.saturating_sub(block.header.timestamp_ms);
            self.block_delay_seconds.observe(delay_ms as f64 / 1_000.0);
        }
        self.dropped.inc_by(settled.dropped.len() as u64);
        self.evicted.inc_by(settled.evicted.len() as u64);
        self.void_payloads.inc_by(settled.void_authors.len() as u64);
    }

    /// Sets the gauges.
    pub fn progress(&self, progress: &Progress) {
        self.round.set(progress.round as i64);
        self.commit_index.set(progress.commit_index as i64);
        self.height.set(progress.height as i64);
        self.certified_height.set(progress.certified_height as i64);
        self.accounts.set(progress.accounts as i64);
        self.mempool_transactions.set(progress.mempool_transactions as i64);
        self.mempool_bytes.set(progress.mempool_bytes as i64);
        self.evidence.set(progress.evidence as i64);
    }
}
