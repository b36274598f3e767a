//! gRPC status codes: names, wire form, and which of them are errors.
//!
//! A leaf that both ends of the crate read: the middleware for the calls it traces, the gRPC
//! exporter for the answers it gets. Peers write these headers, so nothing here can fail: what is
//! not a status is `UNKNOWN`, as the gRPC specification has it.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode;

/// A gRPC status code, 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrpcStatus(u8);

impl GrpcStatus {
    #[cfg(any(feature = "_call", feature = "metrics"))]
    pub(crate) const OK: Self = Self(0);
    pub(crate) const CANCELLED: Self = Self(1);
    pub(crate) const UNKNOWN: Self = Self(2);
    #[cfg(any(feature = "_call", feature = "metrics"))]
    pub(crate) const UNIMPLEMENTED: Self = Self(12);
    #[cfg(any(feature = "tonic", feature = "_hyper"))]
    pub(crate) const UNAVAILABLE: Self = Self(14);

    /// The `grpc-status` of response headers or trailers; `None` when there is none.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get("grpc-status")?.as_bytes();
        Some(Self::parse(value))
    }

    fn parse(value: &[u8]) -> Self {
        match *value {
            [ones @ b'0'..=b'9'] => Self(ones - b'0'),
            [b'1', ones @ b'0'..=b'6'] => Self(10 + (ones - b'0')),
            _ => Self::UNKNOWN,
        }
    }

    /// What a response without `grpc-status` means, from its HTTP status (gRPC, "HTTP to gRPC
    /// Status Code Mapping").
    pub(crate) fn from_http(status: StatusCode) -> Self {
        match status.as_u16() {
            400 => Self(13),
            401 => Self(16),
            403 => Self(7),
            404 => Self(12),
            429 | 502 | 503 | 504 => Self(14),
            _ => Self::UNKNOWN,
        }
    }

    /// What the reset of an HTTP/2 stream means (gRPC over HTTP2, "Errors").
    #[cfg(feature = "_h2")]
    pub(crate) fn from_h2(reason: h2::Reason) -> Self {
        use h2::Reason;
        match reason {
            Reason::NO_ERROR
            | Reason::PROTOCOL_ERROR
            | Reason::INTERNAL_ERROR
            | Reason::FLOW_CONTROL_ERROR
            | Reason::SETTINGS_TIMEOUT
            | Reason::FRAME_SIZE_ERROR
            | Reason::COMPRESSION_ERROR
            | Reason::CONNECT_ERROR => Self(13),
            Reason::REFUSED_STREAM => Self(14),
            Reason::CANCEL => Self::CANCELLED,
            Reason::ENHANCE_YOUR_CALM => Self(8),
            Reason::INADEQUATE_SECURITY => Self(7),
            _ => Self::UNKNOWN,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    pub(crate) fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Whether the code is the server's fault (OpenTelemetry, "gRPC Server Status").
    pub(crate) fn is_server_error(self) -> bool {
        matches!(self.0, 2 | 4 | 12 | 13 | 14 | 15)
    }
}

#[cfg(feature = "tonic")]
impl From<tonic::Code> for GrpcStatus {
    fn from(code: tonic::Code) -> Self {
        u8::try_from(code as i32).map_or(Self::UNKNOWN, |code| Self(code.min(16)))
    }
}

/// The `grpc-message` of response headers or trailers, percent-decoded; empty when there is none.
pub(crate) fn message(headers: &HeaderMap) -> Cow<'_, str> {
    let raw = headers.get("grpc-message").map_or(&[][..], |value| value.as_bytes());
    percent_decode(raw).decode_utf8_lossy()
}

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_not_a_status_is_unknown() {
        let rows: [(&[u8], &str, &str); 9] = [
            (b"0", "OK", "one digit"),
            (b"16", "UNAUTHENTICATED", "the highest"),
            (b"10", "ABORTED", "two digits"),
            (b"17", "UNKNOWN", "above the highest"),
            (b"99", "UNKNOWN", "far above"),
            (b"05", "UNKNOWN", "leading zero"),
            (b"", "UNKNOWN", "empty"),
            (b"-1", "UNKNOWN", "negative"),
            (b"ok", "UNKNOWN", "a word"),
        ];
        for (value, name, why) in rows {
            assert_eq!(GrpcStatus::parse(value).name(), name, "{why}");
        }
        assert_eq!(GrpcStatus::from_headers(&HeaderMap::new()), None);
    }

    #[test]
    fn six_codes_are_the_servers_fault() {
        let faults: Vec<_> = (0..17).map(GrpcStatus).filter(|s| s.is_server_error()).collect();
        let names: Vec<_> = faults.into_iter().map(GrpcStatus::name).collect();
        let expected = [
            "UNKNOWN",
            "DEADLINE_EXCEEDED",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn without_a_grpc_status_the_http_status_decides() {
        let rows = [
            (400, "INTERNAL"),
            (401, "UNAUTHENTICATED"),
            (403, "PERMISSION_DENIED"),
            (404, "UNIMPLEMENTED"),
            (429, "UNAVAILABLE"),
            (502, "UNAVAILABLE"),
            (503, "UNAVAILABLE"),
            (504, "UNAVAILABLE"),
            (200, "UNKNOWN"),
            (500, "UNKNOWN"),
        ];
        for (http, name) in rows {
            let status = StatusCode::from_u16(http).unwrap();
            assert_eq!(GrpcStatus::from_http(status).name(), name, "{http}");
        }
    }

    #[test]
    fn messages_are_percent_decoded_and_never_fail() {
        let rows: [(&[u8], &str, &str); 4] = [
            (b"not found", "not found", "plain"),
            (b"a%20b%0A", "a b\n", "escapes"),
            (b"100%", "100%", "a broken escape stays"),
            (b"%ff", "\u{fffd}", "not UTF-8"),
        ];
        for (raw, expected, why) in rows {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-message", HeaderValue::from_bytes(raw).unwrap());
            assert_eq!(message(&headers), expected, "{why}");
        }
        assert_eq!(message(&HeaderMap::new()), "");
    }
}
