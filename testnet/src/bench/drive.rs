//! Bringing signed transfers to the validators: as many as they take, or at a fixed rate whatever they take.
//!
//! Unlike `load`, a transfer is submitted once, to one validator, and what becomes of it is counted: a benchmark must not hide
//! that a network refuses work.

use super::network::executed_by_all;
use super::transfers::Signed;
use crate::load::latency::{Latencies, Summary};
use crate::load::schedule::Schedule;
use farthing_client::{Client, SubmitQuery, TransactionState, Wait};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// The most transfers of one request.
pub const REQUEST_MAX: usize = 512;

/// Requests in flight to each validator when as much is sent as it takes.
const LANES: usize = 8;

/// How long a transfer of an open loop may wait for others to share a request with. It counts as latency.
const TICK: Duration = Duration::from_millis(5);

/// The most requests in flight in an open loop; beyond that transfers are left unsent.
const REQUESTS_MAX: usize = 1_200;

/// How long a validator that refuses everything is left alone.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// How long a request waits for its transfers to be final.
const WAIT: Duration = Duration::from_secs(20);

/// How long the network rests between two single transfers.
const REST: Duration = Duration::from_millis(200);

/// What became of the transfers of one phase.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Tally {
    /// Sent at least once.
    pub sent: u64,
    /// Answered as executed in a final block.
    pub executed: u64,
    /// Refused by the validator they were sent to, for now or for good.
    pub refused: u64,
    /// Answered in another way, or not at all.
    pub other: u64,
    /// Due and not sent, because too many requests were open.
    pub unsent: u64,
}

/// What a phase measured.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Phase {
    /// Transfers a second that were to be sent; `None` if as many as were taken.
    pub offered_per_second: Option<f64>,
    /// Transfers a second that were final and executed on all validators, without the first fifth of the phase.
    pub executed_per_second: f64,
    /// From the intended send to the answer that it is final. Of an open loop only; otherwise all zero.
    pub latency_ms: Summary,
    /// What became of them.
    pub transfers: Tally,
}

/// Sends as much as the validators take for this long, each in requests of its own.
pub async fn saturate(clients: &[Client], signed: Signed, duration: Duration) -> anyhow::Result<Phase> {
    let (signed, next, end) = (Arc::new(signed), Arc::new(AtomicUsize::new(0)), Instant::now() + duration);
    let mut lanes = JoinSet::new();
    for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, LANES)) {
        lanes.spawn(lane(client.clone(), signed.clone(), next.clone(), end));
    }
    let executed_per_second = executed_rate(clients, duration).await?;
    let mut transfers = Tally::default();
    while let Some(lane) = lanes.join_next().await {
        transfers.add(lane?);
    }
    let ran_out = next.load(Ordering::Relaxed) >= signed.len();
    anyhow::ensure!(!ran_out, "the {} signed transfers were sent before the time was up", signed.len());
    Ok(Phase { offered_per_second: None, executed_per_second, latency_ms: Summary::default(), transfers })
}

/// Sends at a fixed rate for this long, to the validators in turn.
pub async fn open_loop(clients: &[Client], signed: Signed, rate: u32, seconds: u32) -> anyhow::Result<Phase> {
    let schedule = Schedule::new(rate, seconds);
    assert_eq!(schedule.total(), signed.len() as u64, "exactly what will be sent is signed");
    let sampler = tokio::spawn({
        let clients = clients.to_vec();
        async move { executed_rate(&clients, Duration::from_secs(seconds.into())).await }
    });
    let start = Instant::now();
    let (mut transfers, mut latencies) = (Tally::default(), Latencies::default());
    let mut requests = JoinSet::new();
    let (mut sent, mut turn) = (0, 0);
    while sent < signed.len() || !requests.is_empty() {
        let due = schedule.due(start.elapsed()) as usize;
        while sent < due {
            let range = sent..due.min(sent + REQUEST_MAX);
            sent = range.end;
            if requests.len() >= REQUESTS_MAX {
                transfers.unsent += range.len() as u64;
                continue;
            }
            let (client, body) = (clients[turn % clients.len()].clone(), signed.body(range.clone()));
            turn += 1;
            requests.spawn(async move { (range.clone(), submit(&client, body, range.len()).await, Instant::now()) });
        }
        let tick = if sent < signed.len() { Instant::now() + TICK } else { start + WAIT * 1_000 };
        tokio::select! {
            Some(answered) = requests.join_next() => {
                let (range, answer, finished) = answered?;
                for (index, executed) in range.zip(&answer.executed) {
                    if *executed {
                        latencies.push(finished - (start + schedule.intended(index as u64)));
                    }
                }
                transfers.add(answer.tally());
            }
            () = sleep_until(tick) => {}
        }
    }
    let (offered, latency_ms) = (Some(f64::from(rate)), latencies.summary());
    Ok(Phase { offered_per_second: offered, executed_per_second: sampler.await??, latency_ms, transfers })
}

/// Sends transfers one by one, each after the one before is settled as `wait` says. Returns the latencies.
pub async fn one_by_one(client: &Client, signed: &Signed, wait: Wait) -> anyhow::Result<Summary> {
    let mut latencies = Latencies::default();
    for index in 0..signed.len() {
        let started = Instant::now();
        let query = SubmitQuery { wait, timeout_ms: Some(WAIT.as_millis() as u64) };
        let answer = client.submit_bytes(signed.body(index..index + 1), query).await?;
        let executed = answer.transactions.iter().all(|status| status.status == TransactionState::Executed);
        anyhow::ensure!(executed, "a single transfer was not executed: {:?}", answer.transactions);
        latencies.push(started.elapsed());
        sleep(REST).await;
    }
    Ok(latencies.summary())
}

/// Of an answer what is counted: reading all of it would take a tenth as long as what is measured.
#[derive(Deserialize)]
struct States {
    transactions: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    status: TransactionState,
}

/// What a validator answered to one request.
struct Answer {
    /// For each transfer, whether it was executed.
    executed: Vec<bool>,
    refused: u64,
}

impl Answer {
    fn tally(&self) -> Tally {
        let (sent, executed) = (self.executed.len() as u64, self.executed.iter().filter(|done| **done).count() as u64);
        Tally { sent, executed, refused: self.refused, other: sent - executed - self.refused, unsent: 0 }
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.sent += other.sent;
        self.executed += other.executed;
        self.refused += other.refused;
        self.other += other.other;
        self.unsent += other.unsent;
    }
}

/// Sends what is left, request by request, until the end. What was refused as a whole is sent again.
async fn lane(client: Client, signed: Arc<Signed>, next: Arc<AtomicUsize>, end: Instant) -> Tally {
    let mut transfers = Tally::default();
    while Instant::now() < end {
        let start = next.fetch_add(REQUEST_MAX, Ordering::Relaxed);
        let range = start..signed.len().min(start + REQUEST_MAX);
        if range.is_empty() {
            break;
        }
        let mut answer = submit(&client, signed.body(range.clone()), range.len()).await;
        while answer.refused == range.len() as u64 && Instant::now() < end {
            sleep(REFUSED_PAUSE).await;
            answer = submit(&client, signed.body(range.clone()), range.len()).await;
        }
        transfers.add(answer.tally());
    }
    transfers
}

async fn submit(client: &Client, body: Vec<u8>, count: usize) -> Answer {
    let query = SubmitQuery { wait: Wait::Final, timeout_ms: Some(WAIT.as_millis() as u64) };
    match client.submit_bytes_as(body, query).await {
        Ok(States { transactions }) if transactions.len() == count => {
            let states = || transactions.iter().map(|status| status.status);
            let refused = states().filter(|state| *state == TransactionState::Dropped).count() as u64;
            let executed = states().map(|state| state == TransactionState::Executed);
            Answer { executed: executed.collect(), refused }
        }
        Ok(_) => Answer { executed: vec![false; count], refused: 0 },
        Err(error) => {
            let refused = if error.may_have_arrived() { 0 } else { count as u64 };
            Answer { executed: vec![false; count], refused }
        }
    }
}

/// How many transfers a second all validators execute from a fifth of this time on to its end.
async fn executed_rate(clients: &[Client], duration: Duration) -> anyhow::Result<f64> {
    let start = Instant::now();
    sleep_until(start + duration / 5).await;
    let (first, since) = (executed_by_all(clients).await?, Instant::now());
    sleep_until(start + duration).await;
    let last = executed_by_all(clients).await?;
    Ok((last - first) as f64 / since.elapsed().as_secs_f64())
}
