//! Who the spans are from: the attributes of the resource.

use std::env::consts;
use std::process;

use opentelemetry::KeyValue;

use super::{SCOPE, VERSION};
use crate::config::{Settings, env};
use crate::context::ids;
use crate::pipeline;

/// What is known here, in its place what the environment says, and in its place what the section
/// says. Each key is there once.
///
/// A variable that cannot be read is a warning, and no reason not to start.
pub(super) fn detect(
    settings: Settings<'_>,
    given_name: &str,
    variables: env::Variables<'_>,
) -> Vec<KeyValue> {
    let from_environment = env::resource_attributes(variables).unwrap_or_else(|wrong| {
        pipeline::warn(format_args!("{wrong}"));
        Vec::new()
    });
    let name = from_environment.iter().find(|attribute| attribute.key.as_str() == SERVICE_NAME);
    let name = name.map(|attribute| attribute.value.as_str());
    let name = env::service_name(settings.service_name(), variables, name.as_deref(), given_name);

    let mut resource = known();
    put_all(&mut resource, from_environment);
    put_all(&mut resource, settings.resource_attributes().iter().cloned());
    put_all(&mut resource, [KeyValue::new(SERVICE_NAME, name)]);
    resource
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
mod tests {
    use std::collections::BTreeMap;

    use opentelemetry::Value;

    use super::*;
    use crate::config::TracingServiceConfig;

    #[test]
    fn what_is_written_closest_to_the_operator_wins_key_by_key() {
        const LIST: &str = "OTEL_RESOURCE_ATTRIBUTES";
        const NAME: &str = "OTEL_SERVICE_NAME";
        let section = |pairs: &[(&'static str, &'static str)]| {
            let attributes = pairs.iter().map(|&(key, value)| KeyValue::new(key, value));
            config().resource_attributes(attributes.collect::<Vec<_>>())
        };
        let rows = [
            (section(&[]), vec![], ("service.name", "code"), "the name given in code"),
            (section(&[]), vec![(LIST, "zone=a")], ("zone", "a"), "the variable adds"),
            (section(&[]), vec![(LIST, "host.name=a")], ("host.name", "a"), "and replaces"),
            (
                section(&[]),
                vec![(LIST, "service.instance.id=a")],
                ("service.instance.id", "a"),
                "also what is made up",
            ),
            (
                section(&[("zone", "b")]),
                vec![(LIST, "zone=a")],
                ("zone", "b"),
                "the section goes before the variable",
            ),
            (
                section(&[("service.instance.id", "b")]),
                vec![(LIST, "service.instance.id=a")],
                ("service.instance.id", "b"),
                "here too",
            ),
            (
                section(&[("host.name", "b")]),
                vec![],
                ("host.name", "b"),
                "and before what is known",
            ),
            (
                section(&[]),
                vec![(LIST, "service.name=list")],
                ("service.name", "list"),
                "a name among the attributes goes before the one in code",
            ),
            (
                section(&[]),
                vec![(LIST, "service.name=list"), (NAME, "env")],
                ("service.name", "env"),
                "a variable of its own before that",
            ),
            (
                section(&[]).service_name("yaml"),
                vec![(LIST, "service.name=list"), (NAME, "env")],
                ("service.name", "yaml"),
                "and the section before all",
            ),
            (
                section(&[]),
                vec![(LIST, "service.name=%20")],
                ("service.name", "code"),
                "a blank name is none",
            ),
            (
                section(&[]),
                vec![(LIST, "service.name=list,zone")],
                ("service.name", "code"),
                "of a list with a mistake nothing is used",
            ),
        ];
        for (config, variables, (key, expected), why) in rows {
            let resource = resource(&config, &variables);
            assert_eq!(resource[key], Value::from(expected), "{why}");
        }
    }

    #[test]
    fn a_list_with_a_mistake_leaves_the_rest_as_it_is() {
        let keys = |list| {
            resource(&config(), &[("OTEL_RESOURCE_ATTRIBUTES", list)])
                .into_keys()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys("zone=a,team"), keys(""));
    }

    #[test]
    fn nothing_is_told_that_was_not_meant_to_be() {
        let resource = resource(&config(), &[]);
        let keys: Vec<_> = resource.keys().map(String::as_str).collect();
        let expected = [
            "host.arch",
            "host.name",
            "process.executable.name",
            "process.pid",
            "service.instance.id",
            "service.name",
            "telemetry.distro.name",
            "telemetry.distro.version",
            "telemetry.sdk.language",
            "telemetry.sdk.name",
            "telemetry.sdk.version",
        ];
        assert_eq!(keys, expected);
        assert_eq!(resource["process.pid"], Value::I64(process::id().into()));
        assert!(!resource["process.executable.name"].as_str().contains(['/', '\\']), "no folder");
        assert_eq!(resource["telemetry.sdk.name"], resource["telemetry.distro.name"]);
    }

    #[test]
    fn each_start_is_another_instance() {
        let [one, other] = [instance_id(), instance_id()];
        assert_ne!(one, other);
        for _ in 0..1000 {
            let id = instance_id();
            let lengths: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
            assert!(id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | '-')), "{id}");
            assert_eq!(&id[14..15], "4", "version: {id}");
            assert!(["8", "9", "a", "b"].contains(&&id[19..20]), "variant: {id}");
        }
    }

    #[test]
    fn architectures_have_the_names_of_the_conventions() {
        let rows = [
            ("x86_64", "amd64"),
            ("aarch64", "arm64"),
            ("arm", "arm32"),
            ("powerpc", "ppc32"),
            ("powerpc64", "ppc64"),
            ("x86", "x86"),
            ("s390x", "s390x"),
            ("riscv64", "riscv64"),
        ];
        for (rust, expected) in rows {
            assert_eq!(host_arch(rust), expected);
        }
    }

    fn config() -> TracingServiceConfig {
        TracingServiceConfig::new("collector".parse().unwrap())
    }

    /// The resource of a program that calls itself `code`; fails when a key is there twice.
    fn resource(
        config: &TracingServiceConfig,
        variables: &[(&str, &str)],
    ) -> BTreeMap<String, Value> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        };
        let settings = config.check().unwrap().unwrap();
        let attributes = detect(settings, "code", &variable);
        let count = attributes.len();
        let resource: BTreeMap<_, _> =
            attributes.into_iter().map(|it| (it.key.to_string(), it.value)).collect();
        assert_eq!(resource.len(), count, "each key once");
        resource
    }
}
