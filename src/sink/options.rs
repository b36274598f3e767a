//! How the network exporters behave, whichever protocol they speak.

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "_requests")]
use http::{HeaderMap, HeaderName};

/// What requests say, and how long they may take, over whatever connection.
#[cfg(feature = "_requests")]
#[derive(Clone, Debug)]
pub(crate) struct RequestOptions {
    /// Sent with each request, beside those of the protocol. Their values are marked sensitive.
    pub(crate) headers: HeaderMap,
    /// Where the values of some of them are, which may change.
    pub(crate) header_files: Vec<(HeaderName, PathBuf)>,
    /// Time for a whole attempt: name look-up, connecting, sending and the answer.
    pub(crate) timeout: Duration,
}

#[cfg(feature = "_requests")]
impl RequestOptions {
    /// How long a request waits for files that are read again. A disk that hangs stops no export,
    /// however little time there is for one.
    pub(super) fn patience(&self) -> Duration {
        (self.timeout / 4).min(PATIENCE)
    }
}

#[cfg(feature = "_requests")]
impl Default for RequestOptions {
    fn default() -> Self {
        Self { headers: HeaderMap::new(), header_files: Vec::new(), timeout: TIMEOUT }
    }
}

/// What the exporters with a connection of their own are told.
#[cfg(feature = "_client")]
#[derive(Clone, Debug)]
pub(crate) struct ExportOptions {
    pub(crate) requests: RequestOptions,
    pub(crate) compression: Compression,
    /// Time for a connection, within that for the attempt.
    pub(crate) connect_timeout: Duration,
    /// `None` is plaintext.
    pub(crate) tls: Option<TlsOptions>,
    /// The Unix domain socket to connect to, instead of the host of the URL.
    pub(crate) unix_socket: Option<PathBuf>,
}

#[cfg(feature = "_client")]
impl ExportOptions {
    /// [`RequestOptions::patience`] of a connection.
    pub(crate) fn patience(&self) -> Duration {
        self.requests.patience().min(self.connect_timeout / 4)
    }
}

#[cfg(feature = "_client")]
impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            requests: RequestOptions::default(),
            compression: Compression::None,
            connect_timeout: CONNECT_TIMEOUT,
            tls: None,
            unix_socket: None,
        }
    }
}

/// How requests to the collector are compressed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all. The default.
    #[default]
    None,
    /// With gzip, where it is worth it: not below 1 KiB.
    Gzip,
}

impl Compression {
    /// The words of the configuration.
    pub(crate) const WORDS: [(&str, Self); 2] = [("none", Self::None), ("gzip", Self::Gzip)];
}

/// Whom the exporter believes, and as whom it comes.
#[cfg(feature = "_client")]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct TlsOptions {
    /// PEM files with certificate authorities.
    pub(crate) ca_certs: Vec<PathBuf>,
    /// Whether those of the system count, too. They do in any case if there are no `ca_certs`.
    pub(crate) system_roots: bool,
    /// Client certificates.
    pub(crate) keypairs: Vec<KeyPair>,
    /// The name that the collector's certificate must be for, if not the host of the URL.
    pub(crate) server_name: Option<String>,
}

/// The PEM files of a client certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeyPair {
    pub(crate) key_file: PathBuf,
    pub(crate) cert_file: PathBuf,
}

/// Time for an attempt, unless the operator sets another.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a connection, unless the operator sets another, or less for the attempt.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for files.
#[cfg(feature = "_requests")]
const PATIENCE: Duration = Duration::from_secs(1);
