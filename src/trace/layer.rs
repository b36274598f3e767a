//! [`TraceLayer`], and the settings that all its services share.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;

use tower_layer::Layer;

use super::cause::{self, AsError};
use super::head::RequestHead;
use super::hooks::{Attributes, Ended, Hooks, ResponseHead};
use super::metrics::Metrics;
use super::semconv::{ServerAddress, Terms};
use super::service::Trace;
use super::trust::Trust;
use crate::context::{Network, ResponseHeader};
use crate::pipeline::{Intake, Scope};
use crate::record::{Capture, SpanLimits};
use crate::sampling::{RemoteParent, Sampler};

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
    pub(crate) capture: Capture,
    pub(crate) hooks: Hooks,
    /// Whether requests are handled in a `Context` of OpenTelemetry.
    pub(crate) open_telemetry_context: bool,
    /// Whether responses have the `TraceContext` in their extensions.
    pub(crate) response_extension: bool,
}

impl Settings {
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            capture: &self.capture,
            server_address: self.server_address.as_ref(),
            trusted_proxies: match &self.role {
                Role::Server { trust, .. } => trust.proxies(),
                Role::Client { .. } => &[],
            },
        }
    }
}

/// Which side of a request the layer stands on.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Server { response_header: ResponseHeader, trust: Trust },
    Client { propagate_baggage: bool },
}

/// A [`Role`] without what was set for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Role {
    pub(crate) fn side(&self) -> Side {
        match self {
            Self::Server { .. } => Side::Server,
            Self::Client { .. } => Side::Client,
        }
    }
}

/// Whether spans are recorded at all.
#[derive(Clone, Debug)]
pub(crate) enum Recording {
    /// No span is made; the context that came is handed through.
    Off,
    /// Spans are made, of new traces those that this picks.
    On(Arc<Sampler>),
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

    /// Leaves requests alone for which `traces` says no: they pass as if there were no layer, with
    /// no span, header or metric. Of several filters all must say yes. There are
    /// [some ready made](crate::trace::filter).
    #[must_use]
    pub fn filter(self, traces: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.hooks.add_filter(Arc::new(traces)))
    }

    /// Names spans otherwise, where `name` has a name for the request. Keep names few: what differs
    /// from request to request belongs into attributes.
    #[must_use]
    pub fn span_name(
        self,
        name: impl Fn(&RequestHead<'_>) -> Option<Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.hooks.set_span_name(Arc::new(name)))
    }

    /// Adds attributes to the span of a request when it starts. This, and the next two, run for
    /// requests that are recorded; of several, all do. One that panics adds nothing.
    ///
    /// # Example: the tenant, by a header of one's own
    ///
    /// ```
    /// use opentelemetry::KeyValue;
    /// use tower_otlp::{TraceLayer, TracingService};
    ///
    /// let (tracing, _spans) = TracingService::in_memory();
    /// let layer = TraceLayer::server(&tracing).on_request(|request, attributes| {
    ///     if let Some(Ok(tenant)) = request.headers().get("x-tenant").map(|it| it.to_str()) {
    ///         attributes.set(KeyValue::new("tenant", tenant.to_owned()));
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_request(
        self,
        hook: impl Fn(&RequestHead<'_>, &mut Attributes) + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.hooks.add_on_request(Arc::new(hook)))
    }

    /// Adds attributes when the head of the response has come. The OpenTelemetry `Context` is that of
    /// the request then, as for the service.
    #[must_use]
    pub fn on_response(
        self,
        hook: impl Fn(&ResponseHead<'_>, &mut Attributes) + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.hooks.add_on_response(Arc::new(hook)))
    }

    /// Adds attributes when the span ends, in whichever way. Runs also where a request is given up
    /// or panics, so it should be quick.
    #[must_use]
    pub fn on_end(
        self,
        hook: impl Fn(&Ended<'_>, &mut Attributes) + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.hooks.add_on_end(Arc::new(hook)))
    }

    /// Whether a request is handled in an OpenTelemetry `Context` with its span in it. Defaults to
    /// yes: without it, spans that the handler starts would not be of the trace, log lines would
    /// not name it, and neither the handler nor [`TraceContext::server_context`] could write to the
    /// span.
    ///
    /// A server layer that is told no puts the [`TraceContext`] into the request's extensions, and
    /// leaves the current `Context` as it is. For services that start no spans of their own, or hand
    /// the extension on to clients: a client layer takes it for the parent where the current
    /// `Context` has none.
    ///
    /// [`TraceContext`]: crate::TraceContext
    /// [`TraceContext::server_context`]: crate::TraceContext::server_context
    #[must_use]
    pub fn open_telemetry_context(self, attached: bool) -> Self {
        self.with(|settings| settings.open_telemetry_context = attached)
    }

    /// Whether the response of a request that is recorded has the [`TraceContext`] with the ids of
    /// its span in its extensions. Defaults to yes.
    ///
    /// [`TraceContext`]: crate::TraceContext
    #[must_use]
    pub fn response_extension(self, inserted: bool) -> Self {
        self.with(|settings| settings.response_extension = inserted)
    }

    /// What spans show of the data that passes, in place of what the configuration says.
    #[must_use]
    pub fn capture(self, capture: Capture) -> Self {
        self.with(|settings| settings.capture = capture)
    }

    /// The proxies whose word on the client counts: `Forwarded`, and without it
    /// `X-Forwarded-For`, `-Host` and `-Proto`, give `client.address`, `server.address` and
    /// `url.scheme`. The server must tell who the peer is: axum by `ConnectInfo`
    /// (`into_make_service_with_connect_info`), tonic by itself. In place of those that the
    /// configuration names; by default there are none, and nobody is believed. For server layers.
    #[must_use]
    pub fn trusted_proxies(self, proxies: impl IntoIterator<Item = Network>) -> Self {
        self.with_trust(|trust| trust.believe(proxies.into_iter().collect()))
    }

    /// What the trace counts for that a request claims to belong to. Defaults to what the
    /// configuration says, which defaults to [`RemoteParent::Trust`].
    ///
    /// For server layers, as are the next two: a client layer gets no requests.
    #[must_use]
    pub fn remote_parent(self, remote_parent: RemoteParent) -> Self {
        self.with_trust(|trust| *trust = trust.clone().with_remote_parent(remote_parent))
    }

    /// What it counts for, by the head of the request: its path, a header, the address or the
    /// certificate of the peer that others have put into its extensions. Asked for each request.
    ///
    /// # Example: colleagues come through the internal listener
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use axum::extract::ConnectInfo;
    /// use tower_otlp::{RemoteParent, TraceLayer, TracingService};
    ///
    /// let (tracing, _spans) = TracingService::in_memory();
    /// let layer = TraceLayer::server(&tracing).remote_parent_by(|request| {
    ///     match request.extensions().get::<ConnectInfo<SocketAddr>>() {
    ///         Some(ConnectInfo(peer)) if peer.ip().is_loopback() => RemoteParent::Trust,
    ///         _ => RemoteParent::Link,
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn remote_parent_by(
        self,
        judge: impl Fn(&RequestHead<'_>) -> RemoteParent + Send + Sync + 'static,
    ) -> Self {
        self.with_trust(|trust| trust.judge_by(judge))
    }

    /// How many requests a second may have their trace recorded because a trusted caller has
    /// sampled it, and at most so many at once. Those beyond go on in their trace, unsampled, and
    /// are [counted](crate::Stats::not_forced). Defaults to what the configuration says, whose
    /// limit all layers of a service share, and which defaults to none.
    #[must_use]
    pub fn forced_sampling_per_second(self, limit: NonZeroU32) -> Self {
        self.with_trust(|trust| trust.limit(limit))
    }

    fn with_trust(self, set: impl FnOnce(&mut Trust)) -> Self {
        self.with(|settings| {
            if let Role::Server { trust, .. } = &mut settings.role {
                set(trust);
            }
        })
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
