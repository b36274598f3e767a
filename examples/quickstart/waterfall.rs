//! Reads a trace back from files of OTLP/JSON lines and draws it.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

struct Row {
    service: String,
    name: String,
    status: String,
    start: u64,
    end: u64,
}

/// Prints the newest run of this trace as a waterfall.
pub(crate) fn print(directory: &Path, trace_id: &str) -> Result<(), Box<dyn Error>> {
    // Each service writes a file of its own; names begin with the time, so the last two are ours.
    let mut files: Vec<_> =
        fs::read_dir(directory)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let mut rows = Vec::new();
    for file in files.iter().rev().take(2) {
        for line in fs::read_to_string(file)?.lines() {
            collect(&serde_json::from_str(line)?, trace_id, &mut rows);
        }
    }
    rows.sort_by_key(|row| row.start);
    let (Some(start), Some(end)) =
        (rows.iter().map(|r| r.start).min(), rows.iter().map(|r| r.end).max())
    else {
        return Err("the trace is not in the files".into());
    };

    println!("trace {trace_id}");
    for row in rows {
        const WIDTH: u64 = 40;
        let column = |time: u64| ((time - start) * WIDTH / (end - start).max(1)) as usize;
        let (from, to) = (column(row.start), column(row.end));
        let bar = format!("{}{}", " ".repeat(from), "█".repeat((to - from).max(1)));
        println!(
            "{:<6} {:<22} {:<16} {bar:<41} {:>7.1} ms",
            row.service,
            row.name,
            row.status,
            (row.end - row.start) as f64 / 1e6,
        );
    }
    println!();
    Ok(())
}

fn collect(traces: &Value, trace_id: &str, rows: &mut Vec<Row>) {
    for resource_spans in array(&traces["resourceSpans"]) {
        let service = attribute(&resource_spans["resource"], "service.name");
        for scope_spans in array(&resource_spans["scopeSpans"]) {
            let spans = array(&scope_spans["spans"]).iter();
            rows.extend(spans.filter(|span| span["traceId"] == trace_id).map(|span| Row {
                service: service.clone(),
                name: text(&span["name"]),
                status: match attribute(span, "rpc.response.status_code") {
                    grpc if !grpc.is_empty() => format!("gRPC {grpc}"),
                    _ => format!("HTTP {}", attribute(span, "http.response.status_code")),
                },
                start: nanos(&span["startTimeUnixNano"]),
                end: nanos(&span["endTimeUnixNano"]),
            }));
        }
    }
}

fn attribute(of: &Value, key: &str) -> String {
    let found = array(&of["attributes"]).iter().find(|attribute| attribute["key"] == key);
    let value = found.and_then(|attribute| attribute["value"].as_object()?.values().next());
    value.map(text).unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn nanos(value: &Value) -> u64 {
    value.as_str().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}
