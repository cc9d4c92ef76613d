//! Latencies and their percentiles, exact.

use serde::Serialize;
use std::time::Duration;

/// Measured latencies, kept one by one in microseconds: the bound on a run's transfers bounds them.
#[derive(Default)]
pub struct Latencies {
    micros: Vec<u32>,
}

/// A summary in milliseconds. All zero if nothing was measured.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Summary {
    /// Half are at most this.
    pub p50: f64,
    /// Nine in ten are at most this.
    pub p90: f64,
    /// All but one in a hundred are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latencies {
    /// Adds one; more than an hour counts as 71 minutes.
    pub fn push(&mut self, latency: Duration) {
        self.micros.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.micros.len()
    }

    /// The percentiles by nearest rank: the p-th is the smallest value that at least p percent do not exceed.
    pub fn summary(&mut self) -> Summary {
        self.micros.sort_unstable();
        let at = |percent: usize| {
            let rank = (self.micros.len() * percent).div_ceil(100);
            rank.checked_sub(1).map_or(0.0, |index| f64::from(self.micros[index]) / 1_000.0)
        };
        Summary { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(millis: impl Iterator<Item = u64>) -> Summary {
        let mut latencies = Latencies::default();
        millis.for_each(|ms| latencies.push(Duration::from_millis(ms)));
        latencies.summary()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(summary([].into_iter()), Summary::default());
        assert_eq!(summary([7].into_iter()), Summary { p50: 7.0, p90: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(summary([2, 1].into_iter()), Summary { p50: 1.0, p90: 2.0, p99: 2.0, max: 2.0 });
        assert_eq!(summary((1..=100).rev()), Summary { p50: 50.0, p90: 90.0, p99: 99.0, max: 100.0 });
        assert_eq!(summary(1..=101), Summary { p50: 51.0, p90: 91.0, p99: 100.0, max: 101.0 });
    }

    #[test]
    fn very_long_ones_stay_the_longest() {
        let mut latencies = Latencies::default();
        latencies.push(Duration::from_secs(100_000));
        latencies.push(Duration::from_micros(1));
        assert_eq!(latencies.summary().max, f64::from(u32::MAX) / 1_000.0);
        assert_eq!(latencies.count(), 2);
    }
}
