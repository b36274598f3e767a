use http::HeaderName;

use super::field::{Field, MUST_NOT_BE_EMPTY, Problems};
use super::{sampling, switch_of};
use crate::config::error::quote;
use crate::config::node::Value;
use crate::record::{Capture, is_sensitive};

/// Reads those of the section's keys that are in [`KEYS`].
pub(super) fn read(fields: &[Field<'_>], problems: &mut Problems) -> Capture {
    let fields = || fields.iter().filter(|field| !matches!(field.node.value, Value::Null));
    // Read first, because headers depend on it. A wrong word is not reported at each of them too.
    let written = fields()
        .find(|field| field.key == "sensitive_headers")
        .map(|field| problems.keep(switch_of(field)).unwrap_or(true));
    let capture = written.into_iter().fold(Capture::default(), Capture::sensitive_headers);
    let sensitive_headers = capture.shows_sensitive_headers();
    fields().fold(capture, |capture, field| {
        let mut headers = || headers(field, sensitive_headers, problems);
        match field.key {
            "request_headers" => capture.request_headers(headers()),
            "response_headers" => capture.response_headers(headers()),
            "redacted_query_parameters" => capture.redacted_query_parameters(texts(
                field,
                "a list of names of parameters",
                parameter,
                problems,
            )),
            "known_methods" => {
                let expected = "a list of methods such as GET";
                capture.known_methods(texts(field, expected, sampling::method, problems))
            }
            "known_grpc_methods" => {
                let expected = "a list of methods such as shop.Inventory/Count";
                capture.known_grpc_methods(texts(field, expected, grpc_method, problems))
            }
            _ => capture,
        }
    })
}

fn headers(field: &Field<'_>, sensitive: bool, problems: &mut Problems) -> Vec<HeaderName> {
    field.set_of("a list of names of headers", problems, |item| {
        let name = item.text()?.parse().map_err(|_| item.must_be("the name of a header"))?;
        header(&name, sensitive).map_err(|wrong| item.problem(wrong))?;
        Ok(name)
    })
}

fn texts(field: &Field<'_>, expected: &str, check: Check, problems: &mut Problems) -> Vec<String> {
    field.set_of(expected, problems, |item| {
        let text = item.text()?;
        check(text).map_err(|wrong| item.problem(wrong))?;
        Ok(text.to_owned())
    })
}

/// What is wrong with what code wants to have shown, each with its path in the section.
pub(in crate::config) fn contradictions(capture: &Capture) -> Vec<(String, String)> {
    let sensitive = capture.shows_sensitive_headers();
    let headers = [
        ("request_headers", &capture.request_headers),
        ("response_headers", &capture.response_headers),
    ]
    .map(|(key, headers)| located(key, headers.iter().map(|shown| header(&shown.name, sensitive))));
    let known_grpc_methods = capture.known_grpc_methods.iter().flatten();
    let texts = [
        located(
            "redacted_query_parameters",
            capture.secret_parameters().iter().map(|name| checked(name, parameter)),
        ),
        located(
            "known_methods",
            capture.shown_methods().iter().map(|name| checked(name, sampling::method)),
        ),
        located("known_grpc_methods", known_grpc_methods.map(|name| checked(name, grpc_method))),
    ];
    headers.into_iter().chain(texts).flatten().collect()
}

fn located(key: &str, items: impl Iterator<Item = Result<(), String>>) -> Vec<(String, String)> {
    let wrong = |(index, item): (usize, Result<(), String>)| {
        item.err().map(|wrong| (format!("{key}[{index}]"), wrong))
    };
    items.enumerate().filter_map(wrong).collect()
}

/// Documents never get here with a blank text.
fn checked(text: &str, check: Check) -> Result<(), String> {
    if text.trim().is_empty() { Err(MUST_NOT_BE_EMPTY.to_owned()) } else { check(text) }
}

fn header(name: &HeaderName, sensitive: bool) -> Result<(), String> {
    if name.as_str().ends_with("-bin") {
        return Err(format!(
            "{name} holds binary metadata of gRPC, which is never shown: remove it"
        ));
    }
    if is_sensitive(name) && !sensitive {
        return Err(format!(
            "{name} holds secrets: write `sensitive_headers: yes` to have them in spans, or \
             remove it"
        ));
    }
    Ok(())
}

fn parameter(name: &str) -> Result<(), String> {
    if name.contains(['=', '&']) {
        let name = quote(name);
        return Err(format!("must be the name of a parameter, without `=` and `&`, not {name}"));
    }
    Ok(())
}

fn grpc_method(text: &str) -> Result<(), String> {
    match text.rsplit_once('/') {
        Some((service, method))
            if !service.is_empty() && !method.is_empty() && !service.starts_with('/') =>
        {
            Ok(())
        }
        _ => Err(format!("must be a method such as shop.Inventory/Count, not {}", quote(text))),
    }
}

type Check = fn(&str) -> Result<(), String>;

pub(super) const KEYS: [&str; 6] = [
    "request_headers",
    "response_headers",
    "sensitive_headers",
    "redacted_query_parameters",
    "known_methods",
    "known_grpc_methods",
];

#[cfg(all(test, feature = "yaml"))]
mod tests;
