use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::record::decode::tests::{
    any_request, attribute_of, bytes, fixed32, fixed64, request, uint,
};

#[test]
fn what_otlp_json_says_is_written_as_protobuf() {
    let ids = [bytes(1, &[0xab; 16]), bytes(2, &[0x01; 8])].concat();
    let rows: &[(&str, Vec<u8>, &str)] = &[
        ("{}", vec![], "a span of nothing"),
        (
            r#"{"traceId":"abABabABabABabABabABabABabABabAB","spanId":"0101010101010101"}"#,
            ids,
            "hexadecimal digits of either case",
        ),
        (r#"{"parentSpanId":""}"#, vec![], "an empty parent"),
        (r#"{"traceId":"07"}"#, bytes(1, &[7]), "lengths are checked later"),
        (r#"{"name":"a\"\\\n\u00e9\ud83d\ude00"}"#, bytes(5, "a\"\\\né😀".as_bytes()), "escapes"),
        (r#"{"kind":2}"#, uint(6, 2), "an enum"),
        (r#"{"kind":"2"}"#, uint(6, 2), "a number in quotes is one"),
        (r#"{"kind":-1}"#, uint(6, u64::MAX), "a negative one has ten bytes"),
        (
            r#"{"startTimeUnixNano":"1750000000123456789"}"#,
            fixed64(7, 1_750_000_000_123_456_789),
            "64 bits as text",
        ),
        (
            r#"{"startTimeUnixNano":1750000000123456789}"#,
            fixed64(7, 1_750_000_000_123_456_789),
            "as a number",
        ),
        (r#"{"startTimeUnixNano":"18446744073709551615"}"#, fixed64(7, u64::MAX), "the greatest"),
        (r#"{"startTimeUnixNano":1e3}"#, fixed64(7, 1000), "an exponent"),
        (r#"{"startTimeUnixNano":"1.5e1"}"#, fixed64(7, 15), "so in quotes"),
        (
            r#"{"startTimeUnixNano":9007199254740991.0}"#,
            fixed64(7, (1 << 53) - 1),
            "exact until here",
        ),
        (r#"{"flags":769}"#, fixed32(16, 769), "32 bits of a fixed width"),
        (r#"{"flags":4294967295.0}"#, fixed32(16, u32::MAX), "the greatest, as a fraction"),
        (r#"{"droppedLinksCount":7}"#, uint(14, 7), "a count"),
        (
            r#"{"traceId":"","name":"","kind":0,"startTimeUnixNano":"0","flags":-0,"links":[],"status":null}"#,
            vec![],
            "defaults and null are absent",
        ),
        (r#"{"status":{}}"#, bytes(15, b""), "an empty message is not"),
        (
            r#"{"status":{"code":2,"message":"boom"}}"#,
            bytes(15, &[uint(3, 2), bytes(2, b"boom")].concat()),
            "in the order of the JSON",
        ),
        (r#"{"status":{"":1}}"#, bytes(15, b""), "a reserved number has no name"),
        (
            r#"{"trace_id":"01","parent_span_id":"02","start_time_unix_nano":3,"dropped_events_count":4}"#,
            [bytes(1, &[1]), bytes(4, &[2]), fixed64(7, 3), uint(12, 4)].concat(),
            "names as in the .proto files",
        ),
        (
            r#"{"TraceId":"01","traceid":"02","trace__id":"1","_trace_id":"1","name_":"1","what":[{"a":[null,1.5e300]}],"x":null}"#,
            vec![],
            "keys that OTLP does not know",
        ),
        (
            r#"{"events":[{},{"timeUnixNano":"5","name":"e","attributes":[],"droppedAttributesCount":1}]}"#,
            [bytes(11, b""), bytes(11, &[fixed64(1, 5), bytes(2, b"e"), uint(4, 1)].concat())]
                .concat(),
            "an event after an empty one",
        ),
        (
            r#"{"links":[{"traceId":"01","spanId":"02","traceState":"a=b","flags":257}]}"#,
            bytes(
                13,
                &[bytes(1, &[1]), bytes(2, &[2]), bytes(3, b"a=b"), fixed32(6, 257)].concat(),
            ),
            "a link",
        ),
        (
            r#"{"name":null,"name":"a"}"#,
            bytes(5, b"a"),
            "null is absent, so this is no second name",
        ),
        (" {\n\t\"name\" : \"a\" } ", bytes(5, b"a"), "spaces"),
    ];
    for (span, expected, why) in rows {
        assert_eq!(read(&json_of(span)), Ok(request(expected)), "{why}");
    }
}

#[test]
fn a_value_keeps_its_kind_and_every_bit() {
    let double = |value: f64| fixed64(4, value.to_bits());
    let rows: &[(&str, Vec<u8>, &str)] = &[
        ("{}", vec![], "nothing set"),
        (r#"{"stringValue":""}"#, bytes(1, b""), "a default says which member is set"),
        (r#"{"stringValue":null}"#, vec![], "null does not"),
        (r#"{"boolValue":false}"#, uint(2, 0), "false"),
        (r#"{"boolValue":true}"#, uint(2, 1), "true"),
        (r#"{"intValue":"0"}"#, uint(3, 0), "zero"),
        (r#"{"intValue":0}"#, uint(3, 0), "zero as a number"),
        (r#"{"intValue":"-9223372036854775808"}"#, uint(3, 1 << 63), "the smallest"),
        (r#"{"intValue":-9223372036854775808}"#, uint(3, 1 << 63), "as a number"),
        (r#"{"intValue":9223372036854775807}"#, uint(3, (1 << 63) - 1), "the greatest"),
        (r#"{"intValue":-1.0}"#, uint(3, u64::MAX), "a whole fraction"),
        (r#"{"int_value":5}"#, uint(3, 5), "its name in the .proto file"),
        (
            r#"{"intValue":{"$serde_json::private::Number":"-5"}}"#,
            uint(3, (-5_i64) as u64),
            "as serde_json gives numbers once it is to keep all digits",
        ),
        (r#"{"doubleValue":0.0}"#, double(0.0), "zero"),
        (r#"{"doubleValue":-0.0}"#, double(-0.0), "its sign"),
        (r#"{"doubleValue":-0}"#, double(-0.0), "also of a whole one"),
        (r#"{"doubleValue":7}"#, double(7.0), "a whole number"),
        (r#"{"doubleValue":0.30000000000000004}"#, double(0.1 + 0.2), "all digits"),
        (r#"{"doubleValue":5e-324}"#, double(5e-324), "the smallest"),
        (r#"{"doubleValue":"1.5"}"#, double(1.5), "in quotes"),
        (r#"{"doubleValue":"NaN"}"#, double(f64::NAN), "no JSON number"),
        (r#"{"doubleValue":"Infinity"}"#, double(f64::INFINITY), "nor this"),
        (r#"{"doubleValue":"-Infinity"}"#, double(f64::NEG_INFINITY), "nor this"),
        (r#"{"bytesValue":""}"#, bytes(7, b""), "no bytes"),
        (r#"{"bytesValue":"Zg=="}"#, bytes(7, b"f"), "one byte"),
        (r#"{"bytesValue":"Zg"}"#, bytes(7, b"f"), "without padding"),
        (r#"{"bytesValue":"Zm8="}"#, bytes(7, b"fo"), "two bytes"),
        (r#"{"bytesValue":"Zm8"}"#, bytes(7, b"fo"), "without padding"),
        (r#"{"bytesValue":"Zm9v"}"#, bytes(7, b"foo"), "three bytes"),
        (r#"{"bytesValue":"+//+AA=="}"#, bytes(7, b"\xfb\xff\xfe\0"), "the standard alphabet"),
        (r#"{"bytesValue":"-__-AA"}"#, bytes(7, b"\xfb\xff\xfe\0"), "that of URLs"),
        (r#"{"stringValueStrindex":0}"#, uint(8, 0), "a member of another signal"),
        (r#"{"arrayValue":{}}"#, bytes(5, b""), "an empty array"),
        (r#"{"arrayValue":{"values":null}}"#, bytes(5, b""), "in other words"),
        (
            r#"{"arrayValue":{"values":[{},{"intValue":1}]}}"#,
            bytes(5, &[bytes(1, b""), bytes(1, &uint(3, 1))].concat()),
            "an array with a hole",
        ),
        (
            r#"{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"b"}}]}}"#,
            bytes(6, &bytes(1, &attribute_of("a", &bytes(1, b"b")))),
            "a map",
        ),
    ];
    for (value, expected, why) in rows {
        let span = format!(r#"{{"attributes":[{{"key":"k","value":{value}}}]}}"#);
        let expected = request(&bytes(9, &attribute_of("k", expected)));
        assert_eq!(read(&json_of(&span)), Ok(expected), "{why}");
    }
}

#[test]
fn what_is_no_otlp_json_is_refused_without_repeating_it() {
    let integer = "kind takes a 32-bit integer, also for an enum";
    let time = "startTimeUnixNano takes a 64-bit integer that is not negative";
    let hex = "traceId takes hexadecimal digits, two for each byte";
    let rows: &[(&str, &str, &str)] = &[
        (r#"{"kind":"SPAN_KIND_SECRET"}"#, integer, "the name of an enum"),
        (r#"{"kind":2147483648}"#, integer, "33 bits"),
        (r#"{"kind":1.5}"#, integer, "a fraction"),
        (r#"{"kind":true}"#, integer, "a bool"),
        (r#"{"kind":[31337]}"#, integer, "an array"),
        (r#"{"kind":{}}"#, integer, "an object"),
        (r#"{"kind":{"secret":"31337"}}"#, integer, "an object with a number"),
        (r#"{"kind":{"$serde_json::private::Number":31337}}"#, integer, "one that is not quoted"),
        (r#"{"kind":""}"#, integer, "no digits"),
        (r#"{"kind":" 1"}"#, integer, "a space before"),
        (r#"{"kind":"1 "}"#, integer, "a space behind"),
        (r#"{"kind":"01"}"#, integer, "a zero before"),
        (r#"{"kind":"+1"}"#, integer, "a plus"),
        (r#"{"kind":"0x1"}"#, integer, "other digits"),
        (r#"{"kind":"1e999"}"#, integer, "beyond a double"),
        (r#"{"startTimeUnixNano":-1}"#, time, "a negative time"),
        (r#"{"startTimeUnixNano":"-1"}"#, time, "so in quotes"),
        (r#"{"startTimeUnixNano":18446744073709551616}"#, time, "65 bits"),
        (r#"{"startTimeUnixNano":"18446744073709551616"}"#, time, "so in quotes"),
        (r#"{"startTimeUnixNano":9007199254740993.0}"#, time, "may have been rounded"),
        (r#"{"startTimeUnixNano":"NaN"}"#, time, "no integer"),
        (
            r#"{"droppedLinksCount":-1}"#,
            "droppedLinksCount takes a 32-bit integer that is not negative",
            "a negative count",
        ),
        (r#"{"flags":4294967296}"#, "flags takes a 32-bit integer that is not negative", "33 bits"),
        (r#"{"traceId":"abc"}"#, hex, "half a byte"),
        (r#"{"traceId":"zz"}"#, hex, "no digits"),
        (r#"{"traceId":"+1"}"#, hex, "a sign is no digit"),
        (r#"{"traceId":"é"}"#, hex, "of two bytes, which are no digits"),
        (r#"{"traceId":31337}"#, hex, "a number"),
        (r#"{"name":31337}"#, "name takes a string", "a number"),
        (r#"{"name":1.5}"#, "name takes a string", "a fraction"),
        (r#"{"name":false}"#, "name takes a string", "a bool"),
        (r#"{"name":["secret"]}"#, "name takes a string", "an array"),
        (r#"{"name":{"secret":1}}"#, "name takes a string", "an object"),
        (r#"{"status":"secret"}"#, "status takes an object", "a string"),
        (r#"{"status":[]}"#, "status takes an object", "an array"),
        (r#"{"attributes":{}}"#, "attributes takes an array", "an object"),
        (r#"{"attributes":"secret"}"#, "attributes takes an array", "a string"),
        (r#"{"attributes":["secret"]}"#, "attributes takes an object", "elements of another kind"),
        (r#"{"attributes":[null]}"#, "a null in attributes", "an element that is absent"),
        (
            r#"{"name":"secret","name":"secret"}"#,
            "name is given twice",
            "a key that is there twice",
        ),
        (r#"{"traceId":"01","trace_id":"02"}"#, "traceId is given twice", "under both its names"),
        (r#"{"status":{"code":1},"status":{}}"#, "status is given twice", "an object twice"),
        (
            r#"{"attributes":[{"value":{"stringValue":"secret","intValue":31337}}]}"#,
            "a value is of two kinds",
            "two members of a oneof",
        ),
        (
            r#"{"attributes":[{"value":{"boolValue":"secret"}}]}"#,
            "boolValue takes true or false",
            "a bool as text",
        ),
        (
            r#"{"attributes":[{"value":{"doubleValue":"secret"}}]}"#,
            "doubleValue takes a number",
            "a double as text",
        ),
        (
            r#"{"attributes":[{"value":{"intValue":9223372036854775808}}]}"#,
            "intValue takes a 64-bit integer",
            "65 bits",
        ),
    ];
    for (span, expected, why) in rows {
        let error = read(&json_of(span)).unwrap_err();
        let words = error.strip_prefix("not OTLP/JSON: ").unwrap();
        let (words, place) = words.split_once(" at line 1 column ").unwrap();
        assert_eq!(words, *expected, "{why}");
        assert!(place.parse::<usize>().unwrap() > HEAD.len(), "{why}: {place}");
    }
    for value in ["Z", "Zm9vZ", "Zg=", "Zg===", "=", "Zg==Zg==", "Zm9v====", "Z!==", "Zé"] {
        let span = format!(r#"{{"attributes":[{{"value":{{"bytesValue":"{value}"}}}}]}}"#);
        let error = read(&json_of(&span)).unwrap_err();
        assert!(error.starts_with("not OTLP/JSON: bytesValue takes base64 at line 1 "), "{value}");
    }
    let rows: &[(&str, &str, &str)] = &[
        ("", "EOF while parsing a value at line 1 column 0", "nothing"),
        ("null", "null is no request", "null"),
        ("[]", "a request takes an object at line 1 column 2", "an array"),
        ("\"secret\"", "a request takes an object at line 1 column 8", "a string"),
        ("{} {}", "trailing characters at line 1 column 4", "two of them"),
        (
            "{\"resourceSpans\":\n[31337]}",
            "resourceSpans takes an object at line 2 column 6",
            "where it is",
        ),
        ("{\"resourceSpans\":[{},]}", "trailing comma at line 1 column 22", "not JSON"),
        (
            "{\"resourceSpans\":[{\"schemaUrl\":\"\\ud800\"}]}",
            "unexpected end of hex escape at line 1 column 39",
            "half a character",
        ),
    ];
    for (json, expected, why) in rows {
        assert_eq!(read(json), Err(format!("not OTLP/JSON: {expected}")), "{why}");
    }
    let error = from_json(b"{\"resourceSpans\":[{\"schemaUrl\":\"\xff\"}]}").unwrap_err();
    assert!(error.to_string().contains("invalid unicode code point"), "{error}");
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    let nested = |levels: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(levels);
        let value = format!("{open}{}{}", r#"{"intValue":"1"}"#, "]}}".repeat(levels));
        read(&json_of(&format!(r#"{{"attributes":[{{"value":{value}}}]}}"#)))
    };
    let value = (0..39).fold(uint(3, 1), |value, _| bytes(5, &bytes(1, &value)));
    assert_eq!(nested(39), Ok(request(&bytes(9, &bytes(2, &value)))));
    for levels in [40, 100_000] {
        let error = nested(levels).unwrap_err();
        assert!(error.starts_with("not OTLP/JSON: recursion limit exceeded at line 1"), "{error}");
    }
    // What is not read needs no stack, however deep it is.
    let ignored = format!(r#"{{"what":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read(&ignored), Ok(vec![]));
}

#[test]
fn the_result_is_at_most_a_quarter_longer() {
    let rows = [
        ("kind", r#"{"kind":-1}"#, 13, "ten bytes for three characters"),
        ("nothing", "{}", 2, "an empty message"),
        ("names", r#"{"name":"a"}"#, 5, "text"),
    ];
    for (name, span, bytes_each, why) in rows {
        let json = json_of(&vec![span; 10_000].join(","));
        let otlp = read(&json).unwrap();
        assert!(otlp.len() <= 10_000 * bytes_each + 20, "{name}: {why}");
        assert!(otlp.len() <= json.len() + json.len() / 4, "{name}: {why}");
        assert_eq!(otlp.capacity(), most_of_json(json.as_bytes()), "it has not grown: {name}");
    }
}

/// Two spans of a shop, as a collector's sender may have them: written out and indented, with ids
/// in upper case, numbers in both forms, and a key that OTLP does not have.
#[test]
fn a_whole_request_is_read() {
    let json = r#"
    {
      "resourceSpans": [
        {
          "resource": {
            "attributes": [ { "key": "service.name", "value": { "stringValue": "shop" } } ]
          },
          "scopeSpans": [
            {
              "scope": { "name": "orders", "version": "2.1" },
              "spans": [
                {
                  "traceId": "0AF7651916CD43DD8448EB211C80319C",
                  "spanId": "B7AD6B7169203331",
                  "parentSpanId": "00F067AA0BA902B7",
                  "name": "GET /orders",
                  "kind": 2,
                  "startTimeUnixNano": "1750000000000000000",
                  "endTimeUnixNano": 1750000001000000000,
                  "attributes": [ { "key": "rows", "value": { "intValue": 12 } } ],
                  "comment": { "by": [ "nobody" ] }
                },
                { "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203332" }
              ]
            }
          ]
        }
      ]
    }"#;
    let attribute = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let trace_id = 0x0af7651916cd43dd8448eb211c80319c_u128.to_be_bytes().to_vec();
    let span_id = |id: u64| id.to_be_bytes().to_vec();
    let first = Span {
        trace_id: trace_id.clone(),
        span_id: span_id(0xb7ad6b7169203331),
        parent_span_id: span_id(0x00f067aa0ba902b7),
        name: "GET /orders".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_750_000_000_000_000_000,
        end_time_unix_nano: 1_750_000_001_000_000_000,
        attributes: vec![attribute("rows", ProtoValue::IntValue(12))],
        ..Span::default()
    };
    let second = Span { trace_id, span_id: span_id(0xb7ad6b7169203332), ..Span::default() };
    let name = ProtoValue::StringValue("shop".to_owned());
    let expected = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", name)],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "orders".to_owned(),
                    version: "2.1".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: vec![first, second],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let otlp = read(json).unwrap();
    assert_eq!(ExportTraceServiceRequest::decode(&*otlp), Ok(expected));
}

proptest! {
    #[cfg(feature = "file")]
    #[test]
    fn our_own_lines_read_back_as_what_was_encoded(mut request in any_request()) {
        let mut line = Vec::new();
        let sent = request.encode_to_vec();
        crate::record::json::JsonWriter::default().write_traces(&sent, &mut line).unwrap();
        let otlp = from_json(&line).unwrap();
        let read = ExportTraceServiceRequest::decode(&*otlp).unwrap();
        each_value(&mut request, &|value| {
            // There is one NaN in JSON.
            if let Some(ProtoValue::DoubleValue(double)) = value && double.is_nan() {
                *double = f64::NAN;
            }
        });
        // By their encoding, since NaN is not equal to itself.
        prop_assert!(read.encode_to_vec() == request.encode_to_vec(), "{read:#?} is not {request:#?}");
    }

    #[test]
    fn lines_of_the_generated_types_read_back(mut request in any_request()) {
        each_value(&mut request, &|value| {
            match value {
                // They write `null` for these.
                Some(ProtoValue::DoubleValue(double)) if !double.is_finite() => *double = 0.5,
                Some(ProtoValue::StringValueStrindex(_)) => *value = None,
                _ => {}
            }
        });
        let line = serde_json::to_vec(&request).unwrap();
        let otlp = from_json(&line).unwrap();
        let read = ExportTraceServiceRequest::decode(&*otlp).unwrap();
        prop_assert!(read.encode_to_vec() == request.encode_to_vec(), "{read:#?} is not {request:#?}");
        prop_assert!(otlp.len() <= line.len());
    }

    #[test]
    fn any_text_is_read_or_refused(bytes in vec(any::<u8>(), 0..200), text in "[\\[\\]{}:,\"a-z0-9]{0,60}") {
        let _ = from_json(&bytes);
        let _ = read(&json_of(&text));
    }
}

const HEAD: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#;

fn json_of(span: &str) -> String {
    format!("{HEAD}{span}]}}]}}]}}")
}

fn read(json: &str) -> Result<Vec<u8>, String> {
    from_json(json.as_bytes()).map_err(|error| error.to_string())
}

/// Calls `change` with every value in the request, those inside others too.
fn each_value(request: &mut ExportTraceServiceRequest, change: &dyn Fn(&mut Option<ProtoValue>)) {
    fn each(any: &mut AnyValue, change: &dyn Fn(&mut Option<ProtoValue>)) {
        change(&mut any.value);
        match &mut any.value {
            Some(ProtoValue::ArrayValue(array)) => {
                array.values.iter_mut().for_each(|any| each(any, change));
            }
            Some(ProtoValue::KvlistValue(list)) => all(&mut list.values, change),
            _ => {}
        }
    }
    fn all(attributes: &mut [KeyValue], change: &dyn Fn(&mut Option<ProtoValue>)) {
        attributes
            .iter_mut()
            .filter_map(|pair| pair.value.as_mut())
            .for_each(|any| each(any, change));
    }
    for group in &mut request.resource_spans {
        group.resource.iter_mut().for_each(|resource| all(&mut resource.attributes, change));
        for scope_spans in &mut group.scope_spans {
            scope_spans.scope.iter_mut().for_each(|scope| all(&mut scope.attributes, change));
            for span in &mut scope_spans.spans {
                all(&mut span.attributes, change);
                span.events.iter_mut().for_each(|event| all(&mut event.attributes, change));
                span.links.iter_mut().for_each(|link| all(&mut link.attributes, change));
            }
        }
    }
}
