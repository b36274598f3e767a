//! Documents that are wrong, and what their operators read of it.

use super::*;
use crate::sampling::Sampling;

#[test]
fn broken_settings_of_the_exporter_are_reported_in_full() {
    // The URL, the lines below it, the message, and why it is one.
    let cases = [
        (
            "h",
            "  headers: Bearer hunter2",
            "line 4, column 12: tracing_service.headers: must be a mapping of names to values",
            "a value without a name, which is not repeated",
        ),
        (
            "h",
            "  headers: [authorization]",
            "line 4, column 12: tracing_service.headers: must be a mapping of names to values",
            "a list",
        ),
        (
            "h",
            "  headers:\n    \
             content-type: text/plain\n    \
             Host: h\n    \
             grpc-timeout: 1S\n    \
             x-trace-bin: AAA=",
            "line 5, column 5: tracing_service.headers: content-type is set by the exporter \
             itself: remove it\n\
             line 6, column 5: tracing_service.headers: host is set by the exporter itself: \
             remove it\n\
             line 7, column 5: tracing_service.headers: grpc-timeout is set by the exporter \
             itself: remove it\n\
             line 8, column 5: tracing_service.headers: x-trace-bin is binary metadata of gRPC, \
             which cannot be set: remove it",
            "names that are not to be set",
        ),
        (
            "h",
            "  headers:\n    \"authorization: Bearer hunter2\":",
            "line 5, column 5: tracing_service.headers: a name is not that of a header, such as \
             authorization or x-api-key",
            "a quote too far to the right",
        ),
        (
            "h",
            "  headers:\n    X-Key: a\n    x-key: b",
            "line 6, column 5: tracing_service.headers.x-key: the header is given twice",
            "names of headers have no case",
        ),
        (
            "h",
            "  headers:\n    \
             x-a: 7\n    \
             x-b: yes\n    \
             x-c: true\n    \
             x-d:\n    \
             x-e: ' '\n    \
             x-f: [a]",
            "line 5, column 10: tracing_service.headers.x-a: must be text: put it in quotes\n\
             line 7, column 10: tracing_service.headers.x-c: must be text: put it in quotes\n\
             line 8, column 5: tracing_service.headers.x-d: must not be empty\n\
             line 9, column 10: tracing_service.headers.x-e: must not be empty\n\
             line 10, column 10: tracing_service.headers.x-f: must be text, `{file: path}` or \
             `{env: NAME}`",
            "values that are no text, and one that is",
        ),
        (
            "h",
            "  headers:\n    x-a: \"a\\nb\"\n    x-b: grün",
            "line 5, column 10: tracing_service.headers.x-a: must be one line of printable ASCII \
             characters\n\
             line 6, column 10: tracing_service.headers.x-b: must be one line of printable ASCII \
             characters",
            "what no header can hold",
        ),
        (
            "h",
            "  headers:\n    \
             x-a: {path: /token}\n    \
             x-b: {file: /token, env: TOKEN}\n    \
             x-c: {}\n    \
             x-d: {file: }\n    \
             x-e: {env: A=b}",
            "line 5, column 10: tracing_service.headers.x-a: must be text, `{file: path}` or \
             `{env: NAME}`\n\
             line 6, column 10: tracing_service.headers.x-b: must be text, `{file: path}` or \
             `{env: NAME}`\n\
             line 7, column 10: tracing_service.headers.x-c: must be text, `{file: path}` or \
             `{env: NAME}`\n\
             line 8, column 15: tracing_service.headers.x-d: must be text, `{file: path}` or \
             `{env: NAME}`\n\
             line 9, column 16: tracing_service.headers.x-e: must be the name of an environment \
             variable",
            "places where no value can be",
        ),
        (
            "h",
            "  header: {x-a: b}",
            "line 4, column 3: tracing_service.header: unknown key, did you mean `headers`?",
            "a letter forgotten",
        ),
        (
            "h",
            "  compression: zstd",
            "line 4, column 16: tracing_service.compression: must be one of none, gzip, not \
             \"zstd\"",
            "another algorithm",
        ),
        (
            "h",
            "  compression: yes",
            "line 4, column 16: tracing_service.compression: must be one of none, gzip, not \
             \"yes\"",
            "a switch",
        ),
        (
            "h",
            "  timeout: 10",
            "line 4, column 12: tracing_service.timeout: must be a duration with its unit, such \
             as 10s, 500ms or 1m 30s, not 10",
            "seconds or milliseconds?",
        ),
        (
            "h",
            "  timeout: 10 parsecs",
            "line 4, column 12: tracing_service.timeout: must be a duration with its unit, such \
             as 10s, 500ms or 1m 30s, not \"10 parsecs\"",
            "no unit of time",
        ),
        (
            "h",
            "  timeout: 0s",
            "line 4, column 12: tracing_service.timeout: must be from 1ms to 1h, not 0s",
            "nothing can be sent in no time",
        ),
        (
            "h",
            "  timeout: 2h",
            "line 4, column 12: tracing_service.timeout: must be from 1ms to 1h, not 2h",
            "more than a spell of silence",
        ),
        (
            "h",
            "  timeout: -1s",
            "line 4, column 12: tracing_service.timeout: must be a duration with its unit, such \
             as 10s, 500ms or 1m 30s, not \"-1s\"",
            "before it began",
        ),
        (
            "h",
            "  timeout: 2s\n  connect_timeout: 3s",
            "line 5, column 3: tracing_service.connect_timeout: must not be above `timeout`, \
             which is 2s, but is 3s",
            "the part above the whole",
        ),
        (
            "h",
            "  connect_timeout: 11s",
            "line 4, column 3: tracing_service.connect_timeout: must not be above `timeout`, \
             which is 10s, but is 11s",
            "above a whole that nobody wrote",
        ),
        (
            "h",
            "  timeout: soon\n  connect_timeout: 1us",
            "line 4, column 12: tracing_service.timeout: must be a duration with its unit, such \
             as 10s, 500ms or 1m 30s, not \"soon\"\n\
             line 5, column 20: tracing_service.connect_timeout: must be from 1ms to 1h, not 1us",
            "each by itself",
        ),
        (
            "h",
            "  queue: 64MiB",
            "line 4, column 10: tracing_service.queue: must be a mapping with any of \
             `max_bytes`, `max_batch_spans`, `max_batch_bytes`, `max_delay`, `when_full`, not \
             \"64MiB\"",
            "the size of what?",
        ),
        (
            "h",
            "  queue:\n    max_size: 64MiB",
            "line 5, column 5: tracing_service.queue.max_size: unknown key, known are max_bytes, \
             max_batch_spans, max_batch_bytes, max_delay, when_full",
            "another name, after a known beginning",
        ),
        (
            "h",
            "  queue:\n    max_bytes: 1MiB\n    max_bytes: 2MiB",
            "line 6, column 5: tracing_service.queue.max_bytes: the key is given twice",
            "which one?",
        ),
        (
            "h",
            "  queue:\n    max_bytes: 64M",
            "line 5, column 16: tracing_service.queue.max_bytes: must be a size such as 64MiB, \
             10MB or 4194304 (bytes), not \"64M\"",
            "binary or decimal?",
        ),
        (
            "h",
            "  queue:\n    max_bytes: 1000",
            "line 5, column 16: tracing_service.queue.max_bytes: must be from 1MiB to 1TiB, not \
             1kB",
            "bytes, and hardly a span",
        ),
        (
            "h",
            "  queue:\n    max_bytes: -1\n    max_batch_spans: 0\n    max_delay: 1s 5",
            "line 5, column 16: tracing_service.queue.max_bytes: must be a size such as 64MiB, \
             10MB or 4194304 (bytes), not -1\n\
             line 6, column 22: tracing_service.queue.max_batch_spans: must be from 1 to 65536, \
             not 0\n\
             line 7, column 16: tracing_service.queue.max_delay: must be a duration with its \
             unit, such as 10s, 500ms or 1m 30s, not \"1s 5\"",
            "each by itself",
        ),
        (
            "h",
            "  queue:\n    max_bytes: 16777216TiB",
            "line 5, column 16: tracing_service.queue.max_bytes: must be a size such as 64MiB, \
             10MB or 4194304 (bytes), not \"16777216TiB\"",
            "more than 64 bits",
        ),
        (
            "h",
            "  queue:\n    max_batch_bytes: 4MB\n    max_bytes: 2MB",
            "line 5, column 5: tracing_service.queue.max_batch_bytes: must not be above \
             `max_bytes`, which is 2MB, but is 4MB",
            "the part above the whole",
        ),
        (
            "h",
            "  queue:\n    max_batch_bytes: 48MiB",
            "line 5, column 5: tracing_service.queue.max_batch_bytes: must not be above \
             `max_bytes`, which is 32MiB, but is 48MiB",
            "above a whole that nobody wrote",
        ),
        (
            "h",
            "  queue:\n    max_delay: 5m",
            "line 5, column 16: tracing_service.queue.max_delay: must be from 1ms to 1m, not 5m",
            "who looks at a trace waits for it",
        ),
        (
            "h",
            "  queue:\n    when_full: block",
            "line 5, column 16: tracing_service.queue.when_full: must be one of drop_newest, \
             drop_oldest, not \"block\"",
            "nothing ever blocks a request",
        ),
        (
            "h",
            "  retry: no",
            "line 4, column 10: tracing_service.retry: must be a mapping with any of `initial`, \
             `max`, `give_up_after`, not \"no\"",
            "not a switch",
        ),
        (
            "h",
            "  retry:\n    initial: 1m\n    max: 1s",
            "line 5, column 5: tracing_service.retry.initial: must not be above `max`, which is \
             1s, but is 1m",
            "the first pause above the longest",
        ),
        (
            "h",
            "  retry:\n    initial: 0\n    give_up: 5m\n    give_up_after: 2d",
            "line 5, column 14: tracing_service.retry.initial: must be from 1ms to 1h, not 0s\n\
             line 6, column 5: tracing_service.retry.give_up: unknown key, did you mean \
             `give_up_after`?\n\
             line 7, column 20: tracing_service.retry.give_up_after: must be from 0s to 1day, \
             not 2days",
            "no pause, another name, too long",
        ),
        (
            "h",
            "  concurrency: 0",
            "line 4, column 16: tracing_service.concurrency: must be from 1 to 64, not 0",
            "nothing would go out",
        ),
        (
            "h",
            "  concurrency: many",
            "line 4, column 16: tracing_service.concurrency: must be a number in digits, not \
             \"many\"",
            "a word",
        ),
        (
            "h",
            "  concurrency: 65",
            "line 4, column 16: tracing_service.concurrency: must be from 1 to 64, not 65",
            "more than a collector likes",
        ),
        (
            "h",
            "  limits:\n    \
             attributes: 128\n    \
             events_per_span: 1e3\n    \
             links_per_span: 20_000\n    \
             value_length: 31",
            "line 5, column 5: tracing_service.limits.attributes: unknown key, did you mean \
             `attributes_per_span`?\n\
             line 6, column 22: tracing_service.limits.events_per_span: must be a number in \
             digits, not 1000.0\n\
             line 7, column 21: tracing_service.limits.links_per_span: must be from 0 to 10000, \
             not 20000\n\
             line 8, column 19: tracing_service.limits.value_length: must be from 32B to 16MiB, \
             not 31B",
            "each by itself",
        ),
        (
            "h",
            "  limits:\n    \
             peer_value_length: 2MiB\n    \
             attributes_per_event: -1\n    \
             attributes_per_link: '+1'",
            "line 5, column 24: tracing_service.limits.peer_value_length: must be from 32B to \
             1MiB, not 2MiB\n\
             line 6, column 27: tracing_service.limits.attributes_per_event: must be a number in \
             digits, not -1\n\
             line 7, column 26: tracing_service.limits.attributes_per_link: must be a number in \
             digits, not \"+1\"",
            "each by itself",
        ),
        (
            "h",
            "  limits: 128",
            "line 4, column 11: tracing_service.limits: must be a mapping with any of \
             `attributes_per_span`, `events_per_span`, `links_per_span`, `attributes_per_event`, \
             `attributes_per_link`, `value_length`, `peer_value_length`, not 128",
            "of what?",
        ),
        (
            "http://h",
            "  ca_certs: [/ca.pem]\n  system_roots: yes\n  server_name: h",
            "line 4, column 3: tracing_service.ca_certs: has no use with an http URL, which is \
             never TLS: write https, or remove it\n\
             line 5, column 3: tracing_service.system_roots: has no use with an http URL, which \
             is never TLS: write https, or remove it\n\
             line 6, column 3: tracing_service.server_name: has no use with an http URL, which \
             is never TLS: write https, or remove it",
            "plaintext needs no names",
        ),
        (
            "grpc://h",
            "  system_roots: yes",
            "line 4, column 3: tracing_service.system_roots: has no use with a grpc URL without \
             certificates, which is not TLS: write grpcs, or remove it",
            "grpc is plaintext",
        ),
        (
            "grpc://h",
            "  server_name: h",
            "line 4, column 3: tracing_service.server_name: has no use with a grpc URL without \
             certificates, which is not TLS: write grpcs, or remove it",
            "grpc is plaintext",
        ),
        (
            "grpcs://h",
            "  system_roots: no",
            "line 4, column 3: tracing_service.system_roots: without `ca_certs` nobody could \
             vouch for the collector: add them, or remove this",
            "who should be believed?",
        ),
        (
            "https://h",
            "  server_name: https://h\n  system_roots: sure",
            "line 4, column 16: tracing_service.server_name: must be a host name or an IP \
             address, not \"https://h\"\n\
             line 5, column 17: tracing_service.system_roots: must be one of yes, yeah, y, true, \
             1, on or one of no, nope, n, false, 0, off, not \"sure\"",
            "not a name, nor a switch",
        ),
        (
            "https://h",
            "  server_name: 10.0.0.1.2",
            "line 4, column 16: tracing_service.server_name: must be a host name or an IP \
             address, not \"10.0.0.1.2\"",
            "neither name nor address",
        ),
        (
            "unix:/run/o",
            "  keypairs: [{key_file: /k, cert_file: /c}]",
            "line 4, column 3: tracing_service.keypairs: has no use with a Unix socket, which is \
             never TLS: remove it",
            "never TLS",
        ),
        (
            "http+unix:///run/o",
            "  ca_certs: [/ca.pem]",
            "line 4, column 3: tracing_service.ca_certs: has no use with a Unix socket, which is \
             never TLS: remove it",
            "never TLS",
        ),
        (
            "file:///d",
            "  headers: {x-a: b}\n  \
             compression: gzip\n  \
             timeout: 1s\n  \
             connect_timeout: 1s\n  \
             system_roots: yes",
            "line 4, column 3: tracing_service.headers: has no use with a file URL, which makes \
             no connection: remove it\n\
             line 5, column 3: tracing_service.compression: has no use with a file URL, which \
             makes no connection: remove it\n\
             line 6, column 3: tracing_service.timeout: has no use with a file URL, which makes \
             no connection: remove it\n\
             line 7, column 3: tracing_service.connect_timeout: has no use with a file URL, \
             which makes no connection: remove it\n\
             line 8, column 3: tracing_service.system_roots: has no use with a file URL, which \
             makes no connection: remove it",
            "nothing of connections",
        ),
        (
            "unix:run/o",
            "",
            "line 3, column 17: tracing_service.exporter_url: the path of the socket must be \
             absolute: write three slashes, as in unix:///run/otel.sock",
            "relative",
        ),
        (
            "http+unix:///run/o?limit=1",
            "",
            "line 3, column 17: tracing_service.exporter_url: unknown option \"limit\": an \
             http+unix URL knows only `path`",
            "an option of files",
        ),
        (
            "h",
            "  timeout: 1s\n  timeout: 2s\n  queue: {}\n  queue: {}",
            "line 5, column 3: tracing_service.timeout: the key is given twice\n\
             line 7, column 3: tracing_service.queue: the key is given twice",
            "which one?",
        ),
        (
            "http://h:0",
            "  headers: {te: x}\n  \
             queue: {max_bytes: 1}\n  \
             retry: {max: 1}\n  \
             limits: {events: 1}\n  \
             sampling_rate: 5",
            "line 3, column 17: tracing_service.exporter_url: \"0\" is not a port from 1 to 65535\n\
             line 4, column 13: tracing_service.headers: te is set by the exporter itself: \
             remove it\n\
             line 5, column 22: tracing_service.queue.max_bytes: must be from 1MiB to 1TiB, not \
             1B\n\
             line 6, column 16: tracing_service.retry.max: must be a duration with its unit, \
             such as 10s, 500ms or 1m 30s, not 1\n\
             line 7, column 12: tracing_service.limits.events: unknown key, did you mean \
             `events_per_span`?\n\
             line 8, column 3: tracing_service.sampling_rate: unknown key, did you mean \
             `sampling_rate_per_million`?",
            "several at once, in the order of the document",
        ),
    ];
    for (url, lines, message, reason) in cases {
        let yaml = section(url, lines);
        let error = read(&yaml).expect_err(reason);
        assert_eq!(error.to_string(), message, "{yaml}: {reason}");
    }
}

/// What Teleport's and tbot's own tests ask of the section, as far as it stands in the document
/// alone.
#[test]
fn teleports_cases_mean_here_what_they_say() {
    let tls = |config: &TracingServiceConfig| config.check().unwrap().unwrap().uses_tls();
    let good = [
        ("collector:4317", "", recording("grpc://collector:4317"), false, "bare host and port"),
        ("grpc://h:1", "", recording("h:1"), false, "grpc is plaintext without certificates"),
        (
            "grpc://h:1",
            "  ca_certs: [/ca]",
            recording("h:1").ca_certs(["/ca"]),
            true,
            "and TLS with them",
        ),
        ("https://h:1", "", recording("https://h:1"), true, "https has the system's roots"),
        (
            "https://h:1",
            "  ca_certs: [/ca]\n  keypairs: [{key_file: /k, cert_file: /c}]",
            recording("https://h:1").ca_certs(["/ca"]).keypair("/k", "/c"),
            true,
            "certificates are kept",
        ),
        ("http://h:1", "", recording("http://h:1"), false, "http is plaintext"),
        ("file:///d", "", recording("file:///d"), false, "a file has no TLS"),
        (
            "h",
            "  sampling_rate_per_million: 250_000",
            recording("h").sampling_rate_per_million(250_000),
            false,
            "a quarter of all",
        ),
    ];
    for (url, lines, expected, is_tls, reason) in good {
        let config = read(&section(url, lines)).unwrap_or_else(|error| panic!("{reason}: {error}"));
        assert_eq!(config, expected, "{reason}");
        assert_eq!(tls(&config), is_tls, "{reason}");
    }
    let rate = read(&section("h", "  sampling_rate_per_million: 250_000")).unwrap();
    let sampling = rate.check().unwrap().unwrap().sampling();
    assert_eq!(sampling, Sampling::new(250_000.try_into().unwrap()));
    let off = section("nonsense://", "  ca_certs: 7\n  sampling_rate_per_million: -1");
    let off = off.replace("enabled: yes", "enabled: no");
    assert_eq!(read(&off).unwrap(), TracingServiceConfig::disabled(), "invalid fields when off");
}

fn section(url: &str, lines: &str) -> String {
    format!("tracing_service:\n  enabled: yes\n  exporter_url: {url}\n{lines}\n")
}
