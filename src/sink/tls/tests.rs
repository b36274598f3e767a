use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};
use tempfile::TempDir;
use tokio::time::Instant;

use super::identity::Identity;
use super::*;
use crate::sink::options::{self, ExportOptions, RequestOptions};

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn write_pem(directory: &TempDir, name: &str, pem: &str) -> std::path::PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, pem).unwrap();
    path
}

/// The name of an authority in DER: the subject, which rcgen writes as it writes the issuer.
fn name_of(authority: &CertifiedIssuer<'static, KeyPair>) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots.subjects()[0].as_ref().to_vec()
}

#[test]
fn the_first_certificate_is_shown_that_the_collector_may_believe() {
    use SignatureScheme as S;
    let [a, b, c] = ["a", "b", "c"].map(authority);
    let identity = |issuer: &CertifiedIssuer<'static, KeyPair>, algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        let cert = params.signed_by(&key, issuer).unwrap();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = CertifiedKey::from_der(vec![cert.der().clone()], der, &provider()).unwrap();
        (cert.der().clone(), Identity::new(key))
    };
    let (of_a, first) = identity(&a, &rcgen::PKCS_ECDSA_P256_SHA256);
    let (of_b, second) = identity(&b, &rcgen::PKCS_ED25519);
    let identities = Identities::new(vec![first, second]);
    let [a, b, c] = [&a, &b, &c].map(name_of);
    type Row<'a> = (&'a [&'a [u8]], &'a [S], Option<&'a CertificateDer<'static>>, &'a str);
    let rows: [Row<'_>; 7] = [
        (&[&a], &[S::ED25519, S::ECDSA_NISTP256_SHA256], Some(&of_a), "the first fits"),
        (&[&b], &[S::ED25519, S::ECDSA_NISTP256_SHA256], Some(&of_b), "the second fits"),
        (&[&b, &a], &[S::ED25519, S::ECDSA_NISTP256_SHA256], Some(&of_a), "both do"),
        (&[&c], &[S::ED25519, S::ECDSA_NISTP256_SHA256], Some(&of_a), "neither does"),
        (&[], &[S::ED25519, S::ECDSA_NISTP256_SHA256], Some(&of_a), "all may"),
        (&[&a], &[S::ED25519], Some(&of_b), "the first cannot sign like this"),
        (&[&a], &[S::RSA_PKCS1_SHA256], None, "neither can"),
    ];
    assert!(!identities.was_asked());
    for (authorities, schemes, expected, why) in rows {
        let shown = identities.resolve(authorities, schemes);
        assert_eq!(shown.as_ref().map(|key| &key.cert[0]), expected, "{why}");
    }
    assert!(identities.was_asked());
}

#[test]
fn nothing_shows_a_key() {
    let directory = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let options = TlsOptions {
        ca_certs: vec![write_pem(&directory, "ca.pem", &made.cert.pem())],
        keypairs: vec![options::KeyPair {
            key_file: write_pem(&directory, "client.key", &key),
            cert_file: write_pem(&directory, "client.pem", &made.cert.pem()),
        }],
        ..TlsOptions::default()
    };
    let path = |name: &str| format!("{:?}", directory.path().join(name));
    let tls = Tls::load(options.clone(), "[::1]", Version::Http1, PATIENCE).unwrap();
    let expected = format!(
        "Tls {{ options: TlsOptions {{ ca_certs: [{ca}], system_roots: false, keypairs: [KeyPair \
         {{ key_file: {key}, cert_file: {cert} }}], server_name: None }}, name: \
         IpAddress(V6(Ipv6Addr([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]))), generation: \
         0, .. }}",
        ca = path("ca.pem"),
        key = path("client.key"),
        cert = path("client.pem"),
    );
    assert_eq!(format!("{tls:?}"), expected);
    let files = Files::read(&options);
    let expected = format!("[{}, {}, {}]", path("ca.pem"), path("client.key"), path("client.pem"));
    assert_eq!(format!("{files:?}"), expected);
    let identities = format!("{:?}", tls.current.load().identities);
    assert_eq!(identities, "Identities { len: 1, .. }");
}

/// Files of one authority, and a client certificate that it has signed.
fn files(directory: &TempDir) -> TlsOptions {
    let authority = authority("ours");
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &authority).unwrap();
    TlsOptions {
        ca_certs: vec![write_pem(directory, "ca.pem", &authority.pem())],
        keypairs: vec![options::KeyPair {
            key_file: write_pem(directory, "client.key", &key.serialize_pem()),
            cert_file: write_pem(directory, "client.pem", &cert.pem()),
        }],
        ..TlsOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_leaves_time_to_connect_however_little_there_is() {
    let directory = TempDir::new().unwrap();
    let rows = [
        (10_000, 5_000, 1_000, "as nobody sets it"),
        (10_000, 1_000, 250, "a second to connect"),
        (100, 5_000, 25, "a tenth for all"),
    ];
    for (timeout, connect_timeout, expected, why) in rows {
        let options = ExportOptions {
            requests: RequestOptions {
                timeout: Duration::from_millis(timeout),
                ..RequestOptions::default()
            },
            connect_timeout: Duration::from_millis(connect_timeout),
            ..ExportOptions::default()
        };
        let patience = options.patience();
        let tls = Tls::load(files(&directory), "localhost", Version::Http1, patience).unwrap();
        // Whoever looks at the files holds it.
        let _hangs = Arc::clone(&tls.watch).lock_owned().await;
        let start = Instant::now();
        tls.refresh().await;
        // The timer of the runtime counts in milliseconds.
        let waited = start.elapsed().as_millis();
        assert!((expected..=expected + 1).contains(&waited), "{why}: {waited}");
    }
}

#[tokio::test]
async fn certificates_are_new_when_what_is_in_use_is_not_what_the_files_hold() {
    let directory = TempDir::new().unwrap();
    let options = files(&directory);
    let (ca_file, key_file) = (&options.ca_certs[0], &options.keypairs[0].key_file);
    let good = fs::read(ca_file).unwrap();
    let tls = Tls::load(options.clone(), "localhost", Version::Http1, PATIENCE).unwrap();
    let steps: [(&dyn Fn(), u64, &str); 6] = [
        (&|| fs::write(ca_file, "").unwrap(), 0, "what is of no use is not used"),
        (&|| fs::write(ca_file, &good).unwrap(), 0, "what was before is nothing new"),
        (&|| set_mode(key_file, 0o640), 0, "nor are permissions"),
        (&|| fs::write(ca_file, authority("other").pem()).unwrap(), 1, "another authority is"),
        (&|| fs::write(ca_file, "").unwrap(), 1, "nothing again"),
        (&|| fs::write(ca_file, &good).unwrap(), 2, "the first authority is new by now"),
    ];
    for (change, generation, why) in steps {
        change();
        tls.refresh().await;
        assert_eq!(tls.generation(), generation, "{why}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_alert_is_told_by_the_certificates_of_its_own_connection() {
    use AlertDescription as A;
    let directory = TempDir::new().unwrap();
    let options = files(&directory);
    let without = TlsOptions { keypairs: Vec::new(), ..options.clone() };
    let session = |options: &TlsOptions, is_asked| {
        let tls = Tls::load(options.clone(), "localhost", Version::Http1, PATIENCE).unwrap();
        let identities = Arc::clone(&tls.current.load().identities);
        if is_asked {
            drop(identities.resolve(&[], &[]));
        }
        Session { tls, identities }
    };
    let wants = "the collector wants a client certificate: name one in https_keypairs";
    let rows = [
        (session(&without, true), A::CertificateRequired, wants, "TLS 1.3"),
        (session(&without, true), A::HandshakeFailure, wants, "TLS 1.2"),
        (session(&without, true), A::BadCertificate, wants, "TLS 1.2 of Go"),
        (
            session(&without, true),
            A::DecryptError,
            "the collector refused TLS: DecryptError",
            "nothing was signed",
        ),
        (
            session(&without, true),
            A::CertificateExpired,
            "the collector refused TLS: CertificateExpired",
            "nothing was shown that could expire",
        ),
        (
            session(&options, false),
            A::HandshakeFailure,
            "the collector refused TLS: HandshakeFailure",
            "it was not even asked for",
        ),
        (
            session(&options, true),
            A::DecryptError,
            "the collector refused the client certificate of https_keypairs: its signature is \
             wrong (DecryptError)",
            "one was shown",
        ),
    ];
    for (session, alert, expected, why) in rows {
        let words = session.explain_tls(&rustls::Error::AlertReceived(alert));
        assert_eq!(words, expected, "{why}");
    }

    // New certificates have not been asked for yet, and old connections have.
    let old = session(&options, true);
    let new = make(&options, Version::Http1, &Files::read(&options), 1).unwrap();
    old.tls.current.store(Arc::new(new));
    assert_eq!(
        old.explain_tls(&rustls::Error::AlertReceived(A::CertificateExpired)),
        "the collector refused the client certificate of https_keypairs: it has expired \
         (CertificateExpired)",
    );
}

#[test]
fn a_byte_order_mark_hides_no_certificate() {
    let directory = TempDir::new().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| authority(name).pem());
    let mark = '\u{feff}';
    let rows = [
        (format!("{a}{b}{c}"), 3, "no mark"),
        (format!("{mark}{a}{b}"), 2, "at the start"),
        (format!("{mark}{a}{mark}{b}{mark}{c}"), 3, "of each file of a bundle"),
    ];
    for (content, expected, why) in rows {
        let ca_certs = vec![write_pem(&directory, "ca.pem", &content)];
        let options = TlsOptions { ca_certs, ..TlsOptions::default() };
        let mut problems = Vec::new();
        let roots = roots(&options, &Files::read(&options), &mut problems);
        assert_eq!((roots.len(), problems), (expected, Vec::<String>::new()), "{why}");
    }
}

/// Runs itself again, because the environment is that of a process.
#[test]
fn the_authorities_of_the_system_count_beside_others_if_they_are_wanted() {
    const NAME: &str =
        "sink::tls::tests::the_authorities_of_the_system_count_beside_others_if_they_are_wanted";
    let directory = TempDir::new().unwrap();
    let ours = authority("ours");
    let ours = write_pem(&directory, "ours.pem", &ours.pem());
    let Some(system) = env::var_os(SYSTEM) else {
        let system = authority("system").pem() + &authority("other").pem();
        let system = write_pem(&directory, "system.pem", &system);
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env_remove("SSL_CERT_DIR")
            .env("SSL_CERT_FILE", &system)
            .env(SYSTEM, &system)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
        return;
    };
    let rows = [
        (vec![], false, 2, "those of the system, as nobody else is named"),
        (vec![ours.clone()], false, 1, "named authorities replace them"),
        (vec![ours.clone()], true, 3, "unless the system's are wanted, too"),
        (vec![ours, Path::new(&system).to_owned()], false, 3, "several in a file"),
    ];
    for (ca_certs, system_roots, expected, why) in rows {
        let options = TlsOptions { ca_certs, system_roots, ..TlsOptions::default() };
        let mut problems = Vec::new();
        let roots = roots(&options, &Files::read(&options), &mut problems);
        assert_eq!((roots.len(), problems), (expected, Vec::<String>::new()), "{why}");
    }
}

/// No disk hangs here.
const PATIENCE: Duration = Duration::from_secs(60);
const SYSTEM: &str = "TOWER_OTLP_TEST_SYSTEM";
