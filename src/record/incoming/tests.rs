use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::record::decode::tests::{
    any_request, attribute_of, bytes, fixed32, fixed64, request, uint,
};
use crate::record::shape::{Kind, Shape, TRACES};

#[test]
fn every_copy_of_the_key_is_removed_wherever_it_is() {
    type Attributes<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    /// The payloads of a `Resource` and a `ScopeSpans`, with attributes at one place.
    type Place = fn(Attributes<'_>) -> [Vec<u8>; 2];
    let places: [(Place, &str); 5] = [
        (|at| [at(1), bytes(2, &span(b""))], "resource"),
        (|at| [uint(2, 5), [bytes(2, &span(b"")), bytes(1, &at(3))].concat()], "scope"),
        (|at| [vec![], [bytes(2, &span(b"")), bytes(2, &span(&at(9)))].concat()], "span"),
        (|at| [vec![], bytes(2, &span(&bytes(11, &[bytes(2, b"e"), at(3)].concat())))], "event"),
        (|at| [vec![], bytes(2, &span(&bytes(13, &[ids(), at(4), uint(5, 7)].concat())))], "link"),
    ];
    let ours = attribute_of(KEY, &bytes(1, b"mallory"));
    let other = attribute_of("other", &bytes(1, b"x"));
    let key = |key: &str| bytes(1, key.as_bytes());
    let map = bytes(2, &bytes(6, &bytes(1, &ours)));
    let long = |len| attribute_of(KEY, &bytes(1, &vec![b'm'; len]));
    let removed: &[(Vec<u8>, &str)] = &[
        (ours.clone(), "as a sender would write it"),
        (key(KEY), "without a value"),
        (attribute_of(KEY, &uint(3, 1)), "with a value of another kind"),
        ([bytes(2, &bytes(1, b"m")), key(KEY)].concat(), "the value first"),
        ([key("other"), key(KEY)].concat(), "the last of two keys counts"),
        ([key(KEY), key(KEY)].concat(), "the key twice"),
        ([uint(99, 1), ours.clone(), bytes(100, b"x")].concat(), "among unknown fields"),
        ([ours.clone(), uint(3, 4)].concat(), "with an index that traces do not have"),
        ([key(KEY), map.clone(), map].concat(), "its value in two parts"),
        (long(112), "a length of one byte where two were"),
        (long(127), "the first value with a length of two bytes"),
        (long(20_000), "lengths that become much shorter"),
    ];
    for (place, name) in places {
        let build = |attributes: &[&[u8]]| {
            place(&|field| attributes.iter().flat_map(|pair| bytes(field, pair)).collect())
        };
        let expected = |[resource, scope_spans]: [Vec<u8>; 2]| {
            let resource = bytes(1, &[resource, stamp_field()].concat());
            bytes(1, &[resource, bytes(2, &scope_spans)].concat())
        };
        let check = |sent: &[&[u8]], kept: &[&[u8]], why| {
            let [resource, scope_spans] = build(sent);
            let sent = bytes(1, &[bytes(1, &resource), bytes(2, &scope_spans)].concat());
            assert_eq!(stamped(&sent), Ok(expected(build(kept))), "{name}: {why}");
        };
        check(&[], &[], "no attributes");
        check(&[&other, &other], &[&other, &other], "nothing to remove");
        for (spoof, why) in removed {
            check(&[spoof], &[], why);
            check(&[spoof, &other], &[&other], why);
            check(&[&other, spoof, &other], &[&other, &other], why);
            check(&[spoof, spoof, &other, spoof], &[&other], why);
        }
        let kept: &[(Vec<u8>, &str)] = &[
            ([key(KEY), key("other")].concat(), "the last of two keys counts"),
            (attribute_of("other", &bytes(6, &bytes(1, &ours))), "a key in a map is no attribute"),
            (attribute_of("other", &bytes(1, KEY.as_bytes())), "nor is a value"),
            (attribute_of("Who", b""), "keys are case-sensitive"),
            (attribute_of("who.", b""), "a longer key"),
            (attribute_of("wh", b""), "a shorter key"),
            (vec![], "no key at all"),
        ];
        for (pair, why) in kept {
            check(&[pair, pair], &[pair, pair], why);
            check(&[pair, &ours, pair], &[pair, pair], why);
        }
    }
}

#[test]
fn maps_that_flatten_to_the_key_are_removed() {
    const DOTTED: &str = "a.bc.d";
    let leaf = bytes(1, b"mallory");
    let map = |key: &str, value: &[u8]| bytes(6, &bytes(1, &attribute_of(key, value)));
    let text = bytes(1, b"x");
    let key = |key: &str| bytes(1, key.as_bytes());
    let rows: &[(Vec<u8>, bool, &str)] = &[
        (attribute_of("a", &map("bc", &map("d", &leaf))), false, "a map in a map"),
        (attribute_of("a", &map("bc.d", &leaf)), false, "the rest of the key in one"),
        (attribute_of("a.bc", &map("d", &leaf)), false, "the last part in a map"),
        (attribute_of("a", &map("other", &text)), false, "whatever is in the map"),
        (attribute_of("a", &bytes(6, b"")), false, "also nothing"),
        (attribute_of(DOTTED, &map("x", &leaf)), false, "the key itself, with any value"),
        (attribute_of("a", &[map("bc.d", &leaf), text.clone()].concat()), false, "then a text"),
        (
            [attribute_of("a", &text), bytes(2, &map("bc.d", &leaf))].concat(),
            false,
            "in a second part of the value",
        ),
        ([key("x"), attribute_of("a", &map("bc.d", &leaf))].concat(), false, "the last key counts"),
        (attribute_of("a", &text), true, "text cannot be flattened"),
        (attribute_of("a.bc", &text), true, "nor there"),
        (attribute_of("a", &bytes(5, &bytes(1, &map("bc.d", &leaf)))), true, "a map in an array"),
        (attribute_of("a.b", &map("c.d", &leaf)), true, "not up to a dot"),
        (attribute_of("a.", &map("bc.d", &leaf)), true, "it would have two dots"),
        (attribute_of("", &map(DOTTED, &leaf)), true, "it would begin with one"),
        (attribute_of("other", &map("a.bc.d", &leaf)), true, "of another key"),
        (attribute_of("a.bc.d.e", &map("f", &leaf)), true, "a longer key"),
        (attribute_of("A", &map("bc.d", &leaf)), true, "keys are case-sensitive"),
    ];
    let dotted = Stamp::new(DOTTED, "me");
    let stamp_field = bytes(1, &attribute_of(DOTTED, &bytes(1, b"me")));
    for (pair, stays, why) in rows {
        let build = |pairs: &[Vec<u8>], stamp: &[u8]| {
            let of = |number| pairs.iter().flat_map(|pair| bytes(number, pair)).collect::<Vec<_>>();
            let event = bytes(11, &of(3));
            let link = bytes(13, &[ids(), of(4)].concat());
            let span = span(&[of(9), event, link].concat());
            let scope_spans = [bytes(1, &of(3)), bytes(2, &span)].concat();
            let resource = bytes(1, &[&of(1)[..], stamp].concat());
            bytes(1, &[resource, bytes(2, &scope_spans)].concat())
        };
        let other = attribute_of("other", &text);
        let sent = build(&[other.clone(), pair.clone(), other.clone()], b"");
        let kept = if *stays { vec![pair.clone()] } else { vec![] };
        let kept = [vec![other.clone()], kept, vec![other]].concat();
        let found = stamp(&sent, &dotted, 100).map(|stamped| stamped.request);
        assert_eq!(found, Ok(build(&kept, &stamp_field)), "{why}");
    }
}

#[test]
fn every_resource_is_stamped_once_whatever_its_form() {
    let ours = bytes(1, &attribute_of(KEY, &bytes(1, b"mallory")));
    let other = bytes(1, &attribute_of("other", b""));
    let spans = bytes(2, &bytes(2, &span(b"")));
    let stamp = stamp_field();
    let rows: &[(Vec<u8>, Vec<u8>, &str)] = &[
        (vec![], vec![], "no spans at all"),
        (bytes(1, b""), bytes(1, &bytes(1, &stamp)), "nothing but a head"),
        (
            bytes(1, &spans),
            bytes(1, &[bytes(1, &stamp), spans.clone()].concat()),
            "without a resource, one is put first",
        ),
        (
            bytes(1, &[spans.clone(), bytes(1, &[ours.clone(), other.clone()].concat())].concat()),
            bytes(1, &[spans.clone(), bytes(1, &[other.clone(), stamp.clone()].concat())].concat()),
            "a resource behind its spans stays there",
        ),
        (
            bytes(
                1,
                &[
                    bytes(1, &[ours.clone(), other.clone()].concat()),
                    spans.clone(),
                    bytes(1, &[ours.clone(), uint(2, 9)].concat()),
                    uint(77, 1),
                ]
                .concat(),
            ),
            bytes(
                1,
                &[
                    bytes(1, &other),
                    spans.clone(),
                    bytes(1, &[uint(2, 9), stamp.clone()].concat()),
                    uint(77, 1),
                ]
                .concat(),
            ),
            "in parts, all are cleared, and the last is stamped",
        ),
        (
            [uint(7, 7), bytes(1, &spans), bytes(2, b"?"), bytes(1, &bytes(1, b""))].concat(),
            [
                uint(7, 7),
                bytes(1, &[bytes(1, &stamp), spans.clone()].concat()),
                bytes(2, b"?"),
                bytes(1, &bytes(1, &stamp)),
            ]
            .concat(),
            "each of two, and what is unknown in between stays",
        ),
        (
            bytes(1, &bytes(1, &[other.clone(), stamp.clone()].concat())),
            bytes(1, &bytes(1, &[other.clone(), stamp.clone()].concat())),
            "what is stamped is not stamped again",
        ),
        (
            bytes(1, &bytes(2, &[bytes(1, &bytes(3, &ours[2..])), bytes(1, b"")].concat())),
            bytes(
                1,
                &[bytes(1, &stamp), bytes(2, &[bytes(1, b""), bytes(1, b"")].concat())].concat(),
            ),
            "a scope in parts is cleared, too",
        ),
    ];
    for (sent, expected, why) in rows {
        assert_eq!(stamped(sent).as_ref(), Ok(expected), "{why}");
    }
}

#[test]
fn what_a_backend_could_not_read_is_refused() {
    let malformed = Invalid::Malformed(Malformed);
    let id = |field, bytes| Invalid::IdLength { field, bytes };
    let outdated = Invalid::Outdated { field: "ResourceSpans.instrumentation_library_spans" };
    let nested = |levels: usize| {
        let value = (1..levels).fold(uint(3, 1), |value, _| bytes(5, &bytes(1, &value)));
        request(&span(&bytes(9, &attribute_of("k", &value))))
    };
    let maps = |levels: usize| {
        let value = (1..levels)
            .fold(uint(3, 1), |value, _| bytes(6, &bytes(1, &attribute_of("k", &value))));
        request(&span(&bytes(9, &attribute_of("k", &value))))
    };
    let with = |field: &[u8]| request(&span(field));
    let in_link = |link: &[&[u8]]| with(&bytes(13, &link.concat()));
    let rows: &[(Vec<u8>, Invalid, &str)] = &[
        (b"\x0a\x05ab".to_vec(), malformed, "a length beyond the end"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(), malformed, "a huge length"),
        (bytes(1, b"\x12\xff\xff\xff\xff\x0f"), malformed, "a huge length further down"),
        (b"\x0a\x80\x00".to_vec(), malformed, "an overlong length"),
        (with(b"\x70\x80\x00"), malformed, "an overlong number"),
        (with(b"\xf0\x07\x80\x00"), malformed, "an overlong number in an unknown field"),
        (b"\x0b\x0c".to_vec(), malformed, "a group"),
        (with(b"\xa3\x06\xa4\x06"), malformed, "an unknown group in a span"),
        (with(&bytes(9, b"\x1b\x1c")), malformed, "a group in an attribute"),
        (b"\x02\x00".to_vec(), malformed, "field number 0"),
        (with(b"\x06\x00"), malformed, "a wire type that does not exist"),
        (uint(1, 1), malformed, "spans that are a number"),
        (bytes(1, &uint(1, 1)), malformed, "a resource that is a number"),
        (bytes(1, &bytes(1, &uint(1, 1))), malformed, "an attribute that is a number"),
        (bytes(1, &bytes(1, &uint(3, 1))), malformed, "an entity that is a number"),
        (bytes(1, &bytes(2, &uint(1, 1))), malformed, "a scope that is a number"),
        (bytes(1, &bytes(2, &bytes(1, &uint(1, 1)))), malformed, "a name that is a number"),
        (with(&bytes(11, &uint(3, 1))), malformed, "an event's attribute that is a number"),
        (in_link(&[&ids(), &uint(4, 1)]), malformed, "a link's attribute that is a number"),
        (with(&bytes(15, &bytes(3, b""))), malformed, "a status code that is text"),
        (with(&bytes(9, &bytes(3, b""))), malformed, "an index that is text"),
        (bytes(1, &bytes(1000, &bytes(2, &span(b"")))), outdated, "spans where old receivers look"),
        (bytes(1, &bytes(1000, b"")), outdated, "also if there are none"),
        (bytes(1, &uint(1000, 1)), outdated, "of whatever type"),
        (nested(MAX_DEPTH + 1), Invalid::TooDeep, "one array too deep"),
        (maps(MAX_DEPTH + 1), Invalid::TooDeep, "one map too deep"),
        (nested(20_000), Invalid::TooDeep, "without using up the stack"),
        (request(b""), id("Span.trace_id", 0), "no ids"),
        (request(&bytes(2, &[1; 8])), id("Span.trace_id", 0), "no trace id"),
        (request(&bytes(1, &[1; 16])), id("Span.span_id", 0), "no span id"),
        (with(&bytes(1, &[1; 15])), id("Span.trace_id", 15), "the last of two trace ids counts"),
        (with(&bytes(1, &[1; 32])), id("Span.trace_id", 32), "as hexadecimal digits"),
        (with(&bytes(2, &[1; 16])), id("Span.span_id", 16), "the last of two span ids counts"),
        (with(&bytes(4, &[1; 7])), id("Span.parent_span_id", 7), "a parent that is cut off"),
        (in_link(&[]), id("Link.trace_id", 0), "a link to nowhere"),
        (in_link(&[&ids(), &bytes(1, &[1; 17])]), id("Link.trace_id", 17), "too long"),
        (in_link(&[&ids(), &bytes(2, b"")]), id("Link.span_id", 0), "the last one counts"),
    ];
    for (sent, expected, why) in rows {
        assert_eq!(stamped(sent), Err(*expected), "{why}");
    }
    let fine: &[(Vec<u8>, &str)] = &[
        (nested(MAX_DEPTH), "arrays of the greatest depth"),
        (maps(MAX_DEPTH), "maps of the greatest depth"),
        (request(&[bytes(1, b"?"), span(b"")].concat()), "an earlier id does not count"),
        (with(&bytes(4, b"")), "an empty parent is none"),
        (with(&bytes(4, &[1; 8])), "a parent"),
        (in_link(&[&ids()]), "a link"),
        (with(&bytes(15, &bytes(1, b"\xff"))), "a reserved number may hold anything"),
        (with(&bytes(1000, b"x")), "its number is unknown in other messages"),
        (with(&bytes(17, b"\xff\xff\xff")), "so may an unknown field"),
        (with(&bytes(9, &attribute_of("k", &bytes(7, b"\xff")))), "bytes need not be text"),
    ];
    for (sent, why) in fine {
        // Its head apart, the only group comes out behind the new resource.
        let group = Fields::new(sent).next().unwrap().unwrap().1;
        let Value::Bytes(group) = group else { panic!("{group:?}") };
        let expected = bytes(1, &[&bytes(1, &stamp_field())[..], group].concat());
        assert_eq!(stamped(sent), Ok(expected), "{why}");
    }
}

#[test]
fn every_string_has_to_be_utf8() {
    let in_value = |value: &[u8]| bytes(9, &attribute_of("k", value));
    let bad = |field: u32| bytes(field, b"caf\xe9 au lait");
    let rows: &[(Vec<u8>, &str)] = &[
        (bytes(1, &bad(3)), "ResourceSpans.schema_url"),
        (bytes(1, &bytes(1, &bytes(1, &bad(1)))), "KeyValue.key"),
        (bytes(1, &bytes(1, &bytes(3, &bad(1)))), "EntityRef.schema_url"),
        (bytes(1, &bytes(1, &bytes(3, &bad(2)))), "EntityRef.type"),
        (bytes(1, &bytes(1, &bytes(3, &bad(3)))), "EntityRef.id_keys"),
        (bytes(1, &bytes(1, &bytes(3, &bad(4)))), "EntityRef.description_keys"),
        (bytes(1, &bytes(2, &bad(3))), "ScopeSpans.schema_url"),
        (bytes(1, &bytes(2, &bytes(1, &bad(1)))), "InstrumentationScope.name"),
        (bytes(1, &bytes(2, &bytes(1, &bad(2)))), "InstrumentationScope.version"),
        (request(&span(&bad(3))), "Span.trace_state"),
        (request(&span(&bad(5))), "Span.name"),
        (request(&span(&[bad(5), bytes(5, b"fine")].concat())), "Span.name"),
        (request(&span(&bytes(9, &bad(1)))), "KeyValue.key"),
        (request(&span(&bytes(9, &[bad(1), bytes(1, b"k")].concat()))), "KeyValue.key"),
        (request(&span(&in_value(&bad(1)))), "AnyValue.string_value"),
        (request(&span(&in_value(&[uint(2, 1), bad(1)].concat()))), "AnyValue.string_value"),
        (request(&span(&in_value(&bytes(5, &bytes(1, &bad(1)))))), "AnyValue.string_value"),
        (request(&span(&in_value(&bytes(6, &bytes(1, &bad(1)))))), "KeyValue.key"),
        (request(&span(&bytes(11, &bad(2)))), "Event.name"),
        (request(&span(&bytes(13, &[ids(), bad(3)].concat()))), "Link.trace_state"),
        (request(&span(&bytes(15, &bad(2)))), "Status.message"),
    ];
    for &(ref sent, field) in rows {
        assert_eq!(stamped(sent), Err(Invalid::NotUtf8 { field }), "{field}");
    }
    // Wherever the wrong byte is, among those that are looked at together.
    for len in 1..40 {
        for at in 0..len {
            let mut name = vec![b'a'; len];
            name[at] = 0xff;
            let expected = Err(Invalid::NotUtf8 { field: "Span.name" });
            assert_eq!(stamped(&request(&span(&bytes(5, &name)))), expected, "{at} of {len}");
        }
        let name = "é".repeat(len);
        assert!(stamped(&request(&span(&bytes(5, name.as_bytes())))).is_ok(), "{len}");
    }
}

#[test]
fn what_a_request_can_take_is_bounded() {
    let limit = Invalid::TooManySpans { limit: 3 };
    let spans = |count| bytes(1, &bytes(2, &bytes(2, &span(b"")).repeat(count)));
    let count = |request: &[u8]| stamp(request, &our_stamp(), 3).map(|stamped| stamped.spans);
    assert_eq!(count(b""), Ok(0));
    assert_eq!(count(&bytes(1, b"")), Ok(0));
    assert_eq!(count(&spans(3)), Ok(3), "as many as are allowed");
    assert_eq!(count(&spans(4)), Err(limit));
    assert_eq!(count(&[spans(2), spans(1)].concat()), Ok(3), "in all groups");
    assert_eq!(count(&[spans(2), spans(2)].concat()), Err(limit));
    assert_eq!(count(&bytes(1, b"").repeat(3)), Ok(0));
    assert_eq!(count(&bytes(1, b"").repeat(4)), Err(limit), "or else two bytes become a stamp");
    assert_eq!(count(&bytes(1, b"").repeat(1_000_000)), Err(limit));

    let groups = bytes(1, b"").repeat(1_000);
    let stamped = stamp(&groups, &our_stamp(), 1_000).unwrap().request;
    assert!(stamped.len() <= groups.len() + 1_000 * (stamp_field().len() + HEADS));
    assert_eq!(stamped.capacity(), groups.len() + 1_000 * (stamp_field().len() + HEADS));

    // Very many tiny fields: unknown ones, attributes, and copies of the key.
    for (field, len) in [(uint(99, 1), 3), (bytes(1, b""), 2), (bytes(1, &bytes(1, b"who")), 7)] {
        assert_eq!(field.len(), len);
        let resource = field.repeat(200_000);
        let sent = bytes(1, &bytes(1, &resource));
        let stamped = stamp(&sent, &our_stamp(), 1).unwrap().request;
        assert!(stamped.capacity() <= sent.len() + stamp_field().len() + HEADS);
        let kept = if len == 7 { vec![] } else { resource };
        assert!(stamped == bytes(1, &bytes(1, &[kept, stamp_field()].concat())), "{len} bytes");
    }
}

#[test]
fn a_long_stamp_fits_the_room_that_was_kept() {
    for len in [0, 100, 127, 128, 20_000, 3_000_000] {
        let stamp_of_len = Stamp::new(KEY, &"x".repeat(len));
        for sent in [bytes(1, b""), bytes(1, &bytes(1, b"")), bytes(1, &bytes(3, b"u"))] {
            let request = stamp(&sent, &stamp_of_len, 1).unwrap().request;
            let room = sent.len() + stamp_of_len.field.len() + HEADS;
            assert_eq!(request.capacity(), room, "it did not have to grow");
            let decoded = ExportTraceServiceRequest::decode(&*request).unwrap();
            let resource = decoded.resource_spans[0].resource.clone().unwrap();
            assert_eq!(resource.attributes, [attribute(KEY, &"x".repeat(len))]);
        }
    }
}

#[test]
fn all_fields_of_otlp_and_unknown_ones_come_out_as_they_were() {
    let sent = full(&TRACES, &[]);
    let stamped = stamp(&sent, &our_stamp(), 1_000).unwrap();
    assert_eq!(stamped.request, full(&TRACES, &stamp_field()));
    assert_eq!(stamped.spans, 1);
    let mut expected = ExportTraceServiceRequest::decode(&*sent).unwrap();
    let resource = expected.resource_spans[0].resource.as_mut().unwrap();
    resource.attributes.push(attribute(KEY, "me"));
    assert_eq!(ExportTraceServiceRequest::decode(&*stamped.request), Ok(expected));
}

#[test]
fn refusals_are_told_in_the_words_of_the_sender() {
    let rows = [
        (Invalid::Malformed(Malformed), "not a valid protobuf message"),
        (Invalid::NotUtf8 { field: "Span.name" }, "Span.name is not UTF-8"),
        (
            Invalid::IdLength { field: "Span.trace_id", bytes: 15 },
            "Span.trace_id cannot have 15 bytes",
        ),
        (Invalid::TooDeep, "values are nested deeper than 64 levels"),
        (Invalid::TooManySpans { limit: 7 }, "more than 7 spans or resources"),
        (Invalid::Outdated { field: "A.b" }, "A.b is no longer a part of OTLP"),
    ];
    for (invalid, words) in rows {
        assert_eq!(invalid.to_string(), words);
    }
}

proptest! {
    #[test]
    fn nothing_but_the_key_and_the_stamp_differs(mut request in any_request()) {
        repair_ids(&mut request);
        let sent = request.encode_to_vec();
        // A key that the requests are full of.
        let stamp_of_a = Stamp::new("a", "me");
        let stamped = stamp(&sent, &stamp_of_a, 100).unwrap();
        let decoded = ExportTraceServiceRequest::decode(&*stamped.request).unwrap();
        prop_assert_eq!(stamped.spans, count(&request));
        expect_stamp(&mut request, "a");
        // By their encoding, since NaN is not equal to itself.
        prop_assert!(decoded.encode_to_vec() == request.encode_to_vec(), "{decoded:#?} is not {request:#?}");
        let again = stamp(&stamped.request, &stamp_of_a, 100).unwrap();
        prop_assert_eq!(again.request, stamped.request, "a stamp on a stamp changes nothing");
    }

    #[test]
    fn lengths_on_the_way_down_are_right_whatever_is_removed(
        places in vec((vec(0..300usize, 0..4), any::<bool>()), 1..12),
    ) {
        // Spans of copies of the key and of attributes that stay, of sizes around the edges of
        // one and two bytes of length.
        let build = |with_copies: bool| {
            let spans = places.iter().map(|(sizes, in_event)| {
                let attributes = sizes.iter().enumerate().filter(|(i, _)| with_copies || i % 2 == 1);
                let attributes = attributes.flat_map(|(i, size)| {
                    let key = if i % 2 == 0 { KEY } else { "other" };
                    let pair = attribute_of(key, &bytes(1, &vec![b'x'; *size]));
                    bytes(if *in_event { 3 } else { 9 }, &pair)
                });
                let attributes: Vec<_> = attributes.collect();
                bytes(2, &span(&if *in_event { bytes(11, &attributes) } else { attributes }))
            });
            spans.collect::<Vec<_>>().concat()
        };
        let expected = [bytes(1, &stamp_field()), bytes(2, &build(false))].concat();
        prop_assert_eq!(stamped(&bytes(1, &bytes(2, &build(true)))), Ok(bytes(1, &expected)));
    }

    #[test]
    fn any_bytes_are_refused_or_can_be_read(bytes in vec(any::<u8>(), 0..200)) {
        check_arbitrary(&bytes);
        check_arbitrary(&request(&span(&bytes)));
    }

    #[test]
    fn a_damaged_request_is_refused_or_can_be_read(
        mut request in any_request(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        repair_ids(&mut request);
        let mut bytes = request.encode_to_vec();
        check_arbitrary(&bytes[..at.index(bytes.len() + 1)]);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            check_arbitrary(&bytes);
        }
    }
}

const KEY: &str = "who";

fn our_stamp() -> Stamp {
    Stamp::new(KEY, "me")
}

fn stamp_field() -> Vec<u8> {
    bytes(1, &attribute_of(KEY, &bytes(1, b"me")))
}

fn stamped(request: &[u8]) -> Result<Vec<u8>, Invalid> {
    stamp(request, &our_stamp(), 100).map(|stamped| stamped.request)
}

/// What spans and links begin with.
fn ids() -> Vec<u8> {
    [bytes(1, &[1; 16]), bytes(2, &[2; 8])].concat()
}

fn span(more: &[u8]) -> Vec<u8> {
    [&ids(), more].concat()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(ProtoValue::StringValue(value.to_owned()));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

fn check_arbitrary(request: &[u8]) {
    let Ok(stamped) = stamp(request, &our_stamp(), 100) else { return };
    assert!(stamped.request.len() <= request.len() + 100 * (stamp_field().len() + HEADS));
    let decoded = ExportTraceServiceRequest::decode(&*stamped.request).unwrap();
    assert_eq!(count(&decoded), stamped.spans);
    let again = stamp(&stamped.request, &our_stamp(), 100).unwrap();
    assert_eq!(again.request, stamped.request);
}

fn count(request: &ExportTraceServiceRequest) -> u64 {
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    scopes.map(|scope_spans| scope_spans.spans.len() as u64).sum()
}

/// Gives ids their lengths, as the generated ones are of any.
fn repair_ids(request: &mut ExportTraceServiceRequest) {
    let scopes = request.resource_spans.iter_mut().flat_map(|group| &mut group.scope_spans);
    for span in scopes.flat_map(|scope_spans| &mut scope_spans.spans) {
        span.trace_id.resize(16, 1);
        span.span_id.resize(8, 1);
        if !span.parent_span_id.is_empty() {
            span.parent_span_id.resize(8, 1);
        }
        for link in &mut span.links {
            link.trace_id.resize(16, 1);
            link.span_id.resize(8, 1);
        }
    }
}

/// Does to `request` what a stamp of `key` has to do.
fn expect_stamp(request: &mut ExportTraceServiceRequest, key: &str) {
    let clear = |attributes: &mut Vec<KeyValue>| attributes.retain(|pair| pair.key != key);
    for group in &mut request.resource_spans {
        let resource = group.resource.get_or_insert_default();
        clear(&mut resource.attributes);
        resource.attributes.push(attribute(key, "me"));
        for scope_spans in &mut group.scope_spans {
            scope_spans.scope.iter_mut().for_each(|scope| clear(&mut scope.attributes));
            for span in &mut scope_spans.spans {
                clear(&mut span.attributes);
                span.events.iter_mut().for_each(|event| clear(&mut event.attributes));
                span.links.iter_mut().for_each(|link| clear(&mut link.attributes));
            }
        }
    }
}

/// A message with all fields of its shape, between unknown fields of every wire type. At the end
/// of the resource stands `stamp`.
fn full(shape: &'static Shape, stamp: &[u8]) -> Vec<u8> {
    full_to(shape, stamp, 2)
}

fn full_to(shape: &'static Shape, stamp: &[u8], levels: usize) -> Vec<u8> {
    let unknown = [
        uint(100, u64::MAX),
        bytes(101, b"\xff\x00who"),
        fixed32(102, 1),
        fixed64(103, 1),
        // The greatest number of a field.
        uint((1 << 29) - 1, 1),
    ];
    let mut message = unknown.concat();
    for (index, field) in shape.fields.iter().enumerate() {
        let number = index as u32 + 1;
        message.extend(match field.kind {
            Kind::Hex if field.label.contains("race") => bytes(number, &[0xf0; 16]),
            Kind::Hex => bytes(number, &[0xf1; 8]),
            Kind::Base64 => bytes(number, b"\0\xff"),
            Kind::Text => bytes(number, "schön".as_bytes()),
            Kind::Texts => [bytes(number, b"a"), bytes(number, b"")].concat(),
            Kind::Bool => uint(number, 1),
            Kind::Int32 => uint(number, 2),
            Kind::Uint32 => uint(number, u64::from(u32::MAX)),
            Kind::Int64 => uint(number, u64::MAX),
            Kind::Fixed32 => fixed32(number, 0x301),
            Kind::Fixed64 => fixed64(number, u64::MAX),
            Kind::Double => fixed64(number, 0.5_f64.to_bits()),
            Kind::Message(shape) | Kind::Messages(shape) => {
                let is_value = field.label.contains("alue");
                match levels.checked_sub(usize::from(is_value)) {
                    Some(levels) => bytes(number, &full_to(shape, stamp, levels)),
                    None => bytes(number, b""),
                }
            }
            Kind::Reserved => bytes(number, b"\xff"),
        });
    }
    message.extend(unknown.concat());
    if std::ptr::eq(shape, &crate::record::shape::RESOURCE) {
        message.extend_from_slice(stamp);
    }
    message
}
