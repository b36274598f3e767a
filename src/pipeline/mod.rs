//! After the request: buffers, ledger, batches and the worker that hands them to a sink.
//!
//! ```text
//! Intake::push ─► shard ─► sealed chunks ─► Worker: Batch ─► Sink ─► Outcome ─► Ledger
//!  any thread      512 spans, 256 KiB or 1 s    own thread ◄── again, or in halves
//! Intake::forward ─► whole requests, sealed ─┘
//! ```
//!
//! Full chunks wait for each other, as a request costs more than the spans of a chunk do: the worker
//! is woken for 2048 spans or 1 MiB of them, or after that second.
//!
//! The worker has a thread and a runtime of its own. Nothing here needs, or can block, the
//! runtime of the caller: a flush works the same from a current-thread runtime, from a
//! multi-thread one and without any.

mod batch;
mod buffer;
mod ledger;
#[cfg(all(test, tower_otlp_loom))]
mod models;
mod options;
mod outcome;
mod queue;
mod receipt;
mod report;
mod retry;
mod scope;
mod sync;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub(crate) use batch::{Batch, BatchLimits};
pub(crate) use buffer::Intake;
#[cfg(feature = "forward")]
pub(crate) use buffer::Refused;
#[cfg(feature = "metrics")]
pub(crate) use ledger::Offered;
pub use ledger::{Dropped, Stats};
pub use options::WhenFull;
pub(crate) use options::{PipelineOptions, RetryPolicy};
#[cfg(feature = "_requests")]
pub(crate) use outcome::Then;
pub(crate) use outcome::{Failure, Outcome, Sink};
#[cfg(feature = "forward")]
pub(crate) use receipt::{Receipt, Settled};
#[cfg(feature = "clap")]
use report::LastFailure;
#[cfg(all(feature = "_client", any(feature = "ring", feature = "aws-lc-rs")))]
pub(crate) use report::info;
pub(crate) use report::warn;
pub(crate) use scope::{Scope, SharedResource};
#[cfg(feature = "opentelemetry-sdk")]
pub(crate) use worker::is_exporter;
use worker::{Command, Drain, Worker};

/// A running pipeline: the owner of its worker.
#[derive(Debug)]
pub(crate) struct Pipeline {
    intake: Arc<Intake>,
    commands: mpsc::UnboundedSender<Command>,
    #[cfg(feature = "clap")]
    last_failure: LastFailure,
}

impl Pipeline {
    /// Starts the worker. With a hold, nothing is exported for that long, unless it is
    /// [released](Self::release) or shut down before.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread or an event queue.
    pub(crate) fn start(
        sink: Box<dyn Sink>,
        options: PipelineOptions,
        hold: Option<Duration>,
    ) -> io::Result<Self> {
        let intake = Arc::new(Intake::new(options.buffer()));
        let (commands, inbox) = mpsc::unbounded_channel();
        let worker = Worker::new(Arc::clone(&intake), sink, options, inbox, hold.map(from_now));
        #[cfg(feature = "clap")]
        let last_failure = worker.last_failure();
        worker.spawn()?;
        Ok(Self {
            intake,
            commands,
            #[cfg(feature = "clap")]
            last_failure,
        })
    }

    /// Why spans could not be delivered when they last could not.
    #[cfg(feature = "clap")]
    pub(crate) fn last_failure(&self) -> Option<Arc<String>> {
        self.last_failure.get()
    }

    pub(crate) fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Ends the hold, if there is one: who the spans are from is known now.
    pub(crate) fn release(&self) {
        let _ = self.commands.send(Command::Release);
    }

    /// The sink may have become ready.
    #[cfg(feature = "tonic")]
    pub(crate) fn look_at_sink(&self) {
        let _ = self.commands.send(Command::Look);
    }

    /// Waits until all that has ended before the call is settled, or the deadline has passed.
    pub(crate) async fn flush(&self, deadline: Duration) -> Stats {
        self.drain(Command::Flush, deadline).await
    }

    pub(crate) fn flush_blocking(&self, deadline: Duration) -> Stats {
        self.drain_blocking(Command::Flush, deadline)
    }

    /// A way to wait for the pipeline that does not keep it running.
    #[cfg(feature = "opentelemetry-sdk")]
    pub(crate) fn flusher(&self) -> Flusher {
        Flusher { intake: Arc::clone(&self.intake), commands: self.commands.downgrade() }
    }

    /// Takes no more spans, waits until all are settled or the deadline has passed, counts what
    /// is left as dropped, and ends the worker.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> Stats {
        self.drain(Command::Shutdown, deadline).await
    }

    pub(crate) fn shutdown_blocking(&self, deadline: Duration) -> Stats {
        self.drain_blocking(Command::Shutdown, deadline)
    }

    /// Asks for a shutdown and does not wait for it. As nobody will see the numbers, a loss is
    /// logged.
    pub(crate) fn shutdown_detached(&self, deadline: Duration) {
        let intake = Arc::clone(&self.intake);
        self.send(Command::Shutdown, deadline, move || {
            let stats = intake.stats();
            if stats.delivered < stats.accepted {
                warn(format_args!("spans were lost: {stats}"));
            }
        });
    }

    // Both forms wait for the worker's word: the worker keeps the deadline, so the caller's
    // runtime needs no timer. When the worker is gone, so is the sender, and the ledger is all
    // there is to say.

    async fn drain(&self, command: fn(Drain) -> Command, deadline: Duration) -> Stats {
        let (tell, told) = oneshot::channel();
        self.send(command, deadline, move || {
            let _ = tell.send(());
        });
        let _ = told.await;
        self.intake.stats()
    }

    fn drain_blocking(&self, command: fn(Drain) -> Command, deadline: Duration) -> Stats {
        // Not the tokio channel: its blocking receive panics inside a runtime.
        let (tell, told) = std::sync::mpsc::channel();
        self.send(command, deadline, move || {
            let _ = tell.send(());
        });
        // The worker logs, and a log that is stuck must not keep the caller for ever. One that is
        // only late has a word to say that is worth waiting for.
        let _ = told.recv_timeout(deadline.min(FOREVER) + GRACE);
        self.intake.stats()
    }

    fn send(
        &self,
        command: fn(Drain) -> Command,
        deadline: Duration,
        done: impl FnOnce() + Send + 'static,
    ) {
        let deadline = from_now(deadline);
        let done = Box::new(done);
        // Refused only when the worker has ended: then dropping `done` tells the caller.
        let _ = self.commands.send(command(Drain { deadline, done }));
    }
}

/// For those who may wait for a pipeline, but neither own nor end it.
#[cfg(feature = "opentelemetry-sdk")]
#[derive(Debug)]
pub(crate) struct Flusher {
    intake: Arc<Intake>,
    commands: mpsc::WeakUnboundedSender<Command>,
}

#[cfg(feature = "opentelemetry-sdk")]
impl Flusher {
    /// As [`Pipeline::flush_blocking`]; returns at once when the pipeline has ended.
    pub(crate) fn flush_blocking(&self, deadline: Duration) -> Stats {
        match self.commands.upgrade() {
            Some(commands) => {
                let pipeline = Pipeline {
                    intake: Arc::clone(&self.intake),
                    commands,
                    #[cfg(feature = "clap")]
                    last_failure: LastFailure::default(),
                };
                pipeline.flush_blocking(deadline)
            }
            None => self.intake.stats(),
        }
    }
}

/// A moment on the clock of the worker. The caller's runtime may have another one: tokio's time
/// can be paused in tests.
fn from_now(deadline: Duration) -> Instant {
    Instant::from_std(std::time::Instant::now() + deadline.min(FOREVER))
}

/// How long after its deadline the worker is given up.
const GRACE: Duration = Duration::from_secs(5);
/// Longest deadline: an `Instant` cannot be moved by `Duration::MAX`.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
