//! What a tracing service gives to programs that use the OpenTelemetry SDK.

use std::sync::Arc;

use opentelemetry::global;
use opentelemetry::trace::noop::NoopTracerProvider;

use super::TracingService;
use crate::otel::{Identity, OtlpSpanProcessor, SdkTracerProvider, W3cPropagator};
use crate::trace::Recording;

impl TracingService {
    /// A tracer provider whose spans are sampled at the configured rate and exported with those
    /// of the layers, from the same resource. Made once; every call returns the same one.
    ///
    /// Its flush and shutdown wait for the tracing service, and do not end it: see
    /// [`OtlpSpanProcessor`]. With tracing disabled it records nothing, and its spans go on in
    /// the trace of their parent, as spans that are not sampled.
    ///
    /// # Example: a span inside a handler
    ///
    /// ```
    /// use opentelemetry::trace::{Tracer, TracerProvider};
    /// use tower_otlp::TracingService;
    ///
    /// let (tracing, _spans) = TracingService::in_memory();
    /// let tracer = tracing.tracer_provider().tracer("checkout");
    /// let total = tracer.in_span("add up", |_| 1 + 2);
    /// ```
    #[must_use]
    pub fn tracer_provider(&self) -> SdkTracerProvider {
        let sampler = match &self.recording {
            Recording::On(sampler) => Some(Arc::clone(sampler)),
            Recording::Off => None,
        };
        self.provider.get(sampler, self.limits, || self.processor(Identity::Service))
    }

    /// A processor for a tracer provider that the program has already: what that one samples is
    /// exported by this tracing service too, with the provider's own resource.
    ///
    /// Each call makes a new one; a provider needs one. With tracing disabled it takes no spans.
    ///
    /// # Example: beside a processor that is there
    ///
    /// ```
    /// use opentelemetry_sdk::trace::SdkTracerProvider;
    /// use tower_otlp::TracingService;
    ///
    /// let (tracing, _spans) = TracingService::in_memory();
    /// let provider = SdkTracerProvider::builder()
    ///     .with_span_processor(tracing.span_processor())
    ///     .build();
    /// ```
    #[must_use]
    pub fn span_processor(&self) -> OtlpSpanProcessor {
        self.processor(Identity::Provider)
    }

    /// Makes [`tracer_provider`](Self::tracer_provider) and [`W3cPropagator`] the global ones of
    /// OpenTelemetry, for libraries that look there. The layers do not.
    ///
    /// Whatever was global before is replaced; of several tracing services the last one counts.
    /// With tracing disabled the global tracers do nothing and hand on the context as it is.
    pub fn install_global(&self) {
        match &self.recording {
            Recording::On(_) => global::set_tracer_provider(self.tracer_provider()),
            Recording::Off => global::set_tracer_provider(NoopTracerProvider::new()),
        }
        global::set_text_map_propagator(W3cPropagator::new());
    }

    fn processor(&self, identity: Identity) -> OtlpSpanProcessor {
        match &self.pipeline {
            Some(pipeline) => OtlpSpanProcessor::new(
                Arc::clone(&self.intake),
                pipeline.flusher(),
                self.resource.shared(),
                identity,
                self.limits,
            ),
            None => OtlpSpanProcessor::disabled(),
        }
    }
}
