//! The `baggage` header: key-value pairs of the application, each with optional properties
//! (W3C Baggage, 3).
//!
//! It stays text on its way through, because decoding loses what must be kept: the order, repeated
//! keys, and the difference between `%2F` and `/`.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::Baggage;

use super::list::{self, Text};

pub(super) const NAME_TEXT: &str = "baggage";
pub(super) static NAME: HeaderName = HeaderName::from_static(NAME_TEXT);

/// Well-formed baggage that is not empty and within the limits: all fields joined, no blanks
/// around members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct BaggageHeader(Text);

impl BaggageHeader {
    /// The baggage of a request, without the members that are malformed or beyond the limits;
    /// `None` if nothing is left.
    pub(crate) fn extract(headers: &HeaderMap) -> Option<Self> {
        let fields = list::fields(headers, &NAME)?;
        let kept = || {
            list::members(&fields).filter(|member| is_member(member)).take_while(within_limits())
        };
        list::join(kept).map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn to_header_value(&self) -> HeaderValue {
        self.0.to_header_value()
    }

    /// The same for OpenTelemetry: values decoded, properties as metadata. Of a repeated key the
    /// last stays.
    pub(crate) fn to_opentelemetry(&self) -> Baggage {
        let mut baggage = Baggage::new();
        for member in self.members() {
            let value = member.decoded().into_owned();
            baggage.insert_with_metadata(member.key.to_owned(), value, member.properties);
        }
        baggage
    }

    /// What a context's `Baggage` would be sent as; `None` if it is empty.
    ///
    /// Members are in the order of their keys, so that equal baggage reads the same. Those beyond
    /// the limits are left out, and so is metadata that is not a list of properties.
    pub(crate) fn from_opentelemetry(baggage: &Baggage) -> Option<Self> {
        let mut entries: Vec<_> = baggage.iter().collect();
        entries.sort_unstable_by_key(|entry| entry.0);

        let mut text = Vec::new();
        for (key, (value, metadata)) in entries.into_iter().take(MAX_MEMBERS) {
            let fitting = text.len();
            if !text.is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(key.as_str().as_bytes());
            text.push(b'=');
            encode(value.as_str(), &mut text);
            if metadata.as_str().as_bytes().split(|byte| *byte == b';').all(is_property) {
                text.push(b';');
                text.extend_from_slice(metadata.as_str().as_bytes());
            }
            if text.len() > MAX_BYTES {
                text.truncate(fitting);
                break;
            }
        }
        if text.is_empty() {
            return None;
        }
        Text::new(text).map(Self)
    }

    /// Whether `baggage` is still what [`to_opentelemetry`](Self::to_opentelemetry) made of this.
    ///
    /// Compares entry by entry, because a `Baggage` can be neither cloned nor compared, and a
    /// second one made for comparison would cost every request what only its calls need.
    pub(crate) fn is_still(&self, baggage: &Baggage) -> bool {
        let members: Vec<_> = self.members().collect();
        let mut distinct = 0;
        for (at, member) in members.iter().enumerate() {
            if members[at + 1..].iter().any(|later| later.key == member.key) {
                continue;
            }
            distinct += 1;
            let same = baggage.get_with_metadata(member.key).is_some_and(|(value, metadata)| {
                value.as_str() == member.decoded() && metadata.as_str() == member.properties
            });
            if !same {
                return false;
            }
        }
        distinct == baggage.len()
    }

    fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.as_str().split(',').map(Member::of)
    }
}

/// A well-formed member taken apart, nothing decoded yet.
struct Member<'a> {
    key: &'a str,
    value: &'a str,
    properties: &'a str,
}

impl<'a> Member<'a> {
    fn of(text: &'a str) -> Self {
        let (pair, properties) = text.split_once(';').unwrap_or((text, ""));
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let [key, value, properties] = [key, value, properties].map(|part| part.trim_matches(OWS));
        Self { key, value, properties }
    }

    /// The value. Octets that are not UTF-8 become U+FFFD; a `%` that starts no code is itself.
    fn decoded(&self) -> Cow<'a, str> {
        if !self.value.contains('%') {
            return Cow::Borrowed(self.value);
        }
        let mut octets = Vec::with_capacity(self.value.len());
        let mut rest = self.value.as_bytes();
        while let [first, tail @ ..] = rest {
            let (octet, tail) = match rest {
                [b'%', high, low, tail @ ..] => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => (high << 4 | low, tail),
                    _ => (b'%', &rest[1..]),
                },
                _ => (*first, tail),
            };
            octets.push(octet);
            rest = tail;
        }
        Cow::Owned(String::from_utf8_lossy(&octets).into_owned())
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|value| value as u8)
}

/// Appends `value` with percent codes for what a value cannot hold.
fn encode(value: &str, text: &mut Vec<u8>) {
    for byte in value.bytes() {
        // `=` could stand as it is, but there are readers that end the value there.
        if is_value_octet(&byte) && !matches!(byte, b'%' | b'=') {
            text.push(byte);
        } else {
            text.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0x0f)]]);
        }
    }
}

/// Passes members for as long as all of them together are within the limits.
fn within_limits() -> impl FnMut(&&[u8]) -> bool {
    let (mut members, mut bytes) = (0, 0);
    move |member| {
        bytes += member.len() + usize::from(members > 0);
        members += 1;
        members <= MAX_MEMBERS && bytes <= MAX_BYTES
    }
}

/// `key=value` and any number of properties after semicolons.
fn is_member(member: &[u8]) -> bool {
    let mut parts = member.split(|byte| *byte == b';');
    parts.next().is_some_and(is_pair) && parts.all(is_property)
}

fn is_property(part: &[u8]) -> bool {
    is_pair(part) || is_token(list::trim(part))
}

fn is_pair(part: &[u8]) -> bool {
    list::split_once(part, b'=').is_some_and(|(key, value)| {
        is_token(list::trim(key)) && list::trim(value).iter().all(is_value_octet)
    })
}

/// A token of HTTP (RFC 9110, 5.6.2).
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_value_octet(byte: &u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// What every participant must be able to pass on, and all that we do pass on.
const MAX_MEMBERS: usize = 64;
const MAX_BYTES: usize = 8192;

const OWS: [char; 2] = [' ', '\t'];
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
pub(super) mod tests;
