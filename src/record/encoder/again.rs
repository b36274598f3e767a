//! Attributes that follow from a text, for a text that comes again and again.

use std::fmt;

use super::{SpanBuffer, SpanLimits};

/// What was written for a text the last time; nothing for none.
#[derive(Default)]
pub(super) struct Again {
    text: Vec<u8>,
    /// The attributes, encoded.
    bytes: Vec<u8>,
    attributes: u32,
    /// Under which they were.
    limits: SpanLimits,
}

impl SpanBuffer {
    /// Appends what `write` appends for this text, whose keys are not in the span yet, and nothing
    /// but attributes. It is not called if the text is that of the last span in this buffer: for
    /// one kind of text only, as it is not told apart who wrote.
    pub(crate) fn push_again(&mut self, text: &[u8], write: impl FnOnce(&mut Self)) {
        let last = &self.again;
        let room = self.limits.attributes - self.attributes.kept.min(self.limits.attributes);
        let is_same = !text.is_empty() && last.text == text && last.limits == self.limits;
        if is_same && last.attributes <= room {
            self.bytes.extend_from_slice(&last.bytes);
            self.attributes.kept += last.attributes;
            return;
        }
        let (start, before) = (self.bytes.len(), self.attributes);
        write(self);
        if text.len() > MAX_TEXT || self.attributes.dropped != before.dropped {
            return;
        }
        let last = &mut self.again;
        last.text.clear();
        last.text.extend_from_slice(text);
        last.bytes.clear();
        last.bytes.extend_from_slice(&self.bytes[start..]);
        last.attributes = self.attributes.kept - before.kept;
        last.limits = self.limits;
    }
}

impl fmt::Debug for Again {
    /// Without the text, in which there may be secrets that are not written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").finish_non_exhaustive()
    }
}

/// Bytes of a text that is kept.
const MAX_TEXT: usize = 128;

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, SpanKind, TraceFlags, TraceId};

    use super::*;
    use crate::record::{Remote, SpanHead, decode_span};

    fn start(buffer: &mut SpanBuffer, limits: SpanLimits) {
        let head = SpanHead {
            trace_id: TraceId::from(1),
            span_id: SpanId::from(1),
            flags: TraceFlags::SAMPLED,
            tracestate: "",
            parent: Some((SpanId::from(2), Remote::No)),
            kind: SpanKind::Server,
            start_unix_nanos: 1,
        };
        buffer.start(&head, limits);
    }

    /// Whether something was written anew, and the span that came of it.
    fn span(buffer: &mut SpanBuffer, limits: SpanLimits, text: &str) -> (bool, String) {
        start(buffer, limits);
        buffer.push_str("first", "1");
        let mut anew = false;
        buffer.push_again(text.as_bytes(), |buffer| {
            anew = true;
            buffer.push_str("text", text);
            buffer.push_i64("length", text.len() as i64);
        });
        buffer.push_str("last", "1");
        let span = decode_span(buffer.finish_after(1));
        let attributes: Vec<_> =
            span.attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
        (anew, format!("{} -{}", attributes.join(" "), span.dropped_attributes_count))
    }

    #[test]
    fn what_follows_from_a_text_is_written_anew_only_where_it_has_to_be() {
        let limits = SpanLimits::default();
        let short = SpanLimits { value_length: 2, ..limits };
        let few = SpanLimits { attributes: 2, ..limits };
        let exact = SpanLimits { attributes: 4, ..limits };
        let long = "x".repeat(MAX_TEXT + 1);
        let long_attributes = format!("first=1 text={long} length=129 last=1 -0");
        let rows = [
            (limits, "abc", true, "first=1 text=abc length=3 last=1 -0", "the first time"),
            (limits, "abc", false, "first=1 text=abc length=3 last=1 -0", "the same"),
            (short, "abc", true, "first=1 text=ab length=3 last=1 -0", "under other limits"),
            (short, "abc", false, "first=1 text=ab length=3 last=1 -0", "and again"),
            (limits, "ab", true, "first=1 text=ab length=2 last=1 -0", "another"),
            (few, "ab", true, "first=1 text=ab -2", "not all fits"),
            (few, "ab", true, "first=1 text=ab -2", "so what was written is not to be kept"),
            (exact, "ab", true, "first=1 text=ab length=2 last=1 -0", "all fits"),
            (exact, "ab", false, "first=1 text=ab length=2 last=1 -0", "just so"),
            (exact, "", true, "first=1 text= length=0 last=1 -0", "an empty one"),
            (exact, "", true, "first=1 text= length=0 last=1 -0", "which is not kept"),
            (limits, &long, true, &long_attributes, "a long one"),
            (limits, &long, true, &long_attributes, "is not kept"),
        ];
        let mut buffer = SpanBuffer::default();
        for (limits, text, anew, attributes, why) in rows {
            let expected = (anew, attributes.to_owned());
            assert_eq!(span(&mut buffer, limits, text), expected, "{why}");
        }
    }

    #[test]
    fn what_was_kept_goes_only_where_there_is_room() {
        let mut buffer = SpanBuffer::default();
        let limits = SpanLimits { attributes: 2, ..SpanLimits::default() };
        let two = |buffer: &mut SpanBuffer| {
            buffer.push_str("a", "1");
            buffer.push_str("b", "2");
        };
        start(&mut buffer, limits);
        buffer.push_again(b"text", two);
        start(&mut buffer, limits);
        buffer.push_str("first", "0");
        buffer.push_again(b"text", two);
        let span = decode_span(buffer.finish_after(1));
        let keys: Vec<_> = span.attributes.iter().map(|kv| kv.key.as_str()).collect();
        assert_eq!((keys, span.dropped_attributes_count), (vec!["first", "a"], 1));
    }
}
