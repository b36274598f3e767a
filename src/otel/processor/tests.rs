//! The processor, with a sink behind it that keeps what it is given.

mod differential;

use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, Tracer, TracerProvider,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample,
    SpanEvents, SpanLinks,
};
use prost::Message;

use super::*;
use crate::pipeline::{Batch, Failure, Outcome, Pipeline, PipelineOptions, SharedResource, Sink};
use crate::record::encode_resource;
use crate::{PerMillionSampler, SamplingRate};

#[test]
fn only_sampled_spans_are_exported() {
    let (pipeline, received) = start(Answer::Delivered);
    let processor = processor(&pipeline, Identity::Service);
    for (flags, name) in [(0, "record only"), (2, "random"), (1, "sampled"), (3, "both")] {
        processor.on_end(SpanData { name: name.into(), ..span(flags) });
    }
    processor.force_flush().unwrap();
    assert_eq!(names(&received), ["sampled", "both"]);
    assert_eq!(pipeline.intake().stats().accepted, 2);
}

#[test]
fn a_provider_that_records_more_than_it_samples_exports_what_is_sampled() {
    #[derive(Clone, Debug)]
    struct ByName;
    impl ShouldSample for ByName {
        fn should_sample(
            &self,
            _: Option<&Context>,
            _: opentelemetry::trace::TraceId,
            name: &str,
            _: &SpanKind,
            _: &[KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> SamplingResult {
            let decision = match name {
                "drop" => SamplingDecision::Drop,
                "record only" => SamplingDecision::RecordOnly,
                _ => SamplingDecision::RecordAndSample,
            };
            SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::NONE }
        }
    }

    let (pipeline, received) = start(Answer::Delivered);
    let provider = SdkTracerProvider::builder()
        .with_sampler(ByName)
        .with_span_processor(processor(&pipeline, Identity::Provider))
        .build();
    let tracer = provider.tracer("test");
    for name in ["drop", "record only", "sample"] {
        tracer.in_span(name, |_| {});
    }
    provider.force_flush().unwrap();
    assert_eq!(names(&received), ["sample"]);
}

/// HTTP/2's library makes a span of each connection, and without a parent, so that it is in no
/// context that could say to be silent.
#[test]
fn what_an_exporter_does_is_not_traced_even_where_suppression_does_not_reach() {
    #[derive(Clone, Debug, Default)]
    struct Traced(Arc<OnceLock<SdkTracer>>, Arc<Mutex<Vec<bool>>>);
    impl Traced {
        fn span(&self, parent: &Context) {
            let span = self.0.get().unwrap().start_with_context("of an export", parent);
            self.1.lock().unwrap().push(span.is_recording());
        }
    }
    impl Sink for Traced {
        fn export<'a>(&'a self, _: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
            Box::pin(async move {
                self.span(&Context::new());
                let sampled = SpanContext::new(
                    1_u128.into(),
                    1_u64.into(),
                    TraceFlags::SAMPLED,
                    true,
                    TraceState::NONE,
                );
                self.span(&Context::new().with_remote_span_context(sampled));
                let this = self.clone();
                let blocking = tokio::task::spawn_blocking(move || this.span(&Context::new()));
                blocking.await.unwrap();
                Outcome::DELIVERED
            })
        }

        fn target(&self) -> &str {
            "test"
        }
    }

    type Builder = opentelemetry_sdk::trace::TracerProviderBuilder;
    type Row = (fn(Builder) -> Builder, bool);
    let samplers: [Row; 2] = [
        (|builder| builder.with_sampler(Sampler::AlwaysOn), true),
        (|builder| builder.with_sampler(PerMillionSampler::new(SamplingRate::ALWAYS)), false),
    ];
    for (with_sampler, recorded) in samplers {
        let sink = Traced::default();
        let sender = Box::new(sink.clone());
        let pipeline = Pipeline::start(sender, PipelineOptions::default(), None).unwrap();
        let provider = with_sampler(SdkTracerProvider::builder())
            .with_span_processor(processor(&pipeline, Identity::Provider))
            .build();
        let tracer = sink.0.get_or_init(|| provider.tracer("test"));
        for spans in 1..=3 {
            tracer.in_span("a request", |_| {});
            provider.force_flush().unwrap();
            assert_eq!(pipeline.intake().stats().accepted, spans);
        }
        assert_eq!(*sink.1.lock().unwrap(), [recorded; 3 * 3], "our sampler does not even try");
    }
}

#[test]
fn the_resource_is_the_service_s_or_the_provider_s() {
    let resource = || {
        Resource::builder_empty()
            .with_schema_url([KeyValue::new("z", 1), KeyValue::new("a", "x")], "https://schema")
            .build()
    };
    let table = [
        (Identity::Service, true, vec!["service.name"], "", "its own provider's"),
        (Identity::Provider, true, vec!["a", "z"], "https://schema", "another provider's, sorted"),
        (Identity::Provider, false, vec!["service.name"], "", "of a provider that does not tell"),
    ];
    for (identity, told, keys, schema_url, reason) in table {
        let (pipeline, received) = start(Answer::Delivered);
        let mut processor = processor(&pipeline, identity);
        // What was cached for the earlier resource is not used for the later one.
        processor.on_end(span(1));
        processor.force_flush().unwrap();
        received.lock().unwrap().clear();
        if told {
            processor.set_resource(&resource());
        }
        processor.on_end(span(1));
        processor.force_flush().unwrap();

        let received = received.lock().unwrap();
        let [only] = &received[..] else { panic!("{reason}: {received:?}") };
        let resource = only.resource.as_ref().unwrap();
        let found: Vec<_> = resource.attributes.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(found, keys, "{reason}");
        assert_eq!(only.schema_url, schema_url, "{reason}");
    }
}

#[test]
fn a_flush_says_what_it_could_not_deliver() {
    let flush = |answer, count: u8| {
        let timeout = match answer {
            Answer::Never => Duration::from_millis(50),
            Answer::Delivered | Answer::Rejected | Answer::Failed => DEADLINE,
        };
        let (pipeline, _received) = start(answer);
        let processor = processor(&pipeline, Identity::Service);
        (0..count).for_each(|_| processor.on_end(span(1)));
        let results = [(); 2].map(|()| {
            let result = processor.shutdown_with_timeout(timeout);
            result.map_err(|error| error.to_string()).err().unwrap_or_default()
        });
        (results, processor, pipeline)
    };
    // Of a first and a second flush.
    let table = [
        (Answer::Delivered, 3, ["", ""], "delivered"),
        (Answer::Failed, 0, ["", ""], "nothing to lose"),
        (Answer::Failed, 3, ["newly lost 3, still pending 0", ""], "lost, told once"),
        (Answer::Rejected, 3, ["newly lost 3, still pending 0", ""], "rejected"),
        (
            Answer::Never,
            3,
            ["newly lost 0, still pending 3", "newly lost 0, still pending 3"],
            "no answer in time",
        ),
    ];
    for (answer, count, expected, reason) in table {
        let (results, ..) = flush(answer, count);
        for (result, expected) in results.iter().zip(expected) {
            assert_eq!(result.is_empty(), expected.is_empty(), "{reason}: {result}");
            assert!(result.contains(expected), "{reason}: {result}");
        }
    }

    let ([_, _], processor, pipeline) = flush(Answer::Delivered, 1);
    pipeline.shutdown_blocking(DEADLINE);
    processor.on_end(span(1));
    let error = processor.force_flush().unwrap_err().to_string();
    assert!(error.contains("newly lost 1, still pending 0"), "shut down: {error}");
    assert!(error.contains("shut down 1"), "and the reason is told: {error}");
}

#[test]
fn a_processor_keeps_no_pipeline_running() {
    let (pipeline, _received) = start(Answer::Delivered);
    let processor = processor(&pipeline, Identity::Service);
    let intake = Arc::clone(pipeline.intake());
    drop(pipeline);

    let given_up = Instant::now() + DEADLINE;
    while intake.stats().dropped.shutdown == 0 {
        assert!(Instant::now() < given_up, "spans are still taken: {}", intake.stats());
        processor.on_end(span(1));
    }
    let _ = processor.force_flush();
    assert!(Instant::now() < given_up, "a flush waits for nobody");
}

#[test]
fn a_shutdown_of_the_provider_leaves_the_pipeline_running() {
    let (pipeline, received) = start(Answer::Delivered);
    let provider = |sampler| {
        SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_span_processor(processor(&pipeline, Identity::Provider))
            .build()
    };
    let first = provider(Sampler::AlwaysOn);
    first.tracer("test").in_span("first", |_| {});
    first.shutdown().unwrap();
    first.tracer("test").in_span("after the shutdown", |_| {});
    assert_eq!(names(&received), ["first"], "a shutdown flushes, and ends the provider");

    let second = provider(Sampler::AlwaysOn);
    second.tracer("test").in_span("second", |_| {});
    drop(second);
    assert_eq!(names(&received), ["first", "second"], "so does a drop");
    assert_eq!(pipeline.intake().stats().pending, 0);
}

#[test]
fn a_disabled_processor_takes_nothing_and_fails_nothing() {
    let mut processor = OtlpSpanProcessor::disabled();
    processor.set_resource(&Resource::builder_empty().build());
    processor.on_end(span(1));
    processor.force_flush().unwrap();
    processor.shutdown().unwrap();
}

#[test]
fn a_span_that_ends_as_its_thread_does_is_exported() {
    struct EndsOnDrop(OtlpSpanProcessor);
    impl Drop for EndsOnDrop {
        fn drop(&mut self) {
            // Made earlier than the scratch, so destroyed later.
            assert!(SCRATCH.try_with(|_| {}).is_err(), "the scratch is gone");
            self.0.on_end(span(1));
        }
    }
    thread_local!(static LATE: RefCell<Option<EndsOnDrop>> = const { RefCell::new(None) });

    let (pipeline, received) = start(Answer::Delivered);
    let processor = processor(&pipeline, Identity::Service);
    std::thread::spawn(move || {
        LATE.with(|late| *late.borrow_mut() = Some(EndsOnDrop(processor)));
        SCRATCH.with(|_| {});
    })
    .join()
    .unwrap();
    pipeline.flush_blocking(DEADLINE);
    assert_eq!(names(&received), ["name"]);
}

#[test]
fn a_large_span_leaves_no_large_buffer() {
    let (pipeline, received) = start(Answer::Delivered);
    let processor = processor(&pipeline, Identity::Service);
    let long = "x".repeat(MAX_CAPACITY + 1);
    processor.on_end(SpanData { attributes: vec![KeyValue::new("k", long.clone())], ..span(1) });
    SCRATCH.with_borrow(|scratch| assert!(scratch.buffer.capacity() <= MAX_CAPACITY));

    processor.force_flush().unwrap();
    let received = received.lock().unwrap();
    let span = &received[0].scope_spans[0].spans[0];
    let value = span.attributes[0].value.clone().unwrap().value;
    assert_eq!(value, Some(ProtoValue::StringValue(long)), "and was not cut");
}

/// What the sink says of every batch.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Delivered,
    Rejected,
    Failed,
    Never,
}

type Received = Arc<Mutex<Vec<ResourceSpans>>>;

struct Keep(Received, Answer);

impl Sink for Keep {
    fn concurrency(&self) -> usize {
        1
    }

    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        for request in batch.requests() {
            let request = ExportTraceServiceRequest::decode(&*request).unwrap();
            self.0.lock().unwrap().extend(request.resource_spans);
        }
        let outcome = match self.1 {
            Answer::Delivered => Outcome::DELIVERED,
            Answer::Rejected => {
                Outcome::Delivered { rejected: batch.spans(), message: "no".into() }
            }
            Answer::Failed => Outcome::Failed(Failure::for_good("no")),
            Answer::Never => return Box::pin(pending()),
        };
        Box::pin(ready(outcome))
    }

    fn target(&self) -> &str {
        "test"
    }
}

fn start(answer: Answer) -> (Pipeline, Received) {
    let received = Received::default();
    let sink = Box::new(Keep(Arc::clone(&received), answer));
    let pipeline = Pipeline::start(sink, PipelineOptions::default(), None).unwrap();
    (pipeline, received)
}

fn processor(pipeline: &Pipeline, identity: Identity) -> OtlpSpanProcessor {
    let resource = encode_resource(&[KeyValue::new("service.name", "shop")], "");
    let intake = Arc::clone(pipeline.intake());
    let limits = SpanLimits::default();
    let resource = SharedResource::new(resource);
    OtlpSpanProcessor::new(intake, pipeline.flusher(), resource, identity, limits)
}

fn names(received: &Received) -> Vec<String> {
    let received = received.lock().unwrap();
    let scopes = received.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.name.clone()).collect()
}

fn span(flags: u8) -> SpanData {
    let span_context = SpanContext::new(
        1_u128.into(),
        2_u64.into(),
        TraceFlags::new(flags),
        false,
        TraceState::NONE,
    );
    SpanData {
        span_context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "name".into(),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}
