//! Peers and clients that mean harm: garbage, slowness, floods and spam.

use farthing_client::TRANSACTIONS_MAX;
use farthing_core::transaction::SignedTransaction;
use farthing_tests::processes::cluster::http_get;
use farthing_tests::processes::load::{Load, LoadOptions, latencies};
use farthing_tests::processes::{Cluster, Options, PATIENCE, RESUME_MAX, audit, random};
use farthing_tests::sim::random::Random;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RATE: u32 = 100;

/// How many connections a flood opens.
const FLOOD: usize = 1_500;

/// How soon nine in ten honest transfers are final, whatever others do. The machine may hold one of them up.
const HONEST_MAX: Duration = Duration::from_secs(5);

/// How long the API waits for headers.
const HEADERS_MAX: Duration = Duration::from_secs(10);

/// How often the throughput beside a flood is measured: a busy machine may halve it now and then, a flood that costs so much always
/// does.
const WINDOWS_MAX: usize = 5;

#[test]
fn garbage_and_slowness_between_validators_do_no_harm() {
    let mut random = random("bad streams");
    let cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    for _ in 0..12 {
        let from = random.position(4);
        let to = (from + 1 + random.position(3)) % 4;
        cluster.links().change(from, to, |flow| flow.garbage += 1);
        std::thread::sleep(Duration::from_millis(200));
    }
    // Whoever passed garbage on is refused for ten seconds; that may be everybody.
    load.wait_for_more(50, 2 * RESUME_MAX);
    eprintln!("garbage: commits go on {} ms later", cluster.wait_until_commits_resume(2 * RESUME_MAX).as_millis());

    // A peer that takes and gives 3 KB a second.
    for other in 0..3 {
        for (from, to) in [(3, other), (other, 3)] {
            cluster.links().change(from, to, |flow| flow.bytes_per_second = Some(3_000));
        }
    }
    load.wait_for_more(200, 2 * RESUME_MAX);
    cluster.links().heal();
    eprintln!("a slow peer: commits go on {} ms later", cluster.wait_until_commits_resume(2 * RESUME_MAX).as_millis());

    // A process that is stopped and goes on.
    let mut cluster = cluster;
    cluster.process(1).freeze();
    load.wait_for_more(50, RESUME_MAX);
    std::thread::sleep(Duration::from_secs(3));
    cluster.process(1).wake();
    cluster.wait_until_commits_resume(RESUME_MAX);
    audit(&cluster, &load.stop());
}

#[test]
fn strangers_on_the_validators_port_do_no_harm() {
    let mut random = random("strangers");
    allow_many_descriptors();
    let cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    let target = cluster.network_address(0);

    // Garbage of every length, and the right first words followed by garbage.
    for length in [1, 19, 20, 500, 70_000] {
        for start in [&b""[..], b"\x13/multistream/1.0.0\n", b"\x13/multistream/1.0.0\n\x07/noise\n"] {
            let mut bytes = start.to_vec();
            bytes.extend((0..length).map(|_| random.range(0..=255) as u8));
            let mut stream = connect(target).expect("it listens");
            // It may be thrown out before it has said everything.
            let _ = stream.write_all(&bytes);
        }
    }
    // Connections that say nothing, one after the other and all held.
    let held: Vec<TcpStream> = (0..FLOOD).filter_map(|_| connect(target)).collect();
    eprintln!("{} connections held", held.len());
    load.wait_for_more(100, RESUME_MAX);
    // Nobody of the committee is kept out: all links are made anew.
    for (one, other) in [(0, 1), (0, 2), (0, 3)] {
        cluster.links().cut(one, other);
    }
    cluster.wait_until_commits_resume(RESUME_MAX);
    load.wait_for_more(100, RESUME_MAX);
    drop(held);
    audit(&cluster, &load.stop());
}

#[test]
fn bad_clients_of_the_api_do_no_harm() {
    let mut random = random("bad clients");
    allow_many_descriptors();
    let cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    let target = cluster.api_address(0);

    // Bodies that are too large or end too soon, and things that are no HTTP.
    for request in bad_requests(&mut random) {
        let mut stream = connect(target).expect("it listens");
        // Whoever sends that much may be cut off while sending.
        let _ = stream.write_all(&request);
        let mut answer = [0; 64];
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a time limit");
        let length = stream.read(&mut answer).unwrap_or(0);
        let text = String::from_utf8_lossy(&answer[..length]);
        assert!(!text.contains(" 200 ") && !text.contains(" 500 "), "{:?} is answered {text:?}", &request[..40]);
    }

    // Headers that never end, a few bytes at a time: the node hangs up on all of them and has room for others.
    let mut slow: Vec<TcpStream> = (0..300).filter_map(|_| connect(target)).collect();
    let started = Instant::now();
    let mut others_are_served = false;
    while !slow.is_empty() && started.elapsed() < PATIENCE {
        slow.retain_mut(|stream| stream.write_all(b"GET /v1/status HTTP/1.1\r\nX: ").is_ok());
        if !others_are_served && started.elapsed() > Duration::from_secs(1) {
            others_are_served = http_get(target, "/healthz").is_ok() && started.elapsed() < HEADERS_MAX;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(others_are_served, "nobody is served beside slow clients");
    assert!(slow.is_empty(), "{} slow clients are still connected", slow.len());
    eprintln!("slow headers: cut off after {} ms", started.elapsed().as_millis());

    // More connections than it has room for; they end, and it serves again.
    let held: Vec<TcpStream> = (0..FLOOD).filter_map(|_| connect(target)).collect();
    load.wait_for_more(50, 2 * RESUME_MAX);
    eprintln!("{} connections held", held.len());
    drop(held);
    let started = Instant::now();
    while http_get(target, "/healthz").is_err() {
        assert!(started.elapsed() < PATIENCE, "the API does not answer any more");
    }
    audit(&cluster, &load.stop());
}

#[test]
fn a_flood_of_bad_signatures_leaves_half_the_throughput() {
    let cluster = Cluster::start(&Options { accounts: 128, ..Options::default() });
    let load = cluster.load_of(1_000);
    load.wait_for_more(200, PATIENCE);
    let before = per_second(&load);
    let batch = bad_batch(&cluster);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    // Half the throughput, and beside a flood that is one.
    let is_kept = |(rate, bad): (usize, u64)| rate * 2 >= before && bad > 1_000;
    let during: Vec<(usize, u64)> = std::thread::scope(|scope| {
        for node in 0..2 {
            let (stop, sent, batch, cluster) = (&stop, &sent, &batch, &cluster);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = cluster.block_on(cluster.client(node).submit_bytes(batch.clone(), Default::default()));
                    if let Ok(answer) = answer {
                        sent.fetch_add(answer.transactions.len() as u64, Ordering::Relaxed);
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_secs(1));
        let mut during = Vec::new();
        while during.len() < WINDOWS_MAX && !during.iter().any(|window| is_kept(*window)) {
            let from = sent.load(Ordering::Relaxed);
            let rate = per_second(&load);
            during.push((rate, sent.load(Ordering::Relaxed) - from));
        }
        stop.store(true, Ordering::Relaxed);
        during
    });
    eprintln!("{before} transfers/s; with a flood, and as many bad signatures in four seconds: {during:?}");
    assert!(during.iter().any(|(_, bad)| *bad > 1_000), "the flood is a trickle: {during:?}");
    assert!(during.into_iter().any(is_kept), "{before} transfers/s, with a flood half of it is left in no window");
    audit(&cluster, &load.stop());
}

#[test]
fn spam_by_many_small_accounts_does_not_keep_an_honest_transfer_waiting() {
    let spammers = 400;
    let cluster = Cluster::start(&Options { accounts: spammers + 1, ..Options::default() });
    let nodes = vec![0, 1, 2, 3];
    let spam = cluster.load(&LoadOptions { senders: 0..spammers, per_second: 100_000, nodes: nodes.clone() });
    spam.wait_for_more(500, PATIENCE);
    let rate = per_second(&spam);
    let honest = cluster.load(&LoadOptions { senders: spammers..spammers + 1, per_second: 20, nodes });
    honest.wait_for_more(30, PATIENCE);
    let honest = honest.stop();
    let times = latencies(&honest);
    let (most, slowest) = (times[times.len() * 9 / 10], times[times.len() - 1]);
    eprintln!("spam of {rate} transfers/s: nine in ten of {} honest ones took {most:?}, all {slowest:?}", times.len());
    assert!(most <= HONEST_MAX, "one in ten honest transfers took {most:?} or more");
    assert!(slowest <= PATIENCE, "an honest transfer took {slowest:?}");
    let journal = [spam.stop(), honest].concat();
    audit(&cluster, &journal);
}

/// How many transfers of a load become final in a second, measured over four.
fn per_second(load: &Load) -> usize {
    let from = load.acknowledged();
    std::thread::sleep(Duration::from_secs(4));
    (load.acknowledged() - from) / 4
}

/// As many transfers as a request may hold, each with a signature that does not match.
fn bad_batch(cluster: &Cluster) -> Vec<u8> {
    let bad = |number: usize| {
        let SignedTransaction { transaction, mut signature } = cluster.unsent(number % 64, 1_000 + number as u64);
        signature.0[7] ^= 1;
        SignedTransaction { transaction, signature }.encode()
    };
    (0..TRANSACTIONS_MAX).flat_map(bad).collect()
}

fn bad_requests(random: &mut Random) -> Vec<Vec<u8>> {
    let post = |length: usize, body: &[u8]| {
        let mut request = format!(
            "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    };
    let noise: Vec<u8> = (0..20_000).map(|_| random.range(0..=255) as u8).collect();
    vec![
        noise.clone(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000)).into_bytes(),
        post(noise.len(), &noise),
        post(8 << 20, &vec![0; 8 << 20]),
        post(usize::MAX, &noise),
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n"
            .to_vec(),
    ]
}

fn connect(target: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&target, Duration::from_secs(1)).ok()
}

/// Floods need more descriptors than many systems give a process at first.
fn allow_many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a process may use what it is allowed to");
}
