//! Crashed, slow, partitioned and equivocating validators.

use crate::network::{Network, committee};
use crate::progress::{common_commit, run_under_load};

#[test]
fn silent_validators_up_to_f_do_not_stop_the_others() {
    for (size, silent) in [(4, 1), (7, 2)] {
        let mut network = Network::new(committee(size), 1);
        for index in silent..size {
            network.start(index);
        }
        network.connect_all();
        run_under_load(&mut network, 50, 20_000);
        network.run_for(1_000);
        let status = network.status(size - 1);
        assert!(status.last_commit > 80, "n = {size}: {status:?}");
        assert_eq!(network.nodes[size - 1].committed_payloads.len(), 400);
        // The slots of the silent ones are skipped without waiting for the timeout each time.
        assert!(status.round > 150, "n = {size}: {status:?}");
    }
}

#[test]
fn more_silent_validators_than_f_stop_progress_until_one_returns() {
    let mut network = Network::new(committee(4), 1);
    network.start(0);
    network.start(1);
    network.connect_all();
    network.run_for(60_000);
    assert_eq!(network.agreed.len(), 0);
    assert!(network.steps < 200, "{} inputs while nothing can happen: a timer spins", network.steps);
    network.start(2);
    network.connect_all();
    // One second of it the returning one waits for the answer of the one that is still away.
    network.run_for(8_000);
    assert!(common_commit(&network) > 5);
}

#[test]
fn a_slow_validator_takes_part_at_its_own_pace() {
    let mut network = Network::new(committee(4), 2);
    network.nodes[3].delay_extra_ms = 300;
    network.start_all();
    run_under_load(&mut network, 50, 30_000);
    network.run_for(3_000);
    assert!(network.status(0).last_commit > 150, "{:?}", network.status(0));
    let slow = network.status(3);
    assert!(slow.last_commit + 40 > network.status(0).last_commit, "{slow:?}");
    // What it was given is committed, too.
    assert_eq!(network.nodes[0].committed_payloads.len(), 600);
}

#[test]
fn a_partition_without_a_quorum_halts_and_heals() {
    for seed in 0..4 {
        let mut network = Network::new(committee(4), seed);
        network.start_all();
        run_under_load(&mut network, 50, 2_000);
        let cut = [(0, 2), (0, 3), (1, 2), (1, 3)];
        for (a, b) in cut {
            network.disconnect(a, b);
        }
        network.run_for(500);
        let halted = network.agreed.len() as u64;
        network.run_for(20_000);
        assert_eq!(network.agreed.len() as u64, halted, "nothing commits without a quorum");
        for (a, b) in cut {
            network.connect(a, b);
        }
        network.run_for(4_000);
        assert!(common_commit(&network) > halted + 5, "seed {seed}: {:?}", network.status(0));
    }
}

#[test]
fn breaking_connections_lose_messages_and_nothing_else() {
    for seed in 0..4 {
        let mut network = Network::new(committee(4), seed);
        network.start_all();
        for _ in 0..60 {
            let (a, b) = (network.random(4) as usize, network.random(4) as usize);
            if a != b {
                network.disconnect(a, b);
            }
            run_under_load(&mut network, 30, 120);
            network.connect_all();
            run_under_load(&mut network, 30, 120);
        }
        network.run_for(3_000);
        assert!(common_commit(&network) > 60, "seed {seed}: {:?}", network.status(0));
        assert!(network.nodes.iter().all(|node| node.committed_payloads.len() == 60 * 8), "seed {seed}");
    }
}

/// Validators 0 to 2 and two engines with the key of validator 3, of which each validator sees one.
fn network_with_twins(seed: u64) -> Network {
    let authors = [Some(0), Some(1), Some(2), Some(3), Some(3)];
    let mut network = Network::with_authors(committee(4), &authors, seed);
    for twin in [3, 4] {
        network.nodes[twin].settings.stop_at_own_equivocation = false;
    }
    for index in 0..5 {
        network.start(index);
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2), (3, 0), (3, 1), (4, 2)] {
        network.connect(a, b);
    }
    network
}

#[test]
fn an_equivocating_validator_is_found_out_and_changes_nothing() {
    for seed in 0..5 {
        let mut network = network_with_twins(seed);
        run_under_load(&mut network, 50, 15_000);
        network.run_for(2_000);
        assert!(common_commit(&network) > 60, "seed {seed}: {:?}", network.status(0));
        // A validator that never sees the second vertex of a slot finds nothing out, and need not.
        let knowing: Vec<usize> = (0..3).filter(|honest| network.status(*honest).equivocators == [3]).collect();
        assert!(!knowing.is_empty(), "seed {seed}");
        for honest in knowing {
            let [(first, second)] = network.nodes[honest].evidence.as_slice() else { panic!("evidence comes once") };
            assert_eq!((first.header.author, first.header.round), (3, second.header.round));
            assert_ne!(first.reference(), second.reference());
            for header in [first, second] {
                network.committee.verify_header(header).expect("evidence convinces anybody");
            }
            // The equivocator is linked no more, since the three others make a quorum.
            let last = &network.nodes[honest].broadcasts.last().expect("it proposes").1;
            assert!(last.header().parents.iter().all(|parent| parent.author != 3), "seed {seed}");
        }
    }
}

#[test]
#[should_panic(expected = "carries our signature")]
fn a_validator_that_meets_its_own_twin_stops() {
    let mut network = network_with_twins(1);
    network.nodes[3].settings.stop_at_own_equivocation = true;
    network.crash(3);
    network.start(3);
    network.connect(3, 0);
    network.connect(3, 1);
    network.run_for(10_000);
}
