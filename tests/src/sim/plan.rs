//! What a seed decides before anything happens: the network, its faults and when they end.
//!
//! A new row of the fault table becomes a field here, a draw in [`Plan::draw`], and an event of the world.

use super::random::{MILLION, Random};
use farthing_consensus::committee::GC_DEPTH;
use farthing_consensus::vertex::Author;
use farthing_node::storage::Retention;
use std::ops::RangeInclusive;

/// Microseconds in a second, the unit of simulated time being the microsecond.
pub const SECOND_US: u64 = 1_000_000;

/// Microseconds in a millisecond.
pub const MS_US: u64 = 1_000;

/// The latest start. Validators keep the vertices of 600 commits, which take at least 30 s to make; who is further behind needs a
/// snapshot of the state, which there is not yet.
const LATE_US_MAX: u64 = 25 * SECOND_US;

/// What the caller of a simulation chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How many validators there are.
    pub validators: usize,
    /// Simulated seconds with faults and new transactions; what follows takes as long as it needs.
    pub seconds: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { validators: 4, seconds: 20 }
    }
}

/// A validator that does not keep to the protocol. There is one at most, whatever the size of the committee.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Byzantine {
    /// Never says anything.
    Silent(Author),
    /// Two replicas sign with one key; each pushes its vertices to its own part of the others, and hears from all of them.
    Twins(Author),
    /// Proposes transactions whose signatures are forged, next to honest ones.
    Forger(Author),
}

/// A cut of the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// When it begins, in microseconds.
    pub from_us: u64,
    /// When it ends.
    pub until_us: u64,
    /// The validators on one side of it.
    pub side: Vec<Author>,
    /// Whether frames are only held up, and only those that leave that side; otherwise the connections break.
    pub is_one_way: bool,
}

/// A mistake made on purpose, to see that the checker notices it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// This validator's disk reports writes as synced, and loses them with the power.
    LosesSyncedWrites(Author),
}

/// The circumstances of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The seed from which everything follows.
    pub seed: u64,
    /// How many validators there are.
    pub validators: usize,
    /// When faults and new transactions end, in microseconds.
    pub faults_until_us: u64,
    /// Who does not keep to the protocol.
    pub byzantine: Option<Byzantine>,
    /// The one-way latency of a link, drawn for each direction.
    pub latency_us: RangeInclusive<u64>,
    /// What a frame may take on top of that.
    pub jitter_us: u64,
    /// How many frames of a million take up to half a second longer.
    pub spikes_per_million: u32,
    /// How many frames of a million break their connection.
    pub losses_per_million: u32,
    /// After how many steps of a million an honest validator loses power.
    pub crashes_per_million: u32,
    /// How long it stays down.
    pub down_us: RangeInclusive<u64>,
    /// When all lose power at once.
    pub blackout_us: Option<u64>,
    /// The validator that starts this much later than the others.
    pub latecomer: Option<(Author, u64)>,
    /// Cuts of the network.
    pub partitions: Vec<Partition>,
    /// How long a synced write takes.
    pub sync_us: RangeInclusive<u64>,
    /// How far wall clocks are off, in milliseconds, either way.
    pub skew_ms: u64,
    /// The validator whose wall clock is off by up to an hour.
    pub skewed: Option<Author>,
    /// How many rounds the DAG keeps below the last committed leader.
    pub gc_depth: u64,
    /// How much commit time lies between two flushes of the state.
    pub flush_interval_ms: u64,
    /// What storage keeps.
    pub retention: Retention,
    /// New transactions a second.
    pub transactions_per_second: u64,
    /// A mistake made on purpose.
    pub planted: Option<Planted>,
}

impl Plan {
    /// What this seed decides.
    pub fn draw(seed: u64, options: &Options) -> Plan {
        let mut random = Random::new(seed, "plan");
        let faults_until_us = options.seconds * SECOND_US;
        let byzantine = draw_byzantine(&mut random, options.validators);
        let honest: Vec<Author> = (0..options.validators as Author)
            .filter(|author| Some(*author) != byzantine.map(Byzantine::author))
            .collect();
        let slowest_us = random.pick(&[2, 20, 60, 120]) * MS_US;
        Plan {
            seed,
            validators: options.validators,
            faults_until_us,
            byzantine,
            latency_us: slowest_us / 4..=slowest_us,
            jitter_us: random.pick(&[1, 10, 100]) * MS_US,
            spikes_per_million: random.pick(&[0, 2_000, 20_000]),
            losses_per_million: random.pick(&[0, 0, 500, 5_000]),
            crashes_per_million: random.pick(&[0, 100, 400, 1_500]),
            down_us: MS_US..=random.pick(&[1, 3, 15]) * SECOND_US,
            blackout_us: random.chance(MILLION / 5).then(|| random.range(0..=faults_until_us)),
            latecomer: random.chance(MILLION / 5).then(|| {
                (random.pick(&honest), random.range(SECOND_US..=faults_until_us.clamp(SECOND_US, LATE_US_MAX)))
            }),
            partitions: draw_partitions(&mut random, options.validators, faults_until_us),
            sync_us: MS_US..=random.pick(&[2, 10, 30]) * MS_US,
            skew_ms: random.pick(&[0, 5, 200]),
            skewed: random.chance(MILLION / 8).then(|| random.pick(&honest)),
            gc_depth: random.pick(&[GC_DEPTH, GC_DEPTH, GC_DEPTH, 8]),
            flush_interval_ms: random.pick(&[1_000, 5_000]),
            retention: Retention { commits: 600, blocks: random.pick(&[100, 100_000]), transactions_ms: 3_600_000 },
            transactions_per_second: random.pick(&[1, 5, 20, 40]),
            planted: None,
        }
    }

    /// A network without any fault or delay worth mentioning, and without clients.
    pub fn calm(seed: u64, validators: usize) -> Plan {
        Plan {
            seed,
            validators,
            faults_until_us: 0,
            byzantine: None,
            latency_us: MS_US..=5 * MS_US,
            jitter_us: MS_US,
            spikes_per_million: 0,
            losses_per_million: 0,
            crashes_per_million: 0,
            down_us: MS_US..=MS_US,
            blackout_us: None,
            latecomer: None,
            partitions: Vec::new(),
            sync_us: MS_US..=4 * MS_US,
            skew_ms: 0,
            skewed: None,
            gc_depth: GC_DEPTH,
            flush_interval_ms: 5_000,
            retention: Retention { commits: 600, blocks: 100_000, transactions_ms: 3_600_000 },
            transactions_per_second: 0,
            planted: None,
        }
    }
}

impl Byzantine {
    /// Who it is.
    pub fn author(self) -> Author {
        match self {
            Byzantine::Silent(author) | Byzantine::Twins(author) | Byzantine::Forger(author) => author,
        }
    }
}

/// Fewer than four validators tolerate none.
fn draw_byzantine(random: &mut Random, validators: usize) -> Option<Byzantine> {
    let author = random.position(validators) as Author;
    let kind = random.range(0..=5);
    if validators < 4 {
        return None;
    }
    match kind {
        0 => Some(Byzantine::Silent(author)),
        1 | 2 => Some(Byzantine::Twins(author)),
        3 => Some(Byzantine::Forger(author)),
        _ => None,
    }
}

fn draw_partitions(random: &mut Random, validators: usize, until_us: u64) -> Vec<Partition> {
    let count = if random.chance(MILLION / 2) { 0 } else { random.range(1..=3) };
    (0..count)
        .map(|_| {
            let from_us = random.range(0..=until_us);
            let is_one_way = random.chance(MILLION / 2);
            // A connection over which nothing comes for ten seconds breaks; one that is held up less does not.
            let longest_us = if is_one_way { 8 * SECOND_US } else { 12 * SECOND_US };
            let until_us = (from_us + random.range(MS_US..=longest_us)).min(until_us);
            let side = (0..validators as Author).filter(|_| random.chance(MILLION / 2)).collect();
            Partition { from_us, until_us, side, is_one_way }
        })
        .collect()
}
