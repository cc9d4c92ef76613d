//! What the validators of a simulated committee stand on: processors, a disk, and the links between regions.
//!
//! - **Processors**: `cores` of them share what can be done at once, above all signature checks, in the order of arrival. One thread of
//!   each validator, as in the node, takes in vertices and executes commits, one after the other.
//! - **Disk**: a sync takes 3.5 ms, and all that waits meanwhile shares the next one.
//! - **Links**: 1 Gbit/s out of each validator and as much into it, one copy after the other; then half a round trip, always the same.
//!   There is no loss.

/// Where the validators are, in turn.
pub const REGIONS: [&str; 5] = ["Washington", "Frankfurt", "Tokyo", "Sydney", "São Paulo"];

/// Round trips in milliseconds between these regions of IBM Cloud, averages of 27 July to 25 August 2024 as that publishes them ("Network
/// latency" in the documentation of its virtual private clouds). Between two zones of one region it is 2 ms.
const ROUND_TRIPS_MS: [[u64; 5]; 5] = [
    [2, 91, 164, 214, 118],
    [91, 2, 233, 250, 198],
    [164, 233, 2, 115, 284],
    [214, 250, 115, 2, 328],
    [118, 198, 284, 328, 2],
];

const LINK_BYTES_PER_SECOND: u64 = 125_000_000;
const SYNC_US: u64 = 3_500;

/// What the one thread has to do for a vertex: two single signature checks (the vertex's and that of an attestation in it) take 36 µs;
/// the rest is generous room for frames and copies.
const VERTEX_US: u64 = 150;
/// What the engine takes for each parent of a vertex, in nanoseconds (`commit_rule`).
const PARENT_NS: u64 = 250;

const SECOND_US: u64 = 1_000_000;

/// The processors of a validator. What a transfer takes of them is, together, about what a saturated one of `farthing-testnet bench`
/// takes.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Of one core, for one transfer, on its way to execution: the signature check above all. In microseconds.
    pub check_us: u64,
    /// Of the one thread, to execute one transfer, in microseconds. (A validator that executes its blocks again after a start takes 1.2,
    /// reading them included; afterwards there are answers to give, too.)
    pub execute_us: u64,
    /// How many cores there are.
    pub cores: u64,
}

/// What the one thread takes for a vertex of a committee of so many.
pub fn vertex_us(size: usize) -> u64 {
    VERTEX_US + size as u64 * PARENT_NS / 1_000
}

/// The round trip between two validators, in milliseconds.
pub fn round_trip_ms(a: usize, b: usize) -> u64 {
    ROUND_TRIPS_MS[a % REGIONS.len()][b % REGIONS.len()]
}

/// What one validator keeps busy. All times are in microseconds of virtual time.
#[derive(Default, Debug)]
pub struct Load {
    /// When the processors have done what they were given.
    processors_free_us: u64,
    /// When the one thread has.
    thread_free_us: u64,
    /// Of one core, everything done so far.
    pub used_us: u64,
    uplink_free_us: u64,
    downlink_free_us: u64,
    /// Bytes sent so far.
    pub sent_bytes: u64,
    /// When the sync under way ends, and the one after it, which all that is written meanwhile shares.
    syncs_end_us: [u64; 2],
}

impl Load {
    /// Has the processors do something that takes so long on one core. Returns when that is done.
    pub fn work(&mut self, now_us: u64, core_us: u64, machine: Machine) -> u64 {
        self.used_us += core_us;
        self.processors_free_us = self.processors_free_us.max(now_us) + core_us / machine.cores;
        self.processors_free_us
    }

    /// Has the one thread do something. Returns when that is done.
    pub fn work_in_turn(&mut self, now_us: u64, core_us: u64, machine: Machine) -> u64 {
        self.work(now_us, core_us, machine);
        self.thread_free_us = self.thread_free_us.max(now_us) + core_us;
        self.thread_free_us
    }

    /// Writes something that must be durable.
    pub fn sync(&mut self, now_us: u64) {
        let [under_way_us, next_us] = self.syncs_end_us;
        if now_us >= next_us {
            self.syncs_end_us = [now_us + SYNC_US, now_us + SYNC_US];
        } else if now_us >= under_way_us {
            self.syncs_end_us = [next_us, next_us + SYNC_US];
        } else {
            self.syncs_end_us[1] = under_way_us + SYNC_US;
        }
    }

    /// When what was written so far is durable.
    pub fn durable_us(&self, now_us: u64) -> u64 {
        self.syncs_end_us[1].max(now_us)
    }

    /// Sends so many bytes. Returns when the last one has left.
    pub fn send(&mut self, now_us: u64, bytes: usize) -> u64 {
        self.sent_bytes += bytes as u64;
        self.uplink_free_us = self.uplink_free_us.max(now_us) + bytes as u64 * SECOND_US / LINK_BYTES_PER_SECOND;
        self.uplink_free_us
    }

    /// Takes in so many bytes, the last of which would arrive now if nothing else were coming in. Returns when it does.
    pub fn receive(&mut self, now_us: u64, bytes: usize) -> u64 {
        let takes_us = bytes as u64 * SECOND_US / LINK_BYTES_PER_SECOND;
        self.downlink_free_us = self.downlink_free_us.max(now_us - takes_us) + takes_us;
        self.downlink_free_us
    }
}
