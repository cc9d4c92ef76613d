//! Checks transaction signatures on threads of its own, in batches.
//!
//! Payloads of vertices go first: execution waits for them. Submissions that wait at the same time are checked as one batch.

use crate::executor::Verdict;
use crate::payload;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased, unbounded};
use farthing_consensus::vertex::{VerifiedVertex, VertexRef};
use farthing_core::hash::ChainHash;
use farthing_core::signature::SignatureError;
use farthing_core::transaction::{SignedTransaction, VerifiedTransaction};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Submissions that may wait.
const SUBMISSIONS_MAX: usize = 4_096;

/// Transactions of submissions that are checked as one batch, about: whole submissions are taken until there are this many.
const BATCH_TRANSACTIONS: usize = 1_024;

/// The result of a check: each transaction verified, or why not, in order.
pub type Checked = Vec<Result<VerifiedTransaction, SignatureError>>;

struct Submission {
    transactions: Vec<SignedTransaction>,
    reply: oneshot::Sender<Checked>,
}

/// A pool of verifying threads. They end when it is dropped.
pub struct Verifier {
    /// Bounded by the vertices that consensus holds: each is checked once.
    vertices: Option<Sender<VerifiedVertex>>,
    submissions: Option<Sender<Submission>>,
    threads: Vec<JoinHandle<()>>,
}

/// The way in for submissions. Cheap to clone.
#[derive(Clone)]
pub struct SubmissionChecker(Sender<Submission>);

/// The verifier cannot take more now, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has more to check than it can: try again in a moment")]
pub struct Busy;

impl Verifier {
    /// Starts `threads` threads. Verdicts on payloads go to `verdicts`.
    ///
    /// # Errors
    /// If the operating system gives no entropy, or no thread.
    pub fn start(
        chain: ChainHash,
        threads: usize,
        verdicts: mpsc::UnboundedSender<(VertexRef, Verdict)>,
    ) -> std::io::Result<Verifier> {
        let (vertices, vertices_in) = unbounded();
        let (submissions, submissions_in) = bounded(SUBMISSIONS_MAX);
        let threads = (0..threads.max(1))
            .map(|number| {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(|error| std::io::Error::other(error.to_string()))?;
                let worker = Worker {
                    chain,
                    rng: ChaCha20Rng::from_seed(seed),
                    vertices: vertices_in.clone(),
                    submissions: submissions_in.clone(),
                    verdicts: verdicts.clone(),
                };
                std::thread::Builder::new().name(format!("verifier-{number}")).spawn(move || worker.run())
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Verifier { vertices: Some(vertices), submissions: Some(submissions), threads })
    }

    /// Has the payload of a vertex checked.
    pub fn check_vertex(&self, vertex: VerifiedVertex) {
        let vertices = self.vertices.as_ref().expect("only dropping takes it");
        vertices.send(vertex).expect("the threads live as long as this");
    }

    /// The way in for submissions.
    pub fn submissions(&self) -> SubmissionChecker {
        SubmissionChecker(self.submissions.clone().expect("only dropping takes it"))
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.vertices = None;
        self.submissions = None;
        for thread in self.threads.drain(..) {
            // A verifying thread that panicked has aborted the process already.
            let _ = thread.join();
        }
    }
}

impl SubmissionChecker {
    /// Checks transactions.
    ///
    /// # Errors
    /// [`Busy`] if too many submissions wait.
    pub async fn check(&self, transactions: Vec<SignedTransaction>) -> Result<Checked, Busy> {
        let (reply, checked) = oneshot::channel();
        match self.0.try_send(Submission { transactions, reply }) {
            Ok(()) => checked.await.map_err(|_| Busy),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }
}

struct Worker {
    chain: ChainHash,
    rng: ChaCha20Rng,
    vertices: Receiver<VerifiedVertex>,
    submissions: Receiver<Submission>,
    verdicts: mpsc::UnboundedSender<(VertexRef, Verdict)>,
}

impl Worker {
    /// Works until the pool is dropped. Submissions may still have senders then; they find the channel closed.
    fn run(mut self) {
        let (vertices, submissions) = (self.vertices.clone(), self.submissions.clone());
        loop {
            select_biased! {
                recv(vertices) -> vertex => match vertex {
                    Ok(vertex) => {
                        let verdict = self.verdict(&vertex);
                        // If nobody listens any more the node is stopping.
                        let _ = self.verdicts.send((vertex.reference(), verdict));
                    }
                    Err(_) => return,
                },
                recv(submissions) -> submission => match submission {
                    Ok(submission) => self.check(submission),
                    Err(_) => return,
                },
            }
        }
    }

    fn verdict(&mut self, vertex: &VerifiedVertex) -> Verdict {
        let Ok(transactions) = payload::decode(vertex.payload()) else { return Verdict::Void };
        match SignedTransaction::verify_payload(transactions, &self.chain, &mut self.rng) {
            Ok(verified) => Verdict::Valid(verified),
            Err(_) => Verdict::Void,
        }
    }

    /// Checks a submission together with others that wait.
    fn check(&mut self, first: Submission) {
        let mut all = first.transactions;
        let mut replies = vec![(all.len(), first.reply)];
        while all.len() < BATCH_TRANSACTIONS
            && let Ok(submission) = self.submissions.try_recv()
        {
            replies.push((submission.transactions.len(), submission.reply));
            all.extend(submission.transactions);
        }
        let mut checked = SignedTransaction::verify_all(all, &self.chain, &mut self.rng).into_iter();
        for (count, reply) in replies {
            // A submitter that went away does not want to know.
            let _ = reply.send(checked.by_ref().take(count).collect());
        }
    }
}
