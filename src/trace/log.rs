//! [`WithTraceIds`]: log lines of `tracing-subscriber` that name their trace and span.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt, TraceId};
use tracing::{Event, Subscriber};
#[cfg(feature = "tracing-pretty")]
use tracing_subscriber::fmt::format::Pretty;
use tracing_subscriber::fmt::format::{Compact, Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::context::current;

/// A line format of `tracing-subscriber` that adds `trace_id` and `span_id` to each line, in the
/// names and forms that OpenTelemetry has for logs that are not OTLP.
///
/// They are those of the span in the OpenTelemetry `Context` where the line is logged: of the
/// request that a [`TraceLayer`](crate::TraceLayer) serves, or of the `#[instrument]` span inside
/// it if a layer of `tracing-opentelemetry` is there. Lines of requests that are not recorded have
/// them, too. Outside a trace nothing is added.
///
/// Made from the format it extends, whatever that shows or leaves out:
///
/// - **text**, also `compact` and, with the feature `tracing-pretty`, `pretty`: behind the last field,
///   as two more;
/// - **JSON**: as two more members of the object, strings of 32 and 16 hexadecimal digits. Where
///   an event brings one of the names itself, in a format that is flattened, its own stands and
///   neither is added: no name is there twice, and the two are always of one span.
///
/// Formats of others are not extended: one of your own asks
/// [`TraceContext::current`](crate::TraceContext::current) for the ids.
///
/// Whether lines are coloured is for the `fmt` layer to say (`with_ansi`), not for the format.
/// Control characters in text are always escaped.
///
/// # Example: text
///
/// ```
/// use tower_otlp::WithTraceIds;
///
/// let subscriber = tracing_subscriber::fmt().map_event_format(WithTraceIds::from).finish();
/// # drop(subscriber);
/// ```
///
/// ```text
/// 2026-05-04T03:02:01Z  INFO shop: order placed id=7 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7
/// ```
///
/// # Example: JSON
///
/// ```
/// use tower_otlp::WithTraceIds;
///
/// let subscriber =
///     tracing_subscriber::fmt().json().map_event_format(WithTraceIds::from).finish();
/// # drop(subscriber);
/// ```
///
/// ```text
/// {"timestamp":"2026-05-04T03:02:01Z","level":"INFO","fields":{"message":"order placed","id":7},"target":"shop","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}
/// ```
#[derive(Clone, Debug)]
pub struct WithTraceIds<F> {
    form: Form<F>,
}

#[derive(Clone, Debug)]
enum Form<F> {
    /// Twice, because a format that writes through us does not see the colour of the layer.
    Text {
        plain: F,
        coloured: F,
    },
    Json(F),
}

impl<T: Clone> From<Format<Full, T>> for WithTraceIds<Format<Full, T>> {
    fn from(format: Format<Full, T>) -> Self {
        Self::text(format)
    }
}

impl<T: Clone> From<Format<Compact, T>> for WithTraceIds<Format<Compact, T>> {
    fn from(format: Format<Compact, T>) -> Self {
        Self::text(format)
    }
}

#[cfg(feature = "tracing-pretty")]
impl<T: Clone> From<Format<Pretty, T>> for WithTraceIds<Format<Pretty, T>> {
    fn from(format: Format<Pretty, T>) -> Self {
        Self::text(format)
    }
}

impl<T> From<Format<Json, T>> for WithTraceIds<Format<Json, T>> {
    fn from(format: Format<Json, T>) -> Self {
        Self { form: Form::Json(format) }
    }
}

impl<L: Clone, T: Clone> WithTraceIds<Format<L, T>> {
    fn text(format: Format<L, T>) -> Self {
        let plain = format.clone().with_ansi(false);
        Self { form: Form::Text { plain, coloured: format.with_ansi(true) } }
    }
}

impl<S, N, F> FormatEvent<S, N> for WithTraceIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Read before anything is written: what formats a value may itself change the context.
        let ids = Ids::current(event);
        match (&self.form, ids) {
            (Form::Json(format), Some(ids)) => {
                let mut object = Object::new(writer, ids);
                format.format_event(ctx, Writer::new(&mut object), event)
            }
            (Form::Json(format), None) => format.format_event(ctx, writer, event),
            (Form::Text { plain, coloured }, ids) => {
                let is_coloured = writer.has_ansi_escapes();
                let format = if is_coloured { coloured } else { plain };
                let Some(ids) = ids else { return format.format_event(ctx, writer, event) };
                let mut line = Line { writer: writer.by_ref(), newlines: 0 };
                format.format_event(ctx, Writer::new(&mut line), event)?;
                let newlines = line.newlines;
                ids.write_fields(&mut writer, is_coloured)?;
                write_newlines(&mut writer, newlines)
            }
        }
    }
}

/// What a line is given.
#[derive(Clone, Copy)]
struct Ids {
    trace_id: TraceId,
    span_id: SpanId,
}

impl Ids {
    /// Allocates nothing and takes no lock: also spans that are being written to have their ids.
    fn current(event: &Event<'_>) -> Option<Self> {
        // The API logs that a thread has too many contexts while it changes them, and would panic
        // if it were asked for the current one.
        if event.metadata().target() == "opentelemetry" || !current::is_reachable() {
            return None;
        }
        Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            let ids = Self { trace_id: span.trace_id(), span_id: span.span_id() };
            span.is_valid().then_some(ids)
        })
    }

    /// As `tracing-subscriber` writes the fields of an event.
    fn write_fields(self, writer: &mut Writer<'_>, is_coloured: bool) -> fmt::Result {
        let Self { trace_id, span_id } = self;
        let (name, equals, end) =
            if is_coloured { (ITALIC, DIMMED_EQUALS, RESET) } else { ("", "=", "") };
        write!(writer, " {name}trace_id{end}{equals}{trace_id}")?;
        write!(writer, " {name}span_id{end}{equals}{span_id}")
    }

    fn write_members(self, writer: &mut Writer<'_>) -> fmt::Result {
        let Self { trace_id, span_id } = self;
        write!(writer, r#""trace_id":"{trace_id}","span_id":"{span_id}""#)
    }
}

/// A text line on its way to the writer, but for the newlines that end it.
struct Line<'a> {
    writer: Writer<'a>,
    newlines: usize,
}

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let line = text.trim_end_matches('\n');
        if !line.is_empty() {
            write_newlines(&mut self.writer, std::mem::take(&mut self.newlines))?;
            self.writer.write_str(line)?;
        }
        self.newlines += text.len() - line.len();
        Ok(())
    }
}

fn write_newlines(writer: &mut Writer<'_>, count: usize) -> fmt::Result {
    (0..count).try_for_each(|_| writer.write_char('\n'))
}

/// A JSON object on its way to the writer. At its end the ids become its last members, unless one
/// of their names was there.
struct Object<'a> {
    writer: Writer<'a>,
    ids: Ids,
    /// Objects and arrays that are open.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Whether the string at hand, or the next one, is the name of one of the object's members.
    is_name: bool,
    /// The start of that name, and its whole length.
    name: [u8; "trace_id".len()],
    len: usize,
    is_empty: bool,
    is_taken: bool,
}

impl<'a> Object<'a> {
    fn new(writer: Writer<'a>, ids: Ids) -> Self {
        Self {
            writer,
            ids,
            depth: 0,
            in_string: false,
            escaped: false,
            is_name: false,
            name: [0; _],
            len: 0,
            is_empty: true,
            is_taken: false,
        }
    }

    /// Reads on, and says whether this byte ends the object.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            self.read_string(byte);
            return false;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.len = 0;
                self.is_empty &= !self.is_name;
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.is_name = self.depth == 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            b',' => self.is_name = self.depth == 1,
            b':' => self.is_name = false,
            _ => {}
        }
        false
    }

    fn read_string(&mut self, byte: u8) {
        if byte == b'"' && !self.escaped {
            self.in_string = false;
            let name = self.name.get(..self.len).unwrap_or_default();
            self.is_taken |= self.is_name && [&b"trace_id"[..], b"span_id"].contains(&name);
            return;
        }
        self.escaped = byte == b'\\' && !self.escaped;
        // As it is written: neither of the names needs an escape.
        if self.is_name {
            if let Some(place) = self.name.get_mut(self.len) {
                *place = byte;
            }
            self.len += 1;
        }
    }
}

impl fmt::Write for Object<'_> {
    fn write_str(&mut self, json: &str) -> fmt::Result {
        let Some(end) = json.bytes().position(|byte| self.ends_with(byte)) else {
            return self.writer.write_str(json);
        };
        let (members, end) = json.split_at(end);
        self.writer.write_str(members)?;
        if !self.is_taken {
            if !self.is_empty {
                self.writer.write_char(',')?;
            }
            self.ids.write_members(&mut self.writer)?;
        }
        self.writer.write_str(end)
    }
}

// How `tracing-subscriber` colours the name of a field and what follows.
const ITALIC: &str = "\x1b[3m";
const DIMMED_EQUALS: &str = "\x1b[2m=\x1b[0m";
const RESET: &str = "\x1b[0m";

#[cfg(test)]
mod tests;
