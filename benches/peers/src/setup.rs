//! What each layer needs to run beside it: providers, exporters and subscribers.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrace::collector::Config;
use fastrace_opentelemetry::OpenTelemetryReporter;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, global};
use opentelemetry_instrumentation_tower::http::server::{
    Layer as InstrumentationTower, LayerBuilder,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tower_otlp::{ResponseHeader, TraceLayer, TracingService, TracingServiceConfig};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exporters::{self, Counted, Nowhere, Sdk, To};
use crate::subject::{Mode, Subject, Variation};

/// What is behind a layer, and counts its spans.
pub(crate) enum Tracing {
    None,
    Ours(Box<TracingService>),
    Sdk(Sdk),
    Fastrace { exported: Arc<AtomicU64>, _runtime: Runtime },
}

impl Tracing {
    /// Sets things up as the layer's documentation says. Some are global: once a process.
    ///
    /// Ours always exports to `sink`, the others only if `to` says so.
    pub(crate) fn start(subject: Subject, mode: Mode, sink: SocketAddr, to: To<'_>) -> Self {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let ratio = if mode == Mode::Sampled { 1.0 } else { 0.0 };
        let sdk = || Sdk::start(to, exporters::sampling(ratio));
        match subject {
            Subject::Bare | Subject::Nothing | Subject::Wrapping | Subject::TowerHttp => Self::None,
            Subject::Ours(variation) => {
                if variation == Variation::Metrics {
                    global::set_meter_provider(exporters::meters());
                }
                let config = variation.of_config(config(mode, sink));
                Self::Ours(Box::new(config.start("peers").expect("a thread")))
            }
            Subject::FastraceAxum | Subject::FastraceTonic => fastrace(to),
            Subject::InstrumentationTower | Subject::InstrumentationTowerTraces => {
                let sdk = sdk();
                global::set_tracer_provider(sdk.provider.clone());
                global::set_meter_provider(exporters::meters());
                Self::Sdk(sdk)
            }
            Subject::AxumTracing
            | Subject::TonicTracing
            | Subject::TowerOtel
            | Subject::TowerHttpOpenTelemetry
            | Subject::AxumOtel => {
                let sdk = sdk();
                subscribe(&sdk.provider);
                Self::Sdk(sdk)
            }
        }
    }

    /// Our layer for servers.
    pub(crate) fn server(&self, variation: Variation) -> TraceLayer {
        variation.of_layer(TraceLayer::server(self.ours()))
    }

    /// Our layer for clients.
    pub(crate) fn client(&self, variation: Variation) -> TraceLayer {
        variation.of_layer(TraceLayer::client(self.ours()))
    }

    fn ours(&self) -> &TracingService {
        match self {
            Self::Ours(tracing) => tracing,
            _ => panic!("it was started for another layer"),
        }
    }

    /// Exports what waits, and tells how many spans were exported in all.
    pub(crate) fn finish(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Ours(tracing) => tracing.shutdown_blocking(DEADLINE).delivered,
            Self::Sdk(sdk) => sdk.finish(),
            Self::Fastrace { exported, .. } => {
                fastrace::flush();
                exported.load(Ordering::Relaxed)
            }
        }
    }
}

impl Variation {
    fn of_config(self, config: TracingServiceConfig) -> TracingServiceConfig {
        match self {
            Self::AsItComes | Self::Header | Self::Metrics => config,
            Self::Silent | Self::Lean | Self::Extension => {
                config.response_header(ResponseHeader::Off)
            }
        }
    }

    fn of_layer(self, layer: TraceLayer) -> TraceLayer {
        match self {
            Self::AsItComes | Self::Extension => layer,
            Self::Silent | Self::Header => layer.response_extension(false),
            Self::Lean => layer.response_extension(false).open_telemetry_context(false),
            Self::Metrics => layer.metrics(&*global::meter_provider()),
        }
    }
}

/// That of opentelemetry-instrumentation-tower, by the global providers.
pub(crate) fn instrumentation_tower(subject: Subject) -> InstrumentationTower {
    let with_metrics = subject == Subject::InstrumentationTower;
    LayerBuilder::builder().with_metrics(with_metrics).build().expect("a layer")
}

fn config(mode: Mode, sink: SocketAddr) -> TracingServiceConfig {
    let grpc = || TracingServiceConfig::new(format!("grpc://{sink}").parse().expect("a URL"));
    match mode {
        Mode::Off => TracingServiceConfig::disabled(),
        Mode::Unsampled | Mode::Forced => grpc().sampling_rate_per_million(0),
        Mode::Sampled => grpc().sampling_rate_per_million(1_000_000),
    }
}

fn fastrace(to: To<'_>) -> Tracing {
    let runtime = exporters::runtime();
    let exported = Arc::default();
    let counted = Arc::clone(&exported);
    let (resource, scope) =
        (Cow::Owned(exporters::resource()), InstrumentationScope::builder("peers").build());
    let reporter = match to {
        To::Grpc(address) => {
            let _inside = runtime.enter();
            let exporter = Counted::new(exporters::grpc(address), counted);
            let handle = runtime.handle().clone();
            OpenTelemetryReporter::new(exporter, resource, scope)
                .with_block_on(move |exporting| handle.block_on(exporting))
        }
        _ => OpenTelemetryReporter::new(Counted::new(Nowhere, counted), resource, scope),
    };
    fastrace::set_reporter(reporter, Config::default());
    Tracing::Fastrace { exported, _runtime: runtime }
}

/// Spans of `tracing` become spans of OpenTelemetry, those of the layers at least.
fn subscribe(provider: &SdkTracerProvider) {
    let levels = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("otel::tracing", LevelFilter::TRACE);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("peers"));
    tracing_subscriber::registry().with(layer.with_filter(levels)).init();
}

const DEADLINE: Duration = Duration::from_secs(20);
