//! Which of the traces that start here are recorded, and changing that while they do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use opentelemetry::trace::TraceId;

use super::rules::{Asked, SamplingRule};
use super::{SamplingRate, random_part};
use crate::context::TraceStateHeader;

/// Which of the traces that start here are recorded: a rate for all, and rules for some.
///
/// # Example: fewer of everything, all orders
///
/// ```
/// use tower_otlp::{Sampling, SamplingRate, SamplingRule};
///
/// let sampling = Sampling::new(SamplingRate::try_from(1_000)?)
///     .rule(SamplingRule::new(SamplingRate::ALWAYS).path_prefix("/orders"));
/// # let _ = sampling;
/// # Ok::<(), tower_otlp::RateOutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    rate: Weighed,
    rules: Vec<(SamplingRule, Weighed)>,
}

/// A rate, with what a trace that it has recorded says of it.
#[derive(Clone, Debug, PartialEq)]
struct Weighed {
    rate: SamplingRate,
    tracestate: Option<TraceStateHeader>,
}

impl Sampling {
    /// This rate for all.
    #[must_use]
    pub fn new(rate: SamplingRate) -> Self {
        Self { rate: Weighed::new(rate), rules: Vec::new() }
    }

    /// Adds a rule; those added before go before it.
    #[must_use]
    pub fn rule(mut self, rule: SamplingRule) -> Self {
        let weighed = Weighed::new(rule.rate());
        self.rules.push((rule, weighed));
        self
    }

    /// The tracestate of the trace, if it is recorded. `asked` is called only where there are rules
    /// to ask it.
    fn records<'a>(
        &self,
        asked: impl FnOnce() -> Option<Asked<'a>>,
        trace_id: TraceId,
    ) -> Option<TraceStateHeader> {
        let asked = if self.rules.is_empty() { None } else { asked() };
        let rule = asked.and_then(|asked| self.rules.iter().find(|(rule, _)| rule.matches(&asked)));
        let Weighed { rate, tracestate } = rule.map_or(&self.rate, |(_, weighed)| weighed);
        if rate.keeps(trace_id) { tracestate.clone() } else { None }
    }

    /// The least threshold of all.
    fn floor(&self) -> u64 {
        let rules = self.rules.iter().map(|(_, weighed)| weighed.rate.least());
        rules.fold(self.rate.rate.least(), u64::min)
    }
}

impl Weighed {
    fn new(rate: SamplingRate) -> Self {
        Self { rate, tracestate: rate.threshold().map(TraceStateHeader::of_threshold) }
    }
}

/// The sampling in force, shared by all who ask.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: ArcSwap<Sampling>,
    /// What no trace is recorded below, whatever is asked: all that most requests need to know. It
    /// may be out of step with the sampling for the moment in which that is changed.
    floor: AtomicU64,
    /// Held while both change, so that they are always of the same sampling in the end.
    changing: Mutex<()>,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Self {
        let floor = AtomicU64::new(sampling.floor());
        Self { sampling: ArcSwap::from_pointee(sampling), floor, changing: Mutex::new(()) }
    }

    /// Whether a trace that starts here, with this request if it is one, is recorded: then with
    /// this tracestate. Takes no lock.
    pub(crate) fn records<'a>(
        &self,
        asked: impl FnOnce() -> Option<Asked<'a>>,
        trace_id: TraceId,
    ) -> Option<TraceStateHeader> {
        if random_part(trace_id) < self.floor.load(Ordering::Relaxed) {
            return None;
        }
        self.sampling.load().records(asked, trace_id)
    }

    pub(crate) fn set(&self, sampling: Sampling) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let floor = sampling.floor();
        self.sampling.store(sampling.into());
        self.floor.store(floor, Ordering::Relaxed);
    }
}

/// The tracestate that a span of an earlier trace hands on: without a threshold by which it would
/// not have been sampled, or was not.
pub(crate) fn hand_on(
    tracestate: Option<TraceStateHeader>,
    trace_id: TraceId,
    sampled: bool,
) -> Option<TraceStateHeader> {
    let tracestate = tracestate?;
    let consistent = tracestate.threshold().is_none_or(|threshold| {
        sampled && tracestate.randomness().unwrap_or_else(|| random_part(trace_id)) >= threshold
    });
    if consistent { Some(tracestate) } else { tracestate.without_threshold() }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn rate(per_million: u32) -> SamplingRate {
        SamplingRate::try_from(per_million).unwrap()
    }

    fn asked(path: &str) -> Asked<'_> {
        Asked { method: "GET", path, route: None, is_grpc: false }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let sampling = Sampling::new(rate(500_000))
            .rule(SamplingRule::new(SamplingRate::NEVER).path_prefix("/healthz"))
            .rule(SamplingRule::new(SamplingRate::ALWAYS).path_prefix("/healthz/deep"))
            .rule(SamplingRule::new(SamplingRate::ALWAYS).path_prefix("/orders"));
        let (low, high) = (TraceId::from(1), TraceId::from(1 << 55));
        let rows = [
            (Some("/healthz"), high, None, "never"),
            (Some("/healthz/deep"), high, None, "an earlier rule has decided"),
            (Some("/orders/1"), low, Some("ot=th:0"), "always"),
            (Some("/users"), low, None, "no rule: the general rate"),
            (Some("/users"), high, Some("ot=th:8"), "no rule: the general rate"),
            (None, high, Some("ot=th:8"), "no request: the general rate"),
        ];
        let sampler = Sampler::new(sampling);
        for (path, trace_id, expected, why) in rows {
            let tracestate = sampler.records(|| path.map(asked), trace_id);
            assert_eq!(tracestate.as_ref().map(TraceStateHeader::as_str), expected, "{why}");
        }
    }

    #[test]
    fn the_least_rate_of_all_decides_first_and_changes_nothing() {
        let rules = |general, special| {
            let special = SamplingRule::new(rate(special)).path_prefix("/orders");
            Sampler::new(Sampling::new(rate(general)).rule(special))
        };
        let rows = [
            (rules(0, 500_000), "/orders", true, "the rule records more than the rest"),
            (rules(0, 500_000), "/users", false, "which records nothing"),
            (rules(500_000, 0), "/orders", false, "the rule records nothing"),
            (rules(500_000, 0), "/users", true, "and the rest does"),
            (rules(0, 0), "/orders", false, "nothing does"),
        ];
        for (sampler, path, expected, why) in rows {
            let records = |id| sampler.records(|| Some(asked(path)), TraceId::from(id)).is_some();
            assert_eq!(records(1 << 55), expected, "{path}: {why}");
            assert!(!records((1 << 55) - 1), "{path}: below half, {why}");
        }
    }

    #[test]
    fn sampling_changes_while_it_is_asked() {
        let sampler = Sampler::new(Sampling::new(SamplingRate::NEVER));
        let recorded = || sampler.records(|| None, TraceId::from(1)).is_some();
        assert!(!recorded());
        sampler.set(Sampling::new(SamplingRate::ALWAYS));
        assert!(recorded());
        sampler.set(Sampling::new(SamplingRate::NEVER));
        assert!(!recorded());
    }

    #[test]
    fn a_threshold_is_handed_on_only_while_it_tells_the_truth() {
        let id = TraceId::from(0xc0_0000_0000_0000);
        let rows = [
            ("ot=th:8,a=1", true, Some("ot=th:8,a=1"), "sampled as it says"),
            ("ot=th:c", true, Some("ot=th:c"), "just so"),
            ("ot=th:d,a=1", true, Some("a=1"), "by its threshold it would not be"),
            ("ot=th:8;p:1", false, Some("ot=p:1"), "it is not sampled"),
            ("ot=th:0", false, None, "and nothing else is left to say"),
            ("ot=rv:00000000000001;th:8", true, Some("ot=rv:00000000000001"), "explicit, too low"),
            ("ot=rv:f0000000000000;th:d", true, Some("ot=rv:f0000000000000;th:d"), "high enough"),
            ("a=1", false, Some("a=1"), "there is none"),
            ("ot=p:1", true, Some("ot=p:1"), "and none is made up"),
        ];
        for (text, sampled, expected, why) in rows {
            let mut headers = HeaderMap::new();
            headers.insert("tracestate", text.parse().unwrap());
            let handed_on = hand_on(TraceStateHeader::extract(&headers), id, sampled);
            let handed_on = handed_on.as_ref().map(TraceStateHeader::as_str);
            assert_eq!(handed_on, expected, "{text}: {why}");
        }
    }
}
