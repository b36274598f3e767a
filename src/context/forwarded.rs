//! What proxies say of the request that they pass on: `Forwarded` (RFC 7239), and the headers that
//! were there before it, `X-Forwarded-For`, `-Host` and `-Proto`.
//!
//! Anyone can write these headers, and proxies add to what is there. So they are read from the
//! right, where the nearest proxy has written: the client is the first who is not a trusted proxy
//! itself. Only if all are, it is the leftmost.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};

use super::split_host_port;

/// What is known of the client's own request, as far as the proxies have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarded<'a> {
    /// An address, or what a proxy calls a client that it hides.
    pub(crate) client: Option<&'a str>,
    pub(crate) host: Option<(&'a str, Option<u16>)>,
    pub(crate) scheme: Option<&'a str>,
}

impl<'a> Forwarded<'a> {
    pub(crate) fn of(headers: &'a HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Self {
        let told = Self::by_rfc_7239(headers, &is_trusted);
        let first = |name| values(headers, &name).find_map(|value| unquoted(value.trim()));
        Self {
            client: told.client.or_else(|| {
                let clients = values(headers, &X_FORWARDED_FOR).filter_map(node);
                nearest_stranger(clients.enumerate(), &is_trusted).map(|(_, client)| client)
            }),
            host: told.host.or_else(|| first(X_FORWARDED_HOST).and_then(split_host_port)),
            scheme: told.scheme.or_else(|| first(X_FORWARDED_PROTO)),
        }
    }

    fn by_rfc_7239(headers: &'a HeaderMap, is_trusted: &impl Fn(IpAddr) -> bool) -> Self {
        let elements = || elements(headers).enumerate();
        let clients = elements()
            .filter_map(|(at, element)| Some((at, parameter(element, "for").and_then(node)?)));
        let client = nearest_stranger(clients, is_trusted);
        // The element that names the client tells of the client's request, too; what it leaves
        // out, the proxies behind it may say.
        let from = client.map_or(0, |(at, _)| at);
        let first = |name| elements().skip(from).find_map(|(_, element)| parameter(element, name));
        Self {
            client: client.map(|(_, client)| client),
            host: first("host").and_then(split_host_port),
            scheme: first("proto"),
        }
    }
}

/// The last who is no trusted proxy; the first if all are.
fn nearest_stranger<'a>(
    clients: impl Iterator<Item = (usize, &'a str)>,
    is_trusted: &impl Fn(IpAddr) -> bool,
) -> Option<(usize, &'a str)> {
    let mut found = None;
    for (at, client) in clients {
        let trusted = client.parse().is_ok_and(is_trusted);
        if !trusted || found.is_none() {
            found = Some((at, client));
        }
    }
    found
}

/// The elements of `Forwarded`, in order, as they may be spread over several fields.
fn elements(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    fields(headers, &header::FORWARDED).flat_map(|field| split(field, ','))
}

/// The values of one of the older headers, in order. Their lists know no quotes: one that is not
/// closed must not swallow what the next proxy has written.
fn values<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    fields(headers, name).flat_map(|field| field.split(','))
}

/// All fields of a name that are text.
fn fields<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    headers.get_all(name).into_iter().filter_map(|field| field.to_str().ok())
}

/// A parameter of an element: `name=token` or `name="text"`. Names are case-insensitive.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    split(element, ';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then(|| unquoted(value)).flatten()
    })
}

/// Splits at separators that are not in quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let is_quote = c == '"' && !escaped;
        escaped = quoted && !escaped && c == '\\';
        quoted ^= is_quote;
        c == separator && !quoted
    })
}

/// A value without its quotes. `None` when it is empty, its quotes are not closed, or it has
/// escapes, which nothing that is asked for here needs.
fn unquoted(value: &str) -> Option<&str> {
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    (!value.is_empty() && !value.contains(['"', '\\'])).then_some(value)
}

/// The address of a node, without its port: `1.2.3.4:80`, `"[::1]:80"`, `::1`, `_hidden`.
fn node(value: &str) -> Option<&str> {
    let value = unquoted(value.trim())?;
    let address = match value.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match value.split_once(':') {
            // More colons are an IPv6 address without brackets.
            Some((address, port)) if !port.contains(':') => address,
            _ => value,
        },
    };
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '_' | '-' | '%');
    (!address.is_empty() && address.chars().all(is_part)).then_some(address)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests;
