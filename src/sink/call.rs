//! A unary call to the OTLP `TraceService`, whatever carries it: framed here, and its answer read.
//!
//! The call is one POST with a five-byte frame head, and its status is read by the function that
//! the middleware uses, so a hostile answer can at worst be a failure.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};

use super::answer::{Answer, Pieces, USER_AGENT, quote};
use super::headers::{Headers, put_via};
use super::options::RequestOptions;
use super::retry_info::retry_delay;
use super::{delay, partial, proxy};
use crate::grpc_status::{self, GrpcStatus};
use crate::pipeline::{Failure, Outcome, Then};

/// What all calls of a sink have in common.
#[derive(Debug)]
pub(super) struct ExportCall {
    uri: Uri,
    headers: Headers,
    /// As `grpc-timeout` has it, so that a server does not work for what nobody waits for.
    timeout: HeaderValue,
}

impl ExportCall {
    /// `uri` is that of the `TraceService`: [`EXPORT`], with or without an authority before it.
    pub(super) fn new(uri: Uri, options: &RequestOptions) -> Self {
        let protocol = [(header::CONTENT_TYPE, "application/grpc"), (header::TE, "trailers")];
        Self {
            uri,
            headers: Headers::new(options, USER_AGENT, &protocol),
            timeout: grpc_timeout(options.timeout),
        }
    }

    /// `compressed` is the flag in the head of a gRPC message.
    ///
    /// # Errors
    ///
    /// When the message is too large for a frame.
    pub(super) async fn request(
        &self,
        compressed: u8,
        mut message: VecDeque<Bytes>,
        via: Option<Bytes>,
        target: &str,
    ) -> Result<Request<Pieces>, Failure> {
        let len = message.iter().map(Bytes::len).sum();
        message.push_front(frame_head(compressed, len)?);
        let mut request = Request::new(Pieces::new(message));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers.get(target).await;
        put_via(request.headers_mut(), via);
        request.headers_mut().insert("grpc-timeout", self.timeout.clone());
        if compressed == 1 {
            request.headers_mut().insert("grpc-encoding", HeaderValue::from_static("gzip"));
        }
        Ok(request)
    }
}

/// A timeout in the finest unit of which it takes no more than eight digits (gRPC over HTTP2,
/// "Timeout").
fn grpc_timeout(timeout: Duration) -> HeaderValue {
    const LONGEST: u128 = 99_999_999;
    let nanos = timeout.as_nanos();
    let units = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (1_000_000_000, 'S')];
    let fits = units.into_iter().find(|&(unit, _)| nanos / unit <= LONGEST);
    let (unit, name) = fits.unwrap_or((3_600_000_000_000, 'H'));
    let text = format!("{}{name}", (nanos / unit).min(LONGEST));
    HeaderValue::try_from(text).expect("digits and a letter make a header value")
}

/// The head of a gRPC message.
fn frame_head(compressed: u8, len: usize) -> Result<Bytes, Failure> {
    let len = u32::try_from(len).map_err(|_| Failure::too_large("the request is above 4 GiB"))?;
    let mut head = vec![compressed; 5];
    head[1..].copy_from_slice(&len.to_be_bytes());
    Ok(head.into())
}

/// The status, and the headers that it stands in.
pub(super) fn grpc_status_of(answer: &Answer) -> Option<(GrpcStatus, &HeaderMap)> {
    // That of a call without messages stands in the head.
    let told = [answer.trailers.as_ref(), Some(&answer.headers)];
    told.into_iter()
        .flatten()
        .find_map(|headers| GrpcStatus::from_headers(headers).map(|status| (status, headers)))
}

/// What became of a batch, by the answer.
pub(super) fn read(answer: &Answer) -> Result<Outcome, Failure> {
    let Some((status, headers)) = grpc_status_of(answer) else {
        return Err(if answer.status == StatusCode::OK {
            Failure::for_good("the answer has no grpc-status: is this an OTLP/gRPC port?")
        } else {
            let (words, then) = proxy::tls_refusal(answer).unwrap_or_else(|| {
                ("is this an OTLP/gRPC port?", delay::then(answer.status, &answer.headers))
            });
            Failure { reason: format!("answered HTTP {}: {words}", answer.status), then }
        });
    };
    if status != GrpcStatus::OK {
        let message = grpc_status::message(headers);
        let then = then(status, &message, headers);
        return Err(Failure {
            reason: format!("refused with {}: {}", status.name(), quote(&message)),
            then,
        });
    }
    let response = match &answer.body[..] {
        [] => &[][..],
        [0, a, b, c, d, message @ ..]
            if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() =>
        {
            message
        }
        _ => return Err(Failure::for_good("the answer is not one uncompressed gRPC message")),
    };
    partial::outcome(response).map_err(|error| Failure::for_good(format!("the answer is {error}")))
}

/// What OTLP says of a status, but for what receivers say of a message that is too large for them:
/// some have OUT_OF_RANGE for it, which by OTLP may pass, and will not.
fn then(status: GrpcStatus, message: &str, headers: &HeaderMap) -> Then {
    let asked = retry_delay(headers);
    match status.name() {
        "RESOURCE_EXHAUSTED" if asked.is_some() => Then::TryAgain { asked },
        "RESOURCE_EXHAUSTED" | "OUT_OF_RANGE" if is_about_size(message) => Then::Split,
        "CANCELLED" | "DEADLINE_EXCEEDED" | "ABORTED" | "OUT_OF_RANGE" | "UNAVAILABLE"
        | "DATA_LOSS" => Then::TryAgain { asked },
        _ => Then::GiveUp,
    }
}

/// Whether a receiver says that a message is above its limit. There is no code for it, and each
/// implementation of gRPC has its own words.
fn is_about_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let says = |words: &str| message.contains(words);
    says("larger than max")
        || says("length too large")
        || says("message too large")
        || says("size limit")
        || says("message") && says("exceed") && says("maximum") && says("size")
}

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_success_only_if_it_says_so() {
        let map = |status: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(status) = status {
                headers.insert("grpc-status", HeaderValue::from_static(status));
                headers.insert("grpc-message", HeaderValue::from_static("why%0Anot"));
                let details = HeaderValue::from_static("!not base64!");
                headers.insert("grpc-status-details-bin", details);
            }
            headers
        };
        type Row<'a> = (
            u16,
            Option<&'static str>,
            Option<&'static str>,
            &'a [u8],
            Result<u64, &'a str>,
            &'a str,
        );
        let rows: [Row<'_>; 11] = [
            (200, None, Some("0"), b"\0\0\0\0\0", Ok(0), "full success"),
            (200, None, Some("0"), b"\0\0\0\0\x04\x0a\x02\x08\x03", Ok(3), "partial success"),
            (200, Some("0"), None, b"", Ok(0), "success in the head"),
            (
                200,
                None,
                Some("14"),
                b"",
                Err("refused with UNAVAILABLE: why not"),
                "details that are no base64 are not looked at, control characters not shown",
            ),
            (200, Some("16"), None, b"", Err("refused with UNAUTHENTICATED: why not"), "in head"),
            (200, None, Some("banana"), b"", Err("refused with UNKNOWN: why not"), "no code"),
            (
                200,
                None,
                None,
                b"",
                Err("the answer has no grpc-status: is this an OTLP/gRPC port?"),
                "cut off",
            ),
            (
                400,
                None,
                None,
                b"<html>",
                Err("answered HTTP 400 Bad Request: is this an OTLP/gRPC port?"),
                "a web server",
            ),
            (
                200,
                None,
                Some("0"),
                b"\x01\0\0\0\0",
                Err("the answer is not one uncompressed gRPC message"),
                "compressed, though nobody asked for it",
            ),
            (
                200,
                None,
                Some("0"),
                b"\0\xff\xff\xff\xff",
                Err("the answer is not one uncompressed gRPC message"),
                "claims 4 GiB",
            ),
            (
                200,
                None,
                Some("0"),
                b"\0\0\0\0\x01\x0b",
                Err("the answer is not a valid protobuf message"),
                "garbage",
            ),
        ];
        for (status, head, trailers, body, expected, why) in rows {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: map(head),
                body: body.to_vec(),
                trailers: trailers.map(|status| map(Some(status))),
            };
            let found = match read(&answer) {
                Ok(Outcome::Delivered { rejected, .. }) => Ok(rejected),
                Ok(Outcome::Failed(failure)) | Err(failure) => Err(failure.to_string()),
            };
            assert_eq!(found, expected.map_err(str::to_owned), "{why}");
        }
    }

    #[test]
    fn retryable_codes_are_exactly_those_of_otlp() {
        let again = Then::TryAgain { asked: None };
        for code in 1..=16 {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", HeaderValue::from(code));
            let expected =
                if [1, 4, 10, 11, 14, 15].contains(&code) { again } else { Then::GiveUp };
            let status = GrpcStatus::from_headers(&headers).unwrap();
            assert_eq!(then(status, "no room", &headers), expected, "{}", status.name());

            // RetryInfo of two seconds.
            let details = "GjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAI";
            headers.insert("grpc-status-details-bin", HeaderValue::from_static(details));
            let expected = if [1, 4, 8, 10, 11, 14, 15].contains(&code) {
                Then::TryAgain { asked: Some(Duration::from_secs(2)) }
            } else {
                Then::GiveUp
            };
            assert_eq!(then(status, "no room", &headers), expected, "{}", status.name());
        }
    }

    #[test]
    fn message_too_large_is_told_by_words_and_split() {
        const EXHAUSTED: &str = "8";
        const OUT_OF_RANGE: &str = "11";
        let again = Then::TryAgain { asked: None };
        let rows = [
            (
                OUT_OF_RANGE,
                "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
                Then::Split,
                "tonic",
            ),
            (
                EXHAUSTED,
                "Error decompressing: size limit, of 4 bytes, exceeded while decompressing message",
                Then::Split,
                "tonic, of a compressed message",
            ),
            (EXHAUSTED, "grpc: received message larger than max (5 vs. 4)", Then::Split, "Go"),
            (EXHAUSTED, "Received message larger than max (5 vs. 4)", Then::Split, "C, JavaScript"),
            (EXHAUSTED, "gRPC message exceeds maximum size 4: 5", Then::Split, "Java"),
            (
                EXHAUSTED,
                "Received message exceeds the maximum configured message size.",
                Then::Split,
                "C#",
            ),
            (EXHAUSTED, "quota exceeded: maximum rate", Then::GiveUp, "a quota is no size"),
            (EXHAUSTED, "", Then::GiveUp, "no words"),
            (OUT_OF_RANGE, "", again, "no words"),
            ("3", "message larger than max", Then::GiveUp, "another status"),
        ];
        for (code, message, expected, why) in rows {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", HeaderValue::from_static(code));
            let status = GrpcStatus::from_headers(&headers).unwrap();
            assert_eq!(then(status, message, &headers), expected, "{why}");
        }
    }

    #[test]
    fn a_timeout_is_told_in_eight_digits_and_a_unit() {
        let rows = [
            (Duration::from_secs(10), "10000000u"),
            (Duration::from_millis(1500), "1500000u"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(360_000_000), "100000H"),
            (Duration::MAX, "99999999H"),
            (Duration::ZERO, "0n"),
        ];
        for (timeout, expected) in rows {
            assert_eq!(grpc_timeout(timeout), expected);
        }
    }

    #[test]
    fn the_frame_head_holds_the_length() {
        assert_eq!(&frame_head(0, 0x01_02_03_04).unwrap()[..], &[0, 1, 2, 3, 4]);
        assert_eq!(&frame_head(1, 5).unwrap()[..], &[1, 0, 0, 0, 5]);
    }
}
