//! An axum service that uses `tracing`: its spans are part of the trace, its log lines name it.
//!
//!     cargo run --example with_tracing --features tracing
//!
//! You should see two log lines, one inside an `#[instrument]` function and one outside, and then
//! the two spans whose ids they have: of the request, and under it of the function.

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use axum::{Router, body::Body, extract::Path, routing::get};
use http::Request;
use opentelemetry::trace::TracerProvider;
use tower::ServiceExt;
use tower_otlp::{TraceLayer, TracingService, WithTraceIds};
use tracing::{info, instrument, level_filters::LevelFilter};
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In memory, to be printed. `TracingServiceConfig::start` exports to a collector.
    let (tracing, mut spans) = TracingService::in_memory();

    let tracer = tracing.tracer_provider().tracer("shop");
    let log = fmt::layer().with_ansi(stdout().is_terminal());
    tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        // For lines of JSON: `log.json().map_event_format(…)`.
        .with(log.map_event_format(WithTraceIds::from))
        .init();

    let app = Router::new().route("/orders/{id}", get(show)).layer(TraceLayer::server(&tracing));
    app.oneshot(Request::get("/orders/7").body(Body::empty())?).await?;

    tracing.flush(Duration::from_secs(5)).await;
    for span in spans.take() {
        println!("{:17}  trace {}  span {}", span.name, span.trace_id, span.span_id);
    }
    println!("{}", tracing.shutdown(Duration::from_secs(5)).await);
    Ok(())
}

async fn show(Path(id): Path<u64>) -> String {
    info!("asked for an order");
    load(id).await
}

#[instrument]
async fn load(id: u64) -> String {
    info!("looking it up");
    format!("order {id}\n")
}
