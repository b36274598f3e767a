use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::effective::{ENABLED, Effective, RATE, Source, resource_attribute};
use super::exporter::{Header, HeaderSource};
use super::section::quantity::{Quantity, Size};
use super::{Settings, Target, TracingServiceConfig};
use crate::context::{Network, ResponseHeader};
use crate::pipeline::WhenFull;
use crate::record::{Capture, CapturedHeader};
use crate::sampling::{RemoteParent, SamplingRule};
use crate::sink::{Compression, KeyPair};

/// The configuration that counts: every key with its value, and where that comes from.
///
/// [`Display`](fmt::Display) writes a line for each key, `key: value (source)`, and one for each
/// environment variable that is not obeyed:
///
/// ```text
/// exporter_url: grpc://collector:4317 (OTEL_EXPORTER_OTLP_ENDPOINT)
/// headers.authorization: hidden (configuration)
/// timeout: 10s (default)
/// OTEL_BSP_MAX_QUEUE_SIZE is ignored: …
/// ```
///
/// The source is `configuration` for what the section or the program's code says, `configuration,
/// over …` where a variable says otherwise, the name of the variable, `given at start`, or
/// `default`. Which keys there are, and what the lines say beyond that, may change.
///
/// Secrets are hidden, so that it can be logged as it is. [`Debug`] writes the same.
#[derive(Clone)]
pub struct Description(Arc<str>);

/// Where the spans go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Destination {
    Exporter,
    /// To a test, whatever exporter is configured.
    Memory,
    /// Over a channel of the program's.
    #[cfg(feature = "tonic")]
    Channel,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Effective {
    /// `settings` are those of the configuration; `None` when tracing is off.
    pub(crate) fn describe(
        &self,
        settings: Option<Settings<'_>>,
        destination: Destination,
    ) -> Description {
        let mut lines = Lines { effective: self, text: String::new() };
        match settings {
            Some(settings) => {
                lines.put(ENABLED, true, word(true));
                lines.identity();
                match destination {
                    Destination::Exporter => {
                        lines.exporter(settings);
                        lines.pipeline(settings);
                    }
                    #[cfg(feature = "tonic")]
                    Destination::Channel => {
                        lines.line("exporter_url: none, spans go over a channel of the program's");
                        lines.headers();
                        lines.timeout();
                        lines.pipeline(settings);
                    }
                    // Which has a pipeline of its own.
                    Destination::Memory => lines.line("exporter_url: none, spans stay in memory"),
                }
                lines.limits(settings);
                lines.sampling(settings);
                lines.shown(settings);
            }
            None => lines.put(ENABLED, true, word(false)),
        }
        for remark in &self.remarks {
            lines.line(remark);
        }
        Description(lines.text.into())
    }
}

struct Lines<'a> {
    effective: &'a Effective,
    text: String,
}

impl<'a> Lines<'a> {
    fn config(&self) -> &'a TracingServiceConfig {
        &self.effective.config
    }

    fn identity(&mut self) {
        let config = self.config();
        self.put("service_name", true, config.service_name.as_deref().unwrap_or_default());
        for attribute in &config.resource_attributes {
            let key = resource_attribute(attribute.key.as_str());
            self.put(&key, true, &attribute.value);
        }
        if let Some(wait) = config.wait_for_resource_attributes {
            self.put("wait_for_resource_attributes", true, wait.show());
        }
    }

    fn exporter(&mut self, settings: Settings<'_>) {
        let config = self.config();
        let exporter = &config.exporter;
        self.put("exporter_url", true, settings.exporter_url());
        if matches!(settings.exporter_url().target(), Target::File { .. }) {
            return;
        }
        if settings.uses_tls() {
            self.line("encrypted: yes");
            let ca_certs = exporter.ca_certs.iter().map(|file| file.display().to_string());
            self.list("ca_certs", ca_certs, "none");
            self.put(
                "system_roots",
                exporter.system_roots.is_some(),
                word(exporter.uses_system_roots()),
            );
            let pair = |KeyPair { key_file, cert_file }: &KeyPair| {
                format!("{} with {}", cert_file.display(), key_file.display())
            };
            self.list("keypairs", exporter.keypairs.iter().map(pair), "none");
            let name = exporter.server_name.as_deref();
            self.put("server_name", name.is_some(), name.unwrap_or("the host of the URL"));
        } else {
            self.line("encrypted: no");
        }
        self.headers();
        let compression = exporter.compression.unwrap_or_default();
        let compression = written(compression, &Compression::WORDS);
        self.put("compression", exporter.compression.is_some(), compression);
        self.timeout();
        let connecting = exporter.connecting().show();
        self.put("connect_timeout", exporter.connect_timeout.is_some(), connecting);
    }

    fn headers(&mut self) {
        for Header { name, value } in &self.config().exporter.headers {
            let key = format!("headers.{name}");
            let source = self.effective.sources.of("headers", true);
            match value {
                HeaderSource::Text(_) => self.sourced(&key, "hidden", source),
                HeaderSource::File(file) => {
                    let value = format!("hidden, in {}", file.display());
                    self.sourced(&key, value, source);
                }
                HeaderSource::Variable(variable) => {
                    self.sourced(&key, format!("hidden, in {variable}"), source);
                }
            }
        }
    }

    fn timeout(&mut self) {
        let exporter = &self.config().exporter;
        self.put("timeout", exporter.timeout.is_some(), exporter.attempt().show());
    }

    fn pipeline(&mut self, settings: Settings<'_>) {
        let TracingServiceConfig { queue, retry, concurrency, .. } = self.config();
        let options = settings.pipeline_options();
        let size = |bytes| Size::new(bytes).show();
        self.put("queue.max_bytes", queue.max_bytes.is_some(), size(options.max_bytes));
        self.put("queue.max_batch_spans", queue.max_batch_spans.is_some(), options.batch.spans);
        self.put(
            "queue.max_batch_bytes",
            queue.max_batch_bytes.is_some(),
            size(options.batch.bytes),
        );
        self.put("queue.max_delay", queue.max_delay.is_some(), options.max_delay.show());
        let when_full = written(options.when_full, &WhenFull::WORDS);
        self.put("queue.when_full", queue.when_full.is_some(), when_full);
        self.put("retry.initial", retry.initial.is_some(), options.retry.initial.show());
        self.put("retry.max", retry.max.is_some(), options.retry.max.show());
        let give_up_after = options.retry.give_up_after.show();
        self.put("retry.give_up_after", retry.give_up_after.is_some(), give_up_after);
        self.put("concurrency", concurrency.is_some(), options.concurrency);
    }

    fn limits(&mut self, settings: Settings<'_>) {
        let config = &self.config().limits;
        let limits = settings.span_limits();
        let counts = [
            ("attributes_per_span", config.attributes_per_span, limits.attributes),
            ("events_per_span", config.events_per_span, limits.events),
            ("links_per_span", config.links_per_span, limits.links),
            ("attributes_per_event", config.attributes_per_event, limits.attributes_per_event),
            ("attributes_per_link", config.attributes_per_link, limits.attributes_per_link),
        ];
        for (key, configured, count) in counts {
            self.put(&format!("limits.{key}"), configured.is_some(), count);
        }
        let lengths = [
            ("value_length", config.value_length, limits.value_length),
            ("peer_value_length", config.peer_value_length, limits.peer_value_length),
        ];
        for (key, configured, length) in lengths {
            let length =
                if length == usize::MAX { "none".to_owned() } else { Size::new(length).show() };
            self.put(&format!("limits.{key}"), configured.is_some(), length);
        }
    }

    fn sampling(&mut self, settings: Settings<'_>) {
        let config = self.config();
        let rate = config.sampling_rate_per_million;
        self.put(RATE, rate.is_some(), rate.unwrap_or_default());
        for (i, rule) in config.sampling_rules.iter().enumerate() {
            self.put(&format!("sampling_rules[{i}]"), true, rule_of(rule));
        }
        let is_set = config.remote_parent.is_some();
        self.put("remote_parent", is_set, written(settings.remote_parent(), &RemoteParent::WORDS));
        let forced = config.forced_sampling_per_second;
        let limit = forced.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        self.put("forced_sampling_per_second", forced.is_some(), limit);
    }

    fn shown(&mut self, settings: Settings<'_>) {
        let config = self.config();
        let is_set = config.response_header.is_some();
        let header = written(settings.response_header(), &ResponseHeader::WORDS);
        self.put("response_header", is_set, header);
        let capture = &config.capture;
        let Capture {
            request_headers,
            response_headers,
            sensitive_headers,
            redacted_query_parameters,
            known_methods,
            known_grpc_methods,
        } = capture;
        let name = |header: &CapturedHeader| header.name.to_string();
        self.list("request_headers", request_headers.iter().map(name), "none");
        self.list("response_headers", response_headers.iter().map(name), "none");
        let shown = word(capture.shows_sensitive_headers());
        self.put("sensitive_headers", sensitive_headers.is_some(), shown);
        let hidden = join(capture.secret_parameters(), "none");
        self.put("redacted_query_parameters", redacted_query_parameters.is_some(), hidden);
        let shown = join(capture.shown_methods(), "none");
        self.put("known_methods", known_methods.is_some(), shown);
        let methods = known_grpc_methods.as_deref();
        let shown = methods.map_or_else(|| "all".to_owned(), |methods| join(methods, "none"));
        self.put("known_grpc_methods", methods.is_some(), shown);
        self.list("trusted_proxies", config.trusted_proxies.iter().map(Network::to_string), "none");
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item = String>, none: &str) {
        let items: Vec<_> = items.collect();
        self.put(key, !items.is_empty(), join(&items, none));
    }

    fn put(&mut self, key: &str, is_configured: bool, value: impl fmt::Display) {
        self.sourced(key, value, self.effective.sources.of(key, is_configured));
    }

    fn sourced(&mut self, key: &str, value: impl fmt::Display, source: Source) {
        self.line(format_args!("{key}: {value} ({source})"));
    }

    /// One line, whatever stands in a name or a path.
    fn line(&mut self, line: impl fmt::Display) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for c in line.to_string().chars() {
            if c.is_control() { self.text.extend(c.escape_default()) } else { self.text.push(c) }
        }
    }
}

fn rule_of(rule: &SamplingRule) -> String {
    let conditions: Vec<_> = rule.conditions().map(|(key, text)| format!("{key} {text}")).collect();
    format!("{} for {}", rule.rate().per_million(), conditions.join(", "))
}

fn join(items: &[impl Borrow<str>], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { items.join(", ") }
}

/// As the section has it.
fn written<T: Copy + PartialEq, const N: usize>(
    value: T,
    words: &[(&'static str, T); N],
) -> &'static str {
    words.iter().find(|(_, meant)| *meant == value).map_or("", |(word, _)| word)
}

fn word(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

#[cfg(test)]
mod tests;
