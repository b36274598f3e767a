//! Whose child a span is.

use std::convert::Infallible;

use axum::extract::Path;
use axum::routing::get;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;
use tokio::sync::Barrier;
use tokio::task::yield_now;
use tower_otlp::TraceContext;
use tracing::{Instrument, info_span, instrument};

use super::*;
use crate::support::server;
use crate::support::spans::{all, text};

#[tokio::test]
async fn an_instrumented_handler_is_the_child_of_its_own_request() {
    const REQUESTS: usize = 8;

    #[instrument(skip(together))]
    async fn show(id: usize, together: Arc<Barrier>) -> String {
        // All requests are here at the same time, and go on in turns.
        together.wait().await;
        for _ in 0..id {
            yield_now().await;
        }
        load(id).await
    }

    #[instrument]
    async fn load(id: usize) -> String {
        yield_now().await;
        info_span!("parse", id).in_scope(|| format!("user {id}"))
    }

    let (tracing, spans) = TracingService::in_memory();
    let (_subscribed, _) = subscribe(&tracing);
    let together = Arc::new(Barrier::new(REQUESTS));
    let handler = move |Path(id)| show(id, Arc::clone(&together));
    // Around the route, to have it in the name of the span.
    let app = Router::new().route("/users/{id}", get(handler));
    let app = app.layer(TraceLayer::server(&tracing));
    let requests = (0..REQUESTS).map(|id| {
        let app = app.clone();
        async move {
            let response = app.oneshot(server::get(&format!("/users/{id}"))).await.unwrap();
            response.into_body().collect().await.unwrap()
        }
    });
    join_all(requests).await;

    let spans = all(tracing, spans).await;
    assert_eq!(spans.len(), 4 * REQUESTS);
    for id in 0..REQUESTS {
        let path = Value::from(format!("/users/{id}"));
        let request = spans.iter().find(|span| span.attribute("url.path") == Some(&path)).unwrap();
        let trace: Vec<_> =
            spans.iter().filter(|span| span.trace_id == request.trace_id).cloned().collect();
        let [server, show, load, parse] =
            ["GET /users/{id}", "show", "load", "parse"].map(|name| named(&trace, name));
        assert_eq!(server.parent_span_id, None);
        assert_eq!(server.scope_name, "tower-otlp");
        for (child, parent) in [(show, server), (load, show), (parse, load)] {
            assert_eq!(child.parent_span_id, Some(parent.span_id), "{} of {id}", child.name);
            assert_eq!(text(child, "id"), Some(id.to_string()));
            assert_eq!(child.resource, server.resource, "one resource");
            assert_eq!(child.scope_name, "app");
            assert_eq!(child.flags, 0x103, "sampled, of a random id, with a local parent");
            assert!(parent.start_time <= child.start_time && child.end_time <= parent.end_time);
        }
    }
}

#[tokio::test]
async fn a_task_is_part_of_the_trace_if_it_is_given_the_span_or_the_context() {
    #[instrument]
    async fn job(name: &'static str) {
        yield_now().await;
    }

    #[instrument]
    async fn handler() {
        let by_span = tokio::spawn(job("by span").in_current_span());
        let by_context = tokio::spawn(job("by context").with_context(Context::current()));
        let alone = tokio::spawn(job("alone"));
        for task in [by_span, by_context, alone] {
            task.await.unwrap();
        }
    }

    let (tracing, spans) = TracingService::in_memory();
    let (_subscribed, _) = subscribe(&tracing);
    let app = Router::new().route("/", get(handler));
    fetch(&tracing, app, server::get("/")).await;

    let spans = all(tracing, spans).await;
    let handler = named(&spans, "handler");
    assert_eq!(handler.parent_span_id, Some(named(&spans, "GET").span_id));
    let rows = [
        ("by span", true, "the tracing span brings the context with it"),
        ("by context", true, "the context is enough"),
        ("alone", false, "a task has nothing of the one that spawned it"),
    ];
    for (name, is_child, reason) in rows {
        let name = KeyValue::new("name", name);
        let job = spans.iter().find(|span| span.attributes.contains(&name)).unwrap();
        assert_eq!(job.parent_span_id, is_child.then_some(handler.span_id), "{reason}");
        assert_eq!(job.trace_id == handler.trace_id, is_child, "{reason}");
    }
}

#[tokio::test]
async fn a_span_made_by_a_streamed_body_is_the_child_of_the_request_which_ends_last() {
    #[instrument]
    async fn report() -> Body {
        Body::from_stream(stream::iter(["one", "two"]).then(|chunk| async move {
            yield_now().await;
            info_span!("chunk", chunk).in_scope(|| Ok::<_, Infallible>(chunk))
        }))
    }

    let (tracing, spans) = TracingService::in_memory();
    let (_subscribed, _) = subscribe(&tracing);
    let app = Router::new().route("/", get(report));
    let response = fetch(&tracing, app, server::get("/")).await;
    assert_eq!(response.body(), "onetwo");

    let spans = all(tracing, spans).await;
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["report", "chunk", "chunk", "GET"], "in the order in which they ended");
    let server = &spans[3];
    for child in &spans[..3] {
        assert_eq!(child.parent_span_id, Some(server.span_id), "{}", child.name);
        assert_eq!(child.trace_id, server.trace_id);
        assert!(child.end_time <= server.end_time);
    }
}

#[tokio::test]
async fn spans_of_tracing_and_of_opentelemetry_nest_in_each_other() {
    #[instrument(skip_all)]
    async fn outer(tracer: SdkTracer) {
        let api = Context::current_with_span(tracer.start("api"));
        inner().with_context(api).await;
        // The outer span is the current one again.
        tracer.in_span("late", |_| {});
    }

    #[instrument]
    async fn inner() {
        yield_now().await;
    }

    let (tracing, spans) = TracingService::in_memory();
    let (_subscribed, _) = subscribe(&tracing);
    let tracer = tracing.tracer_provider().tracer("api");
    let app = Router::new().route("/", get(move || outer(tracer)));
    fetch(&tracing, app, server::get("/")).await;

    let spans = all(tracing, spans).await;
    let chain = ["GET", "outer", "api", "inner"].map(|name| named(&spans, name));
    for pair in chain.windows(2) {
        assert_eq!(pair[1].parent_span_id, Some(pair[0].span_id), "{}", pair[1].name);
    }
    assert_eq!(named(&spans, "late").parent_span_id, Some(named(&spans, "outer").span_id));
    assert_eq!(spans.len(), 5);
}

#[tokio::test]
async fn the_request_s_own_span_is_reached_under_instrument() {
    #[instrument]
    async fn show() -> &'static str {
        yield_now().await;
        load().await
    }

    #[instrument]
    async fn load() -> &'static str {
        let request = TraceContext::server_context().expect("a request is being served");
        request.span().set_attribute(KeyValue::new("user.id", "ann"));
        Context::current().span().set_attribute(KeyValue::new("rows", 1));
        "done"
    }

    let (tracing, spans) = TracingService::in_memory();
    let (_subscribed, _) = subscribe(&tracing);
    fetch(&tracing, Router::new().route("/", get(show)), server::get("/")).await;

    let spans = all(tracing, spans).await;
    let (request, load) = (named(&spans, "GET"), named(&spans, "load"));
    assert_eq!(text(request, "user.id").as_deref(), Some("ann"));
    assert_eq!(text(load, "rows").as_deref(), Some("1"), "the innermost is the current one");
    assert_eq!(text(request, "rows"), None);
    assert_eq!(text(load, "user.id"), None);
}
