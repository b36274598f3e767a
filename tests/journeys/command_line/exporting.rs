//! `--trace-exporter`: spans of a tool go there, and those of the servers where they always go.

use super::servers::*;
use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::script::Script;

/// Where the tool's spans go.
enum Exporter {
    Files(tempfile::TempDir),
    Grpc(Collector),
    Http(Collector),
}

impl Exporter {
    fn all() -> [Self; 3] {
        [
            Self::Files(tempfile::tempdir().unwrap()),
            Self::Grpc(Collector::start(Script::Ok)),
            Self::Http(Collector::start(Script::Ok)),
        ]
    }

    fn url(&self) -> String {
        match self {
            Self::Files(directory) => url(directory.path()),
            Self::Grpc(collector) => collector.grpc_url(),
            Self::Http(collector) => collector.http_url(),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        match self {
            Self::Files(directory) => seen_in_files(directory.path()),
            Self::Grpc(collector) | Self::Http(collector) => seen(collector),
        }
    }
}

#[tokio::test]
async fn with_an_exporter_the_tool_s_spans_go_there_and_the_server_s_where_they_always_go() {
    // Also those of a tool that has no channel to give.
    for act in ["calls", "logs in"] {
        for records in SERVERS {
            for exporter in Exporter::all() {
                assert_goes_to(&exporter, records, act).await;
            }
        }
    }
}

async fn assert_goes_to(exporter: &Exporter, records: Records, act: &str) {
    let url = exporter.url();
    let why = format!("{act}, {records:?}, {url}");
    let server = Server::start(records).await;
    let output = server.serve(act, &format!("--trace-exporter {url}")).await;
    let (trace, told) = last_line(&output);
    assert_eq!(told, "3 spans delivered", "{why}");
    let (tool_s_trace, calls) = assert_tool_s(&exporter.seen(), None);
    assert_eq!(tool_s_trace, trace, "{why}");

    let (stats, asked, seen) = server.end().await;
    assert_eq!(asked.requests, 0, "{why}");
    if records == Records::Nothing {
        assert_eq!((stats, seen.len()), (delivered(0), 0), "{why}");
    } else {
        assert_eq!(stats, delivered(2), "{why}");
        let (traces, parents) = assert_server_s(&seen);
        assert_eq!((traces, parents), ([trace].into(), calls), "{why}");
    }
    assert_eq!(exporter.seen().len(), 3, "and none of the server's there: {why}");
}
