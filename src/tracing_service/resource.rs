//! Who the spans are from: the attributes of the resource.

use std::env::consts;
use std::process;
use std::sync::{Mutex, PoisonError};

use opentelemetry::KeyValue;

use super::TracingService;
use crate::config::{Settings, env};
use crate::context::ids;
use crate::pipeline::{self, SharedResource};
use crate::trace::{SCOPE, VERSION};

impl TracingService {
    /// Adds attributes to the resource: who the spans are from, as the program has come to know.
    ///
    /// They are told with every span that is not on its way yet, whether of a layer or of
    /// `tracer_provider`, and from when this returns also with every span that ends. Spans of
    /// another provider keep that provider's resource. A service that
    /// [waits for them](crate::TracingServiceConfig::wait_for_resource_attributes) starts to export
    /// now, even if there are none.
    ///
    /// May be called at any time and again: an attribute replaces the earlier one of its name,
    /// wherever that came from. Not so `service.name`, which is settled at start, because backends
    /// would take the spans for those of two services; it is left out, with a warning, and so is
    /// an empty name. With tracing disabled nothing happens.
    ///
    /// All attributes together may take 32 KiB, because every request begins with them. Of those
    /// that come last, what does not fit is left out, with a warning.
    ///
    /// # Example: an id that the process is given when it has joined its cluster
    ///
    /// ```no_run
    /// # async fn join_cluster() -> String { String::new() }
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tower_otlp::TracingServiceConfig;
    /// use tower_otlp::opentelemetry::KeyValue;
    ///
    /// let tracing = TracingServiceConfig::new("grpc://collector:4317".parse()?)
    ///     .sampling_rate_per_million(10_000)
    ///     .wait_for_resource_attributes(Duration::from_secs(60))
    ///     .start("node")?;
    /// let host_id = join_cluster().await;
    /// tracing.set_resource_attributes([KeyValue::new("host.id", host_id)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Example: joining a cluster while requests are served
    ///
    /// Only who owns the service can shut it down, so what runs beside `main` borrows it. A task
    /// that is spawned has an `Arc` instead, and `Arc::into_inner` gives the service back once that
    /// task has ended.
    ///
    /// ```no_run
    /// # async fn join_cluster() -> String { String::new() }
    /// # async fn serve() {}
    /// # async fn run(tracing: tower_otlp::TracingService) {
    /// # use std::time::Duration;
    /// # use tower_otlp::opentelemetry::KeyValue;
    /// let join = async {
    ///     let host_id = join_cluster().await;
    ///     tracing.set_resource_attributes([KeyValue::new("host.id", host_id)]);
    /// };
    /// tokio::join!(join, serve());
    /// tracing.shutdown(Duration::from_secs(5)).await;
    /// # }
    /// ```
    pub fn set_resource_attributes(&self, attributes: impl IntoIterator<Item = KeyValue>) {
        if let Some(pipeline) = &self.pipeline {
            self.resource.add(attributes.into_iter().collect());
            pipeline.release();
        }
    }
}

/// The resource of a tracing service, shared by all who export in its name.
#[derive(Debug, Default)]
pub(super) struct Resource {
    /// Each key once.
    attributes: Mutex<Vec<KeyValue>>,
    encoded: SharedResource,
}

impl Resource {
    /// What is known here, and in its place what is configured.
    pub(super) fn detect(settings: Settings<'_>) -> Self {
        let name = settings.service_name().unwrap_or_default().to_owned();
        let mut attributes = known();
        put_all(&mut attributes, settings.resource_attributes().iter().cloned());
        put_all(&mut attributes, [KeyValue::new(SERVICE_NAME, name)]);
        let encoded = SharedResource::of(&mut attributes, "");
        Self { attributes: Mutex::new(attributes), encoded }
    }

    /// Adds attributes from the next batch on. They are sent as one resource with the others, and
    /// not as one more after it: receivers differ in what they make of two.
    pub(super) fn add(&self, attributes: Vec<KeyValue>) {
        let (refused, attributes): (Vec<_>, Vec<_>) = attributes
            .into_iter()
            .partition(|attribute| matches!(attribute.key.as_str(), SERVICE_NAME | ""));
        for KeyValue { key, .. } in refused {
            pipeline::warn(format_args!(
                "set_resource_attributes cannot set {:?}, and leaves it as it is",
                key.as_str(),
            ));
        }
        let mut all = self.attributes.lock().unwrap_or_else(PoisonError::into_inner);
        put_all(&mut all, attributes);
        // Still locked, so that of two calls at once the later one is the one that is sent.
        self.encoded.set_to(&mut all, "");
    }

    pub(super) fn shared(&self) -> SharedResource {
        self.encoded.clone()
    }
}

/// Adds attributes, each in place of an earlier one of its key.
fn put_all(resource: &mut Vec<KeyValue>, attributes: impl IntoIterator<Item = KeyValue>) {
    for attribute in attributes {
        resource.retain(|earlier| earlier.key != attribute.key);
        resource.push(attribute);
    }
}

/// What the process can tell of itself, but for what is nobody's business: arguments and owner,
/// which may be or lead to secrets, and the id of the machine, which its owner is to keep
/// confidential (`man machine-id`).
///
/// The time at which the process was created is left out, too: what Linux tells of it counts from
/// the start of the machine, of which containers can be told something else.
fn known() -> Vec<KeyValue> {
    let mut known = vec![
        KeyValue::new("service.instance.id", instance_id()),
        // `opentelemetry` is reserved for the SDK of that name.
        KeyValue::new("telemetry.sdk.name", SCOPE),
        KeyValue::new("telemetry.sdk.language", "rust"),
        KeyValue::new("telemetry.sdk.version", VERSION),
        KeyValue::new("telemetry.distro.name", SCOPE),
        KeyValue::new("telemetry.distro.version", VERSION),
        KeyValue::new("process.pid", i64::from(process::id())),
        KeyValue::new("host.arch", host_arch(consts::ARCH)),
    ];
    let host_name = hostname::get().ok().and_then(|name| name.into_string().ok());
    let may_be_unknown =
        [("process.executable.name", env::executable_name()), ("host.name", host_name)];
    for (key, value) in may_be_unknown {
        known.extend(value.filter(|value| !value.is_empty()).map(|it| KeyValue::new(key, it)));
    }
    known
}

/// A random UUID (version 4): this start of the service, and no other.
fn instance_id() -> String {
    let mut bytes = ids::new_trace_id().to_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Rust's name of an architecture in the words of the semantic conventions, which have none for
/// most.
fn host_arch(arch: &'static str) -> &'static str {
    match arch {
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc" => "ppc32",
        "powerpc64" => "ppc64",
        "x86_64" => "amd64",
        other => other,
    }
}

const SERVICE_NAME: &str = "service.name";

#[cfg(test)]
mod tests;
