//! Requests that leave: by clients of hyper, tonic and reqwest, to servers on loopback sockets.

mod composition;
mod failures;
mod grpc;
mod http;
#[cfg(feature = "metrics")]
mod metrics;
mod parents;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod tls;

use std::net::SocketAddr;

use ::http::{HeaderMap, Request, Response, Version};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tower_otlp::TraceContext;

use crate::support::spans::PATIENCE;

/// hyper-util's client of this version.
fn legacy(version: Version) -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http()
}

/// A GET by an absolute URI.
fn get(address: SocketAddr, path: &str) -> Request<Body> {
    Request::get(format!("http://{address}{path}")).body(Body::empty()).unwrap()
}

/// Reads a response to its end. A test whose response never ends fails; it does not hang.
async fn read<B: http_body::Body>(response: Response<B>) -> Result<Bytes, B::Error> {
    let body = timeout(PATIENCE, response.into_body().collect()).await;
    Ok(body.expect("the response should have ended by now")?.to_bytes())
}

/// What a server was told, as `TraceContext` reads it: strictly, so a doubled header is none.
fn told(headers: &HeaderMap) -> TraceContext {
    TraceContext::from_headers(headers).expect("exactly one traceparent")
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    // Bound and not listening, for as long as the tests run: no other test is given its port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Box::leak(Box::new(socket)).local_addr().unwrap()
}
