//! The span of the request, reached from inside other spans.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use futures_util::{StreamExt, stream};
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_otlp::{TraceContext, TraceLayer, TracingService};

use crate::support::server::{fetch, get, serve};
use crate::support::spans::{all, at_rate, next, text};

fn note(key: &'static str) {
    if let Some(request) = TraceContext::server_context() {
        request.span().set_attribute(KeyValue::new(key, true));
    }
}

#[tokio::test]
async fn it_is_reached_under_spans_of_the_handler_and_of_its_body() {
    let (tracing, spans) = TracingService::in_memory();
    let tracer = tracing.tracer_provider().tracer("app");
    let inside = tracer.clone();
    let handler = async move || {
        let deep = async {
            note("handler");
            tokio::task::yield_now().await;
            note("handler, after an await");
        };
        let span = inside.start("inner");
        deep.with_context(Context::current_with_span(span)).await;
        let chunks = stream::iter(["one", "two"]).map(move |chunk| {
            tracer.in_span("chunk", |_| note("body"));
            Ok::<_, Infallible>(chunk)
        });
        Body::from_stream(chunks)
    };
    let app = Router::new().route("/", get_route(handler)).layer(TraceLayer::server(&tracing));
    fetch(Version::HTTP_11, serve(app).await, get("/")).await;

    let spans = all(tracing, spans).await;
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["inner", "chunk", "chunk", "GET /"]);
    for key in ["handler", "handler, after an await", "body"] {
        assert_eq!(text(&spans[3], key).as_deref(), Some("true"), "{key}");
        assert!(spans[..3].iter().all(|span| span.attribute(key).is_none()), "{key}");
    }
}

#[tokio::test]
async fn there_is_none_where_no_request_is_served() {
    assert!(TraceContext::server_context().is_none(), "before");
    let (tracing, mut spans) = TracingService::in_memory();
    let service = service_fn(async |_: Request<Body>| {
        assert!(TraceContext::server_context().is_some());
        let spawned = async { TraceContext::server_context().is_none() };
        assert!(tokio::spawn(spawned.with_current_context()).await.unwrap(), "in a spawned task");
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    TraceLayer::server(&tracing).layer(service).oneshot(get("/")).await.unwrap();
    next(&mut spans).await;
    assert!(TraceContext::server_context().is_none(), "afterwards");
}

#[tokio::test]
async fn there_is_none_when_the_span_has_ended() {
    struct Sees(mpsc::UnboundedSender<bool>);
    impl Drop for Sees {
        fn drop(&mut self) {
            self.0.send(TraceContext::server_context().is_some()).unwrap();
        }
    }
    let rows = [
        (0, None, true, "given up, within its span"),
        (2, None, true, "read until it says that it is over, within its span"),
        (1, Some("5"), false, "all of its bytes are passed on, which ended the span"),
    ];
    for (frames, length, expected, why) in rows {
        let (tracing, mut spans) = TracingService::in_memory();
        let (see, mut seen) = mpsc::unbounded_channel();
        let service = service_fn(async |_: Request<Body>| {
            let sees = Sees(see.clone());
            let chunks = stream::iter(["chunk"]).map(move |chunk| {
                let _ = &sees;
                Ok::<_, Infallible>(chunk)
            });
            let mut response = Response::builder();
            if let Some(length) = length {
                response = response.header("content-length", length);
            }
            Ok::<_, Infallible>(response.body(Body::from_stream(chunks)).unwrap())
        });
        let response = TraceLayer::server(&tracing).layer(service).oneshot(get("/")).await;
        let mut body = response.unwrap().into_body();
        for _ in 0..frames {
            let _ = body.frame().await;
        }
        drop(body);
        next(&mut spans).await;
        assert_eq!(seen.recv().await, Some(expected), "{why}");
    }
}

#[tokio::test]
async fn it_is_that_of_the_innermost_layer() {
    // An application that calls another one of its own, in a trace of its own that nobody records.
    let (recorded, mut spans) = TracingService::in_memory();
    let (unrecorded, _none) = at_rate(0);
    let inner = service_fn(async |_: Request<Body>| {
        assert!(TraceContext::server_context().is_none(), "it is not recorded");
        note("inner");
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let mut inner = TraceLayer::server(&unrecorded).layer(inner);
    let outer = service_fn(move |_: Request<Body>| {
        let own = Request::builder().header("traceparent", UNSAMPLED).body(Body::empty());
        let called = inner.call(own.unwrap());
        async {
            let response = called.await;
            note("outer");
            response
        }
    });
    TraceLayer::server(&recorded).layer(outer).oneshot(get("/")).await.unwrap();

    let span = next(&mut spans).await;
    assert_eq!(text(&span, "outer").as_deref(), Some("true"));
    assert_eq!(text(&span, "inner"), None);
}

#[tokio::test]
async fn kept_until_later_it_is_inert() {
    let (tracing, mut spans) = TracingService::in_memory();
    let (keep, mut kept) = mpsc::unbounded_channel();
    let service = service_fn(async |_: Request<Body>| {
        keep.send(TraceContext::server_context().unwrap()).unwrap();
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    TraceLayer::server(&tracing).layer(service).oneshot(get("/")).await.unwrap();

    let span = next(&mut spans).await;
    let kept = kept.recv().await.unwrap();
    assert!(!kept.span().is_recording());
    assert_eq!(kept.span().span_context().span_id(), span.span_id);
}

const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
