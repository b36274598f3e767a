//! What it takes to forward the spans of others, against taking them apart and putting them
//! together again.
//!
//!     cargo bench --bench forward --features forward
//!
//! Requests of 512 spans go through the HTTP service of the forwarder, as ready bytes, and are
//! exported over gRPC. `decoded` are the same bytes, decoded by `opentelemetry-proto`, given the
//! attribute that says who has sent them, and encoded: without any server or export around it.
//! Rounds of the two alternate, and so do the shapes of spans. The numbers are nanoseconds of CPU
//! per span, medians of all rounds, so that it matters little what the machine does besides; read
//! the ratios, which are of two rounds next to each other: their median, the least and the
//! greatest. `exported` counts the exporter's thread, too.
//!
//! Linux only: it reads what the kernel says of threads.

#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../overhead/collector.rs"]
mod collector;

use std::fmt;
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
    let asked = |what| std::env::args().any(|argument| argument == what);
    // Cargo may only check that benches build and run.
    let rounds = if asked("--bench") && !asked("--test") { ROUNDS } else { 1 };
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
        .spans_per_second_of_each(NonZeroU32::MAX)
        .bytes_in_flight(QUEUE)
        .bytes_in_flight_of_each(QUEUE);
    let forwarder = tracing.forwarder(|_| Identity::allow(SENDER)).limits(limits).http();
    let mut rows = SHAPES.map(Row::new);
    // Connects, and fills caches.
    for row in &rows {
        forwarded(&forwarder, &tracing, &row.request).await;
        decoded(&row.request);
    }
    for _ in 0..rounds {
        for row in &mut rows {
            row.measure(&forwarder, &tracing).await;
        }
    }

    println!("requests of {REQUEST_SPANS} spans; CPU per span, medians of {rounds} rounds");
    println!(
        "{:<26} {:>10} {:>9} {:>10} {:>9}  {:<22} decoded to exported",
        "spans", "bytes each", "decoded", "forwarded", "exported", "decoded to forwarded"
    );
    for row in rows {
        row.print();
    }

    let stats = tracing.shutdown(DEADLINE).await;
    println!("{stats}");
    // A span that finds no room costs less than one that is exported.
    let spans = SHAPES.len() * (rounds + 1) * REQUESTS * REQUEST_SPANS;
    assert_eq!(stats.delivered, spans as u64, "the times are not those of exported spans");
}

/// What spans are like.
#[derive(Clone, Copy)]
struct Shape {
    attributes: usize,
    is_ascii: bool,
}

/// One shape, and what was measured with it.
struct Row {
    shape: Shape,
    request: Bytes,
    decoded: Vec<f64>,
    forwarded: Vec<f64>,
    exported: Vec<f64>,
}

impl Row {
    fn new(shape: Shape) -> Self {
        let request = request(shape).encode_to_vec().into();
        Self { shape, request, decoded: vec![], forwarded: vec![], exported: vec![] }
    }

    async fn measure(&mut self, forwarder: &HttpForwarder, tracing: &TracingService) {
        let began = Cpu::now();
        decoded(&self.request);
        let taken = began.until(&Cpu::now());
        self.decoded.push(taken.here);
        let began = Cpu::now();
        forwarded(forwarder, tracing, &self.request).await;
        let taken = began.until(&Cpu::now());
        self.forwarded.push(taken.here);
        self.exported.push(taken.here + taken.exporter);
    }

    fn print(mut self) {
        let Shape { attributes, is_ascii } = self.shape;
        let text = if is_ascii { "ASCII" } else { "beyond ASCII" };
        let name = format!("{attributes} attributes, {text}");
        let of_forwarded = Ratios::new(&self.decoded, &self.forwarded);
        let of_exported = Ratios::new(&self.decoded, &self.exported);
        println!(
            "{name:<26} {:>10} {:>6.0} ns {:>7.0} ns {:>6.0} ns  {of_forwarded:<22} {of_exported}",
            self.request.len() / REQUEST_SPANS,
            median(&mut self.decoded),
            median(&mut self.forwarded),
            median(&mut self.exported),
        );
    }
}

/// How many times more, of pairs of rounds.
struct Ratios {
    sorted: Vec<f64>,
}

impl Ratios {
    fn new(more: &[f64], less: &[f64]) -> Self {
        let mut sorted: Vec<_> = more.iter().zip(less).map(|(more, less)| more / less).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { sorted }
    }
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, .., greatest] = &self.sorted[..] else { return f.pad("-") };
        let median = self.sorted[self.sorted.len() / 2];
        f.pad(&format!("{median:.1} ({least:.1} to {greatest:.1})"))
    }
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
        // The kernel brings a thread's account up to date when it lets others run.
        std::thread::yield_now();
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

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Spans as those of an HTTP server are.
fn request(Shape { attributes, is_ascii }: Shape) -> ExportTraceServiceRequest {
    let either = |ascii, beyond| if is_ascii { ascii } else { beyond };
    let mut of_span = vec![
        text("url.path", either("/users/42", "/Bücher/größte")),
        number_of("http.response.status_code", 200),
        text("http.request.method", "GET"),
        text("http.route", either("/users/{id}", "/Bücher/{größe}")),
        text("url.scheme", "https"),
        text("server.address", either("shop.example.com", "läden.example.com")),
        number_of("server.port", 443),
        text("user_agent.original", "curl/8.14.1"),
        text("enduser.pseudo.id", either("somebody", "Жанна Иванова")),
        text("url.query", either("sort=up&page=3", "nach=größe&seite=3")),
    ];
    of_span.truncate(attributes);
    let span = |number: usize| Span {
        trace_id: [[1; 8], number.to_be_bytes()].concat(),
        span_id: number.to_be_bytes().to_vec(),
        parent_span_id: vec![2; 8],
        name: either("GET /users/{id}", "GET /Bücher/{größe}").to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_001_000_000,
        attributes: of_span.clone(),
        events: vec![Event {
            time_unix_nano: 1_700_000_000_000_500_000,
            name: either("looked up", "nachgeschlagen: ✓").to_owned(),
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

const SHAPES: [Shape; 4] = [
    Shape { attributes: 2, is_ascii: true },
    Shape { attributes: 2, is_ascii: false },
    Shape { attributes: 10, is_ascii: true },
    Shape { attributes: 10, is_ascii: false },
];
const ROUNDS: usize = 31;
/// Of a round.
const REQUESTS: usize = 120;
const REQUEST_SPANS: usize = 512;
/// Requests between two flushes. They have to find room.
const IN_QUEUE: usize = 40;
const QUEUE: usize = 64 << 20;
const SENDER: &str = "alice";
/// The name of its thread.
const EXPORTER: &str = "tower-otlp";
const DEADLINE: Duration = Duration::from_secs(60);
