//! How long a gRPC server asks to wait, in the details of its status.
//!
//! Peers write them, so nothing here can fail: what makes no sense was not said. They are within
//! the headers of an answer, whose size is limited.

use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;

use crate::record::walk::{Fields, Value};

/// The `google.rpc.RetryInfo` in the details of a gRPC status.
pub(super) fn retry_delay(headers: &HeaderMap) -> Option<Duration> {
    let details = headers.get("grpc-status-details-bin")?.as_bytes();
    let status = BASE64.decode(details).ok()?;
    repeated(&status, STATUS_DETAILS).find_map(|any| {
        let type_url = repeated(any, ANY_TYPE_URL).last()?;
        // Only what follows the last slash names the type.
        let is_retry_info = type_url.rsplit(|&byte| byte == b'/').next()? == RETRY_INFO;
        let value = is_retry_info.then(|| repeated(any, ANY_VALUE).last())??;
        duration(repeated(value, RETRY_DELAY).last()?)
    })
}

/// The fields of a message that have this number and hold bytes, up to where it makes no sense.
fn repeated(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).map_while(Result::ok).filter_map(move |field| match field {
        (found, Value::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    })
}

/// A `google.protobuf.Duration`, unless it is negative or none.
fn duration(message: &[u8]) -> Option<Duration> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(message) {
        match field.ok()? {
            (1, Value::Varint(value)) => seconds = u64::try_from(value.cast_signed()).ok()?,
            (2, Value::Varint(value)) => nanos = u32::try_from(value).ok()?,
            _ => {}
        }
    }
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// With padding or without, as gRPC has it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Field of `google.rpc.Status`.
const STATUS_DETAILS: u32 = 3;
/// Fields of `google.protobuf.Any`.
const ANY_TYPE_URL: u32 = 1;
const ANY_VALUE: u32 = 2;
/// Field of `google.rpc.RetryInfo`.
const RETRY_DELAY: u32 = 1;
const RETRY_INFO: &[u8] = b"google.rpc.RetryInfo";

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_info_is_read_or_ignored() {
        let field = |number: u8, bytes: &[u8]| {
            let len = u8::try_from(bytes.len()).ok().filter(|&len| len < 128).unwrap();
            [&[number << 3 | 2, len], bytes].concat()
        };
        let any = |type_url: &[u8], value: &[u8]| {
            field(3, &[field(1, type_url), field(2, value)].concat())
        };
        let info =
            |duration: &[u8]| any(b"type.googleapis.com/google.rpc.RetryInfo", &field(1, duration));
        let millis = |millis| Some(Duration::from_millis(millis));
        let negative = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let rows: [(Vec<u8>, Option<Duration>, &str); 13] = [
            (info(b"\x08\x07"), millis(7000), "seconds"),
            (info(b"\x08\x01\x10\x80\xca\xb5\xee\x01"), millis(1500), "and nanoseconds"),
            (info(b""), millis(0), "of nothing"),
            (info(negative), None, "negative"),
            (info(b"\x10\x80\x94\xeb\xdc\x03"), None, "more nanoseconds than a second has"),
            (info(b"\x0b"), None, "of garbage"),
            (any(b"google.rpc.RetryInfo", &field(1, b"\x08\x07")), millis(7000), "a bare name"),
            (any(b"x/google.rpc.QuotaFailure", &field(1, b"\x08\x07")), None, "another detail"),
            (
                [any(b"x/google.rpc.Help", b"\xff"), info(b"\x08\x07")].concat(),
                millis(7000),
                "behind another detail",
            ),
            ([b"\x08\x08".to_vec(), info(b"\x08\x07")].concat(), millis(7000), "behind the code"),
            ([b"\x0b".to_vec(), info(b"\x08\x07")].concat(), None, "behind garbage"),
            (any(b"x/google.rpc.RetryInfo", b""), None, "without a delay"),
            (Vec::new(), None, "no details"),
        ];
        for (status, expected, why) in rows {
            for text in [BASE64_STANDARD.encode(&status), BASE64_STANDARD_NO_PAD.encode(&status)] {
                let mut headers = HeaderMap::new();
                let value = HeaderValue::try_from(text).unwrap();
                headers.insert("grpc-status-details-bin", value);
                assert_eq!(retry_delay(&headers), expected, "{why}");
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_ignored() {
        let rows: [&[u8]; 5] = [b"!not base64!", b"====", b"A", b"\xff\xfe", b"a b"];
        for value in rows {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status-details-bin", HeaderValue::from_bytes(value).unwrap());
            assert_eq!(retry_delay(&headers), None, "{value:?}");
        }
        assert_eq!(retry_delay(&HeaderMap::new()), None);
    }
}
