//! The lines in which senders wait for their turn, one for each bucket.

use super::SenderKey;
use std::collections::BTreeMap;

/// Buckets: one for owning nothing, one for each power of two of a mite.
pub(super) const BUCKETS: usize = 65;

/// When a sender was executed last, and its arrival: the lowest is next.
pub(super) type Place = (u32, u64);

/// Where a sender that has something queued stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stand {
    pub(super) bucket: usize,
    pub(super) place: Place,
    /// How many transactions it has queued.
    pub(super) waiting: usize,
}

/// All lines.
#[derive(Debug)]
pub(super) struct Lines {
    buckets: Vec<Bucket>,
    /// The buckets in which somebody stands, a bit each.
    occupied: u128,
    /// The bucket whose turn it is.
    turn: usize,
}

#[derive(Debug, Default)]
struct Bucket {
    line: BTreeMap<Place, SenderKey>,
    /// Transactions that its senders have queued.
    waiting: usize,
}

impl Lines {
    pub(super) fn new() -> Lines {
        Lines { buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(), occupied: 0, turn: 0 }
    }

    /// Moves a sender from where it stands to where it belongs; `None` is nowhere.
    pub(super) fn move_to(&mut self, sender: SenderKey, stand: &mut Option<Stand>, to: Option<Stand>) {
        match (*stand, to) {
            (Some(old), Some(new)) if (old.bucket, old.place) == (new.bucket, new.place) => {
                let bucket = &mut self.buckets[new.bucket];
                bucket.waiting = bucket.waiting - old.waiting + new.waiting;
            }
            (old, new) => {
                if let Some(old) = old {
                    self.leave(&old);
                }
                if let Some(new) = new {
                    let bucket = &mut self.buckets[new.bucket];
                    bucket.line.insert(new.place, sender);
                    bucket.waiting += new.waiting;
                    self.occupied |= 1 << new.bucket;
                }
            }
        }
        *stand = to;
    }

    /// The bucket whose turn it is, and who is first in its line.
    pub(super) fn next(&self) -> Option<(usize, SenderKey)> {
        let ahead = self.occupied >> self.turn;
        let bucket = match (ahead, self.occupied) {
            (0, 0) => return None,
            (0, occupied) => occupied.trailing_zeros() as usize,
            (ahead, _) => self.turn + ahead.trailing_zeros() as usize,
        };
        self.buckets[bucket].line.first_key_value().map(|(_, sender)| (bucket, *sender))
    }

    /// Ends the turn of a bucket.
    pub(super) fn end_turn(&mut self, bucket: usize) {
        self.turn = (bucket + 1) % BUCKETS;
    }

    /// Whether nobody stands anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// How many transactions those in a bucket's line have queued.
    pub(super) fn waiting(&self, bucket: usize) -> usize {
        self.buckets[bucket].waiting
    }

    /// The senders in a bucket's line, the last first, each with when it was executed last.
    pub(super) fn last_first(&self, bucket: usize) -> impl Iterator<Item = (u32, SenderKey)> {
        self.buckets[bucket].line.iter().rev().map(|((executed, _), sender)| (*executed, *sender))
    }

    fn leave(&mut self, stand: &Stand) {
        let bucket = &mut self.buckets[stand.bucket];
        bucket.line.remove(&stand.place);
        bucket.waiting -= stand.waiting;
        if bucket.line.is_empty() {
            self.occupied &= !(1 << stand.bucket);
        }
    }
}

const _: () = assert!(BUCKETS <= u128::BITS as usize, "a bit each");
