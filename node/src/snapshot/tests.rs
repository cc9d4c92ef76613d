//! Snapshots of a small chain: what is served proves itself, what is fetched is what was served, and liars get nowhere.

mod fuzz;

use super::fetch::{Action, CHOICE_MS, Fetch};
use super::{ChunkId, Manifest, SnapshotMessage, Snapshots, SnapshotsSettings};
use crate::storage::memory::MemoryStorage;
use crate::storage::{Batch, BlockRecord, Stage, Storage};
use crate::test_support::{START_MS, genesis, key, transfer};
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::RECOVERY_COMMITS;
use farthing_consensus::vertex::{Author, VertexRef};
use farthing_core::certificate::{Attestation, CertificateAttestation};
use farthing_core::execution::{CommitContext, Ledger};
use farthing_core::hash::Digest;
use farthing_core::state::SlotRecord;
use farthing_core::transaction::VerifiedTransaction;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Two slots a chunk: the globals and four accounts make three chunks.
const LEVEL: u32 = 1;

/// A chain on one disk.
struct Chain {
    committee: Arc<Committee>,
    ledger: Ledger,
    previous: Digest,
    storage: Arc<MemoryStorage>,
    snapshots: Arc<Snapshots>,
}

impl Chain {
    /// So many commits; every second one has a transfer. Copies are made anew after `retain_commits / 2`.
    fn new(commits: u64, retain_commits: u64) -> Chain {
        let committee = Arc::new(Committee::from_genesis(&genesis()));
        let storage = Arc::new(MemoryStorage::default());
        let settings = SnapshotsSettings { chunk_level: LEVEL, retain_commits, directory: None };
        let snapshots = Arc::new(Snapshots::new(storage.clone(), settings));
        let mut ledger = Ledger::genesis(&genesis());
        ledger.set_flush_interval_ms(0);
        let previous = committee.previous_commit();
        let mut chain = Chain { committee, ledger, previous, storage, snapshots };
        chain.grow(commits);
        chain
    }

    fn grow(&mut self, commits: u64) {
        for _ in 0..commits {
            let index = self.ledger.commit_index() + 1;
            let transfers = if index.is_multiple_of(2) { vec![transfer(2, index / 2)] } else { Vec::new() };
            self.commit(&transfers, true);
        }
    }

    /// One more commit, 400 ms after the one before.
    fn commit(&mut self, transactions: &[VerifiedTransaction], is_certified: bool) {
        let index = self.ledger.commit_index() + 1;
        let leader = VertexRef { round: index, author: 0, digest: Digest::of_bytes(&index.to_le_bytes()) };
        let timestamp_ms = START_MS + 400 * index;
        let commit = Commit { epoch: 0, index, previous: self.previous, leader, vertices: vec![leader], timestamp_ms };
        let digest = commit.digest(self.committee.chain());
        self.previous = digest;
        let execution = self.ledger.execute(&CommitContext { epoch: 0, index, digest, timestamp_ms }, transactions);
        let mut batch = Batch { commits: vec![commit], flush: execution.flush, ..Batch::default() };
        if let Some(block) = execution.block {
            let height = block.header.height;
            let attest = |validator: u16| {
                let own = key(101 + validator as u8);
                let signature = Attestation::sign(self.committee.chain(), height, block.hash, &own).signature;
                CertificateAttestation { validator, height, signature }
            };
            if is_certified {
                batch.certificates.push((height, (0..3).map(attest).collect()));
            }
            let record = BlockRecord { header: block.header, payloads: Vec::new(), entries: Vec::new() };
            batch.block = Some((record, Vec::new()));
        }
        self.storage.apply(&batch, true).unwrap();
    }

    fn manifest(&self) -> Manifest {
        self.snapshots.refresh().unwrap();
        (*self.snapshots.newest().unwrap().expect("a snapshot")).clone()
    }

    /// What this node answers.
    fn answer(&self, request: &SnapshotMessage) -> SnapshotMessage {
        match request {
            SnapshotMessage::FetchManifest => {
                self.snapshots.refresh().unwrap();
                let newest = self.snapshots.newest().unwrap();
                SnapshotMessage::Manifest(newest.map(|manifest| Box::new((*manifest).clone())))
            }
            SnapshotMessage::FetchChunk(id) => {
                SnapshotMessage::Chunk(*id, self.snapshots.chunk(&id.state_root, id.number))
            }
            answer => panic!("not a request: {answer:?}"),
        }
    }
}

/// The ledger that a snapshot leads to, out of another disk that it was staged on.
fn installed(actions: &[Action]) -> (Ledger, MemoryStorage) {
    let disk = MemoryStorage::default();
    for action in actions {
        if let Action::Stage(stage) = action {
            disk.apply(&Batch { stage: Some(stage.clone()), ..Batch::default() }, true).unwrap();
        }
    }
    assert!(disk.install().unwrap());
    let (point, slots): (_, Vec<SlotRecord>) = disk.state().unwrap().unwrap();
    (Ledger::restore(&genesis(), point, slots).unwrap(), disk)
}

#[test]
fn a_manifest_proves_the_state_of_its_chain() {
    for commits in [12, 13, 40, 100] {
        let mut chain = Chain::new(commits, 1_000);
        let manifest = chain.manifest();
        manifest.verify(&chain.committee, LEVEL).unwrap();
        assert!(manifest.commits.len() <= RECOVERY_COMMITS + 1);
        let mut actions = vec![Action::Stage(Stage::Begin(Box::new(manifest.clone())))];
        for number in 0..manifest.tops.len() as u32 {
            let chunk = chain.snapshots.chunk(&manifest.state_root(), number).unwrap();
            actions.push(Action::Stage(Stage::Chunk(number, chunk)));
        }
        let (mut ledger, disk) = installed(&actions);
        // It makes the same blocks from there on.
        for index in ledger.commit_index() + 1..=commits {
            let commit = chain.storage.commit(index).unwrap().unwrap();
            let digest = commit.digest(chain.committee.chain());
            let transfers = if index % 2 == 0 { vec![transfer(2, index / 2)] } else { Vec::new() };
            ledger.execute(&CommitContext { epoch: 0, index, digest, timestamp_ms: commit.timestamp_ms }, &transfers);
        }
        assert_eq!(ledger.newest_hash(), chain.ledger.newest_hash());
        assert_eq!(ledger.state_root(), chain.ledger.state_root());
        assert_eq!(disk.base().unwrap(), Some(manifest.base()));
        chain.grow(1);
    }
}

#[test]
fn a_manifest_in_which_anything_is_changed_proves_nothing() {
    let chain = Chain::new(100, 1_000);
    let good = chain.manifest();
    let refused = |what: &str, change: fn(&mut Manifest)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(bad.verify(&chain.committee, LEVEL).is_err(), "{what}");
    };
    refused("another state root", |bad| bad.anchor.state_root = Some(Digest::ZERO));
    refused("no state root", |bad| bad.anchor.state_root = None);
    refused("another commit", |bad| bad.anchor.commit_digest = Digest::ZERO);
    refused("too few attestations", |bad| bad.certificate.attestations.truncate(2));
    refused("a bad attestation", |bad| bad.certificate.attestations[0].signature.0[0] ^= 1);
    refused("another block before", |bad| bad.parent.height -= 1);
    refused("a later block before", |bad| bad.parent = bad.anchor.clone());
    refused("other chunks", |bad| bad.tops[0] = Digest::ZERO);
    refused("chunks in another order", |bad| bad.tops.swap(0, 1));
    refused("more chunks", |bad| bad.tops.push(Digest::ZERO));
    refused("fewer chunks", |bad| bad.tops.truncate(2));
    refused("more slots", |bad| bad.slot_count += 1);
    refused("no slots", |bad| bad.slot_count = 0);
    refused("no commits", |bad| bad.commits.clear());
    refused("one commit", |bad| drop(bad.commits.drain(..bad.commits.len() - 1)));
    refused("a commit less at the start", |bad| drop(bad.commits.remove(0)));
    refused("a commit less in the middle", |bad| drop(bad.commits.remove(20)));
    refused("a commit less at the end", |bad| drop(bad.commits.pop()));
    refused("another first commit", |bad| bad.commits[0].timestamp_ms += 1);
    refused("another commit in the middle", |bad| bad.commits[20].vertices[0].round += 1);
    refused("another last commit", |bad| bad.commits.last_mut().unwrap().timestamp_ms += 1);
    assert!(good.verify(&chain.committee, LEVEL + 1).is_err(), "chunks of another size");
}

#[test]
fn a_copy_is_served_while_it_is_fresh_and_the_one_before_it_too() {
    let mut chain = Chain::new(1, 40);
    chain.snapshots.refresh().unwrap();
    assert!(chain.snapshots.newest().unwrap().is_none(), "no block has a root yet");
    chain.grow(30);
    let first = chain.manifest();
    chain.grow(10);
    assert_eq!(chain.manifest(), first, "still fresh");
    chain.grow(20);
    let second = chain.manifest();
    assert!(second.anchor.height > first.anchor.height);
    assert!(chain.snapshots.chunk(&first.state_root(), 0).is_some());
    chain.grow(40);
    let third = chain.manifest();
    assert!(third.anchor.height > second.anchor.height);
    assert!(chain.snapshots.chunk(&first.state_root(), 0).is_none(), "two are kept");
    assert!(chain.snapshots.chunk(&second.state_root(), 0).is_some());
    assert!(chain.snapshots.chunk(&third.state_root(), 3).is_none(), "there are three chunks");
    // As long as nothing newer is certified, nothing is made, and what is too old is not offered.
    for _ in 0..60 {
        chain.commit(&[], false);
    }
    chain.snapshots.refresh().unwrap();
    assert!(chain.snapshots.newest().unwrap().is_none());
}

#[test]
fn an_idle_chain_has_a_snapshot_that_is_not_old() {
    let mut chain = Chain::new(20, 600);
    for _ in 0..2_000 {
        chain.commit(&[], true);
    }
    let manifest = chain.manifest();
    assert!(manifest.anchor.commit_index + 300 > chain.ledger.commit_index(), "{}", manifest.anchor.commit_index);
    manifest.verify(&chain.committee, LEVEL).unwrap();
}

#[test]
fn copies_in_files_are_those_in_memory_and_leave_nothing_behind() {
    let chain = Chain::new(30, 1_000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshots");
    let settings = SnapshotsSettings { chunk_level: LEVEL, retain_commits: 1_000, directory: Some(path.clone()) };
    let in_files = Snapshots::new(chain.storage.clone(), settings);
    in_files.refresh().unwrap();
    let manifest = chain.manifest();
    assert_eq!(*in_files.newest().unwrap().unwrap(), manifest);
    for number in 0..=manifest.tops.len() as u32 {
        let root = manifest.state_root();
        assert_eq!(in_files.chunk(&root, number), chain.snapshots.chunk(&root, number), "chunk {number}");
    }
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

/// Some validators of the same chain, and a node that fetches from them. Messages take no time.
struct Fetching {
    fetch: Fetch,
    now_ms: u64,
    log: Vec<Action>,
}

impl Fetching {
    fn new(chain: &Chain, peers: &[Author]) -> Fetching {
        let fetch = Fetch::new(chain.committee.clone(), LEVEL, 0, None, peers.iter().copied());
        Fetching { fetch, now_ms: 1_000, log: Vec::new() }
    }

    /// Lets everything happen until `until_ms`, or everything is staged. `answer` gives none for a peer that is silent.
    fn run(&mut self, until_ms: u64, answer: impl Fn(Author, &SnapshotMessage) -> Option<SnapshotMessage>) -> bool {
        while self.now_ms < until_ms {
            let mut actions = Vec::new();
            self.fetch.poll(self.now_ms, &mut actions);
            let is_quiet = actions.is_empty();
            for action in actions {
                if self.act(action, &answer) {
                    return true;
                }
            }
            if is_quiet {
                self.now_ms = self.fetch.next_poll_ms().unwrap_or(until_ms).max(self.now_ms + 1);
            }
        }
        false
    }

    fn act(&mut self, action: Action, answer: &impl Fn(Author, &SnapshotMessage) -> Option<SnapshotMessage>) -> bool {
        self.log.push(action.clone());
        match action {
            Action::Send(peer, request) => {
                let mut more = Vec::new();
                if let Some(message) = answer(peer, &request) {
                    self.fetch.on_message(peer, message, self.now_ms, &mut more);
                }
                more.into_iter().any(|action| self.act(action, answer))
            }
            Action::Complete => true,
            Action::Stage(_) | Action::Drop(..) => false,
        }
    }

    fn dropped(&self) -> Vec<(Author, &'static str)> {
        let dropped = |action: &Action| match action {
            Action::Drop(peer, reason) => Some((*peer, *reason)),
            _ => None,
        };
        self.log.iter().filter_map(dropped).collect()
    }

    fn asked_for_chunks(&self) -> BTreeMap<Author, BTreeSet<u32>> {
        let mut asked: BTreeMap<Author, BTreeSet<u32>> = BTreeMap::new();
        for action in &self.log {
            if let Action::Send(peer, SnapshotMessage::FetchChunk(ChunkId { number, .. })) = action {
                asked.entry(*peer).or_default().insert(*number);
            }
        }
        asked
    }
}

#[test]
fn chunks_come_from_everybody_who_has_the_snapshot() {
    let chain = Chain::new(30, 1_000);
    let mut fetching = Fetching::new(&chain, &[0, 1, 2]);
    assert!(fetching.run(60_000, |_, request| Some(chain.answer(request))));
    assert_eq!(fetching.now_ms, 1_000, "nothing had to be waited for");
    assert_eq!(fetching.asked_for_chunks().len(), 3, "each is asked for one of the three");
    let (ledger, _) = installed(&fetching.log);
    assert_eq!(ledger.newest(), &chain.manifest().parent);
}

#[test]
fn liars_are_dropped_and_the_rest_comes_from_the_others() {
    let chain = Chain::new(30, 1_000);
    let mut fetching = Fetching::new(&chain, &[0, 1, 2, 3]);
    let answer = |peer: Author, request: &SnapshotMessage| {
        let mut answer = chain.answer(request);
        match (peer, &mut answer) {
            (0, SnapshotMessage::Manifest(Some(manifest))) => manifest.tops[0] = Digest::ZERO,
            (1, SnapshotMessage::Chunk(_, Some(chunk))) => chunk.slots[0].0[0] ^= 1,
            (2, SnapshotMessage::Chunk(..)) => return None,
            _ => {}
        }
        Some(answer)
    };
    assert!(fetching.run(60_000, answer));
    assert_eq!(fetching.dropped(), [(0, "bad_snapshot"), (1, "bad_chunk")]);
    installed(&fetching.log);
}

#[test]
fn a_peer_with_an_old_snapshot_does_not_win() {
    let mut chain = Chain::new(30, 1_000);
    let old = chain.manifest();
    chain.grow(50);
    let newer = Chain::new(80, 1_000);
    let mut fetching = Fetching::new(&newer, &[0, 1, 2]);
    // The other two take a while to make theirs.
    let asked = std::cell::RefCell::new(BTreeMap::<Author, u32>::new());
    let answer = |peer: Author, request: &SnapshotMessage| match (peer, request) {
        (0, SnapshotMessage::FetchManifest) => Some(SnapshotMessage::Manifest(Some(Box::new(old.clone())))),
        (_, SnapshotMessage::FetchManifest) => {
            let mut asked = asked.borrow_mut();
            let times = asked.entry(peer).or_default();
            *times += 1;
            Some(if *times < 3 { SnapshotMessage::Manifest(None) } else { newer.answer(request) })
        }
        _ => Some(newer.answer(request)),
    };
    assert!(fetching.run(60_000, answer));
    assert!(fetching.now_ms < 1_000 + CHOICE_MS);
    let (ledger, _) = installed(&fetching.log);
    assert_eq!(ledger.newest(), &newer.manifest().parent);
    assert!(!fetching.asked_for_chunks().contains_key(&0));
}

#[test]
fn one_peer_is_enough_and_silence_is_waited_out() {
    let chain = Chain::new(30, 1_000);
    let mut fetching = Fetching::new(&chain, &[0, 1, 2]);
    let answer = |peer: Author, request: &SnapshotMessage| (peer == 2).then(|| chain.answer(request));
    assert!(fetching.run(60_000, answer));
    assert_eq!(fetching.now_ms, 1_000 + CHOICE_MS);
    assert_eq!(fetching.dropped(), []);
}

#[test]
fn what_is_staged_is_not_fetched_again() {
    let chain = Chain::new(30, 1_000);
    let mut first = Fetching::new(&chain, &[0]);
    let only = |number: u32| {
        let chain = &chain;
        move |_: Author, request: &SnapshotMessage| match request {
            SnapshotMessage::FetchChunk(id) if id.number != number => None,
            request => Some(chain.answer(request)),
        }
    };
    assert!(!first.run(8_000, only(1)));
    let disk = MemoryStorage::default();
    for action in &first.log {
        if let Action::Stage(stage) = action {
            disk.apply(&Batch { stage: Some(stage.clone()), ..Batch::default() }, true).unwrap();
        }
    }
    let staged = disk.staged().unwrap();
    assert_eq!(staged.as_ref().unwrap().chunks, [1].into());
    let fetch = Fetch::new(chain.committee.clone(), LEVEL, 0, staged, [1].into_iter());
    let mut second = Fetching { fetch, now_ms: 1_000, log: Vec::new() };
    assert!(second.run(60_000, |_, request| Some(chain.answer(request))));
    assert_eq!(second.asked_for_chunks()[&1], [0, 2].into());
}

#[test]
fn a_snapshot_that_nobody_has_any_more_is_replaced_by_a_newer_one() {
    let chain = Chain::new(30, 1_000);
    let newer = Chain::new(80, 1_000);
    let mut fetching = Fetching::new(&chain, &[0, 1]);
    let asked_for_chunk = std::cell::Cell::new(false);
    let answer = |_: Author, request: &SnapshotMessage| {
        if matches!(request, SnapshotMessage::FetchChunk(_)) {
            asked_for_chunk.set(true);
        }
        Some(if asked_for_chunk.get() { newer.answer(request) } else { chain.answer(request) })
    };
    assert!(fetching.run(120_000, answer));
    let (ledger, _) = installed(&fetching.log);
    assert_eq!(ledger.newest(), &newer.manifest().parent);
}

#[test]
fn the_newest_snapshot_of_a_peer_that_does_not_have_it_holds_up_nothing() {
    let (chain, newer) = (Chain::new(30, 1_000), Chain::new(80, 1_000));
    let mut fetching = Fetching::new(&chain, &[0, 1]);
    let answer = |peer: Author, request: &SnapshotMessage| {
        Some(match (peer, request) {
            (1, SnapshotMessage::FetchChunk(id)) => SnapshotMessage::Chunk(*id, None),
            (1, request) => newer.answer(request),
            (_, request) => chain.answer(request),
        })
    };
    assert!(fetching.run(20_000, answer));
    assert_eq!(installed(&fetching.log).0.newest(), &chain.manifest().parent);
}

#[test]
fn a_peer_that_hands_out_its_snapshot_very_slowly_is_given_up() {
    let (chain, newer) = (Chain::new(30, 1_000), Chain::new(80, 1_000));
    let mut fetching = Fetching::new(&chain, &[0, 1]);
    let late = std::cell::RefCell::new(VecDeque::new());
    let answer = |peer: Author, request: &SnapshotMessage| match (peer, request) {
        (1, SnapshotMessage::FetchChunk(_)) => {
            late.borrow_mut().push_back(newer.answer(request));
            None
        }
        (1, request) => Some(newer.answer(request)),
        (_, request) => Some(chain.answer(request)),
    };
    let mut is_complete = false;
    for _ in 0..10 {
        // Just in time, one chunk after the other.
        is_complete = is_complete || fetching.run(fetching.now_ms + 9_000, answer);
        let message = late.borrow_mut().pop_front();
        if let Some(message) = message.filter(|_| !is_complete) {
            let mut actions = Vec::new();
            fetching.fetch.on_message(1, message, fetching.now_ms, &mut actions);
            fetching.log.extend(actions);
        }
    }
    assert!(is_complete);
    assert_eq!(installed(&fetching.log).0.newest(), &chain.manifest().parent);
}

#[test]
fn connections_come_and_go() {
    let chain = Chain::new(30, 1_000);
    let mut fetching = Fetching::new(&chain, &[]);
    assert!(!fetching.run(5_000, |_, request| Some(chain.answer(request))));
    fetching.fetch.on_connected(3);
    assert!(!fetching.run(6_000, |_, _| None));
    fetching.fetch.on_disconnected(3);
    fetching.fetch.on_connected(3);
    assert!(fetching.run(60_000, |_, request| Some(chain.answer(request))));
}
