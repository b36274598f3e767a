//! A request through three services of a chain, axum, tonic and axum, and a real collector behind
//! them: one trace, whoever records it and for whatever reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::State;
use axum::routing::get;
use http::uri::PathAndQuery;
use http::{HeaderMap, Version};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::{Channel, Server};
use tonic::{Status, client, server as grpc_server};
use tonic_prost::ProstCodec;
use tower::ServiceExt;
use tower_otlp::Trace;

use super::rotel::Rotel;
use super::*;
use crate::support::echo::serve as serve_grpc;
use crate::support::server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OUTSIDE: &str = "b7ad6b7169203331";

type HttpClient = Trace<Client<HttpConnector, AxumBody>>;

#[test]
fn a_chain_of_services_is_one_trace_with_the_right_parents() {
    let collector = Collector::start(Script::Ok);
    let destination = format!("http://{}", collector.address());
    let Some(rotel) = Rotel::start(&["otlp", "--otlp-exporter-endpoint", &destination]) else {
        return;
    };
    let services = [("front", 0), ("middle", 0), ("back", 1_000_000)].map(|(name, rate)| {
        TracingServiceConfig::new(format!("grpc://{}", rotel.grpc).parse().unwrap())
            .sampling_rate_per_million(rate)
            .start(name)
            .unwrap()
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answers = runtime.block_on(drive(&services));
    assert_eq!(
        answers,
        ["00", "00", "01"],
        "what the last one is told: only one trace is recorded"
    );
    let stats = services.map(|service| service.shutdown_blocking(LONG));
    assert_eq!(stats, [settled(2, 0), settled(2, 0), settled(1, 0)]);

    let spans = passed_on(&collector, 5);
    let names: Vec<_> = spans.iter().map(|(service, span)| (service.as_str(), span.kind)).collect();
    const SERVER: i32 = 2;
    const CLIENT: i32 = 3;
    let expected = [
        ("front", SERVER),
        ("front", CLIENT),
        ("middle", SERVER),
        ("middle", CLIENT),
        ("back", SERVER),
    ];
    assert_eq!(names, expected, "each below the one before");
    assert_eq!(spans[0].1.name, "GET /orders");
    assert_eq!(spans[1].1.name, "shop.Middle/Ask");
    assert_eq!(spans[2].1.name, "shop.Middle/Ask");
    assert_eq!(spans[3].1.name, "GET");
    assert_eq!(spans[4].1.name, "GET /stock");
    for (service, span) in &spans {
        assert_eq!(span.trace_id, bytes_of(TRACE), "{service}");
        assert_eq!(span.trace_state, "vendor@@x=1", "{service}");
        assert!(span.status.as_ref().is_none_or(|status| status.code == 0), "{service}");
    }
}

/// Sends three requests into the chain: of a caller who has sampled nothing, of one who says
/// nothing, and of one who has sampled. Returns the flags that came through to the end.
async fn drive([front, middle, back]: &[TracingService; 3]) -> Vec<String> {
    let stock = get(async |headers: HeaderMap| {
        headers["traceparent"].to_str().unwrap().rsplit('-').next().unwrap().to_owned()
    });
    let app = Router::new().route("/stock", stock).layer(TraceLayer::server(back));
    let back = server::serve(app).await;

    let http = Client::builder(TokioExecutor::new()).build_http();
    let ask = Middle { http: TraceLayer::client(middle).layer(http), back };
    let router = Server::builder().layer(TraceLayer::server(middle)).add_service(ask);
    let target = format!("http://{}", serve_grpc(router).await);

    let channel = Channel::from_shared(target.clone()).unwrap().connect_lazy();
    let channel = TraceLayer::client(front).target(&target).layer(channel);
    let app = Router::new()
        .route("/orders", get(order))
        .with_state(channel)
        .layer(TraceLayer::server(front));
    let front = server::serve(app).await;

    let mut answers = Vec::new();
    let traceparent = |flags| format!("00-{TRACE}-{OUTSIDE}-{flags}");
    for headers in [
        vec![("traceparent", traceparent("00"))],
        Vec::new(),
        vec![("traceparent", traceparent("01")), ("tracestate", "vendor@@x=1".to_owned())],
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = server::request("GET", "/orders", &headers);
        let response = server::fetch(Version::HTTP_11, front, request).await;
        let flags = String::from_utf8(response.into_body().to_vec()).unwrap();
        // The random flag is the one of a trace that started here.
        answers.push(flags.replace("02", "00"));
    }
    answers
}

async fn order(State(channel): State<Trace<Channel>>) -> Result<String, String> {
    let mut client = client::Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let path = PathAndQuery::from_static("/shop.Middle/Ask");
    let codec = ProstCodec::<String, String>::default();
    let answer = client.unary(tonic::Request::new(String::new()), path, codec).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
}

/// The service in the middle: asks the one behind it, and passes its answer on.
#[derive(Clone)]
struct Middle {
    http: HttpClient,
    back: SocketAddr,
}

impl Middle {
    async fn ask(self) -> Result<tonic::Response<String>, Status> {
        let failed = |error: &dyn std::fmt::Display| Status::unavailable(error.to_string());
        let request = Request::get(format!("http://{}/stock", self.back));
        let request = request.body(AxumBody::empty()).map_err(|error| failed(&error))?;
        let response = self.http.oneshot(request).await.map_err(|error| failed(&error))?;
        let body = response.into_body().collect().await.map_err(|error| failed(&error))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(tonic::Response::new(text))
    }
}

impl Service<Request<Body>> for Middle {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let middle = self.clone();
        Box::pin(async move {
            let ask = service_fn(move |_: tonic::Request<String>| middle.clone().ask());
            let mut grpc = grpc_server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(grpc.unary(ask, request).await)
        })
    }
}

impl NamedService for Middle {
    const NAME: &'static str = "shop.Middle";
}

/// Waits for so many spans, and returns them with their services' names: the one below the span
/// from outside, the one below that, and so on.
fn passed_on(collector: &Collector, spans: usize) -> Vec<(String, Span)> {
    for requests in 1.. {
        collector.wait_for(requests);
        if collector.spans().len() >= spans {
            break;
        }
    }
    let mut by_parent = BTreeMap::new();
    for request in collector.received() {
        for of_service in request.message.resource_spans {
            let attributes = of_service.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let name = match name.and_then(|attribute| attribute.value?.value) {
                Some(Value::StringValue(name)) => name,
                other => panic!("no service: {other:?}"),
            };
            for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let before = by_parent.insert(span.parent_span_id.clone(), (name.clone(), span));
                assert!(before.is_none(), "two spans below one");
            }
        }
    }
    let mut below = bytes_of(OUTSIDE);
    let mut chain = Vec::new();
    while let Some((name, span)) = by_parent.remove(&below) {
        below = span.span_id.clone();
        chain.push((name, span));
    }
    assert!(by_parent.is_empty(), "not in the chain: {by_parent:?}");
    chain
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}
