//! The rate of traces that start here, in exact integers.

use std::error::Error;
use std::fmt;

use opentelemetry::trace::TraceId;

/// How many of a million new traces are recorded.
///
/// The decision is a comparison of the 56 random bits of the trace id with a threshold, the
/// consistent probability sampling of OpenTelemetry (keep when `R >= T`): every service with the
/// same rate keeps the same traces, and one with a higher rate keeps those and more. 0 keeps
/// none, 1,000,000 keeps all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SamplingRate {
    per_million: u32,
    /// T of the specification: ids below it are rejected. 2^56, which no id reaches, for rate 0.
    threshold: u64,
}

impl SamplingRate {
    /// No trace starts recorded.
    pub const NEVER: Self = Self::new(0);
    /// Every trace starts recorded.
    pub const ALWAYS: Self = Self::new(MILLION);

    /// The rate, 0 to 1,000,000.
    #[must_use]
    pub const fn per_million(self) -> u32 {
        self.per_million
    }

    /// Whether a trace of this id is recorded when it starts here.
    #[inline]
    pub(crate) fn keeps(self, trace_id: TraceId) -> bool {
        random_part(trace_id) >= self.threshold
    }

    /// What the random part of an id must be at least.
    pub(crate) fn least(self) -> u64 {
        self.threshold
    }

    /// The threshold that ids must reach; none do when the rate is 0.
    pub(crate) fn threshold(self) -> Option<u64> {
        (self.threshold < SPACE).then_some(self.threshold)
    }

    const fn new(per_million: u32) -> Self {
        // Rounded to the nearest: the count of ids kept is exact to half an id in 2^56.
        let kept = (per_million as u128 * SPACE as u128 + MILLION as u128 / 2) / MILLION as u128;
        Self { per_million, threshold: SPACE - kept as u64 }
    }
}

impl TryFrom<u32> for SamplingRate {
    type Error = RateOutOfRange;

    /// # Errors
    ///
    /// When the rate is above 1,000,000.
    fn try_from(per_million: u32) -> Result<Self, RateOutOfRange> {
        if per_million > MILLION {
            return Err(RateOutOfRange(per_million));
        }
        Ok(Self::new(per_million))
    }
}

impl fmt::Debug for SamplingRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/1000000", self.per_million)
    }
}

/// The 56 bits of a trace id that are random.
#[inline]
pub(crate) fn random_part(trace_id: TraceId) -> u64 {
    let [.., b0, b1, b2, b3, b4, b5, b6] = trace_id.to_bytes();
    u64::from_be_bytes([0, b0, b1, b2, b3, b4, b5, b6])
}

/// A sampling rate above one million per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOutOfRange(pub(crate) u32);

impl fmt::Display for RateOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sampling rate {} is outside 0..=1000000 per million", self.0)
    }
}

impl Error for RateOutOfRange {}

const MILLION: u32 = 1_000_000;
/// Count of values that the random part of a trace id can have.
const SPACE: u64 = 1 << 56;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_the_specification() {
        // T = 2^56 - round(rate * 2^56), worked out by hand for each rate.
        let rows: [(u32, u64); 14] = [
            (0, 1 << 56),
            (1, 0xffffef39085f4a),
            (10, 0xffff583a53b8e5),
            (100, 0xfff972474538ef),
            (1_000, 0xffbe76c8b43958),
            (10_000, 0xfd70a3d70a3d71),
            (50_000, 0xf3333333333333),
            (100_000, 0xe6666666666666),
            (250_000, 0xc0000000000000),
            (333_333, 0xaaaab042528ae7),
            (500_000, 0x80000000000000),
            (900_000, 0x1999999999999a),
            (999_999, 0x000010c6f7a0b6),
            (1_000_000, 0),
        ];
        for (per_million, threshold) in rows {
            let rate = SamplingRate::try_from(per_million).unwrap();
            assert_eq!(rate.threshold, threshold, "{per_million}");
        }
    }

    #[test]
    fn only_the_low_56_bits_decide_and_the_edge_is_kept() {
        let rows = [
            (0, u128::MAX, false, "rate 0 keeps not even the highest id"),
            (1, 0xffffef39085f4a, true, "the threshold itself is kept"),
            (1, 0xffffef39085f49, false, "one below it is not"),
            (1, u128::MAX << 56, false, "the high bits do not count"),
            (999_999, 0x10c6f7a0b6, true, "the threshold itself is kept"),
            (999_999, 0x10c6f7a0b5, false, "one below it is not"),
            (1_000_000, 1, true, "the full rate keeps the lowest id"),
            (1_000_000, 1 << 56, true, "and one whose random part is zero"),
        ];
        for (per_million, id, kept, why) in rows {
            let rate = SamplingRate::try_from(per_million).unwrap();
            assert_eq!(rate.keeps(TraceId::from(id)), kept, "{per_million}: {why}");
        }
    }

    #[test]
    fn above_a_million_is_refused() {
        assert!(SamplingRate::try_from(1_000_000).is_ok());
        assert_eq!(
            SamplingRate::try_from(1_000_001).unwrap_err().to_string(),
            "sampling rate 1000001 is outside 0..=1000000 per million",
        );
    }
}
