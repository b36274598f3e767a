//! What services and their bodies see and do on the way out: while they are dropped, when their
//! span has ended, and what is left of it all.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use tokio::sync::{mpsc, oneshot};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_otlp::{TraceLayer, TracingService};

use crate::support::panic_quietly;
use crate::support::server::{Client, VERSIONS, get, request, serve};
use crate::support::spans::{all, assert_none_yet, at_rate, next, summary};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// Writes to the span that is current when it is dropped, as a transaction does that is given up.
struct Transaction {
    panics: bool,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        Context::map_current(|context| context.span().add_event("rollback", Vec::new()));
        if self.panics {
            panic_quietly();
        }
    }
}

#[tokio::test]
async fn what_is_rolled_back_when_the_client_goes_away_is_in_the_span() {
    // Path, span, reason.
    let rows = [
        ("/handler", "Server | GET | - | error | cancelled", "before the head"),
        ("/body", "Server | GET | 200 | error | cancelled", "amid the body"),
        ("/handler/panics", "Server | GET | - | error | panic", "and rolling back panics"),
        ("/body/panics", "Server | GET | 200 | error | panic", "and rolling back panics"),
    ];
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let (sender, mut begun) = mpsc::unbounded_channel();
        let handler = async move |uri: http::Uri| {
            let transaction = Transaction { panics: uri.path().ends_with("panics") };
            sender.send(()).unwrap();
            if uri.path().starts_with("/handler") {
                std::future::pending::<()>().await;
            }
            let first = stream::iter([Ok::<_, Infallible>("half of")]);
            Body::from_stream(first.chain(stream::pending()).map(move |chunk| {
                let _ = &transaction;
                chunk
            }))
        };
        let app = Router::new().fallback(handler).layer(TraceLayer::server(&tracing));
        let address = serve(app).await;

        for (path, expected, reason) in rows {
            let mut client = Client::connect(version, address).await;
            if path.starts_with("/handler") {
                let sending = tokio::spawn(client.send(get(path)));
                begun.recv().await.unwrap();
                assert_none_yet(&tracing, &mut spans).await;
                sending.abort();
                client.hang_up().await;
            } else {
                let mut response = client.send(get(path)).await.unwrap();
                begun.recv().await.unwrap();
                response.body_mut().frame().await.unwrap().unwrap();
                assert_none_yet(&tracing, &mut spans).await;
                drop(response);
                client.hang_up().await;
            }

            let span = next(&mut spans).await;
            assert_eq!(summary(&span), expected, "{version:?}: {reason}");
            let events: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
            assert_eq!(events, ["rollback"], "{version:?} {path}: {reason}");
        }
    }
}

#[tokio::test]
async fn an_error_that_panics_when_it_is_displayed_ends_the_span_as_a_panic() {
    struct Unspeakable;
    impl fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic_quietly()
        }
    }
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);

    let failing =
        service_fn(async |_: Request<Body>| Err::<Response<Body>, Unspeakable>(Unspeakable));
    let request = trace.layer(failing).oneshot(get("/"));
    assert!(AssertUnwindSafe(request).catch_unwind().await.is_err());
    let expected = "Server | GET | - | error | panic";
    assert_eq!(summary(&next(&mut spans).await), expected, "of the service");

    let failing = service_fn(async |_: Request<Body>| {
        let body = StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>(Unspeakable)]));
        Ok::<_, Infallible>(Response::new(body))
    });
    let body = trace.layer(failing).oneshot(get("/")).await.unwrap().into_body();
    assert!(AssertUnwindSafe(body.collect()).catch_unwind().await.is_err());
    let expected = "Server | GET | 200 | error | panic";
    assert_eq!(summary(&next(&mut spans).await), expected, "of the body");
}

/// The span that a body sees, and whether it takes what is written.
type Sight = (SpanContext, bool);

/// A body of one frame that tells what it sees at each poll and when it is dropped.
struct Witness {
    frames: std::vec::IntoIter<Frame<Bytes>>,
    sights: mpsc::UnboundedSender<Sight>,
}

impl Witness {
    fn tell(&self) {
        let _ = self.sights.send(Context::map_current(|context| {
            context.span().set_attribute(KeyValue::new("seen", true));
            (context.span().span_context().clone(), context.span().is_recording())
        }));
    }
}

impl http_body::Body for Witness {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.tell();
        Poll::Ready(self.frames.next().map(Ok))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tell();
    }
}

#[tokio::test]
async fn what_a_body_does_when_its_span_has_ended_still_belongs_to_the_trace() {
    // Method, status, whether the body has frames that are within the span, reason.
    let rows = [
        ("GET", 200, true, "the length has been reached: asked for more, or dropped"),
        ("HEAD", 200, false, "has no body"),
        ("GET", 204, false, "has no body"),
        ("GET", 304, false, "has no body"),
    ];
    for version in VERSIONS {
        for (method, status, within, reason) in rows {
            for (traceparent, recorded) in [(SAMPLED, true), (NOT_SAMPLED, false)] {
                let (tracing, spans) = at_rate(0);
                let (sender, mut sights) = mpsc::unbounded_channel();
                let service = service_fn(move |_: Request<_>| {
                    let frames = vec![Frame::data(Bytes::from_static(b"hello"))].into_iter();
                    let body = Witness { frames, sights: sender.clone() };
                    let mut response = Response::builder().status(status);
                    if status == 200 {
                        response = response.header("content-length", 5);
                    }
                    std::future::ready(response.body(body))
                });
                let address = serve(TraceLayer::server(&tracing).layer(service)).await;
                let mut client = Client::connect(version, address).await;

                let asked = request(method, "/", &[("traceparent", traceparent)]);
                let response = client.send(asked).await.unwrap();
                let reason = format!("{version:?} {method} {status} {traceparent}: {reason}");
                if within {
                    response.into_body().collect().await.unwrap();
                } else {
                    drop(response);
                }
                client.hang_up().await;

                let mut seen = Vec::new();
                seen.push(sights.recv().await.unwrap());
                if within {
                    assert_eq!(seen[0].1, recorded, "{reason}: within the span");
                    seen.push(sights.recv().await.unwrap());
                }
                while let Ok(sight) = sights.try_recv() {
                    seen.push(sight);
                }
                let inert = &seen[usize::from(within)..];
                assert!(inert.iter().all(|(_, recording)| !recording), "{reason}: {seen:?}");
                for (span, _) in &seen {
                    assert_eq!(span.trace_id().to_string(), TRACE, "{reason}");
                    assert_eq!(span.span_id(), seen[0].0.span_id(), "{reason}");
                }
                let spans = all(tracing, spans).await;
                let ids: Vec<_> = spans.iter().map(|span| span.span_id).collect();
                assert_eq!(ids, Vec::from_iter(recorded.then_some(seen[0].0.span_id())));
                if recorded {
                    assert_eq!(spans[0].attribute("seen").is_some(), within, "{reason}");
                }
            }
        }
    }
}

#[tokio::test]
async fn however_a_request_ends_it_leaves_no_context_behind() {
    // Path, span if it is recorded.
    let rows = [
        ("/fine", "Server | GET | 200 | unset | -"),
        ("/call/panic", "Server | GET | - | error | panic"),
        ("/future/error", "Server | GET | - | error: no database | service_error"),
        ("/future/panic", "Server | GET | - | error | panic"),
        ("/future/cancel", "Server | GET | - | error | cancelled"),
        ("/body/error", "Server | GET | 200 | error: the disk is gone | body_error"),
        ("/body/panic", "Server | GET | 200 | error | panic"),
        ("/body/cancel", "Server | GET | 200 | error | cancelled"),
    ];
    for (traceparent, recorded) in [(SAMPLED, true), (NOT_SAMPLED, false)] {
        for version in VERSIONS {
            let (tracing, mut spans) = at_rate(0);
            let (sender, mut kept) = mpsc::unbounded_channel();
            let service = service_fn(move |request: Request<_>| {
                // Everything runs on this one thread.
                let (held, let_go) = oneshot::channel::<()>();
                sender.send((Context::current(), let_go)).unwrap();
                let path = request.uri().path().to_owned();
                if path == "/call/panic" {
                    panic_quietly();
                }
                answer(path, held)
            });
            let service = TraceLayer::server(&tracing).layer(service);
            let address = serve(CatchPanicLayer::new().layer(service)).await;

            for (path, expected) in rows {
                let reason = format!("{version:?} {path} {traceparent}");
                let mut client = Client::connect(version, address).await;
                let sending = client.send(request("GET", path, &[("traceparent", traceparent)]));
                let answered = tokio::spawn(async {
                    let mut body = sending.await?.into_body();
                    let first = body.frame().await;
                    Ok::<_, hyper::Error>((first.transpose()?.is_some(), body.collect().await))
                });
                let (context, let_go) = kept.recv().await.unwrap();
                if path.ends_with("cancel") {
                    answered.abort();
                    client.hang_up().await;
                }
                let _ = answered.await;
                assert!(let_go.await.is_err(), "{reason}: the service and its body are gone");

                if recorded {
                    assert_eq!(summary(&next(&mut spans).await), expected, "{reason}");
                }
                assert!(!context.span().is_recording(), "{reason}: what was kept is inert");
                assert_eq!(context.span().span_context().trace_id().to_string(), TRACE, "{reason}");
                let current = Context::map_current(TraceContextExt::has_active_span);
                assert!(!current, "{reason}: no context is left behind");
            }
            assert_none_yet(&tracing, &mut spans).await;
        }
    }
}

/// Answers as the path says. Service and body hold on to what they are given to hold.
async fn answer(path: String, held: oneshot::Sender<()>) -> Result<Response<Body>, io::Error> {
    match path.as_str() {
        "/future/error" => return Err(io::Error::other("no database")),
        "/future/panic" => panic_quietly(),
        "/future/cancel" => std::future::pending().await,
        _ => {}
    }
    let rest = stream::once(async move {
        match path.as_str() {
            "/body/error" => Err(io::Error::other("the disk is gone")),
            "/body/panic" => panic_quietly(),
            "/body/cancel" => std::future::pending().await,
            _ => Ok("the other half"),
        }
    });
    let body = stream::iter([Ok("half of")]).chain(rest).map(move |chunk| {
        let _ = &held;
        chunk
    });
    Ok(Response::new(Body::from_stream(body)))
}
