use ::http::{HeaderMap, Request};
use opentelemetry::trace::{SpanId, SpanKind, TraceFlags, TraceId};

use super::*;
use crate::record::{RecordedSpan, SpanHead, SpanLimits, decode_span};
use crate::trace::cause::Cause;

fn started(request: &RequestHead<'_>, address: Option<&ServerAddress>) -> RecordedSpan {
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
    start(&mut span, request, &Terms { server_address: address, ..Terms::default() });
    decode_span(span.finish_after(1))
}

#[test]
fn a_url_is_whole_without_secrets_and_its_address_has_a_port() {
    let set = |address: &str, port: Option<u16>| ServerAddress::new(address.into(), port);
    // URI, `Host`, address of the layer, `url.full`, `server.address` and port, reason.
    type Row<'a> =
        (&'a str, &'a str, Option<ServerAddress>, &'a str, Option<(&'a str, i64)>, &'a str);
    let rows: [Row<'_>; 20] = [
        ("http://h/p?a=1", "", None, "http://h/p?a=1", Some(("h", 80)), "the port of http"),
        ("https://h/", "", None, "https://h/", Some(("h", 443)), "the port of https"),
        ("https://h", "", None, "https://h/", Some(("h", 443)), "no path is /"),
        ("http://h:8080/p", "", None, "http://h:8080/p", Some(("h", 8080)), "a port of its own"),
        ("http://h:80/p", "", None, "http://h:80/p", Some(("h", 80)), "written as it came"),
        ("http://[::1]:8080/", "", None, "http://[::1]:8080/", Some(("::1", 8080)), "IPv6"),
        ("http://[::1]/", "", None, "http://[::1]/", Some(("::1", 80)), "IPv6 without port"),
        (
            "https://user:secret@h/p",
            "",
            None,
            "https://REDACTED:REDACTED@h/p",
            Some(("h", 443)),
            "user and password",
        ),
        ("https://user@h/p", "", None, "https://REDACTED:REDACTED@h/p", Some(("h", 443)), "a user"),
        (
            "https://h/p?a=1&sig=secret&b=2",
            "",
            None,
            "https://h/p?a=1&sig=REDACTED&b=2",
            Some(("h", 443)),
            "a signature",
        ),
        ("http://h/p", "other:1", None, "http://h/p", Some(("h", 80)), "the URI goes before Host"),
        ("/p?x", "h:8080", None, "http://h:8080/p?x", Some(("h", 8080)), "origin form and Host"),
        ("/p", "h", None, "http://h/p", Some(("h", 80)), "a Host without port"),
        ("/p", "h:443", None, "https://h:443/p", Some(("h", 443)), "a port that tells the scheme"),
        (
            "/p",
            "",
            Some(set("h", Some(81))),
            "http://h:81/p",
            Some(("h", 81)),
            "the layer knows it",
        ),
        ("/p", "", Some(set("::1", None)), "http://[::1]/p", Some(("::1", 80)), "and is IPv6"),
        (
            "http://h/p",
            "",
            Some(set("set", Some(1))),
            "http://h/p",
            Some(("h", 80)),
            "the request goes before the layer",
        ),
        ("/p?x", "", None, "/p?x", None, "nobody knows: what there is"),
        (
            "http://localhost/p",
            "",
            Some(set("/run/docker.sock", None)),
            "http://localhost/p",
            Some(("localhost", 80)),
            "a host goes before a socket, too",
        ),
        ("*", "h", None, "http://h", Some(("h", 80)), "OPTIONS of the whole server"),
    ];
    for (uri, host, set, url, address, why) in rows {
        let mut request = Request::get(uri);
        if !host.is_empty() {
            request = request.header("host", host);
        }
        let request = request.body(()).unwrap();
        let span = started(&RequestHead::outgoing(&request), set.as_ref());
        let text = |key: &str| span.attribute(key).map(ToString::to_string);
        assert_eq!(text("url.full").as_deref(), Some(url), "{uri}: {why}");
        assert_eq!(
            text("server.address").as_deref(),
            address.map(|(host, _)| host),
            "{uri}: {why}"
        );
        let port = address.map(|(_, port)| port.to_string());
        assert_eq!(text("server.port"), port, "{uri}: {why}");
        assert_eq!((span.name.as_str(), &span.kind), ("GET", &SpanKind::Client), "{uri}");
    }
}

#[test]
fn a_socket_has_no_port_and_is_no_part_of_a_url() {
    for set in [
        ServerAddress::new("/run/docker.sock".to_owned(), None),
        ServerAddress::of_target("unix:///run/docker.sock"),
    ] {
        let request = Request::get("/containers/json?all=1").body(()).unwrap();
        let span = started(&RequestHead::outgoing(&request), Some(&set));
        let text = |key: &str| span.attribute(key).map(ToString::to_string);
        assert_eq!(text("url.full").unwrap(), "/containers/json?all=1");
        assert_eq!(text("server.address").unwrap(), "/run/docker.sock");
        assert_eq!(text("server.port"), None);
    }
}

#[test]
fn a_connect_asks_for_an_authority_and_a_fragment_is_kept() {
    let request = Request::connect("h:8443").body(()).unwrap();
    let span = started(&RequestHead::outgoing(&request), None);
    assert_eq!(span.attribute("url.full").unwrap().to_string(), "h:8443");
    assert_eq!(span.attribute("server.port").unwrap().to_string(), "8443");
    assert_eq!(span.name, "CONNECT");

    let request = Request::get("http://h/p?sig=x").body(()).unwrap();
    let head = RequestHead { fragment: Some("part"), ..RequestHead::outgoing(&request) };
    let span = started(&head, None);
    let url = span.attribute("url.full").unwrap().to_string();
    assert_eq!(url, "http://h/p?sig=REDACTED#part");
}

#[test]
fn a_methods_name_is_known_or_other_and_a_resend_is_counted_from_one() {
    let rows = [
        ("GET", "GET", "GET", None),
        ("QUERY", "QUERY", "QUERY", None),
        ("Put", "HTTP", "_OTHER", Some("Put")),
        ("CUSTOM", "HTTP", "_OTHER", Some("CUSTOM")),
    ];
    for (method, name, recorded, original) in rows {
        let request = Request::builder().method(method).uri("http://h/").body(()).unwrap();
        let span = started(&RequestHead::outgoing(&request), None);
        let text = |key: &str| span.attribute(key).map(ToString::to_string);
        assert_eq!(span.name, name, "{method}");
        assert_eq!(text("http.request.method").as_deref(), Some(recorded), "{method}");
        assert_eq!(text("http.request.method_original").as_deref(), original, "{method}");
        assert_eq!(text("http.request.resend_count"), None, "{method}");
    }
    for (count, expected) in [(0, None), (1, Some("1")), (7, Some("7"))] {
        let request = Request::get("http://h/").extension(ResendCount(count)).body(()).unwrap();
        let span = started(&RequestHead::outgoing(&request), None);
        let found = span.attribute("http.request.resend_count").map(ToString::to_string);
        assert_eq!(found.as_deref(), expected, "{count}");
    }
}

#[test]
fn a_url_that_a_router_matched_is_not_the_one_that_is_sent() {
    // As in a proxy that sends on the request that it got, with its extensions.
    #[cfg(feature = "axum")]
    {
        let mut request = Request::get("http://inner/new").body(()).unwrap();
        let original = axum::extract::OriginalUri("/old".parse().unwrap());
        request.extensions_mut().insert(original);
        let span = started(&RequestHead::outgoing(&request), None);
        assert_eq!(span.attribute("url.full").unwrap().to_string(), "http://inner/new");
    }
}

#[test]
fn every_end_has_its_verdict() {
    let trailers = HeaderMap::new();
    let boom = End::Error(Cause::of(&"boom", &[]));
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let refused = End::Error(Cause::of(&refused, &[]));
    let rows: [(Option<u16>, End<'_>, Option<&str>, &str); 18] = [
        (Some(101), End::Complete, None, "another protocol from here on"),
        (Some(200), End::Complete, None, "success"),
        (Some(304), End::Complete, None, "no error either"),
        (Some(399), End::Trailers(&trailers), None, "nor is this"),
        (Some(400), End::Complete, Some("400"), "the caller's fault is the client span's error"),
        (Some(404), End::Trailers(&trailers), Some("404"), "as is this"),
        (Some(500), End::Complete, Some("500"), "the server's"),
        (Some(600), End::Complete, Some("600"), "no status that there is"),
        (Some(200), End::Cancelled, None, "nobody wants the rest: no error"),
        (None, End::Cancelled, None, "nor any of it"),
        (Some(503), End::Cancelled, Some("503"), "but the status had been seen"),
        (None, End::Panicked, Some("panic"), "the client panicked"),
        (None, boom, Some("service_error"), "an error that says no more"),
        (Some(200), boom, Some("body_error"), "of the body"),
        (Some(503), boom, Some("503"), "the status goes first"),
        (None, refused, Some("connection_refused"), "an error that says what happened"),
        (Some(200), refused, Some("connection_refused"), "also of a body"),
        (Some(404), refused, Some("404"), "the status goes first"),
    ];
    for (status, end, error_type, why) in rows {
        let status = status.map(|code| StatusCode::from_u16(code).unwrap());
        let verdict = verdict(status.as_ref(), end);
        assert_eq!(verdict.error_type, error_type, "{status:?} {end:?}: {why}");
        let is_described = !verdict.description.text().is_empty();
        assert_eq!(is_described, matches!(end, End::Error(_)), "{status:?} {end:?}: {why}");
    }
}
