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
    /// The sources that have a queue, each once, in the order of their turns.
    turns: VecDeque<Source>,
}

impl<T> Turns<T> {
    pub(super) fn new() -> Turns<T> {
        Turns { queues: BTreeMap::new(), turns: VecDeque::new() }
    }

    /// Adds work at the end of its source's queue.
    pub(super) fn push(&mut self, source: Source, work: T) {
        let queue = self.queues.entry(source).or_default();
        if queue.is_empty() {
            self.turns.push_back(source);
        }
        queue.push_back(work);
    }

    /// The work of the next source whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(Source, T)> {
        let source = self.turns.pop_front()?;
        let work = self.take(source);
        if self.queues.contains_key(&source) {
            self.turns.push_back(source);
        }
        Some((source, work))
    }

    /// The work of the next source whose turn it is, if `wanted` wants it.
    pub(super) fn pop_if(&mut self, wanted: impl FnOnce(Source, &T) -> bool) -> Option<(Source, T)> {
        let source = *self.turns.front()?;
        let next = self.queues[&source].front().expect("no queue is empty");
        if wanted(source, next) { self.pop() } else { None }
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
