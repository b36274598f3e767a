//! Whom a server believes, and which of the traces that start here it records.

use std::convert::Infallible;
use std::num::NonZeroU32;

use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use http::{Request, Response, Version};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, Value};
use tonic::transport::Server;
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{
    InMemorySpans, RecordedSpan, RemoteParent, Sampling, SamplingRate, SamplingRule, TraceContext,
    TraceLayer, TracingService, TracingServiceConfig,
};

use crate::support::echo::{self, Echo};
use crate::support::server::{fetch, get, request, serve};
use crate::support::spans::{all, at_rate};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const ALWAYS: u32 = 1_000_000;

/// What a handler sends on.
type Sent = (Option<TraceContext>, Option<String>);

/// A request from a stranger who wants to be recorded.
fn forced(flags: &str) -> Request<Body> {
    let traceparent = format!("00-{TRACE}-{PARENT}-{flags}");
    let headers =
        [("traceparent", &*traceparent), ("tracestate", "evil=1"), ("baggage", "user=eve")];
    request("GET", "/", &headers)
}

/// Serves one request. Returns what its handler would send on, and the spans.
async fn visit(
    (tracing, spans): (TracingService, InMemorySpans),
    layer: impl FnOnce(TraceLayer) -> TraceLayer,
    request: Request<Body>,
) -> (Sent, Vec<RecordedSpan>) {
    let (sender, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |_: Request<Body>| {
        let user = Context::map_current(|cx| cx.baggage().get("user").map(ToString::to_string));
        sender.send((TraceContext::current(), user)).unwrap();
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    layer(TraceLayer::server(&tracing)).layer(service).oneshot(request).await.unwrap();
    (sent.recv().await.unwrap(), all(tracing, spans).await)
}

#[tokio::test]
async fn a_stranger_s_trace_counts_for_what_the_layer_says() {
    // Policy, rate, the caller's flags, whether there is a span, in the caller's trace, linked.
    let rows = [
        (RemoteParent::Trust, 0, "01", true, true, false, "trusted"),
        (RemoteParent::Trust, ALWAYS, "00", false, true, false, "trusted, also in its no"),
        (RemoteParent::Link, ALWAYS, "01", true, false, true, "a trace of our own"),
        (RemoteParent::Link, ALWAYS, "00", true, false, true, "whatever the caller wants"),
        (RemoteParent::Link, 0, "01", false, false, false, "sampled as any other"),
        (RemoteParent::Ignore, ALWAYS, "01", true, false, false, "nothing is taken over"),
        (RemoteParent::Ignore, 0, "01", false, false, false, "nor recorded for it"),
    ];
    for (policy, rate, flags, recorded, continued, linked, why) in rows {
        let set = |layer: TraceLayer| layer.remote_parent(policy);
        let ((context, user), spans) = visit(at_rate(rate), set, forced(flags)).await;

        let context = context.expect("every request has a place in a trace");
        assert_eq!(context.trace_id().to_string() == TRACE, continued, "{why}");
        assert_eq!(context.is_sampled(), recorded, "{why}");
        let evil = context.tracestate().is_some_and(|text| text.contains("evil"));
        assert_eq!((evil, user.is_some()), (continued, continued), "{why}: tracestate, baggage");

        assert_eq!(spans.len(), usize::from(recorded), "{why}");
        for span in &spans {
            assert_eq!(span.trace_id, context.trace_id(), "{why}");
            assert_eq!(span.parent_span_id.is_some(), continued, "{why}");
            let links: Vec<_> = span.links.iter().map(|link| link.trace_id.to_string()).collect();
            assert_eq!(links, Vec::from_iter(linked.then_some(TRACE)), "{why}");
            for link in &span.links {
                assert_eq!(link.span_id.to_string(), PARENT, "{why}");
                assert_eq!(link.trace_state, "", "{why}");
            }
        }
    }
}

#[tokio::test]
async fn trust_may_depend_on_the_request() {
    for (header, continued) in [(Some("ours"), true), (Some("theirs"), false), (None, false)] {
        let judge = |layer: TraceLayer| {
            layer.remote_parent_by(|request| match request.headers().get("x-from") {
                Some(from) if from == "ours" => RemoteParent::Trust,
                _ => RemoteParent::Ignore,
            })
        };
        let mut request = forced("01");
        if let Some(from) = header {
            request.headers_mut().insert("x-from", from.parse().unwrap());
        }
        let (_, spans) = visit(at_rate(ALWAYS), judge, request).await;
        assert_eq!(spans[0].trace_id.to_string() == TRACE, continued, "{header:?}");
    }
}

#[tokio::test]
async fn what_this_process_does_already_is_not_a_stranger_s_word() {
    // Two layers that trust nobody: the inner one is inside the outer one's span.
    let (tracing, spans) = at_rate(ALWAYS);
    let layer = TraceLayer::server(&tracing).remote_parent(RemoteParent::Ignore);
    let service =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let service = layer.layer(layer.layer(service));
    service.oneshot(forced("01")).await.unwrap();

    let spans = all(tracing, spans).await;
    let [inner, outer] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(inner.parent_span_id, Some(outer.span_id));
    assert_eq!(inner.trace_id, outer.trace_id);
    assert_ne!(outer.trace_id.to_string(), TRACE);
}

#[tokio::test]
async fn with_recording_off_a_stranger_s_trace_does_not_go_on_either() {
    for (policy, goes_on) in [(RemoteParent::Trust, true), (RemoteParent::Ignore, false)] {
        let disabled = TracingServiceConfig::disabled().start_in_memory("test").unwrap();
        let set = |layer: TraceLayer| layer.remote_parent(policy);
        let ((context, user), _) = visit(disabled, set, forced("01")).await;
        assert_eq!((context.is_some(), user.is_some()), (goes_on, goes_on), "{policy:?}");
    }
}

#[tokio::test]
async fn a_flood_of_forced_requests_is_recorded_up_to_its_limit_served_whole_and_counted() {
    const REQUESTS: u64 = 5000;
    const LIMIT: u64 = 100;
    let (tracing, spans) = TracingServiceConfig::default()
        .enabled(true)
        .sampling_rate_per_million(0)
        .forced_sampling_per_second(NonZeroU32::new(LIMIT as u32).unwrap())
        .start_in_memory("test")
        .unwrap();
    let service = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Body::from("served")))
    });
    // All layers of a service share the configured limit.
    let layers = [TraceLayer::server(&tracing), TraceLayer::server(&tracing)];
    let services = layers.map(|layer| layer.layer(service));
    let begun = std::time::Instant::now();
    for i in 0..REQUESTS {
        let response = services[i as usize % 2].clone().oneshot(forced("01")).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    // At once as many as a second earns, and then one for each hundredth of a second.
    let earned = begun.elapsed().as_millis() as u64 * LIMIT / 1000 + 1;

    let stats = tracing.stats();
    let spans = all(tracing, spans).await.len() as u64;
    assert_eq!(spans + stats.not_forced, REQUESTS, "recorded or counted");
    assert!((LIMIT..=LIMIT + earned).contains(&spans), "{spans} of at most {LIMIT} + {earned}");
}

#[tokio::test]
async fn beyond_the_limit_a_trace_goes_on_unsampled() {
    let limit = |layer: TraceLayer| layer.forced_sampling_per_second(NonZeroU32::MIN);
    let (tracing, spans) = at_rate(ALWAYS);
    let (sender, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |_: Request<Body>| {
        sender.send(TraceContext::current().unwrap()).unwrap();
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    let service = limit(TraceLayer::server(&tracing)).layer(service);
    let mut second = forced("01");
    second.headers_mut().insert("tracestate", "ot=th:0,a=1".parse().unwrap());
    for request in [forced("01"), second] {
        service.clone().oneshot(request).await.unwrap();
    }
    // A trace that starts here is nobody's to force, nor is one whose caller did not sample it.
    service.clone().oneshot(get("/")).await.unwrap();
    service.oneshot(forced("00")).await.unwrap();

    let sampled = sent.recv().await.unwrap();
    let refused = sent.recv().await.unwrap();
    assert!(sampled.is_sampled() && !refused.is_sampled());
    assert_eq!(refused.trace_id().to_string(), TRACE);
    assert_eq!(refused.tracestate(), Some("a=1"), "no threshold: it was not sampled by one");
    assert_eq!(tracing.stats().not_forced, 1);
    assert_eq!(all(tracing, spans).await.len(), 2, "the first, and the one of our own");
}

#[tokio::test]
async fn rules_go_before_the_rate_and_the_first_that_matches_counts() {
    let yaml = "tracing_service:
  enabled: yes
  exporter_url: localhost
  sampling_rate_per_million: 1000000
  sampling_rules:
    - path_prefix: /healthz
      sampling_rate_per_million: 0
    - method: DELETE
      sampling_rate_per_million: 0
    - grpc_service: test.Echo
      sampling_rate_per_million: 0
    - route: /orders/{id}
      method: GET
      sampling_rate_per_million: 0
";
    let config = TracingServiceConfig::from_yaml_str(yaml).unwrap();
    let (tracing, spans) = config.start_in_memory("test").unwrap();
    let app = Router::new()
        .route("/orders/{id}", get_route(async || "an order").post(async || "changed"))
        .fallback(async || "hello")
        .layer(TraceLayer::server(&tracing));
    let http = serve(app).await;
    for (method, path) in [
        ("GET", "/healthz"),
        ("GET", "/healthz/deep"),
        ("GET", "/healthzy"),
        ("DELETE", "/orders/1"),
        ("GET", "/orders/1"),
        ("POST", "/orders/1"),
        ("GET", "/other"),
    ] {
        fetch(Version::HTTP_11, http, request(method, path, &[])).await;
    }
    // A caller who has decided has decided.
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    fetch(Version::HTTP_11, http, request("GET", "/healthz", &[("traceparent", &traceparent)]))
        .await;
    let mut server = Server::builder().layer(TraceLayer::server(&tracing));
    let grpc = echo::serve(server.add_service(Echo::default())).await;
    echo::Client::connect(grpc).await.call("/test.Echo/One", &["hello"]).await;
    // Spans that no request begins go by the rate.
    tracing.tracer_provider().tracer("job").in_span("nightly", |_| {});

    let paths: Vec<_> = all(tracing, spans)
        .await
        .iter()
        .map(|span| span.attribute("url.path").map_or_else(|| span.name.clone(), Value::to_string))
        .collect();
    assert_eq!(paths, ["/healthzy", "/orders/1", "/other", "/healthz", "nightly"]);
}

#[tokio::test]
async fn sampling_can_be_changed_while_it_runs_for_layers_and_tracers_alike() {
    let (tracing, spans) = at_rate(0);
    let tracer = tracing.tracer_provider().tracer("job");
    let service =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let service = TraceLayer::server(&tracing).layer(service);
    let visit = async |name: &'static str| {
        service.clone().oneshot(get("/")).await.unwrap();
        tracer.in_span(name, |_| {});
    };

    visit("before").await;
    tracing.set_sampling(Sampling::new(SamplingRate::ALWAYS));
    visit("all").await;
    let rule = SamplingRule::new(SamplingRate::NEVER).path_prefix("/");
    tracing.set_sampling(Sampling::new(SamplingRate::ALWAYS).rule(rule));
    visit("no requests").await;
    tracing.set_sampling(Sampling::new(SamplingRate::NEVER));
    visit("after").await;

    let names: Vec<_> = all(tracing, spans).await.into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["GET", "all", "no requests"]);
}

#[tokio::test]
async fn a_trace_says_by_which_threshold_it_was_sampled_and_no_untruth_is_handed_on() {
    // Rate, what came, what is recorded and sent on.
    let sampled = format!("00-{TRACE}-{PARENT}-03");
    let unsampled = format!("00-{TRACE}-{PARENT}-02");
    // The last 56 bits of the trace id are 48eb211c80319c, with one digit of zero before them.
    type Row<'a> = (u32, Option<&'a str>, &'a str, Option<&'a str>, &'a str);
    let rows: [Row<'_>; 7] = [
        (ALWAYS, None, "", Some("ot=th:0"), "all are sampled"),
        (0, None, "", None, "nothing is sampled, nothing said"),
        (0, Some(&sampled), "ot=th:4,a=1", Some("ot=th:4,a=1"), "consistent"),
        (0, Some(&sampled), "ot=th:8,a=1", Some("a=1"), "by this it would not be sampled"),
        (0, Some(&sampled), "ot=th:8;p:1", Some("ot=p:1"), "others' words stay"),
        (0, Some(&sampled), "a=1", Some("a=1"), "nothing is made up"),
        (ALWAYS, Some(&unsampled), "ot=th:0,a=1", Some("a=1"), "it is not sampled"),
    ];
    for (rate, traceparent, tracestate, expected, why) in rows {
        let mut request = get("/");
        if let Some(traceparent) = traceparent {
            request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
            request.headers_mut().insert("tracestate", tracestate.parse().unwrap());
        }
        let ((context, _), spans) = visit(at_rate(rate), |layer| layer, request).await;
        assert_eq!(context.unwrap().tracestate(), expected, "{why}");
        for span in &spans {
            assert_eq!(Some(&*span.trace_state), expected, "{why}");
        }
    }
}

#[tokio::test]
async fn children_hand_on_the_threshold_of_their_trace() {
    let (tracing, spans) = at_rate(ALWAYS);
    let tracer = tracing.tracer_provider().tracer("app");
    let service = service_fn(|_: Request<Body>| {
        tracer.in_span("child", |context| {
            let state = context.span().span_context().trace_state().header();
            assert_eq!(state, "ot=th:0");
        });
        assert_eq!(TraceContext::current().unwrap().tracestate(), Some("ot=th:0"));
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    TraceLayer::server(&tracing).layer(service).oneshot(get("/")).await.unwrap();
    for span in all(tracing, spans).await {
        assert_eq!(span.trace_state, "ot=th:0", "{}", span.name);
    }
}
