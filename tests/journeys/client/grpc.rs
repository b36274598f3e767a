//! Spans of calls over tonic's `Channel`.

use http::Request;
use tonic::Code;
use tonic::body::Body;
use tonic::transport::{Channel, Server};
use tower::Layer;
use tower_otlp::{Trace, TraceLayer, TracingService};

use super::told;
use crate::support::echo::{Client, Echo, serve};
use crate::support::spans::{next, summary, text};

#[tokio::test]
async fn a_call_is_one_span_whose_status_its_caller_sees() {
    let (tracing, mut spans) = TracingService::in_memory();
    let address = serve(Server::builder().add_service(Echo::default())).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let layer = TraceLayer::client(&tracing).target(&address.to_string());
    let mut client: Client<Trace<Channel>> = Client::over(layer.layer(channel));

    let (messages, code) = client.call("/test.Echo/One", &["hello"]).await;
    assert_eq!((messages.len(), code), (1, Code::Ok));
    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Client | test.Echo/One | OK | unset | -");
    let keys: Vec<_> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    let expected = [
        "rpc.system.name",
        "rpc.method",
        "server.address",
        "server.port",
        "rpc.response.status_code",
    ];
    assert_eq!(keys, expected);
    assert_eq!(text(&span, "server.address").unwrap(), "127.0.0.1");
    assert_eq!(text(&span, "server.port").unwrap(), address.port().to_string());
}

#[tokio::test]
async fn a_call_carries_its_span() {
    let (tracing, mut spans) = TracingService::in_memory();
    let (sender, mut headers) = tokio::sync::mpsc::unbounded_channel();
    let watch = tower::layer::layer_fn(move |service| {
        let sender = sender.clone();
        tower::util::MapRequest::new(service, move |request: Request<Body>| {
            sender.send(request.headers().clone()).unwrap();
            request
        })
    });
    let address = serve(Server::builder().layer(watch).add_service(Echo::default())).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client = Client::over(TraceLayer::client(&tracing).layer(channel));

    client.call("/test.Echo/One", &["hello"]).await;
    let span = next(&mut spans).await;
    let told = told(&headers.recv().await.unwrap());
    assert_eq!((told.trace_id(), told.span_id()), (span.trace_id, span.span_id));
}
