//! Flushes, and ledgers restored from them.

use crate::helpers::{GENESIS_MS, address, commit, commit_with_root, network, output, transfer};
use crate::scenario::{PEOPLE, genesis, history};
use farthing_core::codec;
use farthing_core::execution::{Execution, Ledger};
use farthing_core::flush::{FlushPoint, RestoreError, StateFlush};
use farthing_core::hash::Digest;
use farthing_core::state::SlotRecord;
use farthing_core::transaction::Transaction;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What a disk holds after the flushes it got: the point of the last, and each slot's newest bytes.
#[derive(Clone, Default)]
struct Disk {
    point: Option<FlushPoint>,
    slots: BTreeMap<u32, Vec<u8>>,
}

impl Disk {
    fn write(&mut self, flush: &StateFlush) {
        assert!(flush.slots.is_sorted_by(|a, b| a.slot < b.slot), "slots ascend, each once");
        self.slots.extend(flush.slots.iter().map(|record| (record.slot, record.bytes.clone())));
        self.point = Some(flush.point.clone());
    }

    fn records(&self) -> Vec<SlotRecord> {
        self.slots.iter().map(|(slot, bytes)| SlotRecord { slot: *slot, bytes: bytes.clone() }).collect()
    }

    fn restore(&self) -> Result<Ledger, RestoreError> {
        Ledger::restore(&genesis(), self.point.clone().expect("flushed"), self.records())
    }
}

/// A commit as it was executed, and what the disk held just before.
struct Executed {
    after_ms: u64,
    transactions: Vec<Transaction>,
    execution: Execution,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_restored_ledger_goes_on_as_if_nothing_had_happened(
        plans in history(40),
        interval_ms in prop_oneof![Just(0u64), 0u64..5_000],
    ) {
        let mut ledger = Ledger::genesis(&genesis());
        ledger.set_flush_interval_ms(interval_ms);
        let (mut disk, mut disks, mut log) = (Disk::default(), Vec::new(), Vec::new());
        let (mut after_ms, mut all) = (0, Vec::new());
        for plan in plans {
            after_ms += plan.later_ms;
            let transactions = plan.transactions(&ledger, GENESIS_MS + after_ms, &all);
            all.extend(transactions.clone());
            let execution = commit(&mut ledger, after_ms, &transactions);
            if let Some(flush) = &execution.flush {
                disk.write(flush);
                prop_assert_eq!(flush.point.commit_index as usize, log.len(), "a flush is of the state before the commit");
                disks.push(disk.clone());
            }
            log.push(Executed { after_ms, transactions, execution });
        }
        let root_of = |executed: &Executed| executed.execution.block.as_ref().and_then(|block| block.header.state_root);
        let last_rooted = log.iter().rposition(|executed| root_of(executed).is_some()).unwrap_or(0);
        for (disk, are_roots_known) in disks.iter().flat_map(|disk| [(disk, false), (disk, true)]) {
            let mut restored = disk.restore().unwrap();
            for (number, executed) in log.iter().enumerate().skip(restored.commit_index() as usize) {
                let known_root = root_of(executed).filter(|_| are_roots_known && number < last_rooted);
                let again = commit_with_root(&mut restored, executed.after_ms, &executed.transactions, known_root);
                prop_assert_eq!(&again.block, &executed.execution.block);
                prop_assert_eq!(&again.dropped, &executed.execution.dropped);
            }
            restored.audit();
            prop_assert_eq!(restored.state_root(), ledger.state_root());
            prop_assert_eq!(restored.newest(), ledger.newest());
            for person in PEOPLE {
                prop_assert_eq!(restored.account(&address(person)), ledger.account(&address(person)));
                prop_assert_eq!(restored.prove_account(&address(person)), ledger.prove_account(&address(person)));
            }
        }
    }
}

#[test]
fn roots_that_are_known_are_covered_by_the_next_one_that_is_computed() {
    let pay = |nonce| transfer(1, nonce, vec![output(2, 5, false)]);
    let blocks = |known_root: Option<Digest>| {
        let mut ledger = Ledger::genesis(&genesis());
        ledger.set_flush_interval_ms(0);
        let first = commit(&mut ledger, 1_000, &[pay(1)]);
        let second = commit_with_root(&mut ledger, 2_000, &[pay(2)], known_root);
        let proof = ledger.prove_account(&address(1));
        assert_eq!((proof.is_none(), second.flush.is_none()), (known_root.is_some(), known_root.is_some()));
        let third = commit(&mut ledger, 10_000, &[pay(3)]);
        assert!(ledger.prove_account(&address(1)).is_some() && third.flush.is_some());
        ledger.audit();
        [first, second, third].map(|execution| execution.block.expect("a transfer makes a block").header)
    };
    let computed = blocks(None);
    assert_eq!(blocks(computed[1].state_root), computed);
    let of_a_wrong_root = blocks(Some(Digest::ZERO));
    assert_eq!(of_a_wrong_root[1].state_root, Some(Digest::ZERO));
    assert_eq!(
        of_a_wrong_root[2].state_root, computed[2].state_root,
        "what is computed does not depend on what was given"
    );
}

#[test]
fn the_first_flush_holds_everything_and_later_ones_what_changed() {
    let mut ledger = Ledger::genesis(&network(&[(1, 1_000), (2, 500), (3, 7)]));
    ledger.set_flush_interval_ms(0);
    assert_eq!(commit(&mut ledger, 0, &[transfer(1, 1, vec![output(2, 1, false)])]).flush, None, "not a rooted state");
    let slots = |flush: Option<StateFlush>| flush.unwrap().slots.iter().map(|record| record.slot).collect::<Vec<_>>();
    assert_eq!(slots(commit(&mut ledger, 1_000, &[transfer(2, 1, vec![output(3, 1, false)])]).flush), [0, 1, 2, 3]);
    let [opens, nothing] = [vec![transfer(1, 2, vec![output(9, 1, true)])], Vec::new()];
    assert_eq!(slots(commit(&mut ledger, 2_000, &opens).flush), [0, 2, 3], "the globals change with the load");
    assert_eq!(slots(commit(&mut ledger, 3_000, &nothing).flush), [0, 1, 4]);
    assert_eq!(slots(commit(&mut ledger, 4_000, &[]).flush), [0; 0], "only the point moves on");
}

#[test]
fn after_the_whole_state_was_taken_a_flush_holds_what_changed() {
    let mut ledger = Ledger::genesis(&genesis());
    ledger.set_flush_interval_ms(0);
    let (point, slots) = ledger.flush_whole();
    let slots: Vec<SlotRecord> = slots.collect();
    assert_eq!(slots.len() as u64, ledger.state().slot_count());
    let mut disk = Disk::default();
    disk.write(&StateFlush { point, slots });
    let restored = disk.restore().unwrap();
    restored.audit();
    assert_eq!((restored.newest(), restored.commit_index()), (ledger.newest(), 0));
    assert_eq!(restored.state_root(), ledger.state_root());

    assert_eq!(commit(&mut ledger, 0, &[transfer(1, 1, vec![output(2, 1, false)])]).flush, None, "not a rooted state");
    let flush = commit(&mut ledger, 1_000, &[]).flush.unwrap();
    assert_eq!(flush.slots.iter().map(|record| record.slot).collect::<Vec<_>>(), [0, 1, 2]);
    disk.write(&flush);
    assert_eq!(disk.restore().unwrap().account(&address(2)), ledger.account(&address(2)));
}

#[test]
fn there_is_a_flush_in_each_interval_of_commit_time() {
    let mut ledger = Ledger::genesis(&network(&[(1, 1_000)]));
    // The genesis lies 600 ms before the end of an interval.
    assert_eq!(GENESIS_MS % 3_000, 2_400);
    ledger.set_flush_interval_ms(3_000);
    let mut flushed = Vec::new();
    for step in 0..10 {
        if commit(&mut ledger, step * 1_000, &[transfer(1, step + 1, vec![output(1, 1, false)])]).flush.is_some() {
            flushed.push(step);
        }
    }
    assert_eq!(flushed, [1, 4, 7]);
}

/// A disk after a flush, with four accounts.
fn some_disk() -> Disk {
    let mut ledger = Ledger::genesis(&genesis());
    ledger.set_flush_interval_ms(0);
    commit(&mut ledger, 0, &[transfer(1, 1, vec![output(4, 1, true)])]);
    let mut disk = Disk::default();
    disk.write(&commit(&mut ledger, 1_000, &[]).flush.unwrap());
    disk
}

#[test]
fn damage_is_noticed() {
    let disk = some_disk();
    assert_eq!(disk.restore().unwrap().account(&address(4)).unwrap().balance.mites(), 1);
    let spoilt = |spoil: fn(&mut Disk)| {
        let mut spoilt = disk.clone();
        spoil(&mut spoilt);
        spoilt.restore().err().map(|error| error.to_string())
    };
    let refused = |spoil, text: &str| {
        let error = spoilt(spoil).expect(text);
        assert!(error.contains(text), "{error:?} should say {text:?}");
    };
    refused(|disk| drop(disk.slots.remove(&2)), "slot 3 stands where slot 2 should");
    refused(|disk| drop(disk.slots.pop_last()), "more or fewer slots");
    refused(|disk| disk.slots.clear(), "there is nothing in it");
    refused(|disk| drop(disk.slots.insert(1, disk.slots[&0].clone())), "a slot holds what belongs");
    refused(|disk| drop(disk.slots.insert(0, disk.slots[&1].clone())), "a slot holds what belongs");
    refused(|disk| drop(disk.slots.insert(1, disk.slots[&2].clone())), "two slots hold the same object");
    refused(|disk| disk.slots.get_mut(&1).unwrap().push(0), "slot 1: malformed");
    refused(|disk| disk.slots.get_mut(&1).unwrap()[5] ^= 1, "its root is");
    refused(|disk| disk.slots.get_mut(&1).unwrap()[33] ^= 1, "the balances, holds and reserves");
    refused(|disk| disk.point.as_mut().unwrap().state_root.0[0] ^= 1, "its root is");
    refused(|disk| disk.point.as_mut().unwrap().commit_index = 0, "lies before its block");
    refused(|disk| disk.point.as_mut().unwrap().timestamp_ms = 0, "lies before its block");
    refused(|disk| disk.point.as_mut().unwrap().header.chain.0[0] ^= 1, "belongs to the network");
    refused(|disk| disk.point.as_mut().unwrap().header.transaction_count = 0, "carries another state root");
}

#[test]
fn a_point_round_trips() {
    let point = some_disk().point.unwrap();
    assert_eq!(codec::decode::<FlushPoint>(&codec::encode(&point), 1_000).unwrap(), point);
    assert_eq!(point.height(), 1);
}
