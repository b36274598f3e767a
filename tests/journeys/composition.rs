//! What the layer can be put around and into. That these compile is half of the tests.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::timeout::{Timeout, TimeoutLayer};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use tower_otlp::{ResponseBody, ResponseFuture, Trace, TraceLayer, TracingService};

use crate::support::server::{VERSIONS, fetch, get, request, serve};
use crate::support::spans::{assert_none_yet, next, next_summary, summary};

const LONG: Duration = Duration::from_secs(60);

/// Neither `Clone` nor `Send`, and borrows what it counts with. So do its future and its body.
struct Counting<'a> {
    calls: &'a Cell<u32>,
    not_send: Rc<()>,
}

impl<'a> Service<Request<&'a str>> for Counting<'a> {
    type Response = Response<Borrowing<'a>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Borrowing<'a>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<&'a str>) -> Self::Future {
        self.calls.set(self.calls.get() + 1);
        let body =
            Borrowing { text: Some(request.into_body()), _not_send: Rc::clone(&self.not_send) };
        std::future::ready(Ok(Response::new(body)))
    }
}

struct Borrowing<'a> {
    text: Option<&'a str>,
    _not_send: Rc<()>,
}

impl<'a> http_body::Body for Borrowing<'a> {
    type Data = &'a [u8];
    // Not even `std::error::Error`.
    type Error = String;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<&'a [u8]>, String>>> {
        Poll::Ready(self.text.take().map(|text| Ok(http_body::Frame::data(text.as_bytes()))))
    }
}

#[tokio::test]
async fn a_service_need_not_be_clone_nor_send_nor_static() {
    let (tracing, mut spans) = TracingService::in_memory();
    let calls = Cell::new(0);
    let text = String::from("borrowed");
    let counting = Counting { calls: &calls, not_send: Rc::default() };
    let mut service: Trace<Counting<'_>> = TraceLayer::server(&tracing).layer(counting);

    let future: ResponseFuture<_> = service.call(Request::new(text.as_str()));
    let body: ResponseBody<Borrowing<'_>> = future.await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "borrowed");

    assert_eq!(calls.get(), 1);
    assert_eq!(service.get_ref().calls.get(), 1);
    assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | unset | -");
}

#[tokio::test]
async fn errors_need_no_more_than_a_text() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let expected = "Server | GET | - | error: out of order | service_error";

    let boxed = service_fn(async |_: Request<()>| {
        Err::<Response<Full<&[u8]>>, _>(BoxError::from("out of order"))
    });
    trace.layer(boxed).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(next_summary(&mut spans).await, expected, "a boxed error");

    let io = service_fn(async |_: Request<()>| {
        Err::<Response<Full<&[u8]>>, _>(io::Error::other("out of order"))
    });
    let error: io::Error = trace.layer(io).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(error.to_string(), "out of order", "the caller gets the error itself");
    assert_eq!(next_summary(&mut spans).await, expected, "an error of its own type");

    let text = service_fn(async |_: Request<()>| Err::<Response<Full<&[u8]>>, _>("out of order"));
    trace.layer(text).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(next_summary(&mut spans).await, expected, "no error type at all");
}

#[tokio::test]
async fn the_layer_stands_above_and_below_a_timeout() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let hello =
        service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::from("hello"))));

    let above: Trace<Timeout<_>> = trace.layer(TimeoutLayer::new(LONG).layer(hello));
    let below: Timeout<Trace<_>> = TimeoutLayer::new(LONG).layer(trace.layer(hello));
    let both = ServiceBuilder::new().layer(&trace).timeout(LONG).layer(&trace).service(hello);

    let body = above.oneshot(get("/")).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | unset | -", "above");

    let body = below.oneshot(get("/")).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | unset | -", "below");

    let body: ResponseBody<ResponseBody<Body>> = both.oneshot(get("/")).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    let (one, other) = (next(&mut spans).await, next(&mut spans).await);
    assert_eq!(one.trace_id, other.trace_id);
    assert_eq!([summary(&one), summary(&other)], ["Server | GET | 200 | unset | -"; 2], "both");
}

#[tokio::test]
async fn the_layer_stands_above_and_below_cors() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let app = || Router::new().route("/", get_route(async || "hello"));
    let below = || ServiceBuilder::new().layer(CorsLayer::permissive()).layer(trace.clone());
    let above = || ServiceBuilder::new().layer(trace.clone()).layer(CorsLayer::permissive());
    let preflight = || {
        let headers = [("origin", "http://page"), ("access-control-request-method", "GET")];
        request("OPTIONS", "/", &headers)
    };
    // Server, spans of a preflight and of a GET, reason.
    let rows = [
        (
            serve(app().layer(below())).await,
            None,
            "Server | GET / | 200 | unset | -",
            "below, in a router: CORS answers a preflight with an empty body of ours",
        ),
        (
            serve(below().service(app())).await,
            None,
            "Server | GET | 200 | unset | -",
            "below, around a router",
        ),
        (
            serve(app().layer(above())).await,
            Some("Server | OPTIONS / | 200 | unset | -"),
            "Server | GET / | 200 | unset | -",
            "above, in a router: a preflight is a request like any other",
        ),
        (
            serve(above().service(app())).await,
            Some("Server | OPTIONS | 200 | unset | -"),
            "Server | GET | 200 | unset | -",
            "above, around a router",
        ),
    ];
    for version in VERSIONS {
        for (address, of_preflight, of_get, reason) in &rows {
            let response = fetch(version, *address, preflight()).await;
            assert_eq!(response.headers()["access-control-allow-origin"], "*", "{reason}");
            assert_eq!(response.body(), "", "{version:?}: {reason}");
            match of_preflight {
                Some(expected) => assert_eq!(next_summary(&mut spans).await, *expected, "{reason}"),
                None => assert_none_yet(&tracing, &mut spans).await,
            }

            let response = fetch(version, *address, get("/")).await;
            assert_eq!(response.headers()["access-control-allow-origin"], "*", "{reason}");
            assert_eq!(response.body(), "hello", "{version:?}: {reason}");
            assert_eq!(next_summary(&mut spans).await, *of_get, "{version:?}: {reason}");
        }
    }
}

/// A service with its type erased, as a struct would hold it.
struct Application {
    service: BoxCloneSyncService<Request<Body>, Response<ResponseBody<Body>>, BoxError>,
}

#[tokio::test]
async fn a_layered_service_fits_into_a_box_and_runs_on_any_thread() {
    let (tracing, mut spans) = TracingService::in_memory();
    let hello =
        service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::from("hello"))));
    let service = TraceLayer::server(&tracing).layer(hello);
    let application = Application { service: BoxCloneSyncService::new(service) };

    let request = application.service.clone().oneshot(get("/"));
    let task = tokio::spawn(async { request.await.unwrap().into_body().collect().await });
    assert_eq!(task.await.unwrap().unwrap().to_bytes(), "hello");
    assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | unset | -");
}

#[tokio::test]
async fn a_layered_service_gives_the_service_back() {
    let (tracing, _spans) = TracingService::in_memory();
    let calls = Cell::new(0);
    let counting = Counting { calls: &calls, not_send: Rc::default() };
    let mut service = TraceLayer::server(&tracing).layer(counting);

    service.get_mut().calls.set(7);
    assert_eq!(service.into_inner().calls.get(), 7);
}
