//! OTLP/JSON lines from OTLP protobuf bytes.
//!
//! The bytes are not decoded into structures first. A static table says for each message type
//! what its fields are called and how they are written; one pass over a message notes where its
//! fields stand, and the line is written from these notes. They have to be taken because a
//! repeated field may be scattered over its message (a span's attributes before and after its
//! name), whereas JSON wants its elements together.
//!
//! The form is that of the specification's JSON encoding: hexadecimal ids, enums as numbers,
//! 64-bit integers as strings, fields with their default value left out.

mod text;

use std::ops::Range;

use self::text::{put_base64, put_decimal, put_double, put_hex, put_signed, put_text};
use super::shape::{ANY_VALUE, Field, Form, KEY_VALUE, Kind, Shape, TRACES};
use super::walk::{Fields, MAX_DEPTH, Malformed, Value};
use super::wire;

/// Writes OTLP/JSON lines, and keeps its working memory from one line to the next.
#[derive(Debug, Default)]
pub(crate) struct JsonWriter {
    notes: Vec<Note>,
}

impl JsonWriter {
    /// Appends the line for one `TracesData` or `ExportTraceServiceRequest`, `\n` included.
    ///
    /// Text that is not UTF-8 is repaired with U+FFFD; fields that OTLP does not know are left
    /// out.
    ///
    /// # Errors
    ///
    /// When `otlp` is not such a message, or values are nested deeper than [`MAX_DEPTH`]. `out`
    /// is then as it was before.
    pub(crate) fn write_traces(&mut self, otlp: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let start = out.len();
        self.notes.clear();
        self.notes.push(Note { number: 0, end: otlp.len(), bits: otlp.len() as u64 });
        let mut line = Line { otlp, notes: &mut self.notes, out };
        let written = line.message(&TRACES, 0..1, 0);
        match written {
            Ok(()) => out.push(b'\n'),
            Err(Malformed) => out.truncate(start),
        }
        // A message of millions of tiny fields must not hold memory for ever.
        self.notes.shrink_to(NOTES_KEPT);
        written
    }
}

/// One line while it is written.
struct Line<'a> {
    otlp: &'a [u8],
    /// The fields of all messages that are being written, those of the innermost last.
    notes: &'a mut Vec<Note>,
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    /// Writes the object for a message whose payload is that of the notes `parts`, joined.
    ///
    /// More than one part is a message field given several times: protobuf merges these, and
    /// the merged message is the one that the joined payloads encode.
    fn message(
        &mut self,
        shape: &Shape,
        parts: Range<usize>,
        depth: usize,
    ) -> Result<(), Malformed> {
        let first = self.notes.len();
        for part in parts {
            self.gather(shape, self.notes[part].payload())?;
        }
        self.out.push(b'{');
        if shape.form == Form::OneOf {
            if depth == MAX_DEPTH {
                return Err(Malformed);
            }
            // A member clears the others; the same member given again is merged.
            if let Some(&Note { number, .. }) = self.notes[first..].last() {
                let notes = self.notes[first..].iter();
                let run = notes.rev().take_while(|note| note.number == number).count();
                let end = self.notes.len();
                self.member(shape, end - run..end, depth + 1)?;
            }
        } else {
            // The end makes the key unique, which saves the buffer of a stable sort.
            self.notes[first..].sort_unstable_by_key(|note| (note.number, note.end));
            let mut next = first;
            while let Some(&Note { number, .. }) = self.notes.get(next) {
                let notes = self.notes[next..].iter();
                let run = notes.take_while(|note| note.number == number).count();
                self.member(shape, next..next + run, depth)?;
                next += run;
            }
        }
        self.notes.truncate(first);
        self.close(b'}');
        Ok(())
    }

    /// Notes the known fields of the message at `range`.
    fn gather(&mut self, shape: &Shape, range: Range<usize>) -> Result<(), Malformed> {
        let end = range.end;
        let mut fields = Fields::new(&self.otlp[range]);
        while let Some(field) = fields.next() {
            let (number, value) = field?;
            let Some(field) = shape.fields.get(number as usize - 1) else {
                continue;
            };
            let (wire_type, bits) = match value {
                Value::Varint(value) => (wire::VARINT, value),
                Value::Fixed64(value) => (wire::FIXED64, value),
                Value::Fixed32(value) => (wire::FIXED32, u64::from(value)),
                Value::Bytes(payload) => (wire::LENGTH, payload.len() as u64),
            };
            if wire_type != field.wire_type {
                match field.kind {
                    Kind::Reserved => continue,
                    _ => return Err(Malformed),
                }
            }
            self.notes.push(Note { number, end: end - fields.remaining(), bits });
        }
        Ok(())
    }

    /// Writes one member of an object, with a comma after it, from all notes of its field.
    fn member(&mut self, shape: &Shape, run: Range<usize>, depth: usize) -> Result<(), Malformed> {
        // Of a field that is not repeated, the last one counts.
        let last = self.notes[run.end - 1];
        let &Field { label, kind, .. } = &shape.fields[last.number as usize - 1];
        let bits = match kind {
            // Protobuf cuts a varint to the width of its field.
            Kind::Int32 | Kind::Uint32 => u64::from(last.bits as u32),
            _ => last.bits,
        };
        let has_default = !matches!(kind, Kind::Message(_) | Kind::Messages(_) | Kind::Texts);
        // Which member of a oneof is set matters also where its value is the default.
        if bits == 0 && has_default && shape.form == Form::Message {
            return Ok(());
        }
        self.out.extend_from_slice(label.as_bytes());
        match kind {
            Kind::Message(shape) => self.message(shape, run, depth)?,
            Kind::Messages(shape) => {
                self.out.push(b'[');
                let are_attributes = std::ptr::eq(shape, &KEY_VALUE) && depth < MAX_DEPTH;
                for note in run {
                    if !(are_attributes && self.text_attribute(self.notes[note].payload())) {
                        self.message(shape, note..note + 1, depth)?;
                    }
                    self.out.push(b',');
                }
                self.close(b']');
            }
            Kind::Texts => {
                self.out.push(b'[');
                for note in run {
                    put_text(self.out, &self.otlp[self.notes[note].payload()]);
                    self.out.push(b',');
                }
                self.close(b']');
            }
            Kind::Text => put_text(self.out, &self.otlp[last.payload()]),
            Kind::Hex => put_hex(self.out, &self.otlp[last.payload()]),
            Kind::Base64 => put_base64(self.out, &self.otlp[last.payload()]),
            Kind::Bool => self.out.extend_from_slice(if bits == 0 { b"false" } else { b"true" }),
            Kind::Int32 => put_signed(self.out, i64::from(bits as i32)),
            Kind::Uint32 | Kind::Fixed32 => put_decimal(self.out, bits),
            Kind::Int64 => {
                self.out.push(b'"');
                put_signed(self.out, bits as i64);
                self.out.push(b'"');
            }
            Kind::Fixed64 => {
                self.out.push(b'"');
                put_decimal(self.out, bits);
                self.out.push(b'"');
            }
            Kind::Double => put_double(self.out, f64::from_bits(bits)),
            Kind::Reserved => {}
        }
        self.out.push(b',');
        Ok(())
    }

    /// Writes an attribute of the usual kind: a short text under a short key, one after the other.
    /// Most of a line are these, and they need no notes. `false`, and nothing written, for others.
    fn text_attribute(&mut self, range: Range<usize>) -> bool {
        const KEY: u8 = (1 << 3 | wire::LENGTH) as u8;
        const VALUE: u8 = (2 << 3 | wire::LENGTH) as u8;
        const STRING_VALUE: u8 = (1 << 3 | wire::LENGTH) as u8;

        let [KEY, key_len @ 1..0x80, rest @ ..] = &self.otlp[range] else { return false };
        let Some((key, rest)) = rest.split_at_checked((*key_len).into()) else { return false };
        let [VALUE, value_len, STRING_VALUE, text_len @ ..0x7e, text @ ..] = rest else {
            return false;
        };
        if text.len() != usize::from(*text_len) || *value_len != text_len + 2 {
            return false;
        }
        self.out.push(b'{');
        self.out.extend_from_slice(KEY_VALUE.fields[0].label.as_bytes());
        put_text(self.out, key);
        self.out.push(b',');
        self.out.extend_from_slice(KEY_VALUE.fields[1].label.as_bytes());
        self.out.push(b'{');
        self.out.extend_from_slice(ANY_VALUE.fields[0].label.as_bytes());
        put_text(self.out, text);
        self.out.extend_from_slice(b"}}");
        true
    }

    /// Ends an object or array, in place of the comma after its last element.
    fn close(&mut self, bracket: u8) {
        match self.out.last_mut() {
            Some(comma) if *comma == b',' => *comma = bracket,
            _ => self.out.push(bracket),
        }
    }
}

/// Where one field stands.
///
/// Offsets rather than slices, so that the memory can outlive the message.
#[derive(Clone, Copy, Debug)]
struct Note {
    number: u32,
    /// Offset behind the field's last byte.
    end: usize,
    /// The value of a number, the length of a payload.
    bits: u64,
}

impl Note {
    fn payload(self) -> Range<usize> {
        self.end - self.bits as usize..self.end
    }
}

/// Enough for a batch of thousands of spans.
const NOTES_KEPT: usize = 4096;

#[cfg(test)]
mod tests;
