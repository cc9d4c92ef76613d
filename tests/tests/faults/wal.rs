//! Power loss: the write-ahead log cut at many lengths after its last sync.

use farthing_node::storage::rocks::{OpenOptions, RocksStorage};
use farthing_node::storage::{Storage as _, StorageError};
use farthing_tests::processes::load::{Entry, Load, Outcome};
use farthing_tests::processes::wal::{self, Wal, copy_directory};
use farthing_tests::processes::{Cluster, Launch, Options, PATIENCE, audit, random};
use farthing_tests::sim::random::Random;
use std::fs::{self, File};
use std::path::Path;

/// How many power failures there are.
const ROUNDS: usize = 2;

/// How many lengths are tried after each, with a copy of the database.
const CUTS: u64 = 20;

/// The holes that are tried, and their size.
const HOLES: usize = 3;
const HOLE_BYTES: usize = 4_096;

/// What a database says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Contents {
    signed: Option<u64>,
    commit: u64,
    block: u64,
}

#[test]
fn a_log_torn_after_its_last_sync_holds_all_that_was_promised() {
    let mut random = random("torn logs");
    let mut cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(150);
    let mut opened = 0;
    for _ in 0..ROUNDS {
        let victim = random.position(cluster.count());
        let torn = tear(&mut cluster, victim, &mut random);
        eprintln!("node {victim}: {} bytes synced, {} written", torn.synced, torn.written);
        let cuts = wal::cuts(&torn, CUTS);
        opened += cuts.len();
        check_copies(&cluster, victim, &torn, &cuts, &load);
        check_holes(&cluster, victim, &torn);
        // One of them is what the disk holds after this power failure; the node goes on from it.
        truncate(&torn.path, cuts[random.position(cuts.len())]);
        cluster.run(victim);
        load.wait_for_more(20, PATIENCE);
    }
    eprintln!("{opened} torn logs opened");
    audit(&cluster, &load.stop());
}

/// Lets a node die where its log has an unsynced tail: at the beginning of a sync.
fn tear(cluster: &mut Cluster, victim: usize, random: &mut Random) -> Wal {
    let record = cluster.directory().join("record");
    for _ in 0..5 {
        cluster.kill(victim);
        let _ = fs::remove_file(&record);
        let injection = format!("fdatasync:signal=KILL:when={}", random.range(20..=40));
        cluster.launch(victim, &Launch::recorded(&record, &[injection]));
        // Every system call takes its time under strace, the more so on a busy machine.
        let died = cluster.process(victim).wait_for_exit(3 * PATIENCE).is_some();
        assert!(died, "it never came to sync so often");
        let torn = wal::newest(&cluster.database(victim), &record).expect("it wrote to its log");
        cluster.kill(victim);
        if torn.written > torn.synced {
            return torn;
        }
        // The sync that it died in was of another file.
        cluster.launch(victim, &Launch::plain());
    }
    panic!("the log has no unsynced tail at any time")
}

/// Opens a copy for every cut: what was synced is there, and a longer log never holds less.
fn check_copies(cluster: &Cluster, victim: usize, torn: &Wal, cuts: &[u64], load: &Load) {
    let contents: Vec<Contents> = cuts.iter().map(|cut| contents_of(cluster, victim, torn, *cut)).collect();
    for (pair, cut) in contents.windows(2).zip(&cuts[1..]) {
        let [shorter, longer] = [pair[0], pair[1]];
        let grows = shorter.signed <= longer.signed && shorter.commit <= longer.commit && shorter.block <= longer.block;
        assert!(grows, "cut at {cut}: {longer:?} after {shorter:?} of a shorter log");
    }
    let synced = contents[0];
    // What it sent: its peers hold no vertex of it that its own disk may have lost.
    for peer in (0..cluster.count()).filter(|peer| *peer != victim) {
        let sent = cluster.validators_of(peer)[victim].last_round;
        assert!(synced.signed.unwrap_or(0) >= sent, "node {peer} has a vertex of round {sent}, synced is {synced:?}");
    }
    // What it told clients: a transfer that is final stands in a commit that is synced.
    let told = load.journal().into_iter().filter_map(|entry: Entry| match entry.outcome {
        Outcome::Acknowledged { block, node, .. } if node == victim => Some(block.commit_index),
        _ => None,
    });
    let told = told.max().unwrap_or(0);
    assert!(synced.commit >= told, "a client knows of commit {told}, synced is {synced:?}");
    eprintln!("synced: {synced:?}; all written: {:?}; told: commit {told}", contents[contents.len() - 1]);
}

/// Opens copies whose log has a hole behind what was synced: file systems may write later pages first. Such a log is refused as
/// damaged, or read up to the hole.
fn check_holes(cluster: &Cluster, victim: usize, torn: &Wal) {
    let synced = contents_of(cluster, victim, torn, torn.synced);
    for from in (torn.synced..torn.written).step_by(HOLE_BYTES).take(HOLES) {
        let opened = open_changed(cluster, victim, torn, |log| {
            let until = log.len().min(from as usize + HOLE_BYTES);
            log[from as usize..until].fill(0);
        });
        match opened {
            Ok(contents) => {
                let (signed, rest) = (contents.signed >= synced.signed, contents.commit >= synced.commit);
                assert!(signed && rest && contents.block >= synced.block, "hole at {from}: {contents:?} of {synced:?}");
            }
            Err(error) => assert!(error.is_damage(), "hole at {from}: {error}"),
        }
    }
}

fn contents_of(cluster: &Cluster, victim: usize, torn: &Wal, cut: u64) -> Contents {
    let opened = open_changed(cluster, victim, torn, |log| log.truncate(cut as usize));
    opened.unwrap_or_else(|error| panic!("cut at {cut}: {error}"))
}

/// What a copy of the database says of itself after a change of its newest log.
fn open_changed(
    cluster: &Cluster,
    victim: usize,
    torn: &Wal,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<Contents, StorageError> {
    let copy = tempfile::tempdir_in(cluster.directory()).expect("room for a test");
    copy_directory(&cluster.database(victim), copy.path());
    let path = copy.path().join(torn.path.file_name().expect("a file"));
    let mut log = fs::read(&path).expect("the log can be read");
    change(&mut log);
    fs::write(&path, log).expect("and written");
    let validator = cluster.genesis().validators()[victim].public_key;
    let options = OpenOptions { chain: cluster.genesis().chain_hash(), validator: Some(validator), history: true };
    let storage = RocksStorage::open(copy.path(), &options)?;
    Ok(Contents {
        signed: storage.signing_state()?.expect("kept since the start").map(|vertex| vertex.round),
        commit: storage.newest_commit()?,
        block: storage.newest_block()?,
    })
}

fn truncate(path: &Path, length: u64) {
    let file = File::options().write(true).open(path).expect("the log can be written");
    file.set_len(length).expect("and cut");
}
