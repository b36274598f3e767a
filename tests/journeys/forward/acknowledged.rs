//! Senders who are told only when the backend has their spans.

use std::thread;

use tower_otlp::{Acknowledge, RetryConfig};

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::script::{Answer, Script};

#[tokio::test]
async fn a_sender_waits_for_the_backend_and_is_told_what_it_said() {
    let collector = Collector::start(Script::Silence);
    let tracing = tracing_to(&collector.grpc_url());
    let forwarder = by_name(&tracing).acknowledge(Acknowledge::WhenDelivered);
    let forwarding = Forwarding::start(&forwarder).await;

    let waiting = tokio::spawn(export(forwarding.channel(), "alice", request(1, 4)));
    let collector = thread::spawn(move || {
        collector.wait_for(1);
        collector
    });
    let collector = tokio::task::spawn_blocking(|| collector.join().unwrap()).await.unwrap();
    assert!(!waiting.is_finished(), "the backend has not answered yet");
    collector.play(Script::Ok);
    assert_eq!(waiting.await.unwrap().unwrap(), ExportTraceServiceResponse::default());

    collector.play(Script::Partial(3, "no"));
    let told = export(forwarding.channel(), "alice", request(2, 4)).await.unwrap();
    let partial = told.partial_success.unwrap();
    let words = "spans were rejected by the backend";
    assert_eq!((partial.rejected_spans, &*partial.error_message), (3, words));

    // For good: to send them again would not help.
    collector.play(Answer::grpc("13"));
    let told = export(forwarding.channel(), "alice", request(3, 4)).await.unwrap();
    let partial = told.partial_success.unwrap();
    assert_eq!((partial.rejected_spans, &*partial.error_message), (4, words));
    let answer = forwarding.post(Version::HTTP_11, post("alice", PROTOBUF, encoded(4, 4))).await;
    assert_eq!(answer.status().as_u16(), 200);
    let told = ExportTraceServiceResponse::decode(answer.into_body()).unwrap();
    assert_eq!(told.partial_success.unwrap(), partial);

    let mut expected = Stats::default();
    (expected.accepted, expected.delivered, expected.rejected) = (16, 5, 3);
    expected.dropped.failed = 8;
    assert_eq!(tracing.shutdown(LONG).await, expected);
    let stats = forwarder.stats();
    assert_eq!((stats.requests, stats.taken, stats.spans), (4, 4, 16), "all were taken first");
}

#[tokio::test]
async fn a_sender_may_try_again_what_was_lost_for_now() {
    let collector = Collector::start(Answer::grpc("14"));
    let tracing = TracingServiceConfig::new(collector.grpc_url().parse().unwrap())
        .retry(RetryConfig::default().give_up_after(Duration::ZERO))
        .start("forward")
        .unwrap();
    let forwarder = by_name(&tracing).acknowledge(Acknowledge::WhenDelivered);
    let forwarding = Forwarding::start(&forwarder).await;

    let status = export(forwarding.channel(), "alice", request(1, 4)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "none of the spans could be delivered");
    assert!(!status.details().is_empty(), "when to try again");
    let answer = forwarding.post(Version::HTTP_11, post("alice", PROTOBUF, encoded(2, 4))).await;
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    collector.play(Script::Ok);
    let told = export(forwarding.channel(), "alice", request(1, 4)).await.unwrap();
    assert_eq!(told, ExportTraceServiceResponse::default());

    let mut expected = Stats::default();
    (expected.accepted, expected.delivered, expected.dropped.retries_exhausted) = (12, 4, 8);
    assert_eq!(tracing.shutdown(LONG).await, expected);
}

#[tokio::test]
async fn without_that_a_sender_waits_for_nobody() {
    let collector = Collector::start(Script::Silence);
    let tracing = tracing_to(&collector.grpc_url());
    let forwarding = Forwarding::start(&by_name(&tracing)).await;
    let told = export(forwarding.channel(), "alice", request(1, 4)).await.unwrap();
    assert_eq!(told, ExportTraceServiceResponse::default());
    assert_eq!(tracing.stats().pending, 4);
    collector.play(Script::Ok);
    assert_eq!(tracing.shutdown(LONG).await, delivered(4));
}
