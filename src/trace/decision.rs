//! What to do about a request: continue which trace, and record it or not.

use std::sync::Arc;

use http::Method;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanId, TraceContextExt};

use super::exchange::Exchange;
use super::layer::{Recording, Settings};
use super::observation::Observation;
use super::semconv::{Protocol, RequestHead};
use super::server_context::Serving;
use super::span::ActiveSpan;
use crate::context::{BaggageHeader, RANDOM, TraceContext, Traceparent, current, ids};
use crate::record::Remote;
use crate::sampling;

/// Decides what to do for a request. The decision comes first; nothing is built for a span that
/// is not recorded.
pub(super) fn observe(settings: &Arc<Settings>, request: &RequestHead<'_>) -> Observation {
    if is_otlp(request.method, request.uri.path()) || current::is_suppressed() {
        return Observation::Off;
    }
    traced(settings, request).measured(settings, request)
}

fn traced(settings: &Arc<Settings>, request: &RequestHead<'_>) -> Observation {
    let Recording::On(rate) = settings.recording else { return hand_through(request) };

    let parent = Parent::of(request);
    let says = match &parent {
        None => sampling::Parent::Absent,
        Some(parent) if parent.context.is_sampled() => sampling::Parent::Sampled,
        Some(_) => sampling::Parent::NotSampled,
    };
    let parent_id = parent.as_ref().map(|parent| (parent.context.span_id(), parent.remote));
    let inherited = parent.map_or_else(|| new_trace(request), |parent| parent.context);
    let mut own = inherited.traceparent();
    let sampled = sampling::records(says, rate, own.trace_id);
    own.span_id = ids::new_span_id();
    own.flags = (own.flags & RANDOM).with_sampled(sampled);
    let trace_context = inherited.with_traceparent(own);
    if sampled {
        let started = settings.intake.clock().ticks();
        let protocol = Protocol::of(request.method, request.headers);
        let context = Context::map_current(|current| trace_context.attach_to(current));
        let (span, context) = ActiveSpan::start(
            settings,
            (trace_context, context),
            parent_id,
            request,
            protocol,
            started,
        );
        let span = (Some(span), Some(context));
        Observation::Live(Exchange::new(settings, request, protocol, started, span))
    } else {
        Observation::Unrecorded(Serving::Unrecorded, unrecorded(&trace_context, Remote::No))
    }
}

/// The span that a request continues.
struct Parent {
    context: TraceContext,
    remote: Remote,
}

impl Parent {
    fn of(request: &RequestHead<'_>) -> Option<Self> {
        let current = Context::map_current(|current| {
            let is_remote = current.span().span_context().is_remote();
            let remote = if is_remote { Remote::Yes } else { Remote::No };
            TraceContext::of(current).map(|context| Self { context, remote })
        });
        match (current, TraceContext::from_headers(request.headers)) {
            (Some(current), None) => Some(current.or_baggage_of(request)),
            // Another layer has read the same headers already: this one is inside its span.
            (Some(current), Some(caller))
                if current.remote == Remote::No
                    && current.context.trace_id() == caller.trace_id() =>
            {
                Some(current.or_baggage_of(request))
            }
            (_, caller) => caller.map(|context| Self { context, remote: Remote::Yes }),
        }
    }

    /// With the request's baggage where there is none: what stands already, somebody has read
    /// before, and may have changed.
    fn or_baggage_of(self, request: &RequestHead<'_>) -> Self {
        if self.context.baggage().is_some() {
            return self;
        }
        let baggage = BaggageHeader::extract(request.headers);
        Self { context: self.context.with_baggage(baggage), ..self }
    }
}

/// A trace that starts here. Its span id is still to be drawn.
fn new_trace(request: &RequestHead<'_>) -> TraceContext {
    let traceparent =
        Traceparent { trace_id: ids::new_trace_id(), span_id: SpanId::INVALID, flags: RANDOM };
    TraceContext::new(traceparent, None, BaggageHeader::extract(request.headers))
}

/// With recording off, what came goes on as it came: the next service is told the caller's own
/// span as its parent, and the trace is not broken.
fn hand_through(request: &RequestHead<'_>) -> Observation {
    let context = match Parent::of(request) {
        Some(Parent { context, remote: Remote::Yes }) => Some(unrecorded(&context, Remote::Yes)),
        // A span of this process, perhaps of another layer, is not to be hidden.
        Some(Parent { context, remote: Remote::No }) => {
            Some(Context::map_current(|current| context.attach_to(current)))
        }
        None => BaggageHeader::extract(request.headers)
            .map(|baggage| Context::current_with_baggage(baggage.to_opentelemetry())),
    };
    context.map_or(Observation::Off, |context| Observation::Unrecorded(Serving::AsBefore, context))
}

/// The current context with a span that is not recorded.
pub(super) fn unrecorded(trace_context: &TraceContext, remote: Remote) -> Context {
    let span_context = trace_context.to_span_context(remote == Remote::Yes);
    Context::map_current(|current| trace_context.attach_to(current))
        .with_remote_span_context(span_context)
}

/// Whether a request brings spans. A receiver whose requests were traced would be sent the spans of
/// receiving spans, for ever, and so would an exporter that sends them through a traced client.
pub(super) fn is_otlp(method: &Method, path: &str) -> bool {
    let is_receiver = path == "/v1/traces"
        || path == "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    is_receiver && method == Method::POST
}
