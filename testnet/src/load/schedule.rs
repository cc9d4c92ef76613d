//! When each transfer is to be sent: an open loop at a fixed rate, whatever the network does.

use std::time::Duration;

/// Transfer `k` (from 0) is to be sent `k / rate` seconds after the start.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate: u64,
    total: u64,
}

impl Schedule {
    /// So many transfers a second for so many seconds, both at least 1.
    pub fn new(rate: u32, seconds: u32) -> Schedule {
        assert!(rate > 0 && seconds > 0);
        Schedule { rate: rate.into(), total: u64::from(rate) * u64::from(seconds) }
    }

    /// How many transfers there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many of them are to be sent by this time after the start.
    pub fn due(&self, elapsed: Duration) -> u64 {
        let sent = elapsed.as_nanos() * u128::from(self.rate) / 1_000_000_000 + 1;
        u64::try_from(sent).map_or(self.total, |sent| sent.min(self.total))
    }

    /// When transfer `index` is to be sent, after the start: rounded up, so that it is due then.
    pub fn intended(&self, index: u64) -> Duration {
        let nanos = (u128::from(index) * 1_000_000_000).div_ceil(u128::from(self.rate));
        Duration::from_nanos(
            u64::try_from(nanos).expect("an index is below the total, which is at most 2^32 seconds away"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_are_evenly_spread() {
        let schedule = Schedule::new(1_000, 10);
        assert_eq!(schedule.total(), 10_000);
        for (ms, due) in [(0, 1), (1, 2), (999, 1_000), (1_000, 1_001), (9_999, 10_000), (20_000, 10_000)] {
            assert_eq!(schedule.due(Duration::from_millis(ms)), due, "after {ms} ms");
        }
    }

    #[test]
    fn each_is_due_exactly_from_when_it_is_intended() {
        for rate in [1, 3, 7, 999, 5_000, 100_000] {
            let schedule = Schedule::new(rate, 60);
            for index in [0, 1, 2, 3, 10, 59, u64::from(rate) * 60 - 1] {
                let intended = schedule.intended(index);
                assert_eq!(schedule.due(intended), index + 1, "rate {rate} index {index}");
                if index > 0 {
                    assert_eq!(schedule.due(intended - Duration::from_nanos(1)), index, "rate {rate} index {index}");
                }
            }
        }
    }
}
