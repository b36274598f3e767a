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
//! Outermost, so that the span covers everything that is done for the request. With axum that is
//! the layer added last, by `Router::layer`: there the matched route is known, and it becomes
//! `http.route` and part of the span's name. Routes added after it are not traced. A layer around
//! the whole router sees requests before they are routed, and names its spans by the method alone.
//! With tonic use `Server::layer`, or wrap one service: the layered service keeps its gRPC name.
//!
//! The layer asks little: the response body is a `Body`, and the errors of body and service can be
//! displayed. It boxes nothing, and `Clone`, `Send` and `'static` are the inner service's own.
//!
//! # Which trace a request belongs to
//!
//! That of its `traceparent`. Without a valid one, that of the span in the OpenTelemetry `Context`
//! in which the layer is called; without that, a new one. A layer inside another, or inside any
//! other span of the same trace, continues that span.
//!
//! # When a span ends
//!
//! When the response has ended, which is when all of it was handed to the server, and exactly once:
//!
//! | what happens | an HTTP span says | a gRPC span says |
//! |---|---|---|
//! | last frame of the body, or trailers | the status of the response | the `grpc-status` of the trailers |
//! | no body: HEAD, 1xx, 204, 304, 2xx to CONNECT | the same, at the head | |
//! | `grpc-status` in the head | | that status, at the head |
//! | the end, without `grpc-status` | | by the HTTP status; of 200, `UNKNOWN` |
//! | an error of the response body | error, `body_error` | error, `UNKNOWN` |
//! | an error of the service | error, `service_error` | error, `UNKNOWN`, whatever a layer further out makes of it |
//! | the body or the future is dropped | error, `cancelled` | `CANCELLED`, which is no error of a server |
//! | a panic, caught or not | error, `panic` | error, `UNKNOWN`, `panic` |
//!
//! The words in the table are values of `error.type`. An HTTP status of 500 or more is an error,
//! too, and goes before them; so do the gRPC codes `UNKNOWN`, `DEADLINE_EXCEEDED`,
//! `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS`. 4xx, and the other codes, are the
//! client's doing, and leave the status of a server span unset.
//!
//! # What is recorded
//!
//! By the semantic conventions of OpenTelemetry, v1.44.0:
//!
//! | HTTP | gRPC: POST of `application/grpc` |
//! |---|---|
//! | name: method and route | name: the full method |
//! | `http.request.method`, `_OTHER` with `http.request.method_original` | `rpc.system.name`, `rpc.method` |
//! | `url.path`, `url.scheme` (`http`, unless the request names it), `url.query` | |
//! | `http.route` | |
//! | `server.address`, `server.port`: from `:authority` or `Host` | the same |
//! | `network.protocol.version`, `user_agent.original` | |
//! | `http.response.status_code`, `error.type` | `rpc.response.status_code`, `error.type` |
//!
//! Of the query, the values of `AWSAccessKeyId`, `Signature`, `X-Amz-Credential`,
//! `X-Amz-Security-Token`, `X-Amz-Signature`, `X-Goog-Signature` and `sig` are replaced by
//! `REDACTED`. No other header, and nothing of a body, is recorded. Values that a peer supplies are
//! cut at 4 KiB; a span has at most 128 attributes, events and links each, and counts what it drops.
//!
//! The addresses of peers are not recorded yet. The method of a gRPC call is what the client
//! called, also when nobody serves it: the layer cannot know.
//!
//! # What the service sees
//!
//! While the service and its response body run or are dropped, the span stands in the
//! OpenTelemetry `Context`: `Context::current().span()` takes attributes, events, links, a status or
//! another name until the span ends, and is inert afterwards. Its `end()` does nothing. Spans made
//! by an OpenTelemetry tracer become its children. Of a request that is not recorded the context
//! stands there all the same, so its children are not recorded either, and what the service sends
//! on belongs to the same trace.
//!
//! The response to a sampled request has the span's [`TraceContext`](crate::TraceContext) in its
//! extensions, and names its ids in a [header](crate::ResponseHeader), unless the span is inside
//! another one of this process.
//!
//! # What is never traced
//!
//! Requests that bring spans: `POST /v1/traces` and the OTLP `TraceService`.

mod body;
mod cause;
mod decision;
mod exchange;
mod future;
mod handle;
mod layer;
mod observation;
mod outgoing;
mod pool;
#[cfg(feature = "reqwest")]
mod reqwest;
mod semconv;
mod server_span;
mod service;
mod span;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use layer::TraceLayer;
pub(crate) use layer::{Recording, Role, Settings};
pub use outgoing::ResendCount;
#[cfg(feature = "reqwest")]
pub use reqwest::ReqwestFuture;
pub use service::Trace;

/// The version of the semantic conventions that the attributes' names are from.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
