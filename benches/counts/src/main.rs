//! One row of the table that `benches/counts/run` prints: what one request to an axum route takes.
//!
//! Without a second argument it prints the allocations of a request. With `instructions` it is to be
//! run under callgrind, which counts what is done within [`requests`] and nothing else.

#[path = "../../overhead/allocations.rs"]
mod allocations;
#[path = "../../overhead/nothing.rs"]
mod nothing;

use std::env;
use std::hint::black_box;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use futures_util::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_otlp::{ResponseHeader, TraceLayer, TracingService, TracingServiceConfig};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() {
    let mut arguments = env::args().skip(1);
    let row = arguments.next().expect("a row");
    let traceparent = row.ends_with("parent").then_some(SAMPLED);
    let (app, tracing) = app(&row);
    // As a server does it once, and not for each request.
    let app = app.with_state(());
    if arguments.next().as_deref() == Some("instructions") {
        (0..WARM_UP).for_each(|_| _ = request(&app, traceparent));
        black_box(requests(&app, traceparent));
    } else {
        let (allocations, _) = allocations::per_call(|| _ = request(&app, traceparent));
        println!("{allocations:.1}");
    }
    // Nobody takes the spans, and there is nothing to wait for.
    std::mem::forget(tracing);
}

/// The route, and the layer of a row around it: the plain ones are of a layer that writes nothing
/// to the response.
fn app(row: &str) -> (Router, Option<TracingService>) {
    let route = Router::new().route("/users/{id}", get(user));
    let config = |rate| {
        let nowhere = "grpc://127.0.0.1:9".parse().expect("a URL");
        TracingServiceConfig::new(nowhere).sampling_rate_per_million(rate)
    };
    let config = match row {
        "bare" | "bare, with a parent" => return (route, None),
        "nothing" => return (route.layer(nothing::Layer), None),
        "off" => TracingServiceConfig::disabled(),
        "unsampled" | "unsampled, no context" | "forced by the parent" => config(0),
        _ => config(1_000_000),
    };
    let header = match row {
        "sampled, header" | "sampled, as by default" => ResponseHeader::ServerTiming,
        _ => ResponseHeader::Off,
    };
    let tracing = config.response_header(header).start("counts").expect("a thread");
    let layer = TraceLayer::server(&tracing)
        .response_extension(matches!(row, "sampled, extension" | "sampled, as by default"))
        .open_telemetry_context(!row.ends_with("no context"));
    (route.layer(layer), Some(tracing))
}

async fn user(Path(id): Path<u64>) -> String {
    format!("user {id}")
}

/// What is counted, by its name.
#[inline(never)]
fn requests(app: &Router, traceparent: Option<&str>) -> usize {
    (0..COUNTED).map(|_| request(app, traceparent)).sum()
}

fn request(app: &Router, traceparent: Option<&str>) -> usize {
    let mut request = Request::get("/users/42?verbose=1&page=3")
        .header("host", "shop.example.com:8080")
        .header("user-agent", "curl/8.14.1")
        .header("accept", "*/*");
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let request = request.body(Body::empty()).expect("a request");
    // Nothing here ever waits, so no runtime is needed, and none is counted.
    let response = app.clone().oneshot(request).now_or_never().expect("an answer at once");
    let response: Response = response.expect("a router does not fail");
    let body = response.into_body().collect().now_or_never().expect("a body at once");
    body.expect("a whole body").to_bytes().len()
}

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Requests in which buffers grow.
const WARM_UP: usize = 600;
const COUNTED: usize = 2000;
