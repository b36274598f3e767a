//! Log lines with the ids of the span they belong to.

use std::convert::Infallible;
use std::sync::Mutex;

use axum::routing::get;
use futures_util::{StreamExt, stream};
use opentelemetry::trace::SpanId;
use tokio::task::yield_now;
use tower_otlp::TraceContext;
use tracing::{info, instrument};

use super::*;
use crate::support::spans::{all, at_rate};

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
