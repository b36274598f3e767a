//! The pipeline as its owner has it: with a thread of its own.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::{Poll, Wake, Waker};

use opentelemetry::Context;
use tokio::runtime::{Builder, Runtime};

use super::super::super::batch::Batch;
use super::super::super::buffer::BufferLimits;
use super::super::super::scope::Scope;
use super::super::super::{FOREVER, Pipeline};
use super::*;

#[test]
fn flush_and_shutdown_return_on_any_thread_with_any_runtime_and_with_none() {
    type Act = fn(Arc<Pipeline>) -> [Stats; 2];
    let rows: [(Act, &str); 9] = [
        (|p| current_thread().block_on(drain(p)), "a current-thread runtime"),
        (|p| multi_thread().block_on(drain(p)), "a multi-thread runtime"),
        (
            |p| multi_thread().block_on(async { tokio::spawn(drain(p)).await.unwrap() }),
            "a task of a multi-thread runtime",
        ),
        (
            |p| {
                let task = async { tokio::task::spawn_blocking(move || drain_blocking(&p)).await };
                multi_thread().block_on(task).unwrap()
            },
            "a blocking task",
        ),
        (
            |p| {
                let drain = || Builder::new_current_thread().build().unwrap().block_on(drain(p));
                let task = async { tokio::task::spawn_blocking(drain).await };
                multi_thread().block_on(task).unwrap()
            },
            "a runtime without timers inside a blocking task",
        ),
        (|p| drain_blocking(&p), "no runtime, blocking"),
        (|p| block_on(drain(p)), "no runtime, async"),
        (
            |p| current_thread().block_on(async { drain_blocking(&p) }),
            "blocking the only thread of a runtime",
        ),
        (
            |p| multi_thread().block_on(async { drain_blocking(&p) }),
            "blocking in a multi-thread runtime",
        ),
    ];
    for (act, why) in rows {
        let (pipeline, _ended) = start(|_| {});
        end_spans(&pipeline, 3);
        let [flushed, shut_down] = act(Arc::clone(&pipeline));
        assert_eq!(flushed, Stats { accepted: 3, delivered: 3, ..Stats::default() }, "{why}");
        assert_eq!(shut_down, Stats { accepted: 5, delivered: 5, ..Stats::default() }, "{why}");

        end_spans(&pipeline, 1);
        let dropped = Dropped { shutdown: 1, ..Dropped::default() };
        let [flushed, shut_down] = act(pipeline);
        assert_eq!(flushed, Stats { accepted: 6, delivered: 5, dropped, ..Stats::default() });
        assert_eq!((shut_down.accepted, shut_down.dropped.shutdown), (8, 3), "once more: {why}");
    }
}

#[test]
fn no_deadline_is_too_short_or_too_long() {
    for deadline in [Duration::ZERO, Duration::MAX] {
        let (pipeline, ended) = start(|_| {});
        assert_eq!(pipeline.flush_blocking(deadline), Stats::default());
        pipeline.shutdown_detached(deadline);
        assert_ended(&ended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_one_of_the_real_clock_whatever_time_the_callers_runtime_has() {
    let (commands, mut inbox) = mpsc::unbounded_channel();
    let pipeline = Pipeline {
        intake: Arc::new(Intake::new(BufferLimits::default())),
        commands,
        #[cfg(feature = "clap")]
        last_failure: LastFailure::default(),
    };
    tokio::time::advance(Duration::from_secs(3600)).await;
    let flush = pipeline.flush(Duration::from_secs(5));
    let _ = futures_util::poll!(pin!(flush));
    pipeline.shutdown_detached(Duration::from_secs(5));
    for _ in 0..2 {
        let Some(Command::Flush(drain) | Command::Shutdown(drain)) = inbox.recv().await else {
            panic!("not what was asked for");
        };
        let left = drain.deadline.into_std().duration_since(std::time::Instant::now());
        assert!(left <= Duration::from_secs(5), "{left:?} are left of 5 s");
    }
}

#[test]
fn after_a_panic_the_next_spans_are_delivered() {
    let (pipeline, ended) = start(|export| assert_ne!(export, 0, "the first one panics"));
    end_spans(&pipeline, 2);
    let dropped = Dropped { panicked: 2, ..Dropped::default() };
    let flushed = pipeline.flush_blocking(FOREVER);
    assert_eq!(flushed, Stats { accepted: 2, dropped, ..Stats::default() });

    end_spans(&pipeline, 3);
    let shut_down = pipeline.shutdown_blocking(FOREVER);
    assert_eq!(shut_down, Stats { accepted: 5, delivered: 3, dropped, ..Stats::default() });
    assert_ended(&ended);
}

#[test]
fn a_detached_shutdown_delivers_what_waits_and_ends_the_thread() {
    let (pipeline, ended) = start(|_| {});
    end_spans(&pipeline, 3);
    pipeline.shutdown_detached(FOREVER);
    let intake = Arc::clone(pipeline.intake());
    drop(pipeline);
    assert_ended(&ended);
    assert_eq!(intake.stats(), Stats { accepted: 3, delivered: 3, ..Stats::default() });
}

#[test]
fn a_pipeline_that_is_let_go_ends_its_thread() {
    let (pipeline, ended) = start(|_| {});
    drop(pipeline);
    assert_ended(&ended);
}

#[test]
fn the_exporter_never_traces_itself() {
    let (pipeline, _ended) = start(|_| assert!(Context::is_current_telemetry_suppressed()));
    end_spans(&pipeline, 1);
    assert_eq!(pipeline.shutdown_blocking(FOREVER).delivered, 1);
}

async fn drain(pipeline: Arc<Pipeline>) -> [Stats; 2] {
    let flushed = pipeline.flush(FOREVER).await;
    end_spans(&pipeline, 2);
    [flushed, pipeline.shutdown(FOREVER).await]
}

fn drain_blocking(pipeline: &Pipeline) -> [Stats; 2] {
    let flushed = pipeline.flush_blocking(FOREVER);
    end_spans(pipeline, 2);
    [flushed, pipeline.shutdown_blocking(FOREVER)]
}

/// A pipeline whose sink does this with the number of each export, and a channel that closes
/// when the worker's thread is done with it.
fn start(during: fn(usize)) -> (Arc<Pipeline>, Receiver<()>) {
    let (alive, ended) = channel();
    let sink = Box::new(AsyncSink { exports: AtomicUsize::new(0), during, _alive: alive });
    let pipeline = Pipeline::start(sink, PipelineOptions::default(), None).unwrap();
    (Arc::new(pipeline), ended)
}

fn end_spans(pipeline: &Pipeline, spans: usize) {
    let scope = Arc::<Scope>::default();
    (0..spans).for_each(|_| pipeline.intake().push(&scope, b"a span"));
}

fn assert_ended(ended: &Receiver<()>) {
    // Never waits that long, unless there is a bug.
    let result = ended.recv_timeout(Duration::from_secs(60));
    assert_eq!(result, Err(RecvTimeoutError::Disconnected), "the thread has ended");
}

/// Delivers everything, but not before its runtime has gone round.
struct AsyncSink {
    exports: AtomicUsize,
    during: fn(usize),
    _alive: Sender<()>,
}

impl Sink for AsyncSink {
    fn export<'a>(&'a self, _: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            (self.during)(self.exports.fetch_add(1, Ordering::Relaxed));
            Outcome::DELIVERED
        })
    }

    fn target(&self) -> &str {
        "test"
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The least of an executor.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}
