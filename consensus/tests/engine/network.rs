//! A network of engines in virtual time, all in one thread: seeded delays, disks that lose what was not synced, and checks after
//! every step. The same seed gives the same run.

use crate::node::{Disk, Node};
use bytes::Bytes;
use farthing_consensus::archive::{Archive, answer_fetch_commits, answer_fetch_vertices};
use farthing_consensus::commit::CommittedVertices;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Engine, Input, Now, Output, Signing, Status};
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{Author, Round, VerifiedVertex, VertexRef};
use farthing_core::certificate::Attestation;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where the wall clocks start.
const WALL_START_MS: u64 = 1_700_000_000_000;

/// How many rounds of own vertices a new subscriber gets.
const BACKLOG_ROUNDS: u64 = 120;

pub fn secret_key(author: Author) -> SecretKey {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&author.to_le_bytes());
    SecretKey::from_seed(&seed)
}

pub fn committee(size: usize) -> Committee {
    let keys = (0..size as Author).map(|author| secret_key(author).public_key()).collect();
    let chain = Digest::of_bytes(b"a chain for tests");
    Committee::new(chain, 0, keys, chain, WALL_START_MS)
}

// A few thousand live at a time: their size does not matter.
#[allow(clippy::large_enum_variant)]
enum Event {
    Deliver { from: usize, packet: Packet },
    Timer,
    Synced,
    Executed,
}

#[allow(clippy::large_enum_variant)]
enum Packet {
    Push(VerifiedVertex),
    Message(Message),
}

/// Milliseconds that a pushed vertex takes from one node to another.
type PushDelay = fn(&Committee, usize, usize, &VerifiedVertex) -> u64;

pub struct Network {
    pub committee: Arc<Committee>,
    pub nodes: Vec<Node>,
    pub now_ms: u64,
    /// The digest of each commit, once any node made it: all others must agree.
    pub agreed: BTreeMap<u64, Digest>,
    pub delay_ms: (u64, u64),
    /// Overrides the delay of pushed vertices, from node to node.
    pub push_delay_ms: Option<PushDelay>,
    /// Whether nodes tell their own latest vertex when asked. It is the rule of §10; tests take it out.
    pub is_own_latest_told: bool,
    /// Nothing that the first of a pair pushes or answers reaches the second.
    muted: BTreeSet<(usize, usize)>,
    /// How many inputs were given to all nodes.
    pub steps: u64,
    edges: BTreeSet<(usize, usize)>,
    events: BTreeMap<(u64, u64), (usize, u64, Event)>,
    signed: BTreeMap<(Author, Round), VertexRef>,
    sequence: u64,
    rng: ChaCha8Rng,
}

impl Network {
    /// Validators `0..size`, all off.
    pub fn new(committee: Committee, seed: u64) -> Network {
        let authors: Vec<Option<Author>> = committee.authors().map(Some).collect();
        Network::with_authors(committee, &authors, seed)
    }

    /// One node for each of `authors`: an author may stand there twice, and `None` is an observer.
    pub fn with_authors(committee: Committee, authors: &[Option<Author>], seed: u64) -> Network {
        Network {
            nodes: authors.iter().map(|author| Node::new(*author, committee.gc_depth())).collect(),
            committee: Arc::new(committee),
            now_ms: 1_000,
            agreed: BTreeMap::new(),
            delay_ms: (5, 40),
            push_delay_ms: None,
            is_own_latest_told: true,
            muted: BTreeSet::new(),
            steps: 0,
            edges: BTreeSet::new(),
            events: BTreeMap::new(),
            signed: BTreeMap::new(),
            sequence: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Starts all nodes and connects each with each.
    pub fn start_all(&mut self) {
        for index in 0..self.nodes.len() {
            self.start(index);
        }
        self.connect_all();
    }

    pub fn connect_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if self.nodes[a].author != self.nodes[b].author {
                    self.connect(a, b);
                }
            }
        }
    }

    /// Starts a node on what its disk holds.
    pub fn start(&mut self, index: usize) {
        let now = self.now_of(index);
        let node = &mut self.nodes[index];
        assert!(node.engine.is_none(), "node {index} runs already");
        let recovered = node.disk.recovered(&self.committee);
        node.commits_seen = recovered.commits.last().map_or(0, |commit| commit.index);
        let own = node.author.map(|author| (author, secret_key(author)));
        let mut outputs = Vec::new();
        node.engine =
            Some(Engine::start(self.committee.clone(), own, node.settings.clone(), recovered, now, &mut outputs));
        node.redeliver(self.committee.chain());
        self.nodes[index].broadcast_last = self.nodes[index].disk.last_signed();
        self.handle(index, outputs);
        self.schedule_execution(index);
        let (height, hash) = self.nodes[index].disk.block;
        if height > 0 {
            let executed = self.nodes[index].disk.executed;
            self.tell_executed(index, executed, Some((height, hash)));
        }
        self.tell_payload_waiting(index);
    }

    /// Stops a node at once: what is not synced is lost, and all its connections break.
    pub fn crash(&mut self, index: usize) {
        for peer in 0..self.nodes.len() {
            self.disconnect(index, peer);
        }
        let node = &mut self.nodes[index];
        node.engine = None;
        node.told_waiting = false;
        node.incarnation += 1;
        node.subscribers.clear();
        node.unreleased.clear();
        node.execution_queue.clear();
        node.next_execution_ms = 0;
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        let both_run = self.nodes[a].engine.is_some() && self.nodes[b].engine.is_some();
        if both_run && self.edges.insert((a.min(b), a.max(b))) {
            self.tell_connection(a, b, Input::Connected);
            self.tell_connection(b, a, Input::Connected);
        }
    }

    pub fn disconnect(&mut self, a: usize, b: usize) {
        if self.edges.remove(&(a.min(b), a.max(b))) {
            self.nodes[a].subscribers.remove(&b);
            self.nodes[b].subscribers.remove(&a);
            self.tell_connection(a, b, Input::Disconnected);
            self.tell_connection(b, a, Input::Disconnected);
        }
    }

    /// The disk of a node that is off is lost, the key kept.
    pub fn lose_disk(&mut self, index: usize) {
        self.restore_disk(index, Disk { signing: Signing::Lost, ..Disk::default() });
    }

    /// Replaces the disk of a node that is off by an older copy.
    pub fn restore_disk(&mut self, index: usize, disk: Disk) {
        let node = &mut self.nodes[index];
        assert!(node.engine.is_none(), "node {index} runs");
        node.committed_payloads.truncate(disk.payloads);
        node.disk = disk;
    }

    /// Whether everything that `from` sends to `to` is lost.
    pub fn mute(&mut self, from: usize, to: usize, is_muted: bool) {
        match is_muted {
            true => self.muted.insert((from, to)),
            false => self.muted.remove(&(from, to)),
        };
    }

    /// Whether the node `index` pushes its vertices to `peer`.
    pub fn has_subscriber(&self, index: usize, peer: usize) -> bool {
        self.nodes[index].subscribers.contains(&peer)
    }

    /// Whether a node answers requests and pushes vertices.
    pub fn set_serving(&mut self, index: usize, is_serving: bool) {
        self.nodes[index].is_serving = is_serving;
    }

    pub fn submit(&mut self, index: usize, payload: Bytes) {
        self.nodes[index].mempool.push_back(payload);
        self.tell_payload_waiting(index);
    }

    pub fn run_for(&mut self, ms: u64) {
        self.run_until(self.now_ms + ms);
    }

    pub fn run_until(&mut self, end_ms: u64) {
        while let Some(((at_ms, _), _)) = self.events.first_key_value().filter(|((at_ms, _), _)| *at_ms <= end_ms) {
            self.now_ms = *at_ms;
            let (_, (index, incarnation, event)) = self.events.pop_first().expect("just seen");
            if self.nodes[index].incarnation == incarnation && self.nodes[index].engine.is_some() {
                self.dispatch(index, event);
            }
        }
        self.now_ms = end_ms;
    }

    pub fn status(&self, index: usize) -> Status {
        self.nodes[index].engine.as_ref().expect("the node runs").status()
    }

    pub fn now_of(&self, index: usize) -> Now {
        let wall_ms = (WALL_START_MS + self.now_ms).saturating_add_signed(self.nodes[index].wall_skew_ms);
        Now { monotonic_ms: self.now_ms, wall_ms }
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below
    }

    /// Gives a node an input and does what comes out.
    pub fn step(&mut self, index: usize, input: Input) {
        self.steps += 1;
        let now = self.now_of(index);
        let mut outputs = Vec::new();
        self.nodes[index].engine.as_mut().expect("the node runs").step(now, input, &mut outputs);
        self.handle(index, outputs);
    }

    fn dispatch(&mut self, index: usize, event: Event) {
        match event {
            Event::Timer => self.step(index, Input::Timer),
            Event::Synced => {
                let persist = self.nodes[index].unreleased.pop_front().expect("a sync was under way");
                self.nodes[index].disk.write(persist);
                self.release(index);
            }
            Event::Executed => self.execute(index),
            Event::Deliver { from, packet } => {
                if self.edges.contains(&(from.min(index), from.max(index))) {
                    self.receive(index, from, packet);
                }
            }
        }
    }

    fn receive(&mut self, index: usize, from: usize, packet: Packet) {
        let verify = |committee: &Committee, vertices: Vec<_>| {
            vertices.into_iter().map(|vertex| committee.verify(vertex).expect("a valid vertex")).collect()
        };
        let author = self.nodes[from].author;
        let node = &mut self.nodes[index];
        match packet {
            Packet::Push(vertex) => {
                self.step(index, Input::Pushed { from: author.expect("observers do not push"), vertex });
            }
            Packet::Message(Message::Vertices { vertices }) => {
                let vertices = verify(&self.committee, vertices);
                self.step(index, Input::Fetched { from: author.expect("a member was asked"), vertices });
            }
            Packet::Message(Message::Commits { commits, votes, oldest_index }) => {
                let from = author.expect("a member was asked");
                self.step(index, Input::FetchedCommits { from, commits, votes, oldest_index });
            }
            Packet::Message(_) if !node.is_serving => {}
            Packet::Message(Message::Subscribe { from_round }) => {
                node.subscribers.insert(from);
                let newest = node.broadcasts.last().map_or(0, |(_, vertex)| vertex.round());
                let from_round = from_round.max(newest.saturating_sub(BACKLOG_ROUNDS));
                let own = node.disk.vertices.values().filter(|vertex| Some(vertex.author()) == node.author);
                let stored: Vec<_> = own.filter(|vertex| vertex.round() >= from_round).cloned().collect();
                for vertex in stored {
                    self.send(index, from, Packet::Push(vertex));
                }
            }
            Packet::Message(Message::FetchVertices { refs, above_round }) => {
                let answer = answer_fetch_vertices(node, &refs, above_round);
                self.send(index, from, Packet::Message(answer));
            }
            Packet::Message(Message::FetchCommits { from_index }) => {
                let answer = answer_fetch_commits(node, &self.committee, from_index);
                self.send(index, from, Packet::Message(answer));
            }
            Packet::Message(Message::FetchLatest) => {
                let own = node.broadcast_last.as_ref().and_then(|reference| node.header(reference));
                let own = own.filter(|_| self.is_own_latest_told).map(Box::new);
                let yours = node.highest_of(author).map(Box::new);
                self.send(index, from, Packet::Message(Message::Latest { own, yours }));
            }
            Packet::Message(Message::Latest { own, yours }) => {
                let from = author.expect("a member was asked");
                self.step(index, Input::Latest { from, own, yours });
            }
            Packet::Message(Message::Vertex(_)) => unreachable!("vertices travel as Push"),
        }
    }

    /// Puts outputs into effect: what promises something waits for the syncs before it.
    fn handle(&mut self, index: usize, outputs: Vec<Output>) {
        let mut request = None;
        for output in outputs {
            assert!(request.is_none(), "a payload request is the last output");
            match output {
                Output::Persist { .. } | Output::Broadcast(_) | Output::Commit(_) => {
                    self.nodes[index].unreleased.push_back(output);
                    if self.nodes[index].unreleased.len() == 1 {
                        self.release(index);
                    }
                }
                Output::Send { to, message } => self.send_to_author(index, to, message),
                Output::RequestPayload { bytes_max } => request = Some(bytes_max),
                Output::SetTimer { at_ms } => {
                    assert!(at_ms > self.now_ms, "a timer in the past");
                    self.schedule(index, at_ms, Event::Timer);
                }
                Output::Accepted(vertex) => {
                    self.committee.check_parents(vertex.header()).expect("a valid vertex");
                    for attestation in &vertex.header().attestations {
                        let attesting = self.nodes[index].attested.entry((attestation.height, attestation.block));
                        attesting.or_default().insert(vertex.author());
                    }
                }
                Output::Uncommitted(vertices) => {
                    let payloads =
                        vertices.iter().map(|vertex| vertex.payload().clone()).filter(|bytes| !bytes.is_empty());
                    self.nodes[index].mempool.extend(payloads);
                }
                Output::BehindRetention { peers } => self.nodes[index].behind_retention.push((self.now_ms, peers)),
                Output::Evidence(evidence) => self.nodes[index].evidence.push(*evidence),
            }
        }
        match request {
            Some(bytes_max) => self.answer_payload(index, bytes_max),
            None => self.tell_payload_waiting(index),
        }
    }

    /// Tells whether the mempool holds anything, when that changed.
    fn tell_payload_waiting(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let is_waiting = !node.mempool.is_empty();
        if node.engine.is_some() && node.told_waiting != is_waiting {
            node.told_waiting = is_waiting;
            self.step(index, Input::PayloadWaiting(is_waiting));
        }
    }

    fn answer_payload(&mut self, index: usize, bytes_max: usize) {
        let node = &mut self.nodes[index];
        node.payload_requests.push(bytes_max);
        let fits = node.mempool.front().is_some_and(|payload| payload.len() <= bytes_max);
        let payload = if fits { node.mempool.pop_front().unwrap_or_default() } else { Bytes::new() };
        self.step(index, Input::Payload(payload));
    }

    /// Releases outputs up to the next thing to sync.
    fn release(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].unreleased.front() {
            if matches!(output, Output::Persist { .. }) {
                let at_ms = self.now_ms + self.nodes[index].sync_ms;
                self.schedule(index, at_ms, Event::Synced);
                return;
            }
            match self.nodes[index].unreleased.pop_front().expect("just seen") {
                Output::Broadcast(vertex) => self.broadcast(index, vertex),
                Output::Commit(committed) => self.on_commit(index, committed),
                _ => unreachable!("only these wait"),
            }
        }
    }

    fn broadcast(&mut self, index: usize, vertex: VerifiedVertex) {
        let reference = vertex.reference();
        let author = reference.author;
        assert!(self.nodes[index].disk.last_signed() == Some(reference), "sent before it was stored");
        if self.nodes.iter().filter(|node| node.author == Some(author)).count() == 1 {
            let signed = *self.signed.entry((author, reference.round)).or_insert(reference);
            assert_eq!(signed, reference, "author {author} signed two vertices of round {}", reference.round);
        }
        let is_serving = self.nodes[index].is_serving;
        self.nodes[index].broadcast_last = Some(reference);
        self.nodes[index].broadcasts.push((self.now_ms, vertex.clone()));
        for subscriber in self.nodes[index].subscribers.clone() {
            if is_serving {
                self.send(index, subscriber, Packet::Push(vertex.clone()));
            }
        }
    }

    fn on_commit(&mut self, index: usize, committed: CommittedVertices) {
        let commit = &committed.commit;
        let references: Vec<VertexRef> = committed.vertices.iter().map(VerifiedVertex::reference).collect();
        assert_eq!(references, commit.vertices);
        let agreed = *self.agreed.entry(commit.index).or_insert(committed.digest);
        assert_eq!(agreed, committed.digest, "node {index} disagrees about commit {}", commit.index);
        let (now_ms, node) = (self.now_ms, &mut self.nodes[index]);
        assert_eq!(commit.index, node.commits_seen + 1, "commits come once each, in order");
        assert_eq!(node.disk.commits.get(&commit.index), Some(commit), "executed before it was stored");
        node.commits_seen = commit.index;
        node.commit_times.push((commit.index, now_ms));
        node.execution_lag_max = node.execution_lag_max.max(commit.index - node.disk.executed);
        node.execution_queue.push_back(committed);
        self.schedule_execution(index);
    }

    fn schedule_execution(&mut self, index: usize) {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[index];
        if !node.execution_queue.is_empty() && node.next_execution_ms <= now_ms {
            node.next_execution_ms = now_ms + node.execution_ms.max(1);
            let at_ms = node.next_execution_ms;
            self.schedule(index, at_ms, Event::Executed);
        }
    }

    /// Executes a commit: the block's hash chains the digests of commits with payload.
    fn execute(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let committed = node.execution_queue.pop_front().expect("scheduled for it");
        let payloads =
            committed.vertices.iter().map(|vertex| vertex.payload().clone()).filter(|bytes| !bytes.is_empty());
        let count = node.committed_payloads.len();
        node.committed_payloads.extend(payloads);
        node.disk.executed = committed.commit.index;
        node.disk.payloads = node.committed_payloads.len();
        let block = (node.committed_payloads.len() > count).then(|| {
            let (height, previous) = node.disk.block;
            let hash = Digest::of("test-block/v1", &[previous.as_bytes(), committed.digest.as_bytes()]);
            node.disk.block = (height + 1, hash);
            node.disk.block
        });
        self.tell_executed(index, committed.commit.index, block);
        self.schedule_execution(index);
    }

    fn tell_executed(&mut self, index: usize, executed: u64, block: Option<(u64, Digest)>) {
        let attestation = self.nodes[index].author.zip(block).map(|(author, (height, hash))| {
            Attestation::sign(self.committee.chain(), height, hash, &secret_key(author))
        });
        self.step(index, Input::Executed { index: executed, block, attestation });
    }

    fn tell_connection(&mut self, index: usize, peer: usize, input: fn(Author) -> Input) {
        if let Some(author) = self.nodes[peer].author.filter(|_| self.nodes[index].engine.is_some()) {
            self.step(index, input(author));
        }
    }

    fn send_to_author(&mut self, index: usize, to: Author, message: Message) {
        let is_peer = |peer: &usize| {
            self.nodes[*peer].author == Some(to) && self.edges.contains(&(index.min(*peer), index.max(*peer)))
        };
        let peer = (0..self.nodes.len()).find(is_peer).expect("requests go to connected members");
        self.send(index, peer, Packet::Message(message));
    }

    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        if self.muted.contains(&(from, to)) {
            return;
        }
        if let (Some(delay_ms), Packet::Push(vertex)) = (self.push_delay_ms, &packet) {
            let at_ms = self.now_ms + delay_ms(&self.committee, from, to, vertex);
            return self.schedule(to, at_ms, Event::Deliver { from, packet });
        }
        let (low, high) = self.delay_ms;
        let extra = self.nodes[from].delay_extra_ms + self.nodes[to].delay_extra_ms;
        let at_ms = self.now_ms + low + extra + self.random(high - low + 1);
        self.schedule(to, at_ms, Event::Deliver { from, packet });
    }

    fn schedule(&mut self, index: usize, at_ms: u64, event: Event) {
        self.sequence += 1;
        let incarnation = self.nodes[index].incarnation;
        self.events.insert((at_ms, self.sequence), (index, incarnation, event));
    }
}
