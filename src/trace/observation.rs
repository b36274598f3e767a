//! What is done for one request besides serving it.

use opentelemetry::Context;

use super::exchange::{End, Exchange};
use super::server_span::{self, Entered};

/// Moves with the request: from the service into the future, from there into the body.
#[derive(Debug, Default)]
pub(super) enum Observation {
    /// Nothing.
    #[default]
    Off,
    /// The trace goes on through this process, in this context, and nothing is to be ended: not
    /// sampled, or over.
    Unrecorded(Context),
    /// Something is to be ended when the response has.
    Live(Exchange),
}

impl Observation {
    /// Puts the context in force for as long as the guard lives. To be followed by
    /// [`leave`](Self::leave), unless the inner service panics in between.
    pub(super) fn enter(&mut self) -> Option<Entered> {
        match self {
            Self::Off => None,
            Self::Unrecorded(context) => Some(server_span::enter(context, None)),
            Self::Live(exchange) => exchange.enter(),
        }
    }

    pub(super) fn leave(&mut self) {
        if let Self::Live(exchange) = self {
            exchange.leave();
        }
    }

    /// Ends the exchange, if there is one. What the service or its body do afterwards still
    /// belongs to the trace.
    pub(super) fn end(&mut self, end: End<'_>) {
        *self = match std::mem::take(self) {
            Self::Live(exchange) => exchange.end(end).map_or(Self::Off, Self::Unrecorded),
            other => other,
        };
    }

    /// Drops `inner` in its context, where it may still write to its span.
    pub(super) fn drop_within(&mut self, drop_inner: impl FnOnce()) {
        // Still set when the last poll panicked, and then to be found by the end of the exchange.
        let panicked = matches!(self, Self::Live(exchange) if exchange.is_running());
        let entered = self.enter();
        drop_inner();
        drop(entered);
        if !panicked {
            self.leave();
        }
    }
}
