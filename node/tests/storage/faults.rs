//! Torn logs and flipped bits: the database opens with a prefix of what was written, or refuses, and serves nothing wrong.

use crate::fixtures::*;
use farthing_consensus::vertex::VerifiedVertex;
use farthing_node::storage::rocks::RocksStorage;
use farthing_node::storage::{Storage, StorageError};
use std::fs;
use std::path::{Path, PathBuf};

/// Copies a database that may be open, as a power failure would leave it.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The files with this extension, oldest first.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// A database with `synced` commits that are synced, and `unsynced` more; with the log file and its length as of the sync.
struct Written {
    directory: tempfile::TempDir,
    _open: RocksStorage,
    wal: PathBuf,
    synced_bytes: u64,
    batches: Vec<Vec<VerifiedVertex>>,
}

fn write(synced: u64, unsynced: u64) -> Written {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let wal = files(directory.path(), "log").pop().unwrap();
    let mut network = Network::new(2);
    let (mut batches, mut synced_bytes) = (Vec::new(), 0);
    for index in 1..=synced + unsynced {
        let batch = network.busy(1);
        storage.apply(&batch, index == synced).unwrap();
        batches.push(batch.vertices);
        if index == synced {
            synced_bytes = fs::metadata(&wal).unwrap().len();
        }
    }
    Written { directory, _open: storage, wal, synced_bytes, batches }
}

/// Checks that the database in `path` holds the first so many batches, each of them whole, and nothing else; returns how many.
fn assert_prefix(path: &Path, batches: &[Vec<VerifiedVertex>]) -> Result<u64, StorageError> {
    let storage = RocksStorage::open(path, &options())?;
    let newest = storage.newest_commit()?;
    assert_eq!(storage.newest_block()?, newest);
    let expected: Vec<_> = batches[..newest as usize].concat();
    assert_eq!(storage.vertices(0, u64::MAX, usize::MAX)?, expected);
    for height in 1..=newest {
        assert!(storage.commit(height)?.is_some() && storage.block(height)?.is_some());
        assert!(storage.transaction(&id(height, 0))?.is_some());
    }
    assert_eq!(storage.transaction(&id(newest + 1, 0))?, None);
    Ok(newest)
}

#[test]
fn a_torn_log_loses_no_more_than_its_torn_writes() {
    let written = write(3, 2);
    let full = fs::metadata(&written.wal).unwrap().len();
    assert!(full > written.synced_bytes, "writes reach the log at once");
    let mut seen = Vec::new();
    let cuts = (written.synced_bytes..full).step_by(97).chain([full - 1, full]);
    for cut in cuts {
        let copied = tempfile::tempdir().unwrap();
        copy(written.directory.path(), copied.path());
        let wal = copied.path().join(written.wal.file_name().unwrap());
        fs::OpenOptions::new().write(true).open(wal).unwrap().set_len(cut).unwrap();
        let newest = assert_prefix(copied.path(), &written.batches).unwrap();
        assert!(newest >= 3, "cut at {cut}: only {newest} commits are left of 3 that were synced");
        seen.push(newest);
    }
    assert!(seen.is_sorted(), "the longer the log the more is left: {seen:?}");
    seen.dedup();
    assert_eq!(seen, [3, 4, 5]);
}

#[test]
fn a_flipped_bit_in_the_log_is_noticed() {
    let written = write(4, 0);
    let mut refused = 0;
    for place in (0..written.synced_bytes).step_by(211) {
        let copied = tempfile::tempdir().unwrap();
        copy(written.directory.path(), copied.path());
        let wal = copied.path().join(written.wal.file_name().unwrap());
        let mut bytes = fs::read(&wal).unwrap();
        bytes[place as usize] ^= 0x10;
        fs::write(&wal, bytes).unwrap();
        match assert_prefix(copied.path(), &written.batches) {
            Ok(newest) => assert!(newest < 4, "byte {place}"),
            Err(StorageError::Damaged(_)) => refused += 1,
            Err(error) => panic!("byte {place}: {error}"),
        }
    }
    assert!(refused > 0, "damage before other writes cannot be a torn tail");
}

#[test]
fn a_flipped_bit_in_a_table_is_noticed_and_nothing_wrong_is_served() {
    let written = write(60, 0);
    let clean = tempfile::tempdir().unwrap();
    copy(written.directory.path(), clean.path());
    // Opening writes what is in the log into tables.
    drop(open(clean.path()));
    let tables = files(clean.path(), "sst");
    assert!(tables.len() >= 5, "one for each column family that holds something");
    let mut refused = 0;
    for table in tables {
        let copied = tempfile::tempdir().unwrap();
        copy(clean.path(), copied.path());
        let table = copied.path().join(table.file_name().unwrap());
        let mut bytes = fs::read(&table).unwrap();
        let place = bytes.len() / 4;
        bytes[place] ^= 0x10;
        fs::write(&table, bytes).unwrap();
        match assert_prefix(copied.path(), &written.batches) {
            // A table of something that is not read here.
            Ok(newest) => assert_eq!(newest, 60, "{}", table.display()),
            Err(StorageError::Damaged(_)) => refused += 1,
            Err(error) => panic!("{}: {error}", table.display()),
        }
    }
    assert!(refused >= 5, "vertices, payloads, commits, blocks and transactions are read");
}

#[test]
fn a_flipped_bit_in_the_files_that_hold_the_others_together_is_noticed() {
    let written = write(60, 0);
    let clean = tempfile::tempdir().unwrap();
    copy(written.directory.path(), clean.path());
    drop(open(clean.path()));
    let mut refused = 0;
    for entry in fs::read_dir(clean.path()).unwrap() {
        let name = entry.unwrap().file_name();
        let text = name.to_string_lossy().into_owned();
        if !["CURRENT", "IDENTITY", "MANIFEST-", "OPTIONS-"].iter().any(|start| text.starts_with(start)) {
            continue;
        }
        let bytes = fs::read(clean.path().join(&name)).unwrap();
        for place in (0..bytes.len()).step_by(bytes.len().div_ceil(24)) {
            let copied = tempfile::tempdir().unwrap();
            copy(clean.path(), copied.path());
            let mut bytes = bytes.clone();
            bytes[place] ^= 0x10;
            fs::write(copied.path().join(&name), bytes).unwrap();
            match assert_prefix(copied.path(), &written.batches) {
                Ok(newest) => assert_eq!(newest, 60, "byte {place} of {text}"),
                Err(StorageError::Damaged(_)) => refused += 1,
                Err(error) => panic!("byte {place} of {text}: {error}"),
            }
        }
    }
    assert!(refused > 20, "only {refused} were refused");
}

#[test]
fn a_lost_file_is_noticed() {
    let written = write(60, 0);
    let clean = tempfile::tempdir().unwrap();
    copy(written.directory.path(), clean.path());
    drop(open(clean.path()));
    let mut refused = 0;
    for entry in fs::read_dir(clean.path()).unwrap() {
        let name = entry.unwrap().file_name();
        let copied = tempfile::tempdir().unwrap();
        copy(clean.path(), copied.path());
        if fs::remove_file(copied.path().join(&name)).is_err() {
            continue;
        }
        match assert_prefix(copied.path(), &written.batches) {
            // The log has nothing in it; the others are made again.
            Ok(newest) => assert_eq!(newest, 60, "{name:?}"),
            Err(StorageError::Damaged(_)) => refused += 1,
            Err(error) => panic!("{name:?}: {error}"),
        }
    }
    assert!(refused > 5, "only {refused} were refused");
}

/// RocksDB 11 turns in a circle for ever at such a record, or passes over all that follows.
#[test]
fn a_record_that_looks_like_one_of_a_recycled_log_is_damage() {
    let written = write(8, 0);
    let manifest = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST-"));
    let logs = fs::read_dir(written.directory.path()).unwrap().map(|entry| entry.unwrap().path());
    for log in logs.filter(|path| *path == written.wal || manifest(path)) {
        let bytes = fs::read(&log).unwrap();
        assert!(bytes.len() < 32 * 1024, "one block, in which every record is whole");
        let mut position = 0;
        while position + 7 < bytes.len() {
            let damaged = tempfile::tempdir().unwrap();
            copy(written.directory.path(), damaged.path());
            let mut changed = bytes.clone();
            // From a whole record, type 1, to a whole record of a recycled log, type 5.
            changed[position + 6] ^= 4;
            fs::write(damaged.path().join(log.file_name().unwrap()), changed).unwrap();
            let error = RocksStorage::open(damaged.path(), &options()).err().expect("damage is noticed");
            assert!(error.is_damage() && error.to_string().contains("never written"), "{}: {error}", log.display());
            position += 7 + usize::from(u16::from_le_bytes([bytes[position + 4], bytes[position + 5]]));
        }
    }
}
