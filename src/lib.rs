//! Distributed tracing for tower, axum, tonic and hyper services.

#![forbid(unsafe_code)]

pub mod context;
mod record;
mod sampling;

pub use opentelemetry;

pub use context::{ResponseHeader, TraceContext};
pub use record::{RecordedEvent, RecordedLink, RecordedSpan};
pub use sampling::{RateOutOfRange, SamplingRate};
