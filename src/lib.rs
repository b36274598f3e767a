//! Distributed tracing for tower, axum, tonic and hyper services.

#![forbid(unsafe_code)]

pub mod context;
mod sampling;

pub use opentelemetry;

pub use context::{ResponseHeader, TraceContext};
pub use sampling::{RateOutOfRange, SamplingRate};
