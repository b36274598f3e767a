//! What a service writes into its span through the OpenTelemetry `Context`.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt, stream};
use http::{Request, Response, StatusCode, Version};
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue, Value};
use tokio::sync::{Barrier, oneshot};
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{RecordedSpan, TraceLayer, TracingService};

use crate::support::server::{Client, VERSIONS, fetch, get, serve};
use crate::support::spans::{all, assert_none_yet, next, summary, text};

/// The span of a request whose handler does this.
async fn span_of(handle: fn(&Context) -> StatusCode) -> RecordedSpan {
    let (tracing, mut spans) = TracingService::in_memory();
    let handler = async move || Context::map_current(handle);
    let app = Router::new().route("/", get_route(handler)).layer(TraceLayer::server(&tracing));
    fetch(Version::HTTP_11, serve(app).await, get("/")).await;
    next(&mut spans).await
}

#[tokio::test]
async fn what_a_handler_writes_arrives() {
    let span = span_of(|context| {
        let span = context.span();
        assert!(span.is_recording());
        span.set_attribute(KeyValue::new("user.id", "ann"));
        span.set_attributes([KeyValue::new("cart.items", 3), KeyValue::new("vip", true)]);
        span.add_event("charged", vec![KeyValue::new("amount", 12.5)]);
        span.add_event_with_timestamp(
            "ordered",
            SystemTime::UNIX_EPOCH + Duration::from_secs(7),
            Vec::new(),
        );
        let state = TraceState::from_key_value([("a", "1")]).unwrap();
        let linked =
            SpanContext::new(TraceId::from(1), SpanId::from(2), TraceFlags::SAMPLED, true, state);
        span.add_link(linked, vec![KeyValue::new("why", "retry")]);
        span.set_status(Status::error("out of stock"));
        span.update_name("checkout");
        StatusCode::OK
    })
    .await;

    assert_eq!(summary(&span), "Server | checkout | 200 | error: out of stock | -");
    assert_eq!(span.attribute("user.id"), Some(&Value::from("ann")));
    assert_eq!(span.attribute("cart.items"), Some(&Value::from(3)));
    assert_eq!(span.attribute("vip"), Some(&Value::from(true)));
    let [charged, ordered] = &span.events[..] else { panic!("{:?}", span.events) };
    assert_eq!(charged.name, "charged");
    assert_eq!(charged.attribute("amount"), Some(&Value::from(12.5)));
    assert_eq!(ordered.name, "ordered");
    assert_eq!(ordered.time, SystemTime::UNIX_EPOCH + Duration::from_secs(7));
    let [link] = &span.links[..] else { panic!("{:?}", span.links) };
    assert_eq!((link.trace_id, link.span_id), (TraceId::from(1), SpanId::from(2)));
    assert_eq!((link.trace_state.as_str(), link.flags), ("a=1", 0x301));
    assert_eq!(link.attributes, [KeyValue::new("why", "retry")]);
}

#[tokio::test]
async fn a_key_that_is_repeated_replaces_also_the_layers_own() {
    let span = span_of(|context| {
        let span = context.span();
        span.set_attribute(KeyValue::new("step", 1));
        span.set_attribute(KeyValue::new("url.path", "/{hidden}"));
        span.set_attribute(KeyValue::new("step", "two"));
        StatusCode::OK
    })
    .await;

    assert_eq!(summary(&span), "Server | GET / | 200 | unset | -", "and no key is there twice");
    assert_eq!(text(&span, "step").as_deref(), Some("two"));
    assert_eq!(text(&span, "url.path").as_deref(), Some("/{hidden}"));
}

#[tokio::test]
async fn what_the_layer_writes_at_the_end_replaces_what_the_handler_wrote() {
    type Row = (fn(&Context) -> StatusCode, &'static str, &'static str);
    let rows: [Row; 4] = [
        (
            |context| {
                context.span().set_attribute(KeyValue::new("error.type", "OutOfStock"));
                context.span().set_attribute(KeyValue::new("http.response.status_code", 1));
                StatusCode::INTERNAL_SERVER_ERROR
            },
            "Server | GET / | 500 | error | 500",
            "one error.type, one code, and they are the layer's",
        ),
        (
            |context| {
                context.span().set_attribute(KeyValue::new("error.type", "OutOfStock"));
                StatusCode::CONFLICT
            },
            "Server | GET / | 409 | unset | OutOfStock",
            "where the layer sees no error, the handler's word stands",
        ),
        (
            |context| {
                context.span().set_status(Status::error("out of stock"));
                StatusCode::INTERNAL_SERVER_ERROR
            },
            "Server | GET / | 500 | error: out of stock | 500",
            "a description stays where the layer has none",
        ),
        (
            |context| {
                context.span().set_status(Status::Ok);
                StatusCode::INTERNAL_SERVER_ERROR
            },
            "Server | GET / | 500 | ok | 500",
            "Ok is final in OpenTelemetry",
        ),
    ];
    for (handler, expected, reason) in rows {
        assert_eq!(summary(&span_of(handler).await), expected, "{reason}");
    }
}

#[tokio::test]
async fn the_span_is_the_layers_to_end() {
    let span = span_of(|context| {
        context.span().end();
        context.span().end_with_timestamp(SystemTime::UNIX_EPOCH);
        assert!(context.span().is_recording());
        context.span().set_attribute(KeyValue::new("after", "end"));
        StatusCode::ACCEPTED
    })
    .await;

    assert_eq!(summary(&span), "Server | GET / | 202 | unset | -");
    assert_eq!(text(&span, "after").as_deref(), Some("end"));
    assert!(span.end_time >= span.start_time);
}

#[tokio::test]
async fn the_body_writes_into_the_same_span() {
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let handler = async || {
            Body::from_stream(stream::iter(["one", "two"]).map(|chunk| {
                Context::current().span().add_event(chunk, Vec::new());
                Ok::<_, Infallible>(chunk)
            }))
        };
        let app = Router::new().route("/", get_route(handler)).layer(TraceLayer::server(&tracing));
        fetch(version, serve(app).await, get("/")).await;

        let span = next(&mut spans).await;
        let events: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(events, ["one", "two"], "{version:?}");
    }
}

#[tokio::test]
async fn what_a_service_writes_while_it_is_given_up_arrives() {
    struct GivenUp(Context);
    impl Drop for GivenUp {
        fn drop(&mut self) {
            self.0.span().add_event("given up", Vec::new());
        }
    }
    // In which phase, what the span is.
    let rows = [
        (false, "Server | GET | - | error | cancelled"),
        (true, "Server | GET | 200 | error | cancelled"),
    ];
    for (answers, expected) in rows {
        let (tracing, mut spans) = TracingService::in_memory();
        let service = service_fn(async |_: Request<Body>| {
            let given_up = GivenUp(Context::current());
            if !answers {
                std::future::pending::<()>().await;
            }
            let body = stream::pending::<Result<&str, Infallible>>().map(move |chunk| {
                let _ = &given_up;
                chunk
            });
            Ok::<_, Infallible>(Response::new(Body::from_stream(body)))
        });
        let service = TraceLayer::server(&tracing).layer(service);
        drop(service.oneshot(get("/")).now_or_never());

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), expected);
        assert_eq!(span.events.len(), 1, "{expected}");
        assert_eq!(span.events[0].name, "given up");
    }
}

#[tokio::test]
async fn a_context_that_outlives_its_span_is_inert() {
    fn write(late: &Context) {
        late.span().set_attribute(KeyValue::new("late", true));
        late.span().add_event("late", Vec::new());
        late.span().set_status(Status::error("late"));
        late.span().update_name("late");
        late.span().end();
    }
    let (tracing, mut spans) = TracingService::in_memory();
    // The first request leaves its context here; those that follow write to it.
    let kept = Arc::new(OnceLock::new());
    let keep = Arc::clone(&kept);
    let handler = async move || match keep.get() {
        Some(late) => write(late),
        None => keep.set(Context::current()).unwrap(),
    };
    let app = Router::new().route("/", get_route(handler)).layer(TraceLayer::server(&tracing));
    let mut client = Client::connect(Version::HTTP_11, serve(app).await).await;

    client.fetch(get("/")).await.unwrap();
    let first = next(&mut spans).await;
    let late = kept.get().unwrap();
    assert!(!late.span().is_recording());
    write(late);
    assert_none_yet(&tracing, &mut spans).await;
    assert_eq!(late.span().span_context().span_id(), first.span_id, "it still says who it was");

    for _ in 0..2 {
        client.fetch(get("/")).await.unwrap();
        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Server | GET / | 200 | unset | -");
        assert_eq!(text(&span, "late"), None);
        assert!(span.events.is_empty());
        assert_ne!(span.span_id, first.span_id);
    }
}

#[tokio::test]
async fn tasks_that_are_given_the_context_see_the_span() {
    let (tracing, mut spans) = TracingService::in_memory();
    #[derive(Debug, PartialEq)]
    struct Own(&'static str);
    let handler = async || {
        let child = Context::current_with_value(Own("value"));
        let task = async {
            let seen = Context::current();
            assert_eq!(seen.get::<Own>(), Some(&Own("value")));
            seen.span().set_attribute(KeyValue::new("from.task", true));
            seen.span().span_context().span_id()
        };
        let seen = tokio::spawn(task.with_context(child)).await.unwrap();
        assert_eq!(seen, Context::current().span().span_context().span_id());
        let without = tokio::spawn(async { Context::current().has_active_span() });
        assert!(!without.await.unwrap(), "a task that is given nothing has nothing");
        seen.to_string()
    };
    let app = Router::new().route("/", get_route(handler)).layer(TraceLayer::server(&tracing));

    let response = fetch(Version::HTTP_2, serve(app).await, get("/")).await;

    let span = next(&mut spans).await;
    assert_eq!(response.status(), 200);
    assert_eq!(*response.body(), span.span_id.to_string());
    assert_eq!(span.attribute("from.task"), Some(&Value::from(true)));
}

#[tokio::test]
async fn a_handler_that_writes_too_much_does_not_push_out_how_the_request_ended() {
    let span = span_of(|context| {
        for i in 0..200 {
            context.span().set_attribute(KeyValue::new(format!("key.{i}"), i));
        }
        StatusCode::INTERNAL_SERVER_ERROR
    })
    .await;

    assert_eq!(summary(&span), "Server | GET / | 500 | error | 500");
    assert_eq!(span.attributes.len(), 128);
    let written = span.attributes.iter().filter(|kv| kv.key.as_str().starts_with("key."));
    assert_eq!(written.count() as u32 + span.dropped_attributes_count, 200);
}

#[tokio::test]
async fn of_requests_under_way_at_once_each_has_its_own_span() {
    const REQUESTS: usize = 200;
    let (tracing, spans) = TracingService::in_memory();
    // Each handler writes while all the others are under way.
    let all_here = Arc::new(Barrier::new(REQUESTS));
    let handler = async move |uri: http::Uri| {
        all_here.wait().await;
        let span_id = Context::map_current(|context| {
            context.span().set_attribute(KeyValue::new("seen", uri.path().to_owned()));
            context.span().span_context().span_id()
        });
        tokio::task::yield_now().await;
        span_id.to_string()
    };
    let app = Router::new().fallback(handler).layer(TraceLayer::server(&tracing));
    let mut client = Client::connect(Version::HTTP_2, serve(app).await).await;

    let requests: Vec<_> =
        (0..REQUESTS).map(|i| client.send(get(&format!("/request/{i}")))).collect();
    let responses = join_all(requests.into_iter().map(async |response| {
        let body = http_body_util::BodyExt::collect(response.await.unwrap().into_body()).await;
        String::from_utf8(body.unwrap().to_bytes().into()).unwrap()
    }))
    .await;

    let mut spans = all(tracing, spans).await;
    assert_eq!(spans.len(), REQUESTS);
    for (i, answered) in responses.iter().enumerate() {
        let at = spans.iter().position(|span| span.span_id.to_string() == *answered);
        let span = spans.swap_remove(at.expect("a span of its own"));
        let path = format!("/request/{i}");
        assert_eq!(summary(&span), "Server | GET | 200 | unset | -");
        assert_eq!(text(&span, "url.path").as_deref(), Some(&*path));
        assert_eq!(text(&span, "seen").as_deref(), Some(&*path));
    }
}

#[tokio::test]
async fn a_thread_that_writes_while_spans_end_harms_neither() {
    const REQUESTS: usize = 300;
    let (tracing, mut spans) = TracingService::in_memory();
    // A handler hands its context over, and answers when the thread has begun to write to it.
    let (hand_over, handed_over) = std::sync::mpsc::channel::<(Context, oneshot::Sender<()>)>();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let writer = std::thread::spawn(move || {
        let mut kept: Option<Context> = None;
        let mut count = 0;
        while !is_done.load(Ordering::Relaxed) {
            let handed_over = handed_over.try_recv().ok();
            let (context, begun) = handed_over.unzip();
            kept = context.or(kept);
            if let Some(kept) = &kept {
                count += 1;
                kept.span().set_attribute(KeyValue::new("count", count));
                kept.span().set_attribute(KeyValue::new("http.response.status_code", -1));
                kept.span().add_event("written", Vec::new());
                kept.span().update_name("renamed");
            }
            if let Some(begun) = begun {
                begun.send(()).unwrap();
            }
            std::thread::yield_now();
        }
        kept.unwrap()
    });
    let handler = async move || {
        let (begun, has_begun) = oneshot::channel();
        hand_over.send((Context::current(), begun)).unwrap();
        has_begun.await.unwrap();
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let app = Router::new().route("/", get_route(handler)).layer(TraceLayer::server(&tracing));
    let mut client = Client::connect(Version::HTTP_2, serve(app).await).await;

    for _ in 0..REQUESTS {
        client.fetch(get("/")).await.unwrap();
        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Server | renamed | 500 | error | 500");
        assert!(matches!(span.attribute("count"), Some(Value::I64(1..))), "{span:?}");
        assert!(span.events.iter().all(|event| event.name == "written"), "{span:?}");
        assert!(!span.events.is_empty());
    }
    done.store(true, Ordering::Relaxed);
    let last = writer.join().unwrap();
    assert!(!last.span().is_recording());
    assert_none_yet(&tracing, &mut spans).await;
}
