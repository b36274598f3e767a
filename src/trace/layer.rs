//! [`TraceLayer`], and the settings that all its services share.

use std::sync::Arc;

use tower_layer::Layer;

use super::cause::{self, AsError};
use super::metrics::Metrics;
use super::semconv::ServerAddress;
use super::service::Trace;
use crate::context::ResponseHeader;
use crate::pipeline::{Intake, Scope};
use crate::record::SpanLimits;
use crate::sampling::SamplingRate;

/// A [`Layer`] that records a span for each request of the service it wraps.
///
/// Made by [`TraceLayer::server`] or [`TraceLayer::client`]. See the
/// [module documentation](crate::trace) for where to put it and when exactly a span ends.
#[derive(Clone, Debug)]
pub struct TraceLayer {
    settings: Arc<Settings>,
}

/// What the services of one layer share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) intake: Arc<Intake>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) limits: SpanLimits,
    pub(crate) recording: Recording,
    pub(crate) metrics: Metrics,
    pub(crate) role: Role,
    /// Whom requests are for, where the user says it.
    pub(crate) server_address: Option<ServerAddress>,
    /// How to look into errors of types that only the user knows.
    pub(crate) errors: Vec<AsError>,
}

/// Which side of a request the layer stands on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Server { response_header: ResponseHeader },
    Client { propagate_baggage: bool },
}

/// A [`Role`] without what was set for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Role {
    pub(crate) fn side(self) -> Side {
        match self {
            Self::Server { .. } => Side::Server,
            Self::Client { .. } => Side::Client,
        }
    }
}

/// Whether spans are recorded at all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Recording {
    /// No span is made; the context that came is handed through.
    Off,
    /// Spans are made, those of new traces at this rate.
    On(SamplingRate),
}

impl TraceLayer {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }

    /// Measures requests with instruments of this provider, whether they are sampled or not.
    ///
    /// Defaults to measuring nothing. The [module documentation](crate::trace#what-is-measured)
    /// says what is measured. A layer inside another measures its requests, too, if it is told to.
    ///
    /// For the global provider of OpenTelemetry, give `&*global::meter_provider()` once the program
    /// has set it: a layer that was made earlier measures nothing.
    ///
    /// # Example: a service whose requests are counted and timed
    ///
    /// ```
    /// use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
    /// use tower_otlp::{TraceLayer, TracingService};
    ///
    /// # let (tracing, _spans) = TracingService::in_memory();
    /// let exporter = InMemoryMetricExporter::default(); // or that of `opentelemetry-otlp`
    /// let reader = PeriodicReader::builder(exporter).build();
    /// let meters = SdkMeterProvider::builder().with_reader(reader).build();
    ///
    /// let layer = TraceLayer::server(&tracing).metrics(&meters);
    /// ```
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(self, provider: &(impl opentelemetry::metrics::MeterProvider + ?Sized)) -> Self {
        self.with(|settings| settings.metrics.measure_with(settings.role.side(), provider))
    }

    /// Whether the sizes of HTTP bodies are measured, too, where [`metrics`](Self::metrics) are.
    ///
    /// Defaults to `false`. In bytes: of a request as its `Content-Length` has it, and not at all
    /// without one; of a response as it passes this layer, also when that was not all of it.
    ///
    /// hyper's clients write `Content-Length` after the layer has seen the request: what they send
    /// is measured only where the application has set the header. Of reqwest's requests a body
    /// that is not streamed is measured in any case.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn body_size_metrics(self, body_sizes: bool) -> Self {
        self.with(|settings| settings.metrics.body_sizes(body_sizes))
    }

    /// Says whom requests are for: `server.address`, and `server.port` if there is one.
    ///
    /// A tonic `Channel` knows its target, but does not show it to a layer above it, and the
    /// conventions require the address of gRPC calls: set it there. HTTP clients see it in each
    /// request, so theirs is only used for requests that name no host. A server layer records it
    /// in place of what its clients write into `:authority` or `Host`. Default: not set.
    ///
    /// A host without brackets, also if it is an IPv6 address; of a Unix socket the path, with
    /// `None` for the port.
    #[must_use]
    pub fn server_address(self, host: impl Into<String>, port: impl Into<Option<u16>>) -> Self {
        self.with(|settings| {
            settings.server_address = Some(ServerAddress::new(host.into(), port.into()));
        })
    }

    /// [`server_address`](Self::server_address) from the target that a gRPC client was given, in
    /// the forms that gRPC knows:
    ///
    /// | target | `server.address` | `server.port` |
    /// |---|---|---|
    /// | `grpc.io:50051`, `dns:///grpc.io:50051`, `dns://1.2.3.4/grpc.io:50051` | `grpc.io` | 50051 |
    /// | `[::1]:8080`, `dns:///[::1]:8080` | `::1` | 8080 |
    /// | `http://grpc.io`, `https://grpc.io`: as a tonic `Endpoint` has it | `grpc.io` | 80, 443 |
    /// | `dns:///svc:https` | `svc` | |
    /// | `unix:///run/containerd.sock` | `/run/containerd.sock` | |
    /// | `ipv4:198.51.100.1:50051,198.51.100.2:50051`, `zk://zookeeper/my-server`, and all else | the whole target | |
    #[must_use]
    pub fn target(self, target: &str) -> Self {
        self.with(|settings| settings.server_address = Some(ServerAddress::of_target(target)))
    }

    /// Whether requests carry the baggage of the context they are made in, in place of a
    /// `baggage` header that they had. Baggage may hold what is nobody else's business, and a
    /// client may talk to strangers, so the default is `false`: then the header is left as the
    /// application wrote it.
    ///
    /// Of a request whose parent is in its extensions, baggage that came with the parent goes
    /// before that of the context.
    ///
    /// For client layers; a server layer sends no requests.
    #[must_use]
    pub fn propagate_baggage(self, propagate: bool) -> Self {
        self.with(|settings| {
            if let Role::Client { propagate_baggage } = &mut settings.role {
                *propagate_baggage = propagate;
            }
        })
    }

    /// Looks into errors of type `E`, when the wrapped service or its body returns one: what their
    /// [`source`](std::error::Error::source)s say becomes part of the span's description and
    /// decides on `error.type`.
    ///
    /// For services with errors of their own. Not needed for boxed errors, nor for those of hyper,
    /// hyper-util, tonic, reqwest and `std::io`.
    #[must_use]
    pub fn known_error<E: std::error::Error + 'static>(self) -> Self {
        self.with(|settings| settings.errors.push(cause::as_error::<E>))
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace::new(inner, Arc::clone(&self.settings))
    }
}
