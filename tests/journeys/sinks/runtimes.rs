//! Flush and shutdown, from wherever a program may call them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{TraceLayer, TracingService};

use super::collector::Collector;
use super::files::{directory, ids_in, url};
use super::script::Script;
use super::{Ids, LONG, SHORT, ids, serve, settled, tracing_to};

#[tokio::test]
async fn a_current_thread_runtime_can_wait() {
    assert_waits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multi_thread_runtime_can_wait() {
    assert_waits().await;
}

#[test]
fn an_executor_without_tokio_can_wait() {
    block_on(assert_waits());
}

#[tokio::test]
async fn a_current_thread_runtime_can_be_blocked() {
    assert_blocks();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_multi_thread_runtime_can_be_blocked() {
    assert_blocks();
}

#[tokio::test]
async fn a_thread_for_blocking_work_can_be_blocked() {
    spawn_blocking(assert_blocks).await.unwrap();
}

#[test]
fn a_thread_without_a_runtime_can_be_blocked() {
    assert_blocks();
}

#[tokio::test]
async fn a_current_thread_runtime_is_given_back_at_the_deadline() {
    let collector = Collector::start(Script::Silence);
    let tracing = tracing_to(&collector.grpc_url());
    serve(&tracing, 3);
    let flushed = tracing.flush(SHORT).await;
    assert_eq!((flushed.delivered, flushed.pending), (0, 3));
    assert_eq!(tracing.shutdown(SHORT).await.dropped.shutdown, 3);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_callers_runtime_does_not_matter() {
    // The clock of this runtime jumps whenever it has nothing to do.
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    serve(&tracing, 3);
    assert_eq!(tracing.flush(LONG).await, settled(3, 0));
    assert_eq!(tracing.shutdown(LONG).await, settled(3, 0));
}

#[test]
fn a_runtime_that_has_gone_takes_neither_spans_nor_deadlines_with_it() {
    let collector = Collector::start(Script::Silence);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tracing = runtime().block_on(async {
        let tracing = tracing_to(&collector.grpc_url());
        serve(&tracing, 3);
        // Asked for in this runtime, and not waited for.
        assert!(futures_util::poll!(pin!(tracing.flush(LONG))).is_pending());
        tracing
    });
    let flushed = tracing.flush_blocking(SHORT);
    assert_eq!((flushed.delivered, flushed.pending), (0, 3), "the worker keeps the deadline");
    collector.play(Script::Ok);
    assert_eq!(runtime().block_on(tracing.flush(LONG)), settled(3, 0), "another runtime");
    serve(&tracing, 2);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(5, 0), "and none");
}

#[tokio::test]
async fn a_flush_that_is_given_up_changes_nothing() {
    let collector = Collector::start(Script::Silence);
    let tracing = tracing_to(&collector.grpc_url());
    serve(&tracing, 3);
    {
        let mut flush = pin!(tracing.flush(LONG));
        assert!(futures_util::poll!(&mut flush).is_pending());
    }
    collector.play(Script::Ok);
    assert_eq!(tracing.flush(LONG).await, settled(3, 0));
}

#[test]
fn a_deadline_beyond_all_time_is_no_problem() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    serve(&tracing, 3);
    assert_eq!(tracing.flush_blocking(Duration::MAX), settled(3, 0));
    assert_eq!(tracing.shutdown_blocking(Duration::MAX), settled(3, 0));
}

#[test]
fn many_threads_can_flush_at_once() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let served = serve(&tracing, 5);
                    let _ = tracing.flush_blocking(LONG);
                    assert!(collector.ids().is_superset(&ids(&served)), "one's own are there");
                }
            });
        }
    });
    assert_eq!(tracing.shutdown_blocking(LONG), settled(800, 0));
}

#[tokio::test]
async fn a_service_that_is_dropped_delivers_in_the_background() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    let served = serve(&tracing, 1);
    drop(tracing);
    collector.wait_for(1);
    assert_eq!(collector.ids(), ids(&served));
}

#[test]
fn requests_are_served_after_the_shutdown_too_and_their_spans_go_nowhere() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    let service = service_fn(|_: http::Request<String>| {
        ready(Ok::<_, Infallible>(http::Response::new(String::from("served"))))
    });
    let service = TraceLayer::server(&tracing).layer(service);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(0, 0));
    let response = block_on(service.oneshot(http::Request::new(String::new()))).unwrap();
    assert_eq!(response.status(), 200);
    drop(response);
    assert_eq!(collector.connections(), 0);
}

#[test]
fn files_are_complete_when_a_flush_returns() {
    let (_root, directory) = directory();
    let tracing = tracing_to(&url(&directory));
    let mut seen = BTreeSet::new();
    for flush in 1..=5 {
        seen.extend(ids(&serve(&tracing, 3)));
        assert_eq!(tracing.flush_blocking(LONG), settled(3 * flush, 0));
        assert_eq!(ids_in(&directory), seen);
    }
    assert_eq!(block_on(tracing.shutdown(LONG)), settled(15, 0));
}

async fn assert_waits() {
    let (collector, tracing, served) = prepared();
    assert_eq!(tracing.flush(LONG).await, settled(3, 0));
    assert_eq!(collector.ids(), served);
    assert_eq!(tracing.flush(LONG).await, settled(3, 0), "nothing to do");
    serve(&tracing, 2);
    assert_eq!(tracing.shutdown(LONG).await, settled(5, 0));
    assert_eq!(collector.spans().len(), 5);
}

fn assert_blocks() {
    let (collector, tracing, served) = prepared();
    assert_eq!(tracing.flush_blocking(LONG), settled(3, 0));
    assert_eq!(collector.ids(), served);
    assert_eq!(tracing.flush_blocking(LONG), settled(3, 0), "nothing to do");
    serve(&tracing, 2);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(5, 0));
    assert_eq!(collector.spans().len(), 5);
}

fn prepared() -> (Collector, TracingService, Ids) {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    let served = serve(&tracing, 3);
    (collector, tracing, ids(&served))
}

/// The smallest executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
