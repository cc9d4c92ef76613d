//! Validators whose payloads are checked alone, because one of them was void lately.

use farthing_consensus::vertex::Author;
use std::collections::BTreeMap;

/// So many payloads of a validator are checked alone after a void one: each void one that is not costs a batch a second check.
const PAYLOADS_ALONE: u32 = 100;

/// The validators, each with how many more payloads are checked alone. As many as there are in the committee at most.
#[derive(Default)]
pub(super) struct Suspects(BTreeMap<Author, u32>);

impl Suspects {
    /// A payload of this validator was void.
    pub(super) fn add(&mut self, author: Author) {
        self.0.insert(author, PAYLOADS_ALONE);
    }

    /// Whether a payload of this validator is to be checked alone.
    pub(super) fn contains(&self, author: Author) -> bool {
        self.0.contains_key(&author)
    }

    /// As [`Suspects::contains`], for a payload that is checked now.
    pub(super) fn take(&mut self, author: Author) -> bool {
        let Some(left) = self.0.get_mut(&author) else { return false };
        *left -= 1;
        if *left == 0 {
            self.0.remove(&author);
        }
        true
    }
}
