//! How much clients may bring: as much as the node executes within about a second.
//!
//! What is taken beyond what can be executed only waits, and costs a signature check before it does. So the API refuses submissions,
//! unread but for their bytes, while what was taken before would take longer than [`DELAY_MAX`] to be executed at the rate of
//! the last moments: clients learn at once that they should try later or elsewhere, and those that were taken are quick.
//! The mempool's own bounds, which are about memory, are far above that.
//!
//! A part of the room is for small submissions alone, so that those who pay now and then are not shut out by bulk: how they share what is
//! executed is the mempool's to say, which has to see both. Against somebody who cuts bulk into small submissions this does
//! nothing; the limits for each address ([`crate::api`]) do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long transactions may have to wait before no more are taken. With half a second more as many are executed at twice the load, and
/// wait longer.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// So many are taken however few were executed lately: the first ones after a pause, or while a network hangs.
const TAKEN_MIN: usize = 4_000;

/// Submissions of so many transactions at most are small.
pub(crate) const SMALL_MAX: usize = 8;

/// Of the room for all, so much more is for small submissions: a quarter.
const SMALL_SHARE: usize = 4;

/// How often the rate is measured at most.
const RATE_EVERY: Duration = Duration::from_millis(250);

/// What the API asks, and the driver tells. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Intake(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// Transactions of submissions on their way to the mempool.
    on_the_way: AtomicUsize,
    /// Transactions in the mempool.
    waiting: AtomicUsize,
    /// How many may be on the way and wait.
    max: AtomicUsize,
}

/// Transactions on their way to the mempool, until this is dropped.
pub(crate) struct Taken {
    counts: Arc<Counts>,
    count: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.counts.on_the_way.fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl Intake {
    /// Whether so many more transactions may be taken now.
    pub(crate) fn has_room(&self, count: usize) -> bool {
        let Counts { on_the_way, waiting, max } = &*self.0;
        let taken = on_the_way.load(Ordering::Relaxed) + waiting.load(Ordering::Relaxed);
        let max = max.load(Ordering::Relaxed).max(TAKEN_MIN);
        taken < if count <= SMALL_MAX { max + max / SMALL_SHARE } else { max }
    }

    /// Takes a submission of so many transactions; `None` if there is no room now. The last one taken may be larger than the room.
    pub(crate) fn take(&self, count: usize) -> Option<Taken> {
        if !self.has_room(count) {
            return None;
        }
        self.0.on_the_way.fetch_add(count, Ordering::Relaxed);
        Some(Taken { counts: self.0.clone(), count })
    }
}

/// Measures how fast the mempool empties.
#[derive(Default)]
pub(crate) struct IntakeMeter {
    intake: Intake,
    measured_at: Duration,
    removed: u64,
    per_second: f64,
}

impl IntakeMeter {
    pub(crate) fn new(intake: Intake) -> IntakeMeter {
        IntakeMeter { intake, ..IntakeMeter::default() }
    }

    /// Tells how many transactions are in the mempool and how many have left it in all, at this time since some moment before.
    pub(crate) fn tell(&mut self, now: Duration, waiting: usize, removed: u64) {
        self.intake.0.waiting.store(waiting, Ordering::Relaxed);
        let elapsed = now.saturating_sub(self.measured_at);
        if elapsed < RATE_EVERY {
            return;
        }
        let rate = removed.saturating_sub(self.removed) as f64 / elapsed.as_secs_f64();
        // Half of it is what was measured now, so that a second of silence leaves a sixteenth.
        self.per_second = (self.per_second + rate) / 2.0;
        (self.measured_at, self.removed) = (now, removed);
        let max = self.per_second * DELAY_MAX.as_secs_f64();
        self.intake.0.max.store(max as usize, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than a small submission.
    const BULK: usize = SMALL_MAX + 1;

    #[test]
    fn as_much_is_taken_as_is_executed_in_time() {
        let intake = Intake::default();
        let mut meter = IntakeMeter::new(intake.clone());
        // Before anything was executed.
        let first = intake.take(3_999).expect("room");
        let last = intake.take(900).expect("room for one");
        assert!(!intake.has_room(BULK) && intake.take(BULK).is_none());
        // There is a quarter more for small ones.
        let small = intake.take(SMALL_MAX).expect("room for a small one");
        assert!(!intake.has_room(BULK) && intake.take(BULK).is_none());
        drop(first);
        let first = intake.take(4_200).expect("room");
        assert!(intake.take(1).is_none(), "no room for anybody");
        drop((first, last, small));
        assert!(intake.has_room(BULK));
        // 20,000 a second.
        let ms = Duration::from_millis;
        for step in 1..=20 {
            meter.tell(ms(250 * step), 19_000, 5_000 * step);
        }
        assert!(intake.has_room(BULK));
        meter.tell(ms(5_001), 20_001, 100_000);
        assert!(!intake.has_room(BULK), "what waits counts at once");
        // Nothing is executed any more, and then nothing waits.
        for step in 1..=8 {
            meter.tell(ms(5_000 + 250 * step), 19_000, 100_000);
        }
        assert!(!intake.has_room(BULK));
        meter.tell(ms(8_000), 3_999, 100_000);
        assert!(intake.has_room(BULK));
    }
}
