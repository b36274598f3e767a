use proptest::prelude::*;

use super::*;

const BASE: &str = "00-12345678901234567890123456789012-1234567890123456-01";

/// What came, what goes on, why.
pub(crate) const CONTINUED: &[(&str, &str, &str)] = &[
    (BASE, BASE, "valid"),
    (" \t00-12345678901234567890123456789012-1234567890123456-01", BASE, "leading blanks"),
    ("00-12345678901234567890123456789012-1234567890123456-01\t ", BASE, "trailing blanks"),
    (
        "00-12345678901234567890123456789012-1234567890123456-00",
        "00-12345678901234567890123456789012-1234567890123456-00",
        "not sampled is an answer, too",
    ),
    (
        "00-12345678901234567890123456789012-1234567890123456-02",
        "00-12345678901234567890123456789012-1234567890123456-02",
        "the random flag of Level 2",
    ),
    (
        "00-12345678901234567890123456789012-1234567890123456-03",
        "00-12345678901234567890123456789012-1234567890123456-03",
        "sampled and random",
    ),
    (
        "00-12345678901234567890123456789012-1234567890123456-09",
        BASE,
        "an undefined flag is not passed on, the defined one is",
    ),
    (
        "00-12345678901234567890123456789012-1234567890123456-ff",
        "00-12345678901234567890123456789012-1234567890123456-03",
        "all flags, of which two are defined",
    ),
    (
        "00-12345678901234567890123456789012-1234567890123456-f4",
        "00-12345678901234567890123456789012-1234567890123456-00",
        "undefined flags only",
    ),
    (
        "00-abcdef00000000000000000000000001-000000000000000a-01",
        "00-abcdef00000000000000000000000001-000000000000000a-01",
        "every digit from a to f; ids that are mostly zero",
    ),
    (
        "cc-12345678901234567890123456789012-1234567890123456-01",
        BASE,
        "a later version of the same length, sent on as 00",
    ),
    (
        "cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
        BASE,
        "a later version with fields that we do not know",
    ),
    (
        "01-12345678901234567890123456789012-1234567890123456-01-",
        BASE,
        "what follows the dash of a later version is not ours to judge",
    ),
    ("fe-12345678901234567890123456789012-1234567890123456-01", BASE, "the last version"),
];

/// What came, why it is not obeyed.
pub(crate) const RESTARTED: &[(&[u8], &str)] = &[
    (b"", "empty"),
    (b" \t", "blank"),
    (b"00", "only a version"),
    (b"00-12345678901234567890123456789012-1234567890123456-01.", "version 00 ends at 55"),
    (b"00-12345678901234567890123456789012-1234567890123456-01-", "even before a lone dash"),
    (
        b"00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
        "version 00 has no further fields",
    ),
    (
        b"cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-be-like",
        "a later version must set further fields off with a dash",
    ),
    (b"cc-12345678901234567890123456789012-1234567890123456-0", "later, but too short"),
    (b"ff-12345678901234567890123456789012-1234567890123456-01", "version ff is forbidden"),
    (b".0-12345678901234567890123456789012-1234567890123456-01", "version: no digit"),
    (b"0.-12345678901234567890123456789012-1234567890123456-01", "version: no digit"),
    (b"000-12345678901234567890123456789012-1234567890123456-01", "version: three digits"),
    (b"0000-12345678901234567890123456789012-1234567890123456-01", "version: four digits"),
    (b"0-12345678901234567890123456789012-1234567890123456-01", "version: one digit"),
    (b"+0-12345678901234567890123456789012-1234567890123456-01", "version: a sign"),
    (b"CC-12345678901234567890123456789012-1234567890123456-01", "version: uppercase"),
    (b"0A-12345678901234567890123456789012-1234567890123456-01", "version: uppercase"),
    (b"00-00000000000000000000000000000000-1234567890123456-01", "trace id: zero"),
    (b"00-.2345678901234567890123456789012-1234567890123456-01", "trace id: first no digit"),
    (b"00-1234567890123456789012345678901.-1234567890123456-01", "trace id: last no digit"),
    (b"00-1234567890123456.89012345678901.-1234567890123456-01", "trace id: dots inside"),
    (b"00-123456789012345678901234567890123-1234567890123456-01", "trace id: 33 digits"),
    (b"00-1234567890123456789012345678901-1234567890123456-01", "trace id: 31 digits"),
    (b"00-1234567890123456789012345678901-1234567890123456-011", "31 digits, 55 in all"),
    (b"00-+2345678901234567890123456789012-1234567890123456-01", "trace id: a sign"),
    (b"00-ABCDEF78901234567890123456789012-1234567890123456-01", "trace id: uppercase"),
    (b"00-1234567890123456789012345678901g-1234567890123456-01", "trace id: beyond f"),
    (b"00-12345678901234567890123456789012-0000000000000000-01", "parent id: zero"),
    (b"00-12345678901234567890123456789012-.234567890123456-01", "parent id: first no digit"),
    (b"00-12345678901234567890123456789012-123456789012345.-01", "parent id: last no digit"),
    (b"00-12345678901234567890123456789012-12345678901234567-01", "parent id: 17 digits"),
    (b"00-12345678901234567890123456789012-123456789012345-01", "parent id: 15 digits"),
    (b"00-12345678901234567890123456789012-1-01", "parent id: one digit"),
    (b"00-12345678901234567890123456789012-+234567890123456-01", "parent id: a sign"),
    (b"00-12345678901234567890123456789012-123456789012345F-01", "parent id: uppercase"),
    (b"00-12345678901234567890123456789012-1234567890123456-.0", "flags: no digit"),
    (b"00-12345678901234567890123456789012-1234567890123456-0.", "flags: no digit"),
    (b"00-12345678901234567890123456789012-1234567890123456-001", "flags: three digits"),
    (b"00-12345678901234567890123456789012-1234567890123456-1", "flags: one digit"),
    (b"00-12345678901234567890123456789012-1234567890123456-+1", "flags: a sign"),
    (b"00-12345678901234567890123456789012-1234567890123456-0F", "flags: uppercase"),
    (b"00-12345678901234567890123456789012-1234567890123456", "no flags"),
    (b"00_12345678901234567890123456789012-1234567890123456-01", "first dash missing"),
    (b"00-12345678901234567890123456789012_1234567890123456-01", "second dash missing"),
    (b"00-12345678901234567890123456789012-1234567890123456_01", "third dash missing"),
    (b"00-12345678901234567890123456789012-1234567890123456- 1", "blanks are not inside"),
    (b"\x0b00-12345678901234567890123456789012-1234567890123456-01", "no blank of HTTP"),
    (b"00-1234567890123456789012345678901\xb9-1234567890123456-01", "not ASCII"),
    (
        b"00-12345678901234567890123456789012-1234567890123456-01,\
          00-12345678901234567890123456789012-1234567890123456-01",
        "two, joined by a proxy",
    ),
];

#[test]
fn what_is_continued() {
    for (came, goes_on, reason) in CONTINUED {
        let traceparent = Traceparent::parse(came.as_bytes());
        let sent = traceparent.map(|it| String::from_utf8(it.encode().to_vec()).unwrap());
        assert_eq!(sent.as_deref(), Some(*goes_on), "{reason}: {came:?}");
    }
}

#[test]
fn what_restarts_the_trace() {
    for (came, reason) in RESTARTED {
        assert_eq!(Traceparent::parse(came), None, "{reason}: {:?}", came.escape_ascii());
    }
}

#[test]
fn undefined_flags_are_not_sent_even_if_set_here() {
    let traceparent = Traceparent {
        flags: TraceFlags::new(0xff),
        ..Traceparent::parse(BASE.as_bytes()).unwrap()
    };
    assert!(traceparent.encode().ends_with(b"-03"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Traceparent::parse(&bytes);
    }

    // Arbitrary bytes hardly ever get past the version.
    #[test]
    fn no_near_miss_makes_it_panic(
        at in 0..BASE.len(),
        byte in any::<u8>(),
        tail in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = BASE.as_bytes().to_vec();
        bytes[at] = byte;
        bytes.extend(tail);
        if let Some(parsed) = Traceparent::parse(&bytes) {
            prop_assert_eq!(Traceparent::parse(&parsed.encode()), Some(parsed));
        }
    }

    #[test]
    fn what_is_encoded_parses_to_the_same(
        trace_id in 1..=u128::MAX,
        span_id in 1..=u64::MAX,
        flags in 0..4_u8,
    ) {
        let traceparent = Traceparent {
            trace_id: trace_id.into(),
            span_id: span_id.into(),
            flags: TraceFlags::new(flags),
        };
        prop_assert_eq!(Traceparent::parse(&traceparent.encode()), Some(traceparent));

        let plain = format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}");
        prop_assert_eq!(traceparent.to_header_value(), plain.as_str());
    }
}
