//! Progress and agreement while nothing or little is wrong. That all nodes make the same commits is checked by the network itself.

use crate::network::{Network, committee};
use bytes::Bytes;

/// Submits a payload to each validator in turn every `every_ms`, for so long.
pub fn run_under_load(network: &mut Network, every_ms: u64, duration_ms: u64) {
    let end_ms = network.now_ms + duration_ms;
    let size = network.committee.size();
    for number in 0.. {
        let index = (0..size).map(|step| (number + step) % size).find(|index| network.nodes[*index].engine.is_some());
        let salt = network.random(u64::MAX);
        network.submit(index.expect("some validator runs"), Bytes::from(salt.to_le_bytes().repeat(20)));
        network.run_for(every_ms);
        if network.now_ms >= end_ms {
            return;
        }
    }
}

/// The last commit that every running node has.
pub fn common_commit(network: &Network) -> u64 {
    let running = (0..network.nodes.len()).filter(|index| network.nodes[*index].engine.is_some());
    running.map(|index| network.status(index).last_commit).min().expect("some node runs")
}

#[test]
fn everything_submitted_is_committed_once_at_every_validator() {
    let mut network = Network::new(committee(4), 1);
    network.start_all();
    run_under_load(&mut network, 20, 20_000);
    network.run_for(2_000);
    let mut reference = network.nodes[0].committed_payloads.clone();
    assert_eq!(reference.len(), 1_000);
    for node in &network.nodes {
        assert_eq!(node.committed_payloads, reference, "in the same order everywhere");
    }
    reference.sort();
    reference.dedup();
    assert_eq!(reference.len(), 1_000);
    // Three message delays of 25 ms on average: rounds are made as fast as the least delay allows, and most leaders commit.
    let status = network.status(0);
    assert!(status.round > 250, "{status:?}");
    assert!(status.last_commit + 20 > status.last_leader_round, "few leaders are skipped: {status:?}");
    assert_eq!((status.suspended, status.fetching, status.catching_up), (0, 0, false));
}

#[test]
fn committees_of_any_size_make_progress() {
    for size in [1, 2, 3, 5, 7, 10] {
        let mut network = Network::new(committee(size), size as u64);
        network.start_all();
        run_under_load(&mut network, 100, 4_000);
        network.run_for(1_000);
        assert!(common_commit(&network) > 20, "n = {size}");
        assert_eq!(network.nodes[size - 1].committed_payloads.len(), 40, "n = {size}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut network = Network::new(committee(4), seed);
        network.delay_ms = (1, 120);
        network.start_all();
        run_under_load(&mut network, 30, 5_000);
        network.agreed
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn an_idle_network_is_quiet_and_wakes_within_one_message_delay() {
    let mut network = Network::new(committee(4), 2);
    network.start_all();
    network.run_for(3_000);
    let before: Vec<usize> = network.nodes.iter().map(|node| node.broadcasts.len()).collect();
    let steps = network.steps;
    network.run_for(20_000);
    assert!(network.steps - steps < 3_000, "{} inputs in 20 idle seconds: a timer spins", network.steps - steps);
    for (node, before) in network.nodes.iter().zip(before) {
        let vertices = node.broadcasts.len() - before;
        assert!((30..=50).contains(&vertices), "{vertices} vertices in 20 idle seconds");
    }
    // In the middle of the wait: the least delay since the last vertex has passed, the idle one has not.
    while network.now_ms - network.nodes[1].broadcasts.last().expect("it proposes").0 != 150 {
        network.run_for(1);
    }
    let submitted_ms = network.now_ms;
    network.submit(1, Bytes::from_static(b"wake up"));
    network.run_for(60);
    for (index, node) in network.nodes.iter().enumerate() {
        let (sent_ms, vertex) = node.broadcasts.iter().find(|(at_ms, _)| *at_ms >= submitted_ms).expect("it woke");
        // One sync; for the others one message delay and their own sync on top.
        let bound_ms = if index == 1 { 4 } else { 4 + 40 + 4 };
        assert!(*sent_ms - submitted_ms <= bound_ms, "validator {index} took {} ms", sent_ms - submitted_ms);
        assert_eq!(vertex.payload().is_empty(), index != 1);
    }
    network.run_for(400);
    assert!(network.nodes.iter().all(|node| node.committed_payloads.len() == 1));
}

#[test]
fn the_network_idles_only_once_a_quorum_attests_the_newest_block() {
    let mut network = Network::new(committee(4), 3);
    network.start_all();
    network.run_for(2_000);
    network.submit(0, Bytes::from_static(b"the last for a while"));
    network.run_for(1_500);
    for index in 0..4 {
        assert!(network.status(index).idle);
        let block = network.nodes[index].disk.block;
        assert_eq!(block.0, 1);
        assert!(network.nodes[index].attested[&block].len() >= 3);
    }
    // A validator whose executor does not get on keeps the others from nothing, but attests once it does.
    network.nodes[3].execution_ms = 3_000;
    network.submit(0, Bytes::from_static(b"another"));
    network.run_for(10_000);
    let block = network.nodes[0].disk.block;
    assert_eq!(block.0, 2);
    assert!(network.status(0).idle);
    network.nodes[3].execution_ms = 1;
    network.run_for(4_000);
    assert_eq!(network.nodes[0].attested[&block].len(), 4, "every executed block is attested");
}

#[test]
fn every_block_is_attested_by_a_quorum() {
    let mut network = Network::new(committee(4), 4);
    network.start_all();
    run_under_load(&mut network, 20, 10_000);
    network.run_for(2_000);
    let (height, _) = network.nodes[0].disk.block;
    assert!(height > 50);
    let certified = network.nodes[0].attested.values().filter(|authors| authors.len() >= 3).count();
    assert_eq!(certified as u64, height);
}

#[test]
fn observers_follow_even_through_a_single_validator() {
    let authors = [Some(0), Some(1), Some(2), Some(3), None, None];
    let mut network = Network::with_authors(committee(4), &authors, 5);
    network.start_all();
    for validator in 1..4 {
        network.disconnect(5, validator);
    }
    run_under_load(&mut network, 50, 15_000);
    network.run_for(2_000);
    let newest = network.agreed.len() as u64;
    assert!(newest > 100);
    for observer in [4, 5] {
        let status = network.status(observer);
        assert!(status.last_commit + 5 > newest, "{status:?}");
        assert!(network.nodes[observer].broadcasts.is_empty());
        assert_eq!(network.nodes[observer].committed_payloads.len(), 300);
    }
}

#[test]
fn commit_timestamps_never_fall_though_clocks_are_wrong() {
    let mut network = Network::new(committee(4), 6);
    network.nodes[1].wall_skew_ms = 3_600_000;
    network.nodes[2].wall_skew_ms = -1_800;
    network.start_all();
    run_under_load(&mut network, 50, 5_000);
    network.nodes[0].wall_skew_ms = -3_600_000;
    run_under_load(&mut network, 50, 5_000);
    let commits = &network.nodes[3].disk.commits;
    assert!(commits.len() > 50);
    assert!(commits.values().is_sorted_by_key(|commit| commit.timestamp_ms));
}

#[test]
fn long_and_uneven_delays_do_not_stop_progress() {
    for seed in 0..5 {
        let mut network = Network::new(committee(4), seed);
        network.delay_ms = (10, 400);
        network.start_all();
        run_under_load(&mut network, 100, 20_000);
        network.run_for(3_000);
        assert!(common_commit(&network) > 30, "seed {seed}: {:?}", network.status(0));
    }
}
