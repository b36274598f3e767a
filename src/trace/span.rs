//! The live span of one request, and how it ends.
//!
//! One [`ActiveSpan`] is made when the request arrives, moves from the service into the future
//! and from there into the body, and ends the span: by [`ActiveSpan::end`], or by being dropped.
//! What stands in the OpenTelemetry `Context` meanwhile is a [`Handle`], which writes into the
//! same buffer.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, ContextGuard};

use super::handle::{Handle, SharedDraft};
use super::layer::Settings;
use super::pool;
use super::semconv::{self, Protocol, RequestHead, Verdict};
use crate::context::{ResponseHeader, TraceContext};
use crate::grpc_status::GrpcStatus;
use crate::record::{Remote, SpanHead};

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
    draft: SharedDraft,
    context: Context,
    /// Given to the response when its head has come.
    trace_context: Option<TraceContext>,
    response_header: ResponseHeader,
    /// Reading of the pipeline's clock.
    started: u64,
    protocol: Protocol,
    method: Method,
    status: Option<StatusCode>,
    /// Whether code of the inner service is running right now. Found true by `drop`, it panicked:
    /// `std::thread::panicking` cannot tell, because a panic may have been caught in between, or
    /// be someone else's.
    running: bool,
    ended: bool,
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
        let protocol = Protocol::of(request.method, request.headers);
        let mut buffer = pool::take();
        buffer.start(&head, settings.limits);
        match protocol {
            Protocol::Http => semconv::http::start(&mut buffer, request),
            Protocol::Grpc => semconv::grpc::start(&mut buffer, request),
        }
        let draft = SharedDraft::new(buffer);
        let handle = Handle::new(&draft, trace_context.to_span_context(false));
        let context = Context::map_current(|current| trace_context.attach_to(current));
        Self {
            settings: Arc::clone(settings),
            draft,
            context: context.with_span(handle),
            trace_context: Some(trace_context),
            // Inside another span of this process it is that one's to name itself.
            response_header: match parent {
                Some((_, Remote::No)) => ResponseHeader::Off,
                Some((_, Remote::Yes)) | None => settings.response_header,
            },
            started,
            protocol,
            method: match *request.method {
                http::Method::HEAD => Method::Head,
                http::Method::CONNECT => Method::Connect,
                _ => Method::Other,
            },
            status: None,
            running: false,
            ended: false,
        }
    }

    /// Puts the span in force for the inner service, which starts to run.
    pub(super) fn enter(&mut self) -> ContextGuard {
        self.running = true;
        self.context.clone().attach()
    }

    /// The inner service has returned.
    pub(super) fn leave(&mut self) {
        self.running = false;
    }

    /// Whether the inner service runs, or has panicked.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// The response's head has come: names the span in it, and says how the rest will end.
    pub(super) fn answered<B: Body>(&mut self, response: &mut Response<B>) -> Rest {
        let status = response.status();
        self.status = Some(status);
        if let Some(trace_context) = self.trace_context.take() {
            self.response_header.write(trace_context.traceparent(), response.headers_mut());
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

    /// Ends the span. Its context is returned: it may stay in force, but is inert.
    pub(super) fn end(mut self, end: End<'_>) -> Context {
        // The `Display` of an error is the service's, too, and may panic.
        self.running = true;
        self.finish(end);
        self.context.clone()
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
        self.ended = true;
        let Some(mut draft) = self.draft.take() else { return };
        if let Some(status) = grpc_status {
            const KEY: &str = "rpc.response.status_code";
            draft.late(KEY).push_str(KEY, status.name());
        } else if let Some(status) = self.status {
            const KEY: &str = "http.response.status_code";
            draft.late(KEY).push_i64(KEY, status.as_u16().into());
        }
        if let Verdict { error_type: Some(error_type), description } = verdict {
            draft.late("error.type").push_str("error.type", error_type);
            draft.buffer.set_status(&Status::error(description));
        }
        let intake = &self.settings.intake;
        // Measured from the start that is in the span, so that a wall clock which was set in
        // between does not show in the duration.
        let elapsed = intake.clock().ticks().saturating_sub(self.started);
        intake.push(&self.settings.scope, draft.buffer.finish_after(elapsed));
        pool::give_back(draft.buffer);
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if !self.ended {
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

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
