//! A committee in virtual time.

use crate::machine::{Load, Machine, round_trip_ms, vertex_us};
use bytes::Bytes;
use farthing_consensus::commit::CommittedVertices;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Engine, Input, Now, Output, Recovered, Settings};
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{Author, VerifiedVertex, VertexRef};
use farthing_core::certificate::Attestation;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// An encoded plain transfer.
const TRANSFER_BYTES: usize = 160;

/// How often transfers arrive; they count from the beginning of the time in which they do.
const TICK_US: u64 = 5_000;

const SECOND_US: u64 = 1_000_000;
const WALL_START_MS: u64 = 1_700_000_000_000;

/// A run lasts so long; what arrives or happens before the second of these is not counted.
const RUN_US: u64 = 25 * SECOND_US;
const WARM_UP_US: u64 = 10 * SECOND_US;

/// As the node's intake: transfers are taken while what was taken before would be executed within a second at the rate of late, which
/// is measured so often, and so many at any rate.
const INTAKE_EVERY_US: u64 = 250_000;
const INTAKE_MIN: usize = 4_000;

/// What a run showed, as of validators on average.
pub struct Figures {
    /// Transfers executed by the validators that they came to.
    pub executed_per_second: u64,
    /// From a transfer's arrival at a validator until that has executed it: half take at most so long.
    pub p50_ms: u64,
    /// All but one in a hundred take at most so long.
    pub p99_ms: u64,
    /// Vertices of all authors.
    pub vertices_per_second: f64,
    /// What one validator sends for each transfer of all.
    pub sent_bytes_per_transfer: f64,
    /// How busy its processors are.
    pub processors_percent: f64,
}

/// Transfers that arrived together.
#[derive(Clone, Copy)]
struct Arrived {
    at_us: u64,
    count: usize,
}

struct Node {
    engine: Engine,
    key: SecretKey,
    /// Not proposed yet.
    waiting: VecDeque<Arrived>,
    waiting_count: usize,
    told_waiting: bool,
    /// In the payload just given to the engine.
    proposing: Vec<Arrived>,
    proposed: BTreeMap<VertexRef, Vec<Arrived>>,
    accepted: BTreeMap<VertexRef, VerifiedVertex>,
    checked_at_us: BTreeMap<VertexRef, u64>,
    commits: VecDeque<CommittedVertices>,
    is_executing: bool,
    block: (u64, Digest),
    subscribers: BTreeSet<usize>,
    load: Load,
    /// Taken and not executed yet, and how many of these there may be.
    taken: usize,
    taken_max: usize,
    executed: u64,
    /// How many were executed when that was looked at last.
    executed_before: u64,
    accepted_count: u64,
}

#[allow(clippy::large_enum_variant)]
enum Event {
    /// Transfers arrive.
    Tick,
    /// Their signatures are checked.
    Checked(Arrived),
    /// The rate of execution is measured.
    Measure,
    Timer,
    /// What an own vertex promises is durable.
    Send(VerifiedVertex),
    Commit(CommittedVertices),
    /// All payloads of the next commit are checked.
    Execute,
    Executed,
    /// So many bytes come in.
    Incoming(usize, Box<Event>),
    Push(usize, VerifiedVertex),
    /// The one thread comes to a vertex that was pushed.
    Take(usize, VerifiedVertex),
    Message(usize, Message),
}

/// Validators, each with an engine, and what is under way.
pub struct World {
    committee: Arc<Committee>,
    machine: Machine,
    load: u64,
    nodes: Vec<Node>,
    now_us: u64,
    events: BTreeMap<(u64, u64), (usize, Event)>,
    sequence: u64,
    latencies_us: Vec<(u64, usize)>,
}

/// What was done up to some moment.
struct Totals {
    executed: u64,
    sent_bytes: u64,
    used_us: u64,
    vertices: u64,
}

fn secret_key(author: usize) -> SecretKey {
    SecretKey::from_seed(Digest::of("bench/v1", &[&author.to_le_bytes()]).as_bytes())
}

impl World {
    /// A committee of so many to which so many transfers come a second.
    pub fn new(size: usize, load: u64, machine: Machine) -> World {
        let chain = Digest::of_bytes(b"a chain for benchmarks");
        let keys = (0..size).map(|author| secret_key(author).public_key()).collect();
        let committee = Arc::new(Committee::new(chain, 0, keys, chain, WALL_START_MS));
        let mut world = World {
            committee: committee.clone(),
            machine,
            load,
            nodes: Vec::new(),
            now_us: SECOND_US,
            events: BTreeMap::new(),
            sequence: 0,
            latencies_us: Vec::new(),
        };
        let mut started = Vec::new();
        for author in 0..size {
            let own = Some((author as Author, secret_key(author)));
            let mut outputs = Vec::new();
            let (settings, now) = (settings(), world.now());
            let engine = Engine::start(committee.clone(), own, settings, Recovered::fresh(), now, &mut outputs);
            world.nodes.push(Node::new(engine, secret_key(author)));
            started.push(outputs);
        }
        for (node, outputs) in started.into_iter().enumerate() {
            world.take(node, outputs);
        }
        for node in 0..size {
            for peer in (0..size).filter(|peer| *peer != node) {
                world.step(node, Input::Connected(peer as Author));
            }
            world.schedule(world.now_us + TICK_US, node, Event::Tick);
            world.schedule(world.now_us + INTAKE_EVERY_US, node, Event::Measure);
        }
        world
    }

    /// Runs it.
    pub fn run(mut self) -> Figures {
        let (start_us, end_us) = (self.now_us + WARM_UP_US, self.now_us + RUN_US);
        let mut before = None;
        while let Some(((at_us, _), (node, event))) = self.events.pop_first() {
            if at_us > end_us {
                break;
            }
            if at_us >= start_us && before.is_none() {
                self.latencies_us.clear();
                before = Some(self.totals());
            }
            self.now_us = at_us;
            self.happen(node, event);
        }
        let (before, after) = (before.expect("the warm-up is shorter than the run"), self.totals());
        let micros = (end_us - start_us) as f64;
        let per_second = |count: u64| count as f64 * SECOND_US as f64 / micros;
        let (size, executed) = (self.nodes.len() as f64, after.executed - before.executed);
        self.latencies_us.sort_unstable();
        Figures {
            executed_per_second: per_second(executed).round() as u64,
            p50_ms: self.percentile_ms(50),
            p99_ms: self.percentile_ms(99),
            vertices_per_second: per_second(after.vertices - before.vertices) / size,
            sent_bytes_per_transfer: (after.sent_bytes - before.sent_bytes) as f64 / size / executed as f64,
            processors_percent: (after.used_us - before.used_us) as f64 / size / self.machine.cores as f64 / micros
                * 100.0,
        }
    }

    fn totals(&self) -> Totals {
        let sum = |of: fn(&Node) -> u64| self.nodes.iter().map(of).sum();
        Totals {
            executed: sum(|node| node.executed),
            sent_bytes: sum(|node| node.load.sent_bytes),
            used_us: sum(|node| node.load.used_us),
            vertices: sum(|node| node.accepted_count),
        }
    }

    fn percentile_ms(&self, percent: usize) -> u64 {
        let total: usize = self.latencies_us.iter().map(|(_, count)| count).sum();
        let mut seen = 0;
        for (latency_us, count) in &self.latencies_us {
            seen += count;
            if seen * 100 >= total * percent {
                return latency_us / 1_000;
            }
        }
        0
    }

    fn happen(&mut self, node: usize, event: Event) {
        match event {
            Event::Tick => self.arrive(node),
            Event::Checked(arrived) => {
                self.nodes[node].waiting_count += arrived.count;
                self.nodes[node].waiting.push_back(arrived);
                self.tell_waiting(node);
            }
            Event::Measure => {
                self.nodes[node].measure();
                self.schedule(self.now_us + INTAKE_EVERY_US, node, Event::Measure);
            }
            Event::Timer => self.step(node, Input::Timer),
            Event::Send(vertex) => {
                for peer in self.nodes[node].subscribers.clone() {
                    self.transmit(node, peer, vertex.encoded_len(), Event::Push(node, vertex.clone()));
                }
            }
            Event::Incoming(bytes, event) => {
                let received_us = self.nodes[node].load.receive(self.now_us, bytes);
                self.schedule(received_us, node, *event);
            }
            Event::Push(from, vertex) => {
                let taken_us = self.work_in_turn(node, vertex_us(self.nodes.len()));
                self.schedule(taken_us, node, Event::Take(from, vertex));
            }
            Event::Take(from, vertex) => self.step(node, Input::Pushed { from: from as Author, vertex }),
            Event::Message(from, message) => self.answer(node, from, message),
            Event::Commit(commit) => {
                self.nodes[node].commits.push_back(commit);
                self.execute(node);
            }
            Event::Execute => {
                let commit = self.nodes[node].commits.front().expect("one is being executed");
                let transfers: usize = commit.vertices.iter().map(transfers_of).sum();
                let executed_us = self.work_in_turn(node, transfers as u64 * self.machine.execute_us);
                self.schedule(executed_us, node, Event::Executed);
            }
            Event::Executed => {
                self.nodes[node].is_executing = false;
                self.executed(node);
                self.execute(node);
            }
        }
    }

    /// So much of the load as comes to one validator in one tick: transfer `k` of all arrives at the time `k / load` at validator
    /// `k mod size`.
    fn arrive(&mut self, node: usize) {
        let size = self.nodes.len() as u64;
        let until = |us: u64| (us * self.load / SECOND_US + size - 1 - node as u64) / size;
        let count = (until(self.now_us) - until(self.now_us - TICK_US)) as usize;
        let state = &mut self.nodes[node];
        if count > 0 && state.taken < state.taken_max {
            state.taken += count;
            let checked_us = state.load.work(self.now_us, count as u64 * self.machine.check_us, self.machine);
            let arrived = Arrived { at_us: self.now_us - TICK_US, count };
            self.schedule(checked_us, node, Event::Checked(arrived));
        }
        self.schedule(self.now_us + TICK_US, node, Event::Tick);
    }

    fn tell_waiting(&mut self, node: usize) {
        let is_waiting = self.nodes[node].waiting_count > 0;
        if self.nodes[node].told_waiting != is_waiting {
            self.nodes[node].told_waiting = is_waiting;
            self.step(node, Input::PayloadWaiting(is_waiting));
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        let now = self.now();
        let mut outputs = Vec::new();
        self.nodes[node].engine.step(now, input, &mut outputs);
        self.take(node, outputs);
    }

    fn take(&mut self, node: usize, outputs: Vec<Output>) {
        for output in outputs {
            let durable_us = self.nodes[node].load.durable_us(self.now_us);
            match output {
                Output::Persist { .. } => self.nodes[node].load.sync(self.now_us),
                Output::Broadcast(vertex) => self.schedule(durable_us, node, Event::Send(vertex)),
                Output::Commit(commit) => self.schedule(durable_us, node, Event::Commit(commit)),
                Output::Send { to, message } => {
                    self.transmit(node, usize::from(to), 100, Event::Message(node, message));
                }
                Output::RequestPayload { bytes_max } => {
                    let payload = self.nodes[node].propose(bytes_max / TRANSFER_BYTES);
                    self.step(node, Input::Payload(payload));
                    self.tell_waiting(node);
                }
                Output::SetTimer { at_ms } => self.schedule(at_ms * 1_000, node, Event::Timer),
                Output::Accepted(vertex) => self.accepted(node, vertex),
                Output::Uncommitted(_) => panic!("nothing is lost here"),
                Output::Evidence(_) | Output::BehindRetention { .. } => panic!("all are honest and there"),
            }
        }
    }

    /// Another's transfers are to be checked; the own ones are already.
    fn accepted(&mut self, node: usize, vertex: VerifiedVertex) {
        let transfers = transfers_of(&vertex);
        let state = &mut self.nodes[node];
        let (reference, is_own) = (vertex.reference(), usize::from(vertex.author()) == node);
        let checks_us = if is_own { 0 } else { transfers as u64 * self.machine.check_us };
        let checked_us = state.load.work(self.now_us, checks_us, self.machine);
        if is_own && transfers > 0 {
            state.proposed.insert(reference, std::mem::take(&mut state.proposing));
        }
        state.accepted_count += 1;
        state.checked_at_us.insert(reference, if is_own { self.now_us } else { checked_us });
        state.accepted.insert(reference, vertex);
    }

    /// Executes the next commit when all its transfers are checked.
    fn execute(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let Some(commit) = state.commits.front().filter(|_| !state.is_executing) else { return };
        let checked_us = commit.vertices.iter().map(|vertex| state.checked_at_us[&vertex.reference()]).max();
        state.is_executing = true;
        self.schedule(checked_us.unwrap_or(0), node, Event::Execute);
    }

    fn executed(&mut self, node: usize) {
        let commit = self.nodes[node].commits.pop_front().expect("one was being executed");
        let transfers: usize = commit.vertices.iter().map(transfers_of).sum();
        let state = &mut self.nodes[node];
        for vertex in &commit.vertices {
            let reference = vertex.reference();
            state.checked_at_us.remove(&reference);
            for arrived in state.proposed.remove(&reference).unwrap_or_default() {
                self.latencies_us.push((self.now_us - arrived.at_us, arrived.count));
                state.executed += arrived.count as u64;
                state.taken -= arrived.count;
            }
        }
        // Vertices may be fetched as long as others lag a little.
        let old = state.accepted.len().saturating_sub(100 * self.committee.size());
        for _ in 0..old {
            state.accepted.pop_first();
        }
        let mut block = None;
        let mut attestation = None;
        if transfers > 0 {
            state.block = (state.block.0 + 1, commit.digest);
            block = Some(state.block);
            attestation = Some(Attestation::sign(self.committee.chain(), state.block.0, state.block.1, &state.key));
        }
        self.step(node, Input::Executed { index: commit.commit.index, block, attestation });
    }

    fn answer(&mut self, node: usize, from: usize, message: Message) {
        let input = match message {
            Message::Subscribe { .. } => {
                self.nodes[node].subscribers.insert(from);
                return;
            }
            Message::FetchLatest => {
                let latest = Message::Latest { own: None, yours: None };
                return self.transmit(node, from, 10, Event::Message(node, latest));
            }
            Message::FetchVertices { refs, .. } => {
                let known = refs.iter().filter_map(|reference| self.nodes[node].accepted.get(reference));
                let vertices: Vec<_> = known.map(|vertex| vertex.vertex().clone()).collect();
                let bytes = vertices.iter().map(|vertex| 500 + vertex.payload.len()).sum();
                return self.transmit(node, from, bytes, Event::Message(node, Message::Vertices { vertices }));
            }
            Message::Latest { own, yours } => Input::Latest { from: from as Author, own, yours },
            Message::Vertices { vertices } => {
                let verify = |vertex| self.committee.verify(vertex).expect("all are honest");
                Input::Fetched { from: from as Author, vertices: vertices.into_iter().map(verify).collect() }
            }
            // Nobody falls so far behind that it needs certified commits; if one asks, it will ask again.
            Message::FetchCommits { .. } | Message::Commits { .. } | Message::Vertex(_) => return,
        };
        self.step(node, input);
    }

    fn work_in_turn(&mut self, node: usize, core_us: u64) -> u64 {
        self.nodes[node].load.work_in_turn(self.now_us, core_us, self.machine)
    }

    /// Sends so many bytes, which bring this event.
    fn transmit(&mut self, from: usize, to: usize, bytes: usize, event: Event) {
        let sent_us = self.nodes[from].load.send(self.now_us, bytes);
        self.schedule(sent_us + round_trip_ms(from, to) * 1_000 / 2, to, Event::Incoming(bytes, Box::new(event)));
    }

    fn schedule(&mut self, at_us: u64, node: usize, event: Event) {
        self.sequence += 1;
        self.events.insert((at_us.max(self.now_us), self.sequence), (node, event));
    }

    fn now(&self) -> Now {
        let monotonic_ms = self.now_us / 1_000;
        Now { monotonic_ms, wall_ms: WALL_START_MS + monotonic_ms }
    }
}

impl Node {
    fn new(engine: Engine, key: SecretKey) -> Node {
        Node {
            engine,
            key,
            waiting: VecDeque::new(),
            waiting_count: 0,
            told_waiting: false,
            proposing: Vec::new(),
            proposed: BTreeMap::new(),
            accepted: BTreeMap::new(),
            checked_at_us: BTreeMap::new(),
            commits: VecDeque::new(),
            is_executing: false,
            block: (0, Digest::ZERO),
            subscribers: BTreeSet::new(),
            load: Load::default(),
            taken: 0,
            taken_max: INTAKE_MIN,
            executed: 0,
            executed_before: 0,
            accepted_count: 0,
        }
    }

    /// Adapts how many transfers may wait to how many were executed.
    fn measure(&mut self) {
        let per_second = (self.executed - self.executed_before) * SECOND_US / INTAKE_EVERY_US;
        self.executed_before = self.executed;
        self.taken_max = ((self.taken_max + per_second as usize) / 2).max(INTAKE_MIN);
    }

    /// Takes up to `count_max` transfers into a payload.
    fn propose(&mut self, count_max: usize) -> Bytes {
        let mut left = count_max;
        while let Some(first) = self.waiting.front_mut().filter(|_| left > 0) {
            let count = first.count.min(left);
            self.proposing.push(Arrived { at_us: first.at_us, count });
            first.count -= count;
            left -= count;
            if first.count == 0 {
                self.waiting.pop_front();
            }
        }
        self.waiting_count -= count_max - left;
        vec![0; (count_max - left) * TRANSFER_BYTES].into()
    }
}

/// As a validator's configuration has them, but for the longest delay: rounds between far regions are uneven, and with a shorter one flow
/// control (§12) takes that for too much payload.
fn settings() -> Settings {
    Settings { round_delay_min_ms: 10, round_delay_max_ms: 100, ..Settings::default() }
}

fn transfers_of(vertex: &VerifiedVertex) -> usize {
    vertex.payload().len() / TRANSFER_BYTES
}
