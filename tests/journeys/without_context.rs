//! Layers that put no OpenTelemetry `Context` in force.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{Request, Response};
use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_otlp::{TraceContext, TraceLayer, TracingService, TracingServiceConfig};

use crate::support::server::request;
use crate::support::spans::{all, at_rate};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// What a handler found: its place by the request's extensions, and whether a span is active.
type Found = (Option<TraceContext>, bool);

fn handler(
    found: &Arc<Mutex<Vec<Found>>>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ use<> {
    let found = Arc::clone(found);
    service_fn(move |request: Request<Body>| {
        let place = request.extensions().get::<TraceContext>().cloned();
        let is_active = Context::map_current(TraceContextExt::has_active_span);
        let in_task = TraceContext::server_context().is_some();
        found.lock().unwrap().push((place, is_active || in_task));
        async { Ok(Response::new(Body::from("hello"))) }
    })
}

#[tokio::test]
async fn a_request_says_its_place_itself() {
    let disabled = || (TracingServiceConfig::disabled().start("journeys").unwrap(), None);
    let rate = |rate| {
        let (tracing, spans) = at_rate(rate);
        (tracing, Some(spans))
    };
    // Service, headers of the request, its place: whether it is sampled, spans, reason.
    let rows = [
        (rate(1_000_000), &[][..], Some(true), 1, "a new trace, recorded"),
        (rate(0), &[], Some(false), 0, "a new trace, not recorded"),
        (rate(0), &[("traceparent", SAMPLED)], Some(true), 1, "forced by the parent"),
        (rate(1_000_000), &[("traceparent", NOT_SAMPLED)], Some(false), 0, "the parent is not"),
        (disabled(), &[("traceparent", SAMPLED)], Some(true), 0, "disabled: the caller's own"),
        (disabled(), &[], None, 0, "disabled, and no trace came"),
    ];
    for ((tracing, spans), headers, expected, recorded, reason) in rows {
        let found = Arc::default();
        let layer = TraceLayer::server(&tracing).open_telemetry_context(false);
        let service = layer.layer(handler(&found));
        let response = service.oneshot(request("GET", "/", headers)).await.unwrap();
        drop(response);

        let found: Vec<Found> = std::mem::take(&mut found.lock().unwrap());
        let [(place, is_active)] = &*found else { panic!("{reason}: {found:?}") };
        assert!(!is_active, "{reason}");
        assert_eq!(place.as_ref().map(TraceContext::is_sampled), expected, "{reason}");
        let Some(spans) = spans else {
            let caller = expected.map(|_| SpanId::from_hex("b7ad6b7169203331").unwrap());
            assert_eq!(place.as_ref().map(TraceContext::span_id), caller, "{reason}");
            continue;
        };
        let spans = all(tracing, spans).await;
        assert_eq!(spans.len(), recorded, "{reason}");
        if let [span] = &*spans {
            let place = place.as_ref().unwrap();
            assert_eq!((span.trace_id, span.span_id), (place.trace_id(), place.span_id()));
            assert_eq!(span.attribute("http.response.status_code"), Some(&200_i64.into()));
        }
    }
}

#[tokio::test]
async fn what_is_said_so_is_the_parent_of_a_client() {
    let (tracing, spans) = TracingService::in_memory();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let wire = {
        let sent = Arc::clone(&sent);
        service_fn(move |request: Request<Body>| {
            sent.lock().unwrap().push(request.headers()["traceparent"].clone());
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        })
    };
    let client = TraceLayer::client(&tracing).open_telemetry_context(false).layer(wire);
    // A proxy, which sends on what it gets.
    let proxy = service_fn(move |request: Request<Body>| client.clone().oneshot(request));
    let proxy = TraceLayer::server(&tracing).open_telemetry_context(false).layer(proxy);
    drop(proxy.oneshot(request("GET", "/", &[("traceparent", SAMPLED)])).await.unwrap());

    let spans = all(tracing, spans).await;
    let [client, server] = &*spans else { panic!("{spans:?}") };
    assert_eq!(client.parent_span_id, Some(server.span_id));
    assert_eq!(server.parent_span_id, Some(SpanId::from_hex("b7ad6b7169203331").unwrap()));
    let sent = sent.lock().unwrap();
    let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", client.span_id);
    assert_eq!(&**sent, [expected]);
}

#[tokio::test]
async fn a_response_may_be_left_without_its_extension() {
    let (tracing, spans) = TracingService::in_memory();
    let found = Arc::default();
    let layer = TraceLayer::server(&tracing).response_extension(false);
    let service = layer.layer(handler(&found));
    let response = service.oneshot(request("GET", "/", &[])).await.unwrap();
    assert!(response.extensions().get::<TraceContext>().is_none());
    drop(response);
    assert_eq!(all(tracing, spans).await.len(), 1);
    let found: &[Found] = &found.lock().unwrap();
    assert_eq!(found, [(None, true)], "the context says the place, and nothing else does");
}
