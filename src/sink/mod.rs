//! Out of the process: where batches go.
//!
//! | sink | transport | one request is |
//! |---|---|---|
//! | [`grpc`] | HTTP/2, a unary call to the OTLP `TraceService` | a batch |
//! | [`http`] | HTTP/1.1, a POST of protobuf | a batch |
//! | [`channel`] | whatever the program gives, a unary call to the same | a batch |
//! | [`file`] | rotating files of OTLP/JSON lines | a line for each chunk of a batch |
//!
//! Whatever a peer answers, an exchange with it ends: after its deadline, or its 64 KiB.

#[cfg(feature = "_requests")]
mod answer;
#[cfg(feature = "_call")]
mod call;
#[cfg(feature = "tonic")]
pub(crate) mod channel;
#[cfg(feature = "_client")]
mod compress;
#[cfg(feature = "_client")]
mod connect;
#[cfg(feature = "_requests")]
mod delay;
#[cfg(feature = "_client")]
mod error;
#[cfg(feature = "_client")]
mod exchange;
#[cfg(feature = "file")]
pub(crate) mod file;
#[cfg(feature = "_client")]
mod gather;
#[cfg(feature = "grpc")]
pub(crate) mod grpc;
mod header_value;
#[cfg(feature = "_requests")]
mod headers;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod memory;
mod options;
#[cfg(feature = "_requests")]
mod partial;
#[cfg(feature = "_requests")]
mod proxy;
#[cfg(feature = "_call")]
mod retry_info;
#[cfg(feature = "_client")]
mod stream;
#[cfg(all(feature = "_client", any(feature = "ring", feature = "aws-lc-rs")))]
mod tls;
#[cfg(all(feature = "_client", not(any(feature = "ring", feature = "aws-lc-rs"))))]
#[path = "tls/off.rs"]
mod tls;

#[cfg(feature = "_client")]
pub(crate) use self::error::SinkError;
pub(crate) use self::header_value::header_value;
#[cfg(feature = "_requests")]
pub(crate) use self::headers::read_header_value;
pub use self::options::Compression;
#[cfg(feature = "_requests")]
pub(crate) use self::options::RequestOptions;
pub(crate) use self::options::{CONNECT_TIMEOUT, KeyPair, TIMEOUT};
#[cfg(feature = "_client")]
pub(crate) use self::options::{ExportOptions, TlsOptions};

#[cfg(all(test, feature = "grpc", feature = "http"))]
mod tests;
