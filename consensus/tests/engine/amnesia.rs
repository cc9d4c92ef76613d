//! Validators that do not know what they have signed (§10). That nobody signs two vertices for a slot is checked by the network.

use crate::network::{Network, committee};
use crate::progress::{common_commit, run_under_load};
use bytes::Bytes;
use farthing_consensus::engine::{Rule, Signing};

/// How peers answer the question for the latest vertices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    ByTheRule,
    /// The rule taken out: nobody tells its own latest vertex, only what it holds of the one that asks.
    WithoutOwnLatest,
}

/// The outbound links of validator 0 fail, except to a Byzantine peer that tells nobody (so it is left out here). Validator 0 hears
/// all others, and signs 30 rounds on top of theirs. It loses its disk right after it signed a round before everybody else, and starts
/// again: the rounds that are next for it are taken.
fn lose_the_disk_unheard(answers: Answers) -> Network {
    let mut network = Network::new(committee(4), 1);
    network.nodes.iter_mut().for_each(|node| node.settings.idle_delay_ms = 600);
    network.start_all();
    network.run_for(3_000);
    network.is_own_latest_told = answers == Answers::ByTheRule;
    (1..4).for_each(|deaf| network.mute(0, deaf, true));
    let before = network.nodes[0].broadcasts.len();
    network.run_for(20_000);
    while network.now_ms - network.nodes[0].broadcasts.last().expect("it proposes").0 != 150 {
        network.run_for(1);
    }
    // The others idle for another while, and hear nothing of this.
    network.submit(0, Bytes::from_static(b"wake up"));
    network.run_for(10);
    let (_, unheard) = network.nodes[0].broadcasts.last().expect("it proposes");
    let unheard_round = unheard.round();
    assert!((1..4).all(|other| network.status(other).last_proposed < unheard_round));
    assert!(network.nodes[0].broadcasts.len() - before >= 30, "it signed 30 rounds");
    network.crash(0);
    network.lose_disk(0);
    (1..4).for_each(|deaf| network.mute(0, deaf, false));
    network.start(0);
    network.connect_all();
    assert!(network.status(0).amnesia);
    network.run_for(6_000);
    network
}

#[test]
fn a_validator_that_only_a_byzantine_peer_heard_signs_no_slot_again() {
    let mut network = lose_the_disk_unheard(Answers::ByTheRule);
    run_under_load(&mut network, 50, 2_000);
    let status = network.status(0);
    assert!(!status.amnesia && status.last_proposed + 5 > status.round, "it takes part again: {status:?}");
}

#[test]
#[should_panic(expected = "signed two vertices of round")]
fn without_the_own_latest_vertices_of_others_it_signs_slots_again() {
    lose_the_disk_unheard(Answers::WithoutOwnLatest);
}

#[test]
fn a_lost_disk_under_load_is_made_good() {
    for seed in 0..4 {
        let mut network = Network::new(committee(4), seed);
        network.start_all();
        for _ in 0..4 {
            run_under_load(&mut network, 50, 3_000);
            network.crash(2);
            network.lose_disk(2);
            let pause_ms = network.random(1_500);
            network.run_for(pause_ms);
            network.start(2);
            network.connect_all();
        }
        run_under_load(&mut network, 50, 10_000);
        network.run_for(1_000);
        let status = network.status(2);
        assert!(!status.amnesia && status.last_proposed + 5 > status.round, "seed {seed}: {status:?}");
        assert_eq!(network.nodes[2].disk.block, network.nodes[0].disk.block, "seed {seed}");
    }
}

#[test]
fn with_one_more_validator_away_amnesia_waits_for_it() {
    let mut network = Network::new(committee(4), 5);
    network.start_all();
    run_under_load(&mut network, 50, 3_000);
    network.crash(2);
    network.lose_disk(2);
    network.crash(3);
    network.start(2);
    network.connect_all();
    network.run_for(20_000);
    let status = network.status(2);
    assert!(
        status.amnesia && network.nodes[2].broadcasts.last().is_some_and(|(at_ms, _)| *at_ms < 6_000),
        "{status:?}"
    );
    network.start(3);
    network.connect_all();
    let before = common_commit(&network);
    run_under_load(&mut network, 50, 6_000);
    assert!(!network.status(2).amnesia && common_commit(&network) > before + 20, "{:?}", network.status(2));
}

/// Validator 2 starts on a copy of its disk that is some seconds old, with the others reachable or not.
fn start_on_a_stale_copy(rule_taken_out: Option<Rule>, away: &[usize]) -> Network {
    let mut network = Network::new(committee(4), 6);
    network.start_all();
    run_under_load(&mut network, 50, 3_000);
    let copy = network.nodes[2].disk.clone();
    run_under_load(&mut network, 50, 2_000);
    network.crash(2);
    network.restore_disk(2, copy);
    away.iter().for_each(|peer| network.crash(*peer));
    network.nodes[2].settings.rule_taken_out = rule_taken_out;
    network.start(2);
    network.connect_all();
    network.run_for(400);
    network
}

#[test]
fn a_stale_copy_of_the_database_is_noticed_before_anything_is_signed() {
    let mut network = start_on_a_stale_copy(None, &[]);
    run_under_load(&mut network, 50, 6_000);
    let status = network.status(2);
    assert!(!status.amnesia && status.last_proposed + 5 > status.round, "{status:?}");
    // One of the others is enough to notice it, though not to end it.
    let mut network = start_on_a_stale_copy(None, &[0, 3]);
    network.run_for(20_000);
    assert!(network.status(2).amnesia);
    network.start(0);
    network.start(3);
    network.connect_all();
    run_under_load(&mut network, 50, 6_000);
    let status = network.status(2);
    assert!(!status.amnesia && status.last_proposed + 5 > status.round, "{status:?}");
}

#[test]
#[should_panic(expected = "signed two vertices of round")]
fn a_stale_copy_that_does_not_wait_for_its_peers_signs_slots_again() {
    start_on_a_stale_copy(Some(Rule::StartCheck), &[]);
}

#[test]
fn a_stale_copy_is_noticed_however_late_the_peers_can_be_asked() {
    let mut network = Network::new(committee(4), 6);
    network.start_all();
    run_under_load(&mut network, 50, 3_000);
    let copy = network.nodes[2].disk.clone();
    run_under_load(&mut network, 50, 2_000);
    network.crash(2);
    network.restore_disk(2, copy);
    network.start(2);
    // Reading a large state, or dialling, takes longer than the time that the others are given.
    network.run_for(1_500);
    network.connect_all();
    run_under_load(&mut network, 50, 6_000);
    let status = network.status(2);
    assert!(!status.amnesia && status.last_proposed + 5 > status.round, "{status:?}");
}

#[test]
fn all_start_at_once_without_waiting_longer_than_for_connections() {
    let mut network = Network::new(committee(4), 7);
    network.start_all();
    network.run_for(400);
    assert!(network.nodes.iter().all(|node| !node.broadcasts.is_empty()), "a round trip, not a second");
    // With one of them away the others wait for the second that they give it.
    let mut network = Network::new(committee(4), 7);
    (0..3).for_each(|index| network.start(index));
    network.connect_all();
    network.run_for(950);
    assert!(network.nodes.iter().all(|node| node.broadcasts.is_empty()));
    network.run_for(150);
    assert!(network.nodes[..3].iter().all(|node| !node.broadcasts.is_empty()));
}

#[test]
fn a_lone_validator_without_its_signing_state_waits_for_ever() {
    let mut network = Network::new(committee(1), 8);
    network.nodes[0].disk.signing = Signing::Lost;
    network.start_all();
    network.run_for(10_000);
    assert!(network.status(0).amnesia && network.nodes[0].broadcasts.is_empty());
    assert!(network.steps < 20, "{} inputs: a timer spins", network.steps);
}
