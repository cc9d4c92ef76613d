//! `farthing send` and the payments whose outcome is open, against a fake node.

mod support;

use farthing_client::DroppedReason;
use farthing_core::block::ResultCode;
use farthing_core::hash::Digest;
use std::time::Duration;
use support::{Behaviour, Node, Wallet, text};

/// An address where nothing listens.
const NOBODY: &str = "http://127.0.0.1:9";

fn setting() -> (Node, Wallet) {
    let node = Node::start();
    let wallet = Wallet::on(&[&node.url]);
    (node, wallet)
}

#[test]
fn a_payment_is_final_and_says_how_long_it_took() {
    let (node, wallet) = setting();
    let out = wallet.run(&["send", &text(2), "0.0025", "FAR", "--reference", "order 17"]).ok();
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!([words[0], words[1], words[3], words[4], words[5], words[6]], ["final", "in", "ms", "block", "1", "id"]);
    assert!(words[2].parse::<u64>().is_ok() && words[7].len() == 64, "{out}");
    assert_eq!(out.lines().count(), 1);
    assert_eq!(wallet.open_payments(), [""; 0]);

    let (code, value) = wallet.json(&["send", &text(2), "1 mite"]);
    assert_eq!((code, &value["status"], &value["nonce"]), (0, &"executed".into(), &2.into()));
    assert_eq!((&value["amount"], &value["to"]), (&"1".into(), &text(2).into()));
    assert_eq!(value["block"]["height"], 2);

    let history = wallet.run(&["history"]).ok();
    assert!(history.contains("-0.0025 FAR") && history.contains("\"order 17\""), "{history}");
    assert!(wallet.run(&["balance"]).ok().contains("4.997499999 FAR"));
    assert_eq!(node.submissions().len(), 2);
}

#[test]
fn what_the_wallet_can_know_is_refused_before_anything_is_signed() {
    let (node, wallet) = setting();
    let mistyped = text(2).replace("farl1q", "farl1p");
    let elsewhere = support::address(2).encode(&"fart".parse().unwrap());
    for (arguments, code, name, message) in [
        (&["send", &mistyped, "1 FAR"][..], 2, "malformed_address", "typing"),
        (&["send", &elsewhere, "1 FAR"], 2, "wrong_network", "\"fart\""),
        (&["send", "nobody", "1 FAR"], 2, "malformed_address", "nor is there a key"),
        (&["send", &text(2), "1"], 2, "malformed_amount", "no unit"),
        (&["send", &text(2), "0.0000000001 FAR"], 2, "malformed_amount", "10 decimals"),
        (&["send", &text(2), "1.5 mite"], 2, "malformed_amount", "decimals"),
        (&["send", &text(2), "0 FAR"], 2, "malformed_amount", "at least 1 mite"),
        (&["send", &text(2), "6 FAR"], 5, "insufficient_funds", "the balance is 5 FAR"),
        (&["send", &text(9), "1 FAR"], 4, "no_such_account", "--open"),
        (&["send", &text(9), "4.5 FAR", "--open"], 5, "insufficient_funds", "reserve"),
        (&["send", &text(2), "1 FAR", "--from", "other"], 2, "usage", "no key named"),
        (
            &["send", &text(2), "1 FAR", "--reference", "a text of more than 32 bytes, to be sure"],
            2,
            "usage",
            "32 bytes",
        ),
        (&["send", &text(2)], 2, "usage", "AMOUNT"),
        (&["send", &text(2), "1 FAR", "--profile", "main"], 2, "usage", "no profile"),
    ] {
        wallet.run(arguments).fails(code, &[message]);
        let (found, value) = wallet.json(arguments);
        assert_eq!((found, &value["error"]["code"]), (code, &name.into()), "{arguments:?}");
        assert_eq!(value["error"]["exit_code"], code);
        assert!(value["error"]["message"].as_str().unwrap().contains(message), "{value}");
    }
    assert_eq!(node.submissions().len(), 0);
    assert_eq!(wallet.open_payments(), [""; 0]);
}

#[test]
fn a_payee_without_an_account_is_paid_with_open() {
    let (node, wallet) = setting();
    wallet.run(&["send", &text(9), "1 FAR", "--open"]).ok();
    let ledger = node.ledger.lock().unwrap();
    assert!(ledger.receipts.values().next().unwrap().transaction.transaction.outputs()[0].open);
}

#[test]
fn refusals_of_the_network_have_their_exit_codes_and_leave_nothing_open() {
    let (node, wallet) = setting();
    for (behaviour, code, name) in [
        (Behaviour::Reject(ResultCode::InsufficientBalance), 5, "insufficient_funds"),
        (Behaviour::Reject(ResultCode::InsufficientReserve), 5, "insufficient_funds"),
        (Behaviour::Reject(ResultCode::NoSuchAccount), 4, "no_such_account"),
        (Behaviour::Reject(ResultCode::AmountOverflow), 4, "rejected"),
        (Behaviour::Drop(DroppedReason::NonceUsed), 4, "dropped"),
        (Behaviour::Drop(DroppedReason::BadSignature), 4, "dropped"),
        (Behaviour::Drop(DroppedReason::Expired), 4, "expired"),
        (Behaviour::Expire, 4, "expired"),
    ] {
        node.set_next(&[behaviour]);
        let (found, value) = wallet.json(&["send", &text(2), "1 FAR"]);
        assert_eq!((found, &value["error"]["code"]), (code, &name.into()), "{behaviour:?}: {value}");
        assert_eq!(value["error"]["id"].as_str().unwrap().len(), 64);
        assert!(value["error"]["message"].as_str().unwrap().contains("nothing was paid"), "{value}");
        assert_eq!(wallet.open_payments(), [""; 0], "{behaviour:?}");
    }
}

#[test]
fn a_node_that_is_full_or_not_ready_is_tried_again() {
    let (node, wallet) = setting();
    let full = [DroppedReason::MempoolFull, DroppedReason::SenderLimit].map(Behaviour::Drop);
    node.set_next(&[full[0], full[1], Behaviour::Busy]);
    wallet.run(&["send", &text(2), "1 FAR"]).ok();
    assert_eq!(node.submissions().len(), 4);

    node.set_then(Behaviour::Busy);
    wallet.run(&["send", &text(2), "1 FAR", "--timeout", "1"]).fails(3, &["mempool is full"]);
    assert_eq!(wallet.open_payments(), [""; 0], "no node has it");

    node.set_then(Behaviour::Drop(DroppedReason::MempoolFull));
    wallet.run(&["send", &text(2), "1 FAR", "--timeout", "1"]).fails(4, &["no node took the payment"]);
    assert_eq!(wallet.open_payments(), [""; 0]);
}

#[test]
fn the_next_address_is_asked_when_one_does_not_answer() {
    let node = Node::start();
    let wallet = Wallet::on(&[NOBODY, &node.url]);
    wallet.run(&["send", &text(2), "1 FAR"]).ok();

    let alone = Wallet::on(&[NOBODY, "http://127.0.0.1:10"]);
    for arguments in [&["send", &text(2), "1 FAR"][..], &["balance"], &["status"], &["history"]] {
        alone.run(arguments).fails(3, &["no node answers", "127.0.0.1:9", "127.0.0.1:10"]);
        let (code, value) = alone.json(arguments);
        assert_eq!((code, &value["error"]["code"]), (3, &"unreachable".into()));
        assert_eq!(value["error"]["tried"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn what_was_paid_is_seen_whichever_node_took_it() {
    let (behind, current) = (Node::start(), Node::start());
    let wallet = Wallet::on(&[&behind.url, &current.url]);
    behind.set_then(Behaviour::Busy);
    wallet.run(&["send", &text(2), "1 FAR"]).ok();
    assert!(wallet.run(&["balance"]).ok().contains("4 FAR"), "the first node has not executed it");
    drop(current);
    assert!(wallet.run(&["balance"]).ok().contains("5 FAR"), "an old answer is better than none");
}

#[test]
fn a_node_that_is_catching_up_is_asked_last() {
    let (behind, current) = (Node::start(), Node::start());
    behind.ledger.lock().unwrap().is_ready = false;
    Wallet::on(&[&current.url]).run(&["send", &text(2), "1 FAR"]).ok();
    assert!(Wallet::on(&[&behind.url, &current.url]).run(&["balance"]).ok().contains("4 FAR"));
    assert!(Wallet::on(&[&behind.url, NOBODY]).run(&["balance"]).ok().contains("5 FAR"));
}

#[test]
fn the_time_to_wait_begins_when_the_payment_is_written_down() {
    let (_node, wallet) = setting();
    wallet.run(&["send", &text(2), "1 FAR"]).ok();
    let other = wallet.lock_for("lock", Duration::from_millis(1_500));
    wallet.run(&["send", &text(2), "1 FAR", "--timeout", "1"]).ok();
    other.join().unwrap();
}

#[test]
fn a_node_on_another_network_is_refused() {
    let (node, wallet) = setting();
    node.ledger.lock().unwrap().other_chain = Some(Digest([9; 32]));
    for arguments in [&["send", &text(2), "1 FAR"][..], &["balance"]] {
        wallet.run(arguments).fails(2, &["another network", &node.url]);
        assert_eq!(wallet.json(arguments).1["error"]["code"], "wrong_network");
    }
    assert_eq!(node.submissions().len(), 0);
}

#[test]
fn lost_answers_and_lost_requests_are_made_good_with_identical_bytes() {
    let (node, wallet) = setting();
    node.set_next(&[Behaviour::LoseRequest, Behaviour::LoseAnswer]);
    wallet.run(&["send", &text(2), "1 FAR"]).ok();
    let submissions = node.submissions();
    assert_eq!(submissions.len(), 3, "lost, executed without an answer, answered");
    assert!(submissions.iter().all(|bytes| *bytes == submissions[0]));
    assert!(wallet.run(&["balance"]).ok().contains("4 FAR"), "paid once");
    assert_eq!(wallet.open_payments(), [""; 0]);
}

#[test]
fn the_same_bytes_go_to_the_other_address() {
    let (first, second) = (Node::start(), Node::start());
    let wallet = Wallet::on(&[&first.url, &second.url]);
    first.set_then(Behaviour::LoseRequest);
    wallet.run(&["send", &text(2), "1 FAR"]).ok();
    assert_eq!(first.submissions(), second.submissions());
    assert_eq!(second.ledger.lock().unwrap().receipts.len(), 1);
}

#[test]
fn an_unknown_outcome_is_said_kept_and_settled_later() {
    let (node, wallet) = setting();
    node.set_then(Behaviour::Hold);
    let run = wallet.run(&["send", &text(2), "1 FAR", "--timeout", "1"]);
    run.fails(6, &["outcome is not known", "farthing pending", "do not pay again"]);
    assert_eq!(wallet.open_payments(), ["1.json"]);
    assert_eq!(wallet.json(&["pending"]).1["payments"][0]["status"], "open");
    assert_eq!(wallet.open_payments(), ["1.json"], "asking does not settle it");

    let (code, value) = wallet.json(&["send", &text(2), "2 FAR", "--timeout", "1"]);
    assert_eq!((code, &value["error"]["code"]), (6, &"outcome_unknown".into()));
    assert!(value["error"]["id"].is_string() && value["error"]["valid_until_ms"].is_u64(), "{value}");

    node.execute_held();
    let (code, value) = wallet.json(&["resume"]);
    assert_eq!(code, 0);
    let payments = value["payments"].as_array().unwrap();
    assert_eq!(payments.iter().map(|payment| &payment["status"]).collect::<Vec<_>>(), ["executed", "executed"]);
    assert_eq!(wallet.open_payments(), [""; 0]);
    assert_eq!(wallet.run(&["pending"]).ok().trim(), "no payment is open");
}

#[test]
fn a_node_that_hangs_leaves_the_outcome_unknown_within_the_time_given() {
    let (node, wallet) = setting();
    node.set_then(Behaviour::Hang);
    wallet.run(&["send", &text(2), "1 FAR", "--timeout", "1"]).fails(6, &["the time was up"]);
    assert_eq!(wallet.open_payments(), ["1.json"]);
}

#[test]
fn the_next_command_sends_a_payment_again_that_no_node_has() {
    let (node, wallet) = setting();
    node.set_then(Behaviour::LoseRequest);
    wallet.run(&["send", &text(2), "1 FAR", "--timeout", "1"]).fails(6, &["not known"]);
    let bytes = node.submissions()[0].clone();

    node.set_then(Behaviour::Execute);
    let run = wallet.run(&["balance"]);
    assert!(run.err.contains("an earlier payment") && run.err.contains("executed"), "{run:?}");
    assert!(run.ok().contains("4 FAR"));
    assert!(node.submissions().iter().all(|submission| *submission == bytes));
    assert_eq!(wallet.open_payments(), [""; 0]);
}

#[test]
fn of_a_payment_that_is_long_over_every_node_is_asked() {
    let (young, old) = (Node::start(), Node::start());
    let wallet = Wallet::on(&[&young.url, &old.url]);
    young.set_then(Behaviour::Busy);
    old.set_then(Behaviour::Hold);
    wallet.run(&["send", &text(2), "1 FAR", "--timeout", "1"]).fails(6, &["not known"]);
    old.execute_held();
    // The first node began later: it knows that the nonce was used, and not by what.
    {
        let mut ledger = young.ledger.lock().unwrap();
        ledger.nonces.push(1);
        ledger.timestamp_ms = u64::MAX;
    }
    assert_eq!(wallet.json(&["pending"]).1["payments"][0]["status"], "executed");
    assert_eq!(wallet.open_payments(), [""; 0]);
}

#[test]
fn a_height_that_no_block_has_does_not_make_nodes_suspicious_for_ever() {
    let (first, second) = (Node::start(), Node::start());
    let wallet = Wallet::on(&[&first.url, &second.url]);
    wallet.run(&["send", &text(2), "1 FAR"]).ok();
    let heights = wallet.journal().parent().unwrap().parent().unwrap().parent().unwrap().join("heights");
    let file = std::fs::read_dir(heights).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
    std::fs::write(&file, u64::MAX.to_string()).unwrap();
    assert!(wallet.run(&["balance"]).ok().contains("4 FAR"), "the first node is asked");
}

#[test]
fn a_payment_that_can_never_execute_any_more_is_not_sent_again() {
    let (node, wallet) = setting();
    node.set_then(Behaviour::LoseRequest);
    wallet.run(&["send", &text(2), "1 FAR", "--timeout", "1"]).fails(6, &["not known"]);
    let sent = node.submissions().len();

    // The network's time passes the payment's validity, and its nonce is still unused: the proof that it never executed.
    node.ledger.lock().unwrap().timestamp_ms = u64::MAX;
    assert_eq!(wallet.json(&["pending"]).1["payments"][0]["status"], "expired");
    assert_eq!(node.submissions().len(), sent);
    assert_eq!(wallet.open_payments(), [""; 0]);
}

#[test]
fn no_wait_returns_before_finality_and_leaves_the_rest_to_later_commands() {
    let (node, wallet) = setting();
    node.set_then(Behaviour::Hold);
    assert!(wallet.run(&["send", &text(2), "1 FAR", "--no-wait"]).ok().starts_with("accepted in "));
    assert_eq!(wallet.open_payments(), ["1.json"]);
    node.execute_held();
    node.set_then(Behaviour::Execute);
    wallet.run(&["send", &text(2), "1 FAR"]).ok();
    assert_eq!(wallet.open_payments(), [""; 0]);
}

#[test]
fn many_wallets_at_once_never_share_a_nonce() {
    let (node, wallet) = setting();
    let payments: Vec<_> = (0..12).map(|_| wallet.start(&["send", &text(2), "1 mite"])).collect();
    for payment in payments {
        support::Run::of(payment.wait_with_output().unwrap()).ok();
    }
    // The node itself refuses to include a nonce twice.
    let mut nonces = node.ledger.lock().unwrap().nonces.clone();
    nonces.sort_unstable();
    assert_eq!(nonces, (1..=12).collect::<Vec<u64>>());
    assert_eq!(wallet.open_payments(), [""; 0]);
}
