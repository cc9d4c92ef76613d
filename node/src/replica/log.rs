//! The ordered log of outputs: nothing takes effect before everything written ahead of it is done.

use std::collections::VecDeque;

/// Numbers the writes of one process, ascending.
pub type Ticket = u64;

/// Outputs that wait for writes.
#[derive(Debug)]
pub struct OutputLog<T> {
    held: VecDeque<Entry<T>>,
    next_ticket: Ticket,
    /// The newest ticket that storage reported as done.
    done: Ticket,
}

#[derive(Debug)]
enum Entry<T> {
    /// All that follows waits for this write.
    Barrier(Ticket),
    Output(T),
}

impl<T> OutputLog<T> {
    /// An empty log. The first ticket is 1.
    pub fn new() -> OutputLog<T> {
        OutputLog { held: VecDeque::new(), next_ticket: 1, done: 0 }
    }

    /// Notes a write; what is pushed from now on waits until it is done.
    pub fn barrier(&mut self) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.held.push_back(Entry::Barrier(ticket));
        ticket
    }

    /// Adds an output behind the writes so far.
    pub fn push(&mut self, output: T) {
        self.held.push_back(Entry::Output(output));
    }

    /// Notes that the write with this ticket, and so all before it, is done.
    pub fn done(&mut self, ticket: Ticket) {
        assert!(ticket < self.next_ticket, "a write that was not asked for");
        self.done = self.done.max(ticket);
    }

    /// The next output whose turn has come.
    pub fn pop(&mut self) -> Option<T> {
        loop {
            match self.held.front()? {
                Entry::Barrier(ticket) if *ticket > self.done => return None,
                _ => {}
            }
            if let Some(Entry::Output(output)) = self.held.pop_front() {
                return Some(output);
            }
        }
    }

    /// What is held: outputs, and the writes that they wait for.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Writes that are not done yet.
    pub fn outstanding(&self) -> u64 {
        self.next_ticket - 1 - self.done
    }
}

impl<T> Default for OutputLog<T> {
    fn default() -> OutputLog<T> {
        OutputLog::new()
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
