//! A simulated machine: a disk that outlives its processes, clocks, and at most one process with a replica, or an adversary.

use super::adversary::Adversary;
use super::disk::Disk;
use super::network::NodeId;
use super::plan::{MS_US, Plan, Planted, Role, SKEW_MS_MAX};
use super::random::Random;
use farthing_consensus::engine::Now;
use farthing_consensus::vertex::Author;
use farthing_node::replica::Replica;
use farthing_node::snapshot::{Snapshots, SnapshotsSettings};
use farthing_node::storage::memory::MemoryStorage;
use std::sync::Arc;

/// When simulated time begins, in milliseconds since the Unix epoch; the timestamp of the genesis document.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// Snapshots have few slots in a chunk, so that small states have many chunks.
pub const CHUNK_LEVEL: u32 = 1;

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
    /// The program of a Byzantine validator that runs one of its own.
    pub adversary: Option<Adversary>,
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
    /// What its replicas wanted done so far, in effects.
    pub effects: u64,
    /// How often it was looked at what its replica holds, and did not.
    pub steps: u64,
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
    pub fn new(plan: &Plan, id: NodeId, author: Author) -> Node {
        let mistake = plan.planted.and_then(|Planted::Journal(node, mistake)| (node == id).then_some(mistake));
        let mut disk = Disk::new(plan.sync_us.clone(), mistake);
        disk.tears = plan.torn == Some(author);
        let snapshots = snapshots(plan, &disk);
        Node {
            author,
            is_honest: plan.role_of(author).is_none(),
            is_retired: plan.role_of(author) == Some(&Role::Silent),
            replica: None,
            adversary: None,
            incarnation: 0,
            disk,
            snapshots,
            installed: 0,
            timer: 0,
            checked_height: 0,
            acknowledged_height: 0,
            pruned_us: 0,
            effects: 0,
            steps: 0,
            clock: Clock::default(),
        }
    }

    /// Another disk takes the place of the one that is there. What clients were told by this node is no longer on it.
    pub fn replace_disk(&mut self, plan: &Plan, storage: Option<MemoryStorage>) {
        self.disk.replace(storage);
        self.snapshots = snapshots(plan, &self.disk);
        self.acknowledged_height = 0;
    }

    /// Whether a process runs, of whatever kind.
    pub fn is_running(&self) -> bool {
        self.replica.is_some() || self.adversary.is_some()
    }

    /// The wall clock jumps to at most so far from the truth.
    pub fn jump_clock(&mut self, skew_ms: u64, random: &mut Random) {
        self.clock.ahead_ms = random.range(SKEW_MS_MAX - skew_ms..=SKEW_MS_MAX + skew_ms);
    }

    /// Sets the clocks of a new process.
    pub fn start_clocks(&mut self, now_us: u64, plan: &Plan, random: &mut Random) {
        let skewed = plan.skewed.filter(|(author, _)| *author == self.author);
        let skew_ms = skewed.map_or(plan.skew_ms, |(_, skew_ms)| skew_ms);
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

/// What a node serves snapshots from.
fn snapshots(plan: &Plan, disk: &Disk) -> Arc<Snapshots> {
    let settings =
        SnapshotsSettings { chunk_level: CHUNK_LEVEL, retain_commits: plan.retention.commits, directory: None };
    Arc::new(Snapshots::new(disk.storage().clone(), settings))
}
