//! A tonic client with tracing: a layer around its channel, for calls of every kind.
//!
//!     cargo run --example tonic_client
//!
//! It calls a health service of its own, once for a check and once for a service that is not
//! there. You should see two spans, OK and NOT_FOUND, and the address that the channel was given.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use tokio::net::TcpListener;
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::Layer;
use tower_otlp::{TraceLayer, TracingService};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // To memory, so that the example can print them. A service has a section of its
    // configuration instead: `TracingServiceConfig::from_yaml_file("service.yaml")?.start("name")?`
    let (tracing, mut spans) = TracingService::in_memory();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let target = format!("http://{}", listener.local_addr()?);
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let channel = Channel::from_shared(target.clone())?.connect_lazy();
    // A channel does not show whom it calls, so the layer is told.
    let channel = TraceLayer::client(&tracing).target(&target).layer(channel);
    // Any generated client goes here.
    let mut client = HealthClient::new(channel);
    client.check(HealthCheckRequest::default()).await?;
    let nobody = HealthCheckRequest { service: "nobody".to_owned() };
    drop(client.check(nobody).await);

    for _ in 0..2 {
        let span = spans.next().await.ok_or("the exporter has ended")?;
        let of = |key: &str| span.attribute(key).map(ToString::to_string).unwrap_or_default();
        let (address, port) = (of("server.address"), of("server.port"));
        println!("{} at {address}:{port} {}", span.name, of("rpc.response.status_code"));
    }
    Ok(())
}
