//! Providers of the OpenTelemetry SDK, and what they export to.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, ShouldSample, SpanData, SpanExporter};
use tokio::runtime::Runtime;

/// Where the spans of the SDK go.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// Nowhere: the exporter drops them.
    Nowhere,
    Grpc(SocketAddr),
    Http(SocketAddr),
    /// Lines of OTLP/JSON.
    File(&'a Path),
}

/// A tracer provider with the SDK's batch processor as it comes, and what was exported by it.
pub(crate) struct Sdk {
    pub(crate) provider: SdkTracerProvider,
    exported: Arc<AtomicU64>,
    /// What tonic needs while there is a provider.
    _runtime: Runtime,
}

impl Sdk {
    pub(crate) fn start(to: To<'_>, sampler: impl ShouldSample + 'static) -> Self {
        let runtime = runtime();
        let _inside = runtime.enter();
        let exported = Arc::default();
        let builder = SdkTracerProvider::builder().with_sampler(sampler).with_resource(resource());
        let counted = Arc::clone(&exported);
        let builder = match to {
            To::Nowhere => builder.with_batch_exporter(Counted::new(Nowhere, counted)),
            To::Grpc(address) => builder.with_batch_exporter(Counted::new(grpc(address), counted)),
            To::Http(address) => builder.with_batch_exporter(Counted::new(http(address), counted)),
            To::File(path) => {
                builder.with_batch_exporter(Counted::new(JsonLines::new(path), counted))
            }
        };
        let provider = builder.build();
        drop(_inside);
        Self { provider, exported, _runtime: runtime }
    }

    /// Exports what waits, and tells how many were.
    pub(crate) fn finish(self) -> u64 {
        let _ = self.provider.shutdown_with_timeout(Duration::from_secs(20));
        self.exported.load(Ordering::Relaxed)
    }
}

/// Where tonic works.
pub(crate) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
}

pub(crate) fn resource() -> Resource {
    Resource::builder().with_service_name("peers").build()
}

/// Keeps to the parent, and samples this share of the traces that begin here.
pub(crate) fn sampling(ratio: f64) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
}

/// Meters whose values go nowhere, once a minute.
pub(crate) fn meters() -> SdkMeterProvider {
    SdkMeterProvider::builder().with_reader(PeriodicReader::builder(Nowhere).build()).build()
}

pub(crate) fn grpc(address: SocketAddr) -> OtlpExporter {
    let exporter = OtlpExporter::builder().with_tonic().with_endpoint(format!("http://{address}"));
    exporter.build().expect("an exporter")
}

fn http(address: SocketAddr) -> OtlpExporter {
    let exporter = OtlpExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let exporter = exporter.with_endpoint(format!("http://{address}/v1/traces"));
    exporter.build().expect("an exporter")
}

/// Counts the spans that were exported.
#[derive(Debug)]
pub(crate) struct Counted<E> {
    exporter: E,
    exported: Arc<AtomicU64>,
}

impl<E> Counted<E> {
    pub(crate) fn new(exporter: E, exported: Arc<AtomicU64>) -> Self {
        Self { exporter, exported }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        if result.is_ok() {
            self.exported.fetch_add(spans, Ordering::Relaxed);
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[derive(Debug)]
pub(crate) struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// The file that the SDK's spans would be written to by hand: `opentelemetry-otlp` has none.
struct JsonLines {
    file: Mutex<File>,
    resource: ResourceAttributesWithSchema,
}

impl JsonLines {
    fn new(directory: &Path) -> Self {
        let file = File::create(directory.join("sdk.trace")).expect("a file");
        Self { file: Mutex::new(file), resource: (&resource()).into() }
    }
}

impl SpanExporter for JsonLines {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let mut line = serde_json::to_vec(&TracesData { resource_spans }).map_err(failed)?;
        line.push(b'\n');
        self.file.lock().map_err(failed)?.write_all(&line).map_err(failed)
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").finish_non_exhaustive()
    }
}

fn failed(error: impl fmt::Display) -> OTelSdkError {
    OTelSdkError::InternalFailure(error.to_string())
}
