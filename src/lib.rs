//! Distributed tracing for tower, axum, tonic and hyper services.

#![forbid(unsafe_code)]

pub mod context;

pub use opentelemetry;

pub use context::{ResponseHeader, TraceContext};
