//! Requests of others: checked, and marked with who sent them, without being decoded.
//!
//! A request goes on as the bytes it came as. One walk over them finds out whether a backend will
//! be able to read them, and copies them with the sender's name put in. What OTLP does not know
//! yet stays where it is.
//!
//! A field that is given several times counts as protobuf has it: of a scalar the last one, of a
//! message all parts together.

mod json;
mod request;
mod utf8;
mod value;

use std::fmt;

use self::request::Walk;
use super::walk::{Fields, MAX_DEPTH, Malformed, Value};
use super::wire::{delimited_len, put_bytes, put_len};

pub(crate) use self::json::{from_json, most_of_json};

/// One resource attribute that names who sent spans.
#[derive(Debug)]
pub(crate) struct Stamp {
    key: Box<[u8]>,
    /// The field `attributes` of a `Resource`, its head included.
    field: Box<[u8]>,
}

impl Stamp {
    pub(crate) fn new(key: &str, value: &str) -> Self {
        let text = delimited_len(1, value.len());
        let mut field = Vec::new();
        put_len(&mut field, 1, delimited_len(1, key.len()) + delimited_len(2, text));
        put_bytes(&mut field, 1, key.as_bytes());
        put_len(&mut field, 2, text);
        put_bytes(&mut field, 1, value.as_bytes());
        Self { key: key.as_bytes().into(), field: field.into() }
    }
}

/// A request that is well-formed and says who sent it.
#[derive(Debug)]
pub(crate) struct Stamped {
    /// The bytes of an `ExportTraceServiceRequest`.
    pub(crate) request: Vec<u8>,
    pub(crate) spans: u64,
}

/// Checks an `ExportTraceServiceRequest` and puts `stamp` on every resource, after removing every
/// attribute that could be taken for it from resources, scopes, spans, events and links:
///
/// - one whose key is the stamp's, and
/// - one whose key is a front part of it, up to one of its dots, and in whose value a map stands:
///   with the key `a.b.c` that is `a` and `a.b`. Who flattens maps may get the stamp's key from it.
///   It goes as a whole, whatever is in the map.
///
/// Nothing else is changed. Other keys inside an attribute's value are no attributes and stay, and
/// so do the counts of dropped attributes.
///
/// The result is at most as long as the request and, for each of its `ResourceSpans`, a stamp and
/// 20 bytes for longer heads. There are no more of these than `max_spans`: a `ResourceSpans` with
/// nothing in it takes two bytes on the wire, and would otherwise make a request grow many times.
///
/// # Errors
///
/// When `request` is not such a message, a string is not UTF-8, an id has not its length (a
/// parent's may be empty), values are nested deeper than [`MAX_DEPTH`], there are more spans or
/// more `ResourceSpans` than `max_spans`, or spans stand in a field that OTLP no longer has.
pub(crate) fn stamp(request: &[u8], stamp: &Stamp, max_spans: u64) -> Result<Stamped, Invalid> {
    let mut groups = 0;
    for field in Fields::new(request) {
        match field? {
            (1, Value::Bytes(_)) if groups as u64 == max_spans => {
                return Err(Invalid::TooManySpans { limit: max_spans });
            }
            (1, Value::Bytes(_)) => groups += 1,
            (1, _) => return Err(Malformed.into()),
            _ => {}
        }
    }
    let room = request.len() + groups * (stamp.field.len() + HEADS);
    Walk::new(request, stamp, max_spans, room).run()
}

/// Why a request is refused, in words for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// Framing, or a known field of another wire type.
    Malformed(Malformed),
    NotUtf8 {
        field: &'static str,
    },
    IdLength {
        field: &'static str,
        bytes: usize,
    },
    TooDeep,
    TooManySpans {
        limit: u64,
    },
    /// A field that OTLP had before 1.0, in which older receivers still find spans: they would be
    /// in no count and have no stamp.
    Outdated {
        field: &'static str,
    },
}

impl From<Malformed> for Invalid {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::NotUtf8 { field } => write!(f, "{field} is not UTF-8"),
            Self::IdLength { field, bytes } => write!(f, "{field} cannot have {bytes} bytes"),
            Self::TooDeep => write!(f, "values are nested deeper than {MAX_DEPTH} levels"),
            Self::TooManySpans { limit } => write!(f, "more than {limit} spans or resources"),
            Self::Outdated { field } => write!(f, "{field} is no longer a part of OTLP"),
        }
    }
}

impl std::error::Error for Invalid {}

/// What the heads around a stamp may take more than before: a tag and two lengths.
const HEADS: usize = 20;

#[cfg(test)]
mod tests;
