//! Full nodes: they follow, serve, forward, and slow nobody down.

use super::testnet::{Ended, Home, Node, Testnet, wait_for};
use super::{balance, block_on, send, status, wait_for_agreement};
use farthing_client::Client;
use farthing_consensus::committee::Committee;
use farthing_consensus::message::Message;
use farthing_consensus::vertex::Author;
use farthing_core::genesis::Genesis;
use farthing_core::keys::SecretKey;
use farthing_node::network::{FollowerLimits, Member, Network, NetworkConfig, NetworkEvent, Outbound, Peer};
use farthing_tests::processes::cluster::free_ports;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a payment by a full node may take with one validator hanging. Without a fault elsewhere it takes a second or two; more
/// is for the machine, on which another testnet runs.
const PAYMENT_MAX: Duration = Duration::from_secs(20);

/// Starts a full node of the testnet, and waits until it answers for the newest state.
pub fn full_node(testnet: &Testnet<'_>, name: &str) -> (Node, String) {
    let home = testnet.home;
    let node = home.path(name);
    let made = home.command("farthing-node").args(["init", "--full", "--home"]).arg(&node).output();
    Ended::from(made.expect("it runs")).ok();
    fs::copy(testnet.genesis(), node.join("genesis.json")).expect("the document");
    let mut network = toml::Table::new();
    network.insert("listen".into(), vec!["/ip4/127.0.0.1/tcp/0"].into());
    network.insert("peers".into(), config(testnet.node_home(0))["network"]["peers"].clone());
    let port = free_ports(1)[0];
    let api = toml::Table::from_iter([("listen".to_owned(), format!("127.0.0.1:{port}").into())]);
    let config = toml::Table::from_iter([("network".to_owned(), network.into()), ("api".to_owned(), api.into())]);
    fs::write(node.join("config.toml"), config.to_string()).expect("room");
    let running = Node::run(home, &node);
    let url = format!("http://127.0.0.1:{port}");
    wait_for("the full node", || status(&url).filter(|status| status.ready));
    (running, url)
}

fn config(node: PathBuf) -> toml::Table {
    fs::read_to_string(node.join("config.toml")).expect("a configuration").parse().expect("TOML")
}

/// The wallet uses the node at `url` alone.
fn profile(testnet: &Testnet<'_>, name: &str, url: &str) {
    let genesis = testnet.genesis().to_str().expect("UTF-8");
    let add = ["profile", "add", name, "--api", url, "--genesis", genesis, "--from", "dev-1"];
    testnet.home.wallet(&add).ok();
}

#[test]
fn a_full_node_follows_and_serves_reads() {
    let home = Home::new();
    let testnet = home.up(4);
    testnet.load(200, 2, false);
    let (_full, url) = full_node(&testnet, "full");
    send(&home, testnet.address(3), "7 mite", &[]);
    let mut urls = testnet.apis();
    urls.push(url.clone());
    wait_for_agreement(&urls);
    let account = block_on(async { Client::new(&url).expect("a URL").account(testnet.address(3)).await });
    assert_eq!(account.expect("served").balance.mites(), balance(&home, testnet.address(3)));
}

#[test]
fn a_full_node_forwards_and_passes_over_validators_that_hang_or_die() {
    let home = Home::new();
    let testnet = home.up(4);
    let (_full, url) = full_node(&testnet, "full");
    profile(&testnet, "full", &url);
    let pay = |more: &[&str]| {
        let arguments =
            [&["--output", "json", "--profile", "full", "send", testnet.address(2), "5 mite"], more].concat();
        home.wallet(&arguments).ok().json()
    };
    let before = balance(&home, testnet.address(2));
    pay(&[]);
    // Final at the full node, it may still be on its way to the validator that is asked here.
    wait_for("the first payment", || (balance(&home, testnet.address(2)) == before + 5).then_some(()));

    // One validator hangs: connected, but it answers nothing. Whichever it forwards to, each payment is soon final.
    testnet.signal(1, "STOP");
    let payments = 6;
    for number in 0..payments {
        let started = Instant::now();
        let paid: Value = pay(&[]);
        assert_eq!(paid["status"], "executed", "{paid}");
        println!("with one validator hanging payment {number} took {} ms", started.elapsed().as_millis());
        assert!(started.elapsed() < PAYMENT_MAX, "payment {number} took {:?}", started.elapsed());
    }
    // Then it is gone for good, while a payment is on its way.
    pay(&["--no-wait"]);
    testnet.kill(1);
    pay(&[]);
    let paid = before + 5 * (1 + payments + 2);
    wait_for("the payment on its way", || (balance(&home, testnet.address(2)) == paid).then_some(()));
    let _node = testnet.restart(1);
    let mut urls = testnet.apis();
    urls.push(url);
    wait_for_agreement(&urls);
}

#[test]
fn greedy_followers_do_not_slow_the_chain_down() {
    const GREEDY: u8 = 8;
    let home = Home::new();
    let testnet = home.up(4);
    let alone = testnet.load(300, 4, false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (genesis, members) = members(&testnet);
    let greedy = std::thread::spawn(move || {
        let committee = Arc::new(Committee::from_genesis(&genesis));
        let followers = runtime.block_on(async {
            (0..GREEDY).map(|number| follow_greedily(number, committee.clone(), members.clone())).collect::<Vec<_>>()
        });
        runtime.block_on(async {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        followers.iter().for_each(|follower| follower.abort());
    });
    let crowded = testnet.load(300, 6, true);
    drop(stop);
    greedy.join().expect("no panic");
    // Other tests come and go meanwhile: what they cost is judged by the worse of before and after.
    let afterwards = testnet.load(300, 4, false);
    let p50 = |report: &Value| {
        assert_eq!(report["final"], report["submitted"], "{report}");
        report["latency_ms"]["p50"].as_f64().expect("a number")
    };
    let (before, crowded, afterwards) = (p50(&alone), p50(&crowded), p50(&afterwards));
    println!("half are final in {before} ms, with {GREEDY} greedy followers in {crowded} ms, then in {afterwards} ms");
    assert!(crowded < 3.0 * before.max(afterwards) + 500.0, "{before} ms, {crowded} ms crowded, {afterwards} ms after");
}

/// The members of the committee, with the addresses that the first validator knows of the others.
fn members(testnet: &Testnet<'_>) -> (Genesis, Vec<Member>) {
    let genesis = Genesis::from_json(&fs::read_to_string(testnet.genesis()).expect("the document")).expect("valid");
    let config = config(testnet.node_home(0));
    let peers = config["network"]["peers"].as_array().expect("a list").clone();
    let members = (0..).zip(genesis.validators()).map(|(author, validator)| {
        let peer = peers.iter().find(|peer| peer["validator"].as_str() == Some(validator.name.as_str()));
        let address = peer.map(|peer| peer["address"].as_str().expect("text").parse().expect("an address"));
        Member { author: author as Author, network_key: validator.network_key, address }
    });
    (genesis.clone(), members.collect())
}

/// Asks every validator for the oldest commits again and again, as many at a time as it likes.
fn follow_greedily(number: u8, committee: Arc<Committee>, members: Vec<Member>) -> tokio::task::JoinHandle<()> {
    const AT_A_TIME: usize = 64;
    let config = NetworkConfig {
        identity: SecretKey::from_seed(&[100 + number; 32]),
        committee,
        members,
        own: None,
        listen: Vec::new(),
        followers_max: 0,
        follower_limits: FollowerLimits::default(),
        queue_bytes_max: NetworkConfig::QUEUE_BYTES_MAX,
    };
    let (network, mut events) =
        Network::start(config, &mut prometheus_client::registry::Registry::default()).expect("it starts");
    tokio::spawn(async move {
        let ask = |peer: Peer| network.send(peer, Outbound::Message(Message::FetchCommits { from_index: 1 }));
        while let Some(event) = events.recv().await {
            match event {
                NetworkEvent::Connected(peer) => (0..AT_A_TIME).for_each(|_| ask(peer)),
                NetworkEvent::Message { from, .. } => ask(from),
                _ => {}
            }
        }
    })
}
