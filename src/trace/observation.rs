//! What is done for one request besides serving it.

use std::fmt;
use std::sync::Arc;

use opentelemetry::Context;

use super::cause::Cause;
use super::exchange::{End, Exchange};
use super::layer::Settings;
use super::metrics::Measured;
use super::semconv::{Protocol, RequestHead};
use super::server_context::{self, Entered, Serving};

/// Moves with the request: from the service into the future, from there into the body.
#[derive(Default)]
pub(super) enum Observation {
    /// Nothing.
    #[default]
    Off,
    /// The trace goes on through this process, in this context, and nothing is to be ended: not
    /// sampled, not for us to record, or over.
    Unrecorded(Serving, Context),
    /// Something is to be ended when the response has. Boxed: it would be moved, with the futures and
    /// bodies around it, more often than it is worth, and most requests have none.
    Live(Box<Exchange>),
}

impl Observation {
    /// Adds the measurements, if there are any. For them also a request that is not recorded is
    /// watched to its end.
    pub(super) fn measured(self, settings: &Arc<Settings>, request: &RequestHead<'_>) -> Self {
        let Some(measured) = Measured::start(settings, request) else { return self };
        let unrecorded = |context| {
            let started = settings.intake.clock().ticks();
            let protocol = Protocol::of(request.method, request.headers);
            Exchange::new(settings, request, protocol, started, (None, context))
        };
        let mut exchange = match self {
            Self::Off => Box::new(unrecorded(None)),
            Self::Unrecorded(_, context) => Box::new(unrecorded(Some(context))),
            Self::Live(exchange) => exchange,
        };
        exchange.measure(measured);
        Self::Live(exchange)
    }

    /// Puts the context in force for as long as the guard lives. To be followed by
    /// [`leave`](Self::leave), unless the inner service panics in between.
    pub(super) fn enter(&mut self) -> Option<Entered> {
        match self {
            Self::Off => None,
            Self::Unrecorded(serving, context) => Some(server_context::enter(context, *serving)),
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
            Self::Live(mut exchange) => {
                let serving = exchange.serving_unrecorded();
                exchange.end(end).map_or(Self::Off, |context| Self::Unrecorded(serving, context))
            }
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

impl fmt::Debug for Observation {
    /// Without the context, which has what the caller sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Unrecorded(serving, _) => f.debug_tuple("Unrecorded").field(serving).finish(),
            Self::Live(exchange) => f.debug_tuple("Live").field(exchange).finish(),
        }
    }
}
