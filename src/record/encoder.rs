//! Writing one span as OTLP protobuf, attribute by attribute, while it lives.
//!
//! Field order on the wire is free in protobuf, so what is known at the start is written at the
//! start and what may still change (name, status, counts, end) is written last. Nothing is kept
//! in another form in between, and nothing is allocated once the buffers have grown.

mod again;
mod envelope;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId};

use self::again::Again;
pub(crate) use self::envelope::{MAX_RESOURCE, encode_resource, encode_scope, fit_resource};
use super::attributes::{Group, any, put_attribute_head, put_i64, put_key_value, put_text};
use super::limits::{SpanLimits, cut};
use super::walk::{self, Fields};
use super::wire::{delimited_len, put_bytes, put_fixed32, put_fixed64, put_len, put_uint};

/// What is known of a span when it starts.
#[derive(Debug)]
pub(crate) struct SpanHead<'a> {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: TraceFlags,
    pub(crate) tracestate: &'a str,
    /// The parent's id, and whether it is in another process.
    pub(crate) parent: Option<(SpanId, Remote)>,
    pub(crate) kind: SpanKind,
    pub(crate) start_unix_nanos: u64,
}

/// Whether a span context came from another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    Yes,
    No,
}

/// A span on its way to being OTLP bytes. Made to be reused: [`start`](Self::start) clears it.
#[derive(Debug, Default)]
pub(crate) struct SpanBuffer {
    bytes: Vec<u8>,
    start_unix_nanos: u64,
    name: String,
    status: SpanStatus,
    /// Of an error.
    description: String,
    limits: SpanLimits,
    attributes: Count,
    events: Count,
    links: Count,
    again: Again,
}

#[derive(Clone, Copy, Debug, Default)]
enum SpanStatus {
    #[default]
    Unset,
    Error,
    Ok,
}

/// How many of a kind are in the span, and how many did not fit its limits.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    kept: u32,
    dropped: u32,
}

impl SpanBuffer {
    /// Forgets whatever span was here and starts another.
    pub(crate) fn start(&mut self, head: &SpanHead<'_>, limits: SpanLimits) {
        self.bytes.clear();
        self.name.clear();
        self.status = SpanStatus::Unset;
        self.description.clear();
        self.limits = limits;
        self.start_unix_nanos = head.start_unix_nanos;
        (self.attributes, self.events, self.links) = Default::default();

        let out = &mut self.bytes;
        put_bytes(out, span::TRACE_ID, &head.trace_id.to_bytes());
        put_bytes(out, span::SPAN_ID, &head.span_id.to_bytes());
        let tracestate = first_members(head.tracestate, limits.peer_value_length);
        if !tracestate.is_empty() {
            put_bytes(out, span::TRACE_STATE, tracestate.as_bytes());
        }
        let mut remote = Remote::No;
        if let Some((parent, parent_is)) = head.parent {
            put_bytes(out, span::PARENT_SPAN_ID, &parent.to_bytes());
            remote = parent_is;
        }
        put_fixed32(out, span::FLAGS, otlp_flags(head.flags, remote));
        put_uint(out, span::KIND, otlp_kind(&head.kind));
        put_fixed64(out, span::START_TIME, head.start_unix_nanos);
    }

    /// One that takes so many bytes before it grows.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Bytes of memory that the buffers hold on to, but for what is kept to be written again.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.name.capacity() + self.description.capacity()
    }

    pub(crate) fn set_name(&mut self, parts: &[&str]) {
        self.name.clear();
        for part in parts {
            self.name.push_str(part);
        }
    }

    /// Appends an attribute whose key is not in the span yet; the value is ours.
    #[inline(always)]
    pub(crate) fn push_str(&mut self, key: &str, value: &str) {
        self.push_cut(key, value, self.limits.value_length);
    }

    /// Appends an attribute whose key is not in the span yet; the value is the peer's.
    #[inline(always)]
    pub(crate) fn push_peer_str(&mut self, key: &str, value: &str) {
        self.push_cut(key, value, self.limits.peer_value_length.min(self.limits.value_length));
    }

    /// Appends an attribute whose key is not in the span yet; the values are the peer's.
    pub(crate) fn push_peer_strs<'a, I>(&mut self, key: &str, values: impl Fn() -> I)
    where
        I: Iterator<Item = &'a str>,
    {
        if !self.attributes.admit(self.limits.attributes) {
            return;
        }
        let limit = self.limits.peer_value_length.min(self.limits.value_length);
        let values = || values().map(|value| cut(value, limit));
        let item = |value: &str| delimited_len(any::STRING, value.len());
        let len = values().map(|value| delimited_len(ARRAY_VALUES, item(value))).sum();
        let out = &mut self.bytes;
        put_attribute_head(out, span::ATTRIBUTES, key, delimited_len(any::ARRAY, len));
        put_len(out, any::ARRAY, len);
        for value in values() {
            put_len(out, ARRAY_VALUES, item(value));
            put_bytes(out, any::STRING, value.as_bytes());
        }
    }

    /// Appends an attribute whose key is not in the span yet.
    #[inline]
    pub(crate) fn push_i64(&mut self, key: &str, value: i64) {
        if self.attributes.admit(self.limits.attributes) {
            put_i64(&mut self.bytes, span::ATTRIBUTES, key, value);
        }
    }

    /// Sets an attribute for the application: a key that is in the span already takes the new
    /// value. Room is left for what the end of the span has to say.
    pub(crate) fn set(&mut self, attribute: &KeyValue) {
        let key = attribute.key.as_str();
        if let Some(earlier) = self.find(key) {
            self.bytes.drain(earlier);
        } else if !self.attributes.admit(self.limits.attributes.saturating_sub(AT_END)) {
            return;
        }
        put_key_value(&mut self.bytes, span::ATTRIBUTES, attribute, self.limits.value_length);
    }

    /// Sets all attributes of a span that has none yet; of a repeated key the last counts.
    #[cfg(feature = "opentelemetry-sdk")]
    pub(crate) fn set_all(&mut self, attributes: &[KeyValue]) {
        for (i, attribute) in attributes.iter().enumerate() {
            if super::attributes::is_last(attributes, i)
                && self.attributes.admit(self.limits.attributes)
            {
                let limit = self.limits.value_length;
                put_key_value(&mut self.bytes, span::ATTRIBUTES, attribute, limit);
            }
        }
    }

    /// Counts what was dropped before it came here.
    #[cfg(feature = "opentelemetry-sdk")]
    pub(crate) fn add_dropped(&mut self, attributes: u32, events: u32, links: u32) {
        self.attributes.drop_more(attributes);
        self.events.drop_more(events);
        self.links.drop_more(links);
    }

    /// Removes an attribute, so that another can be pushed under its key.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(earlier) = self.find(key) {
            self.bytes.drain(earlier);
            self.attributes.kept -= 1;
        }
    }

    pub(crate) fn event(&mut self, name: &str, unix_nanos: u64, attributes: &[KeyValue]) {
        self.event_with_dropped(name, unix_nanos, attributes, 0);
    }

    /// An event of which so many attributes were dropped before it came here.
    pub(crate) fn event_with_dropped(
        &mut self,
        name: &str,
        unix_nanos: u64,
        attributes: &[KeyValue],
        dropped: u32,
    ) {
        if !self.events.admit(self.limits.events) {
            return;
        }
        let name = cut(name, self.limits.value_length);
        let group = Group::new(attributes, dropped, self.limits.attributes_per_event, self.limits);
        let mut len = 1 + 8 + group.len(event::ATTRIBUTES, event::DROPPED_ATTRIBUTES);
        len += delimited_len(event::NAME, name.len());

        let out = &mut self.bytes;
        put_len(out, span::EVENTS, len);
        put_fixed64(out, event::TIME, unix_nanos);
        put_bytes(out, event::NAME, name.as_bytes());
        group.put(out, event::ATTRIBUTES, event::DROPPED_ATTRIBUTES);
    }

    pub(crate) fn link(&mut self, to: &SpanContext, attributes: &[KeyValue]) {
        self.link_with_dropped(to, attributes, 0);
    }

    /// A link of which so many attributes were dropped before it came here.
    pub(crate) fn link_with_dropped(
        &mut self,
        to: &SpanContext,
        attributes: &[KeyValue],
        dropped: u32,
    ) {
        if !self.links.admit(self.limits.links) {
            return;
        }
        let tracestate = to.trace_state().header();
        let group = Group::new(attributes, dropped, self.limits.attributes_per_link, self.limits);
        let mut len = delimited_len(link::TRACE_ID, 16) + delimited_len(link::SPAN_ID, 8) + 1 + 4;
        if !tracestate.is_empty() {
            len += delimited_len(link::TRACE_STATE, tracestate.len());
        }
        len += group.len(link::ATTRIBUTES, link::DROPPED_ATTRIBUTES);
        let remote = if to.is_remote() { Remote::Yes } else { Remote::No };

        let out = &mut self.bytes;
        put_len(out, span::LINKS, len);
        put_bytes(out, link::TRACE_ID, &to.trace_id().to_bytes());
        put_bytes(out, link::SPAN_ID, &to.span_id().to_bytes());
        if !tracestate.is_empty() {
            put_bytes(out, link::TRACE_STATE, tracestate.as_bytes());
        }
        put_fixed32(out, link::FLAGS, otlp_flags(to.trace_flags(), remote));
        group.put(out, link::ATTRIBUTES, link::DROPPED_ATTRIBUTES);
    }

    /// Sets the status by the rules of the OpenTelemetry API: `Ok` is final, `Unset` changes
    /// nothing, and an error without a description keeps the description of an earlier one.
    pub(crate) fn set_status(&mut self, status: &Status) {
        match (self.status, status) {
            (SpanStatus::Ok, _) | (_, Status::Unset) => {}
            (_, Status::Ok) => self.status = SpanStatus::Ok,
            (SpanStatus::Error, Status::Error { description }) if description.is_empty() => {}
            (_, Status::Error { description }) => {
                self.status = SpanStatus::Error;
                self.description.clear();
                self.description.push_str(cut(description, self.limits.peer_value_length));
            }
        }
    }

    /// Ends the span this long after its start, as [`finish_at`](Self::finish_at) does.
    pub(crate) fn finish_after(&mut self, nanos: u64) -> &[u8] {
        self.finish_at(self.start_unix_nanos.saturating_add(nanos))
    }

    /// Ends the span. Writes what was still open and returns the message: the bytes of an OTLP
    /// `Span`.
    pub(crate) fn finish_at(&mut self, end_unix_nanos: u64) -> &[u8] {
        let out = &mut self.bytes;
        if !self.name.is_empty() {
            put_bytes(out, span::NAME, cut(&self.name, self.limits.peer_value_length).as_bytes());
        }
        put_fixed64(out, span::END_TIME, end_unix_nanos);
        for (field, count) in [
            (span::DROPPED_ATTRIBUTES, self.attributes),
            (span::DROPPED_EVENTS, self.events),
            (span::DROPPED_LINKS, self.links),
        ] {
            if count.dropped > 0 {
                put_uint(out, field, u64::from(count.dropped));
            }
        }
        let (code, message) = match self.status {
            SpanStatus::Unset => return &self.bytes,
            SpanStatus::Ok => (1, ""),
            SpanStatus::Error => (2, self.description.as_str()),
        };
        let mut len = 2;
        if !message.is_empty() {
            len += delimited_len(status::MESSAGE, message.len());
        }
        put_len(out, span::STATUS, len);
        if !message.is_empty() {
            put_bytes(out, status::MESSAGE, message.as_bytes());
        }
        put_uint(out, status::CODE, code);
        &self.bytes
    }

    #[inline(always)]
    fn push_cut(&mut self, key: &str, value: &str, limit: usize) {
        if self.attributes.admit(self.limits.attributes) {
            put_text(&mut self.bytes, span::ATTRIBUTES, key, cut(value, limit));
        }
    }

    /// Where the attribute of this key stands, tag included.
    fn find(&self, key: &str) -> Option<std::ops::Range<usize>> {
        let mut fields = Fields::new(&self.bytes);
        let mut start = 0;
        while let Some(Ok((field, value))) = fields.next() {
            let end = self.bytes.len() - fields.remaining();
            if let (span::ATTRIBUTES, walk::Value::Bytes(attribute)) = (field, value)
                && let Some(Ok((_, walk::Value::Bytes(k)))) = Fields::new(attribute).next()
                && k == key.as_bytes()
            {
                return Some(start..end);
            }
            start = end;
        }
        None
    }
}

impl Count {
    fn admit(&mut self, limit: u32) -> bool {
        if self.kept < limit {
            self.kept += 1;
            true
        } else {
            self.drop_more(1);
            false
        }
    }

    fn drop_more(&mut self, dropped: u32) {
        self.dropped = self.dropped.saturating_add(dropped);
    }
}

/// The members of a tracestate that fit into so many bytes; none is cut.
fn first_members(tracestate: &str, limit: usize) -> &str {
    if tracestate.len() <= limit {
        return tracestate;
    }
    // A comma right behind the limit ends a member that fits.
    let fits = &tracestate.as_bytes()[..=limit];
    let end = fits.iter().rposition(|&byte| byte == b',').unwrap_or(0);
    &tracestate[..end]
}

/// Field of `opentelemetry.proto.common.v1.ArrayValue`.
const ARRAY_VALUES: u32 = 1;

/// Attributes that the end of a span adds: the status code and `error.type`.
const AT_END: u32 = 2;

/// W3C flags in the low byte; above them, that it is known whether the parent is remote, and
/// whether it is.
fn otlp_flags(flags: TraceFlags, remote: Remote) -> u32 {
    const KNOWN: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    let remote = match remote {
        Remote::Yes => IS_REMOTE,
        Remote::No => 0,
    };
    u32::from(flags.to_u8()) | KNOWN | remote
}

fn otlp_kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

/// Field numbers of `opentelemetry.proto.trace.v1.Span`.
mod span {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START_TIME: u32 = 7;
    pub(super) const END_TIME: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const DROPPED_ATTRIBUTES: u32 = 10;
    pub(super) const EVENTS: u32 = 11;
    pub(super) const DROPPED_EVENTS: u32 = 12;
    pub(super) const LINKS: u32 = 13;
    pub(super) const DROPPED_LINKS: u32 = 14;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
}

mod event {
    pub(super) const TIME: u32 = 1;
    pub(super) const NAME: u32 = 2;
    pub(super) const ATTRIBUTES: u32 = 3;
    pub(super) const DROPPED_ATTRIBUTES: u32 = 4;
}

mod link {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const ATTRIBUTES: u32 = 4;
    pub(super) const DROPPED_ATTRIBUTES: u32 = 5;
    pub(super) const FLAGS: u32 = 6;
}

mod status {
    pub(super) const MESSAGE: u32 = 2;
    pub(super) const CODE: u32 = 3;
}

#[cfg(test)]
mod tests;
