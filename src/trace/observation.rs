//! What is done for one request besides serving it.

use opentelemetry::{Context, ContextGuard};

use super::span::{ActiveSpan, End};

/// Moves with the request: from the service into the future, from there into the body.
#[derive(Debug, Default)]
pub(super) enum Observation {
    /// Nothing.
    #[default]
    Off,
    /// The trace goes on through this process, in this context, and is not recorded here.
    Unsampled(Context),
    Sampled(ActiveSpan),
}

impl Observation {
    /// Puts the context in force for as long as the guard lives. To be followed by
    /// [`leave`](Self::leave), unless the inner service panics in between.
    pub(super) fn enter(&mut self) -> Option<ContextGuard> {
        match self {
            Self::Off => None,
            Self::Unsampled(context) => Some(context.clone().attach()),
            Self::Sampled(span) => span.enter(),
        }
    }

    pub(super) fn leave(&mut self) {
        if let Self::Sampled(span) = self {
            span.leave();
        }
    }

    /// Ends the span, if there is one.
    pub(super) fn end(&mut self, end: End<'_>) {
        if let Self::Sampled(span) = std::mem::take(self) {
            span.end(end);
        }
    }
}
