//! Spans of HTTP requests by hyper-util's client: what they say, and when they end.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path};
use axum::response::IntoResponse;
use axum::routing::get as get_route;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_otlp::{ResponseBody, TraceContext, TraceLayer, TracingService};

use super::{get, legacy, read, told};
use crate::support::body::{Conductor, conducted, data};
use crate::support::panic_quietly;
use crate::support::server::{VERSIONS, serve};
use crate::support::spans::{all, assert_none_yet, next, next_summary, summary, text};

#[tokio::test]
async fn every_status_ends_its_span_as_its_caller_sees_it() {
    let app = Router::new().fallback(async |uri: http::Uri| {
        StatusCode::from_bytes(uri.path().trim_start_matches('/').as_bytes()).unwrap()
    });
    let address = serve(app).await;
    let rows = [
        (200, "Client | GET | 200 | unset | -"),
        (204, "Client | GET | 204 | unset | -"),
        (308, "Client | GET | 308 | unset | -"),
        (400, "Client | GET | 400 | error | 400"),
        (404, "Client | GET | 404 | error | 404"),
        (500, "Client | GET | 500 | error | 500"),
        (599, "Client | GET | 599 | error | 599"),
        (600, "Client | GET | 600 | error | 600"),
    ];
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let client = TraceLayer::client(&tracing).layer(legacy(version));
        for (status, expected) in rows {
            let request = Request::get(format!("http://{address}/{status}"));
            let request = request.body(Body::empty()).unwrap();
            let response = client.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status);
            let ids = response.extensions().get::<TraceContext>().cloned();
            response.into_body().collect().await.unwrap();

            let span = next(&mut spans).await;
            assert_eq!(summary(&span), expected, "{version:?}");
            assert_eq!(ids.unwrap().span_id(), span.span_id, "its caller can name it");
        }
    }
}

#[tokio::test]
async fn a_request_tells_its_span_and_its_span_tells_the_request() {
    let app = Router::new().route(
        "/{*path}",
        get_route(async |Path(_): Path<String>, request: Request<Body>| {
            let context = told(request.headers());
            format!("{} {}", context.trace_id(), context.span_id())
        }),
    );
    let address = serve(app).await;
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let client = TraceLayer::client(&tracing).layer(legacy(version));
        let request = Request::get(format!("http://user:pw@{address}/a/b?x=1&sig=secret"));
        let request = request.body(Body::empty()).unwrap();
        let response = client.oneshot(request).await.unwrap();
        assert!(!response.headers().contains_key("server-timing"), "that is for servers to write");
        let body = response.into_body().collect().await.unwrap().to_bytes();

        let span = next(&mut spans).await;
        assert_eq!(body, format!("{} {}", span.trace_id, span.span_id), "{version:?}");
        assert_eq!((span.parent_span_id, span.flags), (None, 0x103));
        let number = if version == Version::HTTP_2 { "2" } else { "1.1" };
        let expected = [
            ("http.request.method", "GET".to_owned()),
            ("url.full", format!("http://REDACTED:REDACTED@{address}/a/b?x=1&sig=REDACTED")),
            ("server.address", "127.0.0.1".to_owned()),
            ("server.port", address.port().to_string()),
            ("network.protocol.version", number.to_owned()),
            ("http.response.status_code", "200".to_owned()),
        ];
        let keys: Vec<_> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, expected.each_ref().map(|(key, _)| *key), "{version:?}");
        for (key, value) in expected {
            assert_eq!(text(&span, key), Some(value), "{version:?}");
        }
    }
}

/// A server whose body the test conducts, and a traced client that has the response's head.
async fn conducted_response(
    version: Version,
    tracing: &TracingService,
) -> (Conductor, Response<ResponseBody<Incoming>>) {
    let (conductor, body) = conducted();
    let body = Arc::new(Mutex::new(Some(body)));
    let app = Router::new().fallback(async move || body.lock().unwrap().take().unwrap());
    let address = serve(app).await;
    let client = TraceLayer::client(tracing).layer(legacy(version));
    (conductor, client.oneshot(get(address, "/")).await.unwrap())
}

#[tokio::test]
async fn a_span_lasts_as_long_as_the_body_is_read() {
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let (conductor, mut response) = conducted_response(version, &tracing).await;
        for piece in ["one", "two"] {
            conductor.send(Ok(data(piece))).unwrap();
            response.body_mut().frame().await.unwrap().unwrap();
            assert_none_yet(&tracing, &mut spans).await;
        }
        drop(conductor);
        assert_eq!(read(response).await.unwrap(), "");
        assert_eq!(next_summary(&mut spans).await, "Client | GET | 200 | unset | -", "{version:?}");
    }
}

#[tokio::test]
async fn what_a_caller_does_not_want_any_more_is_no_error() {
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let (conductor, mut response) = conducted_response(version, &tracing).await;
        conductor.send(Ok(data("one"))).unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        assert_none_yet(&tracing, &mut spans).await;
        drop(response);
        let expected = "Client | GET | 200 | unset | -";
        assert_eq!(next_summary(&mut spans).await, expected, "{version:?}: amid the body");

        let (_conductor, response) = conducted_response(version, &tracing).await;
        drop(response);
        assert_eq!(next_summary(&mut spans).await, expected, "{version:?}: never read");

        let (begun, mut has_begun) = mpsc::unbounded_channel();
        let never = serve(Router::new().fallback(async move || {
            begun.send(()).unwrap();
            pending::<()>().await;
        }));
        let client = TraceLayer::client(&tracing).layer(legacy(version));
        let waiting = tokio::spawn(client.oneshot(get(never.await, "/")));
        has_begun.recv().await.unwrap();
        assert_none_yet(&tracing, &mut spans).await;
        waiting.abort();
        let expected = "Client | GET | - | unset | -";
        assert_eq!(next_summary(&mut spans).await, expected, "{version:?}: before the head");
    }
}

#[tokio::test]
async fn a_body_of_known_length_is_complete_with_its_last_byte() {
    let app = Router::new().fallback(async || "hello");
    let address = serve(app).await;
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let client = TraceLayer::client(&tracing).layer(legacy(version));
        let mut response = client.oneshot(get(address, "/")).await.unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "hello");
        // Nobody has asked for the end.
        assert_eq!(next_summary(&mut spans).await, "Client | GET | 200 | unset | -", "{version:?}");
    }
}

#[tokio::test]
async fn a_response_without_a_body_ends_with_its_head() {
    let app = Router::new().fallback(async |uri: http::Uri| match uri.path() {
        "/empty" => ().into_response(),
        "/204" => StatusCode::NO_CONTENT.into_response(),
        "/304" => StatusCode::NOT_MODIFIED.into_response(),
        _ => "hello".into_response(),
    });
    let address = serve(app).await;
    let rows =
        [("HEAD", "/", 200), ("GET", "/empty", 200), ("GET", "/204", 204), ("GET", "/304", 304)];
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let client = TraceLayer::client(&tracing).layer(legacy(version));
        for (method, path, status) in rows {
            let mut request = get(address, path);
            *request.method_mut() = method.parse().unwrap();
            let _unread = client.clone().oneshot(request).await.unwrap();
            let expected = format!("Client | {method} | {status} | unset | -");
            assert_eq!(next_summary(&mut spans).await, expected, "{version:?}: {path}");
        }
    }
}

#[tokio::test]
async fn a_method_of_its_own_and_the_version_of_the_answer_are_recorded() {
    let address = serve(Router::new().fallback(async || "hello")).await;
    let (tracing, mut spans) = TracingService::in_memory();
    let client = TraceLayer::client(&tracing).layer(legacy(Version::HTTP_2));
    let mut request = get(address, "/");
    *request.method_mut() = "TEST".parse().unwrap();
    // What is asked for is not what is agreed on.
    *request.version_mut() = Version::HTTP_11;
    read(client.oneshot(request).await.unwrap()).await.unwrap();
    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Client | HTTP | 200 | unset | -");
    assert_eq!(text(&span, "http.request.method").unwrap(), "_OTHER");
    assert_eq!(text(&span, "http.request.method_original").unwrap(), "TEST");
    assert_eq!(text(&span, "network.protocol.version").unwrap(), "2");
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_after_the_span() {
    let app = Router::new().fallback(async |mut request: Request<Body>| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut connection = TokioIo::new(upgrade.await.unwrap());
            let mut ping = [0; 4];
            connection.read_exact(&mut ping).await.unwrap();
            connection.write_all(&ping).await.unwrap();
        });
        let headers = [("connection", "upgrade"), ("upgrade", "echo")];
        (StatusCode::SWITCHING_PROTOCOLS, headers)
    });
    let address = serve(app).await;
    let (tracing, mut spans) = TracingService::in_memory();
    let client = TraceLayer::client(&tracing).layer(legacy(Version::HTTP_11));
    let mut request = get(address, "/");
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "echo".parse().unwrap());

    let mut response = client.oneshot(request).await.unwrap();
    assert_eq!(next_summary(&mut spans).await, "Client | GET | 101 | unset | -");
    let mut connection = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    connection.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    connection.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"ping");
}

#[tokio::test]
async fn a_panic_of_the_client_ends_its_span() {
    let (tracing, mut spans) = TracingService::in_memory();
    let panics = service_fn(async |_: Request<Body>| -> Result<Response<Body>, Infallible> {
        panic_quietly()
    });
    let request =
        TraceLayer::client(&tracing).layer(panics).oneshot(get(([127, 0, 0, 1], 1).into(), "/"));
    assert!(AssertUnwindSafe(request).catch_unwind().await.is_err());
    assert_eq!(next_summary(&mut spans).await, "Client | GET | - | error | panic");
}

/// Counts its connections, and says its last goodbye after each request where it is told to.
async fn counting_connections(goodbye: bool) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_request, mut respond))) = connection.accept().await {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
                    if goodbye {
                        connection.graceful_shutdown();
                    }
                }
            });
        }
    });
    (address, connections)
}

#[tokio::test]
async fn a_connection_is_reused_and_a_goaway_costs_no_request() {
    for goodbye in [false, true] {
        let (tracing, mut spans) = TracingService::in_memory();
        let (address, connections) = counting_connections(goodbye).await;
        let mut client = TraceLayer::client(&tracing).layer(legacy(Version::HTTP_2));
        for _ in 0..5 {
            let response = client.ready().await.unwrap().call(get(address, "/")).await.unwrap();
            assert_eq!(read(response).await.unwrap(), "hello");
            assert_eq!(next_summary(&mut spans).await, "Client | GET | 200 | unset | -");
        }
        let connections = connections.load(Ordering::Relaxed);
        assert_eq!(connections > 1, goodbye, "{connections}");
    }
}

#[tokio::test]
async fn a_kept_alive_connection_is_used_again_and_each_request_has_a_span_of_its_own() {
    let (sender, mut peers) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(async move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
        sender.send(peer).unwrap();
        "hello"
    });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async { axum::serve(listener, app).await });
    let (tracing, mut spans) = TracingService::in_memory();
    let client = TraceLayer::client(&tracing).layer(legacy(Version::HTTP_11));
    let mut ids = HashSet::new();
    let mut connections = HashSet::new();
    for _ in 0..3 {
        read(client.clone().oneshot(get(address, "/")).await.unwrap()).await.unwrap();
        connections.insert(peers.recv().await.unwrap());
        ids.insert(next(&mut spans).await.span_id);
    }
    assert_eq!((ids.len(), connections.len()), (3, 1));
}

#[tokio::test]
async fn a_thousand_requests_at_once_on_one_connection_are_a_thousand_traces() {
    let app = Router::new().fallback(async |headers: http::HeaderMap| {
        let told = told(&headers);
        format!("{} {}", told.trace_id(), told.span_id())
    });
    let address = serve(app).await;
    let (tracing, spans) = TracingService::in_memory();
    let client = TraceLayer::client(&tracing).layer(legacy(Version::HTTP_2));
    let requests = (0..1000).map(|_| async {
        read(client.clone().oneshot(get(address, "/")).await.unwrap()).await.unwrap()
    });
    let told: HashSet<_> = join_all(requests).await.into_iter().collect();
    let spans = all(tracing, spans).await;
    let sent: HashSet<_> = spans
        .iter()
        .map(|span| Bytes::from(format!("{} {}", span.trace_id, span.span_id)))
        .collect();
    assert_eq!(told.len(), 1000);
    assert_eq!(told, sent);
    for span in &spans {
        assert_eq!(summary(span), "Client | GET | 200 | unset | -");
    }
}
