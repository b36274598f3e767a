//! OTLP/HTTP: a POST of protobuf.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};

use super::answer::{Answer, Pieces, USER_AGENT, quote};
use super::compress::Compressor;
use super::error::SinkError;
use super::exchange::{HttpClient, Version, client, exchange, scheme};
use super::headers::{Headers, put_via};
use super::options::ExportOptions;
use super::{delay, partial, proxy};
use crate::pipeline::{Batch, Failure, Outcome, Sink};
use crate::record::walk::{Fields, Value};

/// Exports to the traces URL of a collector.
#[derive(Debug)]
pub(crate) struct HttpSink {
    client: HttpClient,
    uri: Uri,
    headers: Headers,
    compressor: Compressor,
    target: String,
}

impl HttpSink {
    /// `authority` is `host:port`, `path` where to POST; `target` is the URL as the operator
    /// wrote it.
    ///
    /// # Errors
    ///
    /// When the parts make no URI, or TLS or the Unix domain socket cannot be used.
    pub(crate) fn new(
        authority: &str,
        path: &str,
        options: &ExportOptions,
        target: String,
    ) -> Result<Self, SinkError> {
        let uri = Uri::builder().scheme(scheme(options)).authority(authority);
        let uri = uri.path_and_query(path).build()?;

        Ok(Self {
            client: client(Version::Http1, &uri, options)?,
            uri,
            headers: Headers::new(
                &options.requests,
                USER_AGENT,
                &[(header::CONTENT_TYPE, PROTOBUF)],
            ),
            compressor: Compressor::new(options.compression),
            target,
        })
    }

    async fn post(&self, batch: &Batch) -> Result<Outcome, Failure> {
        let body = batch.request();
        let Some(compressed) = self.compressor.gzip(&body).await else {
            return read(&self.send(None, body, batch).await?);
        };
        let answer = self.send(Some("gzip"), VecDeque::from([compressed]), batch).await?;
        if answer.status != StatusCode::UNSUPPORTED_MEDIA_TYPE {
            return read(&answer);
        }
        // Of the encoding, or of protobuf.
        let outcome = read(&self.send(None, body, batch).await?)?;
        self.compressor.is_not_understood(&self.target);
        Ok(outcome)
    }

    async fn send(
        &self,
        encoding: Option<&'static str>,
        body: VecDeque<Bytes>,
        batch: &Batch,
    ) -> Result<Answer, Failure> {
        let mut request = Request::new(Pieces::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.get(&self.target).await;
        put_via(request.headers_mut(), batch.via());
        if let Some(encoding) = encoding {
            let encoding = HeaderValue::from_static(encoding);
            request.headers_mut().insert(header::CONTENT_ENCODING, encoding);
        }
        exchange(&self.client, request).await
    }
}

impl Sink for HttpSink {
    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        Box::pin(async { self.post(batch).await.unwrap_or_else(Outcome::Failed) })
    }

    fn target(&self) -> &str {
        &self.target
    }
}

fn read(answer: &Answer) -> Result<Outcome, Failure> {
    let content_type = answer.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = content_type.unwrap_or_default();
    let is = |media_type: &str| {
        content_type
            .get(..media_type.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(media_type.as_bytes()))
    };
    // OTLP's success is 200. Other kinds of it are success, too: whoever says 202 has the spans.
    if !answer.status.is_success() {
        let refusal = proxy::tls_refusal(answer).filter(|_| !is(PROTOBUF));
        let message = match refusal {
            Some((words, _)) => words.to_owned(),
            None if is(PROTOBUF) => status_message(&answer.body),
            None => String::new(),
        };
        let reason = if message.is_empty() {
            format!("answered HTTP {}", answer.status)
        } else {
            format!("answered HTTP {}: {message}", answer.status)
        };
        let then =
            refusal.map_or_else(|| delay::then(answer.status, &answer.headers), |(_, then)| then);
        return Err(Failure { reason, then });
    }
    if answer.body.is_empty() {
        return Ok(Outcome::DELIVERED);
    }
    if is(PROTOBUF) {
        return partial::outcome(&answer.body)
            .map_err(|error| Failure::for_good(format!("the answer is {error}")));
    }
    let said = |text: &[u8]| quote(&String::from_utf8_lossy(text));
    if is("application/json") {
        // Nobody asked for JSON. What is more than nothing is passed on to whoever reads the log.
        let message = if answer.body == b"{}" { String::new() } else { said(&answer.body) };
        return Ok(Outcome::Delivered { rejected: 0, message });
    }
    let reason = format!("answered with {}: is this an OTLP/HTTP port?", said(content_type));
    Err(Failure::for_good(reason))
}

/// The message of a `google.rpc.Status`, as far as it is one.
fn status_message(status: &[u8]) -> String {
    let message = Fields::new(status).find_map(|field| match field {
        Ok((2, Value::Bytes(message))) => Some(message),
        _ => None,
    });
    quote(&String::from_utf8_lossy(message.unwrap_or_default()))
}

const PROTOBUF: &str = "application/x-protobuf";

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn an_answer_is_success_only_if_it_says_so() {
        type Row<'a> = (u16, &'static str, &'a [u8], Result<u64, &'a str>, &'a str);
        let rows: [Row<'_>; 13] = [
            (200, PROTOBUF, b"", Ok(0), "full success"),
            (200, PROTOBUF, b"\x0a\x02\x08\x03", Ok(3), "partial success"),
            (200, "Application/X-Protobuf", b"\x0a\x02\x08\x03", Ok(3), "types have no case"),
            (200, "application/json", b"{}", Ok(0), "success, in JSON that nobody asked for"),
            (200, "", b"", Ok(0), "success without a content type"),
            (200, "text/plain", b"", Ok(0), "nothing, of some type"),
            (
                200,
                "text/html",
                b"<html>",
                Err("answered with text/html: is this an OTLP/HTTP port?"),
                "a web server that answers everything",
            ),
            (200, PROTOBUF, b"\x0b", Err("the answer is not a valid protobuf message"), "garbage"),
            (202, "", b"", Ok(0), "accepted is success, too"),
            (204, "", b"", Ok(0), "and so is no content"),
            (302, "text/html", b"", Err("answered HTTP 302 Found"), "redirects are not followed"),
            (
                400,
                PROTOBUF,
                b"\x08\x03\x12\x03bad",
                Err("answered HTTP 400 Bad Request: bad"),
                "an error in its own words",
            ),
            (503, PROTOBUF, b"\xff", Err("answered HTTP 503 Service Unavailable"), "garbage"),
        ];
        for (status, content_type, body, expected, why) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: body.to_vec(),
                trailers: None,
            };
            let found = match read(&answer) {
                Ok(Outcome::Delivered { rejected, .. }) => Ok(rejected),
                Ok(Outcome::Failed(failure)) | Err(failure) => Err(failure.to_string()),
            };
            assert_eq!(found, expected.map_err(str::to_owned), "{why}");
        }
    }
}
