//! What pruning takes and what it leaves, over both kinds of storage.

use crate::fixtures::*;
use farthing_consensus::committee::GC_DEPTH;
use farthing_node::storage::{Batch, RETAIN_COMMITS_MIN, Retention, Storage};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How much further back than asked storage may reach.
const SLACK: u64 = 99;

/// Keeps little of everything.
const LITTLE: Retention = Retention { commits: RETAIN_COMMITS_MIN, blocks: 50, transactions_ms: 0 };

/// What was written, round by round; round, commit index and place in here are the same number (from 1 on).
#[derive(Clone, Copy, PartialEq, Debug)]
enum Round {
    Idle,
    Dropped,
    Block(u64),
}

/// Writes `rounds` rounds: every third makes a block, every seventh carries a payload of which nothing comes into one.
fn write_rounds(storage: &dyn Storage, network: &mut Network, rounds: u64) -> Vec<Round> {
    let mut written = Vec::new();
    for _ in 0..rounds {
        let next = network.index + 1;
        let payload = format!("payload of round {next}");
        let batch = match next {
            _ if next.is_multiple_of(3) => network.busy(2),
            _ if next.is_multiple_of(7) => network.dropped(payload.as_bytes()),
            _ => network.idle(),
        };
        written.push(match (&batch.block, batch.vertices[0].payload().is_empty()) {
            (Some((block, _)), _) => Round::Block(block.header.height),
            (None, false) => Round::Dropped,
            (None, true) => Round::Idle,
        });
        storage.apply(&batch, false).unwrap();
    }
    written
}

fn prune_all(storage: &dyn Storage, retention: &Retention) -> u32 {
    let mut steps = 0;
    while storage.prune(retention).unwrap() {
        steps += 1;
        assert!(steps < 1_000, "pruning does not end");
    }
    steps
}

/// Checks that a thing is there if it must be, is gone if it may be, and else (within the slack) is either.
fn check(present: bool, distance: u64, kept: u64, what: &str) {
    if distance <= kept {
        assert!(present, "{what} is gone");
    } else if distance > kept + SLACK {
        assert!(!present, "{what} is still there");
    }
}

#[test]
fn pruning_follows_the_retention() {
    let retentions = [
        LITTLE,
        Retention { commits: 700, blocks: 500, transactions_ms: 0 },
        Retention { commits: RETAIN_COMMITS_MIN, blocks: 0, transactions_ms: 1_000 * COMMIT_MS },
        Retention { commits: RETAIN_COMMITS_MIN, blocks: 600, transactions_ms: 2_200 * COMMIT_MS },
        Retention { commits: 1_500, blocks: 100, transactions_ms: 900 * COMMIT_MS },
    ];
    for retention in retentions {
        over_both(|storage| {
            let mut network = Network::new(2);
            let written = write_rounds(storage, &mut network, 2_600);
            storage.apply(&network.flush(), false).unwrap();
            prune_all(storage, &retention);
            check_everything(storage, &network, &written, &retention);
        });
    }
}

fn check_everything(storage: &dyn Storage, network: &Network, written: &[Round], retention: &Retention) {
    let stored = storage.vertices(0, u64::MAX, usize::MAX).unwrap();
    for (index, round) in (1..).zip(written) {
        let behind = network.index - index;
        let commit = storage.commit(index).unwrap().is_some();
        let of_round = stored.iter().filter(|vertex| vertex.round() == index);
        let empty = of_round.clone().filter(|vertex| vertex.payload().is_empty()).count();
        let payload = of_round.clone().any(|vertex| !vertex.payload().is_empty());
        let empty_written = if *round == Round::Idle { 2 } else { 1 };
        assert!(empty == 0 || empty == empty_written, "a round goes as a whole");
        check(empty > 0, behind, retention.commits + GC_DEPTH, "an empty vertex");
        let Round::Block(height) = *round else {
            check(commit, behind, retention.commits, "a commit");
            if *round == Round::Dropped {
                check(payload, behind, retention.commits + GC_DEPTH, "a payload of no block");
            }
            continue;
        };
        let above = network.height - height;
        let body = storage.block(height).unwrap();
        check(body.is_some(), above, retention.blocks, "a body");
        assert!(storage.header(height).unwrap().is_some(), "headers stay");
        if body.is_some() {
            assert!(commit && payload, "what belongs to a body stays with it");
        } else {
            check(commit, behind, retention.commits, "the commit of a pruned block");
            check(payload, behind, retention.commits + GC_DEPTH, "the payload of a pruned block");
        }
        let indexed = storage.transaction(&id(height, 1)).unwrap().is_some();
        assert_eq!(indexed, storage.transaction(&id(height, 0)).unwrap().is_some());
        let kept = (retention.blocks * 3).max(retention.transactions_ms / COMMIT_MS);
        // Of every three commits one makes a block: its slack is the threefold.
        if behind <= kept.saturating_sub(3) {
            assert!(indexed, "an entry of the index is gone");
        } else if behind > kept + 2 * 3 * (SLACK + 1) {
            assert!(!indexed, "an entry of the index is still there");
        }
    }
    let lines = storage.history(&account(0), None, usize::MAX).unwrap().len() as u64;
    assert_eq!(lines, 2 * network.height, "history stays");
}

#[test]
fn pruning_as_one_goes_ends_where_pruning_once_does() {
    over_both(|storage| {
        let mut network = Network::new(2);
        let mut written = Vec::new();
        for _ in 0..26 {
            written.extend(write_rounds(storage, &mut network, 100));
            storage.apply(&network.flush(), false).unwrap();
            prune_all(storage, &LITTLE);
            check_everything(storage, &network, &written, &LITTLE);
        }
    });
}

#[test]
fn nothing_goes_before_the_first_flush_and_nothing_that_replay_needs() {
    over_both(|storage| {
        let mut network = Network::new(2);
        write_rounds(storage, &mut network, 1_000);
        assert_eq!(prune_all(storage, &LITTLE), 0, "no flush yet");
        storage.apply(&network.flush(), false).unwrap();
        let flushed = network.clone();
        write_rounds(storage, &mut network, 2_000);
        prune_all(storage, &LITTLE);
        for index in flushed.index..=network.index {
            assert!(storage.commit(index).unwrap().is_some(), "commit {index}");
            assert_eq!(storage.vertices(index, index, 9).unwrap().len(), 2, "vertices of round {index}");
        }
        for height in flushed.height..=network.height {
            assert!(storage.block(height).unwrap().is_some(), "block {height}");
        }
        assert_eq!(storage.commit(1).unwrap(), None, "what lies before the flush goes");
        assert_eq!(storage.block(1).unwrap(), None);
    });
}

#[test]
fn without_certified_blocks_no_commit_goes() {
    over_both(|storage| {
        let mut network = Network::new(2);
        let write = |network: &mut Network, is_certified: bool| {
            let mut batch = network.busy(1);
            if !is_certified {
                batch.certificates.clear();
            }
            storage.apply(&batch, false).unwrap();
        };
        (0..1_000).for_each(|_| write(&mut network, false));
        storage.apply(&network.flush(), false).unwrap();
        prune_all(storage, &LITTLE);
        assert!(storage.commit(1).unwrap().is_some());
        assert_eq!(storage.vertices(1, 1, 9).unwrap().len(), 2);
        assert_eq!(storage.block(1).unwrap(), None, "bodies help nobody to catch up");
        write(&mut network, true);
        prune_all(storage, &LITTLE);
        assert_eq!(storage.commit(1).unwrap(), None);
        assert!(storage.vertices(1, 1, 9).unwrap().is_empty());
    });
}

#[test]
fn one_call_does_a_bounded_amount_of_work() {
    over_both(|storage| {
        let mut network = Network::new(1);
        write_rounds(storage, &mut network, 4_700);
        storage.apply(&network.flush(), false).unwrap();
        assert!(storage.prune(&LITTLE).unwrap());
        assert!(storage.commit(1_000).unwrap().is_some());
        assert!(storage.commit(998).unwrap().is_none());
        assert_eq!(prune_all(storage, &LITTLE), 4, "4,100 commits, and one step less to go");
    });
}

#[test]
fn a_payload_written_again_stays_with_its_block() {
    over_both(|storage| {
        let mut network = Network::new(1);
        let batch = network.busy(1);
        storage.apply(&batch, false).unwrap();
        storage.apply(&Batch { vertices: batch.vertices.clone(), ..Batch::default() }, false).unwrap();
        write_rounds(storage, &mut network, 2_000);
        storage.apply(&network.flush(), false).unwrap();
        prune_all(storage, &Retention { blocks: 1_000, ..LITTLE });
        assert!(storage.block(1).unwrap().is_some());
        assert_eq!(storage.vertex(&batch.vertices[0].reference()).unwrap().as_ref(), Some(&batch.vertices[0]));
    });
}

#[test]
fn fewer_commits_than_peers_count_on_are_refused() {
    over_both(|storage| {
        storage.apply(&Network::new(1).flush(), false).unwrap();
        let retention = Retention { commits: RETAIN_COMMITS_MIN - 1, ..LITTLE };
        assert!(catch_unwind(AssertUnwindSafe(|| storage.prune(&retention))).is_err());
    });
}
