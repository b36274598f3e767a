//! A client that is answered at once.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Ready, ready};
use std::hint::black_box;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http_opentelemetry::http::client::{HttpClientTelemetryConfig, HttpClientTelemetryLayer};
use tracing::Level;

use super::{Around, Call, not_for};
use crate::setup::Tracing;
use crate::subject::{Mode, Subject};
use crate::{nothing, wrapping};

pub(super) fn call(subject: Subject, mode: Mode, tracing: &Tracing) -> Call {
    let client = service_fn(answer);
    match subject {
        Subject::Bare => calls(client, mode),
        Subject::Nothing => calls(nothing::Layer.layer(client), mode),
        Subject::Wrapping => calls(wrapping::Layer.layer(client), mode),
        Subject::Ours(variation) => calls(tracing.client(variation).layer(client), mode),
        Subject::TowerOtel => {
            calls(tower_otel::trace::HttpLayer::client(Level::INFO).layer(client), mode)
        }
        Subject::TowerHttpOpenTelemetry => {
            let mut config = HttpClientTelemetryConfig::default();
            config.metrics.request_duration.enabled = false;
            calls(HttpClientTelemetryLayer::with_config(config).layer(client), mode)
        }
        Subject::TowerHttp
        | Subject::FastraceAxum
        | Subject::FastraceTonic
        | Subject::InstrumentationTower
        | Subject::InstrumentationTowerTraces
        | Subject::AxumTracing
        | Subject::TonicTracing
        | Subject::AxumOtel => not_for(Around::Client, subject),
    }
}

fn answer(request: Request<Empty<Bytes>>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    drop(black_box(request));
    ready(Ok(Response::new(Full::new(Bytes::from_static(b"user 42")))))
}

fn calls<S, B>(client: S, mode: Mode) -> Call
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
    S::Error: Debug,
    B: http_body::Body,
    B::Error: Debug,
{
    Box::new(move || {
        // As a layer of the server has it around the handler.
        let _within = (mode == Mode::Forced).then(|| sampled().attach());
        let response = client.clone().oneshot(request()).now_or_never();
        let response = response.expect("an answer at once").expect("no failure");
        let body = response.into_body().collect().now_or_never().expect("a body at once");
        black_box(body.expect("a whole body").to_bytes());
    })
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("http://shop.example.com:8080/users/42?verbose=1&page=3")
        .header("user-agent", "shop/1.0")
        .header("accept", "*/*")
        .body(Empty::new())
        .expect("a request")
}

fn sampled() -> Context {
    let (trace_id, span_id) = (TraceId::from(TRACE_ID), SpanId::from(SPAN_ID));
    let (flags, state) = (TraceFlags::SAMPLED, TraceState::NONE);
    Context::new()
        .with_remote_span_context(SpanContext::new(trace_id, span_id, flags, false, state))
}

const TRACE_ID: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const SPAN_ID: u64 = 0xb7ad_6b71_6920_3331;
