//! What the operator reads: a line when something changes, and none for each span or batch.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::buffer::Intake;
use super::ledger::Stats;
use super::options::PipelineOptions;
use super::outcome::Failure;

/// How exporting has been going, as far as it was said.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// `None` while all is well.
    trouble: Option<Trouble>,
    /// Whether it was said that spans are given up, since all was well last.
    giving_up: bool,
    /// What was said of requests that were too large last.
    too_large: String,
    /// Spans that found no room, up to the last look, and whether that was going on.
    shed: u64,
    shedding: bool,
    limit: Limit,
    /// In words.
    room: String,
    patience: Duration,
    last_failure: LastFailure,
}

/// Why spans could not be delivered when they last could not, for whoever asks in the end. Not
/// limited, as lines are.
#[derive(Clone, Debug, Default)]
pub(super) struct LastFailure(Arc<ArcSwapOption<String>>);

/// What was said of the exports last, and since when there is something to say.
#[derive(Debug)]
struct Trouble {
    text: String,
    since: Instant,
    /// Spans that had been lost before.
    lost: u64,
}

impl Report {
    pub(super) fn new(options: &PipelineOptions) -> Self {
        Self {
            room: in_words(options.max_bytes),
            patience: options.retry.give_up_after,
            ..Self::default()
        }
    }

    #[cfg(feature = "clap")]
    pub(super) fn last_failure(&self) -> LastFailure {
        self.last_failure.clone()
    }

    /// Spans were exported, all but those that the backend rejected.
    pub(super) fn delivered(
        &mut self,
        target: &str,
        spans: u64,
        rejected: u64,
        message: &str,
        intake: &Intake,
    ) {
        if rejected > 0 {
            self.last_failure.set(message);
            self.say_news(message, rejected, intake, || {
                format!("{target} rejected {rejected} of {spans} spans: {message}")
            });
        } else if !message.is_empty() {
            self.say_news(message, 0, intake, || format!("{target} says: {message}"));
        } else if self.trouble.is_some() && self.limit.allows(Instant::now()) {
            self.giving_up = false;
            if let Some(trouble) = self.trouble.take() {
                let lost = lost(&intake.stats()).saturating_sub(trouble.lost);
                let seconds = trouble.since.elapsed().as_secs();
                say(|| {
                    tracing::info!(
                        target: LOG_TARGET,
                        "delivered again to {target} after {seconds} s, {lost} lost",
                    );
                });
            }
        }
    }

    /// An export failed and will be tried again.
    pub(super) fn failing(
        &mut self,
        target: &str,
        Failure { reason, .. }: &Failure,
        intake: &Intake,
    ) {
        self.last_failure.set(reason);
        let room = self.room.clone();
        self.say_news(reason, 0, intake, || {
            format!(
                "cannot export to {target}: {reason}; trying again, spans are kept up to {room}",
            )
        });
    }

    /// An export failed, and its spans, which have been counted, are lost.
    pub(super) fn lost(
        &mut self,
        target: &str,
        Failure { reason, .. }: &Failure,
        spans: u64,
        intake: &Intake,
    ) {
        self.last_failure.set(reason);
        self.say_news(reason, spans, intake, || {
            format!(
                "cannot export to {target}: {reason}; spans lost: {spans}, and further ones until \
                 this is over",
            )
        });
    }

    /// Spans, which have been counted, are given up after many attempts.
    pub(super) fn gave_up(&mut self, target: &str, failure: &Failure, spans: u64, intake: &Intake) {
        self.failing(target, failure, intake);
        if !self.giving_up && self.limit.allows(Instant::now()) {
            self.giving_up = true;
            warn(format_args!(
                "cannot export to {target} for {} s: {failure}; spans given up: {spans}, and \
                 further ones until this is over",
                self.patience.as_secs_f64(),
            ));
        }
    }

    /// A request is exported in halves.
    pub(super) fn split(&mut self, target: &str, Failure { reason, .. }: &Failure) {
        if self.too_large != *reason && self.limit.allows(Instant::now()) {
            self.too_large.clone_from(reason);
            warn(format_args!("{target} takes only smaller requests: {reason}; sending those"));
        }
    }

    /// Warns, unless it is what was said last: another trouble is news, the same one is not. What
    /// is not said now for being too much is still news later. `spans` have been lost by it.
    fn say_news(&mut self, text: &str, spans: u64, intake: &Intake, line: impl FnOnce() -> String) {
        if self.trouble.as_ref().is_some_and(|trouble| trouble.text == text)
            || !self.limit.allows(Instant::now())
        {
            return;
        }
        let text = text.to_owned();
        match &mut self.trouble {
            Some(trouble) => trouble.text = text,
            None => {
                let lost = lost(&intake.stats()).saturating_sub(spans);
                self.trouble = Some(Trouble { text, since: Instant::now(), lost });
            }
        }
        warn(format_args!("{}", line()));
    }

    /// Some time has passed: did all spans find room?
    pub(super) fn looked_at(&mut self, target: &str, stats: &Stats) {
        let shed = stats.dropped.queue_full + stats.dropped.too_large;
        let sheds = shed > self.shed;
        if sheds && !self.shedding && self.limit.allows(Instant::now()) {
            warn(format_args!(
                "spans find no room in the queue to {target}; lost so far: {shed}, and further \
                 ones until this is over",
            ));
        }
        (self.shed, self.shedding) = (shed, sheds);
    }

    /// The hold is over, and who the spans are from is still not known. Once in a life, and so
    /// beside the limit.
    pub(super) fn waited_in_vain(target: &str) {
        warn(format_args!(
            "the resource attributes that this program waits for were not set in time: spans go \
             to {target} without them",
        ));
    }

    /// The worker panicked and goes on.
    pub(super) fn restarted(&mut self, panic: &(dyn Any + Send)) {
        if self.limit.allows(Instant::now()) {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let text = text.unwrap_or("no message");
            say(|| {
                tracing::error!(
                    target: LOG_TARGET,
                    "the span exporter panicked and was restarted: {text}",
                );
            });
        }
    }
}

impl LastFailure {
    fn set(&self, reason: &str) {
        self.0.store(Some(Arc::new(reason.to_owned())));
    }

    #[cfg(feature = "clap")]
    pub(super) fn get(&self) -> Option<Arc<String>> {
        self.0.load_full()
    }
}

/// Spans that no backend has.
fn lost(stats: &Stats) -> u64 {
    stats.dropped.total() + stats.rejected
}

/// An amount of memory.
fn in_words(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// A warning in the name of the crate.
pub(crate) fn warn(text: fmt::Arguments<'_>) {
    say(|| tracing::warn!(target: LOG_TARGET, "{text}"));
}

/// As [`warn`], for good news.
#[cfg(all(feature = "_client", any(feature = "ring", feature = "aws-lc-rs")))]
pub(crate) fn info(text: fmt::Arguments<'_>) {
    say(|| tracing::info!(target: LOG_TARGET, "{text}"));
}

/// Logs. A subscriber is the user's, and one that panics must not end the exporter.
fn say(log: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(log));
}

/// So many lines a minute: a backend of which every second answer is an error is no reason for a
/// line with each.
#[derive(Debug, Default)]
struct Limit {
    minute: Option<Instant>,
    lines: u32,
}

impl Limit {
    fn allows(&mut self, now: Instant) -> bool {
        if self.minute.is_none_or(|began| now.duration_since(began) >= MINUTE) {
            *self = Self { minute: Some(now), lines: 0 };
        }
        self.lines += 1;
        self.lines <= LINES_A_MINUTE
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const LINES_A_MINUTE: u32 = 10;
const LOG_TARGET: &str = "tower_otlp";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_limited_and_the_limit_passes() {
        let mut limit = Limit::default();
        let start = Instant::now();
        let allowed = (0..100).filter(|_| limit.allows(start)).count();
        assert_eq!(allowed, 10);
        assert!(!limit.allows(start + MINUTE - Duration::from_nanos(1)));
        assert!(limit.allows(start + MINUTE));
    }
}
