//! Spans of others in rotating files of OTLP/JSON lines.

use std::fs;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::trace::v1::TracesData;
use tempfile::TempDir;

use super::*;
use crate::sinks::serve_large;

/// The files, the oldest first.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The lines of all files, each of which must be whole.
fn lines(directory: &Path) -> Vec<TracesData> {
    let texts = files(directory).into_iter().map(|file| fs::read_to_string(file).unwrap());
    let texts: Vec<_> = texts.collect();
    assert!(texts.iter().all(|text| text.ends_with('\n')), "a line is cut off");
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.map(|line| serde_json::from_str(line).expect("OTLP/JSON")).collect()
}

/// What a request of this sender's is in a file.
fn stamped(who: &str, request: ExportTraceServiceRequest) -> TracesData {
    let mut resource_spans = request.resource_spans;
    for group in &mut resource_spans {
        group.resource.get_or_insert_default().attributes.push(text(STAMP, who));
    }
    TracesData { resource_spans }
}

#[tokio::test]
async fn spans_of_others_are_in_the_files_in_the_name_of_their_senders_and_beside_our_own() {
    let root = TempDir::new().unwrap();
    let tracing = tracing_to(&format!("file://{}", root.path().display()));
    let forwarder = by_name(&tracing);
    let forwarding = Forwarding::start(&forwarder).await;

    let told = export(forwarding.channel(), "alice", request(1, 3)).await.unwrap();
    assert_eq!(told, ExportTraceServiceResponse::default());
    assert_eq!(tracing.flush(LONG).await, delivered(3));
    let own = serve_large(&tracing, 1);
    assert_eq!(tracing.flush(LONG).await, delivered(4));
    let json = serde_json::to_vec(&request(2, 2)).unwrap();
    let answer = forwarding.post(Version::HTTP_11, post("bob", JSON, json)).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(tracing.shutdown(LONG).await, delivered(6));

    let [of_alice, ours, of_bob] = &lines(root.path())[..] else { panic!("three lines") };
    assert_eq!(*of_alice, stamped("alice", request(1, 3)));
    assert_eq!(*of_bob, stamped("bob", request(2, 2)));
    let [group] = &ours.resource_spans[..] else { panic!("one resource") };
    let attributes = &group.resource.as_ref().unwrap().attributes;
    assert!(attributes.iter().all(|it| it.key != STAMP), "{attributes:?}");
    let [span] = &group.scope_spans[0].spans[..] else { panic!("one span") };
    assert_eq!(span.span_id, own.span_id().to_bytes());
}

#[tokio::test]
async fn a_small_limit_has_a_file_for_each_request_and_a_large_one_has_one_for_all() {
    for (limit, expected) in [(10, 10), (100 << 20, 1)] {
        let root = TempDir::new().unwrap();
        let url = format!("file://{}?limit={limit}", root.path().display());
        let tracing = tracing_to(&url);
        let forwarder = by_name(&tracing);
        let forwarding = Forwarding::start(&forwarder).await;
        let mut sent = Vec::new();
        for number in 0..10 {
            // Three resources, as one exporter has them that exports for several.
            let mut request = request(number, 1);
            for more in 1..3 {
                request
                    .resource_spans
                    .extend(super::request(100 * more + number, 1).resource_spans);
            }
            sent.push(stamped("alice", request.clone()));
            export(forwarding.channel(), "alice", request).await.unwrap();
            // One at a time, or else several may share a line.
            assert_eq!(tracing.flush(LONG).await, delivered(3 * u64::from(number + 1)));
        }
        assert_eq!(tracing.shutdown(LONG).await, delivered(30));
        assert_eq!(files(root.path()).len(), expected, "with {limit} bytes");
        assert!(lines(root.path()) == sent, "with {limit} bytes");

        let told = refusal(export(forwarding.channel(), "alice", request(11, 2)).await);
        assert_eq!(told, (Code::Unavailable, "the tracing service is shut down".to_owned()));
        let answer = forwarding.post(Version::HTTP_2, post("bob", PROTOBUF, encoded(12, 3))).await;
        assert_eq!(answer.status().as_u16(), 503);
        let stats = forwarder.stats();
        assert_eq!((stats.requests, stats.taken, stats.refused.shut_down), (12, 10, 2));
        assert_eq!((stats.spans, stats.spans_refused.shut_down), (30, 5));
        assert!(lines(root.path()) == sent, "with {limit} bytes, after the shutdown");
    }
}
