//! Nodes that lag beyond what their peers keep start from a snapshot.

use super::{balance, block_on, send, status, wait_for_agreement};
use crate::full_nodes::full_node;
use crate::testnet::{Home, Node, Testnet, wait_for};
use farthing_client::{Client, ProblemCode};
use std::fs;
use std::path::Path;

/// The least that nodes may keep.
const RETAIN_COMMITS: u64 = 600;

/// Has a node keep little, and make rounds fast, so that little is soon past.
fn keep_little(home: &Path) {
    let path = home.join("config.toml");
    let mut config: toml::Table = fs::read_to_string(&path).expect("a configuration").parse().expect("TOML");
    config.insert("storage".into(), toml::Table::from_iter([("retain_commits".into(), 600.into())]).into());
    config.insert("consensus".into(), toml::Table::from_iter([("round_delay_min_ms".into(), 5.into())]).into());
    fs::write(path, config.to_string()).expect("room");
}

/// The newest commit and block.
fn newest(testnet: &Testnet<'_>) -> (u64, u64) {
    let status = wait_for("an answer", || status(&testnet.apis()[0]));
    (status.commit_index, status.height)
}

fn says(home: &Path, what: &str) -> bool {
    fs::read_to_string(home.join("node.log")).is_ok_and(|log| log.contains(what))
}

#[test]
fn a_validator_that_was_off_past_its_peers_retention_rejoins_and_a_new_full_node_starts() {
    let home = Home::new();
    let testnet = home.up(4);
    send(&home, testnet.address(1), "1 mite", &[]);
    let restart = |number: usize| {
        testnet.kill(number);
        keep_little(&testnet.node_home(number));
        Some(testnet.restart(number))
    };
    let mut nodes: Vec<Option<Node>> = (0..4).map(restart).collect();
    wait_for("all validators", || testnet.apis().iter().all(|url| status(url).is_some_and(|s| s.ready)).then_some(()));

    nodes[3] = None;
    let (off_at, off_height) = newest(&testnet);
    // Pruning goes in steps, and never past the last flush.
    while newest(&testnet).0 < off_at + RETAIN_COMMITS + 400 {
        let report = testnet.load(1_000, 5, false);
        assert_eq!(report["final"], report["submitted"], "{report}");
    }
    let (full, url) = std::thread::scope(|scope| {
        let load = scope.spawn(|| testnet.load(1_000, 15, false));
        nodes[3] = Some(testnet.restart(3));
        let full = full_node(&testnet, "late");
        let report = load.join().expect("the load ends");
        assert_eq!(report["final"], report["submitted"], "{report}");
        full
    });
    let mut urls = testnet.apis();
    urls.push(url.clone());
    for (what, node) in [("the validator", testnet.node_home(3)), ("the full node", home.path("late"))] {
        wait_for(&format!("{what} to start from a snapshot"), || {
            says(&node, "a snapshot of the state was installed").then_some(())
        });
    }
    send(&home, testnet.address(3), "7 mite", &[]);
    wait_for_agreement(&urls);
    let client = Client::new(&url).expect("a URL");
    let account = block_on(async { client.account(testnet.address(3)).await.expect("served") });
    assert_eq!(account.balance.mites(), balance(&home, testnet.address(3)));
    // What it had before is still there; what the snapshot passed over is not, and the node says so.
    let validator = Client::new(&testnet.apis()[3]).expect("a URL");
    assert!(block_on(async { validator.block(Some(1)).await }).is_ok());
    for node in [&validator, &client] {
        let refused = block_on(async { node.block(Some(off_height + 100)).await.expect_err("it is not there") });
        assert_eq!(refused.code(), Some(ProblemCode::NotKept), "{refused:?}");
    }
    // The validator does its part again: without one of the others there is no quorum but with it.
    nodes[1] = None;
    send(&home, testnet.address(2), "5 mite", &[]);
    drop(full);
}
