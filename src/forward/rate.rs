//! So many a second, and no more than that at once.

use std::num::NonZeroU32;
use std::time::Duration;

/// The token bucket of a second, kept as the time by which what was taken so far has been earned
/// (the generic cell rate algorithm): nothing refills it, and it says when there is enough again.
/// Time is an argument: how long it is since any moment, the same for all calls.
#[derive(Debug)]
pub(super) struct Rate {
    /// Nanoseconds in which one is earned.
    interval: u64,
    /// When the bucket will be full again.
    full_at: u64,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// So many are never there at once.
    ForGood,
    /// There will be enough after this time, if nobody else takes any.
    For(Duration),
}

impl Rate {
    pub(super) fn per_second(count: NonZeroU32) -> Self {
        Self { interval: SECOND / u64::from(count.get()), full_at: 0 }
    }

    /// Takes so many, or none.
    pub(super) fn take(&mut self, count: u64, now: Duration) -> Result<(), Short> {
        let now = nanos(now);
        let cost = count.saturating_mul(self.interval);
        if cost > SECOND {
            return Err(Short::ForGood);
        }
        let next = self.full_at.max(now).saturating_add(cost);
        let most = now.saturating_add(SECOND);
        if next > most {
            return Err(Short::For(Duration::from_nanos(next - most)));
        }
        self.full_at = next;
        Ok(())
    }

    /// Undoes a [`take`](Self::take) of so many.
    pub(super) fn give_back(&mut self, count: u64) {
        self.full_at = self.full_at.saturating_sub(count.saturating_mul(self.interval));
    }

    /// Whether it is as if nothing had ever been taken.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.full_at <= nanos(now)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32) -> Rate {
        Rate::per_second(NonZeroU32::new(count).unwrap())
    }

    #[test]
    fn what_is_short_is_there_exactly_when_it_was_said_to_be() {
        let start = Duration::from_secs(5);
        let mut rate = rate(100);
        assert_eq!(rate.take(101, start), Err(Short::ForGood), "more than ever at once");
        assert_eq!(rate.take(100, start), Ok(()), "what a second earns, at once");
        assert!(!rate.is_full(start));
        let wait = Duration::from_millis(400);
        assert_eq!(rate.take(40, start), Err(Short::For(wait)), "ten milliseconds for each");
        let early = start + wait - Duration::from_nanos(1);
        assert_eq!(rate.take(40, early), Err(Short::For(Duration::from_nanos(1))), "not before");
        assert_eq!(rate.take(40, start + wait), Ok(()), "then");
        rate.give_back(40);
        assert_eq!(rate.take(40, start + wait), Ok(()), "given back, and taken again");
        let later = start + Duration::from_secs(3600);
        assert!(rate.is_full(later));
        assert_eq!(rate.take(100, later), Ok(()));
        assert_eq!(
            rate.take(1, later),
            Err(Short::For(Duration::from_millis(10))),
            "none saved up"
        );
    }

    #[test]
    fn the_extremes_hold() {
        let mut all = rate(u32::MAX);
        assert_eq!(all.take(u64::MAX, Duration::ZERO), Ok(()), "four billion a second");
        let mut one = rate(1);
        assert_eq!(one.take(1, Duration::MAX), Ok(()));
        assert_eq!(one.take(u64::MAX, Duration::MAX), Err(Short::ForGood));
        one.give_back(u64::MAX);
        assert!(one.is_full(Duration::ZERO));
        assert_eq!(one.take(0, Duration::ZERO), Ok(()), "nothing costs nothing");
    }
}
