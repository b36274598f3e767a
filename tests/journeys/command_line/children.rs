//! What the children of a program are told of its trace.

use std::process::Command;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::process;
use tower_otlp::TraceContext;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A child that writes what it was told, with what it is to forget.
fn child() -> Command {
    let mut child = Command::new("sh");
    child.args(["-c", "echo \"${TRACEPARENT-none} ${TRACESTATE-none} ${BAGGAGE-none}\""]);
    child.env("TRACEPARENT", "stale").env("TRACESTATE", "stale").env("BAGGAGE", "stale");
    child
}

fn told(stdout: Vec<u8>) -> String {
    String::from_utf8(stdout).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn children_of_either_kind_are_told_the_trace_and_nothing_stale() {
    type Row<'a> = (&'a [(&'static str, &'static str)], String, &'a str);
    let rows: [Row<'_>; 3] = [
        (
            &[("traceparent", PARENT), ("tracestate", "a=1,b=2"), ("baggage", "user=7,k=v;p")],
            format!("{PARENT} a=1,b=2 user=7,k=v;p"),
            "all of it",
        ),
        (
            &[("traceparent", PARENT), ("baggage", "user=%20%22$HOME")],
            format!("{PARENT} none user=%20%22$HOME"),
            "no tracestate, and what a shell would take for its own",
        ),
        (&[("traceparent", PARENT)], format!("{PARENT} none none"), "the trace alone"),
    ];
    for (headers, expected, why) in rows {
        let headers = headers.iter();
        let headers: HeaderMap = headers
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let context = TraceContext::from_headers(&headers).unwrap();

        let mut std = child();
        context.set_environment(&mut std);
        assert_eq!(told(std.output().unwrap().stdout), expected, "{why}");

        let mut tokio = process::Command::from(child());
        context.set_environment(tokio.as_std_mut());
        assert_eq!(told(tokio.output().await.unwrap().stdout), expected, "{why}, by tokio");

        let mut tokio = process::Command::from(child());
        {
            let _current = context.to_opentelemetry().attach();
            TraceContext::pass_to(tokio.as_std_mut());
        }
        assert_eq!(told(tokio.output().await.unwrap().stdout), expected, "{why}, of the moment");
    }
    let mut tokio = process::Command::from(child());
    TraceContext::pass_to(tokio.as_std_mut());
    assert_eq!(told(tokio.output().await.unwrap().stdout), "none none none", "without a trace");
}
