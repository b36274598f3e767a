//! A configuration as a command-line tool changes it for one run.

#[cfg(feature = "file")]
use super::Target;
use super::exporter::Exporter;
use super::{Defaults, ExporterUrl, Switch, TracingServiceConfig};
use crate::sampling::SamplingRate;

impl TracingServiceConfig {
    /// Whether it says itself where spans go.
    pub(crate) fn names_exporter(&self) -> bool {
        self.exporter_url.is_some() || self.defaults == Defaults::OpenTelemetry
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
}
