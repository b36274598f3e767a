use std::collections::HashMap;
use std::num::NonZeroUsize;

use http::HeaderName;
#[cfg(feature = "_client")]
use http::HeaderValue;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, MapDeserializer};

use super::*;
use crate::pipeline::{BatchLimits, PipelineOptions, RetryPolicy, WhenFull};
use crate::sampling::{Sampling, SamplingRate};
#[cfg(feature = "_client")]
use crate::sink::{Compression, TlsOptions};

fn health_checks() -> SamplingRule {
    SamplingRule::new(SamplingRate::NEVER).path_prefix("/healthz")
}

fn orders() -> SamplingRule {
    SamplingRule::new(SamplingRate::ALWAYS).method("POST").route("/orders/{id}")
}

fn url(text: &str) -> ExporterUrl {
    text.parse().unwrap()
}

#[test]
fn settings_written_in_code_arrive() {
    let config = TracingServiceConfig::new(url("https://collector"))
        .sampling_rate_per_million(1_000_000)
        .service_name("checkout")
        .resource_attribute(KeyValue::new("team", "a"))
        .resource_attributes([KeyValue::new("zone", 7), KeyValue::new("team", "b")])
        .response_header(ResponseHeader::TraceResponse)
        .sampling_rule(health_checks())
        .sampling_rule(orders())
        .remote_parent(RemoteParent::Link)
        .forced_sampling_per_second(NonZeroU32::MIN)
        .capture(Capture::default().known_methods(["GET"]))
        .trusted_proxies(["10.0.0.0/8".parse().unwrap()])
        .trusted_proxies(["::1".parse().unwrap()])
        .ca_certs(["/ca.pem"])
        .ca_certs(["/other.pem"])
        .keypair("/key.pem", "/cert.pem");
    let settings = config.check().unwrap().unwrap();
    assert_eq!(settings.exporter_url(), &url("https://collector:4318/v1/traces"));
    assert!(!settings.rate_is_missing());
    assert_eq!(settings.service_name(), Some("checkout"));
    assert_eq!(
        settings.resource_attributes(),
        [KeyValue::new("zone", 7), KeyValue::new("team", "b")],
        "the later one of a name stands"
    );
    assert_eq!(settings.response_header(), ResponseHeader::TraceResponse);
    assert_eq!(
        settings.sampling(),
        Sampling::new(SamplingRate::ALWAYS).rule(health_checks()).rule(orders())
    );
    assert_eq!(settings.remote_parent(), RemoteParent::Link);
    assert_eq!(settings.forced_sampling_per_second(), Some(NonZeroU32::MIN));
    assert_eq!(settings.capture(), &Capture::default().known_methods(["GET"]));
    assert_eq!(
        settings.trusted_proxies(),
        ["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap())
    );
}

#[test]
fn settings_of_the_pipeline_fill_in_what_is_left_out() {
    let options = |config: TracingServiceConfig| {
        format!("{:?}", config.check().unwrap().unwrap().pipeline_options())
    };
    let default = PipelineOptions::default;
    let config = || TracingServiceConfig::new(url("h"));
    let second = Duration::from_secs;
    let cases = [
        (config(), default(), "nothing is written"),
        (
            config()
                .queue(
                    QueueConfig::default()
                        .max_bytes(8 << 20)
                        .max_batch_spans(7)
                        .max_batch_bytes(1 << 20)
                        .max_delay(second(2))
                        .when_full(WhenFull::DropOldest),
                )
                .retry(
                    RetryConfig::default()
                        .initial(second(1))
                        .max(second(2))
                        .give_up_after(Duration::ZERO),
                )
                .concurrency(3),
            PipelineOptions {
                max_bytes: 8 << 20,
                when_full: WhenFull::DropOldest,
                batch: BatchLimits { spans: 7, bytes: 1 << 20 },
                max_delay: second(2),
                concurrency: NonZeroUsize::new(3).unwrap(),
                retry: RetryPolicy { initial: second(1), max: second(2), give_up_after: second(0) },
            },
            "all of it is",
        ),
        (
            config().queue(QueueConfig::default().max_bytes(1 << 20)),
            PipelineOptions {
                max_bytes: 1 << 20,
                batch: BatchLimits { bytes: 1 << 20, ..default().batch },
                ..default()
            },
            "a request is not larger than all there is",
        ),
        (
            config().retry(RetryConfig::default().max(Duration::from_millis(1))),
            PipelineOptions {
                retry: RetryPolicy {
                    initial: Duration::from_millis(1),
                    max: Duration::from_millis(1),
                    ..default().retry
                },
                ..default()
            },
            "nor the first pause longer than the longest",
        ),
    ];
    for (config, expected, reason) in cases {
        assert_eq!(options(config), format!("{expected:?}"), "{reason}");
    }
    assert_eq!(
        (default().batch.bytes, default().retry.give_up_after),
        (4_128_768, second(300)),
        "as documented"
    );
}

#[cfg(feature = "_client")]
#[test]
fn settings_of_requests_fill_in_what_is_left_out() {
    let variables = |name: &str| (name == "TOKEN").then(|| " hunter2 ".into());
    let options =
        |config: &TracingServiceConfig| config.check().unwrap().unwrap().export_options(&variables);
    let config = TracingServiceConfig::new(url("https://h"))
        .header("X-A", "1")
        .header("x-b", "2")
        .header("x-a", "3")
        .header_from_env("authorization", "TOKEN")
        .compression(Compression::Gzip)
        .timeout(Duration::from_secs(2))
        .server_name("::1");
    let found = options(&config).unwrap();
    let pairs: Vec<_> = found
        .requests
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let expected: [(&str, &[u8]); 3] =
        [("x-b", b"2"), ("x-a", b"3"), ("authorization", b"hunter2")];
    assert_eq!(pairs, expected, "the later one of a name stands");
    assert!(found.requests.headers.values().all(HeaderValue::is_sensitive));
    assert!(!format!("{found:?}").contains("hunter2"));
    assert_eq!(found.compression, Compression::Gzip);
    assert_eq!(found.requests.timeout, Duration::from_secs(2));
    assert_eq!(found.connect_timeout, Duration::from_secs(2), "no longer than the whole");
    let tls = TlsOptions {
        system_roots: true,
        server_name: Some("::1".to_owned()),
        ..TlsOptions::default()
    };
    assert_eq!(found.tls, Some(tls), "without authorities of its own, the system's");

    let own = TracingServiceConfig::new(url("grpcs://h")).ca_certs(["/ca"]);
    let roots = |config: &TracingServiceConfig| options(config).unwrap().tls.unwrap().system_roots;
    assert!(!roots(&own), "those that are written are the only ones");
    assert!(roots(&own.system_roots(true)), "unless the system's are wanted, too");

    for text in ["unix:/run/o", "http+unix:///run/o"] {
        let found = options(&TracingServiceConfig::new(url(text))).unwrap();
        assert_eq!(found.unix_socket, Some("/run/o".into()), "{text}");
        assert_eq!(found.tls, None, "{text}");
    }

    let wrong = TracingServiceConfig::new(url("h"))
        .header_from_env("X-A", "UNSET")
        .header_from_env("x-b", "TOKEN")
        .header_from_file("x-c", "/nonexistent");
    assert_eq!(
        options(&wrong).unwrap_err().to_string(),
        "tracing_service.headers.x-a: the environment variable UNSET is not set\n\
         tracing_service.headers.x-c: /nonexistent cannot be read: No such file or directory \
         (os error 2)"
    );
}

#[test]
fn defaults_are_teleports() {
    assert_eq!(TracingServiceConfig::default(), TracingServiceConfig::disabled());
    assert!(TracingServiceConfig::default().check().unwrap().is_none());

    let config = TracingServiceConfig::new(url("collector"));
    let settings = config.check().unwrap().unwrap();
    assert_eq!(settings.sampling(), Sampling::new(SamplingRate::NEVER));
    assert!(settings.rate_is_missing());
    assert_eq!(settings.service_name(), None);
    assert_eq!(settings.response_header(), ResponseHeader::ServerTiming);
    assert_eq!(settings.sampling(), Sampling::new(SamplingRate::NEVER));
    assert_eq!(settings.remote_parent(), RemoteParent::Trust);
    assert_eq!(settings.forced_sampling_per_second(), None);
    assert_eq!(settings.capture(), &Capture::default());
    assert_eq!(settings.trusted_proxies(), []);
}

#[test]
fn a_rate_is_missing_when_nothing_says_what_to_record() {
    let config = || TracingServiceConfig::new(url("collector"));
    let cases = [
        (config(), true, "nothing"),
        (config().sampling_rate_per_million(0), false, "a rate of zero is meant"),
        (config().sampling_rule(orders()), false, "a rule does, and the rest is not to be"),
        (config().sampling_rule(health_checks()), true, "a rule that only says what not to"),
        (config().sampling_rule(health_checks()).sampling_rule(orders()), false, "one of two"),
        (config().sampling_rule(health_checks()).sampling_rate_per_million(1), false, "a rate"),
    ];
    for (config, expected, reason) in cases {
        assert_eq!(config.check().unwrap().unwrap().rate_is_missing(), expected, "{reason}");
    }
}

#[test]
fn tls_follows_the_scheme_and_for_grpc_the_certificates() {
    let cases = [
        ("grpc://h", false, false, "plaintext"),
        ("grpc://h", true, true, "certificates add TLS, as in Teleport"),
        ("grpcs://h", false, true, "system roots"),
        ("grpcs://h", true, true, "own roots"),
        ("http://h", false, false, "never"),
        ("https://h", false, true, "system roots: Teleport would send plaintext"),
        ("https://h", true, true, "own roots"),
        ("file:///d", false, false, "no connection"),
    ];
    for (text, with_certificates, expected, reason) in cases {
        let certificates: &[&str] = if with_certificates { &["/ca.pem"] } else { &[] };
        let config = TracingServiceConfig::new(url(text)).ca_certs(certificates);
        let settings = config.check().unwrap().unwrap();
        assert_eq!(settings.uses_tls(), expected, "{text}: {reason}");
    }
}

#[test]
fn contradictions_in_code_read_as_in_documents() {
    let no_url = TracingServiceConfig::disabled().enabled(true);
    let http = TracingServiceConfig::new(url("http://h")).ca_certs(["/ca.pem"]).keypair("/k", "/c");
    let file = TracingServiceConfig::new(url("file:///d")).keypair("/k", "/c");
    let names = TracingServiceConfig::new(url("h"))
        .sampling_rate_per_million(1_000_001)
        .service_name(" ")
        .resource_attribute(KeyValue::new("", 1))
        .resource_attribute(KeyValue::new("service.name", "x"));
    let rule = |per_million: u32| SamplingRule::new(per_million.try_into().unwrap());
    let rules = [
        rule(0),
        rule(1).method("GET").path_prefix("/a"),
        rule(2).path_prefix("/a/b").method("GET"),
        rule(1).path_prefix("/a/c").method("GET"),
        rule(2).method("get").path_prefix("a").route(" ").grpc_service("/x"),
    ]
    .into_iter()
    .fold(TracingServiceConfig::new(url("h")), TracingServiceConfig::sampling_rule);
    let shown = Capture::default()
        .request_headers(["x-a", "cookie"].map(HeaderName::from_static))
        .response_headers(["x-a-bin"].map(HeaderName::from_static))
        .redacted_query_parameters(["sig", ""])
        .known_methods(["GET", "a b"])
        .known_grpc_methods(["/x"]);
    let shown = TracingServiceConfig::new(url("h")).capture(shown);
    let second = Duration::from_secs(1);
    let exporter = TracingServiceConfig::new(url("https://h"))
        .header("a b", "hunter2")
        .header("Host", "hunter2")
        .header("x-a", "hunter2\n.")
        .header("x-b", " ")
        .header_from_file("x-c", "")
        .header_from_env("x-d", "A=hunter2")
        .header_from_env("x-e", "Bearer hunter2")
        .header_from_file("x-f", "Bearer hunter2")
        .server_name("a b")
        .system_roots(false)
        .timeout(Duration::ZERO)
        .connect_timeout(Duration::MAX);
    let pipeline = TracingServiceConfig::new(url("h"))
        .timeout(second)
        .connect_timeout(2 * second)
        .queue(
            QueueConfig::default()
                .max_bytes(usize::MAX)
                .max_batch_spans(0)
                .max_batch_bytes(0)
                .max_delay(Duration::ZERO),
        )
        .retry(
            RetryConfig::default()
                .initial(2 * second)
                .max(second)
                .give_up_after(Duration::from_secs(86_401)),
        )
        .concurrency(0)
        .limits(LimitsConfig::default().links_per_span(10_001).value_length(0));
    let cases = [
        (
            exporter,
            "tracing_service.headers: a name is not that of a header, such as authorization or \
             x-api-key\n\
             tracing_service.headers: host is set by the exporter itself: remove it\n\
             tracing_service.headers.x-a: must be one line of printable ASCII characters\n\
             tracing_service.headers.x-b: must not be empty\n\
             tracing_service.headers.x-c: must not be empty\n\
             tracing_service.headers.x-d: must be the name of an environment variable\n\
             tracing_service.headers.x-e: must be the name of an environment variable\n\
             tracing_service.headers.x-f: must be the path of a file (one that begins with a name \
             with a blank in it is written ./…)\n\
             tracing_service.server_name: must be a host name or an IP address\n\
             tracing_service.timeout: must be from 1ms to 1h, not 0s\n\
             tracing_service.connect_timeout: must be from 1ms to 1h, not 584542046090years \
             7months 15days 17h 5m 3s 999ms 999us 999ns\n\
             tracing_service.system_roots: without `ca_certs` nobody could vouch for the \
             collector: add them, or remove this",
        ),
        (
            pipeline,
            "tracing_service.connect_timeout: must not be above `timeout`, which is 1s, but is \
             2s\n\
             tracing_service.queue.max_bytes: must be from 1MiB to 1TiB, not \
             18446744073709551615B\n\
             tracing_service.queue.max_batch_spans: must be from 1 to 65536, not 0\n\
             tracing_service.queue.max_batch_bytes: must be from 64KiB to 64MiB, not 0B\n\
             tracing_service.queue.max_delay: must be from 1ms to 1m, not 0s\n\
             tracing_service.retry.initial: must not be above `max`, which is 1s, but is 2s\n\
             tracing_service.retry.give_up_after: must be from 0s to 1day, not 1day 1s\n\
             tracing_service.concurrency: must be from 1 to 64, not 0\n\
             tracing_service.limits.links_per_span: must be from 0 to 10000, not 10001\n\
             tracing_service.limits.value_length: must be from 32B to 16MiB, not 0B",
        ),
        (
            rules,
            "tracing_service.sampling_rules[0]: a rule without a condition would match every \
             request, and no rule after it would count: add one of method, path_prefix, route, \
             grpc_service, or set the `sampling_rate_per_million` of the section\n\
             tracing_service.sampling_rules[2]: never counts: sampling_rules[1] before it has \
             another rate for all of its requests, and the first rule that matches wins\n\
             tracing_service.sampling_rules[4].method: methods are case-sensitive, did you mean \
             `GET`?\n\
             tracing_service.sampling_rules[4].path_prefix: must be a path that begins with `/`, \
             not \"a\"\n\
             tracing_service.sampling_rules[4].route: must not be empty\n\
             tracing_service.sampling_rules[4].grpc_service: must be the full name of a service, \
             such as shop.Inventory, without `/`, not \"/x\"",
        ),
        (
            shown,
            "tracing_service.request_headers[1]: cookie holds secrets: write \
             `sensitive_headers: yes` to have them in spans, or remove it\n\
             tracing_service.response_headers[0]: x-a-bin holds binary metadata of gRPC, which is never \
             shown: remove it\n\
             tracing_service.redacted_query_parameters[1]: must not be empty\n\
             tracing_service.known_methods[1]: must be a method such as GET, not \"a b\"\n\
             tracing_service.known_grpc_methods[0]: must be a method such as \
             shop.Inventory/Count, not \"/x\"",
        ),
        (
            no_url,
            "tracing_service.exporter_url: missing, although tracing is enabled, and neither \
             OTEL_EXPORTER_OTLP_TRACES_ENDPOINT nor OTEL_EXPORTER_OTLP_ENDPOINT names one: write \
             for example grpc://collector:4317",
        ),
        (
            http,
            "tracing_service.ca_certs: has no use with an http URL, \
             which is never TLS: write https, or remove it\n\
             tracing_service.https_keypairs: has no use with an http URL, \
             which is never TLS: write https, or remove it",
        ),
        (
            file,
            "tracing_service.https_keypairs: has no use with a file URL, \
             which makes no connection: remove it",
        ),
        (
            names,
            "tracing_service.sampling_rate_per_million: \
             must be a whole number from 0 to 1000000, not 1000001\n\
             tracing_service.service_name: must not be empty\n\
             tracing_service.resource_attributes: the name of an attribute must not be empty\n\
             tracing_service.resource_attributes: \
             the key `service_name` of the section sets this attribute",
        ),
    ];
    for (config, message) in cases {
        assert_eq!(config.clone().check().unwrap_err().to_string(), message);
        let off = config.enabled(false);
        assert!(off.check().unwrap().is_none(), "off skips all checks");
    }
}

#[test]
fn every_format_of_serde_can_hold_the_section() {
    let expected = TracingServiceConfig::new(url("collector"))
        .sampling_rate_per_million(10)
        .ca_certs(["/ca.pem"])
        .keypair("/k", "/c")
        .resource_attributes([KeyValue::new("a", 1.5), KeyValue::new("b", true)])
        .sampling_rule(health_checks())
        .capture(Capture::default().request_headers([HeaderName::from_static("x-a")]));
    let text = r#"{
        "enabled": true, "exporter_url": "collector", "sampling_rate_per_million": 10,
        "ca_certs": ["/ca.pem"], "https_keypairs": [{"key_file": "/k", "cert_file": "/c"}],
        "resource_attributes": {"a": 1.5, "b": true}, "service_name": null,
        "sampling_rules": [{"path_prefix": "/healthz", "sampling_rate_per_million": 0}],
        "request_headers": ["X-A"]
    }"#;
    let parsed: TracingServiceConfig = serde_json::from_str(text).unwrap();
    assert_eq!(parsed, expected, "a streaming deserializer");
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::from_value::<TracingServiceConfig>(value).unwrap(), expected, "a tree");

    // As configuration readers over variables do it: plain values, never a newtype struct.
    let variables = HashMap::from([
        ("enabled", "on"),
        ("exporter_url", "collector"),
        ("sampling_rate_per_million", "10"),
    ]);
    let variables: MapDeserializer<'_, _, ValueError> = MapDeserializer::new(variables.into_iter());
    let parsed = TracingServiceConfig::deserialize(variables).unwrap();
    let expected = TracingServiceConfig::new(url("collector")).sampling_rate_per_million(10);
    assert_eq!(parsed, expected, "a map of texts");

    let nothing: serde::de::value::UnitDeserializer<ValueError> = ().into_deserializer();
    assert_eq!(
        TracingServiceConfig::deserialize(nothing).unwrap(),
        TracingServiceConfig::disabled(),
        "no value"
    );
}

#[test]
fn a_section_inside_another_type_reports_all_problems_on_one_line() {
    #[derive(Debug, serde::Deserialize)]
    struct Service {
        #[serde(default)]
        tracing_service: TracingServiceConfig,
    }
    let parse =
        |text: &str| serde_json::from_str::<Service>(text).map(|service| service.tracing_service);
    assert_eq!(parse("{}").unwrap(), TracingServiceConfig::disabled());
    assert_eq!(parse(r#"{"tracing_service": null}"#).unwrap(), TracingServiceConfig::disabled());

    let error =
        parse(r#"{"tracing_service": {"enabled": 1, "exporter_url": 1, "url": 1, "url": 2}}"#);
    let error = error.unwrap_err().to_string();
    let message = "tracing_service.url: the key is given twice; \
                   tracing_service.exporter_url: must be text, not 1: put it in quotes; \
                   tracing_service.url: unknown key, known are enabled, exporter_url, \
                   sampling_rate_per_million, ca_certs, https_keypairs, keypairs, system_roots, \
                   server_name, headers, compression, timeout, connect_timeout, queue, retry, \
                   concurrency, limits, service_name, \
                   resource_attributes, response_header, sampling_rules, remote_parent, \
                   forced_sampling_per_second, request_headers, response_headers, \
                   sensitive_headers, redacted_query_parameters, known_methods, \
                   known_grpc_methods, trusted_proxies";
    assert!(error.starts_with(message), "{error}");
}
