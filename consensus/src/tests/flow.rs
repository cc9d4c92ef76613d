//! The payload budget (§12).

use crate::flow::{EXECUTION_LAG_COMMITS_MAX, Flow};
use crate::vertex::PAYLOAD_BYTES_MAX;

#[test]
fn the_budget_grows_by_a_thirty_second_to_the_most_a_vertex_may_carry() {
    let mut flow = Flow::new(50..=50, 0);
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
    let mut flow = Flow::new(50..=50, 0);
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
    let mut flow = Flow::new(50..=50, 0);
    for _ in 0..200 {
        flow.on_period(400);
    }
    assert_eq!(flow.budget_bytes(), PAYLOAD_BYTES_MAX);
}

#[test]
fn absurd_periods_do_not_overflow() {
    let mut flow = Flow::new(1..=u64::MAX / 2, 0);
    for _ in 0..200 {
        flow.on_period(u64::MAX);
    }
    assert!(flow.budget_bytes() >= 32 * 1024);
    for newest in [100, 0].into_iter().flat_map(|newest| std::iter::repeat_n(newest, 500)) {
        flow.on_proposed(newest);
        assert!(flow.round_delay_ms(true) >= flow.round_delay_ms(false));
    }
    assert_eq!(flow.round_delay_ms(false), 1);
}

#[test]
fn the_delay_follows_how_far_execution_is_behind() {
    let mut flow = Flow::new(10..=50, 0);
    let mut propose = |newest: u64| {
        flow.on_proposed(newest);
        flow.round_delay_ms(false)
    };
    assert_eq!([0, 1, 2, 3, 3, 9].map(&mut propose), [10, 10, 10, 13, 17, 22]);
    // Two commits behind are neither too many nor few.
    assert_eq!([2, 9, 9, 9, 9, 9].map(&mut propose), [22, 28, 35, 44, 50, 50]);
    assert_eq!([2, 1, 0, 0].map(&mut propose), [50, 43, 37, 32]);
    assert_eq!((0..20).map(|_| propose(1)).last(), Some(10));
}

#[test]
fn payload_stops_while_execution_or_commits_lag() {
    let mut flow = Flow::new(50..=50, 10);
    assert!(!flow.is_stopped(10 + EXECUTION_LAG_COMMITS_MAX, 60, 10));
    assert!(flow.is_stopped(11 + EXECUTION_LAG_COMMITS_MAX, 60, 10));
    flow.on_executed(11);
    assert!(!flow.is_stopped(11 + EXECUTION_LAG_COMMITS_MAX, 60, 10));
    assert!(flow.is_stopped(11, 61, 10));
    assert!(flow.round_delay_ms(true) > flow.round_delay_ms(false));
}
