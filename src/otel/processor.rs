//! [`OtlpSpanProcessor`]: the SDK's spans on their way into our pipeline.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::trace::{SpanId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::scopes::{Recent, Scopes};
use crate::pipeline::{Flusher, Intake, SharedResource, Stats};
use crate::record::clock::unix_nanos;
use crate::record::{Remote, SpanBuffer, SpanHead, SpanLimits};

/// A span processor of the OpenTelemetry SDK that hands spans to a
/// [`TracingService`](crate::TracingService), in place of a batch processor and an exporter.
///
/// Made by [`TracingService::span_processor`](crate::TracingService::span_processor). A span is
/// encoded on the thread that ends it and waits in the same bounded buffers as the spans of the
/// layers; ending one never blocks. Spans that are recorded but not sampled are not exported.
///
/// What the provider's own limits have left of a span is exported whole, but for repeated keys:
/// the SDK keeps all values of a key, and the last one is exported.
///
/// # Flushing, and the provider's shutdown
///
/// `force_flush` waits at most 5 seconds, `shutdown` as long as the provider allows (5 seconds
/// by default), for all spans of the tracing service that have ended: the two share one pipeline.
/// They block the thread, but need no runtime, and may be called inside one. While the tracing
/// service [waits](crate::TracingServiceConfig::wait_for_resource_attributes) for its resource
/// attributes nothing is exported, so they wait for that as well, and fail when it takes longer.
///
/// Both fail when some spans are still pending then, or when spans of the tracing service were
/// rejected or lost since the last time that was reported; the error says how many.
///
/// A provider that is shut down, or dropped, makes no more spans. The tracing service goes on: it
/// ends with [its own shutdown](crate::TracingService::shutdown), and counts what the SDK ends
/// after that as dropped.
#[derive(Debug)]
pub struct OtlpSpanProcessor {
    /// Absent when tracing is disabled.
    output: Option<Output>,
}

#[derive(Debug)]
struct Output {
    intake: Arc<Intake>,
    flusher: Flusher,
    scopes: Scopes,
    identity: Identity,
    limits: SpanLimits,
    /// Spans rejected or lost, as far as a flush has told of them.
    reported: AtomicU64,
}

/// Whose resource the spans are exported with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Identity {
    /// The tracing service's.
    Service,
    /// That of the provider, once it has told us.
    Provider,
}

impl OtlpSpanProcessor {
    pub(crate) fn new(
        intake: Arc<Intake>,
        flusher: Flusher,
        resource: SharedResource,
        identity: Identity,
        limits: SpanLimits,
    ) -> Self {
        let limits = match identity {
            // Counts are the provider's to keep to; it knows no limit of length.
            Identity::Service => {
                SpanLimits { value_length: limits.value_length, ..SpanLimits::NONE }
            }
            Identity::Provider => SpanLimits::NONE,
        };
        let reported = AtomicU64::new(lost(&intake.stats()));
        let scopes = Scopes::new(resource);
        Self { output: Some(Output { intake, flusher, scopes, identity, limits, reported }) }
    }

    /// One that takes no spans.
    pub(crate) fn disabled() -> Self {
        Self { output: None }
    }

    fn flush(&self, timeout: Duration) -> OTelSdkResult {
        self.output.as_ref().map_or(Ok(()), |output| output.flush(timeout))
    }
}

impl SpanProcessor for OtlpSpanProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if let Some(output) = &self.output
            && span.span_context.is_sampled()
        {
            with_scratch(|scratch| output.push(&span, scratch));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush(DEADLINE)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.flush(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(Output { scopes, identity: Identity::Provider, .. }) = &mut self.output {
            let pairs = resource.iter();
            let mut attributes: Vec<_> =
                pairs.map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
            // The SDK has them in no order. The same resource should be the same bytes.
            attributes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            let schema_url = resource.schema_url().unwrap_or_default();
            *scopes = scopes.another(&mut attributes, schema_url);
        }
    }
}

impl Output {
    fn push(&self, span: &SpanData, scratch: &mut Scratch) {
        let Scratch { buffer, tracestate, recent } = scratch;
        put_tracestate(span.span_context.trace_state(), tracestate);
        let bytes = encode(span, tracestate, self.limits, buffer);
        self.intake.push(self.scopes.get(&span.instrumentation_scope, recent), bytes);
    }

    fn flush(&self, timeout: Duration) -> OTelSdkResult {
        let begun = Instant::now();
        let stats = self.flusher.flush_blocking(timeout);
        // Answered in time, what is pending has ended after the flush began.
        let in_time = begun.elapsed() < timeout;
        let pending = if in_time { 0 } else { stats.pending };
        let lost = lost(&stats);
        let newly = lost.saturating_sub(self.reported.fetch_max(lost, Ordering::Relaxed));
        if pending == 0 && newly == 0 {
            return Ok(());
        }
        Err(OTelSdkError::InternalFailure(format!(
            "newly lost {newly}, still pending {pending} after {:.1?}; of all {stats}",
            begun.elapsed(),
        )))
    }
}

fn lost(stats: &Stats) -> u64 {
    stats.dropped.total() + stats.rejected
}

/// The OTLP bytes of a span. Nothing is allocated once the buffer has grown.
fn encode<'a>(
    span: &SpanData,
    tracestate: &str,
    limits: SpanLimits,
    buffer: &'a mut SpanBuffer,
) -> &'a [u8] {
    let remote = if span.parent_span_is_remote { Remote::Yes } else { Remote::No };
    let has_parent = span.parent_span_id != SpanId::INVALID;
    let head = SpanHead {
        trace_id: span.span_context.trace_id(),
        span_id: span.span_context.span_id(),
        flags: span.span_context.trace_flags(),
        tracestate,
        parent: has_parent.then_some((span.parent_span_id, remote)),
        kind: span.span_kind.clone(),
        start_unix_nanos: unix_nanos(span.start_time),
    };
    buffer.start(&head, limits);
    buffer.set_name(&[&span.name]);
    buffer.set_all(&span.attributes);
    for event in span.events.iter() {
        buffer.event_with_dropped(
            &event.name,
            unix_nanos(event.timestamp),
            &event.attributes,
            event.dropped_attributes_count,
        );
    }
    for link in span.links.iter() {
        buffer.link_with_dropped(
            &link.span_context,
            &link.attributes,
            link.dropped_attributes_count,
        );
    }
    buffer.add_dropped(
        span.dropped_attributes_count,
        span.events.dropped_count,
        span.links.dropped_count,
    );
    buffer.set_status(&span.status);
    buffer.finish_at(unix_nanos(span.end_time))
}

/// `TraceState::header`, into a string that is there already.
fn put_tracestate(state: &TraceState, text: &mut String) {
    text.clear();
    for (key, value) in state {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
}

/// What a thread reuses from span to span.
#[derive(Debug, Default)]
struct Scratch {
    buffer: SpanBuffer,
    tracestate: String,
    recent: Recent,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn with_scratch(push: impl FnOnce(&mut Scratch)) {
    let mut push = Some(push);
    // Not there while the thread is being torn down.
    let _ = SCRATCH.try_with(|scratch| {
        if let Ok(mut scratch) = scratch.try_borrow_mut()
            && let Some(push) = push.take()
        {
            push(&mut scratch);
            if scratch.buffer.capacity() > MAX_CAPACITY {
                scratch.buffer = SpanBuffer::default();
            }
        }
    });
    if let Some(push) = push {
        push(&mut Scratch::default());
    }
}

/// How long a flush waits: the SDK's default for a shutdown, and for the flush of its own
/// processor.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a buffer that a thread keeps. A usual span has some 500.
const MAX_CAPACITY: usize = 64 << 10;

#[cfg(test)]
mod tests;
