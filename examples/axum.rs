//! An axum service with tracing, and nothing else on the machine.
//!
//!     cargo run --example axum
//!
//! Then `curl -i` the address that is printed. You should see a `server-timing` header that names
//! the span, and after Ctrl-C the ledger: every span is in a file of the printed directory.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use axum::extract::Path;
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_otlp::opentelemetry::trace::TraceContextExt;
use tower_otlp::opentelemetry::{Context, KeyValue};
use tower_otlp::{ExporterUrl, TraceLayer, TracingServiceConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join("tower-otlp-axum");
    let tracing = TracingServiceConfig::new(ExporterUrl::file(&directory)?)
        .sampling_rate_per_million(1_000_000)
        .start("hello")?;

    let app = Router::new()
        .route("/hello/{name}", get(hello))
        // Last, so that it wraps all that stands above it.
        .layer(TraceLayer::server(&tracing));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("curl -i http://{}/hello/world", listener.local_addr()?);
    println!("spans go to {}", directory.display());
    axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;

    println!("{}", tracing.shutdown(Duration::from_secs(5)).await);
    Ok(())
}

async fn hello(Path(name): Path<String>) -> String {
    // Inside a handler the OpenTelemetry context holds the request's span.
    Context::current().span().set_attribute(KeyValue::new("hello.name", name.clone()));
    format!("hello, {name}\n")
}
