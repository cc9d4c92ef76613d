//! Flow control (§12): how much payload the next vertex may carry, and how fast rounds may go.

use crate::vertex::{PAYLOAD_BYTES_MAX, Round};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Execution this many commits behind stops payload, and holds back certified commits while catching up.
pub const EXECUTION_LAG_COMMITS_MAX: u64 = 64;

/// So many rounds past the last committed leader stop payload, too.
const COMMIT_LAG_ROUNDS_MAX: u64 = 50;

/// Execution so many commits behind lengthens the delay between vertices, by a quarter a vertex …
const DELAY_GROWS_FROM_COMMITS: u64 = 3;

/// … and at most so many behind shortens it, by an eighth a vertex.
const DELAY_SHRINKS_UP_TO_COMMITS: u64 = 1;

/// What the longest delay between vertices is multiplied by while payload is stopped: a Byzantine author must not fill the room that
/// honest ones leave.
const STOPPED_DELAY_FACTOR: u64 = 4;

/// The budget never shrinks below this.
const BUDGET_BYTES_MIN: usize = 32 * 1024;

/// The budget of a start: it doubles in 23 rounds.
const BUDGET_BYTES_START: usize = 64 * 1024;

/// Round periods remembered.
const PERIODS: usize = 100;

/// The period aimed at, in multiples of the lowest one.
const PERIOD_AIM_FACTOR: u64 = 3;

/// Flow control of one node.
pub struct Flow {
    /// The bounds of the delay between own vertices.
    round_delays_ms: RangeInclusive<u64>,
    /// The delay now.
    round_delay_ms: u64,
    executed: u64,
    budget_bytes: usize,
    /// The last periods between proposals that say how fast rounds can be, in milliseconds, oldest first.
    periods_ms: VecDeque<u64>,
    /// Their exponential average in microseconds, 0 before the first.
    smoothed_us: u64,
}

impl Flow {
    /// Flow control at the start, with everything up to the commit `executed` executed, and these bounds for the delay between own
    /// vertices, in milliseconds.
    pub fn new(round_delays_ms: RangeInclusive<u64>, executed: u64) -> Flow {
        Flow {
            round_delay_ms: *round_delays_ms.start(),
            round_delays_ms,
            executed,
            budget_bytes: BUDGET_BYTES_START,
            periods_ms: VecDeque::with_capacity(PERIODS),
            smoothed_us: 0,
        }
    }

    /// The commit finished by the executor.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Notes that the executor finished a commit.
    pub fn on_executed(&mut self, index: u64) {
        self.executed = index;
    }

    /// Whether execution is so far behind `newest` that it should get no more to do.
    pub fn is_execution_behind(&self, newest: u64) -> bool {
        newest.saturating_sub(self.executed) > EXECUTION_LAG_COMMITS_MAX
    }

    /// Whether vertices have to go without payload.
    pub fn is_stopped(&self, newest: u64, round: Round, last_leader_round: Round) -> bool {
        self.is_execution_behind(newest) || round > last_leader_round + COMMIT_LAG_ROUNDS_MAX
    }

    /// The least delay between own vertices.
    pub fn round_delay_ms(&self, is_stopped: bool) -> u64 {
        if is_stopped { self.round_delays_ms.end().saturating_mul(STOPPED_DELAY_FACTOR) } else { self.round_delay_ms }
    }

    /// Adapts the delay between own vertices when one is made, while the newest commit is `newest`. That rounds are short costs
    /// everybody's time, which there is until execution falls behind. A slow disk needs no rule of its own: no vertex leaves before
    /// it is synced, so rounds are never shorter than that takes.
    pub fn on_proposed(&mut self, newest: u64) {
        let behind = newest.saturating_sub(self.executed);
        let delay_ms = match behind {
            ..=DELAY_SHRINKS_UP_TO_COMMITS => self.round_delay_ms - self.round_delay_ms.div_ceil(8),
            DELAY_GROWS_FROM_COMMITS.. => self.round_delay_ms.saturating_add(self.round_delay_ms.div_ceil(4)),
            _ => self.round_delay_ms,
        };
        self.round_delay_ms = delay_ms.clamp(*self.round_delays_ms.start(), *self.round_delays_ms.end());
    }

    /// How many bytes of payload a vertex may carry while flow is not stopped.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    /// Adapts the budget to the time between two proposals, neither idle nor after a timeout. The average period (smoothing 0.2)
    /// should be three times the lowest, or the longest delay: less, and there is room for more payload; more, and payload is what takes the time.
    pub fn on_period(&mut self, period_ms: u64) {
        if self.periods_ms.len() == PERIODS {
            self.periods_ms.pop_front();
        }
        self.periods_ms.push_back(period_ms);
        let period_us = period_ms.saturating_mul(1_000);
        self.smoothed_us = match self.smoothed_us {
            0 => period_us,
            average => (average / 5).saturating_mul(4).saturating_add(period_us / 5),
        };
        let lowest_ms = self.periods_ms.iter().copied().min().unwrap_or(0);
        let aim_us = lowest_ms.max(*self.round_delays_ms.end()).saturating_mul(PERIOD_AIM_FACTOR * 1_000);
        let budget = self.budget_bytes as u64;
        let adapted = if self.smoothed_us > aim_us {
            // Shrink in proportion, but never below seven tenths at once. The budget is below 2^20, the aim below 2^44.
            (budget * aim_us.min(1 << 43) / self.smoothed_us).max(budget * 7 / 10)
        } else {
            budget + budget / 32
        };
        self.budget_bytes = (adapted as usize).clamp(BUDGET_BYTES_MIN, PAYLOAD_BYTES_MAX);
    }
}
