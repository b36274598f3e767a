//! Wall time from a monotonic clock.
//!
//! A span's end is its start plus what the monotonic clock counted, so no duration is ever
//! negative or jumps when the wall clock is set. It also needs one clock reading at each end
//! instead of two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// Unix time of `origin` in nanoseconds.
    unix_at_origin: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let origin = Instant::now();
        Self { origin, unix_at_origin: AtomicU64::new(unix_nanos(SystemTime::now())) }
    }

    /// Nanoseconds of the monotonic clock since this clock was made.
    pub(crate) fn ticks(&self) -> u64 {
        // 64 bits of nanoseconds last 584 years.
        self.origin.elapsed().as_nanos() as u64
    }

    /// The Unix time, in nanoseconds, of a reading of [`ticks`](Self::ticks).
    pub(crate) fn unix_nanos(&self, ticks: u64) -> u64 {
        self.unix_at_origin.load(Ordering::Relaxed).wrapping_add(ticks)
    }

    /// Follows the wall clock again, which may have been set or have drifted. Spans that have
    /// started keep the start they have.
    pub(crate) fn synchronize(&self) {
        let unix = unix_nanos(SystemTime::now());
        self.unix_at_origin.store(unix.wrapping_sub(self.ticks()), Ordering::Relaxed);
    }
}

/// Nanoseconds since the Unix epoch; 0 for times before it.
pub(crate) fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_wall_clock_after_a_step() {
        let clock = Clock::new();
        clock.unix_at_origin.store(0, Ordering::Relaxed);
        clock.synchronize();
        let before = unix_nanos(SystemTime::now());
        let now = clock.unix_nanos(clock.ticks());
        // The readings are made one after another: what is asserted is their order of magnitude.
        assert!(now.abs_diff(before) < 60_000_000_000, "{now} {before}");
    }

    #[test]
    fn times_before_the_epoch_are_zero() {
        let before = UNIX_EPOCH - std::time::Duration::from_secs(1);
        assert_eq!(unix_nanos(before), 0);
    }
}
