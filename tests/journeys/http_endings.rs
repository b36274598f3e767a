//! Responses that do not come to their end: errors, clients that go away, panics. And those that
//! turn into something else.

use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tower::timeout::Timeout;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_otlp::{TraceLayer, TracingService};

use crate::support::body::{Conductor, Watched, conducted, data};
use crate::support::panic_quietly;
use crate::support::server::{Client, VERSIONS, fetch, get, request, serve};
use crate::support::spans::{
    Moments, PATIENCE, assert_none_yet, at_rate, next, next_summary, summary,
};

#[tokio::test]
async fn an_error_of_the_body_is_the_spans_error() {
    let rows = [
        ("/200", "Server | GET /{status} | 200 | error: the disk is gone | body_error"),
        ("/404", "Server | GET /{status} | 404 | error: the disk is gone | body_error"),
        // The client has seen the status, so that is the error.
        ("/500", "Server | GET /{status} | 500 | error: the disk is gone | 500"),
    ];
    for (version, (path, expected)) in combinations(rows) {
        let (tracing, mut spans) = TracingService::in_memory();
        let moments = Moments::default();
        let (app, mut conductors) = conducted_app(&moments);
        let address = serve(app.layer(TraceLayer::server(&tracing))).await;
        let mut client = Client::connect(version, address).await;

        let response = client.send(get(path)).await.unwrap();
        let conductor = conductors.recv().await.unwrap();
        conductor.send(Ok(data("half of"))).unwrap();
        Moments::pass().await;
        assert_none_yet(&tracing, &mut spans).await;
        conductor.send(Err(io::Error::other("the disk is gone"))).unwrap();

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), expected, "{version:?}");
        moments.assert_within(&span);
        assert!(response.into_body().collect().await.is_err(), "{version:?}: the client sees it");
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_the_spans_error() {
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let marked = moments.clone();
    let failing = service_fn(move |_: Request<Incoming>| {
        marked.mark();
        std::future::ready(Err::<Response<Body>, _>(io::Error::other("no database")))
    });
    let address = serve(TraceLayer::server(&tracing).layer(failing)).await;

    for version in VERSIONS {
        let mut client = Client::connect(version, address).await;
        assert!(client.send(get("/")).await.is_err(), "{version:?}: there is no response");

        let span = next(&mut spans).await;
        let expected = "Server | GET | - | error: no database | service_error";
        assert_eq!(summary(&span), expected, "{version:?}");
        moments.assert_within(&span);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_head_has_cancelled() {
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let (entered, mut entries) = mpsc::unbounded_channel();
        let moments = Moments::default();
        let marked = moments.clone();
        let never = async move || {
            marked.mark();
            entered.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        let app = Router::new().route("/", get_route(never)).layer(TraceLayer::server(&tracing));
        let mut client = Client::connect(version, serve(app).await).await;

        let sending = tokio::spawn(client.send(get("/")));
        entries.recv().await.unwrap();
        assert_none_yet(&tracing, &mut spans).await;
        if version == Version::HTTP_2 {
            sending.abort();
        } else {
            client.hang_up().await;
        }

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Server | GET / | - | error | cancelled", "{version:?}");
        moments.assert_within(&span);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_amid_the_body_has_cancelled() {
    let rows = [
        ("/200", "Server | GET /{status} | 200 | error | cancelled"),
        ("/503", "Server | GET /{status} | 503 | error | 503"),
    ];
    for (version, (path, expected)) in combinations(rows) {
        let (tracing, mut spans) = TracingService::in_memory();
        let moments = Moments::default();
        let (app, mut conductors) = conducted_app(&moments);
        let address = serve(app.layer(TraceLayer::server(&tracing))).await;
        let mut client = Client::connect(version, address).await;

        let mut response = client.send(get(path)).await.unwrap();
        let conductor = conductors.recv().await.unwrap();
        Moments::pass().await;
        conductor.send(Ok(data("half of"))).unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        assert_none_yet(&tracing, &mut spans).await;
        if version == Version::HTTP_2 {
            drop(response);
        } else {
            client.hang_up().await;
        }

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), expected, "{version:?}");
        moments.assert_within(&span);
    }
}

#[tokio::test]
async fn a_panic_of_the_handler_is_seen_wherever_it_is_caught() {
    let panicking =
        || Router::new().route("/", get_route(async || -> StatusCode { panic_quietly() }));

    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let trace = TraceLayer::server(&tracing);

        let outside = panicking().layer(trace.clone()).layer(CatchPanicLayer::new());
        let response = fetch(version, serve(outside).await, get("/")).await;
        assert_eq!(response.status(), 500);
        assert_eq!(
            next_summary(&mut spans).await,
            "Server | GET / | - | error | panic",
            "{version:?}: caught outside of the layer, which sees no response"
        );

        let inside = panicking().layer(CatchPanicLayer::new()).layer(trace.clone());
        let response = fetch(version, serve(inside).await, get("/")).await;
        assert_eq!(response.status(), 500);
        assert_eq!(
            next_summary(&mut spans).await,
            "Server | GET / | 500 | error | 500",
            "{version:?}: caught inside of the layer, which sees the response"
        );

        let mut client = Client::connect(version, serve(panicking().layer(trace)).await).await;
        assert!(client.send(get("/")).await.is_err());
        assert_eq!(
            next_summary(&mut spans).await,
            "Server | GET / | - | error | panic",
            "{version:?}: caught by nobody"
        );
    }
}

#[tokio::test]
async fn a_panic_before_there_is_a_future_is_seen() {
    let (tracing, mut spans) = TracingService::in_memory();
    let panicking =
        service_fn(|request: Request<Body>| -> std::future::Ready<Result<_, Infallible>> {
            if request.uri().path() == "/" {
                panic_quietly()
            }
            std::future::ready(Ok(Response::new(Body::empty())))
        });
    let mut service = CatchPanicLayer::new().layer(TraceLayer::server(&tracing).layer(panicking));

    let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(next_summary(&mut spans).await, "Server | GET | - | error | panic");

    service.ready().await.unwrap().call(get("/fine")).await.unwrap();
    let after = next_summary(&mut spans).await;
    assert_eq!(after, "Server | GET | 200 | unset | -", "the next request is another matter");
}

#[tokio::test]
async fn a_panic_of_the_body_is_seen() {
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let moments = Moments::default();
        let marked = moments.clone();
        let app = Router::new()
            .route(
                "/",
                get_route(async move || {
                    let chunks = stream::unfold(0, move |count| {
                        let marked = marked.clone();
                        async move {
                            if count == 1 {
                                Moments::pass().await;
                                marked.mark();
                                panic_quietly();
                            }
                            Some((Ok::<_, Infallible>("half of"), count + 1))
                        }
                    });
                    Body::from_stream(chunks)
                }),
            )
            .layer(TraceLayer::server(&tracing))
            .layer(CatchPanicLayer::new());
        let mut client = Client::connect(version, serve(app).await).await;

        assert!(client.fetch(get("/")).await.is_err(), "{version:?}: nobody catches it");

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Server | GET / | 200 | error | panic", "{version:?}");
        moments.assert_within(&span);
    }
}

/// What a body says of itself is asked for when the head has come, and after each frame.
#[tokio::test]
async fn a_panic_of_what_a_body_says_of_itself_is_seen_and_is_within_the_span() {
    #[derive(Clone, Copy, PartialEq)]
    enum Panics {
        InSizeHint,
        InIsEndStream,
        AfterAFrame,
    }
    struct Telling {
        panics: Panics,
        has_begun: bool,
    }
    impl http_body::Body for Telling {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut TaskContext<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.has_begun = true;
            Poll::Ready(Some(Ok(data("half of"))))
        }

        fn size_hint(&self) -> SizeHint {
            Context::current().span().add_event("size_hint", Vec::new());
            if self.panics == Panics::InSizeHint {
                panic_quietly()
            }
            SizeHint::default()
        }

        fn is_end_stream(&self) -> bool {
            Context::current().span().add_event("is_end_stream", Vec::new());
            match self.panics {
                Panics::InIsEndStream => panic_quietly(),
                Panics::AfterAFrame if self.has_begun => panic_quietly(),
                _ => false,
            }
        }
    }

    let rows = [
        (Panics::InSizeHint, &["size_hint"][..]),
        (Panics::InIsEndStream, &["size_hint", "is_end_stream"]),
        (Panics::AfterAFrame, &["size_hint", "is_end_stream", "is_end_stream"]),
    ];
    for (panics, expected) in rows {
        let (tracing, mut spans) = TracingService::in_memory();
        let telling = service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Telling { panics, has_begun: false }))
        });
        let fetched = async {
            let response = TraceLayer::server(&tracing).layer(telling).oneshot(get("/")).await;
            let mut body = Box::pin(response.unwrap().into_body());
            body.frame().await.is_some()
        };
        assert!(AssertUnwindSafe(fetched).catch_unwind().await.is_err());

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Server | GET | 200 | error | panic", "{expected:?}");
        let asked: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(asked, expected);
    }
}

#[tokio::test]
async fn a_timeout_inside_is_an_error_of_the_service_and_one_outside_cancels() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let soon = Duration::from_millis(1);
    let never =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>());

    assert!(trace.layer(Timeout::new(never, soon)).oneshot(get("/")).await.is_err());
    assert_eq!(
        next_summary(&mut spans).await,
        "Server | GET | - | error: request timed out | service_error"
    );

    assert!(Timeout::new(trace.layer(never), soon).oneshot(get("/")).await.is_err());
    assert_eq!(next_summary(&mut spans).await, "Server | GET | - | error | cancelled");
}

#[tokio::test]
async fn an_upgrade_ends_the_span_at_the_head_and_the_tunnel_lives_on() {
    let rows = [
        (Version::HTTP_11, "GET", "/", 101, "Server | GET | 101 | unset | -"),
        (Version::HTTP_11, "CONNECT", "example.com:80", 200, "Server | CONNECT | 200 | unset | -"),
        (Version::HTTP_2, "CONNECT", "example.com:80", 200, "Server | CONNECT | 200 | unset | -"),
    ];
    for (version, method, target, status, expected) in rows {
        let (tracing, mut spans) = TracingService::in_memory();
        let moments = Moments::default();
        let marked = moments.clone();
        let echo = service_fn(move |mut request: Request<Incoming>| {
            marked.mark();
            tokio::spawn(async move {
                let tunnel = hyper::upgrade::on(&mut request).await.unwrap();
                let (mut reader, mut writer) = tokio::io::split(TokioIo::new(tunnel));
                tokio::io::copy(&mut reader, &mut writer).await
            });
            let mut response = Response::builder().status(status);
            if status == 101 {
                response = response.header("connection", "upgrade").header("upgrade", "echo");
            }
            // There is no place for a body, so this one is never asked for.
            let endless = stream::pending::<Result<&str, Infallible>>();
            std::future::ready(response.body(Body::from_stream(endless)))
        });
        let address = serve(TraceLayer::server(&tracing).layer(echo)).await;
        let mut client = Client::connect(version, address).await;
        let headers: &[_] = match status {
            101 => &[("connection", "upgrade"), ("upgrade", "echo")],
            _ => &[],
        };

        let response = client.send(request(method, target, headers)).await.unwrap();
        assert_eq!(response.status(), status);
        let span = next(&mut spans).await;
        assert_eq!(summary(&span), expected, "{version:?}");
        moments.assert_within(&span);

        let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        tunnel.write_all(b"ping").await.unwrap();
        let mut echoed = [0; 4];
        tunnel.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"ping", "{version:?} {method}: the tunnel works");
    }
}

/// The thread's locals are destroyed in the opposite order to that in which they were made: those
/// of OpenTelemetry before what the thread held already.
#[test]
fn a_thread_that_ends_ends_the_spans_of_what_it_holds() {
    thread_local! {
        static HELD: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    }
    /// Sends a request.
    struct Farewell<S: Service<Request<Body>> + Clone>(S);
    impl<S: Service<Request<Body>> + Clone> Drop for Farewell<S> {
        fn drop(&mut self) {
            drop(self.0.clone().oneshot(get("/")).now_or_never());
        }
    }

    let (recorded, mut spans) = TracingService::in_memory();
    let (unrecorded, _none) = at_rate(0);
    for tracing in [&recorded, &unrecorded] {
        let (server, client) = (TraceLayer::server(tracing), TraceLayer::client(tracing));
        let thread = std::thread::spawn(move || {
            HELD.with_borrow_mut(|held| {
                let never = service_fn(|_: Request<Body>| {
                    std::future::pending::<Result<Response<Body>, Infallible>>()
                });
                let never = server.layer(client.layer(never));
                let mut future = Box::pin(never.oneshot(get("/")));
                assert!((&mut future).now_or_never().is_none());
                let streaming = service_fn(async |_: Request<Body>| {
                    let body = stream::pending::<Result<&str, Infallible>>();
                    Ok::<_, Infallible>(Response::new(Body::from_stream(body)))
                });
                let streaming = server.layer(client.layer(streaming));
                let response = streaming.clone().oneshot(get("/")).now_or_never().unwrap();
                held.push(Box::new(future));
                held.push(Box::new(response));
                held.push(Box::new(Farewell(streaming)));
            });
        });
        thread.join().unwrap();
    }

    assert_eq!(recorded.shutdown_blocking(PATIENCE).pending, 0);
    let mut ended: Vec<_> = spans.take().iter().map(summary).collect();
    ended.sort_unstable();
    let expected = [
        "Client | GET | - | unset | -",
        "Client | GET | 200 | unset | -",
        "Server | GET | - | error | cancelled",
        "Server | GET | 200 | error | cancelled",
    ];
    assert_eq!(ended, expected, "and none is begun where there is no context");
}

/// Each row with each version of HTTP.
fn combinations<R: Copy, const N: usize>(rows: [R; N]) -> impl Iterator<Item = (Version, R)> {
    VERSIONS.into_iter().flat_map(move |version| rows.map(|row| (version, row)))
}

/// Answers each request with the status in its path and a body that the test conducts. What the
/// body does is marked.
fn conducted_app(moments: &Moments) -> (Router, mpsc::UnboundedReceiver<Conductor>) {
    let (sender, conductors) = mpsc::unbounded_channel();
    let moments = moments.clone();
    let handler = async move |uri: http::Uri| {
        moments.mark();
        let (conductor, body) = conducted();
        sender.send(conductor).unwrap();
        let response = Response::builder().status(&uri.path()[1..]);
        response.body(Watched::body(body, moments)).unwrap()
    };
    (Router::new().route("/{status}", get_route(handler)), conductors)
}
