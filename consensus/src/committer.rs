//! The decision rule (§6): which leader slots commit and which are skipped. A pure function of the accepted vertices.

use crate::committee::{Committee, WAVE_LENGTH};
use crate::dag::Dag;
use crate::vertex::{Round, VertexRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What became of a leader slot. It never changes, so it is remembered; an undecided slot has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// This vertex of the leader commits.
    Commit(VertexRef),
    /// None does.
    Skip,
}

/// Decides slots, and walks over them in order. One slot a round.
pub struct Committer {
    committee: Arc<Committee>,
    /// The round of the first slot not taken yet. Advances on skips, too.
    cursor: Round,
    /// Decisions from `cursor` on.
    decided: BTreeMap<Round, Decision>,
}

impl Committer {
    /// A committer whose first slot is that of round `cursor`.
    pub fn new(committee: Arc<Committee>, cursor: Round) -> Committer {
        assert!(cursor >= 1, "round 0 has no leader slot");
        Committer { committee, cursor, decided: BTreeMap::new() }
    }

    /// Decides what can be decided, from the highest slot down.
    pub fn evaluate(&mut self, dag: &Dag) {
        let highest = dag.highest_round();
        for round in (self.cursor..=highest).rev() {
            if !self.decided.contains_key(&round)
                && let Some(decision) =
                    self.decide_directly(dag, round).or_else(|| self.decide_indirectly(dag, round, highest))
            {
                self.decided.insert(round, decision);
            }
        }
    }

    /// Takes the decision of the slot at the cursor and advances; `None` if it is undecided.
    pub fn take_next(&mut self) -> Option<(Round, Decision)> {
        let (round, decision) = self.decided.remove_entry(&self.cursor)?;
        self.cursor += 1;
        Some((round, decision))
    }

    /// Continues after the leader of a certified commit that was applied without deciding.
    pub fn continue_after(&mut self, leader_round: Round) {
        assert!(leader_round >= self.cursor, "a commit of round {leader_round} came after round {}", self.cursor);
        self.cursor = leader_round + 1;
        self.decided = self.decided.split_off(&self.cursor);
    }

    /// The round of the first slot not taken yet.
    #[cfg(test)]
    pub fn cursor(&self) -> Round {
        self.cursor
    }

    /// The decision of a slot from the cursor on, if there is one.
    #[cfg(test)]
    pub fn decision(&self, round: Round) -> Option<Decision> {
        self.decided.get(&round).copied()
    }

    fn decide_directly(&self, dag: &Dag, round: Round) -> Option<Decision> {
        let quorum = self.committee.quorum();
        let leaders = || dag.at_slot(round, self.committee.leader(round));
        let without_vote_for = |leader: Option<VertexRef>| {
            let blaming = |voter: &VertexRef| leader.is_none() || dag.vote_of(voter) != leader;
            dag.count_authors(dag.at_round(round + 1).filter(blaming))
        };
        // The first clause: with no leader vertex it is all that is asked, so an empty slot is not skipped before a quorum spoke.
        if without_vote_for(None) >= quorum && leaders().all(|leader| without_vote_for(Some(leader)) >= quorum) {
            return Some(Decision::Skip);
        }
        let is_certified = |leader: &VertexRef| {
            let certifies = |vertex: &VertexRef| dag.certificate_of(vertex) == Some(*leader);
            dag.count_authors(dag.at_round(round + 2).filter(certifies)) >= quorum
        };
        leaders().find(is_certified).map(Decision::Commit)
    }

    /// The first slot a wave or more above that is not skipped decides: if it commits, by what lies in its leader's history.
    fn decide_indirectly(&self, dag: &Dag, round: Round, highest: Round) -> Option<Decision> {
        for anchor_round in round + WAVE_LENGTH..=highest {
            match self.decided.get(&anchor_round)? {
                Decision::Skip => {}
                Decision::Commit(anchor) => {
                    let certified = ancestors_at(dag, *anchor, round + 2)
                        .into_iter()
                        .find_map(|vertex| dag.certificate_of(&vertex).filter(|leader| leader.round == round));
                    return Some(certified.map_or(Decision::Skip, Decision::Commit));
                }
            }
        }
        None
    }
}

/// The ancestors of a vertex at a lower round, all of which are in the DAG.
fn ancestors_at(dag: &Dag, vertex: VertexRef, round: Round) -> BTreeSet<VertexRef> {
    let mut reached = BTreeSet::new();
    let mut open = BTreeSet::from([vertex]);
    // Rounds fall along parents, so taking the highest first visits each vertex once.
    while let Some(next) = open.pop_last() {
        if next.round == round {
            reached.insert(next);
        } else {
            let node = dag.get(&next).expect("the DAG is closed under parents above the gc round");
            open.extend(node.header().parents.iter().filter(|parent| parent.round >= round));
        }
    }
    reached
}
