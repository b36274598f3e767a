//! What was asked of the forwarder and what became of it, in numbers and in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::refusal::Refusal;
use crate::pipeline::warn;
use crate::record::cut;

/// What a [`SpanForwarder`](crate::SpanForwarder) was sent so far, by all senders.
///
/// `requests = taken + refused.total() + cancelled`, and those that are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwarderStats {
    /// Requests that came.
    pub requests: u64,
    /// Requests whose spans were taken, empty ones among them.
    pub taken: u64,
    /// Requests whose senders went away before they could be taken.
    pub cancelled: u64,
    /// Requests that were not taken, by reason.
    pub refused: Refused,
    /// Spans that were taken. What became of them is in [`Stats`](crate::Stats), together with this
    /// program's own.
    pub spans: u64,
    /// Spans of requests that were not taken, by reason, as far as they were counted: the others
    /// were refused before.
    pub spans_refused: Refused,
}

/// What a forwarder did not take, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The sender may not send, or is not known.
    pub denied: u64,
    /// The request is no OTLP.
    pub invalid: u64,
    /// The request has more bytes, or more spans, than could ever be taken at once.
    pub too_large: u64,
    /// One of the [limits](crate::ForwardLimits) was reached.
    pub over_limit: u64,
    /// The memory that waiting spans may use was used up.
    pub queue_full: u64,
    /// The tracing service has been shut down.
    pub shut_down: u64,
    /// The request did not arrive in time.
    pub timed_out: u64,
    /// The spans had been here before, or had come a long way.
    pub looping: u64,
    /// Another method, content type or compression than are understood.
    pub unsupported: u64,
    /// Tracing is disabled.
    pub disabled: u64,
}

impl Refused {
    /// The sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.denied
            + self.invalid
            + self.too_large
            + self.over_limit
            + self.queue_full
            + self.shut_down
            + self.timed_out
            + self.looping
            + self.unsupported
            + self.disabled
    }
}

/// The reasons, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Denied,
    Invalid,
    TooLarge,
    OverLimit,
    QueueFull,
    ShutDown,
    TimedOut,
    Looping,
    Unsupported,
    Disabled,
}

/// The counters.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    requests: AtomicU64,
    taken: AtomicU64,
    cancelled: AtomicU64,
    spans: AtomicU64,
    refused: [Counter; REASONS],
}

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    spans: AtomicU64,
    /// Milliseconds from the beginning to the last one, and one more; zero is never.
    last: AtomicU64,
}

/// One request, which ends in exactly one counter.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    tally: &'a Tally,
    settled: bool,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            requests: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            spans: AtomicU64::new(0),
            refused: Default::default(),
        }
    }

    /// A request has come.
    pub(super) fn count(&self) -> Counted<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Counted { tally: self, settled: false }
    }

    pub(super) fn stats(&self) -> ForwarderStats {
        let by_reason = |of: fn(&Counter) -> &AtomicU64| {
            let read = |reason: Reason| of(&self.refused[reason as usize]).load(Ordering::Acquire);
            Refused {
                denied: read(Reason::Denied),
                invalid: read(Reason::Invalid),
                too_large: read(Reason::TooLarge),
                over_limit: read(Reason::OverLimit),
                queue_full: read(Reason::QueueFull),
                shut_down: read(Reason::ShutDown),
                timed_out: read(Reason::TimedOut),
                looping: read(Reason::Looping),
                unsupported: read(Reason::Unsupported),
                disabled: read(Reason::Disabled),
            }
        };
        let mut stats = ForwarderStats {
            requests: 0,
            taken: self.taken.load(Ordering::Acquire),
            cancelled: self.cancelled.load(Ordering::Acquire),
            refused: by_reason(|counter| &counter.requests),
            spans: self.spans.load(Ordering::Acquire),
            spans_refused: by_reason(|counter| &counter.spans),
        };
        // Last, so that what ends in between shows as under way.
        stats.requests = self.requests.load(Ordering::Acquire);
        stats
    }

    /// Whether this is news: nothing of the kind has happened for a while.
    fn is_news(&self, counter: &Counter) -> bool {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX) | 1;
        let last = counter.last.swap(now, Ordering::Relaxed);
        last == 0 || now.saturating_sub(last) > QUIET.as_millis() as u64
    }
}

impl Counted<'_> {
    /// Its spans are on their way.
    pub(super) fn taken(&mut self, spans: u64) {
        if !std::mem::replace(&mut self.settled, true) {
            self.tally.spans.fetch_add(spans, Ordering::Release);
            self.tally.taken.fetch_add(1, Ordering::Release);
        }
    }

    /// It is not taken, and its spans, so many as far as is known, are not. `identity` is whose it
    /// is, if that is known.
    pub(super) fn refused(&mut self, refusal: &Refusal, identity: Option<&str>, spans: u64) {
        let Some(reason) = refusal.reason() else { return };
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let counter = &self.tally.refused[reason as usize];
        counter.spans.fetch_add(spans, Ordering::Release);
        counter.requests.fetch_add(1, Ordering::Release);
        if reason != Reason::Unsupported && self.tally.is_news(counter) {
            let words = refusal.words();
            let words = cut(&words, MAX_WORDS);
            let of = identity.map_or_else(String::new, |identity| format!(" of {identity:?}"));
            warn(format_args!(
                "the forwarder refuses spans{of}: {words:?}; the next line of this kind comes when \
                 there has been no such refusal for {} s",
                QUIET.as_secs(),
            ));
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.tally.cancelled.fetch_add(1, Ordering::Release);
        }
    }
}

const REASONS: usize = Reason::Disabled as usize + 1;
/// After so much time without it, a refusal is news again.
const QUIET: Duration = Duration::from_secs(60);
/// Bytes of words in the log that a sender may have had a hand in.
const MAX_WORDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_in_one_counter() {
        let tally = Tally::new();
        let mut taken = tally.count();
        taken.taken(3);
        taken.refused(&Refusal::Lost, Some("alice"), 3);
        taken.refused(&Refusal::QueueFull, Some("alice"), 3);
        drop(taken);
        drop(tally.count());
        tally.count().refused(&Refusal::QueueFull, None, 5);
        tally.count().refused(&Refusal::Disabled, None, 0);
        let under_way = tally.count();
        let expected = ForwarderStats {
            requests: 5,
            taken: 1,
            cancelled: 1,
            refused: Refused { queue_full: 1, disabled: 1, ..Refused::default() },
            spans: 3,
            spans_refused: Refused { queue_full: 5, ..Refused::default() },
        };
        assert_eq!(tally.stats(), expected);
        assert_eq!(expected.refused.total(), 2);
        drop(under_way);
        assert_eq!(tally.stats().cancelled, 2);
    }

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let words = || "why".into();
        let rows = [
            (Refusal::Denied(words()), Refused { denied: 1, ..Refused::default() }),
            (Refusal::NotIdentified, Refused { denied: 1, ..Refused::default() }),
            (Refusal::Invalid(words()), Refused { invalid: 1, ..Refused::default() }),
            (Refusal::TooLarge(words()), Refused { too_large: 1, ..Refused::default() }),
            (
                Refusal::OverLimit { words: words(), after: Duration::ZERO },
                Refused { over_limit: 1, ..Refused::default() },
            ),
            (Refusal::QueueFull, Refused { queue_full: 1, ..Refused::default() }),
            (Refusal::ShutDown, Refused { shut_down: 1, ..Refused::default() }),
            (Refusal::TimedOut(Duration::ZERO), Refused { timed_out: 1, ..Refused::default() }),
            (Refusal::Loop, Refused { looping: 1, ..Refused::default() }),
            (Refusal::TooManyHops, Refused { looping: 1, ..Refused::default() }),
            (Refusal::Method, Refused { unsupported: 1, ..Refused::default() }),
            (Refusal::NotPost, Refused { unsupported: 1, ..Refused::default() }),
            (Refusal::MediaType, Refused { unsupported: 1, ..Refused::default() }),
            (Refusal::Encoding, Refused { unsupported: 1, ..Refused::default() }),
            (Refusal::Disabled, Refused { disabled: 1, ..Refused::default() }),
        ];
        for (refusal, expected) in rows {
            let tally = Tally::new();
            tally.count().refused(&refusal, None, 1);
            let stats = tally.stats();
            assert_eq!((stats.refused, stats.spans_refused), (expected, expected), "{refusal:?}");
            assert_eq!(expected.total(), 1, "{refusal:?}");
        }
    }

    #[test]
    fn what_goes_on_is_no_news() {
        let tally = Tally::new();
        let counter = Counter::default();
        assert!(tally.is_news(&counter), "the first");
        assert!(!tally.is_news(&counter), "the second");
        let long_ago = Tally { began: Instant::now() - 2 * QUIET, ..Tally::new() };
        counter.last.store(1, Ordering::Relaxed);
        assert!(long_ago.is_news(&counter), "after a while");
    }
}
