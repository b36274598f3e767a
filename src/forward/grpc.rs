//! [`GrpcForwarder`]: OTLP's `TraceService`, framed here.
//!
//! A unary call is one POST whose body is a head of five bytes and a message, so nothing of tonic
//! is needed to read it, and nothing takes the length that the head claims for granted.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::time::timeout;
use tower_service::Service;

use super::answer::{AnswerBody, AnswerFuture, Taken, status_protobuf};
use super::receive;
use super::refusal::Refusal;
use super::settings::{Admitted, Settings};
use super::tally::Counted;

/// Takes spans by OTLP/gRPC. Made by [`SpanForwarder::grpc`](super::SpanForwarder::grpc).
///
/// Always ready: what is too much is refused, and does not wait.
#[derive(Clone, Debug)]
pub struct GrpcForwarder {
    settings: Arc<Settings>,
}

impl GrpcForwarder {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }
}

impl<B> Service<Request<B>> for GrpcForwarder
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = AnswerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AnswerFuture {
        let settings = Arc::clone(&self.settings);
        AnswerFuture::new(async move {
            let mut counted = settings.count();
            let (parts, body) = request.into_parts();
            match serve(&settings, &mut counted, &parts, body).await {
                Ok(taken) => success(&taken),
                Err(refusal) => failure(&refusal),
            }
        })
    }
}

#[cfg(feature = "tonic")]
impl tonic::server::NamedService for GrpcForwarder {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

async fn serve<B: Body>(
    settings: &Settings,
    counted: &mut Counted<'_>,
    parts: &Parts,
    body: B,
) -> Result<Taken, Refusal> {
    let compression = settings.check(counted, || {
        if parts.method != Method::POST {
            return Err(Refusal::NotPost);
        }
        if !is_grpc(&parts.headers) {
            return Err(Refusal::MediaType);
        }
        if parts.uri.path() != EXPORT {
            return Err(Refusal::Method);
        }
        compression(&parts.headers)
    })?;
    let admitted = settings.admit(counted, parts)?;
    let received = receive(&admitted, body, compression).await;
    let received = admitted.or_refuse(counted, received)?;
    settings.take(counted, &admitted, received).await
}

async fn receive<B: Body>(
    admitted: &Admitted,
    body: B,
    compression: Compression,
) -> Result<receive::Received, Refusal> {
    let time = admitted.visit.limits().receive_time;
    let visit = &admitted.visit;
    let received = timeout(time, async {
        let message = receive::message(body, visit).await?;
        match (message.is_compressed, compression) {
            (false, _) => Ok(message.bytes),
            (true, Compression::Gzip) => receive::gunzip(&message.bytes, visit).await,
            (true, Compression::Identity) => Err(Refusal::Invalid(
                "the message is compressed, and grpc-encoding says it is not".into(),
            )),
        }
    });
    received.await.map_err(|_| Refusal::TimedOut(time))?
}

/// How a message is compressed that says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Identity,
    Gzip,
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
    let essence = text[..end].trim_ascii();
    [&b"application/grpc"[..], b"application/grpc+proto"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

fn compression(headers: &HeaderMap) -> Result<Compression, Refusal> {
    match headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(Compression::Identity),
        Some(b"gzip") => Ok(Compression::Gzip),
        Some(_) => Err(Refusal::Encoding),
    }
}

fn success(taken: &Taken) -> Response<AnswerBody> {
    let message = taken.to_protobuf();
    // No longer than a sentence.
    let len = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let frame = [&[0][..], &len, &message].concat();
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    respond(AnswerBody::new(frame, Some(trailers)))
}

/// A response that has its status in the head, and no messages.
fn failure(refusal: &Refusal) -> Response<AnswerBody> {
    let mut response = respond(AnswerBody::new("", None));
    match refusal {
        // It is not known whether whoever asks speaks gRPC at all (gRPC over HTTP2, "Requests").
        Refusal::MediaType | Refusal::NotPost => {
            *response.status_mut() = refusal.status();
            if *refusal == Refusal::NotPost {
                let allow = HeaderValue::from_static("POST");
                response.headers_mut().insert(header::ALLOW, allow);
            }
        }
        _ => *response.status_mut() = StatusCode::OK,
    }
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(refusal.code())));
    let words = refusal.words();
    let message = utf8_percent_encode(&words, RESERVED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert("grpc-message", message);
    }
    if refusal.retry_after().is_some() {
        let details = BASE64_STANDARD_NO_PAD.encode(status_protobuf(refusal));
        if let Ok(details) = HeaderValue::try_from(details) {
            headers.insert("grpc-status-details-bin", details);
        }
    }
    response
}

fn respond(body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
    response
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC_ENCODING: &str = "grpc-encoding";
const GRPC_STATUS: &str = "grpc-status";
/// What cannot stand in `grpc-message` as it is, beside all that is not ASCII (gRPC over HTTP2,
/// "Responses").
const RESERVED: &AsciiSet = &CONTROLS.add(b'%');
