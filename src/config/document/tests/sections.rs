//! Sections that are wrong, and all that is.

use super::*;

#[test]
fn broken_sections_are_reported_in_full() {
    let cases = [
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: ''\n",
            "line 3, column 17: tracing_service.exporter_url: empty: write for example \
             grpc://collector:4317",
            "not missing as well",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: tcp://h\n",
            "line 3, column 17: tracing_service.exporter_url: unknown scheme \"tcp\": use grpc, \
             grpcs, http, https, unix, http+unix or file",
            "refused at once, not at the first export",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: [::1]\n",
            "line 3, column 17: tracing_service.exporter_url: must be text (a URL that begins \
             with `[` needs quotes), not a list",
            "to YAML a bracket begins a list",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: 4317\n",
            "line 3, column 17: tracing_service.exporter_url: must be text, not 4317: put it in \
             quotes",
            "a number",
        ),
        (
            "tracing_service:\n  enable: yes\n  exporter_url: h\n",
            "line 2, column 3: tracing_service.enable: unknown key, did you mean `enabled`?",
            "a slip must not switch tracing off",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter-url: h\n",
            "line 3, column 3: tracing_service.exporter-url: unknown key, did you mean \
             `exporter_url`?",
            "a key with a near neighbour",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  colour: {a: b}\n",
            "line 4, column 3: tracing_service.colour: unknown key, known are enabled, \
             exporter_url, sampling_rate_per_million, ca_certs, https_keypairs, keypairs, \
             system_roots, server_name, headers, compression, timeout, connect_timeout, queue, \
             retry, concurrency, limits, service_name, resource_attributes, response_header, sampling_rules, remote_parent, \
             forced_sampling_per_second, request_headers, response_headers, \
             sensitive_headers, redacted_query_parameters, known_methods, \
             known_grpc_methods, trusted_proxies",
            "a key without one",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  7: x\n  true: x\n  [a]: x\n",
            "line 4, column 3: tracing_service: a key must be text, not 7: put it in quotes\n\
             line 5, column 3: tracing_service: a key must be text, not true: put it in quotes\n\
             line 6, column 3: tracing_service: a key must be text, not a list: put it in quotes",
            "keys of other kinds",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: -1\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not -1",
            "below the range",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: 1_000_001\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not 1000001",
            "above the range",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: 4294967296\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not 4294967296",
            "0 once cut to 32 bits",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: 0.5\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not 0.5",
            "meant as a ratio",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: 1e4\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not 10000.0",
            "a float, and shown as one",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: '1000001'\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not \"1000001\"",
            "digits above the range",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: 010\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not \"010\"",
            "8 to a reader of YAML 1.1",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: '+1'\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not \"+1\"",
            "digits only",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: ''\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not \"\"",
            "no digits",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: abc\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not \"abc\"",
            "a text",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  \
             sampling_rate_per_million: .inf\n",
            "line 4, column 30: tracing_service.sampling_rate_per_million: must be a whole \
             number from 0 to 1000000, not \".inf\"",
            "not an error of the YAML reader",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: https://h\n  ca_certs: /ca.pem\n",
            "line 4, column 13: tracing_service.ca_certs: must be a list of paths, not \
             \"/ca.pem\"",
            "a list only, as in Teleport",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: https://h\n  ca_certs:\n  - ''\n  \
             - 7\n  -\n  - [a]\n",
            "line 5, column 5: tracing_service.ca_certs[0]: must not be empty\n\
             line 6, column 5: tracing_service.ca_certs[1]: must be text, not 7: put it in \
             quotes\n\
             line 7, column 4: tracing_service.ca_certs[2]: must be text, not nothing\n\
             line 8, column 5: tracing_service.ca_certs[3]: must be text, not a list",
            "each item by itself",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: http://h\n  ca_certs: [/ca.pem]\n  \
             https_keypairs: [{key_file: /k, cert_file: /c}]\n",
            "line 4, column 3: tracing_service.ca_certs: has no use with an http URL, which \
             is never TLS: write https, or remove it\n\
             line 5, column 3: tracing_service.https_keypairs: has no use with an http \
             URL, which is never TLS: write https, or remove it",
            "in the spelling of the document",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: file:///d\n  \
             keypairs: [{key_file: /k, cert_file: /c}]\n",
            "line 4, column 3: tracing_service.keypairs: has no use with a file URL, which \
             makes no connection: remove it",
            "files need no certificates",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: https://h\n  \
             keypairs: [{key_file: /k, cert_file: /c}]\n  \
             https_keypairs: [{key_file: /k, cert_file: /c}]\n",
            "line 5, column 3: tracing_service.https_keypairs: `keypairs` is another spelling of \
             the same key: keep one of them",
            "even when they are equal",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: https://h\n  keypairs:\n  \
             - cert_file: /c\n  - key_file:\n    cert_file: 7\n    key: x\n  - /k\n",
            "line 5, column 5: tracing_service.keypairs[0].key_file: missing: a key pair needs \
             both files\n\
             line 6, column 5: tracing_service.keypairs[1].key_file: must be text, not nothing\n\
             line 7, column 16: tracing_service.keypairs[1].cert_file: must be text, not 7: put \
             it in quotes\n\
             line 8, column 5: tracing_service.keypairs[1].key: unknown key, did you mean \
             `key_file`?\n\
             line 9, column 5: tracing_service.keypairs[2]: must be a mapping with `key_file` \
             and `cert_file`, not \"/k\"",
            "each pair by itself",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: https://h\n  \
             keypairs: {key_file: /k, cert_file: /c}\n",
            "line 4, column 13: tracing_service.keypairs: must be a list of mappings with \
             `key_file` and `cert_file`, not a mapping",
            "a pair is not a list of pairs",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  service_name: 1.10\n",
            "line 4, column 17: tracing_service.service_name: must be text, not 1.1: put it in \
             quotes",
            "as a number it would lose its zero",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  service_name: ' '\n",
            "line 4, column 17: tracing_service.service_name: must not be empty",
            "a blank name",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  resource_attributes:\n    \
             service.name: x\n    '': x\n    a:\n    b: [1]\n    c: 9223372036854775808\n    \
             y: ok\n    1: x\n",
            "line 5, column 5: tracing_service.resource_attributes.service.name: the key \
             `service_name` of the section sets this attribute\n\
             line 6, column 5: tracing_service.resource_attributes.: the name of an attribute \
             must not be empty\n\
             line 7, column 5: tracing_service.resource_attributes.a: must be text, a number, \
             true or false, not nothing\n\
             line 8, column 8: tracing_service.resource_attributes.b: must be text, a number, \
             true or false, not a list\n\
             line 9, column 8: tracing_service.resource_attributes.c: must be an integer of 64 \
             bits with sign, or text, not 9223372036854775808\n\
             line 11, column 5: tracing_service.resource_attributes: a key must be text, not 1: \
             put it in quotes",
            "each attribute by itself",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  resource_attributes: [a]\n",
            "line 4, column 24: tracing_service.resource_attributes: must be a mapping of names \
             to values, not a list",
            "a list",
        ),
        (
            "tracing_service:\n  enabled: yes\n  exporter_url: h\n  response_header: trace\n",
            "line 4, column 20: tracing_service.response_header: must be one of server-timing, \
             traceresponse, off, not \"trace\"",
            "another word",
        ),
        (
            "tracing_service: yes\n",
            "line 1, column 18: tracing_service: must be a mapping of keys, not \"yes\"",
            "not a section",
        ),
        (
            "tracing_service:\n- enabled: yes\n",
            "line 2, column 3: tracing_service: must be a mapping of keys, not a list",
            "a dash too many",
        ),
        (
            "tracing_service:\n  response_header: 7\n  exporter_url: host:0\n  enabled: jes\n  \
             rate: 3\n",
            "line 2, column 20: tracing_service.response_header: must be one of server-timing, \
             traceresponse, off, not 7\n\
             line 3, column 17: tracing_service.exporter_url: \"0\" is not a port from 1 to \
             65535\n\
             line 4, column 12: tracing_service.enabled: must be one of yes, yeah, y, true, 1, on \
             or one of no, nope, n, false, 0, off, not \"jes\"\n\
             line 5, column 3: tracing_service.rate: unknown key, known are enabled, \
             exporter_url, sampling_rate_per_million, ca_certs, https_keypairs, keypairs, \
             system_roots, server_name, headers, compression, timeout, connect_timeout, queue, \
             retry, concurrency, limits, service_name, resource_attributes, response_header, sampling_rules, remote_parent, \
             forced_sampling_per_second, request_headers, response_headers, \
             sensitive_headers, redacted_query_parameters, known_methods, \
             known_grpc_methods, trusted_proxies",
            "several at once, in the order of the document",
        ),
        (
            "tracing_service:\n  enabled: no\n  enabled: yes\n",
            "line 3, column 3: tracing_service.enabled: the key is given twice",
            "on or off?",
        ),
        (
            "a: 1\na: 2\ntracing_service:\n  enabled: yes\n  exporter_url: g\n  \
             exporter_url: h\n  keypairs: [{key_file: /k, key_file: /l, cert_file: /c}]\n  \
             resource_attributes:\n    a: 1\n    a: 2\n",
            "line 6, column 3: tracing_service.exporter_url: the key is given twice\n\
             line 7, column 29: tracing_service.keypairs[0].key_file: the key is given twice\n\
             line 10, column 5: tracing_service.resource_attributes.a: the key is given twice",
            "in the section and below it, but not elsewhere",
        ),
        (
            "tracing_service: {}\ntracing_service: {}\n",
            "line 2, column 1: tracing_service: the key is given twice",
            "the section itself",
        ),
        (
            "tracing_service: {enabled: no}\ntracing_service: {enabled: 2}\ntracing_service: 3\n",
            "line 2, column 1: tracing_service: the key is given twice\n\
             line 3, column 1: tracing_service: the key is given twice",
            "whatever is in it",
        ),
        (
            "tracing-service:\n  enabled: yes\n",
            "line 1, column 1: tracing-service: unknown section, did you mean `tracing_service`?",
            "another naming style must not switch tracing off unnoticed",
        ),
        (
            "a: 1\nTracing_service:\n  enabled: yes\ntracingService: 1\n",
            "line 2, column 1: Tracing_service: unknown section, did you mean \
             `tracing_service`?\n\
             line 4, column 1: tracingService: unknown section, did you mean `tracing_service`?",
            "another case",
        ),
        (
            "tracingservice:\n",
            "line 1, column 1: tracingservice: unknown section, did you mean `tracing_service`?",
            "even if there is nothing in it",
        ),
        (
            "url: &url tcp://h\nbase: &base\n  colour: red\ntracing_service:\n  enabled: yes\n  \
             exporter_url: *url\n  <<: *base\n",
            "line 1, column 11: tracing_service.exporter_url: unknown scheme \"tcp\": use grpc, \
             grpcs, http, https, unix, http+unix or file\n\
             line 3, column 3: tracing_service.colour: unknown key, known are enabled, \
             exporter_url, sampling_rate_per_million, ca_certs, https_keypairs, keypairs, \
             system_roots, server_name, headers, compression, timeout, connect_timeout, queue, \
             retry, concurrency, limits, service_name, resource_attributes, response_header, sampling_rules, remote_parent, \
             forced_sampling_per_second, request_headers, response_headers, \
             sensitive_headers, redacted_query_parameters, known_methods, \
             known_grpc_methods, trusted_proxies",
            "the place to correct is at the anchor",
        ),
    ];
    for (yaml, message, reason) in cases {
        let error = read(yaml).expect_err(reason);
        assert_eq!(error.to_string(), message, "{yaml}: {reason}");
        assert_eq!(format!("{error:?}"), message, "for `?` in main");
    }
}
