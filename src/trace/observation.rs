//! What is done for one request besides serving it.

use opentelemetry::{Context, ContextGuard};

use super::span::{ActiveSpan, End};

/// Moves with the request: from the service into the future, from there into the body.
#[derive(Debug, Default)]
pub(super) enum Observation {
    /// Nothing.
    #[default]
    Off,
    /// The trace goes on through this process, in this context, and nothing is recorded: not
    /// sampled, or over.
    Unrecorded(Context),
    Recorded(ActiveSpan),
}

impl Observation {
    /// Puts the context in force for as long as the guard lives. To be followed by
    /// [`leave`](Self::leave), unless the inner service panics in between.
    pub(super) fn enter(&mut self) -> Option<ContextGuard> {
        match self {
            Self::Off => None,
            Self::Unrecorded(context) => Some(context.clone().attach()),
            Self::Recorded(span) => Some(span.enter()),
        }
    }

    pub(super) fn leave(&mut self) {
        if let Self::Recorded(span) = self {
            span.leave();
        }
    }

    /// Ends the span, if there is one. What the service or its body do afterwards still belongs
    /// to the trace.
    pub(super) fn end(&mut self, end: End<'_>) {
        *self = match std::mem::take(self) {
            Self::Recorded(span) => Self::Unrecorded(span.end(end)),
            other => other,
        };
    }

    /// Drops `inner` in its context, where it may still write to its span.
    pub(super) fn drop_within(&mut self, drop_inner: impl FnOnce()) {
        // Still set when the last poll panicked, and then to be found by the end of the span.
        let panicked = matches!(self, Self::Recorded(span) if span.is_running());
        let entered = self.enter();
        drop_inner();
        drop(entered);
        if !panicked {
            self.leave();
        }
    }
}
