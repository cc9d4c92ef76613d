//! Checks transaction signatures on threads of its own, in batches, each signature once.
//!
//! Work is taken in turn from those it comes from: each validator's vertices, the API's clients, and the full nodes that forward
//! transactions ([`turns`]). So a validator that fills its vertices with garbage, or clients that send bad signatures, delay
//! themselves.
//!
//! A batch is as many waiting submissions of one source as make one, or the payloads whose turns come next. What still needs a check
//! after a look at the remembered verdicts ([`verdicts`]) is checked in one equation, over keys that are decoded already if their
//! accounts signed lately ([`crate::key_cache`]). A batch of submissions that fails is bisected. Payloads are good or bad as a
//! whole: those of a failing batch are checked one by one, and an author of a bad one is [`suspect`](Suspects) for a while,
//! so that it cannot spoil everybody's batches.

mod suspects;
#[cfg(test)]
mod tests;
mod turns;
mod verdicts;

use crate::executor::Verdict;
use crate::key_cache::{KEYS_MAX, KeyCache};
use crate::network::Peer;
use crate::payload;
use farthing_consensus::vertex::{VerifiedVertex, VertexRef};
use farthing_core::hash::ChainHash;
use farthing_core::signature::SignatureError;
use farthing_core::transaction::{SignedTransaction, VerifiedTransaction};
use farthing_core::verification::{UnverifiedTransaction, verify_all, verify_payloads};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use suspects::Suspects;
use tokio::sync::{mpsc, oneshot};
use turns::{Source, Turns};
use verdicts::{VERDICTS_MIN, Verdicts};

/// Submissions of clients that may wait.
const SUBMISSIONS_MAX: usize = 4_096;

/// Transactions of submissions that are checked as one batch, about: whole submissions are taken until there are this many.
const BATCH_TRANSACTIONS: usize = 1_024;

/// Bytes of payloads that are checked as one batch, about: whole payloads are taken until there are this many. Some two
/// thousand plain transfers.
const BATCH_PAYLOAD_BYTES: usize = 384 * 1_024;

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
    keys: KeyCache,
    state: Mutex<State>,
    pushed: Condvar,
}

struct State {
    /// Vertices are bounded by those that consensus holds: each is checked once.
    work: Turns<Work>,
    suspects: Suspects,
    ended: bool,
}

enum Work {
    Vertex(VerifiedVertex),
    Submission(Submission),
}

/// What one thread does at a time.
enum Turn {
    /// Vertices whose payloads are checked as one batch.
    Vertices(Vec<VerifiedVertex>),
    /// The first submission of a batch.
    Submission(Source, Submission),
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
            keys: KeyCache::new(KEYS_MAX),
            state: Mutex::new(State { work: Turns::new(), suspects: Suspects::default(), ended: false }),
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
    fn next(&self) -> Option<Turn> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            match state.work.pop() {
                Some((_, Work::Vertex(first))) => return Some(Turn::Vertices(state.with_next_vertices(first))),
                Some((source, Work::Submission(first))) => return Some(Turn::Submission(source, first)),
                None => state = self.pushed.wait(state).expect("nothing panics while it holds this lock"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    /// A vertex with those whose turns come next, as far as they make one batch.
    fn with_next_vertices(&mut self, first: VerifiedVertex) -> Vec<VerifiedVertex> {
        let State { work, suspects, .. } = self;
        let mut bytes = first.payload().len();
        let is_alone = suspects.take(first.author());
        let mut vertices = vec![first];
        let goes_along = |bytes: usize, work: &Work| match work {
            Work::Vertex(vertex) => {
                bytes + vertex.payload().len() <= BATCH_PAYLOAD_BYTES && !suspects.contains(vertex.author())
            }
            Work::Submission(_) => false,
        };
        while !is_alone && let Some((_, Work::Vertex(next))) = work.pop_if(|_, next| goes_along(bytes, next)) {
            bytes += next.payload().len();
            vertices.push(next);
        }
        vertices
    }
}

struct Worker {
    shared: Arc<Shared>,
    rng: ChaCha20Rng,
}

impl Worker {
    fn run(mut self) {
        while let Some(turn) = self.shared.next() {
            match turn {
                Turn::Vertices(vertices) => self.check_vertices(vertices),
                Turn::Submission(source, submission) => self.check_submissions(source, submission),
            }
        }
    }

    fn check_vertices(&mut self, vertices: Vec<VerifiedVertex>) {
        let (mut decoding, mut payloads, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for vertex in vertices {
            match payload::decode(vertex.payload()) {
                Ok(transactions) => {
                    let transactions = self.look_up(transactions);
                    unknown.push(are_unknown(&transactions));
                    payloads.push(transactions);
                    decoding.push(vertex);
                }
                Err(_) => self.tell(&vertex, Verdict::Void),
            }
        }
        let keys = &self.shared.keys;
        let checked = verify_payloads(payloads, |signers| keys.decode_all(signers), &mut self.rng);
        for ((vertex, unknown), checked) in decoding.iter().zip(unknown).zip(checked) {
            if let Ok(transactions) = &checked {
                self.shared
                    .verdicts
                    .remember(transactions.iter().zip(unknown).filter_map(|(new, is)| is.then_some(new)));
            }
            self.tell(vertex, checked.map_or(Verdict::Void, Verdict::Valid));
        }
    }

    fn tell(&self, vertex: &VerifiedVertex, verdict: Verdict) {
        if matches!(verdict, Verdict::Void) {
            self.shared.lock().suspects.add(vertex.author());
        }
        // If nobody listens any more the node is stopping.
        let _ = self.shared.outcomes.send(Outcome::Payload(vertex.reference(), verdict));
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
        let transactions = self.look_up(transactions);
        let unknown = are_unknown(&transactions);
        let keys = &self.shared.keys;
        let checked = verify_all(transactions, |signers| keys.decode_all(signers), &mut self.rng);
        let good = checked.iter().zip(unknown).filter_map(|(result, is)| result.as_ref().ok().filter(|_| is));
        self.shared.verdicts.remember(good);
        checked
    }

    /// The transactions with their ids. Those whose signatures were found good before are marked as known.
    fn look_up(&self, transactions: Vec<SignedTransaction>) -> Vec<UnverifiedTransaction> {
        let unverified = |signed| UnverifiedTransaction::new(signed, &self.shared.chain);
        let mut transactions: Vec<_> = transactions.into_iter().map(unverified).collect();
        self.shared.verdicts.mark_known(&mut transactions);
        transactions
    }
}

/// Which of them were not seen before, and will have to be remembered.
fn are_unknown(transactions: &[UnverifiedTransaction]) -> Vec<bool> {
    transactions.iter().map(|transaction| !transaction.is_known()).collect()
}
