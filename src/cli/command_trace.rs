//! [`CommandTrace`]: a run of a command, from its start to its exit code.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{TraceContextExt, TraceId};
use tokio::sync::oneshot;

use super::exit::{CommandExit, Exit, Finished, INTERRUPTED};
use super::interrupt;
use crate::tracing_service::{CommandEnd, CommandSpan, TracingService};
use crate::{Dropped, Stats, TraceContext};

/// A command that is running, and is traced if that was asked for.
///
/// Made by [`TraceArgs::start`](super::TraceArgs::start). [`run`](Self::run) does the rest;
/// a tool that has a loop of its own keeps this and [finishes](Self::finish) it. Dropped instead, the
/// root span ends without an exit code, as an error in a panic, and the thread is blocked until all
/// is delivered or the deadline has passed.
#[must_use = "dropped, it ends the trace"]
pub struct CommandTrace {
    /// Present until the end.
    running: Option<Arc<Running>>,
    ctrl_c: CtrlC,
}

/// Whose affair Ctrl-C is.
#[derive(Clone, Copy, PartialEq)]
enum CtrlC {
    Ours,
    TheTools,
}

struct Running {
    tracing: TracingService,
    /// Taken by whoever ends the command.
    root: Mutex<Option<CommandSpan>>,
    /// What the command runs in.
    context: Context,
    /// Of a command that is recorded.
    trace_id: Option<TraceId>,
    deadline: Duration,
    /// Whether the last line was written, or is about to be.
    told: AtomicBool,
}

impl CommandTrace {
    pub(super) fn start(tracing: TracingService, name: &str) -> Self {
        let parent = TraceContext::from_environment();
        let started = tracing.start_command_span(name, parent.clone());
        let (root, trace_id, context) = match (started, parent) {
            (Some((root, own, context)), _) => (Some(root), Some(own.trace_id()), context),
            (None, Some(parent)) => (None, None, parent.to_opentelemetry()),
            (None, None) => (None, None, Context::current()),
        };
        let root = Mutex::new(root);
        let told = AtomicBool::new(false);
        let running = Running { tracing, root, context, trace_id, deadline: DEADLINE, told };
        Self { running: Some(Arc::new(running)), ctrl_c: CtrlC::Ours }
    }

    /// Names the root span, for example by the subcommand. Defaults to the name of the service.
    pub fn named(self, name: impl Into<String>) -> Self {
        // Otherwise the span there is somebody else's.
        if self.trace_id().is_some() {
            self.context().span().update_name(name.into());
        }
        self
    }

    /// How long the end waits for spans to be delivered. Defaults to 2 seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        if let Some(running) = self.running.as_mut().and_then(Arc::get_mut) {
            running.deadline = deadline;
        }
        self
    }

    /// Leaves Ctrl-C to the tool: [`run`](Self::run) and [`run_blocking`](Self::run_blocking) do not
    /// listen for it, neither while the command runs nor while its trace is delivered. A tool that
    /// listens itself can end what it has begun, and returns from the command as it sees fit. Where
    /// nobody does, Ctrl-C ends the process at once, and what has not been delivered is lost.
    ///
    /// # Example: a tool that has to clean up
    ///
    /// ```
    /// use tower_otlp::cli::{CommandExit, Finished};
    /// use tower_otlp::{CommandTrace, TraceArgs};
    ///
    /// async fn run(args: &TraceArgs) -> Finished<CommandExit> {
    ///     args.start("tsh").without_ctrl_c().run(copy).await
    /// }
    ///
    /// async fn copy(_: &CommandTrace) -> CommandExit {
    ///     tokio::select! {
    ///         () = async { /* the work */ } => CommandExit::code(0),
    ///         _ = tokio::signal::ctrl_c() => {
    ///             // Remove what is half copied.
    ///             CommandExit::failed(130, "Ctrl-C")
    ///         }
    ///     }
    /// }
    /// ```
    pub fn without_ctrl_c(mut self) -> Self {
        self.ctrl_c = CtrlC::TheTools;
        self
    }

    /// The tracing service, for layers; a disabled one if the command is not traced.
    pub fn tracing(&self) -> &TracingService {
        &self.running().tracing
    }

    /// The trace that the command is recorded in; `None` if it is not.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        self.running().trace_id
    }

    /// What the command runs in: the root span is active in it, or else the span of whoever runs the
    /// command. [`run`](Self::run) makes it current; tasks and threads that the command spawns
    /// have to be given it (`with_context`).
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.running().context
    }

    /// Gives the channel over which spans go, as [`TracingService::set_channel`], where they go over
    /// one. Otherwise it is dropped, so that a tool need not know what it was asked for.
    #[cfg(feature = "tonic")]
    pub fn set_channel<S, R>(&self, channel: S)
    where
        S: tower_service::Service<http::Request<tonic::body::Body>, Response = http::Response<R>>
            + Clone
            + Send
            + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        S::Future: Send,
        R: http_body::Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let _ = self.tracing().set_channel(channel);
    }

    /// Runs the command with the root span as the active one, and [finishes](Self::finish) with
    /// what it [returns](Exit). At Ctrl-C the command is dropped, and the end is
    /// [`Finished::Interrupted`]. When Ctrl-C comes again, or after the command has ended, the
    /// process ends at once with exit code 130; if spans were being delivered and that was the first
    /// one, a line says what was delivered by then. All of this may be
    /// [left to the tool](Self::without_ctrl_c).
    ///
    /// A panic of the command goes on when its trace has ended, as one. A command that is not traced
    /// is only run.
    pub async fn run<T: Exit>(self, command: impl AsyncFnOnce(&Self) -> T) -> Finished<T> {
        if self.trace_id().is_none() {
            let context = self.context().clone();
            return Finished::Ended(command(&self).with_context(context).await);
        }
        let (tell, interrupted) = oneshot::channel();
        let ending = self.downgrade();
        let is_watched = self.watch(move || {
            let is_running = tell.send(()).is_ok();
            if !is_running && let Some(running) = ending.upgrade() {
                running.report(&running.tracing.stats(), say_unless_stuck);
            }
            is_running
        });
        let mut interrupted = is_watched.then_some(interrupted);
        let ended = {
            let context = self.context().clone();
            let this = &self;
            // Caught, because a drop would block the thread, which may be the only one that can send.
            let command = async move { command(this).with_context(context).await };
            let mut command = pin!(AssertUnwindSafe(command).catch_unwind());
            poll_fn(|cx| {
                match interrupted.as_mut().map(|interrupted| pin!(interrupted).poll(cx)) {
                    Some(Poll::Ready(Ok(()))) => return Poll::Ready(None),
                    // Nobody watches any more.
                    Some(Poll::Ready(Err(_))) => interrupted = None,
                    Some(Poll::Pending) | None => {}
                }
                command.as_mut().poll(cx).map(Some)
            })
            .await
        };
        drop(interrupted);
        match ended {
            Some(Ok(result)) => {
                self.finish(result.exit()).await;
                Finished::Ended(result)
            }
            Some(Err(panic)) => {
                self.end(&panicked(), say).await;
                resume_unwind(panic)
            }
            None => {
                self.end(&interruption(), say_unless_stuck).await;
                Finished::Interrupted
            }
        }
    }

    /// [`run`](Self::run) for tools that are not async. A function cannot be given up, so at
    /// Ctrl-C the process ends, with exit code 130, once the trace is delivered or the deadline has
    /// passed. When Ctrl-C comes again, or after the command has ended, the process ends at once, as
    /// in [`run`](Self::run).
    pub fn run_blocking<T: Exit>(self, command: impl FnOnce(&Self) -> T) -> T {
        if self.trace_id().is_some() {
            let running = self.downgrade();
            self.watch(move || {
                if let Some(running) = running.upgrade()
                    && !running.end_blocking(&interruption(), say_unless_stuck)
                {
                    // It had ended.
                    running.report(&running.tracing.stats(), say_unless_stuck);
                }
                false
            });
        }
        let result = {
            let _current = self.context().clone().attach();
            command(&self)
        };
        self.finish_blocking(result.exit());
        result
    }

    /// Ends the root span with this exit code, waits until all spans are delivered or the
    /// [deadline](Self::deadline) has passed, and writes a line on standard error: the trace, and
    /// what of it was delivered or lost, and why. Over a channel, delivered is what the server there
    /// has taken. Of a command that is not traced nothing is said.
    pub async fn finish(self, exit: impl Into<CommandExit>) {
        self.end(&End::by(exit.into()), say).await;
    }

    /// [`finish`](Self::finish) for tools that are not async. Blocks the thread; where spans go over a
    /// channel, its runtime must be running
    /// [meanwhile](crate::TracingServiceConfig#the-runtime).
    pub fn finish_blocking(mut self, exit: impl Into<CommandExit>) {
        if let Some(running) = self.running.take() {
            end_blocking(running, &End::by(exit.into()));
        }
    }

    async fn end(mut self, end: &End, say: Say) {
        let Some(running) = self.running.take() else { return };
        if running.end_root(end) {
            running.report(&running.tracing.shutdown_shared(running.deadline).await, say);
        }
        if let Some(Running { tracing, .. }) = Arc::into_inner(running) {
            // It is over: this is the word for it.
            tracing.shutdown(Duration::ZERO).await;
        }
    }

    /// Whether somebody listens for Ctrl-C. Otherwise it ends the process as ever, which is no
    /// reason not to run.
    fn watch(&self, first: impl FnOnce() -> bool + Send + 'static) -> bool {
        self.ctrl_c == CtrlC::Ours && interrupt::watch(first).is_ok()
    }

    fn downgrade(&self) -> Weak<Running> {
        self.running.as_ref().map_or_else(Weak::new, Arc::downgrade)
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("present until the end")
    }
}

impl Drop for CommandTrace {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let unknown = || End { exit_code: None, error: None };
            let end = if thread::panicking() { panicked() } else { unknown() };
            end_blocking(running, &end);
        }
    }
}

impl fmt::Debug for CommandTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace_id = self.running.as_ref().and_then(|running| running.trace_id);
        f.debug_struct("CommandTrace").field("trace_id", &trace_id).finish_non_exhaustive()
    }
}

impl Running {
    /// Whether there was something to end, and nobody else has done so.
    fn end_root(&self, End { exit_code, error }: &End) -> bool {
        let root = self.root.lock().unwrap_or_else(PoisonError::into_inner).take();
        let error = error.as_ref();
        let error = error.map(|(error_type, description)| (&**error_type, &**description));
        let is_mine = root.is_some();
        if let Some(root) = root {
            root.end(CommandEnd { exit_code: *exit_code, error });
        }
        is_mine
    }

    /// Whether it was still to be ended.
    fn end_blocking(&self, end: &End, say: Say) -> bool {
        let is_mine = self.end_root(end);
        if is_mine {
            self.report(&self.tracing.shutdown_shared_blocking(self.deadline), say);
        }
        is_mine
    }

    /// Once.
    fn report(&self, stats: &Stats, say: Say) {
        let Some(trace_id) = self.trace_id else { return };
        if !self.told.swap(true, Ordering::Relaxed) {
            let why = match (self.tracing.lacks_channel(), self.tracing.last_failure()) {
                (true, _) => WhyLost::NoChannel,
                (false, Some(reason)) => WhyLost::Failed(reason),
                (false, None) => WhyLost::Unknown,
            };
            say(format_args!("trace {trace_id}: {}", told(stats, &why)));
        }
    }
}

fn end_blocking(running: Arc<Running>, end: &End) {
    running.end_blocking(end, say);
    match Arc::into_inner(running) {
        // It is over: this is the word for it.
        Some(Running { tracing, .. }) => drop(tracing.shutdown_blocking(Duration::ZERO)),
        // Ctrl-C has just come, and ends the process.
        None => loop {
            thread::park();
        },
    }
}

/// What is told of the end of a command.
struct End {
    exit_code: Option<i32>,
    /// `error.type` and a description.
    error: Option<(String, String)>,
}

impl End {
    fn by(exit: CommandExit) -> Self {
        let (code, description) = exit.into_parts();
        let error = (code != 0).then(|| (code.to_string(), description));
        Self { exit_code: Some(code), error }
    }
}

fn interruption() -> End {
    let error = Some(("interrupted".to_owned(), "Ctrl-C".to_owned()));
    End { exit_code: Some(INTERRUPTED), error }
}

fn panicked() -> End {
    End { exit_code: None, error: Some(("panic".to_owned(), String::new())) }
}

/// Why spans of a trace were lost, if some were.
enum WhyLost {
    Unknown,
    NoChannel,
    Failed(Arc<String>),
}

/// What of a trace was delivered or lost, in words.
fn told(stats: &Stats, why: &WhyLost) -> String {
    let spans = |count: u64| if count == 1 { "span" } else { "spans" };
    let Stats { accepted, delivered, .. } = *stats;
    if delivered == accepted {
        return format!("{delivered} {} delivered", spans(delivered));
    }
    // What waits for a channel to its end is shut down, which would be no answer to why.
    let (without_channel, dropped) = match why {
        WhyLost::NoChannel => (stats.dropped.shutdown, Dropped { shutdown: 0, ..stats.dropped }),
        WhyLost::Unknown | WhyLost::Failed(_) => (0, stats.dropped),
    };
    let reasons = [("rejected", stats.rejected), ("still on the way", stats.pending)];
    let reasons = reasons.into_iter().chain(dropped.reasons());
    let reasons = reasons.chain([("no channel given", without_channel)]);
    let reasons: Vec<_> = reasons
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let why = match why {
        WhyLost::Unknown | WhyLost::NoChannel => String::new(),
        // On one line, whatever an error is made of.
        WhyLost::Failed(reason) => format!(": {}", reason.replace(char::is_control, " ")),
    };
    format!(
        "{delivered} of {accepted} {} delivered, {} lost ({}){why}",
        spans(accepted),
        accepted - delivered,
        reasons.join(", "),
    )
}

/// Writes a line on standard error, as far as there is one.
pub(super) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// As [`say`], for somebody who ends the process at Ctrl-C: whoever holds standard error, or does not
/// read it, is waited for only a moment.
fn say_unless_stuck(line: fmt::Arguments<'_>) {
    let line = line.to_string();
    let (tell, told) = mpsc::channel();
    let body = move || {
        say(format_args!("{line}"));
        let _ = tell.send(());
    };
    if thread::Builder::new().name("tower-otlp-last".into()).spawn(body).is_ok() {
        let _ = told.recv_timeout(MOMENT);
    }
}

type Say = fn(fmt::Arguments<'_>);

/// How long the end waits, unless the tool says otherwise: somebody sits in front of it.
const DEADLINE: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_what_was_delivered_and_why_the_rest_was_not() {
        let stats = |accepted, delivered| Stats { accepted, delivered, ..Stats::default() };
        let dropped = Dropped { failed: 2, shutdown: 1, ..Dropped::default() };
        let rows = [
            (stats(1, 1), "1 span delivered"),
            (stats(12, 12), "12 spans delivered"),
            (stats(0, 0), "0 spans delivered"),
            (
                Stats { dropped, rejected: 4, ..stats(9, 2) },
                "2 of 9 spans delivered, 7 lost (rejected 4, export failed 2, shut down 1)",
            ),
            (
                Stats { pending: 1, ..stats(1, 0) },
                "0 of 1 span delivered, 1 lost (still on the way 1)",
            ),
        ];
        for (stats, expected) in rows {
            assert_eq!(told(&stats, &WhyLost::Unknown), expected);
        }

        let dropped = Dropped { failed: 2, ..Dropped::default() };
        let failed = WhyLost::Failed(Arc::new("cannot connect:\nrefused".to_owned()));
        assert_eq!(
            told(&Stats { dropped, ..stats(2, 0) }, &failed),
            "0 of 2 spans delivered, 2 lost (export failed 2): cannot connect: refused",
        );
        assert_eq!(told(&stats(2, 2), &failed), "2 spans delivered", "what was tried again");
        let dropped = Dropped { queue_full: 1, shutdown: 2, ..Dropped::default() };
        assert_eq!(
            told(&Stats { dropped, ..stats(3, 0) }, &WhyLost::NoChannel),
            "0 of 3 spans delivered, 3 lost (queue full 1, no channel given 2)",
        );
    }

    #[cfg(feature = "opentelemetry-sdk")]
    #[test]
    fn a_command_that_is_not_traced_names_no_span_of_somebody_else() {
        use opentelemetry::trace::{Tracer, TracerProvider};

        let (tracing, mut spans) = TracingService::in_memory();
        let theirs = tracing.tracer_provider().tracer("theirs").start("theirs");
        let current = Context::current_with_span(theirs).attach();
        drop(CommandTrace::start(TracingService::off(), "tool").named("tool ls"));
        drop(current);
        tracing.shutdown_blocking(Duration::from_secs(60));
        let names: Vec<_> = spans.take().into_iter().map(|span| span.name).collect();
        assert_eq!(names, ["theirs"]);
    }
}
