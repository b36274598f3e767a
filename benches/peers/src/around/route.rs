//! A route of axum.

use std::hint::black_box;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use axum_otel::{AxumOtelOnFailure, AxumOtelOnResponse, AxumOtelSpanCreator};
use axum_tracing_opentelemetry::middleware::{OtelAxumLayer, OtelInResponseLayer};
use fastrace::collector::SpanContext;
use fastrace_axum::FastraceLayer;
use futures_util::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tracing::Level;

use super::{Around, Call, SAMPLED, not_for};
use crate::setup::{self, Tracing};
use crate::subject::{Mode, Subject};
use crate::{nothing, wrapping};

/// The route with the layer.
pub(crate) fn layered(subject: Subject, mode: Mode, tracing: &Tracing) -> Router {
    // With its state, as a server gives it one once, and not for each request.
    let app = Router::new().route("/users/{id}", get(user)).with_state(());
    match subject {
        Subject::Bare => app,
        Subject::Nothing => app.layer(nothing::Layer),
        Subject::Wrapping => app.layer(wrapping::Layer),
        Subject::Ours(variation) => app.layer(tracing.server(variation)),
        Subject::TowerHttp => app.layer(tower_http::trace::TraceLayer::new_for_http()),
        Subject::FastraceAxum => {
            let layer = FastraceLayer::default();
            app.layer(match mode {
                // It has no sampler: who starts a trace decides.
                Mode::Off | Mode::Unsampled => layer
                    .with_span_context_extractor(|_| Some(SpanContext::random().sampled(false))),
                Mode::Sampled | Mode::Forced => layer,
            })
        }
        Subject::InstrumentationTower | Subject::InstrumentationTowerTraces => {
            app.layer(setup::instrumentation_tower(subject))
        }
        Subject::AxumTracing => app.layer(OtelInResponseLayer).layer(OtelAxumLayer::default()),
        Subject::TowerOtel => app.layer(tower_otel::trace::HttpLayer::server(Level::INFO)),
        Subject::AxumOtel => app.layer(
            tower_http_of_axum_otel::trace::TraceLayer::new_for_http()
                .make_span_with(AxumOtelSpanCreator::new().level(Level::INFO))
                .on_response(AxumOtelOnResponse::new().level(Level::INFO))
                .on_failure(AxumOtelOnFailure::new()),
        ),
        Subject::FastraceTonic | Subject::TonicTracing | Subject::TowerHttpOpenTelemetry => {
            not_for(Around::Route, subject)
        }
    }
}

async fn user(Path(id): Path<u64>) -> String {
    format!("user {id}")
}

pub(super) fn call(app: Router, mode: Mode) -> Call {
    Box::new(move || {
        let response = app.clone().oneshot(request(mode)).now_or_never();
        let response: Response = response.expect("an answer at once").expect("no failure");
        let body = response.into_body().collect().now_or_never().expect("a body at once");
        black_box(body.expect("a whole body").to_bytes());
    })
}

fn request(mode: Mode) -> Request<Body> {
    let mut request = Request::get("/users/42?verbose=1&page=3")
        .header("host", "shop.example.com:8080")
        .header("user-agent", "curl/8.14.1")
        .header("accept", "*/*");
    if mode == Mode::Forced {
        request = request.header("traceparent", SAMPLED);
    }
    request.body(Body::empty()).expect("a request")
}
