use proptest::prelude::*;

use super::*;
use crate::config::exporter::{HeaderSource, Secret};

#[test]
fn each_variable_says_one_thing() {
    type Row = (&'static str, &'static str, fn(&mut Environment, &'static str), &'static str);
    let rows: [Row; 54] = [
        ("OTEL_SDK_DISABLED", "true", |it, by| it.off = vec![by], "off"),
        ("OTEL_SDK_DISABLED", "TRUE", |it, by| it.off = vec![by], "in any case"),
        ("OTEL_SDK_DISABLED", "false", |_, _| {}, "on"),
        ("OTEL_SDK_DISABLED", " ", |_, _| {}, "blank is unset"),
        ("OTEL_TRACES_EXPORTER", "none", |it, by| it.off = vec![by], "off"),
        ("OTEL_TRACES_EXPORTER", "OTLP", |_, _| {}, "the one there is"),
        ("OTEL_PROPAGATORS", "baggage, TraceContext", |_, _| {}, "those there are"),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            |it, by| it.protocol = found(by, Protocol::Grpc),
            "gRPC",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "HTTP/protobuf",
            |it, by| it.protocol = found(by, Protocol::Http),
            "HTTP",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://h:4318",
            |it, by| it.endpoint = found(by, Ok(url("http://h:4318/v1/traces"))),
            "a base, and HTTP by default",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "https://h/otlp\n",
            |it, by| it.endpoint = found(by, Ok(url("https://h:443/otlp"))),
            "as it is, but for a line break that came with it",
        ),
        (
            "OTEL_EXPORTER_OTLP_INSECURE",
            "true",
            |it, by| it.idle_insecure = Some(by),
            "nothing to be insecure about",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "api-key=a%20b=,X-Tenant = 7 ,,api-key=c;d",
            |it, by| {
                it.headers = found(by, vec![header("x-tenant", "7"), header("api-key", "c;d")])
            },
            "decoded, the last of a name, and no metadata",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "authorization=Basic%20YTpi%3D%3d",
            |it, by| it.headers = found(by, vec![header("authorization", "Basic YTpi==")]),
            "decoded in either case",
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "GZip",
            |it, by| it.compression = found(by, Compression::Gzip),
            "in any case",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            "none",
            |it, by| it.compression = found(by, Compression::None),
            "a word, and not unset",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "1500",
            |it, by| it.timeout = found(by, Duration::from_millis(1500)),
            "milliseconds",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            " 3600000 ",
            |it, by| it.timeout = found(by, Duration::from_secs(3600)),
            "the longest",
        ),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "/ca.pem",
            |it, by| it.ca_cert = found(by, "/ca.pem".into()),
            "a file",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            "/a b ",
            |it, by| it.ca_cert = found(by, "/a b ".into()),
            "whatever it is called",
        ),
        (
            "OTEL_TRACES_SAMPLER",
            "parentbased_always_on",
            |it, by| it.rate = found(by, MILLION),
            "all",
        ),
        ("OTEL_TRACES_SAMPLER", "ParentBased_Always_Off", |it, by| it.rate = found(by, 0), "none"),
        (
            "OTEL_TRACES_SAMPLER",
            "parentbased_traceidratio",
            |it, by| it.rate = found(by, MILLION),
            "all, without an argument",
        ),
        (
            "OTEL_BSP_SCHEDULE_DELAY",
            "200",
            |it, by| it.max_delay = found(by, Duration::from_millis(200)),
            "milliseconds",
        ),
        (
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            "512",
            |it, by| it.max_batch_spans = found(by, 512),
            "spans",
        ),
        (
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "5",
            |it, by| it.limits.attributes_per_span = found(by, 5),
            "of the span only",
        ),
        (
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "0",
            |it, by| it.limits.attributes_per_event = found(by, 0),
            "none at all",
        ),
        (
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
            "10000",
            |it, by| it.limits.attributes_per_link = found(by, 10_000),
            "the most",
        ),
        (
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "7",
            |it, by| {
                it.limits.attributes_per_span = found(by, 7);
                it.limits.attributes_per_event = found(by, 7);
                it.limits.attributes_per_link = found(by, 7);
            },
            "of all that have attributes",
        ),
        (
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "6",
            |it, by| it.limits.events_per_span = found(by, 6),
            "events",
        ),
        (
            "OTEL_SPAN_LINK_COUNT_LIMIT",
            "6",
            |it, by| it.limits.links_per_span = found(by, 6),
            "links",
        ),
        (
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "64",
            |it, by| it.limits.value_length = found(by, 64),
            "bytes",
        ),
        (
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "65",
            |it, by| it.limits.value_length = found(by, 65),
            "bytes",
        ),
        (
            "OTEL_SERVICE_NAME",
            "my shop",
            |it, by| it.service_name = found(by, "my shop".to_owned()),
            "a name",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "a=b",
            |it, by| it.resource_attributes = found(by, vec![KeyValue::new("a", "b")]),
            "attributes",
        ),
        // What follows is ignored, or not taken to the letter.
        (
            "OTEL_SDK_DISABLED",
            "yes",
            |it, by| it.says(by, "is taken as false: must be one of true, false, not \"yes\""),
            "only `true` disables",
        ),
        (
            "OTEL_TRACES_EXPORTER",
            "otlp,console,none",
            |it, by| {
                it.says(by, "is taken as otlp: there is no exporter \"console\", \"none\" here");
            },
            "a list",
        ),
        (
            "OTEL_PROPAGATORS",
            "tracecontext,b3",
            |it, by| {
                it.says(by, "is ignored: requests are read as tracecontext and baggage, not \"b3\"")
            },
            "another one",
        ),
        (
            "OTEL_PROPAGATORS",
            "tracecontext",
            |it, by| it.says(by, "is ignored: requests are read as tracecontext and baggage"),
            "one is missing",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            |it, by| {
                it.protocol = found(by, Protocol::Http);
                it.says(by, "is taken as http/protobuf: spans are sent as protobuf only");
            },
            "close to it",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "thrift",
            |it, by| {
                it.says(
                    by,
                    "is ignored: must be one of grpc, http/protobuf, http/json, not \"thrift\"",
                );
            },
            "unknown",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "https://me:hunter2@h",
            |it, by| {
                let wrong = "a user name or password (the part before `@`) is not supported: \
                             remove it, or write %40 if the `@` is part of a path";
                it.endpoint = found(by, Err(wrong.to_owned()));
            },
            "a secret, which is not shown",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
            "1",
            |it, by| {
                it.idle_insecure = Some(by);
                it.says(by, "is taken as false: must be one of true, false, not \"1\"");
            },
            "only `true` is",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=b,hunter2",
            |it, by| {
                it.says(
                    by,
                    "is ignored: item 2 is not name=value (a comma in a value must be written as \
                     %2C)",
                );
            },
            "what may be a secret is not quoted, and all of it is spoilt",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "te=trailers",
            |it, by| {
                it.says(
                    by,
                    "is ignored: item 1 cannot be used: te is set by the exporter itself: remove it",
                );
            },
            "the protocol's own",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "token=hunter2%0A%0Ahunter2",
            |it, by| {
                it.says(
                    by,
                    "is ignored: item 1 (token) must be one line of printable ASCII characters",
                );
            },
            "a line break inside",
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zstd",
            |it, by| it.says(by, "is ignored: must be one of none, gzip, not \"zstd\""),
            "unknown",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "0",
            |it, by| it.says(by, "is ignored: must be from 1ms to 1h, not 0s"),
            "no time",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "10s",
            |it, by| it.says(by, "is ignored: must be a whole number, not \"10s\""),
            "a unit",
        ),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "/key.pem",
            |it, by| {
                it.says(
                    by,
                    "is ignored: it is of no use without OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                );
            },
            "half a pair",
        ),
        (
            "OTEL_TRACES_SAMPLER",
            "jaeger_remote",
            |it, by| it.says(by, "is ignored: there is no sampler \"jaeger_remote\" here"),
            "somebody else's",
        ),
        (
            "OTEL_TRACES_SAMPLER_ARG",
            "0.5",
            |it, by| it.says(by, "is ignored: OTEL_TRACES_SAMPLER names no sampler that takes it"),
            "an argument alone",
        ),
        (
            "OTEL_SPAN_LINK_COUNT_LIMIT",
            "10001",
            |it, by| it.says(by, "is ignored: must be from 0 to 10000, not 10001"),
            "too many",
        ),
        (
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "-1",
            |it, by| it.says(by, "is ignored: must be a whole number, not \"-1\""),
            "said once, though it is for three",
        ),
    ];
    for (variable, value, change, reason) in rows {
        let mut expected = Environment::default();
        change(&mut expected, variable);
        assert_eq!(read_of(&[(variable, value)]), expected, "{variable}={value}: {reason}");
    }
}

#[test]
fn what_is_never_obeyed_is_named() {
    for (variable, reason) in NEVER {
        let expected = [Remark::ignored(variable, reason)];
        assert_eq!(read_of(&[(variable, "1")]).remarks, expected);
        assert_eq!(read_of(&[(variable, "")]).remarks, [], "{variable} is unset");
    }
}

#[test]
fn variables_that_belong_together_are_read_together() {
    const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const INSECURE: &str = "OTEL_EXPORTER_OTLP_INSECURE";
    let grpc = |endpoint, insecure| {
        let variables = [(PROTOCOL, "grpc"), (ENDPOINT, endpoint), (INSECURE, insecure)];
        let environment = read_of(&variables);
        let remarks: Vec<_> = environment.remarks.iter().map(Remark::to_string).collect();
        (environment.endpoint.map(|it| it.value.unwrap().to_string()), remarks.join(", "))
    };
    let scheme = format!("{INSECURE} is ignored: the scheme in {ENDPOINT} says otherwise");
    let rows = [
        ("h:1", "true", "grpc://h:1", "", "no scheme, and it says so"),
        ("h:1", "false", "grpcs://h:1", "", "no scheme, and it says not"),
        ("h:1", "", "grpcs://h:1", "", "secure by default"),
        ("http://h:1", "false", "grpc://h:1", "", "a scheme decides"),
        ("https://h:1", "true", "grpcs://h:1", &*scheme, "either way"),
        ("unix:///s", "", "unix:///s", "", "as gRPC clients have it"),
    ];
    for (endpoint, insecure, url, remark, reason) in rows {
        let expected = (Some(url.to_owned()), remark.to_owned());
        assert_eq!(grpc(endpoint, insecure), expected, "{endpoint}: {reason}");
    }

    let overridden = [
        (PROTOCOL, "grpc"),
        (ENDPOINT, "h:1"),
        (INSECURE, "true"),
        ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false"),
    ];
    let url = read_of(&overridden).endpoint.unwrap().value.unwrap().to_string();
    assert_eq!(url, "grpcs://h:1", "the switch for traces goes before the general one");

    const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
    const KEY_OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY";
    const CERT: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    const CERT_OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE";
    let rows = [
        (&[(KEY, "/k"), (CERT, "/c")][..], (KEY, "/k"), (CERT, "/c"), "the general pair"),
        (
            &[(KEY, "/k"), (CERT, "/c"), (KEY_OF_TRACES, "/tk"), (CERT_OF_TRACES, "/tc")],
            (KEY_OF_TRACES, "/tk"),
            (CERT_OF_TRACES, "/tc"),
            "that for traces goes before it",
        ),
        (
            &[(KEY, "/k"), (CERT, "/c"), (KEY_OF_TRACES, "/tk")],
            (KEY_OF_TRACES, "/tk"),
            (CERT, "/c"),
            "each for itself",
        ),
    ];
    for (variables, key, cert, reason) in rows {
        let pair = read_of(variables);
        let [key_file, cert_file] =
            [key, cert].map(|(variable, file)| Found { value: file.into(), variable });
        assert_eq!(pair.keypair, Some(FoundPair { cert_file, key_file }), "{reason}");
        assert_eq!(pair.remarks, [], "{reason}");
    }
}

#[test]
fn a_sampler_becomes_a_rate() {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    const ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
    const KEPT: &str = "a caller's decision is kept";
    let rows = [
        ("parentbased_traceidratio", "0.25", 250_000, ARG, "", "a ratio"),
        ("parentbased_traceidratio", "0", 0, ARG, "", "none"),
        ("parentbased_traceidratio", "1.0", 1_000_000, ARG, "", "all"),
        ("parentbased_traceidratio", "1e-6", 1, ARG, "", "the least"),
        (
            "parentbased_traceidratio",
            "0.999999",
            999_999,
            ARG,
            "",
            "a fraction not exact in binary",
        ),
        (
            "parentbased_traceidratio",
            "0.0000016",
            2,
            ARG,
            "OTEL_TRACES_SAMPLER_ARG is taken as 2 of a million: rates are whole numbers of a \
             million",
            "between two rates",
        ),
        (
            "parentbased_traceidratio",
            "1.5",
            1_000_000,
            SAMPLER,
            "OTEL_TRACES_SAMPLER_ARG is ignored: must be a number from 0 to 1, not \"1.5\"",
            "too much: as if it were not there",
        ),
        (
            "parentbased_traceidratio",
            "NaN",
            1_000_000,
            SAMPLER,
            "OTEL_TRACES_SAMPLER_ARG is ignored: must be a number from 0 to 1, not \"NaN\"",
            "no number",
        ),
        (
            "parentbased_always_off",
            "0.5",
            0,
            SAMPLER,
            "OTEL_TRACES_SAMPLER_ARG is ignored: parentbased_always_off takes none",
            "an argument too many",
        ),
        (
            "traceidratio",
            "0.5",
            500_000,
            ARG,
            &format!("{SAMPLER} is taken as parentbased_traceidratio: {KEPT}"),
            "a sampler that would ask no caller",
        ),
        (
            "always_on",
            "",
            1_000_000,
            SAMPLER,
            &format!("{SAMPLER} is taken as parentbased_always_on: {KEPT}"),
            "another",
        ),
        (
            "always_off",
            "",
            0,
            SAMPLER,
            &format!("{SAMPLER} is taken as parentbased_always_off: {KEPT}"),
            "another",
        ),
    ];
    for (sampler, argument, rate, by, remark, reason) in rows {
        let environment = read_of(&[(SAMPLER, sampler), (ARG, argument)]);
        assert_eq!(environment.rate, found(by, rate), "{sampler} {argument}: {reason}");
        let remarks: Vec<_> = environment.remarks.iter().map(Remark::to_string).collect();
        assert_eq!(remarks.join(", "), remark, "{sampler} {argument}: {reason}");
    }
}

#[test]
fn the_variable_for_traces_goes_before_the_general_one_unless_it_is_of_no_use() {
    let rows = [
        // One that is of no use does not make way for the other.
        ("ENDPOINT", "http://a", "http://b", ""),
        ("PROTOCOL", "grpc", "http/protobuf", "x"),
        ("HEADERS", "a=1", "a=2", "x"),
        ("COMPRESSION", "gzip", "none", "x"),
        ("TIMEOUT", "1", "2", "x"),
        ("CERTIFICATE", "/a", "/b", ""),
    ];
    for (subject, value, other, useless) in rows {
        let names = [
            format!("OTEL_EXPORTER_OTLP_TRACES_{subject}"),
            format!("OTEL_EXPORTER_OTLP_{subject}"),
        ];
        let [for_traces, general] = names.each_ref().map(String::as_str);
        let alone = |name, value| Environment { remarks: Vec::new(), ..read_of(&[(name, value)]) };
        let both = |one, two| {
            let read = read_of(&[(for_traces, one), (general, two)]);
            Environment { remarks: Vec::new(), ..read }
        };
        assert_eq!(both(value, other), alone(for_traces, value), "{subject}");
        assert_eq!(both("", other), alone(general, other), "{subject}: an empty one is unset");
        assert_eq!(both(useless, other), alone(general, other), "{subject}: a useless one is, too");
        assert_ne!(both(value, other), both(other, value), "{subject}: or this proves nothing");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;

    for variable in VARIABLES {
        let environment =
            read(&|name| (name == variable).then(|| OsString::from_vec(b"hunter2\xff".to_vec())));
        let wrong = "it is not Unicode";
        let mut expected = Environment::default();
        if ENDPOINT.contains(&variable) {
            expected.endpoint = found(variable, Err(wrong.to_owned()));
        } else {
            expected.remarks = vec![Remark::ignored(variable, wrong)];
        }
        assert_eq!(environment, expected, "{variable}");
    }
}

proptest! {
    /// Values are what people write, or nearly so, or anything.
    #[test]
    fn no_value_passes_without_an_effect_or_a_word(
        variable in prop::sample::select(&VARIABLES[..]),
        value in prop_oneof![
            any::<String>(),
            "[-+]?[0-9]{0,24}[.e%s]?[0-9]{0,3}",
            "(https?|grpc|file|unix|x)?(://)?[a-zé:@/%0-9?#\\[\\]]{0,12}",
            "([a-z ]{0,5}=?[a-zA-Z%0-9\" ;]{0,6},?){0,4}",
            "(parentbased_)?(always_on|traceidratio|otlp|none|gzip|grpc|http/json|true|b3)",
        ],
    ) {
        let environment = read_of(&[(variable, &value)]);
        let is_named = environment.remarks.iter().any(|remark| remark.variable == variable);
        prop_assert!(environment.remarks.iter().all(|remark| remark.variable == variable));
        let says = value.trim().to_ascii_lowercase();
        let is_blank = says.chars().all(|c| c == ',' || c.is_whitespace());
        // The words that change nothing, because that is how it is anyway.
        let is_usual = match variable {
            "OTEL_SDK_DISABLED" => says == "false",
            "OTEL_TRACES_EXPORTER" => says.split(',').all(|it| matches!(it.trim(), "otlp" | "")),
            _ => variable.ends_with("_INSECURE") && matches!(&*says, "true" | "false"),
        };
        let has_effect = Environment { remarks: Vec::new(), ..environment } != Environment::default();
        prop_assert!(is_named || has_effect || is_blank || is_usual, "{variable}={value:?}");
    }
}

impl Environment {
    fn says(&mut self, variable: &'static str, says: &str) {
        self.remarks.push(Remark { variable, says: says.to_owned() });
    }
}

fn read_of(variables: &[(&str, &str)]) -> Environment {
    read(&|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.into())
    })
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with is optional")]
fn found<T>(variable: &'static str, value: T) -> Option<Found<T>> {
    Some(Found { value, variable })
}

fn url(text: &str) -> ExporterUrl {
    text.parse().unwrap()
}

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: HeaderSource::Text(Secret(value.to_owned())) }
}

const MILLION: u32 = 1_000_000;

const VARIABLES: [&str; 36] = [
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_PROPAGATORS",
    "OTEL_CONFIG_FILE",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];
