//! Snapshots: staged chunk by chunk, and put in the place of the state, over both kinds of storage.

use crate::fixtures::*;
use farthing_consensus::committee::GC_DEPTH;
use farthing_core::certificate::{Certificate, CertificateAttestation};
use farthing_core::hash::Digest;
use farthing_core::keys::Signature;
use farthing_core::state_chunk::{SlotBytes, StateChunk};
use farthing_node::snapshot::Manifest;
use farthing_node::storage::rocks::RocksStorage;
use farthing_node::storage::{Base, Batch, RETAIN_COMMITS_MIN, Retention, Stage, Storage};
use std::fs;
use std::path::Path;

/// A snapshot of so many slots in chunks of two, as of this commit and block.
fn snapshot(commit_index: u64, height: u64, slots: &[&str]) -> (Manifest, Vec<StateChunk>) {
    let chunk =
        |slots: &[&str]| StateChunk { slots: slots.iter().map(|slot| SlotBytes(slot.as_bytes().to_vec())).collect() };
    let chunks: Vec<_> = slots.chunks(2).map(chunk).collect();
    let tops = slots.chunks(2).map(|slots| Digest::of_bytes(slots.join("|").as_bytes())).collect();
    let mut anchor = header(height + 1, commit_index + 1, 1);
    anchor.state_root = Some(digest("state root", commit_index));
    let commits = (commit_index - 2..=commit_index + 1).map(|index| commit(index, vec![reference(index, 0)])).collect();
    let certificate = Certificate { links: Vec::new(), attestations: Vec::new() };
    let parent = header(height, commit_index, 1);
    (Manifest { anchor, certificate, parent, commits, slot_count: slots.len() as u64, tops }, chunks)
}

fn begin(manifest: &Manifest) -> Batch {
    Batch { stage: Some(Stage::Begin(Box::new(manifest.clone()))), ..Batch::default() }
}

fn stage(number: usize, chunk: &StateChunk) -> Batch {
    Batch { stage: Some(Stage::Chunk(number as u32, chunk.clone())), ..Batch::default() }
}

fn stage_all(storage: &dyn Storage, (manifest, chunks): &(Manifest, Vec<StateChunk>)) {
    storage.apply(&begin(manifest), false).unwrap();
    for (number, chunk) in chunks.iter().enumerate() {
        storage.apply(&stage(number, chunk), false).unwrap();
    }
}

/// The stored slots as text, checked to be numbered without gaps.
fn slots(storage: &dyn Storage) -> Vec<String> {
    let (_, records) = storage.state().unwrap().unwrap();
    let text = |(number, record): (u32, farthing_core::state::SlotRecord)| {
        assert_eq!(record.slot, number);
        String::from_utf8(record.bytes).unwrap()
    };
    (0..).zip(records).map(text).collect()
}

/// Ten commits with a block each, evidence, a certificate, a signature, and a flush of a state.
fn write_old(storage: &dyn Storage) -> Network {
    let mut network = Network::new(2);
    storage.initialize_signing_state().unwrap();
    for _ in 1..=10 {
        let mut batch = network.busy(1);
        batch.last_signed = Some(network.last_round[0]);
        storage.apply(&batch, false).unwrap();
    }
    storage.apply(&network.flush(), false).unwrap();
    let attestation = CertificateAttestation { validator: 1, height: 4, signature: Signature([4; 64]) };
    let certificates = vec![(4, vec![attestation])];
    storage.apply(&Batch { evidence: vec![(3, 1, vec![7])], certificates, ..Batch::default() }, true).unwrap();
    network
}

/// As of a commit far ahead of what [`write_old`] writes.
const COMMIT: u64 = 500;
const HEIGHT: u64 = 300;

#[test]
fn what_is_staged_is_found_again() {
    over_both(|storage| {
        assert_eq!(storage.staged().unwrap(), None);
        let (manifest, chunks) = snapshot(COMMIT, HEIGHT, &["a", "b", "c", "d", "e"]);
        storage.apply(&stage(1, &chunks[1]), false).unwrap();
        assert_eq!(storage.staged().unwrap(), None, "no snapshot was begun");
        storage.apply(&begin(&manifest), false).unwrap();
        storage.apply(&stage(2, &chunks[2]), false).unwrap();
        storage.apply(&stage(0, &chunks[0]), true).unwrap();
        let staged = storage.staged().unwrap().unwrap();
        assert_eq!((staged.manifest, staged.chunks), (manifest, [0, 2].into()));
    });
}

#[test]
fn the_chunks_that_a_newer_snapshot_has_too_stay() {
    over_both(|storage| {
        stage_all(storage, &snapshot(COMMIT, HEIGHT, &["a", "b", "c", "d", "e"]));
        let (newer, chunks) = snapshot(COMMIT + 9, HEIGHT + 9, &["a", "b", "c", "D", "e", "f", "g", "h"]);
        storage.apply(&begin(&newer), false).unwrap();
        let staged = storage.staged().unwrap().unwrap();
        assert_eq!((&staged.manifest, staged.chunks), (&newer, [0].into()));
        for (number, chunk) in chunks.iter().enumerate().skip(1) {
            storage.apply(&stage(number, chunk), false).unwrap();
        }
        assert!(storage.install().unwrap());
        assert_eq!(slots(storage), ["a", "b", "c", "D", "e", "f", "g", "h"]);
    });
}

#[test]
fn an_incomplete_or_outdated_snapshot_is_not_installed() {
    over_both(|storage| {
        write_old(storage);
        let before = storage.state().unwrap();
        assert!(!storage.install().unwrap(), "there is none");
        let (manifest, chunks) = snapshot(COMMIT, HEIGHT, &["a", "b", "c"]);
        storage.apply(&begin(&manifest), false).unwrap();
        storage.apply(&stage(1, &chunks[1]), false).unwrap();
        assert!(!storage.install().unwrap(), "a chunk is missing");
        stage_all(storage, &snapshot(10, 9, &["a"]));
        assert!(!storage.install().unwrap(), "its commit is here already");
        assert_eq!(storage.state().unwrap(), before);
        assert_eq!((storage.newest_commit().unwrap(), storage.newest_block().unwrap()), (10, 10));
        assert_eq!(storage.base().unwrap(), None);
    });
}

#[test]
fn an_installed_snapshot_takes_the_place_of_the_state() {
    over_both(|storage| {
        let mut network = write_old(storage);
        // Vertices above the gc round of the snapshot may be here already.
        let first_round = COMMIT - GC_DEPTH + 1;
        let early = [simple_vertex(first_round - 1, 0, b"collected"), simple_vertex(first_round, 0, b"kept")];
        storage.apply(&Batch { vertices: early.to_vec(), ..Batch::default() }, false).unwrap();
        let installed = snapshot(COMMIT, HEIGHT, &["a", "b", "c", "d", "e"]);
        stage_all(storage, &installed);
        assert!(storage.install().unwrap());
        check_installed(storage, &installed.0);
        assert_eq!(storage.vertices(0, u64::MAX, 99).unwrap(), early[1..]);
        assert_eq!(storage.signing_state().unwrap(), Some(Some(network.last_round[0])));
        assert_eq!(storage.evidence().unwrap(), [(3, 1, vec![7])]);
        assert!(storage.certificate(4).unwrap().is_some());
        assert_eq!(storage.header(7).unwrap(), Some(header(7, 7, 1)), "old headers are still true");
        assert!(storage.transaction(&id(7, 0)).unwrap().is_some());
        assert_eq!(storage.history(&account(0), None, 99).unwrap().len(), 10);
        assert_eq!(storage.header(HEIGHT - 1).unwrap(), None);

        // It goes on from there, and prunes.
        (network.index, network.height) = (COMMIT, HEIGHT);
        for _ in 0..2_500 {
            storage.apply(&network.busy(1), false).unwrap();
        }
        storage.apply(&network.flush(), false).unwrap();
        let retention = Retention { commits: RETAIN_COMMITS_MIN, blocks: 100, transactions_ms: 0 };
        while storage.prune(&retention).unwrap() {}
        assert_eq!(storage.commit(COMMIT).unwrap(), None);
        assert_eq!(storage.vertex(&early[1].reference()).unwrap(), None);
        assert_eq!(storage.block(HEIGHT + 1).unwrap(), None);
        assert!(storage.header(HEIGHT).unwrap().is_some() && storage.header(HEIGHT + 1).unwrap().is_some());
        assert!(storage.block(network.height).unwrap().is_some());
        assert_eq!(storage.transaction(&id(7, 0)).unwrap(), None);
    });
}

fn check_installed(storage: &dyn Storage, manifest: &Manifest) {
    assert_eq!(slots(storage), ["a", "b", "c", "d", "e"]);
    assert_eq!(storage.state().unwrap().unwrap().0, manifest.point());
    assert_eq!(storage.staged().unwrap(), None);
    let base = Base { height: HEIGHT, commit_index: COMMIT, timestamp_ms: COMMIT * COMMIT_MS };
    assert_eq!(storage.base().unwrap(), Some(base));
    assert_eq!((storage.newest_commit().unwrap(), storage.newest_block().unwrap()), (COMMIT, HEIGHT));
    assert_eq!(storage.oldest_commit().unwrap(), COMMIT + 1);
    for commit in manifest.contained_commits() {
        assert_eq!(storage.commit(commit.index).unwrap().as_ref(), Some(commit));
    }
    assert_eq!(storage.commit(COMMIT + 1).unwrap(), None, "that one was a proof only");
    assert_eq!(storage.commit(9).unwrap(), None);
    assert_eq!(storage.header(HEIGHT).unwrap().as_ref(), Some(&manifest.parent));
    assert_eq!((storage.block(HEIGHT).unwrap(), storage.block(9).unwrap()), (None, None));
}

#[test]
fn a_full_state_of_the_highest_slots_goes_too() {
    over_both(|storage| {
        storage
            .apply(&Batch { flush: Some(flush(1, 1, &[(0, b"x"), (u32::MAX, b"y")])), ..Batch::default() }, true)
            .unwrap();
        stage_all(storage, &snapshot(COMMIT, HEIGHT, &["a"]));
        assert!(storage.install().unwrap());
        assert_eq!(slots(storage), ["a"]);
    });
}

/// Copies a database that may be open, with no more than `wal_bytes` of its newest log.
fn copy(from: &Path, to: &Path, wal: &Path, wal_bytes: u64) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    let wal = to.join(wal.file_name().unwrap());
    fs::OpenOptions::new().write(true).open(wal).unwrap().set_len(wal_bytes).unwrap();
}

#[test]
fn an_installation_that_is_interrupted_anywhere_is_finished_or_not_begun() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    write_old(&storage);
    let installed = snapshot(COMMIT, HEIGHT, &["a", "b", "c", "d", "e"]);
    stage_all(&storage, &installed);
    storage.apply(&Batch::default(), true).unwrap();
    let before = storage.state().unwrap();
    let mut logs: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    let wal = logs.pop().unwrap();
    let staged_bytes = fs::metadata(&wal).unwrap().len();
    assert!(storage.install().unwrap());
    let full_bytes = fs::metadata(&wal).unwrap().len();
    let (mut not_begun, mut finished) = (0, 0);
    for cut in (staged_bytes..full_bytes).step_by(37).chain([full_bytes]) {
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path(), &wal, cut);
        let opened = RocksStorage::open(copied.path(), &options()).unwrap();
        if opened.base().unwrap().is_some() {
            check_installed(&opened, &installed.0);
            finished += 1;
        } else {
            assert_eq!(opened.state().unwrap(), before);
            assert_eq!(opened.staged().unwrap().unwrap().chunks.len(), installed.1.len());
            assert!(opened.install().unwrap());
            check_installed(&opened, &installed.0);
            not_begun += 1;
        }
    }
    assert!(not_begun >= 1 && finished > 10, "{not_begun} not begun, {finished} finished");
}

#[test]
fn a_state_is_read_as_of_one_moment() {
    over_both(|storage| {
        let written = flush(1, 1, &[(0, b"one"), (1, b"two")]);
        storage.apply(&Batch { flush: Some(written.clone()), ..Batch::default() }, true).unwrap();
        let (point, slots) = storage.slots().unwrap().unwrap();
        storage
            .apply(&Batch { flush: Some(flush(2, 2, &[(1, b"later"), (2, b"new")])), ..Batch::default() }, true)
            .unwrap();
        assert_eq!(point, written.point);
        assert_eq!(slots.collect::<Result<Vec<_>, _>>().unwrap(), written.slots);
    });
}
