//! Attributes as OTLP `KeyValue` and `AnyValue` messages.

use opentelemetry::{Array, KeyValue, Value};

use super::limits::{SpanLimits, cut};
use super::wire::{LENGTH, delimited_len, put_bytes, put_fixed64, put_len, put_uint, varint_len};

/// The attributes of an event or a link: given all at once, the last of a repeated key counts.
pub(super) struct Group<'a> {
    attributes: &'a [KeyValue],
    limits: SpanLimits,
    kept: usize,
    dropped: u64,
}

impl<'a> Group<'a> {
    /// `dropped` of the group's attributes are missing already.
    pub(super) fn new(
        attributes: &'a [KeyValue],
        dropped: u32,
        limit: u32,
        limits: SpanLimits,
    ) -> Self {
        let unique = (0..attributes.len()).filter(|&i| is_last(attributes, i)).count();
        let kept = unique.min(limit as usize);
        let dropped = u64::from(dropped).saturating_add((unique - kept) as u64);
        Self { attributes, limits, kept, dropped: dropped.min(u32::MAX.into()) }
    }

    fn kept(&self) -> impl Iterator<Item = &KeyValue> {
        let all = self.attributes;
        let unique = all.iter().enumerate().filter(|&(i, _)| is_last(all, i));
        unique.map(|(_, attribute)| attribute).take(self.kept)
    }

    pub(super) fn len(&self, field: u32, dropped_field: u32) -> usize {
        let limit = self.limits.value_length;
        let kept = self.kept().map(|kv| delimited_len(field, key_value_len(kv, limit)));
        let mut len = kept.sum();
        if self.dropped > 0 {
            len += varint_len(u64::from(dropped_field << 3)) + varint_len(self.dropped);
        }
        len
    }

    pub(super) fn put(&self, out: &mut Vec<u8>, field: u32, dropped_field: u32) {
        for attribute in self.kept() {
            put_key_value(out, field, attribute, self.limits.value_length);
        }
        if self.dropped > 0 {
            put_uint(out, dropped_field, self.dropped);
        }
    }
}

/// Whether no later attribute has the key of attribute `i`.
pub(super) fn is_last(attributes: &[KeyValue], i: usize) -> bool {
    attributes[i + 1..].iter().all(|later| later.key != attributes[i].key)
}

/// Writes an attribute up to its value; the caller writes `value_len` bytes of `AnyValue`.
pub(super) fn put_attribute_head(out: &mut Vec<u8>, field: u32, key: &str, value_len: usize) {
    let len = delimited_len(KEY, key.len()) + delimited_len(VALUE, value_len);
    put_len(out, field, len);
    put_bytes(out, KEY, key.as_bytes());
    put_len(out, VALUE, value_len);
}

/// Writes an attribute whose value is text.
#[inline(always)]
pub(super) fn put_text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    let len = key.len() + value.len() + 6;
    if field >= 16 || len >= 0x80 {
        put_attribute_head(out, field, key, delimited_len(any::STRING, value.len()));
        return put_bytes(out, any::STRING, value.as_bytes());
    }
    // Nearly every attribute is so short that each of its tags and lengths is one byte.
    let [key_len, value_len] = [key.len() as u8, value.len() as u8];
    out.reserve(len + 2);
    out.extend_from_slice(&[short_tag(field), len as u8, short_tag(KEY), key_len]);
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(&[short_tag(VALUE), value_len + 2, short_tag(any::STRING), value_len]);
    out.extend_from_slice(value.as_bytes());
}

/// Writes an attribute whose value is a number.
#[inline(always)]
pub(super) fn put_i64(out: &mut Vec<u8>, field: u32, key: &str, value: i64) {
    let value = value as u64;
    let value_len = 1 + varint_len(value);
    let len = key.len() + value_len + 4;
    if field >= 16 || len >= 0x80 {
        put_attribute_head(out, field, key, value_len);
        return put_uint(out, any::INT, value);
    }
    out.reserve(len + 2);
    out.extend_from_slice(&[short_tag(field), len as u8, short_tag(KEY), key.len() as u8]);
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(&[short_tag(VALUE), value_len as u8]);
    put_uint(out, any::INT, value);
}

/// The tag of a length-delimited field below 16.
const fn short_tag(field: u32) -> u8 {
    (field << 3 | LENGTH) as u8
}

fn key_value_len(attribute: &KeyValue, limit: usize) -> usize {
    delimited_len(KEY, attribute.key.as_str().len())
        + delimited_len(VALUE, value_len(&attribute.value, limit))
}

pub(super) fn put_key_value(out: &mut Vec<u8>, field: u32, attribute: &KeyValue, limit: usize) {
    if let Value::String(value) = &attribute.value {
        return put_text(out, field, attribute.key.as_str(), cut(value.as_str(), limit));
    }
    let len = value_len(&attribute.value, limit);
    put_attribute_head(out, field, attribute.key.as_str(), len);
    put_value(out, &attribute.value, limit);
}

/// Bytes of an `AnyValue` message that holds this value.
fn value_len(value: &Value, limit: usize) -> usize {
    match value {
        Value::Bool(_) => 2,
        Value::I64(value) => 1 + varint_len(*value as u64),
        Value::F64(_) => 9,
        Value::String(value) => delimited_len(any::STRING, cut(value.as_str(), limit).len()),
        Value::Array(array) => delimited_len(any::ARRAY, array_len(array, limit)),
        // The API marks the enum as open; what it may hold one day is sent in its text form.
        other => delimited_len(any::STRING, cut(&other.as_str(), limit).len()),
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value, limit: usize) {
    match value {
        Value::Bool(value) => put_uint(out, any::BOOL, u64::from(*value)),
        Value::I64(value) => put_uint(out, any::INT, *value as u64),
        Value::F64(value) => put_fixed64(out, any::DOUBLE, value.to_bits()),
        Value::String(value) => {
            put_bytes(out, any::STRING, cut(value.as_str(), limit).as_bytes());
        }
        Value::Array(array) => put_array(out, array, limit),
        other => put_bytes(out, any::STRING, cut(&other.as_str(), limit).as_bytes()),
    }
}

/// Bytes of an `ArrayValue` message: field 1, once for each element.
fn array_len(array: &Array, limit: usize) -> usize {
    let element = |len| delimited_len(1, len);
    match array {
        Array::Bool(values) => values.len() * element(2),
        Array::I64(values) => values.iter().map(|v| element(1 + varint_len(*v as u64))).sum(),
        Array::F64(values) => values.len() * element(9),
        Array::String(values) => {
            let len = |v: &str| element(delimited_len(any::STRING, cut(v, limit).len()));
            values.iter().map(|v| len(v.as_str())).sum()
        }
        _ => 0,
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array, limit: usize) {
    put_len(out, any::ARRAY, array_len(array, limit));
    match array {
        Array::Bool(values) => {
            for &value in values {
                put_len(out, 1, 2);
                put_uint(out, any::BOOL, u64::from(value));
            }
        }
        Array::I64(values) => {
            for &value in values {
                put_len(out, 1, 1 + varint_len(value as u64));
                put_uint(out, any::INT, value as u64);
            }
        }
        Array::F64(values) => {
            for value in values {
                put_len(out, 1, 9);
                put_fixed64(out, any::DOUBLE, value.to_bits());
            }
        }
        Array::String(values) => {
            for value in values {
                let value = cut(value.as_str(), limit);
                put_len(out, 1, delimited_len(any::STRING, value.len()));
                put_bytes(out, any::STRING, value.as_bytes());
            }
        }
        _ => {}
    }
}

/// Field numbers of `opentelemetry.proto.common.v1.AnyValue`.
pub(super) mod any {
    pub(in crate::record) const STRING: u32 = 1;
    pub(in crate::record) const BOOL: u32 = 2;
    pub(in crate::record) const INT: u32 = 3;
    pub(in crate::record) const DOUBLE: u32 = 4;
    pub(in crate::record) const ARRAY: u32 = 5;
}

/// Fields of `opentelemetry.proto.common.v1.KeyValue`.
const KEY: u32 = 1;
const VALUE: u32 = 2;
