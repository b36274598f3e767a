//! What a response says of its trace, and the requests that are never traced.

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{HeaderMap, Request, Response, Version};
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{
    RecordedSpan, ResponseHeader, TraceContext, TraceLayer, TracingService, TracingServiceConfig,
};

use crate::support::server::{fetch, get, request, serve};
use crate::support::spans::{all, at_rate, next};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

#[tokio::test]
async fn a_response_names_its_span_in_the_header_that_was_configured() {
    // Configured, request's `traceparent`, `server-timing` and `traceresponse`, reason. `@` stands
    // for the ids of the span.
    type Row = (
        ResponseHeader,
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        &'static str,
    );
    let rows: [Row; 6] = [
        (
            ResponseHeader::ServerTiming,
            SAMPLED,
            &["db;dur=53", "cache;desc=hit", "trace;desc=@"],
            &["the service's"],
            "added behind what the service says itself",
        ),
        (
            ResponseHeader::TraceResponse,
            SAMPLED,
            &["db;dur=53", "cache;desc=hit"],
            &["@"],
            "there is one place for it",
        ),
        (ResponseHeader::Off, SAMPLED, &["db;dur=53", "cache;desc=hit"], &["the service's"], "off"),
        (
            ResponseHeader::ServerTiming,
            NOT_SAMPLED,
            &["db;dur=53", "cache;desc=hit"],
            &["the service's"],
            "there is no span to name",
        ),
        (
            ResponseHeader::TraceResponse,
            NOT_SAMPLED,
            &["db;dur=53", "cache;desc=hit"],
            &["the service's"],
            "there is no span to name",
        ),
        (
            ResponseHeader::ServerTiming,
            "garbage",
            &["db;dur=53", "cache;desc=hit"],
            &["the service's"],
            "a new trace at rate 0 has no span, either",
        ),
    ];
    for (header, traceparent, server_timing, traceresponse, reason) in rows {
        let (tracing, spans) = TracingServiceConfig::default()
            .enabled(true)
            .response_header(header)
            .start_in_memory("journeys")
            .unwrap();
        let handler = async || {
            Response::builder()
                .header("server-timing", "db;dur=53")
                .header("server-timing", "cache;desc=hit")
                .header("traceresponse", "the service's")
                .body(Body::empty())
                .unwrap()
        };
        let app = Router::new().route("/", any(handler)).layer(TraceLayer::server(&tracing));
        let address = serve(app).await;

        let request = request("GET", "/", &[("traceparent", traceparent)]);
        let response = fetch(Version::HTTP_11, address, request).await;

        let ids = all(tracing, spans).await.first().map(ids).unwrap_or_default();
        let expected = |values: &[&str]| -> Vec<_> {
            values.iter().map(|value| value.replace('@', &ids)).collect()
        };
        let headers = response.headers();
        assert_eq!(values(headers, "server-timing"), expected(server_timing), "{reason}");
        assert_eq!(values(headers, "traceresponse"), expected(traceresponse), "{reason}");
    }
}

#[tokio::test]
async fn a_sampled_response_has_its_context_in_its_extensions() {
    let (tracing, mut spans) = at_rate(0);
    let service = service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("hello")))
    });
    let service = TraceLayer::server(&tracing).layer(service);

    let headers = [("traceparent", SAMPLED), ("tracestate", "a=1"), ("baggage", "user=ann")];
    let response = service.clone().oneshot(request("GET", "/", &headers)).await.unwrap();
    let context = response.extensions().get::<TraceContext>().cloned().unwrap();
    drop(response);
    let span = next(&mut spans).await;
    assert_eq!(context.trace_id(), span.trace_id);
    assert_eq!(context.span_id(), span.span_id);
    assert!(context.is_sampled());
    assert_eq!(context.tracestate(), Some("a=1"));
    assert_eq!(context.baggage(), Some("user=ann"));

    for headers in [&[("traceparent", NOT_SAMPLED)][..], &[]] {
        let response = service.clone().oneshot(request("GET", "/", headers)).await.unwrap();
        assert!(response.extensions().get::<TraceContext>().is_none(), "{headers:?}");
        assert!(response.headers().is_empty(), "{headers:?}: {:?}", response.headers());
    }
}

#[tokio::test]
async fn requests_that_bring_spans_are_not_traced_and_all_others_are() {
    const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let rows = [
        ("POST", "/v1/traces", false, "OTLP over HTTP"),
        ("POST", "/v1/traces?tenant=1", false, "with a query"),
        ("POST", EXPORT, false, "OTLP over gRPC"),
        ("GET", "/v1/traces", true, "somebody looks at traces"),
        ("POST", "/v1/traces/7", true, "another path"),
        ("POST", "/api/v1/traces", true, "another path"),
        ("POST", "/v1/metrics", true, "no spans are in there"),
    ];
    for (method, path, traced, reason) in rows {
        let (tracing, spans) = TracingService::in_memory();
        let handler = async || {
            // A receiver whose own work was traced would feed itself.
            TraceContext::current()
                .map(|context| context.trace_id().to_string())
                .unwrap_or_default()
        };
        let app = Router::new().fallback(handler).layer(TraceLayer::server(&tracing));
        let address = serve(app).await;

        let request = request(method, path, &[("traceparent", SAMPLED)]);
        let response = fetch(Version::HTTP_11, address, request).await;

        assert_eq!(!response.body().is_empty(), traced, "{method} {path}: {reason}");
        let names = response.headers().contains_key("server-timing");
        assert_eq!(names, traced, "{method} {path}: {reason}");
        let spans = all(tracing, spans).await;
        assert_eq!(spans.len(), usize::from(traced), "{method} {path}: {reason}");
    }
}

#[tokio::test]
async fn nothing_is_traced_where_telemetry_is_suppressed() {
    let (tracing, spans) = TracingService::in_memory();
    let service = service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    });
    let service = TraceLayer::server(&tracing).layer(service);

    let suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
    service.clone().oneshot(get("/silent")).await.unwrap();
    drop(suppressed);
    service.oneshot(get("/heard")).await.unwrap();

    let spans = all(tracing, spans).await;
    let paths: Vec<_> =
        spans.iter().map(|span| span.attribute("url.path").unwrap().as_str()).collect();
    assert_eq!(paths, ["/heard"]);
}

/// A span's ids as headers write them.
fn ids(span: &RecordedSpan) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id, span.span_id, span.flags & 0xff)
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}
