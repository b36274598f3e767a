//! OpenTelemetry's own member, `ot`, as far as sampling has a say in it: `th`, the threshold by
//! which a trace was sampled, and `rv`, randomness to decide by in place of the trace id's
//! (OpenTelemetry, "TraceState: Probability Sampling").

use super::TraceStateHeader;
use crate::context::list::Text;

impl TraceStateHeader {
    /// `ot=th:…`, the tracestate of a trace that was sampled here by this threshold, of at most 56
    /// bits: its digits without the zeros at their end, which is exact.
    pub(crate) fn of_threshold(threshold: u64) -> Self {
        let digits = format!("{threshold:014x}");
        let digits = match digits.trim_end_matches('0') {
            "" => "0",
            digits => digits,
        };
        let text = Text::new(format!("ot=th:{digits}").into_bytes());
        Self(text.expect("letters and digits"))
    }

    /// The value of `ot`, if there is nothing but a threshold in it, and no other member.
    pub(crate) fn threshold_alone(&self) -> Option<&str> {
        let value = self.as_str().strip_prefix("ot=")?;
        let digits = value.strip_prefix("th:")?;
        digits.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(value)
    }

    /// The threshold by which the trace was sampled.
    pub(crate) fn threshold(&self) -> Option<u64> {
        let digits = self.sub_value("th")?;
        let value = hex(digits).filter(|_| digits.len() <= DIGITS)?;
        Some(value << (4 * (DIGITS - digits.len())))
    }

    /// The randomness to compare with it, if the trace id's is not meant.
    pub(crate) fn randomness(&self) -> Option<u64> {
        let digits = self.sub_value("rv")?;
        hex(digits).filter(|_| digits.len() == DIGITS)
    }

    /// The same without a threshold, which no longer says how the trace was sampled.
    pub(crate) fn without_threshold(self) -> Option<Self> {
        if self.sub_value("th").is_none() {
            return Some(self);
        }
        let text = self.as_str();
        let kept = ot(text).unwrap_or_default().split(';').filter(|sub| !sub.starts_with("th:"));
        let kept: Vec<_> = kept.filter(|sub| !sub.is_empty()).collect();
        let mut changed = String::with_capacity(text.len());
        // A member that was changed goes first.
        if !kept.is_empty() {
            changed.push_str("ot=");
            changed.push_str(&kept.join(";"));
        }
        for member in text.split(',').filter(|member| !member.starts_with("ot=")) {
            if !changed.is_empty() {
                changed.push(',');
            }
            changed.push_str(member);
        }
        if changed.is_empty() { None } else { Text::new(changed.into_bytes()).map(Self) }
    }

    fn sub_value(&self, key: &str) -> Option<&str> {
        let subs = ot(self.as_str())?.split(';');
        subs.filter_map(|sub| sub.split_once(':')).find(|(name, _)| *name == key).map(|(_, v)| v)
    }
}

/// The value of the member; the first counts.
fn ot(text: &str) -> Option<&str> {
    text.split(',').find_map(|member| member.strip_prefix("ot="))
}

/// Of lowercase digits only, and at least one.
fn hex(digits: &str) -> Option<u64> {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !digits.bytes().all(is_digit) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// Digits of 56 bits.
const DIGITS: usize = 14;

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn header(text: &str) -> TraceStateHeader {
        let mut headers = HeaderMap::new();
        headers.insert("tracestate", text.parse().unwrap());
        TraceStateHeader::extract(&headers).unwrap_or_else(|| panic!("{text} is well-formed"))
    }

    #[test]
    fn a_threshold_is_written_exactly_and_short() {
        let rows = [
            (0, "ot=th:0", "everything is sampled"),
            (0x80_0000_0000_0000, "ot=th:8", "zeros at the end say nothing"),
            (0xc0_0000_0000_0000, "ot=th:c", "a quarter"),
            (0xfd_70a3_d70a_3d71, "ot=th:fd70a3d70a3d71", "one in a hundred, to the last bit"),
            (0x00_0010_c6f7_a0b6, "ot=th:000010c6f7a0b6", "zeros in front count"),
            (0xe6_6666_6666_6666, "ot=th:e6666666666666", "one in ten"),
        ];
        for (threshold, expected, why) in rows {
            let written = TraceStateHeader::of_threshold(threshold);
            assert_eq!(written.as_str(), expected, "{why}");
            assert_eq!(written.threshold(), Some(threshold), "{why}");
        }
    }

    #[test]
    fn thresholds_and_randomness_are_read_strictly() {
        let rows = [
            ("ot=th:8", Some(1 << 55), None, "padded on the right"),
            ("ot=th:0", Some(0), None, "all"),
            ("a=1,ot=rv:abcdef01234567;th:c,b=2", Some(3 << 54), Some(0xabcdef01234567), "both"),
            ("ot=th:123456789abcdef", None, None, "15 digits"),
            ("ot=th:", None, None, "none"),
            ("ot=th:8G", None, None, "no digit"),
            ("ot=th:C", None, None, "uppercase"),
            ("ot=th:+8", None, None, "a sign"),
            ("ot=rv:abcdef0123456", None, None, "13 digits"),
            ("ot=p:8;q:1", None, None, "other keys"),
            ("not=th:8", None, None, "another member"),
            ("ot=xth:8", None, None, "another key"),
            ("ot=th:4,ot=th:8", Some(1 << 54), None, "of two the first"),
        ];
        for (text, threshold, randomness, why) in rows {
            let header = header(text);
            assert_eq!(header.threshold(), threshold, "{text}: {why}");
            assert_eq!(header.randomness(), randomness, "{text}: {why}");
        }
    }

    #[test]
    fn a_threshold_goes_alone() {
        let rows = [
            ("a=1,b=2", Some("a=1,b=2"), "there is none"),
            ("ot=th:8", None, "nothing is left"),
            ("a=1,ot=th:8,b=2", Some("a=1,b=2"), "others stay, in order"),
            ("a=1,ot=rv:01234567abcdef;th:8", Some("ot=rv:01234567abcdef,a=1"), "and goes first"),
            ("ot=th:8;p:1;", Some("ot=p:1"), "without an empty key"),
            ("ot=th:bad!", None, "also one that cannot be read"),
            ("ot=p:1,a=1", Some("ot=p:1,a=1"), "unchanged, it stays where it is"),
        ];
        for (text, expected, why) in rows {
            let changed = header(text).without_threshold();
            assert_eq!(changed.as_ref().map(TraceStateHeader::as_str), expected, "{text}: {why}");
        }
    }
}
