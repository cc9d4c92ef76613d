//! `farthing-testnet bench`: what real validators on this machine reach, beside what signature checks alone would allow.
//!
//! In one run: (a) the signature bound ([`bound`]); (b) saturated throughput of validator processes that talk over libp2p and sync
//! their disks, of transfers that were signed before and sent through the API, counted when final and executed on all of them;
//! and the same with one bad signature in every request; (c) latency at parts of (b), in an open loop, from the intended send; and
//! at twice (b), where nothing may collapse; (d) what a transfer and an account cost. Ratios of figures of one run say more than the
//! figures: machines differ, and other programs take their share.
//!
//! With `--replay-blocks`, one thing instead: the restart of a validator that has to execute so many full blocks again. Its
//! validators write their state to disk more rarely than others, so nothing else is measured on them.

mod bound;
mod drive;
mod machine;
mod network;
mod phases;
mod plot;
mod report;
mod transfers;

use crate::accounts;
use crate::process::Binaries;
use crate::state::{self, StateDirectory, write_atomically};
use crate::topology::VALIDATORS_MAX;
use bound::Bound;
use clap::Args;
use machine::Machine;
use network::{Network, Settings, now_ms};
use phases::{Loaded, Phases};
use report::{Costs, MEMORY_ACCOUNTS_MIN, ReplayReport, Report};
use serde::Serialize;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use transfers::Senders;

/// How long signature checks are measured, before and after.
const BOUND_DURATION: Duration = Duration::from_secs(2);

/// The files that are left in the state directory.
const REPORT_FILE: &str = "bench.json";
const REPLAY_REPORT_FILE: &str = "replay.json";
const PLOT_FILE: &str = "bench.svg";

/// What the intervals between two flushes of the state are multiples of, in milliseconds, and the longest of them: as a validator's
/// configuration allows.
const FLUSH_INTERVAL_STEP_MS: u64 = 5_000;
const FLUSH_INTERVAL_MS_MAX: u64 = 600_000;

/// Options of `bench`.
#[derive(Args, Debug)]
pub struct Options {
    /// How many validators, all on this machine
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=VALIDATORS_MAX as i64))]
    validators: u8,
    /// How many accounts send and receive in turn
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2_000..=accounts::BENCHERS_MAX as i64))]
    accounts: u32,
    /// How long each of the six phases of load lasts
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=60))]
    seconds: u32,
    /// Have the validators keep the histories of accounts, which is full nodes' business otherwise
    #[arg(long)]
    history: bool,
    /// Measure a restart instead, after a kill with this many full blocks to execute again
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u32).range(1..=2_000))]
    replay_blocks: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Where the validators' files are kept meanwhile, and the results after [default: ~/.local/state/farthing/bench]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Measures, prints what was found, and leaves it in the state directory as JSON and as a picture.
///
/// # Errors
/// If the network cannot be started, ends, or its validators do not agree in the end.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let path = match &options.state {
        Some(path) => path.clone(),
        None => state::default_path()?.with_file_name("bench"),
    };
    let state = StateDirectory::open(&path, true)?;
    // The validators' databases are of no more use in the end, and large.
    if let Some(blocks) = options.replay_blocks {
        let (report, state) = measure_replay(&options, blocks.into(), state).await?;
        state.clear()?;
        return print(&options, &state, REPLAY_REPORT_FILE, &report, &report.table());
    }
    let (report, state) = measure(&options, state).await?;
    state.clear()?;
    write_atomically(&state.join(PLOT_FILE), &plot::draw(&report))?;
    print(&options, &state, REPORT_FILE, &report, &report.table())
}

/// Writes a report into the state directory, and prints it.
fn print(
    options: &Options,
    state: &StateDirectory,
    file: &str,
    report: &impl Serialize,
    table: &str,
) -> anyhow::Result<()> {
    let (json, path) = (serde_json::to_string(report)?, state.join(file));
    write_atomically(&path, &format!("{json}\n"))?;
    let mut out = std::io::stdout().lock();
    match options.json {
        true => writeln!(out, "{json}")?,
        false => writeln!(out, "{table}\nThis is left in {}", path.display())?,
    }
    Ok(())
}

async fn measure_replay(
    options: &Options,
    blocks: u64,
    state: StateDirectory,
) -> anyhow::Result<(ReplayReport, StateDirectory)> {
    let machine = Machine::look();
    let binaries = Binaries::find()?;
    let settings = Settings { flush_interval_ms: Some(flush_interval_ms(now_ms()?)), ..options.settings() };
    say(&format!("making {} accounts and starting validators", options.accounts));
    let senders = Senders::new(options.accounts as usize);
    let network = Network::start(state, &settings, senders.addresses(), &binaries).await?;
    let mut phases = Phases { network, senders, seconds: options.seconds };
    let restart = phases.fill_and_restart(blocks).await?;
    let executed = restart.blocks;
    anyhow::ensure!(
        executed >= blocks,
        "only {executed} blocks were executed again, the state had been written: try again"
    );
    phases.network.agree().await?;
    let Settings { validators, history, .. } = settings;
    let accounts = options.accounts as usize;
    Ok((ReplayReport { machine, validators, accounts, history, restart }, phases.network.stop().await?))
}

/// How long intervals between flushes have to be for the present one to last longest from now on: some seven to ten minutes.
fn flush_interval_ms(now_ms: u64) -> u64 {
    let steps = FLUSH_INTERVAL_MS_MAX / FLUSH_INTERVAL_STEP_MS;
    let intervals = (1..=steps).map(|steps| steps * FLUSH_INTERVAL_STEP_MS);
    intervals.max_by_key(|interval_ms| interval_ms - now_ms % interval_ms).expect("there are some")
}

impl Options {
    fn settings(&self) -> Settings {
        Settings { validators: usize::from(self.validators), history: self.history, flush_interval_ms: None }
    }
}

async fn measure(options: &Options, state: StateDirectory) -> anyhow::Result<(Report, StateDirectory)> {
    let (validators, accounts) = (usize::from(options.validators), options.accounts as usize);
    let machine = Machine::look();
    let binaries = Binaries::find()?;
    say("checking signatures");
    let bound_before = bound::measure(BOUND_DURATION)?;
    say("starting validators without accounts, for their memory");
    let settings = options.settings();
    let empty = Network::start(state, &settings, std::iter::empty(), &binaries).await?;
    let empty_bytes = empty.usage().await?.memory_bytes;
    let state = empty.stop().await?;
    say(&format!("making {accounts} accounts and starting validators"));
    let senders = Senders::new(accounts);
    let network = Network::start(state, &settings, senders.addresses(), &binaries).await?;
    let idle_bytes = network.usage().await?.memory_bytes;

    let mut phases = Phases { network, senders, seconds: options.seconds };
    let loaded = phases.run().await?;
    say("waiting for the validators to agree");
    phases.network.agree().await?;
    let (usage, executed) = (phases.network.usage().await?, phases.network.executed().await?);
    let disk_bytes = phases.network.disk_bytes()?;
    let restart = phases.restart(loaded.saturated.executed_per_second).await?;
    phases.network.agree().await?;
    // One that was restarted has not counted what it executed before.
    let executed_in_all = executed.max(phases.network.executed_most().await?);
    say("compacting a validator's database");
    let (state, compacted_bytes) = phases.network.stop_and_compact().await?;
    say("checking signatures again");
    let bound_after = bound::measure(BOUND_DURATION)?;

    let bounds = [bound_before, bound_after];
    let bound_per_second =
        bound_before.checks_per_second.max(bound_after.checks_per_second) / f64::from(options.validators);
    let costs = Costs {
        disk_bytes_per_transfer: disk_bytes as f64 / executed as f64 / validators as f64,
        compacted_bytes_per_transfer: compacted_bytes as f64 / executed_in_all as f64,
        memory_peak_bytes: usage.memory_peak_bytes,
        memory_bytes_per_account: (accounts >= MEMORY_ACCOUNTS_MIN)
            .then(|| idle_bytes.saturating_sub(empty_bytes) as f64 / accounts as f64),
        ..costs_of_load(&loaded, &bounds, validators)
    };
    let saturated = loaded.saturated.executed_per_second;
    let report = Report {
        machine,
        validators,
        accounts,
        history: options.history,
        seconds: options.seconds,
        signature_checks: bounds,
        signature_bound_per_second: bound_per_second,
        saturated: loaded.saturated,
        saturated_to_bound: saturated / bound_per_second,
        bad_signatures: loaded.bad_signatures,
        bad_signatures_to_saturated: loaded.bad_signatures.executed_per_second / saturated,
        partial_load: loaded.partial_load,
        overload: loaded.overload,
        overload_to_saturated: loaded.overload.executed_per_second / saturated,
        single_final_ms: loaded.single_final_ms,
        single_certified_ms: loaded.single_certified_ms,
        restart,
        costs,
    };
    Ok((report, state))
}

/// What a transfer took while the validators were saturated; the rest is left out.
fn costs_of_load(loaded: &Loaded, bounds: &[Bound; 2], validators: usize) -> Costs {
    let transfers = loaded.transfers_saturated as f64;
    let of_each = |total: f64| total / transfers / validators as f64;
    let cpu_us_per_transfer = of_each(loaded.used.cpu_seconds * 1e6);
    let generator_cpu_us_per_transfer = loaded.generator_cpu_seconds * 1e6 / transfers;
    let check_us = bounds[0].cpu_us.min(bounds[1].cpu_us);
    Costs {
        encoded_bytes: loaded.encoded_bytes,
        cpu_us_per_transfer,
        cpu_in_checks: cpu_us_per_transfer / check_us,
        bound_by_cpu: check_us / (cpu_us_per_transfer + generator_cpu_us_per_transfer / validators as f64),
        generator_cpu_us_per_transfer,
        wire_bytes_per_transfer: of_each(loaded.used.wire_bytes as f64),
        written_bytes_per_transfer: of_each(loaded.used.written_bytes as f64),
        ..Costs::default()
    }
}

/// Tells on standard error what is being done.
fn say(text: &str) {
    // Nobody reads it any more if this fails, which is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flush_is_due_for_minutes() {
        for now_ms in [0, 1, 599_999, 600_000, 1_795_367_111_999, 1_795_367_399_999] {
            let interval_ms = flush_interval_ms(now_ms);
            assert!(interval_ms.is_multiple_of(FLUSH_INTERVAL_STEP_MS) && interval_ms <= FLUSH_INTERVAL_MS_MAX);
            assert!(interval_ms - now_ms % interval_ms >= FLUSH_INTERVAL_MS_MAX * 2 / 3, "{now_ms}");
        }
    }
}
