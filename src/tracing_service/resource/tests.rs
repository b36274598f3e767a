use std::collections::BTreeMap;

use opentelemetry::Value;

use super::*;
use crate::config::TracingServiceConfig;
use crate::record::encode_resource;

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
        (section(&[("host.name", "b")]), vec![], ("host.name", "b"), "and before what is known"),
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
        let resource = resource(config, &variables);
        assert_eq!(resource[key], Value::from(expected), "{why}");
    }
}

#[test]
fn a_list_with_a_mistake_leaves_the_rest_as_it_is() {
    let keys = |list| {
        resource(config(), &[("OTEL_RESOURCE_ATTRIBUTES", list)]).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(keys("zone=a,team"), keys(""));
}

#[test]
fn nothing_is_told_that_was_not_meant_to_be() {
    let resource = resource(config(), &[]);
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
fn what_is_added_later_replaces_all_but_the_name_of_the_service() {
    let config = config().resource_attribute(KeyValue::new("zone", "a"));
    let resource = detect(config, &[], "code");
    let before = attributes(&resource);
    type Pairs = &'static [(&'static str, i64)];
    let rows: [(Pairs, Pairs, &str); 5] = [
        (&[], &[], "nothing"),
        (&[("id", 1)], &[("id", 1)], "a new one"),
        (&[("id", 2), ("id", 3)], &[("id", 3)], "the last of a key"),
        (&[("zone", 4), ("host.name", 5)], &[("id", 3), ("zone", 4), ("host.name", 5)], "any"),
        (&[("service.name", 6), ("", 7)], &[("id", 3), ("zone", 4), ("host.name", 5)], "not"),
    ];
    for (added, expected, why) in rows {
        let added = added.iter().map(|&(key, value)| KeyValue::new(key, value));
        resource.add(added.collect());
        let mut all = before.clone();
        all.extend(expected.iter().map(|&(key, value)| (key.to_owned(), Value::I64(value))));
        assert_eq!(attributes(&resource), all, "{why}");
    }
}

#[test]
fn what_does_not_fit_is_left_out_and_never_the_name() {
    const KIB: usize = 1 << 10;
    let long = |key: &'static str, kib: usize| KeyValue::new(key, "x".repeat(kib * KIB));
    // Name, section, later; keys of those that are left.
    type Row<'a> = (&'a str, Vec<KeyValue>, Vec<KeyValue>, &'a [&'a str], &'a str);
    let name = "x".repeat(40 * KIB);
    let rows: [Row<'_>; 6] = [
        ("code", vec![long("a", 30)], vec![], &["a"], "room enough"),
        ("code", vec![long("a", 32)], vec![], &[], "not for that"),
        ("code", vec![long("a", 20)], vec![long("b", 20), long("c", 1)], &["a", "c"], "the later"),
        ("code", vec![long("a", 30)], vec![long("a", 31)], &["a"], "in place of an earlier one"),
        ("code", vec![long("a", 30)], vec![long("a", 33)], &[], "which is not true any more"),
        (&name, vec![long("a", 1)], vec![long("b", 1)], &[], "the name stays"),
    ];
    for (name, section, later, expected, why) in rows {
        let config = config().resource_attributes(section);
        let resource = detect(config, &[], name);
        resource.add(later);
        let attributes = attributes(&resource);
        let found: Vec<_> = attributes.keys().filter(|key| key.len() == 1).collect();
        assert_eq!(found, expected, "{why}");
        assert_eq!(attributes["service.name"].as_str(), name, "{why}");
        let len = resource.shared().get().len();
        assert!(len < 33 * KIB || name.len() > 32 * KIB, "{why}: {len}");
    }
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

/// The resource of a program that calls itself `code`.
fn resource(config: TracingServiceConfig, variables: &[(&str, &str)]) -> BTreeMap<String, Value> {
    attributes(&detect(config, variables, "code"))
}

fn detect(config: TracingServiceConfig, variables: &[(&str, &str)], name: &str) -> Resource {
    let variable = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    };
    let effective = config.with_environment(&variable, name);
    Resource::detect(effective.config.check().unwrap().unwrap())
}

/// What is kept, which is what is sent.
fn attributes(resource: &Resource) -> BTreeMap<String, Value> {
    let attributes = resource.attributes.lock().unwrap();
    assert_eq!(resource.shared().get(), encode_resource(&attributes, ""));
    let pairs = attributes.iter().map(|it| (it.key.to_string(), it.value.clone()));
    let map: BTreeMap<_, _> = pairs.collect();
    assert_eq!(map.len(), attributes.len(), "each key once");
    map
}
