//! Services that learn who they are after they have begun to serve.

use std::convert::Infallible;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response};
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{InMemorySpans, RecordedSpan, TraceLayer, TracingService, TracingServiceConfig};

use crate::support::spans::{PATIENCE, all, next};

#[tokio::test]
async fn what_was_recorded_before_the_service_knew_who_it_is_says_so_all_the_same() {
    let (tracing, mut spans) = start(Some(FOREVER));
    let provider = tracing.tracer_provider();
    let other = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name("billing").build())
        .with_span_processor(tracing.span_processor())
        .build();

    serve(&tracing);
    provider.tracer("app").in_span("join", |_| {});
    other.tracer("app").in_span("nightly", |_| {});
    let held = tracing.flush(Duration::from_millis(50)).await;
    assert_eq!((held.accepted, held.pending, spans.take().len()), (3, 3, 0), "{held}");

    tracing.set_resource_attributes([KeyValue::new("host.id", "a")]);
    let [request, join, nightly] =
        [next(&mut spans).await, next(&mut spans).await, next(&mut spans).await];
    assert_eq!([&*request.name, &*join.name, &*nightly.name], ["GET", "join", "nightly"]);
    assert_eq!([host_id(&request), host_id(&join)], [Some("a".into()), Some("a".into())]);
    assert_eq!(request.resource, join.resource, "one resource");
    assert!(request.resource.contains(&KeyValue::new("service.name", "node")), "as before");
    let billing = [KeyValue::new("service.name", "billing")];
    assert_eq!(nightly.resource, billing, "another provider has its own");

    // Known scopes and open chunks are no reason to tell what was true before.
    tracing.set_resource_attributes([KeyValue::new("host.id", "b")]);
    serve(&tracing);
    provider.tracer("app").in_span("leave", |_| {});
    for name in ["GET", "leave"] {
        let span = next(&mut spans).await;
        assert_eq!((&*span.name, host_id(&span)), (name, Some("b".into())));
        let told = span.resource.iter().filter(|it| it.key.as_str() == "host.id").count();
        assert_eq!(told, 1, "{name}: in place of the earlier one");
    }
    all(tracing, spans).await;
}

#[tokio::test]
async fn a_test_sees_what_was_held_in_the_order_in_which_it_ended() {
    let (tracing, mut spans) = start(Some(FOREVER));
    let provider = tracing.tracer_provider();
    for _ in 0..3 {
        provider.tracer("app").in_span("join", |_| {});
        serve(&tracing);
    }
    tracing.set_resource_attributes([]);
    for name in ["join", "GET"].repeat(3) {
        assert_eq!(next(&mut spans).await.name, name);
    }
    all(tracing, spans).await;
}

#[tokio::test]
async fn a_service_that_never_learns_who_it_is_exports_all_the_same() {
    type End = fn(&TracingService);
    // Wait; what ends it; value; reason.
    let rows: [(Duration, End, Option<&str>, &str); 5] = [
        (Duration::from_millis(50), |_| {}, None, "the time is over"),
        (Duration::ZERO, |_| {}, None, "there is no time"),
        (FOREVER, |tracing| tracing.set_resource_attributes([]), None, "it is told so"),
        (
            Duration::ZERO,
            |tracing| tracing.set_resource_attributes([KeyValue::new("host.id", "a")]),
            Some("a"),
            "or it is told late",
        ),
        (
            FOREVER,
            |tracing| tracing.set_resource_attributes([KeyValue::new("service.name", "b")]),
            None,
            "or what cannot be told",
        ),
    ];
    for (wait, end, expected, why) in rows {
        let (tracing, mut spans) = start(Some(wait));
        end(&tracing);
        serve(&tracing);
        let span = next(&mut spans).await;
        assert_eq!(host_id(&span), expected.map(Value::from), "{why}");
        let named = span.resource.contains(&KeyValue::new("service.name", "node"));
        assert!(named, "{why}: {:?}", span.resource);
        assert_eq!(tracing.shutdown(PATIENCE).await.delivered, 1, "{why}");
    }
}

#[tokio::test]
async fn a_service_that_ends_before_it_knows_who_it_is_exports_what_it_has() {
    // One that is dropped has five seconds, of which this takes none.
    type End = fn(TracingService);
    let ends: [(&str, End); 3] = [
        ("shutdown", |tracing| assert_eq!(tracing.shutdown_blocking(PATIENCE).delivered, 1)),
        ("flush first", |tracing| {
            assert_eq!(tracing.flush_blocking(Duration::ZERO).pending, 1);
            assert_eq!(tracing.shutdown_blocking(PATIENCE).delivered, 1);
        }),
        ("drop", drop),
    ];
    for (why, end) in ends {
        let (tracing, mut spans) = start(Some(FOREVER));
        serve(&tracing);
        end(tracing);
        assert_eq!(next(&mut spans).await.name, "GET", "{why}");
    }
}

#[tokio::test]
async fn attributes_can_be_set_without_anybody_waiting_for_them() {
    let (tracing, mut spans) = start(None);
    serve(&tracing);
    assert_eq!(host_id(&next(&mut spans).await), None);
    for id in ["a", "b"] {
        tracing.set_resource_attributes([KeyValue::new("host.id", id)]);
        serve(&tracing);
        assert_eq!(host_id(&next(&mut spans).await), Some(id.into()), "what ends after the call");
    }
    all(tracing, spans).await;
}

#[tokio::test]
async fn a_disabled_service_waits_for_nothing() {
    let config = TracingServiceConfig::disabled().wait_for_resource_attributes(FOREVER);
    let (tracing, mut spans) = config.start_in_memory("node").unwrap();
    tracing.set_resource_attributes([KeyValue::new("host.id", "a")]);
    serve(&tracing);
    assert_eq!(tracing.flush(PATIENCE).await.accepted, 0);
    assert_eq!(tracing.shutdown(PATIENCE).await.accepted, 0);
    assert_eq!(spans.next().await, None);
}

#[tokio::test]
async fn spans_that_end_while_the_attributes_are_set_are_all_told_with_them() {
    const THREADS: usize = 4;
    const SPANS: usize = 200;
    for wait in [Some(FOREVER), None] {
        let (tracing, spans) = start(wait);
        let tracer = tracing.tracer_provider().tracer("app");
        let start = Barrier::new(THREADS + 1);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    (0..SPANS).for_each(|_| tracer.in_span("early", |_| {}));
                });
            }
            start.wait();
            for id in 0..20 {
                tracing.set_resource_attributes([KeyValue::new("host.id", id)]);
                // What ends from here on is told with this one or a later one.
                tracer.in_span(id.to_string(), |_| {});
            }
        });

        let spans = all(tracing, spans).await;
        assert_eq!(spans.len(), THREADS * SPANS + 20);
        for span in &spans {
            match (span.name.parse::<i64>(), host_id(span)) {
                (Ok(set), Some(Value::I64(told))) => assert!(told >= set, "{told} after {set}"),
                (Err(_), Some(Value::I64(_))) => {}
                (Err(_), None) => assert_eq!(wait, None, "it was held until it was set"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A service that records everything, and waits for so long, if at all.
fn start(wait: Option<Duration>) -> (TracingService, InMemorySpans) {
    let config = TracingServiceConfig::default().enabled(true).sampling_rate_per_million(1_000_000);
    let config = match wait {
        Some(wait) => config.wait_for_resource_attributes(wait),
        None => config,
    };
    config.start_in_memory("node").unwrap()
}

/// Serves one request.
fn serve(tracing: &TracingService) {
    let service =
        service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new(String::new())));
    let request = Request::new(String::new());
    let served = TraceLayer::server(tracing).layer(service).oneshot(request);
    drop(served.now_or_never().expect("a ready answer"));
}

fn host_id(span: &RecordedSpan) -> Option<Value> {
    let found = span.resource.iter().find(|attribute| attribute.key.as_str() == "host.id");
    found.map(|attribute| attribute.value.clone())
}

/// Longer than any test.
const FOREVER: Duration = Duration::MAX;
