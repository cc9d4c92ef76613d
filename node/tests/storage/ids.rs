//! The index of ids, which is in memory at first and in tables later.

use crate::fixtures::*;
use farthing_node::storage::rocks::RocksStorage;
use farthing_node::storage::{Storage, TransactionPosition};
use rocksdb::{DB, IteratorMode, Options};
use std::path::Path;

/// Transactions of a block.
const TRANSACTIONS: u32 = 2_000;

/// Blocks whose ids make two tables and leave some over.
const BLOCKS: u64 = 40;

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
    let families = DB::list_cf(&Options::default(), path).unwrap();
    let raw = DB::open_cf(&Options::default(), path, families).unwrap();
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
        storage.apply(&network.busy(format!("payload {height}").as_bytes(), TRANSACTIONS), false).unwrap();
        assert_eq!(storage.transaction(&id(height, 5)).unwrap().expect("at once").position.height, height);
        if height.is_multiple_of(8) {
            let copied = copy(directory.path());
            assert_found(&open(copied.path()), height);
        }
    }
    assert_found(&storage, BLOCKS);
    drop(storage);
    let tables = in_tables(directory.path());
    assert!((2 << 15..BLOCKS as usize * TRANSACTIONS as usize).contains(&tables), "{tables} ids in tables");

    let storage = open(directory.path());
    assert_found(&storage, BLOCKS);
    for more in 1..=BLOCKS {
        storage.apply(&network.busy(format!("payload {}", BLOCKS + more).as_bytes(), TRANSACTIONS), false).unwrap();
    }
    assert_found(&storage, 2 * BLOCKS);
}
