//! A hundred thousand spans at full speed, and more than find room.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use prost::Message;
use tower_otlp::{QueueConfig, TracingService, TracingServiceConfig};

use super::collector::Collector;
use super::files::{directory, files, url};
use super::script::Script;
use super::{LONG, serve, settled, tracing_to};

#[test]
fn a_hundred_thousand_spans_arrive_over_grpc() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    serve_all(&tracing);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(SPANS, 0));
    assert_eq!(collector.ids().len() as u64, SPANS, "each one, and once");
    assert_eq!(collector.connections(), 1);
}

#[test]
fn a_hundred_thousand_spans_arrive_in_files() {
    let (_root, directory) = directory();
    let tracing = tracing_to(&format!("{}?limit={LIMIT}", url(&directory)));
    serve_all(&tracing);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(SPANS, 0));

    let mut spans = 0;
    let files = files(&directory);
    assert!(files.len() > 2, "{} files", files.len());
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.len() as u64 <= LIMIT && text.ends_with('\n'));
        spans += text.matches("\"spanId\":").count() as u64;
    }
    assert_eq!(spans, SPANS);
}

#[test]
fn of_what_a_sink_does_not_take_exactly_the_overflow_of_the_budget_is_lost_and_counted() {
    let collector = Collector::start(Script::Silence);
    let tracing = TracingServiceConfig::new(collector.grpc_url().parse().unwrap())
        .sampling_rate_per_million(1_000_000)
        .queue(QueueConfig::default().max_bytes(BUDGET))
        .start("sinks")
        .unwrap();
    serve(&tracing, OFFERED);
    let full = tracing.stats();
    collector.play(Script::Ok);
    let stats = tracing.shutdown_blocking(LONG);

    let sizes: BTreeSet<_> = collector.spans().iter().map(Message::encoded_len).collect();
    assert_eq!(sizes.len(), 1, "all are of one size: {sizes:?}");
    let size = sizes.last().map_or(0, |size| 1 + prost::length_delimiter_len(*size) + size);
    let (fit, offered) = ((BUDGET / size) as u64, OFFERED as u64);
    assert!(fit > 0 && fit < offered, "{size} bytes each");
    assert_eq!((full.accepted, full.pending), (offered, fit), "while nothing goes: {full}");
    assert_eq!(full.dropped.queue_full, offered - fit, "while nothing goes: {full}");
    assert_eq!((stats.delivered, stats.dropped), (fit, full.dropped), "{stats}");
    assert_eq!(collector.ids().len() as u64, fit, "each one, and once");
}

/// From two threads, with a flush now and then so that no span finds the queue full.
fn serve_all(tracing: &TracingService) {
    for _ in 0..ROUNDS {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| serve(tracing, SPANS as usize / ROUNDS / 2));
            }
        });
        let stats = tracing.flush_blocking(LONG);
        assert_eq!(stats, settled(stats.accepted, 0));
    }
}

const SPANS: u64 = 100_000;
const ROUNDS: usize = 5;
/// Size of a file: several are filled.
const LIMIT: u64 = 16 << 20;
/// Memory for spans that wait. Nearly four of five that are offered find none.
const BUDGET: usize = 1 << 20;
const OFFERED: usize = 20_000;
