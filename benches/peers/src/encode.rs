//! What it takes for ended spans of the SDK to become OTLP bytes.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter, SpanProcessor};
use prost::Message;
use tower_otlp::TracingServiceConfig;

use crate::request::median;
use crate::{allocations, exporters, machine, spans};

/// Prints nanoseconds and allocations per span: ours, then those of `opentelemetry-otlp`, then the
/// median of the ratios of the times.
///
/// Ours is `on_end` of the span processor: the span is encoded and put into the queue. That it is
/// dropped, too, is measured alone and taken off. The other is what the gRPC exporter does to a
/// batch before it is sent: cloned, made into messages, encoded.
pub(crate) fn run(sink: SocketAddr, rounds: usize) {
    let batch = batch();
    let url = format!("grpc://{sink}").parse().expect("a URL");
    let tracing = TracingServiceConfig::new(url).start("peers").expect("a thread");
    let mut processor = tracing.span_processor();
    processor.set_resource(&exporters::resource());
    let resource = ResourceAttributesWithSchema::from(&exporters::resource());

    let ours = |batch: Vec<SpanData>| batch.into_iter().for_each(|span| processor.on_end(span));
    let theirs = |batch: &[SpanData]| {
        let resource_spans = group_spans_by_resource_and_scope(batch.to_vec(), &resource);
        black_box(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
    };
    ours(batch.clone());
    theirs(&batch);

    let copy = batch.clone();
    let per_span = |allocations: u64| allocations as f64 / BATCH as f64;
    let our_allocations = per_span(allocations::of(|| ours(copy)));
    let their_allocations = per_span(allocations::of(|| theirs(&batch)));
    let (mut our_times, mut their_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let [copy, dropped] = [batch.clone(), batch.clone()];
        let began = machine::of_thread();
        ours(copy);
        let encoded = machine::of_thread();
        dropped.into_iter().for_each(|span| drop(black_box(span)));
        let dropped = machine::of_thread();
        theirs(&batch);
        let ended = machine::of_thread();
        let (ours, theirs) = ((encoded - began) - (dropped - encoded), ended - dropped);
        our_times.push(ours / BATCH as f64);
        their_times.push(theirs / BATCH as f64);
        ratios.push(theirs / ours);
        if round % ROUNDS_IN_QUEUE == 0 {
            let _ = tracing.flush_blocking(DEADLINE);
        }
    }
    let (ours, theirs) = (median(&mut our_times), median(&mut their_times));
    let ratio = median(&mut ratios);
    println!("{ours} {our_allocations} {theirs} {their_allocations} {ratio}");
    let stats = tracing.shutdown_blocking(DEADLINE);
    assert_eq!(stats.delivered, ((rounds + 2) * BATCH) as u64, "not the times of spans: {stats}");
}

fn batch() -> Vec<SpanData> {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let tracer = provider.tracer("peers");
    (0..BATCH).for_each(|_| spans::end_one(&tracer));
    std::mem::take(&mut kept.0.lock().expect("no panic"))
}

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("no panic").extend(batch);
        Ok(())
    }
}

/// The SDK's.
const BATCH: usize = 512;
/// Rounds between two flushes. Their spans have to find room.
const ROUNDS_IN_QUEUE: usize = 4;
const DEADLINE: Duration = Duration::from_secs(20);
