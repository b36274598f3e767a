use std::collections::HashMap;

use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, MapDeserializer};

use super::*;
use crate::sampling::SamplingRate;

fn url(text: &str) -> ExporterUrl {
    text.parse().unwrap()
}

#[test]
fn settings_written_in_code_arrive() {
    let config = TracingServiceConfig::new(url("https://collector"))
        .sampling_rate_per_million(1_000_000)
        .service_name("checkout")
        .resource_attribute(KeyValue::new("team", "a"))
        .resource_attributes([KeyValue::new("zone", 7), KeyValue::new("team", "b")])
        .response_header(ResponseHeader::TraceResponse)
        .ca_certs(["/ca.pem"])
        .ca_certs(["/other.pem"])
        .keypair("/key.pem", "/cert.pem");
    let settings = config.check().unwrap().unwrap();
    assert_eq!(settings.exporter_url(), &url("https://collector:4318/v1/traces"));
    assert_eq!(settings.sampling_rate().per_million(), 1_000_000);
    assert!(!settings.rate_is_missing());
    assert_eq!(settings.service_name(), Some("checkout"));
    assert_eq!(
        settings.resource_attributes(),
        [KeyValue::new("zone", 7), KeyValue::new("team", "b")],
        "the later one of a name stands"
    );
    assert_eq!(settings.response_header(), ResponseHeader::TraceResponse);
    assert_eq!(settings.ca_certs(), ["/ca.pem", "/other.pem"].map(PathBuf::from));
    assert_eq!(
        settings.keypairs(),
        [KeyPair { key_file: "/key.pem".into(), cert_file: "/cert.pem".into() }]
    );
}

#[test]
fn defaults_are_teleports() {
    assert_eq!(TracingServiceConfig::default(), TracingServiceConfig::disabled());
    assert!(TracingServiceConfig::default().check().unwrap().is_none());

    let config = TracingServiceConfig::new(url("collector"));
    let settings = config.check().unwrap().unwrap();
    assert_eq!(settings.sampling_rate(), SamplingRate::NEVER);
    assert!(settings.rate_is_missing());
    assert_eq!(settings.service_name(), None);
    assert_eq!(settings.response_header(), ResponseHeader::ServerTiming);
}

#[test]
fn a_rate_of_zero_is_not_a_missing_rate() {
    let config = TracingServiceConfig::new(url("collector")).sampling_rate_per_million(0);
    assert!(!config.check().unwrap().unwrap().rate_is_missing());
}

#[test]
fn tls_follows_the_scheme_and_for_grpc_the_certificates() {
    let cases = [
        ("grpc://h", false, false, "plaintext"),
        ("grpc://h", true, true, "certificates add TLS, as in Teleport"),
        ("grpcs://h", false, true, "system roots"),
        ("grpcs://h", true, true, "own roots"),
        ("http://h", false, false, "never"),
        ("https://h", false, true, "system roots: Teleport would send plaintext"),
        ("https://h", true, true, "own roots"),
        ("file:///d", false, false, "no connection"),
    ];
    for (text, with_certificates, expected, reason) in cases {
        let certificates: &[&str] = if with_certificates { &["/ca.pem"] } else { &[] };
        let config = TracingServiceConfig::new(url(text)).ca_certs(certificates);
        let settings = config.check().unwrap().unwrap();
        assert_eq!(settings.uses_tls(), expected, "{text}: {reason}");
    }
}

#[test]
fn contradictions_in_code_read_as_in_documents() {
    let no_url = TracingServiceConfig::disabled().enabled(true);
    let http = TracingServiceConfig::new(url("http://h")).ca_certs(["/ca.pem"]).keypair("/k", "/c");
    let file = TracingServiceConfig::new(url("file:///d")).keypair("/k", "/c");
    let names = TracingServiceConfig::new(url("h"))
        .sampling_rate_per_million(1_000_001)
        .service_name(" ")
        .resource_attribute(KeyValue::new("", 1))
        .resource_attribute(KeyValue::new("service.name", "x"));
    let cases = [
        (
            no_url,
            "tracing_service.exporter_url: missing, although tracing is enabled: \
             write for example grpc://collector:4317",
        ),
        (
            http,
            "tracing_service.ca_certs: certificates have no use with an http URL, \
             which is never TLS: write https, or remove them\n\
             tracing_service.keypairs: certificates have no use with an http URL, \
             which is never TLS: write https, or remove them",
        ),
        (
            file,
            "tracing_service.keypairs: certificates have no use with a file URL, \
             which makes no connection: remove them",
        ),
        (
            names,
            "tracing_service.sampling_rate_per_million: \
             must be a whole number from 0 to 1000000, not 1000001\n\
             tracing_service.service_name: must not be empty\n\
             tracing_service.resource_attributes: the name of an attribute must not be empty\n\
             tracing_service.resource_attributes: \
             the key `service_name` of the section sets this attribute",
        ),
    ];
    for (config, message) in cases {
        assert_eq!(config.clone().check().unwrap_err().to_string(), message);
        let off = config.enabled(false);
        assert!(off.check().unwrap().is_none(), "off skips all checks");
    }
}

#[test]
fn every_format_of_serde_can_hold_the_section() {
    let expected = TracingServiceConfig::new(url("collector"))
        .sampling_rate_per_million(10)
        .ca_certs(["/ca.pem"])
        .keypair("/k", "/c")
        .resource_attributes([KeyValue::new("a", 1.5), KeyValue::new("b", true)]);
    let text = r#"{
        "enabled": true, "exporter_url": "collector", "sampling_rate_per_million": 10,
        "ca_certs": ["/ca.pem"], "https_keypairs": [{"key_file": "/k", "cert_file": "/c"}],
        "resource_attributes": {"a": 1.5, "b": true}, "service_name": null
    }"#;
    let parsed: TracingServiceConfig = serde_json::from_str(text).unwrap();
    assert_eq!(parsed, expected, "a streaming deserializer");
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::from_value::<TracingServiceConfig>(value).unwrap(), expected, "a tree");

    // As configuration readers over variables do it: plain values, never a newtype struct.
    let variables = HashMap::from([
        ("enabled", "on"),
        ("exporter_url", "collector"),
        ("sampling_rate_per_million", "10"),
    ]);
    let variables: MapDeserializer<'_, _, ValueError> = MapDeserializer::new(variables.into_iter());
    let parsed = TracingServiceConfig::deserialize(variables).unwrap();
    let expected = TracingServiceConfig::new(url("collector")).sampling_rate_per_million(10);
    assert_eq!(parsed, expected, "a map of texts");

    let nothing: serde::de::value::UnitDeserializer<ValueError> = ().into_deserializer();
    assert_eq!(
        TracingServiceConfig::deserialize(nothing).unwrap(),
        TracingServiceConfig::disabled(),
        "no value"
    );
}

#[test]
fn a_section_inside_another_type_reports_all_problems_on_one_line() {
    #[derive(Debug, serde::Deserialize)]
    struct Service {
        #[serde(default)]
        tracing_service: TracingServiceConfig,
    }
    let parse =
        |text: &str| serde_json::from_str::<Service>(text).map(|service| service.tracing_service);
    assert_eq!(parse("{}").unwrap(), TracingServiceConfig::disabled());
    assert_eq!(parse(r#"{"tracing_service": null}"#).unwrap(), TracingServiceConfig::disabled());

    let error =
        parse(r#"{"tracing_service": {"enabled": 1, "exporter_url": 1, "url": 1, "url": 2}}"#);
    let error = error.unwrap_err().to_string();
    let message = "tracing_service.url: the key is given twice; \
                   tracing_service.exporter_url: must be text, not 1: put it in quotes; \
                   tracing_service.url: unknown key, known are enabled, exporter_url, \
                   sampling_rate_per_million, ca_certs, https_keypairs, keypairs, service_name, \
                   resource_attributes, response_header";
    assert!(error.starts_with(message), "{error}");
}
