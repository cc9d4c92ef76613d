//! Everything at once: crashes, broken connections, uneven delays, slow disks and an equivocator, with small and large gc depths.
//! A failing seed is named; it reproduces the run exactly.

use crate::network::{Network, committee};
use crate::progress::{common_commit, run_under_load};
use farthing_consensus::vertex::Author;

/// Four or seven validators; in some runs the last one is a pair of twins.
fn storm_network(seed: u64) -> Network {
    let size = if seed.is_multiple_of(3) { 7 } else { 4 };
    let gc_depth = [60, 5, 12, 4, 8, 6, 3][seed as usize % 7];
    let has_twins = seed % 5 < 2;
    let mut authors: Vec<Option<Author>> = (0..size as Author).map(Some).collect();
    authors.extend(has_twins.then_some(Some(size as Author - 1)));
    let mut network = Network::with_authors(committee(size).with_gc_depth(gc_depth), &authors, seed);
    network.delay_ms = [(5, 40), (1, 150), (60, 70)][seed as usize % 3];
    for index in 0..authors.len() {
        network.nodes[index].sync_ms = 1 + network.random(15);
        network.nodes[index].settings.stop_at_own_equivocation = !(has_twins && index + 1 >= size);
    }
    network
}

/// Connects what is not connected: a validator sees one twin only, since to it they are one peer.
fn connect_all(network: &mut Network) {
    let count = network.nodes.len();
    for a in 0..count {
        for b in 0..a {
            let (author, is_second_twin) = (network.nodes[a].author, a >= network.committee.size());
            let has_twin = network.nodes[count - 1].author == network.nodes[count - 2].author;
            let is_twin = has_twin && author == network.nodes[count - 1].author;
            let sees = !is_twin || (b % 2 == 1) == is_second_twin;
            if sees && network.nodes[b].author != author {
                network.connect(a, b);
            }
        }
    }
}

fn check(seed: u64) {
    let mut network = storm_network(seed);
    (0..network.nodes.len()).for_each(|index| network.start(index));
    connect_all(&mut network);
    let honest = network.nodes.iter().filter(|node| node.settings.stop_at_own_equivocation).count() as u64;
    for _ in 0..20 {
        let victim = network.random(honest) as usize;
        let (other, pause_ms) = (network.random(honest) as usize, network.random(600));
        match network.random(4) {
            0 => {
                network.crash(victim);
                run_under_load(&mut network, 25, pause_ms);
                network.start(victim);
            }
            1 => {
                network.crash(victim);
                run_under_load(&mut network, 25, pause_ms * 8);
                network.start(victim);
            }
            2 if victim != other => {
                network.disconnect(victim, other);
                run_under_load(&mut network, 25, pause_ms * 4);
            }
            _ => {
                for peer in 0..network.nodes.len() {
                    network.disconnect(victim, peer);
                }
                run_under_load(&mut network, 25, pause_ms);
            }
        }
        connect_all(&mut network);
        run_under_load(&mut network, 25, pause_ms);
    }
    let before = network.agreed.len() as u64;
    // An equivocator's other chain may have to be fetched first, round by round down to the gc round.
    run_under_load(&mut network, 100, 12_000);
    for index in 0..honest as usize {
        let status = network.status(index);
        assert!(status.last_commit > before + 15, "seed {seed}, node {index}, from {before}: {status:?}");
        assert!(status.last_proposed + 8 > status.round, "seed {seed}, node {index}: {status:?}");
    }
    assert!(common_commit(&network) > before);
}

#[test]
fn storms_pass() {
    (0..12).for_each(check);
}

/// `cargo test --release -p farthing-consensus -- --ignored`
#[test]
#[ignore = "minutes"]
fn many_storms_pass() {
    (12..1_000).for_each(check);
}
