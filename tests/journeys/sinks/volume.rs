//! A hundred thousand spans at full speed.

use std::fs;
use std::thread;

use tower_otlp::TracingService;

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
