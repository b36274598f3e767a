//! Spans on their way out: to collectors over gRPC and HTTP, good and hostile, and to files.
//!
//! What exporters are known to get wrong, and the tests that hold this one to it:
//!
//! | subject | tests (those with a path are unit tests) |
//! |---|---|
//! | only what is sampled | `otel::processor`: `only_sampled_spans_are_exported` |
//! | limits, repeated keys | `record::encoder`: `what_does_not_fit_the_limits_…`; `limits_are_for_the_spans_of_layers_and_of_the_provider` |
//! | a bounded queue | `pipeline::worker`: `when_full_the_newest_or_the_oldest_are_dropped`; `of_what_finds_no_room_the_newest_stay_…`; `of_what_a_sink_does_not_take_…`; `tests/memory` |
//! | an export stalls no other | `pipeline::worker`: `one_batch_that_is_never_answered_does_not_hold_the_others` |
//! | retry with backoff | `pipeline::retry`, `pipeline::worker`: `retry_with_backoff_…`; `an_outage_of_rotel_under_load_loses_no_span` |
//! | retryable codes | `sink`: `retryable_codes_are_exactly_those_of_otlp`; `retryable_codes_are_tried_again_…` |
//! | RetryInfo, `Retry-After` | `sink::retry_info`, `sink::delay`; `retry_info_and_retry_after_are_obeyed` |
//! | message too large | `sink::grpc`: `message_too_large_is_told_by_words_and_split`; `message_too_large_is_sent_in_parts_…`; `too_large_is_understood_when_…` |
//! | batches by size | `pipeline::worker`: `requests_are_cut_ahead_of_time_by_bytes_and_by_spans`; `requests_hold_as_much_as_they_may` |
//! | partial success | `partial_success_is_never_retried` |
//! | one timeout for the whole call | `the_timeout_is_that_of_a_whole_attempt` |
//! | dead connections | `an_exchange_that_hangs_is_given_up_and_its_connection_not_used_again`; `sink::exchange`: `an_idle_connection_whose_peer_has_gone_dark_…`; `names`; `storm` |
//! | any runtime, or none | `runtimes` |
//! | flush tells the truth | `pipeline::worker`: `flush_reports_every_batch_and_cuts_the_pauses_short` |
//! | shutdown tells the loss | `pipeline::worker`: `a_shutdown_gives_each_batch_one_last_attempt_and_counts_the_rest` |
//! | gzip | `gzip_brings_the_same_spans_and_small_requests_are_not_compressed` |
//! | TLS and mutual TLS | `tls` |
//! | a channel of the program's | `channel` |
//! | files | `files`, `full_disk` |
//! | JSON on one line | `record::json`; `files` |
//! | limits of a receiver, also after decompression | `forward::receive`; `crate::forward`: `hostile_senders_are_answered_and_others_lose_nothing` |
//! | what the exporter says of itself | `logs`, `measured` |

mod chain;
mod channel;
pub(crate) mod collector;
mod delivery;
mod environment;
mod files;
mod full_disk;
mod hanging;
mod held;
mod hostile_grpc;
mod hostile_http;
mod itself;
pub(crate) mod logs;
#[cfg(feature = "metrics")]
mod measured;
mod names;
mod no_loop;
mod outage;
mod retry;
pub(crate) mod rotel;
mod rotel_tracing;
mod runtimes;
pub(crate) mod script;
mod settings;
mod starting;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod tls;
mod unix;
mod volume;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::ready;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Empty;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};
use tower::{Layer, Service, service_fn};
use tower_otlp::opentelemetry;
use tower_otlp::{Stats, TraceContext, TraceLayer, TracingService, TracingServiceConfig};

use self::collector::Collector;
use self::logs::Log;
use self::script::Script;

/// A tracing service that records every request and exports to `url`.
fn tracing_to(url: &str) -> TracingService {
    TracingServiceConfig::new(url.parse().unwrap())
        .sampling_rate_per_million(1_000_000)
        .start("sinks")
        .unwrap()
}

/// Serves so many requests, each of which becomes a span, and returns what the responses say of
/// their traces.
fn serve(tracing: &TracingService, requests: usize) -> Vec<TraceContext> {
    (0..requests).map(|_| call(tracing, || ())).collect()
}

/// Serves a request whose span is above this size.
pub(crate) fn serve_large(tracing: &TracingService, size: usize) -> TraceContext {
    call(tracing, || {
        let filling = KeyValue::new("filling", "x".repeat(size));
        Context::map_current(|context| context.span().set_attribute(filling));
    })
}

/// Calls a service that does this for its request.
fn call(tracing: &TracingService, work: impl Fn()) -> TraceContext {
    let service = service_fn(|_: Request<()>| {
        work();
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut service = TraceLayer::server(tracing).layer(service);
    let response = service.call(Request::new(())).now_or_never().expect("a ready answer");
    let response = response.unwrap_or_else(|never| match never {});
    response.extensions().get::<TraceContext>().expect("a recorded request").clone()
}

/// Trace and span ids, as OTLP has them.
type Ids = BTreeSet<(Vec<u8>, Vec<u8>)>;

fn ids(spans: &[TraceContext]) -> Ids {
    let id = |span: &TraceContext| {
        (span.trace_id().to_bytes().to_vec(), span.span_id().to_bytes().to_vec())
    };
    spans.iter().map(id).collect()
}

/// The stats of a service whose spans were all refused, or delivered.
fn settled(delivered: u64, failed: u64) -> Stats {
    let mut stats = Stats::default();
    stats.accepted = delivered + failed;
    stats.delivered = delivered;
    stats.dropped.failed = failed;
    stats
}

/// Holds the exporter to its promise about a hostile collector: the log says why the spans do not
/// arrive, and whether they are kept, and once the collector is well again those that were kept
/// and new ones are delivered by the same pipeline.
fn assert_fails_and_recovers(collector: &Collector, url: &str, words: &str, why: &str) {
    let log = Log::about(url);
    let tracing = tracing_to(url);
    let mut served = serve(&tracing, 3);
    let _ = tracing.flush_blocking(SHORT);
    let lines = wait_for_line(&log, words);
    let kept = lines.iter().any(|line| line.contains("trying again"));
    let lost = lines.iter().any(|line| line.contains("spans lost"));
    // The spans may have gone out in several batches, but have met the same trouble.
    assert!(kept != lost, "{why}: {lines:?}");
    assert!(collector.played() > 0, "{why}: the script was not played");

    collector.play(Script::Ok);
    let new = serve(&tracing, 2);
    let stats = tracing.flush_blocking(LONG);
    let expected = if kept { settled(5, 0) } else { settled(2, 3) };
    assert_eq!(stats, expected, "{why}: {:?}", log.lines());
    if !kept {
        served.clear();
    }
    served.extend(new);
    assert!(collector.ids().is_superset(&ids(&served)), "{why}");
    assert!(log.lines().len() <= LINES_A_MINUTE, "{why}: {:?}", log.lines());
    assert_eq!(tracing.shutdown_blocking(LONG), expected, "{why}");
}

/// The lines of a log, once there is one with these words.
fn wait_for_line(log: &Log, words: &str) -> Vec<String> {
    let start = Instant::now();
    loop {
        let lines = log.lines();
        if lines.iter().any(|line| line.contains(words)) {
            return lines;
        }
        assert!(start.elapsed() < LONG, "no {words:?} in {lines:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The stats of a service all of whose spans were still on their way when it was shut down.
fn shut_down(spans: u64) -> Stats {
    let mut stats = Stats::default();
    stats.accepted = spans;
    stats.dropped.shutdown = spans;
    stats
}

/// The stats of a service all of whose spans are on their way.
fn pending(spans: u64) -> Stats {
    let mut stats = Stats::default();
    stats.accepted = spans;
    stats.pending = spans;
    stats
}

/// Says that a test did not run, and why.
#[expect(clippy::print_stderr, reason = "whoever reads the results must know")]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

const LINES_A_MINUTE: usize = 10;
/// A deadline that is not expected to be reached.
const LONG: Duration = Duration::from_secs(60);
/// A deadline that is expected to be reached.
const SHORT: Duration = Duration::from_millis(50);
