use proptest::prelude::*;

use super::*;

fn grpc(host: &str, port: u16) -> Target {
    let authority = Authority { host: host.to_owned(), port };
    Target::Grpc { authority, tls: false }
}

fn grpcs(host: &str, port: u16) -> Target {
    let authority = Authority { host: host.to_owned(), port };
    Target::Grpc { authority, tls: true }
}

fn http(host: &str, port: u16, path: &str) -> Target {
    let authority = Authority { host: host.to_owned(), port };
    let path = path.to_owned();
    Target::Http { authority, path, tls: false }
}

fn https(host: &str, port: u16, path: &str) -> Target {
    let authority = Authority { host: host.to_owned(), port };
    let path = path.to_owned();
    Target::Http { authority, path, tls: true }
}

fn file(directory: &str, limit: u64) -> Target {
    Target::File { directory: PathBuf::from(directory), limit }
}

fn socket(path: &str) -> Target {
    Target::GrpcUnix { socket: PathBuf::from(path) }
}

fn http_socket(socket: &str, path: &str) -> Target {
    Target::HttpUnix { socket: PathBuf::from(socket), path: path.to_owned() }
}

const MIB_100: u64 = 104_857_600;

#[test]
fn good_urls_mean_what_they_look_like() {
    let cases = [
        // Scheme, host, port.
        ("grpc://host:4317", grpc("host", 4317), "all written"),
        ("host:4317", grpc("host", 4317), "no scheme is grpc"),
        ("host", grpc("host", 4317), "a bare host too"),
        ("localhost", grpc("localhost", 4317), "whatever its name"),
        ("grpc", grpc("grpc", 4317), "even this one"),
        ("http:4318", grpc("http", 4318), "a host called http"),
        ("grpc://host", grpc("host", 4317), "default port"),
        ("http://host", http("host", 4318, "/v1/traces"), "default port"),
        ("https://host", https("host", 4318, "/v1/traces"), "default port"),
        ("grpcs://host", grpcs("host", 4317), "TLS has the same port"),
        ("GRPC://host:1", grpc("host", 1), "schemes have no case"),
        ("Https://HOST:1", https("host", 1, "/v1/traces"), "hosts neither"),
        ("grpc://host:65535", grpc("host", 65535), "the last port"),
        ("grpc://host:04317", grpc("host", 4317), "RFC 3986 allows leading zeros"),
        ("grpc://a_b.c-d.example.", grpc("a_b.c-d.example.", 4317), "names of services"),
        ("10.0.0.1", grpc("10.0.0.1", 4317), "IPv4"),
        ("[::1]:4317", grpc("::1", 4317), "IPv6 without a scheme"),
        ("[::1]", grpc("::1", 4317), "and without a port"),
        ("grpc://[::1]:4317", grpc("::1", 4317), "IPv6"),
        ("grpc://[FE80:0::1]", grpc("fe80::1", 4317), "in its canonical form"),
        ("http://[::1]/", http("::1", 4318, "/v1/traces"), "IPv6 before a path"),
        // Path.
        ("grpc://host:4317/", grpc("host", 4317), "a slash says nothing"),
        ("http://host:4318/", http("host", 4318, "/v1/traces"), "a slash says nothing"),
        ("http://host:4318/custom", http("host", 4318, "/custom"), "used as given"),
        ("http://host/api/traces", http("host", 4318, "/api/traces"), "used as given"),
        ("http://host/a/", http("host", 4318, "/a/"), "with its slash"),
        ("http://host/v1/traces", http("host", 4318, "/v1/traces"), "nothing is appended"),
        ("http://host/a%20b", http("host", 4318, "/a%20b"), "escapes stay"),
        ("http://host/%40me/x:y", http("host", 4318, "/%40me/x:y"), "an `@` as an escape"),
        // Sockets.
        ("unix:///run/otel.sock", socket("/run/otel.sock"), "as a URL"),
        ("unix:/run/otel.sock", socket("/run/otel.sock"), "as gRPC writes it"),
        ("UNIX:/run/Otel.sock", socket("/run/Otel.sock"), "paths have case"),
        ("unix:///a%20b%3F", socket("/a b?"), "percent-decoded"),
        ("unix:///%40otel", socket("/@otel"), "an `@` as an escape"),
        ("unix:4317", grpc("unix", 4317), "a host called unix"),
        ("unix", grpc("unix", 4317), "a host called unix"),
        ("http+unix:///run/o", http_socket("/run/o", "/v1/traces"), "the standard path"),
        ("http+unix:///run/o?path=/", http_socket("/run/o", "/v1/traces"), "a slash says nothing"),
        ("http+unix:///a%20b?path=/c%20d/", http_socket("/a b", "/c%20d/"), "used as given"),
        ("http+unix:///o?path=/a=b", http_socket("/o", "/a=b"), "the first `=` ends the key"),
        // Files.
        ("file:///dir", file("/dir", MIB_100), "default limit"),
        ("file:///dir?limit=1", file("/dir", 1), "the least limit"),
        ("file:///dir?limit=010", file("/dir", 10), "decimal, always"),
        ("file:///dir?limit=18446744073709551615", file("/dir", u64::MAX), "the greatest limit"),
        ("FILE:///Dir", file("/Dir", MIB_100), "paths have case"),
        ("file:///a/b/../c/", file("/a/b/../c/", MIB_100), "used as given"),
        ("file://localhost/dir", file("/dir", MIB_100), "RFC 8089: the local host"),
        ("file:///with%20space", file("/with space", MIB_100), "percent-decoded"),
        ("file:///%3F%23%25", file("/?#%", MIB_100), "what would end the path"),
        ("file:///caf%C3%A9", file("/café", MIB_100), "UTF-8"),
        ("file:///café", file("/café", MIB_100), "written plainly"),
        ("file:///a+b", file("/a+b", MIB_100), "a plus is a plus in a path"),
        ("file:///a%40b", file("/a@b", MIB_100), "an `@` as an escape"),
    ];
    for (text, target, reason) in cases {
        let url: ExporterUrl = text.parse().unwrap_or_else(|e| panic!("{text}: {e}: {reason}"));
        assert_eq!(url.target(), &target, "{text}: {reason}");
    }
}

#[test]
fn bad_urls_are_refused_with_the_reason() {
    const SCHEMES: &str = "use grpc, grpcs, http, https, unix, http+unix or file";
    const USERINFO: &str = "a user name or password (the part before `@`) is not supported: \
                            remove it, or write %40 if the `@` is part of a path";
    const QUERY: &str = "a query (from `?` on) has no meaning here: remove it";
    const FRAGMENT: &str = "a fragment (from `#` on) has no meaning: remove it";
    const NO_HOST: &str = "no host: write for example grpc://collector:4317";
    const SPACE: &str = "spaces, line breaks and control characters are not allowed: \
                         write %20 for a space in a path";
    const BRACKETS: &str = "an IPv6 address needs brackets: write for example [::1]:4317";
    const NOT_IPV6: &str = "the text in brackets is not an IPv6 address";
    const GRPC_PATH: &str = "a path has no meaning for gRPC: end the URL after the port";
    const PATH: &str =
        "the path holds a character that must be percent-encoded, such as %C3%A9 for é";
    const PERCENT: &str = "a `%` must be followed by two hexadecimal digits";
    const ABSOLUTE: &str =
        "the directory must be absolute: write three slashes, as in file:///var/lib/traces";
    const NO_DIRECTORY: &str = "no directory: write for example file:///var/lib/traces";

    const SOCKET: &str = "the path of the socket must be absolute: write three slashes, as in \
         unix:///run/otel.sock";
    const NO_SOCKET: &str = "no path of a socket: write for example unix:///run/otel.sock";
    const NO_ADDRESS: &str = "the path of the socket is too long for this system, or holds a NUL";
    const REQUESTS: &str =
        "the `path` of the requests must begin with a `/`, as in ?path=/v1/traces";

    let unknown = |scheme: &str| format!("unknown scheme \"{scheme}\": {SCHEMES}");
    let port = |port: &str| format!("\"{port}\" is not a port from 1 to 65535");
    let host = |host: &str| format!("\"{host}\" is not a host name or address");
    let limit =
        |limit: &str| format!("limit \"{limit}\" is not a number of bytes above 0, in digits only");
    let option = |key: &str| format!("unknown option \"{key}\": a file URL knows only `limit`");

    let long_socket = format!("unix:///{}", "x".repeat(200));
    let cases: Vec<(&str, String, &str)> = vec![
        ("", "empty: write for example grpc://collector:4317".into(), "nothing"),
        (" host", SPACE.into(), "a space before"),
        ("host\n", SPACE.into(), "a line break after"),
        ("file:///with space", SPACE.into(), "a space in a path"),
        ("grpc://ho\u{7f}st", SPACE.into(), "a control character"),
        ("grpc://ho\u{a0}st", SPACE.into(), "a space that looks like none"),
        // Schemes.
        ("tcp://host:4317", unknown("tcp"), "not ours"),
        ("https+unix:///x.sock", unknown("https+unix"), "no TLS on a socket"),
        ("grpc+unix:///x.sock", unknown("grpc+unix"), "another notation"),
        ("unix-abstract:///x.sock", unknown("unix-abstract"), "not ours"),
        ("grpc+tls://host", unknown("grpc+tls"), "not ours"),
        ("://host", unknown(""), "forgotten"),
        ("file:/dir", "two slashes are missing: write `file://…`".into(), "legal, but ambiguous"),
        ("http:host", "two slashes are missing: write `http://…`".into(), "a slip"),
        ("HTTPS:host:1", "two slashes are missing: write `https://…`".into(), "in any case"),
        // Hosts.
        (":4317", NO_HOST.into(), "only a port"),
        ("grpc://", NO_HOST.into(), "only a scheme"),
        ("grpc://:4317", NO_HOST.into(), "no host before the port"),
        ("http:///v1/traces", NO_HOST.into(), "no host before the path"),
        ("/v1/traces", NO_HOST.into(), "a path alone"),
        ("?", NO_HOST.into(), "a query alone"),
        ("4317", host("4317"), "a port without its colon"),
        ("1.2.3", host("1.2.3"), "resolvers read it as 1.2.0.3"),
        ("256.1.1.1", host("256.1.1.1"), "no IPv4 address"),
        ("grpc://café", host("café"), "names of the DNS are ASCII"),
        ("grpc://a,b", host("a,b"), "not two hosts"),
        ("grpc://%68ost", host("%68ost"), "no escapes in a host"),
        ("grpc://$HOST", host("$HOST"), "a variable that nobody filled in"),
        ("::1", BRACKETS.into(), "IPv6 without brackets"),
        ("grpc://::1:4317", BRACKETS.into(), "IPv6 without brackets"),
        ("grpc://a:1:2", BRACKETS.into(), "two colons"),
        ("[::1", NOT_IPV6.into(), "not closed"),
        ("[host]", NOT_IPV6.into(), "a name in brackets"),
        ("[fe80::1%eth0]", NOT_IPV6.into(), "zones are not supported"),
        ("[::1]4317", NOT_IPV6.into(), "no colon before the port"),
        // Ports.
        ("host:", "no port after the `:`".into(), "forgotten"),
        ("http://host:/path", "no port after the `:`".into(), "forgotten"),
        ("[::1]:", "no port after the `:`".into(), "forgotten"),
        ("host:0", port("0"), "cannot be connected to"),
        ("host:65536", port("65536"), "one too many"),
        ("host:99999999999999999999", port("99999999999999999999"), "many too many"),
        ("host:+1", port("+1"), "digits only"),
        ("host:-1", port("-1"), "digits only"),
        ("host:otlp", port("otlp"), "no names of ports"),
        ("host:${PORT}", port("${PORT}"), "a variable that nobody filled in"),
        ("host:٤٣١٧", port("٤٣١٧"), "ASCII digits only"),
        // Parts that have no meaning.
        ("grpc://me:hunter2@host:4317", USERINFO.into(), "user name and password"),
        ("http://me:hunter2@host:4318", USERINFO.into(), "also for http"),
        ("me:hunter2@host", USERINFO.into(), "also without a scheme"),
        ("me@host", USERINFO.into(), "a user name alone"),
        ("http://@host", USERINFO.into(), "an empty one"),
        ("http://me:hunter2/x@host", USERINFO.into(), "a password with a slash"),
        ("http://me:hunter2#x@host", USERINFO.into(), "a password with a hash"),
        ("http://me:hunter2?x@host", USERINFO.into(), "a password with a question mark"),
        ("http://user:123/hunter2@host", USERINFO.into(), "a password that begins like a port"),
        ("http://user:123/a/hunter2@host/b", USERINFO.into(), "in the midst of a path"),
        ("http://user/hunter2@host", USERINFO.into(), "a user name that looks like a host"),
        ("user:123/hunter2@host", USERINFO.into(), "also without a scheme"),
        ("http://me:hunter 2@host", USERINFO.into(), "a password with a space"),
        ("file://me:hunter2@host/dir", USERINFO.into(), "also for file"),
        ("file:///hunter2@host/dir", USERINFO.into(), "a slash too many"),
        ("file:///dir?limit=hunter2@host", USERINFO.into(), "in an option"),
        ("tcp://me:hunter2@host", USERINFO.into(), "before the scheme is looked at"),
        ("http://host:4318?x=1", QUERY.into(), "after the port"),
        ("http://host:4318/a?x=1", QUERY.into(), "after a path"),
        ("http://host:4318/a?", QUERY.into(), "an empty one"),
        ("grpc://host?x=1", QUERY.into(), "also for gRPC"),
        ("host:4317/?next=http://other", QUERY.into(), "no scheme at the beginning"),
        ("grpc://host#x", FRAGMENT.into(), "after the host"),
        ("http://host/a#x", FRAGMENT.into(), "after a path"),
        ("http://host/a?b#x", FRAGMENT.into(), "after a query"),
        ("file:///dir#x", FRAGMENT.into(), "also for file"),
        ("grpc://host:4317/path", GRPC_PATH.into(), "the path of gRPC is fixed"),
        ("host/path", GRPC_PATH.into(), "also without a scheme"),
        ("http://host/a\"b", PATH.into(), "not legal in a URL"),
        ("http://host/café", PATH.into(), "not ASCII"),
        ("http://host/a%2", PERCENT.into(), "one digit"),
        ("http://host/a%zz", PERCENT.into(), "no digits"),
        // Sockets.
        ("unix:x.sock", SOCKET.into(), "relative, as gRPC allows"),
        ("unix://x.sock", SOCKET.into(), "two slashes make a host"),
        ("unix://localhost/x.sock", SOCKET.into(), "a host"),
        ("http+unix://run/x.sock", SOCKET.into(), "two slashes make a host"),
        ("unix:", NO_SOCKET.into(), "nothing"),
        ("unix://", NO_SOCKET.into(), "nothing"),
        ("unix:///", NO_SOCKET.into(), "the root is no socket"),
        ("unix:///run/", NO_SOCKET.into(), "nor is a directory"),
        ("http+unix://?path=/a", NO_SOCKET.into(), "a path of requests alone"),
        (
            "http+unix:/x.sock",
            "two slashes are missing: write `http+unix://…`".into(),
            "not a notation of gRPC",
        ),
        ("unix:///x.sock#a", "a fragment (from `#` on) has no meaning: remove it".into(), "both"),
        (
            "unix:///x.sock?path=/a",
            "a query (from `?` on) has no meaning here: remove it".into(),
            "gRPC has no path",
        ),
        ("unix:///100%", PERCENT.into(), "a lone percent sign"),
        (
            "unix:///%ff",
            "the path of the socket is not UTF-8 once percent-decoded".into(),
            "could not be shown",
        ),
        ("unix:///a%00b", NO_ADDRESS.into(), "no system has such paths"),
        (&long_socket, NO_ADDRESS.into(), "more than an address holds"),
        ("http+unix:///x.sock?path=", REQUESTS.into(), "no path"),
        ("http+unix:///x.sock?path", REQUESTS.into(), "no value"),
        ("http+unix:///x.sock?path=a", REQUESTS.into(), "a relative one"),
        ("http+unix:///x.sock?path=/a%2", PERCENT.into(), "one digit"),
        ("http+unix:///x.sock?path=/a?b", PATH.into(), "a query of the request"),
        ("http+unix:///x.sock?path=/a&path=/b", "`path` is given twice".into(), "which one?"),
        (
            "http+unix:///x.sock?limit=1",
            "unknown option \"limit\": an http+unix URL knows only `path`".into(),
            "of files",
        ),
        (
            "http+unix:///x.sock?",
            "unknown option \"\": an http+unix URL knows only `path`".into(),
            "nothing after the question mark",
        ),
        // Files.
        ("file://rel/dir", ABSOLUTE.into(), "two slashes make a host"),
        ("file://./dir", ABSOLUTE.into(), "relative"),
        ("file://", NO_DIRECTORY.into(), "nothing"),
        ("file://localhost", NO_DIRECTORY.into(), "a host alone"),
        ("file://?limit=1", NO_DIRECTORY.into(), "a limit alone"),
        ("file:///100%", PERCENT.into(), "a lone percent sign"),
        ("file:///%é", PERCENT.into(), "no hexadecimal digits"),
        (
            "file:///a%00b",
            "the directory holds a NUL character (%00)".into(),
            "no system has such paths",
        ),
        (
            "file:///%ff",
            "the directory is not UTF-8 once percent-decoded".into(),
            "could not be shown",
        ),
        ("file:///dir?limit=0", limit("0"), "no room for anything"),
        ("file:///dir?limit=", limit(""), "no number"),
        ("file:///dir?limit", limit(""), "no value"),
        ("file:///dir?limit=100MB", limit("100MB"), "no units"),
        ("file:///dir?limit=-1", limit("-1"), "no sign"),
        ("file:///dir?limit=1.5", limit("1.5"), "no fractions"),
        ("file:///dir?limit=18446744073709551616", limit("18446744073709551616"), "too large"),
        ("file:///dir?limit=1&limit=2", "`limit` is given twice".into(), "which one?"),
        ("file:///dir?limit=1&age=2", option("age"), "not ours"),
        ("file:///dir?Limit=1", option("Limit"), "keys have case"),
        ("file:///dir?", option(""), "nothing after the question mark"),
        ("file:///dir?limit=1&", option(""), "nothing after the ampersand"),
    ];
    for (text, message, reason) in cases {
        match text.parse::<ExporterUrl>() {
            Ok(url) => panic!("{text} was read as {url}: {reason}"),
            Err(error) => {
                assert_eq!(error.to_string(), message, "{text}: {reason}");
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("hunter2"), "{text}: shows the password");
            }
        }
    }
}

#[test]
fn the_canonical_form_fills_in_what_was_left_out() {
    let cases = [
        ("HOST", "grpc://host:4317"),
        ("grpcs://[::0:1]/", "grpcs://[::1]:4317"),
        ("http://host", "http://host:4318/v1/traces"),
        ("HTTPS://host:443/a%20b", "https://host:443/a%20b"),
        ("file://localhost/a%20b%3f", "file:///a%20b%3F?limit=104857600"),
        ("file:///café?limit=5", "file:///caf%C3%A9?limit=5"),
        ("file:///%40me?limit=5", "file:///%40me?limit=5"),
        ("unix:/a%20b%3f", "unix:///a%20b%3F"),
        ("http+unix:///%40me", "http+unix:///%40me?path=/v1/traces"),
        ("HTTP+UNIX:///o?path=/c%3f", "http+unix:///o?path=/c%3f"),
    ];
    for (text, canonical) in cases {
        let url: ExporterUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), canonical, "{text}");
    }
}

#[test]
fn directories_become_urls_that_read_the_same() {
    let cases = [
        ("/var/lib/traces", "/var/lib/traces", "nothing to escape"),
        ("/", "/", "the root"),
        ("/a b", "/a%20b", "a space"),
        ("/100%", "/100%25", "a percent sign"),
        ("/a%20b", "/a%2520b", "a percent sign that looks like an escape"),
        ("/#1", "/%231", "not a fragment"),
        ("/what?limit=1", "/what%3Flimit=1", "not an option"),
        ("/me@home", "/me%40home", "not a user name"),
        ("/café", "/caf%C3%A9", "not ASCII"),
        ("/a\u{a0}b", "/a%C2%A0b", "a space that looks like none"),
        ("/a\nb", "/a%0Ab", "a line break"),
        ("/\"it's\" \\a", "/%22it%27s%22%20%5Ca", "quotation marks and a backslash"),
        ("/a+b,c&d=e", "/a+b,c&d=e", "legal in a path"),
        ("//a/../b/", "//a/../b/", "used as given"),
    ];
    for (directory, path, reason) in cases {
        let url = ExporterUrl::file(directory).unwrap_or_else(|e| panic!("{directory}: {e}"));
        assert_eq!(url.target(), &file(directory, MIB_100), "{directory}: {reason}");
        let text = url.to_string();
        assert_eq!(text, format!("file://{path}?limit=104857600"), "{directory}: {reason}");
        assert_eq!(text.parse(), Ok(url), "{directory}: {reason}");
    }
}

#[test]
fn directories_that_no_url_can_name_are_refused() {
    let cases = [
        ("traces", "the directory must be absolute, such as /var/lib/traces", "relative"),
        ("./traces", "the directory must be absolute, such as /var/lib/traces", "relative"),
        ("", "the directory must be absolute, such as /var/lib/traces", "nothing"),
        ("/a\0b", "the directory holds a NUL character (%00)", "no system has such paths"),
    ];
    for (directory, message, reason) in cases {
        let error = ExporterUrl::file(directory).expect_err(reason);
        assert_eq!(error.to_string(), message, "{directory}: {reason}");
    }
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_not_utf_8_is_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let error = ExporterUrl::file(OsStr::from_bytes(b"/\xff")).unwrap_err();
    assert_eq!(error.to_string(), "the directory is not UTF-8");
}

#[test]
fn deserializes_from_text_with_the_same_rules() {
    let url: ExporterUrl = serde_json::from_str("\"collector\"").unwrap();
    assert_eq!(url, "grpc://collector:4317".parse().unwrap());
    let error = serde_json::from_str::<ExporterUrl>("\"host:0\"").unwrap_err();
    assert!(error.to_string().starts_with("\"0\" is not a port from 1 to 65535"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = text.parse::<ExporterUrl>();
    }

    #[test]
    fn what_is_read_reads_the_same_in_its_canonical_form(
        text in "((grpcs?|https?|file|unix|http\\+unix)://|unix:)?[a-z0-9.:/?#@%\\[\\] é=&]{0,12}\
                 (\\?limit=[0-9]{0,3}|\\?path=/[a-z%2=&]{0,6})?"
    ) {
        if let Ok(url) = text.parse::<ExporterUrl>() {
            prop_assert_eq!(&url.to_string().parse::<ExporterUrl>().unwrap(), &url);
            // What the transports build from it must be a URI to them as well.
            if let Target::Http { authority, path, .. } = url.target() {
                let uri = http::Uri::builder()
                    .scheme("http")
                    .authority(authority.to_string())
                    .path_and_query(path.as_str())
                    .build()
                    .unwrap();
                prop_assert_eq!(uri.path(), path);
                prop_assert_eq!(uri.port_u16(), Some(authority.port));
            }
        }
    }

    #[test]
    fn any_directory_reads_the_same_from_its_url(directory in "/.*") {
        if let Ok(url) = ExporterUrl::file(&directory) {
            prop_assert_eq!(url.to_string().parse::<ExporterUrl>(), Ok(url));
        }
    }

    #[test]
    fn a_password_is_never_shown(
        head in "((grpcs?|https?|file|tcp|unix|http\\+unix)://|unix:)?[a-z:/?#]{0,4}",
        tail in "[a-z0-9:/?#.]{0,6}",
    ) {
        let text = format!("{head}hunter2@{tail}");
        let error = text.parse::<ExporterUrl>().unwrap_err();
        let shown = format!("{error} {error:?}");
        prop_assert!(!shown.contains("hunter2"), "{}: {}", text, shown);
    }
}
