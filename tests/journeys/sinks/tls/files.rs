//! Files with certificates and keys: forms that are read, and what is said of the others at start.

use std::fs;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::support::pki::{self, pem, write_key};

#[test]
fn client_keys_are_read_in_every_form() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("ours");
    let ours = file(&directory, "ours.pem", &authority.pem());
    let server = authority.server(&["127.0.0.1"]);
    let rsa = CertificateDer::from_pem_slice(RSA_CERT.as_bytes()).unwrap();

    let p256 = authority.client("client");
    // The older form is inside of the newer one (RFC 5958, RFC 5915).
    let sec1 = pem("EC PRIVATE KEY", &p256.key.serialize_der()[29..]);
    let parameters = pem("EC PARAMETERS", b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07");
    let other = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let identity = authority.sign(&pki::client("client"), key);
        (identity.key.serialize_pem(), identity.pem())
    };
    let (p384, ed25519) = (other(&PKCS_ECDSA_P384_SHA384), other(&PKCS_ED25519));
    let rows = [
        (p256.key.serialize_pem(), p256.pem(), "PKCS#8, ECDSA P-256"),
        (sec1.clone(), p256.pem(), "SEC1"),
        (parameters + &sec1, p256.pem(), "SEC1 as OpenSSL writes it"),
        (p384.0, p384.1, "PKCS#8, ECDSA P-384"),
        (ed25519.0, ed25519.1, "PKCS#8, Ed25519"),
        (RSA_KEY.to_owned(), RSA_CERT.to_owned(), "PKCS#1, RSA"),
        (format!("a comment\r\n{}", p256.key.serialize_pem()), p256.pem(), "with a comment"),
    ];
    for (key, cert, why) in rows {
        let key_file = directory.path().join("client.key");
        write_key(&key_file, &key);
        let cert_file = file(&directory, "client.pem", &cert);
        let collector = Collector::start(Script::Ok);
        let clients_of = &[authority.der(), rsa.clone()];
        collector.use_tls(Server { clients_of, ..Server::new(&server) }.config());
        let log = Log::about(&directory.path().display().to_string());
        let config = to(&format!("grpcs://{}", collector.address())).ca_certs([&ours]);
        let tracing = config.keypair(key_file, cert_file).start("tls").unwrap();
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{why}");
        assert!(log.lines().is_empty(), "{why}: {:?}", log.lines());
    }
}

#[test]
fn the_client_certificate_is_the_one_that_the_collector_may_believe() {
    let directory = TempDir::new().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let ca_certs = file(&directory, "ours.pem", &ours.pem());
    let first = theirs.client("first").write(directory.path(), "first");
    let second = ours.intermediate("between").client("second").write(directory.path(), "second");
    for (scheme, _, rest) in SCHEMES {
        let collector = Collector::start(Script::Ok);
        let server = ours.server(&["127.0.0.1"]);
        let clients_of = &[ours.der()];
        collector.use_tls(Server { clients_of, ..Server::new(&server) }.config());
        let config = to(&format!("{scheme}://{}{rest}", collector.address()));
        let config = config.ca_certs([&ca_certs]).keypair(&first.0, &first.1);
        let tracing = config.keypair(&second.0, &second.1).start("tls").unwrap();
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{scheme}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_at_start() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("ours");
    let client = authority.client("client");
    let other = authority.client("other");
    let (key, cert, ca) = (client.key.serialize_pem(), client.pem(), authority.pem());
    let ours = file(&directory, "ours.pem", &ca);
    let cut = &ca[..ca.len() / 2];
    let garbage = pem("CERTIFICATE", b"garbage");
    let der = String::from_utf8_lossy(b"0\x0b").into_owned();
    let traditional = format!(
        "{}\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----"
    );
    let one_line = key.replace('\n', "");

    // What the file holds, and what is said of it.
    let authorities: [(&str, &str); 8] = [
        ("", "it is empty"),
        ("an apology in HTML", "no certificate in PEM is in it"),
        (&der, "it seems to be DER: convert it to PEM"),
        (&key, "it holds no certificate, but something else: is it the right file?"),
        (cut, "it ends before the END line"),
        (
            "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----",
            "what is between BEGIN and END is not base64",
        ),
        ("-----BEGIN CERTIFICATE---\n", "a BEGIN line in it is malformed"),
        (&format!("{ca}{garbage}"), "certificate 2 in it: invalid peer certificate: BadEncoding"),
    ];
    for (content, reason) in authorities {
        let path = file(&directory, "ca.pem", content);
        let config = to("grpcs://collector").ca_certs([&ours, &path]);
        let expected = format!("tracing_service.ca_certs[1]: {}: {reason}", path.display());
        assert_refused(config, &expected);
    }

    let path = directory.path().join("secret.key");
    let keys: [(&str, &str); 9] = [
        ("", "it is empty"),
        ("password", "no private key in PEM is in it"),
        (&der, "it seems to be DER: convert it to PEM"),
        (
            &cert,
            "it holds no private key, but something else: are key_file and cert_file mixed up?",
        ),
        (&format!("{key}{key}"), "it holds 2 private keys: keep one"),
        (&key.replace("PRIVATE", "ENCRYPTED PRIVATE"), ENCRYPTED),
        (&traditional, ENCRYPTED),
        (&one_line, "it ends before the END line"),
        (
            &pem("PRIVATE KEY", b"garbage"),
            "the private key in it is malformed or of a kind that is not supported: RSA (2048 \
             bits and more), ECDSA (P-256, P-384) and Ed25519 are",
        ),
    ];
    let cert_file = file(&directory, "client.pem", &cert);
    for (content, reason) in keys {
        write_key(&path, content);
        let config = to("https://collector").ca_certs([&ours]).keypair(&path, &cert_file);
        let expected =
            format!("tracing_service.https_keypairs[0].key_file: {}: {reason}", path.display());
        assert_refused(config, &expected);
    }

    let (key_file, _) = client.write(directory.path(), "client");
    let wrong = file(&directory, "wrong.pem", &key);
    let broken = file(&directory, "broken.pem", &garbage);
    let others = file(&directory, "others.pem", &other.pem());
    let nowhere = directory.path().join("nowhere.pem");
    let rows = [
        (
            to("grpcs://collector").ca_certs([&ours]).keypair(&key_file, &others),
            format!(
                "https_keypairs[0].key_file: {}: it is not the key of the first certificate in {}",
                key_file.display(),
                others.display(),
            ),
        ),
        (
            to("grpcs://collector").ca_certs([&ours]).keypair(&key_file, &wrong),
            format!(
                "https_keypairs[0].cert_file: {}: it holds no certificate, but something else: is it \
                 the right file?",
                wrong.display(),
            ),
        ),
        (
            to("grpcs://collector").ca_certs([&ours]).keypair(&key_file, &broken),
            format!(
                "https_keypairs[0].cert_file: {}: the first certificate in it is malformed",
                broken.display(),
            ),
        ),
        (
            to("grpc://collector").ca_certs([directory.path()]),
            format!("ca_certs[0]: {}: not a file", directory.path().display()),
        ),
        (
            to("https://collector").ca_certs([&nowhere, &ours, &wrong]).keypair(&nowhere, &wrong),
            format!(
                "ca_certs[0]: {0}: No such file or directory (os error 2)\n\
                 tracing_service.ca_certs[2]: {1}: it holds no certificate, but something else: is \
                 it the right file?\n\
                 tracing_service.https_keypairs[0].key_file: {0}: No such file or directory (os error 2)\n\
                 tracing_service.https_keypairs[0].cert_file: {1}: it holds no certificate, but \
                 something else: is it the right file?",
                nowhere.display(),
                wrong.display(),
            ),
        ),
        (
            to("https://collector..example").ca_certs([&ours]),
            "exporter_url: no certificate can be for the name \"collector..example\"".to_owned(),
        ),
    ];
    for (config, expected) in rows {
        assert_refused(config, &format!("tracing_service.{expected}"));
    }
}

#[test]
fn a_key_that_others_may_read_is_warned_of_once() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("ours");
    let ours = file(&directory, "ours.pem", &authority.pem());
    let (key_file, cert_file) = authority.client("client").write(directory.path(), "client");
    let name = key_file.display().to_string();
    let warning = format!(
        "WARN the private key in {name} can be read by other users: take the permission from them \
         (chmod 600)",
    );
    let rows = [
        (0o600, &[][..]),
        (0o400, &[]),
        (0o630, &[]),
        (0o603, &[]),
        (0o640, &[&warning]),
        (0o604, &[&warning]),
    ];
    for (mode, expected) in rows {
        fs::set_permissions(&key_file, fs::Permissions::from_mode(mode)).unwrap();
        let log = Log::about(&name);
        let config = to("grpcs://collector").ca_certs([&ours]).keypair(&key_file, &cert_file);
        drop(config.start("tls").unwrap());
        assert_eq!(log.lines().iter().collect::<Vec<_>>(), expected, "{mode:o}");
    }
}

fn assert_refused(config: TracingServiceConfig, expected: &str) {
    let error = config.start("tls").unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(format!("{error:?}"), expected, "as `main` would show it");
}

const ENCRYPTED: &str = "the private key in it is encrypted: store it without a passphrase, for \
     nobody is there to type it";
/// Made with OpenSSL, for rcgen makes no RSA keys with ring. It opens no door.
const RSA_KEY: &str = include_str!("rsa.key");
const RSA_CERT: &str = include_str!("rsa.pem");
