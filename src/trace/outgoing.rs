//! What to do about a request that leaves: in which trace, recorded or not, and what it tells the
//! next service.

use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Request};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanId, TraceContextExt};

use super::decision::{is_otlp, unrecorded};
use super::exchange::Exchange;
use super::head::RequestHead;
use super::layer::{Recording, Role, Settings};
use super::observation::Observation;
use super::semconv::Protocol;
use super::server_context::Serving;
use super::span::{ActiveSpan, Place};
use crate::context::{
    BaggageHeader, RANDOM, TraceContext, Traceparent, current, ids, inject_baggage,
};
use crate::record::Remote;
use crate::sampling::hand_on;

/// How often a request was sent before: `http.request.resend_count` of its span.
///
/// What sends requests again puts it into the request's extensions; how, is shown
/// [here](crate::trace#retries). 0, as none at all, is the first attempt, and is not recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct ResendCount(pub u32);

/// Decides what to do for a request, and writes into its headers what the next service is to know.
pub(super) fn observe<B>(settings: &Arc<Settings>, request: &mut Request<B>) -> Observation {
    if !settings.hooks.admit(&RequestHead::outgoing(request)) {
        return Observation::Off;
    }
    // Out of the request while its other parts are read.
    let mut headers = std::mem::take(request.headers_mut());
    let (method, path) = (request.method(), request.uri().path());
    let outgoing = Outgoing::prepare(settings, method, path, request.extensions(), &mut headers);
    *request.headers_mut() = headers;
    match outgoing {
        Some(outgoing) => outgoing.start(settings, &RequestHead::outgoing(request)),
        None => Observation::Off,
    }
}

/// A request's place in its trace. Decided first: nothing is built for a span that is not recorded.
pub(super) enum Outgoing {
    /// None: nothing is recorded, and there is no trace to hand on.
    Alone,
    /// In this trace, in this context, and not recorded.
    Unrecorded(TraceContext, Context),
    /// A span is to be started in this context, as a child of the parent.
    Recorded(TraceContext, Context, Option<(SpanId, Remote)>),
}

impl Outgoing {
    /// Decides, and tells the next service. `None` where the request is not to be touched.
    pub(super) fn prepare(
        settings: &Settings,
        method: &Method,
        path: &str,
        extensions: &Extensions,
        headers: &mut HeaderMap,
    ) -> Option<Self> {
        if is_otlp(method, || path) || current::is_suppressed() {
            return None;
        }
        let with_baggage = matches!(settings.role, Role::Client { propagate_baggage: true });
        let outgoing = Self::decide(settings, extensions);
        match &outgoing {
            Self::Unrecorded(told, _) | Self::Recorded(told, ..) if with_baggage => {
                told.inject(headers);
            }
            Self::Unrecorded(told, _) | Self::Recorded(told, ..) => {
                told.inject_without_baggage(headers);
            }
            Self::Alone if with_baggage => inject_baggage(&Context::current(), headers),
            Self::Alone => {}
        }
        Some(outgoing)
    }

    fn decide(settings: &Settings, extensions: &Extensions) -> Self {
        let current = Context::current();
        let parent = Parent::of(&current, extensions);
        let Recording::On(sampler) = &settings.recording else {
            // What came goes on as it came: no span of ours stands in between.
            let Some(Parent { trace_context, remote, is_current }) = parent else {
                return Self::Alone;
            };
            let context = if is_current { current } else { unrecorded(&trace_context, remote) };
            return Self::Unrecorded(trace_context, context);
        };
        let parent_id =
            parent.as_ref().map(|parent| (parent.trace_context.span_id(), parent.remote));
        let is_current = parent.as_ref().is_some_and(|parent| parent.is_current);
        let (inherited, sampled, tracestate) = match parent {
            None => {
                let inherited = new_trace(&current);
                // Rules are about requests that come in.
                let tracestate = sampler.records(|| None, inherited.trace_id());
                (inherited, tracestate.is_some(), tracestate)
            }
            Some(Parent { trace_context, .. }) => {
                let sampled = trace_context.is_sampled();
                let tracestate = trace_context.tracestate_header();
                let tracestate = hand_on(tracestate, trace_context.trace_id(), sampled);
                (trace_context, sampled, tracestate)
            }
        };
        let mut own = inherited.traceparent();
        own.span_id = ids::new_span_id();
        own.flags = (own.flags & RANDOM).with_sampled(sampled);
        let trace_context = inherited.with_traceparent(own).with_tracestate(tracestate);

        let context = match (is_current, sampled) {
            // It holds the text that came already, and says already that nothing is recorded.
            (true, _) => current,
            (false, true) => trace_context.attach_to(&current),
            (false, false) => unrecorded(&trace_context, Remote::No),
        };
        if sampled {
            Self::Recorded(trace_context, context, parent_id)
        } else {
            Self::Unrecorded(trace_context, context)
        }
    }

    /// Whether [`start`](Self::start) looks at the request.
    #[cfg(feature = "reqwest")]
    pub(super) fn wants_head(&self, settings: &Settings) -> bool {
        matches!(self, Self::Recorded(..)) || settings.metrics.are_measured()
    }

    /// Starts the span and the measurements, if there are to be any.
    pub(super) fn start(self, settings: &Arc<Settings>, request: &RequestHead<'_>) -> Observation {
        let observation = match self {
            Self::Alone => Observation::Off,
            Self::Unrecorded(..) if !settings.open_telemetry_context => Observation::Off,
            Self::Unrecorded(_, context) => Observation::Unrecorded(Serving::AsBefore, context),
            Self::Recorded(trace_context, context, parent) => {
                let started = settings.intake.clock().ticks();
                let protocol = Protocol::of(request.method, request.headers);
                let context = settings.open_telemetry_context.then_some(context);
                let place = Place { trace_context, context, parent, link: None };
                let (span, context) =
                    ActiveSpan::start(settings, place, request, protocol, started);
                let span = (Some(span), context);
                let exchange = Exchange::new(settings, request, protocol, started, span);
                Observation::Live(Box::new(exchange))
            }
        };
        observation.measured(settings, request)
    }
}

/// The span that a request is made in.
struct Parent {
    trace_context: TraceContext,
    remote: Remote,
    /// Whether it is the active span of the current context.
    is_current: bool,
}

impl Parent {
    /// The active span, and without one what the request's extensions say: they go with a request
    /// into tasks that the context does not follow to.
    fn of(current: &Context, extensions: &Extensions) -> Option<Self> {
        if let Some(trace_context) = TraceContext::of(current) {
            let is_remote = current.span().span_context().is_remote();
            let remote = if is_remote { Remote::Yes } else { Remote::No };
            return Some(Self { trace_context, remote, is_current: true });
        }
        let mut trace_context = extensions.get::<TraceContext>()?.clone();
        // What came with the parent goes before what the context has.
        if trace_context.baggage().is_none() {
            let baggage = BaggageHeader::from_opentelemetry(current.baggage());
            trace_context = trace_context.with_baggage(baggage);
        }
        Some(Self { trace_context, remote: Remote::No, is_current: false })
    }
}

/// A trace that starts here. Its span id is still to be drawn.
fn new_trace(current: &Context) -> TraceContext {
    let traceparent =
        Traceparent { trace_id: ids::new_trace_id(), span_id: SpanId::INVALID, flags: RANDOM };
    TraceContext::new(traceparent, None, BaggageHeader::from_opentelemetry(current.baggage()))
}
