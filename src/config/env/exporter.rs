//! Where spans go, and how: `OTEL_EXPORTER_OTLP_*`.

use std::path::PathBuf;

use super::resource::decode;
use super::switches::flag;
use super::{Environment, Found, FoundPair, Reader, milliseconds, word};
use crate::config::exporter::{Header, HeaderSource, Secret};
use crate::config::exporter_url::Endpoint;
use crate::config::section::exporter::header_name;
use crate::config::section::quantity;
use crate::config::{ExporterUrl, Target};
use crate::sink::{Compression, header_value};

/// What is spoken at the endpoint. Its URL does not tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    /// Whether a URL of the section means the same. Files are spoken to in neither.
    pub(in crate::config) fn is_of(self, target: &Target) -> bool {
        match target {
            Target::Grpc { .. } | Target::GrpcUnix { .. } => self == Self::Grpc,
            Target::Http { .. } | Target::HttpUnix { .. } => self == Self::Http,
            Target::File { .. } => false,
        }
    }

    /// Where collectors of the same host listen, by the specification.
    pub(in crate::config) fn default_url(self) -> ExporterUrl {
        let url = match self {
            Self::Grpc => "grpc://localhost:4317",
            Self::Http => "http://localhost:4318/v1/traces",
        };
        url.parse().expect("an exporter URL")
    }
}

pub(super) fn read(reader: &mut Reader<'_>, environment: &mut Environment) {
    environment.protocol = protocol(reader);
    endpoint(reader, environment);
    environment.headers = reader.first(HEADERS, headers);
    environment.compression = reader.first(COMPRESSION, |text| word(text, &Compression::WORDS));
    environment.timeout = reader.first(TIMEOUT, |text| milliseconds(text, &quantity::TIMEOUT));
    environment.ca_cert = reader.first(CERTIFICATE, path);
    environment.keypair = keypair(reader);
}

fn protocol(reader: &mut Reader<'_>) -> Option<Found<Protocol>> {
    let words = [
        ("grpc", Some(Protocol::Grpc)),
        ("http/protobuf", Some(Protocol::Http)),
        ("http/json", None),
    ];
    let found = reader.first(PROTOCOL, |text| word(text, &words))?;
    if found.value.is_none() {
        reader.taken_as(found.variable, "http/protobuf", "spans are sent as protobuf only");
    }
    Some(found.map(|protocol| protocol.unwrap_or(Protocol::Http)))
}

/// The first that is set, whether it can be used or not: spans that were meant for one host must
/// not go to another because of a slip.
fn endpoint(reader: &mut Reader<'_>, environment: &mut Environment) {
    let [for_traces, general] = INSECURE;
    // Asked one by one, because a value that is none counts as `false` and not as unset.
    let insecure = if reader.text(for_traces).is_some() { for_traces } else { general };
    let is_written = matches!(reader.written(insecure), Some(Ok(_)));
    let is_insecure = flag(reader, insecure);
    let forms = match environment.protocol.as_ref().map_or(Protocol::Http, |found| found.value) {
        Protocol::Grpc => [Endpoint::Grpc { insecure: is_insecure }; 2],
        Protocol::Http => [Endpoint::Http, Endpoint::HttpBase],
    };
    environment.endpoint = ENDPOINT.into_iter().zip(forms).find_map(|(variable, form)| {
        let value = match reader.written(variable)? {
            Ok(text) => form.parse(text.trim()).map_err(|wrong| wrong.to_string()),
            Err(wrong) => Err(wrong.to_owned()),
        };
        Some(Found { value, variable })
    });
    match &environment.endpoint {
        Some(Found { value: Ok(url), variable }) if is_insecure && url.target().is_tls() => {
            reader.ignore(insecure, format_args!("the scheme in {variable} says otherwise"));
        }
        Some(_) => {}
        None => environment.idle_insecure = is_written.then_some(insecure),
    }
}

/// One bad item spoils the whole variable: without one of its headers a request may still arrive,
/// at another tenant. Values are not quoted, because they are secrets.
fn headers(text: &str) -> Result<Vec<Header>, String> {
    let mut headers = Vec::<Header>::new();
    for (i, item) in text.split(',').enumerate() {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        let header = header(item).map_err(|wrong| format!("item {} {wrong}", i + 1))?;
        headers.retain(|earlier| earlier.name != header.name);
        headers.push(header);
    }
    if headers.is_empty() { Err("it holds no header".to_owned()) } else { Ok(headers) }
}

fn header(item: &str) -> Result<Header, String> {
    let (name, value) = item
        .split_once('=')
        .ok_or("is not name=value (a comma in a value must be written as %2C)")?;
    let name = header_name(name.trim_end()).map_err(|wrong| format!("cannot be used: {wrong}"))?;
    let wrong = |wrong| format!("({name}) {wrong}");
    let value = decode(value.trim_start()).map_err(wrong)?;
    header_value(&value).map_err(wrong)?;
    Ok(Header { name: name.as_str().to_owned(), value: HeaderSource::Text(Secret(value)) })
}

fn keypair(reader: &mut Reader<'_>) -> Option<FoundPair> {
    let cert = reader.first(CLIENT_CERTIFICATE, path);
    let key = reader.first(CLIENT_KEY, path);
    let reason = |other| format!("it is of no use without {other}");
    match (cert, key) {
        (Some(cert_file), Some(key_file)) => Some(FoundPair { cert_file, key_file }),
        (Some(cert), None) => {
            reader.ignore(cert.variable, reason(CLIENT_KEY[1]));
            None
        }
        (None, Some(key)) => {
            reader.ignore(key.variable, reason(CLIENT_CERTIFICATE[1]));
            None
        }
        (None, None) => None,
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    Ok(text.into())
}

/// The one for traces, then the general one, of each subject.
pub(in crate::config) const ENDPOINT: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// Of the connection to a collector, and what is told there: all but the timeout.
#[cfg(feature = "tonic")]
pub(in crate::config) const CONNECTION: [[&str; 2]; 8] = [
    ENDPOINT,
    PROTOCOL,
    INSECURE,
    HEADERS,
    COMPRESSION,
    CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const INSECURE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const COMPRESSION: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const CERTIFICATE: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const CLIENT_CERTIFICATE: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
const CLIENT_KEY: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
