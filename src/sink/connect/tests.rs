use std::fs;
use std::path::PathBuf;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::sink::exchange::Version;
use crate::sink::options::TlsOptions;
use crate::sink::tls::provider;

/// Connects to a URL, and returns what the server says first.
async fn hear(connector: &mut Connector) -> Result<String, String> {
    let uri = "https://localhost:4318".parse().unwrap();
    let connected = connector.call(uri).await.map_err(|error| error.to_string())?;
    let mut said = String::new();
    connected.into_inner().read_to_string(&mut said).await.map_err(|error| error.to_string())?;
    Ok(said)
}

/// A socket in this directory.
fn unix(directory: &TempDir) -> ExportOptions {
    let unix_socket = Some(directory.path().join("collector.sock"));
    ExportOptions { unix_socket, ..ExportOptions::default() }
}

#[tokio::test]
async fn a_unix_socket_is_connected_to_in_place_of_the_host() {
    let directory = TempDir::new().unwrap();
    let options = unix(&directory);
    let path = options.unix_socket.clone().unwrap();
    let mut connector = Connector::new(&options, None).unwrap();
    let expected = format!("{}: No such file or directory (os error 2)", path.display());
    assert_eq!(hear(&mut connector).await, Err(expected), "nobody is there");

    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"hello").await.unwrap();
    });
    assert_eq!(hear(&mut connector).await, Ok("hello".to_owned()));
}

/// Serves TLS on a Unix domain socket, and greets each client by the name that it asked for.
async fn greet(listener: UnixListener, acceptor: TlsAcceptor) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(socket).await else { continue };
        let name = stream.get_ref().1.server_name().unwrap_or("stranger").to_owned();
        let _ = stream.write_all(name.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

#[tokio::test]
async fn the_certificate_must_be_for_the_server_name_whatever_the_url_says() {
    let directory = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["collector.internal".to_owned()]).unwrap();
    let ca_certs: PathBuf = directory.path().join("collector.pem");
    fs::write(&ca_certs, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let options = unix(&directory);
    let listener = UnixListener::bind(options.unix_socket.as_ref().unwrap()).unwrap();
    tokio::spawn(greet(listener, TlsAcceptor::from(Arc::new(config))));

    let rows = [
        (Some("collector.internal"), Ok("collector.internal".to_owned()), "its own name"),
        (
            None,
            Err("the collector's certificate is not for the name \"localhost\" but for \
                 [collector.internal]: set server_name, if it is the right one"
                .to_owned()),
            "the host of the URL",
        ),
        (
            Some("collector.example"),
            Err("the collector's certificate is not for the name \"collector.example\" but for \
                 [collector.internal]: set server_name, if it is the right one"
                .to_owned()),
            "another name",
        ),
    ];
    for (name, expected, why) in rows {
        let server_name = name.map(str::to_owned);
        let tls =
            TlsOptions { ca_certs: vec![ca_certs.clone()], server_name, ..TlsOptions::default() };
        let tls = Tls::load(tls, "localhost", Version::Http1, options.patience()).unwrap();
        let mut connector = Connector::new(&options, Some(tls)).unwrap();
        assert_eq!(hear(&mut connector).await, expected, "{why}");
    }
}
