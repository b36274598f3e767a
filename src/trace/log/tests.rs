use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use opentelemetry::trace::{Span, SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{ContextGuard, KeyValue};
use serde_json::Value;
use tracing::subscriber::{set_default, with_default};
use tracing_subscriber::fmt::{SubscriberBuilder, format};

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const IDS: &str = "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7";

#[test]
fn a_text_line_ends_with_the_ids() {
    type Text = fn(SubscriberBuilder, Memory) -> Box<dyn Subscriber + Send + Sync>;
    let rows: &[(Text, &str, &str)] = &[
        (
            |builder, memory| {
                let builder = builder.without_time().with_target(false).with_ansi(false);
                Box::new(builder.map_event_format(WithTraceIds::from).with_writer(memory).finish())
            },
            " INFO place{user=\"ann\"}: two\nlines id=7 trace_id=.. span_id=..\n",
            "as fields of the event, and a newline within the text is no end",
        ),
        (
            |builder, memory| {
                let builder = builder.without_time().with_target(false).with_ansi(false);
                let builder = builder.compact().map_event_format(WithTraceIds::from);
                Box::new(builder.with_writer(memory).finish())
            },
            " INFO place: two\nlines id=7 user=\"ann\" trace_id=.. span_id=..\n",
            "compact has the fields of spans behind those of the event",
        ),
        #[cfg(feature = "tracing-pretty")]
        (
            |builder, memory| {
                let builder = builder.without_time().with_target(false).with_ansi(false);
                let builder = builder.pretty().with_file(false).with_line_number(false);
                Box::new(builder.map_event_format(WithTraceIds::from).with_writer(memory).finish())
            },
            "   INFO  two\nlines, id: 7\n    in place with user: \"ann\" trace_id=.. span_id=..\n\n",
            "pretty ends with an empty line, which stays the last",
        ),
        (
            |builder, memory| {
                let builder = builder.without_time().with_target(false).with_level(false);
                let builder = builder.with_ansi(true).map_event_format(WithTraceIds::from);
                Box::new(builder.with_writer(memory).finish())
            },
            "\x1b[1mplace\x1b[0m\x1b[1m{\x1b[0m\x1b[3muser\x1b[0m\x1b[2m=\x1b[0m\"ann\"\x1b[1m}\
             \x1b[0m\x1b[2m:\x1b[0m two\nlines \x1b[3mid\x1b[0m\x1b[2m=\x1b[0m7 \
             \x1b[3mtrace_id\x1b[0m\x1b[2m=\x1b[0m.. \x1b[3mspan_id\x1b[0m\x1b[2m=\x1b[0m..\n",
            "coloured, as the other fields are",
        ),
        (
            |builder, memory| {
                let builder = builder.without_time().with_target(false).with_level(false);
                let format = format().without_time().with_target(false).with_level(false);
                let builder = builder.with_ansi(false);
                let builder = builder.event_format(WithTraceIds::from(format.with_ansi(true)));
                Box::new(builder.with_writer(memory).finish())
            },
            "place{user=\"ann\"}: two\nlines id=7 trace_id=.. span_id=..\n",
            "the layer says that there are no colours",
        ),
    ];
    for &(text, expected, reason) in rows {
        let memory = Memory::default();
        with_default(text(SubscriberBuilder::default(), memory.clone()), || {
            let _entered = tracing::info_span!("place", user = "ann").entered();
            let _attached = in_trace(TraceFlags::SAMPLED);
            tracing::info!(id = 7, "two\nlines");
        });
        let expected = expected.replacen("..", TRACE, 1).replacen("..", SPAN, 1);
        assert_eq!(memory.take(), expected, "{reason}");
    }
}

#[test]
fn a_json_line_has_the_ids_as_members() {
    type Row<'a> = (fn(), bool, &'a [Value; 2], &'a str);
    let ids = &[TRACE.into(), SPAN.into()];
    let own_trace_id = &[7.into(), Value::Null];
    let own_span_id = &[Value::Null, 7.into()];
    let rows: [Row<'_>; 11] = [
        (|| tracing::info!("hello"), false, ids, "the usual form"),
        (|| tracing::info!("hello"), true, ids, "the same, flattened"),
        (|| tracing::info!(a = 1), true, ids, "no message"),
        (|| tracing::info!(r#"}} "trace_id":"#), true, ids, "the text is no JSON"),
        (|| tracing::info!(trace = r#"\"}{"#, "grüße"), true, ids, "escapes"),
        (|| tracing::info!(x = "trace_id", "span_id"), true, ids, "values are no names"),
        (|| tracing::info!(trace_id = 7, "hello"), false, ids, "the event's is among its fields"),
        (|| tracing::info!(trace_id = 7, "hello"), true, own_trace_id, "a name is there only once"),
        (|| tracing::info!(span_id = 7), true, own_span_id, "nor are pairs mixed"),
        (|| tracing::info!("trace_id\n" = 7), true, ids, "a name that only begins so"),
        (|| tracing::info!(span_idd = 7, "trace_i\n" = 7), true, ids, "nor does one end another"),
    ];
    for (log, flattened, expected, reason) in rows {
        let memory = Memory::default();
        let builder = SubscriberBuilder::default().json().flatten_event(flattened);
        let builder = builder.map_event_format(WithTraceIds::from).with_writer(memory.clone());
        with_default(builder.finish(), || {
            // Spans are nested objects, whose fields may have any name.
            let _entered = tracing::info_span!("outer", span_id = "1", list = "[{").entered();
            let _entered = tracing::info_span!("inner", trace_id = "1").entered();
            let _attached = in_trace(TraceFlags::SAMPLED);
            log();
        });
        let text = memory.take();
        let line = text.strip_suffix('\n').expect(reason);
        assert!(!line.contains('\n'), "{reason}: {line}");
        let object: Value = serde_json::from_str(line).expect(line);
        let found = ["trace_id", "span_id"].map(|name| object[name].clone());
        assert_eq!(&found, expected, "{reason}");
        assert_eq!(object["spans"][1]["trace_id"], "1", "{reason}");
    }
}

#[test]
fn an_object_without_members_has_only_the_ids() {
    let memory = Memory::default();
    let builder = SubscriberBuilder::default().json().flatten_event(true).without_time();
    let builder = builder.with_level(false).with_target(false).map_event_format(WithTraceIds::from);
    with_default(builder.with_writer(memory.clone()).finish(), || {
        let _attached = in_trace(TraceFlags::SAMPLED);
        tracing::info!({});
    });
    let expected = format!("{{\"trace_id\":\"{TRACE}\",\"span_id\":\"{SPAN}\"}}\n");
    assert_eq!(memory.take(), expected);
}

#[test]
fn lines_outside_a_trace_are_as_they_were() {
    let (with, without) = (Memory::default(), Memory::default());
    let log = || {
        let _attached = Context::new().attach();
        tracing::info!(id = 7, "hello");
    };
    let builder = || SubscriberBuilder::default().without_time();
    let own = builder().map_event_format(WithTraceIds::from);
    with_default(own.with_writer(with.clone()).finish(), log);
    with_default(builder().with_writer(without.clone()).finish(), log);
    let own = builder().json().map_event_format(WithTraceIds::from);
    with_default(own.with_writer(with.clone()).finish(), log);
    with_default(builder().json().with_writer(without.clone()).finish(), log);
    assert_eq!(with.take(), without.take());
}

#[test]
fn a_span_that_is_not_recorded_has_ids_too_and_so_has_one_under_suppression() {
    let memory = Memory::default();
    let _logging = set_default(text(&memory));
    let _attached = in_trace(TraceFlags::default());
    tracing::info!("unsampled");
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    tracing::info!("suppressed");
    assert_eq!(memory.take(), format!("unsampled {IDS}\nsuppressed {IDS}\n"));
}

/// What formats a value may do whatever it likes, even to the context.
#[test]
fn a_value_may_change_the_context() {
    struct Changes;
    impl fmt::Display for Changes {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let _attached = Context::new().attach();
            tracing::info!("within");
            f.write_str("without")
        }
    }
    let memory = Memory::default();
    let _logging = set_default(text(&memory));
    let _attached = in_trace(TraceFlags::SAMPLED);
    tracing::info!("{Changes}");
    // The dispatcher drops a line that is logged while another is.
    assert_eq!(memory.take(), format!("without {IDS}\n"));
}

/// OpenTelemetry locks a span to write to it.
#[test]
fn a_span_may_log_while_it_is_written_to_and_when_it_is_dropped() {
    let memory = Memory::default();
    let _logging = set_default(text(&memory));
    let attached = Context::new().with_span(Noisy(span_context(TraceFlags::SAMPLED))).attach();
    Context::map_current(|context| context.span().set_attribute(KeyValue::new("a", 1)));
    drop(attached);
    assert_eq!(memory.take(), format!("set_attribute {IDS}\ndrop\n"));
}

/// OpenTelemetry's API logs this while it has the context of the thread in hand.
#[test]
fn too_many_contexts_are_a_line_and_no_panic() {
    let memory = Memory::default();
    let _logging = set_default(text(&memory));
    let contexts: Vec<ContextGuard> =
        (0..=u16::MAX).map(|_| in_trace(TraceFlags::SAMPLED)).collect();
    let lines = memory.take();
    assert!(lines.contains("Too many contexts"), "is `internal-logs` on? {lines}");
    assert!(!lines.contains("trace_id"), "{lines}");
    tracing::info!("still here");
    assert_eq!(memory.take(), format!("still here {IDS}\n"));
    contexts.into_iter().rev().for_each(drop);
}

/// Puts the span in force.
fn in_trace(flags: TraceFlags) -> ContextGuard {
    Context::map_current(|context| context.with_remote_span_context(span_context(flags))).attach()
}

fn span_context(flags: TraceFlags) -> SpanContext {
    let trace_id = TraceId::from_hex(TRACE).unwrap();
    SpanContext::new(trace_id, SpanId::from_hex(SPAN).unwrap(), flags, false, TraceState::NONE)
}

/// Lines that are nothing but their text and the ids.
fn text(memory: &Memory) -> impl Subscriber + Send + Sync + use<> {
    let builder = SubscriberBuilder::default().without_time().with_level(false).with_target(false);
    let builder = builder.with_ansi(false).map_event_format(WithTraceIds::from);
    builder.with_writer(memory.clone()).finish()
}

/// What was logged.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Memory {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A span that logs.
#[derive(Debug)]
struct Noisy(SpanContext);

impl Span for Noisy {
    fn span_context(&self) -> &SpanContext {
        &self.0
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn set_attribute(&mut self, _: KeyValue) {
        tracing::info!("set_attribute");
    }

    fn add_event_with_timestamp<T>(&mut self, _: T, _: SystemTime, _: Vec<KeyValue>) {}
    fn set_status(&mut self, _: Status) {}
    fn update_name<T>(&mut self, _: T) {}
    fn add_link(&mut self, _: SpanContext, _: Vec<KeyValue>) {}
    fn end_with_timestamp(&mut self, _: SystemTime) {}
}

impl Drop for Noisy {
    fn drop(&mut self) {
        tracing::info!("drop");
    }
}
