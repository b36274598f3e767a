//! While the request lives: the middleware.
//!
//! [`TraceLayer::server`] wraps any tower service over `http::Request`, HTTP or gRPC (told apart
//! by the content type), and records one `SERVER` span for each request that is
//! [sampled](crate::SamplingRate).
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, routing::get};
//! use tower_otlp::{TraceLayer, TracingService};
//!
//! let (tracing, _spans) = TracingService::in_memory();
//! let app: Router = Router::new()
//!     .route("/users/{id}", get(|| async { "hello" }))
//!     .layer(TraceLayer::server(&tracing));
//! # }
//! ```
//!
//! # Where to put the layer
//!
//! Outermost, so that the span covers everything that is done for the request. With axum use
//! `Router::layer`: there the matched route is known, and it becomes `http.route` and part of the
//! span's name. A layer around the whole router sees requests before they are routed, and names
//! its spans by the method alone. With tonic use `Server::layer`, or wrap one service: the layered
//! service keeps its gRPC name.
//!
//! The layer asks little: the response body is a `Body`, and the errors of body and service can be
//! displayed. It boxes nothing, and `Clone`, `Send` and `'static` are the inner service's own.
//!
//! # When a span ends
//!
//! When the response has ended, and exactly once:
//!
//! | what happens | HTTP status, `error.type` | gRPC status, `error.type` |
//! |---|---|---|
//! | last frame of the body | the response's; from 500 on the code is the `error.type`, however it ends | – |
//! | trailers, or a head with `grpc-status` | as above | the one told; of server faults the name is the `error.type` |
//! | no body: HEAD, 1xx, 204, 304, 2xx to CONNECT | as above, at the head | – |
//! | the end, without `grpc-status` | – | by the HTTP status, 200 is `UNKNOWN` |
//! | an error of the response body | error, `body_error` | `UNKNOWN` |
//! | an error of the service | error, `service_error` | `UNKNOWN` |
//! | the body or the future is dropped | error, `cancelled` | `CANCELLED`, no error of the server |
//! | a panic, caught or not | error, `panic` | `UNKNOWN`, `panic` |
//!
//! 4xx, and the gRPC codes that are a client's fault, leave the status of a server span unset.
//!
//! # What the service sees
//!
//! While the service and its response body run, the span stands in the OpenTelemetry `Context`:
//! `Context::current().span()` takes attributes, events, links, a status or another name until the
//! span ends, and is inert afterwards. Its `end()` does nothing. Spans made by an OpenTelemetry
//! tracer become its children. Of a request that is not recorded the context stands there all the
//! same, so its children are not recorded either, and what the service sends on belongs to the
//! same trace.
//!
//! The response to a sampled request has the span's [`TraceContext`](crate::TraceContext) in its
//! extensions and names its ids in a [header](crate::ResponseHeader).
//!
//! # What is never traced
//!
//! Requests that bring spans: `POST /v1/traces` and the OTLP `TraceService`.

mod body;
mod decision;
mod future;
mod handle;
mod layer;
mod observation;
mod pool;
mod semconv;
mod service;
mod span;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use layer::TraceLayer;
pub(crate) use layer::{Recording, Settings};
pub use service::Trace;

/// The version of the semantic conventions that the attributes' names are from.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
