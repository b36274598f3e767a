//! The certificates of all storms.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use tempfile::TempDir;

use crate::support::pki::{Authority, Server};

/// The file with the authority that has signed the collectors' certificate.
pub(super) fn authority() -> PathBuf {
    certificates().directory.path().join("ca.pem")
}

/// What the collectors show.
pub(super) fn server() -> Arc<ServerConfig> {
    Arc::clone(&certificates().server)
}

struct Certificates {
    directory: TempDir,
    server: Arc<ServerConfig>,
}

fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let authority = Authority::new("storms");
        let identity = authority.server(&["127.0.0.1"]);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        let server = Server { alpn: &["h2", "http/1.1"], ..Server::new(&identity) };
        Certificates { directory, server: server.config() }
    })
}
