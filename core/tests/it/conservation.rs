//! Money is never made or lost: ten thousand blocks of mixed operations.

use crate::helpers::{GENESIS_MS, commit};
use crate::scenario::{CommitPlan, genesis, history};
use farthing_core::execution::Ledger;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Follows a history from the genesis on. Returns how many blocks there are, and how many transactions were executed.
fn follow(plans: &[CommitPlan]) -> (u64, u64) {
    let mut ledger = Ledger::genesis(&genesis());
    let (mut now_ms, mut all, mut executed) = (GENESIS_MS, Vec::new(), 0);
    for plan in plans {
        now_ms += plan.later_ms;
        let transactions = plan.transactions(&ledger, now_ms, &all);
        // The running total is asserted by every commit, and the recount must find the same.
        let execution = commit(&mut ledger, now_ms - GENESIS_MS, &transactions);
        ledger.audit();
        let results = execution.block.iter().flat_map(|block| &block.results);
        executed += results.filter(|(_, result)| result.code.is_executed()).count() as u64;
        all.extend(transactions);
    }
    (ledger.newest().height, executed)
}

#[test]
fn over_ten_thousand_blocks_of_all_operations() {
    let mut runner = TestRunner::deterministic();
    let (mut blocks, mut executed) = (0, 0);
    // Each history gives some forty blocks.
    while blocks < 10_000 {
        let (more_blocks, more_executed) = follow(&history(120).new_tree(&mut runner).unwrap().current());
        (blocks, executed) = (blocks + more_blocks, executed + more_executed);
    }
    println!("{executed} transactions were executed in {blocks} blocks");
    assert!(executed > 2_000, "{executed} transactions were executed in {blocks} blocks");
}
