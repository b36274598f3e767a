//! The thread that empties the buffers into the sink.
//!
//! One loop over four events: a chunk was sealed, an export ended, a second passed, someone asks
//! for a flush or a shutdown. A panic in a sink ends the exports that are under way, each of
//! which is counted, and the loop goes on.
//!
//! While it is not known yet who the spans are from, the loop turns and nothing is exported: what
//! ends is held in the queue, within the budget that it always has.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use opentelemetry::Context;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::batch::{Batch, BatchLimits};
use super::buffer::Intake;
use super::outcome::{Outcome, Sink};
use super::queue::Queue;
use super::report::Report;

/// What the owner of the pipeline asks for.
#[derive(Debug)]
pub(super) enum Command {
    Release,
    Flush(Drain),
    Shutdown(Drain),
}

/// Someone waits for the pipeline to be empty.
pub(super) struct Drain {
    pub(super) deadline: Instant,
    /// Called when all is settled or the deadline has passed.
    pub(super) done: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

pub(super) struct Worker {
    intake: Arc<Intake>,
    sink: Arc<dyn Sink>,
    limits: BatchLimits,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Sealed chunks that are not under way yet.
    queue: Queue,
    /// Until when nothing is exported. Not a variable of `run`, so that a panic shortens nothing.
    hold: Option<Instant>,
    report: Report,
    /// Not a variable of `run`, so that a panic lets nobody down. The last field: when the worker
    /// is dropped, they are told after its spans have their place in the ledger.
    waiting: Vec<Waiting>,
}

/// A [`Drain`] and what it still waits for.
struct Waiting {
    drain: Drain,
    /// The newest chunk that it waits for.
    until: u64,
    /// Chunks up to that one that are not settled.
    left: u64,
    ends_worker: bool,
}

/// A batch under way.
struct Export {
    batch: Batch,
    /// Of its chunks, the smallest first.
    numbers: Vec<u64>,
}

impl Worker {
    pub(super) fn new(
        intake: Arc<Intake>,
        sink: Box<dyn Sink>,
        limits: BatchLimits,
        commands: mpsc::UnboundedReceiver<Command>,
        hold: Option<Instant>,
    ) -> Self {
        Self {
            intake,
            sink: sink.into(),
            limits,
            commands,
            queue: Queue::default(),
            hold,
            report: Report::default(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn spawn(mut self) -> io::Result<()> {
        let (tell, told) = std::sync::mpsc::channel();
        let body = move || {
            // Made here and not before: a runtime must not be dropped on a thread of another one,
            // as it would be if no thread could be had.
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS)
                .on_thread_start(|| EXPORTS.set(true))
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(()));
            // The exporter never traces itself, whatever instruments the libraries it uses.
            EXPORTS.set(true);
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            runtime.block_on(self.supervise());
            // Does not wait for a write or a name look-up that hangs.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("tower-otlp".into()).spawn(body)?;
        told.recv().unwrap_or_else(|gone| Err(io::Error::other(gone)))
    }

    /// Runs, and runs again when there was a panic.
    async fn supervise(&mut self) {
        while let Err(panic) = AssertUnwindSafe(self.run()).catch_unwind().await {
            self.report.restarted(&*panic);
        }
    }

    /// Runs until a shutdown has been asked for and done, or nobody can ask any more.
    async fn run(&mut self) {
        let mut exports = FuturesUnordered::new();
        // Chunks in `exports`.
        let mut under_way = 0;
        // Nobody is left who could ask for anything.
        let mut unreachable = false;
        // After a panic, nothing is under way any more.
        for waiting in &mut self.waiting {
            waiting.left = self.queue.left_of(waiting.until);
        }
        let mut tick = interval(MAX_AGE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.take_sealed();
            while self.hold.is_none()
                && exports.len() < self.sink.concurrency()
                && let Some(export) = self.start_export()
            {
                under_way += export.chunks();
                exports.push(export.run(Arc::clone(&self.sink)));
            }

            let deadlines = self.waiting.iter().map(|waiting| waiting.drain.deadline);
            let deadline = deadlines.chain(self.hold).min();
            let overdue = sleep_until(deadline.unwrap_or_else(Instant::now));
            tokio::select! {
                Some((export, outcome)) = exports.next(), if !exports.is_empty() => {
                    under_way -= export.chunks();
                    self.waiting.iter_mut().for_each(|waiting| waiting.settle(&export));
                    self.settle(export.batch, &outcome);
                }
                () = overdue, if deadline.is_some() => {}
                _ = tick.tick() => {
                    self.intake.clock().synchronize();
                    // What is held grows in its buffers, and not into a chunk for each second.
                    if self.hold.is_none() {
                        self.intake.seal_all();
                    }
                    self.report.looked_at(self.sink.target(), &self.intake.stats());
                }
                () = self.intake.sealed() => {}
                command = self.commands.recv(), if !unreachable => match command {
                    Some(command) => self.obey(command, under_way),
                    // A shutdown is done even when nobody waits for it.
                    None if self.waiting.iter().any(|waiting| waiting.ends_worker) => {
                        unreachable = true;
                    }
                    None => {
                        self.intake.close();
                        break;
                    }
                }
            }

            let now = Instant::now();
            if self.hold.is_some_and(|until| until <= now) {
                // Of all that is ready at once, any may have been taken: a word in time is one
                // that has been said by now.
                while let Ok(command) = self.commands.try_recv() {
                    self.obey(command, under_way);
                }
            }
            if self.hold.is_some_and(|until| until <= now) {
                self.release();
                Report::waited_in_vain(self.sink.target());
            }
            if self.waiting.iter().any(|waiting| waiting.ends_worker && waiting.is_over(now)) {
                break;
            }
            for over in self.waiting.extract_if(.., |waiting| waiting.is_over(now)) {
                (over.drain.done)();
            }
        }
        // In this order: those who wait are told when every span has its place in the ledger.
        drop(exports);
        self.take_sealed();
        self.queue.clear();
        for waiting in self.waiting.drain(..) {
            (waiting.drain.done)();
        }
    }

    fn take_sealed(&mut self) {
        for chunk in self.intake.take_sealed() {
            self.queue.push(chunk);
        }
    }

    fn start_export(&mut self) -> Option<Export> {
        let (batch, numbers) = self.queue.take(self.limits)?;
        Some(Export { batch, numbers })
    }

    fn obey(&mut self, command: Command, under_way: u64) {
        let (drain, ends_worker) = match command {
            Command::Release => return self.release(),
            Command::Flush(drain) => {
                self.intake.seal_all();
                (drain, false)
            }
            Command::Shutdown(drain) => {
                self.intake.close();
                // There is no later: what is known by now must do.
                self.hold = None;
                (drain, true)
            }
        };
        self.take_sealed();
        let until = self.queue.newest();
        let left = under_way + self.queue.left_of(until);
        self.waiting.push(Waiting { drain, until, left, ends_worker });
    }

    fn release(&mut self) {
        if self.hold.take().is_some() {
            self.intake.seal_all();
        }
    }

    fn settle(&mut self, batch: Batch, outcome: &Outcome) {
        let spans = batch.spans();
        match outcome {
            Outcome::Delivered { rejected, .. } => batch.into_claim().deliver(*rejected),
            Outcome::Failed(_) => batch.into_claim().fail(),
        }
        self.report.exported(self.sink.target(), spans, outcome);
    }
}

/// However the worker ends, no span is left without its place in the ledger, and none is taken
/// that nobody would send.
impl Drop for Worker {
    fn drop(&mut self) {
        self.intake.close();
        self.take_sealed();
        self.queue.clear();
    }
}

impl Export {
    fn chunks(&self) -> u64 {
        self.numbers.len() as u64
    }

    fn run(self, sink: Arc<dyn Sink>) -> LocalBoxFuture<'static, (Self, Outcome)> {
        Box::pin(async move {
            let outcome = sink.export(&self.batch).await;
            (self, outcome)
        })
    }
}

impl Waiting {
    fn settle(&mut self, export: &Export) {
        self.left -= export.numbers.partition_point(|&number| number <= self.until) as u64;
    }

    fn is_over(&self, now: Instant) -> bool {
        self.left == 0 || self.drain.deadline <= now
    }
}

/// Whether this thread is one of an exporter's, of whichever pipeline. A span that ends here is of
/// an export, and must not become part of the next one: two pipelines could feed each other, too.
///
/// Suppression alone does not see to that. It is said by the context, and a span that is made
/// without a parent, as the HTTP/2 library makes one for each connection, is in none.
pub(crate) fn is_exporter() -> bool {
    EXPORTS.get()
}

thread_local! {
    static EXPORTS: Cell<bool> = const { Cell::new(false) };
}

/// How long a span waits at most for others to go out with.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Threads for what blocks: name look-ups, which cannot be cancelled, and writes.
const BLOCKING_THREADS: usize = 8;

#[cfg(test)]
mod tests;
