//! Certificates for one run: an authority, and what it issues.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error, ExtendedKeyUsagePurpose,
    IsCa, KeyPair,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// Signs the certificates of everybody.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, of a server or a user.
pub(crate) struct Issued {
    name: String,
    der: Vec<u8>,
    identity: Identity,
    authority: Certificate,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of tsh");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// For a server, which is a client of other servers, too.
    pub(crate) fn server(&self, name: &str) -> Result<Issued, Error> {
        self.issue(
            name,
            &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        )
    }

    pub(crate) fn user(&self, name: &str) -> Result<Issued, Error> {
        self.issue(name, &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(&self, name: &str, usages: &[ExtendedKeyUsagePurpose]) -> Result<Issued, Error> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.extended_key_usages = usages.to_vec();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            name: name.to_owned(),
            der: certificate.der().to_vec(),
            identity: Identity::from_pem(certificate.pem(), key.serialize_pem()),
            authority: Certificate::from_pem(self.issuer.pem()),
        })
    }
}

impl Issued {
    /// Whose certificate this is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The certificate, as it is shown in a handshake.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// To serve with it. Clients have to show a certificate of the same authority.
    pub(crate) fn to_serve(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(self.identity.clone())
            .client_ca_root(self.authority.clone())
    }

    /// To call a server of this name with it.
    pub(crate) fn to_call(&self, server: &str) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .identity(self.identity.clone())
            .ca_certificate(self.authority.clone())
            .domain_name(server)
    }
}
