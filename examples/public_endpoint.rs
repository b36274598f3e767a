//! A service that strangers can reach: whom it believes, what it leaves alone, what it shows.
//!
//!     cargo run --release --example public_endpoint
//!
//! You should see two spans (a stranger's request begins a trace of its own, linked to theirs;
//! a colleague's goes on in their trace), nothing of the health check, no token, and then a flood
//! of 100,000 requests that all want to be recorded: all served, about 100 a second recorded.

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;
use std::time::{Duration, Instant};

use axum::{Router, body::Body, routing::get};
use http::Request;
use tower::ServiceExt;
use tower_otlp::trace::filter;
use tower_otlp::{Capture, RemoteParent, TraceLayer, TracingServiceConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In memory, to be printed. `start` exports to a collector.
    let (tracing, mut spans) = TracingServiceConfig::default()
        .enabled(true)
        .sampling_rate_per_million(1_000_000)
        .forced_sampling_per_second(100.try_into()?)
        .capture(Capture::default().redacted_query_parameters(["token"]))
        .start_in_memory("shop")?;

    let layer = TraceLayer::server(&tracing)
        .filter(filter::no_health_checks)
        // Put there by whatever has authenticated the caller.
        .remote_parent_by(|request| match request.extensions().get::<Colleague>() {
            Some(Colleague) => RemoteParent::Trust,
            None => RemoteParent::Link,
        });
    let app = Router::new().fallback(get(async || "hello")).layer(layer);

    for (path, colleague) in [("/?token=secret", false), ("/", true), ("/healthz", false)] {
        app.clone().oneshot(request(path, colleague)).await?;
    }
    tracing.flush(Duration::from_secs(5)).await;
    for span in spans.take() {
        let query = span.attribute("url.query").map(ToString::to_string).unwrap_or_default();
        println!("trace {} of {} links, {query}", span.trace_id, span.links.len());
    }

    let (begun, before) = (Instant::now(), tracing.stats());
    for _ in 0..100_000 {
        app.clone().oneshot(request("/", true)).await?;
    }
    let (stats, seconds) = (tracing.stats(), begun.elapsed().as_secs_f64());
    println!("{:.0} requests a second", 100_000.0 / seconds);
    let recorded = stats.accepted - before.accepted;
    println!("recorded {recorded} in {seconds:.1} s, not {}", stats.not_forced);
    println!("{}", tracing.shutdown(Duration::from_secs(5)).await);
    Ok(())
}

#[derive(Clone)]
struct Colleague;

fn request(path: &str, colleague: bool) -> Request<Body> {
    let mut request = Request::get(path).body(Body::empty()).unwrap_or_default();
    let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", http::HeaderValue::from_static(sampled));
    if colleague {
        request.extensions_mut().insert(Colleague);
    }
    request
}
