//! TLS to the collector: whom to believe, and as whom to come.
//!
//! One rustls configuration, whichever protocol goes over it, made of the files that the operator
//! names and the names that the collector must have. The files are read again while the exporter
//! runs, by content, so that it does not matter how they were replaced.

mod files;
mod identity;
mod watch;
mod words;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use self::files::Files;
use self::identity::Identities;
use self::watch::Watch;
use super::error::SinkError;
use super::exchange::Version;
use super::options::TlsOptions;
use super::stream::Io;

/// TLS with one collector.
pub(crate) struct Tls {
    options: TlsOptions,
    name: ServerName<'static>,
    version: Version,
    current: ArcSwap<Current>,
    watch: Arc<Mutex<Watch>>,
    /// How long a request waits for the files.
    patience: Duration,
}

/// What a connection was made with, to explain what comes of it.
pub(super) struct Session {
    tls: Arc<Tls>,
    identities: Arc<Identities>,
}

/// What new connections are made with.
struct Current {
    config: Arc<ClientConfig>,
    identities: Arc<Identities>,
    generation: u64,
}

impl Tls {
    /// Reads all files. `host` is the collector, if the options do not name it otherwise, and
    /// `patience` how long a connection waits for files that are read again.
    ///
    /// Warns of keys that others may read.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files and the name at once.
    pub(super) fn load(
        options: TlsOptions,
        host: &str,
        version: Version,
        patience: Duration,
    ) -> Result<Arc<Self>, SinkError> {
        let files = Files::read(&options);
        let name = server_name(options.server_name.as_deref(), host);
        let made = make(&options, version, &files, 0);
        let (name, current) = match (name, made) {
            (Ok(name), Ok(current)) => (name, current),
            (name, made) => {
                let problems = made.err().into_iter().flatten().chain(name.err());
                return Err(SinkError::Tls(problems.collect()));
            }
        };
        Ok(Arc::new(Self {
            options,
            name,
            version,
            current: ArcSwap::from_pointee(current),
            watch: Arc::new(Mutex::new(Watch::new(files))),
            patience,
        }))
    }

    /// Which certificates are in use. Goes up with each change.
    pub(super) fn generation(&self) -> u64 {
        self.current.load().generation
    }

    /// Shakes hands with the collector, with the certificates that are there now.
    ///
    /// # Errors
    ///
    /// In the operator's words.
    pub(super) async fn connect(
        self: &Arc<Self>,
        io: Box<dyn Io>,
    ) -> Result<(Box<dyn Io>, Session), String> {
        self.refresh().await;
        let current = self.current.load_full();
        let identities = Arc::clone(&current.identities);
        let session = Session { tls: Arc::clone(self), identities };
        let connector = TlsConnector::from(Arc::clone(&current.config));
        let stream = match connector.connect(self.name.clone(), io).await {
            Ok(stream) => stream,
            Err(error) => return Err(session.explain_handshake(&error)),
        };
        let agreed = stream.get_ref().1.alpn_protocol();
        if agreed.is_none() && self.version.needs_alpn() {
            return Err(self.no_common_protocol());
        }
        Ok((Box::new(stream), session))
    }
}

impl Session {
    /// What this error of a connection says about TLS, if it does.
    pub(super) fn explain(&self, error: &io::Error) -> Option<String> {
        words::tls_error(error).map(|error| self.explain_tls(error))
    }

    /// What it may mean that the collector has ended a connection, right after the handshake and
    /// without a word, if it may have to do with TLS.
    pub(super) fn explain_silence(&self) -> Option<String> {
        self.identities.was_asked().then(|| {
            let client = if self.identities.is_empty() { "a" } else { "another" };
            format!(
                "the collector ended the connection after the handshake; perhaps it wants {client} \
                 client certificate: see https_keypairs",
            )
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the configuration: it holds keys.
        f.debug_struct("Tls")
            .field("options", &self.options)
            .field("name", &self.name)
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tls.fmt(f)
    }
}

impl Version {
    /// The one protocol that is spoken over TLS. The exporter over HTTP sends few requests at
    /// once, and has HTTP/2 only with the other one's feature.
    fn alpn(self) -> &'static [u8] {
        match self {
            #[cfg(feature = "http")]
            Self::Http1 => b"http/1.1",
            #[cfg(feature = "grpc")]
            Self::Http2 => b"h2",
        }
    }

    /// Who agrees to no protocol speaks HTTP/1.1.
    fn needs_alpn(self) -> bool {
        self.alpn() == b"h2"
    }
}

fn server_name(configured: Option<&str>, host: &str) -> Result<ServerName<'static>, String> {
    // An IPv6 address has brackets in a URL.
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let (key, name) = match configured {
        Some(name) => ("server_name", name),
        None => ("exporter_url", host),
    };
    ServerName::try_from(name.to_owned()).map_err(|_| {
        format!("tracing_service.{key}: no certificate can be for the name \"{name}\"")
    })
}

/// # Errors
///
/// Everything that is wrong with the files.
fn make(
    options: &TlsOptions,
    version: Version,
    files: &Files,
    generation: u64,
) -> Result<Current, Vec<String>> {
    let mut problems = Vec::new();
    let roots = roots(options, files, &mut problems);
    let provider = Arc::new(provider());
    let identities = Arc::new(files.identities(&provider, &mut problems));
    if !problems.is_empty() {
        return Err(problems);
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![format!("TLS: {error}")])?;
    let identities_in_config: Arc<Identities> = Arc::clone(&identities);
    let mut config =
        config.with_root_certificates(roots).with_client_cert_resolver(identities_in_config);
    config.alpn_protocols = vec![version.alpn().to_vec()];
    Ok(Current { config: Arc::new(config), identities, generation })
}

/// Whom to believe. What is wrong is left out.
fn roots(options: &TlsOptions, files: &Files, problems: &mut Vec<String>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for (file, certificates) in files.authorities(problems) {
        for (index, certificate) in certificates.into_iter().enumerate() {
            if let Err(error) = roots.add(certificate) {
                let number = index + 1;
                problems.push(file.problem(&format!("certificate {number} in it: {error}")));
            }
        }
    }
    if options.ca_certs.is_empty() || options.system_roots {
        problems.extend(add_system_roots(&mut roots).err());
    }
    roots
}

fn add_system_roots(roots: &mut RootCertStore) -> Result<(), String> {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(());
    }
    let error = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    Err(format!(
        "tracing_service.ca_certs: this system has no certificate authorities{error}: install \
         them, or name files with those of the collector here",
    ))
}

#[cfg(feature = "ring")]
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(not(feature = "ring"))]
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// How often the files are looked at while connections last.
const INTERVAL: Duration = Duration::from_secs(10);

#[cfg(all(test, feature = "http"))]
mod tests;
