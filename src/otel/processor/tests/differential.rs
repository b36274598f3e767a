//! The processor against the transformation that `opentelemetry-otlp` exports with: the same
//! spans of the SDK, decoded from both, field by field.
//!
//! What differs by design is done to theirs before they are compared:
//!
//! - of a repeated key they send all values, we the last;
//! - the attributes of a resource are in no order, we sort them;
//! - for a status that was not set they send an empty message, we none.
//!
//! Nothing is cut on either side: the SDK's limits have been applied before.

use std::borrow::Cow;

use opentelemetry::trace::{Event, Link};
use opentelemetry::{Array, StringValue, Value};
use opentelemetry_proto::tonic::common::v1::KeyValue as ProtoKeyValue;
use opentelemetry_proto::tonic::trace::v1::ScopeSpans;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::record::fit_resource;

proptest! {
    #[test]
    fn the_bytes_are_those_of_opentelemetry_otlp(
        spans in vec(any_span(), 1..6),
        attributes in vec(any_attribute(), 0..6),
        schema_url in prop_oneof![Just(None), Just(Some("https://example.org/resource"))],
    ) {
        prop_assume!(fit_resource(&mut attributes.clone()).is_empty(), "not all of it is sent");
        let builder = Resource::builder_empty();
        let resource = match schema_url {
            Some(schema_url) => builder.with_schema_url(attributes, schema_url).build(),
            None => builder.with_attributes(attributes).build(),
        };
        let ours = export(&spans, &resource);
        let theirs = normalised(group_spans_by_resource_and_scope(spans, &(&resource).into()));
        // By their encoding, since NaN is not equal to itself.
        let same = ours.encode_to_vec() == theirs.encode_to_vec();
        prop_assert!(same, "{ours:#?} is not {theirs:#?}");
    }
}

/// The spans as they leave the pipeline, in one message. A tick of the worker between two spans
/// sends them apart, which says nothing about them.
fn export(spans: &[SpanData], resource: &Resource) -> ResourceSpans {
    let (pipeline, received) = start(Answer::Delivered);
    let mut processor = processor(&pipeline, Identity::Provider);
    processor.set_resource(resource);
    spans.iter().for_each(|span| processor.on_end(span.clone()));
    processor.force_flush().unwrap();
    assert_eq!(pipeline.intake().stats().delivered, spans.len() as u64);

    let received = std::mem::take(&mut *received.lock().unwrap());
    let mut whole = ResourceSpans { scope_spans: Vec::new(), ..received[0].clone() };
    for part in received {
        let head = |it: &ResourceSpans| ResourceSpans { scope_spans: Vec::new(), ..it.clone() };
        assert_eq!(head(&part).encode_to_vec(), head(&whole).encode_to_vec());
        for scope in part.scope_spans {
            let same = |earlier: &&mut ScopeSpans| {
                let head = |it: &ScopeSpans| ScopeSpans { spans: Vec::new(), ..it.clone() };
                head(earlier).encode_to_vec() == head(&scope).encode_to_vec()
            };
            match whole.scope_spans.iter_mut().find(same) {
                Some(earlier) => earlier.spans.extend(scope.spans),
                None => whole.scope_spans.push(scope),
            }
        }
    }
    whole
}

fn normalised(theirs: Vec<ResourceSpans>) -> ResourceSpans {
    let [mut whole] = <[_; 1]>::try_from(theirs).unwrap();
    let resource = whole.resource.as_mut().unwrap();
    resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    for span in whole.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
        keep_last(&mut span.attributes);
        span.events.iter_mut().for_each(|event| keep_last(&mut event.attributes));
        span.links.iter_mut().for_each(|link| keep_last(&mut link.attributes));
        span.status = span.status.take().filter(|status| status.code != 0);
    }
    whole
}

fn keep_last(attributes: &mut Vec<ProtoKeyValue>) {
    let mut kept: Vec<ProtoKeyValue> = Vec::new();
    for attribute in attributes.drain(..) {
        kept.retain(|earlier| earlier.key != attribute.key);
        kept.push(attribute);
    }
    *attributes = kept;
}

fn any_span() -> impl Strategy<Value = SpanData> {
    let kind = prop::sample::select(vec![
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ]);
    let status =
        prop_oneof![Just(Status::Unset), Just(Status::Ok), any_text().prop_map(Status::error),];
    // A remote parent has an id: the SDK marks no other.
    let parent = prop_oneof![
        Just((SpanId::INVALID, false)),
        (1..=u64::MAX, any::<bool>()).prop_map(|(id, remote)| (id.into(), remote)),
    ];
    let head = (any_context(), parent, kind, any_text(), any_time(), any_time());
    let attributes = (vec(any_attribute(), 0..8), any_count());
    let events = (vec(any_event(), 0..4), any_count());
    let links = (vec(any_link(), 0..4), any_count());
    (head, attributes, events, links, status, any_scope()).prop_map(
        |(head, attributes, events, links, status, scope)| {
            let (context, parent, kind, name, start, end) = head;
            let mut span = span(1);
            let flags = context.trace_flags().with_sampled(true);
            span.span_context = SpanContext::new(
                context.trace_id(),
                context.span_id(),
                flags,
                false,
                context.trace_state().clone(),
            );
            (span.parent_span_id, span.parent_span_is_remote) = parent;
            span.span_kind = kind;
            span.name = name.into();
            (span.start_time, span.end_time) = (start, end);
            (span.attributes, span.dropped_attributes_count) = attributes;
            (span.events.events, span.events.dropped_count) = events;
            (span.links.links, span.links.dropped_count) = links;
            span.status = status;
            span.instrumentation_scope = scope;
            span
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    (any_text(), any_time(), vec(any_attribute(), 0..6), any_count())
        .prop_map(|(name, time, attributes, dropped)| Event::new(name, time, attributes, dropped))
}

fn any_link() -> impl Strategy<Value = Link> {
    (any_context(), vec(any_attribute(), 0..6), any_count())
        .prop_map(|(context, attributes, dropped)| Link::new(context, attributes, dropped))
}

fn any_context() -> impl Strategy<Value = SpanContext> {
    let tracestate = vec(("[a-z]{1,5}", "[a-z0-9]{1,5}"), 0..3)
        .prop_map(|members| TraceState::from_key_value(members).unwrap());
    (any::<u128>(), any::<u64>(), any::<u8>(), any::<bool>(), tracestate).prop_map(
        |(trace_id, span_id, flags, remote, tracestate)| {
            let flags = TraceFlags::new(flags);
            SpanContext::new(trace_id.into(), span_id.into(), flags, remote, tracestate)
        },
    )
}

/// Few, so that spans share them. Some differ in one thing only.
fn any_scope() -> impl Strategy<Value = InstrumentationScope> {
    let scope = |name: &'static str| InstrumentationScope::builder(Cow::Borrowed(name));
    let attributes = [KeyValue::new("b", 1), KeyValue::new("a", "x")];
    prop::sample::select(vec![
        scope("").build(),
        scope("shop").build(),
        scope("shop").with_version("1").build(),
        scope("shop").with_version("2").build(),
        scope("shop").with_version("1").with_schema_url("https://example.org/1").build(),
        scope("shop").with_version("1").with_attributes(attributes).build(),
    ])
}

fn any_attribute() -> impl Strategy<Value = KeyValue> {
    // Few keys, so that some are repeated.
    let key = prop_oneof![
        4 => prop::sample::select(vec!["", "a", "b", "http.route", "schlüssel"])
            .prop_map(str::to_owned),
        1 => any_text(),
    ];
    (key, any_value()).prop_map(|(key, value)| KeyValue::new(key, value))
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        prop::num::f64::ANY.prop_map(Value::F64),
        any_text().prop_map(Value::from),
        vec(any::<bool>(), 0..4).prop_map(|values| Value::Array(Array::Bool(values))),
        vec(any::<i64>(), 0..4).prop_map(|values| Value::Array(Array::I64(values))),
        vec(prop::num::f64::ANY, 0..4).prop_map(|values| Value::Array(Array::F64(values))),
        vec(any_text().prop_map(StringValue::from), 0..4)
            .prop_map(|values| Value::Array(Array::String(values))),
    ]
}

/// Some are longer than what the layers would cut.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z./]{1,12}",
        4 => vec(any::<char>(), 0..12).prop_map(String::from_iter),
        2 => Just(String::new()),
        1 => (4_090..4_200usize).prop_map(|chars| "é".repeat(chars)),
    ]
}

/// Also before 1970, and an end before its start.
fn any_time() -> impl Strategy<Value = SystemTime> {
    prop_oneof![
        1 => Just(SystemTime::UNIX_EPOCH),
        1 => Just(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
        8 => any::<u64>().prop_map(|n| SystemTime::UNIX_EPOCH + Duration::from_nanos(n)),
    ]
}

fn any_count() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 1 => Just(u32::MAX), 2 => 0..1000_u32]
}
