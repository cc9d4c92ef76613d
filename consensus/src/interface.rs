//! What goes into the engine and what comes out of it.

use crate::commit::{Commit, CommittedVertices};
use crate::message::Message;
use crate::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexRef};
use bytes::Bytes;
use farthing_core::certificate::Attestation;
use farthing_core::hash::Digest;

/// How many of the newest commits a restart needs in [`Recovered`] (or all, if there are fewer): leaders have distinct rounds,
/// so no older commit reaches above the newest one's gc round.
pub const RECOVERY_COMMITS: usize = crate::committee::GC_DEPTH as usize;

/// Time as the engine sees it. The two clocks are independent: the wall clock may jump, the monotonic one never falls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Milliseconds since some moment before the start.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch, for the timestamps of vertices only.
    pub wall_ms: u64,
}

/// Local choices of one node. Nothing in here affects safety but the last two, which only tests change. All times in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The least time between two own vertices, while execution keeps up with commits.
    pub round_delay_min_ms: u64,
    /// What that time grows to while execution does not keep up: larger vertices cost less a byte.
    pub round_delay_max_ms: u64,
    /// How long a round waits for its leader at first.
    pub leader_timeout_ms: u64,
    /// What the leader timeout grows to at most while nothing commits.
    pub leader_timeout_max_ms: u64,
    /// The time between two own vertices when there is nothing to do.
    pub idle_delay_ms: u64,
    /// How long a missing parent is waited for before it is fetched: it is often on its way.
    pub fetch_delay_ms: u64,
    /// After how long an unanswered fetch goes to another peer.
    pub fetch_retry_ms: u64,
    /// How long there may be commits elsewhere and none here before certified commits are fetched.
    pub commit_stall_ms: u64,
    /// How long after a start the first proposal waits for a quorum of others to tell what they hold of this validator's (§10). After
    /// that it waits for one less.
    pub latest_wait_ms: u64,
    /// How often an observer that knows all commits of a peer asks for the next ones.
    pub follow_poll_ms: u64,
    /// Stop the process at the sight of a second own vertex for a slot (§3). Only fault tests in which two engines share one
    /// key on purpose turn this off.
    pub stop_at_own_equivocation: bool,
    /// A rule that fault tests take out, to show that it is needed. `None` anywhere else.
    pub rule_taken_out: Option<Rule>,
}

/// Rules whose absence keeps the chain from going on, or splits it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// §4: rounds that the clock passed unproposed are proposed at once.
    SkippedRounds,
    /// §4: nobody is absent far past the last commit.
    AbsentNearCommitsOnly,
    /// §11: after a start from a snapshot the vertices of earlier commits are flagged.
    FlagsOfEarlierCommits,
    /// §10: nothing is signed before the others have told what they hold.
    StartCheck,
    /// §12: the first vertex of another for the next round ends idling.
    Waking,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            round_delay_min_ms: 50,
            round_delay_max_ms: 50,
            leader_timeout_ms: 250,
            leader_timeout_max_ms: 4_000,
            idle_delay_ms: 500,
            fetch_delay_ms: 50,
            fetch_retry_ms: 300,
            commit_stall_ms: 2_000,
            latest_wait_ms: 1_000,
            follow_poll_ms: 200,
            stop_at_own_equivocation: true,
            rule_taken_out: None,
        }
    }
}

/// What a validator knows of what it has signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signing {
    /// The last signed vertex. `None` is the signing state "nothing signed", as key generation writes it. An observer has none.
    Intact(Option<VertexRef>),
    /// The signing state is gone: nothing is signed before a quorum of others has told what it holds (§10).
    Lost,
}

/// What a restart finds on disk.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The signing state.
    pub signing: Signing,
    /// The newest [`RECOVERY_COMMITS`] stored commits or more, ascending without gaps. Fewer if they reach back to commit 1, or to a
    /// leader at most one round above the newest commit's gc round.
    pub commits: Vec<Commit>,
    /// Every stored vertex above the newest commit's gc round, in any order. After a start from a snapshot vertices of commits may be
    /// missing: they are committed, and count as accepted.
    pub vertices: Vec<VerifiedVertex>,
    /// The authors of whose equivocation there is stored evidence.
    pub equivocators: Vec<Author>,
}

impl Recovered {
    /// A new node: nothing signed, nothing stored.
    pub fn fresh() -> Recovered {
        Recovered {
            signing: Signing::Intact(None),
            commits: Vec::new(),
            vertices: Vec::new(),
            equivocators: Vec::new(),
        }
    }
}

/// What happens to the engine.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time asked for with [`Output::SetTimer`] has come. Harmless at any other time.
    Timer,
    /// A connection to a committee member stands.
    Connected(Author),
    /// It is gone.
    Disconnected(Author),
    /// One of `from`'s own vertices, pushed by it over our subscription. Another author's is ignored.
    Pushed {
        /// The sender.
        from: Author,
        /// The vertex.
        vertex: VerifiedVertex,
    },
    /// An answer to [`Message::FetchVertices`]: those of it that passed validity.
    Fetched {
        /// The sender.
        from: Author,
        /// The vertices.
        vertices: Vec<VerifiedVertex>,
    },
    /// An answer to [`Message::FetchCommits`], unchecked: the engine checks chain and votes.
    FetchedCommits {
        /// The sender.
        from: Author,
        /// Consecutive commits.
        commits: Vec<Commit>,
        /// Votes for them.
        votes: Vec<SignedHeader>,
        /// The lowest commit that the sender keeps with its vertices, as it says.
        oldest_index: u64,
    },
    /// An answer to [`Message::FetchLatest`], unchecked: the engine checks the signatures.
    Latest {
        /// The sender.
        from: Author,
        /// Its own latest vertex; `None` is genesis.
        own: Option<Box<SignedHeader>>,
        /// The highest vertex of ours that it holds.
        yours: Option<Box<SignedHeader>>,
    },
    /// Whether the mempool has anything to propose; sent when that changes. It starts as `false`.
    PayloadWaiting(bool),
    /// The answer to [`Output::RequestPayload`], given as the very next input.
    Payload(Bytes),
    /// The executor finished a commit. Commits finish in order. After a restart the node tells its newest block again, so that
    /// it is attested (again: harmless) and the engine knows whether to idle.
    Executed {
        /// The commit's index.
        index: u64,
        /// Height and hash of the block that it made, if it made one.
        block: Option<(u64, Digest)>,
        /// Our attestation of that block; `None` from an observer.
        attestation: Option<Attestation>,
    },
}

/// What the engine wants done. The outputs of all steps form one ordered log: a `Broadcast` or `Commit` takes effect only once
/// every earlier `Persist` is durable.
#[derive(Clone, Debug)]
pub enum Output {
    /// Write all of it in one atomic batch, then sync.
    Persist {
        /// Vertices newly accepted.
        vertices: Vec<VerifiedVertex>,
        /// New commits, ascending.
        commits: Vec<Commit>,
        /// What was signed, if anything: replaces the stored signing state.
        last_signed: Option<VertexRef>,
    },
    /// An own vertex for all that subscribed.
    Broadcast(VerifiedVertex),
    /// A `Subscribe`, `FetchVertices`, `FetchCommits` or `FetchLatest`; it promises nothing, so it may be sent at once. A new `Subscribe`
    /// replaces the earlier one to the same peer.
    Send {
        /// The receiver, a connected committee member.
        to: Author,
        /// The request.
        message: Message,
    },
    /// The engine wants to propose: answer with [`Input::Payload`] of at most so many bytes, as the very next input. Always
    /// the last output of a step.
    RequestPayload {
        /// The budget; at least 1.
        bytes_max: usize,
    },
    /// Give [`Input::Timer`] at this monotonic time. Replaces the previous one.
    SetTimer {
        /// Milliseconds of [`Now::monotonic_ms`].
        at_ms: u64,
    },
    /// A commit. Each index exactly once in the life of an engine, ascending without gaps from the newest recovered one.
    Commit(CommittedVertices),
    /// The vertex was accepted, in causal order: the node takes its attestations and starts verifying its transactions, if it has
    /// not. Own vertices too, and after a restart the recovered ones.
    Accepted(VerifiedVertex),
    /// Own vertices at or below the gc round that were never committed: their payload goes back to the mempool.
    Uncommitted(Vec<VerifiedVertex>),
    /// Two vertices of one author for one slot; at most once an author in the life of an engine.
    Evidence(Box<(SignedHeader, SignedHeader)>),
    /// f + 1 peers no longer keep the next commit: only a snapshot of the state helps. Repeated every 10 seconds while it is so.
    BehindRetention {
        /// Those peers.
        peers: Vec<Author>,
    },
}

/// A picture of the engine for logs, metrics and tests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The clock's round.
    pub round: Round,
    /// The round of the last own vertex, 0 if there is none.
    pub last_proposed: Round,
    /// By author, the highest round with an accepted vertex.
    pub highest_accepted: Vec<Round>,
    /// The newest commit's index.
    pub last_commit: u64,
    /// Its digest.
    pub last_commit_digest: Digest,
    /// Its leader's round.
    pub last_leader_round: Round,
    /// The highest collected round.
    pub gc_round: Round,
    /// The commit finished by the executor.
    pub executed: u64,
    /// The commit that at least one honest other validator claims to have; 0 if none is known.
    pub voted_commit: u64,
    /// Vertices in memory.
    pub accepted: usize,
    /// Vertices that wait for a parent.
    pub suspended: usize,
    /// The encoded bytes of those.
    pub suspended_bytes: usize,
    /// Vertices being fetched.
    pub fetching: usize,
    /// Whether certified commits are being fetched or applied.
    pub catching_up: bool,
    /// Whether f + 1 peers told that they do not keep the next commit any more.
    pub behind_retention: bool,
    /// Whether this validator does not know what it has signed, and waits for others to tell it (§10).
    pub amnesia: bool,
    /// Whether there is nothing to propose for.
    pub idle: bool,
    /// How many bytes of payload the next vertex may carry.
    pub payload_bytes_max: usize,
    /// The authors known to have equivocated.
    pub equivocators: Vec<Author>,
}
