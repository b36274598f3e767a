//! What it takes to forward the spans of others, against taking them apart and putting them
//! together again.
//!
//!     cargo bench --bench forward --features forward
//!
//! Requests of 512 spans go through the HTTP service of the forwarder, as ready bytes, and are
//! exported over gRPC. `decoded` are the same bytes, decoded by `opentelemetry-proto`, given the
//! attribute that says who has sent them, and encoded: without any server or export around it.
//! Rounds of the two alternate. The numbers are nanoseconds of CPU per span, so that it matters
//! little what the machine does besides; read the medians of the ratios. `exported` counts the
//! exporter's thread, too.
//!
//! Linux only: it reads what the kernel says of threads.

#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../overhead/collector.rs"]
mod collector;

use std::fs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tower::ServiceExt;
use tower_otlp::forward::HttpForwarder;
use tower_otlp::{ForwardLimits, Identity, QueueConfig, TracingService, TracingServiceConfig};

fn main() {
    // Cargo says so when it only checks that benches build and run.
    let rounds = if std::env::args().any(|argument| argument == "--test") { 1 } else { ROUNDS };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let collector = collector::start();
    runtime.expect("a runtime").block_on(compare(rounds, collector));
}

async fn compare(rounds: usize, collector: SocketAddr) {
    let url = format!("grpc://{collector}").parse().expect("a URL");
    let tracing = TracingServiceConfig::new(url)
        .queue(QueueConfig::default().max_bytes(QUEUE))
        .start("forward")
        .expect("a thread");
    // No limit is what is measured.
    let limits = ForwardLimits::default()
        .spans_per_second(NonZeroU32::MAX)
        .spans_per_second_of_each(NonZeroU32::MAX);
    let forwarder = tracing.forwarder(|_| Identity::allow(SENDER)).limits(limits).http();
    let request = Bytes::from(request().encode_to_vec());
    println!("{REQUEST_SPANS} spans in {} bytes", request.len());
    // Connects, and fills caches.
    forwarded(&forwarder, &tracing, &request).await;
    decoded(&request);

    println!("{:>5} {:>12} {:>12} {:>12}", "round", "decoded", "forwarded", "exported");
    let (mut of_forwarded, mut of_exported) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let began = Cpu::now();
        decoded(&request);
        let decoded = began.until(&Cpu::now());
        let began = Cpu::now();
        forwarded(&forwarder, &tracing, &request).await;
        let forwarded = began.until(&Cpu::now());

        let exported = forwarded.here + forwarded.exporter;
        println!(
            "{round:>5} {:>9.0} ns {:>9.0} ns {exported:>9.0} ns",
            decoded.here, forwarded.here
        );
        of_forwarded.push(decoded.here / forwarded.here);
        of_exported.push(decoded.here / exported);
    }
    println!("median of decoded to forwarded: {:.1}", median(&mut of_forwarded));
    println!("median of decoded to exported:  {:.1}", median(&mut of_exported));

    let stats = tracing.shutdown(DEADLINE).await;
    println!("{stats}");
    // A span that finds no room costs less than one that is exported.
    let spans = (rounds + 1) * REQUESTS * REQUEST_SPANS;
    assert_eq!(stats.delivered, spans as u64, "the times are not those of exported spans");
}

async fn forwarded(forwarder: &HttpForwarder, tracing: &TracingService, body: &Bytes) {
    for _ in 0..REQUESTS / IN_QUEUE {
        for _ in 0..IN_QUEUE {
            let request = Request::post("/v1/traces")
                .header("content-type", "application/x-protobuf")
                .body(Full::new(body.clone()))
                .expect("a request");
            let Ok(response) = forwarder.clone().oneshot(request).await;
            assert_eq!(response.status(), 200);
        }
        let _ = tracing.flush(DEADLINE).await;
    }
}

fn decoded(body: &Bytes) {
    for _ in 0..REQUESTS {
        let request = ExportTraceServiceRequest::decode(body.clone());
        let mut request = request.expect("an OTLP request");
        for resource in &mut request.resource_spans {
            let resource = resource.resource.get_or_insert_default();
            resource.attributes.push(text("tower_otlp.forwarded.for", SENDER));
        }
        black_box(request.encode_to_vec());
    }
}

/// CPU time, in nanoseconds: so far, or per span of a round.
struct Cpu {
    here: f64,
    exporter: f64,
}

impl Cpu {
    fn now() -> Self {
        let threads = fs::read_dir("/proc/self/task").expect("Linux");
        let exporter = threads
            .map(|thread| thread.expect("a thread").path())
            .find(|thread| {
                fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == EXPORTER)
            })
            .expect("the exporter's thread");
        Self { here: nanoseconds(Path::new("/proc/thread-self")), exporter: nanoseconds(&exporter) }
    }

    fn until(&self, now: &Self) -> Self {
        let per_span = |nanoseconds: f64| nanoseconds / (REQUESTS * REQUEST_SPANS) as f64;
        Self {
            here: per_span(now.here - self.here),
            exporter: per_span(now.exporter - self.exporter),
        }
    }
}

/// What a thread has had of the CPU.
fn nanoseconds(thread: &Path) -> f64 {
    let schedule = fs::read_to_string(thread.join("schedstat")).expect("Linux");
    schedule.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds")
}

fn median(ratios: &mut [f64]) -> f64 {
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Spans as those of an HTTP server are.
fn request() -> ExportTraceServiceRequest {
    let span = |number: usize| Span {
        trace_id: [[1; 8], number.to_be_bytes()].concat(),
        span_id: number.to_be_bytes().to_vec(),
        parent_span_id: vec![2; 8],
        name: "GET /users/{id}".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_001_000_000,
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", "/users/{id}"),
            text("url.path", "/users/42"),
            text("url.scheme", "https"),
            text("server.address", "shop.example.com"),
            number_of("server.port", 443),
            text("user_agent.original", "curl/8.14.1"),
            number_of("http.response.status_code", 200),
        ],
        events: vec![Event {
            time_unix_nano: 1_700_000_000_000_500_000,
            name: "looked up".to_owned(),
            attributes: vec![number_of("hits", 3)],
            ..Event::default()
        }],
        flags: 0x301,
        ..Span::default()
    };
    let scope = InstrumentationScope { name: "shop".to_owned(), ..InstrumentationScope::default() };
    let attributes = vec![text("service.name", "shop"), text("host.name", "web-1")];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: (0..REQUEST_SPANS).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number_of(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

const ROUNDS: usize = 31;
/// Of a round.
const REQUESTS: usize = 400;
const REQUEST_SPANS: usize = 512;
/// Requests between two flushes. They have to find room.
const IN_QUEUE: usize = 40;
const QUEUE: usize = 64 << 20;
const SENDER: &str = "alice";
/// The name of its thread.
const EXPORTER: &str = "tower-otlp";
const DEADLINE: Duration = Duration::from_secs(60);
