//! What is recorded and what is not, of spans and of events.

use axum::routing::get;
use http::StatusCode;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, Status, TraceId, Tracer};
use opentelemetry_sdk::trace::SdkTracer;
use tokio::task::yield_now;
use tracing::{error, info, info_span, instrument};

use super::*;
use crate::support::server;
use crate::support::spans::{PATIENCE, all, at_rate, text};

/// An instrumented handler with a child of OpenTelemetry's API and one of `tracing`.
fn app(tracing: &TracingService) -> Router {
    #[instrument(skip_all)]
    async fn handler(tracer: SdkTracer) {
        yield_now().await;
        tracer.in_span("api", |_| info_span!("leaf").in_scope(|| info!("at the leaf")));
    }

    let tracer = tracing.tracer_provider().tracer("api");
    Router::new().route("/", get(move || handler(tracer)))
}

#[tokio::test]
async fn all_spans_of_a_request_are_recorded_or_none() {
    let rows = [
        (0, server::get("/"), 0, "no new trace"),
        (0, with_flags("/", "01"), 4, "forced by the caller"),
        (1_000_000, server::get("/"), 4, "every new trace"),
        (1_000_000, with_flags("/", "00"), 0, "the caller does not want it"),
    ];
    for (rate, request, recorded, reason) in rows {
        let is_continued = request.headers().contains_key("traceparent");
        let (tracing, spans) = at_rate(rate);
        let (_subscribed, _) = subscribe(&tracing);
        fetch(&tracing, app(&tracing), request).await;

        let spans = all(tracing, spans).await;
        assert_eq!(spans.len(), recorded, "{reason}");
        for pair in spans.windows(2) {
            // In the order in which they ended.
            assert_eq!(pair[0].parent_span_id, Some(pair[1].span_id), "{reason}");
        }
        for span in &spans {
            let of_caller = span.trace_id == TraceId::from_hex(TRACE).unwrap();
            assert_eq!(of_caller, is_continued, "{reason}");
        }
    }
}

#[tokio::test]
async fn suppression_silences_the_layer_and_the_sdk_and_tracing() {
    let (tracing, spans) = TracingService::in_memory();
    let (_subscribed, lines) = subscribe(&tracing);
    let app = app(&tracing);
    let suppressed = Context::current().with_telemetry_suppressed();
    fetch(&tracing, app.clone(), with_flags("/", "01")).with_context(suppressed).await;
    {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        info_span!("quiet")
            .in_scope(|| tracing.tracer_provider().tracer("api").in_span("q", |_| {}));
    }
    tracing.flush(PATIENCE).await;
    assert_eq!(tracing.stats().accepted, 0);
    assert_eq!(lines.line("at the leaf").get("trace_id"), None, "what is logged there has no ids");

    fetch(&tracing, app, server::get("/")).await;
    assert_eq!(all(tracing, spans).await.len(), 4, "and it passes");
}

#[tokio::test]
async fn an_event_is_an_event_of_the_tracing_span_it_is_in_and_only_there() {
    #[instrument]
    async fn pay() {
        info!(amount = 12, "charged");
        yield_now().await;
        error!(code = 51, "declined");
    }

    let handler = async || {
        info!("not in a span of tracing");
        pay().await;
        StatusCode::ACCEPTED
    };
    let (tracing, spans) = TracingService::in_memory();
    let (_subscribed, _) = subscribe(&tracing);
    fetch(&tracing, Router::new().route("/", get(handler)), server::get("/")).await;

    let spans = all(tracing, spans).await;
    let (server, pay) = (named(&spans, "GET"), named(&spans, "pay"));
    let [charged, declined] = &pay.events[..] else { panic!("{:?}", pay.events) };
    assert_eq!((&*charged.name, &*declined.name), ("charged", "declined"));
    assert_eq!(charged.attribute("amount"), Some(&12.into()));
    assert_eq!(charged.attribute("level"), Some(&"INFO".into()));
    assert_eq!(declined.attribute("code"), Some(&51.into()));
    assert!(matches!(pay.status, Status::Error { .. }), "by an event of level ERROR");

    assert_eq!(server.events, [], "ours has the events that OpenTelemetry's API gives it");
    assert_eq!(server.status, Status::Unset, "and the response was no error");
    assert_eq!(text(server, "http.response.status_code").as_deref(), Some("202"));
}

#[tokio::test]
async fn an_error_that_is_returned_is_an_event_and_the_status_of_its_span() {
    #[instrument(err)]
    async fn charge() -> Result<(), io::Error> {
        yield_now().await;
        Err(io::Error::other("card declined"))
    }

    let handler = async || match charge().await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let (tracing, spans) = TracingService::in_memory();
    let (_subscribed, _) = subscribe(&tracing);
    fetch(&tracing, Router::new().route("/", get(handler)), server::get("/")).await;

    let spans = all(tracing, spans).await;
    let (server, charge) = (named(&spans, "GET"), named(&spans, "charge"));
    assert!(matches!(charge.status, Status::Error { .. }), "{:?}", charge.status);
    assert_eq!(charge.events.len(), 1);
    assert_eq!(charge.events[0].attribute("exception.message"), Some(&"card declined".into()));
    assert_eq!(text(server, "error.type").as_deref(), Some("500"));
}
