//! What an operator reads: the lines that the exporter logs.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

/// The lines about one URL from now on: a port, and with it a URL, may have been another test's
/// before.
pub(crate) struct Log {
    url: String,
    start: usize,
}

impl Log {
    pub(crate) fn about(url: &str) -> Self {
        // The exporter logs on its own thread, so nothing less than the process will do.
        static COLLECT: Once = Once::new();
        COLLECT.call_once(|| {
            tracing::subscriber::set_global_default(Lines)
                .expect("no other test of this binary has set a global subscriber");
        });
        Self { url: url.to_owned(), start: lines().len() }
    }

    /// What anything has logged since, whatever it is about.
    pub(super) fn all_lines(&self) -> Vec<String> {
        lines()[self.start..].to_vec()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        lines()[self.start..].iter().filter(|line| line.contains(&self.url)).cloned().collect()
    }
}

fn lines() -> MutexGuard<'static, Vec<String>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tower_otlp"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        lines().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, " {value:?}");
        }
    }
}
