//! The layer among other middleware, and in the servers that people run.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::sse::{Event, Sse};
use axum::routing::{get as get_route, post};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_web::GrpcWebLayer;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::compression::CompressionLayer;
use tower_otlp::{ResponseBody, ResponseFuture, Trace, TraceLayer, TracingService};

use crate::support::echo::{self, Echo};
use crate::support::server::{Client, VERSIONS, fetch, get, request, serve};
use crate::support::spans::{assert_none_yet, next_summary};

const LONG: Duration = Duration::from_secs(60);

async fn answer(request: Request<Body>) -> Result<Response<Body>, BoxError> {
    if request.uri().path() == "/forever" {
        std::future::pending::<()>().await;
    }
    Ok(Response::new(Body::from("hello")))
}

#[tokio::test]
async fn a_request_that_is_shed_is_an_error_below_the_layer_and_unseen_above_it() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let above = ServiceBuilder::new().layer(&trace).load_shed().concurrency_limit(1);
    let below = ServiceBuilder::new().load_shed().concurrency_limit(1).layer(&trace);
    let (above, below) = (above.service_fn(answer), below.service_fn(answer));

    let mut busy = Box::pin(above.clone().oneshot(get("/forever")));
    assert!((&mut busy).now_or_never().is_none());
    above.clone().oneshot(get("/")).await.unwrap_err();
    let shed = "Server | GET | - | error: service overloaded | service_error";
    assert_eq!(next_summary(&mut spans).await, shed);
    drop(busy);
    assert_eq!(next_summary(&mut spans).await, "Server | GET | - | error | cancelled");
    above.oneshot(get("/")).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | unset | -", "there is room");

    let mut busy = Box::pin(below.clone().oneshot(get("/forever")));
    assert!((&mut busy).now_or_never().is_none());
    below.oneshot(get("/")).await.unwrap_err();
    assert_none_yet(&tracing, &mut spans).await;
    drop(busy);
    assert_eq!(next_summary(&mut spans).await, "Server | GET | - | error | cancelled");
}

#[tokio::test]
async fn the_layer_stands_above_and_below_limits() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let stack = ServiceBuilder::new()
        .layer(&trace)
        .rate_limit(1, LONG)
        .concurrency_limit(1)
        .layer(&trace)
        .timeout(LONG)
        .layer(&trace)
        .service_fn(answer);
    stack.oneshot(get("/")).await.unwrap().into_body().collect().await.unwrap();
    for _ in 0..3 {
        assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | unset | -");
    }
}

#[tokio::test]
async fn the_layer_stands_above_and_below_compression() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let text = "hello ".repeat(1000);
    let sized = text.clone();
    let app = || {
        let (sized, chunk) = (sized.clone(), sized.clone());
        let streamed = async move || {
            let chunks = stream::iter([Ok::<_, Infallible>(chunk)]);
            Body::from_stream(chunks)
        };
        Router::new()
            .route("/sized", get_route(async move || sized))
            .route("/streamed", get_route(streamed))
    };
    let rows = [
        (serve(app().layer(trace.clone()).layer(CompressionLayer::new())).await, "below"),
        (serve(app().layer(CompressionLayer::new()).layer(trace)).await, "above"),
    ];
    for version in VERSIONS {
        for (address, reason) in rows {
            for path in ["/sized", "/streamed"] {
                let request = request("GET", path, &[("accept-encoding", "gzip")]);
                let response = fetch(version, address, request).await;
                assert_eq!(response.headers()["content-encoding"], "gzip");
                let mut unpacked = String::new();
                let mut packed = flate2::read::GzDecoder::new(&response.body()[..]);
                packed.read_to_string(&mut unpacked).unwrap();
                assert_eq!(unpacked, text, "{version:?} {reason}");
                let expected = format!("Server | GET {path} | 200 | unset | -");
                assert_eq!(next_summary(&mut spans).await, expected, "{version:?} {reason}");
            }
        }
    }
}

#[tokio::test]
async fn fallbacks_have_no_route_and_routes_may_have_a_layer_of_their_own() {
    let rows = [
        ("/users/7", Some("Server | GET /users/{id} | 200 | unset | -"), "a route"),
        ("/api/users/7", Some("Server | GET /api/users/{id} | 200 | unset | -"), "of a nested one"),
        ("/api/else", Some("Server | GET | 418 | unset | -"), "a nested router's fallback"),
        ("/else", Some("Server | GET | 410 | unset | -"), "the router's"),
        ("/late", None, "a route that was added after the layer"),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let users = || Router::new().route("/users/{id}", get_route(async || "hello"));
    let nested = users().fallback(async || http::StatusCode::IM_A_TEAPOT);
    let app = users()
        .nest("/api", nested)
        .fallback(async || http::StatusCode::GONE)
        .layer(TraceLayer::server(&tracing))
        .route("/late", get_route(async || "hello"));
    let address = serve(app).await;
    let routed = serve(users().route_layer(TraceLayer::server(&tracing))).await;
    for (path, expected, reason) in rows {
        fetch(Version::HTTP_11, address, get(path)).await;
        match expected {
            Some(expected) => assert_eq!(next_summary(&mut spans).await, expected, "{reason}"),
            None => assert_none_yet(&tracing, &mut spans).await,
        }
    }

    fetch(Version::HTTP_11, routed, get("/else")).await;
    assert_none_yet(&tracing, &mut spans).await;
    fetch(Version::HTTP_11, routed, get("/users/7")).await;
    let expected = "Server | GET /users/{id} | 200 | unset | -";
    assert_eq!(next_summary(&mut spans).await, expected, "a route_layer is for routes alone");
}

#[tokio::test]
async fn events_of_a_server_are_one_span_until_either_side_has_enough() {
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let (sender, mut speakers) = mpsc::unbounded_channel();
        let events = async move || {
            let (speaker, mut told) = mpsc::unbounded_channel::<&str>();
            sender.send(speaker).unwrap();
            let told = stream::poll_fn(move |cx| told.poll_recv(cx));
            Sse::new(told.map(|text| Ok::<_, Infallible>(Event::default().data(text))))
        };
        let app = Router::new().route("/", get_route(events)).layer(TraceLayer::server(&tracing));
        let address = serve(app).await;
        for (hangs_up, expected) in [
            (false, "Server | GET / | 200 | unset | -"),
            (true, "Server | GET / | 200 | error | cancelled"),
        ] {
            let mut client = Client::connect(version, address).await;
            let mut response = client.send(get("/")).await.unwrap();
            let speaker = speakers.recv().await.unwrap();
            speaker.send("one").unwrap();
            let event = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(event.into_data().unwrap(), "data: one\n\n");
            assert_none_yet(&tracing, &mut spans).await;
            if hangs_up {
                drop(response);
                client.hang_up().await;
            } else {
                drop(speaker);
                response.collect().await.unwrap();
            }
            assert_eq!(next_summary(&mut spans).await, expected, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_waits_to_continue_makes_one_span() {
    let (tracing, mut spans) = TracingService::in_memory();
    let length = async |body: Bytes| body.len().to_string();
    let app = Router::new().route("/", post(length)).layer(TraceLayer::server(&tracing));
    let address = serve(app).await;
    let mut request = request("POST", "/", &[("expect", "100-continue")]);
    *request.body_mut() = Body::from("hello");
    assert_eq!(fetch(Version::HTTP_11, address, request).await.body(), "5");
    assert_eq!(next_summary(&mut spans).await, "Server | POST / | 200 | unset | -");
    assert_none_yet(&tracing, &mut spans).await;
}

#[tokio::test]
async fn reflection_and_health_are_services_like_others_together_and_alone() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let reflection = || {
        let files = tonic_health::pb::FILE_DESCRIPTOR_SET;
        let builder = tonic_reflection::server::Builder::configure();
        builder.register_encoded_file_descriptor_set(files).build_v1().unwrap()
    };
    let (_reporter, health) = tonic_health::server::health_reporter();
    let mut whole = Server::builder().layer(trace.clone());
    let whole = whole.add_service(reflection()).add_service(health.clone());
    let single =
        Server::builder().add_service(trace.layer(reflection())).add_service(trace.layer(health));
    for (address, reason) in [
        (echo::serve(whole).await, "the whole server"),
        (echo::serve(single).await, "single services"),
    ] {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut reflection = ServerReflectionClient::new(channel.clone());
        let answers = reflection.server_reflection_info(stream::iter([list])).await.unwrap();
        let answers: Vec<_> = answers.into_inner().collect().await;
        assert!(answers[0].is_ok(), "{reason}");
        let method = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let expected = format!("Server | {method} | OK | unset | -");
        assert_eq!(next_summary(&mut spans).await, expected, "{reason}");

        let mut health = HealthClient::new(channel);
        health.check(HealthCheckRequest::default()).await.unwrap();
        let expected = "Server | grpc.health.v1.Health/Check | OK | unset | -";
        assert_eq!(next_summary(&mut spans).await, expected, "{reason}");

        let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
        let mut watch = watch.into_inner();
        watch.message().await.unwrap().unwrap();
        assert_none_yet(&tracing, &mut spans).await;
        drop(watch);
        let expected = "Server | grpc.health.v1.Health/Watch | CANCELLED | unset | -";
        assert_eq!(next_summary(&mut spans).await, expected, "{reason}: given up midway");
    }
}

#[tokio::test]
async fn a_call_over_grpc_web_is_a_call_below_the_translation_and_http_above_it() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let server = || Server::builder().accept_http1(true);
    let below =
        server().layer(GrpcWebLayer::new()).layer(trace.clone()).add_service(Echo::default());
    let above = server().layer(trace).layer(GrpcWebLayer::new()).add_service(Echo::default());
    let (below, above) = (echo::serve(below).await, echo::serve(above).await);
    // One message: its length, and a text.
    let ok = Bytes::from_static(b"\0\0\0\0\x07\x0a\x05hello");
    let failing = Bytes::from_static(b"\0\0\0\0\x0b\x0a\x09disk full");
    let rows = [
        (below, ok.clone(), "Server | test.Echo/One | OK | unset | -"),
        (
            below,
            failing.clone(),
            "Server | test.Echo/One | INTERNAL | error: the disk is full, 100% | INTERNAL",
        ),
        (above, ok, "Server | POST | 200 | unset | -"),
        (above, failing, "Server | POST | 200 | unset | -"),
    ];
    for version in VERSIONS {
        for (address, message, expected) in &rows {
            let headers = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
            let mut request = request("POST", "/test.Echo/One", &headers);
            *request.body_mut() = Body::from(message.clone());
            assert_eq!(fetch(version, *address, request).await.status(), 200);
            assert_eq!(next_summary(&mut spans).await, *expected, "{version:?}");
        }
    }
}

/// Is ambiguous, and so does not compile, for what is `Send`.
trait NotSend<A> {
    fn check() {}
}

impl<T> NotSend<()> for T {}
impl<T: Send> NotSend<u8> for T {}

/// The same for what is `Clone`.
trait NotClone<A> {
    fn check() {}
}

impl<T> NotClone<()> for T {}
impl<T: Clone> NotClone<u8> for T {}

#[test]
fn what_the_inner_service_is_the_layered_one_is_too() {
    fn is_send<T: Send>() {}
    fn is_clone<T: Clone>() {}
    is_send::<Trace<Cell<()>>>();
    is_send::<ResponseFuture<Cell<()>>>();
    is_send::<ResponseBody<Cell<()>>>();
    is_clone::<Trace<Rc<()>>>();
    <Trace<Rc<()>> as NotSend<_>>::check();
    <ResponseFuture<Rc<()>> as NotSend<_>>::check();
    <ResponseBody<Rc<()>> as NotSend<_>>::check();
    <Trace<&mut ()> as NotClone<_>>::check();
}

#[tokio::test]
async fn what_cannot_leave_its_thread_runs_as_a_local_task() {
    let (tracing, mut spans) = TracingService::in_memory();
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let service = service_fn(move |_: Request<Body>| {
        let calls = Rc::clone(&counted);
        async move {
            tokio::task::yield_now().await;
            calls.set(calls.get() + 1);
            Ok::<_, Rc<str>>(Response::new(Body::from("hello")))
        }
    });
    let service = TraceLayer::server(&tracing).layer(service);
    let local = tokio::task::LocalSet::new();
    let run = local.run_until(async {
        let task = tokio::task::spawn_local(service.oneshot(get("/")));
        task.await.unwrap().unwrap().into_body().collect().await.unwrap()
    });
    assert_eq!(run.await.to_bytes(), "hello");
    assert_eq!(calls.get(), 1);
    assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | unset | -");
}
