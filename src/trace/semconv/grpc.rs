//! gRPC spans: those of servers, and what those of [clients](client) share with them.

pub(in crate::trace) mod client;

use ::http::{HeaderMap, StatusCode};

use super::{Description, RequestHead, Terms, Verdict, error_type, push_header, server_address};
use crate::grpc_status::GrpcStatus;
use crate::record::{Capture, CapturedHeader, SpanBuffer};
use crate::trace::exchange::End;
use crate::trace::peer::Origin;

/// Writes the attributes that a request's head gives, and the name.
pub(in crate::trace) fn start(span: &mut SpanBuffer, head: &RequestHead<'_>, terms: &Terms<'_>) {
    let origin = Origin::of(head, terms.trusted_proxies);
    call(span, head, terms, origin.forwarded.host);
    origin.push_peer(span);
}

/// Writes what both sides know.
fn call(
    span: &mut SpanBuffer,
    head: &RequestHead<'_>,
    terms: &Terms<'_>,
    forwarded_host: Option<(&str, Option<u16>)>,
) {
    let path = head.uri().path();
    let method = path.strip_prefix('/').unwrap_or(path);
    let known = terms.capture.is_known_grpc_method(method);
    span.push_str("rpc.system.name", "grpc");
    if !known {
        span.push_str("rpc.method", "_OTHER");
        span.push_peer_str("rpc.method_original", method);
    } else if !method.is_empty() {
        span.push_peer_str("rpc.method", method);
    }
    let told = server_address::told(head.uri(), || server_address::host(head.headers));
    server_address::push(span, terms.server_address, forwarded_host, told);
    metadata(span, head.headers, &terms.capture.request_headers, terms.capture);
    span.set_name(&[if method.is_empty() || !known { "grpc" } else { method }]);
}

/// Writes the metadata that is to be shown.
pub(in crate::trace) fn metadata(
    span: &mut SpanBuffer,
    headers: &HeaderMap,
    shown: &[CapturedHeader],
    capture: &Capture,
) {
    for CapturedHeader { name, grpc_key, .. } in shown {
        // What is binary is nobody's to read.
        if !name.as_str().ends_with("-bin") {
            push_header(span, grpc_key, headers, name, capture);
        }
    }
}

/// The status that the call ended with. It is what the client sees, unless the service failed: a
/// layer further out may make another status of its error.
pub(super) fn status(http: Option<StatusCode>, end: End<'_>) -> GrpcStatus {
    let told = match end {
        End::Trailers(trailers) => GrpcStatus::from_headers(trailers),
        End::Cancelled => Some(GrpcStatus::CANCELLED),
        End::Panicked | End::Error(_) => Some(GrpcStatus::UNKNOWN),
        End::Complete => None,
    };
    told.unwrap_or_else(|| http.map_or(GrpcStatus::UNKNOWN, GrpcStatus::from_http))
}

/// Judges a call that ended with `status`.
pub(super) fn verdict(status: GrpcStatus, end: End<'_>) -> Verdict<'_> {
    if !status.is_server_error() {
        // The client's fault or wish: no error, and so no description either.
        return Verdict::default();
    }
    match end {
        End::Panicked => Verdict::error(error_type::PANIC),
        End::Error(error) => Verdict::described(status.name(), Description::Error(error)),
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
    use crate::record::{SpanHead, SpanLimits, decode_span};
    use crate::trace::cause::Cause;

    #[test]
    fn odd_paths_have_a_name_too() {
        // Path, name, `rpc.method`, reason.
        let rows = [
            ("/pkg.Service/Method", "pkg.Service/Method", Some("pkg.Service/Method"), "usual"),
            ("//method_only", "/method_only", Some("/method_only"), "the service is empty"),
            ("/service_only/", "service_only/", Some("service_only/"), "the method is empty"),
            ("/one", "one", Some("one"), "neither of the two"),
            ("/a/b/c", "a/b/c", Some("a/b/c"), "more than two"),
            ("/a/b?c=d", "a/b", Some("a/b"), "a query is no part of it"),
            ("http://h/a/b", "a/b", Some("a/b"), "nor is an authority"),
            ("/", "grpc", None, "nothing"),
            ("//", "/", Some("/"), "both are empty"),
            ("*", "*", Some("*"), "the server itself"),
            ("h:1", "grpc", None, "an authority alone"),
        ];
        for (uri, name, method, reason) in rows {
            let request = Request::post(uri).body(()).unwrap();
            let mut span = SpanBuffer::default();
            let head = SpanHead {
                trace_id: TraceId::from(1),
                span_id: SpanId::from(1),
                flags: TraceFlags::SAMPLED,
                tracestate: "",
                parent: None,
                kind: SpanKind::Server,
                start_unix_nanos: 1,
            };
            span.start(&head, SpanLimits::default());
            start(&mut span, &RequestHead::incoming(&request), &Terms::default());
            let span = decode_span(span.finish_after(1));
            assert_eq!(span.name, name, "{uri}: {reason}");
            let found = span.attribute("rpc.method").map(ToString::to_string);
            assert_eq!(found.as_deref(), method, "{uri}: {reason}");
        }
        assert!(Request::post("no_slash/method").body(()).is_err(), "`http` lets it not come here");
    }

    #[test]
    fn every_end_has_its_status_and_verdict() {
        let trailers = |status: &'static str, message: &'static str| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            trailers.insert("grpc-message", HeaderValue::from_static(message));
            trailers
        };
        let ok = trailers("0", "");
        let not_found = trailers("5", "no such user");
        let internal = trailers("13", "disk%20full");
        let odd = trailers("99", "odd");
        let empty = HeaderMap::new();
        let boom = End::Error(Cause::of(&"boom", &[]));
        type Row<'a> = (Option<u16>, End<'a>, &'a str, Option<&'a str>, &'a str, &'a str);
        let rows: [Row<'_>; 12] = [
            (Some(200), End::Trailers(&ok), "OK", None, "", "success"),
            (Some(200), End::Trailers(&not_found), "NOT_FOUND", None, "", "the client's fault"),
            (
                Some(200),
                End::Trailers(&internal),
                "INTERNAL",
                Some("INTERNAL"),
                "disk full",
                "the server's fault, in its words",
            ),
            (Some(200), End::Trailers(&odd), "UNKNOWN", Some("UNKNOWN"), "odd", "no gRPC code"),
            (Some(200), End::Trailers(&empty), "UNKNOWN", Some("UNKNOWN"), "", "no status"),
            (Some(200), End::Complete, "UNKNOWN", Some("UNKNOWN"), "", "no trailers"),
            (Some(401), End::Complete, "UNAUTHENTICATED", None, "", "answered by HTTP middleware"),
            (Some(503), End::Complete, "UNAVAILABLE", Some("UNAVAILABLE"), "", "and at fault"),
            (Some(200), End::Cancelled, "CANCELLED", None, "", "the client went away"),
            (None, End::Panicked, "UNKNOWN", Some("panic"), "", "the service panicked"),
            (None, boom, "UNKNOWN", Some("UNKNOWN"), "boom", "it failed"),
            (Some(200), boom, "UNKNOWN", Some("UNKNOWN"), "boom", "its body did"),
        ];
        for (http, end, name, error_type, description, why) in rows {
            let http = http.map(|code| StatusCode::from_u16(code).unwrap());
            let status = status(http, end);
            assert_eq!(status.name(), name, "{why}");
            let verdict = verdict(status, end);
            assert_eq!(verdict.error_type, error_type, "{why}");
            assert_eq!(verdict.description.text(), description, "{why}");
        }
    }
}
