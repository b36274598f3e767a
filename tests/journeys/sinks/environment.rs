//! A service that is configured by its environment alone.

use std::env;
use std::io::{self, Write};
use std::process::Command;

use super::*;

/// Runs itself again, because the environment is that of a process.
#[test]
fn the_environment_alone_makes_a_tracing_service() {
    const NAME: &str = "sinks::environment::the_environment_alone_makes_a_tracing_service";
    const CHILD: &str = "JOURNEY_BY_ENVIRONMENT";
    if env::var_os(CHILD).is_some() {
        let log = Log::about("OTEL_");
        let tracing = TracingServiceConfig::from_env().start("shop").unwrap();
        let description = tracing.describe();
        if env::var_os("OTEL_SDK_DISABLED").is_some() {
            assert_eq!(starting::serve_unrecorded(&tracing), None);
        } else {
            serve(&tracing, 3);
        }
        let stats = tracing.shutdown_blocking(LONG);
        let warnings = log.lines().join("\n");
        writeln!(io::stderr(), "{stats}\n{description}\n{warnings}").unwrap();
        return;
    }

    let run = |variables: &[(&str, &str)]| {
        let mut child = Command::new(env::current_exe().unwrap());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                child.env_remove(name);
            }
        }
        let child = child
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, "yes")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let [output, said] = [child.stdout, child.stderr].map(|it| String::from_utf8(it).unwrap());
        assert!(child.status.success() && output.contains("1 passed"), "{output}{said}");
        said
    };

    let collector = Collector::start(Script::Ok);
    let endpoint = format!("http://{}/otlp", collector.address());
    let wrong = Collector::start(Script::Ok);
    let elsewhere = format!("http://{}", wrong.address());
    let variables = [
        ("OTEL_SERVICE_NAME", "checkout"),
        ("OTEL_RESOURCE_ATTRIBUTES", "city=K%C3%B6ln"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20aHVudGVyMg==,x-tenant=a"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
    ];
    let said = run(&variables);
    assert!(said.contains("accepted 3"), "{said}");
    assert!(!said.contains("aHVudGVyMg"), "a secret: {said}");
    for line in [
        format!("exporter_url: {endpoint}/v1/traces (OTEL_EXPORTER_OTLP_ENDPOINT)"),
        "headers.authorization: hidden (OTEL_EXPORTER_OTLP_HEADERS)".to_owned(),
        "sampling_rate_per_million: 1000000 (default)".to_owned(),
        "WARN OTEL_BSP_MAX_QUEUE_SIZE is ignored: it counts spans, and those that wait are limited \
         by their bytes: set `max_bytes` of `queue`"
            .to_owned(),
    ] {
        assert!(said.lines().any(|written| written == line), "{line} is not in\n{said}");
    }
    let received = collector.received();
    assert_eq!(collector.spans().len(), 3);
    for request in &received {
        assert_eq!(request.path, "/otlp/v1/traces");
        assert_eq!(request.headers["authorization"], "Basic aHVudGVyMg==");
        assert_eq!(request.headers["x-tenant"], "a");
        let resource = request.message.resource_spans[0].resource.as_ref().unwrap();
        let told = format!("{:?}", resource.attributes);
        assert!(told.contains("checkout") && told.contains("Köln"), "{told}");
    }

    let grpc = format!("http://{}", collector.address());
    let traces = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*elsewhere),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &grpc),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    run(&traces);
    assert_eq!(collector.spans().len(), 6);
    let last = collector.received().pop().unwrap();
    assert_eq!(last.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");

    let off = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*elsewhere), ("OTEL_SDK_DISABLED", "true")];
    assert!(run(&off).contains("enabled: no (OTEL_SDK_DISABLED)"));
    assert_eq!(collector.spans().len(), 6);
    assert_eq!(wrong.played(), 0, "nobody was asked who was not meant");
}
