//! The clock and the moment to propose (§4, and the idling of §12). All of it is local choice; safety never depends on it.

use crate::committee::Committee;
use crate::dag::Dag;
use crate::interface::{Rule, Settings};
use crate::vertex::{Author, Round};
use std::sync::Arc;

/// An author is absent when its highest round is further than this below the clock …
const ABSENT_AFTER_ROUNDS: u64 = 8;

/// … and the clock at most this far past the last committed leader. Otherwise everybody is waited for: a slow honest validator and
/// Byzantine ones must not keep honest leaders out for ever.
const ABSENT_NEAR_COMMIT_ROUNDS: u64 = 16;

/// This far past the last committed leader, rounds slow down to [`STALLED_ROUND_DELAY_MS`].
const STALLED_ROUNDS: u64 = 500;
const STALLED_ROUND_DELAY_MS: u64 = 1_000;

/// Rounds that the clock passed unproposed are still proposed if the last proposal is at most this far below.
const SKIPPED_ROUNDS_MAX: u64 = 3;

/// The leader timeout doubles after so many rounds in a row without a commit, and halves after so many with one. The latter need
/// not be in a row: a silent leader leaves its rounds without a commit for ever.
const TIMEOUT_ADAPT_ROUNDS: u32 = 16;

/// The first round whose leader slot two rounds below can be voted for.
const FIRST_GATED_ROUND: Round = 3;

/// The clock of one node.
pub struct Pacemaker {
    committee: Arc<Committee>,
    settings: Settings,
    own: Option<Author>,
    round: Round,
    entered_at_ms: u64,
    last_proposed: Round,
    proposed_at_ms: Option<u64>,
    timeout_ms: u64,
    /// Whether a commit came since the clock entered its round.
    committed_in_round: bool,
    /// Rounds with a commit since the timeout last changed.
    rounds_with_commit: u32,
    /// Rounds since the last one with a commit, or since the timeout last doubled.
    rounds_without_commit: u32,
}

/// What the rest of the engine knows that bears on proposing.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// The round of the last committed leader.
    pub last_leader_round: Round,
    /// The delay between own vertices that flow control asks for.
    pub round_delay_ms: u64,
    /// Nothing to propose for (§12), the vertices of others at the clock's round left aside.
    pub idle: bool,
    /// Catching up: skipped rounds are not proposed.
    pub catching_up: bool,
}

/// When to propose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proposing {
    /// Now, for this round.
    Now {
        /// The round.
        round: Round,
        /// Whether the time since the last proposal says how fast rounds can be: not after idling or a timeout.
        is_paced: bool,
    },
    /// At this time, if nothing happens before.
    At(u64),
    /// Not before something happens.
    Blocked,
}

impl Pacemaker {
    /// A clock that starts in round 1. `last_proposed` is the round of the last signed vertex, 0 if there is none.
    pub fn new(
        committee: Arc<Committee>,
        settings: Settings,
        own: Option<Author>,
        last_proposed: Round,
        now_ms: u64,
    ) -> Pacemaker {
        Pacemaker {
            committee,
            timeout_ms: settings.leader_timeout_ms,
            settings,
            own,
            round: 1,
            entered_at_ms: now_ms,
            last_proposed,
            proposed_at_ms: None,
            committed_in_round: false,
            rounds_with_commit: 0,
            rounds_without_commit: 0,
        }
    }

    /// The clock's round.
    pub fn round(&self) -> Round {
        self.round
    }

    /// The round of the last own vertex.
    pub fn last_proposed(&self) -> Round {
        self.last_proposed
    }

    /// The leader timeout as it is now.
    #[cfg(test)]
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// Advances the clock after acceptances.
    pub fn advance(&mut self, dag: &Dag, now_ms: u64) {
        let mut round = self.round.max(dag.highest_round());
        if dag.authors_at(round) >= self.committee.quorum() {
            round += 1;
        }
        if round > self.round {
            self.round = round;
            self.entered_at_ms = now_ms;
            self.adapt_timeout();
        }
    }

    /// Notes that a commit was made.
    pub fn on_commit(&mut self) {
        self.committed_in_round = true;
    }

    /// Notes an own proposal.
    pub fn on_proposed(&mut self, round: Round, now_ms: u64) {
        assert!(round > self.last_proposed, "round {round} was proposed after round {}", self.last_proposed);
        self.last_proposed = round;
        self.proposed_at_ms = Some(now_ms);
    }

    /// Rounds up to this one may be signed already: go on above.
    pub fn resume_after(&mut self, round: Round) {
        self.last_proposed = self.last_proposed.max(round);
    }

    /// When to propose next, given that nothing else happens.
    pub fn next_proposal(&self, dag: &Dag, conditions: &Conditions, now_ms: u64) -> Proposing {
        if let Some(round) = self.skipped_round(dag, conditions) {
            return Proposing::Now { round, is_paced: false };
        }
        let round = self.round;
        if round <= self.last_proposed || dag.authors_at(round - 1) < self.committee.quorum() {
            return Proposing::Blocked;
        }
        let since_proposal = |delay_ms: u64| self.proposed_at_ms.map_or(0, |at_ms| at_ms + delay_ms);
        let is_complete = self.may_follow_leader(dag, conditions) || self.is_round_full(dag, conditions);
        let is_idle = conditions.idle && (dag.authors_at(round) == 0 || self.lacks(Rule::Waking));
        let mut at_ms = since_proposal(self.round_delay_ms(conditions));
        if !is_complete {
            at_ms = at_ms.max(self.entered_at_ms + self.timeout_ms);
        }
        if is_idle {
            at_ms = at_ms.max(since_proposal(self.settings.idle_delay_ms));
        }
        if now_ms < at_ms {
            return Proposing::At(at_ms);
        }
        Proposing::Now { round, is_paced: is_complete && !conditions.idle }
    }

    /// Milliseconds since the last proposal.
    pub fn since_proposal_ms(&self, now_ms: u64) -> Option<u64> {
        self.proposed_at_ms.map(|at_ms| now_ms.saturating_sub(at_ms))
    }

    /// The lowest round that the clock passed unproposed, as long as that is a short while ago. Without these proposals, an
    /// unlucky schedule of delays keeps every leader out of every vertex.
    fn skipped_round(&self, dag: &Dag, conditions: &Conditions) -> Option<Round> {
        let round = self.last_proposed + 1;
        let is_recent = round < self.round && self.round - 1 - self.last_proposed <= SKIPPED_ROUNDS_MAX;
        let is_possible = is_recent && dag.authors_at(round - 1) >= self.committee.quorum();
        (is_possible && !conditions.catching_up && !self.lacks(Rule::SkippedRounds)).then_some(round)
    }

    /// Condition 1: the last leader is here or absent, and the vote gate holds: the leader before it is certain to be certified or
    /// skipped by what this node is about to link.
    fn may_follow_leader(&self, dag: &Dag, conditions: &Conditions) -> bool {
        let voters_round = self.round - 1;
        let leader = self.committee.leader(voters_round);
        let leader_is_here = voters_round == 0 || dag.at_slot(voters_round, leader).next().is_some();
        (leader_is_here || self.is_absent(leader, dag, conditions)) && self.vote_gate(dag)
    }

    fn vote_gate(&self, dag: &Dag) -> bool {
        if self.round < FIRST_GATED_ROUND {
            return true;
        }
        let voters = || dag.at_round(self.round - 1);
        let quorum = self.committee.quorum();
        dag.count_authors(voters().filter(|voter| dag.vote_of(voter).is_some())) >= quorum
            || dag.count_authors(voters().filter(|voter| dag.vote_of(voter).is_none())) >= quorum
    }

    /// Condition 2: every other author that is not absent has a vertex at the round before, so that there is nobody to wait for.
    fn is_round_full(&self, dag: &Dag, conditions: &Conditions) -> bool {
        self.committee.authors().all(|author| {
            self.round == 1
                || Some(author) == self.own
                || dag.at_slot(self.round - 1, author).next().is_some()
                || self.is_absent(author, dag, conditions)
        })
    }

    fn is_absent(&self, author: Author, dag: &Dag, conditions: &Conditions) -> bool {
        let is_near_commit = self.round <= conditions.last_leader_round + ABSENT_NEAR_COMMIT_ROUNDS;
        let is_silent = dag.highest_of(author) + ABSENT_AFTER_ROUNDS < self.round
            && (is_near_commit || self.lacks(Rule::AbsentNearCommitsOnly));
        is_silent || dag.is_equivocator(author)
    }

    fn lacks(&self, rule: Rule) -> bool {
        self.settings.rule_taken_out == Some(rule)
    }

    fn round_delay_ms(&self, conditions: &Conditions) -> u64 {
        let is_stalled = self.round > conditions.last_leader_round + STALLED_ROUNDS;
        if is_stalled { conditions.round_delay_ms.max(STALLED_ROUND_DELAY_MS) } else { conditions.round_delay_ms }
    }

    fn adapt_timeout(&mut self) {
        if std::mem::take(&mut self.committed_in_round) {
            self.rounds_without_commit = 0;
            self.rounds_with_commit += 1;
        } else {
            self.rounds_without_commit += 1;
        }
        if self.rounds_without_commit == TIMEOUT_ADAPT_ROUNDS {
            (self.rounds_with_commit, self.rounds_without_commit) = (0, 0);
            self.timeout_ms = (self.timeout_ms * 2).min(self.settings.leader_timeout_max_ms);
        } else if self.rounds_with_commit == TIMEOUT_ADAPT_ROUNDS {
            self.rounds_with_commit = 0;
            self.timeout_ms = (self.timeout_ms / 2).max(self.settings.leader_timeout_ms);
        }
    }
}
