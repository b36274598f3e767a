//! What a span says, by the OpenTelemetry semantic conventions.
//!
//! [`http`] and [`grpc`] write attributes and name of one protocol each and judge how a request
//! ended; here stands what they share. Conventions v1.44.0; the HTTP ones are stable, the RPC
//! ones a release candidate.

pub(super) mod grpc;
pub(super) mod http;
pub(super) mod server_address;

use std::fmt;

use ::http::{HeaderMap, HeaderName, Method, StatusCode, Version, header};

pub(crate) use server_address::ServerAddress;

use super::cause::Cause;
use super::exchange::End;
pub(super) use super::head::RequestHead;
use super::layer::Side;
use crate::context::Network;
use crate::grpc_status::{self, GrpcStatus};
use crate::record::{Capture, SpanBuffer, is_sensitive};

/// What spans are to say, as far as it can be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) capture: &'a Capture,
    pub(super) server_address: Option<&'a ServerAddress>,
    pub(super) trusted_proxies: &'a [Network],
}

#[cfg(test)]
impl Default for Terms<'_> {
    fn default() -> Self {
        static CAPTURE: std::sync::LazyLock<Capture> = std::sync::LazyLock::new(Capture::default);
        Self { capture: &CAPTURE, server_address: None, trusted_proxies: &[] }
    }
}

/// Writes all values of a header that are text and no secrets, as one attribute.
fn push_header(
    span: &mut SpanBuffer,
    key: &str,
    headers: &HeaderMap,
    name: &HeaderName,
    capture: &Capture,
) {
    if is_sensitive(name) && !capture.shows_sensitive_headers() {
        return;
    }
    let values = || {
        let values = headers.get_all(name).into_iter();
        let values =
            values.filter(|value| capture.shows_sensitive_headers() || !value.is_sensitive());
        values.filter_map(|value| value.to_str().ok())
    };
    if values().next().is_some() {
        // A name may be given twice, and the application may have written the attribute.
        span.remove(key);
        span.push_peer_strs(key, values);
    }
}

/// The protocol that a request speaks, seen from its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

/// How an exchange went: what its span and its metrics say alike.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    /// Of HTTP; of a client's request, that which it was answered in. Absent for gRPC, which has
    /// only one.
    pub(super) version: Option<Version>,
    /// What the client was told; absent when it was told nothing.
    pub(super) code: Option<Code>,
    pub(super) verdict: Verdict<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Http(StatusCode),
    Grpc(GrpcStatus),
}

/// Whether that was an error.
#[derive(Debug, Default)]
pub(super) struct Verdict<'a> {
    /// Present exactly when the span's status is an error.
    pub(super) error_type: Option<&'a str>,
    /// What happened, where `error_type` does not say it all.
    pub(super) description: Description<'a>,
}

/// The text of an error, not written yet: only a span wants it.
#[derive(Clone, Copy, Default)]
pub(super) enum Description<'a> {
    #[default]
    None,
    /// What the error says, whose `Display` is the user's.
    Error(Cause<'a>),
    /// The `grpc-message` of trailers.
    Message(&'a HeaderMap),
}

/// What is to be said of an exchange that ended so, after `status` if a head has come.
pub(super) fn outcome<'a>(
    side: Side,
    protocol: Protocol,
    version: Option<Version>,
    status: Option<&'a StatusCode>,
    end: End<'a>,
) -> Outcome<'a> {
    match protocol {
        Protocol::Http => {
            let verdict = match side {
                Side::Server => http::verdict(status, end),
                Side::Client => http::client::verdict(status, end),
            };
            Outcome { version, code: status.copied().map(Code::Http), verdict }
        }
        Protocol::Grpc => {
            let http = status.copied();
            let (status, verdict) = match side {
                Side::Server => {
                    let status = grpc::status(http, end);
                    (status, grpc::verdict(status, end))
                }
                Side::Client => {
                    let status = grpc::client::status(http, end);
                    (status, grpc::client::verdict(status, end))
                }
            };
            Outcome { version: None, code: Some(Code::Grpc(status)), verdict }
        }
    }
}

impl<'a> Verdict<'a> {
    fn error(error_type: &'a str) -> Self {
        Self::described(error_type, Description::None)
    }

    fn described(error_type: &'a str, description: Description<'a>) -> Self {
        Self { error_type: Some(error_type), description }
    }
}

impl Description<'_> {
    pub(super) fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Error(cause) => cause.text(),
            Self::Message(trailers) => grpc_status::message(trailers).into_owned(),
        }
    }
}

impl fmt::Debug for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Error(_) => "Error",
            Self::Message(_) => "Message",
        })
    }
}

impl Protocol {
    /// A POST of `application/grpc` or a subtype is gRPC. `application/grpc-web` is not: its
    /// trailers are in the body, where only a translating layer reads them.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        if method != Method::POST {
            return Self::Http;
        }
        let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
        match content_type.and_then(|value| value.strip_prefix(b"application/grpc")) {
            Some([] | [b'+' | b';' | b' ', ..]) => Self::Grpc,
            _ => Self::Http,
        }
    }
}

/// `error.type` of ends that have no status code of their own, for HTTP and gRPC: with those of
/// [`Failure`](super::cause::Failure), which only clients have, a small set, as the conventions ask.
pub(super) mod error_type {
    /// The client went away, or something outside gave the request up, before the response was
    /// complete. Only of a server: a client's own wish is no error.
    pub(in crate::trace) const CANCELLED: &str = "cancelled";
    /// The service panicked.
    pub(in crate::trace) const PANIC: &str = "panic";
    /// The service answered with an error instead of a response.
    pub(in crate::trace) const SERVICE: &str = "service_error";
    /// The response body ended in an error.
    pub(in crate::trace) const BODY: &str = "body_error";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_seen_from_the_content_type() {
        let rows = [
            ("application/grpc", Protocol::Grpc, "plain"),
            ("application/grpc+proto", Protocol::Grpc, "with a message format"),
            ("application/grpc;charset=utf-8", Protocol::Grpc, "with a parameter"),
            ("application/grpc-web", Protocol::Http, "has no trailers"),
            ("application/grpc-web+proto", Protocol::Http, "has no trailers"),
            ("application/grpcfoo", Protocol::Http, "another type"),
            ("application/json", Protocol::Http, "another type"),
            ("", Protocol::Http, "empty"),
        ];
        for (content_type, expected, why) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            assert_eq!(Protocol::of(&Method::POST, &headers), expected, "{content_type}: {why}");
        }
        assert_eq!(Protocol::of(&Method::POST, &HeaderMap::new()), Protocol::Http);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/grpc".parse().unwrap());
        assert_eq!(Protocol::of(&Method::GET, &headers), Protocol::Http, "gRPC is always POST");
    }
}
