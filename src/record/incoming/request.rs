//! The walk over a request, down to its attributes.

use std::ops::Range;

use super::value::{self, utf8};
use super::{Invalid, Stamp, Stamped};
use crate::record::walk::{Fields, Malformed, Value};
use crate::record::wire::{delimited_len, put_bytes, put_len, put_varint, varint_len};

/// A request on its way from `request` to `out`.
///
/// Bytes are copied late: only where something is put in or left out, all before it that still
/// waits goes over at once. The length of a message from which something was removed is corrected
/// in `out` when its end is reached. So there is nothing to remember but the way down, which is
/// the stack.
pub(super) struct Walk<'a> {
    request: &'a [u8],
    stamp: &'a Stamp,
    out: Vec<u8>,
    /// How much of `request` has been copied or left out.
    done: usize,
    /// Bytes that the messages of `request` have lost, in all.
    removed: usize,
    spans: u64,
    max_spans: u64,
}

impl<'a> Walk<'a> {
    /// `room` is how long the result can get.
    pub(super) fn new(request: &'a [u8], stamp: &'a Stamp, max_spans: u64, room: usize) -> Self {
        let out = Vec::with_capacity(room);
        Self { request, stamp, out, done: 0, removed: 0, spans: 0, max_spans }
    }

    pub(super) fn run(mut self) -> Result<Stamped, Invalid> {
        self.message(0..self.request.len(), |walk, field| match field.content {
            (1, Value::Bytes(group)) => walk.resource_spans(field.at, group),
            (1, _) => Err(Malformed.into()),
            _ => Ok(()),
        })?;
        self.copy_until(self.request.len());
        Ok(Stamped { request: self.out, spans: self.spans })
    }

    /// Walks a `ResourceSpans`, and stamps it.
    ///
    /// As the parts of a resource are merged, the stamp goes into the last one.
    fn resource_spans(&mut self, at: Range<usize>, group: &[u8]) -> Result<(), Invalid> {
        let stamp = &*self.stamp.field;
        let start = at.end - group.len();
        let last = last_resource(group)?;
        let added = match last {
            Some((_, len)) => {
                stamp.len() + varint_len((len + stamp.len()) as u64) - varint_len(len as u64)
            }
            None => delimited_len(1, stamp.len()),
        };
        let length = self.replace_head(at.start, 1, group.len() + added, start);
        if last.is_none() {
            put_bytes(&mut self.out, 1, stamp);
        }
        let last = last.map(|(end, _)| start + end);
        let before = self.removed;
        self.message(start..at.end, |walk, field| match field.content {
            (1, Value::Bytes(part)) if last == Some(field.at.end) => {
                walk.last_resource(field.at, part.len())
            }
            (1, Value::Bytes(part)) => walk.part(field.at, part, Self::resource),
            (2, Value::Bytes(part)) => walk.part(field.at, part, Self::scope_spans),
            (3, Value::Bytes(text)) => utf8(text, "ResourceSpans.schema_url"),
            (1..=3, _) => Err(Malformed.into()),
            (LIBRARY_SPANS, _) => {
                let field = "ResourceSpans.instrumentation_library_spans";
                Err(Invalid::Outdated { field })
            }
            _ => Ok(()),
        })?;
        self.shorten(length, group.len() + added, before);
        Ok(())
    }

    fn last_resource(&mut self, at: Range<usize>, len: usize) -> Result<(), Invalid> {
        let stamp = &*self.stamp.field;
        let payload = at.end - len..at.end;
        let length = self.replace_head(at.start, 1, len + stamp.len(), payload.start);
        let before = self.removed;
        self.resource(payload)?;
        self.copy_until(at.end);
        self.out.extend_from_slice(stamp);
        self.shorten(length, len + stamp.len(), before);
        Ok(())
    }

    fn resource(&mut self, at: Range<usize>) -> Result<(), Invalid> {
        self.message(at, |walk, field| match field.content {
            (1, Value::Bytes(pair)) => walk.attribute(field.at, pair),
            (2, Value::Varint(_)) => Ok(()),
            (3, Value::Bytes(entity)) => value::entity_ref(entity),
            (1..=3, _) => Err(Malformed.into()),
            _ => Ok(()),
        })
    }

    fn scope_spans(&mut self, at: Range<usize>) -> Result<(), Invalid> {
        self.message(at, |walk, field| match field.content {
            (1, Value::Bytes(part)) => walk.part(field.at, part, Self::scope),
            (2, Value::Bytes(part)) => walk.part(field.at, part, Self::span),
            (3, Value::Bytes(text)) => utf8(text, "ScopeSpans.schema_url"),
            (1..=3, _) => Err(Malformed.into()),
            _ => Ok(()),
        })
    }

    fn scope(&mut self, at: Range<usize>) -> Result<(), Invalid> {
        self.message(at, |walk, field| match field.content {
            (1, Value::Bytes(text)) => utf8(text, "InstrumentationScope.name"),
            (2, Value::Bytes(text)) => utf8(text, "InstrumentationScope.version"),
            (3, Value::Bytes(pair)) => walk.attribute(field.at, pair),
            (4, Value::Varint(_)) => Ok(()),
            (1..=4, _) => Err(Malformed.into()),
            _ => Ok(()),
        })
    }

    fn span(&mut self, at: Range<usize>) -> Result<(), Invalid> {
        if self.spans == self.max_spans {
            return Err(Invalid::TooManySpans { limit: self.max_spans });
        }
        self.spans += 1;
        let [mut trace_id, mut span_id, mut parent_span_id] = [0; 3];
        self.message(at, |walk, field| {
            match field.content {
                (1, Value::Bytes(id)) => trace_id = id.len(),
                (2, Value::Bytes(id)) => span_id = id.len(),
                (3, Value::Bytes(text)) => return utf8(text, "Span.trace_state"),
                (4, Value::Bytes(id)) => parent_span_id = id.len(),
                (5, Value::Bytes(text)) => return utf8(text, "Span.name"),
                (9, Value::Bytes(pair)) => return walk.attribute(field.at, pair),
                (11, Value::Bytes(part)) => return walk.part(field.at, part, Self::event),
                (13, Value::Bytes(part)) => return walk.part(field.at, part, Self::link),
                (15, Value::Bytes(status)) => return value::status(status),
                (6 | 10 | 12 | 14, Value::Varint(_))
                | (7 | 8, Value::Fixed64(_))
                | (16, Value::Fixed32(_)) => {}
                (1..=16, _) => return Err(Malformed.into()),
                _ => {}
            }
            Ok(())
        })?;
        check_id("Span.trace_id", trace_id, 16)?;
        check_id("Span.span_id", span_id, 8)?;
        if parent_span_id > 0 {
            check_id("Span.parent_span_id", parent_span_id, 8)?;
        }
        Ok(())
    }

    fn event(&mut self, at: Range<usize>) -> Result<(), Invalid> {
        self.message(at, |walk, field| match field.content {
            (1, Value::Fixed64(_)) | (4, Value::Varint(_)) => Ok(()),
            (2, Value::Bytes(text)) => utf8(text, "Event.name"),
            (3, Value::Bytes(pair)) => walk.attribute(field.at, pair),
            (1..=4, _) => Err(Malformed.into()),
            _ => Ok(()),
        })
    }

    fn link(&mut self, at: Range<usize>) -> Result<(), Invalid> {
        let [mut trace_id, mut span_id] = [0; 2];
        self.message(at, |walk, field| {
            match field.content {
                (1, Value::Bytes(id)) => trace_id = id.len(),
                (2, Value::Bytes(id)) => span_id = id.len(),
                (3, Value::Bytes(text)) => return utf8(text, "Link.trace_state"),
                (4, Value::Bytes(pair)) => return walk.attribute(field.at, pair),
                (5, Value::Varint(_)) | (6, Value::Fixed32(_)) => {}
                (1..=6, _) => return Err(Malformed.into()),
                _ => {}
            }
            Ok(())
        })?;
        check_id("Link.trace_id", trace_id, 16)?;
        check_id("Link.span_id", span_id, 8)?;
        Ok(())
    }

    /// Leaves the attribute out if it could be taken for the stamp.
    #[inline]
    fn attribute(&mut self, at: Range<usize>, pair: &[u8]) -> Result<(), Invalid> {
        let key = value::pair(pair, 0)?;
        // Which most others differ from in the first byte.
        if key.first().is_some_and(|first| self.stamp.key.first() != Some(first)) {
            return Ok(());
        }
        match self.stamp.key.strip_prefix(key) {
            Some([]) => {}
            Some([b'.', ..]) if value::has_map(pair) => {}
            _ => return Ok(()),
        }
        self.copy_until(at.start);
        self.done = at.end;
        self.removed += at.len();
        Ok(())
    }

    /// Walks a message that may have attributes.
    fn part(
        &mut self,
        at: Range<usize>,
        message: &[u8],
        walk: fn(&mut Self, Range<usize>) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        let payload = at.end - message.len();
        // Where the length will stand in the end: what is not copied yet will follow as it is.
        let length = self.out.len() + (payload - self.done) - varint_len(message.len() as u64);
        let before = self.removed;
        walk(self, payload..at.end)?;
        self.shorten(length, message.len(), before);
        Ok(())
    }

    /// Calls `walk` with each field of the message at `at`.
    #[inline]
    fn message(
        &mut self,
        at: Range<usize>,
        mut walk: impl FnMut(&mut Self, Field<'a>) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        let mut fields = Fields::new(&self.request[at.clone()]);
        let mut start = at.start;
        while let Some(content) = fields.next() {
            let end = at.end - fields.remaining();
            walk(self, Field { content: content?, at: start..end })?;
            start = end;
        }
        Ok(())
    }

    fn copy_until(&mut self, end: usize) {
        self.out.extend_from_slice(&self.request[self.done..end]);
        self.done = end;
    }

    /// Writes another head for the field that starts at `start` and whose payload is at `payload`.
    /// Returns where its length stands in `out`.
    fn replace_head(&mut self, start: usize, field: u32, len: usize, payload: usize) -> usize {
        self.copy_until(start);
        put_len(&mut self.out, field, len);
        self.done = payload;
        self.out.len() - varint_len(len as u64)
    }

    /// Corrects the length at `at` in `out`, of a message of `len` bytes, by what was removed since
    /// `before`.
    fn shorten(&mut self, at: usize, len: usize, before: usize) {
        let removed = self.removed - before;
        if removed == 0 {
            return;
        }
        let old = varint_len(len as u64);
        let mut length = Vec::with_capacity(old);
        put_varint(&mut length, (len - removed) as u64);
        // The length itself may have become shorter.
        self.removed += old - length.len();
        self.out.splice(at..at + old, length);
    }
}

/// One field, and where all of it stands in the request.
struct Field<'a> {
    content: (u32, Value<'a>),
    at: Range<usize>,
}

/// Where the last part of the resource ends in a `ResourceSpans`, and the length of its payload.
fn last_resource(group: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut fields = Fields::new(group);
    let mut last = None;
    while let Some(field) = fields.next() {
        if let (1, Value::Bytes(resource)) = field? {
            last = Some((group.len() - fields.remaining(), resource.len()));
        }
    }
    Ok(last)
}

fn check_id(field: &'static str, bytes: usize, expected: usize) -> Result<(), Invalid> {
    if bytes == expected { Ok(()) } else { Err(Invalid::IdLength { field, bytes }) }
}

/// Field of a `ResourceSpans` in OTLP before 1.0.
const LIBRARY_SPANS: u32 = 1000;
