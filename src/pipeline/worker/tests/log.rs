//! What the operator reads: a line when something changes, and none per span or batch.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::*;

#[tokio::test(start_paused = true)]
async fn only_a_change_is_logged() {
    type Answers<'a> = &'a [fn() -> Answer];
    const OK: fn() -> Answer = || Answer::DELIVERED;
    const PART: fn() -> Answer = || Answer::rejected(1);
    const FAIL: fn() -> Answer = Answer::failed;
    const PANIC: fn() -> Answer = || Answer::Panic;
    const CANNOT: &str = "WARN cannot export to grpc://collector:4317: connection refused; \
         spans lost: 2, and further ones until this is over";
    const AGAIN: &str = "INFO grpc://collector:4317 takes spans again";
    const REJECTED: &str = "WARN grpc://collector:4317 rejected 1 of 2 spans: no room";
    const RESTARTED: &str = "ERROR the span exporter panicked and was restarted: a bug";
    let rows: [(Answers<'_>, &[&str], &str); 9] = [
        (&[OK, OK], &[], "all is well"),
        (&[FAIL, FAIL, FAIL], &[CANNOT], "an outage is one line"),
        (&[FAIL, FAIL, OK, OK, FAIL], &[CANNOT, AGAIN, CANNOT], "and its end another"),
        (&[OK, FAIL, OK], &[CANNOT, AGAIN], "however short it is"),
        (&[PART, PART], &[REJECTED], "what is rejected is said once"),
        (&[PART, OK, PART], &[REJECTED, AGAIN, REJECTED], "and again after it was over"),
        (&[FAIL, PART, FAIL], &[CANNOT, REJECTED, CANNOT], "another trouble is another line"),
        (&[PANIC, OK, OK], &[RESTARTED], "a panic"),
        (&[FAIL, PANIC, FAIL, OK], &[CANNOT, RESTARTED, AGAIN], "changes nothing else"),
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

/// Collects the log lines of this crate.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == LOG_TARGET && *metadata.level() <= Level::INFO
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
