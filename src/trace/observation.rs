//! What is done for one request besides serving it.

use std::fmt;

use opentelemetry::Context;

use super::cause::Cause;
use super::exchange::{End, Exchange};
use super::layer::Side;
use super::server_span::{self, Entered, Serving};

/// Moves with the request: from the service into the future, from there into the body.
#[derive(Debug, Default)]
pub(super) enum Observation {
    /// Nothing.
    #[default]
    Off,
    /// The trace goes on through this process, in this context, and nothing is to be ended: not
    /// sampled, or over.
    Unrecorded(Side, Context),
    /// Something is to be ended when the response has.
    Live(Exchange),
}

impl Observation {
    /// Puts the context in force for as long as the guard lives. To be followed by
    /// [`leave`](Self::leave), unless the inner service panics in between.
    pub(super) fn enter(&mut self) -> Option<Entered> {
        match self {
            Self::Off => None,
            Self::Unrecorded(Side::Server, context) => {
                Some(server_span::enter(context, Serving::Unrecorded))
            }
            Self::Unrecorded(Side::Client, context) => {
                Some(server_span::enter(context, Serving::AsBefore))
            }
            Self::Live(exchange) => Some(exchange.enter()),
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
            Self::Live(exchange) => Self::Unrecorded(exchange.side(), exchange.end(end)),
            other => other,
        };
    }

    /// Ends the exchange in an error of the inner service or its body.
    pub(super) fn fail<E: fmt::Display + 'static>(&mut self, error: &E) {
        if let Self::Live(exchange) = self {
            let cause = Cause::of(error, exchange.errors());
            self.end(End::Error(cause));
        }
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
