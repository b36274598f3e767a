use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use opentelemetry::KeyValue;

use super::section;
use super::{ConfigError, ExporterUrl, Problem, Switch, Target, TracingServiceConfig, env};
use crate::context::{Network, ResponseHeader};
use crate::pipeline::{BatchLimits, PipelineOptions, RetryPolicy};
use crate::record::{Capture, SpanLimits};
use crate::sampling::{RemoteParent, Sampling, SamplingRate, SamplingRule};
#[cfg(feature = "_requests")]
use crate::sink::RequestOptions;
#[cfg(feature = "_client")]
use crate::sink::{ExportOptions, TlsOptions};

impl TracingServiceConfig {
    /// [`check_with`](Self::check_with), where it is not known why there is no exporter URL.
    #[cfg(test)]
    pub(crate) fn check(&self) -> Result<Option<Settings<'_>>, ConfigError> {
        self.check_with(None)
    }

    /// The settings, in types that hold valid values only; `None` when recording is off, in which
    /// case nothing else was looked at.
    ///
    /// `no_exporter_url` is why the environment names no exporter, where that is known.
    ///
    /// # Errors
    ///
    /// All contradictions at once, in the words used for documents. Also that there is no
    /// exporter URL, which a document may leave to the environment.
    pub(super) fn check_with(
        &self,
        no_exporter_url: Option<Problem>,
    ) -> Result<Option<Settings<'_>>, ConfigError> {
        if self.switch == Switch::Off {
            return Ok(None);
        }
        let mut problems = Vec::new();
        if self.exporter_url.is_none() {
            problems.push(no_exporter_url.unwrap_or_else(|| {
                let [for_traces, general] = env::ENDPOINT;
                let wrong = format!(
                    "missing, although tracing is enabled, and neither {for_traces} nor {general} \
                     names one: write for example grpc://collector:4317",
                );
                Problem::new(None, section::path("exporter_url"), wrong)
            }));
        }
        let contradictions = self.contradictions().into_iter();
        problems.extend(
            contradictions.map(|(key, message)| Problem::new(None, section::path(&key), message)),
        );
        let rate = SamplingRate::try_from(self.sampling_rate_per_million.unwrap_or_default());
        match (&self.exporter_url, rate) {
            (Some(exporter_url), Ok(sampling_rate)) if problems.is_empty() => {
                Ok(Some(Settings { exporter_url, sampling_rate, config: self }))
            }
            _ => Err(ConfigError::new(problems)),
        }
    }
}

/// A checked [`TracingServiceConfig`] that records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    exporter_url: &'a ExporterUrl,
    sampling_rate: SamplingRate,
    config: &'a TracingServiceConfig,
}

impl<'a> Settings<'a> {
    pub(crate) fn exporter_url(self) -> &'a ExporterUrl {
        self.exporter_url
    }

    /// No rate was written, nor a rule that records, so that no trace begins here: worth a warning
    /// at start.
    pub(crate) fn rate_is_missing(self) -> bool {
        let is_never = |rule: &SamplingRule| rule.rate() == SamplingRate::NEVER;
        self.config.sampling_rate_per_million.is_none()
            && self.config.sampling_rules.iter().all(is_never)
    }

    /// The rate for all, and the rules for some.
    pub(crate) fn sampling(self) -> Sampling {
        let rules = self.config.sampling_rules.iter().cloned();
        rules.fold(Sampling::new(self.sampling_rate), Sampling::rule)
    }

    pub(crate) fn remote_parent(self) -> RemoteParent {
        self.config.remote_parent.unwrap_or_default()
    }

    /// `None` is no limit.
    pub(crate) fn forced_sampling_per_second(self) -> Option<NonZeroU32> {
        self.config.forced_sampling_per_second
    }

    /// Names no secret header without consent, and no binary one.
    pub(crate) fn capture(self) -> &'a Capture {
        &self.config.capture
    }

    /// Empty means that no proxy is believed.
    pub(crate) fn trusted_proxies(self) -> &'a [Network] {
        &self.config.trusted_proxies
    }

    /// Never blank. `None` only before the environment, and the program that starts the service, had
    /// their say.
    pub(crate) fn service_name(self) -> Option<&'a str> {
        self.config.service_name.as_deref()
    }

    /// Each name once, and none of them `service.name`.
    pub(crate) fn resource_attributes(self) -> &'a [KeyValue] {
        &self.config.resource_attributes
    }

    /// How long spans are held for want of further attributes.
    pub(crate) fn wait_for_resource_attributes(self) -> Option<Duration> {
        self.config.wait_for_resource_attributes
    }

    pub(crate) fn response_header(self) -> ResponseHeader {
        self.config.response_header.unwrap_or_default()
    }

    /// Whether the connection is encrypted: by the scheme, or, with `grpc`, because certificates
    /// are configured.
    pub(crate) fn uses_tls(self) -> bool {
        let exporter = &self.config.exporter;
        match self.exporter_url.target() {
            Target::Grpc { tls, .. } => *tls || exporter.has_certificates(),
            Target::Http { tls, .. } => *tls,
            Target::GrpcUnix { .. } | Target::HttpUnix { .. } | Target::File { .. } => false,
        }
    }

    /// How spans wait, are sent together, and are sent again.
    pub(crate) fn pipeline_options(self) -> PipelineOptions {
        let TracingServiceConfig { queue, retry, concurrency, .. } = self.config;
        let default = PipelineOptions::default();
        let max_bytes = queue.max_bytes.unwrap_or(default.max_bytes);
        let max = retry.max.unwrap_or(default.retry.max);
        PipelineOptions {
            max_bytes,
            when_full: queue.when_full.unwrap_or(default.when_full),
            batch: BatchLimits {
                spans: queue.max_batch_spans.unwrap_or(default.batch.spans),
                bytes: queue.max_batch_bytes.unwrap_or_else(|| default.batch.bytes.min(max_bytes)),
            },
            max_delay: queue.max_delay.unwrap_or(default.max_delay),
            concurrency: concurrency.and_then(NonZeroUsize::new).unwrap_or(default.concurrency),
            retry: RetryPolicy {
                initial: retry.initial.unwrap_or_else(|| default.retry.initial.min(max)),
                max,
                give_up_after: retry.give_up_after.unwrap_or(default.retry.give_up_after),
            },
        }
    }

    /// How much one span may hold.
    pub(crate) fn span_limits(self) -> SpanLimits {
        self.config.limits.limits()
    }

    /// What requests say, and how long they may take. Reads the files and variables with the values
    /// of headers.
    ///
    /// # Errors
    ///
    /// All values of headers that cannot be had, in words that quote none.
    #[cfg(feature = "_requests")]
    pub(crate) fn request_options(
        self,
        variables: env::Variables<'_>,
    ) -> Result<RequestOptions, ConfigError> {
        let exporter = &self.config.exporter;
        Ok(RequestOptions {
            headers: exporter.read_headers(variables)?,
            header_files: exporter.header_files(),
            timeout: exporter.attempt(),
        })
    }

    /// What the exporters with a connection of their own are told.
    ///
    /// # Errors
    ///
    /// As [`request_options`](Self::request_options).
    #[cfg(feature = "_client")]
    pub(crate) fn export_options(
        self,
        variables: env::Variables<'_>,
    ) -> Result<ExportOptions, ConfigError> {
        let exporter = &self.config.exporter;
        Ok(ExportOptions {
            requests: self.request_options(variables)?,
            compression: exporter.compression.unwrap_or_default(),
            connect_timeout: exporter.connecting(),
            tls: self.uses_tls().then(|| TlsOptions {
                ca_certs: exporter.ca_certs.clone(),
                system_roots: exporter.uses_system_roots(),
                keypairs: exporter.keypairs.clone(),
                server_name: exporter.server_name.clone(),
            }),
            unix_socket: match self.exporter_url.target() {
                Target::GrpcUnix { socket } | Target::HttpUnix { socket, .. } => {
                    Some(socket.clone())
                }
                Target::Grpc { .. } | Target::Http { .. } | Target::File { .. } => None,
            },
        })
    }
}
