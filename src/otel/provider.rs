//! The tracer provider of a tracing service.

use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, Sampler as SdkSampler, SdkTracerProvider};

use super::processor::OtlpSpanProcessor;
use super::sampler::ServiceSampler;
use crate::context::ids;
use crate::sampling::Sampler;

/// The provider, once someone has asked for it.
#[derive(Debug, Default)]
pub(crate) struct Provider(OnceLock<SdkTracerProvider>);

impl Provider {
    /// The provider, made the first time. Without a sampler it records nothing, not even for a
    /// parent that is sampled.
    pub(crate) fn get(
        &self,
        sampler: Option<Arc<Sampler>>,
        processor: impl FnOnce() -> OtlpSpanProcessor,
    ) -> SdkTracerProvider {
        let provider = self.0.get_or_init(|| {
            let builder = SdkTracerProvider::builder().with_id_generator(Ids);
            match sampler {
                Some(sampler) => builder
                    .with_sampler(ServiceSampler(sampler))
                    .with_span_processor(processor())
                    .build(),
                None => builder.with_sampler(SdkSampler::AlwaysOff).build(),
            }
        });
        provider.clone()
    }
}

/// The ids of the layers. The SDK's own generator may draw zero, and panics where the operating
/// system denies randomness.
#[derive(Debug)]
struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        ids::new_trace_id()
    }

    fn new_span_id(&self) -> SpanId {
        ids::new_span_id()
    }
}
