//! Which forwarders spans have come through: the guard against loops.
//!
//! The header `tower-otlp-via` lists them, each by a number of its own, in the order in which they
//! took the spans. One that finds itself in it, or a list that is too long, gets no further.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::refusal::Refusal;
use crate::context::ids;

/// The number of one tracing service, made when it has its first forwarder, and what all its
/// forwarders share.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    number: Bytes,
    under_way: Arc<AtomicUsize>,
}

impl Instance {
    pub(crate) fn new() -> Self {
        Self { number: ids::new_span_id().to_string().into(), under_way: Arc::default() }
    }

    /// Bytes of others that are under way.
    pub(super) fn under_way(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.under_way)
    }

    /// What goes out with the spans of this program itself.
    pub(crate) fn via(&self) -> Bytes {
        self.number.clone()
    }

    /// What goes out with the spans of a request that came with these headers.
    ///
    /// A list that makes no sense is refused: as if there were none, a loop through whoever wrote
    /// it would have no end.
    pub(super) fn pass(&self, headers: &HeaderMap) -> Result<Bytes, Refusal> {
        let mut via = BytesMut::new();
        let mut hops = 0;
        for field in headers.get_all(VIA) {
            for hop in field.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                if hop.len() != DIGITS || !hop.iter().all(is_digit) {
                    return Err(Refusal::Invalid("tower-otlp-via is malformed".into()));
                }
                if hop == &self.number[..] {
                    return Err(Refusal::Loop);
                }
                hops += 1;
                if hops > MAX_HOPS {
                    return Err(Refusal::TooManyHops);
                }
                via.put_slice(hop);
                via.put_u8(b',');
            }
        }
        via.put_slice(&self.number);
        Ok(via.freeze())
    }
}

const VIA: &str = "tower-otlp-via";
/// Of a number.
const DIGITS: usize = 16;
/// Forwarders that spans may have come through already.
const MAX_HOPS: usize = 8;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_loop_is_found_and_a_long_way_cut() {
        let own =
            Instance { number: Bytes::from_static(b"00000000000000aa"), under_way: Arc::default() };
        let (a, b) = ("0123456789abcdef", "fedcba9876543210");
        let eight = [a; 8].join(",");
        let malformed = || Err(Refusal::Invalid("tower-otlp-via is malformed".into()));
        let rows = [
            (vec![], Ok("00000000000000aa".to_owned()), "the first"),
            (vec![a.to_owned()], Ok(format!("{a},00000000000000aa")), "the second"),
            (
                vec![format!("{a} ,\t{b}"), b.to_owned()],
                Ok(format!("{a},{b},{b},00000000000000aa")),
                "several fields, and blanks",
            ),
            (vec![eight.clone()], Ok(format!("{eight},00000000000000aa")), "the last that may"),
            (vec![eight, a.to_owned()], Err(Refusal::TooManyHops), "one more"),
            (vec![format!("{a},00000000000000aa")], Err(Refusal::Loop), "itself"),
            (vec!["0123456789ABCDEF".to_owned()], malformed(), "not as we write it"),
            (vec![format!("{a},")], malformed(), "an empty member"),
            (vec![String::new()], malformed(), "nothing"),
            (vec!["0123456789abcdef0".to_owned()], malformed(), "too long"),
            (vec!["x".repeat(100_000)], malformed(), "far too long"),
        ];
        for (fields, expected, why) in rows {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(VIA, HeaderValue::try_from(field).unwrap());
            }
            assert_eq!(own.pass(&headers), expected.map(Bytes::from), "{why}");
        }
    }

    #[test]
    fn every_tracing_service_has_a_number_of_its_own() {
        let (one, other) = (Instance::new(), Instance::new());
        assert_ne!(one.via(), other.via());
        let mut headers = HeaderMap::new();
        headers.insert(VIA, HeaderValue::from_bytes(&one.via()).unwrap());
        assert_eq!(one.pass(&headers), Err(Refusal::Loop));
        let passed = other.pass(&headers).unwrap();
        assert_eq!(passed.len(), 2 * DIGITS + 1);
    }
}
