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
//! Where tonic takes an interceptor and no layer there is `TraceInterceptor`, which records nothing.
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
//! # What is measured
//!
//! Nothing, until [`TraceLayer::metrics`](TraceLayer#method.metrics) gives the layer an OpenTelemetry meter provider (cargo
//! feature `metrics`). Then every request counts, also one that is not recorded, and also when
//! tracing is disabled:
//!
//! | instrument, unit | attributes |
//! |---|---|
//! | `http.server.request.duration`, histogram, `s` | `http.request.method`, `url.scheme`, `http.route`, `http.response.status_code`, `error.type`, `network.protocol.version` |
//! | `http.server.active_requests`, up-down counter, `{request}` | `http.request.method`, `url.scheme` |
//! | `http.server.request.body.size`, `http.server.response.body.size`, histograms, `By`; only with [`TraceLayer::body_size_metrics`](TraceLayer#method.body_size_metrics) | as the duration |
//! | `rpc.server.call.duration`, histogram, `s` | `rpc.system.name`, `rpc.method`, `rpc.response.status_code`, `error.type` |
//!
//! A gRPC call counts as a call and not as an HTTP request. A duration is that of the span, if
//! there is one, to the nanosecond, and so is `error.type`. A request is active for as long as its
//! span would last, however it ends.
//!
//! An attribute of a metric must not take any value that a client likes, as one of a span may:
//!
//! - `url.scheme` is `https` where the request says so, otherwise `http`;
//! - `rpc.method` is `_OTHER` when the call ends with `UNIMPLEMENTED`, as then the client may have
//!   made the method up, and for names longer than 255 bytes. A layer inside may also refuse calls
//!   without a look at their method; so beyond 1000 methods that were answered with `OK`, and 100
//!   that never were, the others are `_OTHER`, too;
//! - `server.address` and `server.port` are left out.
//!
//! The attribute sets are kept ready, so that measuring allocates nothing once they have been seen:
//! those of up to 1024 combinations of method, route, scheme and version, with up to 24 ends each.
//! What goes beyond is measured all the same, at the price of making the set each time.
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
//! Inside a span of the service's own, such as that of a function with `#[tracing::instrument]`,
//! `Context::current()` has that one, and
//! [`TraceContext::server_span`](crate::TraceContext::server_span) has the layer's.
//!
//! The response to a sampled request has the span's [`TraceContext`](crate::TraceContext) in its
//! extensions, and names its ids in a [header](crate::ResponseHeader), unless the span is inside
//! another one of this process.
//!
//! # What is never traced
//!
//! Requests that bring spans: `POST /v1/traces` and the OTLP `TraceService`. And requests that are
//! made while telemetry is suppressed in the OpenTelemetry `Context`. Nor are they measured.

mod body;
mod decision;
mod exchange;
mod future;
mod handle;
#[cfg(feature = "tonic")]
mod interceptor;
mod layer;
#[cfg(feature = "tracing")]
mod log;
#[cfg_attr(not(feature = "metrics"), path = "metrics/off.rs")]
mod metrics;
mod observation;
mod pool;
mod semconv;
mod server_span;
mod service;
mod span;

pub use body::ResponseBody;
pub use future::ResponseFuture;
#[cfg(feature = "tonic")]
pub use interceptor::TraceInterceptor;
pub use layer::TraceLayer;
pub(crate) use layer::{Recording, Settings};
#[cfg(feature = "tracing")]
pub use log::WithTraceIds;
pub(crate) use metrics::Metrics;
pub use service::Trace;

/// The instrumentation scope of the layers' spans and metrics, and its version.
pub(crate) const SCOPE: &str = "tower-otlp";
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the semantic conventions that the attributes' names are from.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
