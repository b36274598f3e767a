use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue as ProtoAnyValue, ArrayValue, EntityRef, InstrumentationScope,
    KeyValue as ProtoKeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status as ProtoStatus,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use opentelemetry::Array;

use super::*;
use crate::record::walk::MAX_DEPTH;
use crate::record::wire::{put_bytes, put_fixed32, put_fixed64, put_uint};

#[test]
fn what_is_missing_odd_or_out_of_order_has_a_meaning() {
    let plain = one(&[]);
    assert_eq!(plain.trace_id, TraceId::INVALID, "no id is an invalid id");
    assert_eq!(plain.parent_span_id, None, "no parent is a root");
    assert_eq!(plain.kind, SpanKind::Internal, "an open kind counts as internal");
    assert_eq!(plain.status, Status::Unset, "no status is unset");
    assert_eq!(plain.start_time, SystemTime::UNIX_EPOCH, "no time is zero");

    assert_eq!(one(&bytes(1, &[1; 15])).trace_id, TraceId::INVALID, "an id of 15 bytes is none");
    assert_eq!(one(&bytes(4, &[0; 8])).parent_span_id, None, "a parent of zeros is none");
    assert_eq!(one(&uint(6, 9)).kind, SpanKind::Internal, "a kind from the future");
    let twice = [bytes(5, b"GET"), bytes(5, b"GET /")].concat();
    assert_eq!(one(&twice).name, "GET /", "the last of two names counts");
    assert_eq!(one(&bytes(5, b"a\xff")).name, "a\u{fffd}", "text that is not UTF-8 is repaired");
    let split = [bytes(15, &uint(3, 2)), bytes(15, &bytes(2, b"boom"))].concat();
    assert_eq!(one(&split).status, Status::error("boom"), "two halves of a status are merged");
    assert_eq!(one(&bytes(99, b"")), plain, "a field from the future is skipped");

    let backwards = one(&[fixed64(7, 5), fixed64(8, 3)].concat());
    assert_eq!(backwards.duration(), Duration::ZERO, "a clock that went back");
    let forwards = one(&[fixed64(8, 5), fixed64(7, 3)].concat());
    assert_eq!(forwards.duration(), Duration::from_nanos(2));

    let resource = bytes(1, &bytes(1, &attribute_of("service.name", &bytes(1, b"shop"))));
    let scope = bytes(1, &[bytes(1, b"tower-otlp"), bytes(2, b"1.2.3")].concat());
    let late = [bytes(2, &[bytes(2, b""), scope].concat()), resource].concat();
    let span = &traces(&bytes(1, &late)).unwrap()[0];
    assert_eq!(span.resource, [KeyValue::new("service.name", "shop")], "resource after its spans");
    assert_eq!((&*span.scope_name, &*span.scope_version), ("tower-otlp", "1.2.3"), "scope as well");
}

#[test]
fn values_without_a_counterpart_become_text() {
    let list = |values: &[Vec<u8>]| {
        bytes(5, &values.iter().flat_map(|value| bytes(1, value)).collect::<Vec<_>>())
    };
    let double = |value: f64| fixed64(4, value.to_bits());
    let map = bytes(6, &bytes(1, &attribute_of("a", &list(&[uint(3, 1), uint(2, 1)]))));
    let rows: &[(Vec<u8>, ApiValue, &str)] = &[
        (bytes(1, b"x"), "x".into(), "a string"),
        (uint(2, 1), true.into(), "a bool"),
        (uint(3, u64::MAX), (-1).into(), "a negative integer"),
        (double(0.5), 0.5.into(), "a double"),
        (list(&[]), ApiValue::Array(Array::String(vec![])), "an empty array has no element type"),
        (list(&[bytes(1, b"x")]), ApiValue::Array(Array::String(vec!["x".into()])), "strings"),
        (list(&[uint(2, 0), uint(2, 1)]), ApiValue::Array(Array::Bool(vec![false, true])), "bools"),
        (list(&[uint(3, 7)]), ApiValue::Array(Array::I64(vec![7])), "integers"),
        (list(&[double(1.0)]), ApiValue::Array(Array::F64(vec![1.0])), "doubles"),
        (list(&[uint(3, 1), bytes(1, b"x")]), "[1, \"x\"]".into(), "a mixed array"),
        (list(&[uint(3, 1), vec![]]), "[1, null]".into(), "an array with a hole"),
        (list(&[list(&[uint(3, 1)])]), "[[1]]".into(), "a nested array"),
        (map.clone(), "{\"a\": [1, true]}".into(), "a map"),
        (bytes(7, b"\0\xffa"), "b\"\\x00\\xffa\"".into(), "bytes"),
        (vec![], "".into(), "nothing"),
        (uint(8, 3), "".into(), "an index into a table that traces do not have"),
        ([map, uint(3, 1)].concat(), 1.into(), "the last member of the oneof wins"),
        (
            [list(&[uint(3, 1)]), list(&[uint(3, 2)])].concat(),
            ApiValue::Array(Array::I64(vec![1, 2])),
            "the same array member twice is merged",
        ),
    ];
    for (value, expected, why) in rows {
        let span = one(&bytes(9, &attribute_of("k", value)));
        assert_eq!(span.attribute("k"), Some(expected), "{why}");
    }
}

#[test]
fn the_last_of_two_attributes_with_one_key_is_found() {
    let [first, second] = [1, 2].map(|n| bytes(9, &attribute_of("k", &uint(3, n))));
    let span = one(&[first, second].concat());
    assert_eq!(span.attribute("k"), Some(&2.into()));
    assert_eq!(span.attribute("other"), None);
}

#[test]
fn a_known_field_of_another_wire_type_is_malformed() {
    for number in 1..=16 {
        let wrong = match number {
            7 | 8 | 16 => uint(number, 1),
            6 | 10 | 12 | 14 => bytes(number, b""),
            _ => fixed32(number, 1),
        };
        assert_eq!(traces(&request(&wrong)), Err(Malformed), "field {number}");
    }
}

#[test]
fn values_nested_too_deep_are_refused() {
    let nested = |levels: usize| {
        let value = (1..levels).fold(uint(3, 1), |value, _| bytes(5, &bytes(1, &value)));
        traces(&request(&bytes(9, &attribute_of("k", &value))))
    };
    assert!(nested(MAX_DEPTH).is_ok());
    assert_eq!(nested(MAX_DEPTH + 1), Err(Malformed));
    assert_eq!(nested(20_000), Err(Malformed), "without using up the stack");
}

proptest! {
    #[test]
    fn spans_are_those_that_were_encoded(request in any_request()) {
        let decoded = traces(&request.encode_to_vec()).unwrap();
        // By their text, since NaN is not equal to itself.
        prop_assert_eq!(format!("{decoded:#?}"), format!("{:#?}", expected(&request)));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = traces(&bytes);
        let _ = traces(&request(&bytes));
    }

    #[test]
    fn a_cut_message_is_read_without_panic(request in any_request(), at in any::<prop::sample::Index>()) {
        let bytes = request.encode_to_vec();
        let _ = traces(&bytes[..at.index(bytes.len() + 1)]);
    }
}

/// The only span of a request with one.
fn one(span: &[u8]) -> RecordedSpan {
    traces(&request(span)).unwrap().remove(0)
}

/// A request that holds nothing but `span`.
pub(crate) fn request(span: &[u8]) -> Vec<u8> {
    bytes(1, &bytes(2, &bytes(2, span)))
}

pub(crate) fn attribute_of(key: &str, value: &[u8]) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, value)].concat()
}

pub(crate) fn bytes(field: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, field, payload);
    out
}

pub(crate) fn uint(field: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, field, value);
    out
}

pub(crate) fn fixed64(field: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_fixed64(&mut out, field, value);
    out
}

pub(crate) fn fixed32(field: u32, value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    put_fixed32(&mut out, field, value);
    out
}

/// The spans of `request`, made from the generated types instead of the bytes.
fn expected(request: &ExportTraceServiceRequest) -> Vec<RecordedSpan> {
    let mut spans = Vec::new();
    for group in &request.resource_spans {
        let resource = group.resource.as_ref().map(|resource| pairs(&resource.attributes));
        for scope_spans in &group.scope_spans {
            let scope = scope_spans.scope.clone().unwrap_or_default();
            spans.extend(scope_spans.spans.iter().map(|span| RecordedSpan {
                resource: resource.clone().unwrap_or_default(),
                scope_name: scope.name.clone(),
                scope_version: scope.version.clone(),
                ..expected_span(span)
            }));
        }
    }
    spans
}

fn expected_span(span: &Span) -> RecordedSpan {
    RecordedSpan {
        trace_id: expected_trace_id(&span.trace_id),
        span_id: expected_span_id(&span.span_id),
        parent_span_id: match expected_span_id(&span.parent_span_id) {
            SpanId::INVALID => None,
            id => Some(id),
        },
        trace_state: span.trace_state.clone(),
        flags: span.flags,
        name: span.name.clone(),
        kind: match span.kind {
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            _ => SpanKind::Internal,
        },
        start_time: time(span.start_time_unix_nano),
        end_time: time(span.end_time_unix_nano),
        attributes: pairs(&span.attributes),
        dropped_attributes_count: span.dropped_attributes_count,
        events: span
            .events
            .iter()
            .map(|event| RecordedEvent {
                name: event.name.clone(),
                time: time(event.time_unix_nano),
                attributes: pairs(&event.attributes),
                dropped_attributes_count: event.dropped_attributes_count,
            })
            .collect(),
        dropped_events_count: span.dropped_events_count,
        links: span
            .links
            .iter()
            .map(|link| RecordedLink {
                trace_id: expected_trace_id(&link.trace_id),
                span_id: expected_span_id(&link.span_id),
                trace_state: link.trace_state.clone(),
                flags: link.flags,
                attributes: pairs(&link.attributes),
                dropped_attributes_count: link.dropped_attributes_count,
            })
            .collect(),
        dropped_links_count: span.dropped_links_count,
        status: match &span.status {
            Some(status) if status.code == 1 => Status::Ok,
            Some(status) if status.code == 2 => Status::error(status.message.clone()),
            _ => Status::Unset,
        },
        resource: Vec::new(),
        scope_name: String::new(),
        scope_version: String::new(),
    }
}

fn expected_trace_id(id: &[u8]) -> TraceId {
    if id.len() == 16 { TraceId::from_bytes(id.try_into().unwrap()) } else { TraceId::INVALID }
}

fn expected_span_id(id: &[u8]) -> SpanId {
    if id.len() == 8 { SpanId::from_bytes(id.try_into().unwrap()) } else { SpanId::INVALID }
}

fn pairs(attributes: &[ProtoKeyValue]) -> Vec<KeyValue> {
    attributes.iter().map(|pair| KeyValue::new(pair.key.clone(), api(pair))).collect()
}

fn api(pair: &ProtoKeyValue) -> ApiValue {
    match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        None | Some(ProtoValue::StringValueStrindex(_)) => "".into(),
        Some(ProtoValue::StringValue(value)) => value.clone().into(),
        Some(ProtoValue::BoolValue(value)) => (*value).into(),
        Some(ProtoValue::IntValue(value)) => (*value).into(),
        Some(ProtoValue::DoubleValue(value)) => (*value).into(),
        Some(ProtoValue::ArrayValue(array)) => {
            let mut strings = Vec::new();
            let mut bools = Vec::new();
            let mut ints = Vec::new();
            let mut doubles = Vec::new();
            for value in &array.values {
                match &value.value {
                    Some(ProtoValue::StringValue(value)) => strings.push(value.clone().into()),
                    Some(ProtoValue::BoolValue(value)) => bools.push(*value),
                    Some(ProtoValue::IntValue(value)) => ints.push(*value),
                    Some(ProtoValue::DoubleValue(value)) => doubles.push(*value),
                    _ => {}
                }
            }
            match array.values.len() {
                len if len == strings.len() => ApiValue::Array(Array::String(strings)),
                len if len == bools.len() => ApiValue::Array(Array::Bool(bools)),
                len if len == ints.len() => ApiValue::Array(Array::I64(ints)),
                len if len == doubles.len() => ApiValue::Array(Array::F64(doubles)),
                _ => shown(pair.value.as_ref()).into(),
            }
        }
        Some(ProtoValue::KvlistValue(_) | ProtoValue::BytesValue(_)) => {
            shown(pair.value.as_ref()).into()
        }
    }
}

fn shown(value: Option<&ProtoAnyValue>) -> String {
    match value.and_then(|any| any.value.as_ref()) {
        None | Some(ProtoValue::StringValueStrindex(_)) => "null".to_owned(),
        Some(ProtoValue::StringValue(value)) => format!("{value:?}"),
        Some(ProtoValue::BoolValue(value)) => format!("{value}"),
        Some(ProtoValue::IntValue(value)) => format!("{value}"),
        Some(ProtoValue::DoubleValue(value)) => format!("{value:?}"),
        Some(ProtoValue::ArrayValue(array)) => {
            let values: Vec<_> = array.values.iter().map(|value| shown(Some(value))).collect();
            format!("[{}]", values.join(", "))
        }
        Some(ProtoValue::KvlistValue(list)) => {
            let shown =
                |pair: &ProtoKeyValue| format!("{:?}: {}", pair.key, shown(pair.value.as_ref()));
            format!("{{{}}}", list.values.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Some(ProtoValue::BytesValue(value)) => format!("b\"{}\"", value.escape_ascii()),
    }
}

/// Requests with every field, kind of value and oddity that the generated types can express.
pub(crate) fn any_request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope = (text_strategy(), text_strategy(), attributes(), any::<u32>()).prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    );
    let scope_spans = (option::of(scope), vec(any_span(), 0..3), text_strategy())
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let texts = || vec(text_strategy(), 0..3);
    let entity = (text_strategy(), text_strategy(), texts(), texts()).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef {
            schema_url,
            r#type,
            id_keys,
            description_keys,
        },
    );
    let resource = (attributes(), any::<u32>(), vec(entity, 0..2)).prop_map(
        |(attributes, dropped_attributes_count, entity_refs)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs,
        },
    );
    let resource_spans = (option::of(resource), vec(scope_spans, 0..3), text_strategy()).prop_map(
        |(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url },
    );
    vec(resource_spans, 0..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

pub(crate) fn any_span() -> impl Strategy<Value = Span> {
    let event = (any::<u64>(), text_strategy(), attributes(), any::<u32>()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    );
    let link = (id(16), id(8), text_strategy(), attributes(), any::<u32>(), any::<u32>()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    );
    let status = (text_strategy(), prop_oneof![0..3, any::<i32>()])
        .prop_map(|(message, code)| ProtoStatus { message, code });
    (
        (id(16), id(8), text_strategy(), id(8), any::<u32>(), text_strategy()),
        (prop_oneof![0..6, any::<i32>()], any::<u64>(), any::<u64>(), attributes()),
        (vec(event, 0..3), vec(link, 0..3), option::of(status), any::<[u32; 3]>()),
    )
        .prop_map(|(head, middle, tail)| Span {
            trace_id: head.0,
            span_id: head.1,
            trace_state: head.2,
            parent_span_id: head.3,
            flags: head.4,
            name: head.5,
            kind: middle.0,
            start_time_unix_nano: middle.1,
            end_time_unix_nano: middle.2,
            attributes: middle.3,
            events: tail.0,
            links: tail.1,
            status: tail.2,
            dropped_attributes_count: tail.3[0],
            dropped_events_count: tail.3[1],
            dropped_links_count: tail.3[2],
        })
}

fn attributes() -> impl Strategy<Value = Vec<ProtoKeyValue>> {
    vec(key_value(any_value()), 0..4)
}

fn key_value(value: impl Strategy<Value = ProtoAnyValue>) -> impl Strategy<Value = ProtoKeyValue> {
    // Few keys, so that some come twice.
    let key = prop_oneof![Just("http.route".to_owned()), Just("a".to_owned()), text_strategy()];
    let key_strindex = prop_oneof![9 => Just(0), 1 => any::<i32>()];
    (key, option::weighted(0.9, value), key_strindex)
        .prop_map(|(key, value, key_strindex)| ProtoKeyValue { key, value, key_strindex })
}

fn any_value() -> impl Strategy<Value = ProtoAnyValue> {
    let leaf = prop_oneof![
        Just(None),
        text_strategy().prop_map(|value| Some(ProtoValue::StringValue(value))),
        any::<bool>().prop_map(|value| Some(ProtoValue::BoolValue(value))),
        any::<i64>().prop_map(|value| Some(ProtoValue::IntValue(value))),
        prop::num::f64::ANY.prop_map(|value| Some(ProtoValue::DoubleValue(value))),
        prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
            .prop_map(|value| Some(ProtoValue::DoubleValue(value))),
        vec(any::<u8>(), 0..8).prop_map(|value| Some(ProtoValue::BytesValue(value))),
        any::<i32>().prop_map(|value| Some(ProtoValue::StringValueStrindex(value))),
    ]
    .prop_map(|value| ProtoAnyValue { value });
    leaf.prop_recursive(3, 16, 4, |inner| {
        // An array repeated from one value stands for the homogeneous ones.
        let same = (inner.clone(), 0..4usize).prop_map(|(value, len)| vec![value; len]);
        prop_oneof![
            prop_oneof![vec(inner.clone(), 0..4), same]
                .prop_map(|values| ProtoValue::ArrayValue(ArrayValue { values })),
            vec(key_value(inner), 0..4)
                .prop_map(|values| ProtoValue::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| ProtoAnyValue { value: Some(value) })
    })
}

fn text_strategy() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z./]{1,12}",
        Just("\"\\\n\r\t\0\u{1f}\u{7f}\u{2028}é😀".to_owned()),
        vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect()),
    ]
}

fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => vec(any::<u8>(), len),
        1 => Just(Vec::new()),
        1 => Just(vec![0; len]),
        1 => vec(any::<u8>(), 0..20),
    ]
}
