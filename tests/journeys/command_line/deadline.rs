//! Tools whose spans nobody takes: they end all the same.

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::script::Script;

#[test]
fn a_tool_whose_spans_are_not_taken_ends_at_its_deadline_with_its_own_result() {
    let hangs = Collector::start(Script::Silence);
    let [grpc, http] = [hangs.grpc_url(), hangs.http_url()];
    for (act, code) in [("is left waiting", 1), ("is left waiting blocking", 7)] {
        let exporters = [&grpc, &http].map(|url| format!("--trace-exporter {url}"));
        for args in ["--trace".to_owned()].into_iter().chain(exporters) {
            let output = tool(act, &args).env("TRACEPARENT", PARENT).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{act} {args}: {output:?}");
            assert_eq!(said(&output, "result"), "done", "{act} {args}");
            let line = format!("trace {TRACE_ID}: 0 of 1 span delivered, 1 lost (shut down 1)");
            assert_eq!(stderr(&output), [line], "{act} {args}");
        }
    }
    assert_eq!(hangs.played(), 0, "nobody was answered");
}

#[cfg(unix)]
#[test]
fn the_deadline_is_the_tool_s() {
    for (patient, hasty) in [
        ("delivers for ever", "is left waiting"),
        ("delivers for ever blocking", "is left waiting blocking"),
    ] {
        let mut patient = ctrl_c::Running::start(&mut tool(patient, "--trace"));
        patient.wait_for("asked ");
        let output = tool(hasty, "--trace").output().unwrap();
        assert_eq!(stderr(&output).len(), 1, "{output:?}");
        assert!(patient.is_running(), "it began to wait before the other one, for longer");
        patient.interrupt();
        assert_eq!(patient.end().0.code(), Some(130));
    }
}
