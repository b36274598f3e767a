use http::header::HeaderMap;
use opentelemetry::KeyValue;
use proptest::prelude::*;

use super::super::ids;
use super::super::tests::{CALLER, OTHER, any_context, context, fields};
use super::*;

/// The `Context` of a request that our server layer continues, and what the caller sent.
fn serve(fields: &[(&str, &str)]) -> (TraceContext, Context) {
    let span = Traceparent { span_id: ids::new_span_id(), ..context(fields).traceparent() };
    let server = context(fields).with_traceparent(span);
    let cx = Context::new().with_remote_span_context(server.to_span_context(false));
    let cx = server.attach_to(&cx);
    (server, cx)
}

/// What a span of the OpenTelemetry SDK below `cx` looks like: no flag but sampled.
fn sdk_child(cx: &Context, sampled: bool, state: TraceState) -> Context {
    let trace_id = cx.span().span_context().trace_id();
    let flags = TraceFlags::default().with_sampled(sampled);
    let child = SpanContext::new(trace_id, ids::new_span_id(), flags, false, state);
    cx.with_remote_span_context(child)
}

#[test]
fn an_outgoing_call_carries_what_came_in() {
    let table: [(&[(&str, &str)], &str); 6] = [
        (&[("traceparent", CALLER)], "ids alone"),
        (&[("traceparent", CALLER), ("tracestate", "foo=1")], "a state that OpenTelemetry takes"),
        (&[("traceparent", CALLER), ("tracestate", "a@@b=1,b=2")], "one that it refuses"),
        (&[("traceparent", CALLER), ("baggage", "b=%31,a=2;p,b=1=2")], "baggage as it was written"),
        (&[("traceparent", CALLER), ("tracestate", "a@@b=1"), ("baggage", "b=1,a=2")], "both"),
        (
            &[
                ("traceparent", "00-12345678901234567890123456789012-1234567890123456-02"),
                ("tracestate", "foo=1"),
            ],
            "unsampled, random",
        ),
    ];

    for (came, reason) in table {
        let (server, cx) = serve(came);
        assert_eq!(TraceContext::of(&cx).as_ref(), Some(&server), "{reason}: in the handler");

        let _guard = cx.attach();
        assert_eq!(TraceContext::current(), Some(server), "{reason}: current");
    }
}

#[test]
fn a_caller_can_be_made_the_remote_parent_of_what_is_current() {
    #[derive(Debug, PartialEq)]
    struct OfTheProgram;

    let caller =
        context(&[("traceparent", CALLER), ("tracestate", "a@@b=1,c=2"), ("baggage", "b=%31")]);
    let (_, current) = serve(&[("traceparent", OTHER), ("tracestate", "d=3")]);
    let _guard = current.with_value(OfTheProgram).attach();
    let parent = caller.to_opentelemetry();
    assert_eq!(TraceContext::of(&parent).as_ref(), Some(&caller), "sent on as it came");
    assert!(parent.span().span_context().is_remote());
    assert_eq!(parent.baggage().get("b").unwrap().as_str(), "1");
    assert_eq!(parent.get(), Some(&OfTheProgram));
    assert_ne!(TraceContext::current(), Some(caller), "nothing is activated");
}

#[test]
fn a_child_of_the_sdk_carries_on_what_it_cannot_hold() {
    let random = format!("{}02", &CALLER[..53]);
    let (server, cx) = serve(&[("traceparent", &random), ("tracestate", "a@@b=1")]);

    let child = TraceContext::of(&sdk_child(&cx, false, TraceState::NONE)).unwrap();
    assert_eq!(child.trace_id(), server.trace_id());
    assert_ne!(child.span_id(), server.span_id());
    assert_eq!(child.tracestate(), Some("a@@b=1"));
    assert!(child.is_random() && !child.is_sampled());
}

#[test]
fn another_trace_inherits_nothing_of_this_one() {
    let random = format!("{}03", &CALLER[..53]);
    let (_, cx) = serve(&[("traceparent", &random), ("tracestate", "a@@b=1")]);
    let other = context(&[("traceparent", OTHER)]);

    // Its empty state would pass for what OpenTelemetry was told of `a@@b=1`.
    let cx = cx.with_remote_span_context(other.to_span_context(false));
    assert_eq!(TraceContext::of(&cx), Some(other));
}

#[test]
fn the_random_flag_is_the_trace_s_own() {
    let (_, cx) = serve(&[("traceparent", CALLER), ("tracestate", "foo=1")]);
    let claimed = SpanContext::new(
        cx.span().span_context().trace_id(),
        ids::new_span_id(),
        TraceFlags::new(0xff),
        false,
        TraceState::NONE,
    );
    let child = TraceContext::of(&cx.with_remote_span_context(claimed)).unwrap();
    assert_eq!(child.trace_flags(), TraceFlags::SAMPLED, "unset stays unset, the rest is masked");
}

#[test]
fn what_was_changed_on_the_way_wins() {
    let (_, cx) =
        serve(&[("traceparent", CALLER), ("tracestate", "foo=1"), ("baggage", "b=%31,a=2")]);
    let state = |text: &str| text.parse::<TraceState>().unwrap();
    let baggage = |key: &'static str| cx.with_baggage([KeyValue::new(key, "x y")]);
    let other = context(&[("traceparent", OTHER)]).to_span_context(false);
    let came = (Some("foo=1"), Some("b=%31,a=2"));
    let table = [
        (sdk_child(&cx, true, state("foo=1")), came, "a child that changes nothing"),
        (sdk_child(&cx, true, state("ot=th:8,foo=1")), (Some("ot=th:8,foo=1"), came.1), "sampler"),
        (sdk_child(&cx, true, TraceState::NONE), (None, came.1), "tracestate cleared"),
        (cx.with_cleared_baggage(), (came.0, None), "baggage cleared"),
        (baggage("c"), (came.0, Some("c=x%20y")), "baggage replaced"),
        (cx.with_remote_span_context(other), (None, came.1), "another trace below this one"),
    ];

    for (cx, expected, reason) in table {
        let sent = TraceContext::of(&cx).unwrap();
        assert_eq!((sent.tracestate(), sent.baggage()), expected, "{reason}");
    }
}

#[test]
fn without_text_nothing_is_kept_beside_the_span() {
    let (_, cx) = serve(&[("traceparent", &format!("{}03", &CALLER[..53]))]);
    assert!(format!("{cx:?}").contains("entries count: 1,"), "only the span counts: {cx:?}");

    let restarted = TraceContext::of(&sdk_child(&cx, false, TraceState::NONE)).unwrap();
    assert!(!restarted.is_random(), "the price of it");
}

#[test]
fn text_that_is_no_longer_sent_does_not_come_back() {
    // OpenTelemetry was told nothing of it, so nothing tells it from none.
    let (_, cx) = serve(&[("traceparent", CALLER), ("tracestate", "a@@b=1")]);
    let same_trace = context(&[("traceparent", CALLER)]);

    let cx = cx.with_remote_span_context(same_trace.to_span_context(true));
    assert_eq!(TraceContext::of(&same_trace.attach_to(&cx)), Some(same_trace));
}

#[test]
fn without_a_span_nothing_is_current() {
    let cx = Context::new().with_baggage([KeyValue::new("a", "1")]);
    assert_eq!(TraceContext::of(&cx), None, "no span");
    let cx = cx.with_remote_span_context(SpanContext::NONE);
    assert_eq!(TraceContext::of(&cx), None, "an invalid one");
    assert_eq!(TraceContext::current(), None, "no context");
}

#[test]
fn a_span_started_elsewhere_is_sent_as_opentelemetry_has_it() {
    let span = context(&[("traceparent", CALLER), ("tracestate", "foo=1")]).to_span_context(true);
    assert!(span.is_remote());
    let cx = Context::new().with_remote_span_context(span);
    let cx = cx.with_baggage([KeyValue::new("a", "1")]);

    let mut headers = HeaderMap::new();
    TraceContext::of(&cx).unwrap().inject(&mut headers);
    assert_eq!(
        fields(&headers),
        [("baggage", "a=1"), ("traceparent", CALLER), ("tracestate", "foo=1")]
    );
}

proptest! {
    #[test]
    fn what_is_attached_reads_the_same(context in any_context()) {
        let cx = Context::new().with_remote_span_context(context.to_span_context(true));
        prop_assert_eq!(TraceContext::of(&context.attach_to(&cx)), Some(context));
    }
}
