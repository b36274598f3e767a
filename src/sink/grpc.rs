//! OTLP/gRPC: a unary call over HTTP/2, framed here.
//!
//! The call is one POST with a five-byte frame head, and its status is read by the function that
//! the middleware uses, so a hostile answer can at worst be a failure.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};

use super::compress::Compressor;
use super::error::SinkError;
use super::exchange::{
    Answer, HttpClient, Pieces, USER_AGENT, Version, client, exchange, quote, scheme,
};
use super::headers::Headers;
use super::options::ExportOptions;
use super::{partial, proxy};
use crate::grpc_status::{self, GrpcStatus};
use crate::pipeline::{Batch, Failure, Outcome, Sink};

/// Exports to the OTLP `TraceService` of a collector.
#[derive(Debug)]
pub(crate) struct GrpcSink {
    client: HttpClient,
    uri: Uri,
    headers: Headers,
    compressor: Compressor,
    target: String,
}

impl GrpcSink {
    /// `authority` is `host:port`; `target` is the URL as the operator wrote it.
    ///
    /// # Errors
    ///
    /// When `authority` cannot be part of a URI, or TLS or the Unix domain socket cannot be used.
    pub(crate) fn new(
        authority: &str,
        options: &ExportOptions,
        target: String,
    ) -> Result<Self, SinkError> {
        let uri = Uri::builder().scheme(scheme(options)).authority(authority);
        let uri = uri.path_and_query(EXPORT).build()?;
        let protocol = [(header::CONTENT_TYPE, "application/grpc"), (header::TE, "trailers")];
        Ok(Self {
            client: client(Version::Http2, uri.host().unwrap_or_default(), options)?,
            uri,
            headers: Headers::new(options, USER_AGENT, &protocol),
            compressor: Compressor::new(options.compression),
            target,
        })
    }

    async fn call(&self, batch: &Batch) -> Result<Outcome, Failure> {
        let message = batch.request();
        let Some(compressed) = self.compressor.gzip(&message).await else {
            return read(&self.send(0, message).await?);
        };
        let answer = self.send(1, VecDeque::from([compressed])).await?;
        if grpc_status_of(&answer).is_none_or(|(status, _)| status != GrpcStatus::UNIMPLEMENTED) {
            return read(&answer);
        }
        // Of the compression, or of the service as a whole.
        let outcome = read(&self.send(0, message).await?)?;
        self.compressor.is_not_understood(&self.target);
        Ok(outcome)
    }

    /// `compressed` is the flag in the head of a gRPC message.
    async fn send(&self, compressed: u8, mut message: VecDeque<Bytes>) -> Result<Answer, Failure> {
        let len = message.iter().map(Bytes::len).sum();
        message.push_front(frame_head(compressed, len)?);
        let mut request = Request::new(Pieces::new(message));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.get(&self.target).await;
        if compressed == 1 {
            request.headers_mut().insert("grpc-encoding", HeaderValue::from_static("gzip"));
        }
        exchange(&self.client, request).await
    }
}

impl Sink for GrpcSink {
    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        Box::pin(async { self.call(batch).await.unwrap_or_else(Outcome::Failed) })
    }

    fn target(&self) -> &str {
        &self.target
    }
}

/// The head of a gRPC message.
fn frame_head(compressed: u8, len: usize) -> Result<Bytes, Failure> {
    let len = u32::try_from(len).map_err(|_| Failure("the request is above 4 GiB".to_owned()))?;
    let mut head = vec![compressed; 5];
    head[1..].copy_from_slice(&len.to_be_bytes());
    Ok(head.into())
}

/// The status, and the headers that it stands in.
fn grpc_status_of(answer: &Answer) -> Option<(GrpcStatus, &HeaderMap)> {
    // That of a call without messages stands in the head.
    let told = [answer.trailers.as_ref(), Some(&answer.headers)];
    told.into_iter()
        .flatten()
        .find_map(|headers| GrpcStatus::from_headers(headers).map(|status| (status, headers)))
}

fn read(answer: &Answer) -> Result<Outcome, Failure> {
    let Some((status, headers)) = grpc_status_of(answer) else {
        return Err(Failure(if answer.status == StatusCode::OK {
            "the answer has no grpc-status: is this an OTLP/gRPC port?".to_owned()
        } else {
            let reason = proxy::tls_words(answer).unwrap_or("is this an OTLP/gRPC port?");
            format!("answered HTTP {}: {reason}", answer.status)
        }));
    };
    if status != GrpcStatus::OK {
        let message = quote(&grpc_status::message(headers));
        return Err(Failure(format!("refused with {}: {message}", status.name())));
    }
    let response = match &answer.body[..] {
        [] => &[][..],
        [0, a, b, c, d, message @ ..]
            if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() =>
        {
            message
        }
        _ => return Err(Failure("the answer is not one uncompressed gRPC message".to_owned())),
    };
    partial::outcome(response).map_err(|error| Failure(format!("the answer is {error}")))
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

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
    fn the_frame_head_holds_the_length() {
        assert_eq!(&frame_head(0, 0x01_02_03_04).unwrap()[..], &[0, 1, 2, 3, 4]);
        assert_eq!(&frame_head(1, 5).unwrap()[..], &[1, 0, 0, 0, 5]);
    }
}
