use std::time::Duration;

use http::HeaderName;
use opentelemetry::KeyValue;

use super::*;
use crate::config::{LimitsConfig, QueueConfig, RetryConfig};
use crate::sampling::SamplingRate;

#[test]
fn nothing_but_a_url() {
    let config = TracingServiceConfig::new("grpc://collector".parse().unwrap());
    assert_eq!(describe(config, &[]), NOTHING_BUT_A_URL);
}

#[test]
fn everything_set() {
    let config = TracingServiceConfig::new("https://collector/traces".parse().unwrap())
        .sampling_rate_per_million(10_000)
        .service_name("checkout")
        .resource_attributes([KeyValue::new("team", "a\nb"), KeyValue::new("shard", 7)])
        .wait_for_resource_attributes(Duration::from_secs(60))
        .response_header(ResponseHeader::TraceResponse)
        .sampling_rule(SamplingRule::new(SamplingRate::NEVER).path_prefix("/healthz"))
        .sampling_rule(SamplingRule::new(SamplingRate::ALWAYS).method("POST").route("/orders/{id}"))
        .remote_parent(RemoteParent::Link)
        .forced_sampling_per_second(100.try_into().unwrap())
        .capture(
            Capture::default()
                .request_headers(["x-a", "cookie"].map(HeaderName::from_static))
                .response_headers([HeaderName::from_static("x-b")])
                .sensitive_headers(true)
                .redacted_query_parameters(["token", "sig"])
                .known_methods(["GET", "POST"])
                .known_grpc_methods(["shop.Inventory/Count"]),
        )
        .trusted_proxies(["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap()))
        .ca_certs(["/ca.pem", "/other.pem"])
        .system_roots(true)
        .keypair("/client.key", "/client.pem")
        .server_name("collector.internal")
        .header("authorization", "Bearer hunter2")
        .header_from_file("x-tenant", "/run/secrets/tenant")
        .header_from_env("x-scope", "ORG_ID")
        .compression(Compression::Gzip)
        .timeout(Duration::from_secs(4))
        .connect_timeout(Duration::from_millis(1500))
        .queue(
            QueueConfig::default()
                .max_bytes(64 << 20)
                .max_batch_spans(100)
                .max_batch_bytes(1 << 20)
                .max_delay(Duration::from_millis(200))
                .when_full(WhenFull::DropOldest),
        )
        .retry(
            RetryConfig::default()
                .initial(Duration::from_secs(1))
                .max(Duration::from_secs(5))
                .give_up_after(Duration::ZERO),
        )
        .concurrency(2)
        .limits(
            LimitsConfig::default()
                .attributes_per_span(1)
                .events_per_span(2)
                .links_per_span(3)
                .attributes_per_event(4)
                .attributes_per_link(5)
                .value_length(64)
                .peer_value_length(1000),
        );
    assert_eq!(describe(config, &[]), EVERYTHING_SET);
}

#[cfg(feature = "yaml")]
#[test]
fn what_is_written_is_no_default_even_if_it_is_the_same() {
    let description = describe(TracingServiceConfig::new("h".parse().unwrap()), &[]);
    let url = "exporter_url: grpc://h:4317 (configuration)";
    let defaults = description.lines().skip(2).filter(|line| *line != url);
    let written: Vec<_> = defaults
        .filter_map(|line| line.strip_suffix(" (default)")?.split_once(": "))
        // What has no limit or is nothing cannot be written.
        .filter(|(_, value)| !matches!(*value, "none" | "no limit" | "all"))
        .chain([("compression", "none"), ("known_grpc_methods", "none")])
        .collect();
    let mut yaml = "tracing_service:\n  enabled: yes\n  exporter_url: h\n".to_owned();
    let mut section = "";
    for &(key, value) in &written {
        let value = match key {
            "redacted_query_parameters" | "known_methods" => format!("[{value}]"),
            "known_grpc_methods" => "[]".to_owned(),
            _ => value.to_owned(),
        };
        match key.split_once('.') {
            Some((of, member)) => {
                if section != of {
                    yaml += &format!("  {of}:\n");
                    section = of;
                }
                yaml += &format!("    {member}: {value}\n");
            }
            None => yaml += &format!("  {key}: {value}\n"),
        }
    }
    let config = TracingServiceConfig::from_yaml_str(&yaml).unwrap();
    let text = describe(config, &[]);
    for (key, value) in written {
        let expected = format!("{key}: {value} (configuration)");
        assert!(text.lines().any(|line| line == expected), "{expected} is not in\n{text}");
    }
}

#[test]
fn the_environment_alone() {
    let variables = [
        ("OTEL_SERVICE_NAME", "checkout"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=payments,zone=a"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otlp.example.com"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=hunter2,x-dataset=hunter3"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "4000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/client.key"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/client.pem"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "10"),
        ("OTEL_PROPAGATORS", "b3"),
    ];
    assert_eq!(describe(TracingServiceConfig::from_env(), &variables), THE_ENVIRONMENT_ALONE);
}

#[test]
fn disabled() {
    let by_variable = [("OTEL_SDK_DISABLED", "true"), ("OTEL_BSP_MAX_QUEUE_SIZE", "2048")];
    let rows = [
        (TracingServiceConfig::disabled(), "enabled: no (configuration)"),
        (TracingServiceConfig::from_env(), "enabled: no (OTEL_SDK_DISABLED)"),
    ];
    for (config, expected) in rows {
        assert_eq!(describe(config, &by_variable), expected, "and nothing else counts");
    }
}

#[test]
fn what_goes_to_files_or_to_memory_has_no_connection() {
    let file = TracingServiceConfig::new("file:///var/lib/a%20b".parse().unwrap());
    let text = describe(file.clone(), &[]);
    let lines: Vec<_> = text.lines().skip(2).take(2).collect();
    let expected = [
        "exporter_url: file:///var/lib/a%20b?limit=104857600 (configuration)",
        "queue.max_bytes: 32MiB (default)",
    ];
    assert_eq!(lines, expected);

    let effective = file.with_environment(&|_| None, "shop");
    let settings = effective.config.check().unwrap();
    let text = effective.describe(settings, Destination::Memory).to_string();
    let lines: Vec<_> = text.lines().skip(2).take(2).collect();
    let expected =
        ["exporter_url: none, spans stay in memory", "limits.attributes_per_span: 128 (default)"];
    assert_eq!(lines, expected);
}

fn describe(config: TracingServiceConfig, variables: &[(&str, &str)]) -> String {
    let variables = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.into())
    };
    let effective = config.with_environment(&variables, "shop");
    let settings = effective.config.check().unwrap();
    let description = effective.describe(settings, Destination::Exporter);
    assert_eq!(format!("{description:?}"), description.to_string());
    description.to_string()
}

const NOTHING_BUT_A_URL: &str = "\
enabled: yes (configuration)
service_name: shop (given at start)
exporter_url: grpc://collector:4317 (configuration)
encrypted: no
compression: none (default)
timeout: 10s (default)
connect_timeout: 5s (default)
queue.max_bytes: 32MiB (default)
queue.max_batch_spans: 4096 (default)
queue.max_batch_bytes: 4032KiB (default)
queue.max_delay: 1s (default)
queue.when_full: drop_newest (default)
retry.initial: 250ms (default)
retry.max: 30s (default)
retry.give_up_after: 5m (default)
concurrency: 8 (default)
limits.attributes_per_span: 128 (default)
limits.events_per_span: 128 (default)
limits.links_per_span: 128 (default)
limits.attributes_per_event: 128 (default)
limits.attributes_per_link: 128 (default)
limits.value_length: none (default)
limits.peer_value_length: 4KiB (default)
sampling_rate_per_million: 0 (default)
remote_parent: trust (default)
forced_sampling_per_second: no limit (default)
response_header: server-timing (default)
request_headers: none (default)
response_headers: none (default)
sensitive_headers: no (default)
redacted_query_parameters: AWSAccessKeyId, Signature, X-Amz-Credential, X-Amz-Security-Token, X-Amz-Signature, X-Goog-Signature, sig (default)
known_methods: GET, POST, PUT, DELETE, HEAD, OPTIONS, PATCH, CONNECT, TRACE, QUERY (default)
known_grpc_methods: all (default)
trusted_proxies: none (default)";

const EVERYTHING_SET: &str = "\
enabled: yes (configuration)
service_name: checkout (configuration)
resource_attributes.team: a\\nb (configuration)
resource_attributes.shard: 7 (configuration)
wait_for_resource_attributes: 1m (configuration)
exporter_url: https://collector:4318/traces (configuration)
encrypted: yes
ca_certs: /ca.pem, /other.pem (configuration)
system_roots: yes (configuration)
keypairs: /client.pem with /client.key (configuration)
server_name: collector.internal (configuration)
headers.authorization: hidden (configuration)
headers.x-tenant: hidden, in /run/secrets/tenant (configuration)
headers.x-scope: hidden, in ORG_ID (configuration)
compression: gzip (configuration)
timeout: 4s (configuration)
connect_timeout: 1s 500ms (configuration)
queue.max_bytes: 64MiB (configuration)
queue.max_batch_spans: 100 (configuration)
queue.max_batch_bytes: 1MiB (configuration)
queue.max_delay: 200ms (configuration)
queue.when_full: drop_oldest (configuration)
retry.initial: 1s (configuration)
retry.max: 5s (configuration)
retry.give_up_after: 0s (configuration)
concurrency: 2 (configuration)
limits.attributes_per_span: 1 (configuration)
limits.events_per_span: 2 (configuration)
limits.links_per_span: 3 (configuration)
limits.attributes_per_event: 4 (configuration)
limits.attributes_per_link: 5 (configuration)
limits.value_length: 64B (configuration)
limits.peer_value_length: 1kB (configuration)
sampling_rate_per_million: 10000 (configuration)
sampling_rules[0]: 0 for path_prefix /healthz (configuration)
sampling_rules[1]: 1000000 for method POST, route /orders/{id} (configuration)
remote_parent: link (configuration)
forced_sampling_per_second: 100 (configuration)
response_header: traceresponse (configuration)
request_headers: x-a, cookie (configuration)
response_headers: x-b (configuration)
sensitive_headers: yes (configuration)
redacted_query_parameters: token, sig (configuration)
known_methods: GET, POST (configuration)
known_grpc_methods: shop.Inventory/Count (configuration)
trusted_proxies: 10.0.0.0/8, ::1/128 (configuration)";

const THE_ENVIRONMENT_ALONE: &str = "\
enabled: yes (default)
service_name: checkout (OTEL_SERVICE_NAME)
resource_attributes.team: payments (OTEL_RESOURCE_ATTRIBUTES)
resource_attributes.zone: a (OTEL_RESOURCE_ATTRIBUTES)
exporter_url: https://otlp.example.com:443/v1/traces (OTEL_EXPORTER_OTLP_ENDPOINT)
encrypted: yes
ca_certs: /ca.pem (OTEL_EXPORTER_OTLP_CERTIFICATE)
system_roots: no (default)
keypairs: /client.pem with /client.key (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE)
server_name: the host of the URL (default)
headers.api-key: hidden (OTEL_EXPORTER_OTLP_TRACES_HEADERS)
headers.x-dataset: hidden (OTEL_EXPORTER_OTLP_TRACES_HEADERS)
compression: gzip (OTEL_EXPORTER_OTLP_COMPRESSION)
timeout: 4s (OTEL_EXPORTER_OTLP_TIMEOUT)
connect_timeout: 4s (default)
queue.max_bytes: 32MiB (default)
queue.max_batch_spans: 4096 (default)
queue.max_batch_bytes: 4032KiB (default)
queue.max_delay: 5s (OTEL_BSP_SCHEDULE_DELAY)
queue.when_full: drop_newest (default)
retry.initial: 250ms (default)
retry.max: 30s (default)
retry.give_up_after: 5m (default)
concurrency: 8 (default)
limits.attributes_per_span: 128 (default)
limits.events_per_span: 10 (OTEL_SPAN_EVENT_COUNT_LIMIT)
limits.links_per_span: 128 (default)
limits.attributes_per_event: 128 (default)
limits.attributes_per_link: 128 (default)
limits.value_length: none (default)
limits.peer_value_length: 4KiB (default)
sampling_rate_per_million: 10000 (OTEL_TRACES_SAMPLER_ARG)
remote_parent: trust (default)
forced_sampling_per_second: no limit (default)
response_header: server-timing (default)
request_headers: none (default)
response_headers: none (default)
sensitive_headers: no (default)
redacted_query_parameters: AWSAccessKeyId, Signature, X-Amz-Credential, X-Amz-Security-Token, X-Amz-Signature, X-Goog-Signature, sig (default)
known_methods: GET, POST, PUT, DELETE, HEAD, OPTIONS, PATCH, CONNECT, TRACE, QUERY (default)
known_grpc_methods: all (default)
trusted_proxies: none (default)
OTEL_TRACES_SAMPLER is taken as parentbased_traceidratio: a caller's decision is kept
OTEL_PROPAGATORS is ignored: requests are read as tracecontext and baggage, not \"b3\"
OTEL_BSP_MAX_QUEUE_SIZE is ignored: it counts spans, and those that wait are limited by their bytes: set `max_bytes` of `queue`";
