//! Every way in which TLS does not come about, and the line that says so.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::ServerConnection;
use rustls::version::{TLS12, TLS13};
use tower_otlp::RetryConfig;

use super::super::script::{Answer, Wire};
use super::super::{SHORT, pending, wait_for_line};
use super::*;
use crate::support::pki;

/// What a case has besides its collector.
struct Case<'a> {
    why: &'a str,
    /// `None` is a plaintext port.
    server: Option<Arc<ServerConfig>>,
    script: Script,
    ca_certs: Vec<&'a Path>,
    keypair: Option<&'a (PathBuf, PathBuf)>,
    /// Over gRPC and over HTTP; empty when the spans are delivered.
    words: [&'a str; 2],
}

#[test]
fn every_refusal_names_its_reason() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("ours");
    let namesake = Authority::new("ours");
    let stranger = Authority::new("stranger");
    let between = authority.intermediate("between");
    let ours = file(&directory, "ours.pem", &authority.pem());
    let theirs = file(&directory, "theirs.pem", &stranger.pem());
    let other_key = file(&directory, "namesake.pem", &namesake.pem());
    let client = authority.client("client").write(directory.path(), "client");
    let strange = stranger.client("client").write(directory.path(), "strange");
    let mut params = pki::client("client");
    params.not_after = date_time_ymd(2001, 2, 28);
    let expired_client = authority.issue(&params).write(directory.path(), "expired");

    let good = authority.server(&[HOST]);
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = pki::server(&[HOST]);
        change(&mut params);
        Server::new(&authority.issue(&params)).config()
    };
    let mutual = |versions| {
        Server { clients_of: &[authority.der()], versions, ..Server::new(&good) }.config()
    };
    let alpn = |alpn| Server { alpn, ..Server::new(&good) }.config();
    let mut incomplete = between.server(&[HOST]);
    let complete = Server::new(&incomplete).config();
    incomplete.chain.truncate(1);

    let case = |why: &'static str, server: Arc<ServerConfig>, words: &'static str| Case {
        why,
        server: Some(server),
        script: Script::Ok,
        ca_certs: vec![&ours],
        keypair: None,
        words: [words; 2],
    };
    let cases = [
        case("all is well", Server::new(&good).config(), ""),
        case("all is well, with an intermediate", complete, ""),
        case(
            "the intermediate is not sent",
            Server::new(&incomplete).config(),
            "cannot connect: the collector's certificate is not signed by an authority in ca_certs",
        ),
        Case {
            ca_certs: vec![&theirs],
            ..case(
                "an unknown authority",
                Server::new(&good).config(),
                "cannot connect: the collector's certificate is not signed by an authority in \
                 ca_certs",
            )
        },
        Case {
            ca_certs: vec![&theirs, &ours],
            ..case("the second file has it", Server::new(&good).config(), "")
        },
        Case {
            ca_certs: vec![&other_key],
            ..case(
                "an authority of the same name",
                Server::new(&good).config(),
                "cannot connect: the collector's certificate is signed with another key than that \
                 of the authority of this name: is ca_certs out of date?",
            )
        },
        case(
            "expired",
            with(&|params| params.not_after = date_time_ymd(2024, 2, 29)),
            "cannot connect: the collector's certificate has expired on 2024-02-29",
        ),
        case(
            "not valid yet",
            with(&|params| params.not_before = date_time_ymd(2099, 12, 31)),
            "cannot connect: the collector's certificate is not valid before 2099-12-31: is the \
             clock right?",
        ),
        case(
            "another name",
            Server::new(&authority.server(&["collector.example", "10.0.0.1"])).config(),
            "cannot connect: the collector's certificate is not for the name \"127.0.0.1\" but for \
             [collector.example, 10.0.0.1]: set server_name, if it is the right one",
        ),
        case(
            "for clients",
            with(&|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "cannot connect: the collector's certificate is not one for servers (extended key \
             usage)",
        ),
        case(
            "an authority as a server",
            Server::new(&authority.as_server()).config(),
            "cannot connect: the collector's certificate is one of an authority, not of a server",
        ),
        case(
            "a client certificate is wanted, TLS 1.2",
            mutual(&[&TLS12]),
            "cannot connect: the collector wants a client certificate: name one in https_keypairs",
        ),
        case(
            "a client certificate is wanted, TLS 1.3",
            mutual(&[&TLS13]),
            "the collector wants a client certificate: name one in https_keypairs",
        ),
        Case {
            keypair: Some(&strange),
            ..case(
                "a strange client, TLS 1.2",
                mutual(&[&TLS12]),
                "cannot connect: the collector refused the client certificate of https_keypairs: \
                 it does not know the authority that has signed it (UnknownCA)",
            )
        },
        Case {
            keypair: Some(&strange),
            ..case(
                "a strange client, TLS 1.3",
                mutual(&[&TLS13]),
                "the collector refused the client certificate of https_keypairs: it does not know \
                 the authority that has signed it (UnknownCA)",
            )
        },
        Case {
            keypair: Some(&expired_client),
            ..case(
                "an expired client, TLS 1.2",
                mutual(&[&TLS12]),
                "cannot connect: the collector refused the client certificate of https_keypairs: \
                 it has expired (CertificateExpired)",
            )
        },
        Case {
            keypair: Some(&expired_client),
            ..case(
                "an expired client, TLS 1.3",
                mutual(&[&TLS13]),
                "the collector refused the client certificate of https_keypairs: it has expired \
                 (CertificateExpired)",
            )
        },
        Case { keypair: Some(&client), ..case("the right client, TLS 1.2", mutual(&[&TLS12]), "") },
        Case { keypair: Some(&client), ..case("the right client, TLS 1.3", mutual(&[&TLS13]), "") },
        Case { words: [NO_H2, ""], ..case("HTTP/1.1 only", alpn(&["http/1.1"]), "") },
        Case { words: [NO_H2, ""], ..case("no ALPN", alpn(&[]), "") },
        Case { words: ["", NO_HTTP1], ..case("HTTP/2 only", alpn(&["h2"]), "") },
        Case {
            server: None,
            words: [
                "cannot connect: what the port answers is not TLS: if it is a plaintext port, \
                 write grpc:// without certificates",
                "cannot connect: what the port answers is not TLS: if it is a plaintext port, \
                 write http:// without certificates",
            ],
            ..case("a plaintext port", Server::new(&good).config(), "")
        },
        Case {
            server: None,
            script: Wire::on_accept("").into(),
            words: [
                "cannot connect: the connection was closed during the TLS handshake: if it is a \
                 plaintext port, write grpc:// without certificates",
                "cannot connect: the connection was closed during the TLS handshake: if it is a \
                 plaintext port, write http:// without certificates",
            ],
            ..case("a port that hangs up", Server::new(&good).config(), "")
        },
        Case {
            server: None,
            script: Wire::on_accept(*b"\x15\x03\x01\0\x02\x02\x46").into(),
            ..case(
                "too old",
                Server::new(&good).config(),
                "cannot connect: the collector speaks neither TLS 1.2 nor TLS 1.3",
            )
        },
        Case {
            server: None,
            script: Wire::on_accept("").hold().into(),
            ..case(
                "a handshake that hangs",
                Server::new(&good).config(),
                "cannot connect: the TLS handshake takes more than 5 s",
            )
        },
        Case {
            script: nginx("No required SSL certificate was sent"),
            ..case(
                "no client certificate, says nginx",
                Server::new(&good).config(),
                "answered HTTP 400 Bad Request: the collector wants a client certificate: name \
                 one in https_keypairs",
            )
        },
        Case {
            script: nginx("The SSL certificate error"),
            ..case(
                "a strange client, says nginx",
                Server::new(&good).config(),
                "answered HTTP 400 Bad Request: the collector refused the client certificate of \
                 https_keypairs",
            )
        },
    ];
    for case in &cases {
        for ((scheme, _, rest), words) in SCHEMES.into_iter().zip(case.words) {
            let collector = Collector::start(case.script.clone());
            if let Some(server) = &case.server {
                collector.use_tls(Arc::clone(server));
            }
            let url = format!("{scheme}://{}{rest}", collector.address());
            let mut config = to(&url).ca_certs(&case.ca_certs);
            if let Some((key_file, cert_file)) = case.keypair {
                config = config.keypair(key_file, cert_file);
            }
            assert_says(config, &url, words, case.why);
        }
    }
}

#[test]
fn plaintext_to_a_tls_port_says_so() {
    let authority = Authority::new("ours");
    for (_, scheme, rest) in SCHEMES {
        let collector = Collector::start(Script::Ok);
        collector.use_tls(Server::new(&authority.server(&[HOST])).config());
        let url = format!("{scheme}://{}{rest}", collector.address());
        let words =
            "the port expects TLS: write grpcs:// or https:// instead of grpc:// or http://";
        assert_says(to(&url), &url, words, "an alert in answer to plaintext");
    }
}

#[test]
fn a_collector_that_hangs_up_after_the_handshake_may_want_another_certificate() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("ours");
    let ours = file(&directory, "ours.pem", &authority.pem());
    let (key_file, cert_file) = authority.client("client").write(directory.path(), "client");
    let server = authority.server(&[HOST]);
    for (scheme, _, rest) in SCHEMES {
        let clients_of = &[authority.der()];
        let server = Server { clients_of, ..Server::new(&server) }.config();
        let listener = TcpListener::bind((HOST, 0)).unwrap();
        let url = format!("{scheme}://{}{rest}", listener.local_addr().unwrap());
        let hangs_up = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(server).unwrap();
            while connection.is_handshaking() {
                connection.complete_io(&mut socket).unwrap();
            }
        });
        let config = to(&url).ca_certs([&ours]).keypair(&key_file, &cert_file);
        let words = "the collector ended the connection after the handshake; perhaps it wants \
                     another client certificate: see https_keypairs";
        assert_says(config, &url, words, scheme);
        hangs_up.join().unwrap();
    }
}

/// Whoever is not to be believed now may be a moment later, and another reason is news.
#[test]
fn what_refuses_is_tried_again_and_each_reason_is_told_once() {
    let directory = TempDir::new().unwrap();
    let (ours, strange) = (Authority::new("ours"), Authority::new("strange"));
    let ca_certs = file(&directory, "ours.pem", &ours.pem());
    let good = ours.server(&[HOST]);
    let mut params = pki::server(&[HOST]);
    params.not_after = date_time_ymd(2024, 2, 29);
    let expired = ours.issue(&params);
    let clients_of = &[ours.der()];
    let mutual = Server { clients_of, versions: &[&TLS13], ..Server::new(&good) };
    let steps = [
        (
            Server::new(&strange.server(&[HOST])).config(),
            "cannot connect: the collector's certificate is not signed by an authority in ca_certs",
        ),
        (
            Server::new(&expired).config(),
            "cannot connect: the collector's certificate has expired on 2024-02-29",
        ),
        (mutual.config(), "the collector wants a client certificate: name one in https_keypairs"),
    ];
    for (scheme, _, rest) in SCHEMES {
        let collector = Collector::start(Script::Ok);
        let url = format!("{scheme}://{}{rest}", collector.address());
        let log = Log::about(&url);
        let tracing = to(&url).ca_certs([&ca_certs]).start("tls").unwrap();
        let mut expected = Vec::new();
        for (served, (server, words)) in steps.iter().enumerate() {
            collector.use_tls(Arc::clone(server));
            serve(&tracing, 1);
            for _ in 0..2 {
                assert_eq!(tracing.flush_blocking(SHORT), pending(served as u64 + 1), "{url}");
                wait_for_line(&log, words);
            }
            expected.push(format!(
                "WARN cannot export to {url}: {words}; trying again, spans are kept up to 32 MiB",
            ));
            assert_eq!(log.lines(), expected);
        }
        collector.use_tls(Server::new(&good).config());
        assert_eq!(tracing.flush_blocking(LONG), settled(3, 0), "{url}");
        let lines = log.lines();
        let [told @ .., over] = &lines[..] else { panic!("no line") };
        assert_eq!(told, expected);
        assert!(over.starts_with(&format!("INFO delivered again to {url} after ")), "{over}");
    }
}

/// A proxy refuses for what it saw when a connection was made, and a new one is made with new files.
#[test]
fn what_a_proxy_refuses_is_tried_again_over_another_connection() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("ours");
    let ca_certs = file(&directory, "ours.pem", &authority.pem());
    for (scheme, _, rest) in SCHEMES {
        let refusal = nginx("The SSL certificate error");
        let Script::Answer(refusal) = refusal else { panic!("no answer") };
        let collector = Collector::start(Script::First(1, refusal));
        collector.use_tls(Server::new(&authority.server(&[HOST])).config());
        let url = format!("{scheme}://{}{rest}", collector.address());
        let tracing = to(&url).ca_certs([&ca_certs]).start("tls").unwrap();
        serve(&tracing, 1);
        assert_eq!(tracing.flush_blocking(LONG), settled(1, 0), "{url}");
        assert_eq!(collector.connections(), 2, "{url}");
    }
}

/// Exports a span, which is delivered if there are no words, and given up at once if not, with
/// lines that say so.
fn assert_says(config: TracingServiceConfig, url: &str, words: &str, why: &str) {
    let log = Log::about(url);
    let config = config.retry(RetryConfig::default().give_up_after(Duration::ZERO));
    let tracing = config.start("tls").unwrap_or_else(|error| panic!("{why}: {error}"));
    serve(&tracing, 1);
    let stats = tracing.flush_blocking(LONG);
    let mut expected = Vec::new();
    if words.is_empty() {
        assert_eq!(stats, settled(1, 0), "{why}: {:?}", log.lines());
    } else {
        assert_eq!(stats, given_up(1), "{why}");
        expected.push(format!(
            "WARN cannot export to {url}: {words}; trying again, spans are kept up to 32 MiB",
        ));
        expected.push(format!(
            "WARN cannot export to {url} for 0 s: {words}; spans given up: 1, and further ones \
             until this is over",
        ));
    }
    assert_eq!(log.lines(), expected, "{why}");
}

fn nginx(title: &str) -> Script {
    let page = format!("<html><head><title>400 {title}</title></head></html>");
    Answer::new(400).header("content-type", "text/html").body(page).into()
}

const HOST: &str = "127.0.0.1";
const NO_H2: &str = "cannot connect: the port does not agree to HTTP/2 (ALPN h2): is it an \
     OTLP/gRPC port? OTLP/HTTP is https://";
const NO_HTTP1: &str = "cannot connect: the port does not speak HTTP/1.1: is it an OTLP/HTTP port? \
     OTLP/gRPC is grpcs://";
