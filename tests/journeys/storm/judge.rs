//! What must be true of the counters, whatever happened.

use std::collections::{HashMap, HashSet};
use std::ops::AddAssign;
use std::thread;
use std::time::{Duration, Instant};

use tower_otlp::{Stats, TracingService};

use super::collector::{Again, Attempt, Collector, Reply};
use super::hiccups;
use super::plan::{Ending, Fault, LONG, Plan, Step};
use crate::sinks::logs::Log;
use crate::support::fault_proxy::{FaultProxy, Pause};

/// Looks at the storm from outside.
pub(super) struct Judge<'a> {
    collector: &'a Collector,
    proxy: &'a FaultProxy,
    tracing: &'a TracingService,
    log: &'a Log,
    /// How long an answer may take and be sure to be waited for.
    patience: Patience,
}

/// How long the exporter waits for an answer, and since when it does.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    pub(super) since: Instant,
}

impl Patience {
    fn is_sure(self, took: Duration) -> bool {
        self.timeout == LONG || took < self.timeout / 8 && !hiccups::any_since(self.since)
    }
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        collector: &'a Collector,
        proxy: &'a FaultProxy,
        tracing: &'a TracingService,
        log: &'a Log,
        patience: Patience,
    ) -> Self {
        Self { collector, proxy, tracing, log, patience }
    }

    /// Stops all answers, and waits until the client has counted every one that it was sent.
    /// So many spans were too large to be sent at all.
    pub(super) fn settle(&self, oversized: usize) -> Pause {
        let pause = self.proxy.pause();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.tracing.stats();
            let attempts = self.collector.attempts();
            let settled = Settled::by(&attempts, self.patience);
            if settled.agrees(stats, oversized) && !attempts.iter().any(Attempt::is_being_answered)
            {
                return pause;
            }
            assert!(
                Instant::now() < deadline,
                "the client does not count what it was told: {:?} were delivered, rejected and too \
                 large, and {oversized} so, but {stats}: {:#?} {:#?}",
                settled.counts(),
                self.collector.attempts(),
                self.log.lines(),
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Holds the ledger of the service that has been shut down against what was served, and what
/// arrived.
pub(super) fn pronounce(
    plan: &Plan,
    patience: Patience,
    attempts: &[Attempt],
    produced: &[u64],
    stats: Stats,
) -> Tally {
    let produced: HashSet<_> = produced.iter().copied().collect();
    assert_eq!(stats.accepted, produced.len() as u64, "every span is counted: {stats}");
    assert_eq!(stats.pending, 0, "{stats}");
    let sum = stats.delivered + stats.rejected + stats.dropped.total();
    assert_eq!(stats.accepted, sum, "every span is counted once: {stats}");

    assert_eq!(stats.dropped.panicked, 0, "{stats}");

    let settled = Settled::by(attempts, patience);
    assert!(
        settled.agrees(stats, plan.oversized),
        "delivered, rejected and too large is what the answers said that got through: {:?}, but \
         {stats}",
        settled.counts(),
    );
    let arrived: HashSet<u64> = attempts.iter().flat_map(Attempt::taken).copied().collect();
    assert!(arrived.is_subset(&produced), "spans that nobody made");
    assert!(settled.delivered.is_subset(&arrived), "delivered is what the collector has");
    let beyond: HashSet<_> = arrived.difference(&settled.delivered).copied().collect();
    let of_cut: HashSet<_> = attempts
        .iter()
        .filter(|attempt| !attempt.told())
        .flat_map(Attempt::taken)
        .copied()
        .collect();
    assert!(beyond.is_subset(&of_cut), "what else it has, it could not tell the client");
    let lost = (produced.difference(&arrived).count() + beyond.len()) as u64;
    if settled.late.is_empty() {
        assert_eq!(
            stats.dropped.total() + stats.rejected,
            lost,
            "what the collector does not have is lost, and what it could not tell: {stats}",
        );
    }
    let again = assert_last_words_are_last(plan, attempts, &settled);
    if plan.ending == Ending::Healed && plan.client.give_up_after == LONG {
        assert_lost_for_a_reason(plan, attempts, &produced, &settled, stats);
    }
    Tally {
        seeds: 1,
        spans: stats.accepted,
        delivered: stats.delivered,
        rejected: stats.rejected,
        failed: stats.dropped.failed,
        too_large: stats.dropped.too_large - plan.oversized as u64,
        queue_full: stats.dropped.queue_full,
        shut_down: stats.dropped.shutdown,
        attempts: attempts.len() as u64,
        cut: attempts.iter().filter(|attempt| !attempt.told()).count() as u64,
        beyond: beyond.len() as u64,
        again,
        split: attempts.iter().filter(|attempt| attempt.is_to_be_split()).count() as u64,
        plain: attempts.iter().filter(|attempt| attempt.is_wanted(Again::Plain)).count() as u64,
        late: settled.late.len() as u64,
    }
}

/// Counts the spans that were sent once more: none of which the client knew already what became.
///
/// Only answers that got through show that a client still asked. Requests of connections that have
/// long ended are read whenever the collector comes to it.
fn assert_last_words_are_last(plan: &Plan, attempts: &[Attempt], settled: &Settled) -> u64 {
    let mut last_words: HashMap<u64, &Attempt> = HashMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.passed()) {
        let is_last = match attempt.reply {
            Reply::Taken { .. } => true,
            // Where spans fail for being tried too long, their number does not show that the
            // client has heard a refusal, and it may be reset before it has.
            Reply::Refused { again: Again::No, .. } => plan.client.give_up_after == LONG,
            Reply::Refused { again: Again::Smaller, .. } => !attempt.is_to_be_split(),
            Reply::Refused { .. } | Reply::Broken(_) | Reply::Cut { .. } => false,
        };
        for &id in attempt.ids.iter().filter(|id| is_last && !settled.late.contains(id)) {
            if let Some(before) = last_words.insert(id, attempt) {
                panic!("two last words: {before:?}, {attempt:?}, of all: {attempts:#?}");
            }
        }
    }
    let sent: usize = attempts.iter().map(|attempt| attempt.ids.len()).sum();
    let ids: HashSet<u64> = attempts.iter().flat_map(|attempt| &attempt.ids).copied().collect();
    (sent - ids.len()) as u64
}

/// With time to try again and a collector that is well in the end, a span is lost only when the
/// collector said so, or no client could make sense of what it said, or the queue was full.
fn assert_lost_for_a_reason(
    plan: &Plan,
    attempts: &[Attempt],
    produced: &HashSet<u64>,
    settled: &Settled,
    stats: Stats,
) {
    assert_eq!(stats.dropped.retries_exhausted, 0, "there was time: {stats}");
    let is_garbage = |step: &Step| matches!(step.fault, Fault::Garbage(_));
    let has_garbage = plan.steps.iter().any(is_garbage);
    let refused: HashSet<u64> = attempts
        .iter()
        .filter(|attempt| match attempt.reply {
            Reply::Refused { again: Again::No, .. } => attempt.passed(),
            Reply::Refused { again: Again::Smaller, .. } if attempt.passed() => {
                !attempt.is_to_be_split()
            }
            Reply::Broken(_) => true,
            // Over HTTP/1.1, garbage may make an answer whole that was begun.
            Reply::Taken { .. } | Reply::Refused { .. } | Reply::Cut { .. } => {
                has_garbage && !attempt.passed()
            }
        })
        .flat_map(|attempt| attempt.ids.iter().copied())
        .collect();
    let unknown = |&&id: &&u64| settled.is_lost(id) && !refused.contains(&id);
    let without_reason = (produced.iter().filter(unknown).count() - plan.oversized) as u64;
    assert!(
        without_reason <= stats.dropped.queue_full,
        "{without_reason} spans were lost without a reason: {stats}: {attempts:#?}",
    );
}

/// Spans of answers that got through.
#[derive(Default)]
struct Settled {
    delivered: HashSet<u64>,
    rejected: HashSet<u64>,
    /// None of which is there to be sent again.
    refused: HashSet<u64>,
    /// Each of which was alone in a request.
    too_large: HashSet<u64>,
    /// Those of answers that came when the client may have given up waiting for them, because the
    /// machine had other things to do. They may be counted or not.
    late: HashSet<u64>,
}

impl Settled {
    fn by(attempts: &[Attempt], patience: Patience) -> Self {
        let mut settled = Self::default();
        for attempt in attempts {
            let Some(took) = attempt.took() else { continue };
            if !patience.is_sure(took) {
                settled.late.extend(&attempt.ids);
            }
            match attempt.reply {
                Reply::Taken { .. } => {
                    settled.delivered.extend(attempt.taken());
                    settled.rejected.extend(attempt.rejected());
                }
                Reply::Refused { again: Again::No, .. } => settled.refused.extend(&attempt.ids),
                Reply::Refused { again: Again::Smaller, .. } if !attempt.is_to_be_split() => {
                    settled.too_large.extend(&attempt.ids);
                }
                Reply::Refused { .. } | Reply::Broken(_) | Reply::Cut { .. } => {}
            }
        }
        settled
    }

    fn counts(&self) -> [u64; 3] {
        [&self.delivered, &self.rejected, &self.too_large].map(|ids| ids.len() as u64)
    }

    fn is_lost(&self, id: u64) -> bool {
        ![&self.delivered, &self.rejected, &self.late].iter().any(|ids| ids.contains(&id))
    }

    fn agrees(&self, stats: Stats, oversized: usize) -> bool {
        let [delivered, rejected, too_large] = self.counts();
        let oversized = oversized as u64;
        let refused = self.refused.iter().filter(|&&id| self.is_lost(id)).count() as u64;
        let sure = |ids: &HashSet<u64>| ids.difference(&self.late).count() as u64;
        (sure(&self.delivered)..=delivered).contains(&stats.delivered)
            && (sure(&self.rejected)..=rejected).contains(&stats.rejected)
            && (sure(&self.too_large) + oversized..=too_large + oversized)
                .contains(&stats.dropped.too_large)
            && stats.dropped.failed >= refused
    }
}

impl Attempt {
    /// What the collector has of it.
    fn taken(&self) -> &[u64] {
        match self.reply {
            Reply::Taken { rejected } => &self.ids[..self.ids.len() - rejected],
            Reply::Refused { .. } => &[],
            Reply::Broken(_) | Reply::Cut { .. } => &self.ids,
        }
    }

    /// What it said that it does not have.
    fn rejected(&self) -> &[u64] {
        match self.reply {
            Reply::Taken { rejected } => &self.ids[self.ids.len() - rejected..],
            Reply::Refused { .. } | Reply::Broken(_) | Reply::Cut { .. } => &[],
        }
    }

    fn is_wanted(&self, how: Again) -> bool {
        matches!(self.reply, Reply::Refused { again, .. } if again == how)
    }

    /// Whether the collector wants it in smaller requests, and there are any.
    fn is_to_be_split(&self) -> bool {
        self.is_wanted(Again::Smaller) && self.ids.len() > 1
    }

    /// Whether the client was told what became of the spans, in a way that it can make sense of.
    fn told(&self) -> bool {
        let is_word = matches!(self.reply, Reply::Taken { .. } | Reply::Refused { .. });
        is_word && self.passed()
    }
}

/// What a storm came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    seeds: u64,
    spans: u64,
    delivered: u64,
    rejected: u64,
    failed: u64,
    /// Of the spans that were sent.
    too_large: u64,
    queue_full: u64,
    shut_down: u64,
    attempts: u64,
    /// Attempts whose answer did not get through.
    cut: u64,
    /// Spans that the collector has and that are counted as lost.
    beyond: u64,
    /// Spans that were sent once more.
    again: u64,
    /// Attempts that the collector wanted in smaller requests.
    split: u64,
    /// Attempts that it wanted without compression.
    plain: u64,
    /// Spans of which it is not known whether the client still waited for the answer.
    late: u64,
}

impl Tally {
    /// A storm that harms nobody proves nothing.
    pub(super) fn assert_stormy(&self) {
        let Self { delivered, rejected, failed, too_large, queue_full, shut_down, .. } = *self;
        let Self { beyond, again, split, plain, .. } = *self;
        let ended = [delivered, rejected, failed, too_large, queue_full, shut_down];
        let all = [&ended[..], &[beyond, again, split, plain]].concat();
        assert!(all.iter().all(|&count| count > 0), "{self:?}");
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.spans += other.spans;
        self.delivered += other.delivered;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.too_large += other.too_large;
        self.queue_full += other.queue_full;
        self.shut_down += other.shut_down;
        self.attempts += other.attempts;
        self.cut += other.cut;
        self.beyond += other.beyond;
        self.again += other.again;
        self.split += other.split;
        self.plain += other.plain;
        self.late += other.late;
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
