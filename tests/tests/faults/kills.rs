//! Kill -9 under load: at random moments, at system calls of the commit path, and all at once.

use farthing_tests::processes::load::{Load, slowest};
use farthing_tests::processes::{Cluster, Launch, Options, PATIENCE, audit, random};
use farthing_tests::sim::random::Random;
use std::time::{Duration, Instant};

/// Transfers a second while processes are killed.
const RATE: u32 = 150;

/// How long a victim may take to reach its crash point; an idle thread may never.
const CRASH_POINT_MAX: Duration = Duration::from_secs(8);

/// A system call before which a node dies, and how often each of its threads makes it before: from 1 to so many times.
struct CrashPoint {
    name: &'static str,
    call: &'static str,
    times_max: u64,
}

/// The commit path as system calls. Counters are each thread's own: the journal's thread writes and syncs the log, the network's
/// threads send, background threads flush. Dying *before* the call right after a step is dying after that step.
const CRASH_POINTS: &[CrashPoint] = &[
    CrashPoint { name: "before a write to the log or a table", call: "write", times_max: 60 },
    CrashPoint { name: "between a write and its sync", call: "fdatasync", times_max: 60 },
    CrashPoint { name: "after a sync, before sending to a peer", call: "sendto", times_max: 400 },
    CrashPoint { name: "before an answer to a client", call: "writev", times_max: 60 },
    CrashPoint { name: "while a directory or table is synced", call: "fsync", times_max: 4 },
    CrashPoint { name: "between making and renaming a file", call: "rename", times_max: 2 },
    CrashPoint { name: "before an old file is removed", call: "unlink", times_max: 2 },
    CrashPoint { name: "before reading from a peer or client", call: "recvfrom", times_max: 400 },
];

#[test]
fn a_random_node_killed_at_random_moments_loses_nothing() {
    let mut random = random("random kills");
    let mut cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    for _ in 0..6 {
        kill_at_a_random_moment(&mut cluster, &load, &mut random);
    }
    let journal = load.stop();
    eprintln!("slowest transfer: {} ms", slowest(&journal).as_millis());
    let found = audit(&cluster, &journal);
    assert!(found.acknowledged > 100, "{found:?}");
}

#[test]
fn a_node_killed_at_points_of_the_commit_path_loses_nothing() {
    let mut random = random("crash points");
    let mut cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    for point in CRASH_POINTS {
        kill_at(&mut cluster, &load, point, &mut random);
    }
    let found = audit(&cluster, &load.stop());
    assert!(found.acknowledged > 100, "{found:?}");
}

#[test]
fn all_nodes_killed_at_once_go_on_from_where_they_were() {
    let mut random = random("power failures");
    let mut cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    for _ in 0..2 {
        kill_all(&mut cluster, &load, &mut random);
    }
    audit(&cluster, &load.stop());
}

/// The loop of `tests/soak`: kills of all kinds for so many minutes, audited every few kills.
#[test]
#[ignore = "runs for minutes: tests/soak"]
fn soak() {
    let minutes: f64 = std::env::var("FARTHING_SOAK_MINUTES").map_or(1.0, |text| text.parse().expect("minutes"));
    let deadline = Instant::now() + Duration::from_secs_f64(60.0 * minutes);
    let mut random = random("soak of kills");
    let (mut kills, mut acknowledged) = (0, 0);
    while Instant::now() < deadline {
        let mut cluster = Cluster::start(&Options::default());
        let load = cluster.load_of(RATE);
        for _ in 0..15 {
            kills += match random.range(0..=9) {
                0 => {
                    kill_all(&mut cluster, &load, &mut random);
                    cluster.count()
                }
                1..=5 => {
                    kill_at_a_random_moment(&mut cluster, &load, &mut random);
                    1
                }
                _ => {
                    let point = &CRASH_POINTS[random.position(CRASH_POINTS.len())];
                    kill_at(&mut cluster, &load, point, &mut random);
                    1
                }
            };
            if Instant::now() > deadline {
                break;
            }
        }
        acknowledged += audit(&cluster, &load.stop()).acknowledged;
        eprintln!("{kills} kills so far");
    }
    println!("soak of kills: {kills} kills, {acknowledged} acknowledged transfers, all there once");
}

fn kill_at_a_random_moment(cluster: &mut Cluster, load: &Load, random: &mut Random) {
    let victim = random.position(cluster.count());
    std::thread::sleep(Duration::from_millis(random.range(0..=1_000)));
    cluster.kill(victim);
    // With one of four down the others go on.
    let resumed = load.wait_for_more(20, farthing_tests::processes::RESUME_MAX);
    // A restart at once, and one that has something to catch up with.
    std::thread::sleep(Duration::from_millis(random.range(0..=1_000)));
    cluster.run(victim);
    eprintln!("node {victim} killed: 20 more transfers were final after {} ms", resumed.as_millis());
}

fn kill_at(cluster: &mut Cluster, load: &Load, point: &CrashPoint, random: &mut Random) {
    let victim = random.position(cluster.count());
    let times = random.range(1..=point.times_max);
    cluster.kill(victim);
    let injection = format!("{}:signal=KILL:when={times}", point.call);
    cluster.launch(victim, &Launch::strace(&[injection]));
    let started = Instant::now();
    let died = cluster.process(victim).wait_for_exit(CRASH_POINT_MAX).is_some();
    eprintln!(
        "node {victim} {} ({} number {times}) {} after {} ms",
        point.name,
        point.call,
        if died { "died" } else { "is killed: it did not get there" },
        started.elapsed().as_millis()
    );
    cluster.kill(victim);
    load.wait_for_more(10, farthing_tests::processes::RESUME_MAX);
    cluster.run(victim);
}

fn kill_all(cluster: &mut Cluster, load: &Load, random: &mut Random) {
    load.wait_for_more(20, PATIENCE);
    std::thread::sleep(Duration::from_millis(random.range(0..=1_000)));
    for node in 0..cluster.count() {
        cluster.kill(node);
    }
    let started = Instant::now();
    cluster.run_all();
    load.wait_for_more(20, farthing_tests::processes::RESUME_MAX);
    eprintln!("all killed: 20 more transfers were final {} ms after the restart", started.elapsed().as_millis());
}
