//! The thread that empties the buffers into the sink.
//!
//! One loop over five events: a chunk was begun or sealed, an export ended, a pause is over, a
//! second passed, someone asks for a flush or a shutdown. What failed for a reason that may pass
//! waits in the [`Outbox`](outbox::Outbox) and goes out again; nothing in the loop waits for it. A
//! panic in a sink ends the exports that are under way, each of which is counted, and the loop goes
//! on.
//!
//! While it is not known yet who the spans are from, or where they go, the loop turns and nothing is
//! exported: what ends is held in the queue, within the budget that it always has.

mod drain;
mod exports;
mod outbox;

use std::cell::Cell;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use opentelemetry::Context;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

pub(super) use self::drain::Drain;
use self::drain::Waiting;
use self::exports::{Export, Exports};
use self::outbox::{Fate, Outbox};
use super::batch::Part;
use super::buffer::Intake;
use super::ledger::Claim;
use super::options::PipelineOptions;
use super::outcome::{Outcome, Sink, Then};
#[cfg(feature = "clap")]
use super::report::LastFailure;
use super::report::Report;

/// What the owner of the pipeline asks for.
#[derive(Debug)]
pub(super) enum Command {
    Release,
    /// At the sink, which may have become ready.
    #[cfg(feature = "tonic")]
    Look,
    Flush(Drain),
    Shutdown(Drain),
}

pub(super) struct Worker {
    intake: Arc<Intake>,
    sink: Arc<dyn Sink>,
    /// Exports that may be under way at once.
    concurrency: usize,
    max_delay: Duration,
    commands: mpsc::UnboundedReceiver<Command>,
    /// What is not under way. Not a variable of `run`, so that a panic costs nothing of it.
    outbox: Outbox,
    /// Until when nothing is exported. As it is not one of `run` either, a panic shortens nothing.
    hold: Option<Instant>,
    /// Whether a shutdown was asked for: then nothing is waited for any more.
    closing: bool,
    report: Report,
    /// Here so that a panic lets nobody down. The last field: when the worker is dropped, they are
    /// told after its spans have their place in the ledger.
    waiting: Vec<Waiting>,
}

impl Worker {
    pub(super) fn new(
        intake: Arc<Intake>,
        sink: Box<dyn Sink>,
        options: PipelineOptions,
        commands: mpsc::UnboundedReceiver<Command>,
        hold: Option<Instant>,
    ) -> Self {
        Self {
            intake,
            concurrency: sink.concurrency().min(options.concurrency.get()),
            sink: sink.into(),
            max_delay: options.max_delay,
            commands,
            outbox: Outbox::new(&options),
            hold,
            closing: false,
            report: Report::new(&options),
            waiting: Vec::new(),
        }
    }

    #[cfg(feature = "clap")]
    pub(super) fn last_failure(&self) -> LastFailure {
        self.report.last_failure()
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
        let mut exports = Exports::default();
        // Nobody is left who could ask for anything.
        let mut unreachable = false;
        // When what waits is sealed. Nothing does as long as there is no such moment.
        let mut seal_at = None;
        let mut look = every(SECOND);
        loop {
            self.take_sealed();
            self.start_exports(&mut exports);

            if seal_at.is_none() && !self.intake.doze() {
                seal_at = Some(Instant::now() + self.max_delay);
            }
            let deadlines = self.waiting.iter().map(|waiting| waiting.drain.deadline);
            let deadlines = deadlines.chain(self.hold).chain(self.next_export_at(&exports));
            // What is held grows in its buffers, and not into a chunk for each second.
            let deadline = deadlines.chain(seal_at.filter(|_| self.may_export())).min();
            let overdue = sleep_until(deadline.unwrap_or_else(Instant::now));
            tokio::select! {
                Some((export, outcome)) = exports.next(), if !exports.is_empty() => {
                    self.settle(export, &outcome);
                }
                () = overdue, if deadline.is_some() => {}
                _ = look.tick() => {
                    self.intake.clock().synchronize();
                    self.intake.tidy();
                    self.report.looked_at(self.sink.target(), &self.intake.stats());
                }
                () = self.intake.woken() => {}
                command = self.commands.recv(), if !unreachable => match command {
                    Some(command) => self.obey(command),
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
            if self.may_export() && seal_at.take_if(|at| *at <= now).is_some() {
                self.intake.seal_all();
            }
            if self.hold.is_some_and(|until| until <= now) {
                // Of all that is ready at once, any may have been taken: a word in time is one
                // that has been said by now.
                while let Ok(command) = self.commands.try_recv() {
                    self.obey(command);
                }
            }
            if self.hold.is_some_and(|until| until <= now) {
                self.release();
                Report::waited_in_vain(self.sink.target());
            }
            let oldest = self.outbox.oldest().into_iter().chain(exports.oldest()).min();
            let is_over = |waiting: &Waiting| waiting.is_over(oldest, now);
            if self.waiting.iter().any(|waiting| waiting.ends_worker && is_over(waiting)) {
                break;
            }
            for over in self.waiting.extract_if(.., |waiting| is_over(waiting)) {
                (over.drain.done)();
            }
        }
        // In this order: those who wait are told when every span has its place in the ledger.
        drop(exports);
        self.take_sealed();
        self.outbox.clear();
        for waiting in self.waiting.drain(..) {
            (waiting.drain.done)();
        }
    }

    fn take_sealed(&mut self) {
        for chunk in self.intake.take_sealed() {
            self.outbox.push(chunk);
        }
        self.outbox.evict(self.intake.bytes_short());
    }

    fn start_exports(&mut self, exports: &mut Exports) {
        let now = Instant::now();
        while self.may_export()
            && exports.len() < self.concurrency
            && let Some(export) = self.outbox.next(now, exports.is_probing())
        {
            exports.start(export, Arc::clone(&self.sink));
        }
    }

    /// Whether it is known who the spans are from, and there is somewhere for them to go.
    fn may_export(&self) -> bool {
        self.hold.is_none() && (self.closing || self.sink.is_ready())
    }

    /// When there is an export to start although nothing else happens.
    fn next_export_at(&self, exports: &Exports) -> Option<Instant> {
        let may_start = self.may_export() && exports.len() < self.concurrency;
        if may_start { self.outbox.next_at(exports.is_probing()) } else { None }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        let (drain, ends_worker) = match command {
            Command::Release => return self.release(),
            #[cfg(feature = "tonic")]
            Command::Look => return self.intake.seal_all(),
            Command::Flush(drain) => {
                self.intake.seal_all();
                self.outbox.hurry(now);
                (drain, false)
            }
            Command::Shutdown(drain) => {
                self.intake.close();
                self.outbox.close(now);
                // There is no later: what is known by now must do.
                self.hold = None;
                self.closing = true;
                (drain, true)
            }
        };
        self.take_sealed();
        self.waiting.push(Waiting { drain, until: self.outbox.newest(), ends_worker });
    }

    fn release(&mut self) {
        if self.hold.take().is_some() {
            self.intake.seal_all();
        }
    }

    /// What is said of an export comes after what is counted.
    fn settle(&mut self, export: Export, outcome: &Outcome) {
        let spans = export.batch.spans();
        let failure = match outcome {
            Outcome::Delivered { rejected, message } => {
                self.outbox.answered(export.probe);
                let mut left = *rejected;
                for Part { bytes, claim, .. } in export.batch.into_parts() {
                    let of_claim = left.min(claim.spans());
                    left -= of_claim;
                    claim.deliver(of_claim);
                    self.intake.recycle(bytes);
                }
                // An answer from before the peer went down does not say that it is back.
                if *rejected > 0 || !message.is_empty() || self.outbox.peer_is_up() {
                    let target = self.sink.target();
                    self.report.delivered(target, spans, *rejected, message, &self.intake);
                }
                return;
            }
            Outcome::Failed(failure) => failure,
        };
        match failure.then {
            Then::TryAgain { asked } => {
                match self.outbox.try_again(export, asked, Instant::now()) {
                    Fate::Kept => self.report.failing(self.sink.target(), failure, &self.intake),
                    Fate::GivenUp => {
                        self.report.gave_up(self.sink.target(), failure, spans, &self.intake)
                    }
                    Fate::ShutDown => {
                        self.report.lost(self.sink.target(), failure, spans, &self.intake)
                    }
                }
            }
            Then::Split => {
                self.outbox.answered(export.probe);
                match self.outbox.split(export) {
                    Ok(()) => self.report.split(self.sink.target(), failure),
                    Err(span) => {
                        span.into_claims().for_each(Claim::refuse_as_too_large);
                        self.report.lost(self.sink.target(), failure, spans, &self.intake);
                    }
                }
            }
            Then::GiveUp => {
                self.outbox.answered(export.probe);
                export.batch.into_claims().for_each(Claim::fail);
                self.report.lost(self.sink.target(), failure, spans, &self.intake);
            }
        }
    }
}

/// However the worker ends, no span is left without its place in the ledger, and none is taken
/// that nobody would send.
impl Drop for Worker {
    fn drop(&mut self) {
        self.intake.close();
        self.take_sealed();
        self.outbox.clear();
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
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

const SECOND: Duration = Duration::from_secs(1);
/// Threads for what blocks: name look-ups, which cannot be cancelled, and writes.
const BLOCKING_THREADS: usize = 8;

#[cfg(test)]
mod tests;
