//! How a span becomes bytes, and bytes a span.
//!
//! A span is written once, as OTLP protobuf, by [`SpanBuffer`] while its request lives. From
//! there on only bytes move: they are batched, sent, written as JSON lines or decoded for a test
//! without another form of the span in between.

mod attributes;
mod capture;
pub(crate) mod clock;
pub(crate) mod decode;
mod encoder;
#[cfg(feature = "forward")]
pub(crate) mod incoming;
#[cfg(feature = "file")]
pub(crate) mod json;
mod limits;
#[cfg(any(feature = "file", feature = "forward"))]
mod shape;
pub(crate) mod split;
pub(crate) mod walk;
pub(crate) mod wire;

pub use capture::Capture;
pub(crate) use capture::{CapturedHeader, is_sensitive};
pub use decode::{RecordedEvent, RecordedLink, RecordedSpan};
pub(crate) use encoder::{
    MAX_RESOURCE, Remote, SpanBuffer, SpanHead, encode_resource, encode_scope, fit_resource,
};
pub(crate) use limits::{SpanLimits, cut};

/// Decodes one OTLP `Span`, for tests of what writes into a [`SpanBuffer`].
#[cfg(test)]
pub(crate) fn decode_span(span: &[u8]) -> RecordedSpan {
    let mut traces = span.to_vec();
    // As field 2 of a `ScopeSpans`, as field 2 of a `ResourceSpans`, as field 1 of a request.
    for field in [2, 2, 1] {
        let inner = std::mem::take(&mut traces);
        wire::put_bytes(&mut traces, field, &inner);
    }
    decode::traces(&traces).expect("OTLP").pop().expect("a span")
}
