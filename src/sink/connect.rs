//! How to reach the collector: over TCP or a Unix domain socket, and TLS over either.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::error::SinkError;
use super::options::ExportOptions;
use super::stream::{Io, Stream, Trouble};
use super::tls::Tls;

/// Makes connections, each with a name look-up of its own.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    way: Way,
    tls: Option<Arc<Tls>>,
    /// For a connection that is ready, TLS included.
    timeout: Duration,
    newest: Arc<Mutex<Trouble>>,
}

#[derive(Clone, Debug)]
enum Way {
    /// All addresses of the name are tried.
    Tcp(HttpConnector),
    #[cfg(unix)]
    Unix(Arc<Path>),
}

/// Why there is no connection, in the operator's words.
#[derive(Debug)]
pub(super) struct ConnectError(String);

impl Connector {
    /// # Errors
    ///
    /// When the system has no Unix domain sockets, and one is asked for.
    pub(super) fn new(options: &ExportOptions, tls: Option<Arc<Tls>>) -> Result<Self, SinkError> {
        let way = match &options.unix_socket {
            None => Way::Tcp(tcp(options)),
            #[cfg(unix)]
            Some(path) => Way::Unix(path.as_path().into()),
            #[cfg(not(unix))]
            Some(_) => {
                return Err(SinkError::Unsupported("this system has no Unix domain sockets"));
            }
        };
        Ok(Self { way, tls, timeout: options.connect_timeout, newest: Arc::default() })
    }

    /// What went wrong with the newest connection after it was made.
    pub(super) fn newest_trouble(&self) -> Trouble {
        self.newest().clone()
    }

    fn newest(&self) -> MutexGuard<'_, Trouble> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(mut self, uri: Uri) -> Result<TokioIo<Stream>, ConnectError> {
        // Whoever asks while there is no new connection must not hear of the last one.
        *self.newest() = Trouble::default();
        let seconds = self.timeout.as_secs_f64();
        let deadline = Instant::now() + self.timeout;
        let io = timeout_at(deadline, self.way.connect(uri)).await;
        let mut io = match io.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(io) => io,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(ConnectError(format!("no connection within {seconds} s")));
            }
            Err(error) => return Err(ConnectError(error.to_string())),
        };
        let mut session = None;
        if let Some(tls) = &self.tls {
            (io, session) = match timeout_at(deadline, tls.connect(io)).await {
                Ok(connected) => {
                    let (io, session) = connected.map_err(ConnectError)?;
                    (io, Some(session))
                }
                Err(_) => {
                    let reason = format!("the TLS handshake takes more than {seconds} s");
                    return Err(ConnectError(reason));
                }
            };
        }
        let trouble = Trouble::default();
        *self.newest() = trouble.clone();
        Ok(TokioIo::new(Stream::new(io, session, trouble)))
    }
}

impl Way {
    async fn connect(&mut self, uri: Uri) -> io::Result<Box<dyn Io>> {
        match self {
            Self::Tcp(tcp) => {
                poll_fn(|cx| tcp.poll_ready(cx)).await.map_err(|error| root_cause(&error))?;
                let socket = tcp.call(uri).await.map_err(|error| root_cause(&error))?;
                Ok(Box::new(socket.into_inner()))
            }
            #[cfg(unix)]
            Self::Unix(path) => {
                let socket = UnixStream::connect(&**path).await.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?;
                Ok(Box::new(socket))
            }
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Error for ConnectError {}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn tcp(options: &ExportOptions) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    // The scheme says whether there is TLS, which is none of its business.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Shared by the addresses of the name, so that the last one has its turn.
    tcp.set_connect_timeout(Some(options.connect_timeout));
    tcp.set_keepalive(Some(KEEPALIVE));
    // What is sent and not confirmed for as long as an attempt may take is sent to nobody.
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    tcp.set_tcp_user_timeout(Some(options.requests.timeout));
    tcp
}

/// What the operating system said, such as "Connection refused".
fn root_cause(mut error: &(dyn Error + 'static)) -> io::Error {
    while let Some(cause) = error.source() {
        error = cause;
    }
    let kind = error.downcast_ref::<io::Error>().map_or(io::ErrorKind::Other, io::Error::kind);
    io::Error::new(kind, error.to_string())
}

/// After so long without a byte, the system asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

#[cfg(all(test, unix, feature = "http", any(feature = "ring", feature = "aws-lc-rs")))]
mod tests;
