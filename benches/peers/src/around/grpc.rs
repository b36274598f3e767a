//! A unary call of a service of tonic, with the layer around the routes, as its server puts it.

use std::fmt::Debug;
use std::hint::black_box;

use bytes::Bytes;
use fastrace::collector::SpanContext;
use fastrace_tonic::FastraceServerLayer;
use futures_util::FutureExt;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::service::Routes;
use tonic_tracing_opentelemetry::middleware::server::OtelGrpcLayer;
use tower::{Layer, Service, ServiceExt};
use tracing::Level;

use super::{Around, Call, SAMPLED, not_for};
use crate::setup::{self, Tracing};
use crate::subject::{Mode, Subject};
use crate::{nothing, wrapping};

pub(super) fn call(subject: Subject, mode: Mode, tracing: &Tracing) -> Call {
    let (_, health) = tonic_health::server::health_reporter();
    // As the server does it once.
    let routes = Routes::new(health).prepare();
    match subject {
        Subject::Bare => calls(routes, mode),
        Subject::Nothing => calls(nothing::Layer.layer(routes), mode),
        Subject::Wrapping => calls(wrapping::Layer.layer(routes), mode),
        Subject::Ours(variation) => calls(tracing.server(variation).layer(routes), mode),
        Subject::TowerHttp => {
            calls(tower_http::trace::TraceLayer::new_for_grpc().layer(routes), mode)
        }
        Subject::FastraceTonic => {
            let layer = FastraceServerLayer::default();
            let layer = match mode {
                // It has no sampler: who starts a trace decides.
                Mode::Off | Mode::Unsampled => layer
                    .with_span_context_extractor(|_| Some(SpanContext::random().sampled(false))),
                Mode::Sampled | Mode::Forced => layer,
            };
            calls(layer.layer(routes), mode)
        }
        Subject::InstrumentationTower | Subject::InstrumentationTowerTraces => {
            calls(setup::instrumentation_tower(subject).layer(routes), mode)
        }
        Subject::TonicTracing => calls(OtelGrpcLayer::default().layer(routes), mode),
        Subject::TowerOtel => {
            calls(tower_otel::trace::GrpcLayer::server(Level::INFO).layer(routes), mode)
        }
        Subject::FastraceAxum
        | Subject::AxumTracing
        | Subject::TowerHttpOpenTelemetry
        | Subject::AxumOtel => not_for(Around::Grpc, subject),
    }
}

fn calls<S, B>(service: S, mode: Mode) -> Call
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Error: Debug,
    B: http_body::Body,
    B::Error: Debug,
{
    Box::new(move || {
        let response = service.clone().oneshot(request(mode)).now_or_never();
        let response = response.expect("an answer at once").expect("no failure");
        let body = response.into_body().collect().now_or_never().expect("a body at once");
        let body = body.expect("a whole body");
        let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
        assert_eq!(status.expect("trailers"), "0");
        black_box(body.to_bytes());
    })
}

fn request(mode: Mode) -> Request<Body> {
    let mut request = Request::post("http://shop.example.com:8080/grpc.health.v1.Health/Check")
        .version(Version::HTTP_2)
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", "grpc-rust/0.14.9");
    if mode == Mode::Forced {
        request = request.header("traceparent", SAMPLED);
    }
    request.body(Body::new(Full::new(Bytes::from_static(EMPTY_MESSAGE)))).expect("a request")
}

/// It asks for the whole server.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
