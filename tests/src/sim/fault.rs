//! The kinds of faults, by the names that `sim --faults` knows, and how often each was injected.

use super::random::{MILLION, Random};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Fault {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Fault] = &[$(Fault::$variant,)+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Fault::$variant => $name,)+
                }
            }
        }
    };
}

faults! {
    /// A validator loses power after any effect of any step; of what was not synced a prefix survives.
    Crash = "crash",
    /// All validators lose power at once.
    Blackout = "blackout",
    /// A sync fails: the process stops.
    SyncFailure = "sync-failure",
    /// A validator loses its disk, and starts again with the same key and an empty one.
    DiskLoss = "disk-loss",
    /// A validator starts long after the others.
    LateStart = "late-start",
    /// A validator is off for longer than its peers keep commits: it needs a snapshot of the state.
    LongOutage = "long-outage",
    /// Wall clocks that are off: all by a little, one by up to an hour.
    Skew = "skew",
    /// A wall clock jumps by up to an hour.
    ClockJump = "clock-jump",
    /// Disks that take long to sync.
    SlowDisk = "slow-disk",
    /// A two-way cut of the network.
    Partition = "partition",
    /// A cut in one direction only, of all that leaves some validators.
    OneWay = "one-way",
    /// Connections that break and come back all the time.
    Flapping = "flapping",
    /// Up to 30 % of all transmissions are lost and sent again later; after several in a row the connection breaks.
    Loss = "loss",
    /// Up to half of what is pushed or answered comes a second time, later.
    Replay = "replay",
    /// Frames of a stream overtake one another.
    Reordering = "reordering",
    /// High latency and jitter, and frames that take half a second longer.
    Delay = "delay",
    /// One validator is slow to reach and to be heard, for as long as there are faults.
    SlowValidator = "slow-validator",
    /// Each leader's vertex of its own round is held up.
    SlowLeader = "slow-leader",
    /// Latencies of 10 and 120 ms change places with every round, so that the clock passes those who wait.
    Alternating = "alternating",
    /// A Byzantine validator says nothing at all, from some time on or from the start.
    Silent = "silent",
    /// Two engines with one key, each with its own part of the others.
    Twins = "twins",
    /// Vertices that leave out the leader before them whenever validity allows it.
    WithheldVotes = "withheld-votes",
    /// Vertices that are shown to some only, late, or to nobody, but are built on.
    HiddenVertices = "hidden-vertices",
    /// Several vertices for one slot, a different one for everybody.
    Equivocation = "equivocation",
    /// Frames and vertices that break the protocol.
    Invalid = "invalid",
    /// Parents that do not exist.
    PhantomParents = "phantom-parents",
    /// Payloads that are garbage, forged, of another chain, or copies of others' transactions under another signature.
    BadPayloads = "bad-payloads",
    /// Timestamps, commit votes and attestations that are not true.
    FalseClaims = "false-claims",
    /// Wrong answers, or none, to what is fetched.
    Lies = "lies",
    /// Clients that overdraw, contradict themselves, come late, and make no sense.
    BadClients = "bad-clients",
    /// Small mempools, few rounds and bodies kept, state flushed all the time.
    TinyLimits = "tiny-limits",
}

/// Those that only a Byzantine validator commits.
pub const BYZANTINE: &[Fault] = &[
    Fault::Silent,
    Fault::Twins,
    Fault::WithheldVotes,
    Fault::HiddenVertices,
    Fault::Equivocation,
    Fault::Invalid,
    Fault::PhantomParents,
    Fault::BadPayloads,
    Fault::FalseClaims,
    Fault::Lies,
];

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let all = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
        let found = Fault::ALL.iter().find(|fault| fault.name() == text);
        found.copied().ok_or_else(|| format!("there is no fault {text:?}: give all, or some of {}", all()))
    }
}

/// Some faults.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FaultSet(Vec<Fault>);

impl FaultSet {
    /// These.
    pub fn new(faults: &[Fault]) -> FaultSet {
        let mut faults = faults.to_vec();
        faults.sort_unstable();
        faults.dedup();
        FaultSet(faults)
    }

    /// A swarm's mix: sometimes none, often a few, seldom most of them. What is seldom on its own shows up best with few others.
    pub fn draw(random: &mut Random) -> FaultSet {
        let share = match random.range(0..=9) {
            0 => 0,
            1..=4 => MILLION / 10,
            5..=7 => MILLION / 4,
            _ => MILLION * 6 / 10,
        };
        FaultSet(Fault::ALL.iter().copied().filter(|_| random.chance(share)).collect())
    }

    /// Whether a fault is among them.
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Fault> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Fault::name).collect();
        formatter.write_str(&if names.is_empty() { "none".into() } else { names.join(",") })
    }
}

/// How often each fault was injected.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts(BTreeMap<Fault, u64>);

impl Counts {
    /// Once more.
    pub fn add(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// All of another count.
    pub fn extend(&mut self, other: &Counts) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    /// How often.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// By name, those that never happened too.
    pub fn by_name(&self) -> BTreeMap<&'static str, u64> {
        Fault::ALL.iter().map(|fault| (fault.name(), self.of(*fault))).collect()
    }
}
