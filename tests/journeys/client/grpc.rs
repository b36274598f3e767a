//! Spans of calls over tonic's `Channel`: of each kind, plain and balanced.

use std::collections::HashSet;
use std::net::SocketAddr;

use futures_util::future::join_all;
use futures_util::stream;
use http::Request;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status};
use tower::Layer;
use tower::layer::layer_fn;
use tower::util::MapRequest;
use tower_otlp::{Trace, TraceContext, TraceLayer, TracingService};

use super::told;
use crate::support::echo::{Client, Echo, Mute, serve};
use crate::support::spans::{all, assert_none_yet, next, next_summary, summary, text};

fn endpoint(address: SocketAddr) -> Endpoint {
    Channel::from_shared(format!("http://{address}")).unwrap()
}

/// The same server behind a channel to it alone and behind one that balances.
fn channels(address: SocketAddr) -> [Channel; 2] {
    let balanced = Channel::balance_list([endpoint(address), endpoint(address)].into_iter());
    [endpoint(address).connect_lazy(), balanced]
}

#[tokio::test]
async fn a_call_of_any_kind_is_one_span_with_the_status_that_its_caller_sees() {
    // Path, messages sent, messages and code received, span, reason.
    type Row = (&'static str, &'static [&'static str], usize, Code, &'static str, &'static str);
    let rows: [Row; 13] = [
        ("One", &["hello"], 1, Code::Ok, "OK | unset | -", "unary"),
        ("One", &[""], 1, Code::Ok, "OK | unset | -", "an empty message"),
        (
            "One",
            &["not found"],
            0,
            Code::NotFound,
            "NOT_FOUND | error: no such user | NOT_FOUND",
            "what is no error of the server is one of its client",
        ),
        (
            "One",
            &["disk full"],
            0,
            Code::Internal,
            "INTERNAL | error: the disk is full, 100% | INTERNAL",
            "in the head, in the server's words",
        ),
        ("Count", &["ok"], 3, Code::Ok, "OK | unset | -", "the server streams"),
        (
            "Count",
            &["not found"],
            2,
            Code::NotFound,
            "NOT_FOUND | error: no such user | NOT_FOUND",
            "in the trailers, after two messages",
        ),
        ("Collect", &["a", "b", "c"], 1, Code::Ok, "OK | unset | -", "the client streams"),
        ("Collect", &[], 1, Code::Ok, "OK | unset | -", "nothing"),
        (
            "Collect",
            &["a", "disk full", "c"],
            0,
            Code::Internal,
            "INTERNAL | error: the disk is full, 100% | INTERNAL",
            "an answer before the client is through",
        ),
        ("Chat", &["a", "b", "c"], 3, Code::Ok, "OK | unset | -", "both stream"),
        (
            "Chat",
            &["a", "not found"],
            1,
            Code::NotFound,
            "NOT_FOUND | error: no such user | NOT_FOUND",
            "both stream, and one message is answered by an error",
        ),
        (
            "Nothing",
            &["a"],
            0,
            Code::Unimplemented,
            "UNIMPLEMENTED | error: no such method | UNIMPLEMENTED",
            "a method that nobody serves",
        ),
        ("Chat", &[], 0, Code::Ok, "OK | unset | -", "both stream nothing"),
    ];
    let address = serve(Server::builder().add_service(Echo::default())).await;
    for channel in channels(address) {
        let (tracing, mut spans) = TracingService::in_memory();
        let layer = TraceLayer::client(&tracing).target(&format!("dns:///{address}"));
        let mut client: Client<Trace<Channel>> = Client::over(layer.layer(channel));
        for (method, messages, received, code, expected, reason) in rows {
            let path = format!("/test.Echo/{method}").leak();
            let (answers, seen) = client.call(path, messages).await;
            assert_eq!((answers.len(), seen), (received, code), "{method}: {reason}");
            let span = next(&mut spans).await;
            let expected = format!("Client | test.Echo/{method} | {expected}");
            assert_eq!(summary(&span), expected, "{reason}");
            let mut keys: Vec<_> = span.attributes.iter().map(|kv| kv.key.as_str()).collect();
            keys.retain(|key| *key != "error.type");
            let always = [
                "rpc.system.name",
                "rpc.method",
                "server.address",
                "server.port",
                "rpc.response.status_code",
            ];
            assert_eq!(keys, always, "{method}: {reason}");
            assert_eq!(text(&span, "rpc.system.name").unwrap(), "grpc");
            assert_eq!(text(&span, "rpc.method").unwrap(), format!("test.Echo/{method}"));
            assert_eq!(text(&span, "server.address").unwrap(), "127.0.0.1");
            assert_eq!(text(&span, "server.port").unwrap(), address.port().to_string());
            assert!(span.events.is_empty(), "{method}: {reason}");
        }
    }
}

#[tokio::test]
async fn without_a_grpc_status_the_http_status_decides() {
    let rows = [
        ("/test.Mute/200", "UNKNOWN"),
        ("/test.Mute/400", "INTERNAL"),
        ("/test.Mute/401", "UNAUTHENTICATED"),
        ("/test.Mute/403", "PERMISSION_DENIED"),
        ("/test.Mute/404", "UNIMPLEMENTED"),
        ("/test.Mute/429", "UNAVAILABLE"),
        ("/test.Mute/503", "UNAVAILABLE"),
        ("/test.Mute/500", "UNKNOWN"),
    ];
    let address = serve(Server::builder().add_service(Mute)).await;
    let (tracing, mut spans) = TracingService::in_memory();
    let channel = endpoint(address).connect_lazy();
    let mut client = Client::over(TraceLayer::client(&tracing).layer(channel));
    for (path, expected) in rows {
        client.call(path, &["hello"]).await;
        let span = next(&mut spans).await;
        assert_eq!(text(&span, "rpc.response.status_code").unwrap(), expected, "{path}");
        assert_eq!(text(&span, "error.type").unwrap(), expected, "{path}");
        assert_eq!(text(&span, "server.address"), None, "nobody has said it");
    }
}

#[tokio::test]
async fn a_call_carries_its_span_and_takes_its_parent_from_its_own_extensions() {
    let (tracing, mut spans) = TracingService::in_memory();
    let (sender, mut headers) = mpsc::unbounded_channel();
    let layer = layer_fn(move |routes| {
        let sender = sender.clone();
        MapRequest::new(routes, move |request: Request<Body>| {
            sender.send(request.headers().clone()).unwrap();
            request
        })
    });
    let address = serve(Server::builder().layer(layer).add_service(Echo::default())).await;
    for channel in channels(address) {
        let mut client = Client::over(TraceLayer::client(&tracing).layer(channel));
        client.call("/test.Echo/One", &["hello"]).await;
        let span = next(&mut spans).await;
        let told_first = told(&headers.recv().await.unwrap());
        assert_eq!((told_first.trace_id(), told_first.span_id()), (span.trace_id, span.span_id));
        assert_eq!(span.parent_span_id, None);

        let mut request = tonic::Request::new(stream::iter(["hello".to_owned()]));
        request.extensions_mut().insert(told_first.clone());
        // As an interceptor of before leaves it.
        request.metadata_mut().insert("traceparent", "old".parse().unwrap());
        let mut answers = client.request("/test.Echo/One", request).await.unwrap();
        while answers.message().await.unwrap().is_some() {}
        let span = next(&mut spans).await;
        assert_eq!(span.parent_span_id, Some(told_first.span_id()));
        assert_eq!(told(&headers.recv().await.unwrap()).span_id(), span.span_id);
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled() {
    let address = serve(Server::builder().add_service(Echo::default())).await;
    let cancelled = |method| format!("Client | test.Echo/{method} | CANCELLED | error | CANCELLED");
    for channel in channels(address) {
        let (tracing, mut spans) = TracingService::in_memory();
        let mut client = Client::over(TraceLayer::client(&tracing).layer(channel));

        let messages = stream::iter(["forever".to_owned()]);
        let mut answers = client.open("/test.Echo/Count", messages).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap(), "one");
        assert_none_yet(&tracing, &mut spans).await;
        drop(answers);
        assert_eq!(next_summary(&mut spans).await, cancelled("Count"), "amid the answers");

        let (sender, mut messages) = mpsc::unbounded_channel();
        sender.send("hello".to_owned()).unwrap();
        // The sender stays: the client is not through.
        let messages = stream::poll_fn(move |cx| messages.poll_recv(cx));
        let mut answers = client.open("/test.Echo/Chat", messages).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap(), "hello");
        // From another thread than the one that reads.
        let reading = tokio::spawn(async move { answers.message().await });
        assert_none_yet(&tracing, &mut spans).await;
        reading.abort();
        assert_eq!(next_summary(&mut spans).await, cancelled("Chat"), "amid both streams");

        // Waits for a message that never comes.
        let call = client.open("/test.Echo/Collect", stream::pending());
        let call = tokio::time::timeout(std::time::Duration::from_millis(20), call);
        assert!(call.await.is_err());
        assert_eq!(next_summary(&mut spans).await, cancelled("Collect"), "before the answer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_at_once_on_one_connection_are_a_thousand_spans() {
    let (tracing, spans) = TracingService::in_memory();
    let address = serve(Server::builder().add_service(Echo::default())).await;
    let channel = endpoint(address).connect().await.unwrap();
    let client = Client::over(TraceLayer::client(&tracing).layer(channel));
    let calls = (0..1000).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.call("/test.Echo/Chat", &["a", "b"]).await })
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap(), (vec!["a".to_owned(), "b".to_owned()], Code::Ok));
    }
    let spans = all(tracing, spans).await;
    let ids: HashSet<_> = spans.iter().map(|span| span.span_id).collect();
    assert_eq!((spans.len(), ids.len()), (1000, 1000));
    for span in spans {
        assert_eq!(summary(&span), "Client | test.Echo/Chat | OK | unset | -");
    }
}

#[tokio::test]
async fn an_interceptor_above_the_layer_sees_the_request_and_may_refuse_it() {
    let (tracing, mut spans) = TracingService::in_memory();
    let address = serve(Server::builder().add_service(Echo::default())).await;
    let traced = TraceLayer::client(&tracing).layer(endpoint(address).connect_lazy());
    let refuses = |_: tonic::Request<()>| Err(Status::unauthenticated("no token"));
    let refused = tonic::service::interceptor::InterceptedService::new(traced.clone(), refuses);
    let (_, code) = Client::over(refused).call("/test.Echo/One", &["hello"]).await;
    assert_eq!(code, Code::Unauthenticated);
    assert_none_yet(&tracing, &mut spans).await;

    let layer = TraceLayer::client(&tracing);
    let below = tonic::service::interceptor::InterceptedService::new(
        endpoint(address).connect_lazy(),
        |request: tonic::Request<()>| {
            assert!(TraceContext::current().is_some(), "it runs within the span");
            assert!(request.metadata().contains_key("traceparent"));
            Err::<tonic::Request<()>, _>(Status::permission_denied("not you"))
        },
    );
    let (_, code) = Client::over(layer.layer(below)).call("/test.Echo/One", &["hello"]).await;
    assert_eq!(code, Code::PermissionDenied);
    let expected = "PERMISSION_DENIED | error: not you | PERMISSION_DENIED";
    assert_eq!(next_summary(&mut spans).await, format!("Client | test.Echo/One | {expected}"));
}
