//! One request and its response, watched until the response has ended.
//!
//! One [`Exchange`] is made when the request arrives, moves from the service into the future and
//! from there into the body, and is ended once: by [`Exchange::end`], or by being dropped. What
//! there is to end, a span and measurements, is its own.

use std::fmt;
use std::sync::Arc;

use bytes::Buf;
use http::{HeaderMap, Response, StatusCode, Version, header};
use http_body::{Body, Frame};
use opentelemetry::Context;

use super::cause::{AsError, Cause};
use super::layer::{Recording, Settings, Side};
use super::metrics::Measured;
use super::semconv::{self, Protocol, RequestHead};
use super::server_context::{self, Entered, Serving};
use super::span::ActiveSpan;
use crate::context::glance;
use crate::context::untraced::{self, Watch};
use crate::grpc_status::GrpcStatus;

/// The ways in which an exchange can end.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// The response was passed on whole.
    Complete,
    /// The same, and it ended with these trailers, or with gRPC's in its head.
    Trailers(&'a HeaderMap),
    /// The service, or the response body, ended in an error.
    Error(Cause<'a>),
    /// The future or the body was dropped before its end.
    Cancelled,
    /// The future or the body was dropped because it panicked.
    Panicked,
}

/// The only owner of the end of a request.
pub(super) struct Exchange {
    settings: Arc<Settings>,
    /// In force while the inner service runs. Absent when tracing is disabled and no trace came.
    context: Option<Context>,
    /// Absent when the request is not recorded, or has ended.
    span: Option<ActiveSpan>,
    /// Absent when the request is not measured, or has ended.
    measured: Option<Measured>,
    /// Reading of the pipeline's clock.
    started: u64,
    protocol: Protocol,
    method: Method,
    /// Absent as long as a client has no answer: what is agreed on shows there.
    version: Option<Version>,
    status: Option<StatusCode>,
    /// Whether code of the inner service is running right now. Found true by `drop`, it panicked:
    /// `std::thread::panicking` cannot tell, because a panic may have been caught in between, or
    /// be someone else's.
    running: bool,
    /// While it runs, and after it has panicked.
    watch: Option<Watch>,
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

impl Exchange {
    /// An exchange that began at `started`, a reading of the pipeline's clock.
    pub(super) fn new(
        settings: &Arc<Settings>,
        request: &RequestHead<'_>,
        protocol: Protocol,
        started: u64,
        (span, context): (Option<ActiveSpan>, Option<Context>),
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            context,
            span,
            measured: None,
            started,
            protocol,
            method: match *request.method {
                http::Method::HEAD => Method::Head,
                http::Method::CONNECT => Method::Connect,
                _ => Method::Other,
            },
            version: match settings.role.side() {
                Side::Server => Some(request.version),
                Side::Client => None,
            },
            status: None,
            running: false,
            watch: None,
            ended: false,
        }
    }

    pub(super) fn measure(&mut self, measured: Measured) {
        self.measured = Some(measured);
    }

    /// Puts the span in force for the inner service, which starts to run.
    pub(super) fn enter(&mut self) -> Option<Entered> {
        self.running = true;
        self.watch.get_or_insert_with(Watch::begin);
        let context = self.context.as_ref()?;
        let serving = match (self.side(), &self.span) {
            (Side::Server, Some(_)) => Serving::Recorded,
            _ => self.serving_unrecorded(),
        };
        Some(server_context::enter(context, serving))
    }

    /// What is served where there is no span, or none any more.
    pub(super) fn serving_unrecorded(&self) -> Serving {
        match (self.side(), &self.settings.recording) {
            (Side::Server, Recording::On(_)) => Serving::Unrecorded,
            (Side::Server, Recording::Off) | (Side::Client, _) => Serving::AsBefore,
        }
    }

    pub(super) fn side(&self) -> Side {
        self.settings.role.side()
    }

    /// The types of errors that the user has named.
    pub(super) fn errors(&self) -> &[AsError] {
        &self.settings.errors
    }

    /// The inner service has returned.
    pub(super) fn leave(&mut self) {
        self.running = false;
        self.forget_if_untraced();
    }

    /// Nothing is recorded of a request that is not to be traced.
    #[inline]
    fn forget_if_untraced(&mut self) {
        if self.watch.take().is_some_and(Watch::end) {
            self.measured = None;
            if let Some(span) = self.span.take() {
                span.forget();
            }
        }
    }

    /// Whether the inner service runs, or has panicked.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// The response's head has come: names the span in it, and says how the rest will end. To be
    /// called in force: what the body says of that is the inner service's code.
    pub(super) fn answered<B: Body>(&mut self, response: &mut Response<B>) -> Rest {
        let status = response.status();
        self.status = Some(status);
        let version = *self.version.get_or_insert_with(|| response.version());
        let (side, protocol) = (self.side(), self.protocol);
        // One that is to be forgotten is not named.
        if let Some(span) = self.span.as_mut().filter(|_| !untraced::is_marked()) {
            if (side, protocol) == (Side::Client, Protocol::Http) {
                span.answered_in(version);
            }
            span.answered(&self.settings, protocol, response);
        }

        self.rest(response)
    }

    fn rest<B: Body>(&self, response: &Response<B>) -> Rest {
        let has_no_body = match response.status().as_u16() {
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
        // What a client's peer writes into its head need not hold; its body knows what does.
        let declared = match self.side() {
            Side::Server => content_length(response.headers()),
            Side::Client => None,
        };
        let length = declared.or_else(|| response.body().size_hint().exact());
        if has_no_body || length == Some(0) || response.body().is_end_stream() {
            return Rest::Nothing;
        }
        Rest::Body { length }
    }

    /// A frame of the response's body is passed on.
    pub(super) fn passed<D: Buf>(&mut self, frame: &Frame<D>) {
        if let (Some(measured), Some(data)) = (&mut self.measured, frame.data_ref()) {
            measured.passed(data.remaining());
        }
    }

    /// Ends the exchange, which is over then. Its context is returned: it may stay in force, but its
    /// span is inert.
    pub(super) fn end(&mut self, end: End<'_>) -> Option<Context> {
        // The `Display` of an error is the service's, too, and may panic.
        self.running = true;
        self.finish(end);
        self.context.take()
    }

    fn finish(&mut self, end: End<'_>) {
        let outcome =
            semconv::outcome(self.side(), self.protocol, self.version, self.status.as_ref(), end);
        // An error's `Display` is the user's: run before anything is given up.
        let description = match &self.span {
            Some(_) => outcome.verdict.description.text(),
            None => String::new(),
        };
        self.ended = true;
        // Measured from the start that is in the span, so that a wall clock which was set in
        // between does not show in the duration.
        let elapsed = self.settings.intake.clock().ticks().saturating_sub(self.started);
        if let Some(span) = self.span.take() {
            span.end(&self.settings, (self.status, &outcome), description, elapsed);
        }
        // After the span: an instrument may be the user's, and may panic.
        if let Some(measured) = self.measured.take() {
            measured.end(&outcome, elapsed);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.forget_if_untraced();
        if !self.ended {
            self.finish(if self.running { End::Panicked } else { End::Cancelled });
        }
    }
}

impl fmt::Debug for Exchange {
    /// Without the settings, which are the layer's, and the context, which has what the caller sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("span", &self.span)
            .field("protocol", &self.protocol)
            .field("status", &self.status)
            .finish_non_exhaustive()
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

/// The length that a message declares. Chunks go before it.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    if glance::has(headers, &header::TRANSFER_ENCODING) {
        return None;
    }
    glance::get(headers, &header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
