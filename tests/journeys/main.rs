//! Journeys through the whole crate, over real sockets and real files.

mod client;
mod composition;
mod delayed;
mod grpc_server;
mod handles;
mod http_endings;
mod http_server;
mod interceptor;
#[cfg(feature = "metrics")]
mod metrics;
mod parents;
mod request_body;
mod response;
mod sdk;
mod server_context;
mod sinks;
mod support;
mod tracing;
mod way_out;
