//! What an HTTP status says of the time to come: whether to try again, and when.
//!
//! Peers write these headers, so nothing here can fail: what makes no sense was not said.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::answer::may_pass;
use crate::pipeline::Then;

/// What OTLP/HTTP says of a status. A proxy in front of a gRPC server is believed in the same.
pub(super) fn then(status: StatusCode, headers: &HeaderMap) -> Then {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        Then::Split
    } else if may_pass(status) {
        Then::TryAgain { asked: retry_after(headers, SystemTime::now()) }
    } else {
        Then::GiveUp
    }
}

/// The `Retry-After` of an answer (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number above all others is none.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retryable_codes_are_exactly_those_of_otlp() {
        for status in 100..=999 {
            let expected = match status {
                413 => Then::Split,
                429 | 502 | 503 | 504 => Then::TryAgain { asked: None },
                _ => Then::GiveUp,
            };
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(then(status, &HeaderMap::new()), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_or_nothing() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
        let rows = [
            ("120", Some(120), "seconds"),
            (" 7 ", Some(7), "with space around"),
            ("0", Some(0), "at once"),
            ("99999999999999999999999", Some(u64::MAX), "more than there are"),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90), "a date"),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(90), "a date of RFC 850"),
            ("Sun Nov  6 08:49:37 1994", Some(90), "a date of asctime"),
            ("Sun, 06 Nov 1994 08:40:00 GMT", Some(0), "a date that has passed"),
            ("-5", None, "negative"),
            ("1.5", None, "a fraction"),
            ("soon", None, "a word"),
            ("", None, "nothing"),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None, "a day that no month has"),
        ];
        for (text, seconds, why) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{why}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(retry_after(&headers, now), None, "no text");
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
