use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::{Authority, Reason, Target};
use crate::config::error::quote;

pub(super) fn target(text: &str) -> Result<Target, Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    // Wherever it stands: a password may hold `/`, `?` or `#`, and what goes before it is then
    // read as a host, a port or a path. What follows may quote its part of the text.
    if text.contains('@') {
        return Err(Reason::Userinfo);
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Reason::Whitespace);
    }
    let (scheme, rest) = split_scheme(text)?;
    match scheme {
        Scheme::File => file(rest),
        Scheme::Unix => match socket(rest)? {
            (socket, None) => Ok(Target::GrpcUnix { socket }),
            (_, Some(_)) => Err(Reason::Query),
        },
        Scheme::HttpUnix => {
            let (socket, query) = socket(rest)?;
            let path = query.map_or(Ok(TRACES_PATH), path_of_requests)?;
            Ok(Target::HttpUnix { socket, path: path.to_owned() })
        }
        Scheme::Grpc { tls } => {
            let (authority, path) = remote(rest, GRPC_PORT)?;
            match path {
                "" | "/" => Ok(Target::Grpc { authority, tls }),
                _ => Err(Reason::GrpcPath),
            }
        }
        Scheme::Http { tls } => {
            let (authority, path) = remote(rest, HTTP_PORT)?;
            let path = match path {
                "" | "/" => TRACES_PATH,
                path => valid_path(path)?,
            };
            Ok(Target::Http { authority, path: path.to_owned(), tls })
        }
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    Grpc { tls: bool },
    Http { tls: bool },
    Unix,
    HttpUnix,
    File,
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), Reason> {
    let known = |name: &str| SCHEMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));

    if let Some((name, rest)) = text.split_once("://")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    {
        return match known(name) {
            Some(&(_, scheme)) => Ok((scheme, rest)),
            None => Err(Reason::UnknownScheme(quote(name))),
        };
    }
    // `http:4318` can only be a host called http, `http:collector` can only be a slip.
    if let Some((name, rest)) = text.split_once(':')
        && !rest.starts_with(|c: char| c.is_ascii_digit())
    {
        match known(name) {
            // So gRPC writes it.
            Some(&(_, Scheme::Unix)) => return Ok((Scheme::Unix, rest)),
            Some(&(name, _)) => return Err(Reason::MissingSlashes(name)),
            None => {}
        }
    }
    Ok((Scheme::Grpc { tls: false }, text))
}

/// Splits what follows `://` into host, port and path.
pub(super) fn remote(rest: &str, default_port: u16) -> Result<(Authority, &str), Reason> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest_of_url) = rest.split_at(end);
    let authority = authority_of(authority, default_port)?;
    if rest_of_url.contains('#') {
        return Err(Reason::Fragment);
    }
    if rest_of_url.contains('?') {
        return Err(Reason::Query);
    }
    Ok((authority, rest_of_url))
}

fn authority_of(text: &str, default_port: u16) -> Result<Authority, Reason> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']').ok_or(Reason::Ipv6)?;
        let address: Ipv6Addr = address.parse().map_err(|_| Reason::Ipv6)?;
        let port = match port.strip_prefix(':') {
            None if !port.is_empty() => return Err(Reason::Ipv6),
            port => port,
        };
        (address.to_string(), port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(Reason::UnbracketedIpv6),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        (host_name(host)?, port)
    };
    let port = port.map_or(Ok(default_port), port_number)?;
    Ok(Authority { host, port })
}

pub(super) fn host_name(host: &str) -> Result<String, Reason> {
    if host.is_empty() {
        return Err(Reason::EmptyHost);
    }
    let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    // A lone number is a port whose host was forgotten; resolvers would read it as an address.
    let is_numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !is_name || (is_numeric && host.parse::<Ipv4Addr>().is_err()) {
        return Err(Reason::Host(quote(host)));
    }
    Ok(host.to_ascii_lowercase())
}

fn port_number(port: &str) -> Result<u16, Reason> {
    if port.is_empty() {
        return Err(Reason::EmptyPort);
    }
    match digits(port) {
        Some(port @ 1..) => Ok(port),
        _ => Err(Reason::Port(quote(port))),
    }
}

/// Lets through what RFC 3986 allows in a path, but for `@`, so that no request can fail on it later.
pub(super) fn valid_path(path: &str) -> Result<&str, Reason> {
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/%-._~!$&'()*+,;=:".contains(&b)) {
        return Err(Reason::Path);
    }
    checked_percent_encoding(path)
}

/// Splits what follows the scheme into the path of a socket and the query.
fn socket(rest: &str) -> Result<(PathBuf, Option<&str>), Reason> {
    if rest.contains('#') {
        return Err(Reason::Fragment);
    }
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(Reason::NoSocket);
    }
    if !path.starts_with('/') {
        return Err(Reason::RelativeSocket);
    }
    if path.ends_with('/') {
        return Err(Reason::NoSocket);
    }
    let path: Cow<'_, str> = percent_decode_str(checked_percent_encoding(path)?)
        .decode_utf8()
        .map_err(|_| Reason::SocketNotUtf8)?;
    let path = PathBuf::from(path.into_owned());
    if is_address(&path) { Ok((path, query)) } else { Err(Reason::Socket) }
}

#[cfg(unix)]
fn is_address(socket: &Path) -> bool {
    std::os::unix::net::SocketAddr::from_pathname(socket).is_ok()
}

#[cfg(not(unix))]
fn is_address(_: &Path) -> bool {
    false
}

fn path_of_requests(query: &str) -> Result<&str, Reason> {
    let mut path = None;
    for option in query.split('&') {
        match option.split_once('=').unwrap_or((option, "")) {
            ("path", _) if path.is_some() => return Err(Reason::PathTwice),
            ("path", value) if value.starts_with('/') => path = Some(valid_path(value)?),
            ("path", _) => return Err(Reason::PathOfRequests),
            (key, _) => return Err(Reason::SocketOption(quote(key))),
        }
    }
    match path {
        None | Some("/") => Ok(TRACES_PATH),
        Some(path) => Ok(path),
    }
}

fn file(rest: &str) -> Result<Target, Reason> {
    if rest.contains('#') {
        return Err(Reason::Fragment);
    }
    let (location, query) = match rest.split_once('?') {
        Some((location, query)) => (location, Some(query)),
        None => (rest, None),
    };
    let (host, directory) = location.split_at(location.find('/').unwrap_or(location.len()));
    if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
        return Err(Reason::RelativeDirectory);
    }
    if directory.is_empty() {
        return Err(Reason::NoDirectory);
    }
    let directory: Cow<'_, str> = percent_decode_str(checked_percent_encoding(directory)?)
        .decode_utf8()
        .map_err(|_| Reason::DirectoryNotUtf8)?;
    let limit = query.map_or(Ok(DEFAULT_FILE_LIMIT), file_limit)?;
    file_target(&directory, limit)
}

/// A path that no URL had to spell.
pub(super) fn directory(path: &Path) -> Result<Target, Reason> {
    let directory = path.to_str().ok_or(Reason::PathNotUtf8)?;
    // Not `Path::is_absolute`: the path of a URL begins with a slash on all systems.
    if !directory.starts_with('/') {
        return Err(Reason::RelativePath);
    }
    file_target(directory, DEFAULT_FILE_LIMIT)
}

fn file_target(directory: &str, limit: u64) -> Result<Target, Reason> {
    if directory.contains('\0') {
        return Err(Reason::DirectoryNul);
    }
    Ok(Target::File { directory: PathBuf::from(directory), limit })
}

fn file_limit(query: &str) -> Result<u64, Reason> {
    let mut limit = None;
    for option in query.split('&') {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        if key != "limit" {
            return Err(Reason::Option(quote(key)));
        }
        match digits(value) {
            Some(_) if limit.is_some() => return Err(Reason::LimitTwice),
            Some(bytes @ 1..) => limit = Some(bytes),
            _ => return Err(Reason::Limit(quote(value))),
        }
    }
    Ok(limit.unwrap_or(DEFAULT_FILE_LIMIT))
}

fn checked_percent_encoding(text: &str) -> Result<&str, Reason> {
    let valid = text.split('%').skip(1).all(|after| {
        after.as_bytes().first_chunk::<2>().is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    if valid { Ok(text) } else { Err(Reason::PercentEncoding) }
}

/// Unlike `str::parse`, takes no sign.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

const SCHEMES: [(&str, Scheme); 7] = [
    ("grpc", Scheme::Grpc { tls: false }),
    ("grpcs", Scheme::Grpc { tls: true }),
    ("http", Scheme::Http { tls: false }),
    ("https", Scheme::Http { tls: true }),
    ("unix", Scheme::Unix),
    ("http+unix", Scheme::HttpUnix),
    ("file", Scheme::File),
];

pub(super) const GRPC_PORT: u16 = 4317;
const HTTP_PORT: u16 = 4318;

/// Where OTLP/HTTP collectors listen for traces (OTLP specification, "OTLP/HTTP Request").
pub(super) const TRACES_PATH: &str = "/v1/traces";

/// 100 MiB, Teleport's default.
const DEFAULT_FILE_LIMIT: u64 = 100 * 1024 * 1024;
