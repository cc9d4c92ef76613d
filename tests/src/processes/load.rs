//! A load of transfers through all nodes, and the journal of what was sent and what was acknowledged.
//!
//! Each sender has one transfer open at a time. The same bytes go to one node after the other until one says that the transfer is
//! in a block. Now and then a sender signs two different transfers with the same nonce and offers them to two nodes at once:
//! exactly one of them must come through.

use super::cluster::Shared;
use crate::sim::random::Random;
use farthing_client::{BlockPosition, Client, DroppedReason, SubmitQuery, TransactionState, TransactionStatus, Wait};
use farthing_core::amount::Amount;
use farthing_core::block::ResultCode;
use farthing_core::transaction::{Output, TransactionId};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a node is asked to wait for finality, in milliseconds.
const WAIT_MS: u64 = 2_000;

/// How long an answer is waited for before another node is asked.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// How long open transfers are pursued after the load was told to stop.
const SETTLE_MAX: Duration = Duration::from_secs(40);

/// The pause before the same bytes go to another node.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// One transfer in so many has a twin.
const TWINS_PER_MILLION: u32 = 50_000;

/// What to send.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The accounts that send, by their numbers in the genesis document.
    pub senders: Range<usize>,
    /// Transfers a second, of all senders together, as long as they are final soon enough.
    pub per_second: u32,
    /// The nodes that transfers are offered to.
    pub nodes: Vec<usize>,
}

/// A transfer that was sent.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its id.
    pub id: TransactionId,
    /// The number of the account that pays.
    pub sender: usize,
    /// The nonce.
    pub nonce: u64,
    /// The number of the account that is paid.
    pub to: usize,
    /// How much.
    pub amount: Amount,
    /// Whether another transfer has the same nonce.
    pub twin: bool,
    /// What became of it, as far as a node said.
    pub outcome: Outcome,
}

/// What a node said of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing for sure.
    Open,
    /// It is final.
    Acknowledged {
        /// Its result.
        code: ResultCode,
        /// Where.
        block: BlockPosition,
        /// The node that said so.
        node: usize,
        /// How long after it was sent first.
        after: Duration,
    },
    /// Its nonce was used by its twin.
    Refused,
}

/// A load that runs.
pub struct Load {
    runtime: Handle,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// One sender's work.
struct Sender {
    shared: Arc<Shared>,
    options: LoadOptions,
    account: usize,
    random: Random,
    stop: CancellationToken,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Load {
    pub(super) fn start(runtime: &Handle, shared: &Arc<Shared>, options: &LoadOptions) -> Load {
        assert!(!options.senders.is_empty() && options.per_second > 0 && !options.nodes.is_empty());
        let stop = CancellationToken::new();
        let entries = Arc::default();
        let start_sender = |account| {
            let sender = Sender {
                shared: shared.clone(),
                options: options.clone(),
                account,
                random: Random::new(super::unix_ms(), &format!("sender {account}")),
                stop: stop.clone(),
                entries: Arc::clone(&entries),
            };
            runtime.spawn(sender.run())
        };
        let tasks = options.senders.clone().map(start_sender).collect();
        Load { runtime: runtime.clone(), shared: shared.clone(), stop, tasks, entries }
    }

    /// How many transfers are acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        let entries = self.entries.lock().expect("no sender panics while it holds this lock");
        entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Acknowledged { .. })).count()
    }

    /// The journal so far.
    pub fn journal(&self) -> Vec<Entry> {
        self.entries.lock().expect("no sender panics while it holds this lock").clone()
    }

    /// Waits until `more` more transfers are acknowledged, and returns how long that took.
    ///
    /// # Panics
    /// If it takes longer than `patience`.
    pub fn wait_for_more(&self, more: usize, patience: Duration) -> Duration {
        let (start, from) = (Instant::now(), self.acknowledged());
        while self.acknowledged() < from + more {
            let waited = start.elapsed();
            let found = self.acknowledged() - from;
            assert!(
                waited < patience,
                "{found} of {more} transfers were final in {waited:?}: {}",
                self.describe_nodes()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        start.elapsed()
    }

    /// Where every node is, for people who wonder why nothing goes on.
    fn describe_nodes(&self) -> String {
        let describe =
            |client: &Client| match self.runtime.block_on(async { timeout(ANSWER_MAX, client.status()).await }) {
                Ok(Ok(status)) => format!(
                    "round {}, commit {}, height {}, {} peers, {} transactions wait{}",
                    status.round,
                    status.commit_index,
                    status.height,
                    status.peers_connected,
                    status.mempool_transactions,
                    if status.ready { "" } else { ", not ready" },
                ),
                _ => "no answer".into(),
            };
        let nodes: Vec<String> = self.shared.clients.iter().map(describe).collect();
        nodes.join("; ")
    }

    /// Stops sending, waits for what is open, and returns the journal.
    pub fn stop(mut self) -> Vec<Entry> {
        self.stop.cancel();
        let tasks = std::mem::take(&mut self.tasks);
        self.runtime.block_on(async {
            for task in tasks {
                task.await.expect("a sender does not panic");
            }
        });
        let mut entries = self.entries.lock().expect("no sender panics while it holds this lock");
        std::mem::take(&mut entries)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Sender {
    async fn run(mut self) {
        let pause = Duration::from_secs(self.options.senders.len() as u64) / self.options.per_second;
        // So that senders do not all send at once.
        sleep(pause.mul_f64(self.random.range(0..=1_000) as f64 / 1_000.0)).await;
        while !self.stop.is_cancelled() {
            let started = Instant::now();
            if self.random.chance(TWINS_PER_MILLION) {
                self.send_twins().await;
            } else {
                let (place, bytes, first) = self.sign(None);
                self.pursue(place, bytes, first).await;
            }
            tokio::select! {
                () = sleep(pause.saturating_sub(started.elapsed())) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn send_twins(&mut self) {
        let (one, one_bytes, first) = self.sign(None);
        let nonce = self.entries()[one].nonce;
        let (two, two_bytes, _) = self.sign(Some(nonce));
        self.entries()[one].twin = true;
        let second = (first + 1) % self.options.nodes.len();
        tokio::join!(self.pursue(one, one_bytes, first), self.pursue(two, two_bytes, second));
    }

    /// Signs a transfer and enters it into the journal: its place there, its bytes, and which node is to have it first.
    fn sign(&mut self, twin_of: Option<u64>) -> (usize, Vec<u8>, usize) {
        let accounts = self.shared.keys.len();
        let to = (self.account + 1 + self.random.position(accounts - 1)) % accounts;
        let amount = Amount::from_mites(self.random.range(1..=1_000));
        let nonce = twin_of.unwrap_or_else(|| self.shared.next_nonces[self.account].fetch_add(1, Ordering::Relaxed));
        let output = Output { to: self.shared.address(to), amount, reference: Some(self.random.bytes()), open: false };
        let signed = self.shared.sign(self.account, nonce, vec![output]);
        let entry = Entry {
            id: signed.transaction.id(&self.shared.chain),
            sender: self.account,
            nonce,
            to,
            amount,
            twin: twin_of.is_some(),
            outcome: Outcome::Open,
        };
        let mut entries = self.entries();
        entries.push(entry);
        let place = entries.len() - 1;
        drop(entries);
        (place, signed.encode(), self.random.position(self.options.nodes.len()))
    }

    /// Offers the same bytes to one node after the other until the outcome is known.
    async fn pursue(&self, place: usize, bytes: Vec<u8>, first: usize) {
        let started = Instant::now();
        let mut give_up = None;
        for turn in first.. {
            if self.stop.is_cancelled() {
                let deadline = *give_up.get_or_insert_with(|| Instant::now() + SETTLE_MAX);
                if Instant::now() > deadline {
                    return;
                }
            }
            let node = self.options.nodes[turn % self.options.nodes.len()];
            if let Some(outcome) = self.offer(node, place, bytes.clone(), started).await {
                self.entries()[place].outcome = outcome;
                return;
            }
            sleep(RETRY_AFTER).await;
        }
    }

    async fn offer(&self, node: usize, place: usize, bytes: Vec<u8>, started: Instant) -> Option<Outcome> {
        let client = &self.shared.clients[node];
        let query = SubmitQuery { wait: Wait::Final, timeout_ms: Some(WAIT_MS) };
        let answer = timeout(ANSWER_MAX, client.submit_bytes(bytes, query)).await.ok()?.ok()?;
        let [status] = &answer.transactions[..] else { panic!("one transaction has {answer:?}") };
        let entry = self.entries()[place].clone();
        assert_eq!(status.id, entry.id, "node {node} answers for another transaction");
        if status.status == TransactionState::Dropped && status.reason == Some(DroppedReason::NonceUsed) {
            // An earlier offer of these bytes may have come through, or else the twin.
            let known = timeout(ANSWER_MAX, client.transaction(&entry.id)).await.ok()?.ok()?;
            return acknowledged(node, &known, started).or(entry.twin.then_some(Outcome::Refused));
        }
        acknowledged(node, status, started)
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().expect("no sender panics while it holds this lock")
    }
}

fn acknowledged(node: usize, status: &TransactionStatus, started: Instant) -> Option<Outcome> {
    match status.status {
        TransactionState::Executed | TransactionState::Rejected => Some(Outcome::Acknowledged {
            code: status.code.expect("what is in a block has a result"),
            block: status.block.expect("what is in a block has a place"),
            node,
            after: started.elapsed(),
        }),
        _ => None,
    }
}

/// How long those of these that became final took, the quickest first.
pub fn latencies(entries: &[Entry]) -> Vec<Duration> {
    let times = entries.iter().filter_map(|entry| match entry.outcome {
        Outcome::Acknowledged { after, .. } => Some(after),
        _ => None,
    });
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times
}

/// The longest that any of these took to be final.
pub fn slowest(entries: &[Entry]) -> Duration {
    latencies(entries).last().copied().unwrap_or_default()
}
