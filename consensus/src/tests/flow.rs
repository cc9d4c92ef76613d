//! The payload budget (§12).

use crate::flow::{EXECUTION_LAG_COMMITS_MAX, Flow};
use crate::vertex::PAYLOAD_BYTES_MAX;

#[test]
fn the_budget_grows_by_a_thirty_second_to_the_most_a_vertex_may_carry() {
    let mut flow = Flow::new(50, 0);
    let before = flow.budget_bytes();
    flow.on_period(50);
    assert_eq!(flow.budget_bytes(), before + before / 32);
    for _ in 0..100 {
        flow.on_period(60);
    }
    assert_eq!(flow.budget_bytes(), PAYLOAD_BYTES_MAX);
}

#[test]
fn the_budget_shrinks_when_periods_exceed_three_times_the_lowest() {
    let mut flow = Flow::new(50, 0);
    for _ in 0..100 {
        flow.on_period(50);
    }
    // Up to three times 50 ms is what is aimed at.
    for _ in 0..40 {
        flow.on_period(149);
    }
    assert_eq!(flow.budget_bytes(), PAYLOAD_BYTES_MAX);
    flow.on_period(100_000);
    assert_eq!(flow.budget_bytes(), PAYLOAD_BYTES_MAX * 7 / 10, "by three tenths at most");
    for _ in 0..40 {
        flow.on_period(1_000);
    }
    assert_eq!(flow.budget_bytes(), 32 * 1024, "but not below the floor");
}

#[test]
fn a_uniformly_slow_network_is_not_taken_for_overload() {
    let mut flow = Flow::new(50, 0);
    for _ in 0..200 {
        flow.on_period(400);
    }
    assert_eq!(flow.budget_bytes(), PAYLOAD_BYTES_MAX);
}

#[test]
fn absurd_periods_do_not_overflow() {
    let mut flow = Flow::new(u64::MAX / 8, 0);
    for _ in 0..200 {
        flow.on_period(u64::MAX);
    }
    assert!(flow.budget_bytes() >= 32 * 1024);
}

#[test]
fn payload_stops_while_execution_or_commits_lag() {
    let mut flow = Flow::new(50, 10);
    assert!(!flow.is_stopped(10 + EXECUTION_LAG_COMMITS_MAX, 60, 10));
    assert!(flow.is_stopped(11 + EXECUTION_LAG_COMMITS_MAX, 60, 10));
    flow.on_executed(11);
    assert!(!flow.is_stopped(11 + EXECUTION_LAG_COMMITS_MAX, 60, 10));
    assert!(flow.is_stopped(11, 61, 10));
    assert!(flow.round_delay_ms(true) > flow.round_delay_ms(false));
}
