// The README's examples need these features.
#![cfg_attr(all(feature = "axum", feature = "yaml"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "axum", feature = "yaml")),
    doc = "Distributed tracing for tower services, from the request to any OTLP backend."
)]
//!
//! # Where to read on
//!
//! - [`trace`]: the middleware; where to put it, when a span ends, what is recorded.
//! - [`config`]: the `tracing_service` section; its keys, and what is checked when.
//! - [`context`]: what travels from service to service, and how strictly it is read.
#![cfg_attr(
    feature = "opentelemetry-sdk",
    doc = "- [`otel`]: the same for programs that use the OpenTelemetry SDK, or `tracing`."
)]
#![cfg_attr(
    feature = "clap",
    doc = "- [`cli`]: `--trace` for command-line tools, and how their spans get out."
)]
#![cfg_attr(
    feature = "forward",
    doc = "- [`forward`]: other programs' spans: who may send them, and how much."
)]
//! - [`TracingService`]: starting, flushing, shutting down, and the spans of a test.
#![forbid(unsafe_code)]

#[cfg(feature = "clap")]
pub mod cli;
pub mod config;
pub mod context;
#[cfg(feature = "forward")]
pub mod forward;
#[cfg(all(fuzzing, feature = "forward"))]
#[doc(hidden)]
pub mod fuzzing;
mod grpc_status;
#[cfg(feature = "opentelemetry-sdk")]
pub mod otel;
mod pipeline;
mod record;
mod sampling;
mod sink;
pub mod trace;
mod tracing_service;

pub use opentelemetry;
#[cfg(feature = "opentelemetry-sdk")]
pub use opentelemetry_sdk;

#[cfg(feature = "clap")]
pub use cli::{CommandTrace, TraceArgs};
pub use config::{
    ConfigError, Description, ExporterUrl, LimitsConfig, ParseExporterUrlError, QueueConfig,
    RetryConfig, TracingServiceConfig,
};
pub use context::{Network, ParseNetworkError, ResponseHeader, TraceContext};
#[cfg(feature = "forward")]
pub use forward::{Acknowledge, ForwardLimits, ForwarderStats, Identity, Refused, SpanForwarder};
#[cfg(feature = "opentelemetry-sdk")]
pub use otel::{OtlpSpanProcessor, PerMillionSampler, W3cPropagator};
pub use pipeline::{Dropped, Stats, WhenFull};
pub use record::{Capture, RecordedEvent, RecordedLink, RecordedSpan};
pub use sampling::{RateOutOfRange, RemoteParent, Sampling, SamplingRate, SamplingRule};
pub use sink::Compression;
#[cfg(feature = "reqwest")]
pub use trace::ReqwestFuture;
#[cfg(feature = "tonic")]
pub use trace::TraceInterceptor;
#[cfg(feature = "tracing")]
pub use trace::WithTraceIds;
pub use trace::{ResendCount, ResponseBody, ResponseFuture, Trace, TraceLayer};
#[cfg(feature = "tonic")]
pub use tracing_service::NotForwarding;
pub use tracing_service::{InMemorySpans, StartError, TracingService};
