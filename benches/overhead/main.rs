//! Whether a change makes a request of an axum route slower: criterion compares with the last run.
//!
//!     cargo bench --bench overhead
//!
//! Each row is a whole request: made, routed, answered, body drained. `nothing` is a layer that does
//! nothing, as a measure of what axum itself takes for any layer. What each part takes, and what
//! others take, is in the tables of `cargo bench --bench tables`.

#![expect(clippy::print_stdout, reason = "it prints a table")]

mod allocations;
mod collector;
mod nothing;

use std::hint::black_box;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use axum::{Router, response::Response};
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_otlp::{TraceLayer, TracingService, TracingServiceConfig};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Row {
    name: &'static str,
    app: Router,
    traceparent: Option<&'static str>,
}

fn overhead(criterion: &mut Criterion) {
    let collector = collector::start();
    let config = |rate| {
        let url = format!("grpc://{collector}").parse().expect("a URL");
        TracingServiceConfig::new(url).sampling_rate_per_million(rate)
    };
    let start = |config: TracingServiceConfig| config.start("bench").expect("a thread");
    let off = start(TracingServiceConfig::disabled());
    let never = start(config(0));
    let always = start(config(1_000_000));

    let route = || Router::new().route("/users/{id}", get(user));
    let traced = |tracing: &TracingService| route().layer(TraceLayer::server(tracing));
    let rows = [
        Row { name: "bare", app: route(), traceparent: None },
        Row { name: "bare, with traceparent", app: route(), traceparent: Some(SAMPLED) },
        Row { name: "nothing", app: route().layer(nothing::Layer), traceparent: None },
        Row { name: "off", app: traced(&off), traceparent: None },
        Row { name: "unsampled", app: traced(&never), traceparent: None },
        Row { name: "sampled", app: traced(&always), traceparent: None },
        Row { name: "forced by the parent", app: traced(&never), traceparent: Some(SAMPLED) },
    ];

    println!("{:<24} {:>12} {:>12}", "a request", "allocations", "bytes");
    for row in &rows {
        let (allocations, bytes) = allocations::per_call(|| _ = request(row));
        println!("{:<24} {allocations:>12.1} {bytes:>12.0}", row.name);
    }
    println!();

    let mut group = criterion.benchmark_group("request");
    for row in &rows {
        group.bench_function(row.name, |bencher| bencher.iter(|| black_box(request(row))));
    }
    group.finish();

    for tracing in [never, always] {
        let stats = tracing.shutdown_blocking(Duration::from_secs(10));
        println!("{stats}");
        // A span that finds no room costs less than one that is exported.
        assert_eq!(stats.delivered, stats.accepted, "the times are not those of exported spans");
    }
}

fn request(row: &Row) -> usize {
    let mut request = Request::get("/users/42?verbose=1&page=3")
        .header("host", "shop.example.com:8080")
        .header("user-agent", "curl/8.14.1")
        .header("accept", "*/*");
    if let Some(traceparent) = row.traceparent {
        request = request.header("traceparent", traceparent);
    }
    let request = request.body(Body::empty()).expect("a request");
    // Nothing here ever waits, so no runtime is needed, and none is measured.
    let response = row.app.clone().oneshot(request).now_or_never().expect("an answer at once");
    let response: Response = response.expect("a router does not fail");
    let body = response.into_body().collect().now_or_never().expect("a body at once");
    body.expect("a whole body").to_bytes().len()
}

async fn user(Path(id): Path<u64>) -> String {
    format!("user {id}")
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = overhead
}
criterion_main!(benches);
