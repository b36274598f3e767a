//! The live span of one request: who may write to it, and how it ends.
//!
//! One [`ActiveSpan`] is made when the request arrives, moves from the service into the future
//! and from there into the body, and ends the span: by [`ActiveSpan::end`], or by being dropped.
//! What stands in the OpenTelemetry `Context` meanwhile is a [`Handle`]: it writes into the same
//! buffer, cannot end the span, and does nothing once the span has ended.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body;
use opentelemetry::trace::{Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};

use super::layer::Settings;
use super::pool;
use super::semconv::{self, Protocol, RequestHead, Verdict};
use crate::context::TraceContext;
use crate::grpc_status::GrpcStatus;
use crate::record::clock::unix_nanos;
use crate::record::{Remote, SpanBuffer, SpanHead};

/// The ways in which a request can end.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// The response was passed on whole.
    Complete,
    /// The same, and it ended with these trailers, or with gRPC's in its head.
    Trailers(&'a HeaderMap),
    /// The service, or the response body, ended in an error.
    Error(&'a dyn fmt::Display),
    /// The future or the body was dropped before its end.
    Cancelled,
    /// The future or the body was dropped because it panicked.
    Panicked,
}

/// The only owner of a span's end.
#[derive(Debug)]
pub(super) struct ActiveSpan {
    settings: Arc<Settings>,
    /// Absent once the span has ended.
    shared: Option<Arc<Shared>>,
    /// Given up before the span ends, so that the buffer can be reused.
    context: Option<Context>,
    /// Reading of the pipeline's clock.
    started: u64,
    protocol: Protocol,
    method: Method,
    status: Option<StatusCode>,
    /// Whether the inner service is running right now. Found true by `drop`, it panicked:
    /// `std::thread::panicking` cannot tell, because a panic may have been caught in between, or
    /// be someone else's.
    running: bool,
}

/// What is still to come when the head of a response has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing: the response is complete.
    Nothing,
    /// Nothing: gRPC's status stands in the head.
    InHead,
    /// A body, and if known its length. A server drops a body of known length when it has all of
    /// it, without asking for the end.
    Body { length: Option<u64> },
}

/// The request methods that change where a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Head,
    Connect,
    Other,
}

/// A span as everyone who writes to it shares it.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Draft>);

#[derive(Debug, Default)]
struct Draft {
    buffer: SpanBuffer,
    /// Only while the span lives: it may hold on to the connection's read buffer.
    trace_context: Option<TraceContext>,
    ended: bool,
    /// Whether attributes came through a [`Handle`]: then a key may be there already.
    touched: bool,
}

impl ActiveSpan {
    /// Starts the span of a request. `trace_context` holds the span's own ids.
    pub(super) fn start(
        settings: &Arc<Settings>,
        trace_context: TraceContext,
        parent: Option<(SpanId, Remote)>,
        request: &RequestHead<'_>,
    ) -> Self {
        let clock = settings.intake.clock();
        let started = clock.ticks();
        let head = SpanHead {
            trace_id: trace_context.trace_id(),
            span_id: trace_context.span_id(),
            flags: trace_context.trace_flags(),
            tracestate: trace_context.tracestate().unwrap_or_default(),
            parent,
            kind: SpanKind::Server,
            start_unix_nanos: clock.unix_nanos(started),
        };
        let protocol = Protocol::of(request.headers);
        let shared = pool::take();
        let handle = Handle {
            shared: Arc::clone(&shared),
            span_context: trace_context.to_span_context(false),
        };
        let context = Context::map_current(|current| trace_context.attach_to(current));
        {
            let mut draft = shared.lock();
            draft.ended = false;
            draft.touched = false;
            let buffer = &mut draft.buffer;
            buffer.start(&head, settings.limits);
            match protocol {
                Protocol::Http => semconv::http::start(buffer, request),
                Protocol::Grpc => semconv::grpc::start(buffer, request),
            }
            draft.trace_context = Some(trace_context);
        }
        Self {
            settings: Arc::clone(settings),
            shared: Some(shared),
            context: Some(context.with_span(handle)),
            started,
            protocol,
            method: match *request.method {
                http::Method::HEAD => Method::Head,
                http::Method::CONNECT => Method::Connect,
                _ => Method::Other,
            },
            status: None,
            running: false,
        }
    }

    /// Puts the span in force for the inner service, which starts to run.
    pub(super) fn enter(&mut self) -> Option<ContextGuard> {
        self.running = true;
        self.context.clone().map(Context::attach)
    }

    /// The inner service has returned.
    pub(super) fn leave(&mut self) {
        self.running = false;
    }

    /// The response's head has come: names the span in it, and says how the rest will end.
    pub(super) fn answered<B: Body>(&mut self, response: &mut Response<B>) -> Rest {
        let status = response.status();
        self.status = Some(status);
        let draft = self.shared.as_ref().map(|shared| shared.lock());
        if let Some(trace_context) = draft.and_then(|draft| draft.trace_context.clone()) {
            let header = self.settings.response_header;
            header.write(trace_context.traceparent(), response.headers_mut());
            response.extensions_mut().insert(trace_context);
        }

        let has_no_body = match status.as_u16() {
            100..200 | 204 | 304 => true,
            200..300 => self.method != Method::Other,
            _ => self.method == Method::Head,
        };
        if self.protocol == Protocol::Grpc {
            // A response without messages says in its head what others say in their trailers.
            if GrpcStatus::from_headers(response.headers()).is_some() {
                return Rest::InHead;
            }
            if response.body().is_end_stream() || has_no_body {
                return Rest::Nothing;
            }
            return Rest::Body { length: None };
        }
        let length =
            content_length(response.headers()).or_else(|| response.body().size_hint().exact());
        if has_no_body || length == Some(0) || response.body().is_end_stream() {
            return Rest::Nothing;
        }
        Rest::Body { length }
    }

    pub(super) fn end(mut self, end: End<'_>) {
        self.finish(end);
    }

    fn finish(&mut self, end: End<'_>) {
        // An error's `Display` is the user's: run before anything is locked or given up.
        let (grpc_status, verdict) = match self.protocol {
            Protocol::Http => (None, semconv::http::verdict(self.status.as_ref(), &end)),
            Protocol::Grpc => {
                let status = semconv::grpc::status(self.status, &end);
                (Some(status), semconv::grpc::verdict(status, &end))
            }
        };
        let Some(shared) = self.shared.take() else { return };
        {
            let settings = &*self.settings;
            let mut draft = shared.lock();
            draft.ended = true;
            draft.trace_context = None;
            if let Some(status) = grpc_status {
                draft
                    .late("rpc.response.status_code")
                    .push_str("rpc.response.status_code", status.name());
            } else if let Some(status) = self.status {
                let status = i64::from(status.as_u16());
                draft
                    .late("http.response.status_code")
                    .push_i64("http.response.status_code", status);
            }
            if let Verdict { error_type: Some(error_type), description } = verdict {
                draft.late("error.type").push_str("error.type", error_type);
                draft.buffer.set_status(&Status::error(description));
            }
            let clock = settings.intake.clock();
            // Measured from the start that is in the span, so that a wall clock which was set in
            // between does not show in the duration.
            let elapsed = clock.ticks().saturating_sub(self.started);
            let span = draft.buffer.finish_after(elapsed);
            settings.intake.push(&settings.scope, span);
        }
        // The context holds the buffer through its handle.
        self.context = None;
        pool::give_back(shared);
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if self.shared.is_some() {
            self.finish(if self.running { End::Panicked } else { End::Cancelled });
        }
    }
}

impl fmt::Debug for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "Complete",
            Self::Trailers(_) => "Trailers",
            Self::Error(_) => "Error",
            Self::Cancelled => "Cancelled",
            Self::Panicked => "Panicked",
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Draft> {
        // What a panic in an attribute's `Display` leaves behind is still a whole span.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&mut self) -> usize {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).buffer.capacity()
    }
}

impl Draft {
    /// The buffer, ready to take an attribute of this key: the last value of a key counts.
    fn late(&mut self, key: &str) -> &mut SpanBuffer {
        if self.touched {
            self.buffer.remove(key);
        }
        &mut self.buffer
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The span as the OpenTelemetry `Context` holds it.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    span_context: SpanContext,
}

impl Handle {
    /// Runs `write` unless the span has ended.
    fn write(&self, write: impl FnOnce(&mut Draft)) {
        let mut draft = self.shared.lock();
        if !draft.ended {
            write(&mut draft);
        }
    }
}

impl Span for Handle {
    fn add_event_with_timestamp<T>(
        &mut self,
        name: T,
        timestamp: SystemTime,
        attributes: Vec<KeyValue>,
    ) where
        T: Into<Cow<'static, str>>,
    {
        let name = name.into();
        self.write(|span| span.buffer.event(&name, unix_nanos(timestamp), &attributes));
    }

    fn span_context(&self) -> &SpanContext {
        &self.span_context
    }

    fn is_recording(&self) -> bool {
        !self.shared.lock().ended
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.write(|span| {
            span.touched = true;
            span.buffer.set(&attribute);
        });
    }

    fn set_status(&mut self, status: Status) {
        self.write(|span| span.buffer.set_status(&status));
    }

    fn update_name<T>(&mut self, new_name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        let name = new_name.into();
        self.write(|span| span.buffer.set_name(&[&name]));
    }

    fn add_link(&mut self, span_context: SpanContext, attributes: Vec<KeyValue>) {
        self.write(|span| span.buffer.link(&span_context, &attributes));
    }

    /// Does nothing: the span ends with its response.
    fn end_with_timestamp(&mut self, _: SystemTime) {}
}
