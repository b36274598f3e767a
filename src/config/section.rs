use std::path::PathBuf;

use opentelemetry::{KeyValue, Value as AttributeValue};

use self::field::{Field, Problems, fields};
use super::error::{ConfigError, Problem};
use super::nearest::nearest;
use super::node::{Node, Value};
use super::{ExporterUrl, ParseExporterUrlError, TracingServiceConfig};
use crate::context::{Network, ParseNetworkError, ResponseHeader};
use crate::sampling::{RemoteParent, SamplingRate};
use crate::sink::KeyPair;

pub(super) mod capture;
mod field;
pub(super) mod sampling;

pub(super) use self::field::MUST_NOT_BE_EMPTY;

/// Reads the section, and finds everything that is wrong with it.
pub(super) fn resolve(section: &Node) -> Result<TracingServiceConfig, ConfigError> {
    let entries = match &section.value {
        Value::Null => return Ok(TracingServiceConfig::disabled()),
        Value::Mapping(entries) => entries,
        _ => {
            let message = section.must_be("a mapping of keys");
            let problem = Problem::new(section.position, NAME, message);
            return Err(ConfigError::new(vec![problem]));
        }
    };
    if is_off(entries) {
        return Ok(TracingServiceConfig::disabled());
    }
    let mut problems = Problems::default();
    let fields = fields(NAME, entries, &mut problems);
    let config = read(&fields, &mut problems);
    for (key, message) in config.contradictions() {
        let problem = contradiction(&fields, &key, message);
        // A key that is wrong in itself need not be contradicted as well.
        if !problems.is_known_for(problem.key()) {
            problems.push(problem);
        }
    }
    problems.into_result(config)
}

/// Whether the rest of the section does not matter.
fn is_off(entries: &[(Node, Node)]) -> bool {
    let keys = || entries.iter().filter_map(|(key, _)| key.as_text());
    let mut switches =
        entries.iter().filter(|(key, _)| key.as_text() == Some("enabled")).map(|(_, value)| value);
    match (switches.next(), switches.next()) {
        // Absent means off, but a slip such as `enable: yes` must not switch tracing off unnoticed.
        (None, _) => !keys().any(|key| nearest(key, &KEYS) == Some("enabled")),
        (Some(value), None) => switch(value) == Some(false),
        (Some(_), Some(_)) => false,
    }
}

fn read(fields: &[Field<'_>], problems: &mut Problems) -> TracingServiceConfig {
    let mut config = TracingServiceConfig::disabled();
    config.capture = capture::read(fields, problems);
    let mut keypairs_key = None;
    for field in fields {
        match field.key {
            "enabled" => config.enabled = problems.keep(switch_of(field)).unwrap_or_default(),
            key if KEYS.contains(&key) && matches!(field.node.value, Value::Null) => {}
            "exporter_url" => config.exporter_url = problems.keep(exporter_url(field)),
            "sampling_rate_per_million" => {
                let rate = problems.keep(sampling::rate(field));
                config.sampling_rate_per_million = rate.map(SamplingRate::per_million);
            }
            "ca_certs" => config.ca_certs = ca_certs(field, problems),
            "https_keypairs" | "keypairs" => match keypairs_key.replace(field.key) {
                None => config.keypairs = keypairs(field, problems),
                Some(other) => problems.push(field.at_key(format!(
                    "`{other}` is another spelling of the same key: keep one of them"
                ))),
            },
            "service_name" => {
                config.service_name = problems.keep(field.text()).map(str::to_owned);
            }
            "resource_attributes" => {
                config.resource_attributes = resource_attributes(field, problems);
            }
            "response_header" => {
                config.response_header = problems.keep(response_header(field)).unwrap_or_default();
            }
            "sampling_rules" => config.sampling_rules = sampling::rules(field, problems),
            "remote_parent" => {
                let remote_parent = problems.keep(field.word(&RemoteParent::WORDS));
                config.remote_parent = remote_parent.unwrap_or_default();
            }
            "forced_sampling_per_second" => {
                let forced = sampling::forced_per_second(field);
                config.forced_sampling_per_second = problems.keep(forced);
            }
            "trusted_proxies" => {
                config.trusted_proxies =
                    field.set_of("a list of networks such as 10.0.0.0/8", problems, network);
            }
            key if capture::KEYS.contains(&key) => {}
            _ => problems.push(field.unknown_key(&KEYS)),
        }
    }
    config
}

fn switch_of(field: &Field<'_>) -> Result<bool, Problem> {
    switch(field.node).ok_or_else(|| {
        let (on, off) = (ON.join(", "), OFF.join(", "));
        field.must_be(&format!("one of {on} or one of {off}"))
    })
}

fn switch(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(on) => Some(*on),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Text(word) => {
            let is_in = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
            if is_in(&ON) {
                Some(true)
            } else if is_in(&OFF) {
                Some(false)
            } else {
                None
            }
        }
        Value::Null | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Mapping(_) => None,
    }
}

fn exporter_url(field: &Field<'_>) -> Result<ExporterUrl, Problem> {
    let text = match &field.node.value {
        Value::List(_) => {
            return Err(field.must_be("text (a URL that begins with `[` needs quotes)"));
        }
        // Not `Field::text`: what the URL says of an empty text is more helpful.
        Value::Text(text) => text,
        _ => field.text()?,
    };
    text.parse().map_err(|reason: ParseExporterUrlError| field.problem(reason.to_string()))
}

fn response_header(field: &Field<'_>) -> Result<ResponseHeader, Problem> {
    match &field.node.value {
        // What the word `off` is to a reader of YAML 1.1.
        Value::Bool(false) => Ok(ResponseHeader::Off),
        _ => field.word(&ResponseHeader::WORDS),
    }
}

fn network(item: &Field<'_>) -> Result<Network, Problem> {
    item.text()?.parse().map_err(|reason| match reason {
        ParseNetworkError::Malformed(_) => {
            item.must_be("a network such as 10.0.0.0/8, fd00::/8 or ::1")
        }
        ParseNetworkError::HostBits { .. } => item.problem(reason.to_string()),
    })
}

fn ca_certs(field: &Field<'_>, problems: &mut Problems) -> Vec<PathBuf> {
    let items = problems.keep(field.items("a list of paths")).unwrap_or_default();
    items.iter().filter_map(|item| problems.keep(item.text()).map(PathBuf::from)).collect()
}

fn keypairs(field: &Field<'_>, problems: &mut Problems) -> Vec<KeyPair> {
    let items = field.items("a list of mappings with `key_file` and `cert_file`");
    let items = problems.keep(items).unwrap_or_default();
    items.iter().filter_map(|item| keypair(item, problems)).collect()
}

fn keypair(item: &Field<'_>, problems: &mut Problems) -> Option<KeyPair> {
    let Value::Mapping(entries) = &item.node.value else {
        problems.push(item.must_be("a mapping with `key_file` and `cert_file`"));
        return None;
    };
    let fields = fields(&item.path, entries, problems);
    for unknown in fields.iter().filter(|field| !KEYPAIR_KEYS.contains(&field.key)) {
        problems.push(unknown.unknown_key(&KEYPAIR_KEYS));
    }
    let [key_file, cert_file] = KEYPAIR_KEYS.map(|key| {
        let file = match fields.iter().find(|field| field.key == key) {
            Some(field) => field.text(),
            None => {
                let path = format!("{}.{key}", item.path);
                Err(Problem::new(item.position, path, "missing: a key pair needs both files"))
            }
        };
        problems.keep(file).map(PathBuf::from)
    });
    Some(KeyPair { key_file: key_file?, cert_file: cert_file? })
}

fn resource_attributes(field: &Field<'_>, problems: &mut Problems) -> Vec<KeyValue> {
    let Value::Mapping(entries) = &field.node.value else {
        problems.push(field.must_be("a mapping of names to values"));
        return Vec::new();
    };
    let fields = fields(&field.path, entries, problems);
    fields.iter().filter_map(|field| problems.keep(resource_attribute(field))).collect()
}

fn resource_attribute(field: &Field<'_>) -> Result<KeyValue, Problem> {
    attribute_name(field.key).map_err(|message| field.at_key(message))?;
    let value: AttributeValue = match &field.node.value {
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => i64::try_from(*value)
            .map_err(|_| field.must_be("an integer of 64 bits with sign, or text"))?
            .into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.clone().into(),
        Value::Null | Value::List(_) | Value::Mapping(_) => {
            return Err(field.must_be("text, a number, true or false"));
        }
    };
    Ok(KeyValue::new(field.key.to_owned(), value))
}

/// Puts a contradiction at the key that it is about, as the document spells it.
fn contradiction(fields: &[Field<'_>], key: &str, message: String) -> Problem {
    let is_spelling_of = |written: &str| match key {
        "keypairs" => matches!(written, "keypairs" | "https_keypairs"),
        _ => written == key,
    };
    let written = fields.iter().find(|field| is_spelling_of(field.key));
    // A key that is not there is missed because of `enabled`.
    let cause = written.or_else(|| fields.iter().find(|field| field.key == "enabled"));
    let path = path(written.map_or(key, |field| field.key));
    Problem::new(cause.and_then(|field| field.key_position), path, message)
}

/// The path of a key of the section.
pub(super) fn path(key: &str) -> String {
    format!("{NAME}.{key}")
}

pub(super) fn attribute_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("the name of an attribute must not be empty"),
        "service.name" => Err("the key `service_name` of the section sets this attribute"),
        _ => Ok(()),
    }
}

/// The key of the section in a document.
pub(super) const NAME: &str = "tracing_service";

const KEYS: [&str; 19] = [
    "enabled",
    "exporter_url",
    "sampling_rate_per_million",
    "ca_certs",
    "https_keypairs",
    "keypairs",
    "service_name",
    "resource_attributes",
    "response_header",
    "sampling_rules",
    "remote_parent",
    "forced_sampling_per_second",
    "request_headers",
    "response_headers",
    "sensitive_headers",
    "redacted_query_parameters",
    "known_methods",
    "known_grpc_methods",
    "trusted_proxies",
];

const KEYPAIR_KEYS: [&str; 2] = ["key_file", "cert_file"];

/// Teleport's words.
const ON: [&str; 6] = ["yes", "yeah", "y", "true", "1", "on"];
const OFF: [&str; 6] = ["no", "nope", "n", "false", "0", "off"];

#[cfg(all(test, feature = "yaml"))]
mod tests;
