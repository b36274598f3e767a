//! Client certificates: which one a collector is shown.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

/// The client certificates of an exporter, in the order of the section.
pub(super) struct Identities {
    all: Vec<Identity>,
    asked: AtomicBool,
}

/// A client certificate.
pub(super) struct Identity {
    key: Arc<CertifiedKey>,
    /// The names of those who have signed its chain, in DER.
    issuers: Vec<Vec<u8>>,
}

impl Identities {
    pub(super) fn new(all: Vec<Identity>) -> Self {
        Self { all, asked: AtomicBool::new(false) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the collector has wanted to see one.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Identity {
    pub(super) fn new(key: CertifiedKey) -> Self {
        let issuers = key.cert.iter().filter_map(issuer).map(<[u8]>::to_vec).collect();
        Self { key: Arc::new(key), issuers }
    }

    fn is_signed_by_one_of(&self, authorities: &[&[u8]]) -> bool {
        self.issuers.iter().any(|issuer| authorities.contains(&issuer.as_slice()))
    }
}

impl ResolvesClientCert for Identities {
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        let mut usable =
            self.all.iter().filter(|identity| identity.key.key.choose_scheme(schemes).is_some());
        let first = usable.clone().next();
        // Who does not find its authority is shown the first: the refusal says more than nothing.
        let fits = usable.find(|identity| identity.is_signed_by_one_of(authorities)).or(first)?;
        Some(Arc::clone(&fits.key))
    }

    fn has_certs(&self) -> bool {
        !self.all.is_empty()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the keys.
        f.debug_struct("Identities").field("len", &self.all.len()).finish_non_exhaustive()
    }
}

/// The name of who has signed a certificate, as it stands there (RFC 5280, 4.1).
fn issuer<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, to_be_signed, _) = element(certificate)?;
    let (whole, _, after) = element(to_be_signed)?;
    // The version may be missing, the serial number and the algorithm are there.
    let serial = if whole.first() == Some(&VERSION) { after } else { to_be_signed };
    let (_, _, algorithm) = element(serial)?;
    let (_, _, issuer) = element(algorithm)?;
    Some(element(issuer)?.0)
}

/// The first element of DER: the whole of it, what is in it, and what comes after it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (head, len) = match *der {
        [_, len @ 0..=0x7f, ..] => (2, usize::from(len)),
        [_, 0x81, len, ..] => (3, usize::from(len)),
        [_, 0x82, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
        // Nothing in a certificate is larger than 64 KiB.
        _ => return None,
    };
    let (whole, after) = der.split_at_checked(head + len)?;
    Some((whole, &whole[head..], after))
}

/// The tag of the version.
const VERSION: u8 = 0xa0;
