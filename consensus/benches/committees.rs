//! How throughput and latency change with the size of the committee, between five regions of the world:
//! `cargo bench -p farthing-consensus --bench committees -- [CPU_US [CORES]]`
//!
//! Real engines exchange real, signed vertices in virtual time, all in one thread. What they stand on is modelled: round trips between
//! regions, an uplink of 1 Gbit/s that sends one copy after the other, a disk whose syncs take 3.5 ms and are shared by all that waits,
//! and processors that check each transfer once, in the order of arrival (`CPU_US` of one of `CORES` cores each; execution and all
//! else included), and handle each vertex. A transfer arrives at one validator, all of which get equally many at an even pace; its
//! latency ends when that validator has executed it.

#![expect(clippy::disallowed_types, reason = "floats are for people to read here")]

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

const SIZES: [usize; 4] = [4, 7, 10, 25];

/// Transfers a second offered, one run each.
const LOADS: [u64; 5] = [1_000, 10_000, 25_000, 50_000, 100_000];

/// Typical round trips in milliseconds between Virginia, Oregon, Ireland, Singapore and Tokyo; within one it is 2 ms.
const ROUND_TRIPS_MS: [[u64; 5]; 5] = [
    [2, 62, 75, 215, 150],
    [62, 2, 135, 170, 107],
    [75, 135, 2, 165, 215],
    [215, 170, 165, 2, 70],
    [150, 107, 215, 70, 2],
];

const TRANSFER_BYTES: usize = 160;
const LINK_BYTES_PER_SECOND: u64 = 125_000_000;
const SYNC_US: u64 = 3_500;
/// Of one core, for one vertex, its attestation and what is due to it.
const VERTEX_US: u64 = 150;
const TICK_US: u64 = 5_000;
const SECOND_US: u64 = 1_000_000;
const WALL_START_MS: u64 = 1_700_000_000_000;

/// A run lasts so long; what arrives before the second of these is not counted.
const RUN_US: u64 = 20 * SECOND_US;
const WARM_UP_US: u64 = 10 * SECOND_US;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let machine = Machine {
        transfer_us: numbers.first().copied().unwrap_or(16),
        cores: numbers.get(1).copied().unwrap_or(4).max(1),
    };
    let (transfer_us, cores) = (machine.transfer_us, machine.cores);
    let largest = ROUND_TRIPS_MS.iter().flatten().max().expect("there are some");
    println!("{transfer_us} µs a transfer and validator, {cores} cores; largest round trip {largest} ms");
    println!("validators  offered/s  executed/s  p50 ms  p99 ms  p50 in round trips  rounds/s  sent MB/s");
    for size in SIZES {
        for load in LOADS {
            let figures = World::new(size, load, machine).run();
            println!(
                "{size:10}  {load:9}  {:10}  {:6}  {:6}  {:18.2}  {:8.1}  {:9.1}",
                figures.executed_per_second,
                figures.p50_ms,
                figures.p99_ms,
                figures.p50_ms as f64 / *largest as f64,
                figures.rounds_per_second,
                figures.sent_mb_per_second,
            );
        }
    }
}

#[derive(Clone, Copy)]
struct Machine {
    transfer_us: u64,
    cores: u64,
}

/// What a run showed, as of validators on average.
struct Figures {
    executed_per_second: u64,
    p50_ms: u64,
    p99_ms: u64,
    rounds_per_second: f64,
    sent_mb_per_second: f64,
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
    processors_free_us: u64,
    uplink_free_us: u64,
    /// When the sync under way ends, and the one after it, which all that is written meanwhile shares.
    syncs_end_us: [u64; 2],
    durable_us: u64,
}

#[allow(clippy::large_enum_variant)]
enum Event {
    Tick,
    Timer,
    Send(VerifiedVertex),
    Commit(CommittedVertices),
    Executed,
    Push(usize, VerifiedVertex),
    Message(usize, Message),
}

struct World {
    committee: Arc<Committee>,
    machine: Machine,
    load: u64,
    nodes: Vec<Node>,
    now_us: u64,
    events: BTreeMap<(u64, u64), (usize, Event)>,
    sequence: u64,
    links_free_us: BTreeMap<(usize, usize), u64>,
    latencies_us: Vec<(u64, usize)>,
    executed: u64,
    sent_bytes: u64,
}

fn secret_key(author: usize) -> SecretKey {
    SecretKey::from_seed(Digest::of("bench/v1", &[&author.to_le_bytes()]).as_bytes())
}

impl World {
    fn new(size: usize, load: u64, machine: Machine) -> World {
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
            links_free_us: BTreeMap::new(),
            latencies_us: Vec::new(),
            executed: 0,
            sent_bytes: 0,
        };
        let settings = Settings { round_delay_min_ms: 10, round_delay_max_ms: 50, ..Settings::default() };
        let mut started = Vec::new();
        for author in 0..size {
            let own = Some((author as Author, secret_key(author)));
            let mut outputs = Vec::new();
            let (settings, now) = (settings.clone(), world.now());
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
        }
        world
    }

    fn run(mut self) -> Figures {
        let (start_us, end_us) = (self.now_us + WARM_UP_US, self.now_us + RUN_US);
        let mut begun = None;
        while let Some(((at_us, _), (node, event))) = self.events.pop_first() {
            if at_us > end_us {
                break;
            }
            if at_us >= start_us && begun.is_none() {
                self.latencies_us.clear();
                begun = Some((self.executed, self.sent_bytes, self.nodes[0].engine.status().round));
            }
            self.now_us = at_us;
            self.happen(node, event);
        }
        let (executed, sent_bytes, round) = begun.expect("the warm-up is shorter than the run");
        let seconds = (end_us - start_us) as f64 / SECOND_US as f64;
        let rounds = self.nodes[0].engine.status().round - round;
        let size = self.nodes.len() as f64;
        self.latencies_us.sort_unstable();
        Figures {
            executed_per_second: ((self.executed - executed) as f64 / seconds) as u64,
            p50_ms: self.percentile_ms(50),
            p99_ms: self.percentile_ms(99),
            rounds_per_second: rounds as f64 / seconds,
            sent_mb_per_second: (self.sent_bytes - sent_bytes) as f64 / seconds / size / 1e6,
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
            Event::Timer => self.step(node, Input::Timer),
            Event::Send(vertex) => {
                for peer in self.nodes[node].subscribers.clone() {
                    let arrival_us = self.transmit(node, peer, vertex.encoded_len());
                    self.schedule(arrival_us, peer, Event::Push(node, vertex.clone()));
                }
            }
            Event::Push(from, vertex) => {
                self.work(node, VERTEX_US);
                self.step(node, Input::Pushed { from: from as Author, vertex });
            }
            Event::Message(from, message) => self.answer(node, from, message),
            Event::Commit(commit) => {
                self.nodes[node].commits.push_back(commit);
                self.execute(node);
            }
            Event::Executed => {
                self.nodes[node].is_executing = false;
                self.executed(node);
                self.execute(node);
            }
        }
    }

    /// So much of the load as comes to one validator in one tick.
    fn arrive(&mut self, node: usize) {
        let size = self.nodes.len() as u64;
        let per_second = self.load / size;
        // Rounded so that a second's ticks bring exactly a second's transfers.
        let until = |us: u64| us * per_second / SECOND_US;
        let count = (until(self.now_us) - until(self.now_us - TICK_US)) as usize;
        // Admission: no more than a second's arrivals wait.
        if count > 0 && self.nodes[node].waiting_count < per_second as usize {
            self.nodes[node].waiting.push_back(Arrived { at_us: self.now_us, count });
            self.nodes[node].waiting_count += count;
        }
        self.schedule(self.now_us + TICK_US, node, Event::Tick);
        self.tell_waiting(node);
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
            let durable_us = self.nodes[node].durable_us.max(self.now_us);
            match output {
                Output::Persist { .. } => self.nodes[node].sync(self.now_us),
                Output::Broadcast(vertex) => self.schedule(durable_us, node, Event::Send(vertex)),
                Output::Commit(commit) => self.schedule(durable_us, node, Event::Commit(commit)),
                Output::Send { to, message } => {
                    let arrival_us = self.transmit(node, usize::from(to), 100);
                    self.schedule(arrival_us, usize::from(to), Event::Message(node, message));
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

    fn accepted(&mut self, node: usize, vertex: VerifiedVertex) {
        let transfers = (vertex.payload().len() / TRANSFER_BYTES) as u64;
        let checked_us = self.work(node, transfers * self.machine.transfer_us);
        let state = &mut self.nodes[node];
        let reference = vertex.reference();
        if usize::from(vertex.author()) == node && transfers > 0 {
            state.proposed.insert(reference, std::mem::take(&mut state.proposing));
        }
        state.checked_at_us.insert(reference, checked_us);
        state.accepted.insert(reference, vertex);
    }

    /// Executes the next commit when all its transfers are checked.
    fn execute(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let Some(commit) = state.commits.front().filter(|_| !state.is_executing) else { return };
        let checked = commit.vertices.iter().map(|vertex| state.checked_at_us[&vertex.reference()]).max();
        state.is_executing = true;
        self.schedule(checked.unwrap_or(0).max(self.now_us), node, Event::Executed);
    }

    fn executed(&mut self, node: usize) {
        let commit = self.nodes[node].commits.pop_front().expect("one was being executed");
        let transfers: usize = commit.vertices.iter().map(|vertex| vertex.payload().len() / TRANSFER_BYTES).sum();
        let state = &mut self.nodes[node];
        for vertex in &commit.vertices {
            let reference = vertex.reference();
            state.checked_at_us.remove(&reference);
            for arrived in state.proposed.remove(&reference).unwrap_or_default() {
                self.latencies_us.push((self.now_us - arrived.at_us, arrived.count));
                self.executed += arrived.count as u64;
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
                let arrival_us = self.transmit(node, from, 10);
                let latest = Message::Latest { own: None, yours: None };
                return self.schedule(arrival_us, from, Event::Message(node, latest));
            }
            Message::FetchVertices { refs, .. } => {
                let known = refs.iter().filter_map(|reference| self.nodes[node].accepted.get(reference));
                let vertices: Vec<_> = known.map(|vertex| vertex.vertex().clone()).collect();
                let bytes = vertices.iter().map(|vertex| 500 + vertex.payload.len()).sum();
                let arrival_us = self.transmit(node, from, bytes);
                return self.schedule(arrival_us, from, Event::Message(node, Message::Vertices { vertices }));
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

    /// Keeps the processors of a node busy; returns when that is done.
    fn work(&mut self, node: usize, core_us: u64) -> u64 {
        let free_us = &mut self.nodes[node].processors_free_us;
        *free_us = (*free_us).max(self.now_us) + core_us / self.machine.cores;
        *free_us
    }

    /// Sends so many bytes; returns when they arrive.
    fn transmit(&mut self, from: usize, to: usize, bytes: usize) -> u64 {
        self.sent_bytes += bytes as u64;
        let uplink_us = &mut self.nodes[from].uplink_free_us;
        *uplink_us = (*uplink_us).max(self.now_us) + bytes as u64 * SECOND_US / LINK_BYTES_PER_SECOND;
        let regions = ROUND_TRIPS_MS.len();
        let arrival_us = *uplink_us + ROUND_TRIPS_MS[from % regions][to % regions] * 1_000 / 2;
        // In the order in which it was sent.
        let link_us = self.links_free_us.entry((from, to)).or_default();
        *link_us = (*link_us).max(arrival_us);
        *link_us
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
            processors_free_us: 0,
            uplink_free_us: 0,
            syncs_end_us: [0; 2],
            durable_us: 0,
        }
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

    /// Writes something that must be durable.
    fn sync(&mut self, now_us: u64) {
        let [under_way_us, next_us] = self.syncs_end_us;
        if now_us >= next_us {
            self.syncs_end_us = [now_us + SYNC_US, now_us + SYNC_US];
        } else if now_us >= under_way_us {
            self.syncs_end_us = [next_us, next_us + SYNC_US];
        } else {
            self.syncs_end_us[1] = under_way_us + SYNC_US;
        }
        self.durable_us = self.syncs_end_us[1];
    }
}
