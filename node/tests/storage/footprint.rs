//! The disk that a node takes: steady as long as nothing is to be kept.

use crate::fixtures::*;
use farthing_node::storage::{RETAIN_COMMITS_MIN, Retention, Storage};
use std::path::Path;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// Prunes as a node does: often, a step at a time.
const PRUNE_EVERY: u64 = 20;

const RETENTION: Retention = Retention { commits: RETAIN_COMMITS_MIN, blocks: 200, transactions_ms: 100 * COMMIT_MS };

/// Bytes in files with this extension, and their number.
fn size(directory: &Path, extension: &str) -> (u64, usize) {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.path().extension().is_some_and(|found| found == extension));
    // A file that is listed may be gone by now.
    let sizes: Vec<u64> = files.map(|file| file.metadata().map_or(0, |metadata| metadata.len())).collect();
    (sizes.iter().sum(), sizes.len())
}

/// Waits until `check` is content: threads in the background merge tables and remove files. What it found otherwise is the error.
fn eventually(check: impl Fn() -> Result<(), String>) {
    let started = Instant::now();
    while let Err(found) = check() {
        assert!(started.elapsed() < Duration::from_secs(20), "{found}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_idle_node_takes_no_more_and_no_more_disk() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let mut network = Network::new(4);
    let mut written = 0;
    // Eight hours of two commits a second.
    for index in 1..=57_600_u64 {
        // An idle chain makes a block now and then.
        let batch = if index.is_multiple_of(128) { network.busy(0) } else { network.idle() };
        written += 450 * batch.vertices.len() as u64;
        storage.apply(&batch, false).unwrap();
        if index.is_multiple_of(10) {
            storage.apply(&network.flush(), false).unwrap();
        }
        if index.is_multiple_of(PRUNE_EVERY) {
            storage.prune(&RETENTION).unwrap();
        }
        if index.is_multiple_of(5_000) {
            eventually(|| {
                let (tables, table_count) = size(directory.path(), "sst");
                let (logs, log_count) = size(directory.path(), "log");
                let usage = storage.usage().unwrap();
                let fits = tables < 32 * MIB && table_count < 60 && logs < 96 * MIB && log_count < 20;
                let found = format!(
                    "{tables} bytes in {table_count} tables, {logs} in {log_count} logs, usage {usage} at {index}"
                );
                (fits && usage < 130 * MIB).then_some(()).ok_or(found)
            });
        }
    }
    assert!(written > 95 * MIB, "too little to show anything");
    drop(storage);
    let storage = open(directory.path());
    assert_eq!(storage.newest_commit().unwrap(), network.index);
    let kept = storage.vertices(0, u64::MAX, usize::MAX).unwrap().len();
    assert!((4 * 600..4 * 800).contains(&kept), "{kept}");
}

#[test]
fn the_payloads_of_a_busy_node_give_their_disk_back() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let mut network = Network::new(1);
    for index in 1..=3_000_u64 {
        let mut batch = network.busy(400);
        // Histories stay for ever.
        batch.block.as_mut().unwrap().1.clear();
        storage.apply(&batch, false).unwrap();
        if index.is_multiple_of(10) {
            storage.apply(&network.flush(), false).unwrap();
        }
        if index.is_multiple_of(PRUNE_EVERY) {
            storage.prune(&RETENTION).unwrap();
        }
    }
    // Of 187 MiB some 50 are to be kept.
    eventually(|| {
        let (tables, _) = size(directory.path(), "sst");
        (tables < 120 * MIB).then_some(()).ok_or(format!("{tables} bytes in tables"))
    });
}

#[test]
fn small_tables_are_merged() {
    let directory = tempfile::tempdir().unwrap();
    let mut network = Network::new(4);
    // Opening writes what is in the log into tables, one for each column family that holds something.
    for _ in 0..30 {
        let storage = open(directory.path());
        for _ in 0..80 {
            let mut batch = network.busy(1);
            if let Some((block, history)) = &mut batch.block {
                history[0].account = account(block.header.height);
            }
            storage.apply(&batch, false).unwrap();
        }
        storage.apply(&network.flush(), true).unwrap();
        while storage.prune(&RETENTION).unwrap() {}
    }
    let _storage = open(directory.path());
    eventually(|| {
        let (_, tables) = size(directory.path(), "sst");
        let files = std::fs::read_dir(directory.path()).unwrap().count();
        (tables < 70 && files < tables + 20).then_some(()).ok_or(format!("{tables} tables, {files} files"))
    });
}

/// What an encoded transaction takes on disk after a compaction, all in all: at most 1.3 times itself.
#[test]
fn a_compacted_transaction_takes_little_more_than_itself() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let mut network = Network::new(4);
    for _ in 0..200 {
        let mut batch = network.busy(1_000);
        batch.block.as_mut().unwrap().1.clear();
        storage.apply(&batch, false).unwrap();
    }
    storage.compact().unwrap();
    drop(storage);
    let bytes = ["sst", "log"].map(|extension| size(directory.path(), extension).0).iter().sum::<u64>() as f64;
    let (transactions, encoded) = (200_000.0, transaction(1, 0).encode().len() as f64);
    assert!((1.0..1.3).contains(&(bytes / transactions / encoded)), "{} bytes of {encoded}", bytes / transactions);
    let found = open(directory.path()).transaction(&id(100, 500)).unwrap().unwrap();
    assert_eq!((found.position.height, found.position.position), (100, 500));
}
