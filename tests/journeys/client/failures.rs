//! Requests that fail, and what their spans say of it.

use std::error::Error;
use std::fmt;
use std::future::{Ready, pending, ready};
use std::io::{self, ErrorKind as Kind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, stream};
use h2::Reason;
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::trace::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tonic::Code;
use tonic::transport::Channel;
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_otlp::{InMemorySpans, TraceLayer, TracingService};

use super::{get, legacy, nobody, read};
use crate::support::echo::Client;
use crate::support::server::{VERSIONS, serve};
use crate::support::spans::{next, next_summary, summary, text};

/// Answers each HTTP/1 connection with this, and closes it.
pub(super) async fn says(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

/// How an HTTP/2 server lets a request down.
#[derive(Clone, Copy, Debug)]
enum LetDown {
    /// Resets the stream: before the head, or after it and a piece of the body.
    Reset(Reason, Moment),
    /// Closes the connection.
    HangUp(Moment),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Head,
    Body,
}

/// An HTTP/2 server that lets every request down. What happens amid a body happens when the test
/// says so, because it would overtake the pieces that are on their way.
async fn lets_down(how: LetDown) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let go = Arc::new(Notify::new());
    let waiting = Arc::clone(&go);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let waiting = Arc::clone(&waiting);
            tokio::spawn(async move { let_down(stream, how, &waiting).await });
        }
    });
    (address, go)
}

async fn let_down(stream: TcpStream, how: LetDown, go: &Notify) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_request, mut respond))) = connection.accept().await {
        let (LetDown::Reset(_, Moment::Body) | LetDown::HangUp(Moment::Body)) = how else {
            match how {
                LetDown::Reset(reason, _) => respond.send_reset(reason),
                LetDown::HangUp(_) => return,
            }
            continue;
        };
        let head = Response::builder().header("content-type", "application/grpc");
        let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
        // An empty message of gRPC, and to others as good as any five bytes.
        body.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
        tokio::select! {
            // Only drives the connection: there is one request.
            _ = connection.accept() => return,
            () = go.notified() => {}
        }
        match how {
            LetDown::Reset(reason, _) => body.send_reset(reason),
            LetDown::HangUp(_) => return,
        }
    }
}

/// A span in one line, without the text of its error, which is the operating system's to word.
async fn next_wordless(spans: &mut InMemorySpans) -> String {
    let span = next(spans).await;
    let Status::Error { description } = &span.status else { panic!("{}", summary(&span)) };
    assert!(!description.is_empty(), "{}", summary(&span));
    summary(&span).replacen(&format!(": {description}"), "", 1)
}

/// The same, of a request that was let down.
async fn next_let_down(spans: &mut InMemorySpans, how: LetDown) -> String {
    let span = next_wordless(spans).await;
    match how {
        LetDown::Reset(..) => span,
        // The system resets a connection that is closed with bytes that nobody has read: whether
        // there are such, is chance.
        LetDown::HangUp(_) => span.replace("connection_reset", "connection_closed"),
    }
}

#[tokio::test]
async fn an_http2_server_that_lets_a_request_down_is_told_apart() {
    use Moment::{Body, Head};
    let rows = [
        (LetDown::Reset(Reason::INTERNAL_ERROR, Head), "Client | GET | - | error | stream_reset"),
        (LetDown::Reset(Reason::REFUSED_STREAM, Head), "Client | GET | - | error | stream_reset"),
        (LetDown::Reset(Reason::CANCEL, Head), "Client | GET | - | error | stream_reset"),
        (LetDown::Reset(Reason::INTERNAL_ERROR, Body), "Client | GET | 200 | error | stream_reset"),
        (LetDown::HangUp(Head), "Client | GET | - | error | connection_closed"),
        (LetDown::HangUp(Body), "Client | GET | 200 | error | connection_closed"),
    ];
    for (how, expected) in rows {
        let (tracing, mut spans) = TracingService::in_memory();
        let (address, go) = lets_down(how).await;
        let client = TraceLayer::client(&tracing).layer(legacy(Version::HTTP_2));
        if let Ok(mut response) = client.oneshot(get(address, "/")).await {
            response.body_mut().frame().await.unwrap().unwrap();
            go.notify_one();
            read(response).await.unwrap_err();
        }
        assert_eq!(next_let_down(&mut spans, how).await, expected, "{how:?}");
    }
}

#[tokio::test]
async fn an_http1_server_that_lets_a_request_down_is_told_apart() {
    let rows: [(&'static [u8], &str, &str); 7] = [
        (b"", "Client | GET | - | error | connection_closed", "before the head"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
            "Client | GET | 200 | error | connection_closed",
            "amid a body of known length",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf",
            "Client | GET | 200 | error | connection_closed",
            "amid a chunk",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf",
            "Client | GET | 200 | error | connection_closed",
            "a length that does not count, as there are chunks",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n\
              2\r\nab\r\n5\r\nhalf",
            "Client | GET | 200 | error | connection_closed",
            "a chunk as long as the length, and half of another",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense",
            "Client | GET | 200 | error | body_error",
            "what should be a chunk is none",
        ),
        (b"nonsense\r\n\r\n", "Client | GET | - | error | service_error", "it speaks no HTTP"),
    ];
    for (answer, expected, reason) in rows {
        let (tracing, mut spans) = TracingService::in_memory();
        let address = says(answer).await;
        let client = TraceLayer::client(&tracing).layer(legacy(Version::HTTP_11));
        if let Ok(response) = client.oneshot(get(address, "/")).await {
            read(response).await.unwrap_err();
        }
        assert_eq!(next_wordless(&mut spans).await, expected, "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_lets_a_call_down_is_told_apart_and_the_caller_sees_the_same() {
    use Moment::{Body, Head};
    // What the server does, status, `error.type`.
    let rows = [
        (
            LetDown::Reset(Reason::INTERNAL_ERROR, Head),
            Code::Internal,
            "INTERNAL | error | INTERNAL",
        ),
        (
            LetDown::Reset(Reason::REFUSED_STREAM, Head),
            Code::Unavailable,
            "UNAVAILABLE | error | UNAVAILABLE",
        ),
        (LetDown::Reset(Reason::CANCEL, Head), Code::Cancelled, "CANCELLED | error | CANCELLED"),
        (
            LetDown::Reset(Reason::ENHANCE_YOUR_CALM, Head),
            Code::ResourceExhausted,
            "RESOURCE_EXHAUSTED | error | RESOURCE_EXHAUSTED",
        ),
        (
            LetDown::Reset(Reason::INADEQUATE_SECURITY, Head),
            Code::PermissionDenied,
            "PERMISSION_DENIED | error | PERMISSION_DENIED",
        ),
        (
            LetDown::Reset(Reason::INTERNAL_ERROR, Body),
            Code::Internal,
            "INTERNAL | error | INTERNAL",
        ),
        (LetDown::Reset(Reason::CANCEL, Body), Code::Cancelled, "CANCELLED | error | CANCELLED"),
        // No status that says anything: what happened is the type of the error.
        (LetDown::HangUp(Head), Code::Unknown, "UNKNOWN | error | connection_closed"),
        (LetDown::HangUp(Body), Code::Unknown, "UNKNOWN | error | connection_closed"),
    ];
    for (how, code, expected) in rows {
        let (tracing, mut spans) = TracingService::in_memory();
        let (address, go) = lets_down(how).await;
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let mut client = Client::over(TraceLayer::client(&tracing).layer(channel));
        let seen = match client.open("/test.Echo/Count", hello()).await {
            Ok(mut answers) => {
                answers.message().await.unwrap().unwrap();
                go.notify_one();
                answers.message().await.unwrap_err()
            }
            Err(status) => status,
        };
        assert_eq!(seen.code(), code, "{how:?}");
        let expected = format!("Client | test.Echo/Count | {expected}");
        assert_eq!(next_let_down(&mut spans, how).await, expected, "{how:?}");
    }
}

fn hello() -> impl Stream<Item = String> + Send + 'static {
    stream::once(async { "hello".to_owned() })
}

/// Connects to nobody: each attempt fails like this.
#[derive(Clone)]
struct Fails(fn() -> io::Error);

impl Service<Uri> for Fails {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(Err((self.0)()))
    }
}

fn legacy_over<C>(connector: C) -> legacy::Client<C, Body>
where
    C: legacy::connect::Connect + Clone,
{
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

#[tokio::test]
async fn why_there_is_no_connection_is_told_apart() {
    let (tracing, mut spans) = TracingService::in_memory();
    let layer = TraceLayer::client(&tracing).server_address("inventory", 50051);
    let endpoint = Channel::from_static("http://inventory:50051");
    // What the connector says, `error.type` of a request, description, reason.
    type Row = (fn() -> io::Error, &'static str, &'static str, &'static str);
    let rows: [Row; 4] = [
        (|| Kind::TimedOut.into(), "timeout", "timed out", "the system gave up"),
        (|| Kind::HostUnreachable.into(), "connect_error", "host unreachable", "any other reason"),
        (
            || io::Error::new(Kind::InvalidData, "invalid peer certificate: UnknownIssuer"),
            "tls_error",
            "invalid peer certificate: UnknownIssuer",
            "what rustls says of a certificate that it does not trust",
        ),
        (
            || io::Error::new(Kind::UnexpectedEof, "tls handshake eof"),
            "tls_error",
            "tls handshake eof",
            "what rustls says of a server that does not speak TLS",
        ),
    ];
    for (error, error_type, description, reason) in rows {
        let client = layer.layer(legacy_over(Fails(error)));
        client.oneshot(get(([127, 0, 0, 1], 1).into(), "/")).await.unwrap_err();
        let expected = format!(
            "Client | GET | - | error: client error (Connect): {description} | {error_type}"
        );
        assert_eq!(next_summary(&mut spans).await, expected, "{reason}");

        let channel = endpoint.clone().connect_with_connector_lazy(Fails(error));
        let seen = Client::over(layer.layer(channel)).open("/test.Echo/One", hello()).await;
        assert_eq!(seen.unwrap_err().code(), Code::Unavailable, "{reason}");
        let span = next(&mut spans).await;
        let expected = format!("error: transport error: {description} | UNAVAILABLE");
        let expected = format!("Client | test.Echo/One | UNAVAILABLE | {expected}");
        assert_eq!(summary(&span), expected, "{reason}");
        assert_eq!(
            text(&span, "server.address").unwrap(),
            "inventory",
            "also without a connection"
        );
        assert_eq!(text(&span, "server.port").unwrap(), "50051");
    }
}

#[tokio::test]
async fn a_refused_connection_and_a_name_that_is_not_found_are_told_apart() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::client(&tracing);
    let address = nobody();
    for version in VERSIONS {
        trace.layer(legacy(version)).oneshot(get(address, "/")).await.unwrap_err();
        let expected = "Client | GET | - | error | connection_refused";
        assert_eq!(next_wordless(&mut spans).await, expected, "{version:?}");
    }
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let seen = Client::over(trace.layer(channel)).open("/test.Echo/One", hello()).await;
    assert_eq!(seen.unwrap_err().code(), Code::Unavailable);
    let span = next(&mut spans).await;
    let Status::Error { description } = &span.status else { panic!("{}", summary(&span)) };
    assert!(description.contains("tcp connect error: "), "with its cause: {description}");

    let nowhere = service_fn(async |_| {
        Err::<std::vec::IntoIter<SocketAddr>, _>(io::Error::other("no such host"))
    });
    let connector = HttpConnector::new_with_resolver(nowhere);
    let request = Request::get("http://inventory/").body(Body::empty()).unwrap();
    trace.layer(legacy_over(connector.clone())).oneshot(request).await.unwrap_err();
    let expected = "Client | GET | - | error: client error (Connect): dns error: no such host";
    assert_eq!(next_summary(&mut spans).await, format!("{expected} | name_resolution_error"));
    let endpoint = Channel::from_static("http://inventory");
    let channel = endpoint.connect_with_connector_lazy(connector);
    let seen = Client::over(trace.layer(channel)).open("/test.Echo/One", hello()).await;
    assert_eq!(seen.unwrap_err().code(), Code::Unavailable);
    let expected = "UNAVAILABLE | error: transport error: dns error: no such host | UNAVAILABLE";
    assert_eq!(next_summary(&mut spans).await, format!("Client | test.Echo/One | {expected}"));
}

#[tokio::test]
async fn a_timeout_below_the_layer_is_an_error_and_one_above_it_a_wish() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::client(&tracing);
    let never = serve(Router::new().fallback(async || pending::<()>().await)).await;
    let timeout = TimeoutLayer::new(SHORT);
    for version in VERSIONS {
        let below = trace.layer(timeout.layer(legacy(version)));
        below.oneshot(get(never, "/")).await.unwrap_err();
        let expected = "Client | GET | - | error: request timed out | timeout";
        assert_eq!(next_summary(&mut spans).await, expected, "{version:?}");

        let above = timeout.layer(trace.layer(legacy(version)));
        above.oneshot(get(never, "/")).await.unwrap_err();
        assert_eq!(next_summary(&mut spans).await, "Client | GET | - | unset | -", "{version:?}");
    }

    let endpoint = Channel::from_shared(format!("http://{never}")).unwrap();
    // Timeouts, what the caller sees, span, reason.
    let below = Client::over(trace.layer(timeout.layer(endpoint.connect_lazy())));
    let own = Client::over(trace.layer(endpoint.clone().timeout(SHORT).connect_lazy()));
    let above = Client::over(timeout.layer(trace.layer(endpoint.connect_lazy())));
    let seen = { below }.open("/test.Echo/One", hello()).await.unwrap_err();
    assert_eq!(seen.code(), Code::Unknown, "tonic does not know tower's timeout");
    let expected = "Client | test.Echo/One | UNKNOWN | error: request timed out | timeout";
    assert_eq!(next_summary(&mut spans).await, expected);
    let seen = { own }.open("/test.Echo/One", hello()).await.unwrap_err();
    assert_eq!(seen.code(), Code::Cancelled, "tonic's own");
    let expected = "CANCELLED | error: transport error: Timeout expired | CANCELLED";
    assert_eq!(next_summary(&mut spans).await, format!("Client | test.Echo/One | {expected}"));
    { above }.open("/test.Echo/One", hello()).await.unwrap_err();
    let expected = "Client | test.Echo/One | CANCELLED | error | CANCELLED";
    assert_eq!(next_summary(&mut spans).await, expected, "a call that is given up is cancelled");
}

#[tokio::test]
async fn a_request_body_that_fails_fails_the_request() {
    let (tracing, mut spans) = TracingService::in_memory();
    let address = serve(Router::new().fallback(async |body: Bytes| body)).await;
    for version in VERSIONS {
        let body = stream::iter([Ok("half of"), Err(io::Error::other("the disk is gone"))]);
        let request = Request::post(format!("http://{address}/"));
        let request = request.body(Body::from_stream(body)).unwrap();
        let client = TraceLayer::client(&tracing).layer(legacy(version));
        client.oneshot(request).await.unwrap_err();
        let expected = "Client | POST | - | error | service_error";
        assert_eq!(next_wordless(&mut spans).await, expected, "{version:?}");
    }
}

/// A client's error of its own, as applications write them.
#[derive(Debug)]
struct Unreachable(io::Error);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shop is closed")
    }
}

impl Error for Unreachable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn an_error_of_the_application_is_looked_into_when_the_layer_is_told_of_it() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::client(&tracing);
    let fails = service_fn(async |_: Request<Body>| {
        let refused = io::Error::from(Kind::ConnectionRefused);
        Err::<Response<Body>, _>(Unreachable(refused))
    });
    let request = || get(([127, 0, 0, 1], 1).into(), "/");
    let _ = trace.layer(fails).oneshot(request()).await;
    let expected = "Client | GET | - | error: the shop is closed | service_error";
    assert_eq!(next_summary(&mut spans).await, expected);
    let _ = trace.known_error::<Unreachable>().layer(fails).oneshot(request()).await;
    let expected = "error: the shop is closed: connection refused | connection_refused";
    assert_eq!(next_summary(&mut spans).await, format!("Client | GET | - | {expected}"));
}

const SHORT: Duration = Duration::from_millis(20);
