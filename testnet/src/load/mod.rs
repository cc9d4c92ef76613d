//! `farthing-testnet load`: real signed transfers at a fixed rate, and how soon they are final.
//!
//! The loop is open: a transfer is sent when its time has come, however slow the network is, and its latency counts from the
//! time at which it was *to be* sent, so that a slow network cannot hide behind a sender that waits for it. Transfers that
//! fall due within [`TICK`] share a request; that wait counts as latency too. The transfers go round among the load
//! generator's accounts, one mite each, so that what those have together never changes; with `--mixed`, operations of every kind do
//! ([`workload`]).

pub mod check;
pub mod latency;
pub mod schedule;
mod senders;
mod submit;
mod workload;

use crate::accounts;
use crate::ready::{Find, Network};
use crate::state;
use anyhow::{Context as _, bail};
use check::Check;
use clap::Args;
use farthing_client::{Client, validity_ms};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::hash::ChainHash;
use farthing_core::transaction::{Authority, Transaction};
use latency::{Latencies, Summary};
use schedule::Schedule;
use senders::Senders;
use serde::Serialize;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use submit::{Nodes, Outcome, Settled, Transfer, submit};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use workload::Workload;

/// How long a transfer may wait for others to share a request with.
const TICK: Duration = Duration::from_millis(10);

/// The most transfers of one request.
const BATCH_MAX: usize = 256;

/// The most requests in flight.
const REQUESTS_MAX: usize = 400;

/// The most transfers of one run, each of which takes a few bytes of memory.
const TRANSFERS_MAX: u64 = 20_000_000;

/// How far sending may fall behind at the end before the rest is left unsent.
const LATE_MAX: Duration = Duration::from_secs(1);

/// How long to wait for outcomes after the last transfer is sent.
const DRAIN: Duration = Duration::from_secs(30);

/// Options of `load`.
#[derive(Args, Debug)]
pub struct Options {
    /// Transfers a second
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// For how long
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Not transfers alone: holds, captures, keys and policies, too
    #[arg(long)]
    mixed: bool,
    /// Afterwards, check that all nodes have the same state root and that no money was made or lost
    #[arg(long)]
    check: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    find: Find,
}

/// What a run measured.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    /// Transfers that were sent.
    submitted: u64,
    /// Of these, executed in a final block.
    #[serde(rename = "final")]
    executed: u64,
    /// Of these, in a final block with no effect.
    rejected: u64,
    /// Of these, refused or left out.
    dropped: u64,
    /// Of these, nobody said in time what became of them.
    unknown: u64,
    /// Transfers that were due and not sent, because too many were in flight.
    unsent: u64,
    /// Executed transfers a second: over the run's seconds, or from the first to the last final answer if that was longer.
    tps: f64,
    /// From the intended send to the answer that it is final.
    latency_ms: Summary,
    /// What `--check` found.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}

/// Runs the load and prints what it measured.
///
/// # Errors
/// If no testnet is found, nothing becomes final, or the check fails.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let report = measure(&options).await?;
    print(&report, options.json)?;
    anyhow::ensure!(report.executed > 0, "no transfer became final");
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let schedule = Schedule::new(options.rate, options.seconds);
    if schedule.total() > TRANSFERS_MAX {
        bail!("{} transfers are too many for one run: at most {TRANSFERS_MAX}", schedule.total());
    }
    let network = options.find.network()?;
    let lock = state::try_lock(&network.lock_path("load.lock"))?;
    let _lock = lock.context("another load runs on this testnet, with the same accounts: wait for it to end")?;
    let wallet = LoadWallet::new(&network, options.mixed);
    let addresses = wallet.addresses(&network);
    if options.check {
        check::wait_for_agreement(&network.clients).await?;
    }
    let live = network.live_clients().await?;
    let accounts = check::read_accounts(&live[0], &addresses).await?;
    let senders = Senders::new(accounts.iter().map(|account| account.next_nonce));

    let (mut report, locked) = Run::new(schedule, options.seconds, wallet, senders).drive(live).await;
    if options.check {
        if options.mixed && report.unknown > 0 {
            bail!("nothing is known of {} transactions, so the money cannot be counted", report.unknown);
        }
        report.check = Some(check_after(&network, &addresses, check::total(&accounts), locked).await?);
    }
    Ok(report)
}

/// The load generator's accounts, and what is needed to sign for them.
struct LoadWallet {
    chain: ChainHash,
    validity_ms: u64,
    workload: Workload,
}

impl LoadWallet {
    fn new(network: &Network, mixed: bool) -> LoadWallet {
        let (chain, parameters) = (network.genesis.chain_hash(), network.genesis.parameters());
        let keys = accounts::loaders().map(|name| accounts::key(&name)).collect();
        let workload = Workload::new(chain, parameters, keys, mixed, unix_ms());
        LoadWallet { chain, validity_ms: validity_ms(parameters), workload }
    }

    fn addresses(&self, network: &Network) -> Vec<String> {
        let prefix = network.genesis.prefix();
        self.workload.keys().iter().map(|key| Address(key.public_key()).encode(prefix)).collect()
    }

    /// Signs what the account of this slot does next.
    fn sign(&mut self, slot: senders::Slot, intended: Instant, now_ms: u64) -> Transfer {
        let (operation, work) = self.workload.next(slot.sender, now_ms);
        let key = &self.workload.keys()[slot.sender];
        let transaction = Transaction {
            sender: Address(key.public_key()),
            authority: Authority::Root,
            nonce: slot.nonce,
            valid_until_ms: now_ms + self.validity_ms,
            operation,
        };
        let id = transaction.id(&self.chain);
        Transfer { slot, intended, bytes: transaction.sign(&self.chain, key).encode(), id, work }
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// A run in progress. One task owns it; requests run in tasks of their own.
struct Run {
    schedule: Schedule,
    seconds: u32,
    wallet: LoadWallet,
    senders: Senders,
    sent: u64,
    report: Report,
    latencies: Latencies,
    first_final: Option<Instant>,
    last_final: Option<Instant>,
    progress: Progress,
}

impl Run {
    fn new(schedule: Schedule, seconds: u32, wallet: LoadWallet, senders: Senders) -> Run {
        Run {
            schedule,
            seconds,
            wallet,
            senders,
            sent: 0,
            report: Report::default(),
            latencies: Latencies::default(),
            first_final: None,
            last_final: None,
            progress: Progress::new(),
        }
    }

    /// Sends what is due when it is due, then waits for what is open. Returns what it measured, and what the accounts have in holds
    /// and keys.
    async fn drive(mut self, clients: Vec<Client>) -> (Report, Amount) {
        let nodes = Arc::new(Nodes::new(clients));
        let mut requests = JoinSet::new();
        let start = Instant::now();
        let end = start + Duration::from_secs(self.seconds.into());
        let mut next_tick = start;
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = self.send_due(&nodes, &mut requests, start, end + DRAIN);
            }
            // Whoever was held up until now has sent what was due: what is left is what the bounds on open requests kept back.
            if self.sent == self.schedule.total() || now >= end + LATE_MAX {
                break;
            }
            tokio::select! {
                Some(settled) = requests.join_next() => self.record(settled.expect("a request's task does not panic")),
                () = sleep_until(next_tick) => {}
            }
            self.progress.show(start, self.sent, &self.report);
        }
        while let Some(settled) = requests.join_next().await {
            self.record(settled.expect("a request's task does not panic"));
            self.progress.show(start, self.sent, &self.report);
        }
        self.progress.clear();
        let locked = self.wallet.workload.locked();
        (self.finish(), locked)
    }

    /// Sends what is due, as far as the bounds on what is in flight allow. Returns when to look again.
    fn send_due(
        &mut self,
        nodes: &Arc<Nodes>,
        requests: &mut JoinSet<Vec<Settled>>,
        start: Instant,
        give_up: Instant,
    ) -> Instant {
        let now = Instant::now();
        let due = self.schedule.due(now - start);
        let now_ms = unix_ms();
        while self.sent < due && requests.len() < REQUESTS_MAX {
            let mut batch = Vec::new();
            while self.sent < due && batch.len() < BATCH_MAX {
                let Some(slot) = self.senders.take() else { break };
                let intended = start + self.schedule.intended(self.sent);
                batch.push(self.wallet.sign(slot, intended, now_ms));
                self.sent += 1;
            }
            if batch.is_empty() {
                break;
            }
            requests.spawn(submit(nodes.clone(), batch, give_up));
        }
        let next = start + self.schedule.intended(self.sent.min(self.schedule.total() - 1));
        next.max(now + TICK)
    }

    fn record(&mut self, settled: Vec<Settled>) {
        for transfer in settled {
            self.senders.settle(transfer.slot);
            match transfer.outcome {
                Outcome::Final => {
                    self.wallet.workload.executed(transfer.id, transfer.work);
                    self.report.executed += 1;
                    self.latencies.push(transfer.finished - transfer.intended);
                    self.first_final = self.first_final.or(Some(transfer.finished)).min(Some(transfer.finished));
                    self.last_final = self.last_final.max(Some(transfer.finished));
                }
                Outcome::Rejected => self.report.rejected += 1,
                Outcome::Dropped => self.report.dropped += 1,
                Outcome::Unknown => self.report.unknown += 1,
            }
        }
    }

    fn finish(mut self) -> Report {
        let report = &mut self.report;
        assert_eq!(self.senders.open(), 0, "every transfer has an outcome");
        report.submitted = self.sent;
        report.unsent = self.schedule.total() - self.sent;
        assert_eq!(report.submitted, report.executed + report.rejected + report.dropped + report.unknown);
        assert_eq!(report.executed, self.latencies.count() as u64);
        if let (Some(first), Some(last)) = (self.first_final, self.last_final) {
            let seconds = (last - first).as_secs_f64().max(f64::from(self.seconds));
            report.tps = (report.executed as f64 / seconds * 10.0).round() / 10.0;
        }
        report.latency_ms = self.latencies.summary();
        self.report
    }
}

/// Waits for the nodes to come to rest and compares what the accounts have with what they had.
async fn check_after(network: &Network, addresses: &[String], before: Amount, locked: Amount) -> anyhow::Result<Check> {
    let (status, nodes) = check::wait_for_agreement(&network.clients).await?;
    let live = network.live_clients().await?;
    let after = check::total(&check::read_accounts(&live[0], addresses).await?);
    if after.checked_add(locked) != Some(before) {
        bail!(
            "money was made or lost: the load accounts had {before} together and have {after}, and {locked} in holds and keys"
        );
    }
    Ok(Check {
        state_root: status.state_root.root.to_string(),
        height: status.state_root.height,
        nodes,
        nodes_down: network.clients.len() - nodes,
        balances: after,
    })
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    let Report { submitted, executed, rejected, dropped, unknown, unsent, tps, latency_ms, check } = report;
    let Summary { p50, p90, p99, max } = latency_ms;
    writeln!(out, "submitted  {submitted}")?;
    writeln!(out, "final      {executed}  ({tps} a second)")?;
    for (label, count) in [("rejected", rejected), ("dropped", dropped), ("unknown", unknown), ("unsent", unsent)] {
        if *count > 0 {
            writeln!(out, "{label:<10} {count}")?;
        }
    }
    writeln!(
        out,
        "latency    p50 {p50:.0} ms  p90 {p90:.0} ms  p99 {p99:.0} ms  max {max:.0} ms, from the intended send"
    )?;
    if let Some(Check { state_root, height, nodes, nodes_down, balances }) = check {
        writeln!(out, "check      {nodes} nodes agree at height {height} on state root {state_root}")?;
        writeln!(
            out,
            "           {nodes_down} nodes down; the load accounts have {balances} together, nothing is missing"
        )?;
    }
    Ok(())
}

/// A line on a terminal's standard error, renewed every second.
struct Progress {
    is_terminal: bool,
    shown_second: u64,
}

impl Progress {
    fn new() -> Progress {
        Progress { is_terminal: std::io::stderr().is_terminal(), shown_second: 0 }
    }

    fn show(&mut self, start: Instant, sent: u64, report: &Report) {
        let second = start.elapsed().as_secs();
        if !self.is_terminal || second == self.shown_second {
            return;
        }
        self.shown_second = second;
        let (executed, failed) = (report.executed, report.rejected + report.dropped + report.unknown);
        let open = sent - executed - failed;
        let _ = write!(
            std::io::stderr(),
            "\r\x1b[K{second} s  sent {sent}  final {executed}  open {open}  failed {failed}"
        );
    }

    fn clear(&self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests;
