//! The writer against the generated types: whatever is done to a span, the bytes are the message
//! that a simple model of the rules builds.

use opentelemetry::StringValue;
use opentelemetry_proto::tonic::trace::v1::Status as ProtoStatus;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn the_bytes_are_the_span_that_was_described(recipe in any_recipe()) {
        let bytes = recipe.write(&mut SpanBuffer::default());
        let decoded = Span::decode(&*bytes).unwrap();
        let expected = recipe.expected();
        // By their encoding, since NaN is not equal to itself.
        let same = decoded.encode_to_vec() == expected.encode_to_vec();
        prop_assert!(same, "{decoded:#?} is not {expected:#?}");
    }

    #[test]
    fn nothing_else_is_in_the_bytes(recipe in any_recipe()) {
        let bytes = recipe.without_defaults().write(&mut SpanBuffer::default());
        // An unknown field, or one that stands there twice, would not be encoded again.
        prop_assert_eq!(bytes.len(), Span::decode(&*bytes).unwrap().encoded_len());
    }

    #[test]
    fn a_used_buffer_writes_what_a_fresh_one_does(first in any_recipe(), second in any_recipe()) {
        let mut used = SpanBuffer::default();
        first.write(&mut used);
        prop_assert_eq!(second.write(&mut used), second.write(&mut SpanBuffer::default()));
    }
}

/// A span: how it starts, what is done to it, and how long it takes.
#[derive(Clone, Debug)]
struct Recipe {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    tracestate: String,
    parent: Option<(u64, bool)>,
    kind: SpanKind,
    start: u64,
    limits: SpanLimits,
    steps: Vec<Step>,
    nanos: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Push(KeyValue),
    PushPeer(String, String),
    Set(KeyValue),
    Remove(String),
    Event(String, u64, Vec<KeyValue>),
    Link(Other, Vec<KeyValue>),
    Status(Status),
    Name(Vec<String>),
}

/// Another span, which a link leads to.
#[derive(Clone, Debug)]
struct Other {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    remote: bool,
    tracestate: Vec<(String, String)>,
}

impl Recipe {
    fn write(&self, span: &mut SpanBuffer) -> Vec<u8> {
        let remote = |remote| if remote { Remote::Yes } else { Remote::No };
        let head = SpanHead {
            trace_id: self.trace_id.into(),
            span_id: self.span_id.into(),
            flags: TraceFlags::new(self.flags),
            tracestate: &self.tracestate,
            parent: self.parent.map(|(id, is_remote)| (id.into(), remote(is_remote))),
            kind: self.kind.clone(),
            start_unix_nanos: self.start,
        };
        span.start(&head, self.limits);
        for step in &self.steps {
            match step {
                Step::Push(attribute) => {
                    let key = attribute.key.as_str();
                    // What is pushed must not be there.
                    span.remove(key);
                    match &attribute.value {
                        Value::String(value) => span.push_str(key, value.as_str()),
                        Value::I64(value) => span.push_i64(key, *value),
                        _ => span.set(attribute),
                    }
                }
                Step::PushPeer(key, value) => {
                    span.remove(key);
                    span.push_peer_str(key, value);
                }
                Step::Set(attribute) => span.set(attribute),
                Step::Remove(key) => span.remove(key),
                Step::Event(name, time, attributes) => span.event(name, *time, attributes),
                Step::Link(to, attributes) => {
                    let tracestate = TraceState::from_key_value(to.tracestate.clone()).unwrap();
                    let context = SpanContext::new(
                        to.trace_id.into(),
                        to.span_id.into(),
                        TraceFlags::new(to.flags),
                        to.remote,
                        tracestate,
                    );
                    span.link(&context, attributes);
                }
                Step::Status(status) => span.set_status(status),
                Step::Name(parts) => {
                    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
                    span.set_name(&parts);
                }
            }
        }
        span.finish_after(self.nanos).to_vec()
    }

    /// Without empty keys, empty names and times of zero: we write them, and the
    /// generated types leave them out.
    fn without_defaults(mut self) -> Self {
        let fill = |attribute: &mut KeyValue| {
            if attribute.key.as_str().is_empty() {
                attribute.key = "key".into();
            }
        };
        self.start = self.start.max(1);
        // No name is cut to nothing.
        self.limits.value_length = self.limits.value_length.max(4);
        self.limits.peer_value_length = self.limits.peer_value_length.max(4);
        for step in &mut self.steps {
            match step {
                Step::Push(attribute) | Step::Set(attribute) => fill(attribute),
                Step::PushPeer(key, _) => key.push('-'),
                Step::Event(name, time, attributes) => {
                    name.insert(0, '-');
                    *time = (*time).max(1);
                    attributes.iter_mut().for_each(fill);
                }
                Step::Link(_, attributes) => attributes.iter_mut().for_each(fill),
                Step::Remove(_) | Step::Status(_) | Step::Name(_) => {}
            }
        }
        self
    }

    fn expected(&self) -> Span {
        let limits = self.limits;
        let mut span = Span {
            trace_id: self.trace_id.to_be_bytes().to_vec(),
            span_id: self.span_id.to_be_bytes().to_vec(),
            trace_state: first_members(&self.tracestate, limits.peer_value_length).to_owned(),
            flags: expected_flags(self.flags, self.parent.is_some_and(|(_, remote)| remote)),
            kind: match self.kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
                SpanKind::Client => 3,
                SpanKind::Producer => 4,
                SpanKind::Consumer => 5,
            },
            start_time_unix_nano: self.start,
            end_time_unix_nano: self.start.saturating_add(self.nanos),
            ..Span::default()
        };
        if let Some((id, _)) = self.parent {
            span.parent_span_id = id.to_be_bytes().to_vec();
        }
        for step in &self.steps {
            match step {
                Step::Push(attribute) => {
                    span.attributes.retain(|there| there.key != attribute.key.as_str());
                    let is_set = !matches!(attribute.value, Value::String(_) | Value::I64(_));
                    let kept_free = if is_set { 2 } else { 0 };
                    let attributes = limits.attributes.saturating_sub(kept_free);
                    let limits = SpanLimits { attributes, ..limits };
                    add(&mut span, limits, expected_attribute(attribute, limits.value_length));
                }
                Step::PushPeer(key, value) => {
                    span.attributes.retain(|there| there.key != *key);
                    let value = prefix(value, limits.peer_value_length);
                    let value = text(&prefix(&value, limits.value_length));
                    add(&mut span, limits, proto(key, value));
                }
                Step::Set(attribute) => {
                    let before = span.attributes.len();
                    span.attributes.retain(|there| there.key != attribute.key.as_str());
                    let replaces = span.attributes.len() < before;
                    let room = (limits.attributes as usize).saturating_sub(2);
                    let attributes = if replaces { before } else { room };
                    let limits = SpanLimits { attributes: attributes as u32, ..limits };
                    add(&mut span, limits, expected_attribute(attribute, limits.value_length));
                }
                Step::Remove(key) => span.attributes.retain(|there| there.key != *key),
                Step::Event(..) if span.events.len() == limits.events as usize => {
                    span.dropped_events_count += 1;
                }
                Step::Event(name, time, attributes) => {
                    let (attributes, dropped_attributes_count) =
                        group(attributes, limits.attributes_per_event, limits.value_length);
                    span.events.push(Event {
                        time_unix_nano: *time,
                        name: prefix(name, limits.value_length),
                        attributes,
                        dropped_attributes_count,
                    });
                }
                Step::Link(..) if span.links.len() == limits.links as usize => {
                    span.dropped_links_count += 1;
                }
                Step::Link(to, attributes) => {
                    let (attributes, dropped_attributes_count) =
                        group(attributes, limits.attributes_per_link, limits.value_length);
                    let tracestate = to.tracestate.iter().map(|(k, v)| format!("{k}={v}"));
                    span.links.push(Link {
                        trace_id: to.trace_id.to_be_bytes().to_vec(),
                        span_id: to.span_id.to_be_bytes().to_vec(),
                        trace_state: tracestate.collect::<Vec<_>>().join(","),
                        attributes,
                        dropped_attributes_count,
                        flags: expected_flags(to.flags, to.remote),
                    });
                }
                Step::Status(status) => set_status(&mut span, status, limits),
                Step::Name(parts) => {
                    span.name = prefix(&parts.concat(), limits.peer_value_length);
                }
            }
        }
        span
    }
}

fn add(span: &mut Span, limits: SpanLimits, attribute: ProtoKeyValue) {
    if span.attributes.len() < limits.attributes as usize {
        span.attributes.push(attribute);
    } else {
        span.dropped_attributes_count += 1;
    }
}

fn set_status(span: &mut Span, status: &Status, limits: SpanLimits) {
    let earlier = span.status.take();
    span.status = match status {
        _ if earlier.as_ref().is_some_and(|status| status.code == 1) => earlier,
        Status::Unset => earlier,
        Status::Ok => Some(ProtoStatus { code: 1, message: String::new() }),
        Status::Error { description } if description.is_empty() => {
            earlier.or(Some(ProtoStatus { code: 2, message: String::new() }))
        }
        Status::Error { description } => {
            Some(ProtoStatus { code: 2, message: prefix(description, limits.peer_value_length) })
        }
    };
}

fn group(attributes: &[KeyValue], limit: u32, length: usize) -> (Vec<ProtoKeyValue>, u32) {
    let mut unique: Vec<&KeyValue> = Vec::new();
    for attribute in attributes {
        unique.retain(|earlier| earlier.key != attribute.key);
        unique.push(attribute);
    }
    let dropped = unique.len().saturating_sub(limit as usize) as u32;
    unique.truncate(limit as usize);
    (unique.iter().map(|attribute| expected_attribute(attribute, length)).collect(), dropped)
}

fn expected_attribute(attribute: &KeyValue, length: usize) -> ProtoKeyValue {
    let string = |value: &StringValue| text(&prefix(value.as_str(), length));
    let value = match &attribute.value {
        Value::Bool(value) => ProtoValue::BoolValue(*value),
        Value::I64(value) => ProtoValue::IntValue(*value),
        Value::F64(value) => ProtoValue::DoubleValue(*value),
        Value::String(value) => string(value),
        Value::Array(Array::Bool(values)) => {
            array(values.iter().copied().map(ProtoValue::BoolValue))
        }
        Value::Array(Array::I64(values)) => array(values.iter().copied().map(ProtoValue::IntValue)),
        Value::Array(Array::F64(values)) => {
            array(values.iter().copied().map(ProtoValue::DoubleValue))
        }
        Value::Array(Array::String(values)) => array(values.iter().map(string)),
        other => unreachable!("a new kind of value: {other:?}"),
    };
    proto(attribute.key.as_str(), value)
}

/// As many whole characters as fit `limit` bytes.
fn prefix(value: &str, limit: usize) -> String {
    let mut prefix = String::new();
    for char in value.chars() {
        if prefix.len() + char.len_utf8() > limit {
            break;
        }
        prefix.push(char);
    }
    prefix
}

fn expected_flags(w3c: u8, remote: bool) -> u32 {
    u32::from(w3c) + 0x100 + if remote { 0x200 } else { 0 }
}

fn any_recipe() -> impl Strategy<Value = Recipe> {
    let kind = prop::sample::select(vec![
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ]);
    let head =
        (any::<u128>(), any::<u64>(), any::<u8>(), any_text(), any::<Option<(u64, bool)>>(), kind);
    (head, any_number(), any_limits(), vec(any_step(), 0..24), any_number()).prop_map(
        |(head, start, limits, steps, nanos)| {
            let (trace_id, span_id, flags, tracestate, parent, kind) = head;
            Recipe {
                trace_id,
                span_id,
                flags,
                tracestate,
                parent,
                kind,
                start,
                limits,
                steps,
                nanos,
            }
        },
    )
}

fn any_limits() -> impl Strategy<Value = SpanLimits> {
    let small = ([0..6u32, 0..4, 0..4, 0..4, 0..4], 0..12usize, 0..12usize).prop_map(
        |(counts, value_length, peer_value_length)| {
            let [attributes, events, links, attributes_per_event, attributes_per_link] = counts;
            SpanLimits {
                attributes,
                events,
                links,
                attributes_per_event,
                attributes_per_link,
                value_length,
                peer_value_length,
            }
        },
    );
    prop_oneof![2 => Just(SpanLimits::default()), 1 => small]
}

fn any_step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![
        1 => Just(Status::Unset),
        1 => Just(Status::Ok),
        4 => any_text().prop_map(Status::error),
    ];
    let other = (
        any::<u128>(),
        any::<u64>(),
        any::<u8>(),
        any::<bool>(),
        vec(("[a-z]{1,5}", "[a-z0-9]{1,5}"), 0..3),
    )
        .prop_map(|(trace_id, span_id, flags, remote, tracestate)| Other {
            trace_id,
            span_id,
            flags,
            remote,
            tracestate,
        });
    prop_oneof![
        4 => any_attribute().prop_map(Step::Push),
        2 => (any_key(), any_text()).prop_map(|(key, value)| Step::PushPeer(key, value)),
        4 => any_attribute().prop_map(Step::Set),
        1 => any_key().prop_map(Step::Remove),
        2 => (any_text(), any_number(), vec(any_attribute(), 0..6))
            .prop_map(|(name, time, attributes)| Step::Event(name, time, attributes)),
        2 => (other, vec(any_attribute(), 0..6))
            .prop_map(|(other, attributes)| Step::Link(other, attributes)),
        1 => status.prop_map(Step::Status),
        1 => vec(any_text(), 0..3).prop_map(Step::Name),
    ]
}

fn any_attribute() -> impl Strategy<Value = KeyValue> {
    (any_key(), any_value()).prop_map(|(key, value)| KeyValue::new(key, value))
}

/// Few keys, so that some are repeated.
fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["", "a", "b", "http.route", "schlüssel"])
            .prop_map(str::to_owned),
        1 => any_text(),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        (-1000..1000i64).prop_map(Value::I64),
        prop::num::f64::ANY.prop_map(Value::F64),
        any_text().prop_map(Value::from),
        vec(any::<bool>(), 0..4).prop_map(|values| Value::Array(Array::Bool(values))),
        vec(any::<i64>(), 0..4).prop_map(|values| Value::Array(Array::I64(values))),
        vec(prop::num::f64::ANY, 0..4).prop_map(|values| Value::Array(Array::F64(values))),
        vec(any_text().prop_map(StringValue::from), 0..4)
            .prop_map(|values| Value::Array(Array::String(values))),
    ]
}

/// Some are long enough for lengths of two and three bytes.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z./]{1,12}",
        4 => vec(any::<char>(), 0..12).prop_map(String::from_iter),
        2 => Just(String::new()),
        1 => (120..300usize).prop_map(|chars| "é".repeat(chars)),
        1 => (8_000..8_400usize).prop_map(|chars| "é".repeat(chars)),
    ]
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => Just(u64::MAX), 8 => any::<u64>()]
}
