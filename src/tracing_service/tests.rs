use std::time::Duration;

use super::*;
use crate::config::ExporterUrl;

/// In every place where one can be put.
#[test]
fn secrets_are_in_no_debug_output() {
    const SECRET: &str = "hunter2";
    let variables = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_HEADERS" => Some(format!("api-key={SECRET}").into()),
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => Some(format!("https://me:{SECRET}@h").into()),
        "ORG_ID" => Some(SECRET.into()),
        _ => None,
    };
    let configured = TracingServiceConfig::new("http://127.0.0.1:9".parse().unwrap())
        .header("authorization", format!("Bearer {SECRET}"))
        .header_from_env("x-scope", "ORG_ID");
    let mut shown = vec![
        format!("{configured:#?}"),
        format!("{:?}", format!("http://me:{SECRET}@h").parse::<ExporterUrl>().unwrap_err()),
    ];
    let useless = configured.clone().header("x-useless", format!("{SECRET}\n{SECRET}"));
    let error = useless.start_with(&variables, "shop").unwrap_err();
    shown.push(format!("{error:?} {error}"));
    let error = TracingServiceConfig::from_env().start_with(&variables, "shop").unwrap_err();
    shown.push(format!("{error:?} {error}"));
    let by_environment =
        TracingServiceConfig::from_env().exporter_url("http://127.0.0.1:9".parse().unwrap());
    for config in [configured, by_environment] {
        let effective = config.clone().with_environment(&variables, "shop");
        shown.push(format!("{effective:#?}"));
        let settings = effective.check().unwrap().unwrap();
        shown.push(format!("{settings:#?}"));
        #[cfg(feature = "_client")]
        {
            let options = settings.export_options(&variables).unwrap();
            assert!(!options.requests.headers.is_empty(), "or there is nothing to hide");
            shown.push(format!("{options:#?}"));
        }
        let description = effective.describe(Some(settings), Destination::Exporter);
        shown.push(format!("{description:?} {description}"));
        #[cfg(feature = "http")]
        {
            let tracing = config.start_with(&variables, "shop").unwrap();
            shown.push(format!("{tracing:#?} {}", tracing.describe()));
            tracing.shutdown_blocking(Duration::ZERO);
        }
    }
    for text in shown {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[cfg(feature = "tonic")]
#[test]
fn what_the_environment_says_of_a_collector_is_not_for_a_channel() {
    const SECRET: &str = "hunter2";
    let variables = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_HEADERS" => Some(format!("api-key={SECRET}").into()),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("https://collector".into()),
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION" => Some("gzip".into()),
        "OTEL_EXPORTER_OTLP_INSECURE" => Some("".into()),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("1500".into()),
        "TENANT" => Some(SECRET.into()),
        _ => None,
    };
    let config = TracingServiceConfig::from_env().header_from_env("x-tenant", "TENANT");
    let effective = config.clone().with_environment_over_channel(&variables, "tool").unwrap();
    let settings = effective.check().unwrap().unwrap();
    let options = settings.request_options(&variables).unwrap();
    assert_eq!(options.headers.keys().collect::<Vec<_>>(), ["x-tenant"]);
    assert_eq!(options.timeout, Duration::from_millis(1500));

    let tracing = config.start_over(Arc::default(), &variables, "tool").unwrap();
    let text = tracing.describe().to_string();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| {
            ["exporter_url", "headers", "timeout", "OTEL"].iter().any(|it| line.starts_with(it))
        })
        .collect();
    assert_eq!(
        lines,
        [
            "exporter_url: none, spans go over a channel of the program's",
            "headers.x-tenant: hidden, in TENANT (configuration)",
            "timeout: 1s 500ms (OTEL_EXPORTER_OTLP_TIMEOUT)",
            "OTEL_EXPORTER_OTLP_ENDPOINT is ignored: spans go over a channel of the program's",
            "OTEL_EXPORTER_OTLP_HEADERS is ignored: spans go over a channel of the program's",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION is ignored: spans go over a channel of the program's",
        ],
    );
    assert!(!format!("{tracing:?} {text}").contains(SECRET));
    tracing.shutdown_blocking(Duration::ZERO);
}

#[test]
fn a_service_describes_itself() {
    let variables = |name: &str| match name {
        "OTEL_SERVICE_NAME" => Some("env".into()),
        "OTEL_SDK_DISABLED" => Some("true".into()),
        _ => None,
    };
    let describe = |config: TracingServiceConfig| {
        let (tracing, _) = config.start_in_memory_with(&variables, "shop").unwrap();
        let text = tracing.describe().to_string();
        tracing.shutdown_blocking(Duration::ZERO);
        text
    };
    assert_eq!(describe(TracingServiceConfig::from_env()), "enabled: no (OTEL_SDK_DISABLED)");
    let text = describe(TracingServiceConfig::disabled().enabled(true));
    let lines: Vec<_> = text.lines().take(3).collect();
    assert_eq!(
        lines,
        [
            "enabled: yes (configuration)",
            "service_name: env (OTEL_SERVICE_NAME)",
            "exporter_url: none, spans stay in memory"
        ]
    );
}

#[test]
fn spans_in_memory_need_no_url_and_any_url_will_do() {
    let to = |url: &str| TracingServiceConfig::new(url.parse().unwrap());
    let without = || TracingServiceConfig::disabled().enabled(true);
    let rows = [
        (to("grpcs://h").server_name("collector.internal"), true, "a key of TLS"),
        (to("https://h").system_roots(true), false, "another"),
        (to("file:///nonexistent"), true, "files"),
        (without(), false, "none"),
        (without().server_name("h").timeout(Duration::from_secs(1)), false, "one to come"),
        (TracingServiceConfig::from_env().system_roots(true), false, "that of the environment"),
    ];
    let variables = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("https://h".into()),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some("http/protobuf".into()),
        _ => None,
    };
    for (config, is_protocol_ignored, why) in rows {
        let (tracing, _spans) = config.start_in_memory_with(&variables, "shop").expect(why);
        let text = tracing.describe().to_string();
        tracing.shutdown_blocking(Duration::ZERO);
        let remark = "OTEL_EXPORTER_OTLP_PROTOCOL is ignored";
        assert_eq!(text.contains(remark), is_protocol_ignored, "{why}: {text}");
        for (absent, of) in [("queue.", "waiting"), ("retry.", "trying"), ("concurrency", "both")] {
            assert!(!text.contains(absent), "{why}: nothing of {of} is as configured: {text}");
        }
        assert!(text.contains("\nlimits.value_length: none (default)\n"), "{why}: {text}");
    }
    let unusable =
        |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "https://me:hunter2@h".into());
    let config = TracingServiceConfig::from_env();
    let (tracing, _spans) = config.start_in_memory_with(&unusable, "shop").unwrap();
    tracing.shutdown_blocking(Duration::ZERO);
}

#[cfg(all(feature = "http", any(feature = "ring", feature = "aws-lc-rs")))]
#[test]
fn files_of_tls_are_named_by_what_names_them() {
    const GONE: &str = "No such file or directory (os error 2)";
    let variables = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_CERTIFICATE" => Some("/nonexistent/ca".into()),
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY" => Some("/nonexistent/key".into()),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE" => Some("/nonexistent/cert".into()),
        _ => None,
    };
    let of_variables = format!(
        "OTEL_EXPORTER_OTLP_CERTIFICATE: /nonexistent/ca: {GONE}\n\
         OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY: /nonexistent/key: {GONE}\n\
         OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: /nonexistent/cert: {GONE}"
    );
    let of_section = |key: &str| {
        format!(
            "tracing_service.ca_certs[0]: /ca: {GONE}\n\
             tracing_service.{key}[0].key_file: /key: {GONE}\n\
             tracing_service.{key}[0].cert_file: /cert: {GONE}"
        )
    };
    let url = || TracingServiceConfig::new("https://127.0.0.1:9".parse().unwrap());
    let in_code = url().ca_certs(["/ca"]).keypair("/key", "/cert");
    let rows =
        vec![(url(), of_variables, "variables"), (in_code, of_section("https_keypairs"), "code")];
    #[cfg(feature = "yaml")]
    let rows = rows.into_iter().chain(["keypairs", "https_keypairs"].map(|key| {
        let yaml = format!(
            "tracing_service:\n  enabled: yes\n  exporter_url: https://127.0.0.1:9\n  \
             ca_certs: [/ca]\n  {key}: [{{key_file: /key, cert_file: /cert}}]\n"
        );
        let config = TracingServiceConfig::from_yaml_str(&yaml).unwrap();
        (config, of_section(key), "the spelling of the document")
    }));
    for (config, expected, why) in rows {
        let error = config.start_with(&variables, "shop").unwrap_err();
        assert!(matches!(error, StartError::Certificates(_)), "{why}");
        assert_eq!(error.to_string(), expected, "{why}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_used_is_why_there_is_no_service() {
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let section = || TracingServiceConfig::disabled().enabled(true);
    let from_env = TracingServiceConfig::from_env;
    let rows = [
        (from_env(), &[(GENERAL, "collector:4318")][..], GENERAL, "not the default"),
        (
            from_env(),
            &[(TRACES, "collector:4318"), (GENERAL, "http://127.0.0.1:9")],
            TRACES,
            "nor the general one",
        ),
        (section(), &[(GENERAL, "collector:4318")], GENERAL, "a section that leaves it to them"),
    ];
    for (config, variables, named, why) in rows {
        let variables = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).into())
        };
        let error = config.start_with(&variables, "shop").unwrap_err();
        let expected = format!("{named}: no scheme: write for example http://collector:4318");
        assert_eq!(error.to_string(), expected, "{why}");
        assert!(matches!(error, StartError::Config(_)), "{why}");
    }
}
