//! A small language for DAGs.
//!
//! ```text
//! 1: A B C D        a round a line; each vertex by its author, in the order of the leaders: A leads round 1, B round 2, …
//! 2: A B C-A D-AB   parents are all authors' first vertices in the round before, or all but those after the minus
//! 3: A:ABC B C C'   … or those after the colon; a quote marks an equivocating copy (parents are named with it, too)
//! 4: A+D2 B C       a plus adds a vertex of an older round
//! ```
//! Decisions are written as one word a round, from round 1 on: the leader vertex that commits, `.` for a skip, `?` for undecided.
//! Commits are written as `C3: A1 B2 C3`.

use super::committee;
use super::model::{Model, Status};
use crate::committee::Committee;
use crate::committer::{Committer, Decision};
use crate::dag::Dag;
use crate::linearizer::Linearizer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A DAG with names for its vertices, such as `A1` and `C'3`.
pub struct NamedDag {
    pub model: Model,
    names: BTreeMap<String, usize>,
}

/// Parses a DAG for a committee of `size` with the given depth of garbage collection.
pub fn parse(size: usize, gc_depth: u64, text: &str) -> NamedDag {
    let model = Model::new(committee(size).with_gc_depth(gc_depth));
    let mut dag = NamedDag { model, names: BTreeMap::new() };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (round, vertices) = line.split_once(':').expect("a round, a colon, vertices");
        let round = round.parse().expect("the number of a round");
        for vertex in vertices.split_whitespace() {
            dag.add(round, vertex);
        }
    }
    dag
}

impl NamedDag {
    fn add(&mut self, round: usize, text: &str) {
        let (text, older) = text.split_once('+').unwrap_or((text, ""));
        let end = text.find(['-', ':']).unwrap_or(text.len());
        let (name, rule) = text.split_at(end);
        let mut parents: Vec<usize> = match rule.chars().next() {
            Some(':') => names_in(&rule[1..]).iter().map(|name| self.vertex(name, round - 1)).collect(),
            _ => {
                let left_out = names_in(rule.trim_start_matches('-'));
                let all = (b'A'..).take(self.model.committee.size()).map(|letter| char::from(letter).to_string());
                all.filter(|name| !left_out.contains(name)).filter_map(|name| self.find(&name, round - 1)).collect()
            }
        };
        parents.extend((!older.is_empty()).then(|| self.names[older]));
        let vertex = self.model.add(round, self.author(name), parents);
        let known = self.names.insert(format!("{name}{round}"), vertex);
        assert!(known.is_none(), "{name}{round} stands twice");
    }

    /// A leads round 1, so that the letter of the leader of a round tells itself.
    fn author(&self, name: &str) -> usize {
        let letter = u64::from(name.as_bytes()[0] - b'A');
        usize::from(self.model.committee.leader(letter + 1))
    }

    fn vertex(&self, name: &str, round: usize) -> usize {
        self.find(name, round).unwrap_or_else(|| panic!("no vertex {name} in round {round}"))
    }

    fn find(&self, name: &str, round: usize) -> Option<usize> {
        if round == 0 { Some(self.author(name)) } else { self.names.get(&format!("{name}{round}")).copied() }
    }

    fn name(&self, vertex: usize) -> &str {
        self.names.iter().find(|(_, number)| **number == vertex).expect("every vertex has a name").0
    }

    /// What the model decides, in words.
    pub fn model_decisions(&self) -> String {
        let decided = self.model.decide(&self.model.everything(), super::model::Mutant::None);
        let words = decided.iter().map(|status| match status {
            Status::Commit(leader) => self.name(*leader),
            Status::Skip => ".",
            Status::Undecided => "?",
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// What the engine's rule decides and sequences, all vertices given at once, in words.
    pub fn run(&self) -> (String, Vec<String>) {
        let committee: Arc<Committee> = Arc::new(self.model.committee.clone());
        let mut dag = Dag::new(committee.clone(), 0);
        for vertex in self.model.vertices.iter().filter_map(|vertex| vertex.real.as_ref()) {
            dag.insert(vertex.clone());
        }
        let mut committer = Committer::new(committee.clone(), 1);
        let mut linearizer = Linearizer::new(committee.clone(), None);
        committer.evaluate(&dag);
        let name = |reference| {
            let number = self.model.vertices.iter().position(|vertex| vertex.reference == reference);
            self.name(number.expect("in the model")).to_string()
        };
        let words: Vec<String> = (1..=dag.highest_round())
            .map(|round| match committer.decision(round) {
                Some(Decision::Commit(leader)) => name(leader),
                Some(Decision::Skip) => ".".into(),
                None => "?".into(),
            })
            .collect();
        let mut commits = Vec::new();
        while let Some((_, decision)) = committer.take_next() {
            if let Decision::Commit(leader) = decision {
                let commit = linearizer.sequence(&mut dag, leader).commit;
                dag.collect(committee.gc_round(leader.round));
                let vertices: Vec<String> = commit.vertices.into_iter().map(name).collect();
                commits.push(format!("{}: {}", name(leader), vertices.join(" ")));
            }
        }
        (words.join(" "), commits)
    }
}

/// Splits `AB'C` into `A`, `B'`, `C`.
fn names_in(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for letter in text.chars() {
        match names.last_mut() {
            Some(last) if letter == '\'' => last.push(letter),
            _ => names.push(letter.to_string()),
        }
    }
    names
}
