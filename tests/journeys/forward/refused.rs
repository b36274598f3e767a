//! Senders who may not, or not now, or not here.

use std::num::NonZeroU32;

use futures_util::future::{join, join_all};
use tower_otlp::{ForwardLimits, Refused};

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::logs::Log;
use crate::sinks::script::Script;

#[tokio::test]
async fn one_sender_s_excess_is_no_other_s_loss() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    let limits = ForwardLimits::default().spans_per_second_of_each(NonZeroU32::new(100).unwrap());
    let forwarder = by_name(&tracing).limits(limits);
    let forwarding = Forwarding::start(&forwarder).await;
    let log = Log::about("\"greedy\"");

    // All at once, and again if a slow machine gave each of them a second for itself.
    let (mut taken, mut over) = (0, 0);
    let channel = forwarding.channel();
    while over < 5 {
        let excess = (0..10).map(|_| export(channel.clone(), "greedy", request(1, 100)));
        let modest = export(channel.clone(), "modest", request(2, 1));
        let (told, modest) = join(join_all(excess), modest).await;
        modest.expect("a modest sender is not in the way of a greedy one");
        taken += 1;
        for told in told {
            let Err(status) = told else {
                taken += 100;
                continue;
            };
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert_eq!(status.message(), "more than 100 spans per second of this sender");
            assert!(!status.details().is_empty(), "when to try again");
            over += 1;
        }
    }
    let too_large = export(forwarding.channel(), "greedy", request(3, 101)).await;
    let words = "message too large: more than 100 spans or resources".to_owned();
    assert_eq!(refusal(too_large), (Code::ResourceExhausted, words));
    let unknown = forwarding.post(Version::HTTP_2, post("", PROTOBUF, "")).await;
    assert_eq!(unknown.status().as_u16(), 403);

    assert_eq!(tracing.shutdown(LONG).await, delivered(taken));
    assert_eq!(collector.spans().len() as u64, taken);
    let stats = forwarder.stats();
    assert_eq!(stats.spans, taken);
    assert_eq!(stats.requests, stats.taken + over + 2);
    let mut refused = Refused::default();
    (refused.over_limit, refused.too_large, refused.denied) = (over, 1, 1);
    assert_eq!(stats.refused, refused);
    (refused.over_limit, refused.too_large, refused.denied) = (100 * over, 0, 0);
    assert_eq!(stats.spans_refused, refused);
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "one for each reason: {lines:?}");
}

#[tokio::test]
async fn where_tracing_is_disabled_senders_are_told_to_stop() {
    let tracing = TracingServiceConfig::disabled().start("forward").unwrap();
    let forwarding = Forwarding::start(&by_name(&tracing)).await;
    let told = refusal(export(forwarding.channel(), "alice", request(1, 1)).await);
    let words = "tracing is disabled here: no spans are taken".to_owned();
    assert_eq!(told, (Code::Unimplemented, words));
    let answer = forwarding.post(Version::HTTP_11, post("alice", JSON, "{}")).await;
    assert_eq!(answer.status().as_u16(), 404);
}

#[tokio::test]
async fn after_the_shutdown_senders_are_told_to_come_again() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    let forwarder = by_name(&tracing);
    let forwarding = Forwarding::start(&forwarder).await;
    export(forwarding.channel(), "alice", request(1, 2)).await.unwrap();
    assert_eq!(tracing.shutdown(LONG).await, delivered(2));
    let told = refusal(export(forwarding.channel(), "alice", request(2, 2)).await);
    assert_eq!(told, (Code::Unavailable, "the tracing service is shut down".to_owned()));
    let answer = forwarding.post(Version::HTTP_11, post("alice", PROTOBUF, encoded(2, 2))).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(forwarder.stats().spans_refused.shut_down, 4);
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn what_waits_for_a_backend_that_is_away_leaves_room_for_our_own_spans() {
    let collector = Collector::start(Script::Silence);
    let queue = tower_otlp::QueueConfig::default().max_bytes(1 << 20).max_batch_bytes(64 << 10);
    let tracing = TracingServiceConfig::new(collector.grpc_url().parse().unwrap())
        .sampling_rate_per_million(1_000_000)
        .queue(queue)
        .start("forward")
        .unwrap();
    let forwarder = by_name(&tracing);
    let forwarding = Forwarding::start(&forwarder).await;
    let mut taken = 0;
    let refusal = loop {
        match export(forwarding.channel(), "alice", request(1, 500)).await {
            Ok(_) => taken += 500,
            Err(status) => break status,
        }
    };
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert_eq!(refusal.message(), "too many bytes of this sender are under way");
    assert_eq!(tracing.stats(), {
        let mut stats = Stats::default();
        (stats.accepted, stats.pending) = (taken, taken);
        stats
    });
    assert_eq!(tracing.stats().dropped.total(), 0);
    collector.play(Script::Ok);
    assert_eq!(tracing.flush(LONG).await, delivered(taken));
    export(forwarding.channel(), "alice", request(2, 500)).await.expect("there is room again");
    assert_eq!(tracing.shutdown(LONG).await, delivered(taken + 500));
}

#[tokio::test]
async fn a_forwarder_that_exports_to_itself_says_so() {
    for is_grpc in [true, false] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let url = match is_grpc {
            true => format!("grpc://{address}"),
            false => format!("http://{address}/v1/traces"),
        };
        let tracing = tracing_to(&url);
        let forwarder = by_name(&tracing);
        let anybody = tracing.forwarder(SpanForwarder::allow_anonymous);
        if is_grpc {
            let server = Server::builder().add_service(anybody.grpc());
            tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        } else {
            let app = Router::new().route_service("/v1/traces", anybody.http());
            tokio::spawn(async { axum::serve(listener, app).await });
        }
        let log = Log::about(&url);
        // One of somebody else's, by another door: it comes back, too.
        let forwarding = Forwarding::start(&forwarder).await;
        export(forwarding.channel(), "alice", request(1, 3)).await.unwrap();
        let mut expected = Stats::default();
        (expected.accepted, expected.dropped.failed) = (3, 3);
        assert_eq!(tracing.flush(LONG).await, expected);
        let _ = crate::sinks::serve_large(&tracing, 1);
        (expected.accepted, expected.dropped.failed) = (4, 4);
        assert_eq!(tracing.shutdown(LONG).await, expected, "and our own");
        let stats = anybody.stats();
        assert_eq!((stats.requests, stats.refused.looping), (2, 2));
        let words = "this forwarder gets its own exports: exporter_url leads back to it";
        assert!(log.lines().iter().any(|line| line.contains(words)), "{:?}", log.lines());
    }
}
