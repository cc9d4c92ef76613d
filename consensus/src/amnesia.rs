//! What this validator may have signed and does not know of (§10).
//!
//! At every start the peers are asked for the latest vertex of their own, and the latest of ours that they hold. With the signing state
//! intact the first proposal waits for the answers of a quorum of others; after a while those that make a quorum together with
//! this validator are enough, since it can propose nothing without them. So a copy of an old database is noticed before
//! anything is signed with it.
//!
//! With the signing state gone, or older than a vertex of ours that somebody shows, this is *amnesia*: nothing is proposed until the
//! own latest vertices of a quorum of others are accepted here, or collected. Be ρ the highest round in which this validator ever
//! signed. Its vertex has parents of a quorum of authors at ρ − 1, and any quorum of answers is from an honest one of them, whose
//! latest vertex is of round ρ − 1 or higher. With R* the highest round in the answers that count, ρ ≤ R* + 1, so from R* + 2 on all rounds
//! are free. That the answers be accepted keeps a Byzantine peer from naming a round that does not exist; a vertex with our own
//! signature, which nobody else can make, counts as it is.
//!
//! A validator with a signing state may answer that it has no vertex: its last one was pruned, or it started from a snapshot. Then that one is
//! at or below the gc round of a commit. The quorum of authors that made the newest such commit possible have vertices above
//! its leader; any quorum of answers is from an honest one of those, too.

use crate::committee::Committee;
use crate::dag::Dag;
use crate::interface::{Rule, Settings};
use crate::message::Message;
use crate::recovery::Past;
use crate::vertex::{Author, Round, VertexRef};
use std::collections::BTreeSet;

/// What one validator does not know of itself.
pub struct Amnesia {
    own: Author,
    /// How many others have to answer.
    needed: usize,
    /// How many have to when time is up and the signing state is intact.
    needed_in_time: usize,
    retry_ms: u64,
    state: State,
    /// Own vertices up to this round may come in from an earlier life; this engine signs above it only.
    past_round: Round,
    /// The first round that this engine signed.
    signed_from: Option<Round>,
    /// When the answers were looked at last.
    settled_at_ms: u64,
    /// By author.
    peers: Vec<Peer>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing speaks against the signing state, but the peers may still. From then on fewer answers are enough.
    Asking { until_ms: u64 },
    /// What was signed is not known.
    Lost,
    /// It is.
    Known,
}

/// A vertex of ours that is not in the DAG.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnVertex {
    /// Signed in an earlier life that is accounted for, or since the start and collected.
    Past,
    /// Signed in an earlier life that the database does not know all of.
    Lost,
    /// Signed by somebody else, or in rounds in which this engine signed again.
    Foreign,
}

#[derive(Clone, Default)]
struct Peer {
    asked_at_ms: Option<u64>,
    /// Its own latest vertex when it answered.
    answer: Option<VertexRef>,
    /// Whether that is accepted here, or collected.
    is_settled: bool,
}

impl Amnesia {
    /// Of a validator with this past, at a start at `now_ms`.
    pub fn new(committee: &Committee, own: Author, past: &Past, settings: &Settings, now_ms: u64) -> Amnesia {
        let others = committee.size() - 1;
        let state = match past.is_lost {
            true => State::Lost,
            false if others == 0 || !settings.stop_at_own_equivocation => State::Known,
            false if settings.rule_taken_out == Some(Rule::StartCheck) => State::Known,
            false => State::Asking { until_ms: now_ms + settings.latest_wait_ms },
        };
        Amnesia {
            own,
            // A validator alone that lost its signing state can learn from nobody, so it waits for ever.
            needed: committee.quorum().min(others).max(1),
            // With this validator they are a quorum, without which no vertex is made anyway.
            needed_in_time: committee.quorum() - 1,
            retry_ms: settings.fetch_retry_ms,
            state,
            past_round: past.round,
            signed_from: None,
            settled_at_ms: now_ms,
            peers: vec![Peer::default(); committee.size()],
        }
    }

    /// Who it is about.
    pub fn own(&self) -> Author {
        self.own
    }

    /// Whether nothing may be signed yet.
    pub fn is_waiting(&self) -> bool {
        self.state != State::Known
    }

    /// Whether it is not known what was signed.
    pub fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// The highest round in which an earlier life may have signed, as far as is known.
    pub fn past_round(&self) -> Round {
        self.past_round
    }

    /// A vertex was signed.
    pub fn on_signed(&mut self, round: Round) {
        assert!(!self.is_waiting() && round > self.past_round, "round {round} was signed in amnesia");
        self.signed_from.get_or_insert(round);
    }

    /// What it means that somebody has a vertex of ours which is not in the DAG.
    pub fn judge(&self, round: Round, gc_round: Round) -> OwnVertex {
        let has_signed = self.signed_from.is_some_and(|first| first <= round);
        if round <= self.past_round || (has_signed && round <= gc_round) {
            OwnVertex::Past
        } else if has_signed {
            OwnVertex::Foreign
        } else {
            OwnVertex::Lost
        }
    }

    /// A vertex of ours was shown that an earlier life signed and the database lacks.
    pub fn on_lost_vertex(&mut self, round: Round) {
        self.past_round = self.past_round.max(round);
        if self.state != State::Lost {
            self.state = State::Lost;
            self.peers.fill(Peer::default());
        }
    }

    /// A connection stands: what was asked over an earlier one is not answered any more.
    pub fn on_connected(&mut self, peer: Author) {
        let peer = &mut self.peers[usize::from(peer)];
        if !peer.is_settled {
            *peer = Peer::default();
        }
    }

    /// A peer told its own latest vertex (perhaps genesis). The first answer stands until it is settled or the peer connects anew:
    /// of an honest peer everything is accepted some time, while a newer answer would have to be waited for anew.
    pub fn on_answer(&mut self, from: Author, latest: VertexRef) {
        let peer = &mut self.peers[usize::from(from)];
        if peer.asked_at_ms.is_some() && peer.answer.is_none() {
            peer.answer = Some(latest);
        }
    }

    /// Whether a vertex is one that an answer names, and needed.
    pub fn is_wanted(&self, reference: &VertexRef) -> bool {
        self.is_lost() && self.unsettled().any(|(_, latest)| latest == *reference)
    }

    /// The answers that are not settled, with who gave them.
    pub fn unsettled(&self) -> impl Iterator<Item = (Author, VertexRef)> + '_ {
        let answers = self.peers.iter().zip(0..).filter(|(peer, _)| !peer.is_settled);
        answers.filter_map(|(peer, author)| Some((author, peer.answer?)))
    }

    /// Looks at the answers again. Returns R* + 1, the highest round that may be taken, when amnesia ends by it.
    pub fn settle(&mut self, dag: &Dag, now_ms: u64) -> Option<Round> {
        self.settled_at_ms = now_ms;
        for peer in &mut self.peers {
            peer.is_settled |=
                peer.answer.is_some_and(|latest| latest.round <= dag.gc_round() || dag.contains(&latest));
        }
        match self.state {
            State::Known => None,
            State::Asking { until_ms } => {
                let answers = self.peers.iter().filter(|peer| peer.answer.is_some()).count();
                if answers >= self.needed || (now_ms >= until_ms && answers >= self.needed_in_time) {
                    self.state = State::Known;
                }
                None
            }
            State::Lost => {
                let settled = || self.peers.iter().filter(|peer| peer.is_settled).filter_map(|peer| peer.answer);
                if settled().count() < self.needed {
                    return None;
                }
                let highest = settled().map(|latest| latest.round).max().unwrap_or(0).max(self.past_round);
                self.state = State::Known;
                self.past_round = highest + 1;
                Some(self.past_round)
            }
        }
    }

    /// The questions to ask now: of each peer once a connection, and again while something waits for its answer.
    pub fn poll(&mut self, connected: &BTreeSet<Author>, now_ms: u64) -> Vec<(Author, Message)> {
        let mut requests = Vec::new();
        for author in connected {
            if self.due_ms(*author).is_some_and(|due_ms| now_ms >= due_ms) {
                self.peers[usize::from(*author)].asked_at_ms = Some(now_ms);
                requests.push((*author, Message::FetchLatest));
            }
        }
        requests
    }

    /// When to poll, or to settle, again.
    pub fn next_poll_ms(&self, connected: &BTreeSet<Author>) -> Option<u64> {
        let until_ms = match self.state {
            State::Asking { until_ms } if until_ms > self.settled_at_ms => Some(until_ms),
            State::Asking { .. } | State::Lost | State::Known => None,
        };
        connected.iter().filter_map(|author| self.due_ms(*author)).chain(until_ms).min()
    }

    fn due_ms(&self, author: Author) -> Option<u64> {
        let peer = &self.peers[usize::from(author)];
        match peer.asked_at_ms {
            _ if peer.answer.is_some() || author == self.own => None,
            None => Some(0),
            Some(asked_at_ms) => self.is_waiting().then_some(asked_at_ms + self.retry_ms),
        }
    }
}
