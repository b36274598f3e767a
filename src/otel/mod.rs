//! The OpenTelemetry SDK's side: its spans on the pipeline of the layers.
//!
//! # What is for whom
//!
//! | you have | take |
//! |---|---|
//! | nothing yet | [`TracingService::tracer_provider`]: tracers that sample and export like the layers |
//! | libraries that use OpenTelemetry's globals | [`TracingService::install_global`]: the same provider, and the propagator |
//! | an `SdkTracerProvider` of your own | [`OtlpSpanProcessor`], from [`TracingService::span_processor`], added to it |
//! | one that should also sample alike | [`PerMillionSampler`] |
//! | carriers of your own: queues, jobs | [`W3cPropagator`] |
//!
//! ```
//! use opentelemetry::trace::{Tracer, TracerProvider};
//! use tower_otlp::TracingService;
//!
//! let (tracing, _spans) = TracingService::in_memory();
//! let tracer = tracing.tracer_provider().tracer("checkout");
//! tracer.in_span("charge the card", |_context| { /* … */ });
//! ```
//!
//! # How spans nest
//!
//! While a request is served, the layer's span stands in the OpenTelemetry `Context`, so a span
//! that any tracer starts there becomes its child: in its trace, recorded if it is, exported with
//! it. What was sent to the service as tracestate and baggage stands there too, and goes on with
//! the calls that are made under the child.
//!
//! ```text
//! request ─► TraceLayer: SERVER span ─► tracer: INTERNAL span ─► W3cPropagator: the next service
//!            scope "tower-otlp"         scope of the tracer
//! ```
//!
//! Of a request that is not recorded no child is either, by [`PerMillionSampler`] as by the SDK's
//! `ParentBased`. The SDK forgets a parent's *random* flag, and what OpenTelemetry's own types
//! cannot hold of a tracestate; both come from the context when the child is sent on, for as long
//! as a tracestate or baggage came with the request.
//!
//! Spans of [`TracingService::tracer_provider`] have the resource of the tracing service; those of
//! another provider have that provider's.
//!
//! # With `tracing`
//!
//! A layer of `tracing-opentelemetry` (0.34) hands the spans of `tracing` to a tracer. It goes by
//! the same context: an `#[instrument]`ed handler is the child of its request, in the pipeline of
//! its request, and spans of either kind nest in each other. Log lines name the span they are
//! logged in by [`WithTraceIds`], feature `tracing`.
//!
//! ```
//! # #[cfg(feature = "tracing")] {
//! use opentelemetry::trace::TracerProvider;
//! use tower_otlp::{TracingService, WithTraceIds};
//! use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt};
//!
//! let (tracing, _spans) = TracingService::in_memory();
//! let tracer = tracing.tracer_provider().tracer("checkout");
//! let subscriber = tracing_subscriber::registry()
//!     .with(EnvFilter::new("info"))
//!     .with(tracing_opentelemetry::layer().with_tracer(tracer))
//!     .with(fmt::layer().map_event_format(WithTraceIds::from));
//! // In `main`: `.init()`.
//! # drop(subscriber);
//! # }
//! ```
//!
//! - **Order.** The layer of spans comes before that of lines. It only matters to lines about
//!   spans themselves (`with_span_events`): the one about entering a span then has its ids.
//! - **Tasks.** What is spawned is in no trace, unless by `.in_current_span()` of `tracing` or by
//!   `.with_context(Context::current())` of OpenTelemetry.
//! - **Events** inside a span of `tracing` become events of that span. Those of a handler without
//!   one are lines with ids, and no more.
//! - **Requests that are not recorded** have no spans of `tracing` either, and lines with ids.
//! - **Libraries.** h2, below HTTP/2 and gRPC, has spans of its own at `DEBUG` and `TRACE`, each
//!   connection's a trace of its own. A filter that lets them through records them for the
//!   service's own servers and clients; `h2=off` keeps them out. What the exporter does never gets
//!   into the pipeline, whatever the filter. Only the connection of a channel that the program has
//!   given it is the program's own: there each export would bring more spans, and `h2=off` is
//!   needed. Another processor, beside ours on a provider of your
//!   own, is shown it: write `h2=off` there, or have [`PerMillionSampler`] sample, which leaves it
//!   out.
//! - **Context activation** of the layer has to stay on, as it is by default: without it neither
//!   lines nor OpenTelemetry's API know of its spans.
//!
//! # When things end
//!
//! A provider's flush and shutdown wait for the pipeline and leave it running: it is the
//! [`TracingService`]'s. After [`TracingService::shutdown`] tracers still make spans. They are
//! counted as dropped, `shutdown`, when they end, so nothing goes missing from the
//! [`Stats`](crate::Stats).
//!
//! With tracing disabled, spans of the provider are not recorded. They go on in the trace of their
//! parent, as spans that are not sampled.
//!
#![cfg_attr(feature = "tracing", doc = "[`WithTraceIds`]: crate::WithTraceIds")]
#![cfg_attr(
    not(feature = "tracing"),
    doc = "[`WithTraceIds`]: https://docs.rs/tower-otlp/latest/tower_otlp/struct.WithTraceIds.html"
)]
//! [`TracingService`]: crate::TracingService
//! [`TracingService::install_global`]: crate::TracingService::install_global
//! [`TracingService::shutdown`]: crate::TracingService::shutdown
//! [`TracingService::span_processor`]: crate::TracingService::span_processor
//! [`TracingService::tracer_provider`]: crate::TracingService::tracer_provider

mod processor;
mod propagator;
mod provider;
mod sampler;
mod scopes;

pub(crate) use opentelemetry_sdk::trace::SdkTracerProvider;
pub(crate) use processor::Identity;
pub use processor::OtlpSpanProcessor;
pub use propagator::W3cPropagator;
pub(crate) use provider::Provider;
pub use sampler::PerMillionSampler;
