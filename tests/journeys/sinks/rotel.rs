//! A real collector, rotel, between our exporter and what it passes on.
//!
//! `ROTEL_AGENT` says where the program is (`pip install rotel==0.0.1a15`, then
//! `…/site-packages/rotel/rotel-agent`). Without it these tests say that they were skipped,
//! except in CI, where they fail.

use std::env;
use std::future::pending;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue as ProtoKeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use http::Version;

use super::*;
use crate::support::server::{self, Client};

/// The spans that every run of the test sends, by trace id.
const OK: &str = "0af7651916cd43dd8448eb211c80319c";
const FAILED: &str = "1af7651916cd43dd8448eb211c80319c";
const GRPC_OK: &str = "2af7651916cd43dd8448eb211c80319c";
const GRPC_FAILED: &str = "3af7651916cd43dd8448eb211c80319c";
const CANCELLED: &str = "4af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[test]
fn what_rotel_passes_on_is_what_was_recorded() {
    for transport in ["grpc", "http"] {
        let collector = Collector::start(Script::Ok);
        let destination = format!("http://{}", collector.address());
        let exporter = ["otlp", "--otlp-exporter-endpoint", &destination];
        let Some(rotel) = Rotel::start(&exporter) else { return };
        let url = match transport {
            "grpc" => format!("grpc://{}", rotel.grpc),
            _ => format!("http://{}", rotel.http),
        };

        let log = Log::about(&url);
        let tracing = tracing_to(&url);
        drive(&tracing);
        let stats = tracing.shutdown_blocking(LONG);
        assert_eq!(stats, settled(5, 0), "{transport}: {:?}", log.lines());
        let spans = passed_on(&collector, 5);
        assert_eq!(spans.len(), 5, "{transport}");
        for expected in expected() {
            let found = spans.iter().find(|span| span.trace_id == expected.trace_id);
            let mut found = found.unwrap_or_else(|| panic!("{}", expected.name)).clone();
            assert!(found.start_time_unix_nano > 0, "{}", expected.name);
            assert!(found.end_time_unix_nano >= found.start_time_unix_nano, "{}", expected.name);
            assert_eq!(found.span_id.len(), 8, "{}", expected.name);
            // What no test can know.
            (found.start_time_unix_nano, found.end_time_unix_nano) = (0, 0);
            found.span_id.clear();
            found.events.iter_mut().for_each(|event| event.time_unix_nano = 0);
            assert_eq!(found, expected, "{transport}");
        }
    }
}

/// Waits for so many spans. Rotel sends them on as it batches them.
pub(crate) fn passed_on(collector: &Collector, spans: usize) -> Vec<Span> {
    for requests in 1.. {
        collector.wait_for(requests);
        if collector.spans().len() >= spans {
            break;
        }
    }
    collector.spans()
}

/// Makes one request of each kind.
fn drive(tracing: &TracingService) {
    let layer = TraceLayer::server(tracing);
    for (trace_id, uri) in [(OK, "/users/42?sig=secret&x=1"), (FAILED, "/broken")] {
        let request = Request::get(uri)
            .header("host", "shop.example.com:8080")
            .header("user-agent", "curl/8")
            .header("traceparent", format!("00-{trace_id}-{PARENT}-03"))
            .header("tracestate", "vendor@@x=1,other=2")
            .body(())
            .unwrap();
        let response = layer.layer(service_fn(shop)).call(request).now_or_never().unwrap().unwrap();
        response.into_body().collect().now_or_never().unwrap().unwrap();
    }

    for (trace_id, status, message) in [(GRPC_OK, "0", ""), (GRPC_FAILED, "13", "disk%20full")] {
        let grpc = service_fn(async |_: Request<()>| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            trailers.insert("grpc-message", HeaderValue::from_static(message));
            let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
            let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let request = Request::post("http://shop:1/shop.Inventory/Count")
            .header("content-type", "application/grpc")
            .header("traceparent", format!("00-{trace_id}-{PARENT}-01"))
            .body(())
            .unwrap();
        let response = layer.layer(grpc).call(request).now_or_never().unwrap().unwrap();
        response.into_body().collect().now_or_never().unwrap().unwrap();
    }

    let never =
        service_fn(async |_: Request<()>| pending::<Result<Response<String>, Infallible>>().await);
    let request = Request::delete("/")
        .header("traceparent", format!("00-{CANCELLED}-{PARENT}-01"))
        .body(())
        .unwrap();
    drop(layer.layer(never).call(request));
}

async fn shop(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/broken" {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    }
    let context = Context::current();
    let span = context.span();
    span.set_attributes([
        KeyValue::new("a.bool", true),
        KeyValue::new("a.int", i64::MIN),
        KeyValue::new("a.double", 0.1),
        KeyValue::new("a.text", "grüße\n\0"),
        KeyValue::new("an.array", opentelemetry::Value::Array(vec![1_i64, -1].into())),
    ]);
    span.add_event("looked up", vec![KeyValue::new("hits", 3)]);
    let other = SpanContext::new(
        TraceId::from_hex(FAILED).unwrap(),
        SpanId::from_hex(PARENT).unwrap(),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    span.add_link(other, vec![KeyValue::new("why", "batch")]);
    Ok(Response::new(Full::from("hello")))
}

fn expected() -> [Span; 5] {
    let span = |trace_id: &str, name: &str, flags: u32| Span {
        trace_id: TraceId::from_hex(trace_id).unwrap().to_bytes().to_vec(),
        parent_span_id: SpanId::from_hex(PARENT).unwrap().to_bytes().to_vec(),
        name: name.to_owned(),
        kind: 2,
        flags,
        ..Span::default()
    };
    let text = |text: &str| Value::StringValue(text.to_owned());
    let int = Value::IntValue;
    let mut ok = span(OK, "GET", 0x303);
    "vendor@@x=1,other=2".clone_into(&mut ok.trace_state);
    ok.attributes = attributes([
        ("http.request.method", text("GET")),
        ("url.path", text("/users/42")),
        ("url.scheme", text("http")),
        ("url.query", text("sig=REDACTED&x=1")),
        ("server.address", text("shop.example.com")),
        ("server.port", int(8080)),
        ("network.protocol.version", text("1.1")),
        ("user_agent.original", text("curl/8")),
        ("a.bool", Value::BoolValue(true)),
        ("a.int", int(i64::MIN)),
        ("a.double", Value::DoubleValue(0.1)),
        ("a.text", text("grüße\n\0")),
        ("an.array", Value::ArrayValue(ArrayValue { values: [1, -1].map(any_int).to_vec() })),
        ("http.response.status_code", int(200)),
    ]);
    ok.events = vec![opentelemetry_proto::tonic::trace::v1::span::Event {
        name: "looked up".to_owned(),
        attributes: attributes([("hits", int(3))]),
        ..Default::default()
    }];
    ok.links = vec![opentelemetry_proto::tonic::trace::v1::span::Link {
        trace_id: TraceId::from_hex(FAILED).unwrap().to_bytes().to_vec(),
        span_id: SpanId::from_hex(PARENT).unwrap().to_bytes().to_vec(),
        attributes: attributes([("why", text("batch"))]),
        flags: 0x301,
        ..Default::default()
    }];

    let mut failed = span(FAILED, "GET", 0x303);
    "vendor@@x=1,other=2".clone_into(&mut failed.trace_state);
    failed.attributes = attributes([
        ("http.request.method", text("GET")),
        ("url.path", text("/broken")),
        ("url.scheme", text("http")),
        ("server.address", text("shop.example.com")),
        ("server.port", int(8080)),
        ("network.protocol.version", text("1.1")),
        ("user_agent.original", text("curl/8")),
        ("http.response.status_code", int(500)),
        ("error.type", text("500")),
    ]);
    failed.status = status("");

    let grpc = [
        ("rpc.system.name", text("grpc")),
        ("rpc.method", text("shop.Inventory/Count")),
        ("server.address", text("shop")),
        ("server.port", int(1)),
    ];
    let mut grpc_ok = span(GRPC_OK, "shop.Inventory/Count", 0x301);
    grpc_ok.attributes = attributes(grpc.clone());
    grpc_ok.attributes.extend(attributes([("rpc.response.status_code", text("OK"))]));
    let mut grpc_failed = span(GRPC_FAILED, "shop.Inventory/Count", 0x301);
    grpc_failed.attributes = attributes(grpc);
    grpc_failed.attributes.extend(attributes([
        ("rpc.response.status_code", text("INTERNAL")),
        ("error.type", text("INTERNAL")),
    ]));
    grpc_failed.status = status("disk full");

    let mut cancelled = span(CANCELLED, "DELETE", 0x301);
    cancelled.attributes = attributes([
        ("http.request.method", text("DELETE")),
        ("url.path", text("/")),
        ("url.scheme", text("http")),
        ("network.protocol.version", text("1.1")),
        ("error.type", text("cancelled")),
    ]);
    cancelled.status = status("");
    [ok, failed, grpc_ok, grpc_failed, cancelled]
}

fn attributes<const N: usize>(pairs: [(&str, Value); N]) -> Vec<ProtoKeyValue> {
    let attribute = |(key, value): (&str, Value)| ProtoKeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    };
    pairs.map(attribute).to_vec()
}

fn any_int(value: i64) -> AnyValue {
    AnyValue { value: Some(Value::IntValue(value)) }
}

#[expect(clippy::unnecessary_wraps, reason = "it is the type of the field")]
fn status(message: &str) -> Option<opentelemetry_proto::tonic::trace::v1::Status> {
    let message = message.to_owned();
    Some(opentelemetry_proto::tonic::trace::v1::Status { message, code: 2 })
}

/// A running rotel.
pub(crate) struct Rotel {
    child: Child,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Rotel {
    /// Starts rotel with this exporter; `None` where it is not installed.
    pub(crate) fn start(exporter: &[&str]) -> Option<Self> {
        // Rotel does not say which port it was given, so it is told.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let [grpc, http] = [free(), free()].map(|listener| listener.local_addr().unwrap());
        Self::start_on(grpc, http, exporter)
    }

    /// Starts rotel there, where one may have been before.
    pub(super) fn start_on(grpc: SocketAddr, http: SocketAddr, exporter: &[&str]) -> Option<Self> {
        let Some(program) = env::var_os("ROTEL_AGENT") else {
            assert!(env::var_os("CI").is_none(), "ROTEL_AGENT is not set, and CI needs rotel");
            // Not `println`, which is not shown for a test that passes.
            let _ = writeln!(io::stderr(), "skipped: ROTEL_AGENT does not say where rotel is");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .arg("start")
            .arg("--pid-file")
            .arg(directory.path().join("pid"))
            .arg("--log-file")
            .arg(directory.path().join("log"))
            .args(["--otlp-grpc-endpoint", &grpc.to_string()])
            .args(["--otlp-http-endpoint", &http.to_string()])
            .arg("--exporter")
            .args(exporter)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let rotel = Self { child, grpc, http, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        for address in [grpc, http] {
            // A foreign program: that it answers is the only signal.
            while TcpStream::connect(address).is_err() {
                assert!(Instant::now() < deadline, "rotel does not listen on {address}");
                thread::sleep(Duration::from_millis(20));
            }
        }
        Some(rotel)
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_span_of_a_hundred_thousand_requests_over_loopback_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let rotel = Rotel::start(&["blackhole"]);
    let rotel_url = rotel.as_ref().map(|rotel| format!("grpc://{}", rotel.grpc));
    let file_url = format!("file://{}", directory.path().join("traces").display());
    for url in rotel_url.into_iter().chain([file_url]) {
        let tracing = tracing_to(&url);
        let app = Router::new()
            .route("/users/{id}", get(async |Path(id): Path<u64>| format!("user {id}")))
            .layer(TraceLayer::server(&tracing));
        let address = server::serve(app).await;
        let connections = (0..50_u64).map(async |connection| {
            let mut client = Client::connect(Version::HTTP_2, address).await;
            for request in 0..2_000 {
                let path = format!("/users/{}", connection * 2_000 + request);
                let response = client.fetch(server::get(&path)).await.unwrap();
                assert!(response.headers().contains_key("server-timing"));
            }
        });
        futures_util::future::join_all(connections).await;
        assert_eq!(tracing.shutdown(LONG).await, settled(100_000, 0), "{url}");
    }

    let mut spans = 0;
    for file in std::fs::read_dir(directory.path().join("traces")).unwrap() {
        for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let traces: serde_json::Value = serde_json::from_str(line).unwrap();
            let in_line = &traces["resourceSpans"][0]["scopeSpans"][0]["spans"];
            spans += in_line.as_array().unwrap().len();
        }
    }
    assert_eq!(spans, 100_000);
}
