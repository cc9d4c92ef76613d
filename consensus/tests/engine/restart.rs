//! Restarts (§10). That nobody signs two vertices for a slot, makes a commit twice, or sends what is not stored is checked by the
//! network at every step; syncs take time, so a crash loses what was not synced.

use crate::network::{Network, committee, secret_key};
use crate::progress::{common_commit, run_under_load};
use farthing_consensus::engine::{Engine, Now, Recovered, Settings, Signing, Status};
use std::sync::Arc;

#[test]
fn crashes_at_any_moment_leave_agreement_and_progress() {
    for seed in 0..6 {
        let mut network = Network::new(committee(4), seed);
        for node in &mut network.nodes {
            node.sync_ms = 12;
        }
        network.start_all();
        for _ in 0..25 {
            run_under_load(&mut network, 15, 300);
            let victim = network.random(4) as usize;
            let moment_ms = network.random(60);
            network.run_for(moment_ms);
            network.crash(victim);
            let pause_ms = network.random(400);
            network.run_for(pause_ms);
            network.start(victim);
            network.connect_all();
        }
        let before = network.agreed.len() as u64;
        run_under_load(&mut network, 50, 3_000);
        network.run_for(1_000);
        assert!(common_commit(&network) > before + 15, "seed {seed}: {:?}", network.status(0));
        let all = network.nodes[0].disk.block;
        assert!(network.nodes.iter().all(|node| node.disk.block == all), "seed {seed}: the same blocks everywhere");
    }
}

#[test]
fn all_validators_may_crash_at_once() {
    for seed in 0..8 {
        let mut network = Network::new(committee(4), seed);
        network.start_all();
        run_under_load(&mut network, 10, 3_000);
        let before = common_commit(&network);
        for _ in 0..5 {
            for index in 0..4 {
                let moment_ms = network.random(30);
                network.run_for(moment_ms);
                network.crash(index);
            }
            network.start_all();
            network.run_for(1_500);
        }
        assert!(common_commit(&network) > before + 10, "seed {seed}: {:?}", network.status(0));
    }
}

#[test]
fn a_restarted_validator_sends_its_last_vertex_again() {
    let mut network = Network::new(committee(4), 1);
    network.start_all();
    network.run_for(2_000);
    network.crash(2);
    let last = network.nodes[2].disk.last_signed();
    let sent = network.nodes[2].broadcasts.len();
    network.start(2);
    assert_eq!(Some(network.nodes[2].broadcasts[sent].1.reference()), last);
}

/// Starts validator 2 on what is left of its disk after a while.
fn restart_with(change: impl FnOnce(&mut Recovered)) -> Status {
    let mut network = Network::new(committee(4), 1);
    network.start_all();
    run_under_load(&mut network, 50, 6_000);
    let mut recovered = network.nodes[2].disk.recovered(&network.committee);
    assert!(recovered.commits.len() > 70);
    change(&mut recovered);
    let own = Some((2, secret_key(2)));
    let now = Now { monotonic_ms: 1, wall_ms: 1 };
    let engine =
        Engine::start(Arc::clone(&network.committee), own, Settings::default(), recovered, now, &mut Vec::new());
    assert!(engine.status().last_commit > 70);
    engine.status()
}

#[test]
fn the_newest_commits_suffice() {
    restart_with(|recovered| drop(recovered.commits.drain(..recovered.commits.len() - 60)));
}

#[test]
#[should_panic(expected = "the database lacks commits")]
fn fewer_commits_are_refused() {
    restart_with(|recovered| drop(recovered.commits.drain(..recovered.commits.len() - 40)));
}

#[test]
#[should_panic(expected = "does not follow commit")]
fn a_gap_in_the_commits_is_refused() {
    restart_with(|recovered| drop(recovered.commits.remove(5)));
}

#[test]
fn what_contradicts_the_signing_state_is_amnesia() {
    assert!(!restart_with(|_| ()).amnesia);
    assert!(restart_with(|recovered| recovered.signing = Signing::Lost).amnesia);
    // The signing state of a new validator, or an older one than the own vertices stored.
    assert!(restart_with(|recovered| recovered.signing = Signing::Intact(None)).amnesia);
    // The last vertex signed is not there.
    let lacks_last = |recovered: &mut Recovered| {
        let signing = recovered.signing;
        recovered.vertices.retain(|vertex| Signing::Intact(Some(vertex.reference())) != signing);
    };
    assert!(restart_with(lacks_last).amnesia);
}

#[test]
#[should_panic(expected = "the signing state is that of validator")]
fn the_signing_state_of_another_validator_is_refused() {
    restart_with(|recovered| {
        let others = recovered.vertices.iter().find(|vertex| vertex.author() == 1).map(|vertex| vertex.reference());
        recovered.signing = Signing::Intact(others);
    });
}
