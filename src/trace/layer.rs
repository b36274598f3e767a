//! [`TraceLayer`], and the settings that all its services share.

use std::sync::Arc;

use tower_layer::Layer;

use super::metrics::Metrics;
use super::service::Trace;
use crate::context::ResponseHeader;
use crate::pipeline::{Intake, Scope};
use crate::record::SpanLimits;
use crate::sampling::SamplingRate;

/// A [`Layer`] that records a span for each request of the service it wraps.
///
/// Made by [`TraceLayer::server`]. See the [module documentation](crate::trace) for where to put
/// it and when exactly a span ends.
#[derive(Clone, Debug)]
pub struct TraceLayer {
    settings: Arc<Settings>,
}

/// What the services of one layer share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) intake: Arc<Intake>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) limits: SpanLimits,
    pub(crate) recording: Recording,
    pub(crate) response_header: ResponseHeader,
    pub(crate) metrics: Metrics,
}

/// Whether spans are recorded at all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Recording {
    /// No span is made; the context that came is handed through.
    Off,
    /// Spans are made, those of new traces at this rate.
    On(SamplingRate),
}

impl TraceLayer {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }

    /// Measures requests with instruments of this provider, whether they are sampled or not.
    ///
    /// Defaults to measuring nothing. The [module documentation](crate::trace#what-is-measured)
    /// says what is measured. A layer inside another measures its requests, too, if it is told to.
    ///
    /// For the global provider of OpenTelemetry, give `&*global::meter_provider()` once the program
    /// has set it: a layer that was made earlier measures nothing.
    ///
    /// # Example: a service whose requests are counted and timed
    ///
    /// ```
    /// use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
    /// use tower_otlp::{TraceLayer, TracingService};
    ///
    /// # let (tracing, _spans) = TracingService::in_memory();
    /// let exporter = InMemoryMetricExporter::default(); // or that of `opentelemetry-otlp`
    /// let reader = PeriodicReader::builder(exporter).build();
    /// let meters = SdkMeterProvider::builder().with_reader(reader).build();
    ///
    /// let layer = TraceLayer::server(&tracing).metrics(&meters);
    /// ```
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(
        mut self,
        provider: &(impl opentelemetry::metrics::MeterProvider + ?Sized),
    ) -> Self {
        Arc::make_mut(&mut self.settings).metrics.measure_with(provider);
        self
    }

    /// Whether the sizes of HTTP bodies are measured, too, where [`metrics`](Self::metrics) are.
    ///
    /// Defaults to `false`. In bytes: of a request as its `Content-Length` has it, and not at all
    /// without one; of a response as it passes this layer, also when that was not all of it.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn body_size_metrics(mut self, body_sizes: bool) -> Self {
        Arc::make_mut(&mut self.settings).metrics.body_sizes(body_sizes);
        self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace::new(inner, Arc::clone(&self.settings))
    }
}
