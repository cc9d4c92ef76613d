//! `sim`: runs the simulator over a range of seeds.
//!
//! `cargo run --release -p farthing-tests --bin sim -- --seeds 1..200 --json`

use clap::Parser;
use farthing_tests::sim::fault::{Counts, Fault, FaultSet};
use farthing_tests::sim::{self, Failure, Options, Plan, Report};
use serde::Serialize;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Every so many seeds, one is run twice and must give the same events.
const TWICE_EVERY: u64 = 10;

/// Simulates networks of validators under faults, and checks that nothing goes wrong.
///
/// A seed that fails prints one line with the command that repeats it.
#[derive(Parser, Clone, Debug)]
#[command(version)]
struct Arguments {
    /// The seeds, both ends included: 1..200, or one of them. By default 1..200, with --minutes as many as there is time for.
    #[arg(long)]
    seeds: Option<Seeds>,
    /// How many validators there are: a number, or swarm for 4, 7 or 10, as the seed decides.
    #[arg(long, default_value = "swarm")]
    validators: Validators,
    /// The faults of every seed, separated by commas; all lets each seed draw its own mix, none is none.
    #[arg(long, default_value = "all")]
    faults: Faults,
    /// Simulated seconds of faults in each run.
    #[arg(long, default_value_t = Options::default().seconds, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seconds: u64,
    /// Begins no further seed after so many minutes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: Option<u64>,
    /// Runs every seed twice, and not only every tenth, and compares the events.
    #[arg(long)]
    twice: bool,
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

/// The size of the committee; `None` is the seed's choice.
#[derive(Clone, Copy, Debug)]
struct Validators(Option<usize>);

/// The faults; `None` is the seed's choice.
#[derive(Clone, Debug)]
struct Faults(Option<FaultSet>);

/// What all runs together showed.
#[derive(Clone, Debug, Default, Serialize)]
struct Summary {
    seeds: u64,
    /// The lowest and the highest that ran.
    seed_first: u64,
    seed_last: u64,
    /// Seeds that ran a second time, with the same events.
    repeated: u64,
    violations: u64,
    failed: Vec<Failed>,
    commits: u64,
    blocks: u64,
    transactions: u64,
    events: u64,
    /// How often a snapshot took the place of a state.
    snapshots: u64,
    /// How often each fault was injected.
    faults: BTreeMap<&'static str, u64>,
    /// Runs by size of the committee.
    validators: BTreeMap<usize, u64>,
    /// The worst cases: until everything is settled after the faults, until the next commit, what one node held suspended.
    settled_ms_max: u64,
    resume_rounds_max: u64,
    suspended_bytes_max: u64,
    elapsed_s: u64,
}

/// A seed that went wrong.
#[derive(Clone, Debug, Serialize)]
struct Failed {
    seed: u64,
    kind: &'static str,
    message: String,
    reproduce: String,
}

/// What the threads share.
struct Work {
    arguments: Arguments,
    options: Options,
    seeds: Seeds,
    next: AtomicU64,
    until: Option<Instant>,
    summary: Mutex<(Summary, Counts)>,
}

thread_local! {
    /// The seed that this thread runs.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let last = if arguments.minutes.is_some() { u64::MAX - 1 } else { 200 };
    let seeds = arguments.seeds.unwrap_or(Seeds { first: 1, last });
    let work = Work {
        options: Options {
            validators: arguments.validators.0,
            seconds: arguments.seconds,
            faults: arguments.faults.0.clone(),
        },
        seeds,
        next: AtomicU64::new(seeds.first),
        until: arguments.minutes.map(|minutes| started + Duration::from_secs(60 * minutes)),
        summary: Mutex::default(),
        arguments,
    };
    report_panics();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work.run());
        }
    });
    let (mut summary, counts) = std::mem::take(&mut *work.summary());
    summary.faults = counts.by_name();
    summary.elapsed_s = started.elapsed().as_secs();
    print_summary(&work.arguments, &summary);
    if summary.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Work {
    fn run(&self) {
        while self.until.is_none_or(|until| Instant::now() < until) {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed > self.seeds.last {
                return;
            }
            SEED.set(seed);
            let plan = Plan::draw(seed, &self.options);
            let is_twice = self.arguments.twice || seed.is_multiple_of(TWICE_EVERY);
            let result = if is_twice { sim::simulate_twice(&plan) } else { sim::simulate(&plan) };
            if self.arguments.verbose {
                eprintln!("seed {seed}: n = {}, {}: {}", plan.validators, plan.faults, describe(&result));
            }
            self.add(&plan, is_twice, result);
        }
    }

    fn add(&self, plan: &Plan, is_twice: bool, result: Result<Report, Failure>) {
        let mut shared = self.summary();
        let (summary, counts) = &mut *shared;
        summary.seed_first = if summary.seeds == 0 { plan.seed } else { summary.seed_first.min(plan.seed) };
        summary.seed_last = summary.seed_last.max(plan.seed);
        summary.seeds += 1;
        *summary.validators.entry(plan.validators).or_default() += 1;
        match result {
            Ok(report) => {
                counts.extend(&report.faults);
                summary.repeated += u64::from(is_twice);
                summary.add(&report);
            }
            Err(failure) => {
                let failed = Failed {
                    seed: plan.seed,
                    kind: failure.kind(),
                    message: failure.to_string().replace('\n', " "),
                    reproduce: self.reproduce(plan.seed),
                };
                eprintln!("FAILED {}   # seed {}: {}", failed.reproduce, failed.seed, failed.message);
                summary.violations += 1;
                summary.failed.push(failed);
            }
        }
    }

    fn reproduce(&self, seed: u64) -> String {
        let mut command = format!("cargo run --release -p farthing-tests --bin sim -- --seeds {seed}..{seed}");
        if let Some(validators) = self.options.validators {
            command += &format!(" --validators {validators}");
        }
        if let Some(faults) = &self.options.faults {
            command += &format!(" --faults {faults}");
        }
        if self.options.seconds != Options::default().seconds {
            command += &format!(" --seconds {}", self.options.seconds);
        }
        command
    }

    fn summary(&self) -> MutexGuard<'_, (Summary, Counts)> {
        self.summary.lock().expect("nothing panics while it holds this lock")
    }
}

impl Summary {
    fn add(&mut self, report: &Report) {
        self.commits += report.commits;
        self.blocks += report.blocks;
        self.transactions += report.transactions;
        self.events += report.events;
        self.snapshots += report.snapshots;
        self.settled_ms_max = self.settled_ms_max.max(report.settled_ms);
        self.resume_rounds_max = self.resume_rounds_max.max(report.resume_rounds);
        self.suspended_bytes_max = self.suspended_bytes_max.max(report.suspended_bytes_max);
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

fn describe(result: &Result<Report, Failure>) -> String {
    match result {
        Ok(report) => format!(
            "{} commits, {} transactions, settled after {} ms, commits after {} rounds",
            report.commits, report.transactions, report.settled_ms, report.resume_rounds
        ),
        Err(failure) => failure.kind().into(),
    }
}

fn print_summary(arguments: &Arguments, summary: &Summary) {
    if arguments.json {
        println!("{}", serde_json::to_string(summary).expect("a summary is plain data"));
        return;
    }
    let Summary { seeds, seed_first, seed_last, violations, commits, blocks, transactions, events, .. } = summary;
    println!(
        "{seeds} seeds ({seed_first}..{seed_last}), {violations} failed: {commits} commits, {blocks} blocks, {transactions} \
         transactions, {events} events, {} snapshots in {} s; {} seeds repeated",
        summary.snapshots, summary.elapsed_s, summary.repeated
    );
    println!(
        "after the faults, commits resumed within {} rounds, everything was settled within {} ms; at most {} bytes suspended",
        summary.resume_rounds_max, summary.settled_ms_max, summary.suspended_bytes_max
    );
    let faults: Vec<_> = summary.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("faults: {}", faults.join(", "));
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let parse = |number: &str| number.parse().map_err(|_| format!("{number:?} is not a number: write 1..200"));
        let (first, last) = (parse(first)?, parse(last)?);
        if first > last || last == u64::MAX {
            return Err(format!("{first}..{last} is no range: write 1..200"));
        }
        Ok(Seeds { first, last })
    }
}

impl FromStr for Validators {
    type Err = String;

    fn from_str(text: &str) -> Result<Validators, String> {
        if text == "swarm" {
            return Ok(Validators(None));
        }
        let size = text.parse().ok().filter(|size| (1..=128).contains(size));
        size.map(|size| Validators(Some(size)))
            .ok_or_else(|| format!("{text:?}: give a number from 1 to 128, or swarm"))
    }
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Faults, String> {
        match text {
            "all" => Ok(Faults(None)),
            "none" => Ok(Faults(Some(FaultSet::default()))),
            list => {
                let faults: Vec<Fault> = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
                Ok(Faults(Some(FaultSet::new(&faults))))
            }
        }
    }
}
