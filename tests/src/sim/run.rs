//! One run: faults, healing, settling, idling, and the checks at the end.

use super::adversary::Adversary;
use super::checker::Violation;
use super::client::Fate;
use super::fault::Counts;
use super::network::NodeId;
use super::plan::{MS_US, Plan, SECOND_US};
use super::world::{Incident, World};
use farthing_core::block::ResultCode;
use farthing_core::hash::Digest;
use farthing_node::replica::ReplicaStatus;

/// How long everything may take to be settled once faults have ended. Most runs need two seconds. Leader timeouts may have grown to
/// 4 s by then; and if somebody links an equivocator's vertices that were kept from the others, those fetch them one after
/// the other, up to the depth of garbage collection, at one round trip each.
const SETTLE_US_MAX: u64 = 60 * SECOND_US;

/// How often it is looked whether everything is settled.
const POLL_US: u64 = 50 * MS_US;

/// How long it may take after the faults until all machines are switched on and all connections made: a peer that is gone silently
/// is noticed after ten seconds.
const HEAL_US_MAX: u64 = 12 * SECOND_US;

/// How long idling is watched.
const IDLE_US: u64 = 5 * SECOND_US;

/// Rounds of an idle second are two; some more are granted for what was under way.
const IDLE_ROUNDS_MAX: u64 = 2 * IDLE_US / SECOND_US + 4;

/// What a run without a violation shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// A hash over all that happened: the same seed gives the same.
    pub hash: Digest,
    /// How many things happened.
    pub events: u64,
    /// Commits.
    pub commits: u64,
    /// Blocks.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Starts that were refused from a disk that lost what its log cannot lose.
    pub refused: u64,
    /// How often a snapshot took the place of a state.
    pub snapshots: u64,
    /// How often each fault was injected.
    pub faults: Counts,
    /// Simulated milliseconds from the end of the faults until everything was settled.
    pub settled_ms: u64,
    /// Rounds from the end of the faults to the next commit.
    pub resume_rounds: u64,
    /// The most encoded bytes of suspended vertices in one node.
    pub suspended_bytes_max: u64,
}

/// Runs a plan to its end.
///
/// # Errors
/// The first [`Violation`].
pub fn run(plan: &Plan) -> Result<Report, Violation> {
    let mut world = World::new(plan.clone());
    world.run_until(plan.faults_until_us)?;
    world.heal();
    let settled_ms = world.settle()?;
    world.idle()?;
    world.finish()?;
    Ok(Report {
        seed: plan.seed,
        hash: world.hash,
        events: world.events,
        commits: world.checker.commits(),
        blocks: world.checker.blocks(),
        transactions: world.checker.transactions(),
        refused: world.refused,
        snapshots: world.nodes.iter().map(|node| node.installed).sum(),
        faults: world.counts,
        settled_ms,
        resume_rounds: world.health.resume_rounds,
        suspended_bytes_max: world.health.suspended_bytes_max,
    })
}

impl World {
    /// Ends all faults but Byzantine ones, and switches everybody on.
    pub fn heal(&mut self) {
        self.has_healed = true;
        self.network.heal();
        self.nodes.iter_mut().filter_map(|node| node.adversary.as_mut()).for_each(Adversary::heal);
        for node in 0..self.nodes.len() {
            let delay_us = self.random.range(0..=SECOND_US);
            self.schedule(delay_us, Incident::Start(node));
        }
        for link in self.network.ids() {
            let delay_us = self.network.reconnect_us();
            self.schedule(delay_us, Incident::Connect(link));
        }
    }

    /// Goes on until all that must be settled is, at every honest node. Returns how many milliseconds that took.
    ///
    /// # Errors
    /// [`Violation::Progress`] if it takes too long.
    pub fn settle(&mut self) -> Result<u64, Violation> {
        let start_us = self.now_us;
        while !self.is_whole() && self.now_us < start_us + HEAL_US_MAX {
            self.run_until(self.now_us + POLL_US)?;
        }
        self.expect_commits();
        loop {
            let Some(obstacle) = self.obstacle() else { return Ok((self.now_us - start_us) / MS_US) };
            if self.now_us - start_us >= SETTLE_US_MAX {
                return Err(Violation::Progress(format!(
                    "{} s after the faults, {obstacle}",
                    SETTLE_US_MAX / SECOND_US
                )));
            }
            self.run_watching(POLL_US)?;
        }
    }

    /// Runs on, and looks again and again whether commits resumed.
    fn run_watching(&mut self, for_us: u64) -> Result<(), Violation> {
        let until_us = self.now_us + for_us;
        while self.now_us < until_us {
            self.run_until((self.now_us + POLL_US).min(until_us))?;
            self.check_commits()?;
        }
        Ok(())
    }

    /// Whether all honest nodes run, and are connected to one another.
    fn is_whole(&self) -> bool {
        let works = |node: NodeId| !self.nodes[node].is_honest || self.nodes[node].is_running();
        let is_made = |id| {
            let link = self.network.link(id);
            let is_watched = link.ends.iter().all(|end| self.nodes[*end].is_honest);
            !is_watched || (link.is_up && link.sides.iter().all(|side| side.peer.is_some()))
        };
        (0..self.nodes.len()).all(works) && self.network.ids().all(is_made)
    }

    /// With nothing to do, nothing happens but slow rounds.
    ///
    /// # Errors
    /// [`Violation::Progress`] if rounds are fast, or stand still.
    pub fn idle(&mut self) -> Result<(), Violation> {
        // What a Byzantine validator has under way may take as long as collection to be forgotten.
        let is_watched = self.plan.byzantine.is_empty();
        self.run_watching(SECOND_US)?;
        let before = self.statuses();
        self.run_watching(IDLE_US)?;
        for ((node, before), (_, after)) in before.into_iter().zip(self.statuses()) {
            let rounds = after.round - before.round;
            // A block that is made in idleness is attested.
            let is_watched = is_watched && after.height == before.height;
            if rounds == 0 || (is_watched && (rounds > IDLE_ROUNDS_MAX || !after.idle)) {
                let seconds = IDLE_US / SECOND_US;
                let message = format!(
                    "node {node} made {rounds} rounds in {seconds} idle seconds: {}",
                    describe(&[(node, after)])
                );
                return Err(Violation::Progress(message));
            }
        }
        Ok(())
    }

    /// The checks at the end.
    ///
    /// # Errors
    /// What does not hold.
    pub fn finish(&mut self) -> Result<(), Violation> {
        let roots: Vec<_> = self.statuses().into_iter().map(|(node, status)| (node, status.state_root)).collect();
        if let Some(pair) = roots.windows(2).find(|pair| pair[0].1 != pair[1].1) {
            return Err(Violation::Agreement(format!("at the end the state roots differ: {pair:?}")));
        }
        for order in self.clients.orders().iter().filter(|order| order.fate == Fate::Never) {
            let id = order.transaction.id();
            if self.checker.acknowledged(&id).is_some() {
                return Err(Violation::Replay(format!("{id} is in a block: {:?}", order.transaction.transaction())));
            }
        }
        self.check_evidence()?;
        for id in self.honest() {
            let node = &mut self.nodes[id];
            self.checker.stored(id, node.disk.storage())?;
            if let Some(replica) = &mut node.replica {
                replica.ledger().audit();
            }
        }
        Ok(())
    }

    /// Whether a client was told that this order was executed.
    pub fn is_executed(&self, order: usize) -> bool {
        self.checker.acknowledged(&self.clients.orders()[order].transaction.id()) == Some(ResultCode::Executed)
    }

    /// The highest round of any honest node's clock.
    pub fn highest_round(&mut self) -> u64 {
        self.statuses().iter().map(|(_, status)| status.round).max().unwrap_or(0)
    }

    /// Why not everything is settled.
    fn obstacle(&mut self) -> Option<String> {
        let unsettled = self
            .clients
            .orders()
            .iter()
            .find(|order| order.fate == Fate::Settles && !self.checker.is_acknowledged(&order.transaction.id()));
        if let Some(order) = unsettled {
            let id = order.transaction.id();
            return Some(format!("{id} is not settled; {}", describe(&self.statuses())));
        }
        let statuses = self.statuses();
        let honest = self.honest().count();
        let height = self.checker.blocks();
        let is_settled = |status: &ReplicaStatus| {
            status.height == height && status.certified_height == height && status.mempool_transactions == 0
        };
        let all = statuses.len() == honest && statuses.iter().all(|(_, status)| is_settled(status));
        (!all).then(|| format!("not all of {honest} nodes are done with block {height}: {}", describe(&statuses)))
    }

    /// What the honest nodes that run say of themselves.
    fn statuses(&mut self) -> Vec<(NodeId, ReplicaStatus)> {
        let honest: Vec<_> = self.honest().collect();
        honest.into_iter().filter_map(|id| Some((id, self.nodes[id].replica.as_mut()?.status()))).collect()
    }
}

/// What matters of some statuses, for messages.
fn describe(statuses: &[(NodeId, ReplicaStatus)]) -> String {
    let describe = |(node, status): &(NodeId, ReplicaStatus)| {
        let ReplicaStatus { round, commit_index, executed_index, height, certified_height, .. } = status;
        format!(
            "node {node}: round {round}, commit {commit_index} (executed {executed_index}), block {height} (certified \
             {certified_height}), {} in the mempool, connected {:?}, catching up {}, idle {}",
            status.mempool_transactions, status.connected, status.catching_up, status.idle
        )
    };
    statuses.iter().map(describe).collect::<Vec<_>>().join("; ")
}
