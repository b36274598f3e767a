//! What stands around spans: who made them, written once and put before many.

use opentelemetry::KeyValue;

use crate::record::attributes::{is_last, put_key_value};
use crate::record::wire::put_bytes;

/// A `Resource` and its schema URL as fields 1 and 3 of an OTLP `ResourceSpans`, ready to be put
/// before its spans.
pub(crate) fn encode_resource(attributes: &[KeyValue], schema_url: &str) -> Vec<u8> {
    let mut resource = Vec::new();
    put_unique(&mut resource, 1, attributes);
    with_schema_url(&resource, schema_url)
}

/// An `InstrumentationScope` and its schema URL as fields 1 and 3 of an OTLP `ScopeSpans`.
pub(crate) fn encode_scope(
    name: &str,
    version: &str,
    attributes: &[KeyValue],
    schema_url: &str,
) -> Vec<u8> {
    let mut scope = Vec::new();
    put_bytes(&mut scope, 1, name.as_bytes());
    put_bytes(&mut scope, 2, version.as_bytes());
    put_unique(&mut scope, 3, attributes);
    with_schema_url(&scope, schema_url)
}

fn put_unique(out: &mut Vec<u8>, field: u32, attributes: &[KeyValue]) {
    for (i, attribute) in attributes.iter().enumerate() {
        if is_last(attributes, i) {
            put_key_value(out, field, attribute, usize::MAX);
        }
    }
}

fn with_schema_url(message: &[u8], schema_url: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, message);
    if !schema_url.is_empty() {
        put_bytes(&mut out, 3, schema_url.as_bytes());
    }
    out
}
