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
    for config in [configured, TracingServiceConfig::from_env()] {
        let effective = config.clone().with_environment(&variables, "shop");
        shown.push(format!("{effective:#?}"));
        let settings = effective.config.check().unwrap().unwrap();
        shown.push(format!("{settings:#?}"));
        #[cfg(feature = "_client")]
        {
            let options = settings.export_options(&variables).unwrap();
            assert!(!options.headers.is_empty(), "or there is nothing to hide");
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
