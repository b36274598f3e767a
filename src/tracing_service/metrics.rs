//! What becomes of the spans, as metrics of the OpenTelemetry conventions for SDKs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;

use super::TracingService;
use crate::config::{Destination, Settings, Target};
use crate::pipeline::{Offered, Stats};
use crate::trace;

impl TracingService {
    /// Reports the [stats](Self::stats) by instruments of this provider, too.
    ///
    /// Defaults to reporting nothing. The numbers are read when the provider collects them, so
    /// requests pay nothing for it. They are those of the stats, to the span:
    ///
    /// | instrument, `{span}` | counts | `error.type` |
    /// |---|---|---|
    /// | `otel.sdk.processor.span.processed`, counter | all that were `accepted`, as they end | none for those that were taken; `queue_full`, `too_large`, `already_shutdown` for those that were not |
    /// | `otel.sdk.exporter.span.exported`, counter | those that were taken, once it is known what became of them | none for those that were `delivered`; `rejected`, `failed`, `retries_exhausted`, `too_large`, `shutdown`, `panicked`, and `queue_full` for those that made room for newer ones |
    /// | `otel.sdk.exporter.span.inflight`, up-down counter | those that are `pending` | |
    ///
    /// What is taken is handed to the exporter at once, and it is there that spans wait. So there is
    /// no `otel.sdk.processor.span.queue.size`; and what is processed without an error is, at any
    /// moment at which nothing moves, what was exported, with and without one, and is in flight.
    /// Each instrument is read at a moment of its own.
    ///
    /// `otel.component.type` is `otlp_grpc_span_exporter` or `otlp_http_span_exporter`, and where the
    /// conventions have no word for it, `otlp_file_span_exporter`, `in_memory_span_exporter`, and
    /// `tower_otlp::TracingService` for what takes the spans. `otel.component.name` is that and a
    /// number, from 0, of those that this process has started. `server.address` and `server.port`
    /// are those of the exporter URL.
    ///
    /// Left out, because nobody counts it: `otel.sdk.span.live` and `otel.sdk.span.started`, which
    /// want spans that are not sampled as well, and `otel.sdk.exporter.operation.duration`. There
    /// is no word for [`not_forced`](Stats::not_forced) either. The memory that spans may take is one
    /// of bytes, so there is no `otel.sdk.processor.span.queue.capacity`.
    ///
    /// Called again with another provider, it reports to both. The last numbers stay after a
    /// shutdown, for as long as the provider lives. With tracing disabled nothing is reported.
    ///
    /// Source: OpenTelemetry semantic conventions 1.44, "Semantic conventions for OpenTelemetry SDK
    /// metrics", which are in development.
    ///
    /// # Example: an alert when spans are lost
    ///
    /// ```
    /// use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
    /// use tower_otlp::TracingService;
    ///
    /// # let (tracing, _spans) = TracingService::in_memory();
    /// let exporter = InMemoryMetricExporter::default(); // or that of `opentelemetry-otlp`
    /// let reader = PeriodicReader::builder(exporter).build();
    /// let meters = SdkMeterProvider::builder().with_reader(reader).build();
    ///
    /// tracing.metrics(&meters);
    /// ```
    pub fn metrics(&self, provider: &(impl MeterProvider + ?Sized)) {
        let Some(components) = &self.components else { return };
        let meter = trace::meter(provider);

        let (intake, of) = (Arc::clone(&self.intake), components.processor.clone());
        meter
            .u64_observable_counter("otel.sdk.processor.span.processed")
            .with_unit(UNIT)
            .with_description(
                "The number of spans for which the processing has finished, either successful or \
                 failed.",
            )
            .with_callback(move |observer| {
                let (_, offered) = intake.stats_and_offered();
                each(&processed(&offered), &of, |spans, series| observer.observe(spans, series));
            })
            .build();

        let (intake, of) = (Arc::clone(&self.intake), components.exporter.clone());
        meter
            .u64_observable_counter("otel.sdk.exporter.span.exported")
            .with_unit(UNIT)
            .with_description(
                "The number of spans for which the export has finished, either successful or \
                 failed.",
            )
            .with_callback(move |observer| {
                let (stats, offered) = intake.stats_and_offered();
                let exported = exported(&stats, &offered);
                each(&exported, &of, |spans, series| observer.observe(spans, series));
            })
            .build();

        let (intake, of) = (Arc::clone(&self.intake), components.exporter.clone());
        meter
            .i64_observable_up_down_counter("otel.sdk.exporter.span.inflight")
            .with_unit(UNIT)
            .with_description(
                "The number of spans which were passed to the exporter, but that have not been \
                 exported yet (neither successful, nor failed).",
            )
            .with_callback(move |observer| {
                observer.observe(intake.stats().pending.try_into().unwrap_or(i64::MAX), &of);
            })
            .build();
    }
}

/// Who takes the spans and who exports them, as attributes.
#[derive(Debug)]
pub(super) struct Components {
    processor: Vec<KeyValue>,
    exporter: Vec<KeyValue>,
}

impl Components {
    /// Those of a service that is being started.
    pub(super) fn start(settings: Settings<'_>, destination: Destination) -> Self {
        let mut exporter = match destination {
            Destination::Memory => IN_MEMORY.start(),
            #[cfg(feature = "tonic")]
            Destination::Channel => GRPC.start(),
            Destination::Exporter => match settings.exporter_url().target() {
                Target::Grpc { .. } | Target::GrpcUnix { .. } => GRPC.start(),
                Target::Http { .. } | Target::HttpUnix { .. } => HTTP.start(),
                Target::File { .. } => FILE.start(),
            },
        };
        if destination == Destination::Exporter {
            exporter.extend(server(settings.exporter_url().target()));
        }
        Self { processor: PROCESSOR.start(), exporter }
    }
}

/// Components of one type.
struct Type {
    name: &'static str,
    started: AtomicU64,
}

impl Type {
    const fn new(name: &'static str) -> Self {
        Self { name, started: AtomicU64::new(0) }
    }

    /// The attributes of the next one.
    fn start(&self) -> Vec<KeyValue> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}/{number}", self.name);
        vec![
            KeyValue::new("otel.component.name", name),
            KeyValue::new("otel.component.type", self.name),
        ]
    }
}

/// Whom the exporter sends to.
fn server(target: &Target) -> Vec<KeyValue> {
    match target {
        Target::Grpc { authority, .. } | Target::Http { authority, .. } => vec![
            KeyValue::new("server.address", authority.host.clone()),
            KeyValue::new("server.port", i64::from(authority.port)),
        ],
        Target::GrpcUnix { socket } | Target::HttpUnix { socket, .. } => {
            vec![KeyValue::new("server.address", socket.to_string_lossy().into_owned())]
        }
        Target::File { .. } => Vec::new(),
    }
}

/// Spans, by `error.type`.
type ByError = [(Option<&'static str>, u64)];

fn processed(offered: &Offered) -> [(Option<&'static str>, u64); 4] {
    let Offered { accepted, queue_full, too_large, late } = *offered;
    [
        (None, accepted - queue_full - too_large - late),
        (Some("queue_full"), queue_full),
        (Some("too_large"), too_large),
        (Some("already_shutdown"), late),
    ]
}

fn exported(stats: &Stats, offered: &Offered) -> [(Option<&'static str>, u64); 8] {
    let dropped = &stats.dropped;
    [
        (None, stats.delivered),
        (Some("rejected"), stats.rejected),
        (Some("queue_full"), dropped.queue_full - offered.queue_full),
        (Some("too_large"), dropped.too_large - offered.too_large),
        (Some("failed"), dropped.failed),
        (Some("retries_exhausted"), dropped.retries_exhausted),
        (Some("shutdown"), dropped.shutdown - offered.late),
        (Some("panicked"), dropped.panicked),
    ]
}

/// Observes each number. An error that never came is no series.
fn each(spans: &ByError, component: &[KeyValue], mut observe: impl FnMut(u64, &[KeyValue])) {
    for (error, spans) in spans.iter().copied().filter(|(error, n)| error.is_none() || *n > 0) {
        let error = error.map(|error| KeyValue::new("error.type", error));
        let series: Vec<_> = error.into_iter().chain(component.iter().cloned()).collect();
        observe(spans, &series);
    }
}

static PROCESSOR: Type = Type::new("tower_otlp::TracingService");
static GRPC: Type = Type::new("otlp_grpc_span_exporter");
static HTTP: Type = Type::new("otlp_http_span_exporter");
static FILE: Type = Type::new("otlp_file_span_exporter");
static IN_MEMORY: Type = Type::new("in_memory_span_exporter");

const UNIT: &str = "{span}";
