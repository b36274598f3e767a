#![doc = include_str!("keys.md")]
#![doc = include_str!("variables.md")]
//!
//! # Example: the section in a document of its own
#![cfg_attr(feature = "yaml", doc = "```")]
#![cfg_attr(not(feature = "yaml"), doc = "```ignore")]
//! use tower_otlp::TracingServiceConfig;
//!
//! let error = TracingServiceConfig::from_yaml_str(
//!     "tracing_service:
//!   enabled: on
//!   exporter_url: tcp://collector:4317
//!   sampling_rate: 10_000
//! ",
//! )
//! .unwrap_err();
//!
//! assert_eq!(
//!     error.to_string(),
//!     "line 3, column 17: tracing_service.exporter_url: \
//!      unknown scheme \"tcp\": use grpc, grpcs, http, https, unix, http+unix or file\n\
//!      line 4, column 3: tracing_service.sampling_rate: \
//!      unknown key, did you mean `sampling_rate_per_million`?"
//! );
//! ```
//!
//! # Example: the section inside the service's own type
//!
//! [`TracingServiceConfig`] is `Deserialize` in every self-describing format. With `serde(default)`
//! a missing section means off. serde-saphyr adds positions; its own rendering of errors can quote
//! neighbouring lines, and with them secrets, unless `with_snippet` is off in its options.
//!
//! ```
//! use tower_otlp::TracingServiceConfig;
//!
//! #[derive(serde::Deserialize)]
//! struct Settings {
//!     listen: String,
//!     #[serde(default)]
//!     tracing_service: TracingServiceConfig,
//! }
//!
//! let settings: Settings = serde_json::from_str(
//!     r#"{
//!         "listen": "127.0.0.1:8080",
//!         "tracing_service": { "enabled": true, "exporter_url": "collector:4317" }
//!     }"#,
//! )?;
//! # let _ = (settings.listen, settings.tracing_service);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # Example: no document at all
//!
//! ```
//! use tower_otlp::TracingServiceConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TracingServiceConfig::new("grpc://collector:4317".parse()?)
//!     .sampling_rate_per_million(10_000)
//!     .service_name("checkout");
//! # let _ = config;
//! # Ok(())
//! # }
//! ```

use std::num::NonZeroU32;
use std::time::Duration;

use opentelemetry::KeyValue;
use serde::de::{Deserialize, Deserializer, Error as _};

use self::node::Node;
use crate::context::{Network, ResponseHeader};
use crate::record::Capture;
use crate::sampling::{RemoteParent, SamplingRule};

#[cfg(feature = "clap")]
mod command;
mod contradictions;
mod description;
#[cfg(feature = "yaml")]
mod document;
mod effective;
pub(crate) mod env;
mod error;
mod exporter;
mod exporter_url;
#[cfg(feature = "tonic")]
mod forwarding;
mod limits;
mod nearest;
mod node;
mod queue;
mod section;
mod settings;

pub use self::description::Description;
pub(crate) use self::description::Destination;
pub(crate) use self::effective::Effective;
pub use self::error::{ConfigError, Problem};
use self::exporter::Exporter;
pub(crate) use self::exporter_url::Target;
pub use self::exporter_url::{ExporterUrl, ParseExporterUrlError};
pub use self::limits::LimitsConfig;
pub use self::queue::{QueueConfig, RetryConfig};
#[cfg(feature = "clap")]
pub(crate) use self::section::is_no;
pub(crate) use self::settings::Settings;

/// The `tracing_service` section: whether spans are recorded, which, and where they go.
///
/// Read it from a document with `from_yaml_file` or `from_yaml_str`, as part of a type of your own
/// with `Deserialize`, or write it in code with [`new`](Self::new). The [module](self) explains
/// every key. Defaults to [`disabled`](Self::disabled).
///
/// Setters keep what they are given; it is checked once, when the service starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracingServiceConfig {
    switch: Switch,
    defaults: Defaults,
    exporter_url: Option<ExporterUrl>,
    sampling_rate_per_million: Option<u32>,
    service_name: Option<String>,
    resource_attributes: Vec<KeyValue>,
    /// For code only: what the attributes are, and who sets them, is the program's to know.
    wait_for_resource_attributes: Option<Duration>,
    response_header: Option<ResponseHeader>,
    sampling_rules: Vec<SamplingRule>,
    remote_parent: Option<RemoteParent>,
    forced_sampling_per_second: Option<NonZeroU32>,
    capture: Capture,
    trusted_proxies: Vec<Network>,
    exporter: Exporter,
    queue: QueueConfig,
    retry: RetryConfig,
    concurrency: Option<usize>,
    limits: LimitsConfig,
}

impl TracingServiceConfig {
    /// Records spans and sends them to `exporter_url`.
    ///
    /// Like a section without the key, it begins no recorded trace until a rate is set with
    /// [`sampling_rate_per_million`](Self::sampling_rate_per_million); it joins those of sampled
    /// callers.
    pub fn new(exporter_url: ExporterUrl) -> Self {
        Self { switch: Switch::On, exporter_url: Some(exporter_url), ..Self::default() }
    }

    /// Records nothing; the context of callers still travels on.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Records what the environment says: the variables of OpenTelemetry, which the
    /// [module](self#environment) lists, with OpenTelemetry's defaults. Spans go to
    /// `http://localhost:4318/v1/traces`, and every trace that begins here is recorded, unless
    /// variables say otherwise.
    ///
    /// They are read at start. What a setter says goes before them, also
    /// [`enabled`](Self::enabled), which goes before `OTEL_SDK_DISABLED`.
    ///
    /// # Example: a service without a configuration of its own
    ///
    /// ```no_run
    /// use tower_otlp::TracingServiceConfig;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracing = TracingServiceConfig::from_env().start("checkout")?;
    /// println!("{}", tracing.describe());
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env() -> Self {
        Self { switch: Switch::Environment, defaults: Defaults::OpenTelemetry, ..Self::default() }
    }

    /// Switches recording on or off.
    #[must_use]
    pub fn enabled(self, enabled: bool) -> Self {
        Self { switch: Switch::of(enabled), ..self }
    }

    /// Replaces the place where spans go, for example by that of a command-line option.
    #[must_use]
    pub fn exporter_url(self, exporter_url: ExporterUrl) -> Self {
        Self { exporter_url: Some(exporter_url), ..self }
    }

    /// How many of a million traces that begin here are recorded: 0 to 1000000, where more is an
    /// error at start. Defaults to 0, with a warning at start if no
    /// [`sampling_rule`](Self::sampling_rule) records any either.
    #[must_use]
    pub fn sampling_rate_per_million(self, rate: u32) -> Self {
        Self { sampling_rate_per_million: Some(rate), ..self }
    }

    /// What the service is called (`service.name`); must not be empty. Defaults to the variable
    /// `OTEL_SERVICE_NAME`, then to `service.name` in `OTEL_RESOURCE_ATTRIBUTES`, then to the name
    /// given at start, then to `unknown_service:` and the name of the executable.
    #[must_use]
    pub fn service_name(self, name: impl Into<String>) -> Self {
        Self { service_name: Some(name.into()), ..self }
    }

    /// Adds an attribute of the resource, in place of an earlier one of the same name, and of what
    /// the environment says or the system knows. The name must not be empty, nor `service.name`,
    /// which [`service_name`](Self::service_name) sets.
    #[must_use]
    pub fn resource_attribute(mut self, attribute: KeyValue) -> Self {
        self.resource_attributes.retain(|earlier| earlier.key != attribute.key);
        self.resource_attributes.push(attribute);
        self
    }

    /// Adds attributes of the resource, each as by
    /// [`resource_attribute`](Self::resource_attribute).
    #[must_use]
    pub fn resource_attributes(self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        attributes.into_iter().fold(self, Self::resource_attribute)
    }

    /// Exports nothing until [`TracingService::set_resource_attributes`] is called, or this much
    /// time has passed since the start: for programs that learn only while they start who they
    /// are. Defaults to not waiting. There is no key in the section for it.
    ///
    /// Meanwhile spans are held in memory, in the buffers in which they always wait. What finds no
    /// room there any more is dropped and counted as
    /// [`queue_full`](crate::Dropped::queue_full); a flush waits until its own deadline. So do flush
    /// and shutdown of an `SdkTracerProvider`, by default for 5 seconds, and fail. When the time has
    /// passed that is logged, as a warning, and spans are exported without the attributes.
    /// So they are at a shutdown in the meantime.
    ///
    /// [`TracingService::set_resource_attributes`]: crate::TracingService::set_resource_attributes
    #[must_use]
    pub fn wait_for_resource_attributes(self, deadline: Duration) -> Self {
        Self { wait_for_resource_attributes: Some(deadline), ..self }
    }

    /// The header by which a recorded response names its trace. Defaults to `Server-Timing`.
    #[must_use]
    pub fn response_header(self, header: ResponseHeader) -> Self {
        Self { response_header: Some(header), ..self }
    }

    /// Adds a rule: a rate for some of the traces that begin here, in place of the general one.
    /// Those added before go before it. Without rules, the default, the general rate is for all.
    ///
    /// A rule without any condition is an error at start, and so is one that never counts because
    /// a rule before it gives all of its requests another rate.
    #[must_use]
    pub fn sampling_rule(mut self, rule: SamplingRule) -> Self {
        self.sampling_rules.push(rule);
        self
    }

    /// What becomes of the traces that requests claim to belong to. Defaults to
    /// [`RemoteParent::Trust`].
    #[must_use]
    pub fn remote_parent(self, remote_parent: RemoteParent) -> Self {
        Self { remote_parent: Some(remote_parent), ..self }
    }

    /// In how many requests a second a sampled caller is obeyed; the traces of the others go on
    /// unsampled, and are [counted](crate::Stats::not_forced). Defaults to no limit.
    #[must_use]
    pub fn forced_sampling_per_second(self, limit: NonZeroU32) -> Self {
        Self { forced_sampling_per_second: Some(limit), ..self }
    }

    /// What spans show of the data of requests and responses. Defaults to [`Capture::default`]:
    /// no headers.
    ///
    /// A header that holds secrets without [`Capture::sensitive_headers`], and a binary one
    /// (`-bin`), are errors at start.
    #[must_use]
    pub fn capture(self, capture: Capture) -> Self {
        Self { capture, ..self }
    }

    /// Adds proxies that are believed when they say who the client is (`Forwarded`,
    /// `X-Forwarded-For`, …). Defaults to none: the client is who has connected.
    #[must_use]
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.trusted_proxies.extend(networks);
        self
    }
}

/// Whether spans are recorded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Switch {
    On,
    #[default]
    Off,
    /// Unless a variable says that they are not.
    Environment,
}

impl Switch {
    fn of(enabled: bool) -> Self {
        if enabled { Self::On } else { Self::Off }
    }
}

/// What counts where neither the configuration nor the environment says anything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Defaults {
    /// Teleport's: no exporter, and no trace that begins here.
    #[default]
    Section,
    /// A collector on this host, and every trace.
    OpenTelemetry,
}

/// Reads the section itself: the value of `tracing_service`, under whatever name it is a field.
///
/// # Errors
///
/// All problems in one message, with positions where the format gives them.
impl<'de> Deserialize<'de> for TracingServiceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let section = Node::deserialize(deserializer)?;
        section::resolve(&section).map_err(|error| D::Error::custom(error.one_line()))
    }
}

#[cfg(test)]
mod tests;
