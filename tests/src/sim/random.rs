//! Seeded randomness. Each purpose has a stream of its own, so that a new draw for one leaves the others as they were.

use farthing_core::hash::Digest;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use std::ops::RangeInclusive;

/// What a chance of one is written as.
pub const MILLION: u32 = 1_000_000;

/// One stream of random numbers.
pub struct Random(ChaCha8Rng);

impl Random {
    /// The stream of a seed for one purpose.
    pub fn new(seed: u64, purpose: &str) -> Random {
        let key = Digest::of("simulator/v1", &[&seed.to_le_bytes(), purpose.as_bytes()]);
        Random(ChaCha8Rng::from_seed(key.0))
    }

    /// A number of the range. The bias of the remainder does not matter here.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        assert!(low <= high && high - low < u64::MAX, "a range of numbers that can be drawn from");
        low + self.0.next_u64() % (high - low + 1)
    }

    /// A position in something that has `count` of them.
    pub fn position(&mut self, count: usize) -> usize {
        self.range(0..=count as u64 - 1) as usize
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.position(items.len())]
    }

    /// True so many times in a million.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.range(0..=u64::from(MILLION) - 1) < u64::from(per_million)
    }

    /// 32 random bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// The generator itself, for batch coefficients of signature checks.
    pub fn generator(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}
