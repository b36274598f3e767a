//! Spans read back from their OTLP bytes, for tests to look at.

mod value;

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry::{KeyValue, Value as ApiValue};

use self::value::{elements, pair};
use super::walk::{Fields, Malformed, Value};

/// A finished span, as a backend would have received it.
///
/// It is read from the bytes that would otherwise be exported, so what a test sees here is what
/// would have left the process.
///
/// # Attribute values
///
/// OTLP knows more kinds of values than [`opentelemetry::Value`]. Those without a counterpart
/// there (bytes, maps, and arrays that are nested or of mixed types) become a string that shows
/// them as Rust's `Debug` would: `{"a": [1, true]}`, `b"\x00\xff"`. A value with nothing set
/// becomes the empty string.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecordedSpan {
    /// The trace that the span belongs to.
    pub trace_id: TraceId,
    /// The span's own id.
    pub span_id: SpanId,
    /// The id of the parent, in this process or another; `None` for the root of a trace.
    pub parent_span_id: Option<SpanId>,
    /// The W3C `tracestate`, as text; empty when there is none.
    pub trace_state: String,
    /// The W3C trace flags in the low 8 bits (`0x01` sampled, `0x02` random trace id), and what
    /// OTLP adds above them: `0x100` says that it is known whether the parent is remote, `0x200`
    /// that it is.
    pub flags: u32,
    /// What the span is called.
    pub name: String,
    /// The span's role. A kind that was left open counts as [`SpanKind::Internal`], as OTLP
    /// suggests.
    pub kind: SpanKind,
    /// When the work began.
    pub start_time: SystemTime,
    /// When the work was over.
    pub end_time: SystemTime,
    /// The attributes, in the order in which they were set.
    pub attributes: Vec<KeyValue>,
    /// Attributes that a limit kept out.
    pub dropped_attributes_count: u32,
    /// The events, in the order in which they were added.
    pub events: Vec<RecordedEvent>,
    /// Events that a limit kept out.
    pub dropped_events_count: u32,
    /// The links to other spans.
    pub links: Vec<RecordedLink>,
    /// Links that a limit kept out.
    pub dropped_links_count: u32,
    /// How the work ended.
    pub status: Status,
    /// The attributes of the resource that the span comes from, such as `service.name`.
    pub resource: Vec<KeyValue>,
    /// The name of the instrumentation scope: the library that made the span.
    pub scope_name: String,
    /// The version of that library.
    pub scope_version: String,
}

impl RecordedSpan {
    /// The value of the attribute `key`; the last one where a foreign span repeats the key.
    pub fn attribute(&self, key: &str) -> Option<&ApiValue> {
        find(&self.attributes, key)
    }

    /// The time from start to end; zero for a span that ends before it starts.
    pub fn duration(&self) -> Duration {
        self.end_time.duration_since(self.start_time).unwrap_or_default()
    }
}

/// Something that happened at one moment of a [`RecordedSpan`], such as an exception.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// What happened.
    pub name: String,
    /// When it happened.
    pub time: SystemTime,
    /// The attributes, in the order in which they were set.
    pub attributes: Vec<KeyValue>,
    /// Attributes that a limit kept out.
    pub dropped_attributes_count: u32,
}

impl RecordedEvent {
    /// The value of the attribute `key`; the last one where a foreign span repeats the key.
    pub fn attribute(&self, key: &str) -> Option<&ApiValue> {
        find(&self.attributes, key)
    }
}

/// A reference from a [`RecordedSpan`] to a span that is not its parent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecordedLink {
    /// The trace of the other span.
    pub trace_id: TraceId,
    /// The id of the other span.
    pub span_id: SpanId,
    /// The other span's W3C `tracestate`, as text; empty when there is none.
    pub trace_state: String,
    /// The other span's flags. As [`RecordedSpan::flags`], but the two upper bits tell whether
    /// the other span is remote.
    pub flags: u32,
    /// The attributes, in the order in which they were set.
    pub attributes: Vec<KeyValue>,
    /// Attributes that a limit kept out.
    pub dropped_attributes_count: u32,
}

/// Reads all spans of one `TracesData` or `ExportTraceServiceRequest`.
///
/// # Errors
///
/// When `otlp` is not such a message, or values are nested deeper than [`MAX_DEPTH`].
pub(crate) fn traces(otlp: &[u8]) -> Result<Vec<RecordedSpan>, Malformed> {
    let mut spans = Vec::new();
    elements(otlp, |message| resource_spans(message, &mut spans))?;
    Ok(spans)
}

fn resource_spans(message: &[u8], spans: &mut Vec<RecordedSpan>) -> Result<(), Malformed> {
    let mut resource = Vec::new();
    let mut scopes = Vec::new();
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(message)) => elements(message, |pair| {
                resource.push(attribute(pair)?);
                Ok(())
            })?,
            // The resource may come after the spans that need it.
            (2, Value::Bytes(message)) => scopes.push(message),
            (1..=2, _) => return Err(Malformed),
            _ => {}
        }
    }
    scopes.into_iter().try_for_each(|message| scope_spans(message, &resource, spans))
}

fn scope_spans(
    message: &[u8],
    resource: &[KeyValue],
    spans: &mut Vec<RecordedSpan>,
) -> Result<(), Malformed> {
    let mut name = String::new();
    let mut version = String::new();
    let first = spans.len();
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(scope)) => {
                for field in Fields::new(scope) {
                    match field? {
                        (1, Value::Bytes(value)) => name = text(value),
                        (2, Value::Bytes(value)) => version = text(value),
                        (1..=2, _) => return Err(Malformed),
                        _ => {}
                    }
                }
            }
            (2, Value::Bytes(message)) => spans.push(span(message)?),
            (1..=2, _) => return Err(Malformed),
            _ => {}
        }
    }
    for span in &mut spans[first..] {
        span.resource = resource.to_vec();
        span.scope_name.clone_from(&name);
        span.scope_version.clone_from(&version);
    }
    Ok(())
}

fn span(message: &[u8]) -> Result<RecordedSpan, Malformed> {
    let mut span = RecordedSpan {
        trace_id: TraceId::INVALID,
        span_id: SpanId::INVALID,
        parent_span_id: None,
        trace_state: String::new(),
        flags: 0,
        name: String::new(),
        kind: SpanKind::Internal,
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: Vec::new(),
        dropped_events_count: 0,
        links: Vec::new(),
        dropped_links_count: 0,
        status: Status::Unset,
        resource: Vec::new(),
        scope_name: String::new(),
        scope_version: String::new(),
    };
    let mut status = (0, String::new());
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(id)) => span.trace_id = trace_id(id),
            (2, Value::Bytes(id)) => span.span_id = span_id(id),
            (3, Value::Bytes(value)) => span.trace_state = text(value),
            (4, Value::Bytes(id)) => {
                span.parent_span_id = Some(span_id(id)).filter(|&id| id != SpanId::INVALID);
            }
            (5, Value::Bytes(value)) => span.name = text(value),
            (6, Value::Varint(kind)) => {
                span.kind = match kind as i32 {
                    2 => SpanKind::Server,
                    3 => SpanKind::Client,
                    4 => SpanKind::Producer,
                    5 => SpanKind::Consumer,
                    _ => SpanKind::Internal,
                }
            }
            (7, Value::Fixed64(nanos)) => span.start_time = time(nanos),
            (8, Value::Fixed64(nanos)) => span.end_time = time(nanos),
            (9, Value::Bytes(pair)) => span.attributes.push(attribute(pair)?),
            (10, Value::Varint(count)) => span.dropped_attributes_count = count as u32,
            (11, Value::Bytes(message)) => span.events.push(event(message)?),
            (12, Value::Varint(count)) => span.dropped_events_count = count as u32,
            (13, Value::Bytes(message)) => span.links.push(link(message)?),
            (14, Value::Varint(count)) => span.dropped_links_count = count as u32,
            (15, Value::Bytes(message)) => {
                for field in Fields::new(message) {
                    match field? {
                        (2, Value::Bytes(message)) => status.1 = text(message),
                        (3, Value::Varint(code)) => status.0 = code as i32,
                        (2..=3, _) => return Err(Malformed),
                        _ => {}
                    }
                }
            }
            (16, Value::Fixed32(flags)) => span.flags = flags,
            (1..=16, _) => return Err(Malformed),
            _ => {}
        }
    }
    span.status = match status {
        (1, _) => Status::Ok,
        (2, description) => Status::error(description),
        _ => Status::Unset,
    };
    Ok(span)
}

fn event(message: &[u8]) -> Result<RecordedEvent, Malformed> {
    let mut event = RecordedEvent {
        name: String::new(),
        time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
    };
    for field in Fields::new(message) {
        match field? {
            (1, Value::Fixed64(nanos)) => event.time = time(nanos),
            (2, Value::Bytes(value)) => event.name = text(value),
            (3, Value::Bytes(pair)) => event.attributes.push(attribute(pair)?),
            (4, Value::Varint(count)) => event.dropped_attributes_count = count as u32,
            (1..=4, _) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(event)
}

fn link(message: &[u8]) -> Result<RecordedLink, Malformed> {
    let mut link = RecordedLink {
        trace_id: TraceId::INVALID,
        span_id: SpanId::INVALID,
        trace_state: String::new(),
        flags: 0,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
    };
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(id)) => link.trace_id = trace_id(id),
            (2, Value::Bytes(id)) => link.span_id = span_id(id),
            (3, Value::Bytes(value)) => link.trace_state = text(value),
            (4, Value::Bytes(pair)) => link.attributes.push(attribute(pair)?),
            (5, Value::Varint(count)) => link.dropped_attributes_count = count as u32,
            (6, Value::Fixed32(flags)) => link.flags = flags,
            (1..=6, _) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(link)
}

fn attribute(message: &[u8]) -> Result<KeyValue, Malformed> {
    let (key, value) = pair(message, 0)?;
    Ok(KeyValue::new(key, value.into_api()))
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a ApiValue> {
    let found = attributes.iter().rfind(|attribute| attribute.key.as_str() == key)?;
    Some(&found.value)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An id of another length than its own is an invalid one to OTLP.
fn trace_id(bytes: &[u8]) -> TraceId {
    bytes.try_into().map_or(TraceId::INVALID, TraceId::from_bytes)
}

fn span_id(bytes: &[u8]) -> SpanId {
    bytes.try_into().map_or(SpanId::INVALID, SpanId::from_bytes)
}

fn time(unix_nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_nanos)
}

#[cfg(test)]
pub(crate) mod tests;
