//! While the request lives: the middleware.
//!
//! [`TraceLayer::server`] wraps any tower service over `http::Request`, HTTP or gRPC (told apart
//! by the content type), and records one `SERVER` span for each request that is
//! [sampled](crate::SamplingRate). [`TraceLayer::client`] does the same for requests that leave,
//! and tells the next service which trace they belong to: see [Clients](#clients).
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
//! A server's: outermost, so that the span covers everything that is done for the request. With
//! axum that is the layer added last, by `Router::layer`: there the matched route is known, and it
//! becomes `http.route` and part of the span's name. Routes added after it are not traced. A layer
//! around the whole router sees requests before they are routed, and names its spans by the method
//! alone.
//! `axum::serve` takes no response body but its own; there, put the layered router into another:
//! `Router::new().fallback_service(layer.layer(app))`.
//! With tonic use `Server::layer`, or wrap one service: the layered service keeps its gRPC name.
//! Where tonic takes an interceptor and no layer there is `TraceInterceptor`, which records nothing.
//!
//! The layer asks little: the response body is a `Body`, and the errors of body and service can be
//! displayed and are `'static`, so that those of known types can be looked into. It boxes nothing,
//! and `Clone`, `Send` and `'static` are the inner service's own.
//!
//! # Which trace a request belongs to
//!
//! At a server, that of its `traceparent`. Without a valid one, that of the span in the
//! OpenTelemetry `Context` in which the layer is called; without that, a new one. A layer inside
//! another, or inside any other span of the same trace, continues that span.
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
//! | `network.peer.address`, `network.peer.port`: as the server tells, see below | the same |
//! | `client.address`: the peer, or whom trusted proxies name | |
//! | `network.protocol.version`, `user_agent.original` | |
//! | `http.response.status_code`, `error.type` | `rpc.response.status_code`, `error.type` |
//!
//! Of the query, the values of `AWSAccessKeyId`, `Signature`, `X-Amz-Credential`,
//! `X-Amz-Security-Token`, `X-Amz-Signature`, `X-Goog-Signature` and `sig` are replaced by
//! `REDACTED`. Other headers are recorded only [by name](crate::Capture::request_headers), and
//! nothing of a body ever is. Values that a peer supplies are cut at 4 KiB; a span has at most 128
//! attributes, events and links each, and counts what it drops.
//!
//! The peer is known where the server puts it to the request: axum with
//! `into_make_service_with_connect_info::<SocketAddr>()`, tonic by itself (cargo feature
//! `tonic-server`). What `Forwarded` and `X-Forwarded-*` say counts only from
//! [trusted proxies](TraceLayer::trusted_proxies). The identity in a certificate is left to
//! [`TraceLayer::on_request`].
//!
//! The method of a gRPC call is what the client called, also when nobody serves it, unless the layer
//! is told [which are served](crate::Capture::known_grpc_methods).
//!
//! # Whom it believes
//!
//! A caller who says *sampled* is recorded, whatever the rate here: within a system that is what
//! tracing is for. An endpoint that strangers reach should say otherwise, because they could flood
//! the backend, or write into other people's traces:
//!
//! - [`TraceLayer::remote_parent`], or [`remote_parent_by`](TraceLayer::remote_parent_by) the
//!   request: [`Link`](crate::RemoteParent::Link) begins a trace that is linked to the caller's,
//!   [`Ignore`](crate::RemoteParent::Ignore) one of its own. Both drop what came as tracestate and
//!   baggage.
//! - [`TraceLayer::forced_sampling_per_second`]: how many of those who are trusted may have their way.
//!   The others go on in their trace, unsampled, and [`Stats`](crate::Stats::not_forced) counts them.
//!
//! Which traces begin here is for the rate and the [rules](crate::SamplingRule) to say, by path,
//! route, method or gRPC service; both [can be changed](crate::TracingService::set_sampling) while
//! the service runs. A trace that begins here says in its tracestate by which threshold it was
//! sampled (`ot=th:…`), and one from elsewhere keeps its threshold as long as that is true
//! (OpenTelemetry, "Probability Sampling").
//!
//! [`TraceLayer::filter`] leaves requests alone: health checks, static files.
//!
//! # What leaves the process
//!
//! To the collector: what is listed here, what the service and hooks write, and the resource. To the
//! caller of a recorded request: its ids, in a [header](crate::ResponseHeader). To services that are
//! called through a client layer: `traceparent`, `tracestate`, and baggage if the layer says so.
//!
//! # What is measured
//!
//! Nothing, until [`TraceLayer::metrics`](TraceLayer#method.metrics) gives the layer an
//! OpenTelemetry meter provider (cargo feature `metrics`). Then every request counts, also one that
//! is not recorded, and also when tracing is disabled:
//!
//! | instrument, unit | attributes |
//! |---|---|
//! | `http.server.request.duration`, histogram, `s` | `http.request.method`, `url.scheme`, `http.route`, `http.response.status_code`, `error.type`, `network.protocol.version` |
//! | `http.server.active_requests`, up-down counter, `{request}` | `http.request.method`, `url.scheme` |
//! | `http.server.request.body.size`, `http.server.response.body.size`, histograms, `By`; only with [`TraceLayer::body_size_metrics`](TraceLayer#method.body_size_metrics) | as the duration |
//! | `rpc.server.call.duration`, histogram, `s` | `rpc.system.name`, `rpc.method`, `rpc.response.status_code`, `error.type` |
//! | `http.client.request.duration`, histogram, `s` | `http.request.method`, `server.address`, `server.port`, `http.response.status_code`, `error.type`, `network.protocol.version` |
//! | `http.client.request.body.size`, `http.client.response.body.size`, as the server's | as the duration |
//! | `rpc.client.call.duration`, histogram, `s` | `rpc.system.name`, `rpc.method`, `server.address`, `server.port`, `rpc.response.status_code`, `error.type` |
//!
//! A gRPC call counts as a call and not as an HTTP request. A duration is that of the span, if
//! there is one, to the nanosecond, and so is `error.type`. A request is active for as long as its
//! span would last, however it ends.
//!
//! At a server, an attribute of a metric must not take any value that a client likes, as one of a
//! span may:
//!
//! - `url.scheme` is `https` where the request says so, otherwise `http`;
//! - `rpc.method` is `_OTHER` when the call ends with `UNIMPLEMENTED`, as then the client may have
//!   made the method up, and for names longer than 255 bytes. A layer inside may also refuse calls
//!   without a look at their method; so beyond 1000 methods that were answered with `OK`, and 100
//!   that never were, the others are `_OTHER`, too;
//! - `server.address` and `server.port` are left out.
//!
//! The attribute sets are kept ready, so that measuring allocates nothing once they have been seen:
//! those of up to 1024 combinations of method, route and scheme, or at a client of method and
//! address, with up to 24 ends each.
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
//! [`TraceContext::server_context`](crate::TraceContext::server_context) has the layer's.
//!
//! The response to a sampled request has the span's [`TraceContext`](crate::TraceContext) in its
//! extensions, and names its ids in a [header](crate::ResponseHeader), unless the span is inside
//! another one of this process.
//!
//! Services that start no spans of their own can do [without the
//! context](TraceLayer::open_telemetry_context), and [without the
//! extension](TraceLayer::response_extension).
//!
//! # Clients
//!
//! The client layer goes around tonic's `Channel`, plain or balanced, hyper-util's legacy client
//! and any other tower service over `http::Request`.
//! With the feature `reqwest` it goes around `reqwest::Client`, too.
//!
//! ```
//! # #[cfg(feature = "tonic-channel")] {
//! use tonic::transport::Channel;
//! use tower::Layer;
//! use tower_otlp::{TraceLayer, TracingService};
//!
//! # async fn run() {
//! let (tracing, _spans) = TracingService::in_memory();
//! let target = "http://inventory:50051";
//! let channel = Channel::from_static(target).connect_lazy();
//! let channel = TraceLayer::client(&tracing).target(target).layer(channel);
//! // let client = InventoryClient::new(channel);
//! # }
//! # }
//! ```
//!
//! A request's parent is the active span of the OpenTelemetry `Context` in which the service is
//! called: in a handler, the server's span. Without one it is the
//! [`TraceContext`](crate::TraceContext) in the request's extensions, which is the way into tasks
//! that no context follows to, such as the worker of a `tower::buffer` that stands above the layer;
//! without that, a new trace starts. A span is recorded under the same rules as a server's.
//!
//! `traceparent` and `tracestate` are written before the wrapped service is called, in place of
//! any that the request had, also when the span is not recorded: then the next service is told not
//! to record either. Where [recording is off](crate::TracingServiceConfig::enabled), the parent
//! itself is sent on, and without one the headers are left alone. Baggage is sent on only
//! [if the layer says so](TraceLayer::propagate_baggage).
//!
//! ## When a client span ends
//!
//! Like a server's, when the response has ended: with the last frame of its body, with the trailers,
//! or when the body is dropped. A connection that was upgraded goes on after its span. What differs:
//!
//! | what happens | an HTTP span says | a gRPC span says |
//! |---|---|---|
//! | a status of 400 or more; a gRPC status other than `OK` | error, the status | error, the status |
//! | an error of the client or of the body | error, by the table below | error, the status that tonic makes of it |
//! | the future or the body is dropped | no error, no `error.type` | error, `CANCELLED` |
//!
//! A timeout in a layer above drops the future; one below is an error of the client. Time spent in
//! `poll_ready`, waiting for a place in a limit or a buffer, is before the span.
//!
//! `error.type` of failures is found in the [sources](std::error::Error::source) of the error, and
//! its description is what all of them say:
//!
//! | `error.type` | is |
//! |---|---|
//! | `name_resolution_error` | the host's name was not found |
//! | `connection_refused` | nobody listens there |
//! | `tls_error` | the TLS handshake failed |
//! | `connect_error` | any other reason why there is no connection |
//! | `timeout` | a timeout of the system, of tower, tokio, tonic, hyper or reqwest |
//! | `connection_reset` | the connection broke |
//! | `connection_closed` | the server closed the connection before the response was complete |
//! | `stream_reset` | the server reset the HTTP/2 stream |
//! | `redirect_error` | reqwest gave up following redirects |
//! | `body_error` | another error of the response body |
//! | `service_error` | another error of the client |
//! | `panic` | the client panicked |
//!
//! A gRPC call has these words only where its status is `UNKNOWN`, which tells nothing. A refused
//! connection is `UNAVAILABLE` to tonic's callers, and so it is in the span; what tower's
//! `load_shed` refuses below the layer is `UNKNOWN`. Without a feature that brings HTTP/2 (`grpc`,
//! `tonic-channel`, `reqwest`) a reset of its streams is a `service_error` or `body_error`.
//!
//! The types of errors that can be looked into are `std::io`'s and `Box<dyn Error + Send + Sync>`;
//! with the features `grpc`, `http`, `tonic-channel` or `reqwest` those of hyper and hyper-util;
//! tonic's with `tonic-channel`; reqwest's with `reqwest`; and
//! [those that the layer is told of](TraceLayer::known_error).
//! Of all others only the text is known.
//!
//! ## What a client span says
//!
//! | HTTP | gRPC |
//! |---|---|
//! | name: the method | name: the full method |
//! | `http.request.method`, `_OTHER` with `http.request.method_original` | `rpc.system.name`, `rpc.method` |
//! | `url.full`, whose user, password and secret query values are redacted | |
//! | `server.address`, `server.port`: of the URL or `Host`, 80 or 443 if there is none | the same, as [set](TraceLayer::target): a `Channel` does not show it |
//! | `http.request.resend_count`, see [Retries](#retries) | |
//! | `network.protocol.version`, of the response | |
//! | `http.response.status_code`, `error.type` | `rpc.response.status_code`, `error.type` |
//!
//! The response has the span's [`TraceContext`](crate::TraceContext) in its extensions; its headers
//! are the server's. While the client runs, its span stands in the OpenTelemetry `Context`, so a
//! layer below nests; [`TraceContext::server_context`](crate::TraceContext::server_context) stays the
//! server's.
//!
//! ## Retries
//!
//! Under a retry layer each attempt is a span, over it the whole call is one. For HTTP the
//! conventions want the former, and the attempts counted: a policy puts a [`ResendCount`] into the
//! request that it sends again.
//!
//! ```
//! use std::future::{Ready, ready};
//!
//! use http::{Request, Response};
//! use tower::retry::Policy;
//! use tower_otlp::ResendCount;
//!
//! /// Sends a request again after a server error.
//! #[derive(Clone)]
//! struct Attempts {
//!     left: u32,
//!     resent: u32,
//! }
//!
//! impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for Attempts {
//!     type Future = Ready<()>;
//!
//!     fn retry(
//!         &mut self,
//!         request: &mut Request<B>,
//!         result: &mut Result<Response<R>, E>,
//!     ) -> Option<Ready<()>> {
//!         let failed = result.as_ref().map_or(true, |r| r.status().is_server_error());
//!         if !failed || self.left == 0 {
//!             return None;
//!         }
//!         self.left -= 1;
//!         self.resent += 1;
//!         request.extensions_mut().insert(ResendCount(self.resent));
//!         Some(ready(()))
//!     }
//!
//!     fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
//!         Some(request.clone())
//!     }
//! }
//! # fn compose<S>(tracing: &tower_otlp::TracingService, client: S) {
//! let client = tower::ServiceBuilder::new()
//!     .retry(Attempts { left: 3, resent: 0 })
//!     .layer(tower_otlp::TraceLayer::client(tracing))
//!     .service(client);
//! # }
//! ```
//!
//! reqwest follows redirects and retries by itself, where no layer sees them: one span for the whole
//! call, with the URL that was asked for first. Its requests show no extensions, so their parent is
//! the current context's. A server layer around reqwest does nothing.
//!
//! # What is never traced
//!
//! Requests that bring spans: `POST /v1/traces` and the OTLP `TraceService`. Nor are they when a
//! client sends them, whose exporter would export the spans of exporting spans. And nothing is where
//! the OpenTelemetry `Context` suppresses telemetry. Such requests are not touched, nor measured.

mod body;
mod cause;
#[cfg(feature = "clap")]
mod command;
mod decision;
mod exchange;
pub mod filter;
mod future;
mod handle;
mod head;
mod hooks;
#[cfg(feature = "tonic")]
mod interceptor;
mod layer;
#[cfg(feature = "tracing")]
mod log;
#[cfg_attr(not(feature = "metrics"), path = "metrics/off.rs")]
mod metrics;
mod observation;
mod outgoing;
mod peer;
mod pool;
#[cfg(feature = "reqwest")]
mod reqwest;
mod semconv;
mod server_context;
mod service;
mod span;
mod trust;

pub use body::ResponseBody;
#[cfg(feature = "clap")]
pub(crate) use command::{CommandEnd, CommandSpan};
pub use future::ResponseFuture;
pub use head::RequestHead;
pub(crate) use hooks::Hooks;
pub use hooks::{Attributes, Ended, ResponseHead};
#[cfg(feature = "tonic")]
pub use interceptor::TraceInterceptor;
pub use layer::TraceLayer;
pub(crate) use layer::{Recording, Role, Settings};
#[cfg(feature = "tracing")]
pub use log::WithTraceIds;
pub(crate) use metrics::Metrics;
#[cfg(feature = "metrics")]
pub(crate) use metrics::meter;
pub use outgoing::ResendCount;
#[cfg(feature = "reqwest")]
pub use reqwest::ReqwestFuture;
pub use service::Trace;
pub(crate) use trust::Trust;

/// The instrumentation scope of the layers' spans and metrics, and its version.
pub(crate) const SCOPE: &str = "tower-otlp";
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the semantic conventions that the attributes' names are from.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
