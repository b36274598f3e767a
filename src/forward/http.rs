//! [`HttpForwarder`]: OTLP/HTTP.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tokio::time::timeout;
use tower_http::decompression::RequestDecompression;
use tower_service::Service;

use super::answer::{AnswerBody, AnswerFuture, Taken, status_json, status_protobuf};
use super::receive::{self, Received};
use super::refusal::Refusal;
use super::settings::{Admitted, Settings};
use super::tally::Counted;
use crate::record::incoming;

/// Takes spans by OTLP/HTTP. Made by [`SpanForwarder::http`](super::SpanForwarder::http).
///
/// Any path is taken for that of spans: which one it is, the router says that it is mounted in.
/// Always ready: what is too much is refused, and does not wait.
#[derive(Clone, Debug)]
pub struct HttpForwarder {
    endpoint: RequestDecompression<Endpoint>,
}

/// Serves what is decompressed.
#[derive(Clone, Debug)]
struct Endpoint {
    settings: Arc<Settings>,
}

type BoxError = Box<dyn Error + Send + Sync>;
type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl HttpForwarder {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        // What is not gzip is passed on, to be refused in words: also where another crate has
        // tower-http know more.
        let endpoint = RequestDecompression::new(Endpoint { settings })
            .no_br()
            .no_deflate()
            .no_zstd()
            .pass_through_unaccepted(true);
        Self { endpoint }
    }
}

impl<B> Service<Request<B>> for HttpForwarder
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = AnswerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AnswerFuture {
        let most = self.endpoint.get_ref().settings.limits().message_bytes;
        let answer = self.endpoint.call(request.map(|body| Limited::new(body, most)));
        AnswerFuture::new(async {
            let Ok(answer) = answer.await;
            let (parts, body) = answer.into_parts();
            // It is one piece, and there already; tower-http has only put it into a box.
            let body = body.collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            Response::from_parts(parts, AnswerBody::new(body, None))
        })
    }
}

impl<B> Service<Request<B>> for Endpoint
where
    B: Body<Error = BoxError> + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answering<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            let mut counted = settings.count();
            let (parts, body) = request.into_parts();
            let format = Format::of(&parts.headers);
            Ok(match serve(&settings, &mut counted, &parts, format, body).await {
                Ok((taken, format)) => format.success(&taken),
                // What nobody has understood, somebody will have to read.
                Err(refusal) => format.unwrap_or(Format::Json).failure(&refusal),
            })
        })
    }
}

async fn serve<B: Body<Error = BoxError>>(
    settings: &Settings,
    counted: &mut Counted<'_>,
    parts: &Parts,
    format: Option<Format>,
    body: B,
) -> Result<(Taken, Format), Refusal> {
    let format = settings.check(counted, || {
        if parts.method != Method::POST {
            return Err(Refusal::NotPost);
        }
        let format = format.ok_or(Refusal::MediaType)?;
        match parts.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Ok(format),
            Some(_) => Err(Refusal::Encoding),
        }
    })?;
    let admitted = settings.admit(counted, parts)?;
    let received = receive(&admitted, body, format).await;
    let received = admitted.or_refuse(counted, received)?;
    Ok((settings.take(counted, &admitted, received).await?, format))
}

async fn receive<B: Body<Error = BoxError>>(
    admitted: &Admitted,
    body: B,
    format: Format,
) -> Result<Received, Refusal> {
    let limits = admitted.visit.limits();
    let mut is_limited = false;
    let body = body.map_err(|error| is_limited = is_about_length(&*error));
    let received = timeout(limits.receive_time, receive::body(body, &admitted.visit)).await;
    let received = received.map_err(|_| Refusal::TimedOut(limits.receive_time))?;
    // Compressed it is longer already than it may be decompressed.
    let received = match received {
        Err(_) if is_limited => Err(receive::too_large(limits.message_bytes)),
        received => received,
    }?;
    match format {
        Format::Protobuf => Ok(received),
        Format::Json => {
            let json = received.bytes();
            // And as much for strings with escapes, which are put together aside.
            Received::made(&admitted.visit, 2 * incoming::most_of_json(json), || {
                incoming::from_json(json)
                    .map_err(|error| Refusal::Invalid(error.to_string().into()))
            })
        }
    }
}

/// How a request is written, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

impl Format {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = text.split_once(';').map_or(text, |(essence, _)| essence).trim();
        [Self::Protobuf, Self::Json]
            .into_iter()
            .find(|format| essence.eq_ignore_ascii_case(format.media_type()))
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn success(self, taken: &Taken) -> Response<Full<Bytes>> {
        self.respond(match self {
            Self::Protobuf => taken.to_protobuf(),
            Self::Json => taken.to_json().into_bytes(),
        })
    }

    fn failure(self, refusal: &Refusal) -> Response<Full<Bytes>> {
        let mut response = self.respond(match self {
            Self::Protobuf => status_protobuf(refusal),
            Self::Json => status_json(refusal).into_bytes(),
        });
        *response.status_mut() = refusal.status();
        let headers = response.headers_mut();
        match refusal {
            Refusal::NotPost => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Refusal::Encoding => {
                let gzip = HeaderValue::from_static("gzip, identity");
                headers.insert(header::ACCEPT_ENCODING, gzip);
            }
            _ => {}
        }
        if let Some(delay) = refusal.retry_after() {
            // Whole seconds: not before there is room.
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn respond(self, body: Vec<u8>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(body));
        let media_type = HeaderValue::from_static(self.media_type());
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    }
}

/// Whether it says that a body is longer than it may be, however deep down.
fn is_about_length(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(found) = error {
        if found.is::<LengthLimitError>() {
            return true;
        }
        // The source of an error of `std::io` is that of the error in it.
        let within = found.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error = match within {
            Some(within) => Some(within),
            None => found.source(),
        };
    }
    false
}
