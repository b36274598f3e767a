//! Responses that come to their end, over HTTP/1.1 and HTTP/2.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get as get_route};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, Version};
use http_body::Frame;
use tower::Layer;
use tower_otlp::{TraceLayer, TracingService};

use crate::support::body::{Watched, conducted, data, frames};
use crate::support::server::{Client, VERSIONS, fetch, request, serve};
use crate::support::spans::{Moments, assert_none_yet, next, summary, text};

#[tokio::test]
async fn every_complete_response_ends_its_span_with_its_status() {
    // Method, path, span, reason.
    let rows = [
        ("GET", "/sized", "Server | GET /sized | 200 | unset | -", "a body of known length"),
        ("GET", "/stream", "Server | GET /stream | 200 | unset | -", "a body of unknown length"),
        (
            "GET",
            "/exact",
            "Server | GET /exact | 200 | unset | -",
            "a stream whose length is told: over HTTP/1.1 nobody asks for its end",
        ),
        ("GET", "/empty", "Server | GET /empty | 200 | unset | -", "nothing to send"),
        (
            "POST",
            "/endless/204",
            "Server | POST /endless/{status} | 204 | unset | -",
            "has no body: the one given is never asked for",
        ),
        (
            "GET",
            "/endless/304",
            "Server | GET /endless/{status} | 304 | unset | -",
            "has no body, either",
        ),
        (
            "HEAD",
            "/endless/200",
            "Server | HEAD /endless/{status} | 200 | unset | -",
            "the router drops the body, outside of the layer",
        ),
        ("HEAD", "/endless/404", "Server | HEAD /endless/{status} | 404 | unset | -", "the same"),
        ("GET", "/trailers", "Server | GET /trailers | 200 | unset | -", "trailers are an end"),
        ("GET", "/status/302", "Server | GET /status/{status} | 302 | unset | -", "no failure"),
        (
            "GET",
            "/status/404",
            "Server | GET /status/{status} | 404 | unset | -",
            "the client's fault",
        ),
        ("GET", "/status/499", "Server | GET /status/{status} | 499 | unset | -", "the last one"),
        (
            "GET",
            "/status/500",
            "Server | GET /status/{status} | 500 | error | 500",
            "the server's fault, which the code explains",
        ),
        ("GET", "/status/503", "Server | GET /status/{status} | 503 | error | 503", "the same"),
        (
            "BREW",
            "/status/200",
            "Server | HTTP /status/{status} | 200 | unset | -",
            "a method that nobody knows must not get into names",
        ),
        (
            "DELETE",
            "/api/v1/users/7",
            "Server | DELETE /api/v1/users/{id} | 200 | unset | -",
            "a route of nested routers is known in full",
        ),
        ("GET", "/nowhere", "Server | GET | 404 | unset | -", "there is no route"),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let address = serve(app(&moments).layer(TraceLayer::server(&tracing))).await;

    for version in VERSIONS {
        for (method, path, expected, reason) in rows {
            ask(version, address, method, path).await;

            let span = next(&mut spans).await;
            assert_eq!(summary(&span), expected, "{method} {path} over {version:?}: {reason}");
            if path != "/nowhere" {
                moments.assert_within(&span);
            }
        }
    }
}

#[tokio::test]
async fn around_the_router_no_route_is_known_and_all_responses_end_alike() {
    let rows = [
        ("GET", "/sized", "Server | GET | 200 | unset | -", "routed later"),
        ("GET", "/exact", "Server | GET | 200 | unset | -", "a stream of told length"),
        ("HEAD", "/stream", "Server | HEAD | 200 | unset | -", "the router has dropped the body"),
        ("HEAD", "/sized", "Server | HEAD | 200 | unset | -", "with a length for a body not sent"),
        ("GET", "/endless/204", "Server | GET | 204 | unset | -", "a body that is never asked for"),
        ("GET", "/trailers", "Server | GET | 200 | unset | -", "trailers"),
        ("BREW", "/status/500", "Server | HTTP | 500 | error | 500", "an unknown method"),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let address = serve(TraceLayer::server(&tracing).layer(app(&moments))).await;

    for version in VERSIONS {
        for (method, path, expected, reason) in rows {
            ask(version, address, method, path).await;

            let span = next(&mut spans).await;
            assert_eq!(summary(&span), expected, "{method} {path} over {version:?}: {reason}");
            assert_eq!(text(&span, "http.route"), None, "{path} over {version:?}");
            moments.assert_within(&span);
        }
    }
}

#[tokio::test]
async fn a_span_lasts_until_the_last_frame_of_a_body() {
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let moments = Moments::default();
        let (conductor, body) = conducted();
        let body = std::sync::Mutex::new(Some(Watched::body(body, moments.clone())));
        let body = std::sync::Arc::new(body);
        let app = Router::new()
            .route("/", get_route(async move || body.lock().unwrap().take().unwrap()))
            .layer(TraceLayer::server(&tracing));
        let mut client = Client::connect(version, serve(app).await).await;

        let mut response = client.send(request("GET", "/", &[])).await.unwrap().into_body();
        assert_none_yet(&tracing, &mut spans).await;

        Moments::pass().await;
        conductor.send(Ok(data("one"))).unwrap();
        let frame = http_body_util::BodyExt::frame(&mut response).await;
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "one");
        assert_none_yet(&tracing, &mut spans).await;

        drop(conductor);
        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Server | GET / | 200 | unset | -", "{version:?}");
        moments.assert_within(&span);
    }
}

#[tokio::test]
async fn responses_reach_the_client_as_the_service_made_them() {
    let (tracing, _spans) = TracingService::in_memory();
    let address = serve(app(&Moments::default()).layer(TraceLayer::server(&tracing))).await;

    for (version, framing) in [(Version::HTTP_11, Some("chunked")), (Version::HTTP_2, None)] {
        let sized = fetch(version, address, request("GET", "/sized", &[])).await;
        assert_eq!(sized.body(), "hello");
        assert_eq!(sized.headers()["content-length"], "5", "{version:?}: the length is kept");

        let head = fetch(version, address, request("HEAD", "/sized", &[])).await;
        assert_eq!(head.headers()["content-length"], "5", "{version:?}: for HEAD, too");

        let stream = fetch(version, address, request("GET", "/stream", &[])).await;
        assert_eq!(stream.body(), "hello world");
        let encoding = stream.headers().get("transfer-encoding");
        assert_eq!(encoding.map(HeaderValue::as_bytes), framing.map(str::as_bytes));
    }
}

#[tokio::test]
async fn a_span_says_what_was_asked_for_without_secrets() {
    let (tracing, mut spans) = TracingService::in_memory();
    let address = serve(app(&Moments::default()).layer(TraceLayer::server(&tracing))).await;

    for (version, version_name) in [(Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")] {
        let path = "/status/200?page=2&X-Amz-Signature=c2VjcmV0&sig=x";
        let headers = [("user-agent", "journeys/1"), ("authorization", "Bearer secret")];
        let _ = fetch(version, address, request("BREW", path, &headers)).await;

        let span = next(&mut spans).await;
        let port = address.port().to_string();
        let expected = [
            ("http.request.method", "_OTHER"),
            ("http.request.method_original", "BREW"),
            ("url.path", "/status/200"),
            ("url.scheme", "http"),
            ("url.query", "page=2&X-Amz-Signature=REDACTED&sig=REDACTED"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("network.protocol.version", version_name),
            ("user_agent.original", "journeys/1"),
            ("http.route", "/status/{status}"),
            ("http.response.status_code", "200"),
        ];
        let found: Vec<_> =
            span.attributes.iter().map(|kv| (kv.key.to_string(), kv.value.to_string())).collect();
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected, "{version:?}");
    }
}

#[tokio::test]
async fn in_a_nested_router_the_span_says_the_whole_path_that_was_asked_for() {
    // Method, target, name, path, query, route, reason.
    type Row = (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
        &'static str,
    );
    let rows: [Row; 5] = [
        (
            "GET",
            "/api/users/7?page=2",
            "GET /api/users/{id}",
            "/api/users/7",
            Some("page=2"),
            Some("/api/users/{id}"),
            "the router inside is shown /users/7",
        ),
        (
            "GET",
            "/api/deeper/users/7",
            "GET /api/deeper/users/{id}",
            "/api/deeper/users/7",
            None,
            Some("/api/deeper/users/{id}"),
            "nested twice",
        ),
        (
            "GET",
            "/api/nowhere?sig=x",
            "GET",
            "/api/nowhere",
            Some("sig=REDACTED"),
            None,
            "no route",
        ),
        (
            "POST",
            "/api/v1/traces",
            "POST /api/v1/traces",
            "/api/v1/traces",
            None,
            Some("/api/v1/traces"),
            "brings no spans, though the router inside is shown the path of those that do",
        ),
        (
            "GET",
            "/service/users/7?page=2",
            "GET",
            "/service/users/7",
            Some("page=2"),
            None,
            "around a nested service no route is known, as around a whole router",
        ),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let seen = || any(async |uri: http::Uri| uri.path().to_owned());
    let users = || Router::new().route("/users/{id}", seen());
    let inner = users()
        .nest("/deeper", users())
        .route("/v1/traces", seen())
        .fallback(async || http::StatusCode::NOT_FOUND);
    let app = Router::new()
        .nest("/api", inner.layer(trace.clone()))
        .nest_service("/service", trace.layer(users()));
    let address = serve(app).await;

    for version in VERSIONS {
        for (method, target, name, path, query, route, reason) in rows {
            let response = fetch(version, address, request(method, target, &[])).await;
            assert_ne!(response.body(), path, "the handler is shown its own part");

            let span = next(&mut spans).await;
            assert_eq!(span.name, name, "{version:?} {target}: {reason}");
            let expected = [("url.path", Some(path)), ("url.query", query), ("http.route", route)];
            for (key, expected) in expected {
                assert_eq!(text(&span, key).as_deref(), expected, "{version:?} {target}: {reason}");
            }
        }
    }
}

#[tokio::test]
async fn spans_that_are_brought_to_a_nested_receiver_are_not_traced() {
    let (tracing, mut spans) = TracingService::in_memory();
    let receiver = Router::new().route("/traces", any(async || ()));
    let app = Router::new().nest("/v1", receiver.layer(TraceLayer::server(&tracing)));
    let address = serve(app).await;

    fetch(Version::HTTP_11, address, request("POST", "/v1/traces", &[])).await;
    assert_none_yet(&tracing, &mut spans).await;
    fetch(Version::HTTP_11, address, request("GET", "/v1/traces", &[])).await;
    let expected = "Server | GET /v1/traces | 200 | unset | -";
    assert_eq!(summary(&next(&mut spans).await), expected, "somebody looks at traces");
}

/// Makes a request, and waits for the end of the response if it has one: over HTTP/2, hyper waits
/// for the body of a 204 although it will not be sent.
async fn ask(version: Version, address: SocketAddr, method: &str, path: &str) {
    let mut client = Client::connect(version, address).await;
    let request = request(method, path, &[]);
    if path.starts_with("/endless") {
        drop(client.send(request).await.unwrap());
    } else {
        client.fetch(request).await.unwrap();
    }
}

/// Services of every kind of body. All that they do is marked.
fn app(moments: &Moments) -> Router {
    let answer = |make: fn(&str) -> Response<Body>| {
        let moments = moments.clone();
        any(async move |uri: http::Uri| {
            moments.mark();
            make(uri.path().rsplit('/').next().unwrap_or_default())
                .map(|body| Watched::body(body, moments))
        })
    };
    let users = Router::new().route("/users/{id}", answer(|_| Response::new("a user".into())));
    Router::new()
        .route("/sized", answer(|_| Response::new("hello".into())))
        .route("/stream", answer(|_| Response::new(hello_world())))
        .route(
            "/exact",
            answer(|_| {
                Response::builder().header("content-length", "11").body(hello_world()).unwrap()
            }),
        )
        .route("/empty", answer(|_| Response::new(Body::empty())))
        .route(
            "/endless/{status}",
            answer(|status| {
                let endless = Body::from_stream(futures_util::stream::pending::<
                    Result<Bytes, std::io::Error>,
                >());
                Response::builder().status(status).body(endless).unwrap()
            }),
        )
        .route(
            "/trailers",
            answer(|_| {
                let checksum = HeaderMap::from_iter([(
                    http::HeaderName::from_static("checksum"),
                    HeaderValue::from_static("42"),
                )]);
                let body = frames([data("hello"), Frame::trailers(checksum)]);
                Response::builder().header("trailer", "checksum").body(body).unwrap()
            }),
        )
        .route(
            "/status/{status}",
            answer(|status| Response::builder().status(status).body("so be it".into()).unwrap()),
        )
        .nest("/api", Router::new().nest("/v1", users))
}

fn hello_world() -> Body {
    frames([data("hello "), data("world")])
}
