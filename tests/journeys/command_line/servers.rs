//! A server that tools talk to, which takes their spans beside its own work, and the collector
//! behind it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::process;
use tonic::transport;
use tower_otlp::{
    ForwarderStats, Identity, SpanForwarder, Stats, TraceLayer, TracingService,
    TracingServiceConfig,
};

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::script::Script;
use crate::support::echo::{self, Echo};

/// What a server records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Records {
    Everything,
    /// At a rate of 0.
    WhatItsCallerSampled,
    /// Its tracing is disabled.
    Nothing,
}

pub(super) const SERVERS: [Records; 3] =
    [Records::Everything, Records::WhatItsCallerSampled, Records::Nothing];

pub(super) struct Server {
    pub(super) collector: Collector,
    address: SocketAddr,
    tracing: TracingService,
    forwarder: SpanForwarder,
}

impl Server {
    pub(super) async fn start(records: Records) -> Self {
        let collector = Collector::start(Script::Ok);
        let config = TracingServiceConfig::new(collector.grpc_url().parse().unwrap());
        let config = match records {
            Records::Everything => config.sampling_rate_per_million(1_000_000),
            Records::WhatItsCallerSampled => config.sampling_rate_per_million(0),
            Records::Nothing => config.enabled(false),
        };
        let tracing = config.start("auth").unwrap();
        let forwarder = tracing.forwarder(|request| match request.headers.get("who") {
            Some(who) => Identity::allow(who.to_str().unwrap().to_owned()),
            None => Identity::deny("who are you?"),
        });
        let router = transport::Server::builder()
            .layer(TraceLayer::server(&tracing))
            .add_service(Echo::default())
            .add_service(forwarder.grpc());
        let address = echo::serve(router).await;
        Self { collector, address, tracing, forwarder }
    }

    /// Runs the tool, which talks to this server, and asserts that it does its work.
    pub(super) async fn serve(&self, act: &str, args: &str) -> Output {
        let mut tool = tool(act, args);
        tool.env("TOOL_SERVER", self.address.to_string()).env("TOOL_SECTION", SECTION);
        let output = process::Command::from(tool).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let answers: Vec<_> =
            text.lines().filter_map(|line| Some(line.split_once("answered ")?.1)).collect();
        assert_eq!(answers, [r#"(["ls"], Ok)"#, "([], NotFound)"], "{output:?}");
        output
    }

    /// Ends its tracing, and returns what became of the spans, what was asked of the forwarder, and
    /// what has arrived at the collector.
    pub(super) async fn end(self) -> (Stats, ForwarderStats, Vec<Seen>) {
        let asked = self.forwarder.stats();
        let stats = self.tracing.shutdown(LONG).await;
        (stats, asked, seen(&self.collector))
    }
}

/// A span as it has arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) service: String,
    pub(super) stamp: Option<String>,
    pub(super) span: Span,
}

pub(super) fn seen(collector: &Collector) -> Vec<Seen> {
    collector.received().into_iter().flat_map(|received| spans_of(received.message)).collect()
}

pub(super) fn seen_in_files(directory: &Path) -> Vec<Seen> {
    let mut seen = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            seen.extend(spans_of(serde_json::from_str(line).unwrap()));
        }
    }
    seen
}

fn spans_of(message: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut seen = Vec::new();
    for resource in message.resource_spans {
        let of = resource.resource.unwrap();
        let service = text(&of, "service.name").unwrap();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let stamp = text(&of, "tower_otlp.forwarded.for");
            seen.push(Seen { service: service.clone(), stamp, span });
        }
    }
    seen
}

/// An attribute, which must not be there twice.
fn text(resource: &Resource, key: &str) -> Option<String> {
    let mut found = resource.attributes.iter().filter(|attribute| attribute.key == key);
    let attribute = found.next()?;
    assert_eq!(found.next(), None);
    match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

/// Asserts that these are all spans of the tool, in the name of `stamp`, and that they are one tree:
/// the command, and its two calls. Returns the trace and the ids of the calls.
pub(super) fn assert_tool_s(seen: &[Seen], stamp: Option<&str>) -> (String, BTreeSet<Vec<u8>>) {
    let mut spans: Vec<_> = seen
        .iter()
        .map(|Seen { service, stamp: found, span }| {
            assert_eq!((&**service, found.as_deref()), ("tool", stamp), "{span:?}");
            span
        })
        .collect();
    spans.sort_unstable_by(|a, b| a.name.cmp(&b.name).reverse());
    let [command, calls @ ..] = &spans[..] else { panic!("no spans") };
    assert_eq!((&*command.name, command.kind()), ("tool ls", SpanKind::Internal));
    assert_eq!(command.parent_span_id, [0; 0], "it begins the trace");
    for call in calls {
        assert_eq!((&*call.name, call.kind()), ("test.Echo/One", SpanKind::Client));
        assert_eq!(call.parent_span_id, command.span_id);
        assert_eq!(call.trace_id, command.trace_id);
    }
    let ids: BTreeSet<_> = calls.iter().map(|call| call.span_id.clone()).collect();
    assert_eq!((calls.len(), ids.len()), (2, 2));
    (hex(&command.trace_id), ids)
}

/// Asserts that these are the server's spans of the two calls, and its own. Returns the traces and
/// the ids of their parents.
pub(super) fn assert_server_s(seen: &[Seen]) -> (BTreeSet<String>, BTreeSet<Vec<u8>>) {
    assert_eq!(seen.len(), 2, "{seen:?}");
    for Seen { service, stamp, span } in seen {
        assert_eq!((&**service, stamp), ("auth", &None), "{span:?}");
        assert_eq!((&*span.name, span.kind()), ("test.Echo/One", SpanKind::Server));
    }
    let traces = seen.iter().map(|it| hex(&it.span.trace_id)).collect();
    (traces, seen.iter().map(|it| it.span.parent_span_id.clone()).collect())
}

/// The trace that the tool has named in its last line, and what it has said of it.
pub(super) fn last_line(output: &Output) -> (String, String) {
    let lines = stderr(output);
    let [line] = &lines[..] else { panic!("{output:?}") };
    let (trace, told) = line.split_once(": ").unwrap();
    (trace.strip_prefix("trace ").unwrap().to_owned(), told.to_owned())
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stats of a service that has delivered so many spans, and lost none.
pub(super) fn delivered(spans: u64) -> Stats {
    let mut stats = Stats::default();
    (stats.accepted, stats.delivered) = (spans, spans);
    stats
}

/// Each span is a batch of its own, so that each could be asked about.
const SECTION: &str = "tracing_service: { enabled: yes, queue: { max_batch_spans: 1 } }";
/// A deadline that is not expected to be reached.
const LONG: Duration = Duration::from_secs(60);
