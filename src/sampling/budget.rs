//! A cap on how many traces strangers may have recorded.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many a second, and no more than that at once: the token bucket of a second, in one word.
///
/// Kept as the time by which what was taken so far has been earned (the generic cell rate
/// algorithm), so taking is one exchange of an atomic and nothing refills it. Time is an argument:
/// nanoseconds of any monotonic clock, the same for all calls.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Nanoseconds in which one is earned.
    interval: u64,
    /// When the bucket will be full again.
    full_at: AtomicU64,
}

impl Budget {
    pub(crate) fn per_second(count: NonZeroU32) -> Self {
        Self { interval: SECOND / u64::from(count.get()), full_at: AtomicU64::new(0) }
    }

    /// Takes one, if there is one left.
    pub(crate) fn take(&self, now: u64) -> bool {
        // Readings of several threads may come out of order; what counts is the bucket.
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(self.interval);
            if next > now.saturating_add(SECOND) {
                return false;
            }
            match self.full_at.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(changed) => full_at = changed,
            }
        }
    }
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(count: u32) -> Budget {
        Budget::per_second(NonZeroU32::new(count).unwrap())
    }

    fn taken(budget: &Budget, now: u64, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(budget.take(now))).sum()
    }

    #[test]
    fn a_flood_gets_so_many_a_second_and_no_more() {
        let budget = budget(100);
        let start = 5 * SECOND;
        assert_eq!(taken(&budget, start, 1000), 100, "what a second earns, at once");
        assert_eq!(taken(&budget, start + 9_999_999, 1000), 0, "nothing is earned yet");
        assert_eq!(taken(&budget, start + 10_000_000, 1000), 1, "one in ten milliseconds");

        let floods = (1..=60_000).map(|ms| taken(&budget, start + ms * 1_000_000, 50));
        assert_eq!(floods.sum::<u32>() + 1, 6000, "in a minute");
    }

    #[test]
    fn what_is_not_used_is_not_saved_up() {
        let budget = budget(10);
        assert_eq!(taken(&budget, 3600 * SECOND, 1000), 10, "after an hour of nothing");
        assert_eq!(taken(&budget, 7200 * SECOND, 1000), 10, "and after another");
    }

    #[test]
    fn the_extremes_hold() {
        let one = budget(1);
        assert_eq!(taken(&one, 0, 5), 1, "at the beginning of time");
        assert_eq!(taken(&one, SECOND - 1, 5), 0);
        assert_eq!(taken(&one, SECOND, 5), 1);
        assert_eq!(taken(&one, u64::MAX, 5), 5, "at its end nothing overflows");
        let all = budget(u32::MAX);
        assert!(taken(&all, 0, 10_000) == 10_000, "four billion a second");
        let early = budget(2);
        assert_eq!(taken(&early, 10 * SECOND, 5), 2);
        assert_eq!(taken(&early, 9 * SECOND, 5), 0, "a reading from before earns nothing");
    }

    #[test]
    fn threads_share_what_there_is() {
        let budget = budget(1000);
        let taken: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| taken(&budget, SECOND, 5000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
