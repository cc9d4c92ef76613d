//! Sending a payment until its outcome is known, and finding out about those whose outcome is not.
//!
//! What is sent are the bytes in the journal, always the same, so that sending them again, to the same node or another, can at
//! worst be useless. Three things can be known of a payment: that it is settled (in a block, or never to be in one), that
//! no node has it, or nothing. Only in the last case the outcome is unknown.

use crate::commands::now_ms;
use crate::error::Error;
use crate::journal::Entry;
use crate::network::{Network, Node, NodeError, failure_of, unreachable_error};
use farthing_client::{
    Client, ClientError, DroppedReason, Problem, ProblemCode, SubmitQuery, TransactionState, TransactionStatus, Wait,
};
use farthing_core::keys::PublicKey;
use farthing_core::transaction::Authority;
use std::time::{Duration, Instant};

/// The longest that a node is asked to wait at a time.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How much longer than it was asked to wait a node may take to answer.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// The pause after every node was tried once; doubled each time, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What became of sending a payment.
#[derive(Debug)]
pub enum Delivery {
    /// It is in a block, or can never be in one.
    Settled(TransactionStatus),
    /// A node has taken it, which was all that was asked for.
    Accepted(TransactionStatus),
    /// No node has it: those that were asked refused it.
    Refused(TransactionStatus),
    /// No node has it: none could be asked.
    NotSent(Error),
    /// Some node may have it.
    Unknown {
        /// What was heard last.
        last: String,
    },
}

/// Sends a payment to one node after the other until `wait` is fulfilled or the time is up.
pub async fn deliver(network: &Network, entry: &Entry, wait: Wait, deadline: Instant) -> Delivery {
    let mut sending = Sending {
        network,
        entry,
        wait,
        deadline,
        may_have_arrived: false,
        refused: None,
        failures: Vec::new(),
        last: String::new(),
    };
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(delivery) = sending.try_every_node().await {
            return delivery;
        }
        let left = sending.time_left();
        if left.is_zero() {
            return sending.out_of_time();
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

struct Sending<'a> {
    network: &'a Network,
    entry: &'a Entry,
    wait: Wait,
    deadline: Instant,
    /// Whether some node may have the payment.
    may_have_arrived: bool,
    /// The newest refusal that need not last.
    refused: Option<TransactionStatus>,
    /// What was wrong with the nodes in the last round.
    failures: Vec<String>,
    /// What was heard last.
    last: String,
}

impl Sending<'_> {
    /// One round over the nodes; `None` if it makes sense to go on.
    async fn try_every_node(&mut self) -> Option<Delivery> {
        self.failures.clear();
        let mut hopeless = 0;
        let nodes = self.network.nodes();
        for (index, node) in nodes.iter().enumerate() {
            // However late it is, one node is asked: the payment is in the journal now.
            if index > 0 && self.time_left().is_zero() {
                return None;
            }
            let error = match self.network.check(node).await {
                Ok(()) => match self.submit(node).await {
                    Ok(status) => match self.judge(status) {
                        Some(delivery) => return Some(delivery),
                        None => continue,
                    },
                    Err(error) => {
                        self.may_have_arrived |= error.may_have_arrived();
                        error
                    }
                },
                Err(NodeError::Client(error)) => error,
                Err(NodeError::OtherNetwork(error)) if self.may_have_arrived => {
                    self.last = error.message;
                    continue;
                }
                Err(NodeError::OtherNetwork(error)) => return Some(Delivery::NotSent(error)),
            };
            if !error.another_may_answer() && !self.may_have_arrived {
                return Some(Delivery::NotSent(error.into()));
            }
            hopeless += usize::from(!is_busy(&error));
            self.last = failure_of(node, &error);
            self.failures.push(self.last.clone());
        }
        let nobody = hopeless == nodes.len() && !self.may_have_arrived;
        nobody.then(|| Delivery::NotSent(unreachable_error(&self.failures)))
    }

    async fn submit(&self, node: &Node) -> Result<TransactionStatus, ClientError> {
        let wait = self.time_left().clamp(Duration::from_millis(1), WAIT_MAX);
        let timeout_ms = u64::try_from(wait.as_millis()).expect("at most a few seconds");
        let query = SubmitQuery { wait: self.wait, timeout_ms: Some(timeout_ms) };
        let answer = tokio::time::timeout(wait + ANSWER_GRACE, submit(&node.client, self.entry, query)).await;
        answer.unwrap_or_else(|_| {
            let url = node.client.url().to_string();
            Err(ClientError::NoAnswer { url, reason: "the time was up".into() })
        })
    }

    fn is_too_late(&self, passes_at_ms: Option<u64>) -> bool {
        let deadline_ms = u128::from(now_ms()) + self.time_left().as_millis();
        passes_at_ms.is_some_and(|at_ms| u128::from(at_ms) > deadline_ms)
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn out_of_time(self) -> Delivery {
        match self.refused {
            _ if self.may_have_arrived => Delivery::Unknown { last: self.last },
            Some(status) => Delivery::Refused(status),
            None => Delivery::NotSent(unreachable_error(&self.failures)),
        }
    }

    /// What a node's answer means; `None` if it makes sense to go on.
    fn judge(&mut self, status: TransactionStatus) -> Option<Delivery> {
        match status.status {
            TransactionState::Executed | TransactionState::Rejected | TransactionState::Expired => {
                note_block(self.network, &status);
                return Some(Delivery::Settled(status));
            }
            TransactionState::Pending if self.wait == Wait::Accepted => return Some(Delivery::Accepted(status)),
            TransactionState::Pending => {
                self.may_have_arrived = true;
                self.last = "a node has taken it, and it is in no block yet".into();
            }
            // A node that had it before may have had its answer lost: it is not for this one to say.
            TransactionState::Dropped if is_lasting(status.reason) && !self.may_have_arrived => {
                return Some(Delivery::Refused(status));
            }
            // Time will mend it, but not soon enough.
            TransactionState::Dropped if !self.may_have_arrived && self.is_too_late(status.passes_at_ms) => {
                return Some(Delivery::Refused(status));
            }
            TransactionState::Dropped => {
                self.last = status.detail.clone().unwrap_or_else(|| "a node does not take it now".into());
                self.refused = Some(status);
            }
            TransactionState::Unknown => {
                self.may_have_arrived = true;
                self.last = "the node does not say what became of it".into();
            }
        }
        None
    }
}

/// Submits a payment and checks that the answer is about it.
async fn submit(client: &Client, entry: &Entry, query: SubmitQuery) -> Result<TransactionStatus, ClientError> {
    let mut statuses = client.submit_bytes(entry.signed.encode(), query).await?.transactions;
    match statuses.pop() {
        Some(status) if statuses.is_empty() && status.id == entry.id => Ok(status),
        _ => Err(ClientError::BadAnswer {
            url: client.url().into(),
            reason: "it answered about other transactions than the one submitted".into(),
        }),
    }
}

/// Later questions are for nodes that have executed the block.
fn note_block(network: &Network, status: &TransactionStatus) {
    if let Some(block) = &status.block {
        network.saw_own_payment(block.height);
    }
}

/// Whether the same bytes would be refused again.
fn is_lasting(reason: Option<DroppedReason>) -> bool {
    match reason {
        Some(
            DroppedReason::UnknownSender
            | DroppedReason::UnknownKey
            | DroppedReason::Expired
            | DroppedReason::ValidTooLong
            | DroppedReason::NonceUsed
            | DroppedReason::NonceTooHigh
            | DroppedReason::BadSignature,
        ) => true,
        Some(
            DroppedReason::InsufficientBandwidth
            | DroppedReason::MempoolFull
            | DroppedReason::SenderLimit
            | DroppedReason::Other,
        )
        | None => false,
    }
}

/// Whether the node itself says that it will be of use later.
fn is_busy(error: &ClientError) -> bool {
    matches!(error.code(), Some(ProblemCode::Unavailable | ProblemCode::TooManyRequests))
}

/// What is known of a payment that was sent earlier.
#[derive(Debug)]
pub enum Finding {
    /// It is in a block, or a node says that it expired.
    Settled(Box<TransactionStatus>),
    /// It never executed and never will: its time is over and its nonce is still unused.
    NeverExecuted,
    /// Its nonce was used and its time is over, but no node knows it: it executed long ago, or another wallet with the same key
    /// used the nonce.
    NonceUsed,
    /// It may still execute.
    Open {
        /// What is known.
        why: String,
    },
}

/// Asks about a payment, and sends it again if no node has it and it may still execute.
pub async fn find_out(network: &Network, entry: &Entry) -> Result<Finding, Error> {
    let asked = ask(network, entry).await?;
    match asked.status {
        TransactionState::Executed | TransactionState::Rejected | TransactionState::Expired => {
            note_block(network, &asked);
            return Ok(Finding::Settled(Box::new(asked)));
        }
        TransactionState::Pending => {
            return Ok(Finding::Open { why: "a node has it, and it is in no block yet".into() });
        }
        TransactionState::Dropped | TransactionState::Unknown => {}
    }
    let (fresh, now_ms) = nonce_state(network, entry).await?;
    let over = now_ms > entry.signed.transaction.valid_until_ms;
    match (fresh, over) {
        (true, true) => return Ok(Finding::NeverExecuted),
        (false, _) => {
            // It may have executed between the two questions.
            let again = ask(network, entry).await?;
            if again.status.is_settled() {
                note_block(network, &again);
                return Ok(Finding::Settled(Box::new(again)));
            }
            if over {
                return Ok(match ask_all(network, entry).await? {
                    Some(known) => {
                        note_block(network, &known);
                        Finding::Settled(Box::new(known))
                    }
                    None => Finding::NonceUsed,
                });
            }
            return Ok(Finding::Open { why: "its number was used, and the node does not know by what yet".into() });
        }
        (true, false) => {}
    }
    let query = SubmitQuery { wait: Wait::Accepted, timeout_ms: None };
    let sent = network.ask(async |client| submit(client, entry, query).await).await?;
    Ok(match sent.status {
        status if status.is_settled() => {
            note_block(network, &sent);
            Finding::Settled(Box::new(sent))
        }
        TransactionState::Pending => Finding::Open { why: "sent again".into() },
        _ => Finding::Open { why: sent.detail.unwrap_or_else(|| "no node takes it now".into()) },
    })
}

/// What a node knows of a payment. Not knowing it is an answer.
async fn ask(network: &Network, entry: &Entry) -> Result<TransactionStatus, Error> {
    let id = entry.id;
    let answer = network.first_answer(async |client| client.transaction(&id).await).await?;
    let asked = answer.or_else(|error| unknown(id, error))?;
    Ok(if asked.id == id { asked } else { TransactionStatus::new(id, TransactionState::Unknown) })
}

/// What became of a payment, if any node knows: one that began later, or keeps less, may not.
async fn ask_all(network: &Network, entry: &Entry) -> Result<Option<TransactionStatus>, Error> {
    let id = entry.id;
    let settled = async |client: &Client| {
        let status = client.transaction(&id).await?;
        let knows = status.id == id && status.status.is_settled();
        let unknown = || Problem::new(ProblemCode::NoSuchTransaction, "it does not know the transaction");
        if knows { Ok(status) } else { Err(ClientError::Problem(unknown())) }
    };
    let answer = network.first_answer(settled).await?;
    Ok(answer.map(Some).or_else(|error| unknown(id, error).map(|_| None))?)
}

fn unknown(
    id: farthing_core::transaction::TransactionId,
    error: ClientError,
) -> Result<TransactionStatus, ClientError> {
    match error.code() {
        Some(ProblemCode::NoSuchTransaction | ProblemCode::Pruned) => {
            Ok(TransactionStatus::new(id, TransactionState::Unknown))
        }
        _ => Err(error),
    }
}

/// Whether the payment's nonce is unused, and the time of the state that says so, in milliseconds since the Unix epoch.
async fn nonce_state(network: &Network, entry: &Entry) -> Result<(bool, u64), Error> {
    let transaction = &entry.signed.transaction;
    let address = transaction.sender.encode(network.prefix());
    if let Authority::Key(public_key) = transaction.authority {
        return key_nonce_state(network, &address, &public_key, transaction.nonce).await;
    }
    network
        .ask(async |client| match client.account(&address).await {
            Ok(account) => Ok((account.is_fresh(transaction.nonce), account.as_of.timestamp_ms)),
            // Without an account nothing can have been paid from it.
            Err(error) if error.code() == Some(ProblemCode::NoSuchAccount) => {
                Ok((true, client.status().await?.timestamp_ms))
            }
            Err(error) => Err(error),
        })
        .await
}

/// The same of a delegated key. That a key is gone says nothing of what it did before: its nonces count as used then.
async fn key_nonce_state(
    network: &Network,
    address: &str,
    public_key: &PublicKey,
    nonce: u64,
) -> Result<(bool, u64), Error> {
    network
        .ask(async |client| match client.keys(address).await {
            Ok(view) => {
                let key = view.keys.iter().find(|key| key.public_key == *public_key);
                Ok((key.is_some_and(|key| key.is_fresh(nonce)), view.as_of.timestamp_ms))
            }
            Err(error) if error.code() == Some(ProblemCode::NoSuchAccount) => {
                Ok((false, client.status().await?.timestamp_ms))
            }
            Err(error) => Err(error),
        })
        .await
}
