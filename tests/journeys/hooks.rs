//! What a service has to say about its spans: which requests have one, its name, its attributes.

use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue, Value};
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_otlp::trace::{Attributes, Ended, RequestHead, ResponseHead, filter};
use tower_otlp::{RecordedSpan, TraceContext, TraceLayer, TracingService};

use crate::support::echo::{self, Echo};
use crate::support::panic_quietly;
use crate::support::server::{get, request};
use crate::support::spans::{all, assert_none_yet, at_rate, next, next_summary, summary, text};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What a service was handed.
#[derive(Clone)]
struct Seen {
    headers: HeaderMap,
    context: Option<TraceContext>,
}

/// Shows in the response what the request was, and in which context it came.
async fn show<B>(request: Request<B>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::from("hello"));
    let (headers, context) = (request.headers().clone(), TraceContext::current());
    response.extensions_mut().insert(Seen { headers, context });
    Ok(response)
}

fn seen(response: &Response<impl Sized>) -> Seen {
    response.extensions().get::<Seen>().unwrap().clone()
}

fn attribute(span: &RecordedSpan, key: &str) -> Option<Value> {
    span.attribute(key).cloned()
}

#[tokio::test]
async fn a_request_that_a_filter_leaves_out_passes_as_if_there_were_no_layer() {
    let rows = [
        ("GET", "/users/42", true, "all filters say yes"),
        ("GET", "/healthz", false, "a health check"),
        ("GET", "/readyz/etcd?verbose", false, "one of several"),
        ("GET", "/static/app.js", false, "below a prefix"),
        ("GET", "/statics", true, "beside it"),
        ("OPTIONS", "/users/42", false, "by a filter of one's own"),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing)
        .filter(filter::no_health_checks)
        .filter(filter::no_path_prefix("/static"))
        .filter(|request| request.method() != Method::OPTIONS);
    let service = trace.layer(service_fn(show));
    for (method, path, traced, reason) in rows {
        let headers = [("traceparent", TRACEPARENT), ("baggage", "user=ann"), ("x-id", "7")];
        let request = request(method, path, &headers);
        let sent = request.headers().clone();
        let response = service.clone().oneshot(request).await.unwrap();

        let Seen { headers, context } = seen(&response);
        assert_eq!(headers, sent, "{reason}: the request is the client's");
        assert_eq!(context.is_some(), traced, "{reason}: no context, not even the caller's");
        let told = response.headers().contains_key("server-timing");
        assert_eq!(told, traced, "{reason}: the response is the service's");
        assert_eq!(response.extensions().get::<TraceContext>().is_some(), traced, "{reason}");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
        if traced {
            assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | unset | -");
        } else {
            assert_none_yet(&tracing, &mut spans).await;
        }
    }
}

#[tokio::test]
async fn a_filter_stands_before_what_is_not_recorded_too() {
    let disabled = tower_otlp::TracingServiceConfig::disabled().start("journeys").unwrap();
    let (unsampled, _spans) = at_rate(0);
    for (tracing, reason) in [(disabled, "tracing is disabled"), (unsampled, "not sampled")] {
        let trace = TraceLayer::server(&tracing).filter(filter::no_health_checks);
        let service = trace.layer(service_fn(show));
        for (path, handed) in [("/healthz", false), ("/", true)] {
            let request = request("GET", path, &[("traceparent", TRACEPARENT)]);
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(seen(&response).context.is_some(), handed, "{path}: {reason}");
        }
    }
}

#[tokio::test]
async fn health_checks_of_a_tonic_server_can_be_left_out() {
    let (tracing, mut spans) = TracingService::in_memory();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let trace = TraceLayer::server(&tracing).filter(filter::no_grpc_health);
    let server = Server::builder().layer(trace).add_service(health).add_service(Echo::default());
    let address = echo::serve(server).await;

    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let check = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    assert!(!check.metadata().contains_key("server-timing"), "its answer names no span");
    assert_none_yet(&tracing, &mut spans).await;

    echo::Client::connect(address).await.call("/test.Echo/One", &["hello"]).await;
    assert_eq!(next_summary(&mut spans).await, "Server | test.Echo/One | OK | unset | -");
}

#[tokio::test]
async fn a_client_layer_leaves_a_filtered_request_as_it_was_written() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::client(&tracing)
        .propagate_baggage(true)
        .filter(|request| request.uri().host() != Some("stranger"));
    let service = trace.layer(service_fn(show));
    for (host, traced) in [("stranger", false), ("friend", true)] {
        let uri = format!("http://{host}/");
        let request = Request::get(uri).header("traceparent", "its own").body(Body::empty());
        let response = service.clone().oneshot(request.unwrap()).await.unwrap();

        let Seen { headers, context } = seen(&response);
        assert_eq!(headers["traceparent"] == "its own", !traced, "{host}");
        assert_eq!(context.is_some(), traced, "{host}");
        assert_eq!(response.extensions().get::<TraceContext>().is_some(), traced, "{host}");
        drop(response);
        if traced {
            assert_eq!(next_summary(&mut spans).await, "Client | GET | 200 | unset | -");
        } else {
            assert_none_yet(&tracing, &mut spans).await;
        }
    }
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwests_requests_are_filtered_and_hooked_by_the_url_that_they_ask_for() {
    use crate::support::server::serve;

    let echo = service_fn(async |request: Request<hyper::body::Incoming>| {
        let told = request.headers().get("traceparent").cloned();
        let told = told.map_or_else(Vec::new, |told| told.as_bytes().to_vec());
        Ok::<_, Infallible>(Response::builder().header("x-id", "7").body(Body::from(told)).unwrap())
    });
    let address = serve(echo).await;
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::client(&tracing)
        .filter(filter::no_path_prefix("/private"))
        .span_name(|request| Some(format!("{} there", request.method()).into()))
        .on_request(|request, attributes| {
            attributes.set(KeyValue::new("asked", request.uri().path().to_owned()));
        })
        .on_response(|response, attributes| {
            attributes.set(KeyValue::new("has id", response.headers().contains_key("x-id")));
        })
        .on_end(|ended, attributes| {
            attributes.set(KeyValue::new("ended", ended.status().is_some()));
        });
    let mut client = trace.layer(reqwest::Client::new());
    let mut ask = async |path: &str| {
        let url = format!("http://{address}{path}").parse().unwrap();
        let request = reqwest::Request::new(Method::GET, url);
        let response = Service::call(&mut client, request).await.unwrap();
        response.text().await.unwrap()
    };

    assert_eq!(ask("/private/a?b").await, "", "the server hears of no trace");
    assert_none_yet(&tracing, &mut spans).await;

    let told = ask("/public").await;
    let span = next(&mut spans).await;
    assert!(told.contains(&span.span_id.to_string()));
    assert_eq!(summary(&span), "Client | GET there | 200 | unset | -");
    assert_eq!(text(&span, "asked").unwrap(), "/public");
    assert_eq!(attribute(&span, "has id"), Some(true.into()));
    assert_eq!(attribute(&span, "ended"), Some(true.into()));
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_request_that_is_filtered_out_is_not_measured() {
    use crate::metrics::Meters;

    let (tracing, _spans) = TracingService::in_memory();
    let meters = Meters::new();
    let filtered = |layer: TraceLayer| layer.metrics(&meters.provider).filter(|_| false);
    let server = filtered(TraceLayer::server(&tracing)).layer(service_fn(show));
    let client = filtered(TraceLayer::client(&tracing)).layer(service_fn(show));
    let call = || request("POST", "/test.Echo/One", &[("content-type", "application/grpc")]);

    for request in [get("/"), call()] {
        server.clone().oneshot(request).await.unwrap();
    }
    for request in [get("/"), call()] {
        client.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(meters.lines(), [""; 0]);

    let admitted = TraceLayer::server(&tracing).metrics(&meters.provider).layer(service_fn(show));
    admitted.oneshot(get("/")).await.unwrap();
    assert_eq!(meters.sums("http.server.request.duration").len(), 1, "others are");
}

#[tokio::test]
async fn a_span_has_the_name_that_the_service_gives_it() {
    let name = |request: &RequestHead<'_>| match request.uri().path() {
        "/fixed" => Some("checkout".into()),
        "/made" => Some(format!("{} checkout", request.method()).into()),
        "/panic" => panic_quietly(),
        _ => None,
    };
    let rows = [
        ("/fixed", "Server | checkout | 200 | unset | -", "of few names"),
        ("/made", "Server | GET checkout | 200 | unset | -", "made of the request"),
        ("/other", "Server | GET | 200 | unset | -", "no name: the layer's"),
        ("/panic", "Server | GET | 200 | unset | -", "and so where there was a panic"),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let layer = TraceLayer::server(&tracing).span_name(|_| Some("set before".into()));
    let service = layer.span_name(name).layer(service_fn(show));
    for (path, expected, reason) in rows {
        drop(service.clone().oneshot(get(path)).await.unwrap().into_body().collect().await);
        assert_eq!(next_summary(&mut spans).await, expected, "{reason}");
    }

    let trace = TraceLayer::server(&tracing).span_name(|_| Some("a call".into()));
    let address = echo::serve(Server::builder().layer(trace).add_service(Echo::default())).await;
    echo::Client::connect(address).await.call("/test.Echo/One", &["hello"]).await;
    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Server | a call | OK | unset | -");
    assert_eq!(text(&span, "rpc.method").unwrap(), "test.Echo/One", "the method is what it was");
}

/// A hook's attributes: when they were said, in place of one of the layer's, and some that are the
/// layer's to say.
fn say(attributes: &mut Attributes, said: &'static str) {
    attributes.set(KeyValue::new(said, true));
    attributes.set(KeyValue::new("said last", said));
    attributes.set(KeyValue::new("url.path", said));
    attributes.set(KeyValue::new("rpc.method", said));
    for key in ["http.response.status_code", "rpc.response.status_code", "error.type"] {
        attributes.set(KeyValue::new(key, said));
    }
}

fn saying(layer: TraceLayer) -> TraceLayer {
    layer
        .on_request(|_, attributes| say(attributes, "on request"))
        .on_request(|_, attributes| say(attributes, "on request, too"))
        .on_response(|_, attributes| say(attributes, "on response"))
        .on_end(|_, attributes| say(attributes, "on end"))
}

#[tokio::test]
async fn attributes_of_hooks_take_the_place_of_all_but_code_and_error() {
    let (tracing, mut spans) = TracingService::in_memory();
    let failing = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::builder().status(503).body(Body::empty()).unwrap())
    });
    saying(TraceLayer::server(&tracing)).layer(failing).oneshot(get("/")).await.unwrap();
    let served = next(&mut spans).await;
    let code = attribute(&served, "http.response.status_code");
    assert_eq!(code, Some(503.into()), "as a number");
    assert_eq!(text(&served, "error.type").unwrap(), "503");

    let trace = saying(TraceLayer::server(&tracing));
    let address = echo::serve(Server::builder().layer(trace).add_service(Echo::default())).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let channel = saying(TraceLayer::client(&tracing)).layer(channel);
    echo::Client::over(channel).call("/test.Echo/Count", &["disk full"]).await;
    let (one, other) = (next(&mut spans).await, next(&mut spans).await);
    for call in [&one, &other] {
        assert_eq!(text(call, "rpc.response.status_code").unwrap(), "INTERNAL");
        assert_eq!(text(call, "error.type").unwrap(), "INTERNAL");
        assert_eq!(text(call, "rpc.method").unwrap(), "on end", "even what the layer had said");
    }

    assert_eq!(text(&served, "url.path").unwrap(), "on end");
    for span in [served, one, other] {
        for said in ["on request", "on request, too", "on response", "on end"] {
            assert_eq!(attribute(&span, said), Some(true.into()), "{said}");
        }
        assert_eq!(text(&span, "said last").unwrap(), "on end", "the last word counts");
        let mut keys: Vec<_> = span.attributes.iter().map(|kv| kv.key.as_str()).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all, "no key is there twice: {keys:?}");
    }
}

#[tokio::test]
async fn hooks_see_the_request_and_the_response() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing)
        .on_request(|request: &RequestHead<'_>, attributes| {
            let number = request.extensions().get::<u8>().unwrap();
            let shown = format!(
                "{} {} {:?} {} {number}",
                request.method(),
                request.uri(),
                request.version(),
                request.headers().len(),
            );
            attributes.set(KeyValue::new("request", shown));
            attributes.set(KeyValue::new("debug", format!("{request:?}")));
        })
        .on_response(|response: &ResponseHead<'_>, attributes| {
            let id = &response.headers()["x-id"];
            let text = response.extensions().get::<&str>().unwrap();
            let shown = format!("{} {:?} {id:?} {text}", response.status(), response.version());
            attributes.set(KeyValue::new("response", shown));
        });
    let service = service_fn(async |_: Request<Body>| {
        let response = Response::builder().status(201).header("x-id", "7").extension("extra");
        Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
    });
    let mut request = request("PUT", "/a?token=1", &[("cookie", "secret")]);
    request.extensions_mut().insert(9_u8);
    trace.layer(service).oneshot(request).await.unwrap();

    let span = next(&mut spans).await;
    assert_eq!(text(&span, "request").unwrap(), "PUT /a?token=1 HTTP/1.1 1 9");
    assert_eq!(text(&span, "response").unwrap(), r#"201 Created HTTP/1.1 "7" extra"#);
    let debug = text(&span, "debug").unwrap();
    assert_eq!(debug, r#"RequestHead { method: PUT, path: "/a", .. }"#, "shows no secrets");
}

#[tokio::test]
async fn the_last_hook_hears_how_and_when_the_span_ended_in_whichever_way() {
    let rows = [
        ("/complete", Some("200"), None, "whole"),
        ("/empty", Some("204"), None, "at the head"),
        ("/body/dropped", Some("200"), Some("cancelled"), "the body was given up"),
        ("/body/panic", Some("200"), Some("panic"), "the body panicked"),
        ("/future/dropped", None, Some("cancelled"), "given up before there was a head"),
        ("/future/panic", None, Some("panic"), "the service panicked"),
        ("/error", None, Some("service_error"), "the service failed"),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing).on_end(|ended: &Ended<'_>, attributes| {
        let status = ended.status().map(|status| status.as_str().to_owned());
        attributes.set(KeyValue::new("end.status", status.unwrap_or_default()));
        let error_type = ended.error_type().unwrap_or_default().to_owned();
        attributes.set(KeyValue::new("end.error", error_type));
        attributes.set(KeyValue::new("end.nanos", ended.duration().as_nanos() as i64));
    });
    let service = trace.layer(service_fn(answer));
    for (path, status, error_type, reason) in rows {
        visit(service.clone(), path);
        let span = next(&mut spans).await;
        assert_eq!(
            text(&span, "end.status").as_deref(),
            Some(status.unwrap_or_default()),
            "{reason}"
        );
        assert_eq!(
            text(&span, "end.error").as_deref(),
            Some(error_type.unwrap_or_default()),
            "{reason}"
        );
        assert_eq!(text(&span, "error.type").as_deref(), error_type, "{reason}");
        let lasted = span.end_time.duration_since(span.start_time).unwrap().as_nanos() as i64;
        assert_eq!(attribute(&span, "end.nanos"), Some(lasted.into()), "{reason}");
    }
}

/// Answers as the path says.
async fn answer(request: Request<Body>) -> io::Result<Response<Body>> {
    let (status, body) = match request.uri().path() {
        "/error" => return Err(io::Error::other("no database")),
        "/future/panic" => panic_quietly(),
        "/future/dropped" => std::future::pending().await,
        "/empty" => (204, Body::empty()),
        "/body/panic" => (200, Body::from_stream(stream::once(async { panic_ok() }))),
        "/body/dropped" => (200, Body::from_stream(stream::pending::<io::Result<&str>>())),
        _ => (200, Body::from("hello")),
    };
    let mut response = Response::builder().status(status).body(body).unwrap();
    // So that hooks can write to the span by themselves.
    response.extensions_mut().insert(Context::current());
    Ok(response)
}

fn panic_ok() -> io::Result<&'static str> {
    panic_quietly()
}

/// Makes a request and reads its response, as far as that goes without waiting; then gives it up.
fn visit<S, B>(service: S, path: &str)
where
    S: Service<Request<Body>, Response = Response<B>, Error = io::Error>,
    B: http_body::Body,
{
    let visit = async {
        if let Ok(response) = service.oneshot(get(path)).await {
            let _ = response.into_body().collect().await;
        }
    };
    let _ = AssertUnwindSafe(visit).catch_unwind().now_or_never();
}

const PATHS: [&str; 7] = [
    "/complete",
    "/empty",
    "/body/dropped",
    "/body/panic",
    "/future/dropped",
    "/future/panic",
    "/error",
];

/// What a panic can carry: it panics once more when it is thrown away.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic_quietly()
    }
}

/// A layer all of whose hooks panic, after they have said something.
fn panicking(tracing: &TracingService) -> TraceLayer {
    fn explode() -> ! {
        std::panic::resume_unwind(Box::new(Grenade))
    }
    TraceLayer::server(tracing)
        .filter(|_| explode())
        .span_name(|_| explode())
        .on_request(|_, attributes| {
            attributes.set(KeyValue::new("said", true));
            explode()
        })
        .on_response(|_, attributes| {
            attributes.set(KeyValue::new("said", true));
            explode()
        })
        .on_end(|_, attributes| {
            attributes.set(KeyValue::new("said", true));
            explode()
        })
}

#[tokio::test]
async fn a_hook_that_panics_has_said_nothing_and_the_others_are_heard() {
    let (tracing, mut spans) = TracingService::in_memory();
    let plain = TraceLayer::server(&tracing).layer(service_fn(answer));
    let trace = panicking(&tracing).on_end(|_, attributes| {
        attributes.set(KeyValue::new("heard", true));
    });
    let service = trace.layer(service_fn(answer));
    for path in PATHS {
        visit(plain.clone(), path);
        let expected = next_summary(&mut spans).await;
        visit(service.clone(), path);
        let span = next(&mut spans).await;
        assert_eq!(summary(&span), expected, "{path}: as without hooks");
        assert_eq!(attribute(&span, "said"), None, "{path}");
        assert_eq!(attribute(&span, "heard"), Some(true.into()), "{path}");
    }
}

#[tokio::test]
async fn a_hook_that_panics_while_another_panic_unwinds_does_not_abort_the_process() {
    let (tracing, mut spans) = TracingService::in_memory();
    let service = panicking(&tracing).layer(service_fn(answer));
    // What unwinds drops what was under way.
    let unwound = |path: &str| {
        let mut response = None;
        let mut future = Box::pin(service.clone().oneshot(get(path)));
        if let Some(answer) = (&mut future).now_or_never() {
            response = Some(answer.unwrap());
        }
        let unwinding = AssertUnwindSafe(move || {
            let _held = (future, response);
            panic_quietly()
        });
        let caught: Result<(), _> = catch_unwind(unwinding);
        assert!(caught.is_err());
    };
    for (path, expected) in [
        ("/future/dropped", "Server | GET | - | error | cancelled"),
        ("/body/dropped", "Server | GET | 200 | error | cancelled"),
    ] {
        unwound(path);
        assert_eq!(next_summary(&mut spans).await, expected);
    }
}

#[tokio::test]
async fn a_hook_may_write_to_its_own_span_through_the_context() {
    fn note(context: &Context, key: &'static str) {
        context.span().set_attribute(KeyValue::new(key, true));
        context.span().add_event(key, Vec::new());
    }
    let (tracing, mut spans) = TracingService::in_memory();
    let kept = Arc::new(Mutex::new(None));
    let keeps = Arc::clone(&kept);
    let trace = TraceLayer::server(&tracing)
        .on_response(move |response, _| {
            let context = response.extensions().get::<Context>().unwrap().clone();
            note(&context, "response");
            *keeps.lock().unwrap() = Some(context);
        })
        .on_end(move |_, _| note(kept.lock().unwrap().as_ref().unwrap(), "end"));
    let service = trace.layer(service_fn(answer));
    for path in ["/complete", "/empty", "/body/dropped", "/body/panic"] {
        visit(service.clone(), path);
        let span = next(&mut spans).await;
        let events: Vec<_> = span.events.iter().map(|event| &*event.name).collect();
        assert_eq!(events, ["response", "end"], "{path}");
        assert_eq!(attribute(&span, "response"), Some(true.into()), "{path}");
        assert_eq!(attribute(&span, "end"), Some(true.into()), "{path}");
    }
}

#[tokio::test]
async fn of_a_request_that_is_not_recorded_only_filters_hear() {
    let (tracing, spans) = at_rate(0);
    let (filtered, hooked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let count = |count: &Arc<AtomicU32>| {
        let count = Arc::clone(count);
        move || count.fetch_add(1, Ordering::Relaxed)
    };
    let trace = |layer: TraceLayer| {
        let (admit, hook) = (count(&filtered), count(&hooked));
        let (name, request, response, end) = (hook.clone(), hook.clone(), hook.clone(), hook);
        layer
            .filter(move |_| admit() < u32::MAX)
            .span_name(move |_| Some(name().to_string().into()))
            .on_request(move |_, _| drop(request().to_string()))
            .on_response(move |_, _| drop(response().to_string()))
            .on_end(move |_, _| drop(end().to_string()))
    };
    for layer in [TraceLayer::server(&tracing), TraceLayer::client(&tracing)] {
        for path in PATHS {
            visit(trace(layer.clone()).layer(service_fn(answer)), path);
        }
    }
    assert_eq!(filtered.load(Ordering::Relaxed), 2 * PATHS.len() as u32);
    assert_eq!(hooked.load(Ordering::Relaxed), 0);
    assert!(all(tracing, spans).await.is_empty());
}
