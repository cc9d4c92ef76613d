//! Validators that come back, or come at all, when their peers have long forgotten what they missed.

use farthing_node::storage::RETAIN_COMMITS_MIN;
use farthing_tests::sim::plan::{MS_US, SECOND_US};
use farthing_tests::sim::{Plan, simulate};

/// Twice as long as peers keep commits, at twenty commits a second.
const LATE_US: u64 = 2 * RETAIN_COMMITS_MIN / 20 * SECOND_US + 20 * SECOND_US;

/// A network in which one validator comes late.
fn late(seed: u64, validators: usize) -> Plan {
    let author = (seed % validators as u64) as u16;
    Plan {
        latecomer: Some((author, LATE_US)),
        faults_until_us: LATE_US + 10 * SECOND_US,
        transactions_per_second: 20,
        flush_interval_ms: 1_000,
        ..Plan::calm(seed, validators)
    }
}

#[track_caller]
fn check(plan: &Plan) {
    let report = simulate(plan).unwrap_or_else(|violation| panic!("seed {}: {violation}", plan.seed));
    assert!(report.snapshots >= 1, "seed {}: no snapshot was needed", plan.seed);
    assert_eq!(report.transactions > 0, plan.transactions_per_second > 0);
}

#[test]
fn a_validator_that_comes_late_starts_from_a_snapshot_and_makes_the_next_commits_with_the_others() {
    for seed in 1..=2 {
        check(&late(seed, 4));
    }
    check(&late(5, 7));
}

#[test]
fn crashes_on_the_way_do_no_harm() {
    for seed in 10..=12 {
        let plan = late(seed, 4);
        let faults_until_us = plan.faults_until_us + 60 * SECOND_US;
        check(&Plan { crashes_per_million: 200, down_us: MS_US..=SECOND_US / 2, faults_until_us, ..plan });
    }
}

#[test]
fn frames_that_are_lost_on_the_way_are_asked_for_again() {
    for seed in 20..=21 {
        let plan = Plan { losses_per_million: 2_000, spikes_per_million: 20_000, ..late(seed, 4) };
        check(&plan);
    }
}

#[test]
fn an_idle_network_can_be_joined() {
    // Two commits a second, with nothing in them.
    for seed in 30..=30 {
        let plan = Plan { faults_until_us: 900 * SECOND_US, latecomer: Some((2, 880 * SECOND_US)), ..late(seed, 4) };
        check(&Plan { transactions_per_second: 0, ..plan });
    }
}
