//! Which requests are recorded, in which trace, and what their handlers see of it.

use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use futures_util::stream;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt, service_fn};
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
    /// The request's own, if it is recorded.
    server: Option<SpanId>,
    context: Option<TraceContext>,
    user: Option<String>,
}

impl Seen {
    fn now() -> Self {
        Context::map_current(|context| Self {
            span: context.span().span_context().clone(),
            server: TraceContext::server_context().map(|cx| cx.span().span_context().span_id()),
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
        assert_eq!(span.trace_state, "ot=th:0", "{reason}: sampled here, at the full rate");
        assert_ne!(span.trace_id, TraceId::INVALID, "{reason}");
        assert_ne!(span.trace_id.to_string(), TRACE, "{reason}");
        assert_eq!(span.trace_id, seen.span.trace_id(), "{reason}");
        assert_eq!(seen.context.unwrap().tracestate(), Some("ot=th:0"), "{reason}");

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

/// Makes one request through two layers, and returns the response's `server-timing`, what the
/// handler saw and the spans of the outer and of the inner.
async fn visit_both(
    outer: (TracingService, InMemorySpans),
    inner: (TracingService, InMemorySpans),
    headers: Headers<'_>,
) -> (Vec<String>, Seen, [Vec<RecordedSpan>; 2]) {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let app = Router::new()
        .route("/", get_route(async move || sender.send(Seen::now()).map_err(|_| "unseen")))
        .layer(TraceLayer::server(&inner.0))
        .layer(TraceLayer::server(&outer.0));
    let address = serve(app).await;

    let response = fetch(Version::HTTP_11, address, request("GET", "/", headers)).await;
    let named = response.headers().get_all("server-timing").iter();
    let named = named.map(|metric| metric.to_str().unwrap().to_owned()).collect();
    let spans = [all(outer.0, outer.1).await, all(inner.0, inner.1).await];
    (named, seen.recv().await.unwrap(), spans)
}

#[tokio::test]
async fn of_two_layers_the_inner_continues_the_outer_and_the_outer_the_caller() {
    // Rates, `traceparent`'s flags if there is one, flags of the spans if there are any, reason.
    let rows = [
        ((0, 0), Some("01"), Some((0x301, 0x101)), "the caller's word counts for both"),
        ((0, ALWAYS), Some("03"), Some((0x303, 0x103)), "and random"),
        ((ALWAYS, 0), Some("01"), Some((0x301, 0x101)), "whatever the rates"),
        ((ALWAYS, ALWAYS), Some("00"), None, "nothing is recorded, by neither"),
        ((0, ALWAYS), Some("00"), None, "nor at different rates"),
        ((ALWAYS, 0), None, Some((0x103, 0x103)), "the outer decides, and the inner goes with it"),
        ((0, ALWAYS), None, None, "also when it decides against"),
    ];
    for ((outer, inner), flags, recorded, reason) in rows {
        let traceparent = flags.map(|flags| format!("00-{TRACE}-{PARENT}-{flags}"));
        let headers: Vec<_> =
            traceparent.iter().map(|value| ("traceparent", value.as_str())).collect();
        let (named, seen, spans) = visit_both(at_rate(outer), at_rate(inner), &headers).await;

        assert_eq!(seen.span.is_sampled(), recorded.is_some(), "{reason}");
        if flags.is_some() {
            assert_eq!(seen.span.trace_id().to_string(), TRACE, "{reason}");
        }
        let Some(recorded) = recorded else {
            assert!(spans.iter().all(Vec::is_empty), "{reason}: {spans:?}");
            assert!(named.is_empty(), "{reason}: there is no span to name");
            continue;
        };
        let [[outer], [inner]] = spans.each_ref().map(|spans| &spans[..]) else {
            panic!("{reason}: {spans:?}");
        };
        let caller = flags.map(|_| PARENT.to_owned());
        assert_eq!(outer.parent_span_id.map(|id| id.to_string()), caller, "{reason}");
        assert_eq!(inner.parent_span_id, Some(outer.span_id), "{reason}");
        assert_eq!((outer.flags, inner.flags), recorded, "{reason}");
        assert_eq!((outer.trace_id, inner.trace_id), (seen.span.trace_id(), outer.trace_id));
        assert_eq!(seen.span.span_id(), inner.span_id, "{reason}");
        let (trace, span, flags) = (outer.trace_id, outer.span_id, outer.flags & 0xff);
        assert_eq!(named, [format!("trace;desc=00-{trace}-{span}-{flags:02x}")], "{reason}");
    }
}

#[tokio::test]
async fn a_layer_that_is_disabled_hides_nothing_of_the_other() {
    let disabled =
        || TracingServiceConfig::default().enabled(false).start_in_memory("journeys").unwrap();
    let headers = [("traceparent", &*format!("00-{TRACE}-{PARENT}-01")), ("baggage", "user=ann")];

    let (named, seen, [outer, inner]) = visit_both(disabled(), at_rate(0), &headers).await;
    assert!(outer.is_empty());
    assert_eq!(inner[0].parent_span_id.unwrap().to_string(), PARENT);
    assert_eq!(inner[0].flags, 0x301, "the caller is still in another process");
    assert_eq!((seen.span.span_id(), seen.user.as_deref()), (inner[0].span_id, Some("ann")));
    assert_eq!(seen.server, Some(inner[0].span_id));
    assert_eq!(named.len(), 1, "{named:?}");

    let (named, seen, [outer, inner]) = visit_both(at_rate(0), disabled(), &headers).await;
    assert!(inner.is_empty());
    assert_eq!(outer[0].parent_span_id.unwrap().to_string(), PARENT);
    assert_eq!(seen.span.span_id(), outer[0].span_id, "what the handler calls is the span's child");
    assert_eq!(seen.server, Some(outer[0].span_id), "it is being served, by the outer layer");
    assert_eq!(seen.user.as_deref(), Some("ann"));
    assert_eq!(named.len(), 1, "{named:?}");
}

#[tokio::test]
async fn what_another_propagator_put_into_the_context_is_the_parent_as_it_is() {
    const OTHER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const STANDING: &str = "00f067aa0ba902b7";
    // Trace of the context, whether it is remote, trace of the `traceparent` if there is one,
    // parent and flags of the span, reason.
    let rows = [
        (TRACE, true, None, STANDING, 0x301, "read by a propagator of another format"),
        (TRACE, false, None, STANDING, 0x101, "a span of this process"),
        (
            TRACE,
            true,
            Some(TRACE),
            PARENT,
            0x301,
            "both tell of callers: the request's word counts",
        ),
        (
            TRACE,
            false,
            Some(TRACE),
            STANDING,
            0x101,
            "somebody continued the caller's trace already",
        ),
        (OTHER, true, Some(TRACE), PARENT, 0x301, "another trace: the request's word counts"),
        (OTHER, false, Some(TRACE), PARENT, 0x301, "another trace: the request's word counts"),
    ];
    for (trace, remote, sent, parent, flags, reason) in rows {
        let standing = SpanContext::new(
            TraceId::from_hex(trace).unwrap(),
            SpanId::from_hex(STANDING).unwrap(),
            TraceFlags::SAMPLED,
            remote,
            TraceState::NONE,
        );
        let (tracing, spans) = at_rate(0);
        let service = service_fn(async |_: Request<Body>| {
            let user = Context::map_current(|cx| cx.baggage().get("user").map(ToString::to_string));
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(user.unwrap_or_default())))
        });
        let traceparent = sent.map(|sent| format!("00-{sent}-{PARENT}-01"));
        let mut headers = vec![("baggage", "user=ann")];
        headers.extend(traceparent.iter().map(|value| ("traceparent", value.as_str())));

        let response = TraceLayer::server(&tracing)
            .layer(service)
            .oneshot(request("GET", "/", &headers))
            .with_context(Context::new().with_remote_span_context(standing))
            .await
            .unwrap();

        let seen = response.into_body().collect().await.unwrap().to_bytes();
        let spans = all(tracing, spans).await;
        assert_eq!(spans[0].trace_id.to_string(), sent.unwrap_or(trace), "{reason}");
        assert_eq!(spans[0].parent_span_id.unwrap().to_string(), parent, "{reason}");
        assert_eq!(spans[0].flags, flags, "{reason}");
        assert_eq!(seen, "ann", "{reason}: baggage is taken from where it is");
    }
}

#[tokio::test]
async fn baggage_that_was_changed_between_two_layers_stays_changed() {
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let rows: [(Headers<'_>, &str); 3] = [
        (&[("baggage", "user=ann")], "a new trace"),
        (&[("traceparent", &sampled), ("baggage", "user=ann")], "a caller's trace"),
        (&[("traceparent", &sampled)], "there was none"),
    ];
    for (headers, reason) in rows {
        let (tracing, _spans) = TracingService::in_memory();
        let trace = TraceLayer::server(&tracing);
        let seen = service_fn(async |_: Request<Body>| {
            let user = Context::map_current(|cx| cx.baggage().get("user").map(ToString::to_string));
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(user.unwrap_or_default())))
        });
        let inner = trace.layer(seen);
        let anonymous = service_fn(move |request: Request<Body>| {
            let changed = Context::current_with_baggage([KeyValue::new("user", "anonymous")]);
            inner.clone().oneshot(request).with_context(changed)
        });
        let response = trace.layer(anonymous).oneshot(request("GET", "/", headers)).await.unwrap();

        let seen = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(seen, "anonymous", "{reason}");
    }
}

#[tokio::test]
async fn a_long_tracestate_is_recorded_in_part_and_sent_on_whole() {
    let member = |i: usize| format!("k{i:02}={}", "v".repeat(256));
    let members: Vec<_> = (0..20).map(member).collect();
    let sent = members.join(",");
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let rows: [(Vec<(&str, &str)>, &str); 2] = [
        (vec![("tracestate", &sent)], "one field"),
        (members.iter().map(|member| ("tracestate", member.as_str())).collect(), "many fields"),
    ];
    for (mut headers, reason) in rows {
        headers.push(("traceparent", &traceparent));
        let (seen, spans) = visit(at_rate(0), &headers).await;

        assert_eq!(seen.context.unwrap().tracestate(), Some(&*sent), "{reason}");
        // 15 members and the commas between them have 3914 bytes, 16 have 4175.
        assert_eq!(spans[0].trace_state, members[..15].join(","), "{reason}: cut between members");
    }
}
