//! [`Network`]: addresses that are trusted together.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A network in CIDR notation, such as `10.0.0.0/8` or `fd00::/8`, or a single address.
///
/// An IPv4 address that comes in the clothes of IPv6 (`::ffff:10.0.0.1`, as sockets that listen on
/// both show it) is taken for what it is.
///
/// # Example
///
/// ```
/// use tower_otlp::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is one of the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    /// # Errors
    ///
    /// When the text is neither an address nor an address, a slash and a number of bits that the
    /// address has; and when the address has bits set behind those, which is usually a slip.
    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse().map_err(|_| ParseNetworkError::Malformed(text.to_owned()))?,
        };
        if network.trunc() != network {
            return Err(ParseNetworkError::HostBits { network: network.trunc().to_string() });
        }
        Ok(Self(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseNetworkError {
    /// It is neither an address nor one with a length of its prefix.
    Malformed(String),
    /// It has bits behind its prefix: 10.1.2.3/8 for 10.0.0.0/8.
    #[non_exhaustive]
    HostBits {
        /// What may have been meant.
        network: String,
    },
}

impl fmt::Display for ParseNetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(text) => {
                write!(f, "{text:?} is no network: write for example 10.0.0.0/8, fd00::/8 or ::1")
            }
            Self::HostBits { network } => {
                write!(f, "the address has bits behind the prefix: did you mean {network}?")
            }
        }
    }
}

impl Error for ParseNetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses() {
        let rows = [
            ("10.0.0.0/8", "10.255.1.2", true, "inside"),
            ("10.0.0.0/8", "11.0.0.0", false, "outside"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true, "IPv4 as a socket of both kinds shows it"),
            ("10.0.0.0/8", "::10.1.1.1", false, "another IPv6 address"),
            ("127.0.0.1", "127.0.0.1", true, "a single address"),
            ("127.0.0.1", "127.0.0.2", false, "and no other"),
            ("::ffff:127.0.0.1", "127.0.0.1", true, "written as IPv6"),
            ("fd00::/8", "fdab::1", true, "IPv6"),
            ("::1", "::1", true, "IPv6 alone"),
            ("0.0.0.0/0", "1.2.3.4", true, "all of IPv4"),
            ("0.0.0.0/0", "::1", false, "is not IPv6"),
        ];
        for (network, address, expected, why) in rows {
            let found = network.parse::<Network>().unwrap().contains(address.parse().unwrap());
            assert_eq!(found, expected, "{address} in {network}: {why}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let rows = [
            ("", "\"\" is no network: write for example 10.0.0.0/8, fd00::/8 or ::1"),
            (
                "10.0.0.0/33",
                "\"10.0.0.0/33\" is no network: write for example 10.0.0.0/8, fd00::/8 or ::1",
            ),
            (
                "localhost",
                "\"localhost\" is no network: write for example 10.0.0.0/8, fd00::/8 or ::1",
            ),
            ("10.1.2.3/8", "the address has bits behind the prefix: did you mean 10.0.0.0/8?"),
            ("fd00::1/64", "the address has bits behind the prefix: did you mean fd00::/64?"),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<Network>().unwrap_err().to_string(), expected, "{text}");
        }
    }
}
