use std::error::Error;
use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{Deserialize, Deserializer, Visitor};

mod otlp;
mod parse;
#[cfg(test)]
mod tests;

pub(super) use self::otlp::Endpoint;

/// Where spans go: a collector, or a directory of files.
///
/// The scheme decides the transport and whether it is encrypted; no certificate setting turns
/// `http` into `https`.
///
/// | URL | transport | port when none is written |
/// |---|---|---|
/// | `grpc://host:port` | OTLP over gRPC; plaintext unless certificates are configured | 4317 |
/// | `grpcs://host:port` | OTLP over gRPC with TLS | 4317 |
/// | `host:port`, `host` | as `grpc://` | 4317 |
/// | `http://host:port/path` | OTLP protobuf over HTTP, never TLS | 4318 |
/// | `https://host:port/path` | OTLP protobuf over HTTPS | 4318 |
/// | `unix:///socket`, `unix:/socket` | OTLP over gRPC on a Unix domain socket, never TLS | – |
/// | `http+unix:///socket?path=/path` | OTLP protobuf over HTTP on a Unix domain socket | – |
/// | `file:///directory?limit=bytes` | OTLP/JSON files, no connection | – |
///
/// The path of an `http` or `https` URL is where requests are posted. No path and `/` both mean
/// the standard `/v1/traces`; any other path is used exactly as written. An IPv6 address stands
/// in brackets: `grpc://[::1]:4317`.
///
/// The URL of a Unix domain socket names its absolute path, with `%20` for a space and the like. For
/// HTTP the path of the requests is `/v1/traces`, unless there is another one behind `?path=`.
/// Where the system has no such sockets the URL is an error.
///
/// A `file` URL names an absolute directory, with `%20` for a space and the like
/// ([RFC 8089]); [`ExporterUrl::file`] writes it for a path. `limit` is the size in bytes at which the next file is begun, 104857600 (100
/// MiB) when left out.
///
/// A user name, a password or a token cannot be part of the URL: it would end up in logs. For the
/// same reason there is no `@` anywhere; a path has `%40` instead.
/// [`Display`](fmt::Display) writes the canonical form, with port, path and limit filled in; it
/// parses back to an equal value. (Not so the one URL that cannot be written here, that of an
/// [environment variable](crate::config#environment) for requests to `/` itself.)
///
/// [RFC 8089]: https://www.rfc-editor.org/rfc/rfc8089
///
/// # Example: what is filled in
///
/// ```
/// use tower_otlp::ExporterUrl;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let url: ExporterUrl = "collector".parse()?;
/// assert_eq!(url.to_string(), "grpc://collector:4317");
///
/// let url: ExporterUrl = "https://collector/".parse()?;
/// assert_eq!(url.to_string(), "https://collector:4318/v1/traces");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExporterUrl {
    target: Target,
}

impl ExporterUrl {
    /// The `file` URL of a directory, whatever characters its path holds, with the default limit.
    ///
    /// The directory need not exist.
    ///
    /// # Errors
    ///
    /// When the path is relative, is not UTF-8, or holds a NUL character.
    ///
    /// # Example: a directory beside the program's other files
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use tower_otlp::ExporterUrl;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = Path::new("/var/lib/check out").join("traces");
    /// let url = ExporterUrl::file(directory)?;
    /// assert_eq!(url.to_string(), "file:///var/lib/check%20out/traces?limit=104857600");
    /// # Ok(())
    /// # }
    /// ```
    pub fn file(directory: impl AsRef<Path>) -> Result<Self, ParseExporterUrlError> {
        parse::directory(directory.as_ref())
            .map(|target| Self { target })
            .map_err(|reason| ParseExporterUrlError { reason })
    }

    /// What the URL says, taken apart.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// What requests say whom they are for: host and port, as far as there are.
    #[cfg(feature = "_client")]
    pub(crate) fn authority(&self) -> String {
        match &self.target {
            Target::Grpc { authority, .. } | Target::Http { authority, .. } => {
                authority.to_string()
            }
            Target::GrpcUnix { .. } | Target::HttpUnix { .. } | Target::File { .. } => {
                "localhost".to_owned()
            }
        }
    }

    /// The canonical scheme: lower case, and never absent.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.target {
            Target::Grpc { tls: false, .. } => "grpc",
            Target::Grpc { tls: true, .. } => "grpcs",
            Target::Http { tls: false, .. } => "http",
            Target::Http { tls: true, .. } => "https",
            Target::GrpcUnix { .. } => "unix",
            Target::HttpUnix { .. } => "http+unix",
            Target::File { .. } => "file",
        }
    }
}

/// The parts of an [`ExporterUrl`], each already valid for its transport.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// OTLP over gRPC. `tls` is what the scheme says: configured certificates add TLS to `grpc`.
    Grpc { authority: Authority, tls: bool },
    /// OTLP protobuf by POST to `path`, which starts with `/` and is valid in a request line.
    Http { authority: Authority, path: String, tls: bool },
    /// OTLP over gRPC, in plaintext, on a socket whose path is absolute.
    GrpcUnix { socket: PathBuf },
    /// As `Http`, in plaintext, on a socket whose path is absolute.
    HttpUnix { socket: PathBuf, path: String },
    /// OTLP/JSON files in `directory`, which is absolute; a file ends before it passes `limit`
    /// bytes.
    File { directory: PathBuf, limit: u64 },
}

impl Target {
    /// Whether the scheme alone makes it TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Grpc { tls: true, .. } | Self::Http { tls: true, .. })
    }

    /// Where the connection goes, if there is one over a network.
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Self::Grpc { authority, .. } | Self::Http { authority, .. } => Some(&authority.host),
            Self::GrpcUnix { .. } | Self::HttpUnix { .. } | Self::File { .. } => None,
        }
    }
}

/// A host and its port, written `host:port` or `[v6 address]:port`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Authority {
    /// A name in lower case or an IP address; IPv6 without brackets.
    pub(crate) host: String,
    /// Never 0.
    pub(crate) port: u16,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for ExporterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme();
        match &self.target {
            Target::Grpc { authority, .. } => write!(f, "{scheme}://{authority}"),
            Target::Http { authority, path, .. } => write!(f, "{scheme}://{authority}{path}"),
            Target::GrpcUnix { socket } => write!(f, "{scheme}://{}", Escaped(socket)),
            Target::HttpUnix { socket, path } => {
                write!(f, "{scheme}://{}?path={path}", Escaped(socket))
            }
            Target::File { directory, limit } => {
                write!(f, "{scheme}://{}?limit={limit}", Escaped(directory))
            }
        }
    }
}

/// A path as it stands in a URL.
struct Escaped<'a>(&'a Path);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only UTF-8 paths are taken, so nothing is lost here.
        utf8_percent_encode(&self.0.to_string_lossy(), ESCAPED_IN_PATH).fmt(f)
    }
}

/// Whether a text is the name or address of a host, as it could stand in a URL but without
/// brackets.
pub(super) fn is_host(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok() || parse::host_name(text).is_ok()
}

impl FromStr for ExporterUrl {
    type Err = ParseExporterUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::target(text)
            .map(|target| Self { target })
            .map_err(|reason| ParseExporterUrlError { reason })
    }
}

impl<'de> Deserialize<'de> for ExporterUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlVisitor;

        impl Visitor<'_> for UrlVisitor {
            type Value = ExporterUrl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an exporter URL such as grpc://collector:4317")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ExporterUrl, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(UrlVisitor)
    }
}

/// Why a text, or a directory, is not an [`ExporterUrl`].
///
/// The message names the reason and, where one is known, the cure. It never repeats a user name
/// or a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseExporterUrlError {
    reason: Reason,
}

impl Error for ParseExporterUrlError {}

impl fmt::Display for ParseExporterUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

/// Texts inside are already quoted, so neither `Debug` nor `Display` can show a password.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Reason {
    Empty,
    NoScheme,
    OtlpScheme(String),
    Whitespace,
    UnknownScheme(String),
    MissingSlashes(&'static str),
    Userinfo,
    Fragment,
    Query,
    EmptyHost,
    Host(String),
    UnbracketedIpv6,
    Ipv6,
    EmptyPort,
    Port(String),
    GrpcPath,
    Path,
    PercentEncoding,
    NoDirectory,
    RelativeDirectory,
    DirectoryNul,
    DirectoryNotUtf8,
    NoSocket,
    RelativeSocket,
    SocketNotUtf8,
    Socket,
    RelativePath,
    PathNotUtf8,
    Option(String),
    SocketOption(String),
    PathTwice,
    PathOfRequests,
    LimitTwice,
    Limit(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = match self {
            Self::UnknownScheme(scheme) => {
                return write!(
                    f,
                    "unknown scheme {scheme}: use grpc, grpcs, http, https, unix, http+unix or file"
                );
            }
            Self::MissingSlashes(scheme) => {
                return write!(f, "two slashes are missing: write `{scheme}://…`");
            }
            Self::OtlpScheme(scheme) => {
                return write!(
                    f,
                    "unknown scheme {scheme}: use http or https, and say in \
                     OTEL_EXPORTER_OTLP_PROTOCOL what is spoken there"
                );
            }
            Self::Host(host) => return write!(f, "{host} is not a host name or address"),
            Self::Port(port) => return write!(f, "{port} is not a port from 1 to 65535"),
            Self::Option(key) => {
                return write!(f, "unknown option {key}: a file URL knows only `limit`");
            }
            Self::SocketOption(key) => {
                return write!(f, "unknown option {key}: an http+unix URL knows only `path`");
            }
            Self::Limit(limit) => {
                return write!(f, "limit {limit} is not a number of bytes above 0, in digits only");
            }
            Self::Empty => "empty: write for example grpc://collector:4317",
            Self::NoScheme => "no scheme: write for example http://collector:4318",
            Self::Whitespace => {
                "spaces, line breaks and control characters are not allowed: \
                 write %20 for a space in a path"
            }
            Self::Userinfo => {
                "a user name or password (the part before `@`) is not supported: \
                 remove it, or write %40 if the `@` is part of a path"
            }
            Self::Fragment => "a fragment (from `#` on) has no meaning: remove it",
            Self::Query => "a query (from `?` on) has no meaning here: remove it",
            Self::EmptyHost => "no host: write for example grpc://collector:4317",
            Self::UnbracketedIpv6 => "an IPv6 address needs brackets: write for example [::1]:4317",
            Self::Ipv6 => "the text in brackets is not an IPv6 address",
            Self::EmptyPort => "no port after the `:`",
            Self::GrpcPath => "a path has no meaning for gRPC: end the URL after the port",
            Self::Path => {
                "the path holds a character that must be percent-encoded, such as %C3%A9 for é"
            }
            Self::PercentEncoding => "a `%` must be followed by two hexadecimal digits",
            Self::NoDirectory => "no directory: write for example file:///var/lib/traces",
            Self::RelativeDirectory => {
                "the directory must be absolute: write three slashes, as in file:///var/lib/traces"
            }
            Self::DirectoryNul => "the directory holds a NUL character (%00)",
            Self::DirectoryNotUtf8 => "the directory is not UTF-8 once percent-decoded",
            Self::NoSocket => "no path of a socket: write for example unix:///run/otel.sock",
            Self::RelativeSocket => {
                "the path of the socket must be absolute: write three slashes, as in \
                 unix:///run/otel.sock"
            }
            Self::SocketNotUtf8 => "the path of the socket is not UTF-8 once percent-decoded",
            #[cfg(unix)]
            Self::Socket => "the path of the socket is too long for this system, or holds a NUL",
            #[cfg(not(unix))]
            Self::Socket => "this system has no Unix domain sockets",
            Self::PathTwice => "`path` is given twice",
            Self::PathOfRequests => {
                "the `path` of the requests must begin with a `/`, as in ?path=/v1/traces"
            }
            Self::RelativePath => "the directory must be absolute, such as /var/lib/traces",
            Self::PathNotUtf8 => "the directory is not UTF-8",
            Self::LimitTwice => "`limit` is given twice",
        };
        f.write_str(fixed)
    }
}

/// All but what RFC 3986 allows in a path. Without quotation marks and backslashes the URL also
/// goes into quotes as it is. `@` is refused when the URL is read back.
const ESCAPED_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':');
