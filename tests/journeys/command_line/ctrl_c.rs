//! Tools at Ctrl-C.

use std::io::{BufRead, BufReader, Lines, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};

use super::tool::say;
use super::*;

#[test]
fn ctrl_c_ends_the_command_and_its_trace_is_delivered() {
    for act in ["hangs", "hangs blocking"] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Running::start(&mut tool(act, &to_files(directory.path())));
        // It has begun, so that it listens.
        child.wait_for("child ");
        child.interrupt();
        let (status, text) = child.end();
        assert_eq!(status.code(), Some(130), "{act}");
        let span = only_span(directory.path());
        let line = format!("trace {}: 1 span delivered\n", span["traceId"].as_str().unwrap());
        assert_eq!(text, line, "{act}");
        assert_eq!(attribute(&span, "process.exit.code")["intValue"], "130", "{act}");
        assert_eq!(attribute(&span, "error.type")["stringValue"], "interrupted", "{act}");
    }
}

#[test]
fn ctrl_c_ends_what_is_stuck() {
    let line = format!("trace {TRACE_ID}: 0 of 1 span delivered, 1 lost (still on the way 1)\n");
    let rows: [(&str, &[&str], &str, &str); 5] = [
        ("delivers for ever", &["asked "], &line, "after the command"),
        ("delivers for ever blocking", &["asked "], &line, "and without a runtime"),
        ("hangs, and delivers for ever", &["child ", "asked "], "", "the second one"),
        ("hangs blocking, and delivers for ever", &["child ", "asked "], "", "without a runtime"),
        ("hangs blocking with standard error", &["child "], "", "nobody may write"),
    ];
    for (act, waits_for, expected, why) in rows {
        let mut child = Running::start(tool(act, "--trace").env("TRACEPARENT", PARENT));
        for words in waits_for {
            child.wait_for(words);
            child.interrupt();
        }
        let (status, text) = child.end();
        assert_eq!(status.code(), Some(130), "{why}");
        assert_eq!(text, expected, "{why}");
    }
}

#[test]
fn a_tool_that_minds_ctrl_c_itself_ends_as_it_sees_fit() {
    // Of what the one returns, this binary tells only that it is a failure.
    for (act, code) in [("minds Ctrl-C itself", 1), ("minds Ctrl-C itself blocking", 7)] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Running::start(&mut tool(act, &to_files(directory.path())));
        child.wait_for("listens");
        child.interrupt();
        child.wait_for("would you mind");
        child.interrupt();
        child.wait_for("stops");
        let (status, text) = child.end();
        assert_eq!(status.code(), Some(code), "{act}");
        let span = only_span(directory.path());
        let line = format!("trace {}: 1 span delivered\n", span["traceId"].as_str().unwrap());
        assert_eq!(text, line, "{act}");
        assert_eq!(attribute(&span, "process.exit.code")["intValue"], "7", "{act}");
    }
}

#[test]
fn ctrl_c_that_is_left_to_a_tool_which_does_not_mind_it_ends_the_process() {
    if is_interrupt_ignored() {
        return say("skipped: this process was started with SIGINT ignored, as its children are");
    }
    for act in ["minds no Ctrl-C", "minds no Ctrl-C blocking"] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Running::start(&mut tool(act, &to_files(directory.path())));
        child.wait_for("child ");
        child.interrupt();
        let (status, text) = child.end();
        assert_eq!(status.signal(), Some(SIGINT), "{act}: {status}");
        assert_eq!(text, "", "{act}");
        assert_eq!(spans_in(directory.path()).len(), 0, "{act}");
    }
}

/// As that of a shell's background job is, on Linux.
fn is_interrupt_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.map_or(0, |bits| u64::from_str_radix(bits.trim(), 16).unwrap());
    ignored & (1 << (SIGINT - 1)) != 0
}

fn to_files(directory: &Path) -> String {
    format!("--trace-exporter {}", url(directory))
}

/// A child that does not outlive a test that fails.
pub(super) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(super) fn start(tool: &mut Command) -> Self {
        let mut child = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until it says this.
    pub(super) fn wait_for(&mut self, words: &str) {
        assert!(self.lines.any(|line| line.unwrap().contains(words)), "never said: {words}");
    }

    pub(super) fn interrupt(&self) {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Whether it has not ended yet.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end. Returns what it came to, and what it has written on standard error.
    pub(super) fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (status, text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SIGINT: i32 = 2;
