//! `server.address` and `server.port`: whom a request is for.

use http::{HeaderMap, HeaderValue, Uri, header};

use crate::context::{glance, split_authority, split_host_port, without_userinfo};
use crate::record::SpanBuffer;

/// An address that the user of a layer has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    address: String,
    port: Option<u16>,
    /// Whether the address is a host's, and not the path of a socket or a target that names none.
    is_host: bool,
}

impl ServerAddress {
    pub(crate) fn new(address: String, port: Option<u16>) -> Self {
        let is_host = !address.contains('/');
        Self { address, port, is_host }
    }

    /// The address in a target of gRPC ("gRPC Name Resolution"). What names no single host is kept
    /// whole, but for what may be secret.
    pub(crate) fn of_target(target: &str) -> Self {
        let (scheme, rest) = match target.split_once(':') {
            // A port that is a name: `localhost:grpc`. A scheme of gRPC has an address behind it.
            Some((host, rest)) if is_port_name(rest) && !is_scheme(host) => ("", target),
            // A port or a second colon, not a scheme: `host:443`, `::1`.
            Some((_, rest)) if rest.starts_with(|c: char| c.is_ascii_digit() || c == ':') => {
                ("", target)
            }
            Some((scheme, rest)) => (scheme, rest),
            None => ("", target),
        };
        let scheme = scheme.to_ascii_lowercase();
        // A target's own authority is the name server, a URL's the host.
        let after_authority =
            || rest.strip_prefix("//").map_or(Some(rest), |rest| Some(rest.split_once('/')?.1));
        let (host, is_host) = match &*scheme {
            "" => (split_host_port(without_userinfo(rest)), true),
            "dns" => (after_authority().map(authority_of).and_then(split_host_port), true),
            "http" | "https" => {
                let default = if scheme == "https" { 443 } else { 80 };
                let host_port = rest.strip_prefix("//").map(authority_of).and_then(split_host_port);
                (host_port.map(|(host, port)| (host, port.or(Some(default)))), true)
            }
            "unix" | "unix-abstract" => (after_path(rest), false),
            _ if target.starts_with('[') => (split_host_port(target), true),
            _ => (None, false),
        };
        match host.filter(|(host, _)| !host.contains(['%', '@', '/', '?', '#']) || !is_host) {
            Some((host, port)) => Self { address: host.to_owned(), port, is_host },
            None => Self { address: without_secrets(target), port: None, is_host: false },
        }
    }

    pub(super) fn is_host(&self) -> bool {
        self.is_host
    }

    /// As it stands in a URL.
    pub(super) fn to_authority(&self) -> String {
        let (address, port) = self.as_parts();
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }

    pub(super) fn as_parts(&self) -> (&str, Option<u16>) {
        (&self.address, self.port)
    }
}

/// The host and port that this begins with, without userinfo.
fn authority_of(url: &str) -> &str {
    without_userinfo(&url[..url.find(['/', '?', '#']).unwrap_or(url.len())])
}

fn before_query(text: &str) -> &str {
    &text[..text.find(['?', '#']).unwrap_or(text.len())]
}

fn is_port_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a target that begins so names its scheme, whatever comes.
fn is_scheme(text: &str) -> bool {
    const SCHEMES: [&str; 8] =
        ["dns", "http", "https", "ipv4", "ipv6", "unix", "unix-abstract", "xds"];
    SCHEMES.iter().any(|scheme| text.eq_ignore_ascii_case(scheme))
}

/// A target without its userinfo, query and fragment.
fn without_secrets(target: &str) -> String {
    let target = before_query(target);
    let (before, rest) = target.split_at(target.find("//").map_or(0, |slashes| slashes + 2));
    // A password may have slashes in it, though it should not.
    format!("{before}{}", without_userinfo(rest))
}

/// The path of a socket: `unix:///absolute`, `unix:relative`.
fn after_path(rest: &str) -> Option<(&str, Option<u16>)> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    (!path.is_empty()).then_some((path, None))
}

/// The address that was set, and without one that which the request is for by its own word.
#[cfg(feature = "metrics")]
pub(in crate::trace) fn of<'a>(
    set: Option<&'a ServerAddress>,
    head: &super::RequestHead<'a>,
) -> Option<(&'a str, Option<u16>)> {
    set.map(ServerAddress::as_parts)
        .or_else(|| split_authority(text(told(head.uri(), || host(head.headers))?)?))
}

/// Writes the address that was set, or what proxies tell, or what the request says.
pub(super) fn push(
    span: &mut SpanBuffer,
    set: Option<&ServerAddress>,
    forwarded: Option<(&str, Option<u16>)>,
    told: Option<&[u8]>,
) {
    if let Some((address, port)) = set.map(ServerAddress::as_parts).or(forwarded) {
        write(span, address, port);
    } else if let Some(told) = told {
        // Most requests are for whom the one before was.
        span.push_again(told, |span| {
            if let Some((address, port)) = text(told).and_then(split_authority) {
                write(span, address, port);
            }
        });
    }
}

pub(super) fn write(span: &mut SpanBuffer, address: &str, port: Option<u16>) {
    span.push_peer_str("server.address", address);
    if let Some(port) = port {
        span.push_i64("server.port", port.into());
    }
}

/// Whom a request is for by its own word, without userinfo.
pub(super) fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    told(uri, || host(headers)).and_then(text).map(without_userinfo)
}

/// What a request says of whom it is for: `:authority`, an absolute URI, or `Host`.
pub(super) fn told<'a>(
    uri: &'a Uri,
    host: impl FnOnce() -> Option<&'a HeaderValue>,
) -> Option<&'a [u8]> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => host().map(HeaderValue::as_bytes),
    }
}

pub(super) fn host(headers: &HeaderMap) -> Option<&HeaderValue> {
    glance::get(headers, &header::HOST)
}

fn text(told: &[u8]) -> Option<&str> {
    str::from_utf8(told).ok().filter(|told| told.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_its_host_or_is_kept_whole() {
        let rows = [
            ("grpc.io:50051", "grpc.io", Some(50051), "host and port"),
            ("grpc.io", "grpc.io", None, "a host"),
            (
                "dns://1.2.3.4/grpc.io:50051",
                "grpc.io",
                Some(50051),
                "the authority is a name server",
            ),
            ("dns:///example.com:443", "example.com", Some(443), "no authority"),
            ("dns:example.com:443", "example.com", Some(443), "no slashes"),
            ("dns:///svc:https", "svc", None, "a port that is a name"),
            ("dns:///[::1]:8080", "::1", Some(8080), "IPv6"),
            ("[::1]:8080", "::1", Some(8080), "IPv6, no scheme"),
            ("[::1]", "::1", None, "IPv6, no port"),
            ("::1", "::1", None, "IPv6 without brackets is ambiguous, and so kept whole"),
            ("127.0.0.1:50051", "127.0.0.1", Some(50051), "IPv4"),
            (
                "unix:///run/containerd/containerd.sock",
                "/run/containerd/containerd.sock",
                None,
                "a socket",
            ),
            ("unix:relative.sock", "relative.sock", None, "a relative path"),
            ("unix-abstract:///grpc.sock", "/grpc.sock", None, "an abstract socket"),
            ("http://grpc.io:50051", "grpc.io", Some(50051), "as a tonic endpoint has it"),
            ("http://[::1]/", "::1", Some(80), "the default port"),
            ("https://user:secret@grpc.io/x", "grpc.io", Some(443), "without userinfo"),
            ("https://grpc.io?token=secret", "grpc.io", Some(443), "without query"),
            ("https://grpc.io#secret", "grpc.io", Some(443), "without fragment"),
            ("dns:///grpc.io:443?token=secret", "grpc.io", Some(443), "without query"),
            ("HTTPS://grpc.io", "grpc.io", Some(443), "schemes are not case-sensitive"),
            ("localhost:grpc", "localhost", None, "a port that is a name, no scheme"),
            ("dns:localhost", "localhost", None, "a scheme and a host"),
            ("user:secret@host", "host", None, "no scheme that is known, and perhaps a password"),
            ("grpc://user:secret@host:50051", "grpc://host:50051", None, "no scheme of gRPC"),
            ("zk://user:se/cret@zk?a=secret#b", "zk://zk", None, "a password with a slash"),
            ("dns://user:secret@ns/", "dns://ns/", None, "nothing to ask the name server"),
            ("dns:///user:secret@h", "h", None, "no userinfo in a name"),
            ("https://user:secret@ex%20ample.com", "https://ex%20ample.com", None, "no host"),
            ("zk://zookeeper:2181/my-server", "zk://zookeeper:2181/my-server", None, "not a host"),
            (
                "ipv4:198.51.100.123:50051,198.51.100.124:50051",
                "ipv4:198.51.100.123:50051,198.51.100.124:50051",
                None,
                "several hosts",
            ),
            ("dns:///example%zz.com:443", "dns:///example%zz.com:443", None, "no host's name"),
            ("dns://1.2.3.4", "dns://1.2.3.4", None, "a name server and nothing to ask it"),
            ("unix:", "unix:", None, "no path"),
            ("https://", "https://", None, "no host"),
            ("", "", None, "empty"),
        ];
        for (target, address, port, why) in rows {
            let found = ServerAddress::of_target(target);
            assert_eq!(found.as_parts(), (address, port), "{target}: {why}");
        }
    }
}
