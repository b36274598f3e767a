use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::KeyValue;

use super::section;
use super::{ConfigError, ExporterUrl, Problem, Target, TracingServiceConfig};
use crate::context::{Network, ResponseHeader};
use crate::record::Capture;
use crate::sampling::{RemoteParent, Sampling, SamplingRate, SamplingRule};
use crate::sink::KeyPair;

impl TracingServiceConfig {
    /// The settings, in types that hold valid values only; `None` when recording is off, in which
    /// case nothing else was looked at.
    ///
    /// # Errors
    ///
    /// All contradictions at once, in the words used for documents.
    pub(crate) fn check(&self) -> Result<Option<Settings<'_>>, ConfigError> {
        if !self.enabled {
            return Ok(None);
        }
        let contradictions = self.contradictions();
        let rate = SamplingRate::try_from(self.sampling_rate_per_million.unwrap_or_default());
        match (&self.exporter_url, rate) {
            (Some(exporter_url), Ok(sampling_rate)) if contradictions.is_empty() => {
                Ok(Some(Settings { exporter_url, sampling_rate, config: self }))
            }
            _ => {
                let problem = |(key, message): (String, String)| {
                    Problem::new(None, section::path(&key), message)
                };
                Err(ConfigError::new(contradictions.into_iter().map(problem).collect()))
            }
        }
    }

    /// What the types of the fields cannot rule out, with the key to correct.
    pub(super) fn contradictions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if self.enabled && self.exporter_url.is_none() {
            found.push((
                "exporter_url".to_owned(),
                "missing, although tracing is enabled: write for example grpc://collector:4317"
                    .to_owned(),
            ));
        }
        if let Some(rate) = self.sampling_rate_per_million
            && SamplingRate::try_from(rate).is_err()
        {
            found.push((
                "sampling_rate_per_million".to_owned(),
                section::sampling::rate_must_be(rate),
            ));
        }
        if self.service_name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            found.push(("service_name".to_owned(), section::MUST_NOT_BE_EMPTY.to_owned()));
        }
        for attribute in &self.resource_attributes {
            if let Err(message) = section::attribute_name(attribute.key.as_str()) {
                found.push(("resource_attributes".to_owned(), message.to_owned()));
            }
        }
        found.extend(section::sampling::contradictions(&self.sampling_rules));
        found.extend(section::capture::contradictions(&self.capture));
        let useless = match self.exporter_url.as_ref().map(ExporterUrl::target) {
            Some(Target::Http { tls: false, .. }) => {
                "certificates have no use with an http URL, which is never TLS: \
                 write https, or remove them"
            }
            Some(Target::File { .. }) => {
                "certificates have no use with a file URL, which makes no connection: remove them"
            }
            Some(Target::Http { tls: true, .. } | Target::Grpc { .. }) | None => return found,
        };
        if !self.ca_certs.is_empty() {
            found.push(("ca_certs".to_owned(), useless.to_owned()));
        }
        if !self.keypairs.is_empty() {
            found.push(("keypairs".to_owned(), useless.to_owned()));
        }
        found
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
        self.config.remote_parent
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

    /// For [`env::service_name`](super::env::service_name); never blank.
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
        self.config.response_header
    }

    /// Empty means the certificate authorities of the system.
    pub(crate) fn ca_certs(self) -> &'a [PathBuf] {
        &self.config.ca_certs
    }

    pub(crate) fn keypairs(self) -> &'a [KeyPair] {
        &self.config.keypairs
    }

    /// Whether the connection is encrypted: by the scheme, or, with `grpc`, because certificates
    /// are configured.
    #[cfg_attr(
        not(any(test, feature = "_client")),
        expect(dead_code, reason = "nobody is connected to")
    )]
    pub(crate) fn uses_tls(self) -> bool {
        let has_certificates = !self.ca_certs().is_empty() || !self.keypairs().is_empty();
        match self.exporter_url.target() {
            Target::Grpc { tls, .. } => *tls || has_certificates,
            Target::Http { tls, .. } => *tls,
            Target::File { .. } => false,
        }
    }
}
