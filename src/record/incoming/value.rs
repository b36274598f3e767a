//! Messages without attributes, which are only checked.

use super::Invalid;
use super::utf8::is_utf8;
use crate::record::walk::{Fields, MAX_DEPTH, Malformed, Value};
use crate::record::wire::LENGTH;

/// Checks a `KeyValue` and returns its key.
#[inline]
pub(super) fn pair(message: &[u8], depth: usize) -> Result<&[u8], Invalid> {
    // Nearly all are a short key and a short value. Most of a request is such pairs.
    if let [KEY, len @ ..0x80, rest @ ..] = message
        && let Some((key, [VALUE, len @ ..0x80, value @ ..])) = rest.split_at_checked((*len).into())
        && value.len() == usize::from(*len)
    {
        utf8(key, "KeyValue.key")?;
        self::value(value, depth)?;
        return Ok(key);
    }
    let mut key = &[][..];
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(text)) => {
                utf8(text, "KeyValue.key")?;
                key = text;
            }
            (2, Value::Bytes(message)) => value(message, depth)?,
            (3, Value::Varint(_)) => {}
            (1..=3, _) => return Err(Malformed.into()),
            _ => {}
        }
    }
    Ok(key)
}

/// Whether there is a map in the value of a `KeyValue` that has been checked, also if another value
/// comes after it: who reads it may look at either.
pub(super) fn has_map(pair: &[u8]) -> bool {
    messages(pair, 2).any(|value| messages(value, 6).next().is_some())
}

fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).filter_map(move |field| match field {
        Ok((found, Value::Bytes(message))) if found == number => Some(message),
        _ => None,
    })
}

fn value(message: &[u8], depth: usize) -> Result<(), Invalid> {
    if depth == MAX_DEPTH {
        return Err(Invalid::TooDeep);
    }
    // As nearly all values are, one short string.
    if let [STRING_VALUE, len @ ..0x80, text @ ..] = message
        && text.len() == usize::from(*len)
    {
        return utf8(text, "AnyValue.string_value");
    }
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(text)) => utf8(text, "AnyValue.string_value")?,
            (2 | 3 | 8, Value::Varint(_)) | (4, Value::Fixed64(_)) | (7, Value::Bytes(_)) => {}
            (5, Value::Bytes(array)) => elements(array, |message| value(message, depth + 1))?,
            (6, Value::Bytes(list)) => {
                elements(list, |message| pair(message, depth + 1).map(drop))?;
            }
            (1..=8, _) => return Err(Malformed.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Calls `check` with each element of an `ArrayValue` or a `KeyValueList`.
fn elements(
    message: &[u8],
    mut check: impl FnMut(&[u8]) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(element)) => check(element)?,
            (1, _) => return Err(Malformed.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Checks a `Status`.
pub(super) fn status(message: &[u8]) -> Result<(), Invalid> {
    for field in Fields::new(message) {
        match field? {
            (2, Value::Bytes(text)) => utf8(text, "Status.message")?,
            (3, Value::Varint(_)) => {}
            (2..=3, _) => return Err(Malformed.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Checks an `EntityRef`.
pub(super) fn entity_ref(message: &[u8]) -> Result<(), Invalid> {
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(text)) => utf8(text, "EntityRef.schema_url")?,
            (2, Value::Bytes(text)) => utf8(text, "EntityRef.type")?,
            (3, Value::Bytes(text)) => utf8(text, "EntityRef.id_keys")?,
            (4, Value::Bytes(text)) => utf8(text, "EntityRef.description_keys")?,
            (1..=4, _) => return Err(Malformed.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Checks a string.
#[inline]
pub(super) fn utf8(text: &[u8], field: &'static str) -> Result<(), Invalid> {
    if is_utf8(text) { Ok(()) } else { Err(Invalid::NotUtf8 { field }) }
}

/// The tags of these fields.
const KEY: u8 = 1 << 3 | LENGTH as u8;
const VALUE: u8 = 2 << 3 | LENGTH as u8;
const STRING_VALUE: u8 = 1 << 3 | LENGTH as u8;
