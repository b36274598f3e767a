//! Endpoints as OpenTelemetry's variables have them: `http` and `https` whatever is spoken, and
//! the ports of these.

use super::parse::{GRPC_PORT, TRACES_PATH, remote, target, valid_path};
use super::{ExporterUrl, ParseExporterUrlError, Reason, Target};
use crate::config::error::quote;

/// What an endpoint is for, which it does not say itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum Endpoint {
    /// A scheme says whether the connection is encrypted; without one, `insecure` does.
    Grpc { insecure: bool },
    /// Used exactly as written: without a path it is `/`.
    Http,
    /// The path of traces is added to it.
    HttpBase,
}

impl Endpoint {
    /// Reads an endpoint. As nothing is filled in but the port, what it makes is not always what
    /// its text would be as an exporter URL of the section.
    ///
    /// # Errors
    ///
    /// What an exporter URL of the section must not have either; for HTTP also no scheme.
    pub(in crate::config) fn parse(self, text: &str) -> Result<ExporterUrl, ParseExporterUrlError> {
        self.target(text)
            .map(|target| ExporterUrl { target })
            .map_err(|reason| ParseExporterUrlError { reason })
    }

    fn target(self, text: &str) -> Result<Target, Reason> {
        // As gRPC clients have it, and the section.
        let is_socket = text.get(..5).is_some_and(|it| it.eq_ignore_ascii_case("unix:"));
        if is_socket && matches!(self, Self::Grpc { .. }) {
            return target(text);
        }
        if text.contains('@') {
            return Err(Reason::Userinfo);
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Reason::Whitespace);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let is = |known: &str| scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(known));
        let (tls, default_port) = match (scheme, self) {
            (None, Self::Grpc { insecure }) => (!insecure, GRPC_PORT),
            (None, Self::Http | Self::HttpBase) => return Err(Reason::NoScheme),
            _ if is("http") => (false, 80),
            _ if is("https") => (true, 443),
            (Some(scheme), _) => return Err(Reason::OtlpScheme(quote(scheme))),
        };
        let (authority, path) = remote(rest, default_port)?;
        let path = match (self, path) {
            (Self::Grpc { .. }, "" | "/") => return Ok(Target::Grpc { authority, tls }),
            (Self::Grpc { .. }, _) => return Err(Reason::GrpcPath),
            (Self::Http, "") => "/".to_owned(),
            (Self::Http, path) => valid_path(path)?.to_owned(),
            (Self::HttpBase, base) => {
                format!("{}{TRACES_PATH}", valid_path(base)?.trim_end_matches('/'))
            }
        };
        Ok(Target::Http { authority, path, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_by_what_is_spoken_there() {
        const SECURE: Endpoint = Endpoint::Grpc { insecure: false };
        const INSECURE: Endpoint = Endpoint::Grpc { insecure: true };
        let cases = [
            (Endpoint::HttpBase, "http://h:4318", "http://h:4318/v1/traces", "a base"),
            (Endpoint::HttpBase, "http://h:4318/", "http://h:4318/v1/traces", "with a slash"),
            (Endpoint::HttpBase, "https://h/otlp", "https://h:443/otlp/v1/traces", "with a path"),
            (Endpoint::HttpBase, "https://h/otlp/", "https://h:443/otlp/v1/traces", "and a slash"),
            (
                Endpoint::HttpBase,
                "http://h/v1/traces",
                "http://h:80/v1/traces/v1/traces",
                "the slip that the specification allows",
            ),
            (Endpoint::Http, "http://h:4318", "http://h:4318/", "as it is: the root"),
            (Endpoint::Http, "http://h:4318/", "http://h:4318/", "written out"),
            (Endpoint::Http, "HTTPS://H/Custom", "https://h:443/Custom", "schemes in any case"),
            (Endpoint::Http, "http://[::1]", "http://[::1]:80/", "the port of HTTP"),
            (SECURE, "http://h:4317", "grpc://h:4317", "the scheme decides"),
            (INSECURE, "https://h:4317", "grpcs://h:4317", "either way"),
            (SECURE, "https://h", "grpcs://h:443", "with its port"),
            (SECURE, "http://h/", "grpc://h:80", "an empty path"),
            (SECURE, "h:4317", "grpcs://h:4317", "no scheme"),
            (INSECURE, "h:4317", "grpc://h:4317", "no scheme, and plaintext wanted"),
            (INSECURE, "h", "grpc://h:4317", "no port"),
        ];
        for (form, text, expected, reason) in cases {
            let url = form.parse(text).map(|url| url.to_string());
            assert_eq!(url.as_deref(), Ok(expected), "{text} as {form:?}: {reason}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_showing_secrets() {
        const GRPC: Endpoint = Endpoint::Grpc { insecure: false };
        const USER: &str = "a user name or password (the part before `@`) is not supported: \
             remove it, or write %40 if the `@` is part of a path";
        let cases = [
            (
                Endpoint::Http,
                "h:4318",
                "no scheme: write for example http://collector:4318",
                "for HTTP",
            ),
            (
                Endpoint::HttpBase,
                "grpc://h",
                "unknown scheme \"grpc\": use http or https, and say in \
                 OTEL_EXPORTER_OTLP_PROTOCOL what is spoken there",
                "ours are not theirs",
            ),
            (
                GRPC,
                "http://h/v1/traces",
                "a path has no meaning for gRPC: end the URL after the port",
                "for HTTP",
            ),
            (GRPC, "https://me:hunter2@h", USER, "a password"),
            (GRPC, "http://h:x", "\"x\" is not a port from 1 to 65535", "no port"),
            (
                Endpoint::Http,
                "http://",
                "no host: write for example grpc://collector:4317",
                "no host",
            ),
            (
                Endpoint::Http,
                "http://h/?token=x",
                "a query (from `?` on) has no meaning here: remove it",
                "a query",
            ),
            (
                Endpoint::HttpBase,
                "http://h/a b",
                "spaces, line breaks and control characters are not allowed: \
                 write %20 for a space in a path",
                "a space",
            ),
            (
                Endpoint::HttpBase,
                "http://h/%2",
                "a `%` must be followed by two hexadecimal digits",
                "in the base",
            ),
        ];
        for (form, text, expected, reason) in cases {
            let url = form.parse(text).map_err(|wrong| wrong.to_string());
            assert_eq!(url, Err(expected.to_owned()), "{text}: {reason}");
        }
    }
}
