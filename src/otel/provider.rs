//! The tracer provider of a tracing service.

use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{
    IdGenerator, Sampler as SdkSampler, SdkTracerProvider, SpanLimits as SdkLimits,
};

use super::processor::OtlpSpanProcessor;
use super::sampler::ServiceSampler;
use crate::context::ids;
use crate::record::SpanLimits;
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
        limits: SpanLimits,
        processor: impl FnOnce() -> OtlpSpanProcessor,
    ) -> SdkTracerProvider {
        let provider = self.0.get_or_init(|| {
            let limits = SdkLimits {
                max_attributes_per_span: limits.attributes,
                max_events_per_span: limits.events,
                max_links_per_span: limits.links,
                max_attributes_per_event: limits.attributes_per_event,
                max_attributes_per_link: limits.attributes_per_link,
            };
            let builder =
                SdkTracerProvider::builder().with_id_generator(Ids).with_span_limits(limits);
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
