//! What a benchmark found, as JSON and as a table.

use super::bound::Bound;
use super::drive::{Phase, REQUEST_MAX};
use super::machine::Machine;
use super::phases::SHARES;
use crate::load::latency::Summary;
use serde::Serialize;
use std::fmt::Write as _;

/// How many accounts there must be to say what memory each takes.
pub const MEMORY_ACCOUNTS_MIN: usize = 100_000;

/// How wide the labels of a table are: a little more than the longest.
const LABEL_WIDTH: usize = 40;

/// Everything that a benchmark found. Ratios are of figures of the same run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The machine and the build.
    pub machine: Machine,
    /// How many validators there were, all on this machine.
    pub validators: usize,
    /// How many accounts sent and received in turn.
    pub accounts: usize,
    /// Whether the validators kept the histories of accounts.
    pub history: bool,
    /// How long each phase lasted, in seconds.
    pub seconds: u32,
    /// (a) Signature checks, before the validators started and after they ended.
    pub signature_checks: [Bound; 2],
    /// The faster of the two divided by the number of validators: transfers a second that checks alone would allow.
    pub signature_bound_per_second: f64,
    /// (b) As much as the validators take.
    pub saturated: Phase,
    /// (b)/(a).
    pub saturated_to_bound: f64,
    /// The same with one bad signature in every request.
    pub bad_signatures: Phase,
    /// What is executed then, divided by (b).
    pub bad_signatures_to_saturated: f64,
    /// (c) At 10 %, 50 % and 90 % of (b).
    pub partial_load: Vec<Phase>,
    /// At twice (b).
    pub overload: Phase,
    /// What is executed at twice (b), divided by (b).
    pub overload_to_saturated: f64,
    /// Single transfers on an idle network, in milliseconds to final.
    pub single_final_ms: Summary,
    /// Single transfers on an idle network, in milliseconds to certified.
    pub single_certified_ms: Summary,
    /// A validator that was killed under load.
    pub restart: Restart,
    /// (d)
    pub costs: Costs,
}

/// The restart of a validator that was killed.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Restart {
    /// Until it is ready: to check its state, to execute again what it had not written of it, and to fetch what it missed.
    pub seconds: f64,
    /// Blocks executed again.
    pub blocks: u64,
    /// The transactions in them.
    pub transactions: u64,
}

/// What a restart with many blocks to execute again took.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReplayReport {
    /// The machine and the build.
    pub machine: Machine,
    /// How many validators there were, all on this machine.
    pub validators: usize,
    /// How many accounts there were.
    pub accounts: usize,
    /// Whether the validators kept the histories of accounts.
    pub history: bool,
    /// What it took.
    pub restart: Restart,
}

/// What a transfer and an account take.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Costs {
    /// The encoded, signed transfer.
    pub encoded_bytes: usize,
    /// Processor time of one validator, while saturated, in microseconds.
    pub cpu_us_per_transfer: f64,
    /// The same divided by the processor time of a signature check.
    pub cpu_in_checks: f64,
    /// (b)/(a) by processor time, that of the load generator included: it does not depend on what else the machine does.
    pub bound_by_cpu: f64,
    /// Processor time of the load generator, while saturated, in microseconds.
    pub generator_cpu_us_per_transfer: f64,
    /// Bytes of frames that one validator sends, while saturated.
    pub wire_bytes_per_transfer: f64,
    /// Bytes that one validator hands to the disk, while saturated: logs, tables, compactions.
    pub written_bytes_per_transfer: f64,
    /// Bytes that one validator's files take after all of it, logs included and without a compaction asked for.
    pub disk_bytes_per_transfer: f64,
    /// The same of one validator that was stopped after its restart and whose database was compacted, without RocksDB's text about itself.
    pub compacted_bytes_per_transfer: f64,
    /// The most memory of any validator, in bytes.
    pub memory_peak_bytes: u64,
    /// What an account adds to a validator's memory when it has just started, in bytes; `None` of fewer than
    /// [`MEMORY_ACCOUNTS_MIN`], which are lost among other things.
    pub memory_bytes_per_account: Option<f64>,
}

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = heading(&self.machine, self.validators, self.accounts, self.history);
        let mut line = |label: &str, value: String| add_line(&mut text, label, &value);
        for (when, bound) in ["before", "after"].iter().zip(&self.signature_checks) {
            let Bound { checks_per_second, cpu_us } = bound;
            line(&format!("signature checks, {when}"), format!("{checks_per_second:.0}/s, {cpu_us:.2} µs each"));
        }
        line("(a) bound by signatures", format!("{:.0} transfers/s", self.signature_bound_per_second));
        line("(b) saturated", phase(&self.saturated));
        let by_cpu = self.costs.bound_by_cpu;
        line("    (b)/(a)", format!("{:.3}; by processor time {by_cpu:.3}", self.saturated_to_bound));
        line(
            &format!("    one of {REQUEST_MAX} signatures bad"),
            format!("{}: {:.2} of (b)", phase(&self.bad_signatures), self.bad_signatures_to_saturated),
        );
        for (share, measured) in SHARES.iter().zip(&self.partial_load) {
            line(&format!("(c) at {share} % of (b)"), phase(measured));
        }
        line("    at twice (b)", phase(&self.overload));
        line("    executed there/(b)", format!("{:.3}", self.overload_to_saturated));
        line("    single transfer, final", latency(&self.single_final_ms));
        line("    single transfer, certified", latency(&self.single_certified_ms));
        line("    restart after a kill under load", restart(&self.restart));
        let costs = &self.costs;
        let mib = costs.memory_peak_bytes as f64 / f64::from(1 << 20);
        line("(d) encoded transfer", format!("{} bytes", costs.encoded_bytes));
        line(
            "    CPU, transfer and validator",
            format!("{:.1} µs = {:.2} signature checks", costs.cpu_us_per_transfer, costs.cpu_in_checks),
        );
        line("    CPU of the load generator", format!("{:.1} µs a transfer", costs.generator_cpu_us_per_transfer));
        line("    sent, transfer and validator", format!("{:.0} bytes", costs.wire_bytes_per_transfer));
        line("    written, transfer and validator", format!("{:.0} bytes", costs.written_bytes_per_transfer));
        line("    on disk, transfer and validator", format!("{:.0} bytes", costs.disk_bytes_per_transfer));
        let compacted = costs.compacted_bytes_per_transfer;
        let in_transfers = compacted / costs.encoded_bytes as f64;
        line("    on disk after compaction", format!("{compacted:.0} bytes = {in_transfers:.2} × its encoded size"));
        line("    peak memory of a validator", format!("{mib:.0} MiB"));
        let memory = match costs.memory_bytes_per_account {
            Some(bytes) => format!("{bytes:.0} bytes"),
            None => format!("not measured with fewer than {MEMORY_ACCOUNTS_MIN}"),
        };
        line("    memory of an account", memory);
        text
    }
}

impl ReplayReport {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = heading(&self.machine, self.validators, self.accounts, self.history);
        add_line(&mut text, "restart after a kill", &restart(&self.restart));
        text
    }
}

fn heading(machine: &Machine, validators: usize, accounts: usize, history: bool) -> String {
    let Machine { cpu, cores, memory_mib, load_average, build, curve_arithmetic } = machine;
    let history = if history { "with" } else { "without" };
    let mut text = String::new();
    let machine = format!("{cpu}, {cores} cores, {memory_mib} MiB; load average before: {load_average}");
    add_line(&mut text, "machine", &machine);
    add_line(&mut text, "build", &format!("{build}, curve arithmetic with {curve_arithmetic}"));
    let network = format!("{validators} validators {history} histories, {accounts} accounts, all on this machine");
    add_line(&mut text, "network", &network);
    text
}

fn add_line(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "{label:<LABEL_WIDTH$}{value}");
}

fn restart(restart: &Restart) -> String {
    let Restart { seconds, blocks, transactions } = restart;
    format!("{seconds:.1} s, {blocks} blocks with {transactions} transactions executed again")
}

fn phase(phase: &Phase) -> String {
    let mut text = format!("{:.0}/s", phase.executed_per_second);
    if let Some(offered) = phase.offered_per_second {
        let _ = write!(text, " of {offered:.0}/s, {}", latency(&phase.latency_ms));
    }
    let transfers = &phase.transfers;
    for (count, label) in [(transfers.refused, "refused"), (transfers.other, "unknown"), (transfers.unsent, "unsent")] {
        if count > 0 {
            let _ = write!(text, ", {count} {label}");
        }
    }
    text
}

fn latency(summary: &Summary) -> String {
    let Summary { p50, p90, p99, max } = summary;
    format!("p50 {p50:.0} ms, p90 {p90:.0} ms, p99 {p99:.0} ms, max {max:.0} ms")
}
