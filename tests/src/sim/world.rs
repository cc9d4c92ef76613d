//! The world: machines, links and clients in one queue of events over simulated time.
//!
//! Everything that happens is an [`Incident`] with a time. Handling one steps one replica, checks what it wants done, and turns
//! that into further incidents. Nothing depends on anything but the plan.

use super::checker::{Checker, Violation};
use super::client::{Clients, Fate};
use super::disk::Write;
use super::network::{LinkId, Network, NodeId};
use super::node::{CHUNK_LEVEL, EPOCH_MS, Node};
use super::plan::{Byzantine, MS_US, Plan, SECOND_US};
use super::random::Random;
use bytes::Bytes;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::Settings;
use farthing_consensus::vertex::{Author, VerifiedVertex};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::SignedTransaction;
use farthing_node::executor::Verdict;
use farthing_node::network::Outbound;
use farthing_node::payload;
use farthing_node::replica::serve::{self, Request, Sources, Unsynced};
use farthing_node::replica::{Effect, Event, Own, Replica, ReplicaSettings, Settled};
use farthing_node::storage::Storage as _;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often a machine prunes its disk.
const PRUNE_EVERY_US: u64 = SECOND_US;

/// Something that is going to happen.
pub(super) enum Incident {
    /// A machine is switched on.
    Start(NodeId),
    /// A process's timer rings, if it was not set again.
    Timer { node: NodeId, incarnation: u32, timer: u64 },
    /// The write at the head of a disk is done.
    Written { node: NodeId, incarnation: u32 },
    /// The transactions of a vertex have been checked.
    Checked { node: NodeId, incarnation: u32, vertex: VerifiedVertex },
    /// A frame arrives at one side of a link.
    Frame { link: LinkId, side: usize, epoch: u64, bytes: Bytes },
    /// Two nodes try to connect.
    Connect(LinkId),
    /// One side of a link notices that its connection broke.
    Lost { link: LinkId, side: usize, epoch: u64 },
    /// A cut of the network begins.
    PartitionBegins(usize),
    /// It ends.
    PartitionEnds(usize),
    /// The twins change places before this node.
    SwapTwins(NodeId),
    /// The forger proposes a forgery.
    Forge,
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
    coefficients: Random,
    /// Which of the twins each validator takes for the real one.
    pub(super) twin_of: Vec<NodeId>,
    pub(super) followers: u64,
    pub(super) has_healed: bool,
    pub(super) partitions: Vec<bool>,
    pub(super) crashes: u64,
    pub(super) events: u64,
    /// A hash over all that happened.
    pub(super) hash: Digest,
    genesis: Genesis,
    committee: Arc<Committee>,
    keys: Vec<SecretKey>,
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
        let twin = match plan.byzantine {
            Some(Byzantine::Twins(author)) => Some(author),
            _ => None,
        };
        let nodes: Vec<_> = (0..plan.validators as Author).chain(twin).map(|author| Node::new(&plan, author)).collect();
        let committee = Arc::new(committee);
        let pairs = (0..nodes.len()).flat_map(|low| (low + 1..nodes.len()).map(move |high| [low, high]));
        let ends = pairs.filter(|[low, high]| nodes[*low].author != nodes[*high].author);
        let network = Network::new(&plan, committee.clone(), ends);
        let twins = [twin.map_or(0, NodeId::from), plan.validators];
        let twin_of = (0..plan.validators).map(|_| twins[usize::from(random.chance(500_000))]).collect();
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
            crashes: 0,
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
        match self.plan.byzantine {
            Some(Byzantine::Twins(_)) => {
                for node in self.honest() {
                    let delay_us = self.random.range(0..=self.plan.faults_until_us);
                    self.schedule(delay_us, Incident::SwapTwins(node));
                }
            }
            Some(Byzantine::Forger(_)) => self.schedule(SECOND_US, Incident::Forge),
            Some(Byzantine::Silent(_)) | None => {}
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
            Incident::Frame { link, side, epoch, bytes } => self.frame(link, side, epoch, &bytes),
            Incident::Connect(link) => self.connect(link),
            Incident::Lost { link, side, epoch } => self.lost(link, side, epoch),
            Incident::PartitionBegins(number) => self.partition_begins(number),
            Incident::PartitionEnds(number) => self.partition_ends(number),
            Incident::SwapTwins(node) => self.swap_twins(node),
            Incident::Forge => self.forge(),
            Incident::Blackout => (0..self.nodes.len()).try_for_each(|node| self.crash(node)),
            Incident::Order => self.order(),
            Incident::Submit { order, copies } => self.submit(order, copies),
        }
    }

    pub(super) fn runs(&self, node: NodeId, incarnation: u32) -> bool {
        self.nodes[node].replica.is_some() && self.nodes[node].incarnation == incarnation
    }

    fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.nodes[id].is_retired || self.nodes[id].replica.is_some() {
            return Ok(());
        }
        self.nodes[id].start_clocks(self.now_us, &self.plan, &mut self.random);
        let Some(effects) = self.start_replica(id)? else { return Ok(()) };
        self.check_start(id)?;
        self.apply(id, effects)?;
        for (link, _) in self.network.links_of(id) {
            let delay_us = self.network.reconnect_us();
            self.schedule(delay_us, Incident::Connect(link));
        }
        Ok(())
    }

    /// Starts a replica on what a disk holds. None if that is refused to a Byzantine validator.
    fn start_replica(&mut self, id: NodeId) -> Result<Option<Vec<Effect>>, Violation> {
        let node = &mut self.nodes[id];
        let is_alone = !matches!(self.plan.byzantine, Some(Byzantine::Twins(author)) if author == node.author);
        let is_watched = self.plan.planted.is_none();
        let engine = Settings { stop_at_own_equivocation: is_alone && is_watched, ..Settings::default() };
        let settings = ReplicaSettings {
            engine,
            flush_interval_ms: Some(self.plan.flush_interval_ms),
            chunk_level: Some(CHUNK_LEVEL),
            ..ReplicaSettings::default()
        };
        let own = Own { author: node.author, key: self.keys[usize::from(node.author)].clone() };
        let mut effects = Vec::new();
        let started = Replica::start(
            &self.genesis,
            self.committee.clone(),
            Some(own),
            settings,
            node.disk.storage().clone(),
            node.now(self.now_us),
            &mut effects,
        );
        match started {
            Ok(replica) => {
                node.replica = Some(replica);
                Ok(Some(effects))
            }
            Err(error) if node.is_honest => Err(Violation::Conduct(format!("node {id} does not start: {error}"))),
            Err(_) => {
                node.is_retired = true;
                Ok(None)
            }
        }
    }

    /// What clients were told is there after a restart.
    fn check_start(&mut self, id: NodeId) -> Result<(), Violation> {
        let node = &mut self.nodes[id];
        if !node.is_honest {
            return Ok(());
        }
        let ledger = node.replica.as_mut().expect("it has just started").ledger();
        node.checked_height = ledger.newest().height;
        if node.checked_height < node.acknowledged_height {
            let message = format!(
                "node {id} starts at block {}, but told clients of block {}",
                node.checked_height, node.acknowledged_height
            );
            return Err(Violation::Lost(message));
        }
        self.checker.ledger(id, ledger)
    }

    /// Has something happen to a replica.
    pub(super) fn step(&mut self, id: NodeId, event: Event) -> Result<(), Violation> {
        let node = &mut self.nodes[id];
        let now = node.now(self.now_us);
        let Some(replica) = &mut node.replica else { return Ok(()) };
        let mut effects = Vec::new();
        let result = replica.step(now, event, &mut effects);
        self.after(id, result.map_err(|stop| stop.to_string()), effects)
    }

    /// Does what a replica wants; perhaps the power fails before all of it is done.
    pub(super) fn after(
        &mut self,
        id: NodeId,
        result: Result<(), String>,
        mut effects: Vec<Effect>,
    ) -> Result<(), Violation> {
        if let Err(stop) = result {
            if self.nodes[id].is_honest {
                return Err(Violation::Conduct(format!("node {id} stops: {stop}")));
            }
            self.nodes[id].is_retired = true;
            return self.crash(id);
        }
        let may_crash = !self.has_healed && self.nodes[id].is_honest;
        let crashes = may_crash && self.random.chance(self.plan.crashes_per_million);
        if crashes {
            let done = self.random.range(0..=effects.len() as u64) as usize;
            effects.truncate(done);
        }
        self.apply(id, effects)?;
        if crashes {
            return self.crash(id);
        }
        let node = &mut self.nodes[id];
        if let Some(replica) = node.replica.as_mut().filter(|_| node.is_honest)
            && replica.newest_height() != node.checked_height
        {
            node.checked_height = replica.newest_height();
            self.checker.ledger(id, replica.ledger())?;
        }
        Ok(())
    }

    fn apply(&mut self, id: NodeId, effects: Vec<Effect>) -> Result<(), Violation> {
        for effect in effects {
            let incarnation = self.nodes[id].incarnation;
            match effect {
                Effect::Persist { ticket, batch, sync } => {
                    if self.nodes[id].is_honest {
                        batch.commits.iter().try_for_each(|commit| self.checker.committed(id, commit))?;
                        batch.block.iter().try_for_each(|(block, _)| self.checker.executed(id, block))?;
                    }
                    let write = Write { ticket, batch, sync };
                    if let Some(duration_us) = self.nodes[id].disk.push(write, &mut self.random) {
                        self.schedule(duration_us, Incident::Written { node: id, incarnation });
                    }
                }
                Effect::Send { to, message } => {
                    let node = &self.nodes[id];
                    if let Outbound::Vertex(vertex) = &message
                        && node.is_honest
                    {
                        self.checker.sent(id, vertex, node.disk.storage())?;
                    }
                    self.send(id, to, message);
                }
                Effect::Answer { to, request, unsynced } => {
                    let message = self.answer(id, request, unsynced)?;
                    self.send(id, to, message);
                }
                Effect::Disconnect { peer, reason } => self.breach(id, peer, reason)?,
                Effect::Verify(vertex) => {
                    let delay_us = self.random.range(100..=20 * MS_US);
                    self.schedule(delay_us, Incident::Checked { node: id, incarnation, vertex });
                }
                Effect::CheckForwarded { .. } => unreachable!("only full nodes forward, and here are none"),
                Effect::SetTimer { at_ms } => {
                    self.nodes[id].timer += 1;
                    let (timer, at_us) = (self.nodes[id].timer, self.nodes[id].when_us(at_ms));
                    let in_us = at_us.saturating_sub(self.now_us);
                    self.schedule(in_us, Incident::Timer { node: id, incarnation, timer });
                }
                Effect::Settled(settled) => self.settled(id, &settled)?,
                Effect::CertifiedUpTo(_) => {}
                Effect::InstallSnapshot => return self.install(id),
            }
        }
        Ok(())
    }

    /// Answers a peer's request, from a copy of the state made at once if a snapshot is asked for.
    fn answer(&mut self, id: NodeId, request: Request, unsynced: Option<Unsynced>) -> Result<Outbound, Violation> {
        let (storage, snapshots) = (self.nodes[id].disk.storage().clone(), self.nodes[id].snapshots.clone());
        if request == Request::FetchManifest {
            snapshots.refresh().map_err(|error| Violation::Durability(error.to_string()))?;
        }
        let sources = Sources { committee: self.committee.clone(), storage, snapshots };
        serve::answer(&sources, request, unsynced).map_err(|error| Violation::Durability(error.to_string()))
    }

    /// A process puts a snapshot in the place of its state and goes on from there with a new replica.
    fn install(&mut self, id: NodeId) -> Result<(), Violation> {
        let failed = |error: farthing_node::storage::StorageError| Violation::Durability(error.to_string());
        let node = &mut self.nodes[id];
        let Some(replica) = node.replica.take() else { return Ok(()) };
        let links = replica.into_links();
        // What was under way for the old replica means nothing to the new one.
        node.incarnation += 1;
        node.disk.complete_all().map_err(failed)?;
        node.installed += u64::from(node.disk.storage().install().map_err(failed)?);
        let Some(mut effects) = self.start_replica(id)? else { return Ok(()) };
        let node = &mut self.nodes[id];
        let now = node.now(self.now_us);
        let replica = node.replica.as_mut().expect("it has just started");
        replica
            .take_over(now, links, &mut effects)
            .map_err(|stop| Violation::Conduct(format!("node {id} stops after a snapshot: {stop}")))?;
        self.check_start(id)?;
        self.apply(id, effects)
    }

    fn settled(&mut self, id: NodeId, settled: &Settled) -> Result<(), Violation> {
        let node = &mut self.nodes[id];
        if !node.is_honest {
            return Ok(());
        }
        self.checker.settled(id, settled, node.disk.storage())?;
        if let Some(block) = &settled.block {
            node.acknowledged_height = node.acknowledged_height.max(block.header.height);
            block.results.iter().for_each(|(transaction, _)| self.clients.on_settled(transaction));
        }
        for (transaction, reason) in &settled.dropped {
            if self.clients.fate(transaction) == Some(Fate::Settles) {
                self.checker.dropped(id, transaction, *reason)?;
            }
        }
        Ok(())
    }

    fn written(&mut self, id: NodeId, incarnation: u32) -> Result<(), Violation> {
        if !self.runs(id, incarnation) {
            return Ok(());
        }
        let failed = |error: farthing_node::storage::StorageError| Violation::Durability(error.to_string());
        let node = &mut self.nodes[id];
        let (write, next_us) = node.disk.complete(&mut self.random).map_err(failed)?;
        if self.now_us >= node.pruned_us + PRUNE_EVERY_US {
            node.pruned_us = self.now_us;
            node.disk.prune(&self.plan.retention).map_err(failed)?;
        }
        if let Some(next_us) = next_us {
            self.schedule(next_us, Incident::Written { node: id, incarnation });
        }
        self.step(id, Event::Persisted(write.ticket))
    }

    fn checked(&mut self, id: NodeId, incarnation: u32, vertex: &VerifiedVertex) -> Result<(), Violation> {
        if !self.runs(id, incarnation) {
            return Ok(());
        }
        let chain = self.committee.chain();
        let verdict = match payload::decode(vertex.payload()) {
            Ok(transactions) => SignedTransaction::verify_payload(transactions, chain, self.coefficients.generator())
                .map_or(Verdict::Void, Verdict::Valid),
            Err(_) => Verdict::Void,
        };
        self.step(id, Event::Verdict { vertex: vertex.reference(), verdict })
    }

    /// The power of a machine fails.
    pub(super) fn crash(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.nodes[id].replica.take().is_none() {
            return Ok(());
        }
        self.crashes += 1;
        let node = &mut self.nodes[id];
        node.incarnation += 1;
        node.disk.crash(&mut self.random).map_err(|error| Violation::Durability(error.to_string()))?;
        for (link, side) in self.network.links_of(id) {
            self.network.link_mut(link).sides[side].peer = None;
            let is_silent = self.random.chance(250_000);
            self.sever(link, is_silent);
        }
        // A process that shares its key finds what the other one signed in its database, and would refuse to start.
        let node = &mut self.nodes[id];
        node.is_retired |= matches!(self.plan.byzantine, Some(Byzantine::Twins(twin)) if twin == node.author);
        let down_us = self.random.range(self.plan.down_us.clone());
        self.schedule(down_us, Incident::Start(id));
        Ok(())
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
    Genesis::new("simulation", &prefix, EPOCH_MS, Parameters::default(), validators, clients.genesis_accounts())
        .expect("a good genesis document")
}
