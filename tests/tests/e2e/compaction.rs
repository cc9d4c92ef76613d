//! `farthing-node compact`, on a validator that runs and on one that does not.

use super::{block_on, send, wait_for_agreement};
use crate::testnet::{Ended, Home, wait_for};
use farthing_client::Client;

#[test]
fn a_stopped_node_is_compacted_and_a_running_one_is_not() {
    let home = Home::new();
    let testnet = home.up(4);
    testnet.load(500, 3, false);
    let id = send(&home, testnet.address(1), "3 mite", &[])["id"].as_str().expect("an id").parse().expect("an id");
    let before = wait_for_agreement(&testnet.apis());
    let node_home = testnet.node_home(3);
    let compact = |more: &[&str]| {
        let output =
            testnet.home.command("farthing-node").args(["compact", "--home"]).arg(&node_home).args(more).output();
        Ended::from(output.expect("it runs"))
    };
    let refused = compact(&[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("in use by another process: stop it"), "{refused:?}");

    testnet.kill(3);
    wait_for("the killed validator's database to be free", || {
        let shown = compact(&[]);
        (shown.code == 0).then(|| assert!(shown.stdout.contains("bytes after"), "{shown:?}"))
    });
    let compacted = compact(&["--json"]).ok().json();
    let bytes = |what: &str| compacted[what].as_u64().expect("a number");
    let payloads = compacted["table_bytes"]["payloads"].as_u64().expect("a number");
    assert!(payloads > 1_000 * 150 && bytes("after_bytes") > payloads, "{compacted}");
    assert!(bytes("after_bytes") <= bytes("before_bytes"), "the second time there is nothing to gain: {compacted}");

    let restarted = testnet.restart(3);
    wait_for("the validator to answer", || super::status(&testnet.apis()[3]));
    let client = Client::new(&testnet.apis()[3]).expect("a URL");
    let status = block_on(async { client.transaction(&id).await.expect("it is there") });
    assert!(status.block.is_some_and(|block| block.height <= before.height) && status.transaction.is_some());
    send(&home, testnet.address(1), "1 mite", &[]);
    wait_for_agreement(&testnet.apis());
    drop(restarted);

    std::fs::remove_dir_all(node_home.join("database")).expect("removed");
    let missing = compact(&[]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("there is no database"), "{missing:?}");
}
