//! Every DAG of four validators over three rounds in which each vertex of round 2 has its own last vertex and two or three others
//! as parents (4 choices), and each of round 3 its own and two others (3 choices): 256 · 81 DAGs. Each is seen from all subsets
//! of round 3, and with every anchor of round 4 that has a quorum of parents.

use super::committee;
use super::model::{Model, Mutant, Status, View, union};
use crate::committer::{Committer, Decision};
use crate::dag::Dag;
use std::sync::Arc;

const SIZE: usize = 4;

/// The parents of an author's vertex: choice 0 is all, choices 1 to 3 leave out one of the others.
fn parents(round_before: &[usize], author: usize, choice: usize) -> Vec<usize> {
    let left_out = (choice > 0).then(|| (author + choice) % SIZE);
    (0..SIZE).filter(|other| Some(*other) != left_out).map(|other| round_before[other]).collect()
}

/// Adds a round; `choices` has one digit an author, to the given base.
fn add_round(model: &mut Model, round: usize, mut choices: usize, base: usize, lowest_choice: usize) {
    let before = model.by_round[round - 1].clone();
    for author in 0..SIZE {
        model.add(round, author, parents(&before, author, choices % base + lowest_choice));
        choices /= base;
    }
}

/// Adds three rounds, the first of which leaves out one vertex of round 3 (or none), so that round 4's leader commits.
fn add_anchor(model: &mut Model, left_out: usize) {
    let before = model.by_round[3].clone();
    for author in 0..SIZE {
        let parents = (0..SIZE).filter(|other| *other != left_out).map(|other| before[other]).collect();
        model.add(4, author, parents);
    }
    add_round(model, 5, 0, 4, 0);
    add_round(model, 6, 0, 4, 0);
}

fn real_decisions(model: &Model) -> Vec<Status> {
    let committee = Arc::new(model.committee.clone());
    let mut dag = Dag::new(committee.clone(), 0);
    for vertex in model.vertices.iter().filter_map(|vertex| vertex.real.as_ref()) {
        dag.insert(vertex.clone());
    }
    let mut committer = Committer::new(committee, 1);
    committer.evaluate(&dag);
    let number = |reference| model.vertices.iter().position(|vertex| vertex.reference == reference);
    (1..=dag.highest_round())
        .map(|round| match committer.decision(round) {
            Some(Decision::Commit(leader)) => Status::Commit(number(leader).expect("in the model")),
            Some(Decision::Skip) => Status::Skip,
            None => Status::Undecided,
        })
        .collect()
}

/// The views that show round 3 in part.
fn partial_views(model: &Model) -> impl Iterator<Item = View> + '_ {
    (1..1_u32 << SIZE).map(|shown| {
        let tips = (0..SIZE).filter(|author| shown >> author & 1 == 1).map(|author| model.by_round[3][author]);
        tips.fold([0; 2], |view, tip| union(&view, &model.vertices[tip].history))
    })
}

#[test]
fn no_view_and_no_anchor_of_any_small_dag_decides_differently() {
    let mut model = Model::new(committee(SIZE));
    add_round(&mut model, 1, 0, 4, 0);
    let mut decided_directly = 0;
    for second in 0..256 {
        model.truncate(1);
        add_round(&mut model, 2, second, 4, 0);
        for third in 0..81 {
            model.truncate(2);
            add_round(&mut model, 3, third, 3, 1);
            let status = check_views(&model);
            check_anchors(&mut model, status, (second + third) % (SIZE + 1));
            decided_directly += usize::from(status != Status::Undecided);
        }
    }
    // Neither everything nor nothing is decided directly, or the test would show little.
    assert!((5_000..15_000).contains(&decided_directly), "{decided_directly} were decided directly");
}

/// All views that decide round 1's leader decide it alike. Returns how.
fn check_views(model: &Model) -> Status {
    let mut known = Status::Undecided;
    for view in partial_views(model) {
        let status = model.decide(&view, Mutant::None)[0];
        assert!(known == Status::Undecided || status == Status::Undecided || status == known, "two views differ");
        known = if status == Status::Undecided { known } else { status };
    }
    known
}

/// Every anchor decides round 1's leader as the views do. For the anchor `real`, the engine's rule is compared, too.
fn check_anchors(model: &mut Model, known: Status, real: usize) {
    for left_out in 0..=SIZE {
        model.truncate(3);
        add_anchor(model, left_out);
        let decided = model.decide(&model.everything(), Mutant::None);
        assert!(matches!(decided[3], Status::Commit(_)), "the anchor commits");
        assert_ne!(decided[0], Status::Undecided, "the anchor decides");
        assert!(known == Status::Undecided || decided[0] == known, "the anchor without {left_out} differs");
        if left_out == real {
            assert_eq!(real_decisions(model), decided, "the anchor without {left_out}");
        }
    }
}
