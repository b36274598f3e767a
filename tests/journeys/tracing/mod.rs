//! Spans of `tracing-opentelemetry` beside those of the layers, and log lines with their ids.
//!
//! Most tests have a subscriber of their own, for their thread, which is all that a current-thread
//! runtime has.

mod logs;
mod nesting;
mod recording;
mod teardown;
mod workers;

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use opentelemetry::trace::TracerProvider;
use serde_json::Value;
use tower::{Layer, ServiceExt};
use tower_otlp::{RecordedSpan, TraceLayer, TracingService, WithTraceIds};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Sets up what a program would, for this thread: spans to the tracing service, log lines of JSON
/// with ids to the test.
fn subscribe(tracing: &TracingService) -> (DefaultGuard, Lines) {
    let lines = Lines::default();
    let tracer = tracing.tracer_provider().tracer("app");
    let log = tracing_subscriber::fmt::layer().json().map_event_format(WithTraceIds::from);
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .with(log.with_writer(lines.clone()));
    (subscriber.set_default(), lines)
}

/// Makes a request to a traced service, and reads the response to its end.
async fn fetch(tracing: &TracingService, app: Router, request: Request<Body>) -> Response<Bytes> {
    let response = TraceLayer::server(tracing).layer(app).oneshot(request).await;
    let (head, body) = response.unwrap_or_else(|never| match never {}).into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// A request whose caller says this of its span.
fn with_flags(path: &str, flags: &str) -> Request<Body> {
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
    Request::get(path).header("traceparent", traceparent).body(Body::empty()).unwrap()
}

/// The only span of this name.
fn named<'a>(spans: &'a [RecordedSpan], name: &str) -> &'a RecordedSpan {
    let mut found = spans.iter().filter(|span| span.name == name);
    match (found.next(), found.next()) {
        (Some(span), None) => span,
        _ => panic!("not one {name:?}: {spans:#?}"),
    }
}

/// Lines of JSON that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// The line with this message.
    fn line(&self, message: &str) -> Value {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect(line))
            .find(|line| line["fields"]["message"] == message)
            .unwrap_or_else(|| panic!("no {message:?} in {text}"))
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
