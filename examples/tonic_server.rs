//! A tonic server with tracing: one layer for all services, unary and streaming.
//!
//!     cargo run --example tonic_server
//!
//! It calls itself once for a check, watches itself for a moment, and prints both spans. You
//! should see a unary call that ended OK, and a stream that its client cancelled.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use tokio::net::TcpListener;
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower_otlp::{TraceLayer, TracingService};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // To memory, so that the example can print them. A service has a section of its
    // configuration instead: `TracingServiceConfig::from_yaml_file("service.yaml")?.start("name")?`
    let (tracing, mut spans) = TracingService::in_memory();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // Any generated service goes here.
    let (_reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(
        Server::builder()
            .layer(TraceLayer::server(&tracing))
            .add_service(health)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );

    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = HealthClient::new(channel);
    client.check(HealthCheckRequest::default()).await?;
    let mut watch = client.watch(HealthCheckRequest::default()).await?.into_inner();
    watch.message().await?;
    drop(watch);

    for _ in 0..2 {
        let span = spans.next().await.ok_or("the exporter has ended")?;
        let status = span.attribute("rpc.response.status_code").map(ToString::to_string);
        println!("{} {:?} {}", span.name, span.duration(), status.unwrap_or_default());
    }
    Ok(())
}
