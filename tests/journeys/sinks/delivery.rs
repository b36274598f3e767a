//! What arrives at a good collector, and how.

use std::convert::Infallible;
use std::future::ready;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Empty;
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as ProtoKeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use tower::{Layer, Service, service_fn};
use tower_otlp::opentelemetry;
use tower_otlp::{TraceContext, TraceLayer, TracingService, TracingServiceConfig};

use super::collector::Collector;
use super::script::Script;
use super::{LONG, ids, serve, serve_large, settled, skip, tracing_to};

#[test]
fn what_arrives_over_grpc_is_what_was_recorded() {
    let collector = Collector::start(Script::Ok);
    let tracing = order_service(&collector.grpc_url());
    let served = serve_order(&tracing);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0));

    let [request] = &collector.received()[..] else { panic!("one request") };
    assert_eq!(request.version, Version::HTTP_2);
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(request.headers["content-type"], "application/grpc");
    assert_eq!(request.headers["te"], "trailers");
    assert_eq!(request.headers["grpc-timeout"], "10000000u");
    assert_eq!(request.headers["user-agent"], USER_AGENT);
    assert!(!request.headers.contains_key("traceparent"), "an export is part of no trace");
    assert_is_order(&request.message.resource_spans, &served);
}

#[test]
fn what_arrives_over_http_is_what_was_recorded() {
    let collector = Collector::start(Script::Ok);
    let tracing = order_service(&collector.http_url());
    let served = serve_order(&tracing);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0));

    let [request] = &collector.received()[..] else { panic!("one request") };
    assert_eq!(request.version, Version::HTTP_11);
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.path, "/v1/traces");
    assert_eq!(request.headers["host"], collector.address().to_string());
    assert_eq!(request.headers["content-type"], "application/x-protobuf");
    assert_eq!(request.headers["user-agent"], USER_AGENT);
    assert!(request.headers.contains_key("content-length"), "some collectors take no chunks");
    assert!(!request.headers.contains_key("traceparent"), "an export is part of no trace");
    assert_is_order(&request.message.resource_spans, &served);
}

#[test]
fn http_requests_go_to_the_path_of_the_url() {
    let rows = [
        ("", "/v1/traces", "no path is the standard one"),
        ("/", "/v1/traces", "and so is the root"),
        ("/v1/traces", "/v1/traces", "the standard one, written out"),
        ("/otlp/v1/traces", "/otlp/v1/traces", "behind a prefix"),
        ("/v1/traces/", "/v1/traces/", "exactly as written"),
        ("/ingest/caf%C3%A9/a,b;c=d", "/ingest/caf%C3%A9/a,b;c=d", "still percent-encoded"),
    ];
    let collector = Collector::start(Script::Ok);
    for (path, expected, why) in rows {
        let tracing = tracing_to(&format!("http://{}{path}", collector.address()));
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{why}");
        assert_eq!(collector.received().last().unwrap().path, expected, "{why}");
    }
}

#[test]
fn collectors_are_found_by_ipv6_and_by_name() {
    let loopback = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let Ok(collector) = Collector::listen(loopback, Script::Ok) else {
        return skip("there is no IPv6 loopback");
    };
    for scheme in ["grpc", "http"] {
        let tracing = tracing_to(&format!("{scheme}://{}", collector.address()));
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{scheme}");
    }
    assert_eq!(collector.received()[1].headers["host"], collector.address().to_string());

    let collector = Collector::start(Script::Ok);
    for scheme in ["grpc", "http"] {
        let tracing = tracing_to(&format!("{scheme}://localhost:{}", collector.address().port()));
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{scheme}");
    }
    assert_eq!(collector.spans().len(), 2, "localhost may be ::1 first, where nobody listens");
}

#[test]
fn many_spans_go_out_in_few_requests_and_all_arrive() {
    for url in [Collector::grpc_url, Collector::http_url] {
        let collector = Collector::start(Script::Ok);
        let tracing = tracing_to(&url(&collector));
        let mut served = serve(&tracing, 1000);
        served.extend(serve(&tracing, 1000));
        assert_eq!(tracing.shutdown_blocking(LONG), settled(2000, 0));
        assert_eq!(collector.ids(), ids(&served));
        assert_eq!(collector.spans().len(), 2000, "none twice");
    }
}

#[test]
fn a_request_carries_all_the_chunks_that_wait() {
    for url in [Collector::grpc_url, Collector::http_url] {
        // Chunks of 512 spans wait while eight requests, of one chunk each, are under way.
        let collector = Collector::start(Script::Silence);
        let tracing = tracing_to(&url(&collector));
        for under_way in 1..=8 {
            serve(&tracing, 1);
            let _ = tracing.flush_blocking(Duration::ZERO);
            collector.wait_for(under_way);
        }
        let served = serve(&tracing, 3 * 512);
        let _ = tracing.flush_blocking(Duration::ZERO);
        assert_eq!(collector.received().len(), 8, "no ninth request at once");
        collector.play(Script::Ok);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(8 + 3 * 512, 0));

        let received = collector.received();
        let spans = |i: usize| spans_of(&received[i].message.resource_spans).count();
        assert_eq!((received.len(), spans(8)), (9, 3 * 512), "three chunks in the ninth request");
        assert!(collector.ids().is_superset(&ids(&served)));
    }
}

#[test]
fn no_request_is_larger_than_collectors_take() {
    const MIB: usize = 1 << 20;
    for url in [Collector::grpc_url, Collector::http_url] {
        let collector = Collector::start(Script::Ok);
        let tracing = tracing_to(&url(&collector));
        let mut served: Vec<_> = (0..12).map(|_| serve_large(&tracing, MIB)).collect();
        served.push(serve_large(&tracing, 3 * MIB + MIB / 2));
        serve_large(&tracing, 4 * MIB);
        let mut expected = settled(13, 0);
        expected.accepted = 14;
        expected.dropped.too_large = 1;
        assert_eq!(tracing.shutdown_blocking(LONG), expected);
        assert_eq!(collector.ids(), ids(&served));
        let received = collector.received();
        let sizes: Vec<_> = received.iter().map(|request| request.message.encoded_len()).collect();
        assert!(sizes.iter().all(|&size| size <= 4 * MIB), "{sizes:?}");
    }
}

#[test]
fn a_partial_success_is_counted_as_the_collector_says() {
    let rows: [(i64, &str, u64, &str); 7] = [
        (0, "", 0, "nothing is wrong"),
        (0, "attributes were cut", 0, "a warning"),
        (2, "too old", 2, "some rejected"),
        (5, "", 5, "all rejected"),
        (6, "", 5, "more than were sent"),
        (i64::MAX, "", 5, "far more than were sent"),
        (-3, "", 0, "fewer than none"),
    ];
    for (told, message, rejected, why) in rows {
        for url in [Collector::grpc_url, Collector::http_url] {
            let collector = Collector::start(Script::Partial(told, message));
            let tracing = tracing_to(&url(&collector));
            serve(&tracing, 5);
            let stats = tracing.shutdown_blocking(LONG);
            assert_eq!(collector.spans().len(), 5, "{why}: never sent again");
            // The exporter's clock may have cut the five in two, each with an answer.
            let sizes = collector
                .received()
                .into_iter()
                .map(|received| spans_of(&received.message.resource_spans).count() as u64);
            let rejected: u64 = sizes.map(|size| size.min(rejected)).sum();
            let mut expected = settled(5 - rejected, 0);
            expected.accepted = 5;
            expected.rejected = rejected;
            assert_eq!(stats, expected, "{why}");
        }
    }
}

/// A service whose spans carry everything that a span can.
pub(super) fn order_service(url: &str) -> TracingService {
    TracingServiceConfig::new(url.parse().unwrap())
        .service_name("orders")
        .resource_attribute(KeyValue::new("deployment.environment.name", "tëst"))
        .start("not this name")
        .unwrap()
}

/// Serves a request that is part of a caller's trace, and that the service has much to say about.
pub(super) fn serve_order(tracing: &TracingService) -> TraceContext {
    let service = service_fn(|_: Request<()>| {
        Context::map_current(|context| {
            let span = context.span();
            span.set_attributes(order_attributes());
            span.add_event("paid", vec![KeyValue::new("amount", 12.5)]);
            span.set_status(Status::error("out of \"stock\"\n"));
        });
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        ready(Ok::<_, Infallible>(response))
    });
    let request = Request::post("http://shop.example/orders/7")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("tracestate", "vendor=opaque")
        .body(())
        .unwrap();
    let mut service = TraceLayer::server(tracing).layer(service);
    let response = service.call(request).now_or_never().expect("a ready answer");
    let response = response.unwrap_or_else(|never| match never {});
    response.extensions().get::<TraceContext>().expect("a recorded request").clone()
}

/// One attribute for each kind of value.
fn order_attributes() -> [KeyValue; 9] {
    let array = |array: Array| Value::Array(array);
    [
        KeyValue::new("order.open", true),
        KeyValue::new("order.id", i64::MIN),
        KeyValue::new("order.weight", 2.5e-10),
        KeyValue::new("order.note", "tschüß \"\\\u{1}\u{2028}🦀"),
        KeyValue::new("order.empty", ""),
        KeyValue::new("order.flags", array(Array::Bool(vec![true, false]))),
        KeyValue::new("order.counts", array(Array::I64(vec![i64::MAX, 0, -1]))),
        KeyValue::new("order.prices", array(Array::F64(vec![0.1, -0.0, 1e21]))),
        KeyValue::new("order.tags", array(Array::String(vec!["a".into(), "".into()]))),
    ]
}

/// Holds what arrived against what [`serve_order`] said.
pub(super) fn assert_is_order(resources: &[ResourceSpans], served: &TraceContext) {
    let [resource] = resources else { panic!("one resource: {resources:?}") };
    let attributes = &resource.resource.as_ref().expect("a resource").attributes;
    for (key, value) in [
        ("service.name", "orders"),
        ("deployment.environment.name", "tëst"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", "tower-otlp"),
    ] {
        assert_eq!(find(attributes, key), Some(&text(value)), "{key}");
    }
    let [scope] = &resource.scope_spans[..] else { panic!("one scope") };
    let name = &scope.scope.as_ref().expect("a scope").name;
    assert_eq!(name, "tower-otlp");
    let [span] = &scope.spans[..] else { panic!("one span") };

    assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(span.trace_id, served.trace_id().to_bytes());
    assert_eq!(span.span_id, served.span_id().to_bytes());
    assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(span.trace_state, "vendor=opaque");
    assert_eq!(span.flags, 0x301, "sampled, of a parent known to be remote");
    assert_eq!(span.name, "POST");
    assert_eq!(span.kind(), SpanKind::Server);
    assert!(0 < span.start_time_unix_nano && span.start_time_unix_nano <= span.end_time_unix_nano);
    assert_eq!(find(&span.attributes, "http.request.method"), Some(&text("POST")));
    assert_eq!(find(&span.attributes, "url.path"), Some(&text("/orders/7")));
    let status = AnyValue::from(Value::from(503));
    assert_eq!(find(&span.attributes, "http.response.status_code"), Some(&status));
    for KeyValue { key, value, .. } in order_attributes() {
        assert_eq!(find(&span.attributes, key.as_str()), Some(&value.into()), "{key}");
    }
    let [event] = &span.events[..] else { panic!("one event") };
    assert_eq!(event.name, "paid");
    assert!(event.time_unix_nano >= span.start_time_unix_nano);
    assert_eq!(find(&event.attributes, "amount"), Some(&Value::from(12.5).into()));
    let status = span.status.as_ref().expect("a status");
    assert_eq!(status.code(), SpanStatus::Error);
    assert_eq!(status.message, "out of \"stock\"\n");
}

pub(super) fn spans_of(resources: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    resources.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}

fn find<'a>(attributes: &'a [ProtoKeyValue], key: &str) -> Option<&'a AnyValue> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key);
    attribute.and_then(|attribute| attribute.value.as_ref())
}

fn text(text: &'static str) -> AnyValue {
    Value::from(text).into()
}

const USER_AGENT: &str = concat!("tower-otlp/", env!("CARGO_PKG_VERSION"), " (Rust)");
