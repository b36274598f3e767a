//! What the operator reads: a line when something changes, and none for each span or batch.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::Stats;
use super::outcome::Outcome;

/// How exporting has been going, as far as it was said.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What was said of the exports last; `None` while all is well.
    trouble: Option<String>,
    /// Spans that found no room, up to the last look, and whether that was going on.
    shed: u64,
    shedding: bool,
    limit: Limit,
}

impl Report {
    /// Spans were exported, or not.
    pub(super) fn exported(&mut self, target: &str, spans: u64, outcome: &Outcome) {
        let trouble = match outcome {
            Outcome::Delivered { rejected: 0, message } if message.is_empty() => {
                if self.trouble.is_some() && self.limit.allows(Instant::now()) {
                    self.trouble = None;
                    say(|| tracing::info!(target: LOG_TARGET, "{target} takes spans again"));
                }
                return;
            }
            Outcome::Delivered { message, .. } => message,
            Outcome::Failed(failure) => &failure.reason,
        };
        // Another trouble is news, the same one is not. What is not said now for being too much
        // is still news later.
        if self.trouble.as_ref() == Some(trouble) || !self.limit.allows(Instant::now()) {
            return;
        }
        self.trouble = Some(trouble.clone());
        match outcome {
            Outcome::Delivered { rejected: 0, .. } => {
                warn(format_args!("{target} says: {trouble}"));
            }
            Outcome::Delivered { rejected, .. } => {
                warn(format_args!("{target} rejected {rejected} of {spans} spans: {trouble}"));
            }
            Outcome::Failed(_) => warn(format_args!(
                "cannot export to {target}: {trouble}; spans lost: {spans}, and further ones \
                 until this is over",
            )),
        }
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

/// A warning in the name of the crate.
pub(crate) fn warn(text: fmt::Arguments<'_>) {
    say(|| tracing::warn!(target: LOG_TARGET, "{text}"));
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
