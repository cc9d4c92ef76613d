//! What is kept for those that lag, and what happens beyond it (§8, §11); followers (observers).

use crate::network::{Network, committee};
use crate::progress::run_under_load;
use farthing_consensus::vertex::Author;

/// Validator 3 is off for long; of the others the first `pruned` keep 100 commits only.
fn return_after(pruned: usize, seconds: u64) -> Network {
    let mut network = Network::new(committee(4), 1);
    network.start_all();
    network.nodes[..pruned].iter_mut().for_each(|node| node.retained_commits = Some(100));
    run_under_load(&mut network, 50, 2_000);
    network.crash(3);
    run_under_load(&mut network, 50, seconds * 1_000);
    network.start(3);
    network.connect_all();
    run_under_load(&mut network, 50, 26_000);
    network
}

#[test]
fn a_validator_behind_what_its_peers_keep_is_told_so_every_ten_seconds() {
    let network = return_after(3, 30);
    let told = &network.nodes[3].behind_retention;
    assert!((2..=3).contains(&told.len()), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 10_000), "{told:?}");
    assert!(told.iter().all(|(_, peers)| peers.len() >= 2 && peers.iter().all(|peer: &Author| *peer < 3)), "{told:?}");
    assert!(network.nodes[..3].iter().all(|node| node.behind_retention.is_empty()));
    assert_eq!(network.nodes[3].commit_times.last().map(|(index, _)| *index), Some(network.status(3).last_commit));
    assert!(network.status(3).last_commit + 300 < network.status(0).last_commit, "it stands where it was");
}

#[test]
fn one_peer_that_keeps_nothing_is_not_believed_and_not_needed() {
    let network = return_after(1, 30);
    assert!(network.nodes[3].behind_retention.is_empty());
    assert!(network.status(3).last_commit + 10 > network.status(0).last_commit, "{:?}", network.status(3));
}

#[test]
fn within_what_its_peers_keep_a_validator_catches_up() {
    let network = return_after(3, 4);
    assert!(network.nodes[3].behind_retention.is_empty());
    assert!(network.status(3).last_commit + 10 > network.status(0).last_commit, "{:?}", network.status(3));
}

/// By how much observer 4 is later than the second validator with each commit, in milliseconds, ascending.
fn observer_lags(network: &Network, from_ms: u64) -> Vec<u64> {
    let mut lags = Vec::new();
    for (index, at_ms) in network.nodes[4].commit_times.iter().filter(|(_, at_ms)| *at_ms >= from_ms) {
        let times = network.nodes[..4].iter().filter_map(|node| {
            node.commit_times.iter().find(|(validators_index, _)| validators_index == index).map(|(_, at_ms)| *at_ms)
        });
        let mut times: Vec<u64> = times.collect();
        times.sort_unstable();
        lags.push(at_ms.saturating_sub(times[1]));
    }
    lags.sort_unstable();
    lags
}

#[test]
fn an_observer_follows_within_half_a_second_and_subscribes_to_nothing() {
    let mut network = Network::with_authors(committee(4), &[Some(0), Some(1), Some(2), Some(3), None], 2);
    network.start_all();
    run_under_load(&mut network, 50, 2_000);
    let from_ms = network.now_ms;
    run_under_load(&mut network, 50, 20_000);
    let lags = observer_lags(&network, from_ms);
    let (median, worst) = (lags[lags.len() / 2], lags[lags.len() - 1]);
    assert!(
        lags.len() > 200 && median < 350 && worst < 700,
        "{} commits, {median} ms, at worst {worst} ms",
        lags.len()
    );
    assert!((0..4).all(|validator| !network.has_subscriber(validator, 4)));
    assert!(!network.status(4).catching_up);
    // What was committed last before the others went idle comes, too.
    network.run_for(3_000);
    assert_eq!(network.nodes[4].disk.block, network.nodes[0].disk.block);
}

#[test]
fn an_observer_gets_around_a_validator_that_serves_nothing() {
    let mut network = Network::with_authors(committee(4), &[Some(0), Some(1), Some(2), Some(3), None], 3);
    network.start_all();
    run_under_load(&mut network, 50, 2_000);
    network.set_serving(2, false);
    network.connect_all();
    run_under_load(&mut network, 50, 20_000);
    network.run_for(3_000);
    assert_eq!(network.nodes[4].disk.block, network.nodes[0].disk.block);
}

#[test]
fn commits_that_were_shown_and_then_pruned_are_given_up() {
    for grace_ms in (60..=300).step_by(40) {
        let mut network = Network::new(committee(4), 4);
        network.start_all();
        run_under_load(&mut network, 50, 2_000);
        network.crash(3);
        run_under_load(&mut network, 50, 40_000);
        network.start(3);
        network.connect_all();
        network.run_for(grace_ms);
        let before = network.status(3).last_commit;
        // It may have learned what was committed, and not have all of the vertices yet.
        network.nodes[..3].iter_mut().for_each(|node| node.retained_commits = Some(20));
        run_under_load(&mut network, 50, 15_000);
        let (status, newest) = (network.status(3), network.agreed.len() as u64);
        let is_told = !network.nodes[3].behind_retention.is_empty();
        assert!(
            is_told || status.last_commit + 10 > newest,
            "after {grace_ms} ms at {before}, now {status:?} of {newest}"
        );
    }
}
