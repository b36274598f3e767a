//! What the operator reads when a tracing service starts, or cannot.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::delivery::serve_order;
use super::*;

#[test]
fn a_missing_rate_is_warned_about_once_and_a_rate_of_zero_is_not() {
    const WARNING: &str = "WARN tracing is enabled without sampling_rate_per_million: no trace \
         that starts here will be recorded, only requests whose caller has sampled them";
    let rows: [(&str, &[&str], &str); 3] = [
        ("enabled: yes\n  exporter_url: localhost", &[WARNING], "Teleport's rate is 0, too"),
        (
            "enabled: yes\n  exporter_url: localhost\n  sampling_rate_per_million: 0",
            &[],
            "who writes 0 means it",
        ),
        ("enabled: no", &[], "nothing is recorded anyway"),
    ];
    for (section, expected, why) in rows {
        let log = Log::about("sampling_rate_per_million");
        let yaml = format!("tracing_service:\n  {section}\n");
        let tracing = TracingServiceConfig::from_yaml_str(&yaml).unwrap().start("shop").unwrap();
        assert_eq!(serve_unrecorded(&tracing), None, "{why}");
        assert_eq!(tracing.shutdown_blocking(LONG), Stats::default(), "{why}");
        assert_eq!(log.lines(), expected, "{why}");
    }
}

/// Runs itself again, because the environment is that of a process.
#[test]
fn what_the_environment_says_of_the_service_is_told_with_its_spans() {
    const NAME: &str =
        "sinks::starting::what_the_environment_says_of_the_service_is_told_with_its_spans";
    const LIST: &str = "OTEL_RESOURCE_ATTRIBUTES";
    const EXPECTED: &str = "JOURNEY_EXPECTS";
    if let Ok(expected) = std::env::var(EXPECTED) {
        let log = Log::about(LIST);
        let config = TracingServiceConfig::default().enabled(true).sampling_rate_per_million(0);
        let (tracing, mut spans) = config.start_in_memory("shop").unwrap();
        serve_order(&tracing);
        let stats = tracing.shutdown_blocking(LONG);
        assert_eq!(stats.delivered, 1, "{stats}");
        let resource = spans.take().remove(0).resource;
        let told = |key: &str| {
            let found = resource.iter().find(|attribute| attribute.key.as_str() == key);
            found.map_or_else(|| "-".to_owned(), |attribute| attribute.value.to_string())
        };
        let warned = log.lines().join("");
        let found = format!("{} {} {warned}", told("service.name"), told("city"));
        assert_eq!(found.trim_end(), expected);
        let all = format!("{resource:?}");
        assert!(!all.contains("hunter2") && !all.contains("JOURNEY"), "{all}");
        return;
    }

    let rows: [(&[u8], &str, &str); 3] = [
        (
            b"city=K%C3%B6ln%2C1,service.name=list",
            "list Köln,1",
            "decoded, and in place of the name in code",
        ),
        (
            b"city=K%C3%B6ln,service.name=100%",
            "shop - WARN OTEL_RESOURCE_ATTRIBUTES is ignored: item 2 (\"service.name\") has a % that \
             is not followed by two hexadecimal digits (% itself must be written as %25)",
            "one mistake spoils it all, and is said once",
        ),
        (
            b"city=hunter2\xff",
            "shop - WARN OTEL_RESOURCE_ATTRIBUTES is ignored: it is not Unicode",
            "what could not be sent",
        ),
    ];
    for (list, expected, why) in rows {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            // A secret argument; libtest takes it for another test to run.
            .args([NAME, "--exact", "hunter2"])
            .env_remove("OTEL_SERVICE_NAME")
            .env(LIST, OsStr::from_bytes(list))
            .env(EXPECTED, expected)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{why}: {output}");
    }
}

/// Serves a request that starts a trace at rate 0.
pub(super) fn serve_unrecorded(tracing: &TracingService) -> Option<TraceContext> {
    let service = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let call = TraceLayer::server(tracing).layer(service).call(Request::new(()));
    let response = call.now_or_never().unwrap().unwrap();
    response.extensions().get().cloned()
}
