//! reqwest's client with tracing: one span for a call, with all its redirects.
//!
//!     cargo run --example reqwest_client --features reqwest
//!
//! You should see one span for a request that was redirected once, with the URL that was asked for
//! first, whose signature is not shown.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use axum::response::Redirect;
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use tower_otlp::{TraceLayer, TracingService};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // To memory, so that the example can print them. A service has a section of its
    // configuration instead: `TracingServiceConfig::from_yaml_file("service.yaml")?.start("name")?`
    let (tracing, mut spans) = TracingService::in_memory();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/old", get(async || Redirect::temporary("/new")))
        .route("/new", get(async || "hello"));
    tokio::spawn(async { axum::serve(listener, app).await });

    let client = reqwest::Client::new();
    let traced = TraceLayer::client(&tracing).layer(client.clone());

    // Requests are built as always, and sent through the layer.
    let request = client.get(format!("http://{address}/old?sig=secret")).build()?;
    let response = traced.oneshot(request).await?;
    let url = response.url().clone();
    println!("{url} says {}", response.text().await?);

    let span = spans.next().await.ok_or("the exporter has ended")?;
    let of = |key: &str| span.attribute(key).map(ToString::to_string).unwrap_or_default();
    println!("{} {} {}", span.name, of("url.full"), of("http.response.status_code"));
    Ok(())
}
