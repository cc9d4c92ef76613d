//! Payouts, payment requests, cancellations and offline checks, against a fake node.

mod support;

use farthing_core::block::ResultCode;
use std::time::Duration;
use support::{Behaviour, Node, Wallet, address, text};

fn setting() -> (Node, Wallet) {
    let node = Node::start();
    let wallet = Wallet::on(&[&node.url]);
    (node, wallet)
}

/// What account 2 has, in mites, beyond what it began with.
fn received(node: &Node) -> u64 {
    node.ledger.lock().unwrap().balances[&address(2)].mites() - 5_000_000_000
}

#[test]
fn a_payout_tells_every_mistake_in_the_file_and_pays_nothing() {
    let (node, wallet) = setting();
    let file = wallet.path("payout.csv");
    let check = |content: &str, code: i32, says: &[&str]| {
        std::fs::write(&file, content).unwrap();
        wallet.run(&["pay-many", &file]).fails(code, says);
    };
    let (good, missing) = (text(2), text(9));
    check("", 2, &["to,amount"]);
    check("address,amount\n", 2, &["to,amount"]);
    check("to,amount,memo\n", 2, &["\"memo\" is unknown"]);
    check("to,amount\n", 2, &["no rows"]);
    check(&format!("to,amount\n{good},1 FAR\n{good}\n"), 2, &["no CSV"]);
    let rows = format!("{good},1\n{good},0 FAR\nfarl1qqq,1 FAR\n{good},1 FAR\n");
    check(&format!("to,amount\n{rows}"), 2, &["line 2: ", "line 3: ", "1 mite", "line 4: ", "nothing was paid"]);
    check(&format!("to,amount,open\n{good},1 FAR,maybe\n"), 2, &["\"maybe\"", "neither yes nor no"]);
    check(&format!("to,amount\n{missing},1 FAR\n"), 4, &["line 2", "no account", "--open"]);
    check(&format!("to,amount\n{good},3 FAR\n{good},3 FAR\n"), 5, &["balance", "6 FAR"]);
    check(&format!("to,amount,open\n{missing},4.5 FAR,yes\n"), 5, &["which locks 1 FAR"]);
    wallet.run(&["pay-many", &wallet.path("none.csv")]).fails(2, &["there is no file"]);
    assert_eq!(node.submissions().len(), 0);
}

#[test]
fn a_payout_goes_on_where_it_stopped_and_pays_nothing_twice() {
    let (node, wallet) = setting();
    let file = wallet.path("payout.csv");
    let rows: String = (1..=5).map(|number| format!("\"{}\",\"{number} mite\", order {number} \n", text(2))).collect();
    std::fs::write(&file, format!("To,Amount,Reference\n{rows}")).unwrap();
    let pay = ["pay-many", &file, "--batch", "2", "--timeout", "2"];
    let dry = wallet.json(&[&pay[..], &["--dry-run"]].concat()).1;
    assert_eq!((&dry["rows"], &dry["total"], &dry["transactions"]), (&5.into(), &"15".into(), &3.into()), "{dry}");
    assert_eq!(node.submissions().len(), 0);

    // The second transaction hangs: nobody knows what became of it.
    node.set_next(&[Behaviour::Execute, Behaviour::Hold]);
    node.set_then(Behaviour::Hold);
    let stopped = wallet.run(&pay);
    stopped.fails(6, &["1 of 3 transactions are final", "lines 4 to 5", "pays nothing twice"]);
    assert_eq!(received(&node), 3);
    let sent = node.submissions().pop().unwrap();

    // It is executed meanwhile; the third one is rejected.
    node.execute_held();
    assert_eq!(received(&node), 3 + 7);
    node.set_next(&[Behaviour::Reject(ResultCode::InsufficientBalance)]);
    node.set_then(Behaviour::Execute);
    wallet.run(&pay).fails(5, &["2 of 3 transactions are final", "rejected"]);
    let done = wallet.run(&pay).ok();
    assert!(done.contains("paid 0.000000015 FAR in 5 rows and 3 transactions"), "{done}");
    assert_eq!(received(&node), 15);
    let submissions = node.submissions();
    assert!(submissions.iter().filter(|bytes| **bytes == sent).count() >= 1);
    let (_, again) = wallet.json(&pay);
    assert_eq!(again["transactions"].as_array().unwrap().len(), 3);
    assert_eq!((received(&node), node.submissions().len()), (15, submissions.len()), "nothing is sent any more");

    let results = std::fs::read_to_string(wallet.path("payout.csv.receipts/results.csv")).unwrap();
    let row: Vec<&str> = results.lines().nth(4).unwrap().split(',').collect();
    assert_eq!((row[0], row[1], row[2], row[5]), ("5", &*text(2), "0.000000004 FAR", "1"), "{results}");
    let verified = wallet.run(&["verify", &wallet.path(&format!("payout.csv.receipts/{}", row[8]))]).ok();
    assert!(verified.contains("2 payees") && verified.contains("executed"), "{verified}");
}

#[test]
fn a_request_is_read_back_and_paid() {
    let (node, wallet) = setting();
    let ask = ["request", "0.5", "FAR", "--to", &text(2), "--label", "Café", "--reference", "order 17"];
    let (code, request) = wallet.json(&ask);
    let uri = request["uri"].as_str().unwrap();
    assert_eq!(code, 0);
    assert!(uri.contains("amount=0.5FAR") && uri.contains("label=Caf%C3%A9"), "{uri}");
    assert!(wallet.run(&ask).ok().contains("█"));
    let paid = wallet.run(&["pay", uri]);
    assert!(paid.err.contains("Café"), "{paid:?}");
    paid.ok();
    assert_eq!(received(&node), 500_000_000);
    assert!(wallet.run(&["history"]).ok().contains("\"order 17\""));

    let open = wallet.json(&["request", "--to", &text(2)]).1["uri"].as_str().unwrap().to_string();
    wallet.run(&["pay", &open]).fails(2, &["--amount"]);
    wallet.run(&["pay", &open, "--amount", "1 mite"]).ok();
    wallet.run(&["pay", &format!("{open}&expires=5")]).fails(4, &["expired"]);
    wallet.run(&["pay", &format!("{open}&req-x=5")]).fails(2, &["req-x"]);
    wallet.run(&["pay", &text(2)]).fails(2, &["begins with"]);
    let elsewhere = address(2).encode(&"fart".parse().unwrap());
    wallet.run(&["pay", &format!("farthing:{elsewhere}?amount=1FAR")]).fails(2, &["\"fart\""]);
    wallet.run(&["request", "1 FAR", "--label", &"x".repeat(300)]).fails(2, &["256"]);
}

#[test]
fn a_payment_that_nobody_has_executed_yet_can_be_cancelled() {
    let (node, wallet) = setting();
    node.set_then(Behaviour::Hold);
    wallet.run(&["send", &text(2), "1 FAR", "--no-wait"]).ok();
    assert_eq!(wallet.open_payments(), ["1.json"]);
    node.ledger.lock().unwrap().held.clear();
    node.set_next(&[Behaviour::Reject(ResultCode::NoSuchHold)]);
    let cancelled = wallet.run(&["cancel", "1"]).ok();
    assert!(cancelled.contains("number 1 is cancelled"), "{cancelled}");
    assert_eq!(wallet.open_payments(), [""; 0]);
    node.set_then(Behaviour::Execute);
    assert_eq!(wallet.json(&["send", &text(2), "1 FAR"]).1["nonce"], 2);
    assert_eq!(received(&node), 1_000_000_000);

    // Another command of the wallet may be asking what became of it: that is waited for, as long as one is willing to wait.
    node.set_next(&[Behaviour::Hold]);
    wallet.run(&["send", &text(2), "1 FAR", "--no-wait"]).ok();
    let open = wallet.open_payments()[0].clone();
    node.ledger.lock().unwrap().held.clear();
    node.set_next(&[Behaviour::Reject(ResultCode::NoSuchHold)]);
    let other = wallet.lock_for(&open, Duration::from_secs(3));
    let nonce = open.trim_end_matches(".json");
    wallet.run(&["cancel", nonce, "--timeout", "1"]).fails(2, &["another process of this wallet"]);
    assert!(wallet.run(&["cancel", nonce]).ok().contains("is cancelled"));
    other.join().unwrap();
    wallet.run(&["cancel", "0"]).fails(2, &["no transaction has the number"]);
}

#[test]
fn commands_that_need_limits_ask_for_them() {
    let (node, wallet) = setting();
    let key = "11".repeat(32);
    wallet.run(&["keys", "delegate", &key]).fails(2, &["how much may the key spend"]);
    wallet.run(&["keys", "delegate", &key, "--per-day", "2"]).fails(2, &["no unit"]);
    wallet.run(&["keys", "delegate", "nobody", "--per-day", "2FAR"]).fails(2, &["neither the name of a key"]);
    wallet.run(&["keys", "delegate", "dev-1", "--per-day", "2FAR"]).fails(2, &["own key"]);
    wallet.run(&["policy", "set"]).fails(2, &["nothing to set"]);
    wallet.run(&["hold", "open", &text(2), "1 FAR", "--expires", "500d"]).fails(2, &["400d"]);
    wallet.run(&["hold", "open", &text(2), "1 FAR", "--expires", "5w"]).fails(2, &["time span"]);
    wallet.run(&["channel", "open", &text(2), "1 FAR", "--close-delay", "1m"]).fails(2, &["1h to 30d"]);
    wallet.run(&["channel", "receive", "00"]).fails(2, &["208 hexadecimal digits"]);
    wallet.run(&["channel", "pay", &key, "1 mite"]).fails(4, &["did not open it"]);
    assert!(wallet.run(&["channel", "status"]).ok().contains("no channels"));
    let secret = wallet.json(&["hold", "secret"]).1;
    assert_eq!(secret["preimage"].as_str().unwrap().len(), 64);
    assert_eq!(node.submissions().len(), 0);
}
