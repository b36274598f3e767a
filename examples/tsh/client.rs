//! The commands of the tool. It knows auth's address and nothing of where spans go in the end.

use std::error::Error;
use std::net::SocketAddr;

use tonic::transport::Endpoint;
use tower::Layer;
use tower_otlp::{CommandTrace, TraceLayer};

use crate::auth;
use crate::pki::Issued;
use crate::rpc;

/// `tsh ls`: prints the nodes.
pub(crate) async fn ls(
    trace: &CommandTrace,
    user: &Issued,
    auth: SocketAddr,
) -> Result<(), Box<dyn Error>> {
    let target = format!("https://{auth}");
    let channel = Endpoint::from_shared(target.clone())?
        .tls_config(user.to_call(auth::NAME))?
        .connect()
        .await?;
    // Spans go the way that requests go. With --trace-exporter they do not, and this does nothing.
    trace.set_channel(channel.clone());
    let channel = TraceLayer::client(trace.tracing()).target(&target).layer(channel);
    for node in rpc::list(channel, auth::LIST_NODES).await? {
        println!("{node}");
    }
    Ok(())
}
