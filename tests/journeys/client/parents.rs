//! Which trace a request that leaves belongs to, and what the next service is told.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{FutureExt, SpanContext, SpanKind, TraceContextExt, TraceState};
use opentelemetry::{Context, KeyValue};
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{InMemorySpans, TraceContext, TraceLayer, TracingService, TracingServiceConfig};

use super::{get, legacy, told};
use crate::support::server::{VERSIONS, serve};
use crate::support::spans::{all, assert_none_yet, at_rate, next, next_summary, summary, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const OLD: &str = "00-11111111111111111111111111111111-2222222222222222-01";
const ALWAYS: u32 = 1_000_000;

fn disabled() -> (TracingService, InMemorySpans) {
    TracingServiceConfig::default().enabled(false).start_in_memory("off").unwrap()
}

/// What was sent under `traceparent`, `tracestate` and `baggage` elsewhere.
pub(super) fn context_of(flags: &str) -> TraceContext {
    let mut headers = HeaderMap::new();
    let traceparent = format!("00-{TRACE}-{PARENT}-{flags}");
    headers.insert("traceparent", traceparent.parse().unwrap());
    headers.insert("tracestate", "vendor@@x=1,other=2".parse().unwrap());
    headers.insert("baggage", "user=alice".parse().unwrap());
    TraceContext::from_headers(&headers).unwrap()
}

/// An OpenTelemetry context with this span, as other instrumentation leaves it.
pub(super) fn context_with(flags: &str, remote: bool) -> Context {
    let of = context_of(flags);
    let state = TraceState::from_key_value([("other", "2")]).unwrap();
    let span = SpanContext::new(of.trace_id(), of.span_id(), of.trace_flags(), remote, state);
    Context::new().with_remote_span_context(span)
}

/// Answers with nothing, and sends the headers of each request to the test.
fn listening() -> (mpsc::UnboundedReceiver<HeaderMap>, axum::Router) {
    let (sender, headers) = mpsc::unbounded_channel();
    let app = axum::Router::new().fallback(async move |request: Request<Body>| {
        sender.send(request.headers().clone()).unwrap();
        ().into_response()
    });
    (headers, app)
}

#[tokio::test]
async fn the_current_span_is_the_parent_and_without_one_what_the_extensions_say() {
    let current = |flags, remote| Some(context_with(flags, remote));
    // Context, extension, rate, flags of the span if there is one, flags sent, whose trace, reason.
    type Row =
        (Option<Context>, Option<&'static str>, u32, Option<u32>, &'static str, bool, &'static str);
    let rows: [Row; 13] = [
        (current("01", false), None, 0, Some(0x101), "01", true, "sampled wins, also at rate 0"),
        (current("03", false), None, 0, Some(0x103), "03", true, "and stays random"),
        (current("01", true), None, 0, Some(0x301), "01", true, "a span of another process"),
        (current("00", false), None, ALWAYS, None, "00", true, "unsampled stays so, and goes on"),
        (current("02", false), None, ALWAYS, None, "02", true, "and is still called random"),
        (None, Some("01"), 0, Some(0x101), "01", true, "only the extensions say it"),
        (None, Some("00"), ALWAYS, None, "00", true, "they say not to"),
        (None, Some("03"), 0, Some(0x103), "03", true, "random as well"),
        (current("01", false), Some("00"), 0, Some(0x101), "01", true, "the context goes first"),
        (current("00", false), Some("01"), 0, None, "00", true, "also when it is not sampled"),
        (Some(Context::new()), None, ALWAYS, Some(0x103), "03", false, "a new trace, recorded"),
        (None, None, ALWAYS, Some(0x103), "03", false, "the same without any context"),
        (None, None, 0, None, "02", false, "a new trace that is not recorded goes on, too"),
    ];
    let (mut headers, app) = listening();
    let address = serve(app).await;
    for version in VERSIONS {
        for (context, extension, rate, flags, sent, inherited, reason) in rows.clone() {
            let (tracing, spans) = at_rate(rate);
            let client = TraceLayer::client(&tracing).layer(legacy(version));
            let mut request = get(address, "/");
            // What is left of an earlier hop is replaced, not doubled.
            for _ in 0..2 {
                request.headers_mut().append("traceparent", OLD.parse().unwrap());
                request.headers_mut().append("tracestate", "old=1".parse().unwrap());
            }
            request.headers_mut().insert("baggage", "mine=1".parse().unwrap());
            if let Some(flags) = extension {
                request.extensions_mut().insert(context_of(flags));
            }
            let from_context = context.is_some();
            let context = context.unwrap_or_default();
            client.oneshot(request).with_context(context).await.unwrap();

            let headers = headers.recv().await.unwrap();
            let told = told(&headers);
            assert_eq!(format!("{:02x}", told.trace_flags()), sent, "{reason}");
            assert_eq!(told.trace_id().to_string() == TRACE, inherited, "{reason}");
            assert_ne!(told.span_id().to_string(), PARENT, "{reason}: the span is our own");
            // The context's, which OpenTelemetry can hold, or the text from elsewhere.
            let state = match (inherited, from_context) {
                // A trace that starts here says how it was sampled, if it was.
                (false, _) => flags.map(|_| "ot=th:0"),
                (true, true) => Some("other=2"),
                (true, false) => Some("vendor@@x=1,other=2"),
            };
            assert_eq!(told.tracestate(), state, "{reason}");
            assert_eq!(headers.get_all("tracestate").iter().count(), usize::from(state.is_some()));
            assert_eq!(headers["baggage"], "mine=1", "{reason}: the application's own");

            let spans = all(tracing, spans).await;
            let found: Vec<_> = spans.iter().map(|span| span.flags).collect();
            assert_eq!(found, Vec::from_iter(flags), "{reason}");
            for span in &spans {
                assert_eq!((span.trace_id, span.span_id), (told.trace_id(), told.span_id()));
                let parent = span.parent_span_id.map(|id| id.to_string());
                assert_eq!(parent.as_deref(), inherited.then_some(PARENT), "{reason}");
                assert_eq!(span.trace_state, state.unwrap_or_default(), "{reason}");
            }
        }
    }
}

#[tokio::test]
async fn with_recording_off_the_parent_itself_is_sent_on() {
    let (mut headers, app) = listening();
    let address = serve(app).await;
    // Context, extension, traceparent sent, reason.
    let parent = |flags: &str| format!("00-{TRACE}-{PARENT}-{flags}");
    let rows = [
        (Some(context_with("01", true)), None, parent("01"), "the caller's"),
        (Some(context_with("03", false)), None, parent("03"), "a span of this process"),
        (None, Some("00"), parent("00"), "from the extensions"),
        (None, None, OLD.to_owned(), "there is none: nothing is touched"),
    ];
    for (context, extension, expected, reason) in rows {
        let (tracing, spans) = disabled();
        let client = TraceLayer::client(&tracing).layer(legacy(http::Version::HTTP_11));
        let mut request = get(address, "/");
        request.headers_mut().insert("traceparent", OLD.parse().unwrap());
        if let Some(flags) = extension {
            request.extensions_mut().insert(context_of(flags));
        }
        client.oneshot(request).with_context(context.unwrap_or_default()).await.unwrap();
        assert_eq!(headers.recv().await.unwrap()["traceparent"], *expected, "{reason}");
        assert!(all(tracing, spans).await.is_empty(), "{reason}");
    }
}

#[tokio::test]
async fn what_is_not_traced_is_not_touched() {
    let (mut headers, app) = listening();
    let address = serve(app).await;
    let (tracing, spans) = TracingService::in_memory();
    let client =
        TraceLayer::client(&tracing).propagate_baggage(true).layer(legacy(http::Version::HTTP_11));
    let rows = [
        ("GET", "/", true, "telemetry is suppressed"),
        ("POST", "/v1/traces", false, "an exporter would be traced for ever"),
        (
            "POST",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            false,
            "the same over gRPC",
        ),
    ];
    for (method, path, suppressed, reason) in rows {
        let mut request = get(address, path);
        *request.method_mut() = method.parse().unwrap();
        request.headers_mut().insert("traceparent", OLD.parse().unwrap());
        request.headers_mut().insert("baggage", "mine=1".parse().unwrap());
        let mut context = context_with("01", false);
        if suppressed {
            context = context.with_telemetry_suppressed();
        }
        let response = client.clone().oneshot(request).with_context(context).await.unwrap();
        assert!(response.extensions().get::<TraceContext>().is_none(), "{reason}");
        let headers = headers.recv().await.unwrap();
        assert_eq!(headers["traceparent"], OLD, "{reason}");
        assert_eq!(headers["baggage"], "mine=1", "{reason}");
        assert!(!headers.contains_key("tracestate"), "{reason}");
    }
    assert!(all(tracing, spans).await.is_empty());
}

#[tokio::test]
async fn baggage_leaves_only_where_the_layer_says_so() {
    let (mut headers, app) = listening();
    let address = serve(app).await;
    let baggage = |context: Context| context.with_baggage([KeyValue::new("user", "alice smith")]);
    // Enabled, opted in, context, header sent, reason.
    let rows = [
        (true, false, baggage(context_with("01", false)), Some("mine=1"), "not opted in"),
        (true, true, baggage(context_with("01", false)), Some("user=alice%20smith"), "replaced"),
        (true, true, baggage(context_with("00", false)), Some("user=alice%20smith"), "unsampled"),
        (true, true, baggage(Context::new()), Some("user=alice%20smith"), "a new trace"),
        (true, true, context_with("01", false), None, "the context has none: nor has the request"),
        (false, true, baggage(Context::new()), Some("user=alice%20smith"), "recording is off"),
        (false, true, baggage(context_with("01", false)), Some("user=alice%20smith"), "off"),
        (false, false, baggage(Context::new()), Some("mine=1"), "off, and not opted in"),
    ];
    for (enabled, opted_in, context, expected, reason) in rows {
        let (tracing, _spans) = if enabled { at_rate(0) } else { disabled() };
        let client = TraceLayer::client(&tracing)
            .propagate_baggage(opted_in)
            .layer(legacy(http::Version::HTTP_11));
        let mut request = get(address, "/");
        request.headers_mut().insert("baggage", "mine=1".parse().unwrap());
        client.oneshot(request).with_context(context).await.unwrap();
        let headers = headers.recv().await.unwrap();
        assert_eq!(
            headers.get("baggage").map(|value| value.to_str().unwrap()),
            expected,
            "{reason}"
        );
    }
}

#[tokio::test]
async fn the_baggage_of_a_parent_in_the_extensions_goes_before_the_contexts() {
    let (mut headers, app) = listening();
    let address = serve(app).await;
    let mut without = HeaderMap::new();
    without.insert("traceparent", format!("00-{TRACE}-{PARENT}-01").parse().unwrap());
    let without = TraceContext::from_headers(&without).unwrap();
    let rows =
        [(context_of("01"), "user=alice", "its own"), (without, "user=bob", "that of the context")];
    for enabled in [true, false] {
        for (parent, expected, reason) in rows.clone() {
            let (tracing, _spans) = if enabled { at_rate(0) } else { disabled() };
            let layer = TraceLayer::client(&tracing).propagate_baggage(true);
            let client = layer.layer(legacy(http::Version::HTTP_11));
            let mut request = get(address, "/");
            request.headers_mut().insert("baggage", "mine=1".parse().unwrap());
            request.extensions_mut().insert(parent);
            let context = Context::new().with_baggage([KeyValue::new("user", "bob")]);
            client.oneshot(request).with_context(context).await.unwrap();
            assert_eq!(headers.recv().await.unwrap()["baggage"], expected, "{enabled}: {reason}");
        }
    }
}

#[tokio::test]
async fn a_layer_inside_one_whose_parent_is_in_the_extensions_sees_all_that_came() {
    for (rate, flags) in [(ALWAYS, "01"), (ALWAYS, "00")] {
        let (tracing, _spans) = at_rate(rate);
        let service = service_fn(async |request: Request<Body>| {
            Ok::<_, Infallible>(Response::new(request.headers().clone()).map(|headers| {
                let text = |name: &str| headers[name].to_str().unwrap().to_owned();
                Body::from(text("tracestate") + " " + &text("baggage"))
            }))
        });
        let trace = TraceLayer::client(&tracing).propagate_baggage(true);
        // A service in between drops the extensions.
        let inner = trace.layer(service);
        let between = service_fn(move |request: Request<Body>| {
            assert!(TraceContext::current().is_some());
            let inner = inner.clone();
            async move { inner.oneshot(get(([127, 0, 0, 1], 1).into(), request.uri().path())).await }
        });
        let mut request = get(([127, 0, 0, 1], 1).into(), "/");
        request.extensions_mut().insert(context_of(flags));
        let response = trace.layer(between).oneshot(request).await.unwrap();
        let heard = super::read(response).await.unwrap();
        assert_eq!(heard, "vendor@@x=1,other=2 user=alice", "{flags}");
    }
}

#[tokio::test]
async fn what_is_below_the_layer_runs_within_its_span() {
    for (rate, recorded) in [(ALWAYS, true), (0, false)] {
        let (tracing, mut spans) = at_rate(rate);
        let (sender, mut seen) = mpsc::unbounded_channel();
        // Looks at the context at its call and at its future's poll.
        let service = service_fn(move |_: Request<Body>| {
            let sender = sender.clone();
            let look = move || {
                let recorded = Context::map_current(|context| context.span().is_recording());
                sender.send((TraceContext::current(), recorded)).unwrap();
            };
            look();
            async move {
                look();
                Ok::<_, Infallible>(Response::new(Body::from("hello")))
            }
        });
        let trace = TraceLayer::client(&tracing);
        let both = trace.layer(trace.layer(service));
        // Polled in a task that has no context.
        let response = tokio::spawn(both.oneshot(get(([127, 0, 0, 1], 1).into(), "/")));
        super::read(response.await.unwrap().unwrap()).await.unwrap();

        let (at_call, was_recorded) = seen.recv().await.unwrap();
        assert_eq!(was_recorded, recorded);
        let at_call = at_call.unwrap();
        assert_eq!(seen.recv().await.unwrap().0, Some(at_call.clone()), "the same at the poll");
        if recorded {
            let (inner, outer) = (next(&mut spans).await, next(&mut spans).await);
            assert_eq!(inner.parent_span_id, Some(outer.span_id));
            assert_eq!(inner.span_id, at_call.span_id());
            assert_eq!(outer.parent_span_id, None);
        } else {
            assert!(!at_call.is_sampled());
            assert_none_yet(&tracing, &mut spans).await;
        }
    }
}

#[tokio::test]
async fn the_server_span_stays_what_it_is_below_a_client() {
    let (tracing, mut spans) = TracingService::in_memory();
    let service = service_fn(async |_: Request<Body>| {
        if let Some(serving) = TraceContext::server_context() {
            serving.span().set_attribute(KeyValue::new("seen.below", true));
        }
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let client = TraceLayer::client(&tracing).layer(service);
    let server = TraceLayer::server(&tracing).layer(client);
    let request = get(([127, 0, 0, 1], 1).into(), "/");
    super::read(server.oneshot(request).await.unwrap()).await.unwrap();
    let client = next(&mut spans).await;
    assert_eq!(summary(&client), "Client | GET | 200 | unset | -");
    assert_eq!(client.attribute("seen.below"), None);
    let server = next(&mut spans).await;
    assert_eq!(summary(&server), "Server | GET | 200 | unset | -");
    assert_eq!(server.attribute("seen.below"), Some(&true.into()));
    assert_eq!(client.parent_span_id, Some(server.span_id));
}

#[tokio::test]
async fn a_request_with_all_the_headers_there_can_be_is_sent_as_it_is() {
    let (tracing, mut spans) = TracingService::in_memory();
    let service = service_fn(async |request: Request<Body>| {
        assert!(!request.headers().contains_key("traceparent"));
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let mut request = get(([127, 0, 0, 1], 1).into(), "/");
    for number in 0.. {
        let name = HeaderName::try_from(format!("x-{number}")).unwrap();
        if request.headers_mut().try_insert(name, HeaderValue::from_static("")).is_err() {
            break;
        }
    }
    TraceLayer::client(&tracing).layer(service).oneshot(request).await.unwrap();
    assert_eq!(next_summary(&mut spans).await, "Client | GET | 200 | unset | -");
}

#[tokio::test]
async fn an_address_that_was_set_is_a_servers_and_not_its_clients_to_say() {
    let (tracing, mut spans) = TracingService::in_memory();
    let app = axum::Router::new().fallback(async || "hello");
    let server = TraceLayer::server(&tracing).server_address("shop.example.com", 443);
    let address = serve(app.layer(server)).await;
    let client = TraceLayer::client(&tracing).server_address("unused", None);
    let client = client.layer(legacy(http::Version::HTTP_11));
    super::read(client.oneshot(get(address, "/")).await.unwrap()).await.unwrap();
    let mut both = [next(&mut spans).await, next(&mut spans).await];
    both.sort_by_key(|span| span.kind == SpanKind::Server);
    let addresses = both.map(|span| text(&span, "server.address").unwrap());
    assert_eq!(addresses, ["127.0.0.1", "shop.example.com"], "an HTTP client sees it in the URL");
}
