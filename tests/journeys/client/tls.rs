//! Calls over TLS that do not come about, by hyper-util's client and rustls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::Uri;

use hyper_util::client::legacy::connect::{Connect, Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{TraceLayer, TracingService};

use super::*;
use crate::support::pki::{self, Authority, Server};
use crate::support::spans::next_summary;

#[tokio::test]
async fn a_handshake_that_fails_is_told_apart_from_other_failures() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = |authority: &Authority, name| {
        TlsAcceptor::from(Server::new(&authority.server(&[name])).config())
    };
    let rows = [
        (
            serves(server(&theirs, "127.0.0.1")).await,
            "invalid peer certificate: UnknownIssuer",
            "an unknown authority",
        ),
        (
            serves(server(&ours, "inventory")).await,
            "invalid peer certificate: certificate not valid for name \"127.0.0.1\"; certificate is \
             only valid for DnsName(\"inventory\")",
            "another name",
        ),
        (
            speaks_plaintext().await,
            "received corrupt message of type InvalidContentType",
            "a server that does not speak TLS",
        ),
    ];
    for (address, description, why) in rows {
        let (tracing, mut spans) = TracingService::in_memory();
        let client = TraceLayer::client(&tracing).layer(client(&ours));
        let request = Request::get(format!("https://{address}/")).body(Body::empty()).unwrap();
        client.oneshot(request).await.unwrap_err();
        let expected =
            format!("Client | GET | - | error: client error (Connect): {description} | tls_error");
        assert_eq!(next_summary(&mut spans).await, expected, "{why}");
    }
}

/// A client that believes this authority.
fn client(authority: &Authority) -> Client<impl Connect + Clone + use<>, Body> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(pki::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let connect = service_fn(move |uri: Uri| {
        let connector = connector.clone();
        Box::pin(async move {
            let authority = uri.authority().unwrap();
            let socket = TcpStream::connect(authority.as_str()).await?;
            let name = ServerName::try_from(authority.host().to_owned()).unwrap();
            Ok::<_, io::Error>(TokioIo::new(Tls(connector.connect(name, socket).await?)))
        })
    });
    Client::builder(TokioExecutor::new()).build(connect)
}

/// A server that shakes hands, or would.
async fn serves(acceptor: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let _ = acceptor.accept(socket).await;
    });
    address
}

/// A server that answers whatever comes in plaintext.
async fn speaks_plaintext() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Closed with bytes unread, the connection would be reset.
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    });
    address
}

struct Tls(TlsStream<TcpStream>);

impl Connection for Tls {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
