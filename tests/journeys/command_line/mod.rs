//! Command-line tools and their children, in processes of their own.

#[cfg(unix)]
mod children;
#[cfg(unix)]
mod ctrl_c;
mod deadline;
#[cfg(feature = "forward")]
mod exporting;
#[cfg(feature = "forward")]
mod forwarding;
#[cfg(feature = "forward")]
mod servers;
mod tool;

use std::env;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[test]
fn a_traced_command_writes_its_trace_and_a_line() {
    for (act, code) in [("async", 0), ("blocking", 7)] {
        let directory = tempfile::tempdir().unwrap();
        let output = tool(act, &format!("--trace-exporter {}", url(directory.path()))).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let span = only_span(directory.path());
        let trace_id = span["traceId"].as_str().unwrap();
        assert_eq!(stderr(&output), [format!("trace {trace_id}: 1 span delivered")], "{act}");
        assert_eq!(said(&output, "inside"), format!("{trace_id} true"));
        assert_eq!(said(&output, "recording"), "true true");
        let own = format!("00-{trace_id}-{}-03", span["spanId"].as_str().unwrap());
        assert_eq!(said(&output, "child"), own, "the child's parent is the root span");

        assert_eq!((&span["name"], &span["kind"]), (&"tool ls".into(), &1.into()));
        assert_eq!(span.get("parentSpanId"), None);
        assert_eq!(attribute(&span, "process.exit.code")["intValue"], code.to_string());
        assert_ne!(attribute(&span, "process.pid"), Value::Null);
        assert_ne!(attribute(&span, "process.executable.name"), Value::Null);
        let error_type = attribute(&span, "error.type");
        if code == 0 {
            assert_eq!((error_type, span.get("status")), (Value::Null, None));
        } else {
            assert_eq!(
                (error_type["stringValue"].as_str(), &span["status"]["code"]),
                (Some("7"), &2.into())
            );
        }
    }
}

#[test]
fn a_command_joins_the_trace_of_whoever_runs_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut tool = tool("async", "");
    tool.env("TRACEPARENT", PARENT).env("TRACESTATE", "a=1").env("BAGGAGE", "user=7");
    let mut recorded = clone_of(&tool);
    let output = tool.output().unwrap();
    assert_eq!(said(&output, "inside"), format!("{TRACE_ID} false"), "it goes on untraced");
    assert_eq!(said(&output, "recording"), "false false");
    assert_eq!(said(&output, "child"), format!("{PARENT} user=7"), "as it came");
    assert_eq!(stderr(&output), [""; 0], "and nothing is said");

    recorded.env("TOWER_OTLP_TRACE_EXPORTER", url(directory.path()));
    let output = recorded.output().unwrap();
    let span = only_span(directory.path());
    assert_eq!(stderr(&output), [format!("trace {TRACE_ID}: 1 span delivered")]);
    assert_eq!(span["traceId"], TRACE_ID);
    assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(span["traceState"], "a=1");
    assert_eq!(said(&output, "inside"), format!("{TRACE_ID} true"), "its user asked for it");
}

#[test]
fn without_an_option_nothing_is_traced_whatever_the_section_says() {
    let directory = tempfile::tempdir().unwrap();
    let output = with_section(&mut tool("async", ""), directory.path()).output().unwrap();
    assert_eq!(said(&output, "inside"), "nothing");
    assert_eq!(said(&output, "child"), "");
    assert_eq!(stderr(&output), [""; 0]);
    assert_eq!(spans_in(directory.path()).len(), 0);
}

#[test]
fn spans_go_where_the_section_says_or_the_option() {
    let [section, option] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let output = with_section(&mut tool("async", "--trace"), section.path()).output().unwrap();
    assert!(stderr(&output)[0].ends_with(": 1 span delivered"), "{output:?}");
    assert_eq!((spans_in(section.path()).len(), spans_in(option.path()).len()), (1, 0));

    let args = format!("--trace --trace-exporter {}", url(option.path()));
    let output = with_section(&mut tool("async", &args), section.path()).output().unwrap();
    assert!(stderr(&output)[0].ends_with(": 1 span delivered"), "{output:?}");
    assert_eq!((spans_in(section.path()).len(), spans_in(option.path()).len()), (1, 1));
}

#[test]
fn a_trace_that_goes_nowhere_is_said_to_be_lost() {
    for act in ["async", "finishes"] {
        let mut tool = tool(act, "");
        tool.env("TOWER_OTLP_TRACE", "yes").env("TRACEPARENT", PARENT);
        let output = tool.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let line = format!("trace {TRACE_ID}: 0 of 1 span delivered, 1 lost (no channel given 1)");
        assert_eq!(stderr(&output), [line], "no channel came");
    }
}

#[test]
fn headers_of_a_section_are_for_its_exporter_and_not_for_the_channel() {
    let section = "tracing_service: { enabled: yes, headers: { x-token: hunter2 } }";
    let mut over_channel = tool("channel", "--trace");
    over_channel.env("TOOL_SECTION", section);
    let mut to_exporter = clone_of(&over_channel);
    let output = over_channel.output().unwrap();
    assert_eq!(said(&output, "asked with"), "None");
    assert!(stderr(&output)[0].ends_with(": 1 span delivered"), "{output:?}");

    // Nobody listens there.
    to_exporter.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let output = to_exporter.output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("asked"), "{output:?}");
    let [line] = &stderr(&output)[..] else { panic!("{output:?}") };
    let (_, told) = line.split_once(": ").unwrap();
    assert!(told.starts_with("0 of 1 span delivered, 1 lost (shut down 1): "), "{line}");
    assert!(told.contains("refused"), "the reason: {line}");
}

#[test]
fn a_panic_over_the_channel_of_the_only_thread_ends_a_trace_that_is_delivered() {
    let mut tool = tool("panics over a channel", "--trace");
    let output = tool.env("TRACEPARENT", PARENT).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let line = format!("trace {TRACE_ID}: 1 span delivered");
    assert_eq!(stderr(&output), [line], "{output:?}");
}

#[test]
fn what_cannot_be_set_up_is_a_warning_and_the_command_runs() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = format!("{}/traces", url(file.path()));
    let rows = [
        ("tcp://collector", "--trace-exporter: unknown scheme \"tcp\"", "no URL of ours"),
        (&*below_a_file, "cannot create a file in ", "no directory"),
        ("grpcs://collector", "CERTIFICATE", "no certificate"),
    ];
    for (url, words, why) in rows {
        let mut tool = tool("async", &format!("--trace-exporter {url}"));
        tool.env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem");
        let output = tool.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{why}: {output:?}");
        assert_eq!(said(&output, "inside"), "nothing", "{why}");
        let [line] = &stderr(&output)[..] else { panic!("{why}: {output:?}") };
        assert!(line.starts_with("warning: this command is not traced: "), "{why}: {line}");
        assert!(line.contains(words), "{why}: {line}");
    }
}

#[test]
fn a_failure_and_a_panic_are_in_the_root_span() {
    let rows = [("fails", Some("1"), "1", "the server said no"), ("panics", None, "panic", "")];
    for (act, code, error_type, description) in rows {
        let directory = tempfile::tempdir().unwrap();
        let output = tool(act, &format!("--trace-exporter {}", url(directory.path()))).output();
        let output = output.unwrap();
        assert!(!output.status.success(), "{act}");
        let span = only_span(directory.path());
        let line = format!("trace {}: 1 span delivered", span["traceId"].as_str().unwrap());
        assert!(stderr(&output).contains(&line), "{act}: {output:?}");
        assert_eq!(attribute(&span, "process.exit.code")["intValue"].as_str(), code, "{act}");
        assert_eq!(attribute(&span, "error.type")["stringValue"], error_type, "{act}");
        assert_eq!(span["status"]["code"], 2, "{act}");
        assert_eq!(span["status"]["message"].as_str().unwrap_or_default(), description, "{act}");
    }
}

/// The tool as a process: this test binary, of which only the tool runs.
fn tool(act: &str, args: &str) -> Command {
    let mut tool = Command::new(env::current_exe().unwrap());
    tool.args(["--exact", "command_line::tool::the_tool", "--nocapture", "--test-threads=1"]);
    for variable in ["TRACEPARENT", "TRACESTATE", "BAGGAGE", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        tool.env_remove(variable);
    }
    tool.env("TOOL_ACT", act).env("TOOL_ARGS", args);
    tool
}

fn clone_of(command: &Command) -> Command {
    let mut clone = Command::new(command.get_program());
    clone.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => clone.env(name, value),
            None => clone.env_remove(name),
        };
    }
    clone
}

/// A section that is about files there.
fn with_section<'a>(tool: &'a mut Command, directory: &Path) -> &'a mut Command {
    let url = url(directory);
    tool.env(
        "TOOL_SECTION",
        format!("tracing_service: {{ enabled: yes, exporter_url: {url:?}, sampling_rate_per_million: 0 }}"),
    )
}

fn url(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

/// What the tool has said of something.
fn said(output: &Output, what: &str) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let line = text.lines().find_map(|line| {
        line.split_once(&format!("{what} ")).or_else(|| (line == what).then_some(("", "")))
    });
    line.unwrap_or_else(|| panic!("no {what} in {text}")).1.trim().to_owned()
}

fn stderr(output: &Output) -> Vec<String> {
    String::from_utf8(output.stderr.clone()).unwrap().lines().map(str::to_owned).collect()
}

fn only_span(directory: &Path) -> Value {
    let spans = spans_in(directory);
    let [span] = &spans[..] else { panic!("{} spans", spans.len()) };
    span.clone()
}

fn spans_in(directory: &Path) -> Vec<Value> {
    let mut spans = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let scopes = &line["resourceSpans"][0]["scopeSpans"][0]["spans"];
            spans.extend(scopes.as_array().unwrap().iter().cloned());
        }
    }
    spans
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    found.map_or(Value::Null, |attribute| attribute["value"].clone())
}
