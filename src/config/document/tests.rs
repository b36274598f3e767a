use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderName;
use opentelemetry::KeyValue;
use proptest::prelude::*;

use super::*;
use crate::config::{LimitsConfig, QueueConfig, RetryConfig};
use crate::context::ResponseHeader;
use crate::pipeline::WhenFull;
use crate::record::Capture;
use crate::sampling::{RemoteParent, SamplingRate, SamplingRule};
use crate::sink::Compression;

mod broken;
mod secrets;
mod sections;

fn read(yaml: &str) -> Result<TracingServiceConfig, ConfigError> {
    TracingServiceConfig::from_yaml_str(yaml)
}

/// A recording configuration, as code would write it.
fn recording(url: &str) -> TracingServiceConfig {
    TracingServiceConfig::new(url.parse().unwrap())
}

#[test]
fn teleports_section_is_read_word_for_word() {
    let yaml = "
# Teleport's other sections stand beside it.
version: v3
teleport:
  nodename: graviton
  auth_token: /var/lib/teleport/token
auth_service:
  enabled: yes
tracing_service:
  # Turns 'tracing_service' on.
  enabled: yes
  exporter_url: grpcs://collector.example.com:4317
  # Per million, so that 1% of all traces are recorded.
  sampling_rate_per_million: 10000
  ca_certs:
    - /var/lib/teleport/exporter_ca.pem
  https_keypairs:
    - key_file: /var/lib/teleport/exporter_key.pem
      cert_file: /var/lib/teleport/exporter_cert.pem
";
    let expected = recording("grpcs://collector.example.com:4317")
        .sampling_rate_per_million(10_000)
        .ca_certs(["/var/lib/teleport/exporter_ca.pem"])
        .keypair("/var/lib/teleport/exporter_key.pem", "/var/lib/teleport/exporter_cert.pem");
    assert_eq!(read(yaml).unwrap(), expected);
    assert_eq!(read(&yaml.replace("https_keypairs", "keypairs")).unwrap(), expected);
}

#[test]
fn the_example_of_the_module_is_read() {
    let module = include_str!("../keys.md");
    let lines = module.lines();
    let example: Vec<_> = lines
        .skip_while(|line| line.trim() != "```yaml")
        .skip(1)
        .take_while(|line| line.trim() != "```")
        .collect();
    let expected = recording("grpcs://collector.example.com:4317")
        .sampling_rate_per_million(10_000)
        .ca_certs(["/etc/checkout/collector-ca.pem"])
        .keypair("/etc/checkout/client.key", "/etc/checkout/client.pem")
        .system_roots(true)
        .server_name("collector.internal")
        .header_from_file("authorization", "/run/secrets/collector-token")
        .header("x-scope-orgid", "shop")
        .header_from_env("x-api-key", "COLLECTOR_API_KEY")
        .compression(Compression::Gzip)
        .timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(5))
        .queue(
            QueueConfig::default()
                .max_bytes(32 << 20)
                .max_batch_spans(4096)
                .max_batch_bytes((4 << 20) - (64 << 10))
                .max_delay(Duration::from_secs(1))
                .when_full(WhenFull::DropNewest),
        )
        .retry(
            RetryConfig::default()
                .initial(Duration::from_millis(250))
                .max(Duration::from_secs(30))
                .give_up_after(Duration::from_secs(300)),
        )
        .concurrency(8)
        .limits(
            LimitsConfig::default()
                .attributes_per_span(128)
                .events_per_span(128)
                .links_per_span(128)
                .attributes_per_event(128)
                .attributes_per_link(128)
                .value_length(64 << 10)
                .peer_value_length(4 << 10),
        )
        .service_name("checkout")
        .resource_attributes([
            KeyValue::new("deployment.environment.name", "production"),
            KeyValue::new("team.oncall", true),
        ])
        .sampling_rule(SamplingRule::new(SamplingRate::NEVER).path_prefix("/healthz"))
        .sampling_rule(SamplingRule::new(SamplingRate::ALWAYS).method("POST").route("/orders/{id}"))
        .sampling_rule(
            SamplingRule::new(100_000.try_into().unwrap()).grpc_service("shop.Inventory"),
        )
        .forced_sampling_per_second(NonZeroU32::new(100).unwrap())
        .response_header(ResponseHeader::ServerTiming)
        .remote_parent(RemoteParent::Trust)
        .capture(
            Capture::default()
                .request_headers([HeaderName::from_static("x-request-id")])
                .response_headers([HeaderName::from_static("x-cache")])
                .sensitive_headers(false)
                .redacted_query_parameters(["token", "sig"])
                .known_methods(["GET", "POST"])
                .known_grpc_methods(["shop.Inventory/Count"]),
        )
        .trusted_proxies(["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap()));
    assert_eq!(read(&example.join("\n")).unwrap(), expected);
}

#[test]
fn tracing_is_off_unless_it_is_switched_on() {
    let cases = [
        ("", "an empty document"),
        ("# nothing but a comment\n", "an empty document"),
        ("---\n", "an empty document"),
        ("listen: 1\n", "no section"),
        ("tracing: 1\ntracing_services: 1\nmy_tracing_service: 1\n", "other keys"),
        ("tracing-service: 1\ntracing_service: {}\n", "there is no doubt which one is meant"),
        ("a: 1\na: 2\nb: {c: 1, c: 2, ? [d] : 1, ? [d] : 2}\n", "repeated keys elsewhere"),
        ("a: !custom [1]\nb: .inf\n? [c]\n: !tag x\n", "other sections are not looked at"),
        ("tracing_service:\n", "a section without keys"),
        ("tracing_service: ~\n", "null"),
        ("tracing_service: {}\n", "no keys"),
        ("tracing_service:\n  exporter_url: h\n", "absent is off"),
        ("tracing_service:\n  exporter_url: nonsense://\n  keys: 1\n", "and skips all checks"),
        (
            "tracing_service:\n  enabled: no\n  exporter_url: [1]\n  ca_certs: 3\n  \
             sampling_rate_per_million: -1\n  keypairs: x\n  https_keypairs: y\n  7: 8\n  \
             unknown: {a: [b]}\n",
            "off skips all checks",
        ),
        ("tracing_service:\n  unknown: 1\n  enabled: \"off\"\n", "wherever it stands"),
        ("tracing_service:\n  enabled: no\n  x: 1\n  x: {y: 1, y: 2}\n", "repeated keys too"),
    ];
    for (yaml, reason) in cases {
        let config = read(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}: {reason}"));
        assert_eq!(config, TracingServiceConfig::disabled(), "{yaml}: {reason}");
    }
}

#[test]
fn enabled_takes_teleports_words_and_no_others() {
    let good = [
        ("yes", true, "a word"),
        ("Yes", true, "any case"),
        ("yEaH", true, "any case"),
        ("Y", true, "a letter"),
        ("TRUE", true, "a boolean of YAML"),
        ("tRuE", true, "a word that is no boolean of YAML"),
        ("1", true, "a number"),
        ("\"1\"", true, "a digit as text"),
        ("On", true, "a word"),
        ("'on'", true, "in quotes"),
        ("!!bool true", true, "with its tag"),
        ("no", false, "a word"),
        ("NOPE", false, "any case"),
        ("n", false, "a letter"),
        ("False", false, "a boolean of YAML"),
        ("0", false, "a number"),
        ("oFF", false, "any case"),
    ];
    for (word, enabled, reason) in good {
        let config = read(&format!("tracing_service: {{enabled: {word}, exporter_url: h}}"));
        let config = config.unwrap_or_else(|error| panic!("{word}: {error}: {reason}"));
        assert_eq!(config.check().unwrap().is_some(), enabled, "{word}: {reason}");
    }
    let bad = [
        ("enable", "\"enable\"", "Teleport would switch off without a word"),
        ("\" yes \"", "\" yes \"", "spaces count, as in Teleport"),
        ("\"\"", "\"\"", "an empty text"),
        ("2", "2", "another number"),
        ("-1", "-1", "another number"),
        ("1.0", "1.0", "not an integer"),
        ("01", "\"01\"", "not the digit"),
        ("null", "nothing", "null is neither"),
        ("[yes]", "a list", "a list is neither"),
        ("{yes: no}", "a mapping", "a mapping is neither"),
        ("ja", "\"ja\"", "English only"),
    ];
    for (word, shown, reason) in bad {
        let error = read(&format!("tracing_service: {{exporter_url: h, enabled: {word}}}"));
        let error = error.expect_err(reason);
        let mut problems = error.problems();
        let problem = problems.next().unwrap();
        assert_eq!(problem.key(), "tracing_service.enabled", "{word}: {reason}");
        assert_eq!(
            problem.message(),
            format!(
                "must be one of yes, yeah, y, true, 1, on \
                 or one of no, nope, n, false, 0, off, not {shown}"
            ),
            "{word}: {reason}"
        );
        assert_eq!(problems.next(), None, "{word}: {reason}");
    }
}

#[test]
fn values_are_read_as_the_operator_means_them() {
    let section = |rest: &str| {
        let yaml = format!("tracing_service:\n  enabled: y\n  exporter_url: h\n{rest}");
        read(&yaml).unwrap_or_else(|error| panic!("{rest}: {error}"))
    };
    let base = || recording("h");
    let cases = [
        (
            "  sampling_rate_per_million: 1_000_000",
            base().sampling_rate_per_million(1_000_000),
            "YAML's digit groups",
        ),
        ("  sampling_rate_per_million: 0", base().sampling_rate_per_million(0), "the least"),
        ("  sampling_rate_per_million: 0x10", base().sampling_rate_per_million(16), "hexadecimal"),
        (
            "  sampling_rate_per_million: '10'",
            base().sampling_rate_per_million(10),
            "digits as text",
        ),
        ("  sampling_rate_per_million: '0'", base().sampling_rate_per_million(0), "the least"),
        ("  sampling_rate_per_million:", base(), "no value is left out"),
        ("  service_name: ~\n  ca_certs:\n  keypairs:", base(), "no value is left out"),
        ("  keypairs:\n  https_keypairs: []", base(), "only one of them has a value"),
        ("  ca_certs: []\n  resource_attributes: {}", base(), "an empty list"),
        ("  service_name: no", base().service_name("no"), "YAML 1.2: a text"),
        ("  service_name: '1.10'", base().service_name("1.10"), "in quotes"),
        ("  response_header: off", base().response_header(ResponseHeader::Off), "a word"),
        (
            "  response_header: false",
            base().response_header(ResponseHeader::Off),
            "off to YAML 1.1",
        ),
        (
            "  response_header: Server-Timing",
            base().response_header(ResponseHeader::ServerTiming),
            "names of headers have no case",
        ),
        (
            "  response_header: traceresponse",
            base().response_header(ResponseHeader::TraceResponse),
            "a word",
        ),
        (
            "  resource_attributes: {a: NO, b: 1, c: -2.5, d: TRUE, e: '1', f: 007, \"y\": 9223372036854775807}",
            base().resource_attributes([
                KeyValue::new("a", "NO"),
                KeyValue::new("b", 1),
                KeyValue::new("c", -2.5),
                KeyValue::new("d", true),
                KeyValue::new("e", "1"),
                KeyValue::new("f", "007"),
                KeyValue::new("y", i64::MAX),
            ]),
            "all kinds of scalars",
        ),
    ];
    for (rest, expected, reason) in cases {
        assert_eq!(section(rest), expected, "{rest}: {reason}");
    }
}

#[test]
fn anchors_and_merge_keys_work() {
    let yaml = "
defaults: &defaults
  enabled: yes
  exporter_url: &url grpc://collector:4317
  sampling_rate_per_million: 5
url: *url
tracing_service:
  <<: *defaults
  sampling_rate_per_million: 7
";
    let expected = recording("collector").sampling_rate_per_million(7);
    assert_eq!(read(yaml).unwrap(), expected, "own keys win over merged ones");
    let yaml = "a: &a {enabled: yes, exporter_url: h}\ntracing_service: *a\n";
    assert_eq!(read(yaml).unwrap(), recording("h"), "the section as an alias");
    let yaml = "
a: &a {enabled: yes, exporter_url: first}
b: &b {exporter_url: second, service_name: b}
tracing_service:
  <<: [*a, *b]
";
    assert_eq!(read(yaml).unwrap(), recording("first").service_name("b"), "the first merged wins");
}

#[test]
fn a_section_may_leave_the_url_to_the_environment() {
    let expected = TracingServiceConfig::disabled().enabled(true);
    for yaml in [
        "tracing_service:\n  enabled: yes\n",
        "tracing_service:\n  enabled: yes\n  exporter_url:\n",
    ] {
        assert_eq!(read(yaml).unwrap(), expected, "{yaml}");
    }
}

#[test]
fn malformed_documents_name_the_place() {
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    let bomb: String = ('b'..='i').fold("a: &a x\n".to_owned(), |bomb, name| {
        let before = char::from(name as u8 - 1);
        bomb + &format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", "))
    });
    let bomb = bomb + "tracing_service: {enabled: yes, exporter_url: h, ca_certs: *i}\n";
    let cases = [
        ("a: [1", "line 1, column 4: not valid YAML: unclosed bracket '['", "not closed"),
        (
            "a: 1\n b: 2",
            "line 2, column 3: not valid YAML: mapping values are not allowed in this context",
            "indentation",
        ),
        ("a: @x", "line 1, column 4: not valid YAML: unexpected character: `@'", "reserved"),
        ("a: *b", "line 1, column 4: not valid YAML: alias references unknown anchor", "no anchor"),
        (
            "a: 1\n---\nb: 2",
            "line 3, column 1: a second document begins: keep one",
            "two documents",
        ),
        ("- a", "the document must be a mapping of sections", "a list"),
        ("hunter2", "the document must be a mapping of sections", "a text"),
        ("a: &a [*a]", "line 1, column 8: an alias stands inside of what it refers to", "a cycle"),
        (
            &deep,
            "line 1, column 35: too deeply nested, too large, or too many aliases",
            "deep nesting",
        ),
        (&bomb, "line 7, column 16: too deeply nested, too large, or too many aliases", "a bomb"),
    ];
    for (yaml, message, reason) in cases {
        let error = read(yaml).expect_err(reason);
        assert_eq!(error.to_string(), message, "{reason}");
    }
}

#[test]
fn nesting_is_bounded_before_the_stack_is() {
    for depth in [10, 29, 30, 31, 100, 1_000, 100_000] {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")] {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            let yaml = format!("tracing_service:\n  enabled: yes\n  x:\n   {open}1{close}\n");
            assert!(read(&yaml).is_err(), "{depth}");
        }
    }
}

#[test]
fn problems_can_be_taken_apart() {
    let error = read("tracing_service:\n  enabled: yes\n  exporter_url: h:0\n").unwrap_err();
    let [problem] = error.problems().collect::<Vec<_>>()[..] else { panic!("{error}") };
    assert_eq!((problem.line(), problem.column()), (Some(3), Some(17)));
    assert_eq!(problem.key(), "tracing_service.exporter_url");
    assert_eq!(problem.message(), "\"0\" is not a port from 1 to 65535");
}

#[test]
fn errors_of_files_begin_with_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("service.yaml");
    let shown = path.display();
    let message = || TracingServiceConfig::from_yaml_file(&path).unwrap_err().to_string();

    let missing = message();
    assert!(missing.starts_with(&format!("{shown}: cannot be read: ")), "{missing}");

    fs::write(&path, b"a: \xff").unwrap();
    assert_eq!(message(), format!("{shown}: not UTF-8 from byte 3 on"));

    fs::write(&path, "tracing_service:\n  enabled: 2\n  x: 1\n").unwrap();
    let lines = message();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "two problems");
    assert!(lines[0].starts_with(&format!("{shown}: line 2, column 12: tracing_service.enabled:")));
    assert!(lines[1].starts_with(&format!("{shown}: line 3, column 3: tracing_service.x:")));

    fs::write(&path, "\u{feff}tracing_service: {enabled: yes, exporter_url: h}\r\n").unwrap();
    let config = TracingServiceConfig::from_yaml_file(&path).unwrap();
    assert_eq!(config, recording("h"), "a byte order mark and CRLF are no problem");
}

#[test]
fn a_section_inside_another_type_has_positions() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Service {
        tracing_service: TracingServiceConfig,
    }
    let parse = |yaml| {
        let mut options = Options::default();
        options.with_snippet = false;
        serde_saphyr::from_str_with_options::<Service>(yaml, options)
    };
    // YAML 1.1 booleans, which the default options of serde-saphyr read.
    let yaml = "tracing_service: {enabled: on, exporter_url: h, response_header: off}\n";
    let expected = recording("h").response_header(ResponseHeader::Off);
    assert_eq!(parse(yaml).unwrap().tracing_service, expected);

    let error = parse("tracing_service:\n  enabled: 2\n  x: 1\n").unwrap_err().to_string();
    let first = "line 2, column 12: tracing_service.enabled: must be one of";
    let second = "not 2; line 3, column 3: tracing_service.x: unknown key";
    assert!(error.contains(first) && error.contains(second), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = read(&text);
    }

    #[test]
    fn any_section_is_read_or_refused_without_a_neighbouring_secret(
        lines in proptest::collection::vec(
            "(  )?(enabled|exporter_url|ca_certs|keypairs|key_file|resource_attributes|-|x|\
             headers|authorization|queue|max_bytes|timeout|limits|sampling_rules|- path_prefix|method|request_headers|known_methods|trusted_proxies)?: ?\
             (yes|&a|\\*a|\\[|\\]|\\{|\\}|'|\"|-1|1e9|10s|!!int|http://h|unix:/h|\\||>|~|[ -~é]{0,6})",
            0..8,
        )
    ) {
        let section = format!("tracing_service:\n{}\n", lines.join("\n"));
        for yaml in [
            section.clone(),
            format!("{section}password: hunter2\n"),
            format!("password: hunter2\n{section}"),
        ] {
            if let Err(error) = read(&yaml) {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains("hunter2"), "{}: {}", yaml, shown);
            }
        }
    }
}
