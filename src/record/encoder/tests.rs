mod differential;

use opentelemetry::trace::TraceState;
use opentelemetry::{Array, Value};
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue as ProtoKeyValue,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;

#[test]
fn what_does_not_fit_the_limits_is_counted_and_the_first_ones_stay() {
    type Act = fn(&mut SpanBuffer);
    // Kept and dropped: attributes, events, links.
    let rows: [(Act, [usize; 3], [u32; 3], &str); 9] = [
        (|span| push_numbers(span, 0..128), [128, 0, 0], [0; 3], "128 attributes fit"),
        (|span| push_numbers(span, 0..131), [128, 0, 0], [3, 0, 0], "128 and three"),
        (
            |span| {
                push_numbers(span, 0..128);
                span.push_str("s", "");
                span.push_peer_str("p", "");
                span.push_i64("i", 0);
                span.set(&KeyValue::new("k", true));
            },
            [128, 0, 0],
            [4, 0, 0],
            "every way to add one is counted",
        ),
        (
            |span| {
                push_numbers(span, 0..128);
                span.set(&KeyValue::new("0", "new"));
                span.set(&KeyValue::new("127", "new"));
            },
            [128, 0, 0],
            [0; 3],
            "a new value for a key that is there needs no room",
        ),
        (
            |span| {
                push_numbers(span, 0..128);
                span.remove("5");
                span.push_str("in its place", "");
                span.push_str("one too many", "");
            },
            [128, 0, 0],
            [1, 0, 0],
            "a removed one makes room for one",
        ),
        (
            |span| {
                push_numbers(span, 0..128);
                span.remove("absent");
                span.push_str("one too many", "");
            },
            [128, 0, 0],
            [1, 0, 0],
            "one that was not there makes none",
        ),
        (
            |span| (0..130).for_each(|_| span.event("e", 1, &[])),
            [0, 128, 0],
            [0, 2, 0],
            "events have a limit of their own",
        ),
        (
            |span| (0..129).for_each(|_| span.link(&SpanContext::NONE, &[])),
            [0, 0, 128],
            [0, 0, 1],
            "and so have links",
        ),
        (
            |span| {
                let attributes: Vec<_> = numbers(0..200);
                span.event("e", 1, &attributes);
                span.link(&SpanContext::NONE, &attributes);
            },
            [0, 1, 1],
            [0; 3],
            "attributes of events and links are not the span's",
        ),
    ];
    for (act, kept, dropped, why) in rows {
        let span = span(SpanLimits::default(), act);
        assert_eq!([span.attributes.len(), span.events.len(), span.links.len()], kept, "{why}");
        let counts =
            [span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count];
        assert_eq!(counts, dropped, "{why}");
    }
}

#[test]
fn an_event_or_a_link_keeps_its_first_attributes_and_the_last_of_a_repeated_key() {
    let rows: [(Vec<KeyValue>, Vec<ProtoKeyValue>, u32, &str); 5] = [
        (numbers(0..2), protos(0..2), 0, "as many as fit"),
        (numbers(0..5), protos(0..2), 3, "the first two of five"),
        (
            [numbers(0..2), numbers(0..2)].concat(),
            protos(0..2),
            0,
            "two keys, each of them twice, are two",
        ),
        (
            vec![KeyValue::new("k", 1), KeyValue::new("k", "last")],
            vec![proto("k", text("last"))],
            0,
            "the last value counts",
        ),
        (
            [vec![KeyValue::new("1", 9)], numbers(0..2)].concat(),
            protos(0..2),
            0,
            "in the place of the last",
        ),
    ];
    let limits =
        SpanLimits { attributes_per_event: 2, attributes_per_link: 2, ..SpanLimits::default() };
    for (attributes, kept, dropped, why) in rows {
        let span = span(limits, |span| {
            span.event("e", 1, &attributes);
            span.link(&SpanContext::NONE, &attributes);
        });
        let (event, link) = (&span.events[0], &span.links[0]);
        assert_eq!((&event.attributes, event.dropped_attributes_count), (&kept, dropped), "{why}");
        assert_eq!((&link.attributes, link.dropped_attributes_count), (&kept, dropped), "{why}");
    }
}

#[test]
fn strings_are_cut_to_the_value_length_and_nothing_else_is() {
    let rows: [(Value, ProtoValue, &str); 7] = [
        ("abc".into(), text("abc"), "fits"),
        ("abcd".into(), text("abc"), "one byte too long"),
        ("abé".into(), text("ab"), "a character is not split"),
        ("😀".into(), text(""), "the first character is too long already"),
        (
            Value::Array(Array::String(vec!["abcd".into(), "é€".into(), "".into()])),
            array([text("abc"), text("é"), text("")]),
            "each element of an array",
        ),
        (i64::MIN.into(), ProtoValue::IntValue(i64::MIN), "a number of ten bytes"),
        (
            Value::Array(Array::I64(vec![1, 2, 3, 4])),
            array([1, 2, 3, 4].map(ProtoValue::IntValue)),
            "the number of elements has no limit",
        ),
    ];
    let limits = SpanLimits { value_length: 3, ..SpanLimits::default() };
    for (value, expected, why) in rows {
        let attribute = KeyValue::new("a long key", value);
        let span = span(limits, |span| {
            span.set(&attribute);
            span.event("long name", 1, std::slice::from_ref(&attribute));
            span.link(&SpanContext::NONE, std::slice::from_ref(&attribute));
        });
        let expected = [proto("a long key", expected)];
        assert_eq!(span.attributes, expected, "{why}");
        assert_eq!(span.events[0].attributes, expected, "{why}");
        assert_eq!(span.links[0].attributes, expected, "{why}");
        assert_eq!(span.events[0].name, "lon");
    }
}

#[test]
fn what_a_peer_supplies_is_cut_at_4_kib() {
    // The boundary at 4096 is inside a character.
    let long = format!("a{}", "é".repeat(3000));
    let cut = &long[..4095];
    let span = span(SpanLimits::default(), |span| {
        span.push_peer_str("peer", &long);
        span.push_peer_str("fits", &long[1..4097]);
        span.push_str("ours", &long);
        span.set_name(&[&long]);
        span.set_status(&Status::error(long.clone()));
    });
    let expected = [("peer", cut), ("fits", &long[1..4097]), ("ours", &long)];
    assert_eq!(span.attributes, expected.map(|(key, value)| proto(key, text(value))));
    assert_eq!(span.name, cut, "names may be made of what the peer sent");
    assert_eq!(span.status.unwrap().message, cut, "and so may errors");

    let limits = SpanLimits { value_length: 2, ..SpanLimits::default() };
    let short = self::span(limits, |span| span.push_peer_str("peer", "abc"));
    assert_eq!(short.attributes, [proto("peer", text("ab"))], "the shorter limit counts");
}

#[test]
fn the_status_follows_the_rules_of_the_api() {
    type Expected<'a> = Option<(i32, &'a str)>;
    let error = |description: &'static str| Status::error(description);
    let rows: [(&[Status], Expected<'_>, &str); 11] = [
        (&[], None, "never set"),
        (&[Status::Unset], None, "set to unset"),
        (&[Status::Ok], Some((1, "")), "ok"),
        (&[error("")], Some((2, "")), "an error without a description is an error"),
        (&[error("a"), error("b")], Some((2, "b")), "the last error counts"),
        (&[error("a"), error("")], Some((2, "a")), "but it may leave the description to another"),
        (&[error(""), error("a")], Some((2, "a")), "or bring one"),
        (&[error("a"), Status::Unset], Some((2, "a")), "unset takes nothing back"),
        (&[error("a"), Status::Ok], Some((1, "")), "ok overrules an error and has no description"),
        (&[Status::Ok, error("a")], Some((1, "")), "ok is final"),
        (&[Status::Ok, Status::Unset], Some((1, "")), "for unset, too"),
    ];
    for (set, expected, why) in rows {
        let span = span(SpanLimits::default(), |span| {
            set.iter().for_each(|status| span.set_status(status));
        });
        let status = span.status.as_ref().map(|status| (status.code, &*status.message));
        assert_eq!(status, expected, "{why}");
    }
}

#[test]
fn flags_carry_the_w3c_byte_and_where_the_other_span_is() {
    let rows = [
        (0x01, None, 0x101, "a root has no remote parent, and that is known"),
        (0x01, Some(Remote::No), 0x101, "sampled, parent in this process"),
        (0x01, Some(Remote::Yes), 0x301, "sampled, parent elsewhere"),
        (0x03, Some(Remote::Yes), 0x303, "a random trace id"),
        (0x03, Some(Remote::No), 0x103, "a random trace id, parent in this process"),
        (0x00, Some(Remote::Yes), 0x300, "not sampled"),
        (0xff, None, 0x1ff, "bits from the future stay, and reach no bit of OTLP's"),
    ];
    for (flags, remote, expected, why) in rows {
        let flags = TraceFlags::new(flags);
        let mut buffer = SpanBuffer::default();
        let parent = remote.map(|remote| (SpanId::from(7), remote));
        buffer.start(&SpanHead { flags, parent, ..HEAD }, SpanLimits::default());
        let remote = remote == Some(Remote::Yes);
        let other = SpanContext::new(
            TraceId::from(1),
            SpanId::from(2),
            flags,
            remote,
            TraceState::default(),
        );
        buffer.link(&other, &[]);
        let span = Span::decode(buffer.finish_after(0)).unwrap();
        assert_eq!(span.flags, expected, "{why}");
        assert_eq!(span.links[0].flags, expected, "of a link: {why}");
        let parent = if parent.is_some() { &7u64.to_be_bytes()[..] } else { &[] };
        assert_eq!(span.parent_span_id, parent, "{why}");
    }
}

#[test]
fn an_attribute_is_replaced_or_removed_wherever_it_stands() {
    type Act = fn(&mut SpanBuffer);
    type Attributes<'a> = &'a [(&'a str, &'a str)];
    let rows: [(Act, Attributes<'_>, &str); 8] = [
        (|_| {}, &[("a", "1"), ("b", "2"), ("c", "3")], "as they were pushed"),
        (
            |span| span.set(&KeyValue::new("a", "a longer one")),
            &[("b", "2"), ("c", "3"), ("a", "a longer one")],
            "the first replaced",
        ),
        (
            |span| span.set(&KeyValue::new("b", "")),
            &[("a", "1"), ("c", "3"), ("b", "")],
            "one in the middle replaced",
        ),
        (
            |span| span.set(&KeyValue::new("c", "new")),
            &[("a", "1"), ("b", "2"), ("c", "new")],
            "the last replaced",
        ),
        (
            |span| span.set(&KeyValue::new("d", "4")),
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")],
            "another key replaces nothing",
        ),
        (
            |span| span.set(&KeyValue::new("", "4")),
            &[("a", "1"), ("b", "2"), ("c", "3"), ("", "4")],
            "nor does no key",
        ),
        (
            |span| {
                span.remove("a");
                span.push_str("a", "pushed");
            },
            &[("b", "2"), ("c", "3"), ("a", "pushed")],
            "removed, then pushed",
        ),
        (
            |span| {
                span.remove("1");
                span.remove("e");
                span.remove("");
            },
            &[("a", "1"), ("b", "2"), ("c", "3")],
            "a value, an event's attribute or no key is no key",
        ),
    ];
    for (act, expected, why) in rows {
        let span = span(SpanLimits::default(), |span| {
            span.push_str("a", "1");
            span.event("a", 1, &[KeyValue::new("e", "of the event")]);
            span.push_peer_str("b", "2");
            span.set(&KeyValue::new("c", "3"));
            act(span);
        });
        let expected: Vec<_> = expected.iter().map(|&(k, v)| proto(k, text(v))).collect();
        assert_eq!(span.attributes, expected, "{why}");
        assert_eq!(span.events[0].attributes, [proto("e", text("of the event"))], "{why}");
        assert_eq!(span.dropped_attributes_count, 0, "{why}");
    }
}

#[test]
fn a_span_ends_its_duration_after_its_start_and_not_beyond_the_end_of_time() {
    for (start, nanos, end) in [(5, 0, 5), (5, 7, 12), (u64::MAX - 1, 7, u64::MAX)] {
        let mut buffer = SpanBuffer::default();
        buffer.start(&SpanHead { start_unix_nanos: start, ..HEAD }, SpanLimits::default());
        let span = Span::decode(buffer.finish_after(nanos)).unwrap();
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (start, end));
    }
}

#[test]
fn a_resource_is_its_attributes_and_the_last_of_a_repeated_key_counts() {
    let long = "x".repeat(10_000);
    let rows: [(&[KeyValue], Vec<ProtoKeyValue>, &str); 3] = [
        (&[], vec![], "none"),
        (
            &[KeyValue::new("service.name", "shop"), KeyValue::new("pid", 7)],
            vec![proto("service.name", text("shop")), proto("pid", ProtoValue::IntValue(7))],
            "two",
        ),
        (
            &[KeyValue::new("k", "first"), KeyValue::new("k", long.clone())],
            vec![proto("k", text(&long))],
            "one twice; the operator's values are not cut",
        ),
    ];
    for (attributes, expected, why) in rows {
        let decoded = ResourceSpans::decode(&*encode_resource(attributes, "")).unwrap();
        let resource = Resource { attributes: expected, ..Resource::default() };
        let expected = ResourceSpans { resource: Some(resource), ..ResourceSpans::default() };
        assert_eq!(decoded, expected, "{why}");
    }
}

#[test]
fn a_scope_is_its_name_its_version_and_its_schema() {
    for [name, version, schema_url] in
        [["tower-otlp", "1.2.3", "https://example.org/1.0"], ["tower-otlp", "", ""], [""; 3]]
    {
        let decoded = ScopeSpans::decode(&*encode_scope(name, version, &[], schema_url)).unwrap();
        let scope = InstrumentationScope {
            name: name.into(),
            version: version.into(),
            ..InstrumentationScope::default()
        };
        let schema_url = schema_url.into();
        assert_eq!(decoded, ScopeSpans { scope: Some(scope), schema_url, spans: vec![] });
    }
}

/// The span that `act` makes, as the generated types read it.
fn span(limits: SpanLimits, act: impl FnOnce(&mut SpanBuffer)) -> Span {
    let mut buffer = SpanBuffer::default();
    buffer.start(&HEAD, limits);
    act(&mut buffer);
    Span::decode(buffer.finish_after(1)).unwrap()
}

fn push_numbers(span: &mut SpanBuffer, numbers: std::ops::Range<i64>) {
    numbers.for_each(|n| span.push_i64(&n.to_string(), n));
}

fn numbers(numbers: std::ops::Range<i64>) -> Vec<KeyValue> {
    numbers.map(|n| KeyValue::new(n.to_string(), n)).collect()
}

fn protos(numbers: std::ops::Range<i64>) -> Vec<ProtoKeyValue> {
    numbers.map(|n| proto(&n.to_string(), ProtoValue::IntValue(n))).collect()
}

fn proto(key: &str, value: ProtoValue) -> ProtoKeyValue {
    let value = Some(AnyValue { value: Some(value) });
    ProtoKeyValue { key: key.into(), value, ..ProtoKeyValue::default() }
}

fn text(value: &str) -> ProtoValue {
    ProtoValue::StringValue(value.into())
}

fn array(values: impl IntoIterator<Item = ProtoValue>) -> ProtoValue {
    let values = values.into_iter().map(|value| AnyValue { value: Some(value) });
    ProtoValue::ArrayValue(ArrayValue { values: values.collect() })
}

const HEAD: SpanHead<'_> = SpanHead {
    trace_id: TraceId::INVALID,
    span_id: SpanId::INVALID,
    flags: TraceFlags::SAMPLED,
    tracestate: "",
    parent: None,
    kind: SpanKind::Server,
    start_unix_nanos: 1,
};

#[test]
fn of_a_long_tracestate_the_first_members_are_recorded_whole() {
    let rows = [
        ("a=1,b=2", 7, "a=1,b=2", "all of it fits"),
        ("a=1,b=2", 6, "a=1", "one byte too long"),
        ("a=1,b=2", 3, "a=1", "exactly the first"),
        ("a=1,b=2", 2, "", "not even the first"),
        ("a=1", 0, "", "no room at all"),
    ];
    for (tracestate, limit, expected, why) in rows {
        assert_eq!(first_members(tracestate, limit), expected, "{why}");
    }
}
