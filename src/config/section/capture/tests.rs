use http::HeaderName;

use crate::config::TracingServiceConfig;
use crate::config::section::tests::{read, recording};
use crate::record::Capture;

fn showing(capture: impl FnOnce(Capture) -> Capture) -> TracingServiceConfig {
    recording().capture(capture(Capture::default()))
}

fn names<const N: usize>(names: [&'static str; N]) -> [HeaderName; N] {
    names.map(HeaderName::from_static)
}

#[test]
fn what_spans_show_is_read() {
    const NONE: [&str; 0] = [];
    let cases = [
        (
            "request_headers: [X-Request-Id, accept]\n  response_headers:\n  - x-cache",
            showing(|capture| {
                capture
                    .request_headers(names(["x-request-id", "accept"]))
                    .response_headers(names(["x-cache"]))
            }),
            "any case",
        ),
        (
            "request_headers: [x-a, X-A, x-b, x-a]",
            showing(|capture| capture.request_headers(names(["x-a", "x-b"]))),
            "the same twice is once",
        ),
        (
            "response_headers: [Set-Cookie]\n  request_headers: [authorization]\n  \
             sensitive_headers: YES",
            showing(|capture| {
                capture
                    .request_headers(names(["authorization"]))
                    .response_headers(names(["set-cookie"]))
                    .sensitive_headers(true)
            }),
            "with consent, wherever it stands",
        ),
        (
            "sensitive_headers: on",
            showing(|capture| capture.sensitive_headers(true)),
            "consent is also for values that the program has marked",
        ),
        (
            "sensitive_headers: 0",
            showing(|it| it.sensitive_headers(false)),
            "the words of `enabled`",
        ),
        (
            "request_headers:\n  response_headers: ~\n  sensitive_headers:\n  \
             redacted_query_parameters:\n  known_methods:\n  known_grpc_methods:",
            recording(),
            "no value is left out",
        ),
        ("request_headers: []\n  response_headers: []", recording(), "none, as by default"),
        (
            "redacted_query_parameters: [token, '7']",
            showing(|capture| capture.redacted_query_parameters(["token", "7"])),
            "replaces the default",
        ),
        (
            "redacted_query_parameters: []",
            showing(|capture| capture.redacted_query_parameters(NONE)),
            "none is not the default",
        ),
        (
            "known_methods: [GET, PURGE, M-SEARCH, GET]",
            showing(|capture| capture.known_methods(["GET", "PURGE", "M-SEARCH"])),
            "any token",
        ),
        (
            "known_methods: []\n  known_grpc_methods: []",
            showing(|capture| capture.known_methods(NONE).known_grpc_methods(NONE)),
            "none is not the default",
        ),
        (
            "known_grpc_methods: [shop.Inventory/Count, Health/Check]",
            showing(|capture| capture.known_grpc_methods(["shop.Inventory/Count", "Health/Check"])),
            "with and without a package",
        ),
    ];
    for (lines, expected, reason) in cases {
        assert_eq!(read(&format!("  {lines}")), Ok(expected), "{lines}: {reason}");
    }
}

#[test]
fn what_spans_cannot_or_should_not_show_is_refused() {
    let cases = [
        (
            "request_headers: x-a\n  response_headers: {x-a: yes}\n  redacted_query_parameters: \
             sig\n  known_methods: GET\n  known_grpc_methods: a/b\n",
            "line 4, column 20: tracing_service.request_headers: must be a list of names of \
             headers, not \"x-a\"\n\
             line 5, column 21: tracing_service.response_headers: must be a list of names of \
             headers, not a mapping\n\
             line 6, column 30: tracing_service.redacted_query_parameters: must be a list of \
             names of parameters, not \"sig\"\n\
             line 7, column 18: tracing_service.known_methods: must be a list of methods such as \
             GET, not \"GET\"\n\
             line 8, column 23: tracing_service.known_grpc_methods: must be a list of methods \
             such as shop.Inventory/Count, not \"a/b\"",
            "lists only",
        ),
        (
            "request_headers: [x a, '', 7, ':path', é, 'x-a:']",
            "line 4, column 21: tracing_service.request_headers[0]: must be the name of a header, \
             not \"x a\"\n\
             line 4, column 26: tracing_service.request_headers[1]: must not be empty\n\
             line 4, column 30: tracing_service.request_headers[2]: must be text, not 7: put it \
             in quotes\n\
             line 4, column 33: tracing_service.request_headers[3]: must be the name of a header, \
             not \":path\"\n\
             line 4, column 42: tracing_service.request_headers[4]: must be the name of a header, \
             not \"é\"\n\
             line 4, column 45: tracing_service.request_headers[5]: must be the name of a header, \
             not \"x-a:\"",
            "no headers",
        ),
        (
            "request_headers: [x-a, Authorization, cookie]\n  sensitive_headers: no\n  \
             response_headers:\n  - set-cookie\n  - proxy-authorization\n",
            "line 4, column 26: tracing_service.request_headers[1]: authorization holds secrets: \
             write `sensitive_headers: yes` to have them in spans, or remove it\n\
             line 4, column 41: tracing_service.request_headers[2]: cookie holds secrets: write \
             `sensitive_headers: yes` to have them in spans, or remove it\n\
             line 7, column 5: tracing_service.response_headers[0]: set-cookie holds secrets: \
             write `sensitive_headers: yes` to have them in spans, or remove it\n\
             line 8, column 5: tracing_service.response_headers[1]: proxy-authorization holds \
             secrets: write `sensitive_headers: yes` to have them in spans, or remove it",
            "without consent",
        ),
        (
            "request_headers: [cookie]\n  sensitive_headers:\n",
            "line 4, column 21: tracing_service.request_headers[0]: cookie holds secrets: write \
             `sensitive_headers: yes` to have them in spans, or remove it",
            "no value is no consent",
        ),
        (
            "request_headers: [cookie]\n  sensitive_headers: sure\n",
            "line 5, column 22: tracing_service.sensitive_headers: must be one of yes, yeah, y, \
             true, 1, on or one of no, nope, n, false, 0, off, not \"sure\"",
            "once is enough",
        ),
        (
            "request_headers: [grpc-trace-bin]\n  response_headers: [X-Bin, X-A-BIN]\n  \
             sensitive_headers: yes\n",
            "line 4, column 21: tracing_service.request_headers[0]: grpc-trace-bin holds binary metadata of \
             gRPC, which is never shown: remove it\n\
             line 5, column 22: tracing_service.response_headers[0]: x-bin holds binary metadata of \
             gRPC, which is never shown: remove it\n\
             line 5, column 29: tracing_service.response_headers[1]: x-a-bin holds binary metadata of \
             gRPC, which is never shown: remove it",
            "binary metadata, by consent neither",
        ),
        (
            "redacted_query_parameters: [token=, a&b, ' ']\n  known_methods: [GET POST, get]\n  \
             known_grpc_methods: [Count, /shop.Inventory/Count, shop.Inventory/]\n",
            "line 4, column 31: tracing_service.redacted_query_parameters[0]: must be the name of \
             a parameter, without `=` and `&`, not \"token=\"\n\
             line 4, column 39: tracing_service.redacted_query_parameters[1]: must be the name of \
             a parameter, without `=` and `&`, not \"a&b\"\n\
             line 4, column 44: tracing_service.redacted_query_parameters[2]: must not be empty\n\
             line 5, column 19: tracing_service.known_methods[0]: must be a method such as GET, \
             not \"GET POST\"\n\
             line 5, column 29: tracing_service.known_methods[1]: methods are case-sensitive, did \
             you mean `GET`?\n\
             line 6, column 24: tracing_service.known_grpc_methods[0]: must be a method such as \
             shop.Inventory/Count, not \"Count\"\n\
             line 6, column 31: tracing_service.known_grpc_methods[1]: must be a method such as \
             shop.Inventory/Count, not \"/shop.Inventory/Count\"\n\
             line 6, column 54: tracing_service.known_grpc_methods[2]: must be a method such as \
             shop.Inventory/Count, not \"shop.Inventory/\"",
            "what no request could have",
        ),
    ];
    for (lines, message, reason) in cases {
        assert_eq!(read(&format!("  {lines}")), Err(message.to_owned()), "{lines}: {reason}");
    }
}
