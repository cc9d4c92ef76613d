//! The world: machines, links and clients in one queue of events over simulated time.
//!
//! Everything that happens is an [`Incident`] with a time. Handling one steps one replica, checks what it wants done, and turns
//! that into further incidents. Nothing depends on anything but the plan.

use super::checker::{Checker, Violation};
use super::client::Clients;
use super::fault::{Counts, Fault};
use super::health::Health;
use super::network::{LinkId, Network, NodeId};
use super::node::{EPOCH_MS, Node};
use super::plan::{MS_US, Plan, Role, SECOND_US};
use super::random::{MILLION, Random};
use bytes::Bytes;
use farthing_consensus::committee::Committee;
use farthing_consensus::vertex::{Author, VerifiedVertex};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::signature::DecodedKey;
use farthing_core::verification::{UnverifiedTransaction, verify_payloads};
use farthing_node::executor::Verdict;
use farthing_node::payload;
use farthing_node::replica::Event;
use farthing_node::storage::memory::MemoryStorage;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How often an adversary looks whether it can make a vertex.
const ACT_EVERY_US: u64 = 10 * MS_US;

/// Verdicts on payloads that are remembered, so that each is checked once instead of once by each receiver.
const VERDICTS_MAX: usize = 20_000;

/// Something that is going to happen.
pub(super) enum Incident {
    /// A machine is switched on.
    Start(NodeId),
    /// A process's timer rings, if it was not set again.
    Timer { node: NodeId, incarnation: u32, timer: u64 },
    /// A journal has written a group, or has synced it.
    Written { node: NodeId, incarnation: u32 },
    /// The transactions of a vertex have been checked.
    Checked { node: NodeId, incarnation: u32, vertex: VerifiedVertex },
    /// A frame arrives at one side of a link.
    Frame { link: LinkId, side: usize, epoch: u64, bytes: Bytes, is_replayed: bool },
    /// Two nodes try to connect.
    Connect(LinkId),
    /// One side of a link notices that its connection broke.
    Lost { link: LinkId, side: usize, epoch: u64 },
    /// A cut of the network begins.
    PartitionBegins(usize),
    /// It ends.
    PartitionEnds(usize),
    /// The twins with this key change places before this node.
    SwapTwins(NodeId, Author),
    /// An adversary makes a vertex, if it can.
    Act(NodeId),
    /// Some connection breaks.
    Flap,
    /// A machine loses power and disk, and gets an empty one.
    LoseDisk(NodeId),
    /// A copy of a database is made.
    CopyDisk(NodeId),
    /// A machine loses power, and is started from that copy.
    RestoreDisk(NodeId),
    /// A wall clock jumps.
    Jump(NodeId, u64),
    /// Everybody loses power.
    Blackout,
    /// A client signs something new.
    Order,
    /// A client sends an order to a validator, if it has not been told a result.
    Submit { order: usize, copies: usize },
}

/// The world at one moment.
pub struct World {
    pub(super) plan: Plan,
    pub(super) now_us: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    /// Who uses the network.
    pub clients: Clients,
    pub(super) checker: Checker,
    pub(super) random: Random,
    /// Coefficients of batch checks. Their number depends on the order in which a batch is gone through, which is not fixed;
    /// so nothing else may be drawn from this stream.
    pub(super) coefficients: Random,
    /// Which node each one takes for a validator with two of them.
    pub(super) twin_of: BTreeMap<(NodeId, Author), NodeId>,
    pub(super) followers: u64,
    pub(super) has_healed: bool,
    pub(super) partitions: Vec<bool>,
    /// A copy of a database, while it waits for being used.
    pub(super) copy: Option<MemoryStorage>,
    pub(super) counts: Counts,
    /// Starts that were refused from a disk that lost what its log cannot lose.
    pub(super) refused: u64,
    pub(super) health: Health,
    pub(super) events: u64,
    /// A hash over all that happened.
    pub(super) hash: Digest,
    pub(super) genesis: Genesis,
    pub(super) committee: Arc<Committee>,
    pub(super) keys: Vec<SecretKey>,
    /// By digest of the payload: the same bytes are as good for every receiver. Looked up only.
    verdicts: HashMap<Digest, Verdict>,
    incidents: BTreeMap<(u64, u64), Incident>,
    next_incident: u64,
}

impl World {
    /// The world at the beginning of time.
    pub fn new(plan: Plan) -> World {
        let mut random = Random::new(plan.seed, "world");
        let keys: Vec<_> = (0..plan.validators).map(|_| SecretKey::from_seed(&random.bytes())).collect();
        let mut clients = Clients::new(plan.seed);
        let genesis = genesis(&keys, &clients, &mut random);
        let committee = Committee::from_genesis(&genesis).with_gc_depth(plan.gc_depth);
        clients.join(genesis.chain_hash());
        let twins = plan.twins();
        let authors = (0..plan.validators as Author).chain(twins.iter().copied());
        let nodes: Vec<_> = authors.enumerate().map(|(id, author)| Node::new(&plan, id, author)).collect();
        let committee = Arc::new(committee);
        let pairs = (0..nodes.len()).flat_map(|low| (low + 1..nodes.len()).map(move |high| [low, high]));
        let ends = pairs.filter(|[low, high]| nodes[*low].author != nodes[*high].author);
        let network = Network::new(&plan, committee.clone(), ends);
        let mut twin_of = BTreeMap::new();
        for (number, author) in twins.iter().enumerate() {
            let pair = [NodeId::from(*author), plan.validators + number];
            for observer in 0..nodes.len() {
                twin_of.insert((observer, *author), random.pick(&pair));
            }
        }
        let mut world = World {
            now_us: 0,
            checker: Checker::new(genesis.chain_hash(), genesis.supply(), clients.addresses()),
            network,
            clients,
            random,
            coefficients: Random::new(plan.seed, "coefficients"),
            twin_of,
            followers: 0,
            has_healed: false,
            partitions: vec![false; plan.partitions.len()],
            copy: None,
            counts: Counts::default(),
            refused: 0,
            health: Health::default(),
            verdicts: HashMap::new(),
            events: 0,
            hash: Digest::ZERO,
            genesis,
            committee,
            keys,
            incidents: BTreeMap::new(),
            next_incident: 0,
            nodes,
            plan,
        };
        // These last from the beginning to the end.
        for fault in [Fault::SlowDisk, Fault::TinyLimits] {
            if world.plan.faults.has(fault) {
                world.counts.add(fault);
            }
        }
        world.schedule_plan();
        world
    }

    /// Handles all incidents up to a time.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn run_until(&mut self, until_us: u64) -> Result<(), Violation> {
        while let Some(entry) = self.incidents.first_entry()
            && entry.key().0 <= until_us
        {
            let ((at_us, number), incident) = entry.remove_entry();
            assert!(at_us >= self.now_us, "time runs forwards");
            self.now_us = at_us;
            self.events += 1;
            self.hash = Digest::of("event/v1", &[&self.hash.0, &at_us.to_le_bytes(), &number.to_le_bytes()]);
            self.handle(incident)?;
        }
        self.now_us = until_us;
        Ok(())
    }

    /// Simulated milliseconds since the Unix epoch.
    pub fn wall_ms(&self) -> u64 {
        EPOCH_MS + self.now_us / MS_US
    }

    /// How many commits honest nodes have made.
    pub fn commits(&self) -> u64 {
        self.checker.commits()
    }

    /// Which node an observer takes for a validator with two of them, from its next connection on and for good.
    pub fn take_for_real(&mut self, observer: NodeId, twin: NodeId) {
        let author = self.nodes[twin].author;
        self.twin_of.insert((observer, author), twin);
        let swaps = |incident: &Incident| matches!(incident, Incident::SwapTwins(node, of) if (*node, *of) == (observer, author));
        self.incidents.retain(|_, incident| !swaps(incident));
    }

    /// The honest nodes.
    pub fn honest(&self) -> impl Iterator<Item = NodeId> + use<> {
        let honest: Vec<_> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_honest).collect();
        honest.into_iter()
    }

    pub(super) fn schedule(&mut self, in_us: u64, incident: Incident) {
        self.incidents.insert((self.now_us + in_us, self.next_incident), incident);
        self.next_incident += 1;
    }

    fn schedule_plan(&mut self) {
        for _ in self.plan.byzantine.iter().filter(|byzantine| byzantine.role == Role::Silent) {
            self.counts.add(Fault::Silent);
        }
        for node in 0..self.nodes.len() {
            let delay_us = match self.plan.latecomer {
                Some((author, delay_us)) if author == self.nodes[node].author => delay_us,
                _ => self.random.range(0..=SECOND_US / 2),
            };
            self.schedule(delay_us, Incident::Start(node));
        }
        for number in 0..self.plan.partitions.len() {
            self.schedule(self.plan.partitions[number].from_us, Incident::PartitionBegins(number));
            self.schedule(self.plan.partitions[number].until_us, Incident::PartitionEnds(number));
        }
        if let Some(at_us) = self.plan.blackout_us {
            self.schedule(at_us, Incident::Blackout);
        }
        if self.plan.transactions_per_second > 0 {
            self.schedule(SECOND_US / 2, Incident::Order);
        }
        for author in self.plan.twins() {
            for node in self.honest() {
                let delay_us = self.random.range(0..=self.plan.faults_until_us);
                self.schedule(delay_us, Incident::SwapTwins(node, author));
            }
        }
        if let Some((author, at_us)) = self.plan.disk_loss {
            self.schedule(at_us, Incident::LoseDisk(author.into()));
        }
        if let Some((author, copied_us, restored_us)) = self.plan.stale_copy {
            self.schedule(copied_us, Incident::CopyDisk(author.into()));
            self.schedule(restored_us, Incident::RestoreDisk(author.into()));
        }
        if self.plan.flap_every_us > 0 {
            self.schedule(self.plan.flap_every_us, Incident::Flap);
        }
        for (author, at_us, skew_ms) in self.plan.jumps.clone() {
            self.schedule(at_us, Incident::Jump(author.into(), skew_ms));
        }
    }

    fn handle(&mut self, incident: Incident) -> Result<(), Violation> {
        match incident {
            Incident::Start(node) => self.start(node),
            Incident::Timer { node, incarnation, timer } => {
                let is_set = self.runs(node, incarnation) && self.nodes[node].timer == timer;
                if is_set { self.step(node, Event::Timer) } else { Ok(()) }
            }
            Incident::Written { node, incarnation } => self.written(node, incarnation),
            Incident::Checked { node, incarnation, vertex } => self.checked(node, incarnation, &vertex),
            Incident::Frame { link, side, epoch, bytes, is_replayed } => {
                self.frame(link, side, epoch, &bytes, is_replayed)
            }
            Incident::Connect(link) => self.connect(link),
            Incident::Lost { link, side, epoch } => self.lost(link, side, epoch),
            Incident::PartitionBegins(number) => self.partition_begins(number),
            Incident::PartitionEnds(number) => self.partition_ends(number),
            Incident::SwapTwins(node, author) => self.swap_twins(node, author),
            Incident::Act(node) => self.act(node),
            Incident::Flap => self.flap(),
            Incident::LoseDisk(node) => self.lose_disk(node),
            Incident::CopyDisk(node) => {
                self.copy = Some(self.nodes[node].disk.storage().copy());
                Ok(())
            }
            Incident::RestoreDisk(node) => self.restore_disk(node),
            Incident::Jump(node, skew_ms) => {
                self.jump(node, skew_ms);
                Ok(())
            }
            Incident::Blackout => {
                self.counts.add(Fault::Blackout);
                (0..self.nodes.len()).try_for_each(|node| self.crash(node))
            }
            Incident::Order => self.order(),
            Incident::Submit { order, copies } => self.submit(order, copies),
        }
    }

    /// What an adversary does on its own.
    fn act(&mut self, id: NodeId) -> Result<(), Violation> {
        let now_us = self.now_us;
        let delay_us = self.random.range(ACT_EVERY_US..=2 * ACT_EVERY_US);
        let makes_bad = match self.plan.role_of(self.nodes[id].author) {
            Some(Role::Adversary(conduct)) => conduct.bad_payloads_per_million > 0 && self.random.chance(MILLION / 50),
            _ => false,
        };
        let Some(adversary) = &mut self.nodes[id].adversary else { return Ok(()) };
        if makes_bad {
            adversary.offer_bad(self.clients.forge(EPOCH_MS + now_us / MS_US).encode().into());
        }
        let outgoing = adversary.act(now_us, &mut self.counts);
        self.schedule(delay_us, Incident::Act(id));
        self.send_all(id, outgoing);
        Ok(())
    }

    fn jump(&mut self, id: NodeId, skew_ms: u64) {
        if !self.has_healed {
            self.counts.add(Fault::ClockJump);
            self.nodes[id].jump_clock(skew_ms, &mut self.random);
        }
    }

    /// What verification says of a vertex's payload.
    pub(super) fn verdict(&mut self, vertex: &VerifiedVertex) -> Verdict {
        let digest = vertex.header().payload_digest;
        if let Some(known) = self.verdicts.get(&digest) {
            return known.clone();
        }
        let chain = self.committee.chain();
        let verdict = match payload::decode(vertex.payload()) {
            Ok(transactions) => {
                let unverified = |signed| UnverifiedTransaction::new(signed, chain);
                let payload = transactions.into_iter().map(unverified).collect();
                let verified = verify_payloads(vec![payload], DecodedKey::decode_all, self.coefficients.generator());
                verified.into_iter().next().and_then(Result::ok).map_or(Verdict::Void, Verdict::Valid)
            }
            Err(_) => Verdict::Void,
        };
        if self.verdicts.len() == VERDICTS_MAX {
            self.verdicts.clear();
        }
        self.verdicts.insert(digest, verdict.clone());
        verdict
    }

    pub(super) fn runs(&self, node: NodeId, incarnation: u32) -> bool {
        self.nodes[node].replica.is_some() && self.nodes[node].incarnation == incarnation
    }
}

fn genesis(keys: &[SecretKey], clients: &Clients, random: &mut Random) -> Genesis {
    let validators = keys
        .iter()
        .enumerate()
        .map(|(number, key)| Validator {
            name: format!("validator {number}"),
            public_key: key.public_key(),
            network_key: SecretKey::from_seed(&random.bytes()).public_key(),
        })
        .collect();
    let prefix = "far".parse().expect("a good prefix");
    Genesis::new("simulation", &prefix, EPOCH_MS, Parameters::generous(), validators, clients.genesis_accounts())
        .expect("a good genesis document")
}
