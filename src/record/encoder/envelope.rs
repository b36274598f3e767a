//! What stands around spans: who made them, written once and put before many.

use opentelemetry::{Key, KeyValue};

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

/// Leaves out the attributes that would make a resource larger than [`MAX_RESOURCE`], and tells their
/// keys. Of those that come first there is room before the others; `service.name` always stays.
///
/// Every request begins with the resource, and receivers limit the size of a request.
pub(crate) fn fit_resource(attributes: &mut Vec<KeyValue>) -> Vec<Key> {
    let is_name = |attribute: &KeyValue| attribute.key.as_str() == "service.name";
    let size = |attribute: &KeyValue| {
        let mut bytes = Vec::new();
        put_key_value(&mut bytes, 1, attribute, usize::MAX);
        bytes.len()
    };
    let name: usize = attributes.iter().filter(|it| is_name(it)).map(size).sum();
    let mut room = MAX_RESOURCE.saturating_sub(name);
    let mut left_out = Vec::new();
    attributes.retain(|attribute| match room.checked_sub(size(attribute)) {
        _ if is_name(attribute) => true,
        Some(rest) => {
            room = rest;
            true
        }
        None => {
            left_out.push(attribute.key.clone());
            false
        }
    });
    left_out
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

/// Bytes of all attributes of a resource together.
pub(crate) const MAX_RESOURCE: usize = 32 << 10;
