//! Consensus of Farthing: an uncertified DAG of vertices, committed by a pure function of what was accepted.
//!
//! # Protocol
//! Mysticeti-C (Babel et al., "Mysticeti: Reaching the Limits of Latency with Uncertified DAGs") with n = 3f + 1 validators of equal
//! weight, waves of three rounds and one round-robin leader a round. There is one message of consensus, the **vertex**: one
//! validator's signed proposal for one round, which carries its whole payload and names vertices of earlier rounds as parents.
//! There are no votes, certificates, time-out messages or view changes apart from it:
//!
//! - a vertex at r + 1 **votes** for a leader vertex at r by having it as a parent;
//! - a vertex at r + 2 is a **certificate** for it if q = n − f of its parents vote for it;
//! - q certificates **commit** the leader, q authors that do not vote for it **skip** it, and what remains open is settled by the
//!   first committed leader of round r + 3 or later, by whether a certificate lies in that leader's history.
//!
//! A committed leader brings in its causal history, in a fixed order. That is a **commit**; commits form a chain. A leader's vertex is
//! final three message delays after it is sent.
//!
//! # Where what is
//! | module | section of the design |
//! |---|---|
//! | [`vertex`], [`commit`], [`message`] | 1, data; encodings are pinned by tests |
//! | [`committee`] | 2, validity V1 to V5; 5, leaders; the thresholds, by name |
//! | `dag`, `synchronizer`, `fetcher`, `subscriptions` | 3, acceptance; 8, garbage collection; 9, suspension and fetching |
//! | `pacemaker`, `proposer`, `attestations`, `flow` | 4, the clock and proposing; 12, flow control and idling |
//! | `committer` | 6, decision |
//! | `linearizer` | 7, sequencing |
//! | `recovery`, `amnesia`, [`engine::Engine::start`] | 10, restart and amnesia |
//! | `catch_up` | 11, certified commits; followers |
//! | [`archive`] | serving all this to others |
//! | [`engine`], [`interface`] | the composition: inputs, outputs, their order |
//!
//! The engine does no I/O, reads no clock, draws no randomness and iterates over no hash map (`clippy.toml` sees to it). Outputs form one
//! ordered log: `Broadcast` and `Commit` take effect once every earlier `Persist` is durable. Everything accepted since the
//! last `Persist` goes into the next one, so that a vertex or commit that has left never depends on one that a crash can lose.
//!
//! # Why it is safe
//! At most f of the n ≥ 3f + 1 validators are Byzantine. Distinct authors are counted, never vertices.
//! 1. *One certified leader a slot.* Two certificates for different vertices of a slot have 2q − n ≥ f + 1 authors in common that
//!    vote for both; an honest author makes one vertex a round, with one parent an author (V3). So [`engine::Engine::step`] panics
//!    at a second one: the assumption does not hold.
//! 2. *A direct commit is seen by every anchor.* q authors have a certificate for L at r + 2. A vertex of any round above has, by
//!    V4 and induction, q authors of round r + 2 in its history, f + 1 of which have a certificate, one of them honest, with one
//!    vertex at r + 2 only. So every anchor links a certificate for L.
//! 3. *A direct skip leaves no certificate.* If q authors at r + 1 do not vote for L, at most 2f do (f Byzantine ones twice), and a
//!    certificate needs q > 2f. This holds for every L of the slot, also for one that is seen later: what was accepted before it
//!    cannot have it as a parent. An empty slot is no exception, hence the quorum in the rule.
//! 4. *Anchors agree.* Slots are decided from the highest down, an anchor being the first slot from r + 3 on that is not skipped, and
//!    an undecided one being waited for. By induction all nodes take the same anchor, and what lies in its history is the same for all.
//! 5. *Sequencing is a function of the leaders.* The gc round at each commit is that of the commit before, so the history above it
//!    and its order are the same everywhere. Garbage collection bounds only what is accepted and held.
//!
//! # What else may go wrong
//! - A restarted validator signs on above its last signed round, which is stored with the vertex in one batch. Without that signing
//!   state, or shown a vertex of its own that it does not know, it first learns from a quorum of others (`amnesia` has the argument). At a
//!   vertex of its own in rounds in which it has signed since the start it stops: somebody else signs with its key.
//! - Acceptance of what honest validators accepted is never refused for good: a dropped vertex is subscribed to or fetched again,
//!   and another vertex of an equivocator is taken as soon as something valid references it.
//! - Whatever a Byzantine author sends, its suspended vertices, the fetches they cause, and the rounds they may be ahead are bounded.
//! - Commits that are decided in one go have votes for the last of them only. Catching up keeps a chain of commits until the votes
//!   for a later one certify all of it.
//! - Local decisions rest while certified commits wait for their vertices, and the two agree: a certified commit is sequenced by
//!   the same code and compared by digest.
//!
//! # Followers
//! An engine without a key subscribes to nothing. It asks one peer for certified commits all the time, at once and the same one as
//! long as its answers are full, else the next peer, every 200 ms once nothing new comes; it checks chain and votes, fetches the vertices by reference and applies the commits.
//!
//! # Limits
//! f = 1: of an equivocator a commit brings in at most the chains that the vertices of others link, 60 rounds of each. The honest
//! validators, five of six at most, link one a round each: 300 chains of 60 vertices in all, 18,000, below
//! [`commit::COMMIT_VERTICES_MAX`] (32,768).
//!
//! f ≥ 2: two colluding equivocators may make a tree, each copy linking another copy of both of them in the round before: 15 rounds of
//! it are 2^15 = 32,768 vertices, about 20 MB to make and to serve. Whoever has accepted it knows both as equivocators and links
//! neither where validity allows; but with honest vertices late, validity may not, and a third Byzantine validator (f ≥ 3) that never
//! equivocated may link them. A bound on what honest validators link would have to be the same for all of them, although each has collected and
//! committed up to somewhere else; none was found that is simple and cannot be used to keep honest vertices out. So a leader that
//! brings in more stops every validator, with a message, before anything of its commit is stored; and the tree takes memory of
//! everybody, at the pace at which it can be fetched (32 vertices a round trip and peer; 8 MB an author while parents are missing).
//!
//! # Deviations from the design so far
//! - Epochs (§12) are not there yet: one epoch. Vertices and commits carry the epoch already.
//! - With the signing state intact, too, the first proposal after a start waits for the answers of a quorum of others, after a second
//!   for one less (§10 has it start at once): a copy of an old database is noticed before anything is signed.
//! - R* is the highest round in the answers that are accepted here or collected, not in all (§10): the round that the proof needs is
//!   among them, and a lie about a round that does not exist raises nothing.
//! - Amnesia counts the first answer of a peer on a connection until it is settled; newer ones are not asked for.
//! - `FetchVertices` answers add own ancestors of what was asked for, up to 32 vertices (§9 has them asked for one by one).
//! - Of the rounds that the clock passed unproposed (§4) all are proposed, lowest first, while the last proposal is at most three
//!   rounds below; a validator that is further behind goes on at the clock's round.
//! - The minimum round delay adapts between two settings to how far execution is behind commits. The payload budget (§12) aims at three
//!   times the longer of the two, not the delay of the moment.
//! - Condition 2 of §4 does not ask for the own vertex of the round before, which may have been passed over for good.
//! - The parents of fetched vertices are fetched at once, not after 50 ms (§9): their copies are not on the way.
//! - After a start from a snapshot the leader of its commit is fetched although it counts as committed: the next commit may need its
//!   timestamp.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

mod amnesia;
pub mod archive;
mod attestations;
mod catch_up;
pub mod commit;
pub mod committee;
mod committer;
mod dag;
pub mod engine;
mod fetcher;
mod flow;
pub mod interface;
mod linearizer;
pub mod message;
mod pacemaker;
mod proposer;
mod recovery;
mod subscriptions;
mod synchronizer;
#[cfg(test)]
mod tests;
pub mod vertex;

pub use synchronizer::{FETCHING_MAX, SUSPENDED_BYTES_MAX};
