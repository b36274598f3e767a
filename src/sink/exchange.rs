//! One request and its answer, bounded in time and memory.

use std::error::Error;
use std::iter::successors;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::Scheme;
use http::{Extensions, Request, Uri};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::answer::{Answer, MAX_ANSWER, Pieces, explain};
use super::connect::{ConnectError, Connector};
use super::error::SinkError;
use super::options::ExportOptions;
use super::proxy;
use super::tls::Tls;
use crate::pipeline::Failure;

/// An HTTP client of the worker's runtime.
#[derive(Debug)]
pub(super) struct HttpClient {
    connector: Connector,
    tls: Option<Arc<Tls>>,
    builder: Builder,
    /// With the generation of the certificates that its connections were made with.
    current: Mutex<(u64, Client<Connector, Pieces>)>,
    timeout: Duration,
    /// Why the last exchange failed that had no connection.
    unconnected: Mutex<Option<String>>,
}

impl HttpClient {
    /// The client for the next request. Connections that were made with certificates of which
    /// there are newer ones take no more requests.
    async fn current(&self) -> Client<Connector, Pieces> {
        let mut generation = 0;
        if let Some(tls) = &self.tls {
            tls.refresh_if_due().await;
            generation = tls.generation();
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != generation {
            *current = (generation, self.builder.build(self.connector.clone()));
        }
        current.1.clone()
    }

    fn unconnected(&self) -> MutexGuard<'_, Option<String>> {
        self.unconnected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The HTTP versions that a sink speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    #[cfg(feature = "http")]
    Http1,
    #[cfg(feature = "grpc")]
    Http2,
}

/// A client for the collector of this URI.
///
/// # Errors
///
/// When the URI names nobody, certificates or keys cannot be used, or this build or system cannot
/// do what is asked.
pub(super) fn client(
    version: Version,
    uri: &Uri,
    options: &ExportOptions,
) -> Result<HttpClient, SinkError> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(SinkError::NoHost)?;
    let mut builder = Client::builder(TokioExecutor::new());
    builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
    match version {
        #[cfg(feature = "http")]
        Version::Http1 => builder.pool_max_idle_per_host(8).http1_max_buf_size(MAX_ANSWER),
        #[cfg(feature = "grpc")]
        Version::Http2 => builder
            .http2_only(true)
            .http2_max_header_list_size(MAX_ANSWER as u32)
            .http2_keep_alive_interval(options.requests.timeout.max(PING))
            .http2_keep_alive_timeout(PONG)
            .http2_keep_alive_while_idle(true),
    };
    let load = |tls| Tls::load(tls, host, version, options.patience());
    let tls = options.tls.clone().map(load).transpose()?;
    let connector = Connector::new(options, tls.clone())?;
    Ok(HttpClient {
        tls,
        current: Mutex::new((0, builder.build(connector.clone()))),
        connector,
        builder,
        timeout: options.requests.timeout,
        unconnected: Mutex::default(),
    })
}

/// The scheme of requests with these options.
pub(super) fn scheme(options: &ExportOptions) -> Scheme {
    if options.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
}

/// Sends a request and reads the answer to its end, trailers included.
///
/// # Errors
///
/// When there is no connection, no complete answer in time, or one of more than [`MAX_ANSWER`]
/// bytes. All but the last may pass, and that, too, where the status of the answer says so.
pub(super) async fn exchange(
    client: &HttpClient,
    mut request: Request<Pieces>,
) -> Result<Answer, Failure> {
    let connection = capture_connection(&mut request);
    let answer = match timeout(client.timeout, attempt(client, request)).await {
        Ok(answer) => answer,
        Err(_) => {
            let limit = client.timeout.as_secs_f64();
            Err(Failure::for_now(format!("no complete answer within {limit} s")))
        }
    };
    let connected = connection.connection_metadata();
    if connected.is_some() {
        *client.unconnected() = None;
    }
    let Failure { reason, then } = match answer {
        Ok(answer) => {
            // A proxy refuses all that comes over a connection for what it has seen when that was
            // made.
            if let Some(connected) = connected.as_ref()
                && proxy::tls_refusal(&answer).is_some()
            {
                connected.poison();
            }
            return Ok(answer);
        }
        Err(failure) => failure,
    };
    let mut trouble = client.connector.newest_trouble();
    match connected.as_ref() {
        // What did not answer well may never do so again, and HTTP/2 would send it all that
        // comes.
        Some(connected) => {
            connected.poison();
            let mut extensions = Extensions::new();
            connected.get_extras(&mut extensions);
            trouble = extensions.remove().unwrap_or(trouble);
        }
        None => *client.unconnected() = Some(reason.clone()),
    }
    // What the connection knows says more than what the HTTP library made of it.
    Err(Failure { reason: trouble.words().unwrap_or(reason), then })
}

async fn attempt(client: &HttpClient, request: Request<Pieces>) -> Result<Answer, Failure> {
    let response = client.current().await.request(request).await.map_err(|error| {
        Failure::for_now(if !error.is_connect() {
            explain(&error)
        } else if let Some(reason) = cause::<ConnectError>(&error) {
            format!("cannot connect: {reason}")
        } else {
            // Exchanges over HTTP/2 share a connection, and one of them makes it. If it fails, the
            // others are told that they were cancelled, after that one was told the reason.
            client.unconnected().clone().unwrap_or_else(|| explain(&error))
        })
    })?;
    Answer::read(response).await
}

fn cause<E: Error + 'static>(error: &dyn Error) -> Option<&E> {
    successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
}

/// Idle connections are not kept for longer: what lies between may have forgotten them.
const IDLE: Duration = Duration::from_secs(30);
/// A connection that is silent for so long is asked whether it is still there, also while it is
/// idle: what lies between does not always say that it has forgotten it. Not more than once in an
/// attempt, for gRPC servers take the third ping that they get between two answers for a flood.
#[cfg(feature = "grpc")]
const PING: Duration = Duration::from_secs(10);
/// How long the answer may take.
#[cfg(feature = "grpc")]
const PONG: Duration = Duration::from_secs(5);

#[cfg(all(test, feature = "grpc"))]
mod tests;
