//! Comma-separated lists that may be spread over several header fields: what `tracestate` and
//! `baggage` have in common.

use http::header::{GetAll, HeaderValue};

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

/// Joins `members`, chosen from `fields`, into one field; `None` when there is none.
///
/// A lone field that reads the same already is shared instead of copied.
pub(super) fn join<'a, M>(
    fields: &GetAll<'a, HeaderValue>,
    members: impl Fn() -> M,
) -> Option<HeaderValue>
where
    M: Iterator<Item = &'a [u8]>,
{
    let mut received = fields.iter();
    let first = received.next()?;
    let length = members().map(|member| member.len() + 1).sum::<usize>().checked_sub(1)?;

    // What was left out would make it shorter, so equal length means equal text.
    if received.next().is_none() && first.len() == length {
        return Some(first.clone());
    }

    let mut text = Vec::with_capacity(length);
    for member in members() {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(member);
    }
    HeaderValue::try_from(text).ok()
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
