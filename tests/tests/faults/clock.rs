//! A validator whose wall clock is wrong, and jumps.

use farthing_tests::processes::launch::set_clock;
use farthing_tests::processes::load::{Outcome, slowest};
use farthing_tests::processes::{Cluster, Launch, Options, PATIENCE, RESUME_MAX, audit, unix_ms};
use std::time::Duration;

const HOUR_S: i64 = 3_600;

/// How far blocks may be off the time that the other validators' clocks show, in milliseconds.
const OFF_MAX_MS: u64 = 5_000;

#[test]
fn one_clock_an_hour_off_or_jumping_does_no_harm() {
    let mut cluster = Cluster::new(&Options::default());
    let clock = cluster.directory().join("clock");
    set_clock(&clock, HOUR_S);
    cluster.launch(0, &Launch::with_clock(&clock));
    for node in 1..4 {
        cluster.launch(node, &Launch::plain());
    }
    for node in 0..4 {
        cluster.wait_until_ready(node);
    }
    let load = cluster.load_of(100);
    for offset_s in [HOUR_S, -HOUR_S, 0, 30, -30, HOUR_S] {
        set_clock(&clock, offset_s);
        std::thread::sleep(Duration::from_millis(500));
        load.wait_for_more(50, RESUME_MAX);
        cluster.wait_until_commits_resume(RESUME_MAX);
        let status = cluster.status_of(1);
        let off = status.timestamp_ms.abs_diff(unix_ms());
        assert!(off <= OFF_MAX_MS, "with a clock {offset_s} s off, blocks are {off} ms off");
    }
    // The node with the wrong clock starts again with it, and is served its own transfers too.
    cluster.kill(0);
    set_clock(&clock, -HOUR_S);
    cluster.launch(0, &Launch::with_clock(&clock));
    cluster.wait_until_ready(0);
    load.wait_for_more(50, PATIENCE);
    let journal = load.stop();
    let by_it = |outcome: Outcome| matches!(outcome, Outcome::Acknowledged { node: 0, .. });
    assert!(journal.iter().any(|entry| by_it(entry.outcome)), "the node with the wrong clock acknowledged nothing");
    eprintln!("slowest transfer: {} ms", slowest(&journal).as_millis());
    // The audit asserts that block timestamps never fall.
    audit(&cluster, &journal);
}
