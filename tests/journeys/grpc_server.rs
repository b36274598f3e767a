//! Calls to a tonic server, by a tonic client.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{any, post};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use opentelemetry::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Code, Status};
use tower::layer::layer_fn;
use tower::{BoxError, Layer, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_otlp::{TraceLayer, TracingService};

use crate::support::body::{Watched, conducted, data, frames};
use crate::support::echo::{Client, Echo, Mute, serve};
use crate::support::server::{self, VERSIONS};
use crate::support::spans::{Moments, assert_none_yet, next, next_summary, summary, text};

#[tokio::test]
async fn every_call_ends_its_span_with_the_status_that_its_client_sees() {
    // Path, messages sent, messages and code received, span, reason.
    type Row = (&'static str, &'static [&'static str], usize, Code, &'static str, &'static str);
    let rows: [Row; 15] = [
        (
            "/test.Echo/One",
            &["hello"],
            1,
            Code::Ok,
            "Server | test.Echo/One | OK | unset | -",
            "the status comes in the trailers",
        ),
        (
            "/test.Echo/One",
            &["not found"],
            0,
            Code::NotFound,
            "Server | test.Echo/One | NOT_FOUND | unset | -",
            "in the head, and the client's fault: no error, no description",
        ),
        (
            "/test.Echo/One",
            &["disk full"],
            0,
            Code::Internal,
            "Server | test.Echo/One | INTERNAL | error: the disk is full, 100% | INTERNAL",
            "in the head, and the server's fault",
        ),
        (
            "/test.Echo/Count",
            &["ok"],
            3,
            Code::Ok,
            "Server | test.Echo/Count | OK | unset | -",
            "the server streams",
        ),
        (
            "/test.Echo/Count",
            &["not found"],
            2,
            Code::NotFound,
            "Server | test.Echo/Count | NOT_FOUND | unset | -",
            "after two messages, in the trailers",
        ),
        (
            "/test.Echo/Count",
            &["disk full"],
            2,
            Code::Internal,
            "Server | test.Echo/Count | INTERNAL | error: the disk is full, 100% | INTERNAL",
            "after two messages, in the trailers",
        ),
        (
            "/test.Echo/Collect",
            &["a", "b", "c"],
            1,
            Code::Ok,
            "Server | test.Echo/Collect | OK | unset | -",
            "the client streams",
        ),
        (
            "/test.Echo/Collect",
            &["a", "disk full", "c"],
            0,
            Code::Internal,
            "Server | test.Echo/Collect | INTERNAL | error: the disk is full, 100% | INTERNAL",
            "an answer before the client is through",
        ),
        (
            "/test.Echo/Chat",
            &["a", "b", "c"],
            3,
            Code::Ok,
            "Server | test.Echo/Chat | OK | unset | -",
            "both stream",
        ),
        (
            "/test.Echo/Chat",
            &["a", "not found"],
            1,
            Code::NotFound,
            "Server | test.Echo/Chat | NOT_FOUND | unset | -",
            "both stream, and one message is answered by an error",
        ),
        (
            "/test.Echo/Nothing",
            &["a"],
            0,
            Code::Unimplemented,
            "Server | test.Echo/Nothing | UNIMPLEMENTED | error: no such method | UNIMPLEMENTED",
            "a method that the service does not have",
        ),
        (
            "/test.Nobody/One",
            &["a"],
            0,
            Code::Unimplemented,
            "Server | test.Nobody/One | UNIMPLEMENTED | error | UNIMPLEMENTED",
            "a service that the server does not have",
        ),
        (
            "/test.Mute/200",
            &["a"],
            1,
            Code::Unknown,
            "Server | test.Mute/200 | UNKNOWN | error | UNKNOWN",
            "a response without grpc-status",
        ),
        (
            "/test.Mute/503",
            &["a"],
            0,
            Code::Unavailable,
            "Server | test.Mute/503 | UNAVAILABLE | error | UNAVAILABLE",
            "an HTTP answer, as of a proxy, that means a server's fault",
        ),
        (
            "/test.Mute/401",
            &["a"],
            0,
            Code::Unauthenticated,
            "Server | test.Mute/401 | UNAUTHENTICATED | unset | -",
            "and one that means the client's",
        ),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let server = Server::builder()
        .layer(TraceLayer::server(&tracing))
        .add_service(Echo::new(moments.clone()))
        .add_service(Mute);
    let mut client = Client::connect(serve(server).await).await;

    for (path, messages, count, code, expected, reason) in rows {
        let (received, received_code) = client.call(path, messages).await;

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), expected, "{path} {messages:?}: {reason}");
        assert_eq!((received.len(), received_code), (count, code), "{path} {messages:?}");
        assert_eq!(text(&span, "rpc.system.name").as_deref(), Some("grpc"), "{path}");
        assert_eq!(text(&span, "rpc.method").as_deref(), path.strip_prefix('/'), "{path}");
        assert!(span.events.is_empty(), "{path}: messages are no events");
        if path.starts_with("/test.Echo") && !path.ends_with("Nothing") {
            moments.assert_within(&span);
        }
    }
}

#[tokio::test]
async fn every_code_is_named_and_those_that_are_the_server_s_fault_are_errors() {
    // Code on the wire, name, whether it is an error of the server.
    let rows = [
        ("0", "OK", false),
        ("1", "CANCELLED", false),
        ("2", "UNKNOWN", true),
        ("3", "INVALID_ARGUMENT", false),
        ("4", "DEADLINE_EXCEEDED", true),
        ("5", "NOT_FOUND", false),
        ("6", "ALREADY_EXISTS", false),
        ("7", "PERMISSION_DENIED", false),
        ("8", "RESOURCE_EXHAUSTED", false),
        ("9", "FAILED_PRECONDITION", false),
        ("10", "ABORTED", false),
        ("11", "OUT_OF_RANGE", false),
        ("12", "UNIMPLEMENTED", true),
        ("13", "INTERNAL", true),
        ("14", "UNAVAILABLE", true),
        ("15", "DATA_LOSS", true),
        ("16", "UNAUTHENTICATED", false),
        ("17", "UNKNOWN", true),
        ("99", "UNKNOWN", true),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let respond = async |Path((place, code)): Path<(String, String)>| {
        let mut status = HeaderMap::new();
        status.insert("grpc-status", code.parse().unwrap());
        status.insert("grpc-message", HeaderValue::from_static("as%20told"));
        let mut response = Response::new(Body::empty());
        if place == "head" {
            *response.headers_mut() = status;
        } else {
            *response.body_mut() = frames([data("\0\0\0\0\0"), Frame::trailers(status)]);
        }
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        response
    };
    let app = Router::new().route("/{place}/{code}", post(respond));
    let address = server::serve(app.layer(TraceLayer::server(&tracing))).await;
    let mut client = Client::connect(address).await;

    for (code, name, is_error) in rows {
        for place in ["head", "trailers"] {
            let path = format!("/{place}/{code}").leak();
            let (_, received) = client.call(path, &["a"]).await;
            if (place, code) != ("head", "0") {
                assert_eq!(received, Code::from_bytes(code.as_bytes()), "{path}");
            }

            let told = if is_error { "error: as told" } else { "unset" };
            let error_type = if is_error { name } else { "-" };
            let expected = format!("Server | {place}/{code} | {name} | {told} | {error_type}");
            assert_eq!(next_summary(&mut spans).await, expected);
        }
    }
}

#[tokio::test]
async fn a_span_of_a_call_says_who_asked_whom_and_nothing_of_http() {
    let (tracing, mut spans) = TracingService::in_memory();
    let server = Server::builder().layer(TraceLayer::server(&tracing)).add_service(Echo::default());
    let address = serve(server).await;
    Client::connect(address).await.call("/test.Echo/One", &["hello"]).await;

    let span = next(&mut spans).await;
    let mut found: Vec<_> =
        span.attributes.iter().map(|kv| (kv.key.as_str(), kv.value.clone())).collect();
    let port = found.iter().position(|(key, _)| *key == "network.peer.port");
    let (_, port) = found.remove(port.expect("the client's port, which the system chose"));
    assert!(matches!(port, Value::I64(1..)), "{port:?}");
    let expected: [(_, Value); 6] = [
        ("rpc.system.name", "grpc".into()),
        ("rpc.method", "test.Echo/One".into()),
        ("server.address", "127.0.0.1".into()),
        ("server.port", i64::from(address.port()).into()),
        ("network.peer.address", "127.0.0.1".into()),
        ("rpc.response.status_code", "OK".into()),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_span_lasts_for_as_long_as_the_conversation() {
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let server = Server::builder()
        .layer(TraceLayer::server(&tracing))
        .add_service(Echo::new(moments.clone()));
    let mut client = Client::connect(serve(server).await).await;
    let (say, mut said) = mpsc::unbounded_channel();

    let messages = stream::poll_fn(move |cx| said.poll_recv(cx));
    let mut answers = client.open("/test.Echo/Chat", messages).await.unwrap();
    for message in ["how", "are", "you"] {
        say.send(message.to_owned()).unwrap();
        assert_eq!(answers.message().await.unwrap().as_deref(), Some(message));
        assert_none_yet(&tracing, &mut spans).await;
        Moments::pass().await;
    }
    drop(say);
    assert_eq!(answers.message().await.unwrap(), None);

    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Server | test.Echo/Chat | OK | unset | -");
    moments.assert_within(&span);
}

#[tokio::test]
async fn a_client_that_goes_away_amid_a_call_has_cancelled_which_is_no_error() {
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let server = Server::builder()
        .layer(TraceLayer::server(&tracing))
        .add_service(Echo::new(moments.clone()));
    let mut client = Client::connect(serve(server).await).await;

    let request = stream::iter(["forever".to_owned()]);
    let mut answers = client.open("/test.Echo/Count", request).await.unwrap();
    assert_eq!(answers.message().await.unwrap().as_deref(), Some("one"));
    assert_none_yet(&tracing, &mut spans).await;
    drop(answers);

    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Server | test.Echo/Count | CANCELLED | unset | -");
    moments.assert_within(&span);
}

/// By the server, which drops the response: whether the handler has seen it before or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_that_is_reset_while_both_sides_send_was_cancelled() {
    /// A hundred messages.
    fn messages() -> Bytes {
        b"\0\0\0\0\x07\x0a\x05again".repeat(100).into()
    }

    /// Sends and receives, until so many frames have come. tonic's client does not reset a call
    /// whose request it still sends.
    async fn chat(address: SocketAddr, frames: usize) {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::post(format!("http://{address}/test.Echo/Talk"))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let (response, mut sending) = client.send_request(request, false).unwrap();
        let sends = async {
            loop {
                sending.reserve_capacity(messages().len());
                poll_fn(|cx| sending.poll_capacity(cx)).await.unwrap().unwrap();
                sending.send_data(messages(), false).unwrap();
                tokio::task::yield_now().await;
            }
        };
        let receives = async {
            let mut body = response.await.unwrap().into_body();
            for _ in 0..frames {
                let data = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            body
        };
        let body = tokio::select! {
            () = sends => unreachable!("it goes on for ever"),
            body = receives => body,
        };
        sending.send_reset(h2::Reason::CANCEL);
        drop((client, sending, body));
        connection.await.unwrap().unwrap();
    }

    const CALLS: usize = 50;
    let (tracing, mut spans) = TracingService::in_memory();
    let server = Server::builder().layer(TraceLayer::server(&tracing)).add_service(Echo::default());
    let address = serve(server).await;

    let calls: Vec<_> = (0..CALLS).map(|call| tokio::spawn(chat(address, call % 10))).collect();
    for call in calls {
        call.await.unwrap();
    }
    for _ in 0..CALLS {
        let span = next_summary(&mut spans).await;
        assert_eq!(span, "Server | test.Echo/Talk | CANCELLED | unset | -");
    }
    assert_none_yet(&tracing, &mut spans).await;
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_has_cancelled() {
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let server = Server::builder()
        .layer(TraceLayer::server(&tracing))
        .add_service(Echo::new(moments.clone()));
    let mut client = Client::connect(serve(server).await).await;

    // The service answers when it has all messages, which it never has.
    let messages = stream::iter(["a".to_owned()]).chain(stream::pending());
    let call = tokio::spawn(async move { client.open("/test.Echo/Collect", messages).await });
    moments.marked().await;
    assert_none_yet(&tracing, &mut spans).await;
    call.abort();

    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Server | test.Echo/Collect | CANCELLED | unset | -");
    moments.assert_within(&span);
}

#[tokio::test]
async fn a_panic_of_a_call_is_seen_wherever_it_happens() {
    let rows = [
        ("/test.Echo/One", "Server | test.Echo/One | UNKNOWN | error | panic", "before the head"),
        (
            "/test.Echo/Count",
            "Server | test.Echo/Count | UNKNOWN | error | panic",
            "after two messages",
        ),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let server = Server::builder()
        .layer(TraceLayer::server(&tracing))
        .add_service(Echo::new(moments.clone()));
    let address = serve(server).await;

    for (path, expected, reason) in rows {
        let (_, code) = Client::connect(address).await.call(path, &["panic"]).await;
        assert_ne!(code, Code::Ok, "{reason}");

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), expected, "{reason}");
        moments.assert_within(&span);
    }
}

#[tokio::test]
async fn a_panic_of_a_call_that_is_caught_is_seen_on_either_side() {
    // Path, span with the catching layer outside, and inside, reason.
    let rows = [
        (
            "/test.Echo/One",
            "Server | test.Echo/One | UNKNOWN | error | panic",
            "Server | test.Echo/One | UNKNOWN | error | UNKNOWN",
            "before the head: who catches it inside answers 500, without a grpc-status",
        ),
        (
            "/test.Echo/Count",
            "Server | test.Echo/Count | UNKNOWN | error | panic",
            "Server | test.Echo/Count | UNKNOWN | error | panic",
            "after two messages: panics of a body are caught by nobody",
        ),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let mut outside = Server::builder().layer(CatchPanicLayer::new()).layer(trace.clone());
    let outside = serve(outside.add_service(Echo::default())).await;
    let mut inside = Server::builder().layer(trace).layer(CatchPanicLayer::new());
    let inside = serve(inside.add_service(Echo::default())).await;

    for (path, caught_outside, caught_inside, reason) in rows {
        for (address, expected) in [(outside, caught_outside), (inside, caught_inside)] {
            let (_, code) = Client::connect(address).await.call(path, &["panic"]).await;
            assert_ne!(code, Code::Ok, "{reason}");
            assert_eq!(next_summary(&mut spans).await, expected, "{reason}");

            let (_, code) = Client::connect(address).await.call(path, &["ok"]).await;
            assert_eq!(code, Code::Ok, "the next call is another matter");
            assert!(next_summary(&mut spans).await.ends_with(" | OK | unset | -"), "{reason}");
        }
    }
}

#[tokio::test]
async fn an_error_of_the_body_of_a_call_is_the_spans_error() {
    let (tracing, mut spans) = TracingService::in_memory();
    let moments = Moments::default();
    let marked = moments.clone();
    let (sender, mut conductors) = mpsc::unbounded_channel();
    let app = Router::new()
        .route(
            "/test.Echo/One",
            post(async move || {
                let (conductor, body) = conducted();
                sender.send(conductor).unwrap();
                let body = Watched::body(body, marked);
                ([("content-type", "application/grpc")], body)
            }),
        )
        .layer(TraceLayer::server(&tracing));
    let mut client = Client::connect(server::serve(app).await).await;

    let mut answers = client.open("/test.Echo/One", stream::iter(["a".to_owned()])).await.unwrap();
    let conductor = conductors.recv().await.unwrap();
    // An empty message, whole.
    conductor.send(Ok(data("\0\0\0\0\0"))).unwrap();
    assert_eq!(answers.message().await.unwrap().as_deref(), Some(""));
    assert_none_yet(&tracing, &mut spans).await;
    conductor.send(Err(io::Error::other("the disk is gone"))).unwrap();

    let span = next(&mut spans).await;
    let expected = "Server | test.Echo/One | UNKNOWN | error: the disk is gone | UNKNOWN";
    assert_eq!(summary(&span), expected);
    moments.assert_within(&span);
    assert!(answers.message().await.is_err(), "the client sees it");
}

#[tokio::test]
async fn an_error_of_the_service_of_a_call_is_the_spans_error() {
    let (tracing, mut spans) = TracingService::in_memory();
    let failing = layer_fn(|_: Routes| {
        service_fn(|request: Request<tonic::body::Body>| {
            let error: BoxError = match request.uri().path() {
                "/test.Echo/One" => Box::new(io::Error::other("no database")),
                _ => Box::new(Status::unavailable("no database")),
            };
            std::future::ready(Err::<Response<tonic::body::Body>, _>(error))
        })
    });
    let server = Server::builder()
        .layer(TraceLayer::server(&tracing))
        .layer(failing)
        .add_service(Echo::default());
    let mut client = Client::connect(serve(server).await).await;

    let (_, code) = client.call("/test.Echo/One", &["a"]).await;
    assert_ne!(code, Code::Ok);
    let expected = "Server | test.Echo/One | UNKNOWN | error: no database | UNKNOWN";
    assert_eq!(next_summary(&mut spans).await, expected);

    let (_, code) = client.call("/test.Echo/Count", &["a"]).await;
    assert_eq!(code, Code::Unavailable, "tonic makes an answer of it, outside of the layer");
    let span = next(&mut spans).await;
    assert_eq!(text(&span, "rpc.response.status_code").as_deref(), Some("UNKNOWN"));
    assert!(summary(&span).contains("no database"), "{}", summary(&span));
}

#[tokio::test]
async fn a_layer_of_one_service_leaves_the_others_alone() {
    let (tracing, mut spans) = TracingService::in_memory();
    let traced = TraceLayer::server(&tracing).layer(Echo::default());
    let server = Server::builder().add_service(traced).add_service(Mute);
    let mut client = Client::connect(serve(server).await).await;

    client.call("/test.Mute/200", &["a"]).await;
    let (answers, code) = client.call("/test.Echo/Collect", &["a", "b"]).await;
    assert_eq!((answers, code), (vec!["a b".to_owned()], Code::Ok));

    let expected = "Server | test.Echo/Collect | OK | unset | -";
    assert_eq!(next_summary(&mut spans).await, expected, "the other call has no span");
    assert_none_yet(&tracing, &mut spans).await;
}

#[tokio::test]
async fn a_deadline_that_tonic_enforces_outside_of_the_layer_cancels() {
    let (tracing, mut spans) = TracingService::in_memory();
    let server = Server::builder().layer(TraceLayer::server(&tracing)).add_service(Echo::default());
    let mut client = Client::connect(serve(server).await).await;

    // Nothing is ever sent, so nothing is ever answered.
    let mut request = tonic::Request::new(stream::pending());
    request.metadata_mut().insert("grpc-timeout", "20m".parse().unwrap());
    assert!(client.request("/test.Echo/Collect", request).await.is_err());

    let expected = "Server | test.Echo/Collect | CANCELLED | unset | -";
    assert_eq!(next_summary(&mut spans).await, expected);
}

#[tokio::test]
async fn grpc_web_is_http() {
    let (tracing, mut spans) = TracingService::in_memory();
    let app = Router::new()
        .route("/test.Echo/One", post(async || "trailers are in here"))
        .layer(TraceLayer::server(&tracing));
    let address = server::serve(app).await;

    for content_type in ["application/grpc-web", "application/grpc-web+proto"] {
        let headers = [("content-type", content_type)];
        let request = server::request("POST", "/test.Echo/One", &headers);
        server::fetch(Version::HTTP_11, address, request).await;

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Server | POST /test.Echo/One | 200 | unset | -");
        assert_eq!(text(&span, "rpc.system.name"), None, "{content_type}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_post_is_http_whatever_its_content_type() {
    let (tracing, mut spans) = TracingService::in_memory();
    let status = [("grpc-status", "13"), ("grpc-message", "disk%20full")];
    let app = Router::new()
        .route("/test.Echo/One", any(async move || (status, "")))
        .layer(TraceLayer::server(&tracing));
    let address = server::serve(app).await;

    for version in VERSIONS {
        for method in ["GET", "PUT", "OPTIONS"] {
            let headers = [("content-type", "application/grpc")];
            let request = server::request(method, "/test.Echo/One", &headers);
            server::fetch(version, address, request).await;

            let span = next(&mut spans).await;
            let expected = format!("Server | {method} /test.Echo/One | 200 | unset | -");
            assert_eq!(summary(&span), expected, "{version:?}");
            assert_eq!(text(&span, "rpc.system.name"), None, "{version:?} {method}");
        }
    }
}

#[tokio::test]
async fn what_is_grpc_shows_in_the_content_type_and_not_in_the_framework() {
    let (tracing, mut spans) = TracingService::in_memory();
    let status = [("grpc-status", "13"), ("grpc-message", "disk%20full")];
    let app = Router::new()
        .route("/test.Echo/One", post(async move || (status, "")))
        .layer(TraceLayer::server(&tracing));
    let address = server::serve(app).await;

    let headers = [("content-type", "application/grpc+proto")];
    let request = server::request("POST", "/test.Echo/One", &headers);
    server::fetch(Version::HTTP_2, address, request).await;

    let expected = "Server | test.Echo/One | INTERNAL | error: disk full | INTERNAL";
    assert_eq!(next_summary(&mut spans).await, expected);
}
