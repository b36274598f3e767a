//! HTTP spans: those of servers, and what those of [clients](client) share with them.

pub(in crate::trace) mod client;

use ::http::{HeaderMap, StatusCode, Version, header};

use super::{Description, RequestHead, Terms, Verdict, error_type, push_header, server_address};
use crate::context::glance;
use crate::record::{Capture, CapturedHeader, SpanBuffer};
use crate::trace::exchange::End;
use crate::trace::peer::Origin;

/// Writes the attributes that a request's head gives, and the name.
pub(in crate::trace) fn start(span: &mut SpanBuffer, head: &RequestHead<'_>, terms: &Terms<'_>) {
    let uri = head.uri();
    let origin = Origin::of(head, terms.trusted_proxies);
    let name = push_method(span, head, terms.capture);
    span.push_peer_str("url.path", uri.path());
    // A request that names no scheme came straight to this server, over a transport that the
    // layer cannot see.
    let scheme = origin.forwarded.scheme.or_else(|| uri.scheme_str()).unwrap_or("http");
    span.push_peer_str("url.scheme", scheme);
    if let Some(query) = uri.query() {
        span.push_peer_str("url.query", &terms.capture.redact(query));
    }
    let [host, agent] = glance::get_each(head.headers, [&header::HOST, &header::USER_AGENT]);
    let told = server_address::told(uri, || host);
    server_address::push(span, terms.server_address, origin.forwarded.host, told);
    origin.push_client(span);
    origin.push_peer(span);
    if let Some(version) = version(head.version) {
        span.push_str("network.protocol.version", version);
    }
    if let Some(agent) = agent {
        match agent.to_str() {
            Ok(agent) => span.push_peer_str("user_agent.original", agent),
            Err(_) => {
                let agent = String::from_utf8_lossy(agent.as_bytes());
                span.push_peer_str("user_agent.original", &agent);
            }
        }
    }
    headers(span, head.headers, &terms.capture.request_headers, terms.capture);

    match route(head) {
        Some(route) => {
            span.push_str("http.route", route);
            span.set_name(&[name, " ", route]);
        }
        None => span.set_name(&[name]),
    }
}

/// Writes the method. Returns what stands for it in the span's name.
fn push_method<'a>(span: &mut SpanBuffer, head: &RequestHead<'a>, capture: &Capture) -> &'a str {
    let method = head.method.as_str();
    if capture.is_known_method(method) {
        span.push_str("http.request.method", method);
        return method;
    }
    span.push_str("http.request.method", "_OTHER");
    span.push_peer_str("http.request.method_original", method);
    "HTTP"
}

/// Writes the headers that are to be shown.
pub(in crate::trace) fn headers(
    span: &mut SpanBuffer,
    headers: &HeaderMap,
    shown: &[CapturedHeader],
    capture: &Capture,
) {
    for CapturedHeader { name, http_key, .. } in shown {
        push_header(span, http_key, headers, name, capture);
    }
}

/// Judges how a request ended that was answered with `status`, or not at all.
pub(super) fn verdict<'a>(status: Option<&'a StatusCode>, end: End<'a>) -> Verdict<'a> {
    // A status that tells of an error goes first: it is what the client saw. 4xx is the client's
    // fault, so no error of a server span.
    let told = status.filter(|status| !(100..500).contains(&status.as_u16()));
    let of_end = match end {
        End::Complete | End::Trailers(_) => None,
        End::Error(_) if status.is_none() => Some(error_type::SERVICE),
        End::Error(_) => Some(error_type::BODY),
        End::Cancelled => Some(error_type::CANCELLED),
        End::Panicked => Some(error_type::PANIC),
    };
    let Some(error_type) = told.map(StatusCode::as_str).or(of_end) else {
        return Verdict::default();
    };
    match end {
        End::Error(error) => Verdict::described(error_type, Description::Error(error)),
        _ => Verdict::error(error_type),
    }
}

/// The route that an axum `Router` matched. Only seen by layers inside the router
/// (`Router::layer`, `Router::route_layer`).
pub(in crate::trace) fn route<'a>(head: &RequestHead<'a>) -> Option<&'a str> {
    #[cfg(feature = "axum")]
    return head.extensions.get::<axum::extract::MatchedPath>().map(|path| path.as_str());
    #[cfg(not(feature = "axum"))]
    {
        let _ = head.extensions;
        None
    }
}

pub(in crate::trace) fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderMap, Request};
    use opentelemetry::trace::{SpanId, SpanKind, TraceFlags, TraceId};

    use super::*;
    use crate::record::{RecordedSpan, SpanHead, SpanLimits, decode_span};
    use crate::trace::cause::Cause;

    fn started(request: &Request<()>) -> RecordedSpan {
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
        start(&mut span, &RequestHead::incoming(request), &Terms::default());
        decode_span(span.finish_after(1))
    }

    #[test]
    fn the_conventions_are_followed() {
        let request = |method: &str, uri: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(()).unwrap()
        };
        let long = "x".repeat(5000);
        type Expected<'a> = &'a [(&'a str, &'a str)];
        let rows: &[(Request<()>, &str, Expected<'_>, &str)] = &[
            (
                request("GET", "/users/42?a=1", &[("host", "h:8080"), ("user-agent", "curl")]),
                "GET",
                &[
                    ("http.request.method", "GET"),
                    ("url.path", "/users/42"),
                    ("url.scheme", "http"),
                    ("url.query", "a=1"),
                    ("server.address", "h"),
                    ("server.port", "8080"),
                    ("network.protocol.version", "1.1"),
                    ("user_agent.original", "curl"),
                ],
                "HTTP/1.1 origin form",
            ),
            (
                request("POST", "https://user:secret@h/p", &[("host", "other")]),
                "POST",
                &[
                    ("http.request.method", "POST"),
                    ("url.path", "/p"),
                    ("url.scheme", "https"),
                    ("server.address", "h"),
                    ("network.protocol.version", "1.1"),
                ],
                "the authority goes before Host, and userinfo is not shown",
            ),
            (
                request("Put", "/", &[]),
                "HTTP",
                &[
                    ("http.request.method", "_OTHER"),
                    ("http.request.method_original", "Put"),
                    ("url.path", "/"),
                    ("url.scheme", "http"),
                    ("network.protocol.version", "1.1"),
                ],
                "methods are case-sensitive",
            ),
            (
                request("QUERY", "/", &[]),
                "QUERY",
                &[
                    ("http.request.method", "QUERY"),
                    ("url.path", "/"),
                    ("url.scheme", "http"),
                    ("network.protocol.version", "1.1"),
                ],
                "QUERY is known",
            ),
            (
                request("GET", "/", &[("user-agent", &long)]),
                "GET",
                &[
                    ("http.request.method", "GET"),
                    ("url.path", "/"),
                    ("url.scheme", "http"),
                    ("network.protocol.version", "1.1"),
                    ("user_agent.original", &long[..4096]),
                ],
                "values of the peer are cut at 4 KiB",
            ),
        ];
        for (request, name, attributes, why) in rows {
            let span = started(request);
            assert_eq!(span.name, *name, "{why}");
            let found: Vec<_> =
                span.attributes.iter().map(|kv| (kv.key.as_str(), kv.value.to_string())).collect();
            let found: Vec<_> = found.iter().map(|(k, v)| (*k, v.as_str())).collect();
            assert_eq!(found, *attributes, "{why}");
        }
    }

    #[test]
    fn every_end_has_its_verdict() {
        let trailers = HeaderMap::new();
        let boom = End::Error(Cause::of(&"boom", &[]));
        let rows: [(Option<u16>, End<'_>, Option<&str>, &str); 14] = [
            (Some(100), End::Complete, None, ""),
            (Some(200), End::Complete, None, ""),
            (Some(302), End::Complete, None, ""),
            (Some(404), End::Complete, None, ""),
            (Some(500), End::Complete, Some("500"), ""),
            (Some(599), End::Trailers(&trailers), Some("599"), ""),
            (Some(600), End::Complete, Some("600"), ""),
            (Some(200), End::Cancelled, Some("cancelled"), ""),
            (None, End::Cancelled, Some("cancelled"), ""),
            (None, End::Panicked, Some("panic"), ""),
            (None, boom, Some("service_error"), "boom"),
            (Some(200), boom, Some("body_error"), "boom"),
            (Some(503), boom, Some("503"), "boom"),
            (Some(503), End::Cancelled, Some("503"), ""),
        ];
        for (status, end, error_type, description) in rows {
            let status = status.map(|code| StatusCode::from_u16(code).unwrap());
            let verdict = verdict(status.as_ref(), end);
            assert_eq!(verdict.error_type, error_type, "{status:?} {end:?}");
            assert_eq!(verdict.description.text(), description, "{status:?} {end:?}");
        }
    }

    #[test]
    fn every_version_has_its_name() {
        let mut request = Request::new(());
        for (version, name) in [
            (Version::HTTP_09, "0.9"),
            (Version::HTTP_10, "1.0"),
            (Version::HTTP_11, "1.1"),
            (Version::HTTP_2, "2"),
            (Version::HTTP_3, "3"),
        ] {
            *request.version_mut() = version;
            let span = started(&request);
            let found = span.attribute("network.protocol.version").map(ToString::to_string);
            assert_eq!(found.as_deref(), Some(name));
        }
    }
}
