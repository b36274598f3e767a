//! Attribute values, with all that OTLP can express.

use std::fmt;
use std::mem;

use opentelemetry::{Array, Value as ApiValue};

use super::text;
use crate::record::walk::{Fields, MAX_DEPTH, Malformed, Value};

pub(super) fn pair(message: &[u8], depth: usize) -> Result<(String, AnyValue), Malformed> {
    let mut key = String::new();
    let mut value = AnyValue::Empty;
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes),
            (2, Value::Bytes(message)) => value.merge(message, depth)?,
            (1..=2, _) => return Err(Malformed),
            _ => {}
        }
    }
    Ok((key, value))
}

/// An attribute's value with all that OTLP can express.
pub(super) enum AnyValue {
    Empty,
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(Vec<Self>),
    Map(Vec<(String, Self)>),
    Bytes(Vec<u8>),
}

impl AnyValue {
    /// Reads `message` on top of what is there: a member replaces another one, and adds to an
    /// array or map.
    fn merge(&mut self, message: &[u8], depth: usize) -> Result<(), Malformed> {
        if depth == MAX_DEPTH {
            return Err(Malformed);
        }
        for field in Fields::new(message) {
            *self = match field? {
                (1, Value::Bytes(value)) => Self::Text(text(value)),
                (2, Value::Varint(value)) => Self::Bool(value != 0),
                (3, Value::Varint(value)) => Self::Int(value as i64),
                (4, Value::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                (5, Value::Bytes(message)) => {
                    let mut values = match mem::replace(self, Self::Empty) {
                        Self::Array(values) => values,
                        _ => Vec::new(),
                    };
                    elements(message, |message| {
                        let mut value = Self::Empty;
                        value.merge(message, depth + 1)?;
                        values.push(value);
                        Ok(())
                    })?;
                    Self::Array(values)
                }
                (6, Value::Bytes(message)) => {
                    let mut pairs = match mem::replace(self, Self::Empty) {
                        Self::Map(pairs) => pairs,
                        _ => Vec::new(),
                    };
                    elements(message, |message| {
                        pairs.push(pair(message, depth + 1)?);
                        Ok(())
                    })?;
                    Self::Map(pairs)
                }
                (7, Value::Bytes(value)) => Self::Bytes(value.to_vec()),
                // An index into the string table of a profile, which traces do not have: OTLP
                // asks to take it for nothing.
                (8, Value::Varint(_)) => Self::Empty,
                (1..=8, _) => return Err(Malformed),
                _ => continue,
            };
        }
        Ok(())
    }

    pub(super) fn into_api(self) -> ApiValue {
        match self {
            Self::Empty => "".into(),
            Self::Text(value) => value.into(),
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Double(value) => value.into(),
            Self::Array(ref values) => match homogeneous(values) {
                Some(array) => ApiValue::Array(array),
                None => format!("{self:?}").into(),
            },
            Self::Map(_) | Self::Bytes(_) => format!("{self:?}").into(),
        }
    }
}

impl fmt::Debug for AnyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("null"),
            Self::Text(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Double(value) => value.fmt(f),
            Self::Array(values) => f.debug_list().entries(values).finish(),
            Self::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
            Self::Bytes(value) => write!(f, "b\"{}\"", value.escape_ascii()),
        }
    }
}

/// The array that the API has for `values`, if it has one. An empty array is one of strings.
fn homogeneous(values: &[AnyValue]) -> Option<Array> {
    fn all<T>(values: &[AnyValue], one: impl Fn(&AnyValue) -> Option<T>) -> Option<Vec<T>> {
        values.iter().map(one).collect()
    }
    match values.first() {
        None | Some(AnyValue::Text(_)) => all(values, |value| match value {
            AnyValue::Text(text) => Some(text.clone().into()),
            _ => None,
        })
        .map(Array::String),
        Some(AnyValue::Bool(_)) => all(values, |value| match value {
            AnyValue::Bool(value) => Some(*value),
            _ => None,
        })
        .map(Array::Bool),
        Some(AnyValue::Int(_)) => all(values, |value| match value {
            AnyValue::Int(value) => Some(*value),
            _ => None,
        })
        .map(Array::I64),
        Some(AnyValue::Double(_)) => all(values, |value| match value {
            AnyValue::Double(value) => Some(*value),
            _ => None,
        })
        .map(Array::F64),
        Some(_) => None,
    }
}

/// Reads the payloads of field 1, which is all there is in some messages.
pub(super) fn elements(
    message: &[u8],
    mut read: impl FnMut(&[u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(element)) => read(element)?,
            (1, _) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(())
}
