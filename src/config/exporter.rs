//! How spans are sent: the keys that are for the exporter.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "_requests")]
use http::{HeaderMap, HeaderName, HeaderValue};

#[cfg(feature = "_requests")]
use super::{ConfigError, Problem, env::Variables, section};
use super::{LimitsConfig, QueueConfig, RetryConfig, TracingServiceConfig};
use crate::sink::{self, Compression, KeyPair};
#[cfg(feature = "_requests")]
use crate::sink::{header_value, read_header_value};

/// What is written of the exporter; `None` is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exporter {
    pub(super) ca_certs: Vec<PathBuf>,
    pub(super) keypairs: Vec<KeyPair>,
    /// How the document calls them.
    pub(super) keypairs_key: Spelling,
    pub(super) system_roots: Option<bool>,
    pub(super) server_name: Option<String>,
    /// Each name once.
    pub(super) headers: Vec<Header>,
    pub(super) compression: Option<Compression>,
    pub(super) timeout: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
}

/// One of the names of a key that has two. What it says is the same under either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spelling(pub(super) &'static str);

impl Spelling {
    pub(super) fn as_str(self) -> &'static str {
        self.0
    }
}

impl Default for Spelling {
    /// Teleport's.
    fn default() -> Self {
        Self("https_keypairs")
    }
}

impl PartialEq for Spelling {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A header of the requests to the collector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: HeaderSource,
}

/// Where the value of a header is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HeaderSource {
    Text(Secret),
    File(PathBuf),
    Variable(String),
}

/// A text that nobody gets to see.
#[derive(Clone, PartialEq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Exporter {
    /// Whether anything is said that only TLS can do, and with `grpc` switches it on.
    pub(super) fn has_certificates(&self) -> bool {
        !self.ca_certs.is_empty() || !self.keypairs.is_empty()
    }

    /// Whether the certificate authorities of the system count.
    pub(super) fn uses_system_roots(&self) -> bool {
        self.system_roots.unwrap_or(self.ca_certs.is_empty())
    }

    /// Time for one attempt.
    pub(super) fn attempt(&self) -> Duration {
        self.timeout.unwrap_or(sink::TIMEOUT)
    }

    /// Of that, time for a connection.
    pub(super) fn connecting(&self) -> Duration {
        self.connect_timeout.unwrap_or_else(|| sink::CONNECT_TIMEOUT.min(self.attempt()))
    }

    /// Puts a header in place of an earlier one of the same name, whose case does not matter.
    fn set_header(&mut self, name: String, value: HeaderSource) {
        self.headers.retain(|earlier| !earlier.name.eq_ignore_ascii_case(&name));
        self.headers.push(Header { name, value });
    }

    /// The headers with their values, from wherever they are.
    ///
    /// # Errors
    ///
    /// All values that cannot be had, in words that quote none.
    #[cfg(feature = "_requests")]
    pub(super) fn read_headers(&self, variables: Variables<'_>) -> Result<HeaderMap, ConfigError> {
        let mut map = HeaderMap::with_capacity(self.headers.len());
        let mut problems = Vec::new();
        for Header { name, value } in &self.headers {
            let path = || section::path(&format!("headers.{}", name.to_ascii_lowercase()));
            match (HeaderName::try_from(name), value.read(variables)) {
                (Ok(name), Ok(value)) => drop(map.insert(name, value)),
                (Err(_), _) => debug_assert!(false, "names were checked"),
                (_, Err(wrong)) => problems.push(Problem::new(None, path(), wrong)),
            }
        }
        if problems.is_empty() { Ok(map) } else { Err(ConfigError::new(problems)) }
    }

    /// The headers whose values are in files.
    #[cfg(feature = "_requests")]
    pub(super) fn header_files(&self) -> Vec<(HeaderName, PathBuf)> {
        let file = |header: &Header| match &header.value {
            HeaderSource::File(file) => {
                Some((HeaderName::try_from(&header.name).ok()?, file.clone()))
            }
            HeaderSource::Text(_) | HeaderSource::Variable(_) => None,
        };
        self.headers.iter().filter_map(file).collect()
    }
}

#[cfg(feature = "_requests")]
impl HeaderSource {
    fn read(&self, variables: Variables<'_>) -> Result<HeaderValue, String> {
        match self {
            Self::Text(Secret(text)) => header_value(text).map_err(str::to_owned),
            Self::File(file) => read_header_value(file),
            Self::Variable(name) => {
                let text = variables(name)
                    .ok_or_else(|| format!("the environment variable {name} is not set"))?;
                // What is not Unicode is not ASCII either.
                header_value(&text.to_string_lossy())
                    .map_err(|wrong| format!("the environment variable {name} {wrong}"))
            }
        }
    }
}

/// Settings of the exporter. With a `file` URL, which makes no connection, those of connections
/// and requests are errors at start.
impl TracingServiceConfig {
    /// Adds PEM files with the certificate authorities that may vouch for the collector; they
    /// replace those of the system, unless [`system_roots`](Self::system_roots) keeps these.
    #[must_use]
    pub fn ca_certs<P: Into<PathBuf>>(mut self, files: impl IntoIterator<Item = P>) -> Self {
        self.exporter.ca_certs.extend(files.into_iter().map(Into::into));
        self
    }

    /// Adds a client certificate: the PEM files with its private key and with its chain.
    #[must_use]
    pub fn keypair(mut self, key_file: impl Into<PathBuf>, cert_file: impl Into<PathBuf>) -> Self {
        let keypair = KeyPair { key_file: key_file.into(), cert_file: cert_file.into() };
        self.exporter.keypairs.push(keypair);
        self
    }

    /// Whether the certificate authorities of the system may vouch for the collector beside those
    /// of [`ca_certs`](Self::ca_certs). Defaults to no; without `ca_certs` they always may, and
    /// `false` is an error at start.
    #[must_use]
    pub fn system_roots(mut self, system_roots: bool) -> Self {
        self.exporter.system_roots = Some(system_roots);
        self
    }

    /// The name or address that the collector's certificate must be for. Defaults to the host of
    /// the URL.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.exporter.server_name = Some(name.into());
        self
    }

    /// Sends a header with each request to the collector, in place of an earlier one of the same
    /// name: a token, or the name of a tenant.
    ///
    /// The value is marked sensitive, and is never shown: not by `Debug`, not in an error, not in
    /// a log. Blanks around it are removed.
    ///
    /// At start it is an error when the name is none, or one that the protocol itself sets (such
    /// as `content-type`, `host` or any `grpc-…`), or ends in `-bin`; and when the value is blank,
    /// or has other characters than those of printable ASCII.
    ///
    /// ```
    /// use tower_otlp::TracingServiceConfig;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = TracingServiceConfig::new("https://collector".parse()?)
    ///     .header("authorization", "Bearer hunter2")
    ///     .header_from_file("x-tenant-key", "/run/secrets/tenant-key")
    ///     .header_from_env("x-scope-orgid", "ORG_ID");
    /// assert!(!format!("{config:?}").contains("hunter2"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.exporter.set_header(name.into(), HeaderSource::Text(Secret(value.into())));
        self
    }

    /// As [`header`](Self::header), with the value in a file, which is read at start: one that is
    /// missing, blank or above 8 KiB is an error then.
    ///
    /// Later it is read again, at most every 10 seconds and before an export, for tokens that
    /// expire. When it is of no use any more the last value stays, with a warning.
    #[must_use]
    pub fn header_from_file(mut self, name: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        self.exporter.set_header(name.into(), HeaderSource::File(file.into()));
        self
    }

    /// As [`header`](Self::header), with the value in an environment variable, which is read at
    /// start: one that is unset or blank is an error then.
    #[must_use]
    pub fn header_from_env(mut self, name: impl Into<String>, variable: impl Into<String>) -> Self {
        self.exporter.set_header(name.into(), HeaderSource::Variable(variable.into()));
        self
    }

    /// How requests are compressed. Defaults to [`Compression::None`].
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.exporter.compression = Some(compression);
        self
    }

    /// Time for one attempt to export: name look-up, connecting, sending and the whole answer.
    /// From 1 ms to an hour; defaults to 10 s. When the collector answers that it does not understand
    /// what is [compressed](Self::compression), the attempt is two exchanges, each with this time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.exporter.timeout = Some(timeout);
        self
    }

    /// Time for a connection, of that for the attempt: from 1 ms up to the
    /// [`timeout`](Self::timeout). Defaults to 5 s, or the timeout if that is shorter.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.exporter.connect_timeout = Some(timeout);
        self
    }

    /// How spans wait for their export, and how many go out together.
    #[must_use]
    pub fn queue(self, queue: QueueConfig) -> Self {
        Self { queue, ..self }
    }

    /// How an export is tried again that failed for a reason that may pass.
    #[must_use]
    pub fn retry(self, retry: RetryConfig) -> Self {
        Self { retry, ..self }
    }

    /// How many requests may be under way at once: 1 to 64, 8 by default. Files are written one
    /// batch at a time.
    #[must_use]
    pub fn concurrency(self, requests: usize) -> Self {
        Self { concurrency: Some(requests), ..self }
    }

    /// How much one span may hold.
    #[must_use]
    pub fn limits(self, limits: LimitsConfig) -> Self {
        Self { limits, ..self }
    }
}
