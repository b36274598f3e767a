//! Two services, real requests between them, one trace.
//!
//!     cargo run --example quickstart                                  # spans to ./traces
//!     cargo run --example quickstart -- --exporter grpc://host:4317   # spans to a collector
//!     cargo run --example quickstart -- --serve                       # stays up for curl
//!
//! You should see which of three requests were recorded, a waterfall of the trace that went
//! through both services, where its spans are, and that none was lost. If one was, the program says
//! so and fails.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

mod inventory;
mod waterfall;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tower::Layer;
use tower_otlp::{ExporterUrl, Trace, TraceLayer, TracingService, TracingServiceConfig};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (mut exporter, mut serve) = (None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--exporter" => exporter = Some(arguments.next().ok_or("--exporter needs a URL")?),
            "--serve" => serve = true,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let directory = std::env::current_dir()?.join("traces");
    let url: ExporterUrl = match &exporter {
        Some(url) => url.parse()?,
        None => ExporterUrl::file(&directory)?,
    };

    // The rate is 0: only requests whose caller has sampled them are recorded.
    let section = format!(
        "tracing_service:\n  enabled: yes\n  exporter_url: \"{url}\"\n  \
         sampling_rate_per_million: 0\n",
    );
    println!("{section}");
    let config = TracingServiceConfig::from_yaml_str(&section)?;
    let front = config.clone().start("front")?;
    let back = config.start("back")?;

    let back_address = serve_back(&back).await?;
    let front_address = serve_front(&front, back_address).await?;
    let order = format!("http://{front_address}/orders/42");
    if serve {
        println!("recorded:\n  curl -i -H 'traceparent: {}' {order}", traceparent("01"));
        println!("not recorded:\n  curl -i -H 'traceparent: {}' {order}", traceparent("00"));
        println!("Ctrl-C ends.");
        // A script that reads the address may stand at the other end of a pipe.
        io::stdout().flush()?;
        tokio::signal::ctrl_c().await?;
    } else {
        for (caller, traceparent) in [
            ("has sampled it", Some(traceparent("01"))),
            ("has not sampled it", Some(traceparent("00"))),
            ("says nothing", None),
        ] {
            let server_timing = drive(&order, traceparent).await?;
            let verdict = if server_timing.is_some() { "recorded" } else { "not recorded" };
            println!("{order}, the caller {caller}: {verdict}");
        }
        println!();
    }

    let (front, back) = (front.shutdown(DEADLINE).await, back.shutdown(DEADLINE).await);
    let ledger = format!("front: {front}\nback:  {back}");
    if [front, back].iter().any(|stats| stats.delivered != stats.accepted) {
        eprintln!("error: not all spans arrived at {url}\n{ledger}");
        return Ok(ExitCode::FAILURE);
    }
    if exporter.is_none() {
        if !serve {
            waterfall::print(&directory, TRACE_ID)?;
        }
        println!("the spans are in {}", directory.display());
    } else {
        println!("the spans were sent to {url}, trace {TRACE_ID}");
    }
    println!("{ledger}");
    Ok(ExitCode::SUCCESS)
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE_ID}-b7ad6b7169203331-{flags}")
}

/// Sends a request, reads the whole response, and returns the header that names its span.
async fn drive(uri: &str, traceparent: Option<String>) -> Result<Option<String>, Box<dyn Error>> {
    let mut request = Request::get(uri);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<&[u8]>>();
    let response = client.request(request.body(Empty::new())?).await?;
    let named = response.headers().get("server-timing").map(|value| value.to_str());
    let named = named.transpose()?.map(str::to_owned);
    response.into_body().collect().await?;
    Ok(named)
}

async fn serve_back(tracing: &TracingService) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .layer(TraceLayer::server(tracing))
        .add_service(inventory::Inventory)
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    Ok(address)
}

async fn serve_front(
    tracing: &TracingService,
    back: SocketAddr,
) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let target = format!("http://{back}");
    let channel = Channel::from_shared(target.clone())?.connect_lazy();
    let channel = TraceLayer::client(tracing).target(&target).layer(channel);
    let app = Router::new()
        .route("/orders/{id}", get(show_order))
        .with_state(channel)
        .layer(TraceLayer::server(tracing));
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}

async fn show_order(State(inventory): State<Trace<Channel>>, Path(id): Path<u64>) -> Response {
    match inventory::count(inventory, id).await {
        Ok(count) => {
            // The body takes its time, and the span lasts as long as the body.
            let lines = stream::iter([format!("order {id}\n"), format!("{count} in stock\n")]);
            let lines = lines.then(async |line| {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok::<_, std::convert::Infallible>(line)
            });
            Body::from_stream(lines).into_response()
        }
        Err(status) => (StatusCode::BAD_GATEWAY, status.message().to_owned()).into_response(),
    }
}
