//! How much one span may hold.

/// Limits of one span, by OpenTelemetry's "Span Limits" with its defaults, and one of our own:
/// the length of values that a peer supplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SpanLimits {
    /// Attributes on the span. Further keys are dropped and counted; a key that is there already
    /// takes its new value.
    pub(crate) attributes: u32,
    pub(crate) events: u32,
    pub(crate) links: u32,
    pub(crate) attributes_per_event: u32,
    pub(crate) attributes_per_link: u32,
    /// Bytes of a string value; longer ones are cut at a character boundary.
    pub(crate) value_length: usize,
    /// The same for values that come from the peer, so that nobody fills the queue with headers.
    pub(crate) peer_value_length: usize,
}

#[cfg(feature = "opentelemetry-sdk")]
impl SpanLimits {
    /// For spans whose owner has set limits of its own, and kept to them.
    pub(crate) const NONE: Self = Self {
        attributes: u32::MAX,
        events: u32::MAX,
        links: u32::MAX,
        attributes_per_event: u32::MAX,
        attributes_per_link: u32::MAX,
        value_length: usize::MAX,
        peer_value_length: usize::MAX,
    };
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self {
            attributes: 128,
            events: 128,
            links: 128,
            attributes_per_event: 128,
            attributes_per_link: 128,
            value_length: usize::MAX,
            peer_value_length: 4096,
        }
    }
}

/// The longest prefix of `value` that has at most `limit` bytes and whole characters.
pub(crate) fn cut(value: &str, limit: usize) -> &str {
    if value.len() <= limit {
        return value;
    }
    // A character has at most four bytes, so one of these is a boundary.
    let end = (0..=limit).rev().find(|&end| value.is_char_boundary(end));
    &value[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_between_characters() {
        let rows = [
            ("abc", 3, "abc", "fits"),
            ("abcd", 3, "abc", "cut"),
            ("aé", 2, "a", "a character of two bytes is not split"),
            ("é", 0, "", "nothing fits"),
        ];
        for (value, limit, expected, why) in rows {
            assert_eq!(cut(value, limit), expected, "{why}");
        }
    }
}
