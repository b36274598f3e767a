//! A sink for spans, over OTLP/gRPC and OTLP/HTTP: it reads everything and keeps nothing.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use crate::machine::{self, Cpu};

/// Serves until nobody holds the standard input of this process any more, and answers after this
/// time.
pub(crate) fn run(delay: Duration) {
    machine::stay_on(Cpu::Last);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    runtime.block_on(serve(listener, delay));
}

async fn serve(listener: TcpListener, delay: Duration) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let service = service_fn(move |request| answer(request, delay));
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    delay: Duration,
) -> Result<Response<Success>, Infallible> {
    let (head, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let kind = head.headers.get("content-type").cloned();
    let is_grpc =
        kind.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let mut response = Response::new(if is_grpc { Success::Message } else { Success::Sent });
    if let Some(kind) = kind {
        response.headers_mut().insert("content-type", kind);
    }
    Ok(response)
}

/// An empty message, and trailers that say that all is well.
enum Success {
    Message,
    Trailers,
    /// An empty message without any frame around it is nothing.
    Sent,
}

impl Body for Success {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (frame, next) = match *self {
            Self::Message => (Frame::data(Bytes::from_static(&[0; 5])), Self::Trailers),
            Self::Trailers => {
                let status =
                    ("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"));
                (Frame::trailers(HeaderMap::from_iter([status])), Self::Sent)
            }
            Self::Sent => return Poll::Ready(None),
        };
        *self = next;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Sent)
    }
}
