//! One key at two places, or without its data: nothing is signed twice.

use farthing_tests::processes::wal::copy_directory;
use farthing_tests::processes::{Cluster, Launch, Options, PATIENCE, RESUME_MAX, audit, wait_for};
use std::fs;
use std::time::Instant;

const RATE: u32 = 100;

#[test]
fn a_second_start_with_the_same_data_refuses() {
    let cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    for node in 0..2 {
        let mut second = Launch::plain().start(cluster.home(node));
        let status = second.wait_for_exit(PATIENCE).expect("it gives up");
        let said = second.said();
        assert_eq!(status.code(), Some(1), "{status}\n{said}");
        assert!(said.contains("in use by another process"), "{said}");
    }
    load.wait_for_more(50, RESUME_MAX);
    audit(&cluster, &load.stop());
}

#[test]
fn a_validator_that_lost_its_data_waits_and_comes_back() {
    let mut cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    load.wait_for_more(100, PATIENCE);
    cluster.kill(0);
    fs::remove_dir_all(cluster.database(0)).expect("removed");
    load.wait_for_more(50, RESUME_MAX);
    let started = Instant::now();
    cluster.run(0);
    eprintln!("a validator without its data was ready again after {} ms", started.elapsed().as_millis());
    takes_part_again(&cluster, 0);
    load.wait_for_more(50, RESUME_MAX);
    audit(&cluster, &load.stop());
}

#[test]
fn a_stale_copy_of_the_database_signs_nothing_twice() {
    let mut cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    load.wait_for_more(50, PATIENCE);
    cluster.stop(0);
    let stale = cluster.directory().join("stale");
    copy_directory(&cluster.database(0), &stale);
    cluster.run(0);
    load.wait_for_more(200, PATIENCE);
    takes_part_again(&cluster, 0);
    cluster.kill(0);
    fs::remove_dir_all(cluster.database(0)).expect("removed");
    fs::rename(&stale, cluster.database(0)).expect("the same file system");
    cluster.run(0);
    takes_part_again(&cluster, 0);
    load.wait_for_more(50, RESUME_MAX);
    audit(&cluster, &load.stop());
}

/// Waits until the others accept new vertices of a node.
fn takes_part_again(cluster: &Cluster, node: usize) {
    let newest = || cluster.validators_of((node + 1) % cluster.count())[node].last_round;
    let from = newest();
    wait_for("new vertices of the node", PATIENCE, || (newest() > from + 10).then_some(()));
}
