use std::iter;

use proptest::prelude::*;

use super::*;

fn received(fields: &[&[u8]]) -> Option<TraceStateHeader> {
    let fields = fields.iter().map(|field| (NAME.clone(), HeaderValue::from_bytes(field).unwrap()));
    TraceStateHeader::extract(&fields.collect())
}

fn members(count: usize) -> String {
    (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",")
}

/// The fields that came, what goes on, why.
pub(crate) const PASSED_ON: &[(&[&str], &str, &str)] = &[
    (&["foo=1"], "foo=1", "one member"),
    (&["foo=1,bar=2"], "foo=1,bar=2", "two members"),
    (
        &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
        "foo=1,bar=2,rojo=1,congo=2,baz=3",
        "several fields are one list, in order",
    ),
    (&["foo=1", ""], "foo=1", "an empty field at the end"),
    (&["", "foo=1"], "foo=1", "an empty field at the start"),
    (&["foo=1,,bar=2,"], "foo=1,bar=2", "empty members"),
    (&["foo=1,foo=2"], "foo=1,foo=2", "a repeated key is its owner's business"),
    (&["foo=1", "foo=2"], "foo=1,foo=2", "also when repeated in another field"),
    (&["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3", "blanks around members"),
    (&["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], "foo=1,bar=2,baz=3", "tabs around members"),
    (&[" foo=1"], "foo=1", "leading space"),
    (&["\tfoo=1"], "foo=1", "leading tab"),
    (&["foo=1 "], "foo=1", "trailing space"),
    (&["foo=1\t"], "foo=1", "trailing tab"),
    (&["\t foo=1 \t"], "foo=1", "blanks on both sides"),
    (&["foo= 1"], "foo= 1", "leading spaces belong to the value"),
    (&["foo=a b"], "foo=a b", "so do spaces within"),
    (
        &["0123456789_abcdefghijklmnopqrstuvwxyz-*/=\
           !\"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`\
           abcdefghijklmnopqrstuvwxyz{|}~"],
        "0123456789_abcdefghijklmnopqrstuvwxyz-*/=\
         !\"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`\
         abcdefghijklmnopqrstuvwxyz{|}~",
        "every legal character",
    ),
    (&["foo@=1,bar=2"], "foo@=1,bar=2", "Level 2: @ may be last"),
    (&["foo@@bar=1,bar=2"], "foo@@bar=1,bar=2", "Level 2: @ may be doubled"),
    (&["foo@bar@baz=1,bar=2"], "foo@bar@baz=1,bar=2", "Level 2: @ may be repeated"),
    (&["a@_b=1"], "a@_b=1", "Level 2: anything may follow @"),
    (&["0foo=1"], "0foo=1", "Level 2: a digit may be first"),
];

/// The fields that came, why none goes on.
pub(crate) const DROPPED: &[(&[&[u8]], &str)] = &[
    (&[], "absent"),
    (&[b""], "empty"),
    (&[b" \t"], "blank"),
    (&[b",", b" ,\t"], "empty members only"),
    (&[b"foo =1"], "space in the key"),
    (&[b"FOO=1"], "uppercase key"),
    (&[b"foo.bar=1"], "dot in the key"),
    (&[b"@foo=1,bar=2"], "@ is first"),
    (&[b"_foo=1"], "key starts with neither letter nor digit"),
    (&[b"foo=bar=baz"], "= in the value"),
    (&[b"foo==bar"], "= at the start of the value"),
    (&[b"foo=,bar=3"], "empty value"),
    (&[b"foo= ,bar=3"], "the trailing space is not the value's"),
    (&[b"=1,bar=3"], "empty key"),
    (&[b"foo,bar=3"], "no value"),
    (&[b"foo=1", b"BAR=2"], "one bad member in another field"),
    (&[b"foo=x\ty"], "control character in the value"),
    (&[b"foo=caf\xc3\xa9"], "value is not ASCII"),
    (&[b"caf\xc3\xa9=1"], "key is not ASCII"),
];

/// The field that came, whether it goes on, why.
pub(crate) fn limits() -> Vec<(String, bool, &'static str)> {
    let long = |key: usize, value: usize| format!("{}={}", "t".repeat(key), "v".repeat(value));
    let tenant = |tenant, system| format!("{}@{}=1", "t".repeat(tenant), "v".repeat(system));
    vec![
        (members(32), true, "32 members"),
        (members(33), false, "33 members"),
        (format!("{},", members(32)), true, "an empty member is not counted"),
        (long(256, 1), true, "key of 256"),
        (long(257, 1), false, "key of 257"),
        (long(1, 256), true, "value of 256"),
        (long(1, 257), false, "value of 257"),
        (tenant(241, 14), true, "the longest tenant and system of Level 1"),
        (tenant(242, 1), true, "a tenant longer than Level 1 allows"),
        (tenant(242, 13), true, "256 characters, of which one is @"),
        (tenant(242, 14), false, "257 characters, of which one is @"),
        (tenant(1, 15), true, "a system longer than Level 1 allows"),
        (tenant(1, 14), true, "one that OpenTelemetry's type refuses"),
    ]
}

#[test]
fn what_is_passed_on() {
    for (came, goes_on, reason) in PASSED_ON {
        let came: Vec<_> = came.iter().map(|field| field.as_bytes()).collect();
        let tracestate = received(&came);
        assert_eq!(tracestate.as_ref().map(TraceStateHeader::as_str), Some(*goes_on), "{reason}");
    }
}

#[test]
fn what_is_dropped_whole() {
    for (came, reason) in DROPPED {
        assert_eq!(received(came), None, "{reason}");
    }
}

#[test]
fn limits_of_level_2() {
    for (came, kept, reason) in limits() {
        assert_eq!(received(&[came.as_bytes()]).is_some(), kept, "{reason}");
    }
    let halves = [members(16), members(17)];
    let halves = halves.each_ref().map(|half| half.as_bytes());
    assert_eq!(received(&halves), None, "33 members in two fields");
}

#[test]
fn what_is_kept_does_not_hold_on_to_the_memory_of_the_request() {
    let field = HeaderValue::from_static("foo=1,bar=2");
    let headers: HeaderMap = iter::once((NAME.clone(), field.clone())).collect();
    let kept = TraceStateHeader::extract(&headers).unwrap().to_header_value();

    assert_eq!(kept, field);
    assert_ne!(kept.as_bytes().as_ptr(), field.as_bytes().as_ptr());
}

#[test]
fn as_far_as_opentelemetry_can_hold_it() {
    let table = [
        ("foo=1,bar=2", "foo=1,bar=2", "plain keys"),
        ("foo= 1", "foo= 1", "leading space of a value"),
        ("foo=1,foo=2", "foo=1,foo=2", "repeated keys"),
        ("foo@@bar=1,bar=2", "", "a key that it refuses empties the whole"),
    ];

    for (came, told, reason) in table {
        let came = received(&[came.as_bytes()]).unwrap();
        let state = came.to_opentelemetry();
        assert_eq!(state.header(), told, "{reason}");
        assert!(came.is_still(&state), "{reason}");
    }
}

#[test]
fn a_change_made_through_opentelemetry_is_seen() {
    let plain = received(&[b"foo=1,bar=2"]).unwrap();
    let state = plain.to_opentelemetry();
    let refused = received(&[b"foo@@bar=1"]).unwrap();
    let table = [
        (&plain, state.insert("ot", "th:8").unwrap(), "member added"),
        (&plain, state.insert("foo", "2").unwrap(), "member changed"),
        (&plain, state.insert("bar", "2").unwrap(), "member moved to the front"),
        (&plain, state.delete("foo").unwrap(), "member removed"),
        (&plain, TraceState::NONE, "cleared"),
        (&plain, "foo=1".parse::<TraceState>().unwrap().delete("foo").unwrap(), "emptied"),
        (&refused, "ot=th:8".parse().unwrap(), "member added to nothing"),
    ];

    for (came, state, reason) in table {
        assert!(!came.is_still(&state), "{reason}");
    }
}

#[test]
fn what_opentelemetry_holds_is_checked_before_it_is_sent() {
    let table = [
        (vec![("foo", "1"), ("bar", "2")], Some("foo=1,bar=2"), "legal"),
        (vec![], None, "empty: no field"),
        (vec![("foo", "")], None, "empty value"),
        (vec![("foo", "x\ny")], None, "a control character, which no field could hold"),
        (vec![("foo", "caf\u{e9}")], None, "not ASCII"),
        (vec![("foo", "1 ")], None, "trailing space"),
        (vec![("", "1")], None, "empty key"),
    ];

    for (members, sent, reason) in table {
        let state = TraceState::from_key_value(members).unwrap();
        let tracestate = TraceStateHeader::from_opentelemetry(&state);
        assert_eq!(tracestate.as_ref().map(TraceStateHeader::as_str), sent, "{reason}");
    }
}

proptest! {
    #[test]
    fn what_is_kept_is_kept_again(fields in prop::collection::vec("[ \ta-c=,@\u{e9}]{0,12}", 0..4)) {
        let fields: Vec<_> = fields.iter().map(|field| field.as_bytes()).collect();
        if let Some(kept) = received(&fields) {
            let again = received(&[kept.as_str().as_bytes()]);
            prop_assert_eq!(again.as_ref(), Some(&kept));
            prop_assert!(kept.is_still(&kept.to_opentelemetry()));
        }
    }
}
