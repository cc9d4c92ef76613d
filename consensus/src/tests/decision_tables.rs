//! Decisions and commits of small DAGs, written in the language of [`super::language`].

use super::language::parse;

/// Checks the decisions of a DAG of four validators, by the engine's rule and by the model's.
fn check(dag: &str, decisions: &str) {
    let dag = parse(4, 60, dag);
    assert_eq!(dag.run().0, decisions, "by the engine");
    assert_eq!(dag.model_decisions(), decisions, "by the model");
}

fn check_commits(gc_depth: u64, dag: &str, commits: &[&str]) {
    assert_eq!(parse(4, gc_depth, dag).run().1, commits);
}

#[test]
fn a_leader_commits_directly_once_a_quorum_certifies_it() {
    check("1: A B C D\n2: A B C D", "? ?");
    check("1: A B C D\n2: A B C D\n3: A B", "? ? ?");
    check("1: A B C D\n2: A B C D\n3: A B C", "A1 ? ?");
    check("1: A B C D\n2: A B C D-A\n3: A B:ABC C:ABC D-D", "A1 ? ?");
}

#[test]
fn certificates_need_votes_of_a_quorum_of_distinct_authors_each() {
    // A3, B3 and C3 see only two votes for A1 each, though all three votes exist.
    check("1: A B C D\n2: A B C D-A\n3: A:ABD B:BCD C:ACD", "? ? ?");
}

#[test]
fn a_leader_is_skipped_once_a_quorum_does_not_vote_for_it() {
    check("1: A B C D\n2: B-A C-A", "? ?");
    check("1: A B C D\n2: B-A C-A D-A", ". ?");
    check("1: A B C D\n2: A B-A C-A D-A", ". ?");
    check("1: A B C D\n2: A B C-A D-A", "? ?");
}

#[test]
fn an_empty_slot_is_skipped_only_when_a_quorum_spoke() {
    check("1: B C D", "?");
    check("1: B C D\n2: B C", "? ?");
    check("1: B C D\n2: B C D", ". ?");
}

#[test]
fn an_undecided_leader_is_committed_by_an_anchor_that_links_a_certificate() {
    // One certificate for A1, in D3: neither committed nor skipped directly. D4 commits and has D3 in its history.
    let undecided = "1: A B C D\n2: A B C D-A\n3: A:ABD B:ABD C:ACD D:ABC\n";
    check(undecided, "? ? ?");
    check(&format!("{undecided}4: A B C D\n5: A B C D\n6: A B C D"), "A1 B2 C3 D4 ? ?");
}

#[test]
fn an_undecided_leader_is_skipped_by_an_anchor_that_links_no_certificate() {
    // The same certificate D3, but D4 does not link it, nor do the others early enough.
    check(
        "1: A B C D
         2: A B C D-A
         3: A:ABD B:ABD C:BCD D:ABC
         4: A-D B-D C-D D-D
         5: A B C D
         6: A B C D",
        ". B2 C3 D4 ? ?",
    );
}

#[test]
fn an_anchor_is_at_least_three_rounds_above() {
    // C3 commits, but only D4, three rounds above A1, may decide it; it is undecided as long as D4 is.
    check(
        "1: A B C D
         2: A B C D-A
         3: A:ABD B:ABD C:ACD D:ABC
         4: A B C D
         5: A B C D",
        "? B2 C3 ? ?",
    );
}

#[test]
fn an_undecided_anchor_is_not_passed_over() {
    // D4 has one certificate and stays undecided, so A1 waits for it though A5 above commits.
    let dag = "1: A B C D
         2: A B C D-A
         3: A:ABD B:ABD C:ACD D:ABC
         4: A B C D
         5: A B C D-D
         6: A:ABD B:ABD C:ACD D:ABC
         7: A B C D";
    check(dag, "? B2 C3 ? A5 ? ?");
    // Round 7's leader decides D4, and with it A1.
    check(&format!("{dag}\n8: A B C D\n9: A B C D"), "A1 B2 C3 D4 A5 B6 C7 ? ?");
}

#[test]
fn a_skipped_anchor_is_passed_over() {
    // D4 is absent and skipped; the next anchor A5 decides A1.
    check(
        "1: A B C D
         2: A B C D-A
         3: A:ABD B:ABD C:ACD D:ABC
         4: A B C
         5: A B C
         6: A B C
         7: A B C",
        "A1 B2 C3 . A5 ? ?",
    );
}

#[test]
fn of_equivocating_leader_vertices_one_may_commit() {
    check("1: A A' B C D\n2: A B C D:A'BCD\n3: A:ABC B:ABC C:ABC", "A1 ? ?");
    check("1: A A' B C D\n2: A:A'BCD B:A'BCD C:A'BCD D\n3: A:ABC B:ABC C:ABC", "A'1 ? ?");
}

#[test]
fn equivocating_leader_vertices_are_skipped_only_when_each_is() {
    // Three authors do not vote for A1, but only two do not vote for A'1.
    check("1: A A' B C D\n2: A:A'BCD B:A'BCD C-A D", "? ?");
    check("1: A A' B C D\n2: A:A'BCD B C-A D-A", ". ?");
}

#[test]
fn an_equivocating_voter_counts_once() {
    // D votes for A1 and against it: with A and B that makes a quorum of non-votes only if D counts for it once.
    check("1: A B C D\n2: A-A B-A D D'-A", ". ?");
    check("1: A B C D\n2: A-A D-A D'-A", "? ?");
    check("1: A B C D\n2: A B D D'\n3: A:ABD B:ABD C:ABD' D:ABD", "A1 ? ?");
    // Three certificates, of two authors.
    check("1: A B C D\n2: A B C D\n3: A D D'", "? ? ?");
}

// The authors' numbers, which order a commit, are A = 3, B = 1, C = 2, D = 0.
#[test]
fn a_commit_brings_in_what_is_not_flagged_by_round_author_from_the_leader_on() {
    check_commits(
        60,
        "1: A B C D
         2: A-D B-D C-D D
         3: A B C-D D
         4: A B C D
         5: A B C D",
        // B2 does not link D1. C3 does not link D2, and D4 brings both.
        &["A1: A1", "B2: B1 C1 B2", "C3: C2 A2 C3"],
    );
    check_commits(
        60,
        "1: A B C D
         2: A-D B-D C-D D
         3: A B C-D D
         4: A B C D
         5: A B C D
         6: A B C D",
        &["A1: A1", "B2: B1 C1 B2", "C3: C2 A2 C3", "D4: D1 D2 D3 B3 A3 D4"],
    );
}

#[test]
fn both_vertices_of_an_equivocator_may_be_brought_in() {
    let (_, commits) = parse(
        4,
        60,
        "1: A B C D D'
         2: A B C:ABCD' D
         3: A B C D
         4: A B C D
         5: A B C D",
    )
    .run();
    assert_eq!(commits.len(), 3);
    let brought: Vec<&str> = commits.iter().flat_map(|commit| commit.split_whitespace().skip(1)).collect();
    assert!(brought.contains(&"D1") && brought.contains(&"D'1"));
}

#[test]
fn what_lies_at_the_gc_round_is_left_out_and_what_lies_above_is_not() {
    // D1 and D2 are linked by nobody until D5, which the leaders of rounds 6 and after bring in.
    let dag = "1: A B C D
         2: A:ABC B:ABC C:ABC D
         3: A:ABC B:ABC C:ABC D
         4: A:ABC B:ABC C:ABC
         5: A:ABC B:ABC C:ABC D:ABC+D3
         6: A B C D
         7: A B C D
         8: A B C D";
    // The leader B6 is sequenced with the gc round of A5: 5 − 4 = 1. So D1 is out and D2 is in.
    check_commits(
        4,
        dag,
        &["A1: A1", "B2: B1 C1 B2", "C3: C2 A2 C3", "A5: A3 B3 A4 B4 C4 A5", "B6: D2 D3 B5 C5 D5 B6"],
    );
    // One deeper, and D1 is in; one less deep, and D2 is out.
    check_commits(
        5,
        dag,
        &["A1: A1", "B2: B1 C1 B2", "C3: C2 A2 C3", "A5: A3 B3 A4 B4 C4 A5", "B6: D1 D2 D3 B5 C5 D5 B6"],
    );
    check_commits(3, dag, &["A1: A1", "B2: B1 C1 B2", "C3: C2 A2 C3", "A5: A3 B3 A4 B4 C4 A5", "B6: D3 B5 C5 D5 B6"]);
}

#[test]
fn timestamps_are_the_median_of_the_leaders_parents_and_never_fall() {
    let dag = parse(4, 60, "1: A B C D\n2: A B C D\n3: A B C D\n4: A B C D\n5: A B C D");
    let decided = dag.model.decide(&dag.model.everything(), super::model::Mutant::None);
    let commits = dag.model.sequence(&decided);
    assert_eq!(commits.len(), 3);
    assert_eq!(commits[0].2, super::GENESIS_MS, "the parents of round 1 are genesis");
    assert!(commits.is_sorted_by_key(|commit| commit.2));
}
