//! Spans that wait until the service knows who it is, on their way to a collector.

use std::thread;
use std::time::Instant;

use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use tokio::net::TcpSocket;

use super::delivery::spans_of;
use super::script::Answer;
use super::*;

#[test]
fn what_finds_no_room_while_spans_are_held_is_counted_and_the_rest_arrives() {
    const MIB: usize = 1 << 20;
    for url in [Collector::grpc_url, Collector::http_url] {
        let collector = Collector::start(Script::Ok);
        let tracing = held(&url(&collector));
        let mut served: Vec<_> = (0..40).map(|_| serve_large(&tracing, MIB)).collect();
        // Of two sizes, so that the last of the room is used, too.
        served.extend(serve(&tracing, 2_000));
        let stats = tracing.stats();
        assert!(stats.dropped.queue_full >= 9, "32 MiB hold no more: {stats}");
        assert_eq!(stats.pending, stats.accepted - stats.dropped.queue_full, "{stats}");
        assert_eq!((stats.accepted, collector.received().len()), (2_040, 0));

        tracing.set_resource_attributes([KeyValue::new("host.id", "a")]);
        let flushed = tracing.flush_blocking(LONG);
        assert_eq!((flushed.delivered, flushed.dropped), (stats.pending, stats.dropped));
        let arrived = collector.ids();
        assert_eq!(arrived.len() as u64, stats.pending, "each once");
        assert_eq!(collector.spans().len(), arrived.len(), "and none twice");
        assert!(arrived.is_subset(&ids(&served)));
        assert_told(&collector);

        // There is room again.
        let served = serve_large(&tracing, MIB);
        assert_eq!(tracing.shutdown_blocking(LONG).delivered, stats.pending + 1);
        assert!(collector.ids().is_superset(&ids(&[served])));
    }
}

#[test]
fn what_several_tracers_have_ended_in_seconds_is_a_request_of_each() {
    type End = fn(TracingService) -> Stats;
    let ends: [(End, &str); 2] = [
        (|tracing| tracing.shutdown_blocking(LONG), "shut down before it was known"),
        (
            |tracing| {
                tracing.set_resource_attributes([KeyValue::new("host.id", "a")]);
                tracing.shutdown_blocking(LONG)
            },
            "known",
        ),
    ];
    for (end, why) in ends {
        let collector = Collector::start(Script::Ok);
        let tracing = held(&collector.grpc_url());
        let provider = tracing.tracer_provider();
        let tracers = ["a", "b", "c"].map(|name| provider.tracer(name));
        for _ in 0..25 {
            tracers.iter().for_each(|tracer| tracer.in_span("work", |_| {}));
            thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(end(tracing), settled(75, 0), "{why}");
        let sizes: Vec<_> = collector
            .received()
            .iter()
            .map(|received| spans_of(&received.message.resource_spans).count())
            .collect();
        assert_eq!(sizes, [25; 3], "{why}");
    }
}

#[test]
fn a_service_that_is_dropped_while_spans_are_held_ends_and_says_what_is_lost() {
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refused = format!("grpc://{}", nobody.local_addr().unwrap());
    let silent = Collector::start(Script::Silence);
    let ill = Collector::start(Answer::grpc("13"));
    // Numbers of spans by which the lines are known.
    let rows = [
        (refused, 1231, "dropped 1231 (shut down 1231), pending 0", "nobody is there"),
        (ill.grpc_url(), 1237, "dropped 1237 (export failed 1237), pending 0", "all is refused"),
        (silent.grpc_url(), 1249, "dropped 1249 (shut down 1249), pending 0", "no answer"),
    ];
    for (url, spans, lost, why) in rows {
        let log = Log::about(&format!("spans were lost: spans: accepted {spans},"));
        let dropped = Log::about(&format!(
            "without shutdown: spans that end from now on are lost, and so is what is pending if \
             the program ends before it is exported; spans: accepted {spans}, delivered 0, \
             rejected 0, dropped 0, pending {spans}",
        ));
        let tracing = held(&url);
        serve(&tracing, spans);
        let start = Instant::now();
        drop(tracing);
        assert!(start.elapsed() < Duration::from_secs(3), "{why}: nobody waits");
        while log.lines().is_empty() {
            assert!(start.elapsed() < LONG, "{why}");
            thread::sleep(Duration::from_millis(20));
        }
        let [line] = &log.lines()[..] else { panic!("{why}: {:?}", log.lines()) };
        assert!(line.ends_with(lost), "{why}: {line}");
        assert_eq!(dropped.lines().len(), 1, "{why}");
    }
}

/// Every request has the attribute that was waited for.
fn assert_told(collector: &Collector) {
    for received in collector.received() {
        for resource in received.message.resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let id = attributes.into_iter().find(|attribute| attribute.key == "host.id");
            let id = id.and_then(|attribute| attribute.value).and_then(|value| value.value);
            assert_eq!(id, Some(ProtoValue::StringValue("a".into())));
        }
    }
}

/// A tracing service that records everything and waits.
fn held(url: &str) -> TracingService {
    TracingServiceConfig::new(url.parse().unwrap())
        .sampling_rate_per_million(1_000_000)
        .wait_for_resource_attributes(Duration::MAX)
        .start("sinks")
        .unwrap()
}
