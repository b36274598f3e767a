//! What the environment says: the variables of OpenTelemetry's specification, and what is made of
//! each.
//!
//! An empty variable is an unset one. A value that cannot be used, or not to the letter, is no
//! error but a [`Remark`], because the specification wants it ignored, with a warning.

mod exporter;
mod limits;
mod pipeline;
mod resource;
mod sampler;
mod switches;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::KeyValue;

#[cfg(feature = "tonic")]
pub(super) use self::exporter::CONNECTION;
pub(super) use self::exporter::{ENDPOINT, Protocol};
pub(super) use self::limits::Limits;
pub(crate) use self::resource::executable_name;
pub(super) use self::resource::unknown_service;
use super::ExporterUrl;
use super::error::quote;
use super::exporter::Header;
use super::section::quantity::{Bounds, Quantity};
use crate::sink::Compression;

/// Reads a variable of the environment. An argument wherever it is needed, so that tests need not
/// change the environment of the process.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
pub(crate) fn process(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// What the variables say. What none of them says, or none that can be used, is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Environment {
    /// The variables that switch tracing off.
    pub(super) off: Vec<&'static str>,
    pub(super) protocol: Option<Found<Protocol>>,
    /// What cannot be used is no reason to send spans, and the headers with them, elsewhere.
    pub(super) endpoint: Option<Found<Result<ExporterUrl, String>>>,
    /// The variable that says whether an endpoint without a scheme is plaintext, if there is no
    /// endpoint for it.
    pub(super) idle_insecure: Option<&'static str>,
    /// Each name once, and not empty.
    pub(super) headers: Option<Found<Vec<Header>>>,
    pub(super) compression: Option<Found<Compression>>,
    pub(super) timeout: Option<Found<Duration>>,
    pub(super) ca_cert: Option<Found<PathBuf>>,
    pub(super) keypair: Option<FoundPair>,
    /// Of a million.
    pub(super) rate: Option<Found<u32>>,
    pub(super) limits: Limits,
    pub(super) max_delay: Option<Found<Duration>>,
    pub(super) max_batch_spans: Option<Found<u64>>,
    /// Not blank.
    pub(super) service_name: Option<Found<String>>,
    /// Each key once.
    pub(super) resource_attributes: Option<Found<Vec<KeyValue>>>,
    pub(super) remarks: Vec<Remark>,
}

/// A value, and the variable that holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) variable: &'static str,
}

/// The files of a client certificate, which two variables name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct FoundPair {
    pub(super) cert_file: Found<PathBuf>,
    pub(super) key_file: Found<PathBuf>,
}

/// Why a variable does not have the effect that it has elsewhere: one sentence that begins with
/// its name, and shows no secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Remark {
    variable: &'static str,
    says: String,
}

/// Reads all variables.
pub(super) fn read(variables: Variables<'_>) -> Environment {
    let mut reader = Reader { variables, remarks: Vec::new() };
    let off = switches::off(&mut reader);
    let mut environment = Environment { off, ..Environment::default() };
    exporter::read(&mut reader, &mut environment);
    environment.rate = sampler::rate(&mut reader);
    environment.limits = limits::read(&mut reader);
    pipeline::read(&mut reader, &mut environment);
    environment.service_name = resource::service_name(&mut reader);
    environment.resource_attributes = resource::attributes(&mut reader);
    switches::propagators(&mut reader);
    for (variable, reason) in NEVER {
        if reader.text(variable).is_some() {
            reader.ignore(variable, reason);
        }
    }
    Environment { remarks: reader.remarks, ..environment }
}

impl<T> Found<T> {
    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Found<U> {
        Found { value: map(self.value), variable: self.variable }
    }
}

impl Remark {
    pub(super) fn ignored(variable: &'static str, reason: impl fmt::Display) -> Self {
        Self { variable, says: format!("is ignored: {reason}") }
    }

    pub(super) fn says(variable: &'static str, says: String) -> Self {
        Self { variable, says }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.says)
    }
}

/// Reads variables, and keeps what is to be said of them.
struct Reader<'a> {
    variables: Variables<'a>,
    remarks: Vec<Remark>,
}

impl Reader<'_> {
    /// What a variable says; a blank one says nothing.
    fn text(&mut self, variable: &'static str) -> Option<String> {
        match self.written(variable)? {
            Ok(text) => Some(text),
            Err(reason) => {
                self.ignore(variable, reason);
                None
            }
        }
    }

    /// The same, with what is wrong with it.
    fn written(&self, variable: &'static str) -> Option<Result<String, &'static str>> {
        match (self.variables)(variable)?.into_string() {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(Ok(text)),
            Err(_) => Some(Err("it is not Unicode")),
        }
    }

    fn one<T>(
        &mut self,
        variable: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Found<T>> {
        match parse(&self.text(variable)?) {
            Ok(value) => Some(Found { value, variable }),
            Err(reason) => {
                self.ignore(variable, reason);
                None
            }
        }
    }

    /// The first that can be used: the one for traces goes before the general one.
    fn first<T>(
        &mut self,
        variables: [&'static str; 2],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Found<T>> {
        variables.into_iter().find_map(|variable| self.one(variable, &parse))
    }

    fn ignore(&mut self, variable: &'static str, reason: impl fmt::Display) {
        self.remarks.push(Remark::ignored(variable, reason));
    }

    /// Says that a variable counts as if another value stood there.
    fn taken_as(&mut self, variable: &'static str, value: &str, reason: impl fmt::Display) {
        self.remarks.push(Remark { variable, says: format!("is taken as {value}: {reason}") });
    }
}

/// One of several words, in any case.
fn word<T: Copy, const N: usize>(text: &str, words: &[(&str, T); N]) -> Result<T, String> {
    let written = text.trim();
    match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(written)) {
        Some(&(_, meant)) => Ok(meant),
        None => {
            let words = words.each_ref().map(|(word, _)| *word).join(", ");
            Err(format!("must be one of {words}, not {}", quote(written)))
        }
    }
}

/// Digits and nothing else.
fn whole_number(text: &str) -> Result<u64, String> {
    let digits = text.trim();
    let number =
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None };
    number.ok_or_else(|| format!("must be a whole number, not {}", quote(digits)))
}

/// What the same key of the section takes.
fn within<T: Quantity>(bounds: &Bounds<T>, value: T) -> Result<T, String> {
    bounds.wrong(value).map_or(Ok(value), Err)
}

/// Time, in the milliseconds of the specification.
fn milliseconds(text: &str, bounds: &Bounds<Duration>) -> Result<Duration, String> {
    within(bounds, Duration::from_millis(whole_number(text)?))
}

/// What nothing here can obey.
const NEVER: [(&str, &str); 3] = [
    (
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "it counts spans, and those that wait are limited by their bytes: set `max_bytes` of \
         `queue`",
    ),
    (
        "OTEL_BSP_EXPORT_TIMEOUT",
        "an attempt has OTEL_EXPORTER_OTLP_TIMEOUT, and for all of them there is `give_up_after` \
         of `retry`",
    ),
    ("OTEL_CONFIG_FILE", "files of OpenTelemetry's declarative configuration are not read"),
];

#[cfg(test)]
mod tests;
