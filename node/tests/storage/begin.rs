//! The state that a network begins with.

use crate::fixtures::*;
use farthing_core::flush::FlushPoint;
use farthing_core::state::SlotRecord;
use farthing_node::storage::memory::MemoryStorage;
use farthing_node::storage::{Batch, Storage};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn point() -> FlushPoint {
    flush(0, 0, &[]).point
}

/// More slots than one table holds, some of them empty, all different.
fn slots(count: u32, tag: u32) -> impl Iterator<Item = SlotRecord> {
    (0..count)
        .map(move |slot| SlotRecord { slot, bytes: format!("{slot}/{tag}").repeat(slot as usize % 3).into_bytes() })
}

#[test]
fn it_is_there_and_flushes_change_it() {
    over_both(|storage| {
        assert_eq!(storage.state().unwrap(), None);
        storage.begin(&point(), &mut slots(600_000, 1)).unwrap();
        let (read, stored) = storage.slots().unwrap().unwrap();
        assert_eq!(read, point());
        assert!(stored.map(Result::unwrap).eq(slots(600_000, 1)));
        let later = flush(3, 4, &[(7, b"changed"), (600_000, b"new")]);
        storage.apply(&Batch { flush: Some(later.clone()), ..Batch::default() }, false).unwrap();
        let (read, stored) = storage.state().unwrap().unwrap();
        assert_eq!((read, stored.len()), (later.point, 600_001));
        assert_eq!((&*stored[7].bytes, &*stored[600_000].bytes), (&b"changed"[..], &b"new"[..]));
        assert_eq!(stored[8].bytes, b"8/18/1");
    });
}

#[test]
fn what_an_interrupted_attempt_left_behind_does_not_count_and_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    {
        let storage = open(directory.path());
        // The first table is in the database by then.
        let mut interrupted = slots(600_000, 1).inspect(|record| assert!(record.slot < 550_000, "a crash"));
        assert!(catch_unwind(AssertUnwindSafe(|| storage.begin(&point(), &mut interrupted))).is_err());
        assert_eq!(storage.state().unwrap(), None);
    }
    let storage = open(directory.path());
    assert_eq!(storage.state().unwrap(), None);
    storage.begin(&point(), &mut slots(600_000, 2)).unwrap();
    drop(storage);
    let storage = open(directory.path());
    let (read, stored) = storage.slots().unwrap().unwrap();
    assert_eq!(read, point());
    assert!(stored.map(Result::unwrap).eq(slots(600_000, 2)));
}

#[test]
fn it_survives_a_power_failure() {
    let storage = MemoryStorage::default();
    let vertex = simple_vertex(1, 0, b"");
    storage.apply(&Batch { vertices: vec![vertex.clone()], ..Batch::default() }, false).unwrap();
    storage.begin(&point(), &mut slots(5, 1)).unwrap();
    storage.crash(0);
    assert_eq!(storage.vertex(&vertex.reference()).unwrap(), Some(vertex), "and all before it");
    let (read, stored) = storage.state().unwrap().unwrap();
    assert_eq!((read, stored.len()), (point(), 5));
}
