//! HTTP client spans.

use std::borrow::Cow;

use ::http::StatusCode;

use super::{headers, push_method};
use crate::context::split_host_port;
use crate::record::{Capture, SpanBuffer};
use crate::trace::cause::Failure;
use crate::trace::exchange::End;
use crate::trace::outgoing::ResendCount;
use crate::trace::semconv::server_address::{self, ServerAddress};
use crate::trace::semconv::{Description, RequestHead, Terms, Verdict, error_type};

/// Whom a request goes to, and on which port, if it has one.
#[cfg(feature = "metrics")]
pub(in crate::trace) fn address<'a>(
    head: &RequestHead<'a>,
    set: Option<&'a ServerAddress>,
) -> Option<(&'a str, Option<u16>)> {
    Whom::of(head, set).address
}

/// Writes the attributes that a request's head gives, and the name.
pub(in crate::trace) fn start(span: &mut SpanBuffer, head: &RequestHead<'_>, terms: &Terms<'_>) {
    let name = push_method(span, head, terms.capture);
    let whom = Whom::of(head, terms.server_address);
    span.push_peer_str("url.full", &url(head, &whom, terms.capture));
    if let Some((address, port)) = whom.address {
        server_address::write(span, address, port);
    }
    if let Some(&ResendCount(count @ 1..)) = head.extensions.get() {
        span.push_i64("http.request.resend_count", count.into());
    }
    headers(span, head.headers, &terms.capture.request_headers, terms.capture);
    span.set_name(&[name]);
}

/// Judges how a request ended that was answered with `status`, or not at all.
pub(in crate::trace::semconv) fn verdict<'a>(
    status: Option<&'a StatusCode>,
    end: End<'a>,
) -> Verdict<'a> {
    let told = status.filter(|status| !(100..400).contains(&status.as_u16()));
    let of_end = match end {
        End::Complete | End::Trailers(_) => None,
        // What the caller does not want any more has not failed.
        End::Cancelled => None,
        End::Error(cause) => Some(cause.failure().map_or_else(
            || if status.is_none() { error_type::SERVICE } else { error_type::BODY },
            Failure::error_type,
        )),
        End::Panicked => Some(error_type::PANIC),
    };
    let Some(error_type) = told.map(StatusCode::as_str).or(of_end) else {
        return Verdict::default();
    };
    match end {
        End::Error(cause) => Verdict::described(error_type, Description::Error(cause)),
        _ => Verdict::error(error_type),
    }
}

/// Whom a request goes to.
struct Whom<'a> {
    scheme: &'a str,
    /// As it stands in a URL, without userinfo. Empty if it is not known.
    authority: Cow<'a, str>,
    /// Without a port only where it is no host's.
    address: Option<(&'a str, Option<u16>)>,
}

impl<'a> Whom<'a> {
    /// What the request says goes before what the user of the layer has set.
    fn of(head: &RequestHead<'a>, set: Option<&'a ServerAddress>) -> Self {
        let authority = server_address::authority(head.uri(), head.headers);
        let asked_for = authority.and_then(split_host_port);
        let set_host = set.filter(|set| set.is_host());
        let host = asked_for.or_else(|| set_host.map(ServerAddress::as_parts));
        // A request without a scheme goes over a connection that is there already. What its port
        // is for is the best there is to know.
        let port = host.and_then(|(_, port)| port);
        let assumed = if port == Some(443) { "https" } else { "http" };
        let scheme = head.uri().scheme_str().unwrap_or(assumed);
        let default = if scheme == "https" || scheme == "wss" { 443 } else { 80 };
        let authority = match (authority, set_host) {
            (Some(authority), _) => Cow::Borrowed(authority),
            (None, Some(set)) => Cow::Owned(set.to_authority()),
            (None, None) => Cow::Borrowed(""),
        };
        Self {
            scheme,
            authority,
            address: match host {
                Some((host, port)) => Some((host, Some(port.unwrap_or(default)))),
                // The path of a socket has no port, and is no part of a URL.
                None => set.map(ServerAddress::as_parts),
            },
        }
    }
}

/// The whole URL, without secrets.
fn url(head: &RequestHead<'_>, whom: &Whom<'_>, capture: &Capture) -> String {
    let uri = head.uri();
    let mut url = String::with_capacity(64);
    let is_authority_form = uri.scheme().is_none() && uri.authority().is_some();
    if !is_authority_form && !whom.authority.is_empty() {
        url.push_str(whom.scheme);
        url.push_str("://");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        url.push_str("REDACTED:REDACTED@");
    }
    url.push_str(&whom.authority);
    // CONNECT has no path, and that of `OPTIONS *` is no part of a URL.
    if !is_authority_form && uri.path().starts_with('/') {
        url.push_str(uri.path());
    }
    if let Some(query) = uri.query() {
        url.push('?');
        url.push_str(&capture.redact(query));
    }
    if let Some(fragment) = head.fragment {
        url.push('#');
        url.push_str(fragment);
    }
    url
}

#[cfg(test)]
mod tests;
