//! The accounts that send, and which nonces of theirs are open.
//!
//! The ledger takes an account's nonces in any order within a window of 128 (see `farthing_core::replay`). A nonce is never
//! used while one that lies 128 or more below it is open, so that no transfer can fall out of the window of its sender.

use std::collections::BTreeSet;

/// How far the nonces of an account may spread: the ledger's window.
const WINDOW: u64 = 128;

/// A sender's next nonce and its open ones.
struct Sender {
    next: u64,
    open: BTreeSet<u64>,
}

/// All the senders, which take turns.
pub struct Senders {
    senders: Vec<Sender>,
    turn: usize,
    open: usize,
}

/// A nonce of one sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// The sender's index.
    pub sender: usize,
    /// The nonce.
    pub nonce: u64,
}

impl Senders {
    /// Senders whose next nonces these are.
    pub fn new(next_nonces: impl IntoIterator<Item = u64>) -> Senders {
        let senders = next_nonces.into_iter().map(|next| Sender { next, open: BTreeSet::new() });
        Senders { senders: senders.collect(), turn: 0, open: 0 }
    }

    /// Opens the next nonce of the next sender that may use one; `None` if all their windows are full.
    pub fn take(&mut self) -> Option<Slot> {
        for _ in 0..self.senders.len() {
            let index = self.turn;
            self.turn = (self.turn + 1) % self.senders.len();
            let sender = &mut self.senders[index];
            let nonce = sender.next;
            if sender.open.first().is_none_or(|first| nonce - first < WINDOW) {
                sender.next += 1;
                sender.open.insert(nonce);
                self.open += 1;
                return Some(Slot { sender: index, nonce });
            }
        }
        None
    }

    /// Says that a nonce which was taken is settled, or given up for good.
    pub fn settle(&mut self, slot: Slot) {
        let was_open = self.senders[slot.sender].open.remove(&slot.nonce);
        assert!(was_open, "a nonce is settled once");
        self.open -= 1;
    }

    /// How many nonces are open.
    pub fn open(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_take_turns() {
        let mut senders = Senders::new([5, 1]);
        let taken: Vec<_> =
            (0..4).map(|_| senders.take().expect("a slot")).map(|slot| (slot.sender, slot.nonce)).collect();
        assert_eq!(taken, [(0, 5), (1, 1), (0, 6), (1, 2)]);
        assert_eq!(senders.open(), 4);
    }

    #[test]
    fn a_window_is_never_left() {
        let mut senders = Senders::new([1]);
        for nonce in 1..=128 {
            assert_eq!(senders.take(), Some(Slot { sender: 0, nonce }));
        }
        assert_eq!(senders.take(), None, "129 would push 1 out of the window");
        senders.settle(Slot { sender: 0, nonce: 2 });
        assert_eq!(senders.take(), None, "1 is still open");
        senders.settle(Slot { sender: 0, nonce: 1 });
        assert_eq!(senders.take(), Some(Slot { sender: 0, nonce: 129 }));
        assert_eq!(senders.take(), Some(Slot { sender: 0, nonce: 130 }), "3 is the lowest open one now");
        assert_eq!(senders.take(), None);
        assert_eq!(senders.open(), 128);
    }

    #[test]
    fn a_full_sender_is_passed_over() {
        let mut senders = Senders::new([1, 1]);
        for _ in 0..256 {
            senders.take().expect("a slot");
        }
        senders.settle(Slot { sender: 1, nonce: 1 });
        assert_eq!(senders.take(), Some(Slot { sender: 1, nonce: 129 }));
    }
}
