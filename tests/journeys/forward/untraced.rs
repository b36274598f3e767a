//! A forwarder under a layer that traces what it serves: of its own requests nothing is traced.

use axum::routing::get as get_route;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower::{BoxError, ServiceBuilder};
use tower_otlp::{InMemorySpans, TraceLayer};

use super::*;
use crate::support::server::get;

/// Nested, so that the path is not the one that the layer leaves alone by itself.
fn app(tracing: &TracingService, forwarder: &SpanForwarder) -> Router {
    let otlp = Router::new()
        .route_service("/v1/traces", forwarder.http())
        .route("/ping", get_route(|| async { "pong" }));
    Router::new().nest("/otlp", otlp).layer(TraceLayer::server(tracing))
}

fn nested(who: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = post(who, PROTOBUF, body);
    *request.uri_mut() = "/otlp/v1/traces".parse().unwrap();
    request
}

async fn names(tracing: TracingService, mut spans: InMemorySpans) -> (Stats, Vec<String>) {
    let stats = tracing.shutdown(LONG).await;
    let mut names: Vec<_> = spans.take().into_iter().map(|span| span.name).collect();
    names.sort();
    (stats, names)
}

#[tokio::test]
async fn requests_that_bring_spans_leave_none_of_their_own() {
    let (tracing, spans) = TracingService::in_memory();
    let forwarder = by_name(&tracing);
    let address = serve(app(&tracing, &forwarder)).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut client = Client::connect(version, address).await;
        let taken = client.fetch(nested("alice", encoded(1, 1))).await.unwrap();
        assert_eq!(taken.status().as_u16(), 200);
        assert_eq!(taken.headers().get("server-timing"), None, "there is no span to name");
        let refused = client.fetch(nested("alice", "<html>")).await.unwrap();
        assert_eq!(refused.status().as_u16(), 400);
        let pong = client.fetch(get("/otlp/ping")).await.unwrap();
        assert!(pong.headers().contains_key("server-timing"), "others are traced");
    }
    let (stats, names) = names(tracing, spans).await;
    assert_eq!(stats, delivered(4));
    assert_eq!(names, ["1/0", "1/0", "GET /otlp/ping", "GET /otlp/ping"]);
}

#[tokio::test]
async fn nor_do_those_that_are_given_up() {
    let (tracing, spans) = TracingService::in_memory();
    let forwarder = by_name(&tracing);
    let address = serve(app(&tracing, &forwarder)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /otlp/v1/traces HTTP/1.1\r\nhost: h\r\nwho: alice\r\n\
                content-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    wait(|| forwarder.stats().requests == 1).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    wait(|| forwarder.stats().requests == 1 && ended(&forwarder) == 1).await;
    let (stats, names) = names(tracing, spans).await;
    assert_eq!((stats, names), (delivered(0), Vec::new()));
}

#[tokio::test]
async fn nor_through_a_buffer_or_two_layers() {
    let (tracing, spans) = TracingService::in_memory();
    let forwarder = by_name(&tracing);
    let layer = TraceLayer::server(&tracing);
    let service =
        ServiceBuilder::new().layer(&layer).layer(&layer).buffer(4).service(forwarder.http());
    let service = tower::ServiceExt::map_err(service, |error: BoxError| error);
    let answer = tower::ServiceExt::oneshot(service, nested("alice", encoded(1, 1))).await;
    assert_eq!(answer.unwrap().status().as_u16(), 200);
    assert_eq!(names(tracing, spans).await, (delivered(1), vec!["1/0".to_owned()]));
}

fn ended(forwarder: &SpanForwarder) -> u64 {
    let stats = forwarder.stats();
    stats.taken + stats.cancelled + stats.refused.total()
}

async fn wait(until: impl Fn() -> bool) {
    let waiting = async {
        while !until() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, waiting).await.expect("should have happened by now");
}
