//! What is settled before anything happens: the network, its faults, and when they end. A seed's plan is drawn in [`super::draw`].

use super::disk::Mistake;
use super::fault::{Fault, FaultSet};
use super::network::NodeId;
use farthing_consensus::committee::GC_DEPTH;
use farthing_consensus::engine::Settings;
use farthing_consensus::vertex::Author;
use farthing_node::mempool::MempoolLimits;
use farthing_node::storage::Retention;
use std::ops::RangeInclusive;

/// Microseconds in a second, the unit of simulated time being the microsecond.
pub const SECOND_US: u64 = 1_000_000;

/// Microseconds in a millisecond.
pub const MS_US: u64 = 1_000;

/// How far a wall clock may be off, in milliseconds.
pub const SKEW_MS_MAX: u64 = 3_600_000;

/// What the caller of a simulation chooses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// How many validators there are; drawn by the seed if `None`.
    pub validators: Option<usize>,
    /// Simulated seconds with faults and new transactions; what follows takes as long as it needs.
    pub seconds: u64,
    /// The faults of every seed; drawn by the seed if `None`.
    pub faults: Option<FaultSet>,
}

impl Default for Options {
    fn default() -> Options {
        Options { validators: None, seconds: 15, faults: None }
    }
}

/// A validator that does not keep to the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Byzantine {
    /// Who.
    pub author: Author,
    /// What it does.
    pub role: Role,
}

/// What a Byzantine validator does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// Never says anything.
    Silent,
    /// Two replicas sign with its key; each pushes its vertices to its own part of the others, and hears from all of them.
    Twins,
    /// Runs a program of its own, see [`super::adversary`].
    Adversary(Conduct),
}

/// What an adversary does. Everything that is off leaves it as a validator that keeps to the protocol but for its silence about
/// commits and blocks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conduct {
    /// Leaves out the leader before it where it can.
    pub withholds_votes: bool,
    /// Of a million of its vertices, how many are not pushed to everybody.
    pub hidden_per_million: u32,
    /// Of a million, how many have other versions for other peers.
    pub equivocations_per_million: u32,
    /// Of a million, how many come with something invalid.
    pub invalid_per_million: u32,
    /// Of a million, how many name a parent that does not exist.
    pub phantoms_per_million: u32,
    /// Of a million, how many carry a bad payload.
    pub bad_payloads_per_million: u32,
    /// Says untrue things in its vertices.
    pub claims_falsely: bool,
    /// Of a million answers to what is fetched from it, how many are wrong or missing.
    pub lies_per_million: u32,
    /// Falls silent then, in microseconds.
    pub silent_from_us: Option<u64>,
    /// Again and again builds on a vertex that nobody is ever shown, so many rounds later: just as the others collect its round.
    pub orphan_after_rounds: Option<u64>,
    /// Comes a round late, so that the others have gone on when they hear of its vertices.
    pub is_late: bool,
    /// Never shows a vertex to this one.
    pub hidden_from: Option<Author>,
}

/// A cut of the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// When it begins, in microseconds.
    pub from_us: u64,
    /// When it ends.
    pub until_us: u64,
    /// The nodes on one side of it.
    pub side: Vec<NodeId>,
    /// Whether frames are only held up, and only those that leave that side; otherwise the connections break.
    pub is_one_way: bool,
    /// The node that is not cut off from anybody.
    pub except: Option<NodeId>,
}

/// Delays that are chosen against the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// All that leaves or reaches this node takes so much longer, in microseconds.
    SlowNode(NodeId, u64),
    /// A vertex of its round's leader takes so much longer.
    SlowLeader(u64),
    /// Vertices take the short or the long time, which change places from round to round and from author to author.
    Alternating(u64, u64),
}

/// A mistake made on purpose, to see that the checker notices it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// This node's journal is mistaken.
    Journal(NodeId, Mistake),
}

/// The circumstances of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The seed from which everything follows.
    pub seed: u64,
    /// The kinds of faults in it.
    pub faults: FaultSet,
    /// How many validators there are.
    pub validators: usize,
    /// When faults and new transactions end, in microseconds.
    pub faults_until_us: u64,
    /// Those who do not keep to the protocol.
    pub byzantine: Vec<Byzantine>,
    /// The one-way latency of a link, drawn for each direction.
    pub latency_us: RangeInclusive<u64>,
    /// What a frame may take on top of that.
    pub jitter_us: u64,
    /// How many frames of a million take up to half a second longer.
    pub spikes_per_million: u32,
    /// How many transmissions of a million are lost.
    pub losses_per_million: u32,
    /// How many frames of a million come twice.
    pub replays_per_million: u32,
    /// Whether frames of a stream may overtake one another.
    pub reorders: bool,
    /// Delays chosen against the protocol.
    pub schedules: Vec<Schedule>,
    /// How often a connection breaks on average, in microseconds; never if 0.
    pub flap_every_us: u64,
    /// After how many steps of a million an honest validator loses power.
    pub crashes_per_million: u32,
    /// Validators that lose power after so many effects.
    pub crash_points: Vec<(NodeId, u64)>,
    /// How long it stays down.
    pub down_us: RangeInclusive<u64>,
    /// How many syncs of a million fail.
    pub sync_failures_per_million: u32,
    /// When all lose power at once.
    pub blackout_us: Option<u64>,
    /// The validator that starts this much later than the others.
    pub latecomer: Option<(Author, u64)>,
    /// Cuts of the network.
    pub partitions: Vec<Partition>,
    /// The validator whose disk keeps a subset of what was not synced when the power fails. When its process refuses to start from
    /// that, it counts as a faulty one from then on.
    pub torn: Option<Author>,
    /// The validator that loses its disk, and when.
    pub disk_loss: Option<(Author, u64)>,
    /// The validator that is started from an old copy of its database: when the copy is made, and when it is used.
    pub stale_copy: Option<(Author, u64, u64)>,
    /// How long a sync takes.
    pub sync_us: RangeInclusive<u64>,
    /// How far wall clocks are off, in milliseconds, either way.
    pub skew_ms: u64,
    /// The validator whose wall clock is off by up to so many milliseconds, at most [`SKEW_MS_MAX`].
    pub skewed: Option<(Author, u64)>,
    /// Wall clocks that jump, when, and how far from the truth at most.
    pub jumps: Vec<(Author, u64, u64)>,
    /// How many rounds the DAG keeps below the last committed leader.
    pub gc_depth: u64,
    /// How much commit time lies between two flushes of the state.
    pub flush_interval_ms: u64,
    /// What mempools hold.
    pub mempool: MempoolLimits,
    /// What storage keeps.
    pub retention: Retention,
    /// Local choices of the engine.
    pub engine: Settings,
    /// New transactions a second.
    pub transactions_per_second: u64,
    /// Whether some of them are bad.
    pub has_bad_clients: bool,
    /// A mistake made on purpose.
    pub planted: Option<Planted>,
}

impl Plan {
    /// A network without any fault or delay worth mentioning, and without clients.
    pub fn calm(seed: u64, validators: usize) -> Plan {
        Plan {
            seed,
            faults: FaultSet::default(),
            validators,
            faults_until_us: 0,
            byzantine: Vec::new(),
            latency_us: MS_US..=5 * MS_US,
            jitter_us: MS_US,
            spikes_per_million: 0,
            losses_per_million: 0,
            replays_per_million: 0,
            reorders: false,
            schedules: Vec::new(),
            flap_every_us: 0,
            crashes_per_million: 0,
            crash_points: Vec::new(),
            down_us: MS_US..=MS_US,
            sync_failures_per_million: 0,
            blackout_us: None,
            latecomer: None,
            partitions: Vec::new(),
            torn: None,
            disk_loss: None,
            stale_copy: None,
            sync_us: MS_US..=4 * MS_US,
            skew_ms: 0,
            skewed: None,
            jumps: Vec::new(),
            gc_depth: GC_DEPTH,
            flush_interval_ms: 5_000,
            mempool: MempoolLimits::default(),
            retention: Retention { commits: 600, blocks: 100_000, transactions_ms: 3_600_000 },
            engine: Settings::default(),
            transactions_per_second: 0,
            has_bad_clients: false,
            planted: None,
        }
    }

    /// How many Byzantine validators the committee tolerates.
    pub fn faulty_max(&self) -> usize {
        (self.validators - 1) / 3
    }

    /// The role of a validator that does not keep to the protocol.
    pub fn role_of(&self, author: Author) -> Option<&Role> {
        self.byzantine.iter().find(|byzantine| byzantine.author == author).map(|byzantine| &byzantine.role)
    }

    /// Whether two replicas sign with this validator's key.
    pub fn is_twin(&self, author: Author) -> bool {
        self.role_of(author) == Some(&Role::Twins)
    }

    /// The validators with two replicas, in the order of their second nodes.
    pub fn twins(&self) -> Vec<Author> {
        let twins = self.byzantine.iter().filter(|byzantine| byzantine.role == Role::Twins);
        twins.map(|byzantine| byzantine.author).collect()
    }
}

impl Conduct {
    /// Whether anybody is not shown everything.
    pub fn hides(&self) -> bool {
        self.hidden_per_million > 0 || self.orphan_after_rounds.is_some() || self.hidden_from.is_some()
    }

    /// The kinds of faults in it.
    pub fn faults(&self) -> Vec<Fault> {
        let kinds = [
            (self.withholds_votes, Fault::WithheldVotes),
            (self.hides(), Fault::HiddenVertices),
            (self.equivocations_per_million > 0, Fault::Equivocation),
            (self.invalid_per_million > 0, Fault::Invalid),
            (self.phantoms_per_million > 0, Fault::PhantomParents),
            (self.bad_payloads_per_million > 0, Fault::BadPayloads),
            (self.claims_falsely, Fault::FalseClaims),
            (self.lies_per_million > 0, Fault::Lies),
            (self.silent_from_us.is_some(), Fault::Silent),
        ];
        kinds.into_iter().filter_map(|(is_on, fault)| is_on.then_some(fault)).collect()
    }
}
