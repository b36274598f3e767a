//! The `traceparent` header: `version "-" trace-id "-" parent-id "-" flags`, all in lowercase
//! hexadecimal (Trace Context Level 2, 3.2).

use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};

use super::list;

/// Says that the last seven bytes of the trace id are uniformly random.
pub(crate) const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// Characters in a version `00` traceparent, and the least of any later version.
pub(super) const LENGTH: usize = 55;

pub(super) const NAME_TEXT: &str = "traceparent";
pub(super) static NAME: HeaderName = HeaderName::from_static(NAME_TEXT);

/// The ids of a span and what is known of its trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Traceparent {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: TraceFlags,
}

impl Traceparent {
    /// The traceparent of a request; `None` unless exactly one was sent and it is well-formed.
    ///
    /// Of two there is no telling which is the caller's, so neither is used.
    pub(crate) fn extract(headers: &HeaderMap) -> Option<Self> {
        let mut fields = list::fields(headers, &NAME)?.iter();
        let only = fields.next()?;
        if fields.next().is_some() {
            return None;
        }
        Self::parse(only.as_bytes())
    }

    /// Parses a field value. Flags that Level 2 does not define are read as zero, and the tail of
    /// a later version is ignored (Trace Context Level 2, 3.2.4).
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (text, tail) = list::trim(text).split_first_chunk::<LENGTH>()?;
        if text[2] != b'-' || text[35] != b'-' || text[52] != b'-' {
            return None;
        }
        let [version] = octets(&text[..2])?;
        let is_whole = match version {
            0x00 => tail.is_empty(),
            0xff => false,
            _ => matches!(tail, [] | [b'-', ..]),
        };
        if !is_whole {
            return None;
        }

        let trace_id = TraceId::from_bytes(octets(&text[3..35])?);
        let span_id = SpanId::from_bytes(octets(&text[36..52])?);
        let [flags] = octets(&text[53..])?;
        let flags = TraceFlags::new(flags) & DEFINED;
        (trace_id != TraceId::INVALID && span_id != SpanId::INVALID).then_some(Self {
            trace_id,
            span_id,
            flags,
        })
    }

    /// The field value, in version `00`.
    pub(crate) fn encode(self) -> [u8; LENGTH] {
        let mut text = *b"00-________________________________-________________-__";
        put_digits(&mut text[3..35], &self.trace_id.to_bytes());
        put_digits(&mut text[36..52], &self.span_id.to_bytes());
        put_digits(&mut text[53..], &[(self.flags & DEFINED).to_u8()]);
        text
    }

    pub(crate) fn to_header_value(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.encode()).expect("hexadecimal digits and dashes")
    }

    pub(crate) fn is_random(self) -> bool {
        self.flags & RANDOM == RANDOM
    }
}

/// The flags of Level 2: sampled and random.
const DEFINED: TraceFlags = TraceFlags::new(0x03);

/// The octets that pairs of digits stand for; `None` if one is not a lowercase digit.
fn octets<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut octets = [0; N];
    let mut seen = 0;
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *octet = high << 4 | low;
    }
    (seen < 0x10).then_some(octets)
}

fn put_digits(text: &mut [u8], octets: &[u8]) {
    for (pair, octet) in text.chunks_exact_mut(2).zip(octets) {
        pair.copy_from_slice(&PAIRS[usize::from(*octet)]);
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digits of each octet.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut octet = 0;
    while octet < 256 {
        pairs[octet] = [DIGITS[octet >> 4], DIGITS[octet & 0x0f]];
        octet += 1;
    }
    pairs
};

/// The value of each digit. The parsers of the standard library also take `+` and uppercase.
const VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

#[cfg(test)]
pub(super) mod tests;
