//! Checks transaction signatures on threads of its own, in batches, each signature once.
//!
//! Work is taken in turn from those it comes from: each validator's vertices, the API's clients, and the full nodes that forward
//! transactions ([`turns`]). A turn is one payload, or as many waiting submissions as make one batch. So a validator that fills its
//! vertices with garbage, or clients that send bad signatures, delay themselves.
//!
//! What a payload still needs checked after a look at the remembered verdicts ([`verdicts`]) is one batch, all or nothing. A batch of
//! submissions that fails is bisected.

#[cfg(test)]
mod tests;
mod turns;
mod verdicts;

use crate::executor::Verdict;
use crate::network::Peer;
use crate::payload;
use farthing_consensus::vertex::{VerifiedVertex, VertexRef};
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::signature::SignatureError;
use farthing_core::transaction::{SignedTransaction, VerifiedTransaction};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};
use turns::{Source, Turns};
use verdicts::{VERDICTS_MIN, Verdicts};

/// Submissions of clients that may wait.
const SUBMISSIONS_MAX: usize = 4_096;

/// Transactions of submissions that are checked as one batch, about: whole submissions are taken until there are this many.
const BATCH_TRANSACTIONS: usize = 1_024;

/// The result of a check: each transaction verified, or why not, in order.
pub type Checked = Vec<Result<VerifiedTransaction, SignatureError>>;

/// What the driver hears from the verifier.
#[derive(Debug)]
pub enum Outcome {
    /// The verdict on a vertex's payload.
    Payload(VertexRef, Verdict),
    /// The transactions that a full node forwarded.
    Forwarded(Peer, Checked),
}

/// The verifier cannot take more now, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has more to check than it can: try again in a moment")]
pub struct Busy;

/// A pool of verifying threads. They end when it is dropped.
pub struct Verifier {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// The way in for submissions. Cheap to clone.
#[derive(Clone)]
pub struct SubmissionChecker(Arc<Shared>);

struct Shared {
    chain: ChainHash,
    outcomes: mpsc::UnboundedSender<Outcome>,
    verdicts: Verdicts,
    state: Mutex<State>,
    pushed: Condvar,
}

struct State {
    /// Vertices are bounded by those that consensus holds: each is checked once.
    work: Turns<Work>,
    ended: bool,
}

enum Work {
    Vertex(VerifiedVertex),
    Submission(Submission),
}

struct Submission {
    transactions: Vec<SignedTransaction>,
    reply: Reply,
}

enum Reply {
    Client(oneshot::Sender<Checked>),
    Follower(Peer),
}

impl Verifier {
    /// Starts `threads` threads. Outcomes for the driver go to `outcomes`.
    ///
    /// # Errors
    /// If the operating system gives no entropy, or no thread.
    pub fn start(
        chain: ChainHash,
        threads: usize,
        outcomes: mpsc::UnboundedSender<Outcome>,
    ) -> std::io::Result<Verifier> {
        let shared = Arc::new(Shared {
            chain,
            outcomes,
            verdicts: Verdicts::new(VERDICTS_MIN),
            state: Mutex::new(State { work: Turns::new(), ended: false }),
            pushed: Condvar::new(),
        });
        let mut verifier = Verifier { shared: shared.clone(), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| std::io::Error::other(error.to_string()))?;
            let worker = Worker { shared: shared.clone(), rng: ChaCha20Rng::from_seed(seed) };
            let builder = std::thread::Builder::new().name(format!("verifier-{number}"));
            verifier.threads.push(builder.spawn(move || worker.run())?);
        }
        Ok(verifier)
    }

    /// Has the payload of a vertex checked.
    pub fn check_vertex(&self, vertex: VerifiedVertex) {
        let source = Source::Validator(vertex.author());
        self.shared.lock().work.push(source, Work::Vertex(vertex));
        self.shared.pushed.notify_one();
    }

    /// Has transactions checked that a full node forwarded. What waits is bounded by the network, which hands over one request of
    /// a full node at a time.
    pub fn check_forwarded(&self, from: Peer, transactions: Vec<SignedTransaction>) {
        let submission = Submission { transactions, reply: Reply::Follower(from) };
        self.shared.lock().work.push(Source::Followers, Work::Submission(submission));
        self.shared.pushed.notify_one();
    }

    /// The way in for submissions.
    pub fn submissions(&self) -> SubmissionChecker {
        SubmissionChecker(self.shared.clone())
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        // Whoever waits for an answer learns that none will come.
        state.work = Turns::new();
        drop(state);
        self.shared.pushed.notify_all();
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
        self.0.submit(Submission { transactions, reply: Reply::Client(reply) })?;
        checked.await.map_err(|_| Busy)
    }
}

impl Shared {
    fn submit(&self, submission: Submission) -> Result<(), Busy> {
        let mut state = self.lock();
        if state.ended || state.work.len(Source::Clients) >= SUBMISSIONS_MAX {
            return Err(Busy);
        }
        state.work.push(Source::Clients, Work::Submission(submission));
        drop(state);
        self.pushed.notify_one();
        Ok(())
    }

    /// The next turn's work; none once the pool is dropped.
    fn next(&self) -> Option<(Source, Work)> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(work) = state.work.pop() {
                return Some(work);
            }
            state = self.pushed.wait(state).expect("nothing panics while it holds this lock");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

struct Worker {
    shared: Arc<Shared>,
    rng: ChaCha20Rng,
}

impl Worker {
    fn run(mut self) {
        while let Some((source, work)) = self.shared.next() {
            match work {
                Work::Vertex(vertex) => {
                    let verdict = self.verdict(&vertex);
                    // If nobody listens any more the node is stopping.
                    let _ = self.shared.outcomes.send(Outcome::Payload(vertex.reference(), verdict));
                }
                Work::Submission(submission) => self.check_submissions(source, submission),
            }
        }
    }

    fn verdict(&mut self, vertex: &VerifiedVertex) -> Verdict {
        let Ok(transactions) = payload::decode(vertex.payload()) else { return Verdict::Void };
        let (keys, known) = self.known(&transactions);
        let (mut trusted, mut unknown) = (Vec::new(), Vec::new());
        for (transaction, known) in transactions.into_iter().zip(&known) {
            if *known { trusted.push(transaction) } else { unknown.push(transaction) }
        }
        let Ok(checked) = SignedTransaction::verify_payload(unknown, &self.shared.chain, &mut self.rng) else {
            return Verdict::Void;
        };
        self.shared.verdicts.remember(keys.iter().zip(&known).filter(|(_, known)| !**known).map(|(key, _)| *key));
        let (mut trusted, mut checked) = (trusted.into_iter(), checked.into_iter());
        let verified = known.iter().map(|known| {
            let next = if *known { trusted.next().map(|signed| self.checked_before(signed)) } else { checked.next() };
            next.expect("as many as were known or not")
        });
        Verdict::Valid(verified.collect())
    }

    /// Checks a submission together with others of the same source that wait.
    fn check_submissions(&mut self, source: Source, first: Submission) {
        let mut all = first.transactions;
        let mut replies = vec![(all.len(), first.reply)];
        while all.len() < BATCH_TRANSACTIONS
            && let Some(Work::Submission(next)) = self.shared.lock().work.pop_more(source)
        {
            replies.push((next.transactions.len(), next.reply));
            all.extend(next.transactions);
        }
        let mut checked = self.check(all).into_iter();
        for (count, reply) in replies {
            let checked = checked.by_ref().take(count).collect();
            // Whoever went away does not want to know.
            let _ = match reply {
                Reply::Client(reply) => reply.send(checked).is_ok(),
                Reply::Follower(from) => self.shared.outcomes.send(Outcome::Forwarded(from, checked)).is_ok(),
            };
        }
    }

    fn check(&mut self, transactions: Vec<SignedTransaction>) -> Checked {
        let (keys, known) = self.known(&transactions);
        let (mut places, mut unknown) = (Vec::new(), Vec::new());
        let mut results: Vec<Option<_>> = Vec::with_capacity(transactions.len());
        for (place, (transaction, known)) in transactions.into_iter().zip(known).enumerate() {
            if known {
                results.push(Some(Ok(self.checked_before(transaction))));
            } else {
                results.push(None);
                places.push(place);
                unknown.push(transaction);
            }
        }
        let checked = SignedTransaction::verify_all(unknown, &self.shared.chain, &mut self.rng);
        let good = places.iter().zip(&checked).filter(|(_, result)| result.is_ok()).map(|(place, _)| keys[*place]);
        self.shared.verdicts.remember(good);
        for (place, result) in places.into_iter().zip(checked) {
            results[place] = Some(result);
        }
        results.into_iter().map(|result| result.expect("known or checked")).collect()
    }

    /// What verdicts on these are remembered under, and which are.
    fn known(&self, transactions: &[SignedTransaction]) -> (Vec<Digest>, Vec<bool>) {
        let key = |signed: &SignedTransaction| {
            VerifiedTransaction::verdict_key(&signed.transaction.id(&self.shared.chain), &signed.signature)
        };
        let keys: Vec<_> = transactions.iter().map(key).collect();
        let known = self.shared.verdicts.are_known(&keys);
        (keys, known)
    }

    fn checked_before(&self, signed: SignedTransaction) -> VerifiedTransaction {
        VerifiedTransaction::from_own_storage(signed, &self.shared.chain)
    }
}
