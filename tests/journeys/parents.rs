//! Which requests are recorded, in which trace, and what their handlers see of it.

use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use futures_util::stream;
use http::Version;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceId};
use tokio::sync::mpsc;
use tower_otlp::{
    InMemorySpans, RecordedSpan, TraceContext, TraceLayer, TracingService, TracingServiceConfig,
};

use crate::support::server::{fetch, get, request, serve};
use crate::support::spans::{all, at_rate, next};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const ALWAYS: u32 = 1_000_000;

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// What a handler sees.
struct Seen {
    span: SpanContext,
    context: Option<TraceContext>,
    user: Option<String>,
}

impl Seen {
    fn now() -> Self {
        Context::map_current(|context| Self {
            span: context.span().span_context().clone(),
            context: TraceContext::current(),
            user: context.baggage().get("user").map(ToString::to_string),
        })
    }
}

/// Makes one request to a traced service. Returns what its handler saw, and the spans.
async fn visit(
    (tracing, spans): (TracingService, InMemorySpans),
    headers: Headers<'_>,
) -> (Seen, Vec<RecordedSpan>) {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let app = Router::new()
        .route("/", get_route(async move || sender.send(Seen::now()).map_err(|_| "unseen")))
        .layer(TraceLayer::server(&tracing));
    let address = serve(app).await;

    fetch(Version::HTTP_11, address, request("GET", "/", headers)).await;
    (seen.recv().await.unwrap(), all(tracing, spans).await)
}

#[tokio::test]
async fn a_callers_decision_is_final_and_its_trace_goes_on() {
    // Rate, `traceparent` without the ids, flags of the span if there is one, reason.
    let rows = [
        (0, "00", "01", Some(0x301), "sampled: recorded even at rate 0"),
        (ALWAYS, "00", "01", Some(0x301), "recorded, and not called random when it was not"),
        (0, "00", "03", Some(0x303), "and random: stays random"),
        (0, "00", "ff", Some(0x303), "unknown flags are not passed on"),
        (0, "cc", "01-more", Some(0x301), "a later version, understood as far as possible"),
        (0, "00", "00", None, "not sampled: not recorded"),
        (ALWAYS, "00", "00", None, "not sampled: not even when everything is"),
        (ALWAYS, "00", "02", None, "random, and still not sampled"),
    ];
    for (rate, version, flags, expected, reason) in rows {
        let traceparent = format!("{version}-{TRACE}-{PARENT}-{flags}");
        let (seen, spans) = visit(at_rate(rate), &[("traceparent", &traceparent)]).await;

        let found: Vec<_> = spans.iter().map(|span| span.flags).collect();
        assert_eq!(found, Vec::from_iter(expected), "{traceparent} at {rate}: {reason}");
        for span in &spans {
            assert_eq!(span.trace_id.to_string(), TRACE, "{reason}");
            assert_eq!(span.parent_span_id.unwrap().to_string(), PARENT, "{reason}");
            assert_eq!(span.span_id, seen.span.span_id(), "{reason}");
        }
        assert_eq!(seen.span.trace_id().to_string(), TRACE, "{reason}");
        assert_ne!(seen.span.span_id().to_string(), PARENT, "{reason}: the span is our own");
        assert_ne!(seen.span.span_id(), SpanId::INVALID, "{reason}");
        assert!(!seen.span.is_remote(), "{reason}");
        assert_eq!(seen.span.is_sampled(), expected.is_some(), "{reason}");
    }
}

#[tokio::test]
async fn without_a_callers_word_the_rate_decides_and_the_trace_is_new() {
    // Headers, reason.
    let twice = format!("00-{TRACE}-{PARENT}-01");
    let upper = format!("00-{}-{PARENT}-01", TRACE.to_uppercase());
    let zero = format!("00-{TRACE}-0000000000000000-01");
    let long = format!("00-{TRACE}-{PARENT}-01-more");
    let forbidden = format!("ff-{TRACE}-{PARENT}-01");
    let state = ("tracestate", "vendor=1");
    let rows: [(Headers<'_>, &str); 7] = [
        (&[], "nothing was sent"),
        (&[state], "a tracestate means nothing alone"),
        (&[("traceparent", &twice), ("traceparent", &twice), state], "two are none"),
        (&[("traceparent", &upper), state], "upper case"),
        (&[("traceparent", &zero), state], "an id of zeros"),
        (&[("traceparent", &long), state], "version 00 ends with the flags"),
        (&[("traceparent", &forbidden), state], "version ff is forbidden"),
    ];
    for (headers, reason) in rows {
        let (seen, spans) = visit(at_rate(ALWAYS), headers).await;
        let [span] = &spans[..] else { panic!("{reason}: {} spans", spans.len()) };
        assert_eq!(span.flags, 0x103, "{reason}: sampled, random, no remote parent");
        assert_eq!(span.parent_span_id, None, "{reason}");
        assert_eq!(span.trace_state, "", "{reason}");
        assert_ne!(span.trace_id, TraceId::INVALID, "{reason}");
        assert_ne!(span.trace_id.to_string(), TRACE, "{reason}");
        assert_eq!(span.trace_id, seen.span.trace_id(), "{reason}");
        assert_eq!(seen.context.unwrap().tracestate(), None, "{reason}");

        let (seen, spans) = visit(at_rate(0), headers).await;
        assert!(spans.is_empty(), "{reason}");
        assert!(seen.span.is_valid() && !seen.span.is_sampled(), "{reason}: so are its children");
        assert_ne!(seen.span.trace_id().to_string(), TRACE, "{reason}");
    }
}

#[tokio::test]
async fn every_new_trace_has_ids_of_its_own() {
    let (tracing, mut spans) = TracingService::in_memory();
    let app = Router::new().route("/", get_route(async || ())).layer(TraceLayer::server(&tracing));
    let address = serve(app).await;

    let mut found = Vec::new();
    for _ in 0..2 {
        fetch(Version::HTTP_11, address, get("/")).await;
        found.push(next(&mut spans).await);
    }
    assert_ne!(found[0].trace_id, found[1].trace_id);
    assert_ne!(found[0].span_id, found[1].span_id);
}

#[tokio::test]
async fn tracestate_and_baggage_arrive_as_they_were_sent() {
    let headers = [
        ("traceparent", &*format!("00-{TRACE}-{PARENT}-01")),
        // OpenTelemetry's own type refuses the second key.
        ("tracestate", "rojo=00f067aa0ba902b7"),
        ("tracestate", "0@a@b= x,congo=t61rcWkgMzE"),
        ("baggage", "user=J%C3%BCrgen,tier=gold;ttl=1"),
    ];
    let (seen, spans) = visit(at_rate(0), &headers).await;

    let tracestate = "rojo=00f067aa0ba902b7,0@a@b= x,congo=t61rcWkgMzE";
    assert_eq!(spans[0].trace_state, tracestate);
    let context = seen.context.unwrap();
    assert_eq!(context.tracestate(), Some(tracestate));
    assert_eq!(context.baggage(), Some("user=J%C3%BCrgen,tier=gold;ttl=1"));
    assert_eq!(seen.user.as_deref(), Some("Jürgen"), "decoded for OpenTelemetry");
}

#[tokio::test]
async fn baggage_needs_no_trace_to_reach_the_handler() {
    let not_sampled = format!("00-{TRACE}-{PARENT}-00");
    let rows: [(u32, Headers<'_>, &str); 3] = [
        (ALWAYS, &[("baggage", "user=ann")], "a new trace"),
        (0, &[("baggage", "user=ann")], "a new trace that is not recorded"),
        (0, &[("traceparent", &not_sampled), ("baggage", "user=ann")], "a trace not recorded"),
    ];
    for (rate, headers, reason) in rows {
        let (seen, _) = visit(at_rate(rate), headers).await;
        assert_eq!(seen.user.as_deref(), Some("ann"), "{reason}");
        assert_eq!(seen.context.unwrap().baggage(), Some("user=ann"), "{reason}");
    }
}

#[tokio::test]
async fn the_context_stands_before_and_after_an_await_and_inside_the_body() {
    for (flags, recorded) in [("01", true), ("00", false)] {
        let (tracing, spans) = at_rate(0);
        let (sender, mut contexts) = mpsc::unbounded_channel();
        let handler = async move || {
            sender.send(TraceContext::current()).unwrap();
            tokio::task::yield_now().await;
            sender.send(TraceContext::current()).unwrap();
            Body::from_stream(stream::once(async move {
                tokio::task::yield_now().await;
                sender.send(TraceContext::current()).unwrap();
                Ok::<_, std::convert::Infallible>("hello")
            }))
        };
        let app = Router::new().route("/", get_route(handler)).layer(TraceLayer::server(&tracing));
        let headers = [
            ("traceparent", &*format!("00-{TRACE}-{PARENT}-{flags}")),
            ("tracestate", "0@a@b=1"),
            ("baggage", "user=ann"),
        ];
        let address = serve(app).await;
        fetch(Version::HTTP_11, address, request("GET", "/", &headers)).await;
        assert_eq!(TraceContext::current(), None, "outside of the request there is none");

        let mut seen = Vec::new();
        while let Some(context) = contexts.recv().await {
            seen.push(context.expect("a context"));
            if seen.len() == 3 {
                break;
            }
        }
        assert!(seen.iter().all(|context| *context == seen[0]), "{seen:?}");
        assert_eq!(seen[0].trace_id().to_string(), TRACE);
        assert_eq!(seen[0].tracestate(), Some("0@a@b=1"));
        assert_eq!(seen[0].baggage(), Some("user=ann"));
        assert_eq!(seen[0].is_sampled(), recorded);
        let spans = all(tracing, spans).await;
        let ids: Vec<_> = spans.iter().map(|span| span.span_id).collect();
        assert_eq!(ids, Vec::from_iter(recorded.then_some(seen[0].span_id())));
    }
}

#[tokio::test]
async fn with_tracing_disabled_the_callers_context_is_handed_through() {
    let disabled = || {
        TracingServiceConfig::from_yaml_str("tracing_service:\n  enabled: no\n")
            .unwrap()
            .start_in_memory("journeys")
            .unwrap()
    };
    for flags in ["00", "01", "02", "03"] {
        let headers = [
            ("traceparent", &*format!("00-{TRACE}-{PARENT}-{flags}")),
            ("tracestate", "0@a@b=1"),
            ("baggage", "user=ann"),
        ];
        let (seen, spans) = visit(disabled(), &headers).await;

        assert!(spans.is_empty());
        assert!(seen.span.is_remote());
        assert_eq!(seen.user.as_deref(), Some("ann"));
        let mut sent_on = http::HeaderMap::new();
        seen.context.unwrap().inject(&mut sent_on);
        for (name, value) in headers {
            assert_eq!(sent_on[name], value, "as it came");
        }
    }

    let (seen, spans) = visit(disabled(), &[("baggage", "user=ann")]).await;
    assert!(spans.is_empty() && !seen.span.is_valid(), "no trace is begun");
    assert_eq!(seen.user.as_deref(), Some("ann"), "baggage is not tracing");
}

#[tokio::test]
async fn a_layer_inside_another_records_a_child() {
    let (tracing, spans) = TracingService::in_memory();
    let (sender, mut contexts) = mpsc::unbounded_channel();
    let handler = async move || sender.send(TraceContext::current()).map_err(|_| "unseen");
    let app = Router::new()
        .route("/", get_route(handler))
        .layer(TraceLayer::server(&tracing))
        .layer(TraceLayer::server(&tracing));
    fetch(Version::HTTP_11, serve(app).await, get("/")).await;

    let mut spans = all(tracing, spans).await;
    spans.sort_by_key(|span| span.parent_span_id.is_some());
    let [outer, inner] = &spans[..] else { panic!("{} spans", spans.len()) };
    assert_eq!(inner.trace_id, outer.trace_id);
    assert_eq!((inner.parent_span_id, inner.flags), (Some(outer.span_id), 0x103), "not remote");
    assert_eq!(outer.parent_span_id, None);
    assert_eq!(contexts.recv().await.unwrap().unwrap().span_id(), inner.span_id);
}
