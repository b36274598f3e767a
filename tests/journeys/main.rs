//! Journeys through the whole crate, over real sockets and real files.

mod client;
mod composition;
mod grpc_server;
mod handles;
mod http_endings;
mod http_server;
mod parents;
mod response;
mod sdk;
mod sinks;
mod support;
mod way_out;
