//! How the exporter connects, and what its requests carry.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::field::{Field, MUST_NOT_BE_EMPTY, Problems, fields};
use super::quantity::TIMEOUT;
use super::queue::above;
use super::switch_of;
use crate::config::error::Problem;
use crate::config::exporter::{Exporter, Header, HeaderSource, Secret, Spelling};
use crate::config::exporter_url::is_host;
use crate::config::node::{Node, Value};
use crate::sink::{self, Compression, KeyPair, header_value};

/// Reads those of the section's keys that are in [`KEYS`].
pub(super) fn read(fields: &[Field<'_>], problems: &mut Problems) -> Exporter {
    let mut exporter = Exporter::default();
    let mut keypairs_key = None;
    for field in fields.iter().filter(|field| !matches!(field.node.value, Value::Null)) {
        match field.key {
            "ca_certs" => exporter.ca_certs = ca_certs(field, problems),
            "https_keypairs" | "keypairs" => match keypairs_key.replace(field.key) {
                None => {
                    exporter.keypairs = keypairs(field, problems);
                    if field.key == "keypairs" {
                        exporter.keypairs_key = Spelling("keypairs");
                    }
                }
                Some(other) => problems.push(field.at_key(format!(
                    "`{other}` is another spelling of the same key: keep one of them"
                ))),
            },
            "system_roots" => exporter.system_roots = problems.keep(switch_of(field)),
            "server_name" => exporter.server_name = problems.keep(server_name_of(field)),
            "headers" => exporter.headers = headers(field, problems),
            "compression" => {
                exporter.compression = problems.keep(field.word(&Compression::WORDS));
            }
            "timeout" => exporter.timeout = problems.keep(TIMEOUT.read(field)),
            "connect_timeout" => exporter.connect_timeout = problems.keep(TIMEOUT.read(field)),
            _ => {}
        }
    }
    exporter
}

/// What is wrong with what code has set, each with its path in the section.
pub(in crate::config) fn contradictions(exporter: &Exporter) -> Vec<(String, String)> {
    let Exporter { timeout, connect_timeout, .. } = exporter;
    let wrong_header = |header: &Header| {
        let name = match header_name(&header.name) {
            Ok(name) => name,
            Err(wrong) => return Some(("headers".to_owned(), wrong)),
        };
        let wrong = match &header.value {
            HeaderSource::Text(Secret(text)) => header_value(text).err(),
            HeaderSource::File(file) if file.as_os_str().is_empty() => Some(MUST_NOT_BE_EMPTY),
            HeaderSource::File(file) => path_of_file(&file.to_string_lossy()).err(),
            HeaderSource::Variable(name) => variable_name(name).err(),
        };
        wrong.map(|wrong| (format!("headers.{name}"), wrong.to_owned()))
    };
    let server_name = exporter.server_name.as_ref().filter(|name| !is_host(name));
    let checks = [
        ("server_name", server_name.map(|_| SERVER_NAME.to_owned())),
        ("timeout", timeout.and_then(|it| TIMEOUT.wrong(it))),
        (
            "connect_timeout",
            connect_timeout.and_then(|it| TIMEOUT.wrong(it)).or_else(|| {
                above::<Duration>("timeout", *connect_timeout, timeout.unwrap_or(sink::TIMEOUT))
            }),
        ),
    ];
    let found = checks.into_iter();
    let found = found.filter_map(|(key, wrong)| wrong.map(|wrong| (key.to_owned(), wrong)));
    exporter.headers.iter().filter_map(wrong_header).chain(found).collect()
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

fn server_name_of(field: &Field<'_>) -> Result<String, Problem> {
    let name = field.text()?;
    if is_host(name) { Ok(name.to_owned()) } else { Err(field.must_be(A_HOST)) }
}

/// Nothing that stands in the mapping is repeated by a message, but for names of headers that are
/// right: an indentation that slipped, or a forgotten quote, makes a name of what was a secret.
fn headers(field: &Field<'_>, problems: &mut Problems) -> Vec<Header> {
    let Value::Mapping(entries) = &field.node.value else {
        problems.push(field.problem("must be a mapping of names to values"));
        return Vec::new();
    };
    let mut headers: Vec<Header> = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let name = key.as_text().map_or_else(|| Err(NOT_A_NAME.to_owned()), header_name);
        let name = match name {
            Ok(name) => name,
            Err(wrong) => {
                problems.push(Problem::new(key.position, field.path.clone(), wrong));
                continue;
            }
        };
        let path = format!("{}.{name}", field.path);
        if headers.iter().any(|earlier| name == earlier.name.as_str()) {
            problems.push(Problem::new(key.position, path, "the header is given twice"));
            continue;
        }
        let position = if matches!(node.value, Value::Null) { key.position } else { node.position };
        let header = Field { key: "", key_position: key.position, path, position, node };
        if let Some(value) = problems.keep(header_source(&header)) {
            headers.push(Header { name: name.as_str().to_owned(), value });
        }
    }
    headers
}

fn header_source(field: &Field<'_>) -> Result<HeaderSource, Problem> {
    match &field.node.value {
        Value::Text(text) => match header_value(text) {
            Ok(_) => Ok(HeaderSource::Text(Secret(text.clone()))),
            Err(wrong) => Err(field.problem(wrong)),
        },
        Value::Mapping(entries) => match &entries[..] {
            [(key, node)] => elsewhere(field, key, node),
            _ => Err(field.problem(A_SOURCE)),
        },
        Value::Null => Err(field.problem(MUST_NOT_BE_EMPTY)),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            Err(field.problem("must be text: put it in quotes"))
        }
        Value::List(_) => Err(field.problem(A_SOURCE)),
    }
}

fn elsewhere(field: &Field<'_>, key: &Node, node: &Node) -> Result<HeaderSource, Problem> {
    let at = |message| Problem::new(node.position.or(field.position), field.path.clone(), message);
    let source: fn(&str) -> Result<HeaderSource, &'static str> = match key.as_text() {
        Some("file") => |file| path_of_file(file).map(|()| HeaderSource::File(file.into())),
        Some("env") => |name| variable_name(name).map(|()| HeaderSource::Variable(name.to_owned())),
        _ => return Err(field.problem(A_SOURCE)),
    };
    match node.as_text() {
        Some(text) if !text.trim().is_empty() => source(text).map_err(at),
        _ => Err(at(A_SOURCE)),
    }
}

pub(in crate::config) fn header_name(name: &str) -> Result<HeaderName, String> {
    let name: HeaderName = name.parse().map_err(|_| NOT_A_NAME.to_owned())?;
    let text = name.as_str();
    if text.ends_with("-bin") {
        return Err(format!("{name} is binary metadata of gRPC, which cannot be set: remove it"));
    }
    if text.starts_with("grpc-") || OF_THE_PROTOCOL.contains(&text) {
        return Err(format!("{name} is set by the exporter itself: remove it"));
    }
    Ok(name)
}

/// Lets through what names are made of, and not what looks like the secret itself: others would
/// be told of it.
fn variable_name(name: &str) -> Result<(), &'static str> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("must be the name of an environment variable");
    }
    Ok(())
}

/// As [`variable_name`]: what has a blank before the first slash is more like `Bearer …`.
fn path_of_file(path: &str) -> Result<(), &'static str> {
    let first = path.split(std::path::is_separator).next().unwrap_or(path);
    if first.contains(char::is_whitespace) {
        return Err("must be the path of a file (one that begins with a name with a blank in it \
                    is written ./…)");
    }
    Ok(())
}

pub(super) const KEYS: [&str; 9] = [
    "ca_certs",
    "https_keypairs",
    "keypairs",
    "system_roots",
    "server_name",
    "headers",
    "compression",
    "timeout",
    "connect_timeout",
];

const KEYPAIR_KEYS: [&str; 2] = ["key_file", "cert_file"];

/// Headers that belong to HTTP, to gRPC, or to how bodies are sent. Answers are read as they are,
/// so none may be asked for in another encoding.
const OF_THE_PROTOCOL: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const NOT_A_NAME: &str = "a name is not that of a header, such as authorization or x-api-key";
const A_SOURCE: &str = "must be text, `{file: path}` or `{env: NAME}`";
const A_HOST: &str = "a host name or an IP address";
const SERVER_NAME: &str = "must be a host name or an IP address";
