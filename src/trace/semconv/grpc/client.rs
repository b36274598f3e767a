//! gRPC client spans.

use ::http::StatusCode;

use crate::grpc_status::GrpcStatus;
use crate::record::SpanBuffer;
use crate::trace::cause::Failure;
use crate::trace::exchange::End;
use crate::trace::semconv::{Description, RequestHead, Terms, Verdict, error_type};

/// Writes the attributes that a request's head gives, and the name. A channel shows no address but
/// the one that was set.
pub(in crate::trace) fn start(span: &mut SpanBuffer, head: &RequestHead<'_>, terms: &Terms<'_>) {
    super::call(span, head, terms, None);
}

/// The status that the call ended with: what its caller sees.
pub(in crate::trace::semconv) fn status(http: Option<StatusCode>, end: End<'_>) -> GrpcStatus {
    match end {
        End::Error(cause) => cause.grpc_status(),
        end => super::status(http, end),
    }
}

/// Judges a call that ended with `status`: whatever is not `OK` is an error.
pub(in crate::trace::semconv) fn verdict(status: GrpcStatus, end: End<'_>) -> Verdict<'_> {
    if status.is_ok() {
        return Verdict::default();
    }
    match end {
        End::Panicked => Verdict::error(error_type::PANIC),
        End::Error(cause) => {
            // A status that says nothing leaves the word to what happened.
            let failure = cause.failure().filter(|_| status == GrpcStatus::UNKNOWN);
            let error_type = failure.map_or_else(|| status.name(), Failure::error_type);
            Verdict::described(error_type, Description::Error(cause))
        }
        End::Trailers(trailers) => {
            Verdict::described(status.name(), Description::Message(trailers))
        }
        End::Complete | End::Cancelled => Verdict::error(status.name()),
    }
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderMap, HeaderValue, Request};
    use opentelemetry::trace::{SpanId, SpanKind, TraceFlags, TraceId};

    use super::*;
    use crate::record::{SpanBuffer, SpanHead, SpanLimits, decode_span};
    use crate::trace::cause::Cause;

    #[test]
    fn every_code_but_ok_is_an_error_of_its_name() {
        let names = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        for (code, name) in names.into_iter().enumerate() {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(code));
            trailers.insert("grpc-message", HeaderValue::from_static("disk%20full"));
            let end = End::Trailers(&trailers);
            let status = status(Some(StatusCode::OK), end);
            assert_eq!(status.name(), name);
            let verdict = verdict(status, end);
            assert_eq!(verdict.error_type, (code != 0).then_some(name));
            let description = if code == 0 { "" } else { "disk full" };
            assert_eq!(verdict.description.text(), description, "{name}");
        }
    }

    #[test]
    fn every_end_has_its_status_and_verdict() {
        let odd = HeaderMap::from_iter([(
            "grpc-status".parse().unwrap(),
            HeaderValue::from_static("9999"),
        )]);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let boom = End::Error(Cause::of(&"boom", &[]));
        let refused = End::Error(Cause::of(&refused, &[]));
        let rows = [
            (Some(200), End::Trailers(&odd), "UNKNOWN", "UNKNOWN", "no gRPC code"),
            (Some(200), End::Complete, "UNKNOWN", "UNKNOWN", "no trailers"),
            (Some(401), End::Complete, "UNAUTHENTICATED", "UNAUTHENTICATED", "by the HTTP status"),
            (Some(503), End::Complete, "UNAVAILABLE", "UNAVAILABLE", "by the HTTP status"),
            (Some(200), End::Cancelled, "CANCELLED", "CANCELLED", "given up amid the answer"),
            (None, End::Cancelled, "CANCELLED", "CANCELLED", "given up before it"),
            (None, End::Panicked, "UNKNOWN", "panic", "the client panicked"),
            (None, boom, "UNKNOWN", "UNKNOWN", "an error that says no more"),
            (None, refused, "UNKNOWN", "connection_refused", "an error that does"),
        ];
        for (http, end, name, error_type, why) in rows {
            let status = status(http.map(|code| StatusCode::from_u16(code).unwrap()), end);
            assert_eq!(status.name(), name, "{why}");
            assert_eq!(verdict(status, end).error_type, Some(error_type), "{why}");
        }
    }

    #[test]
    fn the_method_is_the_path_without_its_first_slash() {
        let rows = [
            ("/service/method", "service/method"),
            ("//method_only", "/method_only"),
            ("/service_only/", "service_only/"),
        ];
        for (path, expected) in rows {
            let request = Request::post(format!("http://h{path}")).body(()).unwrap();
            let mut span = SpanBuffer::default();
            let head = SpanHead {
                trace_id: TraceId::from(1),
                span_id: SpanId::from(1),
                flags: TraceFlags::SAMPLED,
                tracestate: "",
                parent: None,
                kind: SpanKind::Client,
                start_unix_nanos: 1,
            };
            span.start(&head, SpanLimits::default());
            start(&mut span, &RequestHead::outgoing(&request), &Terms::default());
            let span = decode_span(span.finish_after(1));
            let method = span.attribute("rpc.method").map(ToString::to_string);
            assert_eq!((span.name.as_str(), method.as_deref()), (expected, Some(expected)));
        }
    }
}
