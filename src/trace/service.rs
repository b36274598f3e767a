//! [`Trace`]: decides about each request, and starts its span.

use std::fmt;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Method, Request, Response};
use http_body::Body;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanId, TraceContextExt};
use tower_service::Service;

use super::body::ResponseBody;
use super::future::ResponseFuture;
use super::layer::{Recording, Settings};
use super::observation::Observation;
use super::semconv::RequestHead;
use super::span::ActiveSpan;
use crate::context::{BaggageHeader, RANDOM, TraceContext, Traceparent, ids};
use crate::record::Remote;
use crate::sampling::{self, Parent};

/// A service that records a span for each request. Made by [`TraceLayer`](super::TraceLayer).
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Trace<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the wrapped service back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Trace<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: fmt::Display,
    ResBody: Body,
    ResBody::Error: fmt::Display,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let mut observation = observe(&self.settings, &RequestHead::of(&request));
        let entered = observation.enter();
        let inner = self.inner.call(request);
        drop(entered);
        observation.leave();
        ResponseFuture::new(inner, observation)
    }
}

#[cfg(feature = "tonic")]
impl<S: tonic::server::NamedService> tonic::server::NamedService for Trace<S> {
    const NAME: &'static str = S::NAME;
}

/// Decides what to do for a request. The decision comes first; nothing is built for a span that
/// is not recorded.
fn observe(settings: &Arc<Settings>, request: &RequestHead<'_>) -> Observation {
    if is_otlp(request) || Context::is_current_telemetry_suppressed() {
        return Observation::Off;
    }
    let remote = TraceContext::from_headers(request.headers);
    let Recording::On(rate) = settings.recording else {
        return hand_through(remote.as_ref(), request);
    };

    // A layer inside another span of this process continues that one, unless the request says
    // otherwise.
    let is_remote = if remote.is_some() { Remote::Yes } else { Remote::No };
    let parent = remote.or_else(TraceContext::current);
    let verdict = match &parent {
        None => Parent::Absent,
        Some(parent) if parent.is_sampled() => Parent::Sampled,
        Some(_) => Parent::NotSampled,
    };
    let parent_id = parent.as_ref().map(|parent| (parent.span_id(), is_remote));
    let (mut own, inherited) = match parent {
        Some(parent) => (parent.traceparent(), parent),
        None => {
            let own = Traceparent {
                trace_id: ids::new_trace_id(),
                span_id: SpanId::INVALID,
                flags: RANDOM,
            };
            (own, TraceContext::new(own, None, BaggageHeader::extract(request.headers)))
        }
    };
    let sampled = sampling::records(verdict, rate, own.trace_id);
    own.span_id = ids::new_span_id();
    own.flags = (own.flags & RANDOM).with_sampled(sampled);
    let trace_context = inherited.with_traceparent(own);
    if !sampled {
        return Observation::Unsampled(context(&trace_context, Remote::No));
    }

    Observation::Sampled(ActiveSpan::start(settings, trace_context, parent_id, request))
}

/// With recording off, what came goes on as it came: the next service is told the caller's own
/// span as its parent, and the trace is not broken.
fn hand_through(remote: Option<&TraceContext>, request: &RequestHead<'_>) -> Observation {
    let context = match remote {
        Some(remote) => Some(context(remote, Remote::Yes)),
        None => BaggageHeader::extract(request.headers)
            .map(|baggage| Context::current_with_baggage(baggage.to_opentelemetry())),
    };
    context.map_or(Observation::Off, Observation::Unsampled)
}

/// The current context with a span that is not recorded.
fn context(trace_context: &TraceContext, remote: Remote) -> Context {
    let span_context = trace_context.to_span_context(remote == Remote::Yes);
    Context::map_current(|current| trace_context.attach_to(current))
        .with_remote_span_context(span_context)
}

/// Whether the request brings spans. A receiver whose requests were traced would be sent the
/// spans of receiving spans, for ever.
fn is_otlp(request: &RequestHead<'_>) -> bool {
    let path = request.uri.path();
    let is_receiver = path == "/v1/traces"
        || path == "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    is_receiver && request.method == Method::POST
}
