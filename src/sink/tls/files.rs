//! The files with certificates and keys: what they hold, and what is wrong with them.
//!
//! Nothing of a file is repeated in a message: any of them may be the key.

use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::identity::{Identities, Identity};
use crate::sink::options::TlsOptions;

/// All files of a section, as they were at one time.
#[derive(Eq, PartialEq)]
pub(super) struct Files {
    authorities: Vec<File>,
    /// Keys and their certificates.
    keypairs: Vec<(File, File)>,
}

/// A file, or why it could not be read.
pub(super) struct File {
    /// Where it is named, such as `ca_certs[0]`.
    key: String,
    path: PathBuf,
    content: Result<Vec<u8>, String>,
    is_exposed: bool,
}

impl Files {
    pub(super) fn read(options: &TlsOptions) -> Self {
        let authorities = options.ca_certs.iter().enumerate();
        let keypairs = options.keypairs.iter().enumerate();
        Self {
            authorities: authorities
                .map(|(index, path)| File::read(format!("ca_certs[{index}]"), path))
                .collect(),
            keypairs: keypairs
                .map(|(index, pair)| {
                    let key = format!("keypairs[{index}]");
                    let key_file = File::read(format!("{key}.key_file"), &pair.key_file);
                    (key_file, File::read(format!("{key}.cert_file"), &pair.cert_file))
                })
                .collect(),
        }
    }

    /// The certificates of each file with authorities, where nothing is wrong with it.
    pub(super) fn authorities(
        &self,
        problems: &mut Vec<String>,
    ) -> Vec<(&File, Vec<CertificateDer<'static>>)> {
        let read = |file: &'_ File| file.certificates().map_err(|reason| file.problem(&reason));
        let mut found = Vec::new();
        for file in &self.authorities {
            match read(file) {
                Ok(certificates) => found.push((file, certificates)),
                Err(problem) => problems.push(problem),
            }
        }
        found
    }

    /// The client certificates. Those are left out with which something is wrong.
    pub(super) fn identities(
        &self,
        provider: &CryptoProvider,
        problems: &mut Vec<String>,
    ) -> Identities {
        let mut identities = Vec::new();
        for (key_file, cert_file) in &self.keypairs {
            let key = key_file.private_key().map_err(|reason| key_file.problem(&reason));
            let chain = cert_file.certificates().map_err(|reason| cert_file.problem(&reason));
            match (key, chain) {
                (Ok(key), Ok(chain)) => match CertifiedKey::from_der(chain, key, provider) {
                    Ok(key) => identities.push(Identity::new(key)),
                    Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                        problems.push(key_file.problem(&format!(
                            "it is not the key of the first certificate in {}",
                            cert_file.path.display(),
                        )));
                    }
                    Err(Error::InvalidCertificate(_)) => {
                        problems.push(cert_file.problem("the first certificate in it is malformed"))
                    }
                    Err(_) => problems.push(key_file.problem(
                        "the private key in it is malformed or of a kind that is not supported: \
                         RSA (2048 bits and more), ECDSA (P-256, P-384) and Ed25519 are",
                    )),
                },
                (key, chain) => problems.extend(key.err().into_iter().chain(chain.err())),
            }
        }
        Identities::new(identities)
    }

    /// Keys that other users may read.
    pub(super) fn exposed_keys(&self) -> impl Iterator<Item = &PathBuf> {
        let exposed = self.keypairs.iter().filter(|(key_file, _)| key_file.is_exposed);
        exposed.map(|(key_file, _)| &key_file.path)
    }

    /// The names of all files.
    pub(super) fn names(&self) -> String {
        names(self.all())
    }

    /// The names of files whose content differs.
    pub(super) fn changed(&self, before: &Self) -> String {
        let changed = self.all().zip(before.all()).filter(|(now, before)| now != before);
        names(changed.map(|(now, _)| now))
    }

    fn all(&self) -> impl Iterator<Item = &File> {
        let keypairs = self.keypairs.iter().flat_map(|(key_file, cert_file)| [key_file, cert_file]);
        self.authorities.iter().chain(keypairs)
    }
}

impl File {
    fn read(key: String, path: &Path) -> Self {
        let read = read(path);
        let is_exposed = read.as_ref().is_ok_and(|(metadata, _)| is_exposed(metadata));
        let content = read.map(|(_, content)| content).map_err(|error| error.to_string());
        Self { key, path: path.to_owned(), content, is_exposed }
    }

    /// A sentence about this file.
    pub(super) fn problem(&self, reason: &str) -> String {
        format!("tracing_service.{}: {}: {reason}", self.key, self.path.display())
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let mut sections = self.sections()?;
        let all = sections.len();
        sections.retain(|(kind, _)| *kind == SectionKind::Certificate);
        if sections.is_empty() {
            return Err(if all > 0 {
                "it holds no certificate, but something else: is it the right file?".to_owned()
            } else {
                self.nothing_in_it("certificate")
            });
        }
        Ok(sections.into_iter().map(|(_, der)| der.into()).collect())
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let content = self.content.as_ref().map_err(Clone::clone)?;
        let is_encrypted = content
            .split(|&byte| byte == b'\n')
            .any(|line| ENCRYPTED.iter().any(|sign| line.starts_with(sign)));
        if is_encrypted {
            return Err("the private key in it is encrypted: store it without a passphrase, for \
                        nobody is there to type it"
                .to_owned());
        }
        let sections = self.sections()?;
        let all = sections.len();
        let key = |(kind, der)| PrivateKeyDer::from_pem(kind, der);
        let mut keys: Vec<_> = sections.into_iter().filter_map(key).collect();
        match (keys.pop(), keys.len()) {
            (Some(key), 0) => Ok(key),
            (Some(_), others) => Err(format!("it holds {} private keys: keep one", others + 1)),
            (None, _) if all > 0 => Err("it holds no private key, but something else: are \
                                         key_file and cert_file mixed up?"
                .to_owned()),
            (None, _) => Err(self.nothing_in_it("private key")),
        }
    }

    fn sections(&self) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
        let content = self.content.as_ref().map_err(Clone::clone)?;
        let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(content);
        sections.collect::<Result<_, _>>().map_err(|error| {
            // Without the error's own words: they quote the file.
            let reason = match error {
                pem::Error::MissingSectionEnd { .. } => "it ends before the END line",
                pem::Error::IllegalSectionStart { .. } => "a BEGIN line in it is malformed",
                pem::Error::Base64Decode(_) => "what is between BEGIN and END is not base64",
                _ => "it is not valid PEM",
            };
            reason.to_owned()
        })
    }

    fn nothing_in_it(&self, what: &str) -> String {
        match self.content.as_deref().unwrap_or_default() {
            [] => "it is empty".to_owned(),
            [DER_SEQUENCE, ..] => "it seems to be DER: convert it to PEM".to_owned(),
            _ => format!("no {what} in PEM is in it"),
        }
    }
}

/// Whoever may read it, a file is what is in it.
impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.content == other.content
    }
}

impl Eq for File {}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without their content.
        f.debug_list().entries(self.all().map(|file| &file.path)).finish()
    }
}

fn names<'a>(files: impl Iterator<Item = &'a File>) -> String {
    files.map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn read(path: &Path) -> io::Result<(Metadata, Vec<u8>)> {
    // Asked before it is opened: opening a pipe waits for somebody.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mut content = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::other("larger than 16 MiB"));
    }
    Ok((metadata, without_marks(content)))
}

/// Without the mark that some editors begin a file with. A BEGIN line behind it would be taken for
/// a comment, and a bundle of such files has it in the middle, too.
fn without_marks(content: Vec<u8>) -> Vec<u8> {
    let mut left = &content[..];
    let mut kept = Vec::new();
    while let Some(at) = left.windows(MARK.len()).position(|bytes| bytes == MARK) {
        kept.extend_from_slice(&left[..at]);
        left = &left[at + MARK.len()..];
    }
    if kept.is_empty() && left.len() == content.len() {
        return content;
    }
    kept.extend_from_slice(left);
    kept
}

#[cfg(unix)]
fn is_exposed(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o044 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &Metadata) -> bool {
    false
}

/// How lines begin in keys with a passphrase, of PKCS#8 and of older forms.
const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// The first byte of a certificate or key in DER.
const DER_SEQUENCE: u8 = 0x30;
/// No bundle of certificates comes near.
const LARGEST: u64 = 16 << 20;
