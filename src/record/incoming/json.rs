//! OTLP/JSON to OTLP protobuf.
//!
//! What the JSON says is written at once, by the table of shapes that lines of JSON are written
//! by; there is no tree in between. The form is that of the specification's JSON encoding, read as
//! protobuf's own JSON is: 64-bit integers as numbers or strings, `null` for what is absent, names
//! also as in the `.proto` files (else what calls a span's id `span_id` would be lost in silence).
//! Keys that OTLP does not know are skipped.

mod member;
mod object;
mod text;

use std::fmt;

use serde::de::{DeserializeSeed as _, Error as _};
use serde_json::Deserializer;

use self::member::Member;
use crate::record::shape::{Kind, TRACES};

/// Reads an `ExportTraceServiceRequest` or `TracesData` in OTLP/JSON, as protobuf.
///
/// Ids are not checked for their length; the walk over the result does it. The result is at most
/// a quarter longer than `json`: the worst is a negative enum, `{"kind":-1},`, which takes 13 bytes.
///
/// # Errors
///
/// When `json` is not JSON, objects and arrays are nested deeper than 127 levels, a field is
/// given twice or has a value that it cannot have, or something comes after the end.
pub(crate) fn from_json(json: &[u8]) -> Result<Vec<u8>, InvalidJson> {
    // It never grows: a vector that does takes up to twice what it holds, and more while it does.
    let mut otlp = Vec::with_capacity(most_of_json(json));
    // Its limit of nesting is what bounds the stack.
    let mut reader = Deserializer::from_slice(json);
    let request = Member {
        kind: Kind::Message(&TRACES),
        name: "a request",
        // An object writes its members alone.
        number: 0,
        writes_default: false,
        otlp: &mut otlp,
    };
    match request.deserialize(&mut reader).and_then(|found| reader.end().map(|()| found)) {
        Ok(true) => Ok(otlp),
        Ok(false) => Err(InvalidJson(serde_json::Error::custom("null is no request"))),
        Err(error) => Err(InvalidJson(error)),
    }
}

/// The most bytes that [`from_json`] makes of this.
pub(crate) fn most_of_json(json: &[u8]) -> usize {
    json.len() / 4 * 5 + 4
}

/// Why JSON is refused. Says where, and never repeats what stands there.
#[derive(Debug)]
pub(crate) struct InvalidJson(serde_json::Error);

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not OTLP/JSON: {}", self.0)
    }
}

impl std::error::Error for InvalidJson {}

#[cfg(test)]
mod tests;
