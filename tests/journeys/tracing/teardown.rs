//! Log lines of a thread that ends: its thread-locals are destroyed one after another, in the
//! opposite order to that in which they were made, and what is dropped with them may log.
//!
//! Only a subscriber of the whole process hears of it, so the test is a process of its own.

use std::cell::Cell;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures_util::FutureExt;
use opentelemetry::Context;
use tracing::info;

use super::*;
use crate::support::child::is_child;
use crate::support::server::get;

#[test]
fn a_line_of_a_thread_that_ends_is_written() {
    if !is_child("tracing::teardown::a_line_of_a_thread_that_ends_is_written") {
        return;
    }
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::Relaxed);
    }));
    let (tracing, _spans) = TracingService::in_memory();
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().json().map_event_format(WithTraceIds::from);
    log.with_writer(lines.clone()).init();

    // Message, what the thread did after it made the thread-local that logs, panics that are seen,
    // reason.
    type Row = (&'static str, fn(&TracingService), usize, &'static str);
    let rows: [Row; 3] = [
        ("serves", serve, 0, "a layer was here while the context was"),
        ("attaches", |_| drop(Context::new().attach()), 1, "nobody can know but by trying, once"),
        ("idles", |_| {}, 0, "OpenTelemetry makes its context when it is asked for it"),
    ];
    for (message, work, panics, reason) in rows {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                LOGS.set(Some(LogsOnDrop(message)));
                work(&tracing);
            });
            thread.join().unwrap();
        });
        assert_eq!(lines.line(message).get("trace_id"), None, "{message}: {reason}");
        assert_eq!(lines.line("again").get("trace_id"), None, "{message}: {reason}");
        assert_eq!(PANICS.swap(0, Ordering::Relaxed), panics, "{message}: {reason}");
        lines.0.lock().unwrap().clear();
    }
}

fn serve(tracing: &TracingService) {
    let app = Router::new().fallback(async || "hello");
    let fetched = fetch(tracing, app, get("/")).now_or_never();
    assert_eq!(fetched.unwrap().status(), 200);
}

struct LogsOnDrop(&'static str);

impl Drop for LogsOnDrop {
    fn drop(&mut self) {
        info!("{}", self.0);
        info!("again");
    }
}

thread_local! {
    static LOGS: Cell<Option<LogsOnDrop>> = const { Cell::new(None) };
}
