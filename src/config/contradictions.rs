use super::section;
use super::{ExporterUrl, Target, TracingServiceConfig};
use crate::sampling::SamplingRate;
use crate::sink::Compression;

impl TracingServiceConfig {
    /// What the types of the fields cannot rule out, with the key to correct.
    pub(super) fn contradictions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut say = |key: &str, wrong: String| found.push((key.to_owned(), wrong));
        if let Some(rate) = self.sampling_rate_per_million
            && SamplingRate::try_from(rate).is_err()
        {
            say("sampling_rate_per_million", section::sampling::rate_must_be(rate));
        }
        if self.service_name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            say("service_name", section::MUST_NOT_BE_EMPTY.to_owned());
        }
        for attribute in &self.resource_attributes {
            if let Err(message) = section::attribute_name(attribute.key.as_str()) {
                say("resource_attributes", message.to_owned());
            }
        }
        found.extend(section::sampling::contradictions(&self.sampling_rules));
        found.extend(section::capture::contradictions(&self.capture));
        found.extend(section::exporter::contradictions(&self.exporter));
        found.extend(section::queue::contradictions(self));
        let url = self.exporter_url.as_ref().map(ExporterUrl::target);
        found.extend(url.into_iter().flat_map(|target| self.useless_with(target)));
        found
    }

    /// What a URL makes no use of. Rather than to be let pass, it is an error: whoever wrote it
    /// expects it to protect something.
    fn useless_with(&self, target: &Target) -> Vec<(String, String)> {
        let exporter = &self.exporter;
        let of_tls = [
            ("ca_certs", !exporter.ca_certs.is_empty()),
            (exporter.keypairs_key.as_str(), !exporter.keypairs.is_empty()),
            ("system_roots", exporter.system_roots == Some(true)),
            ("server_name", exporter.server_name.is_some()),
        ];
        let of_requests = [
            ("headers", !exporter.headers.is_empty()),
            ("compression", exporter.compression.is_some_and(|it| it != Compression::None)),
            ("timeout", exporter.timeout.is_some()),
            ("connect_timeout", exporter.connect_timeout.is_some()),
        ];
        let is_useless = |keys: &[(&str, bool)], why: &str| -> Vec<(String, String)> {
            let written = keys.iter().filter(|(_, is_written)| *is_written);
            written.map(|(key, _)| ((*key).to_owned(), why.to_owned())).collect()
        };
        match target {
            Target::Http { tls: false, .. } => is_useless(
                &of_tls,
                "has no use with an http URL, which is never TLS: write https, or remove it",
            ),
            Target::File { .. } => {
                let why = "has no use with a file URL, which makes no connection: remove it";
                [is_useless(&of_tls, why), is_useless(&of_requests, why)].concat()
            }
            Target::GrpcUnix { .. } | Target::HttpUnix { .. } => {
                is_useless(&of_tls, "has no use with a Unix socket, which is never TLS: remove it")
            }
            Target::Grpc { tls: false, .. } if !exporter.has_certificates() => is_useless(
                &of_tls,
                "has no use with a grpc URL without certificates, which is not TLS: write grpcs, \
                 or remove it",
            ),
            // The certificate authorities of the system are those there are without `ca_certs`.
            Target::Grpc { .. } | Target::Http { tls: true, .. }
                if exporter.system_roots == Some(false) && exporter.ca_certs.is_empty() =>
            {
                let why = "without `ca_certs` nobody could vouch for the collector: add them, or \
                           remove this";
                vec![("system_roots".to_owned(), why.to_owned())]
            }
            Target::Grpc { .. } | Target::Http { tls: true, .. } => Vec::new(),
        }
    }
}
