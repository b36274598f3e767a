//! [`PerMillionSampler`]: who is recorded, among the spans of the SDK.

use std::sync::Arc;

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

use crate::context::TraceStateHeader;
use crate::pipeline::is_exporter;
use crate::sampling::{Sampler, SamplingRate, hand_on};

/// The rule by which the layers sample, for a tracer provider of the OpenTelemetry SDK.
///
/// A sampled parent is always followed and one that is not never, local or remote. Only a span
/// without a valid parent starts a trace, and is recorded at the [`SamplingRate`]. So this takes
/// the place of a `ParentBased` sampler and goes into none.
///
/// What an exporter of this crate does is never recorded, whatever its parent.
///
/// A trace that starts here says in its tracestate by which threshold it was sampled (`ot=th:…`).
/// A parent's tracestate is handed on; only a threshold in it that is not true is left out.
///
/// # Example: a provider of one's own
///
/// ```
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use tower_otlp::{PerMillionSampler, SamplingRate, TracingService};
///
/// let (tracing, _spans) = TracingService::in_memory();
/// let rate = SamplingRate::try_from(10_000)?;
/// let provider = SdkTracerProvider::builder()
///     .with_sampler(PerMillionSampler::new(rate))
///     .with_span_processor(tracing.span_processor())
///     .build();
/// # Ok::<(), tower_otlp::RateOutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMillionSampler {
    rate: SamplingRate,
}

impl PerMillionSampler {
    /// Records this many of a million traces that start here.
    #[must_use]
    pub const fn new(rate: SamplingRate) -> Self {
        Self { rate }
    }
}

impl ShouldSample for PerMillionSampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        sample(parent_context, trace_id, || {
            let threshold = self.rate.threshold().filter(|_| self.rate.keeps(trace_id));
            threshold.map(TraceStateHeader::of_threshold)
        })
    }
}

/// The same, by what the layers go by at the moment.
#[derive(Clone, Debug)]
pub(super) struct ServiceSampler(pub(super) Arc<Sampler>);

impl ShouldSample for ServiceSampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        sample(parent_context, trace_id, || self.0.records(|| None, trace_id))
    }
}

/// Decides by the parent, and without one by whether there is a tracestate for a new trace.
fn sample(
    parent_context: Option<&Context>,
    trace_id: TraceId,
    start: impl FnOnce() -> Option<TraceStateHeader>,
) -> SamplingResult {
    let parent = parent_context.map(TraceContextExt::span);
    let parent = parent.as_ref().map(|span| span.span_context()).filter(|it| it.is_valid());
    let (sampled, trace_state) = match parent {
        None => {
            let tracestate = start();
            (tracestate.is_some(), to_opentelemetry(tracestate))
        }
        Some(parent) => {
            let (sampled, state) = (parent.is_sampled(), parent.trace_state());
            let state = match state.get("ot") {
                // It may say of a threshold what is not true.
                Some(_) => {
                    let header = TraceStateHeader::from_opentelemetry(state);
                    to_opentelemetry(hand_on(header, trace_id, sampled))
                }
                None => state.clone(),
            };
            (sampled, state)
        }
    };
    // What an exporter does is not exported, so there is no use in recording it.
    let recorded = sampled && !is_exporter();
    let decision =
        if recorded { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
    SamplingResult { decision, attributes: Vec::new(), trace_state }
}

fn to_opentelemetry(tracestate: Option<TraceStateHeader>) -> TraceState {
    tracestate.map_or(TraceState::NONE, |tracestate| tracestate.to_opentelemetry())
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, TraceFlags};

    use super::*;

    #[test]
    fn a_parent_decides_and_the_rate_only_without_one() {
        const KEPT: u128 = 0xff_ffff_ffff_ffff;
        const OTHER: u128 = 0xff << 56;
        let parent = |trace_id: u128, flags, remote| {
            let state = "foo=1".parse().unwrap();
            let flags = TraceFlags::new(flags);
            let parent = SpanContext::new(trace_id.into(), 1_u64.into(), flags, remote, state);
            Some(Context::new().with_remote_span_context(parent))
        };
        let table = [
            (parent(OTHER, 1, true), 0, true, "foo=1", "a sampled remote parent wins at rate 0"),
            (parent(OTHER, 1, false), 0, true, "foo=1", "so does a local one"),
            (parent(OTHER, 3, true), 0, true, "foo=1", "whatever its other flags"),
            (parent(KEPT, 0, true), 1_000_000, false, "foo=1", "unsampled stays so at full rate"),
            (parent(KEPT, 0, false), 1_000_000, false, "foo=1", "a local one too"),
            (parent(KEPT, 2, true), 1_000_000, false, "foo=1", "random is not sampled"),
            (parent(0, 1, true), 0, false, "", "an invalid parent is none: the rate decides"),
            (parent(0, 0, true), 1_000_000, true, "ot=th:0", "an invalid parent is none"),
            (Some(Context::new()), 1_000_000, true, "ot=th:0", "a context without a span"),
            (Some(Context::new()), 0, false, "", "a context without a span, rate 0"),
            (None, 1_000_000, true, "ot=th:0", "no context"),
            (None, 0, false, "", "no context, rate 0"),
        ];
        for (parent, rate, recorded, state, reason) in table {
            let sampler = PerMillionSampler::new(rate.try_into().unwrap());
            let kind = SpanKind::Internal;
            let sample = |id: u128| {
                sampler.should_sample(parent.as_ref(), id.into(), "name", &kind, &[], &[])
            };
            let result = sample(KEPT);
            assert_eq!(result.decision == SamplingDecision::RecordAndSample, recorded, "{reason}");
            assert_eq!(result.decision == SamplingDecision::Drop, !recorded, "{reason}");
            assert_eq!(result.trace_state.header(), state, "{reason}");
            assert_eq!(result.attributes, [], "{reason}");
        }
    }

    #[test]
    fn without_a_parent_it_decides_as_the_layers_do() {
        let rates = [0, 1, 10_000, 333_333, 999_999, 1_000_000];
        for rate in rates.map(|rate| SamplingRate::try_from(rate).unwrap()) {
            let sampler = PerMillionSampler::new(rate);
            for step in 0..1000_u128 {
                let trace_id = TraceId::from(step * 0xffff_ffff_ffff_ffff / 999 + 1);
                let result = sampler.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
                let recorded = result.decision == SamplingDecision::RecordAndSample;
                let expected = rate.keeps(trace_id);
                assert_eq!(recorded, expected, "{rate:?}: {trace_id}");
            }
        }
    }
}
