// The README's examples need these features.
#![cfg_attr(all(feature = "axum", feature = "yaml"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "axum", feature = "yaml")),
    doc = "Distributed tracing for tower services, from the request to any OTLP backend."
)]
#![forbid(unsafe_code)]

pub mod config;
pub mod context;
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

pub use config::{ConfigError, ExporterUrl, ParseExporterUrlError, TracingServiceConfig};
pub use context::{ResponseHeader, TraceContext};
#[cfg(feature = "opentelemetry-sdk")]
pub use otel::{OtlpSpanProcessor, PerMillionSampler, W3cPropagator};
pub use pipeline::{Dropped, Stats};
pub use record::{RecordedEvent, RecordedLink, RecordedSpan};
pub use sampling::{RateOutOfRange, SamplingRate};
pub use trace::{ResponseBody, ResponseFuture, Trace, TraceLayer};
pub use tracing_service::{InMemorySpans, StartError, TracingService};
