use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::description::Destination;
use crate::config::exporter::{HeaderSource, Secret};
use crate::config::{ExporterUrl, LimitsConfig, QueueConfig};
use crate::sink::Compression;

#[test]
fn the_section_goes_before_the_variable_for_traces_the_general_one_and_the_default() {
    // Key, as configured, value of the variable for traces, of the general one; then what counts.
    type Row<'a> = (&'a str, fn(Config) -> Config, [&'a str; 2], [&'a str; 4]);
    let rows: [Row<'_>; 5] = [
        (
            "ENDPOINT",
            |it| it.exporter_url("grpc://code".parse().unwrap()),
            ["https://traces:1/x", "https://general:1"],
            [
                "exporter_url: grpc://code:4317",
                "exporter_url: https://traces:1/x",
                "exporter_url: https://general:1/v1/traces",
                "exporter_url: http://localhost:4318/v1/traces",
            ],
        ),
        (
            "HEADERS",
            |it| it.header("a", "1"),
            ["b=2", "c=3"],
            ["headers.a: hidden", "headers.b: hidden", "headers.c: hidden", ""],
        ),
        (
            "TIMEOUT",
            |it| it.timeout(Duration::from_secs(1)),
            ["2000", "3000"],
            ["timeout: 1s", "timeout: 2s", "timeout: 3s", "timeout: 10s"],
        ),
        (
            "COMPRESSION",
            |it| it.compression(Compression::None),
            ["gzip", "none"],
            ["compression: none", "compression: gzip", "compression: none", "compression: none"],
        ),
        (
            "CERTIFICATE",
            |it| it.ca_certs(["/code"]),
            ["/traces", "/general"],
            ["ca_certs: /code", "ca_certs: /traces", "ca_certs: /general", "ca_certs: none"],
        ),
    ];
    for (subject, configure, [for_traces, general], expected) in rows {
        let names = [
            format!("OTEL_EXPORTER_OTLP_TRACES_{subject}"),
            format!("OTEL_EXPORTER_OTLP_{subject}"),
        ];
        let [of_traces, of_all] = names.each_ref().map(String::as_str);
        let all = [(of_traces, for_traces), (of_all, general)];
        // With all of them, then with one less each time.
        let steps = [
            (true, &all[..], format!("configuration, over {of_traces}")),
            (false, &all[..], of_traces.to_owned()),
            (false, &all[1..], of_all.to_owned()),
            (false, &[], "default".to_owned()),
        ];
        for ((is_configured, variables, source), expected) in steps.into_iter().zip(expected) {
            let config = || match subject {
                "ENDPOINT" => Config::from_env(),
                _ => Config::new("grpcs://h".parse().unwrap()),
            };
            let config = if is_configured { configure(config()) } else { config() };
            let text = describe(config, variables);
            let (key, _) = expected.split_once(": ").unwrap_or(("headers", ""));
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            let expected =
                if expected.is_empty() { String::new() } else { format!("{expected} ({source})") };
            assert_eq!(line, expected, "{subject}");
        }
    }
}

#[test]
fn what_limits_a_span_or_a_batch_comes_from_the_same_places() {
    let variables = [
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "7"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "5"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "6"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "64"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    ];
    let config = || Config::new("h".parse().unwrap());
    let effective = effective(config(), &variables);
    let settings = effective.config.check().unwrap().unwrap();
    let options = settings.pipeline_options();
    assert_eq!((options.max_delay, options.batch.spans), (Duration::from_millis(200), 7));
    let limits = settings.span_limits();
    assert_eq!((limits.attributes, limits.attributes_per_link, limits.events), (5, 5, 6));
    assert_eq!((limits.value_length, limits.links), (64, 128));
    assert!(!settings.rate_is_missing());

    let configured = config()
        .queue(QueueConfig::default().max_delay(Duration::from_secs(2)))
        .limits(LimitsConfig::default().events_per_span(9))
        .sampling_rate_per_million(3);
    let text = describe(configured, &variables);
    for line in [
        "queue.max_delay: 2s (configuration, over OTEL_BSP_SCHEDULE_DELAY)",
        "queue.max_batch_spans: 7 (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)",
        "limits.events_per_span: 9 (configuration, over OTEL_SPAN_EVENT_COUNT_LIMIT)",
        "limits.attributes_per_event: 5 (OTEL_ATTRIBUTE_COUNT_LIMIT)",
        "sampling_rate_per_million: 3 (configuration, over OTEL_TRACES_SAMPLER)",
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
}

#[test]
fn tracing_is_on_when_the_closest_to_the_operator_says_so() {
    const OVER: &str = "the configuration switches tracing on, and goes before it";
    let section = || Config::new("h".parse().unwrap());
    let rows = [
        (section(), None, "enabled: yes (configuration)", "", "the section"),
        (section(), Some(DISABLED), "enabled: yes (configuration)", OVER, "and no variable"),
        (section(), Some(NO_EXPORTER), "enabled: yes (configuration)", OVER, "nor another"),
        (section().enabled(false), None, "enabled: no (configuration)", "", "off"),
        (Config::disabled(), Some(DISABLED), "enabled: no (configuration)", "", "off anyway"),
        (Config::from_env(), None, "enabled: yes (default)", "", "who asks for it wants it"),
        (Config::from_env(), Some(DISABLED), "enabled: no (OTEL_SDK_DISABLED)", "", "unless"),
        (Config::from_env(), Some(NO_EXPORTER), "enabled: no (OTEL_TRACES_EXPORTER)", "", "or"),
        (
            Config::from_env().enabled(true),
            Some(DISABLED),
            "enabled: yes (configuration)",
            OVER,
            "code goes before it",
        ),
        (Config::from_env().enabled(false), None, "enabled: no (configuration)", "", "here, too"),
    ];
    for (config, variable, expected, remark, reason) in rows {
        let text = describe(config, variable.as_slice());
        assert_eq!(text.lines().next(), Some(expected), "{reason}");
        let last = text.lines().last().unwrap_or_default();
        let remarked = last.split_once(" is ignored: ").map_or("", |(_, remark)| remark);
        assert_eq!(remarked, remark, "{reason}");
    }
}

#[test]
fn only_the_environment_has_a_default_exporter() {
    let section = || Config::disabled().enabled(true);
    let missing = section().with_environment(&|_| None, "").config.check().unwrap_err();
    assert_eq!(
        missing.to_string(),
        "tracing_service.exporter_url: missing, although tracing is enabled, and neither \
         OTEL_EXPORTER_OTLP_TRACES_ENDPOINT nor OTEL_EXPORTER_OTLP_ENDPOINT names one: write for \
         example grpc://collector:4317"
    );
    let useless = effective(
        section().exporter_url("h".parse().unwrap()),
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "h:1")],
    );
    assert_eq!(
        useless.remarks[0].to_string(),
        "OTEL_EXPORTER_OTLP_ENDPOINT is ignored: no scheme: write for example \
         http://collector:4318"
    );

    let url = |config, variables: &[_]| effective(config, variables).config.exporter_url.unwrap();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:1");
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let rows: [(ExporterUrl, &str, &str); 4] = [
        (url(section(), &[endpoint]), "http://h:1/v1/traces", "the section may leave it to them"),
        (url(Config::from_env(), &[]), "http://localhost:4318/v1/traces", "the default"),
        (url(Config::from_env(), &[grpc]), "grpc://localhost:4317", "that of gRPC"),
        (url(Config::from_env(), &[grpc, endpoint]), "grpc://h:1", "one that says it"),
    ];
    for (url, expected, reason) in rows {
        assert_eq!(url.to_string(), expected, "{reason}");
    }
}

#[test]
fn from_env_records_every_trace_and_a_section_none_unless_told() {
    const RATIO: [(&str, &str); 2] =
        [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.1")];
    let section = || Config::new("h".parse().unwrap());
    let rows = [
        (section(), &[][..], None, "Teleport's default, and a warning"),
        (section(), &RATIO[..], Some(100_000), "the variable"),
        (section().sampling_rate_per_million(5), &RATIO[..], Some(5), "the section goes before it"),
        (Config::from_env(), &[][..], Some(1_000_000), "OpenTelemetry's default"),
        (Config::from_env(), &RATIO[..], Some(100_000), "the variable"),
        (Config::from_env().sampling_rate_per_million(5), &RATIO[..], Some(5), "the setter"),
    ];
    for (config, variables, expected, reason) in rows {
        let config = effective(config, variables).config;
        assert_eq!(config.sampling_rate_per_million, expected, "{reason}");
        let settings = config.check().unwrap().unwrap();
        assert_eq!(settings.rate_is_missing(), expected.is_none(), "{reason}");
    }
}

#[test]
fn what_has_no_use_with_a_url_stays_where_it_is() {
    const HEADERS: (&str, &str) = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2");
    const CA: (&str, &str) = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem");
    const KEY: (&str, &str) = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem");
    const CERT: (&str, &str) = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem");
    const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    const PLAIN: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:1");
    let all = [
        HEADERS,
        CA,
        KEY,
        CERT,
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    let of = |url: &str| Config::new(url.parse().unwrap());

    let file = effective(of("file:///d"), &all);
    assert_eq!(file.config.exporter, Config::default().exporter, "nothing of it is taken");
    let ignored = file.remarks.iter().map(Remark::to_string).collect::<Vec<_>>();
    let names =
        ["HEADERS", "COMPRESSION", "TIMEOUT", "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"];
    let expected =
        names.map(|name| format!("OTEL_EXPORTER_OTLP_{name} is ignored: spans go to files"));
    assert_eq!(ignored, expected);
    file.config.check().unwrap().expect("no contradiction");

    // URL, whether it is plaintext although there are certificates in the environment.
    let rows = [
        (of("http://h"), &[CA, KEY, CERT][..], true, "never TLS"),
        (of("unix:///s"), &[CA, KEY, CERT], true, "nor is this"),
        (of("http+unix:///s"), &[CA, KEY, CERT], true, "nor this"),
        (of("https://h"), &[CA, KEY, CERT], false, "TLS"),
        (of("grpcs://h"), &[CA, KEY, CERT], false, "TLS"),
        (of("grpc://h"), &[CA, KEY, CERT], true, "a variable does not change what it means"),
        (of("grpc://h").ca_certs(["/own.pem"]), &[KEY, CERT], false, "TLS by the section's own"),
        (Config::from_env(), &[PLAIN, CA, KEY, CERT], true, "the scheme of a variable decides"),
        (Config::from_env(), &[GRPC, PLAIN, CA, KEY, CERT], true, "for gRPC as well"),
        (Config::from_env(), &[CA, KEY, CERT], true, "the default is plaintext"),
        (
            Config::from_env().ca_certs(["/own.pem"]),
            &[GRPC, PLAIN, KEY, CERT],
            false,
            "but not silently, when the program has certificates",
        ),
    ];
    for (config, variables, is_plaintext, reason) in rows {
        let effective = effective(config, variables);
        let settings = effective.config.check().unwrap().unwrap();
        assert_eq!(settings.uses_tls(), !is_plaintext, "{reason}");
        let pairs = effective.config.exporter.keypairs.len();
        assert_eq!(pairs, usize::from(!is_plaintext), "{reason}");
        let url = settings.exporter_url();
        let why = format!("is ignored: the connection to {url} is not encrypted");
        let ignored = effective.remarks.iter().map(Remark::to_string).collect::<Vec<_>>();
        let expected = [CA.0, CERT.0, KEY.0].map(|name| format!("{name} {why}"));
        assert_eq!(ignored, if is_plaintext { &expected[..] } else { &[] }, "{reason}");
    }
}

#[test]
fn the_scheme_of_a_configured_url_goes_before_the_protocol() {
    let rows = [
        ("grpc://h", "grpc", false, "the same"),
        ("unix:///s", "grpc", false, "the same"),
        ("https://h", "http/protobuf", false, "the same"),
        ("grpc://h", "http/protobuf", true, "another"),
        ("http+unix:///s", "grpc", true, "another"),
        ("file:///d", "grpc", true, "none"),
    ];
    for (url, protocol, is_ignored, reason) in rows {
        let config = Config::new(url.parse().unwrap());
        let effective = effective(config, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
        let remarks: Vec<_> = effective.remarks.iter().map(Remark::to_string).collect();
        let expected = "OTEL_EXPORTER_OTLP_PROTOCOL is ignored: the scheme of the configured \
                        `exporter_url` goes before it";
        assert_eq!(remarks, if is_ignored { vec![expected] } else { vec![] }, "{url}: {reason}");
        let shown = effective.config.exporter_url.unwrap().to_string();
        assert!(shown.starts_with(url), "{shown}");
    }
}

#[test]
fn headers_that_go_where_their_variables_did_not_mean_are_told_of() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let told = |url| {
        format!(
            "{HEADERS} goes to {url}, because the configured `exporter_url` goes before {ENDPOINT}"
        )
    };
    let of = |url: &str| Config::new(url.parse().unwrap());
    let rows = [
        (of("https://other"), "https://h", Some("https://other:4318/v1/traces"), "another host"),
        (of("grpcs://other"), "https://h", Some("grpcs://other:4317"), "another protocol, too"),
        (of("unix:///s"), "https://h", Some("unix:///s"), "no host"),
        (of("https://H:1/x"), "https://h:2", None, "the same host"),
        (of("https://other").header("a", "1"), "https://h", None, "headers of its own"),
        (of("file:///d"), "https://h", None, "no requests, which is told"),
        (of("https://h"), "", None, "no endpoint"),
        (Config::from_env(), "https://h", None, "what was meant"),
    ];
    for (config, endpoint, expected, reason) in rows {
        let effective = effective(config, &[(ENDPOINT, endpoint), (HEADERS, "a=hunter2")]);
        let remarks = effective.remarks.iter().map(Remark::to_string);
        let remarks: Vec<_> = remarks.filter(|it| it.contains(" goes to ")).collect();
        assert_eq!(remarks, expected.map(told).as_slice(), "{reason}");
    }
    let unusable = effective(of("https://h"), &[(ENDPOINT, "h"), (HEADERS, "a=hunter2")]);
    let remarks = unusable.remarks.iter().map(Remark::to_string).collect::<Vec<_>>();
    assert_eq!(remarks[1], told("https://h:4318/v1/traces"), "who knows what was meant");
}

#[test]
fn what_is_overridden_is_named() {
    let section = || Config::new("https://h".parse().unwrap());
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "h:1");
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    const URL: &str = "OTEL_EXPORTER_OTLP_INSECURE is ignored: the scheme of the configured \
                       `exporter_url` goes before it";
    const ALONE: &str = "OTEL_EXPORTER_OTLP_INSECURE is ignored: it is for an endpoint of gRPC \
                         without a scheme";
    const OVER: &str = "is ignored: the configuration switches tracing on, and goes before it";
    let off = [format!("OTEL_SDK_DISABLED {OVER}"), format!("OTEL_TRACES_EXPORTER {OVER}")];
    let rows = [
        (section(), &[insecure][..], &[URL][..], "beside a configured URL"),
        (Config::from_env(), &[insecure], &[ALONE], "alone"),
        (Config::from_env(), &[insecure, grpc], &[ALONE], "with the default of gRPC"),
        (Config::from_env(), &[insecure, grpc, bare], &[], "where it is meant"),
        (section(), &[DISABLED, NO_EXPORTER], &[&*off[0], &*off[1]], "both switches"),
    ];
    for (config, variables, expected, reason) in rows {
        let effective = effective(config, variables);
        let remarks: Vec<_> = effective.remarks.iter().map(Remark::to_string).collect();
        assert_eq!(remarks, expected, "{reason}");
    }
}

#[test]
fn a_list_is_of_one_place_only() {
    let config = Config::new("https://h".parse().unwrap()).header("a", "1").ca_certs(["/own"]);
    let variables =
        [("OTEL_EXPORTER_OTLP_HEADERS", "b=2"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/other")];
    let exporter = effective(config, &variables).config.exporter;
    let names: Vec<_> = exporter.headers.iter().map(|header| &*header.name).collect();
    assert_eq!(names, ["a"]);
    assert_eq!(exporter.headers[0].value, HeaderSource::Text(Secret("1".to_owned())));
    assert_eq!(exporter.ca_certs, [PathBuf::from("/own")]);
}

#[test]
fn a_timeout_that_connecting_alone_may_take_is_ignored() {
    let config = Config::new("h".parse().unwrap()).connect_timeout(Duration::from_secs(3));
    let timeout = |milliseconds, config| {
        let effective = effective(config, &[("OTEL_EXPORTER_OTLP_TIMEOUT", milliseconds)]);
        effective.config.check().unwrap().expect("no contradiction");
        (effective.config.exporter.timeout, effective.remarks.len())
    };
    assert_eq!(timeout("3000", config.clone()), (Some(Duration::from_secs(3)), 0));
    assert_eq!(timeout("2999", config.clone()), (None, 1));
    let configured = Some(Duration::from_secs(5));
    assert_eq!(timeout("2999", config.timeout(Duration::from_secs(5))), (configured, 0), "unused");
}

#[test]
fn the_name_closest_to_the_operator_wins() {
    const NAME: &str = "OTEL_SERVICE_NAME";
    const LIST: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let unnamed = || Config::new("h".parse().unwrap());
    let named = || unnamed().service_name("yaml");
    let rows = [
        (
            named(),
            &[(NAME, "env"), (LIST, "service.name=list")][..],
            "code",
            "yaml (configuration, over OTEL_SERVICE_NAME)",
        ),
        (
            named(),
            &[(LIST, "service.name=list")],
            "code",
            "yaml (configuration, over OTEL_RESOURCE_ATTRIBUTES)",
        ),
        (named(), &[], "code", "yaml (configuration)"),
        (
            unnamed(),
            &[(NAME, "env"), (LIST, "service.name=list")],
            "code",
            "env (OTEL_SERVICE_NAME)",
        ),
        (unnamed(), &[(LIST, "service.name=list")], "code", "list (OTEL_RESOURCE_ATTRIBUTES)"),
        (
            unnamed(),
            &[(NAME, ""), (LIST, "service.name=list")],
            "code",
            "list (OTEL_RESOURCE_ATTRIBUTES)",
        ),
        (unnamed(), &[(NAME, " \t"), (LIST, "service.name=%20")], "code", "code (given at start)"),
        (unnamed(), &[], " a ", " a  (given at start)"),
        (unnamed(), &[], "\n", "unknown_service (default)"),
    ];
    for (config, variables, given, expected) in rows {
        let effective = effective_of(config, variables, given);
        let text = description(&effective);
        let line = text.lines().find(|line| line.starts_with("service_name")).unwrap();
        // This test is a program with a name of its own.
        let program = env::executable_name().unwrap_or_default();
        let line = line.replace(&format!("unknown_service:{program}"), "unknown_service");
        assert_eq!(line, format!("service_name: {expected}"), "{variables:?} {given:?}");
    }
}

fn effective(config: Config, variables: &[(&str, &str)]) -> Effective {
    effective_of(config, variables, "shop")
}

fn effective_of(config: Config, variables: &[(&str, &str)], service_name: &str) -> Effective {
    let variables = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.into())
    };
    config.with_environment(&variables, service_name)
}

fn describe(config: Config, variables: &[(&str, &str)]) -> String {
    description(&effective(config, variables))
}

fn description(effective: &Effective) -> String {
    let settings = effective.config.check().unwrap();
    effective.describe(settings, Destination::Exporter).to_string()
}

type Config = TracingServiceConfig;

const DISABLED: (&str, &str) = ("OTEL_SDK_DISABLED", "true");
const NO_EXPORTER: (&str, &str) = ("OTEL_TRACES_EXPORTER", "none");
