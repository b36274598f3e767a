//! Host and port, as `Host`, `:authority` and what proxies say of them have it.

/// Host and port of an authority. Its userinfo is no part of the address, and a secret.
pub(crate) fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    // Nearly every one is a name, and perhaps a number: seen in one pass.
    let special = authority.bytes().position(|byte| matches!(byte, b':' | b'@' | b'['));
    match special.map(|at| (&authority[..at], &authority[at..])) {
        None if !authority.is_empty() => return Some((authority, None)),
        Some((host, port)) if !host.is_empty() => {
            let port = port.strip_prefix(':');
            let digits = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(digits) = digits {
                return Some((host, digits.parse().ok()));
            }
        }
        _ => {}
    }
    split_host_port(without_userinfo(authority))
}

/// What follows the userinfo of an authority.
pub(crate) fn without_userinfo(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host_port)| host_port)
}

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
    fn an_authority_is_split_as_what_follows_its_userinfo() {
        let rows = [
            ("", "empty"),
            ("example.com", "a name"),
            ("example.com:42", "and a port"),
            (":42", "no name"),
            ("example.com:", "an empty port"),
            ("example.com:99999", "a port out of range"),
            ("example.com:+42", "no port"),
            ("example.com:4:2", "two colons"),
            ("[fe80::1]:8080", "IPv6"),
            ("fe80::1", "IPv6 without brackets"),
            ("user@example.com:42", "a user"),
            ("user:1@example.com", "a password, which looks like a port"),
            ("user:secret@[fe80::1]:8080", "all of it"),
            ("user@na@me:42", "the last is what counts"),
            ("@example.com", "an empty user"),
            ("example.com@", "nothing but a user"),
        ];
        for (authority, why) in rows {
            let host_port = authority.rsplit('@').next().unwrap();
            assert_eq!(
                split_authority(authority),
                split_host_port(host_port),
                "{authority}: {why}"
            );
        }
        let expected = Some(("fe80::1", Some(8080)));
        assert_eq!(split_authority("user:secret@[fe80::1]:8080"), expected);
    }

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
