//! Requests whose tasks move between the workers of a runtime.
//!
//! The workers' subscriber is that of a whole process, so the test is a process of its own.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::thread::{self, ThreadId};

use axum::extract::Path;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use opentelemetry::trace::{FutureExt, SpanId, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tower_otlp::TraceContext;
use tracing::{info, info_span, instrument};

use super::*;
use crate::support::child::is_child;
use crate::support::server;
use crate::support::spans::{all, text};

#[test]
fn requests_that_move_between_workers_keep_their_spans() {
    if !is_child("tracing::workers::requests_that_move_between_workers_keep_their_spans") {
        return;
    }
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.unwrap().block_on(program());
}

async fn program() {
    const REQUESTS: usize = 400;
    const CHUNKS: usize = 3;

    #[instrument]
    async fn show(id: usize) -> Body {
        let here = TraceContext::server_context().expect("a request is being served");
        note("handler", id);
        let task = spawned(id).with_context(Context::current());
        let (spawned, ()) = tokio::join!(tokio::spawn(task), load(id));
        spawned.unwrap();
        note("late", id);
        let chunks = stream::iter(0..CHUNKS).then(move |_| {
            let server = here.span().span_context().span_id();
            async move {
                move_on().await;
                note("body", id);
                info_span!("chunk", id).in_scope(|| info!("chunk {id}"));
                assert_eq!(Context::current().span().span_context().span_id(), server);
                Ok::<_, Infallible>(id.to_string())
            }
        });
        Body::from_stream(chunks)
    }

    #[instrument]
    async fn load(id: usize) {
        for _ in 0..3 {
            move_on().await;
            note("deep", id);
        }
    }

    #[instrument]
    async fn spawned(id: usize) {
        move_on().await;
        assert!(TraceContext::server_context().is_none(), "a task is nobody's");
    }

    /// Writes to the span of the request from wherever this is.
    fn note(key: &'static str, id: usize) {
        let server = TraceContext::server_context().expect("a request is being served");
        server.span().set_attribute(KeyValue::new(key, i64::try_from(id).unwrap()));
        let threads = &mut *THREADS.lock().unwrap();
        threads.get_or_insert_default().entry(id).or_default().insert(thread::current().id());
    }

    /// Lets another worker take the task.
    async fn move_on() {
        yield_now().await;
        tokio::spawn(yield_now()).await.unwrap();
    }

    static THREADS: Mutex<Option<HashMap<usize, HashSet<ThreadId>>>> = Mutex::new(None);

    let (tracing, spans) = TracingService::in_memory();
    let lines = Lines::default();
    let tracer = tracing.tracer_provider().tracer("app");
    let log = tracing_subscriber::fmt::layer().json().map_event_format(WithTraceIds::from);
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .with(log.with_writer(lines.clone()))
        .init();

    let app = Router::new().route("/{id}", get(async |Path(id)| show(id).await));
    let app = app.layer(TraceLayer::server(&tracing));
    let requests = (0..REQUESTS).map(|id| {
        let app = app.clone();
        tokio::spawn(async move {
            let response = app.oneshot(server::get(&format!("/{id}"))).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, id.to_string().repeat(CHUNKS));
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }

    let moved = THREADS.lock().unwrap().take().unwrap();
    let moved = moved.values().filter(|threads| threads.len() > 1).count();
    assert!(moved > 0, "no request was served by two workers");
    let spans = all(tracing, spans).await;
    assert_eq!(spans.len(), REQUESTS * (4 + CHUNKS));
    let mut by_trace: HashMap<_, Vec<_>> = HashMap::new();
    for span in &spans {
        by_trace.entry(span.trace_id).or_default().push(span);
    }
    assert_eq!(by_trace.len(), REQUESTS, "a trace for each request");
    let mut chunk_lines: HashMap<String, Vec<Value>> = HashMap::new();
    for line in String::from_utf8(lines.0.lock().unwrap().clone()).unwrap().lines() {
        let line: Value = serde_json::from_str(line).expect(line);
        let message = line["fields"]["message"].as_str().unwrap().to_owned();
        chunk_lines.entry(message).or_default().push(line);
    }
    for spans in by_trace.into_values() {
        let of = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
        let server = of("GET /{id}")[0];
        let id = text(server, "url.path").unwrap()[1..].to_owned();
        for key in ["handler", "late", "body", "deep"] {
            assert_eq!(text(server, key), Some(id.clone()), "{key}");
        }
        let show = of("show")[0];
        let rows = [
            ("show", 1, Some(server.span_id)),
            ("load", 1, Some(show.span_id)),
            ("spawned", 1, Some(show.span_id)),
            ("chunk", CHUNKS, Some(server.span_id)),
        ];
        for (name, count, parent) in rows {
            let named = of(name);
            assert_eq!(named.len(), count, "{name} of {id}");
            for span in named {
                assert_eq!(span.parent_span_id, parent, "{name} of {id}");
                assert_eq!(text(span, "id"), Some(id.clone()), "{name}");
            }
        }
        let lines = &chunk_lines[&format!("chunk {id}")];
        let chunks: HashSet<SpanId> = of("chunk").iter().map(|span| span.span_id).collect();
        assert_eq!(lines.len(), CHUNKS);
        for line in lines {
            assert_eq!(line["trace_id"], server.trace_id.to_string());
            let span_id = SpanId::from_hex(line["span_id"].as_str().unwrap()).unwrap();
            assert!(chunks.contains(&span_id), "{line}");
        }
    }
}
