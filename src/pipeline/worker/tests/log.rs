//! What the operator reads: a line when something changes, and none per span or batch.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::super::super::options::RetryPolicy;
use super::bench::{drive_held, drive_retrying};
use super::*;
use crate::pipeline::{Failure, Outcome};

#[tokio::test(start_paused = true)]
async fn only_a_change_is_logged() {
    type Answers<'a> = &'a [fn() -> Answer];
    const OK: fn() -> Answer = || Answer::DELIVERED;
    const PART: fn() -> Answer = || Answer::rejected(1);
    const FAIL: fn() -> Answer = Answer::failed;
    const PANIC: fn() -> Answer = || Answer::Panic;
    const CANNOT: &str = "WARN cannot export to grpc://collector:4317: bad request; \
         spans lost: 2, and further ones until this is over";
    const AGAIN_1: &str = "INFO delivered again to grpc://collector:4317 after 0 s, 1 lost";
    const AGAIN_2: &str = "INFO delivered again to grpc://collector:4317 after 0 s, 2 lost";
    const AGAIN_4: &str = "INFO delivered again to grpc://collector:4317 after 0 s, 4 lost";
    const AGAIN_6: &str = "INFO delivered again to grpc://collector:4317 after 0 s, 6 lost";
    const REJECTED: &str = "WARN grpc://collector:4317 rejected 1 of 2 spans: no room";
    const OTHER: fn() -> Answer =
        || Answer::Outcome(Outcome::Failed(Failure::for_good("refused with UNAUTHENTICATED")));
    const CANNOT_OTHER: &str = "WARN cannot export to grpc://collector:4317: refused with \
         UNAUTHENTICATED; spans lost: 2, and further ones until this is over";
    const RESTARTED: &str = "ERROR the span exporter panicked and was restarted: a bug";
    let rows: [(Answers<'_>, &[&str], &str); 11] = [
        (&[OK, OK], &[], "all is well"),
        (&[FAIL, FAIL, FAIL], &[CANNOT], "an outage is one line"),
        (&[FAIL, FAIL, OK, OK, FAIL], &[CANNOT, AGAIN_4, CANNOT], "and its end another"),
        (&[OK, FAIL, OK], &[CANNOT, AGAIN_2], "however short it is"),
        (&[PART, PART], &[REJECTED], "what is rejected is said once"),
        (&[PART, OK, PART], &[REJECTED, AGAIN_1, REJECTED], "and again after it was over"),
        (&[FAIL, PART, FAIL], &[CANNOT, REJECTED, CANNOT], "another trouble is another line"),
        (&[FAIL, OTHER, OTHER], &[CANNOT, CANNOT_OTHER], "and so is another reason"),
        (
            &[FAIL, OK, FAIL, OK, FAIL, OK, FAIL, OK, FAIL, OK, FAIL, OK, FAIL, OK],
            &[CANNOT, AGAIN_2, CANNOT, AGAIN_2, CANNOT, AGAIN_2, CANNOT, AGAIN_2, CANNOT, AGAIN_2],
            "to and fro is no reason for a line with each",
        ),
        (&[PANIC, OK, OK], &[RESTARTED], "a panic"),
        (&[FAIL, PANIC, FAIL, OK], &[CANNOT, RESTARTED, AGAIN_6], "changes nothing else"),
    ];
    // While there is only one subscriber, tracing asks the thread that is the first to log a line
    // whether anyone wants it: that of another test would say no for all.
    let _another = tracing::Dispatch::new(Lines::default());
    for (answers, expected, why) in rows {
        let lines = Lines::default();
        let logging = tracing::subscriber::set_default(lines.clone());
        drive(8, async |mut bench| {
            for answer in answers {
                bench.end_spans(2);
                let flush = bench.start_flush(Duration::from_secs(1));
                bench.export().await.answer(answer());
                flush.await.unwrap();
            }
        })
        .await;
        drop(logging);
        assert_eq!(*lines.0.lock().unwrap(), expected, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_a_line_when_it_begins_one_when_it_costs_spans_and_one_when_it_is_over() {
    const CANNOT: &str = "WARN cannot export to grpc://collector:4317: connection refused; trying \
         again, spans are kept up to 32 MiB";
    const GIVEN_UP: &str = "WARN cannot export to grpc://collector:4317 for 60 s: connection \
         refused; spans given up: 2, and further ones until this is over";
    const AGAIN: &str = "INFO delivered again to grpc://collector:4317 after 42 s, 0 lost";
    const AGAIN_LESS: &str = "INFO delivered again to grpc://collector:4317 after 126 s, 2 lost";
    let rows: [(u64, &[&str], &str); 2] = [
        (2, &[CANNOT, AGAIN], "short"),
        (6, &[CANNOT, GIVEN_UP, AGAIN_LESS], "so long that spans are given up"),
    ];
    let _another = tracing::Dispatch::new(Lines::default());
    for (failures, expected, why) in rows {
        let lines = Lines::default();
        let logging = tracing::subscriber::set_default(lines.clone());
        let policy = RetryPolicy {
            initial: Duration::ZERO,
            max: Duration::ZERO,
            give_up_after: Duration::from_secs(60),
        };
        drive_retrying(policy, async |mut bench| {
            bench.end_spans(2);
            let _flush = bench.start_flush(Duration::from_secs(1));
            for failure in 0..=failures {
                if failure == 3 {
                    bench.end_spans(2);
                }
                let export = bench.export().await;
                if failure < failures {
                    export.answer(Answer::refused());
                    bench.pass(Duration::from_secs(21)).await;
                } else {
                    export.answer(Answer::DELIVERED);
                }
            }
            bench.pass(Duration::from_secs(1)).await;
        })
        .await;
        drop(logging);
        assert_eq!(*lines.0.lock().unwrap(), expected, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn spans_that_find_no_room_are_said_to_be_lost_once_for_each_time() {
    let _another = tracing::Dispatch::new(Lines::default());
    let lines = Lines::default();
    let logging = tracing::subscriber::set_default(lines.clone());
    drive(8, async |bench| {
        // Past the tick with which the worker starts.
        bench.pass(Duration::from_millis(1)).await;
        let second = Duration::from_secs(1);
        for too_large in [3, 2, 0, 1] {
            (0..too_large).for_each(|_| bench.end_giant());
            bench.pass(second).await;
        }
    })
    .await;
    drop(logging);
    let line = |lost| {
        format!(
            "WARN spans find no room in the queue to grpc://collector:4317; lost so far: {lost}, \
             and further ones until this is over",
        )
    };
    assert_eq!(*lines.0.lock().unwrap(), [line(3), line(6)]);
}

#[tokio::test(start_paused = true)]
async fn waiting_in_vain_for_who_the_spans_are_from_is_said_once() {
    const IN_VAIN: &str = "WARN the resource attributes that this program waits for were not set \
         in time: spans go to grpc://collector:4317 without them";
    const HOLD: Duration = Duration::from_secs(5);
    let rows: [(Option<u64>, &[&str], &str); 4] = [
        (None, &[IN_VAIN], "never set"),
        (Some(6), &[IN_VAIN], "set too late"),
        (Some(4), &[], "set in time"),
        (Some(0), &[], "set at once"),
    ];
    let _another = tracing::Dispatch::new(Lines::default());
    for (set, expected, why) in rows {
        let lines = Lines::default();
        let logging = tracing::subscriber::set_default(lines.clone());
        drive_held(HOLD, async |bench| {
            if let Some(seconds) = set {
                bench.pass(Duration::from_secs(seconds)).await;
                bench.release("late");
            }
            bench.pass(3 * HOLD).await;
        })
        .await;
        drop(logging);
        assert_eq!(*lines.0.lock().unwrap(), expected, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_anyone_looked_at_the_clock_was_said_in_time() {
    let _another = tracing::Dispatch::new(Lines::default());
    let lines = Lines::default();
    let logging = tracing::subscriber::set_default(lines.clone());
    // Of all that is ready at once, the worker takes any.
    for _ in 0..50 {
        drive_held(Duration::ZERO, async |bench| bench.release("early")).await;
    }
    drop(logging);
    assert_eq!(*lines.0.lock().unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_panics_does_not_end_the_exporter() {
    let _another = tracing::Dispatch::new(Lines::default());
    let logging = tracing::subscriber::set_default(Panics);
    drive(8, async |mut bench| {
        for answer in [Answer::failed(), Answer::Panic, Answer::DELIVERED] {
            bench.end_spans(1);
            let flush = bench.start_flush(Duration::from_secs(1));
            bench.export().await.answer(answer);
            flush.await.unwrap();
        }
        let stats = bench.stats();
        assert_eq!((stats.delivered, stats.dropped.total(), stats.pending), (1, 2, 0));
    })
    .await;
    drop(logging);
}

struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tower_otlp"
    }

    fn event(&self, _: &Event<'_>) {
        panic!("stderr is closed");
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Collects the log lines of this crate.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tower_otlp" && *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        assert_eq!(field.name(), "message");
        self.0 += &format!(" {value:?}");
    }
}
