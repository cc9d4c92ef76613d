//! The index of ids, which is in memory at first and in tables later.

use crate::fixtures::*;
use farthing_core::block::ResultCode;
use farthing_node::storage::rocks::{RocksStorage, STORED_BYTES};
use farthing_node::storage::{BlockEntry, IndexedTransaction, Storage, TransactionPosition};
use rocksdb::IteratorMode;
use std::path::Path;

/// Transactions of a block.
const TRANSACTIONS: u32 = 1_500;

/// Blocks whose ids make two tables and leave some over.
const BLOCKS: u64 = 90;

fn assert_found(storage: &RocksStorage, blocks: u64) {
    for height in 1..=blocks {
        for position in [0, 1, 777, TRANSACTIONS - 1] {
            let found = storage.transaction(&id(height, position)).unwrap().expect("indexed");
            assert_eq!(found.position, TransactionPosition { height, position });
        }
    }
    for (height, position) in [(blocks + 1, 0), (1, TRANSACTIONS)] {
        assert_eq!(storage.transaction(&id(height, position)).unwrap(), None);
    }
}

/// How many ids are in tables.
fn in_tables(path: &Path) -> usize {
    let raw = open_raw(path);
    raw.iterator_cf(raw.cf_handle("transactions").unwrap(), IteratorMode::Start).count()
}

/// Copies what a power failure would leave.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
    to
}

#[test]
fn ids_are_found_in_memory_in_tables_and_after_every_kind_of_end() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    // What a crash in the middle of a table leaves.
    std::fs::write(directory.path().join("transactions.table"), b"half a table").unwrap();
    let mut network = Network::new(1);
    for height in 1..=BLOCKS {
        storage.apply(&network.busy(TRANSACTIONS), false).unwrap();
        assert_eq!(storage.transaction(&id(height, 5)).unwrap().expect("at once").position.height, height);
        if height.is_multiple_of(18) {
            let copied = copy(directory.path());
            assert_found(&open(copied.path()), height);
        }
    }
    assert_found(&storage, BLOCKS);
    drop(storage);
    let tables = in_tables(directory.path());
    assert!((2 << 16..BLOCKS as usize * TRANSACTIONS as usize).contains(&tables), "{tables} ids in tables");

    let storage = open(directory.path());
    assert_found(&storage, BLOCKS);
    for _ in 1..=BLOCKS {
        storage.apply(&network.busy(TRANSACTIONS), false).unwrap();
    }
    assert_found(&storage, 2 * BLOCKS);
}

/// RocksDB takes a table by a second name and removes the first one later: a crash in between leaves both.
#[test]
fn a_name_that_a_crash_left_of_a_table_in_use_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let mut network = Network::new(1);
    let mut write_until = |storage: &RocksStorage, blocks: u64| {
        for _ in storage.newest_block().unwrap()..blocks {
            storage.apply(&network.busy(TRANSACTIONS), true).unwrap();
        }
    };
    write_until(&storage, 45);
    drop(storage);
    let has_ids = |path: &Path| {
        let raw = open_raw(directory.path());
        let files = raw.live_files().unwrap();
        files
            .iter()
            .any(|file| file.column_family_name == "transactions" && path.ends_with(file.name.trim_matches('/')))
    };
    let files = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let table = files.into_iter().find(|path| has_ids(path)).expect("a table of ids");
    std::fs::hard_link(&table, directory.path().join("transactions.table")).unwrap();
    let storage = open(directory.path());
    write_until(&storage, BLOCKS);
    assert_found(&storage, BLOCKS);
    drop(storage);
    assert_found(&open(directory.path()), BLOCKS);
}

#[test]
fn an_entry_takes_ten_bytes_and_comes_back() {
    for (height, position, code) in [
        (1, 0, ResultCode::Executed),
        (300, 70_000, ResultCode::InsufficientReserve),
        ((1 << 40) - 1, u32::MAX, ResultCode::OperationNotAllowed),
    ] {
        let indexed = IndexedTransaction { position: TransactionPosition { height, position }, code };
        let stored = indexed.to_stored();
        assert_eq!(IndexedTransaction::from_stored(&stored), Some(indexed));
        assert_eq!(IndexedTransaction::from_stored(&stored[..STORED_BYTES - 1]), None);
        assert_eq!(IndexedTransaction::from_stored(&[&stored[..], &[0]].concat()), None);
    }
    let unknown_code = [0, 0, 0, 0, 1, 0, 0, 0, 0, 200];
    assert_eq!(IndexedTransaction::from_stored(&unknown_code), None);
}

/// Nobody can make two such ids; but if, nothing may stop.
#[test]
fn of_ids_with_the_same_first_bytes_the_newest_counts() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let mut network = Network::new(1);
    let mut batch = network.busy(3);
    let entries: &mut Vec<BlockEntry> = &mut batch.block.as_mut().unwrap().0.entries;
    entries[2].id = entries[0].id;
    entries[2].id.0[20] ^= 1;
    entries[1].id = entries[0].id;
    entries[1].id.0[19] ^= 1;
    let ids = [0, 1, 2].map(|place: usize| entries[place].id);
    storage.apply(&batch, false).unwrap();
    let positions = || ids.map(|id| storage.transaction(&id).unwrap().unwrap().position.position);
    assert_eq!(positions(), [2, 1, 2], "in memory");
    storage.compact().unwrap();
    assert_eq!(positions(), [2, 1, 2], "in a table");
    drop(storage);
    assert_eq!(in_tables(directory.path()), 2);
}

#[test]
fn an_altered_entry_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    storage.apply(&Network::new(1).busy(1), false).unwrap();
    storage.compact().unwrap();
    drop(storage);
    let raw = open_raw(directory.path());
    raw.put_cf(raw.cf_handle("transactions").unwrap(), &id(1, 0).0[..20], [0; STORED_BYTES - 1]).unwrap();
    drop(raw);
    let error = open(directory.path()).transaction(&id(1, 0)).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains("transactions"), "{error}");
}
