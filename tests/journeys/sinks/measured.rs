//! What is reported of spans on their way out, as metrics.

use opentelemetry::global;
use tower_otlp::{QueueConfig, RetryConfig, WhenFull};

use super::script::Answer;
use super::*;
use crate::metrics::Meters;

#[test]
fn every_span_is_reported_once_with_what_became_of_it() {
    type Url = fn(&Collector) -> String;
    let rows: [(Url, &str, [Answer; 2]); 2] = [
        (
            Collector::grpc_url,
            "otlp_grpc_span_exporter",
            [
                Answer::grpc("3"),
                Answer::grpc("8")
                    .trailer("grpc-message", "received message larger than max (5 vs. 4)"),
            ],
        ),
        (Collector::http_url, "otlp_http_span_exporter", [Answer::new(400), Answer::new(413)]),
    ];
    for (url, exporter, [refused, too_large]) in rows {
        let collector = Collector::start(Script::Partial(1, "no"));
        let tracing =
            config(&url(&collector)).wait_for_resource_attributes(LONG).start("sinks").unwrap();
        let meters = Meters::new();
        tracing.metrics(&meters.provider);
        let port = collector.address().port();
        let server = format!("server.address=127.0.0.1 server.port={port}");
        let lines = |rows: &[&str]| expected(rows, exporter, &server);

        let idle = lines(&["exported | 0", "inflight | 0", "processed | 0"]);
        assert_eq!(reported(&meters), idle, "nothing has ended");

        serve(&tracing, 3);
        serve_large(&tracing, 4 << 20);
        let held = ["exported | 0", "inflight | 3", "processed | 3", "processed too_large | 1"];
        assert_eq!(reported(&meters), lines(&held), "what ended, and was taken or not");

        tracing.set_resource_attributes([KeyValue::new("host.id", "a")]);
        tracing.flush_blocking(LONG);
        collector.play(refused);
        serve(&tracing, 2);
        tracing.flush_blocking(LONG);
        collector.play(too_large);
        serve(&tracing, 1);
        tracing.flush_blocking(LONG);
        let mut settled = vec![
            "exported | 2",
            "exported failed | 2",
            "exported rejected | 1",
            "exported too_large | 1",
            "inflight | 0",
            "processed | 6",
            "processed too_large | 1",
        ];
        assert_eq!(reported(&meters), lines(&settled), "{}", tracing.stats());

        let layer = TraceLayer::server(&tracing);
        tracing.shutdown_blocking(LONG);
        assert_eq!(reported(&meters), lines(&settled), "the last numbers stay");
        let service =
            service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(String::new()))));
        let _ = layer.layer(service).call(Request::new(())).now_or_never().unwrap();
        settled.push("processed already_shutdown | 1");
        assert_eq!(reported(&meters), lines(&settled), "one that came late");
    }
}

#[test]
fn what_is_given_up_or_in_the_way_is_reported_as_lost() {
    let collector = Collector::start(Answer::new(503));
    let tracing = config(&collector.http_url())
        .retry(RetryConfig::default().give_up_after(Duration::from_millis(1)))
        .start("sinks")
        .unwrap();
    let meters = Meters::new();
    tracing.metrics(&meters.provider);
    let server = format!("server.address=127.0.0.1 server.port={}", collector.address().port());
    let lines = |rows: &[&str]| expected(rows, "otlp_http_span_exporter", &server);
    serve(&tracing, 1);
    assert_eq!(tracing.flush_blocking(LONG).dropped.retries_exhausted, 1);
    let mut rows = vec!["exported | 0", "exported retries_exhausted | 1"];
    let given_up = [&rows[..], &["inflight | 0", "processed | 1"]].concat();
    assert_eq!(reported(&meters), lines(&given_up));

    collector.play(Script::Silence);
    serve(&tracing, 1);
    assert_eq!(tracing.flush_blocking(SHORT).pending, 1);
    let waits = [&rows[..], &["inflight | 1", "processed | 2"]].concat();
    assert_eq!(reported(&meters), lines(&waits));
    tracing.shutdown_blocking(SHORT);
    rows.extend(["exported shutdown | 1", "inflight | 0", "processed | 2"]);
    assert_eq!(reported(&meters), lines(&rows));
}

#[test]
fn a_full_queue_is_reported_of_those_that_were_not_taken_and_of_those_that_made_room() {
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let collector = Collector::start(Script::Ok);
        let queue = QueueConfig::default().max_bytes(8 << 20).when_full(when_full);
        let tracing = config(&collector.http_url())
            .queue(queue)
            .wait_for_resource_attributes(LONG)
            .start("sinks")
            .unwrap();
        let meters = Meters::new();
        tracing.metrics(&meters.provider);
        let server = format!("server.address=127.0.0.1 server.port={}", collector.address().port());
        (0..20).for_each(|_| drop(serve_large(&tracing, 1 << 20)));
        if when_full == WhenFull::DropOldest {
            // Sealed, it is the worker who makes room; a flush makes sure that it has.
            assert!(tracing.flush_blocking(SHORT).pending > 0, "held");
        }
        tracing.set_resource_attributes([KeyValue::new("host.id", "a")]);
        let stats = tracing.flush_blocking(LONG);
        assert_eq!((stats.accepted, stats.pending), (20, 0));
        assert!(stats.dropped.queue_full > 0, "{stats}");
        assert_eq!(stats.delivered + stats.dropped.queue_full, 20, "{stats}");

        let lines = reported(&meters);
        let of = |what: &str| -> u64 {
            let numbers = lines.iter().filter(|line| line.starts_with(what));
            numbers.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        let refused = of("otel.sdk.processor.span.processed | error.type=queue_full ");
        let evicted = of("otel.sdk.exporter.span.exported | error.type=queue_full ");
        assert_eq!(refused + evicted, stats.dropped.queue_full, "{lines:#?}");
        match when_full {
            WhenFull::DropOldest => assert!(evicted > 0, "{lines:#?}"),
            _ => assert_eq!(evicted, 0, "{lines:#?}"),
        }
        let mut rows = vec![
            format!("exported | {}", stats.delivered),
            "inflight | 0".to_owned(),
            format!("processed | {}", 20 - refused),
        ];
        let lost = [("exported", evicted), ("processed", refused)];
        let lost = lost.into_iter().filter(|(_, spans)| *spans > 0);
        rows.extend(lost.map(|(what, spans)| format!("{what} queue_full | {spans}")));
        let rows: Vec<_> = rows.iter().map(String::as_str).collect();
        assert_eq!(lines, expected(&rows, "otlp_http_span_exporter", &server));
        tracing.shutdown_blocking(LONG);
    }
}

#[test]
fn exporters_without_a_word_of_the_conventions_have_one_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let (in_memory, _spans) = TracingService::in_memory();
    let file = tracing_to(&format!("file://{}", directory.path().display()));
    let rows = [(in_memory, "in_memory_span_exporter"), (file, "otlp_file_span_exporter")];
    for (tracing, exporter) in rows {
        let [meters, others] = [Meters::new(), Meters::new()];
        tracing.metrics(&meters.provider);
        tracing.metrics(&*global::meter_provider());
        serve(&tracing, 2);
        tracing.flush_blocking(LONG);
        // Of two providers each has all, and one that is told twice no more than that.
        tracing.metrics(&others.provider);
        tracing.metrics(&others.provider);
        let rows = ["exported | 2", "inflight | 0", "processed | 2"];
        assert_eq!(reported(&meters), expected(&rows, exporter, ""));
        assert_eq!(reported(&others), expected(&rows, exporter, ""));
        tracing.shutdown_blocking(LONG);
    }

    let meters = Meters::new();
    TracingServiceConfig::disabled().start("sinks").unwrap().metrics(&meters.provider);
    assert_eq!(meters.lines(), [""; 0], "tracing is disabled");
}

#[test]
fn components_are_numbered() {
    let number = || {
        let (tracing, _spans) = TracingService::in_memory();
        let meters = Meters::new();
        tracing.metrics(&meters.provider);
        let line = &meters.lines()[0];
        let name = "otel.component.name=in_memory_span_exporter/";
        let (_, rest) = line.split_once(name).unwrap();
        rest.split_once(' ').unwrap().0.parse::<u64>().unwrap()
    };
    let first = number();
    assert!(number() > first, "each is another one");
}

#[test]
fn names_units_and_descriptions_are_those_of_the_conventions() {
    let (tracing, _spans) = TracingService::in_memory();
    let meters = Meters::new();
    tracing.metrics(&meters.provider);
    let expected = [
        (
            "otel.sdk.exporter.span.exported",
            "The number of spans for which the export has finished, either successful or failed.",
        ),
        (
            "otel.sdk.exporter.span.inflight",
            "The number of spans which were passed to the exporter, but that have not been \
             exported yet (neither successful, nor failed).",
        ),
        (
            "otel.sdk.processor.span.processed",
            "The number of spans for which the processing has finished, either successful or \
             failed.",
        ),
    ];
    let expected = expected.map(|(name, words)| format!("{name}, {{span}}: {words}"));
    assert_eq!(meters.instruments(), expected);
}

fn config(url: &str) -> TracingServiceConfig {
    TracingServiceConfig::new(url.parse().unwrap()).sampling_rate_per_million(1_000_000)
}

/// What was reported, without the numbers of the components.
fn reported(meters: &Meters) -> Vec<String> {
    let unnumbered = |word: &str| match word.starts_with("otel.component.name=") {
        true => word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
        false => word.to_owned(),
    };
    let lines = meters.lines().into_iter();
    lines.map(|line| line.split(' ').map(unnumbered).collect::<Vec<_>>().join(" ")).collect()
}

/// Rows of what, the error if there is one, and how many, as lines.
fn expected(rows: &[&str], exporter: &str, server: &str) -> Vec<String> {
    let line = |row: &&str| {
        let (what, spans) = row.split_once(" | ").unwrap();
        let (what, error) = what.split_once(' ').unwrap_or((what, ""));
        let (of, component, server) = match what {
            "processed" => ("processor", "tower_otlp::TracingService", ""),
            _ => ("exporter", exporter, server),
        };
        let error = if error.is_empty() { "" } else { &format!("error.type={error} ") };
        let server = if server.is_empty() { "" } else { &format!(" {server}") };
        format!(
            "otel.sdk.{of}.span.{what} | {error}otel.component.name={component}/ \
             otel.component.type={component}{server} | {spans}"
        )
    };
    let mut lines: Vec<_> = rows.iter().map(line).collect();
    lines.sort();
    lines
}
