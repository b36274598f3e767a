//! How a [`TraceContext`] travels inside the process: in the OpenTelemetry `Context`, as far as
//! that can hold it, and beside that as it came.

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};

use super::{BaggageHeader, RANDOM, TraceContext, TraceStateHeader, Traceparent, current};

/// The context of a server span, kept in the OpenTelemetry `Context` for the text in it.
///
/// It outlives changes to what it describes (new spans, another baggage), so whoever reads it
/// compares first.
#[derive(Debug)]
struct Carried(TraceContext);

impl TraceContext {
    /// What the current OpenTelemetry `Context` would send on: the active span, its tracestate,
    /// and the baggage. `None` without an active span that has valid ids.
    ///
    /// Inside a request that our layer serves, a tracestate and baggage that nobody changed read
    /// as they came. Baggage set by the application is sent percent-encoded, in the order of its
    /// keys.
    #[must_use]
    pub fn current() -> Option<Self> {
        if !current::is_reachable() {
            return None;
        }
        Context::map_current(Self::of)
    }

    /// [`current`](Self::current), for any `Context`.
    pub(crate) fn of(cx: &Context) -> Option<Self> {
        let span = cx.span();
        let span = span.span_context();
        if !span.is_valid() {
            return None;
        }
        let came = cx.get::<Carried>().map(|carried| &carried.0);
        let same_trace = came.filter(|came| came.trace_id() == span.trace_id());

        // Randomness is a property of the trace id, so it holds for every span of the trace,
        // also for the SDK's unsampled ones, whose flags are zero.
        let random = same_trace.map_or_else(|| span.trace_flags(), Self::trace_flags) & RANDOM;
        let flags = span.trace_flags() & TraceFlags::SAMPLED | random;

        let tracestate = same_trace
            .and_then(|came| came.tracestate.clone())
            .filter(|came| came.is_still(span.trace_state()))
            .or_else(|| TraceStateHeader::from_opentelemetry(span.trace_state()));
        let baggage = came
            .and_then(|came| came.baggage.clone())
            .filter(|came| came.is_still(cx.baggage()))
            .or_else(|| BaggageHeader::from_opentelemetry(cx.baggage()));

        let traceparent = Traceparent { trace_id: span.trace_id(), span_id: span.span_id(), flags };
        Some(Self::new(traceparent, tracestate, baggage))
    }

    /// The current OpenTelemetry `Context` with this span as the active one, a remote parent, and
    /// with its tracestate and baggage: what is started in it becomes a child of this span, and
    /// what is sent from it goes on in this trace.
    ///
    /// Needed where no layer does so: behind a `TraceInterceptor`, or with a carrier that is none
    /// of HTTP.
    ///
    /// # Example: a caller's child
    ///
    /// ```
    /// use opentelemetry::trace::{Tracer, TracerProvider};
    /// use tower_otlp::TraceContext;
    ///
    /// fn handle(caller: &TraceContext, provider: &impl TracerProvider) {
    ///     let parent = caller.to_opentelemetry();
    ///     let span = provider.tracer("shop").start_with_context("handle", &parent);
    /// }
    /// ```
    #[must_use]
    pub fn to_opentelemetry(&self) -> Context {
        Context::map_current(|current| self.remote_in(current))
    }

    /// [`to_opentelemetry`](Self::to_opentelemetry), for any `Context`.
    pub(crate) fn remote_in(&self, cx: &Context) -> Context {
        self.unrecorded_in(cx, true)
    }

    /// `cx` with this span as the active one, of which nothing is recorded here.
    pub(crate) fn unrecorded_in(&self, cx: &Context, is_remote: bool) -> Context {
        let span = self.to_span_context(is_remote);
        match self.with_text(cx) {
            Some(cx) => cx.with_remote_span_context(span),
            None => cx.with_remote_span_context(span),
        }
    }

    /// `cx` with the baggage and the received text of this context; the span in it stays.
    ///
    /// With neither tracestate nor baggage there is nothing to keep (the threshold of a trace that
    /// starts here is no text that came, and OpenTelemetry's type holds it), and `cx` is returned as it
    /// is, unless it has the text of an earlier one, which would be taken for this one's: the
    /// random flag alone is not worth the allocations.
    #[must_use]
    pub(crate) fn attach_to(&self, cx: &Context) -> Context {
        self.with_text(cx).unwrap_or_else(|| cx.clone())
    }

    /// The same, `None` where it would be `cx` as it is.
    fn with_text(&self, cx: &Context) -> Option<Context> {
        let has_text = self.baggage.is_some()
            || self.tracestate.as_ref().is_some_and(|text| text.threshold_alone().is_none());
        if !has_text && cx.get::<Carried>().is_none() {
            return None;
        }
        let carried = Carried(self.clone());
        Some(match &self.baggage {
            Some(baggage) => cx.with_baggage(baggage.to_opentelemetry()).with_value(carried),
            None => cx.with_value(carried),
        })
    }

    /// The same ids and flags for OpenTelemetry, with the tracestate if its type takes it.
    pub(crate) fn to_span_context(&self, remote: bool) -> SpanContext {
        let tracestate =
            self.tracestate.as_ref().map_or(TraceState::NONE, TraceStateHeader::to_opentelemetry);
        SpanContext::new(self.trace_id(), self.span_id(), self.trace_flags(), remote, tracestate)
    }
}

#[cfg(test)]
mod tests;
