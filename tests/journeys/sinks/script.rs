//! What a collector does with a request, good or hostile.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;

/// What a [`Collector`](super::collector::Collector) does with every request, until it is told
/// something else.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Takes all spans.
    Ok,
    /// Takes all spans but so many, with a message.
    Partial(i64, &'static str),
    /// Takes all spans, but does not understand gzip.
    PlainOnly,
    /// Takes requests of so many bytes, and answers larger ones as written here.
    UpTo(usize, Box<Answer>),
    /// Answers as written here, for so many requests, and then takes all spans.
    First(usize, Box<Answer>),
    /// Answers as written here, whatever was asked.
    Answer(Box<Answer>),
    /// Reads the request and leaves it without an answer until the script changes; then answers
    /// by the new one.
    Silence,
    /// Does not speak HTTP at all: what a connection is sent, byte by byte.
    Wire(Wire),
}

/// A well-formed HTTP response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Repeated after the body for as long as the client reads, when not empty.
    pub(crate) endless: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// The bytes of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) after: After,
    pub(crate) bytes: Vec<u8>,
    /// Repeated after the bytes for as long as the client reads, when not empty.
    pub(crate) endless: Vec<u8>,
    pub(crate) end: End,
}

/// What a [`Wire`] waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum After {
    Accept,
    Request,
}

/// How a [`Wire`] ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Close,
    Reset,
    /// Keeps the connection and says nothing more.
    Hold,
}

impl Answer {
    /// A response without headers and body.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            endless: Bytes::new(),
            trailers: HeaderMap::new(),
        }
    }

    /// An empty message and this `grpc-status` in the trailers.
    pub(crate) fn grpc(status: &'static str) -> Self {
        Self::new(200)
            .header("content-type", "application/grpc")
            .body(message(0, b""))
            .trailer("grpc-status", status)
    }

    /// Protobuf with this status.
    pub(crate) fn protobuf(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).header("content-type", "application/x-protobuf").body(body)
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = HeaderValue::try_from(value.into()).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub(crate) fn endless(self, piece: impl Into<Bytes>) -> Self {
        Self { endless: piece.into(), ..self }
    }

    pub(crate) fn trailer(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = HeaderValue::try_from(value.into()).unwrap();
        self.trailers.append(HeaderName::from_static(name), value);
        self
    }
}

impl From<Answer> for Script {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

impl Wire {
    /// Sends these bytes once a request has come, and closes the connection.
    pub(crate) fn after_request(bytes: impl Into<Vec<u8>>) -> Self {
        Self { after: After::Request, bytes: bytes.into(), endless: Vec::new(), end: End::Close }
    }

    /// Sends these bytes before any have come, and closes the connection.
    pub(crate) fn on_accept(bytes: impl Into<Vec<u8>>) -> Self {
        Self { after: After::Accept, ..Self::after_request(bytes) }
    }

    pub(crate) fn endless(self, piece: impl Into<Vec<u8>>) -> Self {
        Self { endless: piece.into(), ..self }
    }

    /// Ends the connection with a TCP reset.
    pub(crate) fn reset(self) -> Self {
        Self { end: End::Reset, ..self }
    }

    /// Does not end the connection.
    pub(crate) fn hold(self) -> Self {
        Self { end: End::Hold, ..self }
    }
}

impl From<Wire> for Script {
    fn from(wire: Wire) -> Self {
        Self::Wire(wire)
    }
}

/// A gRPC message behind its head.
pub(crate) fn message(compressed: u8, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap();
    [&[compressed][..], &len.to_be_bytes(), message].concat()
}

/// What a collector answers that takes all spans but so many.
pub(crate) fn partial(rejected_spans: i64, error_message: &str) -> Vec<u8> {
    let partial_success =
        ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() };
    ExportTraceServiceResponse { partial_success: Some(partial_success) }.encode_to_vec()
}

/// Frames of HTTP/2 (RFC 9113), for what no HTTP/2 library would send.
pub(crate) mod h2 {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const CONTINUATION: u8 = 9;

    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;

    /// `:status: 200`, an entry of HPACK's static table.
    pub(crate) const OK: &[u8] = &[0x88];

    pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The empty SETTINGS that every server begins with, and then these frames.
    pub(crate) fn server(frames: &[Vec<u8>]) -> Vec<u8> {
        [frame(SETTINGS, 0, 0, b""), frames.concat()].concat()
    }

    /// A header field that HPACK does not keep. Name and value are shorter than 127 bytes.
    pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
        let len = |text: &str| u8::try_from(text.len()).ok().filter(|&len| len < 127).unwrap();
        [&[0, len(name)], name.as_bytes(), &[len(value)], value.as_bytes()].concat()
    }
}
