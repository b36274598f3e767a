//! [`TracingService`]: everything put together.
//!
//! The one place that knows all rooms: configuration becomes a sink, a pipeline and the settings
//! of layers here.

#[cfg(feature = "tonic")]
mod channel;
#[cfg(feature = "clap")]
mod command;
mod describe;
mod error;
mod exporter;
#[cfg(feature = "forward")]
mod forward;
mod in_memory;
#[cfg(feature = "metrics")]
mod metrics;
mod resource;
#[cfg(feature = "opentelemetry-sdk")]
mod sdk;

use std::sync::Arc;
#[cfg(feature = "forward")]
use std::sync::OnceLock;
use std::time::Duration;

#[cfg(feature = "tonic")]
use self::channel::Forwarding;
#[cfg(feature = "tonic")]
pub use self::channel::NotForwarding;
#[cfg(feature = "clap")]
pub(crate) use self::command::{CommandEnd, CommandSpan};
use self::describe::{warn, warn_without_rate};
pub use self::error::StartError;
pub use self::in_memory::InMemorySpans;
#[cfg(feature = "metrics")]
use self::metrics::Components;
use self::resource::Resource;
use crate::config::env::{self, Variables};
use crate::config::{Description, Destination, Effective, Settings, TracingServiceConfig};
use crate::context::ResponseHeader;
#[cfg(feature = "forward")]
use crate::forward::Instance;
#[cfg(feature = "opentelemetry-sdk")]
use crate::otel::Provider;
use crate::pipeline::{self, Intake, Pipeline, PipelineOptions, Scope, Sink, Stats};
use crate::record::{Capture, SpanLimits, encode_scope};
use crate::sampling::{Sampler, Sampling};
use crate::trace::{self, Recording, Role, SCOPE, TraceLayer, Trust, VERSION};

/// The running tracing service of a process, or of a part of it.
///
/// Made by [`TracingServiceConfig::start`]; gives out layers. There may be several, and none is
/// global. A program [shuts it down](Self::shutdown) before it ends, to wait for the spans that
/// are still on their way; a service that is dropped instead is shut down in the background,
/// which the end of the process may cut short.
#[derive(Debug)]
#[must_use = "dropped, it takes no more spans"]
pub struct TracingService {
    /// Absent when tracing is disabled, and after a shutdown.
    pipeline: Option<Pipeline>,
    intake: Arc<Intake>,
    resource: Resource,
    scope: Arc<Scope>,
    recording: Recording,
    trust: Trust,
    capture: Capture,
    limits: SpanLimits,
    response_header: ResponseHeader,
    description: Description,
    #[cfg(feature = "tonic")]
    forwarding: Forwarding,
    /// Absent when tracing is disabled.
    #[cfg(feature = "metrics")]
    components: Option<Components>,
    #[cfg(feature = "opentelemetry-sdk")]
    provider: Provider,
    /// Absent until there is a forwarder.
    #[cfg(feature = "forward")]
    instance: OnceLock<Instance>,
}

impl TracingServiceConfig {
    /// Starts the tracing service of the program called `service_name`.
    ///
    /// Connects to nobody: whether a collector is there shows when the first spans are sent, in
    /// the log (target `tower_otlp`) and in the [stats](TracingService::stats).
    ///
    /// `service_name` of the configuration goes before the name given here, and so do the
    /// environment variables `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`. A blank name
    /// counts as none; without any, it is `unknown_service:` and the name of the executable.
    /// What else the spans tell of the program is a table in the [module](crate::config)
    /// of the configuration.
    ///
    /// Other [variables](crate::config#environment) stand behind the rest of the configuration, key
    /// by key. All are read now, and not again. [`describe`](TracingService::describe) tells what
    /// has become of them; those that are not obeyed are warned about in the log.
    ///
    /// # Errors
    ///
    /// - when the configuration contradicts itself, as [`ConfigError`](crate::ConfigError) says;
    /// - when neither it nor the environment says where spans go, or only a variable does that cannot
    ///   be used;
    /// - when a file or a variable with the value of a header is missing, or holds none;
    /// - when certificates or keys cannot be used, as [`StartError::Certificates`] says;
    /// - when the cargo feature of the exporter is off (`grpc`, `http`, `file`), or those of TLS
    ///   are (`ring`, `aws-lc-rs`) with `grpcs`, `https`, `ca_certs` or key pairs;
    /// - when the operating system refuses a thread.
    pub fn start(self, service_name: &str) -> Result<TracingService, StartError> {
        self.start_with(&env::process, service_name)
    }

    /// Starts in an environment of these variables.
    fn start_with(
        self,
        variables: Variables<'_>,
        service_name: &str,
    ) -> Result<TracingService, StartError> {
        let effective = self.with_environment(variables, service_name);
        warn(&effective);
        let Some(settings) = effective.check()? else {
            return Ok(TracingService::disabled(effective.describe(None, Destination::Exporter)));
        };
        let sink = exporter::sink(&effective, settings, variables)?;
        warn_without_rate(settings);
        let options = settings.pipeline_options();
        TracingService::run(&effective, settings, Destination::Exporter, sink, options)
    }
}

impl TracingService {
    fn disabled(description: Description) -> Self {
        Self {
            pipeline: None,
            intake: Arc::new(Intake::closed()),
            resource: Resource::default(),
            scope: Arc::new(Scope::default()),
            recording: Recording::Off,
            trust: Trust::default(),
            capture: Capture::default(),
            limits: SpanLimits::default(),
            response_header: ResponseHeader::Off,
            description,
            #[cfg(feature = "tonic")]
            forwarding: Forwarding::No,
            #[cfg(feature = "metrics")]
            components: None,
            #[cfg(feature = "opentelemetry-sdk")]
            provider: Provider::default(),
            #[cfg(feature = "forward")]
            instance: OnceLock::new(),
        }
    }

    fn run(
        effective: &Effective,
        settings: Settings<'_>,
        destination: Destination,
        sink: Box<dyn Sink>,
        options: PipelineOptions,
    ) -> Result<Self, StartError> {
        let hold = settings.wait_for_resource_attributes();
        let pipeline = Pipeline::start(sink, options, hold).map_err(StartError::Thread)?;
        let resource = Resource::detect(settings);
        Ok(Self {
            intake: Arc::clone(pipeline.intake()),
            pipeline: Some(pipeline),
            scope: Arc::new(Scope::ours(
                resource.shared(),
                encode_scope(SCOPE, VERSION, &[], trace::SCHEMA_URL),
            )),
            resource,
            recording: Recording::On(Arc::new(Sampler::new(settings.sampling()))),
            trust: Trust::new(
                settings.remote_parent(),
                settings.forced_sampling_per_second(),
                settings.trusted_proxies(),
            ),
            capture: settings.capture().clone(),
            limits: settings.span_limits(),
            response_header: settings.response_header(),
            description: effective.describe(Some(settings), destination),
            #[cfg(feature = "tonic")]
            forwarding: Forwarding::No,
            #[cfg(feature = "metrics")]
            components: Some(Components::start(settings, destination)),
            #[cfg(feature = "opentelemetry-sdk")]
            provider: Provider::default(),
            #[cfg(feature = "forward")]
            instance: OnceLock::new(),
        })
    }

    /// Replaces what decides on traces that start here, from now on: the rate and the rules, for
    /// layers and for `tracer_provider`. Requests under way stay what they are. With tracing
    /// disabled nothing happens.
    ///
    /// # Example: everything, for as long as somebody looks
    ///
    /// ```
    /// use tower_otlp::{Sampling, SamplingRate, TracingService};
    ///
    /// let (tracing, _spans) = TracingService::in_memory();
    /// tracing.set_sampling(Sampling::new(SamplingRate::ALWAYS));
    /// ```
    pub fn set_sampling(&self, sampling: Sampling) {
        if let Recording::On(sampler) = &self.recording {
            sampler.set(sampling);
        }
    }

    /// What became of all spans so far. Cheap enough to be asked every second.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.intake.stats()
    }

    /// Waits until every span that has ended before this call is delivered or lost, or the
    /// deadline has passed: then some are still `pending`. What waits to be tried again is tried
    /// now, and again until then.
    ///
    /// Needs no particular runtime, not even a tokio one.
    pub async fn flush(&self, deadline: Duration) -> Stats {
        match &self.pipeline {
            Some(pipeline) => pipeline.flush(deadline).await,
            None => self.stats(),
        }
    }

    /// [`flush`](Self::flush) for callers that are not async. It blocks the thread, but no
    /// runtime is needed for it to return.
    pub fn flush_blocking(&self, deadline: Duration) -> Stats {
        match &self.pipeline {
            Some(pipeline) => pipeline.flush_blocking(deadline),
            None => self.stats(),
        }
    }

    /// Ends the tracing service: takes no more spans, waits for those on their way until the
    /// deadline, and returns where each one ended. None is `pending` then: what could not be
    /// exported in time is counted as dropped, and so is every span that ends later.
    ///
    /// What waits to be tried again, because the backend is away, has one last attempt, and at
    /// once: with a backend that refuses connections, nobody waits for the deadline.
    pub async fn shutdown(mut self, deadline: Duration) -> Stats {
        match self.pipeline.take() {
            Some(pipeline) => pipeline.shutdown(deadline).await,
            None => self.stats(),
        }
    }

    /// [`shutdown`](Self::shutdown) for callers that are not async. It blocks the thread, but no
    /// runtime is needed for it to return.
    pub fn shutdown_blocking(mut self, deadline: Duration) -> Stats {
        match self.pipeline.take() {
            Some(pipeline) => pipeline.shutdown_blocking(deadline),
            None => self.stats(),
        }
    }
}

impl Drop for TracingService {
    fn drop(&mut self) {
        if let Some(pipeline) = self.pipeline.take() {
            pipeline::warn(format_args!(
                "a tracing service was dropped without shutdown: spans that end from now on are \
                 lost, and so is what is pending if the program ends before it is exported; {}",
                self.stats(),
            ));
            pipeline.shutdown_detached(DEADLINE_WHEN_DROPPED);
        }
    }
}

impl TraceLayer {
    /// A layer for servers: a `SERVER` span for each request, HTTP or gRPC.
    ///
    /// See the [module documentation](crate::trace) for where to put it and when a span ends.
    #[must_use]
    pub fn server(tracing: &TracingService) -> Self {
        let trust = tracing.trust.clone();
        Self::of(tracing, Role::Server { response_header: tracing.response_header, trust })
    }

    /// A layer for clients: a `CLIENT` span for each request, HTTP or gRPC, and the request tells
    /// the next service which trace it belongs to.
    ///
    /// See the [module documentation](crate::trace#clients) for what it goes around and how
    /// requests find their trace.
    #[must_use]
    pub fn client(tracing: &TracingService) -> Self {
        Self::of(tracing, Role::Client { propagate_baggage: false })
    }

    fn of(tracing: &TracingService, role: Role) -> Self {
        Self::new(trace::Settings {
            open_telemetry_context: true,
            response_extension: true,
            intake: Arc::clone(&tracing.intake),
            scope: Arc::clone(&tracing.scope),
            limits: tracing.limits,
            recording: tracing.recording.clone(),
            metrics: trace::Metrics::default(),
            role,
            server_address: None,
            errors: Vec::new(),
            capture: tracing.capture.clone(),
            hooks: trace::Hooks::default(),
        })
    }
}

/// How long a service that was dropped goes on delivering.
const DEADLINE_WHEN_DROPPED: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
