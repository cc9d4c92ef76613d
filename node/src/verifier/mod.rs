//! Checks transaction signatures on threads of its own, in batches, each signature once.
//!
//! Work is taken in turn from those it comes from: each validator's vertices, the API's clients, and the full nodes that forward
//! transactions ([`turns`]). So a validator that fills its vertices with garbage, or clients that send bad signatures, delay
//! themselves. Vertices come first, four batches of them before one of submissions: what is in them is executed once it is checked, and
//! holds up all that comes after it; what clients bring only adds to it.
//!
//! A batch is as many waiting submissions of one source as make one, or the payloads whose turns come next. A large one costs half as much
//! for each signature as a small one. So small ones are checked one after the other, one of payloads and one of submissions at a time,
//! while more gathers; a further thread begins only with a whole batch. What still needs a check after a look at the remembered verdicts
//! ([`verdicts`]) is checked in one equation, over keys that are decoded already if their accounts signed lately
//! ([`crate::key_cache`]). A batch of submissions that fails is bisected. Payloads are good or bad as a whole: those of a failing
//! batch are checked one by one, and an author of a bad one is [`suspect`](Suspects) for a while, so that it cannot spoil
//! everybody's batches.

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

/// So many batches of payloads come before submissions that wait.
const PASSED_OVER_MAX: u32 = 4;

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

#[derive(Default)]
struct State {
    /// Vertices are bounded by those that consensus holds: each is checked once.
    work: Turns<Work>,
    suspects: Suspects,
    payloads: Load,
    submissions: Load,
    /// Batches of payloads since the last batch of submissions that were begun in its place.
    passed_over: u32,
    ended: bool,
}

/// How much work of a kind there is.
#[derive(Default)]
struct Load {
    /// What waits: bytes of payloads, or transactions of submissions.
    waiting: usize,
    /// How many threads are at such work.
    threads: usize,
}

enum Work {
    Vertex(VerifiedVertex),
    Submission(Submission),
}

/// What one thread does at a time.
enum Turn {
    /// Vertices whose payloads are checked as one batch.
    Vertices(Vec<VerifiedVertex>),
    /// The vertex of a suspect.
    Suspect(VerifiedVertex),
    /// Submissions of one source that are checked as one batch.
    Submissions(Vec<Submission>),
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
            state: Mutex::default(),
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
        self.shared.push(&mut self.shared.lock(), source, Work::Vertex(vertex));
    }

    /// Has transactions checked that a full node forwarded. What waits is bounded by the network, which hands over one request of
    /// a full node at a time.
    pub fn check_forwarded(&self, from: Peer, transactions: Vec<SignedTransaction>) {
        let submission = Submission { transactions, reply: Reply::Follower(from) };
        self.shared.push(&mut self.shared.lock(), Source::Followers, Work::Submission(submission));
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
        state.work = Turns::default();
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
        self.push(&mut state, Source::Clients, Work::Submission(submission));
        Ok(())
    }

    fn push(&self, state: &mut State, source: Source, work: Work) {
        state.push(source, work);
        if state.may_begin(source) {
            self.pushed.notify_one();
        }
    }

    /// The next turn's work; none once the pool is dropped.
    fn next(&self) -> Option<Turn> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(turn) = state.begin() {
                // What could not begin when it was pushed may now be for another thread.
                if state.work.sources().any(|source| state.may_begin(source)) {
                    self.pushed.notify_one();
                }
                return Some(turn);
            }
            state = self.pushed.wait(state).expect("nothing panics while it holds this lock");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn push(&mut self, source: Source, work: Work) {
        match &work {
            Work::Vertex(vertex) => self.payloads.waiting += vertex.payload().len(),
            Work::Submission(submission) => self.submissions.waiting += submission.transactions.len(),
        }
        self.work.push(source, work);
    }

    /// Whether a thread may begin with what waits of a source: if no other one is at work of that kind, or if there is a batch of it.
    fn may_begin(&self, source: Source) -> bool {
        let (load, batch) = match source {
            Source::Validator(_) => (&self.payloads, BATCH_PAYLOAD_BYTES),
            Source::Clients | Source::Followers => (&self.submissions, BATCH_TRANSACTIONS),
        };
        load.threads == 0 || load.waiting >= batch
    }

    /// The work of the next source that may begin, with what makes one batch with it. Payloads come first, but for submissions that
    /// were passed over often enough.
    fn begin(&mut self) -> Option<Turn> {
        let next = |is_payload: bool| {
            let mut sources = self.work.sources();
            sources.find(|source| matches!(source, Source::Validator(_)) == is_payload && self.may_begin(*source))
        };
        let source = match (next(true), next(false)) {
            (Some(payload), Some(_)) if self.passed_over < PASSED_OVER_MAX => {
                self.passed_over += 1;
                payload
            }
            (_, Some(submission)) => {
                self.passed_over = 0;
                submission
            }
            (payload, None) => payload?,
        };
        let (_, first) = self.work.pop_if(|next, _| next == source).expect("it has work");
        Some(match first {
            Work::Vertex(first) => self.begin_vertices(first),
            Work::Submission(first) => self.begin_submissions(source, first),
        })
    }

    /// A vertex with those whose turns come next, as far as they make one batch.
    fn begin_vertices(&mut self, first: VerifiedVertex) -> Turn {
        let mut bytes = first.payload().len();
        self.payloads.waiting -= bytes;
        if self.suspects.take(first.author()) {
            return Turn::Suspect(first);
        }
        let mut vertices = vec![first];
        let goes_along = |bytes: usize, work: &Work| match work {
            Work::Vertex(vertex) => {
                bytes + vertex.payload().len() <= BATCH_PAYLOAD_BYTES && !self.suspects.contains(vertex.author())
            }
            Work::Submission(_) => false,
        };
        while let Some((_, Work::Vertex(next))) = self.work.pop_if(|_, next| goes_along(bytes, next)) {
            self.payloads.waiting -= next.payload().len();
            bytes += next.payload().len();
            vertices.push(next);
        }
        self.payloads.threads += 1;
        Turn::Vertices(vertices)
    }

    /// A submission with others of the same source, until they make one batch.
    fn begin_submissions(&mut self, source: Source, first: Submission) -> Turn {
        let mut count = first.transactions.len();
        let mut submissions = vec![first];
        while count < BATCH_TRANSACTIONS
            && let Some(Work::Submission(next)) = self.work.pop_more(source)
        {
            count += next.transactions.len();
            submissions.push(next);
        }
        self.submissions.waiting -= count;
        self.submissions.threads += 1;
        Turn::Submissions(submissions)
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
                Turn::Vertices(vertices) => {
                    self.check_vertices(vertices);
                    self.shared.lock().payloads.threads -= 1;
                }
                // Nobody waits for it.
                Turn::Suspect(vertex) => self.check_vertices(vec![vertex]),
                Turn::Submissions(submissions) => {
                    self.check_submissions(submissions);
                    self.shared.lock().submissions.threads -= 1;
                }
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

    fn check_submissions(&mut self, submissions: Vec<Submission>) {
        let (mut all, mut replies) = (Vec::new(), Vec::new());
        for Submission { transactions, reply } in submissions {
            replies.push((transactions.len(), reply));
            all.extend(transactions);
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
