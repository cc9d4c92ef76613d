//! Power failures of the storage in memory.

use crate::fixtures::*;
use farthing_node::storage::memory::MemoryStorage;
use farthing_node::storage::{Batch, Retention, Storage};

#[test]
fn a_power_failure_takes_all_but_a_prefix_of_what_is_not_synced() {
    for keep in 0..=3 {
        let storage = MemoryStorage::default();
        let mut network = Network::new(4);
        for sync in [false, false, true, false, false, false] {
            storage.apply(&network.idle(), sync).unwrap();
        }
        assert_eq!(storage.unsynced(), 3);
        storage.crash(keep);
        assert_eq!(storage.unsynced(), 0);
        let kept = 3 + keep as u64;
        assert_eq!(storage.newest_commit().unwrap(), kept);
        assert_eq!(storage.vertices(0, u64::MAX, 100).unwrap().len() as u64, 4 * kept);
        storage
            .apply(&Batch { commits: vec![commit(kept + 1, vec![reference(1, 0)])], ..Batch::default() }, true)
            .unwrap();
        storage.crash(0);
        assert_eq!(storage.newest_commit().unwrap(), kept + 1, "what is synced stays");
    }
}

#[test]
fn the_initialized_signing_state_survives_a_power_failure() {
    let storage = MemoryStorage::default();
    storage.initialize_signing_state().unwrap();
    storage.apply(&Batch { last_signed: Some(reference(1, 0)), ..Batch::default() }, false).unwrap();
    storage.crash(0);
    assert_eq!(storage.signing_state().unwrap(), Some(None));
}

#[test]
fn pruning_makes_durable_what_it_relies_on() {
    let storage = MemoryStorage::default();
    let mut network = Network::new(1);
    for _ in 0..800 {
        storage.apply(&network.idle(), false).unwrap();
    }
    storage.apply(&network.busy(1), false).unwrap();
    storage.apply(&network.flush(), false).unwrap();
    let retention = Retention { commits: 601, blocks: 10, transactions_ms: 0 };
    assert!(storage.prune(&retention).unwrap());
    storage.crash(0);
    assert_eq!(storage.state().unwrap().unwrap().0.commit_index, 801);
    assert_eq!((storage.commit(199).unwrap(), storage.newest_commit().unwrap()), (None, 801));
}
