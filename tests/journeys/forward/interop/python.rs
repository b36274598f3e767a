//! The OpenTelemetry SDK of Python, as it comes.
//!
//! `OTEL_PYTHON` says which Python has it (`pip install opentelemetry-sdk
//! opentelemetry-exporter-otlp-proto-grpc opentelemetry-exporter-otlp-proto-http`, in the versions of
//! `.ci/run`). Without it the test says that it was skipped, except in CI, where it fails.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use axum::Extension;
use futures_util::StreamExt;
use futures_util::future::join_all;
use http::request::Parts;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use super::*;
use crate::support::pki::{self, Authority};

/// How a row sends.
struct Row {
    /// The name of its service, too.
    name: &'static str,
    protocol: &'static str,
    /// Its exporter of gRPC does not know the word for none.
    compression: Option<&'static str>,
    tls: Tls,
    /// What it says of itself in a header.
    header: &'static str,
    /// Who it is to the forwarder; nobody is refused.
    sender: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Tls {
    Off,
    On,
    Mutual,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_pythons_sdk_arrive_however_they_are_sent() {
    let Some(python) = python() else { return };
    let Some(backend) = Backend::start() else { return };
    let row = |name, protocol, compression, tls| Row {
        name,
        protocol,
        compression,
        tls,
        header: if tls == Tls::Mutual { "" } else { "who=alice" },
        sender: Some(if tls == Tls::Mutual { "bob" } else { "alice" }),
    };
    let refused =
        |name, protocol| Row { header: "", sender: None, ..row(name, protocol, None, Tls::Off) };
    let rows = [
        row("grpc", "grpc", None, Tls::Off),
        row("grpc, gzip", "grpc", Some("gzip"), Tls::Off),
        row("grpc, TLS", "grpc", None, Tls::On),
        row("grpc, mutual TLS", "grpc", Some("gzip"), Tls::Mutual),
        row("http", "http", None, Tls::Off),
        row("http, gzip", "http", Some("gzip"), Tls::Off),
        row("http, TLS", "http", None, Tls::On),
        row("http, mutual TLS", "http", Some("gzip"), Tls::Mutual),
        refused("grpc, of nobody", "grpc"),
        refused("http, of nobody", "http"),
    ];

    let tracing = backend.tracing();
    let certificates = Certificates::new();
    let bob = certificates.client.chain[0].clone();
    let forwarder = tracing.forwarder(move |request| match shown(request) {
        Some(certificate) if certificate == bob => Identity::allow("bob"),
        Some(_) => Identity::deny("a certificate of somebody else"),
        None => match request.headers.get("who").map(|who| who.to_str()) {
            Some(Ok(who)) => Identity::allow(who.to_owned()),
            _ => Identity::deny("who are you?"),
        },
    });
    let mut servers = Vec::new();
    for tls in [Tls::Off, Tls::On, Tls::Mutual] {
        let grpc = serve_grpc(&forwarder, certificates.for_server(tls)).await;
        servers.push(("grpc", tls, grpc));
        servers.push(("http", tls, serve_http(&forwarder, certificates.for_server(tls)).await));
    }

    let sending = rows.iter().map(async |row| {
        let server =
            servers.iter().find(|(protocol, tls, _)| (*protocol, *tls) == (row.protocol, row.tls));
        let taken = send(Path::new(&python), row, server.unwrap().2, &certificates).await;
        assert_eq!(taken, if row.sender.is_some() { SPANS } else { 0 }, "{}", row.name);
    });
    join_all(sending).await;

    let senders = rows.iter().filter_map(|row| Some((row.name.to_owned(), row.sender?.to_owned())));
    let senders: Vec<_> = senders.collect();
    let all = SPANS * senders.len();
    assert_eq!(tracing.shutdown(LONG).await, delivered(all as u64));
    let arrived = backend.arrived(all).await;
    let mut expected = senders;
    expected.sort();
    assert_eq!(arrived.keys().cloned().collect::<Vec<_>>(), expected);
    for ((service, _), spans) in &arrived {
        assert_eq!(names(spans), numbered(SPANS), "{service}");
        spans.iter().for_each(assert_whole);
    }
}

/// Asserts that a span is what `send.py` has made, but for what it claims to be.
fn assert_whole(span: &Span) {
    let number: i64 = span.name.strip_prefix("span ").unwrap().parse().unwrap();
    let int = |key: &str, value| {
        let value = Some(AnyValue { value: Some(Value::IntValue(value)) });
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    };
    assert_eq!(span.attributes, [text("text", "grüße 漢字 🦀"), int("number", number)]);
    assert_eq!((span.kind, span.trace_id.len(), span.span_id.len()), (3, 16, 8));
    assert!(0 < span.start_time_unix_nano && span.start_time_unix_nano <= span.end_time_unix_nano);
    let event = Event {
        time_unix_nano: span.events[0].time_unix_nano,
        name: "größer".to_owned(),
        attributes: vec![int("hits", 3)],
        ..Event::default()
    };
    assert_eq!(span.events, [event]);
    let link = Link {
        trace_id: 0xab_cdef_u128.to_be_bytes().to_vec(),
        span_id: 0xfe_dcba_u64.to_be_bytes().to_vec(),
        attributes: vec![text("why", "batch")],
        flags: span.links[0].flags,
        ..Link::default()
    };
    assert_eq!(span.links, [link]);
}

/// Runs `send.py`, and tells how many spans it says were taken.
async fn send(python: &Path, row: &Row, to: SocketAddr, certificates: &Certificates) -> usize {
    let scheme = if row.tls == Tls::Off { "http" } else { "https" };
    let mut command = Command::new(python);
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/journeys/forward/send.py"))
        .args([row.protocol, &SPANS.to_string()])
        // What is set where the tests run is not for this SDK.
        .env_clear()
        .env("OTEL_SERVICE_NAME", row.name)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{scheme}://{to}"))
        .envs(row.compression.map(|name| ("OTEL_EXPORTER_OTLP_COMPRESSION", name)))
        .env("OTEL_EXPORTER_OTLP_HEADERS", row.header)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if row.tls != Tls::Off {
        command.env("OTEL_EXPORTER_OTLP_CERTIFICATE", certificates.file("authority.pem"));
    }
    if row.tls == Tls::Mutual {
        command
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", certificates.file("client.key"))
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificates.file("client.pem"));
    }
    let output = tokio::time::timeout(LONG, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{}: does not end", row.name)).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    said.trim().parse().unwrap_or_else(|_| panic!("{}: {said}{errors}", row.name))
}

/// The Python that has the SDK; `None` where there is none.
fn python() -> Option<std::ffi::OsString> {
    let python = env::var_os("OTEL_PYTHON");
    if python.is_none() {
        assert!(env::var_os("CI").is_none(), "OTEL_PYTHON is not set, and CI needs it");
        // Not `println`, which is not shown for a test that passes.
        let _ =
            writeln!(io::stderr(), "skipped: OTEL_PYTHON does not say which Python has the SDK");
    }
    python
}

/// What the servers show, and the clients, who find theirs in files.
struct Certificates {
    authority: Authority,
    server: pki::Identity,
    client: pki::Identity,
    directory: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let authority = Authority::new("senders and forwarders");
        let (server, client) = (authority.server(&["127.0.0.1"]), authority.client("bob"));
        let directory = tempfile::tempdir().unwrap();
        client.write(directory.path(), "client");
        std::fs::write(directory.path().join("authority.pem"), authority.pem()).unwrap();
        Self { authority, server, client, directory }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn for_server(&self, tls: Tls) -> Option<Arc<ServerConfig>> {
        let server = pki::Server::new(&self.server);
        match tls {
            Tls::Off => None,
            Tls::On => Some(server.config()),
            Tls::Mutual => {
                Some(pki::Server { clients_of: &[self.authority.der()], ..server }.config())
            }
        }
    }
}

/// The certificate of the peer, which [`serve_http`] puts into the extensions.
#[derive(Clone)]
struct Shown(CertificateDer<'static>);

/// The certificate of the peer, whichever server has put it there.
fn shown(request: &Parts) -> Option<CertificateDer<'static>> {
    if let Some(Shown(certificate)) = request.extensions.get() {
        return Some(certificate.clone());
    }
    let connection = request.extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
    connection.peer_certs()?.first().cloned()
}

async fn serve_grpc(forwarder: &SpanForwarder, tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(forwarder.grpc());
    let incoming = TcpIncoming::from(listener);
    let Some(tls) = tls else {
        tokio::spawn(server.serve_with_incoming(incoming));
        return address;
    };
    // Not by `tls_config`: it wants the cryptography to be set for the whole process.
    let acceptor = TlsAcceptor::from(tls);
    let incoming = incoming.then(move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream?).await }
    });
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

async fn serve_http(forwarder: &SpanForwarder, tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let app = Router::new().route_service("/v1/traces", forwarder.http());
    let Some(tls) = tls else { return serve(app).await };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, mut app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                if let Some(chain) = stream.get_ref().1.peer_certificates() {
                    app = app.layer(Extension(Shown(chain[0].clone())));
                }
                // Its end is the client's business.
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
                    .await;
            });
        }
    });
    address
}
