//! Spans of other programs, from their senders through the forwarder to a collector.

mod acknowledged;
mod arrival;
mod chain;
mod files;
mod hostile;
mod interop;
mod over_limit;
mod refused;
mod untraced;
mod verbatim;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, Version};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower_otlp::{Identity, SpanForwarder, Stats, TracingService, TracingServiceConfig};

use crate::support::server::{Client, serve};

fn tracing_to(url: &str) -> TracingService {
    TracingServiceConfig::new(url.parse().unwrap())
        .sampling_rate_per_million(1_000_000)
        .start("forward")
        .unwrap()
}

/// Takes spans of whoever gives a name.
fn by_name(tracing: &TracingService) -> SpanForwarder {
    tracing.forwarder(|request| match request.headers.get("who").map(|who| who.to_str()) {
        Some(Ok(who)) => Identity::allow(who.to_owned()),
        _ => Identity::deny("who are you?"),
    })
}

/// Both services, as people mount them: one port for each.
struct Forwarding {
    grpc: SocketAddr,
    http: SocketAddr,
}

impl Forwarding {
    async fn start(forwarder: &SpanForwarder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = listener.local_addr().unwrap();
        let server = Server::builder().add_service(forwarder.grpc());
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        let app = Router::new().route_service("/v1/traces", forwarder.http());
        Self { grpc, http: serve(app).await }
    }

    fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap().connect_lazy()
    }

    async fn post(&self, version: Version, request: Request<Body>) -> Response<Bytes> {
        Client::connect(version, self.http).await.fetch(request).await.unwrap()
    }
}

/// Sends spans as a client of tonic does.
async fn export(
    channel: Channel,
    who: &str,
    request: ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("who", MetadataValue::try_from(who).unwrap());
    let path = EXPORT.parse().unwrap();
    let codec = ProstCodec::<_, ExportTraceServiceResponse>::default();
    Ok(client.unary(request, path, codec).await?.into_inner())
}

fn post(who: &str, media_type: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/v1/traces").header("who", who);
    request.header("content-type", media_type).body(body.into()).unwrap()
}

/// A request of so many spans. `number` is in their ids.
fn request(number: u16, spans: u16) -> ExportTraceServiceRequest {
    let span = |span: u16| Span {
        trace_id: [[1; 14].as_slice(), &number.to_be_bytes()].concat(),
        span_id: [[2; 6].as_slice(), &span.to_be_bytes()].concat(),
        name: format!("{number}/{span}"),
        ..Span::default()
    };
    let scope = ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() };
    let resource =
        Resource { attributes: vec![text("service.name", "tool")], ..Resource::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }],
    }
}

fn encoded(number: u16, spans: u16) -> Vec<u8> {
    request(number, spans).encode_to_vec()
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

fn delivered(spans: u64) -> Stats {
    let mut stats = Stats::default();
    (stats.accepted, stats.delivered) = (spans, spans);
    stats
}

fn refusal(answer: Result<ExportTraceServiceResponse, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const STAMP: &str = "tower_otlp.forwarded.for";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// A deadline that is not expected to be reached.
const LONG: Duration = Duration::from_secs(60);
