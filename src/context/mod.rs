//! What travels with a request: its place in a trace, and the baggage handed down with it.
//!
//! Three header fields carry it, and [`TraceContext`] is the three of them, read and checked once:
//!
//! | field | says | when malformed |
//! |---|---|---|
//! | `traceparent` | trace id, caller's span id, *sampled* and *random* flags | the trace restarts |
//! | `tracestate` | what each tracing system on the way wants to be told again | dropped whole |
//! | `baggage` | the application's own key-value pairs | bad members are dropped |
//!
//! The rules are those of [W3C Trace Context Level 2] and [W3C Baggage], read strictly.
//!
//! # When a trace restarts
//!
//! A `traceparent` is obeyed only if it is the single field of that name and every character is
//! right: lowercase hexadecimal digits, ids that are not zero, exactly 55 characters in version
//! `00`. A later version is understood as far as version `00` goes and is sent on as `00`. In all
//! other cases the request starts a new trace, and its `tracestate`, which described the old one,
//! goes with the old one.
//!
//! # What is dropped, and the limits
//!
//! - Flags other than *sampled* and *random* are read as zero and sent as zero.
//! - A `tracestate` of more than 32 members, or with one bad key or value, is dropped whole.
//!   Repeated keys are passed on: which of them counts is for their owner to say.
//! - `baggage` is kept to 64 members and 8192 bytes, counted over all its fields joined. From the
//!   first member that does not fit, members are left out; none is ever cut.
//! - Empty members, and blanks around members, are not passed on. No field is ever sent empty.
//!
//! `tracestate` and `baggage` travel as the text that came, copied once from the request, whose
//! memory they would otherwise hold on to.
//!
//! # From process to process
//!
//! [`TraceContext::from_environment`] reads the environment variables `TRACEPARENT`, `TRACESTATE`
//! and `BAGGAGE` by the same rules, and [`TraceContext::pass_to`] sets them for a child.
//!
//! # Inside the process
//!
//! [`TraceContext::current`] is what the OpenTelemetry `Context` of this moment would send, spans
//! of the OpenTelemetry SDK and of `tracing-opentelemetry` included. OpenTelemetry's own types
//! cannot hold all of it: its `TraceState` refuses keys that Level 2 allows, its `Baggage` forgets
//! order and repetition, and the SDK's unsampled spans lose the random flag. So the text that came
//! rides along in the `Context` and is used for as long as nobody changed what OpenTelemetry was
//! told in its place.
//!
//! [W3C Trace Context Level 2]: https://www.w3.org/TR/trace-context-2/
//! [W3C Baggage]: https://www.w3.org/TR/baggage/

use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};

mod authority;
mod baggage;
mod carried;
mod carriers;
pub(crate) mod current;
mod forwarded;
pub(crate) mod glance;
pub(crate) mod ids;
mod list;
mod network;
mod response;
#[cfg(test)]
mod tests;
mod traceparent;
mod tracestate;
pub(crate) mod untraced;

pub(crate) use self::authority::{split_authority, split_host_port, without_userinfo};
pub(crate) use self::baggage::BaggageHeader;
pub(crate) use self::forwarded::Forwarded;
pub use self::network::{Network, ParseNetworkError};
pub use self::response::ResponseHeader;
pub(crate) use self::traceparent::{RANDOM, Traceparent};
pub(crate) use self::tracestate::TraceStateHeader;

/// What the headers are held to, for everyone who reads them.
#[cfg(all(test, feature = "opentelemetry-sdk"))]
pub(crate) mod vectors {
    pub(crate) use super::baggage::tests::PASSED_ON as BAGGAGE;
    pub(crate) use super::tests::REQUESTS;
    pub(crate) use super::traceparent::tests::{CONTINUED, RESTARTED};
    pub(crate) use super::tracestate::tests::{
        DROPPED as TRACESTATE_DROPPED, PASSED_ON as TRACESTATE, limits as tracestate_limits,
    };
}

/// A place in a trace, and what is handed down from there.
///
/// Of a request that came in, it names the caller's span; of [`current`](Self::current), the
/// active span. The ids are never zero. Cloning copies no text.
///
/// # Example: calling on with a client of your own
///
/// ```
/// use tower_otlp::TraceContext;
///
/// let mut headers = http::HeaderMap::new();
/// if let Some(context) = TraceContext::current() {
///     context.inject(&mut headers);
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceContext {
    traceparent: Traceparent,
    tracestate: Option<TraceStateHeader>,
    baggage: Option<BaggageHeader>,
}

impl TraceContext {
    pub(crate) fn new(
        traceparent: Traceparent,
        tracestate: Option<TraceStateHeader>,
        baggage: Option<BaggageHeader>,
    ) -> Self {
        Self { traceparent, tracestate, baggage }
    }

    /// Reads what a request brought.
    ///
    /// `None` when there is not exactly one well-formed `traceparent`, whatever else was sent:
    /// `tracestate` means nothing without it, and baggage alone is no place in a trace.
    ///
    /// # Example: naming the trace in a log line
    ///
    /// ```
    /// use tower_otlp::TraceContext;
    ///
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert(
    ///     "traceparent",
    ///     "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?,
    /// );
    /// let context = TraceContext::from_headers(&headers).expect("it is well-formed");
    /// assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    /// assert!(context.is_sampled());
    /// # Ok::<(), http::header::InvalidHeaderValue>(())
    /// ```
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Sent::by(headers).context()
    }

    /// Writes `traceparent`, `tracestate` and `baggage`, in place of whatever `headers` had under
    /// these names: what there is nothing to say about is removed.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let baggage = self.baggage.as_ref().map(BaggageHeader::to_header_value);
        self.inject_without_baggage(headers);
        replace(headers, &baggage::NAME, baggage);
    }

    /// [`inject`](Self::inject) for `traceparent` and `tracestate` alone.
    pub(crate) fn inject_without_baggage(&self, headers: &mut HeaderMap) {
        let tracestate = self.tracestate.as_ref().map(TraceStateHeader::to_header_value);
        replace(headers, &traceparent::NAME, Some(self.traceparent.to_header_value()));
        replace(headers, &tracestate::NAME, tracestate);
    }

    /// The trace all of this belongs to.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.traceparent.trace_id
    }

    /// The span that new spans become children of.
    #[must_use]
    pub fn span_id(&self) -> SpanId {
        self.traceparent.span_id
    }

    /// The *sampled* (`01`) and *random* (`02`) bits; no other bit is ever set.
    #[must_use]
    pub fn trace_flags(&self) -> TraceFlags {
        self.traceparent.flags
    }

    /// Whether this span may have been recorded.
    ///
    /// From a caller it is advice, and a stranger's to give.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.traceparent.flags.is_sampled()
    }

    /// Whether the last seven bytes of the trace id are known to be uniformly random, so that
    /// sampling may decide by them (Trace Context Level 2, random-trace-id flag).
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.traceparent.is_random()
    }

    /// The `tracestate` text: all fields joined, well-formed, never empty.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_ref().map(TraceStateHeader::as_str)
    }

    /// The `baggage` text: all fields joined, within the limits, never empty.
    ///
    /// Values are percent-encoded as they came. For decoded ones ask the OpenTelemetry `Context`
    /// (`opentelemetry::baggage::BaggageExt`).
    #[must_use]
    pub fn baggage(&self) -> Option<&str> {
        self.baggage.as_ref().map(BaggageHeader::as_str)
    }

    pub(crate) fn traceparent(&self) -> Traceparent {
        self.traceparent
    }

    pub(crate) fn tracestate_header(&self) -> Option<TraceStateHeader> {
        self.tracestate.clone()
    }

    #[must_use]
    pub(crate) fn with_tracestate(self, tracestate: Option<TraceStateHeader>) -> Self {
        Self { tracestate, ..self }
    }

    /// The same, with this baggage in place of its own, if there is any.
    #[must_use]
    pub(crate) fn with_baggage(self, baggage: Option<BaggageHeader>) -> Self {
        Self { baggage: baggage.or(self.baggage), ..self }
    }

    /// The same tracestate and baggage, sent on by another span of the trace.
    #[must_use]
    pub(crate) fn with_traceparent(self, traceparent: Traceparent) -> Self {
        Self { traceparent, ..self }
    }
}

/// What a request may have brought.
pub(crate) struct Sent<'a> {
    headers: &'a HeaderMap,
    has_traceparent: bool,
    has_tracestate: bool,
    has_baggage: bool,
}

impl<'a> Sent<'a> {
    /// Names that are not HTTP's own are looked up by a hash of all their characters. Where there
    /// are few, a glance at each is less, and most requests have none of ours.
    pub(crate) fn by(headers: &'a HeaderMap) -> Self {
        let many = glance::are_many(headers);
        let mut sent =
            Self { headers, has_traceparent: many, has_tracestate: many, has_baggage: many };
        if !many {
            for name in headers.keys() {
                match name.as_str() {
                    traceparent::NAME_TEXT => sent.has_traceparent = true,
                    tracestate::NAME_TEXT => sent.has_tracestate = true,
                    baggage::NAME_TEXT => sent.has_baggage = true,
                    _ => {}
                }
            }
        }
        sent
    }

    /// [`TraceContext::from_headers`].
    pub(crate) fn context(&self) -> Option<TraceContext> {
        if !self.has_traceparent {
            return None;
        }
        let traceparent = Traceparent::extract(self.headers)?;
        let tracestate =
            if self.has_tracestate { TraceStateHeader::extract(self.headers) } else { None };
        Some(TraceContext::new(traceparent, tracestate, self.baggage()))
    }

    pub(crate) fn baggage(&self) -> Option<BaggageHeader> {
        if self.has_baggage { BaggageHeader::extract(self.headers) } else { None }
    }
}

/// Writes the baggage of `cx` in place of any other, where there is no trace to go with it.
pub(crate) fn inject_baggage(cx: &Context, headers: &mut HeaderMap) {
    let baggage = BaggageHeader::from_opentelemetry(cx.baggage());
    replace(headers, &baggage::NAME, baggage.as_ref().map(BaggageHeader::to_header_value));
}

/// Sets or removes a field. A map that can take no more names keeps what it has: a header too many
/// is no reason to panic in somebody's request.
fn replace(headers: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.try_insert(name, value)),
        None => drop(headers.remove(name)),
    }
}
