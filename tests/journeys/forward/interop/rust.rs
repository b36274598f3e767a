//! The exporters of `opentelemetry-otlp`, behind the SDK's own batches.

use std::collections::HashMap;

use opentelemetry::KeyValue as Attribute;
use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_otlp::{
    Compression, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::metadata::MetadataMap;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_opentelemetry_otlp_arrive_over_grpc_and_http() {
    let Some(backend) = Backend::start() else { return };
    let tracing = backend.tracing();
    let forwarding = Forwarding::start(&by_name(&tracing)).await;
    let grpc = |compression: Option<Compression>| {
        let mut who = MetadataMap::new();
        who.insert("who", "alice".parse().unwrap());
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(format!("http://{}", forwarding.grpc))
            .with_metadata(who);
        match compression {
            Some(compression) => exporter.with_compression(compression),
            None => exporter,
        }
        .build()
        .unwrap()
    };
    let http = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("http://{}/v1/traces", forwarding.http))
        .with_headers(HashMap::from([("who".to_owned(), "bob".to_owned())]))
        .build()
        .unwrap();
    let rows = [
        ("grpc", "alice", grpc(None)),
        ("grpc, gzip", "alice", grpc(Some(Compression::Gzip))),
        ("http", "bob", http),
    ];

    let mut expected = Vec::new();
    for (service, sender, exporter) in rows {
        // The SDK blocks until a flush is over.
        tokio::task::spawn_blocking(move || send(service, exporter)).await.unwrap();
        expected.push((service.to_owned(), sender.to_owned()));
    }
    let all = SPANS * expected.len();
    assert_eq!(tracing.shutdown(LONG).await, delivered(all as u64));
    let arrived = backend.arrived(all).await;
    assert_eq!(arrived.keys().cloned().collect::<Vec<_>>(), expected);
    for ((service, _), spans) in &arrived {
        assert_eq!(names(spans), numbered(SPANS), "{service}");
        for span in spans {
            assert_eq!(span.attributes, [text("text", "grüße 漢字 🦀")], "{service}");
            assert_eq!(span.events.len(), 1, "{service}");
            assert_eq!(span.events[0].name, "größer", "{service}");
        }
    }
}

fn send(service: &'static str, exporter: SpanExporter) {
    let spoof = || Attribute::new(STAMP, "root");
    let resource = Resource::builder().with_service_name(service).with_attribute(spoof()).build();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let tracer = provider.tracer("send");
    for number in 0..SPANS {
        let mut span = tracer.start(format!("span {number}"));
        span.set_attributes([Attribute::new("text", "grüße 漢字 🦀"), spoof()]);
        span.add_event("größer", vec![spoof()]);
        span.end();
    }
    provider.force_flush().unwrap();
    provider.shutdown().unwrap();
}
