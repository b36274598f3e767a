//! HTTP servers and clients on loopback sockets.

use std::error::Error;
use std::net::SocketAddr;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::Service;

use super::spans::PATIENCE;

/// The versions that every HTTP journey is made with.
pub(crate) const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// Serves HTTP/1.1 and HTTP/2 for as long as the test runs.
pub(crate) async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                // Connections that end in an error are what some tests are about.
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// One connection.
pub(crate) struct Client {
    address: SocketAddr,
    sender: Sender,
    connection: JoinHandle<()>,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub(crate) async fn connect(version: Version, address: SocketAddr) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = if version == Version::HTTP_2 {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            let connection = tokio::spawn(async { drop(connection.await) });
            (Sender::Http2(sender), connection)
        } else {
            let (sender, connection) = http1::handshake(stream).await.unwrap();
            let connection = tokio::spawn(async { drop(connection.with_upgrades().await) });
            (Sender::Http1(sender), connection)
        };
        Self { address, sender, connection }
    }

    /// Sends a request and waits for the head of the response.
    pub(crate) fn send(
        &mut self,
        mut request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let authority = self.address.to_string();
        let sending = match &mut self.sender {
            Sender::Http1(sender) => {
                let host = HeaderValue::from_str(&authority).unwrap();
                request.headers_mut().entry(header::HOST).or_insert(host);
                Sending::Http1(sender.send_request(request))
            }
            Sender::Http2(sender) => {
                if request.uri().authority().is_none() {
                    let mut parts = request.uri().clone().into_parts();
                    parts.scheme = Some(http::uri::Scheme::HTTP);
                    parts.authority = Some(authority.parse().unwrap());
                    *request.uri_mut() = Uri::from_parts(parts).unwrap();
                }
                Sending::Http2(sender.send_request(request))
            }
        };
        async {
            let head = async {
                match sending {
                    Sending::Http1(sending) => sending.await,
                    Sending::Http2(sending) => sending.await,
                }
            };
            timeout(PATIENCE, head).await.expect("a response should have come by now")
        }
    }

    /// Sends a request and waits for the whole response.
    pub(crate) async fn fetch(&mut self, request: Request<Body>) -> hyper::Result<Response<Bytes>> {
        let (head, body) = self.send(request).await?.into_parts();
        let body = timeout(PATIENCE, body.collect()).await;
        let body = body.expect("the response should have ended by now")?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    /// Closes the connection at once.
    pub(crate) async fn hang_up(self) {
        self.connection.abort();
        let _ = self.connection.await;
    }
}

enum Sending<A, B> {
    Http1(A),
    Http2(B),
}

/// Makes one request on a connection of its own, and waits for the whole response.
pub(crate) async fn fetch(
    version: Version,
    address: SocketAddr,
    request: Request<Body>,
) -> Response<Bytes> {
    Client::connect(version, address).await.fetch(request).await.unwrap()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    request("GET", path, &[])
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}
