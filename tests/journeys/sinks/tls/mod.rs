//! TLS to collectors: who is believed, who is not, and what the operator reads.

mod changes;
mod files;
mod mutual;
mod nginx;
mod refusals;
mod system;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use tempfile::TempDir;
use tower_otlp::{Stats, TracingService, TracingServiceConfig};

use super::collector::Collector;
use super::logs::Log;
use super::script::Script;
use super::{LONG, serve, settled};
use crate::support::pki::{Authority, Identity, Server};

/// The schemes, with and without TLS, and the rest of the URL behind the port.
const SCHEMES: [(&str, &str, &str); 2] = [("grpcs", "grpc", ""), ("https", "http", "/v1/traces")];

/// A configuration that records all requests.
fn to(url: &str) -> TracingServiceConfig {
    TracingServiceConfig::new(url.parse().unwrap()).sampling_rate_per_million(1_000_000)
}

/// The stats of a service all of whose spans were given up.
fn given_up(spans: u64) -> Stats {
    let mut stats = Stats::default();
    stats.accepted = spans;
    stats.dropped.retries_exhausted = spans;
    stats
}

/// Writes a file and says where.
fn file(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}
