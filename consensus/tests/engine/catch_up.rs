//! Validators and observers that come back after a long time, or come new (§11).

use crate::network::{Network, committee};
use crate::progress::run_under_load;
use bytes::Bytes;

/// Validator 3 is off for so long, then returns and gets `grace_ms` to take part again.
fn check_return(network: &mut Network, absence_ms: u64, grace_ms: u64) {
    network.start_all();
    run_under_load(network, 50, 2_000);
    network.crash(3);
    run_under_load(network, 50, absence_ms);
    let behind = network.agreed.len() as u64 - network.nodes[3].disk.commits.len() as u64;
    assert!(behind > absence_ms / 150, "only {behind} commits were missed");
    network.start(3);
    network.connect_all();
    run_under_load(network, 50, grace_ms);
    let (status, newest) = (network.status(3), network.agreed.len() as u64);
    assert!(status.last_commit + 10 > newest, "at {newest}: {status:?}");
    assert!(!status.catching_up, "{status:?}");
    // It takes part: what it proposes is committed by the others.
    network.submit(3, Bytes::from_static(b"I am back"));
    network.run_for(2_000);
    assert!(network.nodes[0].committed_payloads.iter().any(|payload| payload.as_ref() == b"I am back"));
    assert_eq!(network.nodes[3].disk.block, network.nodes[0].disk.block);
    assert_eq!(network.status(3).suspended, 0);
}

#[test]
fn a_short_absence() {
    check_return(&mut Network::new(committee(4), 1), 3_000, 2_500);
}

#[test]
fn an_absence_of_more_than_a_hundred_commits() {
    check_return(&mut Network::new(committee(4), 2), 20_000, 5_000);
}

#[test]
fn an_absence_of_more_than_five_hundred_commits() {
    check_return(&mut Network::new(committee(4), 3), 120_000, 12_000);
}

#[test]
fn a_long_absence_with_another_validator_serving_nothing() {
    let mut network = Network::new(committee(4), 4);
    network.start_all();
    run_under_load(&mut network, 50, 2_000);
    network.crash(3);
    run_under_load(&mut network, 50, 60_000);
    // Without validator 1's vertices the others need validator 3 to go on.
    network.set_serving(1, false);
    network.start(3);
    network.connect_all();
    network.run_for(25_000);
    let (status, newest) = (network.status(3), network.agreed.len() as u64);
    assert!(status.last_commit + 10 > newest && status.last_proposed + 5 > status.round, "at {newest}: {status:?}");
}

#[test]
fn small_gc_depth_and_a_long_absence() {
    check_return(&mut Network::new(committee(4).with_gc_depth(8), 5), 60_000, 8_000);
}

#[test]
fn catching_up_does_not_outrun_execution() {
    let mut network = Network::new(committee(4), 6);
    network.nodes[3].execution_ms = 15;
    check_return(&mut network, 60_000, 40_000);
    // Certified commits are held back; a few that are decided live may come on top.
    let lag = network.nodes[3].execution_lag_max;
    assert!((60..=80).contains(&lag), "execution was {lag} commits behind");
}

#[test]
fn a_new_observer_starts_from_nothing() {
    let mut network = Network::with_authors(committee(4), &[Some(0), Some(1), Some(2), Some(3), None], 7);
    for index in 0..4 {
        network.start(index);
    }
    network.connect_all();
    run_under_load(&mut network, 50, 60_000);
    network.start(4);
    network.connect_all();
    run_under_load(&mut network, 50, 12_000);
    let (status, newest) = (network.status(4), network.agreed.len() as u64);
    assert!(status.last_commit + 10 > newest, "at {newest}: {status:?}");
    network.run_for(1_000);
    assert_eq!(network.nodes[4].disk.block.0, network.nodes[0].disk.block.0);
}

#[test]
fn a_crash_while_catching_up() {
    let mut network = Network::new(committee(4), 8);
    network.start_all();
    network.crash(3);
    run_under_load(&mut network, 50, 60_000);
    for _ in 0..12 {
        network.start(3);
        network.connect_all();
        let pause_ms = 100 + network.random(700);
        network.run_for(pause_ms);
        network.crash(3);
    }
    network.start(3);
    network.connect_all();
    network.run_for(12_000);
    let (status, newest) = (network.status(3), network.agreed.len() as u64);
    assert!(status.last_commit + 10 > newest && status.last_proposed + 5 > status.round, "at {newest}: {status:?}");
}
