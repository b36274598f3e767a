use std::iter;

use proptest::prelude::*;

use super::*;

fn received(fields: &[&str]) -> Option<BaggageHeader> {
    let value = |field: &&str| HeaderValue::from_bytes(field.as_bytes()).unwrap();
    let fields = fields.iter().map(|field| (NAME.clone(), value(field)));
    BaggageHeader::extract(&fields.collect())
}

fn told(baggage: &Baggage) -> Vec<(String, String, String)> {
    let entries = baggage
        .iter()
        .map(|(key, (value, metadata))| (key.to_string(), value.to_string(), metadata.to_string()));
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    entries
}

/// The fields that came, what goes on, why.
pub(crate) const PASSED_ON: &[(&[&str], Option<&str>, &str)] = &[
    (&["a=1"], Some("a=1"), "one member"),
    (&["a=1,b=2"], Some("a=1,b=2"), "two members"),
    (&["a=1", "b=2"], Some("a=1,b=2"), "two fields are one list"),
    (&["b=2,a=1,b=3"], Some("b=2,a=1,b=3"), "order and repeated keys are kept"),
    (&[" a=1 ,\tb=2\t"], Some("a=1,b=2"), "blanks around members are not"),
    (&["a = 1 ; p = 2 ; q"], Some("a = 1 ; p = 2 ; q"), "blanks inside a member are"),
    (&["a=1,,b=2,"], Some("a=1,b=2"), "empty members"),
    (&["", "a=1"], Some("a=1"), "an empty first field"),
    (
        &["a=1,b\\2", "b=2"],
        Some("a=1,b=2"),
        "a first field that happens to be as long as the result",
    ),
    (&["a="], Some("a="), "a value may be empty"),
    (&["a=1=2"], Some("a=1=2"), "a value may have ="),
    (&["a=1;p;q=2;r=3=4"], Some("a=1;p;q=2;r=3=4"), "properties"),
    (&["a=%20%2c%zz"], Some("a=%20%2c%zz"), "codes are not touched, not even bad ones"),
    (
        &["!#$%&'*+-.^_`|~09azAZ=!#$%&'()*+-./09:<=>?@AZ[]^_`az{|}~"],
        Some("!#$%&'*+-.^_`|~09azAZ=!#$%&'()*+-./09:<=>?@AZ[]^_`az{|}~"),
        "every legal character",
    ),
    (&[], None, "absent"),
    (&[""], None, "empty"),
    (&[" ,\t,"], None, "empty members only"),
    (&["a,b=2"], Some("b=2"), "no ="),
    (&["=1,b=2"], Some("b=2"), "no key"),
    (&["a b=1,b=2"], Some("b=2"), "space in the key"),
    (&["a(=1,b=2"], Some("b=2"), "delimiter in the key"),
    (&["a=1 2,b=2"], Some("b=2"), "space in the value"),
    (&["a=\"1\",b=2"], Some("b=2"), "quotes"),
    (&["a=1\\2,b=2"], Some("b=2"), "backslash"),
    (&["a=\u{e9},b=2"], Some("b=2"), "not ASCII"),
    (&["a=1;,b=2"], Some("b=2"), "empty property"),
    (&["a=1;=p,b=2"], Some("b=2"), "property without a key"),
    (&["a=1;p q,b=2"], Some("b=2"), "space in a property"),
    (&["a=1;p=\",b=2"], Some("b=2"), "quote in a property's value"),
    (&["a\\=1"], None, "nothing is left"),
];

#[test]
fn what_is_passed_on() {
    for (came, goes_on, reason) in PASSED_ON {
        let baggage = received(came);
        assert_eq!(baggage.as_ref().map(BaggageHeader::as_str), *goes_on, "{reason}: {came:?}");
    }
}

#[test]
fn members_are_dropped_from_the_first_beyond_the_limits() {
    let many = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    let sized = |key: &str, size: usize| format!("{key}={}", "v".repeat(size - key.len() - 1));
    let table = [
        (vec![many(64)], many(64), "64 members"),
        (vec![many(65)], many(64), "65 members"),
        (vec![many(40), many(40)], format!("{},{}", many(40), many(24)), "80 in two fields"),
        (vec![format!("!,=,{}", many(64))], many(64), "bad members are not counted"),
        (vec![sized("a", 8192)], sized("a", 8192), "8192 bytes"),
        (vec![sized("a", 8193)], String::new(), "8193 bytes in one member"),
        (
            vec![sized("a", 8000), sized("b", 191)],
            format!("{},{}", sized("a", 8000), sized("b", 191)),
            "8192 bytes with the comma",
        ),
        (vec![sized("a", 8000), sized("b", 192)], sized("a", 8000), "8193 bytes with the comma"),
        (
            vec![sized("a", 8000), sized("b", 192), "c=3".to_owned()],
            sized("a", 8000),
            "what follows is dropped even if it would fit",
        ),
        (
            vec![format!("{}{}", " ".repeat(8192), "a=1")],
            "a=1".to_owned(),
            "blanks are not counted",
        ),
    ];

    for (came, goes_on, reason) in table {
        let came: Vec<_> = came.iter().map(String::as_str).collect();
        let baggage = received(&came);
        let text = baggage.as_ref().map_or("", BaggageHeader::as_str);
        assert!(text == goes_on, "{reason}: {} bytes, not {}", text.len(), goes_on.len());
    }
}

#[test]
fn what_is_kept_does_not_hold_on_to_the_memory_of_the_request() {
    let field = HeaderValue::from_static("a=1;p,b=2");
    let headers: HeaderMap = iter::once((NAME.clone(), field.clone())).collect();
    let kept = BaggageHeader::extract(&headers).unwrap().to_header_value();

    assert_eq!(kept, field);
    assert_ne!(kept.as_bytes().as_ptr(), field.as_bytes().as_ptr());
}

#[test]
fn what_opentelemetry_is_told() {
    let table = [
        ("a=1;p;q=2", ("a", "1", "p;q=2"), "properties become metadata"),
        ("a = 1 ; p = 2", ("a", "1", "p = 2"), "blanks around the parts go"),
        ("a=1=2", ("a", "1=2", ""), "the first = ends the key"),
        ("a=", ("a", "", ""), "empty value"),
        ("a=%20x%2Cy%2cz%25", ("a", " x,y,z%", ""), "codes, in both cases; space is kept"),
        ("a=%C3%A9", ("a", "\u{e9}", ""), "UTF-8"),
        ("a=%C3x", ("a", "\u{fffd}x", ""), "cut UTF-8"),
        ("a=%FF%FE", ("a", "\u{fffd}\u{fffd}", ""), "no UTF-8"),
        ("a=%", ("a", "%", ""), "% alone"),
        ("a=%4", ("a", "%4", ""), "% and one digit"),
        ("a=%zz%41", ("a", "%zzA", ""), "% and no digits"),
        ("a=%+1", ("a", "%+1", ""), "a sign is no digit"),
        ("a=%%41", ("a", "%A", ""), "% before a code"),
        ("a=x+y", ("a", "x+y", ""), "+ is not a space"),
        ("%41=1", ("%41", "1", ""), "keys are not encoded"),
        ("a=1,a=2;p", ("a", "2", "p"), "the last of a repeated key"),
    ];

    for (came, (key, value, metadata), reason) in table {
        let came = received(&[came]).unwrap();
        let baggage = came.to_opentelemetry();
        let expected = (key.to_owned(), value.to_owned(), metadata.to_owned());
        assert_eq!(told(&baggage), [expected], "{reason}");
        assert!(came.is_still(&baggage), "{reason}");
    }
}

#[test]
fn a_change_made_through_opentelemetry_is_seen() {
    type Change = fn(&mut Baggage);
    let table: [(Change, bool, &str); 7] = [
        (|_| (), true, "nothing"),
        (|it| drop(it.insert("a", "2")), false, "value changed"),
        (|it| drop(it.insert_with_metadata("a", "1", "q")), false, "metadata changed"),
        (|it| drop(it.insert("c", "3")), false, "member added"),
        (|it| drop(it.remove("a")), false, "member removed"),
        (
            |it| {
                it.remove("a");
                it.insert("c", "1");
            },
            false,
            "member renamed",
        ),
        (|it| drop(it.insert_with_metadata("a", "1", "p")), true, "set to what it was"),
    ];

    let came = received(&["b=0,a=1;p,b=2"]).unwrap();
    for (change, same, reason) in table {
        let mut baggage = came.to_opentelemetry();
        change(&mut baggage);
        assert_eq!(came.is_still(&baggage), same, "{reason}");
    }
}

#[test]
fn what_the_application_set_is_encoded() {
    let table = [
        ("plain-1.0", "", "a=plain-1.0", "nothing to encode"),
        ("", "", "a=", "empty"),
        (" x y ", "", "a=%20x%20y%20", "spaces"),
        ("1,2;3", "", "a=1%2C2%3B3", "separators"),
        ("100%", "", "a=100%25", "the escape itself"),
        ("a\\b\"c", "", "a=a%5Cb%22c", "backslash and quote"),
        ("x=y", "", "a=x%3Dy", "legal, but not understood by all"),
        ("\u{e9}\n\u{7f}", "", "a=%C3%A9%0A%7F", "not ASCII, control characters"),
        ("1", "p;q=2", "a=1;p;q=2", "properties are sent as they are"),
        ("1", "no, property", "a=1", "metadata that would break the list"),
        ("1", "p;;q", "a=1", "metadata with an empty property"),
    ];

    for (value, metadata, sent, reason) in table {
        let mut baggage = Baggage::new();
        baggage.insert_with_metadata("a", value.to_owned(), metadata);
        let header = BaggageHeader::from_opentelemetry(&baggage).unwrap();
        assert_eq!(header.as_str(), sent, "{reason}");
        assert_eq!(received(&[sent]), Some(header), "{reason}");
    }
    assert_eq!(BaggageHeader::from_opentelemetry(&Baggage::new()), None, "no empty field");
}

#[test]
fn what_grows_beyond_the_limit_by_encoding_is_left_out() {
    let mut baggage = Baggage::new();
    baggage.insert("a", "1");
    baggage.insert("b", "\u{e9}".repeat(2000));
    baggage.insert("c", "3");

    let sent = BaggageHeader::from_opentelemetry(&baggage);
    assert_eq!(sent.as_ref().map(BaggageHeader::as_str), Some("a=1"));
}

proptest! {
    #[test]
    fn what_is_kept_is_kept_again(
        fields in prop::collection::vec("[ \ta-c0-9=,;%\\\\\u{e9}]{0,16}", 0..4),
    ) {
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        if let Some(kept) = received(&fields) {
            let again = received(&[kept.as_str()]);
            prop_assert_eq!(again.as_ref(), Some(&kept));
            prop_assert!(kept.is_still(&kept.to_opentelemetry()));
        }
    }

    #[test]
    fn any_value_survives_the_wire(value in any::<String>()) {
        let mut baggage = Baggage::new();
        baggage.insert("key", value);
        if let Some(sent) = BaggageHeader::from_opentelemetry(&baggage) {
            let read = received(&[sent.as_str()]).map(|read| told(&read.to_opentelemetry()));
            prop_assert_eq!(read, Some(told(&baggage)));
        }
    }
}
