//! [`W3cPropagator`]: the headers, for whoever asks OpenTelemetry for them.

use std::sync::LazyLock;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};

use crate::context::{BaggageHeader, TraceContext};

/// `traceparent`, `tracestate` and `baggage` by the rules of [`context`](crate::context), as an
/// OpenTelemetry propagator: strict [Level 2](https://www.w3.org/TR/trace-context-2/), with the
/// random flag and a tracestate that OpenTelemetry's own type cannot hold.
///
/// It does the work of `TraceContextPropagator` and `BaggagePropagator` of the SDK, and replaces
/// both. [`TracingService::install_global`](crate::TracingService::install_global) makes it the
/// global one.
///
/// # What is read
///
/// A single well-formed `traceparent` becomes the current span, remote, with its tracestate and
/// its baggage. Baggage without one is read alone. Where nothing valid came the context is
/// returned as it was, with the span that is in it.
///
/// Headers that were sent twice are seen if the carrier tells of them: `HeaderExtractor` of
/// `opentelemetry-http` does, a `HashMap` cannot. What a carrier hides cannot be judged:
/// `HeaderExtractor` passes over values that are not ASCII, so a second `traceparent` of that
/// kind goes unseen.
///
/// # What is written
///
/// `tracestate` and `baggage` only if there are any, never empty. A carrier cannot be told to
/// remove a header, so one that is used again should be cleared first.
///
/// # Example: a message queue
///
/// ```
/// use std::collections::HashMap;
///
/// use opentelemetry::Context;
/// use opentelemetry::propagation::TextMapPropagator;
/// use opentelemetry::trace::TraceContextExt;
/// use tower_otlp::W3cPropagator;
///
/// let message = HashMap::from([(
///     "traceparent".to_owned(),
///     "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03".to_owned(),
/// )]);
/// let context = W3cPropagator::new().extract(&message);
/// assert_eq!(context.span().span_context().trace_flags().to_u8(), 3);
///
/// let mut sent = HashMap::new();
/// W3cPropagator::new().inject_context(&context, &mut sent);
/// assert_eq!(sent, message);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct W3cPropagator;

impl W3cPropagator {
    /// The propagator; it has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl TextMapPropagator for W3cPropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let Some(context) = TraceContext::of(cx) else {
            if let Some(baggage) = BaggageHeader::from_opentelemetry(cx.baggage()) {
                injector.set(BAGGAGE, baggage.as_str().to_owned());
            }
            return;
        };
        let traceparent = context.traceparent().encode();
        injector.set(TRACEPARENT, traceparent.iter().copied().map(char::from).collect());
        if let Some(tracestate) = context.tracestate() {
            injector.set(TRACESTATE, tracestate.to_owned());
        }
        if let Some(baggage) = context.baggage() {
            injector.set(BAGGAGE, baggage.to_owned());
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let headers = headers(extractor);
        if let Some(remote) = TraceContext::from_headers(&headers) {
            return remote.remote_in(cx);
        }
        match BaggageHeader::extract(&headers) {
            Some(baggage) => cx.with_baggage(baggage.to_opentelemetry()),
            None => cx.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<[String; 3]> =
            LazyLock::new(|| [TRACEPARENT, TRACESTATE, BAGGAGE].map(str::to_owned));
        FieldIter::new(&*FIELDS)
    }
}

/// What the carrier has under our names, for the parsers that the layers use.
fn headers(extractor: &dyn Extractor) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [TRACEPARENT, TRACESTATE, BAGGAGE] {
        for value in extractor.get_all(name).unwrap_or_default() {
            // No carrier of HTTP has a value with control characters. It is malformed, and has to
            // count: there may be another `traceparent` beside it.
            let value = value.parse().unwrap_or(HeaderValue::from_static(MALFORMED));
            // Full only of what is beyond every limit already.
            let _ = headers.try_append(HeaderName::from_static(name), value);
        }
    }
    headers
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const BAGGAGE: &str = "baggage";
/// A value that none of the three can have.
const MALFORMED: &str = "=";

#[cfg(test)]
mod tests;
