//! The span of a whole program: of no request.

use std::process;
use std::sync::Arc;

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use super::handle::{Draft, Handle, SharedDraft};
use super::pool;
use crate::context::{RANDOM, TraceContext, Traceparent, ids};
use crate::pipeline::{Intake, Scope};
use crate::record::{Remote, SpanHead, SpanLimits};
use crate::sampling::{Sampler, hand_on};

/// The span of a command that is running, always recorded. Dropped without an
/// [end](Self::end), it is lost.
#[derive(Debug)]
pub(crate) struct CommandSpan {
    draft: SharedDraft,
    intake: Arc<Intake>,
    scope: Arc<Scope>,
    started: u64,
}

/// How a command ended, as its span has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandEnd<'a> {
    /// Unknown of one that panicked.
    pub(crate) exit_code: Option<i32>,
    /// `error.type` and a description.
    pub(crate) error: Option<(&'a str, &'a str)>,
}

impl CommandSpan {
    /// Starts the span, and makes the context that the command is to run in. `parent` is whoever
    /// has started the process.
    pub(crate) fn start(
        (intake, scope): (Arc<Intake>, Arc<Scope>),
        limits: SpanLimits,
        sampler: &Sampler,
        name: &str,
        executable: Option<&str>,
        parent: Option<TraceContext>,
    ) -> (Self, TraceContext, Context) {
        let parent_id = parent.as_ref().map(|parent| (parent.span_id(), Remote::Yes));
        let (inherited, tracestate) = match parent {
            Some(parent) => {
                // Whatever the parent does: that this command is recorded, its user has said.
                let tracestate = hand_on(parent.tracestate_header(), parent.trace_id(), true);
                (parent, tracestate)
            }
            None => {
                let (trace_id, span_id) = (ids::new_trace_id(), SpanId::INVALID);
                let traceparent = Traceparent { trace_id, span_id, flags: RANDOM };
                let tracestate = sampler.records(|| None, trace_id);
                (TraceContext::new(traceparent, None, None), tracestate)
            }
        };
        let mut own = inherited.traceparent();
        own.span_id = ids::new_span_id();
        own.flags = (own.flags & RANDOM).with_sampled(true);
        let trace_context = inherited.with_traceparent(own).with_tracestate(tracestate);

        let started = intake.clock().ticks();
        let head = SpanHead {
            trace_id: trace_context.trace_id(),
            span_id: trace_context.span_id(),
            flags: trace_context.trace_flags(),
            tracestate: trace_context.tracestate().unwrap_or_default(),
            parent: parent_id,
            kind: SpanKind::Internal,
            start_unix_nanos: intake.clock().unix_nanos(started),
        };
        let mut buffer = pool::take();
        buffer.start(&head, limits);
        buffer.set_name(&[name]);
        if let Some(executable) = executable {
            buffer.push_str("process.executable.name", executable);
        }
        buffer.push_i64("process.pid", process::id().into());

        let context = Context::map_current(|current| trace_context.attach_to(current));
        let span_context = trace_context.to_span_context(false);
        let draft = SharedDraft::new(Draft::new(buffer, false));
        let context = context.with_span(Handle::new(&draft, span_context));
        (Self { draft, intake, scope, started }, trace_context, context)
    }

    /// Ends the span, and sends it on its way.
    pub(crate) fn end(self, CommandEnd { exit_code, error }: CommandEnd<'_>) {
        let elapsed = self.intake.clock().ticks().saturating_sub(self.started);
        let Some(mut draft) = self.draft.take() else { return };
        if let Some(code) = exit_code {
            draft.set(&KeyValue::new("process.exit.code", i64::from(code)));
        }
        if let Some((error_type, description)) = error {
            draft.late("error.type").push_str("error.type", error_type);
            draft.buffer.set_status(&Status::error(description.to_owned()));
        }
        self.intake.push(&self.scope, draft.buffer.finish_after(elapsed));
        pool::give_back(draft.buffer);
    }
}
