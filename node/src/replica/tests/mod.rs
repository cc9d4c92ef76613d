//! Whole replicas over storage in memory: validators and full nodes in one thread and virtual time, nothing lost, every message on
//! the spot, but for machines that are cut off or whose disk hangs. What goes wrong at random is the simulator's matter.

mod bandwidth;
mod forwarding;
mod serving;
mod uncommitted;

use super::serve::{Sources, answer};
use super::*;
use crate::payload;
use crate::snapshot::{Snapshots, SnapshotsSettings};
use crate::storage::memory::MemoryStorage;
use crate::test_support::{START_MS, genesis_of, key};
use farthing_core::genesis::Genesis;
use std::collections::BTreeMap;

/// The number of a machine: validators first, in the order of their authors, then full nodes.
type MachineId = usize;

/// One node.
#[derive(Default)]
struct Machine {
    replica: Option<Replica>,
    storage: Arc<MemoryStorage>,
    timer_ms: Option<u64>,
    /// Nothing gets in or out.
    is_cut_off: bool,
    /// Writes are visible, but not done.
    disk_hangs: bool,
    unwritten: Vec<Ticket>,
    /// It answers every forward that it took nothing.
    takes_no_forwards: bool,
    /// What it sent, whether or not it arrived.
    sent: Vec<(Peer, Outbound)>,
    settled: BTreeMap<TransactionId, ResultCode>,
    dropped: Vec<(TransactionId, DropReason)>,
    disconnects: Vec<(Peer, &'static str)>,
}

/// All of them.
struct Cluster {
    genesis: Genesis,
    committee: Arc<Committee>,
    validators: usize,
    machines: Vec<Machine>,
    now_ms: u64,
    queue: VecDeque<(MachineId, Event)>,
}

impl Cluster {
    /// Everybody is started, nobody connected.
    fn new(validators: usize, full_nodes: usize) -> Cluster {
        Cluster::of(genesis_of(validators as u8), full_nodes)
    }

    /// The same on another network.
    fn of(genesis: Genesis, full_nodes: usize) -> Cluster {
        let validators = genesis.validators().len();
        let committee = Arc::new(Committee::from_genesis(&genesis));
        let machines = (0..validators + full_nodes).map(|_| Machine::default()).collect();
        let mut cluster = Cluster { genesis, committee, validators, machines, now_ms: 1_000, queue: VecDeque::new() };
        for id in 0..validators + full_nodes {
            if id < validators {
                cluster.machines[id].storage.initialize_signing_state().expect("a new disk");
            }
            cluster.start(id);
        }
        cluster
    }

    /// The same, everybody connected to every validator.
    fn connected(validators: usize, full_nodes: usize) -> Cluster {
        let mut cluster = Cluster::new(validators, full_nodes);
        cluster.connect_all();
        cluster
    }

    fn connect_all(&mut self) {
        for one in 0..self.machines.len() {
            for other in one + 1..self.machines.len() {
                self.connect(one, other);
            }
        }
    }

    fn start(&mut self, id: MachineId) {
        let own = (id < self.validators).then(|| Own { author: id as Author, key: key(101 + id as u8) });
        let mut effects = Vec::new();
        let (storage, now) = (self.machines[id].storage.clone(), self.now());
        let settings = ReplicaSettings::default();
        let started = Replica::start(&self.genesis, self.committee.clone(), own, settings, storage, now, &mut effects);
        self.machines[id].replica = Some(started.expect("it starts"));
        self.machines[id].timer_ms = None;
        self.apply(id, effects);
    }

    /// The process ends, and its disk has what was written.
    fn stop(&mut self, id: MachineId) {
        self.machines[id].replica = None;
        self.machines[id].unwritten.clear();
        self.queue.retain(|(machine, _)| *machine != id);
    }

    fn connect(&mut self, one: MachineId, other: MachineId) {
        if one >= self.validators && other >= self.validators {
            return;
        }
        self.queue.push_back((one, Event::Connected(self.name(other))));
        self.queue.push_back((other, Event::Connected(self.name(one))));
    }

    fn disconnect(&mut self, one: MachineId, other: MachineId) {
        self.queue.push_back((one, Event::Disconnected(self.name(other))));
        self.queue.push_back((other, Event::Disconnected(self.name(one))));
    }

    /// Cuts a machine off; both sides notice.
    fn cut_off(&mut self, id: MachineId) {
        for other in (0..self.machines.len()).filter(|other| *other != id) {
            self.disconnect(id, other);
        }
        self.settle();
        self.machines[id].is_cut_off = true;
    }

    fn name(&self, id: MachineId) -> Peer {
        if id < self.validators { Peer::Validator(id as Author) } else { Peer::Follower(id as u64) }
    }

    fn id_of(&self, peer: Peer) -> MachineId {
        match peer {
            Peer::Validator(author) => usize::from(author),
            Peer::Follower(number) => number as usize,
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.now_ms, wall_ms: START_MS + self.now_ms }
    }

    /// Lets this much time pass.
    fn run(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        loop {
            self.settle();
            let next = self.machines.iter().filter_map(|machine| machine.timer_ms).min();
            match next.filter(|at_ms| *at_ms <= until_ms) {
                Some(at_ms) => self.now_ms = self.now_ms.max(at_ms),
                None => break,
            }
            for id in 0..self.machines.len() {
                if self.machines[id].timer_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
                    self.machines[id].timer_ms = None;
                    self.queue.push_back((id, Event::Timer));
                }
            }
        }
        self.now_ms = until_ms;
    }

    /// Lets time pass until something holds, ten minutes at most.
    fn run_until(&mut self, what: &str, holds: impl Fn(&Cluster) -> bool) {
        let patience_ms = self.now_ms + 600_000;
        while !holds(self) {
            assert!(self.now_ms < patience_ms, "waited in vain for {what}");
            self.run(50);
        }
    }

    /// Handles what is under way.
    fn settle(&mut self) {
        while let Some((id, event)) = self.queue.pop_front() {
            let now = self.now();
            let Some(replica) = &mut self.machines[id].replica else { continue };
            let mut effects = Vec::new();
            replica.step(now, event, &mut effects).expect("it goes on");
            self.apply(id, effects);
        }
    }

    fn submit(&mut self, id: MachineId, transactions: Vec<VerifiedTransaction>) -> Vec<Admission> {
        let now = self.now();
        let replica = self.machines[id].replica.as_mut().expect("it runs");
        assert!(replica.takes_transactions(), "machine {id} takes transactions");
        let mut effects = Vec::new();
        let admissions = replica.submit(now, transactions, &mut effects).expect("it goes on");
        self.apply(id, effects);
        admissions
    }

    fn apply(&mut self, id: MachineId, effects: Vec<Effect>) {
        for effect in effects {
            let machine = &mut self.machines[id];
            match effect {
                Effect::Persist { ticket, batch, sync } => {
                    machine.storage.apply(&batch, sync && !machine.disk_hangs).expect("memory");
                    match machine.disk_hangs {
                        true => machine.unwritten.push(ticket),
                        false => self.queue.push_back((id, Event::Persisted(ticket))),
                    }
                }
                Effect::Send { to, message } => self.send(id, to, message),
                Effect::Answer { to, request, unsynced } => {
                    let storage = machine.storage.clone();
                    let settings = SnapshotsSettings { chunk_level: 1, retain_commits: 600, directory: None };
                    let snapshots = Arc::new(Snapshots::new(storage.clone(), settings));
                    let sources = Sources { committee: self.committee.clone(), storage, snapshots };
                    let message = answer(&sources, request, unsynced).expect("memory");
                    self.send(id, to, message);
                }
                Effect::Disconnect { peer, reason } => {
                    machine.disconnects.push((peer, reason));
                    let other = self.id_of(peer);
                    self.disconnect(id, other);
                }
                Effect::Verify(vertex) => {
                    let verdict = match payload::decode(vertex.payload()).map(|signed| self.check(signed)) {
                        Ok(checked) => {
                            checked.into_iter().collect::<Result<_, _>>().map_or(Verdict::Void, Verdict::Valid)
                        }
                        Err(_) => Verdict::Void,
                    };
                    self.queue.push_back((id, Event::Verdict { vertex: vertex.reference(), verdict }));
                }
                Effect::CheckForwarded { from, transactions } => {
                    let checked = self.check(transactions);
                    self.queue.push_back((id, Event::Forwarded { from, checked }));
                }
                Effect::SetTimer { at_ms } => machine.timer_ms = Some(at_ms),
                Effect::Settled(settled) => {
                    machine.settled.extend(settled.block.into_iter().flat_map(|block| block.results));
                    machine.dropped.extend(settled.dropped);
                }
                Effect::CertifiedUpTo(_) => {}
                Effect::InstallSnapshot => unreachable!("nobody here is that far behind"),
            }
        }
    }

    fn check(&self, transactions: Vec<SignedTransaction>) -> Checked {
        transactions.into_iter().map(|signed| signed.verify(self.committee.chain())).collect()
    }

    fn send(&mut self, from: MachineId, to: Peer, message: Outbound) {
        self.machines[from].sent.push((to, message.clone()));
        let to = self.id_of(to);
        if !self.machines[from].is_cut_off && !self.machines[to].is_cut_off {
            if let Outbound::Forward(transactions) = &message
                && self.machines[to].takes_no_forwards
            {
                let taken = vec![false; payload::decode(transactions).expect("whole transactions").len()];
                let from_peer = self.name(to);
                let message = Inbound::Forwarded { taken };
                self.queue.push_back((from, Event::Message { from: from_peer, message }));
                return;
            }
            let message = self.inbound(message);
            self.queue.push_back((to, Event::Message { from: self.name(from), message }));
        }
    }

    /// What arrives of what is sent.
    fn inbound(&self, message: Outbound) -> Inbound {
        let verify = |vertex| self.committee.verify(vertex).expect("a valid vertex");
        match message {
            Outbound::Vertex(vertex) => Inbound::Vertex(vertex),
            Outbound::Forward(transactions) => {
                Inbound::Forward { transactions: payload::decode(&transactions).expect("whole transactions") }
            }
            Outbound::Forwarded(taken) => Inbound::Forwarded { taken },
            Outbound::Snapshot(message) => Inbound::Snapshot(message),
            Outbound::Message(Message::Vertex(vertex)) => Inbound::Vertex(verify(vertex)),
            Outbound::Message(Message::Subscribe { from_round }) => Inbound::Subscribe { from_round },
            Outbound::Message(Message::FetchVertices { refs, above_round }) => {
                Inbound::FetchVertices { refs, above_round }
            }
            Outbound::Message(Message::Vertices { vertices }) => {
                Inbound::Vertices(vertices.into_iter().map(verify).collect())
            }
            Outbound::Message(Message::FetchCommits { from_index }) => Inbound::FetchCommits { from_index },
            Outbound::Message(Message::Commits { commits, votes, oldest_index }) => {
                Inbound::Commits { commits, votes, oldest_index }
            }
            Outbound::Message(Message::FetchLatest) => Inbound::FetchLatest,
            Outbound::Message(Message::Latest { own, yours }) => Inbound::Latest { own, yours },
        }
    }

    fn replica(&self, id: MachineId) -> &Replica {
        self.machines[id].replica.as_ref().expect("it runs")
    }

    fn status(&mut self, id: MachineId) -> ReplicaStatus {
        self.machines[id].replica.as_mut().expect("it runs").status()
    }

    fn is_settled(&self, id: MachineId, transaction: &VerifiedTransaction) -> bool {
        self.machines[id].settled.contains_key(&transaction.id())
    }

    /// How many batches of transactions this machine has forwarded to a validator.
    fn forwarded_to(&self, id: MachineId, author: Author) -> usize {
        let is_forward = |(to, message): &&(Peer, Outbound)| {
            *to == Peer::Validator(author) && matches!(message, Outbound::Forward(_))
        };
        self.machines[id].sent.iter().filter(is_forward).count()
    }
}
