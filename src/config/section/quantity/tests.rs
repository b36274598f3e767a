use super::*;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn sizes_are_whole_numbers_of_a_unit() {
    let cases = [
        (Value::Int(4_194_304), Some(4 << 20), "bytes"),
        (text("4_194_304"), Some(4 << 20), "as text, in groups"),
        (text("0"), Some(0), "nothing"),
        (text("64MiB"), Some(64 << 20), "a binary unit"),
        (text("64 mib"), Some(64 << 20), "in any case, and with a space"),
        (text(" 1KiB "), Some(1024), "blanks around"),
        (text("10MB"), Some(10_000_000), "a decimal unit"),
        (text("10kb"), Some(10_000), "bytes, as bits are no size"),
        (text("7B"), Some(7), "bytes by name"),
        (text("1TiB"), Some(1 << 40), "the largest units"),
        (text("2TB"), Some(2_000_000_000_000), "the largest units"),
        (text("18446744073709551615"), Some(u64::MAX), "all 64 bits"),
        (text("18446744073709551616"), None, "more than they hold"),
        (text("16777216TiB"), None, "more, once multiplied"),
        (Value::Int(-1), None, "less than nothing"),
        (text("-1"), None, "a sign"),
        (text("+1"), None, "a sign"),
        (text(""), None, "nothing written"),
        (text("MiB"), None, "no number"),
        (text("_1"), None, "a group before the number"),
        (text("1_"), None, "and one after it"),
        (text("1.5MiB"), None, "a part of a unit"),
        (text("64M"), None, "binary or decimal?"),
        (text("64Mi"), None, "a unit of something"),
        (text("64Mb"), Some(64_000_000), "case does not matter"),
        (text("64MiB 1KiB"), None, "a sum"),
        (text("1e6"), None, "an exponent"),
        (text("٣MiB"), None, "digits of ASCII only"),
        (Value::Float(1e6), None, "a float"),
        (Value::Bool(true), None, "another kind"),
    ];
    for (value, expected, reason) in cases {
        assert_eq!(Size::of(&value).map(|size| size.0), expected, "{value:?}: {reason}");
    }
}

#[test]
fn sizes_are_shown_as_they_could_be_written() {
    for (bytes, shown) in [
        (0, "0B"),
        (1, "1B"),
        (999, "999B"),
        (1000, "1kB"),
        (4_000_000, "4MB"),
        (1024, "1KiB"),
        (64 << 10, "64KiB"),
        ((4 << 20) - (64 << 10), "4032KiB"),
        (4 << 20, "4MiB"),
        (1 << 40, "1TiB"),
        (u64::MAX, "18446744073709551615B"),
    ] {
        assert_eq!(Size(bytes).show(), shown);
        assert_eq!(Size::of(&text(shown)), Some(Size(bytes)), "{shown} reads back");
    }
}

#[test]
fn durations_have_a_unit() {
    let millis = |millis| Some(Duration::from_millis(millis));
    let cases = [
        (text("10s"), millis(10_000), "seconds"),
        (text("500ms"), millis(500), "a part of one"),
        (text("1m 30s"), millis(90_000), "a sum"),
        (text("1min"), millis(60_000), "another word"),
        (text("1.5s"), millis(1500), "a part of a unit"),
        (text(" 2h "), millis(7_200_000), "blanks around"),
        (Value::Int(0), millis(0), "nothing needs no unit"),
        (text("0"), millis(0), "as text"),
        (text("0s"), millis(0), "with a unit"),
        (Value::Int(10), None, "seconds or milliseconds?"),
        (text("10"), None, "as text"),
        (Value::Float(0.5), None, "a float"),
        (text("-1s"), None, "less than nothing"),
        (text("s"), None, "no number"),
        (text("10 parsecs"), None, "no unit of time"),
        (text(""), None, "nothing written"),
        (text("99999999999999999999s"), None, "more than fits"),
        (text("18446744073709551615y"), None, "more, once multiplied"),
        (Value::Null, None, "another kind"),
    ];
    for (value, expected, reason) in cases {
        assert_eq!(Duration::of(&value), expected, "{value:?}: {reason}");
    }
}

#[test]
fn bounds_are_included() {
    let ms = Duration::from_millis;
    assert_eq!(TIMEOUT.wrong(ms(1)), None);
    assert_eq!(TIMEOUT.wrong(ms(3_600_000)), None);
    assert_eq!(
        TIMEOUT.wrong(Duration::from_micros(999)).as_deref(),
        Some("must be from 1ms to 1h, not 999us")
    );
    assert_eq!(TIMEOUT.wrong(ms(3_600_001)).as_deref(), Some("must be from 1ms to 1h, not 1h 1ms"));
    assert_eq!(CONCURRENCY.wrong(64), None);
    assert_eq!(CONCURRENCY.wrong(0).as_deref(), Some("must be from 1 to 64, not 0"));
    assert_eq!(MAX_BYTES.wrong(Size(12)).as_deref(), Some("must be from 1MiB to 1TiB, not 12B"));
}
