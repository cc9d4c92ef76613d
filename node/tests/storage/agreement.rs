//! RocksDB against memory, which is simple enough to be believed: random writes, prunings and restarts, then every read.

use crate::fixtures::*;
use farthing_node::storage::memory::MemoryStorage;
use farthing_node::storage::{Batch, RETAIN_COMMITS_MIN, Retention, Storage};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

#[test]
fn both_kinds_of_storage_hold_the_same() {
    for seed in 0..6 {
        compare(seed);
    }
}

fn compare(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |bound: u32| u64::from(random.next_u32() % bound);
    let retention = Retention {
        commits: RETAIN_COMMITS_MIN + below(200),
        blocks: below(800),
        transactions_ms: below(1_500) * COMMIT_MS,
    };
    let directory = tempfile::tempdir().unwrap();
    let (memory, mut rocks) = (MemoryStorage::default(), open(directory.path()));
    let mut network = Network::new(3);
    let busy_of_ten = 1 + below(10);
    for step in 0..2_500_u64 {
        let payload = vec![step as u8; 1 + below(500) as usize];
        let mut batch = match below(10) {
            roll if roll < busy_of_ten => network.busy(below(4) as u32),
            9 => network.dropped(&payload),
            _ => network.idle(),
        };
        // Now and then a copy of some vertex that no commit ever brings in.
        if below(20) == 0 {
            batch.vertices.push(vertex(network.index, 2, 1 + below(9), Vec::new(), &payload[..below(2) as usize]));
        }
        // Signing states and flushes come of their own.
        if below(4) == 0 {
            batch.last_signed = Some(network.last_round[0]);
        }
        let sync = below(200) == 0;
        for storage in [&memory as &dyn Storage, &rocks] {
            storage.apply(&batch, sync).unwrap();
        }
        if below(40) == 0 {
            let bytes = [step as u8; 8];
            let flush = flush(network.height, network.index, &[(below(9) as u32, &bytes), (9, b"nine")]);
            let batch = Batch { flush: Some(flush), ..Batch::default() };
            for storage in [&memory as &dyn Storage, &rocks] {
                storage.apply(&batch, false).unwrap();
            }
        }
        if below(25) == 0 {
            assert_eq!(memory.prune(&retention).unwrap(), rocks.prune(&retention).unwrap(), "seed {seed} step {step}");
        }
        if below(800) == 0 {
            drop(rocks);
            rocks = open(directory.path());
        }
    }
    check_same(&memory, &rocks, &network, seed);
}

fn check_same(memory: &dyn Storage, rocks: &dyn Storage, network: &Network, seed: u64) {
    let everything = |storage: &dyn Storage| {
        let vertices = storage.vertices(0, u64::MAX, usize::MAX).unwrap();
        for vertex in &vertices {
            let found = storage.vertex(&vertex.reference()).unwrap();
            assert_eq!(found.as_ref(), Some(vertex));
        }
        let commits: Vec<_> = (0..=network.index + 1).map(|index| storage.commit(index).unwrap()).collect();
        let heights = 0..=network.height + 1;
        let blocks: Vec<_> = heights.clone().map(|height| storage.block(height).unwrap()).collect();
        let headers: Vec<_> = heights.clone().map(|height| storage.header(height).unwrap()).collect();
        let ids = heights.flat_map(|height| (0..4).map(move |position| id(height, position)));
        let positions: Vec<_> = ids.map(|id| storage.transaction(&id).unwrap()).collect();
        let newest = (storage.newest_commit().unwrap(), storage.newest_block().unwrap());
        let history = storage.history(&account(0), None, usize::MAX).unwrap();
        let rest = (newest, history, storage.state().unwrap(), storage.signing_state().unwrap());
        (vertices, commits, (blocks, headers, positions), rest)
    };
    let (memory, rocks) = (everything(memory), everything(rocks));
    assert!(memory.0 == rocks.0, "seed {seed}: vertices");
    assert!(memory.1 == rocks.1, "seed {seed}: commits");
    assert!(memory.2 == rocks.2, "seed {seed}: blocks and transactions");
    assert!(memory.3 == rocks.3, "seed {seed}: newest, history, state or signing state");
    assert!(memory.0.len() < 2_500 * 3, "seed {seed}: something was pruned");
}
