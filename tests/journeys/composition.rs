//! What the layer can be put around and into. That these compile is half of the tests.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::timeout::{Timeout, TimeoutLayer};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_otlp::{ResponseBody, ResponseFuture, Trace, TraceLayer, TracingService};

use crate::support::server::get;
use crate::support::spans::{next, next_summary, summary};

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
