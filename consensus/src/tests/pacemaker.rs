//! When to propose (§4, §12), as the clock sees DAGs of four validators.

use super::language::{NamedDag, parse};
use super::{committee, unsigned};
use crate::dag::Dag;
use crate::interface::Settings;
use crate::pacemaker::{Conditions, Pacemaker, Proposing};
use crate::vertex::{Author, Round, VertexRef};
use bytes::Bytes;
use std::sync::Arc;

const CONDITIONS: Conditions = Conditions { last_leader_round: 0, round_delay_ms: 50, idle: false, catching_up: false };

struct Clock {
    dag: Dag,
    pacemaker: Pacemaker,
}

/// The clock of a validator (by its letter) that last proposed in a round, after a DAG arrived at time 1000.
fn clock(text: &str, own: char, last_proposed: Round) -> Clock {
    let named: NamedDag = parse(4, 60, text);
    let committee = Arc::new(named.model.committee.clone());
    let own: Author = committee.leader(own as u64 - 'A' as u64 + 1);
    let mut dag = Dag::new(committee.clone(), 0);
    for vertex in named.model.vertices.iter().filter_map(|vertex| vertex.real.as_ref()) {
        dag.insert(vertex.clone());
    }
    let mut pacemaker = Pacemaker::new(committee, Settings::default(), Some(own), last_proposed.saturating_sub(1), 0);
    if last_proposed > 0 {
        pacemaker.on_proposed(last_proposed, 900);
    }
    pacemaker.advance(&dag, 1_000);
    Clock { dag, pacemaker }
}

impl Clock {
    fn at(&self, now_ms: u64, conditions: Conditions) -> Proposing {
        self.pacemaker.next_proposal(&self.dag, &conditions, now_ms)
    }
}

fn now(round: Round, is_paced: bool) -> Proposing {
    Proposing::Now { round, is_paced }
}

#[test]
fn the_first_round_is_proposed_at_once() {
    assert_eq!(clock("", 'A', 0).at(1_000, CONDITIONS), now(1, true));
}

#[test]
fn a_round_needs_a_quorum_of_the_round_before() {
    let waiting = clock("1: A B", 'A', 1);
    assert_eq!(waiting.pacemaker.round(), 1);
    assert_eq!(waiting.at(60_000, CONDITIONS), Proposing::Blocked);
    assert_eq!(clock("1: A B C", 'A', 1).pacemaker.round(), 2);
}

#[test]
fn with_the_leader_here_only_the_least_delay_is_waited_for() {
    let clock = clock("1: A B C", 'B', 1);
    assert_eq!(clock.at(949, CONDITIONS), Proposing::At(950));
    assert_eq!(clock.at(950, CONDITIONS), now(2, true));
}

#[test]
fn a_missing_leader_is_waited_for_until_the_timeout_or_until_the_round_is_full() {
    assert_eq!(clock("1: B C D", 'B', 1).at(1_000, CONDITIONS), Proposing::At(1_250));
    assert_eq!(clock("1: B C D", 'B', 1).at(1_250, CONDITIONS), now(2, false));
    assert_eq!(clock("1: A B C D", 'B', 1).at(1_000, CONDITIONS), now(2, true));
}

#[test]
fn the_vote_gate_waits_until_the_fate_of_the_leader_before_is_in_sight() {
    // Two votes for A1, one against: neither has a quorum. The leader of round 2, B, is here.
    let split = clock("1: A B C D\n2: A B C-A", 'A', 2);
    assert_eq!(split.at(1_000, CONDITIONS), Proposing::At(1_250));
    assert_eq!(clock("1: A B C D\n2: A B C", 'A', 2).at(1_000, CONDITIONS), now(3, true));
    assert_eq!(clock("1: A B C D\n2: A-A B-A C-A", 'A', 2).at(1_000, CONDITIONS), now(3, true));
    // All four are here: waiting longer brings nothing.
    assert_eq!(clock("1: A B C D\n2: A B C-A D-A", 'A', 2).at(1_000, CONDITIONS), now(3, true));
}

#[test]
fn an_absent_author_is_not_waited_for_near_the_last_commit_only() {
    // B leads round 10, and is seen last in round `seen`: it is absent in round 11 if seen + 8 < 11.
    let text = |seen: Round| -> String {
        let with_b = (1..=seen).map(|round| format!("{round}: A B C D\n"));
        with_b.chain((seen + 1..=10).map(|round| format!("{round}: A C D\n"))).collect()
    };
    assert_eq!(clock(&text(2), 'A', 10).at(1_000, CONDITIONS), now(11, true));
    assert_eq!(clock(&text(3), 'A', 10).at(1_000, CONDITIONS), Proposing::At(1_250));
    // Round 22 is B's, too. More than 16 rounds past the last committed leader, everybody is waited for.
    let long: String = (1..=22).map(|round| format!("{round}: A C D\n")).collect();
    let near = Conditions { last_leader_round: 7, ..CONDITIONS };
    let far = Conditions { last_leader_round: 6, ..CONDITIONS };
    assert_eq!(clock(&long, 'A', 22).at(1_000, near), now(23, true));
    assert_eq!(clock(&long, 'A', 22).at(1_000, far), Proposing::At(1_250));
}

#[test]
fn skipped_rounds_are_proposed_at_once_if_they_are_few() {
    let text = "1: A B C D\n2: A B C\n3: A B C\n4: A B C\n5: A B C";
    // The clock is at 6; D proposed 2 last, so 3, 4 and 5 went by.
    assert_eq!(clock(text, 'D', 2).at(901, CONDITIONS), now(3, false));
    // One more, and it is too late for them.
    assert_eq!(clock(text, 'D', 1).at(1_000, CONDITIONS), now(6, true));
    let catching_up = Conditions { catching_up: true, ..CONDITIONS };
    assert_eq!(clock(text, 'D', 2).at(1_000, catching_up), now(6, true));
}

#[test]
fn idling_ends_with_the_delay_or_with_another_vertex_of_the_round() {
    let idle = Conditions { idle: true, ..CONDITIONS };
    assert_eq!(clock("1: A B C D", 'A', 1).at(1_000, idle), Proposing::At(1_400));
    assert_eq!(clock("1: A B C D", 'A', 1).at(1_400, idle), now(2, false));
    assert_eq!(clock("1: A B C D\n2: B", 'A', 1).at(1_000, idle), now(2, false));
}

#[test]
fn far_past_the_last_commit_there_is_one_round_a_second() {
    let committee = Arc::new(committee(4));
    let mut dag = Dag::new(committee.clone(), 0);
    let mut parents: Vec<VertexRef> = committee.authors().map(|author| committee.genesis_ref(author)).collect();
    for round in 1..=501 {
        let vertices = committee.authors().map(|author| unsigned(author, round, parents.clone(), 0, Bytes::new()));
        parents = vertices.inspect(|vertex| dag.insert(vertex.clone())).map(|vertex| vertex.reference()).collect();
    }
    let mut pacemaker = Pacemaker::new(committee, Settings::default(), Some(0), 500, 0);
    pacemaker.on_proposed(501, 900);
    pacemaker.advance(&dag, 1_000);
    let clock = Clock { dag, pacemaker };
    assert_eq!(clock.pacemaker.round(), 502);
    assert_eq!(clock.at(1_000, CONDITIONS), Proposing::At(1_900));
    let recent = Conditions { last_leader_round: 2, ..CONDITIONS };
    assert_eq!(clock.at(1_000, recent), now(502, true));
}

#[test]
fn the_leader_timeout_doubles_without_commits_and_halves_with_them() {
    let all: String = (1..=80).map(|round| format!("{round}: B C D\n")).collect();
    let named = parse(4, 60, &all);
    let committee = Arc::new(named.model.committee.clone());
    let mut dag = Dag::new(committee.clone(), 0);
    let mut pacemaker = Pacemaker::new(committee.clone(), Settings::default(), Some(committee.leader(2)), 0, 0);
    let mut timeout_at = |rounds: std::ops::Range<usize>, commits: fn(usize) -> bool| {
        for round in rounds {
            for vertex in &named.model.by_round[round] {
                dag.insert(named.model.vertices[*vertex].real.clone().expect("not genesis"));
            }
            if commits(round) {
                pacemaker.on_commit();
            }
            pacemaker.advance(&dag, 0);
        }
        pacemaker.timeout_ms()
    };
    assert_eq!(timeout_at(1..16, |_| false), 250);
    assert_eq!(timeout_at(16..17, |_| false), 500);
    assert_eq!(timeout_at(17..33, |_| false), 1_000);
    assert_eq!(timeout_at(33..48, |_| true), 1_000);
    assert_eq!(timeout_at(48..49, |_| true), 500);
    // One leader in four is silent, so that one round in four is without a commit: the timeout falls all the same.
    assert_eq!(timeout_at(49..69, |round| !round.is_multiple_of(4)), 500);
    assert_eq!(timeout_at(69..70, |round| !round.is_multiple_of(4)), 250);
}
