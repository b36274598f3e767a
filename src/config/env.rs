//! What the environment says: the variables of OpenTelemetry's specification that are obeyed.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use opentelemetry::KeyValue;
use percent_encoding::percent_decode_str;

/// Reads a variable of the environment. An argument wherever it is needed, so that tests need not
/// change the environment of the process.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The service's name by precedence: the configuration, `OTEL_SERVICE_NAME`, `service.name` among
/// the [`resource_attributes`], the name that the program gave. A blank name counts as none.
///
/// Without any it is `unknown_service:` and the name of the executable, as the semantic
/// conventions of OpenTelemetry demand: `service.name` must not be empty.
pub(crate) fn service_name(
    configured: Option<&str>,
    variables: Variables<'_>,
    attribute: Option<&str>,
    given: &str,
) -> String {
    let is_name = |name: &str| !name.trim().is_empty();
    let named = |name: Option<&str>| name.filter(|name| is_name(name)).map(str::to_owned);
    named(configured)
        .or_else(|| named(variables("OTEL_SERVICE_NAME").as_deref()))
        .or_else(|| named(attribute))
        .or_else(|| named(Some(given)))
        .unwrap_or_else(|| unknown_service(env::current_exe().ok().as_deref()))
}

/// The attributes in `OTEL_RESOURCE_ATTRIBUTES`: `key=value` items between commas, all of them
/// text, percent-decoded. Empty items, as after a last comma, are none; of a key that is repeated
/// the last value counts.
///
/// # Errors
///
/// What is wrong with it, for the operator. One bad item spoils the whole variable, by the
/// specification: attributes of which some are missing tell a lie about all spans. Values are not
/// quoted, in case one of them is a secret.
pub(crate) fn resource_attributes(variables: Variables<'_>) -> Result<Vec<KeyValue>, String> {
    let text = variables(RESOURCE_ATTRIBUTES).unwrap_or_default();
    let mut attributes = Vec::<KeyValue>::new();
    for (i, item) in text.split(',').enumerate() {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        let attribute = resource_attribute(item)
            .map_err(|wrong| format!("{RESOURCE_ATTRIBUTES} is ignored: item {} {wrong}", i + 1))?;
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

fn decode(text: &str) -> Result<String, &'static str> {
    // The decoder lets a `%` stand that is not followed by two digits.
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    if !escapes.all(|escape| escape.len() >= 2 && escape[..2].iter().all(u8::is_ascii_hexdigit)) {
        return Err("has a % that is not followed by two hexadecimal digits \
             (% itself must be written as %25)");
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| "is not UTF-8 when percent-decoded")
}

fn unknown_service(executable: Option<&Path>) -> String {
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

/// The environment of this process.
///
/// # Errors
///
/// A value that is not Unicode, for the operator: OTLP could not carry it.
pub(crate) fn process(name: &str) -> Result<Option<String>, String> {
    unicode(name, env::var_os(name))
}

fn unicode(name: &str, value: Option<OsString>) -> Result<Option<String>, String> {
    value
        .map(OsString::into_string)
        .transpose()
        .map_err(|_| format!("{name} is ignored: it is not Unicode"))
}

const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_closest_to_the_operator_wins() {
        // Section, variable, `service.name` in the other variable, name given in code.
        let cases = [
            ([Some("yaml"), Some("env"), Some("list")], "code", "yaml", "the section wins"),
            ([Some("yaml"), None, None], "code", "yaml", "without a variable too"),
            ([Some(" "), Some("env"), Some("list")], "code", "env", "a blank name is none"),
            ([None, Some("env"), Some("list")], "code", "env", "the variable comes next"),
            ([None, None, Some("list")], "code", "list", "then the one for all attributes"),
            ([None, Some(""), Some("list")], "code", "list", "an empty variable is unset"),
            ([None, Some(" \t"), Some(" ")], "code", "code", "and so is a blank one"),
            ([None, None, None], "code", "code", "the program's own name comes last"),
            ([None, None, None], " a ", " a ", "a name is used as it is"),
            ([None, None, None], "", UNKNOWN, "an empty name is none"),
            ([Some(""), Some(" "), Some("")], "\n", UNKNOWN, "blank at each level"),
        ];
        for ([configured, variable, attribute], given, expected, reason) in cases {
            let variables = |name: &str| {
                assert_eq!(name, "OTEL_SERVICE_NAME", "no other variable is asked for");
                variable.map(str::to_owned)
            };
            let name = service_name(configured, &variables, attribute, given);
            // This test is a program with a name of its own.
            let name = if name.starts_with("unknown_service:") { UNKNOWN } else { &name };
            assert_eq!(name, expected, "{reason}");
        }
    }

    #[test]
    fn a_service_without_a_name_is_named_after_its_program() {
        let cases = [
            (Some("/usr/bin/checkout"), "unknown_service:checkout", "without its directory"),
            (Some("checkout"), "unknown_service:checkout", "wherever it is"),
            (Some("/"), "unknown_service", "a path without a name"),
            (None, "unknown_service", "the system does not tell"),
        ];
        for (executable, expected, reason) in cases {
            assert_eq!(unknown_service(executable.map(Path::new)), expected, "{reason}");
        }
    }

    #[test]
    fn resource_attributes_are_percent_decoded() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Option<&str>, Pairs<'_>, &str); 12] = [
            (None, &[], "unset"),
            (Some(""), &[], "empty"),
            (Some(" , ,"), &[], "empty items"),
            (Some("a=1"), &[("a", "1")], "one"),
            (Some("a=1,b.c=x y,"), &[("a", "1"), ("b.c", "x y")], "two, and a last comma"),
            (Some(" a = 1 , b=2 "), &[("a", "1"), ("b", "2")], "blanks around are not meant"),
            (Some("a=%201%20"), &[("a", " 1 ")], "unless they are encoded"),
            (Some("a="), &[("a", "")], "an empty value is a value"),
            (Some("a=1,b=2,a=3"), &[("b", "2"), ("a", "3")], "the last of a repeated key"),
            (Some("a%2Cb=c%3Dd%2ce%25"), &[("a,b", "c=d,e%")], "keys as well, in either case"),
            (Some("a=t%C3%ABst,b=tëst"), &[("a", "tëst"), ("b", "tëst")], "UTF-8, encoded or not"),
            (Some("a=true,b=7"), &[("a", "true"), ("b", "7")], "all is text"),
        ];
        for (text, expected, reason) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(k, v)| KeyValue::new(k.to_string(), v.to_string())).collect();
            assert_eq!(read(text), Ok(expected), "{reason}");
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
            let expected = format!("OTEL_RESOURCE_ATTRIBUTES is ignored: item {wrong}");
            assert_eq!(read(Some(text)), Err(expected), "{reason}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_unicode_is_a_mistake_and_an_unset_one_is_none() {
        use std::os::unix::ffi::OsStringExt;

        type Case<'a> = (Option<&'a [u8]>, Result<Option<&'a str>, &'a str>);
        let cases: [Case<'_>; 4] = [
            (None, Ok(None)),
            (Some(b""), Ok(Some(""))),
            (Some("tëst".as_bytes()), Ok(Some("tëst"))),
            (Some(b"secret\xff"), Err("NAME is ignored: it is not Unicode")),
        ];
        for (value, expected) in cases {
            let read = unicode("NAME", value.map(|bytes| OsString::from_vec(bytes.to_vec())));
            assert_eq!(read.as_ref().map(Option::as_deref).map_err(|it| &**it), expected);
        }
    }

    fn read(text: Option<&str>) -> Result<Vec<KeyValue>, String> {
        resource_attributes(&|name| {
            assert_eq!(name, "OTEL_RESOURCE_ATTRIBUTES", "no other variable is asked for");
            text.map(str::to_owned)
        })
    }

    const UNKNOWN: &str = "unknown_service:(this program)";
}
