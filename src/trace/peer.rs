//! Who is at the other end of a server's connection.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use http::Extensions;

use super::head::RequestHead;
use crate::context::{Forwarded, Network};
use crate::record::SpanBuffer;

/// Whom a request came from, and what it was before proxies passed it on.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    peer: Option<SocketAddr>,
    /// Empty unless the peer is a proxy that is trusted.
    pub(super) forwarded: Forwarded<'a>,
}

impl<'a> Origin<'a> {
    pub(super) fn of(head: &RequestHead<'a>, proxies: &[Network]) -> Self {
        let peer = peer(head.extensions);
        let is_trusted = |address| proxies.iter().any(|network| network.contains(address));
        let forwarded = match peer {
            Some(peer) if is_trusted(peer.ip()) => Forwarded::of(head.headers, is_trusted),
            _ => Forwarded::default(),
        };
        Self { peer, forwarded }
    }

    /// `client.address`: the first of those behind the proxies, or else the peer.
    pub(super) fn push_client(&self, span: &mut SpanBuffer) {
        match (self.forwarded.client, self.peer) {
            (Some(client), _) => span.push_peer_str("client.address", client),
            (None, Some(peer)) => span.push_str("client.address", Text::of(peer.ip()).as_str()),
            (None, None) => {}
        }
    }

    /// `network.peer.address` and `network.peer.port`.
    pub(super) fn push_peer(&self, span: &mut SpanBuffer) {
        if let Some(peer) = self.peer {
            span.push_str("network.peer.address", Text::of(peer.ip()).as_str());
            span.push_i64("network.peer.port", peer.port().into());
        }
    }
}

/// The other end of the connection, if the server has told.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = extensions.get() {
        return Some(*peer);
    }
    #[cfg(feature = "tonic-server")]
    if let Some(info) = extensions.get::<tonic::transport::server::TcpConnectInfo>() {
        return info.remote_addr();
    }
    let _ = extensions;
    None
}

/// An address as text, of which the longest is known.
struct Text {
    bytes: [u8; 48],
    len: usize,
}

impl Text {
    fn of(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; 48], len: 0 };
        let _ = write!(text, "{}", address.to_canonical());
        text
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_room() {
        let rows = [
            ("255.255.255.255", "255.255.255.255", "the longest of IPv4"),
            ("::ffff:10.0.0.1", "10.0.0.1", "IPv4 as a socket of both kinds shows it"),
            (
                "1111:2222:3333:4444:5555:6666:7777:8888",
                "1111:2222:3333:4444:5555:6666:7777:8888",
                "the longest of IPv6",
            ),
            ("::1", "::1", "the shortest but one"),
        ];
        for (address, expected, why) in rows {
            assert_eq!(Text::of(address.parse().unwrap()).as_str(), expected, "{why}");
        }
    }
}
