//! The live span of one exchange.
//!
//! An [`ActiveSpan`] belongs to its [`Exchange`](super::exchange::Exchange), which ends it. What
//! stands in the OpenTelemetry `Context` meanwhile is a [`Handle`], which writes into the same
//! buffer.

use std::fmt;
use std::time::Duration;

use http::{Response, StatusCode, Version};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt};

use super::handle::{Draft, Handle, SharedDraft};
use super::hooks::Ended;
use super::layer::{Role, Settings, Side};
use super::pool;
use super::semconv::{self, Code, Outcome, Protocol, RequestHead};
use crate::context::{ResponseHeader, TraceContext};
use crate::record::{Remote, SpanHead};

/// A span that is recorded and has not ended.
#[derive(Debug)]
pub(super) struct ActiveSpan {
    held: Held,
    /// What a response is given when its head has come; the first head counts.
    answer: Option<Answer>,
}

/// Who writes to a span.
#[derive(Debug)]
enum Held {
    /// Only the layer: there is no context in which others would find it.
    Alone(Draft),
    /// The handle in the context, too.
    Shared(SharedDraft),
}

/// What a response says of its span.
struct Answer {
    trace_context: TraceContext,
    header: ResponseHeader,
}

/// Where a span stands in its trace.
pub(super) struct Place {
    /// With the span's own ids.
    pub(super) trace_context: TraceContext,
    /// Absent where no context is wanted.
    pub(super) context: Option<Context>,
    pub(super) parent: Option<(SpanId, Remote)>,
    /// A span in another trace.
    pub(super) link: Option<SpanContext>,
}

impl ActiveSpan {
    /// Starts the span of a request, and makes the context that it is to be handled in, if there is
    /// to be one: that of the place, with the span. `started` is a reading of the pipeline's clock.
    pub(super) fn start(
        settings: &Settings,
        Place { trace_context, context, parent, link }: Place,
        request: &RequestHead<'_>,
        protocol: Protocol,
        started: u64,
    ) -> (Self, Option<Context>) {
        let head = SpanHead {
            trace_id: trace_context.trace_id(),
            span_id: trace_context.span_id(),
            flags: trace_context.trace_flags(),
            tracestate: trace_context.tracestate().unwrap_or_default(),
            parent,
            kind: match settings.role {
                Role::Server { .. } => SpanKind::Server,
                Role::Client { .. } => SpanKind::Client,
            },
            start_unix_nanos: settings.intake.clock().unix_nanos(started),
        };
        let mut buffer = pool::take();
        buffer.start(&head, settings.limits);
        let terms = settings.terms();
        match (settings.role.side(), protocol) {
            (Side::Server, Protocol::Http) => semconv::http::start(&mut buffer, request, &terms),
            (Side::Client, Protocol::Http) => {
                semconv::http::client::start(&mut buffer, request, &terms);
            }
            (Side::Server, Protocol::Grpc) => semconv::grpc::start(&mut buffer, request, &terms),
            (Side::Client, Protocol::Grpc) => {
                semconv::grpc::client::start(&mut buffer, request, &terms);
            }
        }
        if let Some(name) = settings.hooks.span_name(request) {
            buffer.set_name(&[&name]);
        }
        let mut touched = false;
        settings.hooks.on_request(request, |attribute| {
            touched = true;
            buffer.set(attribute);
        });
        if let Some(link) = link {
            buffer.link(&link, &[]);
        }
        let header = match (&settings.role, parent) {
            // Inside another span of this process it is that one's to name itself.
            (Role::Server { .. }, Some((_, Remote::No))) => ResponseHeader::Off,
            (Role::Server { response_header, .. }, Some((_, Remote::Yes)) | None) => {
                *response_header
            }
            // The head of a client's response is what the server wrote.
            (Role::Client { .. }, _) => ResponseHeader::Off,
        };
        let draft = Draft::new(buffer, touched);
        let (held, context) = match context {
            None => (Held::Alone(draft), None),
            Some(context) => {
                let draft = SharedDraft::new(draft);
                let handle = Handle::new(&draft, trace_context.to_span_context(false));
                (Held::Shared(draft), Some(context.with_span(handle)))
            }
        };
        (Self { held, answer: Some(Answer { trace_context, header }) }, context)
    }

    /// Writes what is to be shown of the head of the response, and names the span in it; the first
    /// head counts.
    pub(super) fn answered<B>(
        &mut self,
        settings: &Settings,
        protocol: Protocol,
        response: &mut Response<B>,
    ) {
        let Some(Answer { trace_context, header }) = self.answer.take() else { return };
        let capture = &settings.capture;
        if !capture.response_headers.is_empty() {
            self.held.write(|draft| {
                let (headers, shown) = (response.headers(), &capture.response_headers);
                match protocol {
                    Protocol::Http => {
                        semconv::http::headers(&mut draft.buffer, headers, shown, capture);
                    }
                    Protocol::Grpc => {
                        semconv::grpc::metadata(&mut draft.buffer, headers, shown, capture);
                    }
                }
            });
        }
        settings
            .hooks
            .on_response(response, |attribute| self.held.write(|draft| draft.set(attribute)));
        header.write(trace_context.traceparent(), response.headers_mut());
        if settings.response_extension {
            response.extensions_mut().insert(trace_context);
        }
    }

    /// Writes the version of HTTP that a client was answered in, which is what was agreed on.
    pub(super) fn answered_in(&mut self, version: Version) {
        const KEY: &str = "network.protocol.version";
        if let Some(version) = semconv::http::version(version) {
            self.held.write(|draft| draft.late(KEY).push_str(KEY, version));
        }
    }

    /// Ends the span, so many nanoseconds after its start, and sends it on its way.
    pub(super) fn end(
        mut self,
        settings: &Settings,
        (status, outcome): (Option<StatusCode>, &Outcome<'_>),
        description: String,
        elapsed: u64,
    ) {
        let ended = Ended {
            status,
            error_type: outcome.verdict.error_type,
            duration: Duration::from_nanos(elapsed),
        };
        settings.hooks.on_end(&ended, |attribute| self.held.write(|draft| draft.set(attribute)));
        let Some(mut draft) = self.held.take() else { return };
        match outcome.code {
            Some(Code::Grpc(status)) => {
                const KEY: &str = "rpc.response.status_code";
                draft.late(KEY).push_str(KEY, status.name());
            }
            Some(Code::Http(status)) => {
                const KEY: &str = "http.response.status_code";
                draft.late(KEY).push_i64(KEY, status.as_u16().into());
            }
            None => {}
        }
        if let Some(error_type) = outcome.verdict.error_type {
            draft.late("error.type").push_str("error.type", error_type);
            draft.buffer.set_status(&Status::error(description));
        }
        settings.intake.push(&settings.scope, draft.buffer.finish_after(elapsed));
        pool::give_back(draft.buffer);
    }

    /// Ends the span without a trace of it.
    pub(super) fn forget(self) {
        if let Some(draft) = self.held.take() {
            pool::give_back(draft.buffer);
        }
    }
}

impl Held {
    /// Runs `write` unless the span has ended.
    fn write(&mut self, write: impl FnOnce(&mut Draft)) {
        match self {
            Self::Alone(draft) => write(draft),
            Self::Shared(draft) => draft.write(write),
        }
    }

    /// Takes the span from all who write to it.
    fn take(self) -> Option<Draft> {
        match self {
            Self::Alone(draft) => Some(draft),
            Self::Shared(draft) => draft.take(),
        }
    }
}

impl fmt::Debug for Answer {
    /// Without the text that the caller sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("header", &self.header).finish_non_exhaustive()
    }
}
