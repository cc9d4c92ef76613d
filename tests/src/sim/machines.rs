//! Machines of the world: processes that start, work and lose power, and the checks on everything they want done.

use super::adversary::Adversary;
use super::checker::Violation;
use super::client::Fate;
use super::disk::Write;
use super::fault::Fault;
use super::network::{Frame, NodeId};
use super::node::CHUNK_LEVEL;
use super::plan::{MS_US, Role, SECOND_US};
use super::world::{Incident, World};
use farthing_consensus::engine::Settings;
use farthing_consensus::vertex::VerifiedVertex;
use farthing_node::network::Outbound;
use farthing_node::replica::serve::{self, Request, Sources, Unsynced};
use farthing_node::replica::{Effect, Event, Own, Replica, ReplicaSettings, Settled};
use farthing_node::storage::Storage as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often a machine prunes its disk.
const PRUNE_EVERY_US: u64 = SECOND_US;

impl World {
    pub(super) fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.nodes[id].is_retired || self.nodes[id].is_running() {
            return Ok(());
        }
        let author = self.nodes[id].author;
        if let Some(Role::Adversary(conduct)) = self.plan.role_of(author) {
            let key = self.keys[usize::from(author)].clone();
            let adversary = Adversary::new(author, key, self.committee.clone(), conduct.clone(), &self.plan);
            self.nodes[id].adversary = Some(adversary);
            self.schedule(0, Incident::Act(id));
            self.connect_soon(id);
            return Ok(());
        }
        self.count_start(id);
        self.nodes[id].start_clocks(self.now_us, &self.plan, &mut self.random);
        let Some(effects) = self.start_replica(id)? else { return Ok(()) };
        self.check_start(id)?;
        self.apply(id, effects)?;
        self.connect_soon(id);
        Ok(())
    }

    /// Starts a replica from what the disk holds. Returns what it wants done, or nothing if it refuses to start.
    fn start_replica(&mut self, id: NodeId) -> Result<Option<Vec<Effect>>, Violation> {
        let node = &mut self.nodes[id];
        let stop_at_own_equivocation = !self.plan.is_twin(node.author) && self.plan.planted.is_none();
        let settings = ReplicaSettings {
            engine: Settings { stop_at_own_equivocation, ..self.plan.engine.clone() },
            mempool: self.plan.mempool,
            flush_interval_ms: Some(self.plan.flush_interval_ms),
            chunk_level: Some(CHUNK_LEVEL),
        };
        let own = Own { author: node.author, key: self.keys[usize::from(node.author)].clone() };
        let mut effects = Vec::new();
        let (storage, now) = (node.disk.storage().clone(), node.now(self.now_us));
        let start = || {
            Replica::start(&self.genesis, self.committee.clone(), Some(own), settings, storage, now, &mut effects)
                .map_err(|error| error.to_string())
        };
        let is_torn = node.disk.tears && node.incarnation > 0;
        let started = if is_torn {
            // What the log of a database cannot leave may also be refused by a panic, which stops a node.
            catch_unwind(AssertUnwindSafe(start)).unwrap_or_else(|_| Err("it panics".into()))
        } else {
            start()
        };
        match started {
            Ok(replica) => {
                node.replica = Some(replica);
                Ok(Some(effects))
            }
            Err(_) if is_torn => {
                self.refused += 1;
                (node.is_honest, node.is_retired) = (false, true);
                Ok(None)
            }
            Err(error) if node.is_honest => Err(Violation::Conduct(format!("node {id} does not start: {error}"))),
            Err(_) => {
                node.is_retired = true;
                Ok(None)
            }
        }
    }

    /// What a node answers to a request, as its threads for that would.
    fn answer(&mut self, id: NodeId, request: Request, unsynced: Option<Unsynced>) -> Result<Outbound, Violation> {
        let (storage, snapshots) = (self.nodes[id].disk.storage().clone(), self.nodes[id].snapshots.clone());
        if request == Request::FetchManifest {
            snapshots.refresh().map_err(|error| Violation::Durability(error.to_string()))?;
        }
        let sources = Sources { committee: self.committee.clone(), storage, snapshots };
        serve::answer(&sources, request, unsynced).map_err(|error| Violation::Durability(error.to_string()))
    }

    /// Puts the staged snapshot in the place of the state, and a new replica in the place of the old one, as the driver does.
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

    fn connect_soon(&mut self, id: NodeId) {
        for (link, _) in self.network.links_of(id) {
            let delay_us = self.network.reconnect_us();
            self.schedule(delay_us, Incident::Connect(link));
        }
    }

    fn count_start(&mut self, id: NodeId) {
        let node = &self.nodes[id];
        let is_late = self.plan.latecomer.is_some_and(|(author, _)| author == node.author);
        if is_late && node.incarnation == 0 {
            let is_long = self.plan.faults.has(Fault::LongOutage);
            self.counts.add(if is_long { Fault::LongOutage } else { Fault::LateStart });
        }
        if node.is_honest && self.plan.skewed.is_some_and(|(author, _)| author == node.author) {
            self.counts.add(Fault::Skew);
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
        if let Some(adversary) = &mut node.adversary {
            let outgoing = adversary.on_event(self.now_us, event, &mut self.counts);
            self.send_all(id, outgoing);
            return Ok(());
        }
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
        let crash_after = self.crash_point(id, effects.len());
        if let Some(done) = crash_after {
            effects.truncate(done);
        }
        self.apply(id, effects)?;
        if crash_after.is_some() {
            self.counts.add(Fault::Crash);
            return self.crash(id);
        }
        let node = &mut self.nodes[id];
        if let Some(replica) = node.replica.as_mut().filter(|_| node.is_honest)
            && replica.newest_height() != node.checked_height
        {
            node.checked_height = replica.newest_height();
            self.checker.ledger(id, replica.ledger())?;
        }
        self.check_bounds(id)
    }

    /// After how many of so many effects the node loses power, if it does.
    fn crash_point(&mut self, id: NodeId, effects: usize) -> Option<usize> {
        let node = &mut self.nodes[id];
        let before = node.effects;
        node.effects += effects as u64;
        let points = self.plan.crash_points.iter().filter(|(victim, _)| *victim == id).map(|(_, point)| *point);
        if let Some(point) = points.into_iter().find(|point| (before + 1..=node.effects).contains(point)) {
            return Some((point - before) as usize);
        }
        let may_crash = !self.has_healed && node.is_honest;
        let crashes = may_crash && self.random.chance(self.plan.crashes_per_million);
        crashes.then(|| self.random.range(0..=effects as u64) as usize)
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
                    self.send(id, to, &Frame::of_outbound(message));
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
                Effect::Answer { to, request, unsynced } => {
                    let message = self.answer(id, request, unsynced)?;
                    self.send(id, to, &Frame::of_outbound(message));
                }
                Effect::InstallSnapshot => return self.install(id),
                Effect::Settled(settled) => self.settled(id, &settled)?,
                Effect::CertifiedUpTo(_) => {}
            }
        }
        Ok(())
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

    pub(super) fn written(&mut self, id: NodeId, incarnation: u32) -> Result<(), Violation> {
        if !self.runs(id, incarnation) {
            return Ok(());
        }
        let may_fail = !self.has_healed && self.nodes[id].is_honest && self.nodes[id].disk.is_syncing();
        if may_fail && self.random.chance(self.plan.sync_failures_per_million) {
            self.counts.add(Fault::SyncFailure);
            return self.crash(id);
        }
        let failed = |error: farthing_node::storage::StorageError| Violation::Durability(error.to_string());
        let node = &mut self.nodes[id];
        let progress = node.disk.proceed(&mut self.random).map_err(failed)?;
        if self.now_us >= node.pruned_us + PRUNE_EVERY_US {
            node.pruned_us = self.now_us;
            node.disk.prune(&self.plan.retention).map_err(failed)?;
        }
        if let Some(next_us) = progress.next_us {
            self.schedule(next_us, Incident::Written { node: id, incarnation });
        }
        for ticket in progress.done {
            // What is done may have been the last thing that the process learned.
            if self.runs(id, incarnation) {
                self.step(id, Event::Persisted(ticket))?;
            }
        }
        Ok(())
    }

    pub(super) fn checked(&mut self, id: NodeId, incarnation: u32, vertex: &VerifiedVertex) -> Result<(), Violation> {
        if !self.runs(id, incarnation) {
            return Ok(());
        }
        let verdict = self.verdict(vertex);
        self.step(id, Event::Verdict { vertex: vertex.reference(), verdict })
    }

    /// The disk of a machine fails, and is replaced by an empty one.
    pub(super) fn lose_disk(&mut self, id: NodeId) -> Result<(), Violation> {
        self.counts.add(Fault::DiskLoss);
        self.crash(id)?;
        self.nodes[id].replace_disk(&self.plan, None);
        self.checker.replaced_disk(id);
        Ok(())
    }

    /// A machine loses power, and an old copy of its database is put in the place of the newest.
    pub(super) fn restore_disk(&mut self, id: NodeId) -> Result<(), Violation> {
        self.crash(id)?;
        let copy = self.copy.take();
        assert!(copy.is_some(), "a copy is made before it is used");
        self.nodes[id].replace_disk(&self.plan, copy);
        self.checker.replaced_disk(id);
        Ok(())
    }

    /// The power of a machine fails.
    pub(super) fn crash(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.nodes[id].replica.take().is_none() {
            return Ok(());
        }
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
        node.is_retired |= self.plan.is_twin(node.author);
        self.forget_unsynced_evidence(id);
        let down_us = self.random.range(self.plan.down_us.clone());
        self.schedule(down_us, Incident::Start(id));
        Ok(())
    }
}
