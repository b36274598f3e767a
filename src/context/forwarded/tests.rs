use http::HeaderMap;
use proptest::prelude::*;

use super::*;

fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, value.parse().unwrap());
    }
    headers
}

/// With everybody trusted the leftmost counts.
fn all_trusted(headers: &HeaderMap) -> Forwarded<'_> {
    Forwarded::of(headers, |_| true)
}

#[test]
fn the_client_by_forwarded() {
    let rows: &[(&[&str], Option<&str>, &str)] = &[
        (&["for=1.2.3.4:42"], Some("1.2.3.4"), "without the port"),
        (&["FOR=1.2.3.4"], Some("1.2.3.4"), "names are case-insensitive"),
        (&["for=\"[::1]:42\""], Some("::1"), "IPv6 is quoted"),
        (&["for=[::1], for=1.2.3.4"], Some("::1"), "or not, though it should be"),
        (&["for=1.2.3.4;proto=https;by=4.3.2.1"], Some("1.2.3.4"), "beside others"),
        (&["proto=https; for = 1.2.3.4"], None, "no blanks around the equals sign"),
        (&["for=unknown"], Some("unknown"), "a proxy that does not know"),
        (&["for=_hidden:_80"], Some("_hidden"), "or does not tell"),
        (&["by=\"a,b;for=9.9.9.9\";for=1.2.3.4"], Some("1.2.3.4"), "separators in quotes"),
        (&["by=\"\\\"for=9.9.9.9;\";for=1.2.3.4"], Some("1.2.3.4"), "and escapes"),
        (&["proto=https", "for=1.2.3.4", "for=[::1]:42"], Some("1.2.3.4"), "several fields"),
        (&[""], None, "empty"),
        (&["for="], None, "no value"),
        (&["for=;"], None, "no value"),
        (&["for=\""], None, "a quote that is not closed"),
        (&["for=\"\""], None, "nothing in quotes"),
        (&["for=\"1.2.3.4"], None, "a quote that is not closed"),
        (&["for=[::1"], None, "a bracket that is not closed"),
        (&["for=\"[::1\""], None, "a bracket that is not closed"),
        (&["by=1.2.3.4, test=abc"], None, "others only"),
        (&["for=<script>"], None, "no address"),
    ];
    for (values, expected, why) in rows {
        assert_eq!(
            all_trusted(&headers("forwarded", values)).client,
            *expected,
            "{values:?} {why}"
        );
    }
}

#[test]
fn the_client_by_x_forwarded_for() {
    let rows: &[(&[&str], Option<&str>, &str)] = &[
        (&["1.2.3.4,4.3.2.1"], Some("1.2.3.4"), "the leftmost"),
        (&["1.2.3.4:42abc"], Some("1.2.3.4"), "whatever the port"),
        (&["::1,::2,1.2.3.4"], Some("::1"), "IPv6"),
        (&["\"[::1]:42\""], Some("::1"), "in quotes and brackets"),
        (&["1.2.3.4", "4.3.2.1"], Some("1.2.3.4"), "several fields"),
        (&[""], None, "empty"),
        (&[";"], None, "no address"),
        (&["\""], None, "a quote that is not closed"),
        (&["\"\""], None, "nothing in quotes"),
        (&["\"1.2.3.4"], None, "a quote that is not closed"),
        (&["[::1"], None, "a bracket that is not closed"),
    ];
    for (values, expected, why) in rows {
        let headers = headers("x-forwarded-for", values);
        assert_eq!(all_trusted(&headers).client, *expected, "{values:?} {why}");
    }
}

#[test]
fn the_host_by_either() {
    let rows = [
        ("forwarded", "host=example.com:42", Some(("example.com", Some(42))), "with a port"),
        ("forwarded", "host=example.com:port", Some(("example.com", None)), "no number"),
        (
            "forwarded",
            "host=\"example.com:42\"; test=abc:1234",
            Some(("example.com", Some(42))),
            "in quotes",
        ),
        ("forwarded", "host=", None, "no value"),
        ("forwarded", "host=;", None, "no value"),
        ("forwarded", "host=\"example.com", None, "a quote that is not closed"),
        ("x-forwarded-host", "example.com:42", Some(("example.com", Some(42))), "with a port"),
        ("x-forwarded-host", "example.com:port", Some(("example.com", None)), "no number"),
        ("x-forwarded-host", "a.example, b.example", Some(("a.example", None)), "the leftmost"),
        ("x-forwarded-host", "", None, "empty"),
    ];
    for (name, value, expected, why) in rows {
        assert_eq!(all_trusted(&headers(name, &[value])).host, expected, "{name} {value}: {why}");
    }
}

#[test]
fn the_scheme_by_either() {
    let rows: &[(&str, &[&str], Option<&str>, &str)] = &[
        ("forwarded", &["for=1.1.1.1;proto=\"xyz\";"], Some("xyz"), "in quotes"),
        ("forwarded", &["proto=,"], None, "no value"),
        ("forwarded", &["for=1.1.1.1", "proto=xyz", "proto=abc"], Some("xyz"), "the first said"),
        ("x-forwarded-proto", &["https, http"], Some("https"), "the leftmost"),
        ("x-forwarded-proto", &[""], None, "empty"),
    ];
    for (name, values, expected, why) in rows {
        let mut headers = HeaderMap::new();
        for value in *values {
            headers.append(*name, value.parse().unwrap());
        }
        assert_eq!(all_trusted(&headers).scheme, *expected, "{name} {values:?}: {why}");
    }
}

#[test]
fn forwarded_goes_before_the_older_headers_each_for_itself() {
    let mut headers = headers("forwarded", &["for=1.1.1.1"]);
    headers.insert("x-forwarded-for", "2.2.2.2".parse().unwrap());
    headers.insert("x-forwarded-proto", "https".parse().unwrap());
    let forwarded = all_trusted(&headers);
    assert_eq!((forwarded.client, forwarded.scheme), (Some("1.1.1.1"), Some("https")));
}

#[test]
fn what_the_client_wrote_itself_does_not_count() {
    // The proxies of 10.* are trusted, the rest is hearsay.
    let rows = [
        ("1.1.1.1", "1.1.1.1", "one proxy, which saw this client"),
        ("6.6.6.6, 1.1.1.1", "1.1.1.1", "the client claims to be another"),
        ("6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1", "behind two proxies"),
        ("10.9.9.9, 1.1.1.1, 10.0.0.1, 10.0.0.2", "1.1.1.1", "also one that claims to be a proxy"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3", "the client is inside"),
        ("\"6.6.6.6, 1.1.1.1", "1.1.1.1", "a quote does not swallow what the proxy wrote"),
        ("1.1.1.1, unknown", "unknown", "who is hidden is not trusted"),
    ];
    let is_proxy = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10);
    for (value, expected, why) in rows {
        let list = headers("x-forwarded-for", &[value]);
        assert_eq!(Forwarded::of(&list, is_proxy).client, Some(expected), "{value}: {why}");
    }
}

#[test]
fn host_and_scheme_are_those_of_the_client_s_own_request() {
    let list = headers(
        "forwarded",
        &[
            "for=6.6.6.6;host=evil.example;proto=gopher",
            "for=1.1.1.1;host=shop.example;proto=https",
        ],
    );
    let forwarded = Forwarded::of(&list, |_| false);
    assert_eq!(forwarded.client, Some("1.1.1.1"));
    assert_eq!(forwarded.host, Some(("shop.example", None)));
    assert_eq!(forwarded.scheme, Some("https"));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(value in "[ -~]{0,64}", trusted in any::<bool>()) {
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
            let headers = headers(name, &[&value]);
            let forwarded = Forwarded::of(&headers, |_| trusted);
            if let Some(client) = forwarded.client {
                prop_assert!(!client.is_empty() && value.contains(client));
            }
        }
    }
}
