//! A configuration whose spans go over a channel of the program's.

use super::env::{CONNECTION, Remark, Variables};
use super::{ConfigError, Effective, Problem, Switch, TracingServiceConfig, section};
use crate::sink::Compression;

impl TracingServiceConfig {
    /// [`with_environment`](Self::with_environment), of which what is about the connection to a
    /// collector is left out: its headers are secrets that are meant for somebody else.
    ///
    /// # Errors
    ///
    /// When the configuration itself says something about a connection of our own.
    pub(crate) fn with_environment_over_channel(
        mut self,
        variables: Variables<'_>,
        service_name: &str,
    ) -> Result<Effective, ConfigError> {
        if self.switch == Switch::Off {
            return Ok(self.with_environment(variables, service_name));
        }
        let useless = self.useless_over_channel();
        if !useless.is_empty() {
            return Err(ConfigError::new(useless));
        }
        // Nobody is asked for where spans go. With this one no other key is useless.
        self.exporter_url = Some("grpcs://localhost".parse().expect("an exporter URL"));
        let is_hidden = |name: &str| CONNECTION.as_flattened().contains(&name);
        let rest = |name: &str| if is_hidden(name) { None } else { variables(name) };
        let mut effective = self.with_environment(&rest, service_name);
        if effective.config.switch != Switch::Off {
            let is_set = |name: &str| variables(name).is_some_and(|value| !value.is_empty());
            let hidden = CONNECTION.as_flattened().iter().filter(|name| is_set(name));
            effective.remarks.extend(hidden.map(|name| Remark::ignored(name, REASON)));
        }
        Ok(effective)
    }

    fn useless_over_channel(&self) -> Vec<Problem> {
        let exporter = &self.exporter;
        let keys = [
            ("exporter_url", self.exporter_url.is_some()),
            ("ca_certs", !exporter.ca_certs.is_empty()),
            (exporter.keypairs_key.as_str(), !exporter.keypairs.is_empty()),
            ("system_roots", exporter.system_roots.is_some()),
            ("server_name", exporter.server_name.is_some()),
            ("compression", exporter.compression.is_some_and(|it| it != Compression::None)),
            ("connect_timeout", exporter.connect_timeout.is_some()),
        ];
        let written = keys.into_iter().filter(|(_, is_written)| *is_written);
        let wrong = format!("has no use, because {REASON}: remove it");
        written.map(|(key, _)| Problem::new(None, section::path(key), wrong.clone())).collect()
    }
}

const REASON: &str = "spans go over a channel of the program's";
