//! Links that fail: partitions, one-way and two-way, delays, stalls, flapping, cuts.

use farthing_tests::processes::load::{Load, slowest};
use farthing_tests::processes::{Cluster, Options, PATIENCE, RESUME_MAX, audit, random, wait_for};
use std::ops::Range;
use std::time::Duration;

const RATE: u32 = 100;

#[test]
fn partitions_stop_minorities_only_and_heal() {
    let cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    load.wait_for_more(20, PATIENCE);

    // Two and two: nobody has a quorum. Once what was under way has arrived nothing is decided, until they meet again.
    cluster.links().partition(&[0, 1]);
    let before = resting_commit(&cluster, 0..4);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(newest_commit(&cluster, 0..4), before, "two of four made commits");
    heal(&cluster, &load, "2|2");

    // One and three: the three go on.
    cluster.links().partition(&[3]);
    load.wait_for_more(50, RESUME_MAX);
    let alone = resting_commit(&cluster, 3..4);
    // Longer than a silent peer is waited for, so that connections have to be made anew.
    std::thread::sleep(Duration::from_secs(11));
    load.wait_for_more(20, RESUME_MAX);
    let still = newest_commit(&cluster, 3..4);
    assert!(still <= alone + 2, "one of four made commits: {alone} and then {still}");
    heal(&cluster, &load, "1|3");

    // What one node sends reaches nobody, and it hears everybody.
    for other in 1..4 {
        cluster.links().change(0, other, |flow| flow.blocked = true);
    }
    load.wait_for_more(50, RESUME_MAX);
    heal(&cluster, &load, "one node muted");

    // One node hears nobody, and everybody hears it.
    for other in 1..4 {
        cluster.links().change(other, 0, |flow| flow.blocked = true);
    }
    load.wait_for_more(50, RESUME_MAX);
    heal(&cluster, &load, "one node deaf");

    // A ring in which everybody misses one neighbour's messages. Once silence has ended the connections, nobody has a quorum.
    for node in 0..4 {
        cluster.links().change(node, (node + 1) % 4, |flow| flow.blocked = true);
    }
    std::thread::sleep(Duration::from_secs(4));
    heal(&cluster, &load, "a ring of one-way links");

    let journal = load.stop();
    eprintln!("slowest transfer: {} ms", slowest(&journal).as_millis());
    audit(&cluster, &journal);
}

#[test]
fn delays_stalls_cuts_and_flapping_links_do_no_harm() {
    let mut random = random("bad links");
    let cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);

    cluster.links().change_all(|flow| flow.delay = Duration::from_millis(random.range(0..=300)));
    load.wait_for_more(100, PATIENCE);
    heal(&cluster, &load, "delays");

    // As if segments were lost: a direction stalls for as long as TCP would take to send again.
    for _ in 0..40 {
        let (from, to) = a_pair(&mut random);
        cluster.links().change(from, to, |flow| flow.blocked = true);
        std::thread::sleep(Duration::from_millis(random.range(20..=150)));
        cluster.links().change(from, to, |flow| flow.blocked = false);
    }
    heal(&cluster, &load, "stalls");

    for _ in 0..20 {
        let (one, other) = a_pair(&mut random);
        cluster.links().cut(one, other);
        std::thread::sleep(Duration::from_millis(random.range(0..=200)));
    }
    heal(&cluster, &load, "cuts");

    // A whole node that comes and goes.
    for _ in 0..8 {
        let node = random.position(4);
        cluster.links().partition(&[node]);
        std::thread::sleep(Duration::from_millis(random.range(100..=700)));
        cluster.links().heal();
        std::thread::sleep(Duration::from_millis(random.range(0..=300)));
    }
    heal(&cluster, &load, "flapping");

    audit(&cluster, &load.stop());
}

fn a_pair(random: &mut farthing_tests::sim::random::Random) -> (usize, usize) {
    let from = random.position(4);
    (from, (from + 1 + random.position(3)) % 4)
}

/// The newest commit that one of these nodes has executed.
fn newest_commit(cluster: &Cluster, nodes: Range<usize>) -> u64 {
    nodes.map(|node| cluster.status_of(node).commit_index).max().expect("there are some")
}

/// The newest commit of these nodes, which can make no more, once it has stayed the same for two seconds: a node that is held up
/// executes what it got before it was cut off some time later.
fn resting_commit(cluster: &Cluster, nodes: Range<usize>) -> u64 {
    let mut newest = newest_commit(cluster, nodes.clone());
    wait_for("commits without a quorum to end", PATIENCE, || {
        std::thread::sleep(Duration::from_secs(2));
        let before = std::mem::replace(&mut newest, newest_commit(cluster, nodes.clone()));
        (newest == before).then_some(newest)
    })
}

/// Makes the links whole again; commits must go on at all nodes, and transfers be final.
fn heal(cluster: &Cluster, load: &Load, what: &str) {
    cluster.links().heal();
    let resumed = cluster.wait_until_commits_resume(RESUME_MAX);
    load.wait_for_more(20, RESUME_MAX);
    eprintln!("{what}: commits resumed {} ms after healing", resumed.as_millis());
}
