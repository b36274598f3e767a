//! What counts in the end: what is configured, then what the environment says, then defaults.

use std::collections::BTreeMap;
use std::fmt;

use opentelemetry::KeyValue;

use super::env::{self, Environment, Found, FoundPair, Protocol, Remark, Variables};
#[cfg(feature = "_client")]
use super::section::NAME;
use super::{ConfigError, Defaults, Problem, Settings, Switch, Target, TracingServiceConfig};
use crate::sampling::SamplingRate;
use crate::sink::KeyPair;

/// A configuration in which nothing is left for the environment to say.
#[derive(Debug)]
pub(crate) struct Effective {
    pub(crate) config: TracingServiceConfig,
    pub(super) sources: Sources,
    /// Of the variables that are not obeyed, or not to the letter.
    pub(crate) remarks: Vec<Remark>,
    /// The variable that was to say where spans go, and what is wrong with it.
    unusable_endpoint: Option<(&'static str, String)>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// The section, or code.
    Configuration,
    /// The same, and this variable says otherwise.
    ConfigurationOver(&'static str),
    Variable(&'static str),
    /// The program that starts the service.
    Start,
    Default,
}

/// Where the values come from that are not simply as configured, by their keys.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<String, Source>);

impl TracingServiceConfig {
    /// Puts what the environment says in place of what is left out, key by key. While tracing is
    /// off, nothing but that is asked.
    ///
    /// `service_name` is what the program calls itself.
    pub(crate) fn with_environment(
        self,
        variables: Variables<'_>,
        service_name: &str,
    ) -> Effective {
        let mut effective = Effective {
            config: self,
            sources: Sources::default(),
            remarks: Vec::new(),
            unusable_endpoint: None,
        };
        if effective.config.switch != Switch::Off {
            effective.add(env::read(variables), service_name);
        }
        effective
    }
}

impl Effective {
    /// [`TracingServiceConfig::check_with`] the reason why the environment names no exporter
    /// either.
    pub(crate) fn check(&self) -> Result<Option<Settings<'_>>, ConfigError> {
        let reason = self.unusable_endpoint.as_ref();
        let problem = reason.map(|(variable, wrong)| Problem::new(None, *variable, wrong));
        self.config.check_with(problem)
    }

    /// A problem with a file of TLS, which begins with its key, as one with the variable that names
    /// the file, or with the key as the document spells it.
    #[cfg(feature = "_client")]
    pub(crate) fn attribute(&self, problem: &str) -> String {
        let Some(problem) = problem.strip_prefix(NAME).and_then(|it| it.strip_prefix('.')) else {
            return problem.to_owned();
        };
        let (key, wrong) = problem.split_once(": ").unwrap_or((problem, ""));
        let source = match key {
            "ca_certs[0]" => self.sources.of("ca_certs", true),
            _ => self.sources.of(key, true),
        };
        match (source, key.strip_prefix("keypairs")) {
            (Source::Variable(variable), _) => format!("{variable}: {wrong}"),
            (_, Some(item)) => {
                let key = self.config.exporter.keypairs_key.as_str();
                format!("{NAME}.{key}{item}: {wrong}")
            }
            (_, None) => format!("{NAME}.{problem}"),
        }
    }

    /// Makes do without an exporter URL, which nothing but a check asks for.
    pub(crate) fn without_exporter(&mut self) {
        // With this one no other key is useless.
        let unused = || "grpcs://localhost".parse().expect("an exporter URL");
        self.config.exporter_url.get_or_insert_with(unused);
    }

    fn add(&mut self, mut environment: Environment, service_name: &str) {
        match (self.config.switch, environment.off.first()) {
            (Switch::On, _) => {
                let reason = "the configuration switches tracing on, and goes before it";
                let ignored = |variable| Remark::ignored(variable, reason);
                self.remarks.extend(environment.off.drain(..).map(ignored));
            }
            (Switch::Environment, Some(variable)) => {
                self.config.switch = Switch::Off;
                self.sources.set(ENABLED, Source::Variable(variable));
                // Nothing else counts, and nothing is to be said of it.
                return;
            }
            (Switch::Environment, None) => self.sources.set(ENABLED, Source::Default),
            (Switch::Off, _) => {}
        }
        self.remarks.append(&mut environment.remarks);
        self.add_identity(&mut environment, service_name);
        self.add_exporter(&mut environment);
        self.add_limits(environment);
    }

    fn add_identity(&mut self, environment: &mut Environment, service_name: &str) {
        let Self { config, sources, .. } = self;
        if let Some(Found { value: attributes, variable }) = environment.resource_attributes.take()
        {
            let (names, attributes): (Vec<_>, Vec<_>) =
                attributes.into_iter().partition(|it| it.key.as_str() == SERVICE_NAME);
            // It is the less specific of the two variables.
            environment.service_name = environment.service_name.take().or_else(|| {
                let name = names.first()?.value.as_str().into_owned();
                (!name.trim().is_empty()).then_some(Found { value: name, variable })
            });
            let is_set = |it: &KeyValue| config.resource_attributes.iter().any(|x| x.key == it.key);
            let (overridden, added): (Vec<_>, Vec<_>) = attributes.into_iter().partition(is_set);
            for attribute in overridden {
                let key = resource_attribute(attribute.key.as_str());
                sources.set(key, Source::ConfigurationOver(variable));
            }
            for attribute in &added {
                let key = resource_attribute(attribute.key.as_str());
                sources.set(key, Source::Variable(variable));
            }
            // The configured ones last: of those that come last, what does not fit is left out.
            config.resource_attributes.splice(..0, added);
        }
        sources.fill("service_name", &mut config.service_name, environment.service_name.take());
        if config.service_name.is_none() {
            let (name, source) = match service_name.trim() {
                "" => (env::unknown_service(), Source::Default),
                _ => (service_name.to_owned(), Source::Start),
            };
            config.service_name = Some(name);
            sources.set("service_name", source);
        }
    }

    fn add_exporter(&mut self, environment: &mut Environment) {
        let is_configured = self.config.exporter_url.is_some();
        let not_meant = self.add_exporter_url(environment);
        let Self { config, sources, remarks, .. } = self;
        let Some(url) = &config.exporter_url else { return };

        let overridden = environment.protocol.as_ref().filter(|it| !it.value.is_of(url.target()));
        let insecure = environment.idle_insecure;
        if is_configured {
            let schemes = overridden.map(|it| it.variable).into_iter().chain(insecure);
            let reason = "the scheme of the configured `exporter_url` goes before it";
            remarks.extend(schemes.map(|variable| Remark::ignored(variable, reason)));
        } else if let Some(variable) = insecure {
            let reason = "it is for an endpoint of gRPC without a scheme";
            remarks.push(Remark::ignored(variable, reason));
        }
        let exporter = &mut config.exporter;
        let plaintext = format!("the connection to {url} is not encrypted");
        // What makes a secret useless makes it dangerous, too: it is left where it is.
        let (no_requests, no_tls) = match url.target() {
            Target::File { .. } => (Some(FILES), Some(FILES)),
            // Certificates make TLS of `grpc`, but a variable does not change what the section, or
            // another variable, says.
            Target::Grpc { .. } if exporter.has_certificates() => (None, None),
            target => (None, (!target.is_tls()).then_some(&*plaintext)),
        };
        let connecting = exporter.connect_timeout.filter(|_| exporter.timeout.is_none());
        let too_short = environment.timeout.as_ref().zip(connecting).and_then(|(found, least)| {
            (found.value < least).then_some("the configured `connect_timeout` is longer")
        });

        let headers = useful(environment.headers.take(), no_requests, remarks);
        if let (Some(headers), Some(endpoint)) = (&headers, not_meant)
            && exporter.headers.is_empty()
        {
            let says = format!(
                "goes to {url}, because the configured `exporter_url` goes before {endpoint}"
            );
            remarks.push(Remark::says(headers.variable, says));
        }
        sources.fill_list("headers", &mut exporter.headers, headers);
        let compression = useful(environment.compression.take(), no_requests, remarks);
        sources.fill("compression", &mut exporter.compression, compression);
        let timeout = useful(environment.timeout.take(), no_requests.or(too_short), remarks);
        sources.fill("timeout", &mut exporter.timeout, timeout);
        let ca_cert = useful(environment.ca_cert.take(), no_tls, remarks);
        let ca_certs = ca_cert.map(|found| found.map(|file| vec![file]));
        sources.fill_list("ca_certs", &mut exporter.ca_certs, ca_certs);
        if let Some(FoundPair { cert_file, key_file }) = environment.keypair.take()
            && let (Some(cert_file), Some(key_file)) =
                (useful(Some(cert_file), no_tls, remarks), useful(Some(key_file), no_tls, remarks))
        {
            if exporter.keypairs.is_empty() {
                sources.set(CERT_FILE, Source::Variable(cert_file.variable));
                sources.set(KEY_FILE, Source::Variable(key_file.variable));
            }
            let key_file = key_file.value;
            let keypairs = cert_file.map(|cert_file| vec![KeyPair { key_file, cert_file }]);
            sources.fill_list("keypairs", &mut exporter.keypairs, Some(keypairs));
        }
    }

    /// The variable that names another host, or nobody knows which, than the configuration.
    fn add_exporter_url(&mut self, environment: &mut Environment) -> Option<&'static str> {
        let Self { config, sources, remarks, unusable_endpoint } = self;
        match (&config.exporter_url, environment.endpoint.take()) {
            (Some(url), Some(Found { value: Ok(endpoint), variable })) => {
                sources.set("exporter_url", Source::ConfigurationOver(variable));
                (endpoint.target().host() != url.target().host()).then_some(variable)
            }
            (Some(_), Some(Found { value: Err(wrong), variable })) => {
                remarks.push(Remark::ignored(variable, wrong));
                Some(variable)
            }
            (Some(_), None) => None,
            (None, Some(Found { value: Ok(endpoint), variable })) => {
                config.exporter_url = Some(endpoint);
                sources.set("exporter_url", Source::Variable(variable));
                None
            }
            (None, Some(Found { value: Err(wrong), variable })) => {
                *unusable_endpoint = Some((variable, wrong));
                None
            }
            (None, None) => {
                if config.defaults == Defaults::OpenTelemetry {
                    let (protocol, source) = match environment.protocol {
                        Some(Found { value, variable }) => (value, Source::Variable(variable)),
                        None => (Protocol::Http, Source::Default),
                    };
                    config.exporter_url = Some(protocol.default_url());
                    sources.set("exporter_url", source);
                }
                None
            }
        }
    }

    fn add_limits(&mut self, environment: Environment) {
        let Self { config, sources, .. } = self;
        let TracingServiceConfig { queue, limits, sampling_rate_per_million: rate, .. } = config;
        let Environment { limits: found, max_delay, max_batch_spans, .. } = environment;
        sources.fill("queue.max_delay", &mut queue.max_delay, max_delay);
        sources.fill("queue.max_batch_spans", &mut queue.max_batch_spans, max_batch_spans);
        let counts = [
            (
                "limits.attributes_per_span",
                &mut limits.attributes_per_span,
                found.attributes_per_span,
            ),
            ("limits.events_per_span", &mut limits.events_per_span, found.events_per_span),
            ("limits.links_per_span", &mut limits.links_per_span, found.links_per_span),
            (
                "limits.attributes_per_event",
                &mut limits.attributes_per_event,
                found.attributes_per_event,
            ),
            (
                "limits.attributes_per_link",
                &mut limits.attributes_per_link,
                found.attributes_per_link,
            ),
        ];
        for (key, field, found) in counts {
            sources.fill(key, field, found);
        }
        sources.fill("limits.value_length", &mut limits.value_length, found.value_length);
        sources.fill(RATE, rate, environment.rate);
        if rate.is_none() && config.defaults == Defaults::OpenTelemetry {
            *rate = Some(SamplingRate::ALWAYS.per_million());
            sources.set(RATE, Source::Default);
        }
    }
}

impl Sources {
    /// Of a key that, without a word of the environment, is configured or left out.
    pub(super) fn of(&self, key: &str, is_configured: bool) -> Source {
        let otherwise = if is_configured { Source::Configuration } else { Source::Default };
        self.0.get(key).copied().unwrap_or(otherwise)
    }

    fn set(&mut self, key: impl Into<String>, source: Source) {
        self.0.insert(key.into(), source);
    }

    fn fill<T>(&mut self, key: &str, field: &mut Option<T>, found: Option<Found<T>>) {
        let Some(Found { value, variable }) = found else { return };
        if field.is_some() {
            self.set(key, Source::ConfigurationOver(variable));
        } else {
            *field = Some(value);
            self.set(key, Source::Variable(variable));
        }
    }

    /// The list of the one or of the other, but never of both: half of somebody's list is none.
    fn fill_list<T>(&mut self, key: &str, field: &mut Vec<T>, found: Option<Found<Vec<T>>>) {
        let mut configured = Some(std::mem::take(field)).filter(|list| !list.is_empty());
        self.fill(key, &mut configured, found);
        *field = configured.unwrap_or_default();
    }
}

/// What was found, unless there is a reason why it has no use here.
fn useful<T>(
    found: Option<Found<T>>,
    reason: Option<&str>,
    remarks: &mut Vec<Remark>,
) -> Option<Found<T>> {
    match (found, reason) {
        (Some(found), Some(reason)) => {
            remarks.push(Remark::ignored(found.variable, reason));
            None
        }
        (found, _) => found,
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("configuration"),
            Self::ConfigurationOver(variable) => write!(f, "configuration, over {variable}"),
            Self::Variable(variable) => f.write_str(variable),
            Self::Start => f.write_str("given at start"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The key of an attribute of the resource.
pub(super) fn resource_attribute(name: &str) -> String {
    format!("resource_attributes.{name}")
}

pub(super) const ENABLED: &str = "enabled";
pub(super) const RATE: &str = "sampling_rate_per_million";

/// The keys of a pair that variables name.
const CERT_FILE: &str = "keypairs[0].cert_file";
const KEY_FILE: &str = "keypairs[0].key_file";

const SERVICE_NAME: &str = "service.name";

const FILES: &str = "spans go to files";

#[cfg(test)]
mod tests;
