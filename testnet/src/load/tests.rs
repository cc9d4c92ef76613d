//! The load generator against nodes that are none.

use super::*;
use crate::fake_network::{Behaviour, DELAY, FakeNetwork};
use std::collections::BTreeSet;

fn options(network: &FakeNetwork, rate: u32, check: bool) -> Options {
    Options { rate, seconds: 1, mixed: false, check, json: true, find: network.find() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transfer_is_sent_once_and_counted() {
    let network = FakeNetwork::start(&[Behaviour::Executes; 2], false).await;
    let report = measure(&options(&network, 700, false)).await.expect("measured");
    assert_eq!((report.submitted, report.executed, report.unsent), (700, 700, 0));
    assert_eq!((report.rejected, report.dropped, report.unknown), (0, 0, 0));
    assert_eq!(network.executed(), 700);
    assert_eq!(network.received(0) + network.received(1), 700, "nothing is submitted twice");
    assert!(network.received(0) > 0 && network.received(1) > 0, "both nodes get their share");
    assert!(report.latency_ms.p50 >= DELAY.as_millis() as f64, "{report:?}");
    assert!(report.latency_ms.p50 <= report.latency_ms.max && report.tps > 0.0, "{report:?}");
    let ledger = network.ledger.lock().expect("not poisoned");
    let nonces: BTreeSet<u64> = ledger.executed.values().flat_map(|nonces| nonces.keys().copied()).collect();
    assert_eq!(nonces, BTreeSet::from([5]), "senders take turns and begin at their next nonce");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_down_or_break_off_are_replaced() {
    let network = FakeNetwork::start(&[Behaviour::BreaksOff, Behaviour::Executes], true).await;
    let report = measure(&options(&network, 200, false)).await.expect("measured");
    assert_eq!((report.submitted, report.executed), (200, 200), "{report:?}");
    assert_eq!(network.executed(), 200, "the same bytes went to the second node");
    assert!(network.received(0) > 0, "the first node was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_are_told_apart() {
    let network = FakeNetwork::start(&[Behaviour::RefusesHalf], false).await;
    let report = measure(&options(&network, 300, false)).await.expect("measured");
    let (rejected, dropped) = {
        let ledger = network.ledger.lock().expect("not poisoned");
        (ledger.rejected, ledger.dropped)
    };
    assert!(rejected > 0 && dropped > 0, "300 keys are of every kind");
    assert_eq!(
        (report.rejected, report.dropped, report.executed),
        (rejected, dropped, network.executed()),
        "{report:?}"
    );
    assert_eq!(report.submitted, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_compares_states_and_money() {
    let network = FakeNetwork::start(&[Behaviour::Executes; 2], true).await;
    let report = measure(&options(&network, 50, true)).await.expect("measured");
    let check = report.check.expect("asked for");
    assert_eq!((check.height, check.nodes, check.nodes_down), (5, 2, 1));
    assert_eq!(check.balances, Amount::from_mites(100 * accounts::LOADERS as u64));

    network.ledger.lock().expect("not poisoned").executed.clear();
    let ledger = network.ledger.clone();
    tokio::spawn(async move {
        while ledger.lock().expect("not poisoned").executed.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ledger.lock().expect("not poisoned").stolen = true;
    });
    let error = measure(&options(&network, 50, true)).await.expect_err("stolen");
    assert!(error.to_string().starts_with("money was made or lost"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_load_at_a_time() {
    let network = FakeNetwork::start(&[Behaviour::Executes], false).await;
    let _lock = state::try_lock(&network.directory.path().join("load.lock")).expect("no error").expect("free");
    let error = measure(&options(&network, 1, false)).await.expect_err("locked");
    assert!(error.to_string().contains("another load runs"), "{error:#}");
}

#[test]
fn the_report_has_the_promised_form() {
    let report = Report { submitted: 2, executed: 2, tps: 1.5, ..Report::default() };
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(json["submitted"], 2);
    assert_eq!(json["final"], 2);
    assert_eq!(json["rejected"], 0);
    assert_eq!(json["tps"], 1.5);
    for key in ["p50", "p90", "p99", "max"] {
        assert_eq!(json["latency_ms"][key], 0.0);
    }
}
