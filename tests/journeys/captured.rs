//! What spans show of the data that passes, and what they hide.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{self, HeaderName};
use http::{HeaderValue, Request, Response};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Array, Context, KeyValue, Value};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_otlp::{Capture, RecordedSpan, TraceLayer, TracingService, TracingServiceConfig};

use crate::support::server::request;
use crate::support::spans::{next, next_summary, summary, text};

fn names<const N: usize>(names: [&'static str; N]) -> [HeaderName; N] {
    names.map(HeaderName::from_static)
}

/// Answers with the headers of `response-*` that the request has, without their prefix.
async fn answer<B>(request: Request<B>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::empty());
    for (name, value) in request.headers() {
        if let Some(name) = name.as_str().strip_prefix("response-") {
            let name: HeaderName = name.parse().unwrap();
            response.headers_mut().append(name, value.clone());
        }
    }
    Ok(response)
}

/// The attributes of headers and metadata.
fn shown(span: &RecordedSpan) -> Vec<(&str, Vec<String>)> {
    let mut shown = Vec::new();
    for attribute in &span.attributes {
        let key = attribute.key.as_str();
        if key.contains(".header.") || key.contains(".metadata.") {
            let Value::Array(Array::String(values)) = &attribute.value else {
                panic!("{key} is no array of strings: {:?}", attribute.value);
            };
            shown.push((key, values.iter().map(ToString::to_string).collect()));
        }
    }
    shown
}

/// The same, as a table has it.
fn expected<'a>(rows: &[(&'a str, &[&str])]) -> Vec<(&'a str, Vec<String>)> {
    let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect();
    rows.iter().map(|(key, values)| (*key, owned(values))).collect()
}

#[tokio::test]
async fn headers_are_shown_by_name_with_all_their_values_in_order() {
    let (tracing, mut spans) = TracingService::in_memory();
    let capture = Capture::default()
        .request_headers(names(["never-named"]))
        .request_headers(names(["x-id", "accept", "x-absent", "x-id", "x-raw"]))
        .response_headers(names(["vary", "x-cache"]));
    let layers = [TraceLayer::server(&tracing), TraceLayer::client(&tracing)];
    for layer in layers {
        let service = layer.capture(capture.clone()).layer(service_fn(answer));
        let headers = [
            ("accept", "text/html"),
            ("x-id", "7"),
            ("accept", "*/*, text/plain"),
            ("x-other", "unnamed"),
            ("never-named", "the list was replaced"),
            ("response-x-cache", "hit"),
            ("response-vary", "b"),
            ("response-vary", "a"),
            ("response-x-other", "unnamed"),
        ];
        let mut request = request("GET", "http://h/", &headers);
        request.headers_mut().insert("x-raw", HeaderValue::from_bytes(b"\xff").unwrap());
        service.oneshot(request).await.unwrap();

        let rows: [(_, &[_]); 4] = [
            ("http.request.header.x-id", &["7"]),
            ("http.request.header.accept", &["text/html", "*/*, text/plain"]),
            ("http.response.header.vary", &["b", "a"]),
            ("http.response.header.x-cache", &["hit"]),
        ];
        let span = next(&mut spans).await;
        let mut found = shown(&span);
        found.sort();
        let mut expected = expected(&rows);
        expected.sort();
        assert_eq!(found, expected, "{:?}: no key twice, and nothing that is no text", span.kind);
    }
}

#[tokio::test]
async fn nothing_is_shown_that_nobody_has_named() {
    let (tracing, mut spans) = TracingService::in_memory();
    let service = TraceLayer::server(&tracing).layer(service_fn(answer));
    let headers = [("x-id", "7"), ("response-x-cache", "hit")];
    service.oneshot(request("GET", "/", &headers)).await.unwrap();
    assert_eq!(shown(&next(&mut spans).await), []);
}

#[tokio::test]
async fn what_the_service_has_written_itself_is_not_there_twice() {
    let (tracing, mut spans) = TracingService::in_memory();
    let capture = Capture::default().response_headers(names(["x-cache"]));
    let service = service_fn(async |request: Request<Body>| {
        let key = "http.response.header.x-cache";
        Context::current().span().set_attribute(KeyValue::new(key, "a guess"));
        answer(request).await
    });
    let service = TraceLayer::server(&tracing).capture(capture).layer(service);
    service.oneshot(request("GET", "/", &[("response-x-cache", "hit")])).await.unwrap();

    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Server | GET | 200 | unset | -", "which finds no key twice");
    assert_eq!(shown(&span), expected(&[("http.response.header.x-cache", &["hit"])]));
}

#[tokio::test]
async fn headers_that_hold_secrets_are_shown_only_by_force() {
    let secrets = [
        header::AUTHORIZATION,
        header::COOKIE,
        header::PROXY_AUTHORIZATION,
        header::SET_COOKIE,
        HeaderName::from_static("x-token"),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let capture =
        Capture::default().request_headers(secrets.clone()).response_headers(secrets.clone());
    let named = TraceLayer::server(&tracing).capture(capture.clone());
    let forced = TraceLayer::server(&tracing).capture(capture.sensitive_headers(true));

    let headers = |content_type: &'static str| {
        let mut request = request("POST", "/s/m", &[("content-type", content_type)]);
        for name in &secrets {
            let secret = HeaderValue::from_static("secret");
            request.headers_mut().insert(name, secret.clone());
            let of_response: HeaderName = format!("response-{name}").parse().unwrap();
            request.headers_mut().insert(of_response, secret);
        }
        // Of the last only what the program has marked is a secret.
        for name in ["x-token", "response-x-token"] {
            request.headers_mut().get_mut(name).unwrap().set_sensitive(true);
            request.headers_mut().append(name, HeaderValue::from_static("public"));
        }
        request
    };
    let kinds = [("text/plain", "http", "header"), ("application/grpc", "rpc", "metadata")];
    for (content_type, protocol, kind) in kinds {
        let keys = |side: &str, name: &HeaderName| format!("{protocol}.{side}.{kind}.{name}");

        named.layer(service_fn(answer)).oneshot(headers(content_type)).await.unwrap();
        let span = next(&mut spans).await;
        let all: Vec<_> =
            shown(&span).into_iter().map(|(key, values)| (key.to_owned(), values)).collect();
        let public = |side| (keys(side, &secrets[4]), vec!["public".to_owned()]);
        assert_eq!(all, [public("request"), public("response")], "{kind}");

        forced.layer(service_fn(answer)).oneshot(headers(content_type)).await.unwrap();
        let span = next(&mut spans).await;
        assert_eq!(shown(&span).len(), 2 * secrets.len(), "{kind}: {:?}", shown(&span));
        for (side, name) in secrets.iter().flat_map(|name| [("request", name), ("response", name)])
        {
            let values: &[&str] =
                if name == "x-token" { &["secret", "public"] } else { &["secret"] };
            let found = shown(&span).into_iter().find(|(key, _)| *key == keys(side, name));
            assert_eq!(found.unwrap().1, values, "{side} {name}");
        }
    }
}

/// A call that carries metadata, answered with some.
fn call(path: &str) -> Request<Body> {
    let headers = [
        ("content-type", "application/grpc"),
        ("x-tenant", "blue"),
        ("x-tenant", "green"),
        ("x-trace-bin", "c2VjcmV0"),
        ("response-x-cell", "7"),
        ("response-x-cell-bin", "c2VjcmV0"),
        ("response-grpc-status", "0"),
    ];
    request("POST", path, &headers)
}

#[tokio::test]
async fn metadata_is_shown_under_its_own_keys_and_never_what_is_binary() {
    let (tracing, mut spans) = TracingService::in_memory();
    let capture = Capture::default()
        .sensitive_headers(true)
        .request_headers(names(["x-tenant", "x-trace-bin"]))
        .response_headers(names(["x-cell", "x-cell-bin"]));
    let server = TraceLayer::server(&tracing).capture(capture.clone()).layer(service_fn(answer));
    let service = TraceLayer::client(&tracing).capture(capture).layer(server);
    service.oneshot(call("/test.Echo/One")).await.unwrap();

    for kind in ["Server", "Client"] {
        let span = next(&mut spans).await;
        assert_eq!(summary(&span), format!("{kind} | test.Echo/One | OK | unset | -"));
        let expected = expected(&[
            ("rpc.request.metadata.x-tenant", &["blue", "green"]),
            ("rpc.response.metadata.x-cell", &["7"]),
        ]);
        assert_eq!(shown(&span), expected, "{kind}");
    }
}

/// Asks for two methods that are known by their lists only, and for gRPC methods.
async fn ask<S>(service: S)
where
    S: Service<Request<Body>, Response: Sized, Error = Infallible> + Clone,
{
    let requests = [
        request("PURGE", "http://h/?sig=1&session=2", &[]),
        request("POST", "http://h/", &[]),
        call("/test.Echo/One"),
        call("/made.Up/Anything"),
    ];
    for request in requests {
        drop(service.clone().oneshot(request).await);
    }
}

#[tokio::test]
async fn lists_of_ones_own_say_what_is_known_and_what_is_secret() {
    let (tracing, mut spans) = TracingService::in_memory();
    let capture = Capture::default()
        .redacted_query_parameters(["session"])
        .known_methods(["GET", "PURGE"])
        .known_grpc_methods(["test.Echo/One"]);
    let layers = [
        ("Server", "url.query", "sig=1&session=REDACTED", TraceLayer::server(&tracing)),
        ("Client", "url.full", "http://h/?sig=1&session=REDACTED", TraceLayer::client(&tracing)),
    ];
    for (kind, url, redacted, layer) in layers {
        ask(layer.capture(capture.clone()).layer(service_fn(answer))).await;

        let purge = next(&mut spans).await;
        assert_eq!(summary(&purge), format!("{kind} | PURGE | 200 | unset | -"));
        assert_eq!(text(&purge, url).unwrap(), redacted);

        let post = next(&mut spans).await;
        assert_eq!(summary(&post), format!("{kind} | HTTP | 200 | unset | -"));
        assert_eq!(text(&post, "http.request.method").unwrap(), "_OTHER");
        assert_eq!(text(&post, "http.request.method_original").unwrap(), "POST");

        let served = next(&mut spans).await;
        assert_eq!(summary(&served), format!("{kind} | test.Echo/One | OK | unset | -"));
        assert_eq!(text(&served, "rpc.method_original"), None);

        let made_up = next(&mut spans).await;
        assert_eq!(summary(&made_up), format!("{kind} | grpc | OK | unset | -"));
        assert_eq!(text(&made_up, "rpc.method").unwrap(), "_OTHER");
        assert_eq!(text(&made_up, "rpc.method_original").unwrap(), "made.Up/Anything");
    }
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn metrics_know_the_same_methods_as_spans() {
    use crate::metrics::Meters;

    let capture =
        Capture::default().known_methods(["GET", "PURGE"]).known_grpc_methods(["test.Echo/One"]);
    let (tracing, _spans) = TracingService::in_memory();
    for (side, layer) in
        [("server", TraceLayer::server(&tracing)), ("client", TraceLayer::client(&tracing))]
    {
        let meters = Meters::new();
        // Also one that is told what to show after it was told to measure.
        let layer = layer.metrics(&meters.provider).capture(capture.clone());
        ask(layer.layer(service_fn(answer))).await;

        let lines = meters.lines();
        let found = |metric: &str, part: &str| {
            let metric = format!("{metric} | ");
            lines.iter().any(|line| line.starts_with(&metric) && line.contains(part))
        };
        let http = format!("http.{side}.request.duration");
        let rpc = format!("rpc.{side}.call.duration");
        assert!(found(&http, "http.request.method=PURGE "), "{lines:#?}");
        assert!(found(&http, "http.request.method=_OTHER "), "{lines:#?}");
        assert!(found(&rpc, "rpc.method=test.Echo/One "), "{lines:#?}");
        assert!(found(&rpc, "rpc.method=_OTHER "), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("POST") || line.contains("made.Up")));
    }
}

const SECTION: &str = "
tracing_service:
  enabled: yes
  exporter_url: http://collector.example.com:4318
  sampling_rate_per_million: 1_000_000
  request_headers: [X-Id, x-tenant, authorization]
  response_headers: [x-cache, x-cell]
  sensitive_headers: yes
  redacted_query_parameters: [session]
  known_methods: [GET, PURGE]
  known_grpc_methods: [test.Echo/One]
  trusted_proxies: [10.0.0.0/8, ::1]
";

#[tokio::test]
async fn the_operator_says_in_the_document_what_is_shown_and_who_is_believed() {
    let config = TracingServiceConfig::from_yaml_str(SECTION).unwrap();
    let (tracing, mut spans) = config.start_in_memory("journeys").unwrap();
    let service = TraceLayer::server(&tracing).layer(service_fn(answer));

    let headers = [
        ("x-id", "7"),
        ("authorization", "secret"),
        ("response-x-cache", "hit"),
        ("x-forwarded-for", "203.0.113.9, 192.0.2.7, 10.9.9.9"),
    ];
    // IPv4 as a socket of both kinds shows it.
    for (peer, client) in [
        ("[::ffff:10.1.2.3]:4711", "192.0.2.7"),
        ("[::1]:4711", "192.0.2.7"),
        ("192.0.2.1:4711", "192.0.2.1"),
    ] {
        let mut request = request("GET", "/?sig=1&session=2", &headers);
        request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        service.clone().oneshot(request).await.unwrap();

        let span = next(&mut spans).await;
        assert_eq!(text(&span, "client.address").unwrap(), client, "{peer}");
        assert_eq!(text(&span, "url.query").unwrap(), "sig=1&session=REDACTED");
        let expected = expected(&[
            ("http.request.header.x-id", &["7"]),
            ("http.request.header.authorization", &["secret"]),
            ("http.response.header.x-cache", &["hit"]),
        ]);
        assert_eq!(shown(&span), expected);
    }

    ask(service).await;
    for expected in ["PURGE | 200", "HTTP | 200", "test.Echo/One | OK", "grpc | OK"] {
        assert_eq!(next_summary(&mut spans).await, format!("Server | {expected} | unset | -"));
    }
}

#[tokio::test]
async fn what_code_says_of_a_layer_goes_before_the_document() {
    let config = TracingServiceConfig::from_yaml_str(SECTION).unwrap();
    let (tracing, mut spans) = config.start_in_memory("journeys").unwrap();
    let layer = TraceLayer::server(&tracing).capture(Capture::default()).trusted_proxies([]);
    let mut request = request("POST", "/", &[("x-id", "7"), ("x-forwarded-for", "192.0.2.7")]);
    let peer: SocketAddr = "10.1.2.3:4711".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    layer.layer(service_fn(answer)).oneshot(request).await.unwrap();

    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Server | POST | 200 | unset | -");
    assert_eq!(text(&span, "client.address").unwrap(), "10.1.2.3");
    assert_eq!(shown(&span), []);
}
