//! Spans as a test looks at them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::Value;
use opentelemetry::trace::Status;
use tokio::sync::Notify;
use tower_otlp::{InMemorySpans, RecordedSpan, TracingService, TracingServiceConfig};

/// A tracing service that records this share of new traces.
pub(crate) fn at_rate(per_million: u32) -> (TracingService, InMemorySpans) {
    TracingServiceConfig::default()
        .enabled(true)
        .sampling_rate_per_million(per_million)
        .start_in_memory("journeys")
        .unwrap()
}

/// The next span. A test whose span never comes fails; it does not hang.
pub(crate) async fn next(spans: &mut InMemorySpans) -> RecordedSpan {
    let next = tokio::time::timeout(PATIENCE, spans.next()).await;
    next.expect("a span should have come by now").expect("the tracing service should be running")
}

/// The next span in one line.
pub(crate) async fn next_summary(spans: &mut InMemorySpans) -> String {
    summary(&next(spans).await)
}

/// All spans of a service that is done.
pub(crate) async fn all(tracing: TracingService, mut spans: InMemorySpans) -> Vec<RecordedSpan> {
    let stats = tracing.shutdown(PATIENCE).await;
    assert_eq!(stats.pending, 0);
    spans.take()
}

/// Asserts that no span has ended.
pub(crate) async fn assert_none_yet(tracing: &TracingService, spans: &mut InMemorySpans) {
    tracing.flush(PATIENCE).await;
    let ended: Vec<_> = spans.take().iter().map(summary).collect();
    assert!(ended.is_empty(), "ended too early: {ended:?}");
}

/// `kind | name | code | status | error.type`, where `-` stands for an attribute that is missing.
pub(crate) fn summary(span: &RecordedSpan) -> String {
    let mut keys = HashSet::new();
    for attribute in &span.attributes {
        assert!(keys.insert(&attribute.key), "{:?} is there twice", attribute.key);
    }
    let code = match (
        span.attribute("http.response.status_code"),
        span.attribute("rpc.response.status_code"),
    ) {
        (None, None) => "-".to_owned(),
        (Some(Value::I64(code)), None) => code.to_string(),
        (None, Some(Value::String(code))) => code.to_string(),
        codes => panic!("not one code of its type: {codes:?}"),
    };
    let status = match &span.status {
        Status::Unset => "unset".to_owned(),
        Status::Ok => "ok".to_owned(),
        Status::Error { description } if description.is_empty() => "error".to_owned(),
        Status::Error { description } => format!("error: {description}"),
    };
    let error_type = text(span, "error.type").unwrap_or_else(|| "-".to_owned());
    format!("{:?} | {} | {code} | {status} | {error_type}", span.kind, span.name)
}

/// An attribute as text.
pub(crate) fn text(span: &RecordedSpan, key: &str) -> Option<String> {
    span.attribute(key).map(ToString::to_string)
}

/// Moments at which a service was seen at work. A span must cover them all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments(Arc<(Mutex<Vec<SystemTime>>, Notify)>);

impl Moments {
    pub(crate) fn mark(&self) {
        let (moments, marked) = &*self.0;
        moments.lock().unwrap().push(SystemTime::now());
        marked.notify_one();
    }

    /// Waits until a moment has been marked.
    pub(crate) async fn marked(&self) {
        self.0.1.notified().await;
    }

    /// Lets enough time pass for a span that ends before the next moment to be seen to.
    pub(crate) async fn pass() {
        tokio::time::sleep(4 * SLACK).await;
    }

    /// Asserts that there were moments, that `span` covers them, and forgets them.
    pub(crate) fn assert_within(&self, span: &RecordedSpan) {
        let moments = std::mem::take(&mut *self.0.0.lock().unwrap());
        assert!(!moments.is_empty(), "{}: the service did nothing", summary(span));
        for moment in moments {
            assert!(span.start_time <= moment + SLACK, "{}: starts late", summary(span));
            assert!(span.end_time + SLACK >= moment, "{}: ends early", summary(span));
        }
    }
}

/// How far the wall clock may be from the span's own clock.
const SLACK: Duration = Duration::from_millis(5);
/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
