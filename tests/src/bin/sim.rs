//! `sim`: runs the simulator over a range of seeds.
//!
//! `cargo run --release -p farthing-tests --bin sim -- --seeds 1..200 --json`

use clap::Parser;
use farthing_tests::sim::{self, Failure, Options, Plan, Report};
use serde::Serialize;
use std::cell::Cell;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Every so many seeds, one is run twice and must give the same events.
const TWICE_EVERY: u64 = 10;

/// Simulates networks of validators under faults, and checks that nothing goes wrong.
#[derive(Parser, Clone, Debug)]
#[command(version)]
struct Arguments {
    /// The seeds, both ends included: 1..200, or one of them.
    #[arg(long, default_value = "1..200")]
    seeds: Seeds,
    /// How many validators there are.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=128))]
    validators: u16,
    /// Simulated seconds of faults in each run.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seconds: u64,
    /// Runs every seed twice, and not only every tenth.
    #[arg(long)]
    check_determinism: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
    /// Prints a line about each seed.
    #[arg(long)]
    verbose: bool,
}

/// An inclusive range of seeds.
#[derive(Clone, Copy, Debug)]
struct Seeds {
    first: u64,
    last: u64,
}

/// What all runs together showed.
#[derive(Clone, Debug, Default, Serialize)]
struct Summary {
    seeds: u64,
    failures: u64,
    commits: u64,
    blocks: u64,
    transactions: u64,
    crashes: u64,
    events: u64,
    settled_ms_max: u64,
    failed_seeds: Vec<u64>,
}

thread_local! {
    /// The seed that this thread runs.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let summary = Mutex::new(Summary::default());
    report_panics();
    let next = AtomicU64::new(arguments.seeds.first);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run_seeds(&arguments, &next, &summary));
        }
    });
    let summary = lock(&summary);
    print_summary(&arguments, &summary);
    if summary.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_seeds(arguments: &Arguments, next: &AtomicU64, summary: &Mutex<Summary>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed > arguments.seeds.last {
            return;
        }
        SEED.set(seed);
        let options = Options { validators: usize::from(arguments.validators), seconds: arguments.seconds };
        let plan = Plan::draw(seed, &options);
        let is_twice = arguments.check_determinism || seed.is_multiple_of(TWICE_EVERY);
        let result = if is_twice { sim::simulate_twice(&plan) } else { sim::simulate(&plan) };
        let mut summary = lock(summary);
        summary.add(seed, result.as_ref().ok());
        match result {
            Ok(report) if arguments.verbose => {
                eprintln!("{report:?} {:?}", plan.byzantine);
            }
            Ok(_) => {}
            Err(failure) => print_failure(arguments, seed, &failure),
        }
    }
}

/// A panic is a failure of its seed; where it was stands here, and the rest in the failure.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(location) = panic.location() {
            eprintln!("seed {} panics at {location}", SEED.get());
        }
    }));
}

fn lock(summary: &Mutex<Summary>) -> MutexGuard<'_, Summary> {
    summary.lock().expect("nothing panics while it holds this lock")
}

fn print_failure(arguments: &Arguments, seed: u64, failure: &Failure) {
    eprintln!("seed {seed} failed: {failure}");
    eprint!("cargo run --release -p farthing-tests --bin sim -- --seeds {seed}..{seed}");
    if arguments.validators != 4 {
        eprint!(" --validators {}", arguments.validators);
    }
    if arguments.seconds != 20 {
        eprint!(" --seconds {}", arguments.seconds);
    }
    eprintln!();
}

fn print_summary(arguments: &Arguments, summary: &Summary) {
    if arguments.json {
        println!("{}", serde_json::to_string(summary).expect("a summary is plain data"));
        return;
    }
    let Summary { seeds, failures, commits, blocks, transactions, crashes, events, settled_ms_max, .. } = summary;
    println!(
        "{seeds} seeds, {failures} failures: {commits} commits, {blocks} blocks, {transactions} transactions, {crashes} power \
         failures, {events} events; settled at most {settled_ms_max} ms after the faults"
    );
}

impl Summary {
    fn add(&mut self, seed: u64, report: Option<&Report>) {
        self.seeds += 1;
        let Some(report) = report else {
            self.failures += 1;
            self.failed_seeds.push(seed);
            return;
        };
        self.commits += report.commits;
        self.blocks += report.blocks;
        self.transactions += report.transactions;
        self.crashes += report.crashes;
        self.events += report.events;
        self.settled_ms_max = self.settled_ms_max.max(report.settled_ms);
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let parse = |number: &str| number.parse().map_err(|_| format!("{number:?} is not a number: write 1..200"));
        let (first, last) = (parse(first)?, parse(last)?);
        if first > last { Err(format!("{first} is above {last}: write 1..200")) } else { Ok(Seeds { first, last }) }
    }
}
