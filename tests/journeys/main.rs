//! Journeys through the whole crate, over real sockets and real files.

mod captured;
mod client;
#[cfg(feature = "clap")]
mod command_line;
mod composition;
mod delayed;
#[cfg(feature = "forward")]
mod forward;
mod grpc_server;
mod handles;
mod hooks;
mod http_endings;
mod http_server;
mod interceptor;
#[cfg(feature = "metrics")]
mod metrics;
mod parents;
mod peers;
mod request_body;
mod response;
mod sdk;
mod server_context;
mod sinks;
mod stacks;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod storm;
mod support;
mod tracing;
mod trust;
mod way_out;
mod without_context;
