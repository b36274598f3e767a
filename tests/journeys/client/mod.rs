//! Requests that leave: by clients of hyper, tonic and reqwest, to servers on loopback sockets.

mod grpc;
mod http;

use ::http::{HeaderMap, Version};
use axum::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower_otlp::TraceContext;

/// hyper-util's client of this version.
fn legacy(version: Version) -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http()
}

/// What a server was told, as `TraceContext` reads it: strictly, so a doubled header is none.
fn told(headers: &HeaderMap) -> TraceContext {
    TraceContext::from_headers(headers).expect("exactly one traceparent")
}
