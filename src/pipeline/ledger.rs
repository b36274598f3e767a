//! Where every span ends: in exactly one counter.
//!
//! `accepted = delivered + rejected + dropped + pending`, at any moment and to the span. What
//! makes it hold is [`Claim`]: whoever holds spans holds their claim, and a claim that goes away
//! unsettled counts its spans as lost.

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::receipt::{Account, Receipt, Settled};
use super::sync::{AtomicBool, AtomicU64, AtomicUsize};

/// What became of all spans so far. Returned by `stats`, `flush` and `shutdown`.
///
/// `accepted = delivered + rejected + dropped.total() + pending`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Spans that ended and were to be exported: the sum of all below.
    pub accepted: u64,
    /// Spans that the backend acknowledged, or that are in a file.
    pub delivered: u64,
    /// Spans that the backend refused while it took others of the same request (OTLP partial
    /// success).
    pub rejected: u64,
    /// Spans that were lost, by reason.
    pub dropped: Dropped,
    /// Spans that wait to be exported or are being exported now.
    pub pending: u64,
    /// Requests that a caller had sampled and that were not recorded for it, because there were
    /// [too many](crate::TraceLayer::forced_sampling_per_second). There is no span of them, so
    /// this is no part of the sum.
    pub not_forced: u64,
}

/// Spans that were lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The memory that may be used for waiting spans was used up: by default those are lost that
    /// end while it is.
    pub queue_full: u64,
    /// The span alone was larger than a request may be, by our limit or by that of the backend.
    pub too_large: u64,
    /// The export failed in a way that would come again: the backend refused the request, or its
    /// answer made no sense.
    pub failed: u64,
    /// The export failed in a way that may pass (no connection, no answer in time, a backend that
    /// was not available, a write error), was tried again, and failed until it was given up.
    pub retries_exhausted: u64,
    /// The span ended after the shutdown, or the shutdown's deadline came first.
    pub shutdown: u64,
    /// The exporter panicked while it held the span.
    pub panicked: u64,
}

impl Dropped {
    /// The sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.queue_full
            + self.too_large
            + self.failed
            + self.retries_exhausted
            + self.shutdown
            + self.panicked
    }

    /// In words, with the count of each.
    pub(crate) fn reasons(&self) -> [(&'static str, u64); 6] {
        [
            ("queue full", self.queue_full),
            ("too large", self.too_large),
            ("export failed", self.failed),
            ("retries exhausted", self.retries_exhausted),
            ("shut down", self.shutdown),
            ("exporter panicked", self.panicked),
        ]
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, delivered, rejected, dropped, pending, not_forced } = self;
        let total = dropped.total();
        write!(f, "spans: accepted {accepted}, delivered {delivered}, rejected {rejected}, ")?;
        write!(f, "dropped {total}")?;
        let mut separator = " (";
        for (reason, count) in dropped.reasons().into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{reason} {count}")?;
            separator = ", ";
        }
        if total > 0 {
            f.write_str(")")?;
        }
        write!(f, ", pending {pending}")?;
        if *not_forced > 0 {
            write!(f, "; not recorded though their callers were {not_forced}")?;
        }
        Ok(())
    }
}

/// What came in, and what of it was refused at once. Counted together, under one lock, so that
/// no moment shows a span that came and went nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offered {
    pub(crate) accepted: u64,
    pub(crate) queue_full: u64,
    pub(crate) too_large: u64,
    /// Came after the shutdown.
    pub(crate) late: u64,
}

impl AddAssign for Offered {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.queue_full += other.queue_full;
        self.too_large += other.too_large;
        self.late += other.late;
    }
}

/// The counters of spans that were taken in, and the budget of bytes that waiting spans may take.
#[derive(Debug)]
pub(crate) struct Ledger {
    delivered: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    exhausted: AtomicU64,
    too_large: AtomicU64,
    evicted: AtomicU64,
    shutdown: AtomicU64,
    panicked: AtomicU64,
    /// Set once the pipeline is being shut down: an unsettled claim is then no panic.
    closing: AtomicBool,
    bytes_used: AtomicUsize,
    max_bytes: usize,
}

impl Ledger {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            delivered: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            shutdown: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            bytes_used: AtomicUsize::new(0),
            max_bytes,
        }
    }

    /// Takes bytes of the budget, all or none.
    pub(crate) fn take_bytes(&self, bytes: usize) -> bool {
        let take = |used: usize| used.checked_add(bytes).filter(|&used| used <= self.max_bytes);
        self.bytes_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    pub(crate) fn give_back_bytes(&self, bytes: usize) {
        self.bytes_used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that must be given back for the budget to have room for what comes: an eighth of it.
    pub(super) fn bytes_short(&self) -> usize {
        let comfortable = self.max_bytes - self.max_bytes / 8;
        self.bytes_used.load(Ordering::Relaxed).saturating_sub(comfortable)
    }

    #[cfg(test)]
    pub(crate) fn bytes_used(&self) -> usize {
        self.bytes_used.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// The counters as they stand. `offered` is a function because it must be read last: what
    /// settles in between then shows as pending, and never as more spans than there were.
    pub(super) fn stats(&self, offered: impl FnOnce() -> Offered) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let mut stats = Stats {
            accepted: 0,
            delivered: read(&self.delivered),
            rejected: read(&self.rejected),
            dropped: Dropped {
                queue_full: read(&self.evicted),
                too_large: read(&self.too_large),
                failed: read(&self.failed),
                retries_exhausted: read(&self.exhausted),
                shutdown: read(&self.shutdown),
                panicked: read(&self.panicked),
            },
            pending: 0,
            not_forced: 0,
        };
        let offered = offered();
        stats.accepted = offered.accepted;
        stats.dropped.queue_full += offered.queue_full;
        stats.dropped.too_large += offered.too_large;
        stats.dropped.shutdown += offered.late;
        let settled = stats.delivered + stats.rejected + stats.dropped.total();
        debug_assert!(settled <= stats.accepted, "a span was settled twice: {stats:?}");
        stats.pending = stats.accepted.saturating_sub(settled);
        stats
    }
}

/// The right to say what became of some spans, and the bytes of the budget that they take.
#[derive(Debug)]
pub(crate) struct Claim {
    ledger: Arc<Ledger>,
    spans: u64,
    bytes: usize,
    /// Of a request whose sender waits for a word. A field, and so let go of after all has been
    /// counted.
    account: Option<Arc<Account>>,
}

impl Claim {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self::of_request(ledger, 0, 0, None)
    }

    /// The claim of a whole request, whose bytes the caller has taken of the budget.
    pub(super) fn of_request(
        ledger: Arc<Ledger>,
        spans: u64,
        bytes: usize,
        receipt: Option<Receipt>,
    ) -> Self {
        Self { ledger, spans, bytes, account: receipt.map(|it| Arc::new(Account::new(it))) }
    }

    pub(crate) fn spans(&self) -> u64 {
        self.spans
    }

    /// Adds one span, whose bytes the caller has taken of the budget.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.spans += 1;
        self.bytes += bytes;
    }

    /// Keeps so many spans of so many bytes, and returns the claim of the others.
    pub(crate) fn split_off(&mut self, spans: u64, bytes: usize) -> Self {
        let (spans, bytes) = (spans.min(self.spans), bytes.min(self.bytes));
        let rest = Self {
            ledger: Arc::clone(&self.ledger),
            spans: self.spans - spans,
            bytes: self.bytes - bytes,
            account: self.account.clone(),
        };
        (self.spans, self.bytes) = (spans, bytes);
        rest
    }

    /// Bytes of the budget that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All are delivered but `rejected` of them.
    pub(crate) fn deliver(mut self, rejected: u64) {
        let spans = std::mem::take(&mut self.spans);
        // A backend can say anything; it cannot have rejected more than it was sent.
        let rejected = rejected.min(spans);
        self.ledger.delivered.fetch_add(spans - rejected, Ordering::Release);
        self.ledger.rejected.fetch_add(rejected, Ordering::Release);
        let delivered = spans - rejected;
        self.tell(Settled { delivered, rejected, ..Settled::default() });
    }

    /// None could be exported, nor will be.
    pub(crate) fn fail(self) {
        self.refuse(|ledger| &ledger.failed);
    }

    /// None could be exported for so long that it is given up.
    pub(super) fn exhaust(mut self) {
        self.lose(|ledger| &ledger.exhausted);
    }

    /// The backend takes no request as large as with one of these spans alone.
    pub(super) fn refuse_as_too_large(self) {
        self.refuse(|ledger| &ledger.too_large);
    }

    /// They make room for newer ones.
    pub(super) fn evict(mut self) {
        self.lose(|ledger| &ledger.evicted);
    }

    /// For good: their sender need not send them again.
    fn refuse(mut self, counter: fn(&Ledger) -> &AtomicU64) {
        let refused = self.count(counter);
        self.tell(Settled { refused, ..Settled::default() });
    }

    fn lose(&mut self, counter: fn(&Ledger) -> &AtomicU64) {
        let lost = self.count(counter);
        self.tell(Settled { lost, ..Settled::default() });
    }

    fn count(&mut self, counter: fn(&Ledger) -> &AtomicU64) -> u64 {
        let spans = std::mem::take(&mut self.spans);
        counter(&self.ledger).fetch_add(spans, Ordering::Release);
        spans
    }

    fn tell(&self, settled: Settled) {
        if let Some(account) = &self.account {
            account.add(settled);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.spans > 0 {
            let closing = self.ledger.closing.load(Ordering::Relaxed);
            self.lose(if closing { |ledger| &ledger.shutdown } else { |ledger| &ledger.panicked });
        }
        self.ledger.give_back_bytes(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(ledger: &Arc<Ledger>, spans: u64) -> Claim {
        let mut claim = Claim::new(Arc::clone(ledger));
        for _ in 0..spans {
            assert!(ledger.take_bytes(10));
            claim.add(10);
        }
        claim
    }

    fn came(accepted: u64) -> Offered {
        Offered { accepted, ..Offered::default() }
    }

    #[test]
    fn every_way_to_settle_a_claim_counts_its_spans_once_and_frees_its_bytes() {
        type Settle = fn(Claim);
        let rows: [(Settle, Stats, &str); 10] = [
            (|c| c.deliver(0), Stats { delivered: 3, ..Stats::default() }, "all delivered"),
            (
                |c| c.deliver(1),
                Stats { delivered: 2, rejected: 1, ..Stats::default() },
                "partial success",
            ),
            (
                |c| c.deliver(u64::MAX),
                Stats { rejected: 3, ..Stats::default() },
                "more rejected than sent",
            ),
            (
                |c| c.fail(),
                Stats { dropped: Dropped { failed: 3, ..Dropped::default() }, ..Stats::default() },
                "failed",
            ),
            (
                drop,
                Stats {
                    dropped: Dropped { panicked: 3, ..Dropped::default() },
                    ..Stats::default()
                },
                "lost by whoever held it",
            ),
            (
                |c| c.exhaust(),
                Stats {
                    dropped: Dropped { retries_exhausted: 3, ..Dropped::default() },
                    ..Stats::default()
                },
                "given up",
            ),
            (
                |c| c.refuse_as_too_large(),
                Stats {
                    dropped: Dropped { too_large: 3, ..Dropped::default() },
                    ..Stats::default()
                },
                "too large",
            ),
            (
                |c| c.evict(),
                Stats {
                    dropped: Dropped { queue_full: 3, ..Dropped::default() },
                    ..Stats::default()
                },
                "in the way of newer ones",
            ),
            (
                |mut c| {
                    let rest = c.split_off(1, 10);
                    assert_eq!((c.spans(), c.bytes(), rest.spans(), rest.bytes()), (1, 10, 2, 20));
                    c.deliver(0);
                    rest.fail();
                },
                Stats {
                    delivered: 1,
                    dropped: Dropped { failed: 2, ..Dropped::default() },
                    ..Stats::default()
                },
                "split",
            ),
            (
                |mut c| {
                    let rest = c.split_off(u64::MAX, usize::MAX);
                    assert_eq!((rest.spans(), rest.bytes()), (0, 0));
                    c.deliver(0);
                },
                Stats { delivered: 3, ..Stats::default() },
                "split beyond its end",
            ),
        ];
        for (settle, expected, why) in rows {
            let ledger = Arc::new(Ledger::new(30));
            settle(claim(&ledger, 3));
            let stats = ledger.stats(|| came(3));
            assert_eq!(stats, Stats { accepted: 3, ..expected }, "{why}");
            assert_eq!(ledger.bytes_used(), 0, "{why}");
        }
    }

    #[test]
    fn an_unsettled_claim_is_the_shutdowns_once_it_has_begun() {
        let ledger = Arc::new(Ledger::new(100));
        let claim = claim(&ledger, 2);
        ledger.close();
        drop(claim);
        assert_eq!(ledger.stats(|| came(2)).dropped.shutdown, 2);
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let ledger = Ledger::new(10);
        assert!(ledger.take_bytes(10));
        assert!(!ledger.take_bytes(1));
        assert!(!ledger.take_bytes(usize::MAX), "no overflow");
        ledger.give_back_bytes(4);
        assert!(ledger.take_bytes(4));
    }

    #[test]
    fn stats_read_as_a_sentence() {
        let mut stats = Stats { accepted: 5, delivered: 5, ..Stats::default() };
        assert_eq!(
            stats.to_string(),
            "spans: accepted 5, delivered 5, rejected 0, dropped 0, pending 0",
        );
        (stats.delivered, stats.dropped.failed, stats.dropped.queue_full) = (2, 2, 1);
        assert_eq!(
            stats.to_string(),
            "spans: accepted 5, delivered 2, rejected 0, \
             dropped 3 (queue full 1, export failed 2), pending 0",
        );
        let stats = Stats { not_forced: 7, ..Stats::default() };
        assert_eq!(
            stats.to_string(),
            "spans: accepted 0, delivered 0, rejected 0, dropped 0, pending 0; \
             not recorded though their callers were 7",
        );
    }
}
