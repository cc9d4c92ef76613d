//! Networks of real `farthing-node` processes, for tests that hurt them.
//!
//! A [`Cluster`] is made of real programs, sockets and disks on this machine's loopback interface. Between every two validators
//! stands a [`proxy`] of the tests' own, through which connections are delayed, stalled, cut and garbled. A [`Load`] sends
//! transfers through all nodes, keeps a journal of what it sent and what it was told, and [`audit`] holds the journal against what
//! every node says afterwards. [`Launch`] starts a node under strace or with another clock.
//!
//! One cluster runs at a time in a process; whatever it starts ends with it, also when a test panics or is killed.

pub mod audit;
pub mod cluster;
pub mod launch;
pub mod load;
pub mod node;
pub mod proxy;
pub mod wal;

pub use audit::{Audit, audit};
pub use cluster::{Cluster, Options};
pub use launch::Launch;
pub use load::{Load, LoadOptions};
pub use node::NodeProcess;

use crate::sim::random::Random;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a condition may take to come true where no requirement says less: other programs may use the machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How soon commits go on after a fault has ended.
pub const RESUME_MAX: Duration = Duration::from_secs(10);

/// The environment variable with the seed of random choices; without it they differ from run to run.
pub const SEED_VARIABLE: &str = "FARTHING_FAULTS_SEED";

/// The program `name`, built beside the running test.
///
/// # Panics
/// If it is not built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let directory = test.ancestors().nth(2).expect("tests stand in DIRECTORY/deps");
    let path = directory.join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --release --workspace --bins`", path.display());
    path
}

/// Waits until `check` gives something.
///
/// # Panics
/// If it does not within `patience`.
pub fn wait_for<T>(what: &str, patience: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain for {what}", patience.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The random choices of a test, from [`SEED_VARIABLE`] or from the time; the seed is printed.
pub fn random(test: &str) -> Random {
    let given = std::env::var(SEED_VARIABLE).ok().map(|text| text.parse().expect("the seed is a number"));
    let seed = given.unwrap_or_else(|| unix_ms() % 1_000_000);
    eprintln!("{test}: {SEED_VARIABLE}={seed}");
    Random::new(seed, test)
}

/// Waits for this process's other tests to leave the machine alone.
pub fn exclusively() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A test that failed has ended all the same.
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The wall clock, in milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as u64
}
