//! The members of an object, as the fields of a message.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::member::Member;
use crate::record::shape::{Form, Kind, Shape};
use crate::record::wire::{LENGTH, put_tag, put_varint, varint_len};

pub(super) fn read_object<'de, A: MapAccess<'de>>(
    shape: &'static Shape,
    mut object: A,
    otlp: &mut Vec<u8>,
) -> Result<(), A::Error> {
    let is_oneof = shape.form == Form::OneOf;
    // By bit, which fields have been given; a message has up to 16.
    let mut given = 0_u32;
    while let Some(index) = object.next_key_seed(Key(shape))? {
        let Some(index) = index else {
            object.next_value::<IgnoredAny>()?;
            continue;
        };
        let (field, number) = (&shape.fields[index], index as u32 + 1);
        let name = name(field.label);
        let kind = field.kind;
        let found = frame(kind, number, otlp, |otlp| {
            let member = Member { kind, name, number, writes_default: is_oneof, otlp };
            object.next_value_seed(member).map(Some)
        })?;
        if found != Some(true) {
            continue;
        }
        if given & 1 << index != 0 {
            return Err(A::Error::custom(format_args!("{name} is given twice")));
        }
        if is_oneof && given != 0 {
            return Err(A::Error::custom("a value is of two kinds"));
        }
        given |= 1 << index;
    }
    Ok(())
}

/// Puts the head of a message around what `read` writes, if `kind` is one. Without a value nothing
/// stays.
///
/// The length is known at the end. Most fit the one byte that is kept free; for others, what was
/// written is moved by a few bytes, which costs less than reading it did.
pub(super) fn frame<E>(
    kind: Kind,
    number: u32,
    otlp: &mut Vec<u8>,
    read: impl FnOnce(&mut Vec<u8>) -> Result<Option<bool>, E>,
) -> Result<Option<bool>, E> {
    let Kind::Message(_) = kind else { return read(otlp) };
    let start = otlp.len();
    put_tag(otlp, number, LENGTH);
    otlp.push(0);
    let payload = otlp.len();
    let found = read(otlp)?;
    match otlp.len() - payload {
        _ if found != Some(true) => otlp.truncate(start),
        len @ ..0x80 => otlp[payload - 1] = len as u8,
        len => {
            let mut length = Vec::with_capacity(varint_len(len as u64));
            put_varint(&mut length, len as u64);
            otlp.splice(payload - 1..payload, length);
        }
    }
    Ok(found)
}

/// The key of a member: the index of its field, if there is one.
struct Key(&'static Shape);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        let is_called = |label| name(label) == key || snake(name(label)).eq(key.bytes());
        Ok(self.0.fields.iter().position(|field| !key.is_empty() && is_called(field.label)))
    }
}

/// A label without its quotes and colon.
fn name(label: &'static str) -> &'static str {
    &label[1..label.len() - 2]
}

/// As a field is called in its `.proto` file.
fn snake(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().flat_map(|byte| {
        let underscore = byte.is_ascii_uppercase().then_some(b'_');
        underscore.into_iter().chain([byte.to_ascii_lowercase()])
    })
}
