//! Spans of the OpenTelemetry SDK beside those of the layers.

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    FutureExt, Span, SpanKind, Status, TraceContextExt, TraceId, Tracer, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, Value, global};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{
    InMemorySpans, RecordedSpan, TraceLayer, TracingService, TracingServiceConfig, W3cPropagator,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const ALWAYS: u32 = 1_000_000;
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_span_of_the_handler_is_a_child_of_the_request_s() {
    let (tracing, spans) = at_rate(ALWAYS);
    let scope = InstrumentationScope::builder("app").with_version("1.2.3").build();
    let tracer = tracing.tracer_provider().tracer_with_scope(scope);

    serve(&tracing, "", "", async || {
        let mut span = tracer.span_builder("charge").with_kind(SpanKind::Client).start(&tracer);
        span.set_attribute(KeyValue::new("amount", 1));
        span.set_attribute(KeyValue::new("amount", 2));
        span.add_event("declined", vec![KeyValue::new("code", "51")]);
        span.set_status(Status::error("declined"));
        // Across an await, a grandchild, by the context that is current then.
        let context = Context::current_with_span(span);
        let retry = async { tracer.in_span("retry", |_| {}) };
        tokio::task::yield_now().with_context(context.clone()).await;
        retry.with_context(context).await;
    })
    .await;

    let spans = all(tracing, spans).await;
    let [retry, charge, server] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!([&*retry.name, &*charge.name, &*server.name], ["retry", "charge", "GET"]);
    assert_eq!(server.parent_span_id, None);
    assert_eq!(charge.parent_span_id, Some(server.span_id));
    assert_eq!(retry.parent_span_id, Some(charge.span_id));
    for span in [retry, charge] {
        assert_eq!(span.trace_id, server.trace_id, "one trace");
        assert_eq!(span.resource, server.resource, "one resource");
        assert_eq!((&*span.scope_name, &*span.scope_version), ("app", "1.2.3"));
        assert_eq!(span.flags, 0x103, "sampled, of a random id, with a local parent");
    }
    assert_eq!(server.scope_name, "tower-otlp");

    assert_eq!(charge.kind, SpanKind::Client);
    assert_eq!(charge.attributes, [KeyValue::new("amount", 2)], "the last value of a key");
    assert_eq!(charge.status, Status::error("declined"));
    let [event] = &charge.events[..] else { panic!("{:?}", charge.events) };
    assert_eq!((&*event.name, event.attribute("code")), ("declined", Some(&Value::from("51"))));
    assert!(server.start_time <= charge.start_time && charge.end_time <= server.end_time);
}

#[tokio::test]
async fn the_sdk_samples_as_the_layers_do() {
    // Rate, flags of the caller's span if there is one, spans recorded with the layer and without.
    let table = [
        (ALWAYS, None, 2, 1, "every new trace"),
        (0, None, 0, 0, "no new trace"),
        (0, Some("01"), 2, 1, "forced by the caller"),
        (ALWAYS, Some("00"), 0, 0, "the caller does not want it"),
        (ALWAYS, Some("03"), 2, 1, "random and sampled"),
        (ALWAYS, Some("02"), 0, 0, "random alone"),
    ];
    for (rate, flags, layered, alone, reason) in table {
        let traceparent = flags.map(|flags| format!("00-{TRACE}-{PARENT}-{flags}"));
        let traceparent = traceparent.as_deref().unwrap_or_default();

        let (tracing, spans) = at_rate(rate);
        let tracer = tracing.tracer_provider().tracer("app");
        serve(&tracing, traceparent, "", async || tracer.in_span("child", |_| {})).await;
        let recorded = all(tracing, spans).await;
        assert_eq!(recorded.len(), layered, "{reason}");
        if flags.is_some() {
            let trace = TraceId::from_hex(TRACE).unwrap();
            assert!(recorded.iter().all(|span| span.trace_id == trace), "{reason}");
        }

        // A consumer of a queue, say: the propagator and a tracer, without a layer.
        let (tracing, spans) = at_rate(rate);
        let tracer = tracing.tracer_provider().tracer("app");
        let headers = headers(traceparent, "");
        let remote = W3cPropagator::new().extract(&HeaderExtractor(&headers));
        drop(tracer.start_with_context("consume", &remote));
        let recorded = all(tracing, spans).await;
        assert_eq!(recorded.len(), alone, "{reason}, without a layer");
        for span in recorded.iter().filter(|_| flags.is_some()) {
            assert_eq!(span.parent_span_id.unwrap().to_string(), PARENT, "{reason}");
            assert_eq!(span.flags & 0x300, 0x300, "{reason}: the parent is remote");
        }
    }
}

#[tokio::test]
async fn what_the_sdk_forgets_of_a_trace_goes_on_all_the_same() {
    // A tracestate that OpenTelemetry's own type refuses.
    const STATE: &str = "tenant@@system=1,b=2";
    for flags in ["02", "03"] {
        let (tracing, spans) = at_rate(ALWAYS);
        let tracer = tracing.tracer_provider().tracer("app");
        let traceparent = format!("00-{TRACE}-{PARENT}-{flags}");
        let (outer, inner, sent) = serve(&tracing, &traceparent, STATE, async || {
            tracer.in_span("outer", |outer| {
                tracer.in_span("inner", |inner| {
                    let mut sent = HeaderMap::new();
                    W3cPropagator::new().inject(&mut HeaderInjector(&mut sent));
                    let id = |context: &Context| context.span().span_context().span_id();
                    (id(&outer), id(&inner), sent)
                })
            })
        })
        .await;

        assert_ne!(outer, inner);
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sent["traceparent"], format!("00-{TRACE}-{inner}-{flags}"));
        assert_eq!(sent["tracestate"], STATE);
        let recorded = all(tracing, spans).await.len();
        assert_eq!(recorded, if flags == "03" { 3 } else { 0 });
    }
}

#[tokio::test]
async fn a_provider_of_the_program_s_own_keeps_its_resource_and_its_sampler() {
    let (tracing, spans) = at_rate(0);
    let resource = Resource::builder_empty().with_service_name("billing").build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(tracing.span_processor())
        .build();
    provider.tracer("app").in_span("nightly", |_| {});
    provider.shutdown().unwrap();

    // What the provider ended was not the service.
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    serve(&tracing, &traceparent, "", async || {}).await;

    let spans = all(tracing, spans).await;
    let [nightly, request] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(nightly.name, "nightly");
    assert_eq!(nightly.resource, [KeyValue::new("service.name", "billing")]);
    assert!(request.resource.contains(&KeyValue::new("service.name", "shop")));
}

#[tokio::test]
async fn a_span_that_ends_after_the_shutdown_is_counted() {
    let (tracing, mut spans) = at_rate(ALWAYS);
    let provider = tracing.tracer_provider();
    let tracer = provider.tracer("app");
    let late = tracer.start("late");
    tracer.in_span("in time", |_| {});
    provider.force_flush().unwrap();

    let delivered = tracing.shutdown(DEADLINE).await;
    assert_eq!((delivered.accepted, delivered.delivered), (1, 1), "{delivered}");
    drop(late);
    tracer.in_span("later still", |_| {});

    let error = provider.force_flush().unwrap_err().to_string();
    assert!(error.contains("newly lost 2, still pending 0"), "{error}");
    assert!(
        error.contains("accepted 3, delivered 1, rejected 0, dropped 2 (shut down 2)"),
        "{error}"
    );
    assert_eq!(spans.next().await.map(|span| span.name).as_deref(), Some("in time"));
    assert_eq!(spans.next().await, None);
}

#[tokio::test]
async fn a_flush_returns_on_the_only_thread_of_a_runtime() {
    let (tracing, mut spans) = at_rate(ALWAYS);
    let provider = tracing.tracer_provider();
    provider.tracer("app").in_span("one", |_| {});
    provider.force_flush().unwrap();
    assert_eq!(tracing.stats().delivered, 1);
    assert_eq!(spans.take().len(), 1);
}

#[tokio::test]
async fn a_disabled_service_records_nothing_and_keeps_the_trace() {
    let tracing = disabled();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let provider = tracing.tracer_provider();
    let tracer = provider.tracer("app");
    let (recording, sent) = serve(&tracing, &traceparent, "a@@b=1", async || {
        tracer.in_span("child", |context| {
            let mut sent = HeaderMap::new();
            W3cPropagator::new().inject(&mut HeaderInjector(&mut sent));
            (context.span().is_recording(), sent)
        })
    })
    .await;
    assert!(!recording);
    assert_eq!(sent["traceparent"].to_str().unwrap()[..36], traceparent[..36]);
    assert_eq!(sent["tracestate"], "a@@b=1");
    assert!(provider.force_flush().is_ok());

    // Also for another provider, which would not have known.
    let provider = SdkTracerProvider::builder().with_span_processor(tracing.span_processor());
    let provider = provider.build();
    provider.tracer("app").in_span("elsewhere", |_| {});
    assert!(provider.force_flush().is_ok());
    assert_eq!(tracing.shutdown(DEADLINE).await.accepted, 0);
}

/// The one test of this binary that touches OpenTelemetry's globals, in one piece for that reason.
#[tokio::test]
async fn libraries_that_use_the_globals_are_part_of_it() {
    let library = || {
        let mut sent = HeaderMap::new();
        global::tracer("library").in_span("query", |context| {
            global::get_text_map_propagator(|propagator| {
                propagator.inject_context(&context, &mut HeaderInjector(&mut sent));
            });
        });
        sent
    };
    let traceparent = format!("00-{TRACE}-{PARENT}-03");

    let (tracing, spans) = at_rate(0);
    tracing.install_global();
    let sent = serve(&tracing, &traceparent, "", async || library()).await;
    let spans = all(tracing, spans).await;
    let [query, server] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(query.parent_span_id, Some(server.span_id));
    assert_eq!(query.scope_name, "library");
    assert_eq!(sent["traceparent"], format!("00-{TRACE}-{}-03", query.span_id));
    assert!(!sent.contains_key("tracestate"), "none is not sent as an empty one");

    let tracing = disabled();
    tracing.install_global();
    let sent = serve(&tracing, &traceparent, "", async || library()).await;
    assert_eq!(sent["traceparent"], traceparent, "disabled, the context goes on as it came");
}

/// A service whose own new traces are sampled at this rate.
fn at_rate(rate: u32) -> (TracingService, InMemorySpans) {
    let config = TracingServiceConfig::default().enabled(true).sampling_rate_per_million(rate);
    config.start_in_memory("shop").unwrap()
}

fn disabled() -> TracingService {
    TracingServiceConfig::default().enabled(false).start("shop").unwrap()
}

/// Makes one request to a traced service, and returns what its handler does.
async fn serve<T>(
    tracing: &TracingService,
    traceparent: &str,
    tracestate: &str,
    handler: impl AsyncFnOnce() -> T,
) -> T {
    let (done, mut seen) = mpsc::unbounded_channel();
    let mut handler = Some(handler);
    let service = service_fn(|_: Request<String>| {
        let handler = handler.take().expect("one request");
        let done = &done;
        async move {
            drop(done.send(handler().await));
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let mut request = Request::new(String::new());
    *request.headers_mut() = headers(traceparent, tracestate);
    drop(TraceLayer::server(tracing).layer(service).oneshot(request).await);
    seen.try_recv().expect("the handler has run")
}

/// What a caller sends, but for what is empty.
fn headers(traceparent: &str, tracestate: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [("traceparent", traceparent), ("tracestate", tracestate)] {
        if !value.is_empty() {
            headers.insert(name, value.parse().unwrap());
        }
    }
    headers
}

/// All spans, in the order in which they ended.
async fn all(tracing: TracingService, mut spans: InMemorySpans) -> Vec<RecordedSpan> {
    let stats = tracing.shutdown(DEADLINE).await;
    assert_eq!(stats.accepted, stats.delivered, "{stats}");
    let mut all = Vec::new();
    while let Some(span) = spans.next().await {
        all.push(span);
    }
    assert_eq!(all.len() as u64, stats.delivered);
    all
}
