//! Distributed tracing for tower, axum, tonic and hyper services.

#![forbid(unsafe_code)]

pub mod config;
pub mod context;
mod grpc_status;
mod pipeline;
mod record;
mod sampling;
mod sink;

pub use opentelemetry;

pub use config::{ConfigError, ExporterUrl, TracingServiceConfig};
pub use context::{ResponseHeader, TraceContext};
pub use pipeline::{Dropped, Stats};
pub use record::{RecordedEvent, RecordedLink, RecordedSpan};
pub use sampling::{RateOutOfRange, SamplingRate};
