//! What both servers have in common: a tracing service of their own, mTLS, a layer, and an end.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tower_otlp::{ExporterUrl, Stats, TraceLayer, TracingService, TracingServiceConfig};

use crate::pki::Issued;

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    tracing: TracingService,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Serves these routes on a port that is free.
    pub(crate) async fn start(
        certificate: &Issued,
        tracing: TracingService,
        routes: Routes,
    ) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = tonic::transport::Server::builder()
            .tls_config(certificate.to_serve())?
            .layer(TraceLayer::server(&tracing))
            .add_routes(routes)
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), async {
                let _ = stopped.await;
            });
        Ok(Self { address, tracing, stop, task: tokio::spawn(server) })
    }

    /// Ends the server, and says what became of the spans that it has taken.
    pub(crate) async fn shutdown(self) -> Result<Stats, Box<dyn Error>> {
        let _ = self.stop.send(());
        self.task.await??;
        Ok(self.tracing.shutdown(DEADLINE).await)
    }
}

/// The rate is 0: only requests whose caller has sampled them are recorded.
pub(crate) fn tracing(name: &str, traces: &Path) -> Result<TracingService, Box<dyn Error>> {
    let section = format!(
        "tracing_service:\n  enabled: yes\n  exporter_url: \"{}\"\n  \
         sampling_rate_per_million: 0\n",
        ExporterUrl::file(traces.join(name))?,
    );
    Ok(TracingServiceConfig::from_yaml_str(&section)?.start(name)?)
}

const DEADLINE: Duration = Duration::from_secs(5);
