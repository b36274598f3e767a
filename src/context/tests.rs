//! The three headers together.

use proptest::prelude::*;

use super::*;

pub(super) const CALLER: &str = "00-12345678901234567890123456789012-1234567890123456-01";
pub(super) const OTHER: &str = "00-12345678901234567890123456789011-1234567890123456-01";

pub(super) fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
    fields.iter().map(|(key, value)| (name(key), value.parse().unwrap())).collect()
}

pub(super) fn fields(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut fields: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    fields.sort_unstable();
    fields
}

pub(super) fn context(fields: &[(&str, &str)]) -> TraceContext {
    TraceContext::from_headers(&map(fields)).unwrap()
}

type Field = (&'static str, &'static str);

/// The trace, the tracestate and the baggage that a request brings.
type Read = Option<(&'static str, Option<&'static str>, Option<&'static str>)>;

/// The fields of a request, what is read of them, why.
pub(crate) const REQUESTS: &[(&[Field], Read, &str)] = &[
    (&[], None, "nothing"),
    (&[("traceparent", CALLER)], Some((TRACE, None, None)), "traceparent alone"),
    (&[("tracestate", "foo=1")], None, "tracestate alone says nothing"),
    (&[("baggage", "a=1")], None, "baggage alone is no place in a trace"),
    (
        &[("traceparent", CALLER), ("tracestate", "foo=1,bar=2"), ("baggage", "a=1")],
        Some((TRACE, Some("foo=1,bar=2"), Some("a=1"))),
        "all three",
    ),
    (&[("traceparent", OTHER), ("traceparent", CALLER)], None, "two traceparents: neither is used"),
    (&[("traceparent", CALLER), ("traceparent", CALLER)], None, "not even if they agree"),
    (&[("traceparent", CALLER), ("traceparent", "")], None, "nor if one is empty"),
    (
        &[("traceparent", "00-0-0-0"), ("tracestate", "foo=1"), ("baggage", "a=1")],
        None,
        "a bad traceparent takes its tracestate along",
    ),
    (&[("trace-parent", CALLER)], None, "another name"),
    (&[("trace.parent", CALLER)], None, "another name"),
    (&[("TraceParent", CALLER)], Some((TRACE, None, None)), "names are case-insensitive"),
    (&[("TRACEPARENT", CALLER)], Some((TRACE, None, None)), "names are case-insensitive"),
    (
        &[("traceparent", CALLER), ("TraceState", "foo=1"), ("TRACESTATE", "bar=2")],
        Some((TRACE, Some("foo=1,bar=2"), None)),
        "also those of tracestate",
    ),
    (
        &[("traceparent", "\t00-12345678901234567890123456789012-1234567890123456-01 ")],
        Some((TRACE, None, None)),
        "blanks around it",
    ),
    (
        &[
            ("traceparent", CALLER),
            ("tracestate", "foo=1,bar=2"),
            ("tracestate", "rojo=1,congo=2"),
            ("tracestate", "baz=3"),
        ],
        Some((TRACE, Some("foo=1,bar=2,rojo=1,congo=2,baz=3"), None)),
        "three tracestate fields",
    ),
    (
        &[("traceparent", CALLER), ("tracestate", ""), ("tracestate", "foo=1")],
        Some((TRACE, Some("foo=1"), None)),
        "an empty first tracestate",
    ),
    (
        &[("traceparent", CALLER), ("tracestate", "foo=1"), ("tracestate", "")],
        Some((TRACE, Some("foo=1"), None)),
        "an empty last tracestate",
    ),
    (
        &[("traceparent", CALLER), ("tracestate", "foo =1"), ("baggage", "a=1")],
        Some((TRACE, None, Some("a=1"))),
        "a bad tracestate costs neither the trace nor the baggage",
    ),
    (
        &[("traceparent", CALLER), ("tracestate", "foo=1"), ("baggage", "a")],
        Some((TRACE, Some("foo=1"), None)),
        "nor does bad baggage cost anything else",
    ),
    (
        &[("traceparent", CALLER), ("tracestate", "")],
        Some((TRACE, None, None)),
        "an empty tracestate is none",
    ),
    (
        &[("traceparent", CALLER), ("baggage", "a=1"), ("baggage", "b=2")],
        Some((TRACE, None, Some("a=1,b=2"))),
        "two baggage fields",
    ),
];

const TRACE: &str = CALLER.split_at(35).0.split_at(3).1;

#[test]
fn what_a_request_brings() {
    for (came, expected, reason) in REQUESTS {
        let read = TraceContext::from_headers(&map(came));
        let read =
            read.as_ref().map(|it| (it.trace_id().to_string(), it.tracestate(), it.baggage()));
        let expected =
            expected.map(|(id, tracestate, baggage)| (id.to_owned(), tracestate, baggage));
        assert_eq!(read, expected, "{reason}");
    }
}

#[test]
fn accessors_say_what_the_header_said() {
    for (flags, sampled, random) in
        [("00", false, false), ("01", true, false), ("02", false, true), ("fb", true, true)]
    {
        let context = context(&[("traceparent", &format!("{}{flags}", &CALLER[..53]))]);
        assert_eq!(context.trace_id().to_string(), &CALLER[3..35]);
        assert_eq!(context.span_id().to_string(), &CALLER[36..52]);
        assert_eq!(context.is_sampled(), sampled, "{flags}");
        assert_eq!(context.is_random(), random, "{flags}");
        assert!(context.trace_flags().to_u8() < 4, "{flags}");
    }
}

#[test]
fn inject_replaces_what_stood_there() {
    let stale = [
        ("accept", "*/*"),
        ("baggage", "old=1"),
        ("traceparent", OTHER),
        ("traceparent", OTHER),
        ("tracestate", "old=1"),
        ("tracestate", "old=2"),
    ];
    let table: [(&[(&str, &str)], &str); 3] = [
        (
            &[("baggage", "a=1"), ("traceparent", CALLER), ("tracestate", "foo=1")],
            "each is sent once",
        ),
        (&[("traceparent", CALLER)], "stale fields go, none is sent empty"),
        (&[("traceparent", CALLER), ("tracestate", "foo=1")], "one of the two"),
    ];

    for (sent, reason) in table {
        let mut headers = map(&stale);
        context(sent).inject(&mut headers);
        assert_eq!(fields(&headers), [&[("accept", "*/*")], sent].concat(), "{reason}");
    }
}

#[test]
fn a_full_map_is_no_reason_to_panic() {
    let mut headers = HeaderMap::new();
    for i in 0.. {
        let name = HeaderName::try_from(format!("x-{i}")).unwrap();
        if headers.try_insert(name, HeaderValue::from_static("")).is_err() {
            break;
        }
    }
    let context = context(&[("traceparent", CALLER), ("baggage", "a=1")]);
    context.inject(&mut headers);
    ResponseHeader::ServerTiming.write(context.traceparent(), &mut headers);

    assert_eq!(TraceContext::from_headers(&headers), None);
}

prop_compose! {
    pub(super) fn any_context()(
        trace_id in 1..=u128::MAX,
        span_id in 1..=u64::MAX,
        flags in any::<u8>(),
        tracestate in prop::option::of("[a-z0-9][a-z0-9_*/@-]{0,9}=[!-+:-<>-~]{1,9}(,b= x){0,3}"),
        baggage in prop::option::of("[a-zA-Z]{1,9}=[%a-z0-9=]{0,9}(;p|;q=1|,x=y){0,3}"),
    ) -> TraceContext {
        let traceparent = format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}");
        let mut fields = vec![("traceparent", traceparent.as_str())];
        fields.extend(tracestate.as_deref().map(|text| ("tracestate", text)));
        fields.extend(baggage.as_deref().map(|text| ("baggage", text)));
        context(&fields)
    }
}

proptest! {
    #[test]
    fn what_is_injected_reads_the_same(context in any_context()) {
        let mut headers = HeaderMap::new();
        context.inject(&mut headers);
        prop_assert_eq!(TraceContext::from_headers(&headers), Some(context));
    }
}
