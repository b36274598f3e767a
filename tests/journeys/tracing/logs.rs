//! Log lines with the ids of the span they belong to.

use std::convert::Infallible;
use std::sync::Mutex;

use axum::routing::get;
use futures_util::{StreamExt, stream};
use opentelemetry::trace::SpanId;
use tokio::task::yield_now;
use tower_otlp::TraceContext;
use tracing::{info, instrument};
use tracing_subscriber::fmt::format::FmtSpan;

use super::*;
use crate::support::spans::{all, at_rate, next};

#[tokio::test]
async fn a_line_has_the_ids_of_the_span_it_is_logged_in_recorded_or_not() {
    /// The span that is current where this is called.
    fn here() -> Option<SpanId> {
        TraceContext::current().map(|context| context.span_id())
    }

    #[instrument]
    async fn instrumented() -> Option<SpanId> {
        yield_now().await;
        info!("in a span of tracing");
        here()
    }

    for (flags, recorded) in [("01", 2), ("00", 0)] {
        let (tracing, spans) = at_rate(0);
        let (_subscribed, lines) = subscribe(&tracing);
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let own = Arc::clone(&seen);
        let handler = async move || {
            info!("in the request");
            let inner = instrumented().await;
            *own.lock().unwrap() = vec![here(), inner];
            Body::from_stream(
                stream::iter(["chunk"]).inspect(|_| info!("in the body")).map(Ok::<_, Infallible>),
            )
        };
        info!("before");
        fetch(&tracing, Router::new().route("/", get(handler)), with_flags("/", flags)).await;
        info!("after");

        let [Some(server), Some(inner)] = seen.lock().unwrap()[..] else { panic!("no span") };
        assert_ne!(server, inner);
        let rows =
            [("in the request", server), ("in a span of tracing", inner), ("in the body", server)];
        for (message, span) in rows {
            let line = lines.line(message);
            assert_eq!(line["trace_id"], TRACE, "{message}, {flags}");
            assert_eq!(line["span_id"], span.to_string(), "{message}, {flags}");
        }
        for message in ["before", "after"] {
            assert_eq!(lines.line(message).get("trace_id"), None, "{message} the request");
        }
        let spans = all(tracing, spans).await;
        assert_eq!(spans.len(), recorded, "{flags}");
        if recorded > 0 {
            assert_eq!(named(&spans, "GET").span_id, server);
            assert_eq!(named(&spans, "instrumented").span_id, inner);
        }
    }
}

#[tokio::test]
async fn a_line_about_entering_a_span_has_its_ids_if_the_layer_of_spans_comes_first() {
    let (tracing, mut spans) = at_rate(1_000_000);
    let lines = Lines::default();
    let log = tracing_subscriber::fmt::layer().json().with_span_events(FmtSpan::ENTER);
    let tracer = tracing.tracer_provider().tracer("app");
    let _subscribed = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .with(log.map_event_format(WithTraceIds::from).with_writer(lines.clone()))
        .set_default();
    tracing::info_span!("job").in_scope(|| {});

    let span = next(&mut spans).await;
    let line = lines.line("enter");
    assert_eq!(line["trace_id"], span.trace_id.to_string());
    assert_eq!(line["span_id"], span.span_id.to_string());
}
