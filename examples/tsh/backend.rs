//! The server that knows the nodes. Only auth talks to it.

use std::error::Error;
use std::path::Path;

use tonic::Status;
use tonic::service::Routes;

use crate::pki::Authority;
use crate::rpc::{Lister, Listing};
use crate::server::{Server, tracing};

#[derive(Clone)]
struct Backend;

impl Lister for Backend {
    const SERVICE: &'static str = "tsh.Backend";
    const METHOD: &'static str = LIST_NODES;

    async fn list(self) -> Result<Vec<String>, Status> {
        Ok(vec!["db-1".to_owned(), "web-1".to_owned(), "web-2".to_owned()])
    }
}

pub(crate) async fn start(authority: &Authority, traces: &Path) -> Result<Server, Box<dyn Error>> {
    let certificate = authority.server(NAME)?;
    Server::start(&certificate, tracing(NAME, traces)?, Routes::new(Listing(Backend))).await
}

/// What its certificate is for.
pub(crate) const NAME: &str = "backend";
pub(crate) const LIST_NODES: &str = "/tsh.Backend/ListNodes";
