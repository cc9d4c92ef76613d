//! The decision rule and sequencing against the naive model, over random DAGs with equivocating authors and random causally closed
//! views; and the model's mutants, each of which must break agreement.

use super::committee;
use super::model::{Model, ModelCommit, Mutant, Status, View, contains, union};
use crate::committee::Committee;
use crate::committer::{Committer, Decision};
use crate::dag::Dag;
use crate::linearizer::Linearizer;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::sync::Arc;

const GC_DEPTH: u64 = 4;
const VIEWS: usize = 14;

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// As in `commit_rule_model.py`; `None` where a round lacks a quorum.
fn random_dag(random: &mut Random, committee: Committee, rounds: usize) -> Option<Model> {
    let (size, quorum) = (committee.size(), committee.quorum());
    let mut byzantine: Vec<usize> = (0..size).collect();
    random.shuffle(&mut byzantine);
    byzantine.truncate(random.below(committee.faulty_max() + 1));
    let mut model = Model::new(committee);
    for round in 1..=rounds {
        for author in 0..size {
            let is_byzantine = byzantine.contains(&author);
            let copies = if is_byzantine { random.pick(&[0, 1, 2, 2, 3]) } else { usize::from(random.percent(93)) };
            for _ in 0..copies {
                let parents = random_parents(random, &model, round, author, is_byzantine);
                model.add(round, author, parents);
            }
        }
        let mut authors: Vec<usize> =
            model.by_round.get(round)?.iter().map(|vertex| model.vertices[*vertex].author).collect();
        authors.dedup();
        if authors.len() < quorum {
            return None;
        }
    }
    Some(model)
}

fn random_parents(random: &mut Random, model: &Model, round: usize, author: usize, is_byzantine: bool) -> Vec<usize> {
    let (size, quorum) = (model.committee.size(), model.committee.quorum());
    let of = |round: usize, author: usize| -> Vec<usize> {
        let all = model.by_round[round].iter().copied();
        all.filter(|vertex| model.vertices[*vertex].author == author).collect()
    };
    let mut strong: Vec<usize> = (0..size).filter(|author| !of(round - 1, *author).is_empty()).collect();
    random.shuffle(&mut strong);
    if !is_byzantine && let Some(own) = strong.iter().position(|other| *other == author) {
        strong.swap(0, own);
    }
    let all = strong.len();
    strong.truncate(random.pick(&[quorum, quorum, quorum, all]));
    let mut parents: Vec<usize> = strong.iter().map(|author| random.pick(&of(round - 1, *author))).collect();
    for other in (0..size).filter(|other| !strong.contains(other)) {
        let older: Vec<usize> =
            (round.saturating_sub(4).max(1)..round - 1).flat_map(|round| of(round, other)).collect();
        if !older.is_empty() && random.percent(40) {
            parents.push(random.pick(&older));
        }
    }
    parents
}

fn random_view(random: &mut Random, model: &Model) -> View {
    let mut view = [0; 2];
    for _ in 0..=random.below(8) {
        let tip = random.below(model.vertices.len());
        view = union(&view, &model.vertices[tip].history);
    }
    if random.percent(30) {
        for vertex in model.by_round.last().expect("there are rounds").clone() {
            if random.percent(60) {
                view = union(&view, &model.vertices[vertex].history);
            }
        }
    }
    view
}

/// Feeds a view to the real rule in a random causal order, deciding and collecting garbage all along.
fn run_real(random: &mut Random, model: &Model, view: &View) -> (Vec<ModelCommit>, Vec<(u64, Option<Decision>)>) {
    let committee = Arc::new(model.committee.clone());
    let mut dag = Dag::new(committee.clone(), 0);
    let mut committer = Committer::new(committee.clone(), 1);
    let mut linearizer = Linearizer::new(committee.clone(), None);
    let mut order: Vec<usize> = (0..model.vertices.len()).filter(|vertex| contains(view, *vertex)).collect();
    let mut arrival: Vec<usize> = Vec::new();
    for vertex in &model.vertices {
        let after_parents = vertex.parents.iter().map(|parent| arrival[*parent] + 1).max().unwrap_or(0);
        arrival.push(after_parents + random.below(12));
    }
    order.sort_by_key(|vertex| arrival[*vertex]);
    let (mut commits, step) = (Vec::new(), 1 + random.below(6));
    for (position, vertex) in order.iter().enumerate() {
        let Some(real) = &model.vertices[*vertex].real else { continue };
        if real.round() > dag.gc_round() {
            dag.insert(real.clone());
        }
        if position % step == 0 || position + 1 == order.len() {
            committer.evaluate(&dag);
            while let Some((_, decision)) = committer.take_next() {
                if let Decision::Commit(leader) = decision {
                    let committed = linearizer.sequence(&mut dag, leader);
                    dag.collect(committee.gc_round(leader.round));
                    commits.push(committed.commit);
                }
            }
        }
    }
    let number =
        |reference| model.vertices.iter().position(|vertex| vertex.reference == reference).expect("in the model");
    let commits = commits
        .into_iter()
        .map(|commit| {
            (number(commit.leader), commit.vertices.iter().copied().map(number).collect(), commit.timestamp_ms)
        })
        .collect();
    let open = (committer.cursor()..=dag.highest_round()).map(|round| (round, committer.decision(round))).collect();
    (commits, open)
}

/// What a search found: how a mutant broke agreement, or how the real rule differs from the model's.
fn search(mutant: Mutant, seeds: std::ops::Range<u64>) -> Option<String> {
    for seed in seeds {
        let random = &mut Random(ChaCha8Rng::seed_from_u64(seed));
        let committee = committee(random.pick(&[4, 4, 7, 5])).with_gc_depth(GC_DEPTH);
        let rounds = 7 + random.below(7);
        let Some(model) = random_dag(random, committee, rounds) else { continue };
        let mut known: Vec<Status> = vec![Status::Undecided; rounds];
        let mut longest: Vec<ModelCommit> = Vec::new();
        for _ in 0..VIEWS {
            let view = random_view(random, &model);
            let decided = model.decide(&view, mutant);
            for (round, status) in (1..).zip(&decided) {
                let before = &mut known[round - 1];
                if *before == Status::Undecided {
                    *before = *status;
                } else if *status != Status::Undecided && status != before {
                    return Some(format!("seed {seed}: round {round} is decided as {before:?} and as {status:?}"));
                }
            }
            let commits = model.sequence(&decided);
            if commits.iter().zip(&longest).any(|(one, other)| one != other) {
                return Some(format!("seed {seed}: two views sequence differently"));
            }
            if mutant == Mutant::None {
                let (real, open) = run_real(random, &model, &view);
                if real != commits {
                    return Some(format!("seed {seed}: commits {real:?}, the model's are {commits:?}"));
                }
                for (round, decision) in open {
                    let real = match decision {
                        Some(Decision::Commit(leader)) => {
                            let is_leader = |vertex: &super::model::ModelVertex| vertex.reference == leader;
                            Status::Commit(model.vertices.iter().position(is_leader).expect("in the model"))
                        }
                        Some(Decision::Skip) => Status::Skip,
                        None => Status::Undecided,
                    };
                    if real != decided[round as usize - 1] {
                        return Some(format!("seed {seed}: round {round} is {real:?}, the model says {decided:?}"));
                    }
                }
            }
            if commits.len() > longest.len() {
                longest = commits;
            }
        }
    }
    None
}

#[test]
fn the_rule_agrees_with_its_naive_reading_and_with_itself() {
    assert_eq!(search(Mutant::None, 0..1_000), None);
}

#[test]
fn each_wrong_variant_breaks_agreement() {
    let mutants = [
        Mutant::SkipAny,
        Mutant::SkipEmpty,
        Mutant::SkipF1,
        Mutant::DirectF1,
        Mutant::Anchor2,
        Mutant::SkipUndecided,
        Mutant::LocalCertificates,
    ];
    for mutant in mutants {
        let found = search(mutant, 0..5_000);
        assert!(found.is_some(), "{mutant:?} was not noticed");
    }
}
