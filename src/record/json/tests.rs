use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::record::decode::tests::{
    any_request, any_span, attribute_of, bytes, fixed32, fixed64, request, uint,
};

#[test]
fn a_span_is_written_by_the_rules_of_otlp_json() {
    let scattered = [
        bytes(9, &attribute_of("a", &uint(3, 1))),
        bytes(5, b"GET"),
        bytes(9, &attribute_of("b", &uint(3, 2))),
    ];
    let rows: &[(Vec<u8>, &str, &str)] = &[
        (vec![], "{}", "absent fields are left out"),
        (
            [bytes(1, b""), bytes(5, b""), uint(6, 0), fixed64(7, 0), fixed32(16, 0)].concat(),
            "{}",
            "and so are default values that stand on the wire",
        ),
        (
            [bytes(1, &[0xAB; 16]), bytes(2, &[1; 8]), bytes(4, &[0xf0; 8])].concat(),
            r#"{"traceId":"abababababababababababababababab","spanId":"0101010101010101","parentSpanId":"f0f0f0f0f0f0f0f0"}"#,
            "ids are lower-case hexadecimal",
        ),
        (bytes(2, &[7]), r#"{"spanId":"07"}"#, "an id of a wrong length is the reader's affair"),
        (uint(6, 2), r#"{"kind":2}"#, "enums are numbers"),
        (uint(6, 77), r#"{"kind":77}"#, "also those from the future"),
        (
            [fixed64(7, 1_750_000_000_123_456_789), fixed64(8, u64::MAX)].concat(),
            r#"{"startTimeUnixNano":"1750000000123456789","endTimeUnixNano":"18446744073709551615"}"#,
            "64-bit integers are strings",
        ),
        (
            [fixed32(16, 0x301), uint(10, u64::from(u32::MAX))].concat(),
            r#"{"droppedAttributesCount":4294967295,"flags":769}"#,
            "32-bit integers are numbers",
        ),
        (uint(10, 1 << 32 | 5), r#"{"droppedAttributesCount":5}"#, "cut to their 32 bits"),
        (
            scattered.concat(),
            r#"{"name":"GET","attributes":[{"key":"a","value":{"intValue":"1"}},{"key":"b","value":{"intValue":"2"}}]}"#,
            "scattered elements are brought together, in their order",
        ),
        ([bytes(5, b"a"), bytes(5, b"b")].concat(), r#"{"name":"b"}"#, "the last name counts"),
        ([bytes(5, b"a"), bytes(5, b"")].concat(), "{}", "even if it is the default"),
        (
            [bytes(15, &uint(3, 2)), bytes(15, &bytes(2, b"boom"))].concat(),
            r#"{"status":{"message":"boom","code":2}}"#,
            "a message given twice is merged",
        ),
        (bytes(15, b""), r#"{"status":{}}"#, "an empty message is not an absent one"),
        (bytes(15, &bytes(1, b"x")), r#"{"status":{}}"#, "a reserved number is skipped"),
        (
            [bytes(17, b"x"), uint(9999, 1), bytes(5, b"a")].concat(),
            r#"{"name":"a"}"#,
            "unknown fields are skipped",
        ),
        (
            bytes(11, &[fixed64(1, 5), bytes(2, b"e"), uint(4, 1)].concat()),
            r#"{"events":[{"timeUnixNano":"5","name":"e","droppedAttributesCount":1}]}"#,
            "an event",
        ),
        (
            bytes(13, &[bytes(1, &[1; 16]), bytes(3, b"a=b"), fixed32(6, 0x101)].concat()),
            r#"{"links":[{"traceId":"01010101010101010101010101010101","traceState":"a=b","flags":257}]}"#,
            "ids of links are hexadecimal too",
        ),
        (bytes(9, b""), r#"{"attributes":[{}]}"#, "an empty attribute"),
        (
            bytes(9, &[bytes(1, b"k"), uint(3, u64::MAX)].concat()),
            r#"{"attributes":[{"key":"k","keyStrindex":-1}]}"#,
            "an attribute without value; a negative 32-bit integer",
        ),
    ];
    for (span, expected, why) in rows {
        let line = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{expected}]}}]}}]}}"#);
        assert_eq!(write(&request(span)), Ok(line + "\n"), "{why}");
    }
}

#[test]
fn a_value_is_written_by_the_rules_of_otlp_json() {
    let double = |value: f64| fixed64(4, value.to_bits());
    let list = |value: &[u8]| bytes(5, &bytes(1, value));
    let map = |key: &str, value: &[u8]| bytes(6, &bytes(1, &attribute_of(key, value)));
    let rows: &[(Vec<u8>, &str, &str)] = &[
        (vec![], "{}", "nothing set"),
        (bytes(1, b""), r#"{"stringValue":""}"#, "a default still says which member is set"),
        (uint(2, 0), r#"{"boolValue":false}"#, "so for bools"),
        (uint(3, 0), r#"{"intValue":"0"}"#, "integers"),
        (double(0.0), r#"{"doubleValue":0.0}"#, "doubles"),
        (bytes(7, b""), r#"{"bytesValue":""}"#, "bytes"),
        (bytes(5, b""), r#"{"arrayValue":{}}"#, "arrays"),
        (bytes(6, b""), r#"{"kvlistValue":{}}"#, "and maps"),
        (uint(2, 1), r#"{"boolValue":true}"#, "a bool"),
        (uint(2, 2), r#"{"boolValue":true}"#, "any varint but zero is true"),
        (uint(3, u64::MAX), r#"{"intValue":"-1"}"#, "a negative integer"),
        (uint(3, 1 << 63), r#"{"intValue":"-9223372036854775808"}"#, "the smallest"),
        (double(0.1 + 0.2), r#"{"doubleValue":0.30000000000000004}"#, "all digits that count"),
        (double(1.5e300), r#"{"doubleValue":1.5e300}"#, "an exponent instead of 299 zeros"),
        (double(5e-324), r#"{"doubleValue":5e-324}"#, "a subnormal"),
        (double(-0.0), r#"{"doubleValue":-0.0}"#, "the sign of zero"),
        (double(f64::NAN), r#"{"doubleValue":"NaN"}"#, "JSON has no such number"),
        (double(f64::INFINITY), r#"{"doubleValue":"Infinity"}"#, "nor this"),
        (double(f64::NEG_INFINITY), r#"{"doubleValue":"-Infinity"}"#, "nor this"),
        (bytes(7, b"f"), r#"{"bytesValue":"Zg=="}"#, "base64 with two paddings"),
        (bytes(7, b"fo"), r#"{"bytesValue":"Zm8="}"#, "with one"),
        (bytes(7, b"foo"), r#"{"bytesValue":"Zm9v"}"#, "with none"),
        (bytes(7, b"\xfb\xff\xfe\0"), r#"{"bytesValue":"+//+AA=="}"#, "the standard alphabet"),
        (list(b""), r#"{"arrayValue":{"values":[{}]}}"#, "an array with a hole"),
        (
            list(&list(&uint(3, 1))),
            r#"{"arrayValue":{"values":[{"arrayValue":{"values":[{"intValue":"1"}]}}]}}"#,
            "a nested array",
        ),
        (
            map("a", &bytes(1, b"b")),
            r#"{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"b"}}]}}"#,
            "a map",
        ),
        (
            [list(&uint(3, 1)), bytes(1, b"x")].concat(),
            r#"{"stringValue":"x"}"#,
            "the last member of the oneof wins",
        ),
        (
            [list(&uint(3, 1)), bytes(1, b"x"), list(&uint(3, 2)), list(&uint(3, 3))].concat(),
            r#"{"arrayValue":{"values":[{"intValue":"2"},{"intValue":"3"}]}}"#,
            "the same member again is merged, up to where another one stood",
        ),
        (uint(8, 3), r#"{"stringValueStrindex":3}"#, "a member of another signal"),
        (bytes(1, b"\"\\/"), r#"{"stringValue":"\"\\/"}"#, "quote and backslash"),
        (bytes(1, b"\n\r\t"), r#"{"stringValue":"\n\r\t"}"#, "short escapes"),
        (
            bytes(1, b"a\0\x08\x1f\x7fz"),
            concat!(r#"{"stringValue":"a\u0000\u0008\u001f"#, "\x7f", r#"z"}"#),
            "other control characters, which DEL is not for JSON",
        ),
        (bytes(1, "é😀".as_bytes()), r#"{"stringValue":"é😀"}"#, "text beyond ASCII stays"),
        (
            bytes(1, b"a\xff\xe2\x82b\n"),
            "{\"stringValue\":\"a\u{fffd}\u{fffd}b\\n\"}",
            "one U+FFFD for each broken sequence",
        ),
        (bytes(1, b","), r#"{"stringValue":","}"#, "a comma that is text"),
    ];
    for (value, expected, why) in rows {
        let line = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{{"key":"k","value":{expected}}}]}}]}}]}}]}}"#
        );
        assert_eq!(write(&request(&bytes(9, &attribute_of("k", value)))), Ok(line + "\n"), "{why}");
    }
}

#[test]
fn what_surrounds_the_spans_is_written_too() {
    let entity = [bytes(2, b"service"), bytes(3, b"x"), bytes(1, b"u"), bytes(3, b"")].concat();
    let name = bytes(1, &attribute_of("service.name", &bytes(1, b"shop")));
    let resource = bytes(1, &[name, uint(2, 3), bytes(3, &entity)].concat());
    let scope = bytes(1, &[bytes(1, b"tower-otlp"), bytes(2, b"1.2.3")].concat());
    let scope_spans = bytes(2, &[bytes(2, b""), scope, bytes(2, b""), bytes(3, b"s")].concat());
    let group = bytes(1, &[scope_spans, bytes(3, b"r"), resource].concat());
    let expected = concat!(
        r#"{"resourceSpans":[{"resource":{"#,
        r#""attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],"#,
        r#""droppedAttributesCount":3,"#,
        r#""entityRefs":[{"schemaUrl":"u","type":"service","idKeys":["x",""]}]},"#,
        r#""scopeSpans":[{"scope":{"name":"tower-otlp","version":"1.2.3"},"#,
        r#""spans":[{},{}],"schemaUrl":"s"}],"schemaUrl":"r"},{}]}"#,
        "\n"
    );
    assert_eq!(write(&[group, bytes(1, b"")].concat()), Ok(expected.to_owned()));
    assert_eq!(write(b""), Ok("{}\n".to_owned()), "no spans at all");
}

#[test]
fn a_known_field_of_another_wire_type_is_malformed() {
    for number in 1..=16 {
        let wrong = match number {
            7 | 8 | 16 => uint(number, 1),
            6 | 10 | 12 | 14 => bytes(number, b""),
            _ => fixed32(number, 1),
        };
        assert_eq!(write(&request(&wrong)), Err(Malformed), "span field {number}");
    }
    for number in 1..=8 {
        let wrong = bytes(9, &bytes(2, &fixed32(number, 1)));
        assert_eq!(write(&request(&wrong)), Err(Malformed), "value member {number}");
    }
}

#[test]
fn values_nested_too_deep_are_refused() {
    let nested = |levels: usize| {
        let value = (1..levels).fold(uint(3, 1), |value, _| bytes(5, &bytes(1, &value)));
        write(&request(&bytes(9, &attribute_of("k", &value))))
    };
    assert!(nested(MAX_DEPTH).is_ok());
    assert_eq!(nested(MAX_DEPTH + 1), Err(Malformed));
    assert_eq!(nested(20_000), Err(Malformed), "without using up the stack");

    // Lists of attributes, with a text at the end.
    let listed = |levels: usize| {
        let text = attribute_of("k", &bytes(1, b"text"));
        let list = |value: Vec<u8>, _| attribute_of("k", &bytes(6, &bytes(1, &value)));
        write(&request(&bytes(9, &(1..levels).fold(text, list))))
    };
    assert!(listed(MAX_DEPTH).is_ok());
    assert_eq!(listed(MAX_DEPTH + 1), Err(Malformed));
}

#[test]
fn lengths_that_are_no_single_byte_are_not_taken_for_one() {
    // The head of an attribute whose key is `k`, and of a text in it.
    let attribute = |value_len: u8, text_len: u8, text: usize| {
        let mut attribute = vec![0x0a, 1, b'k', 0x12, value_len, 0x0a, text_len];
        attribute.resize(attribute.len() + text, b'x');
        write(&request(&bytes(9, &attribute)))
    };
    assert!(attribute(5, 3, 3).is_ok(), "as it should be");
    for (value_len, text_len, text) in [(0, 0xfe, 254), (1, 0xff, 255), (0x82, 0x80, 128)] {
        assert_eq!(attribute(value_len, text_len, text), Err(Malformed), "{text_len:#x}");
    }
}

#[test]
fn a_writer_is_as_new_after_an_error_and_keeps_little_memory() {
    let mut writer = JsonWriter::default();
    let mut out = b"before".to_vec();
    let many = request(&bytes(9, b"").repeat(10 * NOTES_KEPT));
    writer.write_traces(&many, &mut out).unwrap();
    assert!(writer.notes.capacity() <= NOTES_KEPT);
    out.truncate(6);
    let broken = [request(&bytes(5, b"a")), request(&fixed32(5, 1))].concat();
    assert_eq!(writer.write_traces(&broken, &mut out), Err(Malformed));
    assert_eq!(out, b"before", "an error takes back what was written");
    writer.write_traces(b"", &mut out).unwrap();
    assert_eq!(out, b"before{}\n");
}

proptest! {
    #[test]
    fn the_line_reads_back_as_what_was_encoded(mut request in any_request()) {
        let line = write(&request.encode_to_vec()).unwrap();
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1), "one line");
        let mut json: Json = serde_json::from_str(&line).unwrap();
        help_reader(&mut json);
        let read: ExportTraceServiceRequest = serde_json::from_value(json).unwrap();
        forget_what_the_reader_cannot_read(&mut request);
        prop_assert_eq!(read, request);
    }

    #[test]
    fn the_order_of_fields_does_not_show(
        (span, shuffled) in any_span().prop_flat_map(|span| {
            let fields = split(&span.encode_to_vec());
            (Just(span), Just(fields).prop_shuffle())
        }),
    ) {
        // Elements of a repeated field keep their order among themselves.
        let mut fields = split(&span.encode_to_vec());
        let mut scattered = Vec::new();
        for (number, _) in shuffled {
            let next = fields.iter().position(|field| field.0 == number).unwrap();
            scattered.extend(fields.remove(next).1);
        }
        prop_assert_eq!(write(&request(&scattered)), write(&request(&span.encode_to_vec())));
    }

    #[test]
    fn doubles_read_back_to_the_bit(value in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL) {
        let mut out = Vec::new();
        put_double(&mut out, value);
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        prop_assert!(serde_json::from_str::<f64>(&text).is_ok(), "{} is not JSON", text);
    }

    #[test]
    fn any_bytes_are_json_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        check_arbitrary(&bytes);
        check_arbitrary(&request(&bytes));
    }

    #[test]
    fn a_damaged_message_is_json_or_an_error(
        request in any_request(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = request.encode_to_vec();
        check_arbitrary(&bytes[..at.index(bytes.len() + 1)]);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            check_arbitrary(&bytes);
        }
    }
}

fn write(otlp: &[u8]) -> Result<String, Malformed> {
    let mut out = Vec::new();
    JsonWriter::default().write_traces(otlp, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn check_arbitrary(otlp: &[u8]) {
    let mut out = b"before".to_vec();
    match JsonWriter::default().write_traces(otlp, &mut out) {
        Ok(()) => drop(serde_json::from_slice::<Json>(&out[6..]).unwrap()),
        Err(Malformed) => assert_eq!(out, b"before"),
    }
}

/// The fields of a message with their bytes, heads included.
fn split(message: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut fields = Fields::new(message);
    let mut split = Vec::new();
    let mut start = 0;
    while let Some(field) = fields.next() {
        let end = message.len() - fields.remaining();
        split.push((field.unwrap().0, message[start..end].to_vec()));
        start = end;
    }
    split
}

/// Works around the serde half of opentelemetry-proto 0.33, which insists on fields that may be
/// absent and takes `"NaN"` and its like for an error.
fn help_reader(json: &mut Json) {
    let defaults = |elements: &mut Json, defaults: &[(&str, Json)]| {
        for element in elements.as_array_mut().unwrap() {
            for (name, default) in defaults {
                element.as_object_mut().unwrap().entry(*name).or_insert_with(|| default.clone());
            }
        }
    };
    match json {
        Json::Array(elements) => elements.iter_mut().for_each(help_reader),
        Json::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "arrayValue" | "kvlistValue" => {
                        let value = value.as_object_mut().unwrap();
                        let values = value.entry("values").or_insert_with(|| json!([]));
                        if name == "kvlistValue" {
                            defaults(values, &[("key", json!(""))]);
                        }
                    }
                    "attributes" => defaults(value, &[("key", json!(""))]),
                    "entityRefs" => defaults(
                        value,
                        &[
                            ("schemaUrl", json!("")),
                            ("type", json!("")),
                            ("idKeys", json!([])),
                            ("descriptionKeys", json!([])),
                        ],
                    ),
                    "doubleValue" => {
                        *value = json!(match value.as_str() {
                            None => continue,
                            Some("NaN") => STAND_INS[0],
                            Some("Infinity") => STAND_INS[1],
                            Some("-Infinity") => STAND_INS[2],
                            Some(other) => panic!("{other} is no double"),
                        });
                    }
                    _ => {}
                }
                help_reader(value);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Brings `request` to what is left of it after a perfect line went through that reader.
fn forget_what_the_reader_cannot_read(request: &mut ExportTraceServiceRequest) {
    fn forget(any: &mut AnyValue) {
        match &mut any.value {
            // The reader does not know this member.
            Some(ProtoValue::StringValueStrindex(_)) => any.value = None,
            Some(ProtoValue::DoubleValue(value)) => {
                *value = match *value {
                    f64::INFINITY => STAND_INS[1],
                    f64::NEG_INFINITY => STAND_INS[2],
                    nan if nan.is_nan() => STAND_INS[0],
                    // serde_json may be off by one bit, unless built to be exact.
                    number => serde_json::from_str(&format!("{number:?}")).unwrap(),
                };
            }
            Some(ProtoValue::ArrayValue(array)) => array.values.iter_mut().for_each(forget),
            Some(ProtoValue::KvlistValue(list)) => forget_all(&mut list.values),
            _ => {}
        }
    }
    fn forget_all(attributes: &mut [KeyValue]) {
        attributes.iter_mut().filter_map(|pair| pair.value.as_mut()).for_each(forget);
    }
    for group in &mut request.resource_spans {
        group.resource.iter_mut().for_each(|resource| forget_all(&mut resource.attributes));
        for scope_spans in &mut group.scope_spans {
            scope_spans.scope.iter_mut().for_each(|scope| forget_all(&mut scope.attributes));
            for span in &mut scope_spans.spans {
                forget_all(&mut span.attributes);
                span.events.iter_mut().for_each(|event| forget_all(&mut event.attributes));
                span.links.iter_mut().for_each(|link| forget_all(&mut link.attributes));
            }
        }
    }
}

/// Numbers in place of NaN, infinity and its negative.
const STAND_INS: [f64; 3] = [0.125, 0.25, 0.5];
