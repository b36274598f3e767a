//! The server that users talk to. It asks the backend, and forwards the spans of its users.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use http::request::Parts;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::transport::{Channel, Endpoint};
use tower::Layer;
use tower_otlp::{Identity, Trace, TraceLayer};

use crate::backend;
use crate::pki::{Authority, Issued};
use crate::rpc::{self, Lister, Listing};
use crate::server::{Server, tracing};

#[derive(Clone)]
struct Auth {
    backend: Trace<Channel>,
}

impl Lister for Auth {
    const SERVICE: &'static str = "tsh.Auth";
    const METHOD: &'static str = LIST_NODES;

    async fn list(self) -> Result<Vec<String>, Status> {
        rpc::list(self.backend, backend::LIST_NODES).await
    }
}

pub(crate) async fn start(
    authority: &Authority,
    traces: &Path,
    backend: SocketAddr,
    user: &Issued,
) -> Result<Server, Box<dyn Error>> {
    let certificate = authority.server(NAME)?;
    let tracing = tracing(NAME, traces)?;

    let target = format!("https://{backend}");
    let channel = Endpoint::from_shared(target.clone())?
        .tls_config(certificate.to_call(backend::NAME))?
        .connect_lazy();
    let backend = TraceLayer::client(&tracing).target(&target).layer(channel);

    let (name, der) = (user.name().to_owned(), user.der().to_owned());
    let forwarder = tracing.forwarder(move |request| match certificate_of(request) {
        Some(shown) if shown == der => Identity::allow(name.clone()),
        // The backend has one, too.
        _ => Identity::deny("no certificate of a user"),
    });
    let routes = Routes::new(Listing(Auth { backend })).add_service(forwarder.grpc());
    Server::start(&certificate, tracing, routes).await
}

/// That of the peer, which tonic puts into the extensions of each request.
fn certificate_of(request: &Parts) -> Option<Vec<u8>> {
    let connection = request.extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
    Some(connection.peer_certs()?.first()?.to_vec())
}

/// What its certificate is for.
pub(crate) const NAME: &str = "auth";
pub(crate) const LIST_NODES: &str = "/tsh.Auth/ListNodes";
