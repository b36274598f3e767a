//! hyper-util's client with tracing: a span for each attempt, and the next service told of it.
//!
//!     cargo run --example hyper_client
//!
//! You should see the `traceparent` that a server received, and two spans: of a request that was
//! answered, with the same ids, and of one that found nobody listening.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use tower_otlp::{TraceLayer, TracingService};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // To memory, so that the example can print them. A service has a section of its
    // configuration instead: `TracingServiceConfig::from_yaml_file("service.yaml")?.start("name")?`
    let (tracing, mut spans) = TracingService::in_memory();

    let client = Client::builder(TokioExecutor::new()).build_http();
    let client = TraceLayer::client(&tracing).layer(client);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().fallback(async |headers: HeaderMap| {
        let received = headers.get("traceparent").and_then(|value| value.to_str().ok());
        received.unwrap_or("nothing").to_owned()
    });
    tokio::spawn(async { axum::serve(listener, app).await });

    let request = Request::get(format!("http://{address}/hello")).body(Body::empty())?;
    let response = client.clone().oneshot(request).await?;
    let received = response.into_body().collect().await?.to_bytes();
    println!("the server received {}", String::from_utf8_lossy(&received));

    // The one port where nobody ever listens.
    let request = Request::get("http://127.0.0.1:1/hello").body(Body::empty())?;
    drop(client.oneshot(request).await);

    for _ in 0..2 {
        let span = spans.next().await.ok_or("the exporter has ended")?;
        println!("{} {} {} {:?}", span.name, span.trace_id, span.span_id, span.status);
    }
    Ok(())
}
