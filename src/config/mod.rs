//! What the operator writes: the `tracing_service` section.
//!
//! The section lives in the service's own YAML document, beside whatever else the service keeps
//! there; other sections are not looked at. A document without it means that tracing is off, but
//! a section called `tracing-service`, `TracingService` or the like is an error.
//!
//! ```yaml
//! tracing_service:
//!   enabled: yes
//!   exporter_url: grpcs://collector.example.com:4317
//!   sampling_rate_per_million: 10_000
//!   ca_certs:
//!     - /etc/checkout/collector-ca.pem
//!   https_keypairs:
//!     - key_file: /etc/checkout/client.key
//!       cert_file: /etc/checkout/client.pem
//!   service_name: checkout
//!   resource_attributes:
//!     deployment.environment.name: production
//!     team.oncall: true
//!   response_header: server-timing
//!   sampling_rules:
//!     - path_prefix: /healthz
//!       sampling_rate_per_million: 0
//!     - method: POST
//!       route: /orders/{id}
//!       sampling_rate_per_million: 1_000_000
//!     - grpc_service: shop.Inventory
//!       sampling_rate_per_million: 100_000
//!   remote_parent: trust
//!   forced_sampling_per_second: 100
//!   request_headers: [x-request-id]
//!   response_headers: [x-cache]
//!   sensitive_headers: no
//!   redacted_query_parameters: [token, sig]
//!   known_methods: [GET, POST]
//!   known_grpc_methods: [shop.Inventory/Count]
//!   trusted_proxies: [10.0.0.0/8, ::1]
//! ```
//!
//! | key | value | when left out |
//! |---|---|---|
//! | `enabled` | `yes`, `yeah`, `y`, `true`, `1`, `on` or `no`, `nope`, `n`, `false`, `0`, `off`, in any case | off |
//! | `exporter_url` | where spans go, see [`ExporterUrl`] | an error when enabled |
//! | `sampling_rate_per_million` | traces begun here that are recorded, of each million: 0 to 1000000 | 0, and a warning at start if no rule records any either |
//! | `ca_certs` | list of PEM files with the certificate authorities that may vouch for the collector | the system's |
//! | `https_keypairs` or `keypairs` | list of `key_file` and `cert_file`: PEM files with which the service identifies itself | no client certificate |
//! | `service_name` | what the service is called in every span | `OTEL_SERVICE_NAME`, then `service.name` in `OTEL_RESOURCE_ATTRIBUTES`, then the name given in code, then `unknown_service:` and the executable |
//! | `resource_attributes` | mapping of names to text, numbers, `true` or `false`, sent with every batch | see [below](self#who-the-spans-are-from) |
//! | `response_header` | how a recorded response names its trace: `server-timing`, `traceresponse` or `off` | `server-timing` |
//! | `sampling_rules` | list of rates for some of the traces begun here, see [below](self#which-traces-are-recorded) | one rate for all |
//! | `remote_parent` | what becomes of the trace that a request claims to belong to: `trust`, `link` or `ignore`, see [`RemoteParent`] | `trust` |
//! | `forced_sampling_per_second` | in how many requests a second a sampled caller is obeyed, from 1 on; beyond that their traces go on unsampled, and are [counted](crate::Stats::not_forced) | no limit |
//! | `request_headers`, `response_headers` | lists of headers whose values spans show, in any case | none |
//! | `sensitive_headers` | whether these may be `authorization`, `cookie`, `proxy-authorization` or `set-cookie`, and whether values that the program has marked sensitive are shown; the words of `enabled` | no |
//! | `redacted_query_parameters` | list of parameters whose values spans do not show, by their exact names; with an empty list everything is shown | the signatures in signed URLs, see [`Capture`] |
//! | `known_methods` | list of methods that spans show, where others are `_OTHER`; with an empty list all are | those of RFC 9110, `PATCH` and `QUERY` |
//! | `known_grpc_methods` | the same of gRPC, such as `shop.Inventory/Count` | every method is shown |
//! | `trusted_proxies` | list of the networks (`10.0.0.0/8`) and addresses of proxies that are believed when they say who the client is | none is |
//!
//! A key without a value, other than `enabled`, counts as left out. Numbers may be their digits in
//! quotes. A name that a list repeats counts once.
//!
//! # Which traces are recorded
//!
//! Of the traces that begin here, as many as `sampling_rate_per_million` says, unless one of the
//! `sampling_rules` has another rate for the request. The first rule that matches counts. Each has
//! its own `sampling_rate_per_million` and one or more conditions, all of which must be met:
//!
//! | condition | the request |
//! |---|---|
//! | `method` | has this method, in exactly this case |
//! | `path_prefix` | has this path or one below it: `/admin` is for `/admin/users`, not for `/administrator` |
//! | `route` | was matched to this route by an axum `Router`, as written there |
//! | `grpc_service` | calls this gRPC service, by its full name: `shop.Inventory` |
//!
//! A trace that began elsewhere is recorded if it was there, as far as `remote_parent` and
//! `forced_sampling_per_second` go.
//!
//! # Who the spans are from
//!
//! The resource, which is sent with every batch of spans, is made of
//!
//! | attribute | value |
//! |---|---|
//! | `service.name` | as in the table above |
//! | `service.instance.id` | a random UUID, another one at each start |
//! | `process.pid`, `process.executable.name` | of this process; the file's name without its folder |
//! | `host.name`, `host.arch` | of this host, as far as the system tells |
//! | `telemetry.sdk.name`, `.language`, `.version`; `telemetry.distro.name`, `.version` | this crate |
//!
//! Further ones come from the environment variable `OTEL_RESOURCE_ATTRIBUTES` and from
//! `resource_attributes`. The section goes before the variable, and the variable before the table,
//! key by key.
//!
//! The variable is a list like `team=payments,region=eu%2Dwest`: what stands between its commas is
//! percent-decoded, keys and values: a comma in one is written `%2C`, a `=` in a value `%3D`, and `%`
//! itself `%25`. With one mistake in it, as a second `=`, all of it is ignored, and a warning at start
//! says where the mistake is. A variable that is not Unicode is ignored with a warning, too.
//!
//! All attributes together may take 32 KiB. Of those that come last, what does not fit is left out,
//! with a warning; the name of the service always stays.
//!
//! A program that learns only later who it is says so with
//! [`TracingService::set_resource_attributes`](crate::TracingService::set_resource_attributes), and
//! has its spans [wait](TracingServiceConfig::wait_for_resource_attributes) if none should be sent
//! without.
//!
//! Arguments, command line, user and folder of the process are never sent, because they may hold
//! secrets; and no `host.id`, because the id of a machine is to be kept confidential. Who wants
//! one sets it.
//!
//! # What is checked, and when
//!
//! While `enabled` is off or absent nothing else in the section is looked at, so that tracing can
//! be switched off without tidying up (only a misspelt `enabled`, such as `enable`, and a repeated
//! one are still reported). Otherwise all of it is checked before the service starts, and
//! [`ConfigError`] lists everything that is wrong, each with its line and column:
//!
//! - unknown and repeated keys, values of the wrong kind, rates out of range;
//! - `enabled` without `exporter_url`;
//! - certificates with an `http` or `file` URL, which never use them;
//! - sampling rules without a condition, and those that never count because a rule before them has
//!   another rate for all of their requests;
//! - headers that hold secrets without `sensitive_headers: yes`, and binary metadata of gRPC
//!   (`-bin`), which is never shown;
//! - names that are none: of methods, headers, networks;
//! - `keypairs` beside `https_keypairs`: they are two spellings of one key.
//!
//! Files with certificates are opened when the service starts, not here; see [TLS](#tls).
//!
//! # TLS
//!
//! The scheme decides: `grpcs` and `https` are TLS, `grpc` is when there are `ca_certs` or key pairs,
//! and `http` never is. The collector's certificate must be signed by an authority of the system, or
//! by one in `ca_certs` if there are any, and be for the host of the URL.
//!
//! All files are PEM. A file of authorities may hold several. A certificate is followed by those
//! between it and its authority. A key is in PKCS#8, SEC1 or PKCS#1, without a passphrase, and a warning
//! at start names those that other users may read. Of several key pairs, the collector is shown the
//! first that is signed by one of the authorities it names.
//!
//! Files are read again for each new connection, and every ten seconds while spans are exported. What
//! counts is their content: it does not matter how they are replaced. When all of them are good, they
//! are used by the next request; if not, a warning says why, and the last good ones stay in use. The
//! authorities of the system are read again only with a file.
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
//!      unknown scheme \"tcp\": use grpc, grpcs, http, https or file\n\
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
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::KeyValue;
use serde::de::{Deserialize, Deserializer, Error as _};

use self::node::Node;
use crate::context::{Network, ResponseHeader};
use crate::record::Capture;
use crate::sampling::{RemoteParent, SamplingRule};
use crate::sink::KeyPair;

#[cfg(feature = "yaml")]
mod document;
pub(crate) mod env;
mod error;
mod exporter_url;
mod nearest;
mod node;
mod section;
mod settings;

pub use self::error::{ConfigError, Problem};
pub(crate) use self::exporter_url::Target;
pub use self::exporter_url::{ExporterUrl, ParseExporterUrlError};
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
    enabled: bool,
    exporter_url: Option<ExporterUrl>,
    sampling_rate_per_million: Option<u32>,
    service_name: Option<String>,
    resource_attributes: Vec<KeyValue>,
    /// For code only: what the attributes are, and who sets them, is the program's to know.
    wait_for_resource_attributes: Option<Duration>,
    response_header: ResponseHeader,
    sampling_rules: Vec<SamplingRule>,
    remote_parent: RemoteParent,
    forced_sampling_per_second: Option<NonZeroU32>,
    capture: Capture,
    trusted_proxies: Vec<Network>,
    ca_certs: Vec<PathBuf>,
    keypairs: Vec<KeyPair>,
}

impl TracingServiceConfig {
    /// Records spans and sends them to `exporter_url`.
    ///
    /// Like a section without the key, it begins no recorded trace until a rate is set with
    /// [`sampling_rate_per_million`](Self::sampling_rate_per_million); it joins those of sampled
    /// callers.
    pub fn new(exporter_url: ExporterUrl) -> Self {
        Self { enabled: true, exporter_url: Some(exporter_url), ..Self::default() }
    }

    /// Records nothing; the context of callers still travels on.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Switches recording on or off.
    #[must_use]
    pub fn enabled(self, enabled: bool) -> Self {
        Self { enabled, ..self }
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
        Self { response_header: header, ..self }
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
        Self { remote_parent, ..self }
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

    /// Adds PEM files with the certificate authorities that may vouch for the collector; they
    /// replace those of the system.
    #[must_use]
    pub fn ca_certs<P: Into<PathBuf>>(mut self, files: impl IntoIterator<Item = P>) -> Self {
        self.ca_certs.extend(files.into_iter().map(Into::into));
        self
    }

    /// Adds a client certificate: the PEM files with its private key and with its chain.
    #[must_use]
    pub fn keypair(mut self, key_file: impl Into<PathBuf>, cert_file: impl Into<PathBuf>) -> Self {
        self.keypairs.push(KeyPair { key_file: key_file.into(), cert_file: cert_file.into() });
        self
    }
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
