//! Durations, sizes and counts, and the least and the most that is taken of each.

use std::time::Duration;

use super::field::Field;
use crate::config::error::Problem;
use crate::config::node::Value;

/// What a key takes, both ends included.
pub(in crate::config) struct Bounds<T> {
    least: T,
    most: T,
}

impl<T: Quantity> Bounds<T> {
    /// What is wrong with a value, if it is out of bounds.
    pub(in crate::config) fn wrong(&self, value: T) -> Option<String> {
        let Self { least, most } = self;
        (value < *least || value > *most).then(|| {
            format!("must be from {} to {}, not {}", least.show(), most.show(), value.show())
        })
    }

    /// The value of a key, if it is one within bounds.
    pub(super) fn read(&self, field: &Field<'_>) -> Result<T, Problem> {
        let value = T::of(&field.node.value).ok_or_else(|| field.must_be(T::EXPECTED))?;
        match self.wrong(value) {
            None => Ok(value),
            Some(wrong) => Err(field.problem(wrong)),
        }
    }
}

/// A kind of value, as operators write it.
pub(in crate::config) trait Quantity: Copy + PartialOrd {
    /// To go after "must be".
    const EXPECTED: &str;

    fn of(value: &Value) -> Option<Self>;

    /// For a message; could be written in the section like this.
    fn show(self) -> String;
}

impl Quantity for Duration {
    const EXPECTED: &str = "a duration with its unit, such as 10s, 500ms or 1m 30s";

    fn of(value: &Value) -> Option<Self> {
        match value {
            // Nothing is nothing in every unit.
            Value::Int(0) => Some(Self::ZERO),
            Value::Text(text) => humantime::parse_duration(text.trim()).ok(),
            _ => None,
        }
    }

    fn show(self) -> String {
        humantime::format_duration(self).to_string()
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(in crate::config) struct Size(pub(in crate::config) u64);

impl Size {
    pub(in crate::config) fn new(bytes: usize) -> Self {
        Self(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    pub(in crate::config) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Quantity for Size {
    const EXPECTED: &str = "a size such as 64MiB, 10MB or 4194304 (bytes)";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Int(bytes) => u64::try_from(*bytes).ok().map(Self),
            Value::Text(text) => {
                let text = text.trim();
                let end = text.find(|c: char| !c.is_ascii_digit() && c != '_');
                let (number, unit) = text.split_at(end.unwrap_or(text.len()));
                let factor = factor(unit.trim_start())?;
                digits(number)?.checked_mul(factor).map(Self)
            }
            _ => None,
        }
    }

    fn show(self) -> String {
        let is_whole = |(_, factor): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*factor);
        let mut units = BINARY.iter().chain(&DECIMAL);
        let (unit, factor) = units.find(is_whole).unwrap_or(&("B", 1));
        format!("{}{unit}", self.0 / factor)
    }
}

impl Quantity for u64 {
    const EXPECTED: &str = "a number in digits";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Self::try_from(*number).ok(),
            // Variables of the environment are text to those who read them.
            Value::Text(text) => digits(text),
            _ => None,
        }
    }

    fn show(self) -> String {
        self.to_string()
    }
}

/// Digits, in groups if one likes, without a sign.
fn digits(text: &str) -> Option<u64> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.ends_with('_') {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// Bytes in a unit, whose case does not matter: there are no bits here.
fn factor(unit: &str) -> Option<u64> {
    let mut units = BINARY.iter().chain(&DECIMAL);
    match unit {
        "" => Some(1),
        unit => units.find(|(name, _)| unit.eq_ignore_ascii_case(name)).map(|&(_, factor)| factor),
    }
}

/// From the largest to the smallest.
const BINARY: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DECIMAL: [(&str, u64); 5] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

pub(in crate::config) const TIMEOUT: Bounds<Duration> = Bounds { least: MILLISECOND, most: HOUR };
pub(in crate::config) const MAX_DELAY: Bounds<Duration> =
    Bounds { least: MILLISECOND, most: Duration::from_secs(60) };
pub(in crate::config) const PAUSE: Bounds<Duration> = Bounds { least: MILLISECOND, most: HOUR };
pub(in crate::config) const GIVE_UP_AFTER: Bounds<Duration> =
    Bounds { least: Duration::ZERO, most: Duration::from_secs(24 * 3600) };
pub(in crate::config) const MAX_BYTES: Bounds<Size> =
    Bounds { least: Size(1 << 20), most: Size(1 << 40) };
/// Up to what OTLP recommends receivers to take at most.
pub(in crate::config) const MAX_BATCH_BYTES: Bounds<Size> =
    Bounds { least: Size(64 << 10), most: Size(64 << 20) };
pub(in crate::config) const MAX_BATCH_SPANS: Bounds<u64> = Bounds { least: 1, most: 65_536 };
pub(in crate::config) const CONCURRENCY: Bounds<u64> = Bounds { least: 1, most: 64 };
pub(in crate::config) const COUNT: Bounds<u64> = Bounds { least: 0, most: 10_000 };
pub(in crate::config) const VALUE_LENGTH: Bounds<Size> =
    Bounds { least: Size(32), most: Size(16 << 20) };
/// Names of spans are cut to it, too.
pub(in crate::config) const PEER_VALUE_LENGTH: Bounds<Size> =
    Bounds { least: Size(32), most: Size(1 << 20) };

#[cfg(test)]
mod tests;
