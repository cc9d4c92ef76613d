//! Bringing a batch of transfers to finality through whichever node answers.
//!
//! The same bytes go out again, to another node, as long as a transfer's outcome is open: submitting is idempotent.

use super::senders::Slot;
use super::workload::Work;
use farthing_client::{Client, DroppedReason, SubmitQuery, TransactionState, TransactionStatus, Wait};
use farthing_core::transaction::TransactionId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long one request waits for finality.
const WAIT: Duration = Duration::from_secs(10);

/// How long a node that failed is passed over.
const DOWN: Duration = Duration::from_secs(1);

/// How long to wait before the same transfers are submitted again.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// How often a transfer is offered to a node that refuses it without a reason in the transfer itself.
const REFUSALS_MAX: u32 = 3;

/// The nodes of the testnet, in turn, passing over those that failed a moment ago.
pub struct Nodes {
    clients: Vec<Client>,
    start: Instant,
    turn: AtomicUsize,
    /// Until when each is passed over, in milliseconds since the start.
    down_until_ms: Vec<AtomicU64>,
}

/// A signed transfer to be submitted.
pub struct Transfer {
    /// Whose nonce it uses.
    pub slot: Slot,
    /// When it was to be sent.
    pub intended: Instant,
    /// The signed encoding.
    pub bytes: Vec<u8>,
    /// The transaction.
    pub id: TransactionId,
    /// What follows from it.
    pub work: Work,
}

/// A transfer whose outcome is known, or given up.
pub struct Settled {
    /// Whose nonce it used.
    pub slot: Slot,
    /// When it was to be sent.
    pub intended: Instant,
    /// When its outcome was known.
    pub finished: Instant,
    /// The transaction.
    pub id: TransactionId,
    /// What follows from it, if it is final.
    pub work: Work,
    /// The outcome.
    pub outcome: Outcome,
}

/// What became of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// In a block, and executed.
    Final,
    /// In a block, with no effect.
    Rejected,
    /// In no block.
    Dropped,
    /// Nobody said in time.
    Unknown,
}

impl Nodes {
    /// Nodes behind these clients, of which there is at least one.
    pub fn new(clients: Vec<Client>) -> Nodes {
        assert!(!clients.is_empty());
        let down_until_ms = clients.iter().map(|_| AtomicU64::new(0)).collect();
        Nodes { clients, start: Instant::now(), turn: AtomicUsize::new(0), down_until_ms }
    }

    /// The next node in turn that did not fail a moment ago, or just the next if all did.
    fn pick(&self) -> usize {
        let count = self.clients.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let now_ms = self.elapsed_ms();
        let is_up = |index: &usize| self.down_until_ms[*index].load(Ordering::Relaxed) <= now_ms;
        (0..count).map(|step| first.wrapping_add(step) % count).find(is_up).unwrap_or(first % count)
    }

    fn pass_over(&self, index: usize) {
        self.down_until_ms[index].store(self.elapsed_ms() + DOWN.as_millis() as u64, Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).expect("no run lasts that long")
    }
}

/// Submits transfers and returns the outcome of each, by `give_up` at the latest or little after.
pub async fn submit(nodes: Arc<Nodes>, mut transfers: Vec<Transfer>, give_up: Instant) -> Vec<Settled> {
    let mut settled = Vec::with_capacity(transfers.len());
    let mut attempt = 0;
    while !transfers.is_empty() && Instant::now() < give_up {
        if attempt > 0 {
            tokio::time::sleep(RETRY_DELAY).await;
        }
        let index = nodes.pick();
        let client = &nodes.clients[index];
        let wait = WAIT.min(give_up - Instant::now());
        let query = SubmitQuery { wait: Wait::Final, timeout_ms: Some(wait.as_millis() as u64) };
        let body: Vec<u8> = transfers.iter().flat_map(|transfer| transfer.bytes.iter().copied()).collect();
        let answer = client.submit_bytes(body, query).await;
        let finished = Instant::now();
        let mut open = Vec::new();
        match answer {
            Ok(answer) if answer.transactions.len() == transfers.len() => {
                for (transfer, status) in transfers.into_iter().zip(answer.transactions) {
                    match judge(client, &status, attempt).await {
                        Some(outcome) => settled.push(settle(transfer, finished, outcome)),
                        None => open.push(transfer),
                    }
                }
            }
            // Refused as a whole for what it says, which no other node would like better. It may still have been in a block
            // if it was submitted before.
            Err(error) if !error.another_may_answer() && attempt == 0 => {
                settled.extend(transfers.into_iter().map(|transfer| settle(transfer, finished, Outcome::Dropped)));
            }
            Ok(_) | Err(_) => {
                nodes.pass_over(index);
                open = transfers;
            }
        }
        transfers = open;
        attempt += 1;
    }
    let finished = Instant::now();
    settled.extend(transfers.into_iter().map(|transfer| settle(transfer, finished, Outcome::Unknown)));
    settled
}

fn settle(transfer: Transfer, finished: Instant, outcome: Outcome) -> Settled {
    let Transfer { slot, intended, id, work, .. } = transfer;
    Settled { slot, intended, finished, id, work, outcome }
}

/// The outcome that an answer means; `None` while it is open.
async fn judge(client: &Client, status: &TransactionStatus, attempt: u32) -> Option<Outcome> {
    match (status.status, status.reason) {
        (TransactionState::Executed, _) => Some(Outcome::Final),
        (TransactionState::Rejected, _) => Some(Outcome::Rejected),
        (TransactionState::Expired, _) => Some(Outcome::Dropped),
        (TransactionState::Pending | TransactionState::Unknown, _) => None,
        // Its own earlier submission may have used the nonce.
        (TransactionState::Dropped, Some(DroppedReason::NonceUsed)) if attempt > 0 => {
            match client.transaction(&status.id).await.ok()?.status {
                TransactionState::Executed => Some(Outcome::Final),
                TransactionState::Rejected => Some(Outcome::Rejected),
                _ => None,
            }
        }
        // There will be room.
        (TransactionState::Dropped, Some(DroppedReason::MempoolFull | DroppedReason::SenderLimit)) => None,
        (TransactionState::Dropped, Some(DroppedReason::Other) | None) if attempt + 1 < REFUSALS_MAX => None,
        (TransactionState::Dropped, _) => Some(Outcome::Dropped),
    }
}
