//! Queues of work, one for each source, taken from in turn: nobody's flood delays anybody else's work.

use farthing_consensus::vertex::Author;
use std::collections::{BTreeMap, VecDeque};

/// Where work comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Source {
    /// The vertices of a validator.
    Validator(Author),
    /// What clients submit to the API.
    Clients,
    /// What full nodes forward.
    Followers,
}

/// The queues.
#[derive(Debug)]
pub(super) struct Turns<T> {
    /// None of them is empty.
    queues: BTreeMap<Source, VecDeque<T>>,
    /// The sources that have a queue, each once, in the order of their turns. As many as there are validators, and two.
    turns: VecDeque<Source>,
}

impl<T> Default for Turns<T> {
    fn default() -> Turns<T> {
        Turns { queues: BTreeMap::new(), turns: VecDeque::new() }
    }
}

impl<T> Turns<T> {
    /// Adds work at the end of its source's queue.
    pub(super) fn push(&mut self, source: Source, work: T) {
        let queue = self.queues.entry(source).or_default();
        if queue.is_empty() {
            self.turns.push_back(source);
        }
        queue.push_back(work);
    }

    /// The work of the first source in turn whose next work is wanted. Those passed over keep their turns.
    pub(super) fn pop_if(&mut self, wanted: impl Fn(Source, &T) -> bool) -> Option<(Source, T)> {
        let is_wanted = |source: &Source| wanted(*source, self.queues[source].front().expect("no queue is empty"));
        let turn = self.turns.iter().position(is_wanted)?;
        let source = self.turns.remove(turn).expect("it was just found");
        let work = self.take(source);
        if self.queues.contains_key(&source) {
            self.turns.push_back(source);
        }
        Some((source, work))
    }

    /// More work of a source that has just had its turn, if it has any.
    pub(super) fn pop_more(&mut self, source: Source) -> Option<T> {
        if !self.queues.contains_key(&source) {
            return None;
        }
        let work = self.take(source);
        if !self.queues.contains_key(&source) {
            self.turns.retain(|waiting| *waiting != source);
        }
        Some(work)
    }

    /// The sources that have work, in the order of their turns.
    pub(super) fn sources(&self) -> impl Iterator<Item = Source> {
        self.turns.iter().copied()
    }

    /// How much work of a source waits.
    pub(super) fn len(&self, source: Source) -> usize {
        self.queues.get(&source).map_or(0, VecDeque::len)
    }

    fn take(&mut self, source: Source) -> T {
        let queue = self.queues.get_mut(&source).expect("a source with a turn has a queue");
        let work = queue.pop_front().expect("no queue is empty");
        if queue.is_empty() {
            self.queues.remove(&source);
        }
        work
    }
}
