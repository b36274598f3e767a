//! Who the spans are from: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.

use std::env;
use std::path::Path;

use opentelemetry::KeyValue;
use percent_encoding::percent_decode_str;

use super::{Found, Reader};

pub(super) fn service_name(reader: &mut Reader<'_>) -> Option<Found<String>> {
    reader.one("OTEL_SERVICE_NAME", |text| Ok(text.to_owned()))
}

pub(super) fn attributes(reader: &mut Reader<'_>) -> Option<Found<Vec<KeyValue>>> {
    reader.one("OTEL_RESOURCE_ATTRIBUTES", resource_attributes)
}

/// `key=value` items between commas, all of them text, percent-decoded. Empty items, as after a
/// last comma, are none; of a key that is repeated the last value counts.
///
/// # Errors
///
/// What is wrong with it, for the operator. One bad item spoils the whole variable, by the
/// specification: attributes of which some are missing tell a lie about all spans. Values are not
/// quoted, in case one of them is a secret.
fn resource_attributes(text: &str) -> Result<Vec<KeyValue>, String> {
    let mut attributes = Vec::<KeyValue>::new();
    for (i, item) in text.split(',').enumerate() {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        let attribute =
            resource_attribute(item).map_err(|wrong| format!("item {} {wrong}", i + 1))?;
        attributes.retain(|earlier| earlier.key != attribute.key);
        attributes.push(attribute);
    }
    Ok(attributes)
}

fn resource_attribute(item: &str) -> Result<KeyValue, String> {
    let (key, value) = item
        .split_once('=')
        .ok_or("is not key=value (a comma in a value must be written as %2C)")?;
    let (key, value) = (key.trim_end(), value.trim_start());
    if key.is_empty() {
        return Err("has no key before its =".to_owned());
    }
    if value.contains('=') {
        return Err(format!(
            "has a second = after {key:?} (one in a value must be written as %3D)"
        ));
    }
    let decoded = |text| decode(text).map_err(|wrong| format!("({key:?}) {wrong}"));
    Ok(KeyValue::new(decoded(key)?, decoded(value)?))
}

pub(super) fn decode(text: &str) -> Result<String, &'static str> {
    // The decoder lets a `%` stand that is not followed by two digits.
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    if !escapes.all(|escape| escape.len() >= 2 && escape[..2].iter().all(u8::is_ascii_hexdigit)) {
        return Err("has a % that is not followed by two hexadecimal digits \
             (% itself must be written as %25)");
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| "is not UTF-8 when percent-decoded")
}

/// What a service without a name is called, as the semantic conventions of OpenTelemetry demand:
/// `service.name` must not be empty.
pub(in crate::config) fn unknown_service() -> String {
    named_after(env::current_exe().ok().as_deref())
}

fn named_after(executable: Option<&Path>) -> String {
    match executable.and_then(file_name) {
        Some(name) => format!("unknown_service:{name}"),
        None => "unknown_service".to_owned(),
    }
}

/// What the file of this program is called, without its directory.
pub(crate) fn executable_name() -> Option<String> {
    env::current_exe().ok().as_deref().and_then(file_name).map(str::to_owned)
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_without_a_name_is_named_after_its_program() {
        let cases = [
            (Some("/usr/bin/checkout"), "unknown_service:checkout", "without its directory"),
            (Some("checkout"), "unknown_service:checkout", "wherever it is"),
            (Some("/"), "unknown_service", "a path without a name"),
            (None, "unknown_service", "the system does not tell"),
        ];
        for (executable, expected, reason) in cases {
            assert_eq!(named_after(executable.map(Path::new)), expected, "{reason}");
        }
    }

    #[test]
    fn resource_attributes_are_percent_decoded() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: [(&str, Pairs<'_>, &str); 10] = [
            (" , ,", &[], "empty items"),
            ("a=1", &[("a", "1")], "one"),
            ("a=1,b.c=x y,", &[("a", "1"), ("b.c", "x y")], "two, and a last comma"),
            (" a = 1 , b=2 ", &[("a", "1"), ("b", "2")], "blanks around are not meant"),
            ("a=%201%20", &[("a", " 1 ")], "unless they are encoded"),
            ("a=", &[("a", "")], "an empty value is a value"),
            ("a=1,b=2,a=3", &[("b", "2"), ("a", "3")], "the last of a repeated key"),
            ("a%2Cb=c%3Dd%2ce%25", &[("a,b", "c=d,e%")], "keys as well, in either case"),
            ("a=t%C3%ABst,b=tëst", &[("a", "tëst"), ("b", "tëst")], "UTF-8, encoded or not"),
            ("a=true,b=7", &[("a", "true"), ("b", "7")], "all is text"),
        ];
        for (text, expected, reason) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(k, v)| KeyValue::new(k.to_string(), v.to_string())).collect();
            assert_eq!(resource_attributes(text), Ok(expected), "{reason}");
        }
    }

    #[test]
    fn one_bad_item_spoils_all_resource_attributes_and_is_named() {
        const PERCENT: &str = "has a % that is not followed by two hexadecimal digits \
             (% itself must be written as %25)";
        let cases = [
            ("a", "1 is not key=value (a comma in a value must be written as %2C)", "no ="),
            (
                "a=x,secret",
                "2 is not key=value (a comma in a value must be written as %2C)",
                "a comma inside a value; what may be part of a secret is not quoted",
            ),
            ("a=1,,=2", "3 has no key before its =", "empty items count"),
            (
                "a=1;b=2",
                "1 has a second = after \"a\" (one in a value must be written as %3D)",
                "another separator",
            ),
            ("a=100%", &format!("1 (\"a\") {PERCENT}"), "at the end"),
            ("a=%2", &format!("1 (\"a\") {PERCENT}"), "one digit"),
            ("a=%zz", &format!("1 (\"a\") {PERCENT}"), "no digits"),
            ("a=%+1", &format!("1 (\"a\") {PERCENT}"), "a sign is none"),
            ("a=%é", &format!("1 (\"a\") {PERCENT}"), "nor is another character"),
            ("b=1,a%=1", &format!("2 (\"a%\") {PERCENT}"), "in the key"),
            ("a=%FF", "1 (\"a\") is not UTF-8 when percent-decoded", "not text"),
        ];
        for (text, wrong, reason) in cases {
            assert_eq!(resource_attributes(text), Err(format!("item {wrong}")), "{reason}");
        }
    }
}
