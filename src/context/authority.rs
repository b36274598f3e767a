//! Host and port, as `Host`, `:authority` and what proxies say of them have it.

/// Host, without the brackets of an IPv6 address, and port, when it is a number.
pub(crate) fn split_host_port(host_port: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => (host, ""),
                None => return None,
            }
        }
        None => host_port.split_once(':').unwrap_or((host_port, "")),
    };
    // What has colons left is an IPv6 address without brackets, or garbage.
    if host.is_empty() || port.contains(':') {
        return None;
    }
    Some((host, port.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_split_without_breaking_ipv6() {
        let rows = [
            ("", None, "empty"),
            (":8080", None, "no host"),
            ("example.com", Some(("example.com", None)), "no port"),
            ("example.com:42", Some(("example.com", Some(42))), "both"),
            ("example.com:port", Some(("example.com", None)), "a port that is no number"),
            ("127.0.0.1:", Some(("127.0.0.1", None)), "an empty port"),
            ("127.0.0.1:99999", Some(("127.0.0.1", None)), "a port out of range"),
            ("[fe80::1]:8080", Some(("fe80::1", Some(8080))), "IPv6"),
            ("[fe80::1]", Some(("fe80::1", None)), "IPv6 without port"),
            ("[fe80::1", None, "bracket not closed"),
            ("[fe80::1]::", None, "too many colons"),
            ("[fe80::1]x", None, "garbage after the bracket"),
            ("fe80::1", None, "IPv6 without brackets is ambiguous"),
            ("[]", None, "empty brackets"),
        ];
        for (input, expected, why) in rows {
            assert_eq!(split_host_port(input), expected, "{input}: {why}");
        }
    }
}
