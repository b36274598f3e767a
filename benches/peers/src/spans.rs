//! Spans of the OpenTelemetry API with the 12 attributes of an HTTP server's.

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, SpanKind, Tracer};

/// Starts one and ends it, as instrumentation does: names are static, what came with the request
/// is copied.
pub(crate) fn end_one<T: Tracer>(tracer: &T) {
    let builder = tracer
        .span_builder("GET /users/{id}")
        .with_kind(SpanKind::Server)
        .with_attributes(of_request());
    let mut span = tracer.build(builder);
    span.set_attribute(KeyValue::new("http.response.status_code", 200));
    span.set_attribute(KeyValue::new("http.response.body.size", 7));
    span.end();
}

fn of_request() -> [KeyValue; 10] {
    [
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("http.route", "/users/{id}".to_owned()),
        KeyValue::new("url.path", "/users/42".to_owned()),
        KeyValue::new("url.query", "verbose=1&page=3".to_owned()),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("server.address", "shop.example.com".to_owned()),
        KeyValue::new("server.port", 8080),
        KeyValue::new("network.protocol.name", "http"),
        KeyValue::new("network.protocol.version", "1.1"),
        KeyValue::new("user_agent.original", "curl/8.14.1".to_owned()),
    ]
}
