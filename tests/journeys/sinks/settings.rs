//! What the operator sets of the exporter, as a collector sees it.

use std::fs;
use std::net::TcpListener;

use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tower_otlp::{Compression, LimitsConfig, QueueConfig, RetryConfig, StartError};

use super::collector::Received;
use super::script::{Answer, Wire, h2, message};
use super::*;

#[test]
fn headers_arrive_from_wherever_they_are() {
    let collector = Collector::start(Script::Ok);
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "Bearer hunter2\n").unwrap();
    for url in [collector.grpc_url(), collector.http_url()] {
        // A variable that cargo sets for tests.
        let yaml = format!(
            "tracing_service:\n  enabled: yes\n  exporter_url: {url}\n  \
             sampling_rate_per_million: 1000000\n  headers:\n    X-Scope-OrgID: shop\n    \
             authorization: {{file: {}}}\n    x-package: {{env: CARGO_PKG_NAME}}\n    \
             user-agent: shop/1\n",
            token.display()
        );
        let tracing = TracingServiceConfig::from_yaml_str(&yaml).unwrap().start("shop").unwrap();
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{url}");
        let received = collector.received();
        let headers = &received.last().unwrap().headers;
        let found = |name: &str| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(found("x-scope-orgid"), ["shop"], "{url}");
        assert_eq!(found("authorization"), ["Bearer hunter2"], "{url}");
        assert_eq!(found("x-package"), ["tower-otlp"], "{url}");
        assert_eq!(found("user-agent"), ["shop/1"], "{url}: in place of ours");
    }
}

#[test]
fn gzip_brings_the_same_spans_and_small_requests_are_not_compressed() {
    for (scheme, encoding) in [("grpc", "grpc-encoding"), ("http", "content-encoding")] {
        let collector = Collector::start(Script::Ok);
        let url = format!("{scheme}://{}", collector.address());
        let compressing = config_to(&url).compression(Compression::Gzip).start("shop").unwrap();
        let small = serve(&compressing, 1);
        compressing.flush_blocking(LONG);
        let large = [serve_large(&compressing, 200_000)];
        assert_eq!(compressing.shutdown_blocking(LONG), settled(2, 0), "{url}");

        let received = collector.received();
        let (packed, plain): (Vec<_>, Vec<_>) =
            received.iter().partition(|request| request.headers.contains_key(encoding));
        let spans = |requests: Vec<&Received>| -> Vec<Span> {
            let resources = requests.into_iter().flat_map(|it| it.message.resource_spans.clone());
            let scopes = resources.flat_map(|resource| resource.scope_spans);
            scopes.flat_map(|scope| scope.spans).collect()
        };
        let ids_of = |spans: &[Span]| -> Ids {
            spans.iter().map(|span| (span.trace_id.clone(), span.span_id.clone())).collect()
        };
        let (packed, plain) = (spans(packed), spans(plain));
        assert_eq!(ids_of(&plain), ids(&small), "{url}: below 1 KiB");
        assert_eq!(ids_of(&packed), ids(&large), "{url}: above");
        let filling = packed[0].attributes.iter().find(|it| it.key == "filling").unwrap();
        let filling = filling.value.as_ref().unwrap();
        let expected = any_value::Value::StringValue("x".repeat(200_000));
        assert_eq!(filling.value.as_ref(), Some(&expected), "{url}");
    }
}

#[test]
fn a_collector_that_does_not_understand_gzip_is_sent_no_more_of_it() {
    for (scheme, encoding) in [("grpc", "grpc-encoding"), ("http", "content-encoding")] {
        let collector = Collector::start(Script::PlainOnly);
        let url = format!("{scheme}://{}", collector.address());
        let log = Log::about(&collector.address().to_string());
        let tracing = config_to(&url).compression(Compression::Gzip).start("shop").unwrap();
        for rounds in 1..=2 {
            serve_large(&tracing, 2000);
            let stats = tracing.flush_blocking(LONG);
            assert_eq!(stats, settled(rounds, 0), "{scheme}: nothing is lost");
        }
        let encoded: Vec<_> = collector
            .received()
            .iter()
            .map(|request| request.headers.contains_key(encoding))
            .collect();
        assert_eq!(encoded, [true, false, false], "{scheme}");
        let [line] = &log.lines()[..] else { panic!("{scheme}: {:?}", log.lines()) };
        assert!(
            line.ends_with(
                ": the collector does not understand gzip: from now on requests are not compressed"
            ),
            "{line}"
        );
        tracing.shutdown_blocking(LONG);
    }
}

#[test]
fn a_service_that_is_not_there_is_not_taken_for_one_without_gzip() {
    let collector = Collector::start(Answer::grpc("12"));
    let log = Log::about(&collector.address().to_string());
    let retry = RetryConfig::default().give_up_after(Duration::ZERO);
    let config = config_to(&collector.grpc_url()).compression(Compression::Gzip).retry(retry);
    let tracing = config.start("shop").unwrap();
    serve_large(&tracing, 2000);
    tracing.flush_blocking(LONG);
    collector.play(Script::Ok);
    serve_large(&tracing, 2000);
    tracing.shutdown_blocking(LONG);
    let last = collector.received().pop().unwrap();
    assert_eq!(last.headers["grpc-encoding"], "gzip");
    assert!(!log.lines().iter().any(|line| line.contains("gzip")), "{:?}", log.lines());
}

#[test]
fn requests_hold_as_much_as_they_may() {
    let collector = Collector::start(Script::Ok);
    let queue = QueueConfig::default().max_batch_spans(3);
    let tracing = config_to(&collector.grpc_url()).queue(queue).start("shop").unwrap();
    serve(&tracing, 10);
    assert_eq!(tracing.flush_blocking(LONG), settled(10, 0));
    let received = collector.received();
    let largest = received.iter().map(|it| it.message.resource_spans[0].scope_spans[0].spans.len());
    assert_eq!(largest.max(), Some(3));
    tracing.shutdown_blocking(LONG);

    let queue = QueueConfig::default().max_batch_bytes(64 << 10).max_bytes(1 << 20);
    let tracing = config_to(&collector.http_url()).queue(queue).start("shop").unwrap();
    for _ in 0..20 {
        serve_large(&tracing, 9_000);
    }
    serve_large(&tracing, 100_000);
    let stats = tracing.shutdown_blocking(LONG);
    assert_eq!((stats.delivered, stats.dropped.too_large), (20, 1), "{stats}");
    let received = collector.received().split_off(received.len());
    let lengths = received.iter().map(|it| it.headers["content-length"].to_str().unwrap());
    let largest = lengths.map(|length| length.parse::<usize>().unwrap()).max().unwrap();
    assert!(largest <= 64 << 10, "{largest}");
}

#[test]
fn the_timeout_is_that_of_a_whole_attempt() {
    use h2::{DATA, END_HEADERS, HEADERS, frame, server};
    let grpc: fn(&Collector) -> String = Collector::grpc_url;
    let http: fn(&Collector) -> String = Collector::http_url;
    let head = frame(HEADERS, END_HEADERS, 1, h2::OK);
    let body = frame(DATA, 0, 1, &message(0, b""));
    let [head, whole] = [server(std::slice::from_ref(&head)), server(&[head, body])];
    let of_ten = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    type Row = (fn(&Collector) -> String, Script, &'static str);
    let rows: [Row; 7] = [
        (http, Script::Silence, "no answer"),
        (grpc, Script::Silence, "no answer"),
        (http, Wire::after_request(&of_ten[..9]).hold().into(), "half a head"),
        (http, Wire::after_request(of_ten).hold().into(), "half a body"),
        (grpc, Wire::on_accept("").hold().into(), "no word of HTTP/2"),
        (grpc, Wire::after_request(head).hold().into(), "no body"),
        (grpc, Wire::after_request(whole).hold().into(), "no trailers"),
    ];
    for (url, script, why) in rows {
        let collector = Collector::start(script);
        let lines = time_out(&url(&collector), 0);
        let [line, ..] = &lines[..] else { panic!("{why}: nothing is said") };
        assert!(line.contains("no complete answer within 0.05 s"), "{why}: {lines:?}");
    }
    // Connections wait to be accepted, and what is sent stays where it is.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["grpc", "http"] {
        time_out(&format!("{scheme}://{}", full.local_addr().unwrap()), 3 << 20);
    }
}

/// Serves a request, whose span is above this size, to a collector of which no attempt comes to an
/// end, and returns what is said of it.
fn time_out(url: &str, size: usize) -> Vec<String> {
    let log = Log::about(url);
    let config = config_to(url)
        .timeout(Duration::from_millis(50))
        .retry(RetryConfig::default().give_up_after(Duration::ZERO));
    let tracing = config.start("shop").unwrap();
    serve_large(&tracing, size);
    let mut expected = settled(0, 0);
    (expected.accepted, expected.dropped.retries_exhausted) = (1, 1);
    assert_eq!(tracing.flush_blocking(LONG), expected, "{url}: {:?}", log.lines());
    log.lines()
}

#[test]
fn no_secret_is_shown_by_anything_that_holds_it() {
    // Of this test only, because the log is that of all of them.
    const SECRET: &str = "swordfish7";
    let collector = Collector::start(Answer::new(401));
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, SECRET).unwrap();
    let log = Log::about(&collector.address().to_string());
    let config = config_to(&collector.http_url())
        .header("authorization", format!("Bearer {SECRET}"))
        .header_from_file("x-key", &token)
        .retry(RetryConfig::default().give_up_after(Duration::ZERO));
    let mut shown = format!("{config:?} {config:#?}");
    let tracing = config.clone().start("shop").unwrap();
    shown += &format!("{tracing:?} {tracing:#?}");
    serve(&tracing, 1);
    shown += &tracing.shutdown_blocking(LONG).to_string();
    for wrong in ["\nx", "é", "\0"].map(|end| format!("{SECRET}{end}")) {
        let error = config.clone().header("x-other", &wrong).start("shop").unwrap_err();
        assert!(error.to_string().starts_with("tracing_service.headers.x-other: "), "{error}");
        shown += &format!("{error} {error:?} {error:#?}");
        fs::write(&token, &wrong).unwrap();
        let error = config.clone().start("shop").unwrap_err();
        assert!(error.to_string().starts_with("tracing_service.headers.x-key: "), "{error}");
        shown += &format!("{error} {error:?} {error:#?}");
    }
    assert!(!log.lines().is_empty(), "that it was refused is told");
    shown += &log.all_lines().join("\n");
    assert!(shown.contains("(hidden)"), "the search finds what is there");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn of_what_finds_no_room_the_newest_stay_if_the_section_says_so() {
    let collector = Collector::start(Script::Ok);
    let yaml = format!(
        "tracing_service:\n  enabled: yes\n  exporter_url: {}\n  \
         sampling_rate_per_million: 1000000\n  \
         queue: {{max_bytes: 1MiB, max_batch_bytes: 128KiB, when_full: drop_oldest}}\n",
        collector.grpc_url()
    );
    let tracing = TracingServiceConfig::from_yaml_str(&yaml)
        .unwrap()
        // Until it is told, nothing leaves.
        .wait_for_resource_attributes(LONG)
        .start("shop")
        .unwrap();
    let mut served = Vec::new();
    for _ in 0..40 {
        served.push(serve_large(&tracing, 60_000));
        // The exporter's thread makes room: an eighth of the memory.
        let since = Instant::now();
        while tracing.stats().pending > 15 {
            assert!(since.elapsed() < LONG, "nothing is dropped: {}", tracing.stats());
            thread::yield_now();
        }
    }
    tracing.set_resource_attributes([]);
    let stats = tracing.shutdown_blocking(LONG);
    assert!(stats.dropped.queue_full >= 25, "{stats}");
    assert_eq!(stats.delivered + stats.dropped.queue_full, 40, "{stats}");
    let arrived = collector.ids();
    assert!(arrived.is_superset(&ids(&served[38..])), "the newest: {stats}");
    assert!(arrived.is_disjoint(&ids(&served[..2])), "and not the oldest: {stats}");
}

#[test]
fn a_header_that_cannot_be_had_is_an_error_at_start() {
    let config = || config_to("http://localhost:1");
    let rows = [
        (
            config().header_from_file("Authorization", "/nonexistent/token"),
            "tracing_service.headers.authorization: /nonexistent/token cannot be read: No such \
             file or directory (os error 2)",
            "a file that is not there",
        ),
        (
            config()
                .header_from_file("x-a", "/nonexistent")
                .header_from_env("x-b", "NO_SUCH_VARIABLE"),
            "tracing_service.headers.x-a: /nonexistent cannot be read: No such file or directory \
             (os error 2)\n\
             tracing_service.headers.x-b: the environment variable NO_SUCH_VARIABLE is not set",
            "both at once",
        ),
    ];
    for (config, expected, why) in rows {
        let error = config.start("shop").unwrap_err();
        assert_eq!(error.to_string(), expected, "{why}");
        assert!(matches!(error, StartError::Config(_)), "{why}");
    }
}

#[test]
fn limits_are_for_the_spans_of_layers_and_of_the_provider() {
    use opentelemetry::trace::{Span as _, Tracer, TracerProvider};

    let limits = LimitsConfig::default()
        .attributes_per_span(40)
        .events_per_span(1)
        .attributes_per_event(1)
        .value_length(32);
    let config = TracingServiceConfig::default()
        .enabled(true)
        .sampling_rate_per_million(1_000_000)
        .limits(limits);
    let (tracing, mut spans) = config.start_in_memory("shop").unwrap();
    let attributes =
        || (0..50).map(|i| KeyValue::new(format!("key.{i}"), "x".repeat(40))).collect::<Vec<_>>();
    let event = || vec![KeyValue::new("a", "y".repeat(40)), KeyValue::new("b", 1)];
    call(&tracing, || {
        Context::map_current(|context| {
            context.span().set_attributes(attributes());
            context.span().add_event("first", event());
            context.span().add_event("second", event());
        });
    });
    let mut span = tracing.tracer_provider().tracer("shop").start("of the sdk");
    span.set_attributes(attributes());
    span.add_event("first", event());
    span.add_event("second", event());
    span.end();
    drop(span);
    tracing.flush_blocking(LONG);

    let spans = spans.take();
    assert_eq!(spans.len(), 2);
    // The layer keeps room for what the end of a request may have to say.
    for (span, attributes) in spans.iter().zip([39, 40]) {
        let name = &span.name;
        assert_eq!(span.attributes.len(), attributes, "{name}");
        let first = span.attributes.iter().find(|it| it.key.as_str() == "key.0").unwrap();
        assert_eq!(first.value.as_str(), "x".repeat(32), "{name}");
        let [event] = &span.events[..] else { panic!("{name}: {:?}", span.events) };
        assert_eq!(event.attributes, [KeyValue::new("a", "y".repeat(32))], "{name}");
    }
    tracing.shutdown_blocking(LONG);
}

fn config_to(url: &str) -> TracingServiceConfig {
    TracingServiceConfig::new(url.parse().unwrap()).sampling_rate_per_million(1_000_000)
}
