//! What is compared: the same route, with one layer or another around it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum_otel::{AxumOtelOnFailure, AxumOtelOnResponse, AxumOtelSpanCreator};
use axum_tracing_opentelemetry::middleware::{OtelAxumLayer, OtelInResponseLayer};
use fastrace::collector::{Config, SpanContext};
use fastrace_axum::FastraceLayer;
use fastrace_opentelemetry::OpenTelemetryReporter;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, global};
use opentelemetry_instrumentation_tower::http::server::LayerBuilder;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tower_otlp::{ResponseHeader, TraceLayer, TracingService, TracingServiceConfig};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exporters::{self, Counted, Nowhere, Sdk, To};
use crate::{nothing, wrapping};

/// Whose layer it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    Bare,
    Nothing,
    Wrapping,
    Ours,
    /// Ours, which says nothing in the response, as most of the others.
    OursSilent,
    TowerHttp,
    Fastrace,
    InstrumentationTower,
    InstrumentationTowerTraces,
    AxumTracing,
    TowerOtel,
    AxumOtel,
}

/// What becomes of the requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Tracing is configured off.
    Off,
    /// None is sampled.
    Unsampled,
    /// All are sampled.
    Sampled,
    /// All are sampled because the caller says so, and none would be otherwise.
    Forced,
}

impl Subject {
    pub(crate) const PEERS: [Self; 6] = [
        Self::Fastrace,
        Self::InstrumentationTowerTraces,
        Self::InstrumentationTower,
        Self::TowerOtel,
        Self::AxumTracing,
        Self::AxumOtel,
    ];

    const ALL: [Self; 12] = [
        Self::Bare,
        Self::Nothing,
        Self::Wrapping,
        Self::Ours,
        Self::OursSilent,
        Self::TowerHttp,
        Self::Fastrace,
        Self::InstrumentationTower,
        Self::InstrumentationTowerTraces,
        Self::AxumTracing,
        Self::TowerOtel,
        Self::AxumOtel,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Nothing => "a layer that does nothing",
            Self::Wrapping => "a layer that does nothing, body wrapped",
            Self::Ours => "tower-otlp",
            Self::OursSilent => "tower-otlp, without ids in the response",
            Self::TowerHttp => "tower-http `TraceLayer`, no subscriber",
            Self::Fastrace => "fastrace-axum",
            Self::InstrumentationTower => "opentelemetry-instrumentation-tower, with its metrics",
            Self::InstrumentationTowerTraces => "opentelemetry-instrumentation-tower",
            Self::AxumTracing => "axum-tracing-opentelemetry",
            Self::TowerOtel => "tower-otel",
            Self::AxumOtel => "axum-otel",
        }
    }
}

impl FromStr for Subject {
    type Err = ();

    /// From what `Debug` has written.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|subject| format!("{subject:?}") == text).ok_or(())
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Off, Self::Unsampled, Self::Sampled, Self::Forced];
        all.into_iter().find(|mode| format!("{mode:?}") == text).ok_or(())
    }
}

/// The route with a layer, and what counts its spans.
pub(crate) struct Served {
    pub(crate) app: Router,
    tracing: Tracing,
}

enum Tracing {
    None,
    Ours(Box<TracingService>),
    Sdk(Sdk),
    Fastrace { exported: Arc<AtomicU64>, _runtime: Runtime },
}

pub(crate) fn bare() -> Router {
    // With its state, as a server gives it one once, and not for each request.
    Router::new().route("/users/{id}", get(user)).with_state(())
}

async fn user(Path(id): Path<u64>) -> String {
    format!("user {id}")
}

impl Served {
    /// Sets things up as the layer's documentation says. Some are global: once a process.
    ///
    /// Ours always exports to `sink`, the others only if `to` says so.
    pub(crate) fn start(subject: Subject, mode: Mode, sink: SocketAddr, to: To<'_>) -> Self {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let ratio = if mode == Mode::Sampled { 1.0 } else { 0.0 };
        let sdk = || Sdk::start(to, exporters::sampling(ratio));
        let app = bare();
        match subject {
            Subject::Bare => Self { app, tracing: Tracing::None },
            Subject::Nothing => Self { app: app.layer(nothing::Layer), tracing: Tracing::None },
            Subject::Wrapping => Self { app: app.layer(wrapping::Layer), tracing: Tracing::None },
            Subject::TowerHttp => {
                let layer = tower_http::trace::TraceLayer::new_for_http();
                Self { app: app.layer(layer), tracing: Tracing::None }
            }
            Subject::Ours => {
                let tracing = ours(config(mode, sink));
                let app = app.layer(TraceLayer::server(&tracing));
                Self { app, tracing: Tracing::Ours(Box::new(tracing)) }
            }
            Subject::OursSilent => {
                let tracing = ours(config(mode, sink).response_header(ResponseHeader::Off));
                let app = app.layer(TraceLayer::server(&tracing).response_extension(false));
                Self { app, tracing: Tracing::Ours(Box::new(tracing)) }
            }
            Subject::Fastrace => fastrace(app, mode, to),
            Subject::InstrumentationTower | Subject::InstrumentationTowerTraces => {
                let sdk = sdk();
                global::set_tracer_provider(sdk.provider.clone());
                global::set_meter_provider(exporters::meters());
                let layer = LayerBuilder::builder()
                    .with_metrics(subject == Subject::InstrumentationTower)
                    .build();
                Self { app: app.layer(layer.expect("a layer")), tracing: Tracing::Sdk(sdk) }
            }
            Subject::AxumTracing => {
                let sdk = sdk();
                subscribe(&sdk.provider);
                let app = app.layer(OtelInResponseLayer).layer(OtelAxumLayer::default());
                Self { app, tracing: Tracing::Sdk(sdk) }
            }
            Subject::TowerOtel => {
                let sdk = sdk();
                subscribe(&sdk.provider);
                let layer = tower_otel::trace::HttpLayer::server(Level::INFO);
                Self { app: app.layer(layer), tracing: Tracing::Sdk(sdk) }
            }
            Subject::AxumOtel => {
                let sdk = sdk();
                subscribe(&sdk.provider);
                let layer = tower_http_of_axum_otel::trace::TraceLayer::new_for_http()
                    .make_span_with(AxumOtelSpanCreator::new().level(Level::INFO))
                    .on_response(AxumOtelOnResponse::new().level(Level::INFO))
                    .on_failure(AxumOtelOnFailure::new());
                Self { app: app.layer(layer), tracing: Tracing::Sdk(sdk) }
            }
        }
    }

    /// Exports what waits, and tells how many spans were exported in all.
    pub(crate) fn finish(self) -> u64 {
        drop(self.app);
        match self.tracing {
            Tracing::None => 0,
            Tracing::Ours(tracing) => tracing.shutdown_blocking(DEADLINE).delivered,
            Tracing::Sdk(sdk) => sdk.finish(),
            Tracing::Fastrace { exported, .. } => {
                fastrace::flush();
                exported.load(Ordering::Relaxed)
            }
        }
    }
}

fn ours(config: TracingServiceConfig) -> TracingService {
    config.start("peers").expect("a thread")
}

fn config(mode: Mode, sink: SocketAddr) -> TracingServiceConfig {
    match mode {
        Mode::Off => TracingServiceConfig::disabled(),
        Mode::Unsampled | Mode::Forced => grpc(sink).sampling_rate_per_million(0),
        Mode::Sampled => grpc(sink).sampling_rate_per_million(1_000_000),
    }
}

fn grpc(sink: SocketAddr) -> TracingServiceConfig {
    TracingServiceConfig::new(format!("grpc://{sink}").parse().expect("a URL"))
}

fn fastrace(app: Router, mode: Mode, to: To<'_>) -> Served {
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
    let layer = FastraceLayer::default();
    let layer = match mode {
        // It has no sampler: who starts a trace decides.
        Mode::Off | Mode::Unsampled => {
            layer.with_span_context_extractor(|_| Some(SpanContext::random().sampled(false)))
        }
        Mode::Sampled | Mode::Forced => layer,
    };
    Served { app: app.layer(layer), tracing: Tracing::Fastrace { exported, _runtime: runtime } }
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
