//! Keys, profiles, receipts and what the other commands print, against a fake node.

mod support;

use std::os::unix::fs::PermissionsExt;
use support::{Node, Wallet, genesis, text};

#[test]
fn the_launcher_can_set_a_wallet_up_without_a_terminal() {
    let wallet = Wallet::empty();
    let import = ["keys", "import", "--name", "dev-1", "--no-password", "--seed-file", "-"];
    let seed = hex::encode([1; 32]);
    wallet.run_with_input(&import, &seed).ok();
    assert!(wallet.run_with_input(&import, &seed).ok().contains("there already"), "a second start of the launcher");
    wallet.run_with_input(&import, &hex::encode([2; 32])).fails(2, &["another key named"]);

    for (index, timestamp_ms) in [1_000, 1_000, 2_000].into_iter().enumerate() {
        std::fs::write(wallet.path("genesis.json"), genesis(timestamp_ms).to_json()).unwrap();
        let api = format!("http://127.0.0.1:{}", 8_080 + index);
        let file = wallet.path("genesis.json");
        wallet.run(&["profile", "add", "local", "--api", &api, "--genesis", &file, "--from", "dev-1", "--use"]).ok();
    }
    let (_, profile) = wallet.json(&["profile", "show"]);
    assert_eq!((&profile["name"], &profile["from"]), (&"local".into(), &"dev-1".into()));
    assert_eq!(profile["chain"], genesis(2_000).chain_hash().to_string());
    assert_eq!(profile["api"][0], "http://127.0.0.1:8082");
    assert_eq!(wallet.json(&["keys", "list"]).1["keys"][0]["address"], text(1));
}

#[test]
fn keys_survive_a_round_trip_over_their_words() {
    let wallet = Wallet::empty();
    let (code, made) = wallet.json(&["keys", "new", "--name", "a", "--no-password"]);
    assert_eq!(code, 0);
    let words = made["words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 24);
    wallet.run_with_input(&["keys", "import", "--name", "b", "--no-password", "--file", "-"], words).ok();
    let (_, list) = wallet.json(&["keys", "list"]);
    assert_eq!(list["keys"][0]["public_key"], list["keys"][1]["public_key"]);
    assert_eq!(list["keys"][0]["public_key"], made["public_key"]);
    wallet.run(&["keys", "new", "--name", "a", "--no-password"]).fails(2, &["already"]);
    wallet.run(&["keys", "new", "--name", "../a", "--no-password"]).fails(2, &["not a name"]);
    let (all_but_one, _) = words.rsplit_once(' ').unwrap();
    wallet
        .run_with_input(&["keys", "import", "--name", "c", "--no-password", "--file", "-"], all_but_one)
        .fails(2, &["23 words given"]);
}

#[test]
fn passwords_protect_keys_and_are_asked_for_on_terminals_only() {
    let node = Node::start();
    let wallet = Wallet::on(&[&node.url]);
    std::fs::write(wallet.path("seed"), hex::encode([1; 32])).unwrap();
    let seed_file = wallet.path("seed");
    let import = ["keys", "import", "--name", "safe", "--file", &seed_file];
    wallet.run(&import).fails(2, &["no terminal", "--password-file"]);
    wallet.run_with_input(&[&import[..], &["--password-file", "-"]].concat(), "\n").fails(2, &["empty"]);
    wallet.run_with_input(&[&import[..], &["--password-file", "-"]].concat(), "open sesame\n").ok();

    let file = wallet.path("home/keys/safe.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&hex::encode([1; 32])));

    let send = ["send", &text(2), "1 FAR", "--from", "safe"];
    wallet.run(&send).fails(2, &["no terminal", "--password-file"]);
    let with_password = [&send[..], &["--password-file", "-"]].concat();
    wallet.run_with_input(&with_password, "open sesam\n").fails(2, &["wrong password"]);
    assert_eq!(node.submissions().len(), 0);
    assert!(wallet.run_with_input(&with_password, "open sesame\n").ok().starts_with("final in "));

    let export = ["keys", "export", "safe", "--password-file", "-"];
    wallet.run_with_input(&export, "open sesame\n").fails(2, &["--yes"]);
    let exported = wallet.run_with_input(&[&export[..], &["--yes"]].concat(), "open sesame\n").ok();
    assert_eq!(exported.trim(), hex::encode([1; 32]));
}

#[test]
fn a_receipt_is_checked_saved_and_checked_again_without_a_network() {
    let node = Node::start();
    let wallet = Wallet::on(&[&node.url]);
    let id = wallet.json(&["send", &text(2), "1 FAR"]).1["id"].as_str().unwrap().to_string();
    let file = wallet.path("receipt.json");
    let out = wallet.run(&["receipt", &id, "--save", &file]).ok();
    assert!(out.contains("executed") && out.contains("by 3 of 4 validators: alpha, beta, delta"), "{out}");
    wallet.run(&["receipt", &"00".repeat(32)]).fails(4, &["no such transaction"]);
    wallet.run(&["receipt", "00"]).fails(2, &["64 hexadecimal digits"]);

    drop(node);
    wallet.run(&["receipt", &id]).fails(3, &["no node answers"]);
    let (code, value) = wallet.json(&["receipt", "--file", &file]);
    assert_eq!((code, &value["valid"], &value["id"]), (0, &true.into(), &id.clone().into()));
    assert_eq!(value["certified_by"], serde_json::json!(["alpha", "beta", "delta"]));
    wallet.run(&["receipt", &"00".repeat(32), "--file", &file]).fails(4, &["not of"]);

    let receipt = std::fs::read_to_string(&file).unwrap();
    for (old, new) in [("\"executed\"", "\"no_such_account\""), ("\"height\": 1", "\"height\": 2")] {
        std::fs::write(&file, receipt.replace(old, new)).unwrap();
        wallet.run(&["receipt", "--file", &file]).fails(4, &["proves nothing"]);
    }
    std::fs::write(&file, "{}").unwrap();
    wallet.run(&["receipt", "--file", &file]).fails(2, &["not a receipt"]);

    std::fs::write(&file, receipt).unwrap();
    let other = wallet.path("other.json");
    std::fs::write(&other, genesis(2_000).to_json()).unwrap();
    wallet.run(&["profile", "add", "other", "--api", "http://127.0.0.1:9", "--genesis", &other]).ok();
    wallet.run(&["receipt", "--file", &file, "--profile", "other"]).fails(4, &["for this network"]);
}

#[test]
fn profiles_pin_their_genesis_document() {
    let node = Node::start();
    let wallet = Wallet::empty();
    wallet.run(&["balance"]).fails(2, &["no network is set up yet"]);
    let add = ["profile", "add", "main", "--api", &node.url];
    wallet.run(&add).fails(2, &["--genesis"]);
    wallet.run(&[&add[..], &["--chain", &"11".repeat(32)]].concat()).fails(2, &["another network"]);
    let chain = genesis(1_000).chain_hash().to_string();
    wallet.run(&[&add[..], &["--chain", &chain]].concat()).ok();
    assert_eq!(wallet.json(&["profile", "list"]).1["profiles"][0]["current"], true, "the first is the current one");
    wallet.run(&["profile", "use", "none"]).fails(2, &["no profile \"none\"", "main"]);
    wallet.run(&["profile", "add", "x", "--api", "node.example", "--genesis", "g"]).fails(2, &["http"]);

    let pinned = wallet.path(&format!("home/genesis/{chain}.json"));
    std::fs::write(&pinned, genesis(2_000).to_json()).unwrap();
    wallet.run(&["status"]).fails(2, &["was changed"]);
    std::fs::remove_file(&pinned).unwrap();
    wallet.run(&["status"]).fails(1, &["is missing"]);
}

#[test]
fn status_shows_every_node_also_those_that_do_not_answer() {
    let node = Node::start();
    let wallet = Wallet::on(&["http://127.0.0.1:9", &node.url]);
    let out = wallet.run(&["status"]).ok();
    assert!(out.contains("cannot connect") && out.contains("alpha") && out.contains("ready"), "{out}");
    let (code, value) = wallet.json(&["status"]);
    assert_eq!(code, 0);
    assert!(value["nodes"][0]["error"].is_string());
    assert_eq!(value["nodes"][1]["status"]["validator"], "alpha");
}

#[test]
fn accounts_are_named_by_address_or_by_key() {
    let node = Node::start();
    let wallet = Wallet::on(&[&node.url]);
    for argument in [None, Some("dev-1"), Some(&*text(1))] {
        let (code, value) = wallet.json(&[&["balance"][..], &argument.into_iter().collect::<Vec<_>>()].concat());
        assert_eq!((code, &value["balance"]), (0, &"5000000000".into()), "{argument:?}");
    }
    wallet.run(&["balance", &text(9)]).fails(4, &["no account yet", "--open"]);
    assert_eq!(wallet.run(&["history"]).ok().trim(), "nothing yet");
    wallet.run(&["send", &text(1), "1 FAR"]).ok();
    assert!(wallet.run(&["history", "dev-1"]).ok().contains("+1 FAR"));
}

#[test]
fn a_wrong_command_line_is_one_json_object_too() {
    let wallet = Wallet::empty();
    for arguments in [&["frobnicate"][..], &["send"], &["balance", "--timeout", "x"], &["keys"]] {
        let (code, value) = wallet.json(arguments);
        assert_eq!((code, &value["error"]["code"]), (2, &"usage".into()), "{arguments:?}");
    }
    assert!(wallet.run(&["--version"]).ok().starts_with("farthing "));
    assert!(wallet.run(&["completions", "bash"]).ok().contains("_farthing"));
}
