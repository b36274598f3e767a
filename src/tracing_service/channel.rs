//! Tracing services whose spans go over a channel that the program has anyway.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::describe::{warn, warn_without_rate};
use super::{StartError, TracingService};
use crate::config::env::{self, Variables};
use crate::config::{Destination, TracingServiceConfig};
use crate::sink::channel::{Channel, ChannelSink, Slot};

impl TracingServiceConfig {
    /// Starts a tracing service whose spans go over `channel`: a tonic `Channel` to a server that
    /// the program talks to anyway, and that forwards spans. The program then
    /// needs neither an address nor credentials of the tracing backend.
    ///
    /// Any tower service that carries gRPC will do: a channel with interceptors or layers around
    /// it, a balanced one, hyper's client. Requests have a path and no authority, as those of
    /// tonic's own clients; a service other than tonic's adds it. A [`TraceLayer`] in it does not
    /// trace the exporter. For each request the service is cloned.
    ///
    /// Of the configuration count `headers`, which are sent with each request, and `timeout`, the
    /// time for all of an attempt, with the time that the channel needs to be ready. What is about
    /// a connection of the exporter's own is an error, and in the environment ignored with a
    /// warning (`OTEL_EXPORTER_OTLP_*` but for the timeout): headers there are secrets that are
    /// meant for somebody else. Nothing is compressed but by the channel.
    ///
    /// When the first answer is `UNIMPLEMENTED` or HTTP 404, the server forwards no spans. That is said in the log once,
    /// and nothing more is sent over the channel; spans are counted as
    /// [`failed`](crate::Dropped::failed) until [another one](TracingService::set_channel) is given.
    /// From a server that has taken spans before, it is a failure that may pass, and they are sent
    /// again.
    ///
    /// [`delivered`](crate::Stats::delivered) means that the server has taken the spans: what
    /// becomes of them behind it is its own affair, and in its own numbers.
    ///
    /// # The runtime
    ///
    /// Calls are tasks of the runtime in which this is called, and a `Channel` lives in the one in
    /// which it was made: the caller's, and not the exporter's. When that runtime stands still or
    /// has ended, nothing can be sent. So
    /// [`flush_blocking`](TracingService::flush_blocking) and
    /// [`shutdown_blocking`](TracingService::shutdown_blocking) that block the one thread of a
    /// current-thread runtime return at their deadline, with spans undelivered. Wait there for
    /// [`flush`](TracingService::flush) and [`shutdown`](TracingService::shutdown) instead. On
    /// another thread, or within a multi-thread runtime that has threads left, blocking is fine.
    ///
    /// Connections of the channel are tasks there, too, and not the exporter's own, so what they do
    /// is not hidden from the program's subscriber. One that makes spans of everything, by
    /// `tracing-opentelemetry` and a filter of `trace`, makes them of each frame of HTTP/2, and so
    /// more of each export. It needs `h2=off` in its filter.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), but for the exporter; and when `exporter_url`, `ca_certs`, key
    /// pairs, `system_roots`, `server_name`, `compression` or `connect_timeout` is configured.
    ///
    /// # Example: over the channel of the program's own client
    ///
    #[cfg_attr(feature = "tonic-channel", doc = "```no_run")]
    #[cfg_attr(not(feature = "tonic-channel"), doc = "```ignore")]
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tonic::transport::Channel;
    /// use tower::Layer;
    /// use tower_otlp::{TraceLayer, TracingServiceConfig};
    ///
    /// let channel = Channel::from_static("http://auth:3025").connect_lazy();
    /// let tracing = TracingServiceConfig::disabled()
    ///     .enabled(true)
    ///     .sampling_rate_per_million(1_000_000)
    ///     .start_forwarding("tsh", channel.clone())?;
    /// let channel = TraceLayer::client(&tracing).layer(channel);
    /// // let client = AuthClient::new(channel);
    /// let report = tracing.shutdown(Duration::from_secs(2)).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`TraceLayer`]: crate::TraceLayer
    pub fn start_forwarding<S, R>(
        self,
        service_name: &str,
        channel: S,
    ) -> Result<TracingService, StartError>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        R: Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let slot = Arc::new(Slot::default());
        slot.put(Channel::new(channel, tonic::body::Body::new));
        self.start_over(slot, &env::process, service_name)
    }

    /// As [`start_forwarding`](Self::start_forwarding), for a program that has no channel yet:
    /// [`TracingService::set_channel`] gives it.
    ///
    /// Meanwhile spans are held in memory, in the buffers in which they always wait. What finds no
    /// room there any more is dropped and counted as
    /// [`queue_full`](crate::Dropped::queue_full); a flush waits until its own deadline. If no
    /// channel has come by the shutdown, what was held is counted as
    /// [`shutdown`](crate::Dropped::shutdown), with a warning.
    ///
    /// # Errors
    ///
    /// As [`start_forwarding`](Self::start_forwarding).
    pub fn start_forwarding_later(self, service_name: &str) -> Result<TracingService, StartError> {
        self.start_over(Arc::default(), &env::process, service_name)
    }

    pub(super) fn start_over(
        self,
        slot: Arc<Slot>,
        variables: Variables<'_>,
        service_name: &str,
    ) -> Result<TracingService, StartError> {
        let effective = self.with_environment_over_channel(variables, service_name)?;
        warn(&effective);
        let to = Destination::Channel;
        let mut service = match effective.check()? {
            Some(settings) => {
                let options = settings.request_options(variables)?;
                warn_without_rate(settings);
                let target = match settings.service_name() {
                    Some(name) => format!("the channel of {name:?}"),
                    None => "the channel".to_owned(),
                };
                let sink = Box::new(ChannelSink::new(Arc::clone(&slot), &options, target));
                let options = settings.pipeline_options();
                TracingService::run(&effective, settings, to, sink, options)?
            }
            None => TracingService::disabled(effective.describe(None, to)),
        };
        service.forwarding = Forwarding::Over(slot);
        Ok(service)
    }
}

impl TracingService {
    /// Gives the channel over which spans go, to a service that was
    /// [started without](TracingServiceConfig::start_forwarding_later). Those that wait go out now.
    ///
    /// A channel that is given again takes the place of the earlier one, and has all calls from now
    /// on, also those that are tried again; calls that are under way end over the earlier one. With
    /// tracing disabled the channel is dropped.
    ///
    /// The runtime in which this is called is that of the calls, as
    /// [`start_forwarding`](TracingServiceConfig::start_forwarding) says.
    ///
    /// # Errors
    ///
    /// When the spans of this service do not go over a channel, because it was started otherwise.
    pub fn set_channel<S, R>(&self, channel: S) -> Result<(), NotForwarding>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        R: Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Forwarding::Over(slot) = &self.forwarding else { return Err(NotForwarding(())) };
        if let Some(pipeline) = &self.pipeline {
            slot.put(Channel::new(channel, tonic::body::Body::new));
            pipeline.look_at_sink();
        }
        Ok(())
    }
}

/// Whether spans go over a channel of the program's.
#[derive(Debug)]
pub(super) enum Forwarding {
    No,
    Over(Arc<Slot>),
}

/// The spans of a tracing service do not go over a channel, so that it has no use for one.
#[derive(Debug)]
pub struct NotForwarding(());

impl fmt::Display for NotForwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this tracing service was not started to send its spans over a channel: start it with \
             start_forwarding_later",
        )
    }
}

impl Error for NotForwarding {}
