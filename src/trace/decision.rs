//! What to do about a request: continue which trace, and record it or not.

use std::sync::Arc;

use ::http::{Method, Request};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceId, TraceState};

use super::exchange::Exchange;
use super::head::RequestHead;
use super::layer::{Recording, Settings};
use super::observation::Observation;
use super::semconv::{Protocol, http};
use super::server_context::Serving;
use super::span::{ActiveSpan, Place};
use super::trust::Trust;
use crate::context::{BaggageHeader, RANDOM, Sent, TraceContext, Traceparent, current, ids};
use crate::record::Remote;
use crate::sampling::{self, Asked, RemoteParent, Sampler};

/// Decides what to do for a request, which is told its place where no context is to say it.
pub(super) fn observe<B>(
    settings: &Arc<Settings>,
    trust: &Trust,
    request: &mut Request<B>,
) -> Observation {
    let mut told = None;
    let observation = decide(settings, trust, &RequestHead::incoming(request), &mut told);
    if let Some(trace_context) = told {
        request.extensions_mut().insert(trace_context);
    }
    observation
}

/// The decision comes first; nothing is built for a span that is not recorded. `told` is what the
/// request is to say itself.
fn decide(
    settings: &Arc<Settings>,
    trust: &Trust,
    request: &RequestHead<'_>,
    told: &mut Option<TraceContext>,
) -> Observation {
    if is_otlp(request.method, || request.uri().path()) || !current::is_reachable() {
        return Observation::Off;
    }
    let mut is_suppressed = false;
    let current = Context::map_current(|current| {
        is_suppressed = current.is_telemetry_suppressed();
        Parent::of(current)
    });
    if is_suppressed || !settings.hooks.admit(request) {
        return Observation::Off;
    }
    let caller = Caller::of(request, trust.in_caller(request), current);
    let observation = match &settings.recording {
        Recording::On(sampler) => traced(settings, sampler, trust, request, caller, told),
        Recording::Off if settings.open_telemetry_context => hand_through(caller),
        Recording::Off => {
            if let Caller::Parent(Parent { context, remote: Remote::Yes }) = caller {
                *told = Some(context);
            }
            Observation::Off
        }
    };
    observation.measured(settings, request)
}

fn traced(
    settings: &Arc<Settings>,
    sampler: &Sampler,
    trust: &Trust,
    request: &RequestHead<'_>,
    caller: Caller,
    told: &mut Option<TraceContext>,
) -> Observation {
    let mut started = None;
    let mut now = || *started.get_or_insert_with(|| settings.intake.clock().ticks());

    let (trace_context, parent, link) = match caller {
        Caller::Parent(Parent { context, remote }) => {
            let mut sampled = context.is_sampled();
            if sampled && remote == Remote::Yes && !trust.allows(&mut now) {
                settings.intake.refuse_forced();
                sampled = false;
            }
            let parent = (context.span_id(), remote);
            let trace_id = context.trace_id();
            let tracestate = sampling::hand_on(context.tracestate_header(), trace_id, sampled);
            let own = own(trace_id, context.trace_flags() & RANDOM, sampled);
            (context.with_traceparent(own).with_tracestate(tracestate), Some(parent), None)
        }
        Caller::Nobody(baggage) => (new_trace(sampler, request, baggage), None, None),
        Caller::Stranger(context) => (new_trace(sampler, request, None), None, Some(context)),
    };
    let has_context = settings.open_telemetry_context;
    if !has_context {
        *told = Some(trace_context.clone());
    }
    if !trace_context.is_sampled() {
        if !has_context {
            return Observation::Off;
        }
        let context = unrecorded(&trace_context, Remote::No);
        return Observation::Unrecorded(Serving::Unrecorded, context);
    }
    let started = now();
    let protocol = Protocol::of(request.method, request.headers);
    let context =
        has_context.then(|| Context::map_current(|current| trace_context.attach_to(current)));
    let link = link.as_ref().map(to_link);
    let place = Place { trace_context, context, parent, link };
    let (span, context) = ActiveSpan::start(settings, place, request, protocol, started);
    let span = (Some(span), context);
    Observation::Live(Box::new(Exchange::new(settings, request, protocol, started, span)))
}

fn new_trace(
    sampler: &Sampler,
    request: &RequestHead<'_>,
    baggage: Option<BaggageHeader>,
) -> TraceContext {
    let (trace_id, span_id) = ids::new_root();
    let tracestate = sampler.records(|| Some(asked(request)), trace_id);
    let flags = RANDOM.with_sampled(tracestate.is_some());
    let own = Traceparent { trace_id, span_id, flags };
    TraceContext::new(own, tracestate, baggage)
}

/// What rules of sampling ask of a request.
fn asked<'a>(request: &RequestHead<'a>) -> Asked<'a> {
    Asked {
        method: request.method.as_str(),
        path: request.uri().path(),
        route: http::route(request),
        is_grpc: Protocol::of(request.method, request.headers) == Protocol::Grpc,
    }
}

/// What a request brings, as far as it is believed.
enum Caller {
    /// It continues this span.
    Parent(Parent),
    /// It continues none, and has at most baggage.
    Nobody(Option<BaggageHeader>),
    /// It would continue this span if its caller were trusted.
    Stranger(TraceContext),
}

struct Parent {
    context: TraceContext,
    remote: Remote,
}

impl Caller {
    fn of(request: &RequestHead<'_>, trust: RemoteParent, current: Option<Parent>) -> Self {
        match (trust, current) {
            (RemoteParent::Trust, current) => Self::trusted(request, current),
            // Whatever this process is doing already, it has decided to.
            (_, Some(current)) if current.remote == Remote::No => Self::Parent(current),
            (RemoteParent::Ignore, _) => Self::Nobody(None),
            (RemoteParent::Link, current) => {
                let claimed = TraceContext::from_headers(request.headers);
                let claimed = claimed.or_else(|| current.map(|current| current.context));
                claimed.map_or(Self::Nobody(None), Self::Stranger)
            }
        }
    }

    fn trusted(request: &RequestHead<'_>, current: Option<Parent>) -> Self {
        let sent = Sent::by(request.headers);
        match (current, sent.context()) {
            (Some(current), None) => Self::Parent(current.or_baggage_of(request)),
            // Another layer has read the same headers already: this one is inside its span.
            (Some(current), Some(caller))
                if current.remote == Remote::No
                    && current.context.trace_id() == caller.trace_id() =>
            {
                Self::Parent(current.or_baggage_of(request))
            }
            (_, Some(context)) => Self::Parent(Parent { context, remote: Remote::Yes }),
            (None, None) => Self::Nobody(sent.baggage()),
        }
    }
}

impl Parent {
    /// The active span.
    fn of(current: &Context) -> Option<Self> {
        // Asked first: where there is none, as in most requests, that is all to be known.
        if !current.has_active_span() {
            return None;
        }
        let is_remote = current.span().span_context().is_remote();
        let remote = if is_remote { Remote::Yes } else { Remote::No };
        TraceContext::of(current).map(|context| Self { context, remote })
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

/// A span as others are linked to it: without its tracestate, which is the caller's to say.
fn to_link(context: &TraceContext) -> SpanContext {
    let (trace_id, span_id) = (context.trace_id(), context.span_id());
    SpanContext::new(trace_id, span_id, context.trace_flags(), true, TraceState::NONE)
}

/// A new span of this trace.
fn own(trace_id: TraceId, random: TraceFlags, sampled: bool) -> Traceparent {
    Traceparent { trace_id, span_id: ids::new_span_id(), flags: random.with_sampled(sampled) }
}

/// With recording off, what came goes on as it came: the next service is told the caller's own
/// span as its parent, and the trace is not broken.
fn hand_through(caller: Caller) -> Observation {
    let context = match caller {
        Caller::Parent(Parent { context, remote: Remote::Yes }) => {
            unrecorded(&context, Remote::Yes)
        }
        // A span of this process, perhaps of another layer, is not to be hidden.
        Caller::Parent(Parent { context, remote: Remote::No }) => {
            Context::map_current(|current| context.attach_to(current))
        }
        Caller::Nobody(Some(baggage)) => Context::current_with_baggage(baggage.to_opentelemetry()),
        Caller::Nobody(None) | Caller::Stranger(_) => return Observation::Off,
    };
    Observation::Unrecorded(Serving::AsBefore, context)
}

/// The current context with a span that is not recorded.
pub(super) fn unrecorded(trace_context: &TraceContext, remote: Remote) -> Context {
    let is_remote = remote == Remote::Yes;
    Context::map_current(|current| trace_context.unrecorded_in(current, is_remote))
}

/// Whether a request brings spans. A receiver whose requests were traced would be sent the spans of
/// receiving spans, for ever, and so would an exporter that sends them through a traced client.
pub(super) fn is_otlp<'a>(method: &Method, path: impl FnOnce() -> &'a str) -> bool {
    let is_of_spans = |path| {
        path == "/v1/traces"
            || path == "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    };
    method == Method::POST && is_of_spans(path())
}
