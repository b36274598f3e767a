use opentelemetry::{KeyValue, Value as AttributeValue};

use self::field::{Field, Problems, fields};
use super::error::{ConfigError, Problem};
use super::nearest::nearest;
use super::node::{Node, Value};
use super::{ExporterUrl, ParseExporterUrlError, Switch, TracingServiceConfig};
use crate::context::{Network, ParseNetworkError, ResponseHeader};
use crate::sampling::{RemoteParent, SamplingRate};

pub(super) mod capture;
pub(super) mod exporter;
mod field;
pub(super) mod quantity;
pub(super) mod queue;
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
    config.exporter = exporter::read(fields, problems);
    for field in fields {
        match field.key {
            "enabled" => config.switch = Switch::of(problems.keep(switch_of(field)) == Some(true)),
            key if KEYS.contains(&key) && matches!(field.node.value, Value::Null) => {}
            "exporter_url" => config.exporter_url = problems.keep(exporter_url(field)),
            "sampling_rate_per_million" => {
                let rate = problems.keep(sampling::rate(field));
                config.sampling_rate_per_million = rate.map(SamplingRate::per_million);
            }
            "service_name" => {
                config.service_name = problems.keep(field.text()).map(str::to_owned);
            }
            "resource_attributes" => {
                config.resource_attributes = resource_attributes(field, problems);
            }
            "response_header" => {
                config.response_header = problems.keep(response_header(field));
            }
            "sampling_rules" => config.sampling_rules = sampling::rules(field, problems),
            "remote_parent" => {
                config.remote_parent = problems.keep(field.word(&RemoteParent::WORDS));
            }
            "forced_sampling_per_second" => {
                let forced = sampling::forced_per_second(field);
                config.forced_sampling_per_second = problems.keep(forced);
            }
            "trusted_proxies" => {
                config.trusted_proxies =
                    field.set_of("a list of networks such as 10.0.0.0/8", problems, network);
            }
            "queue" => config.queue = queue::queue(field, problems),
            "retry" => config.retry = queue::retry(field, problems),
            "concurrency" => config.concurrency = problems.keep(queue::concurrency(field)),
            "limits" => config.limits = queue::limits(field, problems),
            key if capture::KEYS.contains(&key) || exporter::KEYS.contains(&key) => {}
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

/// Puts a contradiction at the key that it is about.
fn contradiction(fields: &[Field<'_>], key: &str, message: String) -> Problem {
    let (name, member) = key.split_once('.').map_or((key, None), |(name, rest)| (name, Some(rest)));
    let written = fields.iter().find(|field| field.key == name);
    let mut position = written.and_then(|field| field.key_position);
    let mut path = path(name);
    if let Some(member) = member {
        path = format!("{path}.{member}");
        if let Some(Value::Mapping(entries)) = written.map(|field| &field.node.value) {
            let mut keys = entries.iter().map(|(key, _)| key);
            let key = keys.find(|key| key.as_text() == Some(member));
            position = key.and_then(|key| key.position).or(position);
        }
    }
    Problem::new(position, path, message)
}

/// Whether a word switches off, for all who are asked that.
#[cfg(feature = "clap")]
pub(crate) fn is_no(word: &str) -> bool {
    OFF.iter().any(|off| off.eq_ignore_ascii_case(word))
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

const KEYS: [&str; 29] = [
    "enabled",
    "exporter_url",
    "sampling_rate_per_million",
    "ca_certs",
    "https_keypairs",
    "keypairs",
    "system_roots",
    "server_name",
    "headers",
    "compression",
    "timeout",
    "connect_timeout",
    "queue",
    "retry",
    "concurrency",
    "limits",
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

/// Teleport's words.
const ON: [&str; 6] = ["yes", "yeah", "y", "true", "1", "on"];
const OFF: [&str; 6] = ["no", "nope", "n", "false", "0", "off"];

#[cfg(all(test, feature = "yaml"))]
mod tests;
