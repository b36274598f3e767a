//! Who is recorded.
//!
//! | the parent | recorded |
//! |---|---|
//! | sampled, remote or local | always, whatever the rate |
//! | not sampled | never |
//! | none: a trace starts here | as the [`SamplingRate`] decides on the trace id |
//!
//! So a trace is recorded whole or not at all, and a caller who wants one request recorded end to
//! end needs no more than a sampled `traceparent`. This is the `ParentBased` sampler of the
//! OpenTelemetry specification with a rate in integers at its root.

mod budget;
mod per_million;
mod policy;
mod remote;
mod rules;

pub(crate) use budget::Budget;
pub(crate) use per_million::random_part;
pub use per_million::{RateOutOfRange, SamplingRate};
pub use policy::Sampling;
pub(crate) use policy::{Sampler, hand_on};
pub use remote::RemoteParent;
pub use rules::SamplingRule;
pub(crate) use rules::{Asked, grpc_service, has_prefix};

use opentelemetry::trace::TraceId;

/// What the parent of a new span says about recording it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// There is none: the trace starts here.
    Absent,
    Sampled,
    NotSampled,
}

/// Decides whether a span of `trace_id` is recorded.
pub(crate) fn records(parent: Parent, rate: SamplingRate, trace_id: TraceId) -> bool {
    match parent {
        Parent::Sampled => true,
        Parent::NotSampled => false,
        Parent::Absent => rate.keeps(trace_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_decides_and_the_rate_only_without_one() {
        let always = SamplingRate::ALWAYS;
        let rows = [
            (Parent::Sampled, SamplingRate::NEVER, true, "sampled wins even at rate 0"),
            (Parent::Sampled, always, true, "sampled"),
            (Parent::NotSampled, always, false, "not sampled stays so even at full rate"),
            (Parent::NotSampled, SamplingRate::NEVER, false, "not sampled"),
            (Parent::Absent, SamplingRate::NEVER, false, "rate 0 starts no trace"),
            (Parent::Absent, always, true, "full rate starts every trace"),
        ];
        for (parent, rate, expected, why) in rows {
            for id in [1, u128::MAX, 1 << 127] {
                assert_eq!(records(parent, rate, TraceId::from(id)), expected, "{why}");
            }
        }
    }
}
