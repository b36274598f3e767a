//! Comma-separated lists that may be spread over several header fields: what `tracestate` and
//! `baggage` have in common.

use std::sync::Arc;

use http::header::{GetAll, HeaderMap, HeaderName, HeaderValue};

/// A field value that travels: visible ASCII, blanks and tabs. Shared, because it goes wherever the
/// ids of its trace go, and most traces have none: then there are no more than two words to move.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Text(Arc<str>);

impl Text {
    /// `None` if it could not be sent, or not be read.
    pub(super) fn new(text: Vec<u8>) -> Option<Self> {
        HeaderValue::try_from(text).ok()?.to_str().ok().map(|text| Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn to_header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("it was one")
    }
}

/// The fields of this name, if there is one.
pub(super) fn fields<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Option<GetAll<'a, HeaderValue>> {
    let fields = headers.get_all(name);
    fields.iter().next()?;
    Some(fields)
}

/// The members of all fields in order, without the blanks around them and without empty ones.
pub(super) fn members<'a>(
    fields: &GetAll<'a, HeaderValue>,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    fields
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b','))
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// Joins `members` into one field; `None` when there is none.
///
/// Always a copy: a field of a request shares the memory of its connection's read buffer, and what
/// travels may be kept for longer than the request lives.
pub(super) fn join<'a, M>(members: impl Fn() -> M) -> Option<Text>
where
    M: Iterator<Item = &'a [u8]>,
{
    let length = members().map(|member| member.len() + 1).sum::<usize>().checked_sub(1)?;
    let mut text = Vec::with_capacity(length);
    for member in members() {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(member);
    }
    Text::new(text)
}

/// The two sides of the first `separator`, if there is one.
pub(super) fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

/// `text` without the optional whitespace of HTTP (space and tab only) on either side.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
