//! How much a full node may have of a validator: token buckets of requests and of bytes.
//!
//! A full node may ask whatever it likes and still takes no more of a validator's disk, processor and line than this. Bytes are
//! those of its requests and of the answers that it gets; an answer's are known only once it is made, so a bucket may go below
//! zero, and the next request waits until it is above again.

use std::time::Duration;
use tokio::time::Instant;

/// How many seconds' worth may be had at once after a pause.
const BURST_S: u32 = 2;

/// What each full node may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowerLimits {
    /// Requests a second in the long run, at least 1.
    pub requests_per_second: u32,
    /// Bytes a second in the long run, at least 1.
    pub bytes_per_second: u32,
}

impl Default for FollowerLimits {
    fn default() -> FollowerLimits {
        FollowerLimits { requests_per_second: 100, bytes_per_second: 4 << 20 }
    }
}

/// What is left of it to one full node.
#[derive(Debug)]
pub(super) struct Allowance {
    requests: Bucket,
    bytes: Bucket,
}

/// Tokens, counted in billionths so that refilling needs no rounding.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    tokens_e9: i128,
    refilled_at: Instant,
}

impl Allowance {
    /// Both buckets full.
    pub(super) fn new(limits: FollowerLimits, now: Instant) -> Allowance {
        Allowance {
            requests: Bucket::full(limits.requests_per_second, now),
            bytes: Bucket::full(limits.bytes_per_second, now),
        }
    }

    /// Takes a request out of its bucket.
    ///
    /// # Errors
    /// How long to wait before trying again.
    pub(super) fn take_request(&mut self, now: Instant) -> Result<(), Duration> {
        let wait = self.requests.wait(now, 1).max(self.bytes.wait(now, 1));
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.requests.spend(now, 1);
        Ok(())
    }

    /// Takes bytes out of theirs, as many as it has or more.
    pub(super) fn spend_bytes(&mut self, now: Instant, bytes: usize) {
        self.bytes.spend(now, bytes as u64);
    }
}

impl Bucket {
    pub(super) fn full(per_second: u32, now: Instant) -> Bucket {
        assert!(per_second >= 1, "a limit lets something through");
        Bucket { per_second, tokens_e9: capacity_e9(per_second), refilled_at: now }
    }

    /// Takes one token if there is one.
    pub(super) fn take_one(&mut self, now: Instant) -> bool {
        let has_one = self.wait(now, 1).is_zero();
        if has_one {
            self.spend(now, 1);
        }
        has_one
    }

    /// How long until there are so many tokens.
    fn wait(&mut self, now: Instant, tokens: u64) -> Duration {
        self.refill(now);
        let missing_e9 = (i128::from(tokens) * 1_000_000_000 - self.tokens_e9).max(0);
        let per_second = i128::from(self.per_second);
        let nanoseconds = (missing_e9 + per_second - 1) / per_second;
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn spend(&mut self, now: Instant, tokens: u64) {
        self.refill(now);
        self.tokens_e9 -= i128::from(tokens) * 1_000_000_000;
    }

    fn refill(&mut self, now: Instant) {
        let elapsed_ns = now.saturating_duration_since(self.refilled_at).as_nanos() as i128;
        let tokens_e9 = self.tokens_e9 + elapsed_ns * i128::from(self.per_second);
        self.tokens_e9 = tokens_e9.min(capacity_e9(self.per_second));
        self.refilled_at = now;
    }
}

fn capacity_e9(per_second: u32) -> i128 {
    i128::from(per_second) * i128::from(BURST_S) * 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_let_through_at_their_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::new(FollowerLimits { requests_per_second: 10, bytes_per_second: 1_000 }, start);
        for _ in 0..20 {
            assert_eq!(allowance.take_request(start), Ok(()));
        }
        assert_eq!(allowance.take_request(start), Err(Duration::from_millis(100)));
        assert_eq!(allowance.take_request(start + Duration::from_millis(40)), Err(Duration::from_millis(60)));
        assert_eq!(allowance.take_request(start + Duration::from_millis(100)), Ok(()));
        // A long pause fills the bucket to its burst and no further.
        let later = start + Duration::from_secs(3_600);
        assert_eq!((0..100).filter(|_| allowance.take_request(later).is_ok()).count(), 20);
    }

    #[test]
    fn a_large_answer_is_waited_for_afterwards() {
        let start = Instant::now();
        let mut allowance = Allowance::new(FollowerLimits { requests_per_second: 10, bytes_per_second: 1_000 }, start);
        assert_eq!(allowance.take_request(start), Ok(()));
        allowance.spend_bytes(start, 7_000);
        // 2,000 were there at once; the other 5,000, and one more, take five seconds.
        assert_eq!(allowance.take_request(start), Err(Duration::from_millis(5_001)));
        assert_eq!(allowance.take_request(start + Duration::from_millis(5_000)), Err(Duration::from_millis(1)));
        assert_eq!(allowance.take_request(start + Duration::from_millis(5_001)), Ok(()));
    }
}
