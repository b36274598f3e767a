use crate::config::TracingServiceConfig;
use crate::config::section::tests::{read, recording};
use crate::sampling::{SamplingRate, SamplingRule};

fn rule(per_million: u32) -> SamplingRule {
    SamplingRule::new(SamplingRate::try_from(per_million).unwrap())
}

fn rules(rules: impl IntoIterator<Item = SamplingRule>) -> TracingServiceConfig {
    rules.into_iter().fold(recording(), TracingServiceConfig::sampling_rule)
}

#[test]
fn rules_are_read_in_their_order() {
    let cases = [
        ("sampling_rules:", rules([]), "no value is left out"),
        ("sampling_rules: []", rules([]), "none"),
        (
            "sampling_rules:
    - path_prefix: /healthz
      sampling_rate_per_million: 0
    - method: POST
      route: /orders/{id}
      sampling_rate_per_million: 1_000_000
    - sampling_rate_per_million: '100000'
      grpc_service: shop.Inventory",
            rules([
                rule(0).path_prefix("/healthz"),
                rule(1_000_000).method("POST").route("/orders/{id}"),
                rule(100_000).grpc_service("shop.Inventory"),
            ]),
            "all conditions, and numbers as everywhere",
        ),
        (
            "sampling_rules:
    - {path_prefix: /a/b, sampling_rate_per_million: 1}
    - {path_prefix: /a, sampling_rate_per_million: 2}
    - {path_prefix: /a, method: GET, sampling_rate_per_million: 2}
    - {path_prefix: /a, sampling_rate_per_million: 2}",
            rules([
                rule(1).path_prefix("/a/b"),
                rule(2).path_prefix("/a"),
                rule(2).path_prefix("/a").method("GET"),
                rule(2).path_prefix("/a"),
            ]),
            "a rule that never counts does no harm when it says the same",
        ),
        (
            "sampling_rules: [{method: PURGE, path_prefix: /, sampling_rate_per_million: 0x10}]",
            rules([rule(16).method("PURGE").path_prefix("/")]),
            "any method",
        ),
    ];
    for (lines, expected, reason) in cases {
        assert_eq!(read(&format!("  {lines}")), Ok(expected), "{lines}: {reason}");
    }
}

#[test]
fn a_broken_rule_is_reported_in_full() {
    let cases = [
        (
            "sampling_rules: {path_prefix: /a, sampling_rate_per_million: 1}",
            "line 4, column 19: tracing_service.sampling_rules: must be a list of rules, not a \
             mapping",
            "a rule is not a list of rules",
        ),
        (
            "sampling_rules:\n  - /a\n  -\n",
            "line 5, column 5: tracing_service.sampling_rules[0]: must be a mapping with \
             `sampling_rate_per_million` and conditions, not \"/a\"\n\
             line 6, column 4: tracing_service.sampling_rules[1]: must be a mapping with \
             `sampling_rate_per_million` and conditions, not nothing",
            "other kinds",
        ),
        (
            "sampling_rules:\n  - path_prefix: /a\n",
            "line 5, column 5: tracing_service.sampling_rules[0].sampling_rate_per_million: \
             missing: a rule needs a rate",
            "no rate",
        ),
        (
            "sampling_rules:\n  - sampling_rate_per_million: 1\n  - {}\n",
            "line 5, column 5: tracing_service.sampling_rules[0]: a rule without a condition \
             would match every request, and no rule after it would count: add one of method, \
             path_prefix, route, grpc_service, or set the `sampling_rate_per_million` of the \
             section\n\
             line 6, column 5: tracing_service.sampling_rules[1].sampling_rate_per_million: \
             missing: a rule needs a rate\n\
             line 6, column 5: tracing_service.sampling_rules[1]: a rule without a condition \
             would match every request, and no rule after it would count: add one of method, \
             path_prefix, route, grpc_service, or set the `sampling_rate_per_million` of the \
             section",
            "no condition, be it the last rule",
        ),
        (
            "sampling_rules:\n  - {path_prefix: /a, sampling_rate_per_million: 1000001}\n  \
             - {path_prefix: /b, sampling_rate_per_million: 0.5}\n  \
             - path_prefix: /c\n    sampling_rate_per_million:\n",
            "line 5, column 50: tracing_service.sampling_rules[0].sampling_rate_per_million: \
             must be a whole number from 0 to 1000000, not 1000001\n\
             line 6, column 50: tracing_service.sampling_rules[1].sampling_rate_per_million: \
             must be a whole number from 0 to 1000000, not 0.5\n\
             line 8, column 5: tracing_service.sampling_rules[2].sampling_rate_per_million: \
             must be a whole number from 0 to 1000000, not nothing",
            "rates as that of the section",
        ),
        (
            "sampling_rules:\n  - path: /a\n    rate: 1\n    method: GET\n    method: GET\n    \
             7: x\n    sampling_rate: 3\n",
            "line 5, column 5: tracing_service.sampling_rules[0].sampling_rate_per_million: \
             missing: a rule needs a rate\n\
             line 5, column 5: tracing_service.sampling_rules[0].path: unknown key, did you mean \
             `path_prefix`?\n\
             line 6, column 5: tracing_service.sampling_rules[0].rate: unknown key, known are \
             method, path_prefix, route, grpc_service, sampling_rate_per_million\n\
             line 8, column 5: tracing_service.sampling_rules[0].method: the key is given twice\n\
             line 9, column 5: tracing_service.sampling_rules[0]: a key must be text, not 7: put \
             it in quotes\n\
             line 10, column 5: tracing_service.sampling_rules[0].sampling_rate: unknown key, \
             did you mean `sampling_rate_per_million`?",
            "keys",
        ),
        (
            "sampling_rules:\n  - pathprefx: /a\n    sampling_rate_per_million: 0\n  \
             - {path_prefix: /a, sampling_rate_per_million: 1}\n",
            "line 5, column 5: tracing_service.sampling_rules[0].pathprefx: unknown key, did you \
             mean `path_prefix`?",
            "it may have a condition, and others are not judged by it",
        ),
        (
            "sampling_rules:\n  - path_prefix: /\n    7: x\n    sampling_rate_per_million: 0\n  \
             - {path_prefix: /a, sampling_rate_per_million: 1}\n",
            "line 6, column 5: tracing_service.sampling_rules[0]: a key must be text, not 7: put \
             it in quotes",
            "nor by this one",
        ),
        (
            "sampling_rules:\n  - method: ''\n    path_prefix: ' '\n    route: 7\n    \
             grpc_service: [a]\n    sampling_rate_per_million: 0\n  - method:\n    \
             sampling_rate_per_million: 0\n",
            "line 5, column 13: tracing_service.sampling_rules[0].method: must not be empty\n\
             line 6, column 18: tracing_service.sampling_rules[0].path_prefix: must not be empty\n\
             line 7, column 12: tracing_service.sampling_rules[0].route: must be text, not 7: put \
             it in quotes\n\
             line 8, column 19: tracing_service.sampling_rules[0].grpc_service: must be text, not \
             a list\n\
             line 10, column 5: tracing_service.sampling_rules[1].method: must be text, not \
             nothing",
            "a condition without a value is not left out, or the rule would match more",
        ),
        (
            "sampling_rules:\n  - method: GET POST\n    path_prefix: healthz\n    \
             route: orders/{id}\n    grpc_service: shop.Inventory/Count\n    \
             sampling_rate_per_million: 0\n  - {method: get, sampling_rate_per_million: 0}\n",
            "line 5, column 13: tracing_service.sampling_rules[0].method: must be a method such \
             as GET, not \"GET POST\"\n\
             line 6, column 18: tracing_service.sampling_rules[0].path_prefix: must be a path \
             that begins with `/`, not \"healthz\"\n\
             line 7, column 12: tracing_service.sampling_rules[0].route: must be a route that \
             begins with `/`, not \"orders/{id}\"\n\
             line 8, column 19: tracing_service.sampling_rules[0].grpc_service: must be the full \
             name of a service, such as shop.Inventory, without `/`, not \
             \"shop.Inventory/Count\"\n\
             line 10, column 14: tracing_service.sampling_rules[1].method: methods are \
             case-sensitive, did you mean `GET`?",
            "what no request could meet",
        ),
        (
            "sampling_rules:\n  - {path_prefix: x, sampling_rate_per_million: 0}\n  \
             - {path_prefix: /, sampling_rate_per_million: 0}\n  \
             - {path_prefix: /a, sampling_rate_per_million: 0}\n  \
             - {path_prefix: /b, method: GET, sampling_rate_per_million: 1}\n",
            "line 5, column 19: tracing_service.sampling_rules[0].path_prefix: must be a path \
             that begins with `/`, not \"x\"\n\
             line 8, column 5: tracing_service.sampling_rules[3]: never counts: \
             sampling_rules[1] before it has another rate for all of its requests, and the first \
             rule that matches wins",
            "rules in the wrong order, counted as in the document",
        ),
    ];
    for (lines, message, reason) in cases {
        assert_eq!(read(&format!("  {lines}")), Err(message.to_owned()), "{lines}: {reason}");
    }
}
