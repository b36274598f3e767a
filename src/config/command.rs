//! A configuration as a command-line tool changes it for one run.

#[cfg(feature = "file")]
use super::Target;
use super::env::{ENDPOINT, Variables};
use super::exporter::Exporter;
use super::{Defaults, ExporterUrl, Switch, TracingServiceConfig};
use crate::sampling::SamplingRate;

impl TracingServiceConfig {
    /// Whether it says where spans go, itself or by a variable. One that is off asks no variables:
    /// they are for services.
    pub(crate) fn names_exporter(&self, variables: Variables<'_>) -> bool {
        let is_set = |name| variables(name).is_some_and(|value| !value.is_empty());
        self.exporter_url.is_some()
            || self.defaults == Defaults::OpenTelemetry
            || self.switch != Switch::Off && ENDPOINT.into_iter().any(is_set)
    }

    #[cfg(feature = "file")]
    pub(crate) fn target(&self) -> Option<&Target> {
        self.exporter_url.as_ref().map(ExporterUrl::target)
    }

    /// The same, but everything is recorded.
    #[must_use]
    pub(crate) fn of_everything(self) -> Self {
        Self {
            switch: Switch::On,
            sampling_rate_per_million: Some(SamplingRate::ALWAYS.per_million()),
            sampling_rules: Vec::new(),
            ..self
        }
    }

    /// The same, but spans go there, by default settings: headers and certificates were for
    /// somebody else.
    #[must_use]
    pub(crate) fn exporting_to(self, url: ExporterUrl) -> Self {
        Self { exporter_url: Some(url), exporter: Exporter::default(), ..self }
    }

    /// The same without headers: a section that is written for an exporter has its credentials there.
    #[must_use]
    pub(crate) fn without_headers(mut self) -> Self {
        self.exporter.headers.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_is_named_by_the_section_or_by_a_variable_that_it_asks() {
        let url = || "grpc://collector".parse().unwrap();
        let off = TracingServiceConfig::disabled;
        let on = || off().enabled(true);
        let [traces, general] = ENDPOINT;
        let rows = [
            (on(), "", "", false, "nobody says"),
            (on().exporter_url(url()), "", "", true, "the section"),
            (off().exporter_url(url()), "", "", true, "one that is off, for whoever wants a trace"),
            (on(), traces, "http://c", true, "the variable for traces"),
            (on(), general, "http://c", true, "the general one"),
            (on(), general, "", false, "an empty one is unset"),
            (on(), general, "tcp://", true, "a slip must not send spans elsewhere"),
            (off(), general, "http://c", false, "nobody asks it"),
            (TracingServiceConfig::from_env(), "", "", true, "a collector on this host"),
        ];
        for (config, variable, value, expected, why) in rows {
            let variables = |name: &str| (name == variable).then(|| value.into());
            assert_eq!(config.names_exporter(&variables), expected, "{why}");
        }
    }
}
