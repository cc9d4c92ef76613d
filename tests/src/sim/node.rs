//! A simulated machine: a disk that outlives its processes, clocks, and at most one process with a replica.

use super::disk::Disk;
use super::plan::{Byzantine, MS_US, Plan, Planted};
use super::random::Random;
use farthing_consensus::engine::Now;
use farthing_consensus::vertex::Author;
use farthing_node::replica::Replica;
use farthing_node::snapshot::{Snapshots, SnapshotsSettings};
use std::sync::Arc;

/// When simulated time begins, in milliseconds since the Unix epoch; the timestamp of the genesis document.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// Snapshots have few slots in a chunk, so that small states have many chunks.
pub const CHUNK_LEVEL: u32 = 1;

/// How far a skewed wall clock may be off, in milliseconds.
const SKEW_MS_MAX: u64 = 3_600_000;

/// A machine.
pub struct Node {
    /// The validator it speaks for.
    pub author: Author,
    /// Whether it keeps to the protocol, so that the checker watches it.
    pub is_honest: bool,
    /// Whether it will be started again when it is down.
    pub is_retired: bool,
    /// The process, if one runs.
    pub replica: Option<Replica>,
    /// Counts the processes; what happens to one means nothing to the next.
    pub incarnation: u32,
    /// The disk.
    pub disk: Disk,
    /// Copies of the state for peers that lag.
    pub snapshots: Arc<Snapshots>,
    /// How often a snapshot took the place of the state.
    pub installed: u64,
    /// Counts the settings of the timer.
    pub timer: u64,
    /// The height at which the checker looked at the ledger last.
    pub checked_height: u64,
    /// The highest block that clients were told of.
    pub acknowledged_height: u64,
    /// When the disk was pruned last, in microseconds.
    pub pruned_us: u64,
    clock: Clock,
}

/// The clocks of a process.
#[derive(Clone, Copy, Default)]
struct Clock {
    started_us: u64,
    /// What the monotonic clock says at the start.
    monotonic_ms: u64,
    /// What the wall clock is ahead, plus [`SKEW_MS_MAX`].
    ahead_ms: u64,
}

impl Node {
    /// A new machine.
    pub fn new(plan: &Plan, author: Author) -> Node {
        let is_lying = plan.planted == Some(Planted::LosesSyncedWrites(author));
        let disk = Disk::new(plan.sync_us.clone(), is_lying);
        let settings =
            SnapshotsSettings { chunk_level: CHUNK_LEVEL, retain_commits: plan.retention.commits, directory: None };
        let snapshots = Arc::new(Snapshots::new(disk.storage().clone(), settings));
        Node {
            author,
            is_honest: plan.byzantine.map(Byzantine::author) != Some(author),
            is_retired: plan.byzantine == Some(Byzantine::Silent(author)),
            replica: None,
            incarnation: 0,
            disk,
            snapshots,
            installed: 0,
            timer: 0,
            checked_height: 0,
            acknowledged_height: 0,
            pruned_us: 0,
            clock: Clock::default(),
        }
    }

    /// Sets the clocks of a new process.
    pub fn start_clocks(&mut self, now_us: u64, plan: &Plan, random: &mut Random) {
        let skew_ms = if plan.skewed == Some(self.author) { SKEW_MS_MAX } else { plan.skew_ms };
        self.clock = Clock {
            started_us: now_us,
            monotonic_ms: random.range(0..=1_000_000),
            ahead_ms: random.range(SKEW_MS_MAX - skew_ms..=SKEW_MS_MAX + skew_ms),
        };
    }

    /// What the clocks say.
    pub fn now(&self, now_us: u64) -> Now {
        Now {
            monotonic_ms: self.clock.monotonic_ms + (now_us - self.clock.started_us) / MS_US,
            wall_ms: EPOCH_MS + now_us / MS_US + self.clock.ahead_ms - SKEW_MS_MAX,
        }
    }

    /// When the monotonic clock will say so.
    pub fn when_us(&self, monotonic_ms: u64) -> u64 {
        self.clock.started_us + monotonic_ms.saturating_sub(self.clock.monotonic_ms) * MS_US
    }
}
