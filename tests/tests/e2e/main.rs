//! End to end: real processes, real sockets, real disks, driven by the commands that people use.
//!
//! The programs must have been built (`tests/run` does). Each test has a testnet of its own.

mod compaction;
mod full_nodes;
mod payments;
mod repair;
mod snapshot;
mod testnet;

use farthing_client::{Client, NodeStatus};
use farthing_core::genesis::Genesis;
use serde_json::Value;
use std::fs;
use std::time::Duration;
use testnet::{Ended, Home, Testnet, wait_for};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn status(url: &str) -> Option<NodeStatus> {
    block_on(async { Client::new(url).expect("a good URL").status().await.ok() })
}

/// Waits until all nodes have the same newest block and state.
fn wait_for_agreement(urls: &[String]) -> NodeStatus {
    wait_for("the same state everywhere", || {
        let all: Option<Vec<_>> = urls.iter().map(|url| status(url)).collect();
        let all = all?;
        let same = |other: &NodeStatus| {
            other.block_hash == all[0].block_hash && other.state_root.root == all[0].state_root.root
        };
        all.iter().all(same).then(|| all[0].clone())
    })
}

fn balance(home: &Home, account: &str) -> u64 {
    let answer = home.wallet(&["--output", "json", "balance", account]).ok().json();
    answer["balance"].as_str().expect("an amount").parse().expect("mites")
}

fn send(home: &Home, to: &str, amount: &str, more: &[&str]) -> Value {
    let arguments = [&["--output", "json", "send", to, amount], more].concat();
    home.wallet(&arguments).ok().json()
}

#[test]
fn transfers_are_final_alike_on_all_validators_and_survive_a_restart() {
    let home = Home::new();
    let before = {
        let testnet = home.up(4);
        let report = testnet.load(500, 4, true);
        assert_eq!(report["submitted"], 2_000, "{report}");
        assert_eq!(report["final"], 2_000, "{report}");
        let before = balance(&home, testnet.address(1));
        send(&home, testnet.address(1), "0.0025 FAR", &[]);
        assert_eq!(balance(&home, testnet.address(1)), before + 2_500_000);
        let history = home.wallet(&["--output", "json", "history", testnet.address(1)]).ok().json();
        assert_eq!(history["entries"][0]["amount"], "2500000", "{history}");
        wait_for_agreement(&testnet.apis())
    };
    let testnet = home.up(4);
    let after = wait_for_agreement(&testnet.apis());
    assert!(after.height > before.height, "the first transfer of the second start came on top");
    wait_for("the testnet to idle: at most a few rounds a second", || {
        let from = status(&testnet.apis()[0])?.round;
        std::thread::sleep(Duration::from_secs(2));
        let rounds = status(&testnet.apis()[0])?.round - from;
        (rounds <= 8).then_some(())
    });
    let report = testnet.load_with(600, 5, &["--mixed", "--check"]);
    assert_eq!(report["final"], report["submitted"], "nothing of a mix of all operations is rejected: {report}");
}

#[test]
fn with_one_validator_killed_transfers_go_on_and_it_catches_up() {
    let home = Home::new();
    let testnet = home.up(4);
    testnet.load(300, 2, false);
    testnet.kill(3);
    let report = testnet.load(300, 4, false);
    assert_eq!(report["final"], report["submitted"], "{report}");
    send(&home, testnet.address(2), "25 mite", &[]);
    let _node = testnet.restart(3);
    testnet.load(300, 2, false);
    wait_for_agreement(&testnet.apis());
}

#[test]
fn receipts_and_proofs_verify_and_nothing_else_does() {
    let home = Home::new();
    let testnet = home.up(4);
    let id = send(&home, testnet.address(1), "1 FAR", &["--reference", "invoice 42"])["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let saved = home.path("receipt.json");
    let saved = saved.to_str().expect("UTF-8");
    let receipt = wait_for("a certificate", || {
        let receipt = home.wallet(&["--output", "json", "receipt", &id, "--save", saved]);
        (receipt.code == 0).then(|| receipt.json())
    });
    assert!(receipt.to_string().contains("validator-1") || receipt.to_string().contains("validator-2"), "{receipt}");
    home.wallet(&["receipt", "--file", saved]).ok();

    let text = fs::read_to_string(saved).expect("saved");
    let mut damaged: Value = serde_json::from_str(&text).expect("JSON");
    flip_a_bit(&mut damaged["header"]["transactions_root"]);
    let bad = home.path("bad.json");
    fs::write(&bad, damaged.to_string()).expect("room");
    let refused = home.wallet(&["receipt", "--file", bad.to_str().expect("UTF-8")]);
    assert_ne!(refused.code, 0, "{refused:?}");

    // The same receipt under another genesis document.
    let genesis = fs::read_to_string(testnet.genesis()).expect("the document");
    let other = home.path("other.json");
    fs::write(&other, genesis.replace("farthing-local", "farthing-other")).expect("room");
    let other = other.to_str().expect("UTF-8");
    let api = &testnet.apis()[0];
    home.wallet(&["profile", "add", "other", "--api", api, "--genesis", other]).ok();
    let refused = home.wallet(&["--profile", "other", "receipt", "--file", saved]);
    assert_ne!(refused.code, 0, "{refused:?}");
    let refused = home.wallet(&["--profile", "other", "balance", "dev-1"]);
    assert_ne!(refused.code, 0, "a node of another network is not asked: {refused:?}");

    let genesis = Genesis::from_json(&genesis).expect("valid");
    let proof = wait_for("a rooted and certified state with the account", || {
        send(&home, testnet.address(2), "1 mite", &[]);
        block_on(async { Client::new(api).expect("a URL").account_proof(testnet.address(1)).await.ok() })
    });
    proof.verify(&genesis).expect("the proof holds");
    // A root is of the state up to a second ago: some time passes before one covers the payment.
    let paid = balance(&home, testnet.address(1)).to_string();
    let proven = wait_for("a certified root that covers the payment", || {
        send(&home, testnet.address(2), "1 mite", &[]);
        let proven = home.wallet(&["--output", "json", "balance", testnet.address(1), "--verify"]).ok().json();
        (proven["balance"] == paid).then_some(proven)
    });
    assert!(proven["verified"]["before_height"].as_u64() >= Some(proof.header.height), "{proven}");
}

fn flip_a_bit(hex: &mut Value) {
    let text = hex.as_str().expect("hexadecimal");
    let flipped = if text.starts_with('0') { "1" } else { "0" };
    *hex = Value::String(format!("{flipped}{}", &text[1..]));
}

#[test]
fn mistakes_get_a_clear_message_and_the_right_exit_code() {
    let home = Home::new();
    let testnet = home.up(4);
    let somebody = testnet.address(1).to_owned();
    let mistyped = somebody.replace(somebody.chars().last().expect("not empty"), "q") + "q";
    let stranger = "farl1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";
    let other_network =
        Genesis::from_json(&fs::read_to_string(testnet.genesis()).expect("the document")).expect("valid");
    let other_network = other_network.accounts()[0].0.encode(&"far".parse().expect("a prefix"));
    let newcomer = new_address(&home);
    let expect = |arguments: &[&str], code: i32, says: &str| {
        let ended: Ended = home.wallet(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains(says), "{arguments:?} should say {says:?}: {said}");
    };
    expect(&["send", &mistyped, "1 mite"], 2, "address");
    expect(&["send", stranger, "1 mite"], 2, "address");
    expect(&["send", &other_network, "1 mite"], 2, "network");
    expect(&["send", &somebody, "0.0000000001 FAR"], 2, "decimals");
    expect(&["send", &somebody, "5"], 2, "unit");
    expect(&["send", &somebody, "100000000 FAR"], 5, "balance");
    expect(&["send", &newcomer, "1 FAR"], 4, "--open");
    expect(&["--profile", "nowhere", "balance", "dev-1"], 2, "nowhere");
    home.wallet(&[
        "profile",
        "add",
        "down",
        "--api",
        "http://127.0.0.1:9",
        "--genesis",
        testnet.genesis().to_str().expect("UTF-8"),
    ])
    .ok();
    expect(&["--profile", "down", "balance", "dev-1"], 3, "127.0.0.1:9");
    send(&home, &newcomer, "1 FAR", &["--open"]);
    assert_eq!(balance(&home, &newcomer), 1_000_000_000);
    second_starts_are_refused(&testnet);
}

/// An address that has no account yet.
fn new_address(home: &Home) -> String {
    home.wallet(&["--output", "json", "keys", "new", "--name", "newcomer", "--no-password"]).ok();
    let keys = home.wallet(&["--output", "json", "keys", "list"]).ok().json();
    let keys = keys["keys"].as_array().or(keys.as_array()).expect("a list").clone();
    let key = keys.iter().find(|key| key["name"] == "newcomer").expect("the new key");
    key["address"].as_str().expect("an address").to_owned()
}

fn second_starts_are_refused(testnet: &Testnet<'_>) {
    let second = testnet.home.command("farthing-node").arg("run").arg("--home").arg(testnet.node_home(0)).output();
    let second = Ended::from(second.expect("it runs"));
    assert_ne!(second.code, 0);
    assert!(second.stderr.contains("in use"), "{second:?}");
    let second =
        testnet.home.command("farthing-testnet").args(["up", "--state"]).arg(testnet.home.path("state")).output();
    assert_ne!(Ended::from(second.expect("it runs")).code, 0);
}
