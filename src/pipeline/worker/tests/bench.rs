//! A worker on the test's own runtime, under paused time, with a sink that the test answers for.

use std::collections::HashSet;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::super::super::batch::{Batch, BatchLimits};
use super::super::super::buffer::{BufferLimits, Intake, Refused};
use super::super::super::ledger::Stats;
use super::super::super::options::{PipelineOptions, RetryPolicy};
use super::super::super::outcome::{Failure, Outcome, Sink, Then};
use super::super::super::receipt::{Receipt, Settled};
use super::super::super::scope::{Scope, SharedResource};
use super::super::{Command, Drain, Worker};
use crate::record::walk::{Fields, Value};
use crate::record::wire::put_bytes;

/// Runs a worker while `test` does, and until it ends by itself. It does so when the test lets go
/// of the bench, so a test that returns the bench shows that it ended before.
pub(super) async fn drive<T>(concurrency: usize, test: impl AsyncFnOnce(Bench) -> T) -> T {
    drive_with(PipelineOptions::default(), concurrency, None, test).await
}

/// The same, with this policy.
pub(super) async fn drive_retrying<T>(retry: RetryPolicy, test: impl AsyncFnOnce(Bench) -> T) -> T {
    drive_with(PipelineOptions { retry, ..PipelineOptions::default() }, 8, None, test).await
}

/// The same, with a worker that exports nothing for so long.
pub(super) async fn drive_held<T>(hold: Duration, test: impl AsyncFnOnce(Bench) -> T) -> T {
    drive_with(PipelineOptions::default(), 8, Some(hold), test).await
}

/// The same, with these options, but for the limits of a request.
pub(super) async fn drive_with<T>(
    options: PipelineOptions,
    concurrency: usize,
    hold: Option<Duration>,
    test: impl AsyncFnOnce(Bench) -> T,
) -> T {
    // Chunks of small spans are merged, and one of a large span goes out alone.
    let batch = BatchLimits { bytes: CHUNK_BYTES, ..BatchLimits::default() };
    drive_as(PipelineOptions { batch, ..options }, concurrency, hold, test).await
}

/// The same, with these options, and requests as they say.
pub(super) async fn drive_with_requests<T>(
    options: PipelineOptions,
    test: impl AsyncFnOnce(Bench) -> T,
) -> T {
    drive_as(options, 8, None, test).await
}

async fn drive_as<T>(
    options: PipelineOptions,
    concurrency: usize,
    hold: Option<Duration>,
    test: impl AsyncFnOnce(Bench) -> T,
) -> T {
    let intake = Arc::new(Intake::new(options.buffer()));
    let (calls, exports) = mpsc::unbounded_channel();
    let (commands, inbox) = mpsc::unbounded_channel();
    let panics = Arc::<AtomicBool>::default();
    let [seen, taken, turns] = [Arc::<AtomicU64>::default(), Arc::default(), Arc::default()];
    let sink = Box::new(ScriptedSink {
        calls,
        concurrency,
        panics: Arc::clone(&panics),
        seen: Arc::clone(&seen),
        taken: Arc::clone(&taken),
        spans: Mutex::default(),
    });
    let hold = hold.map(|hold| Instant::now() + hold);
    let mut worker = Worker::new(Arc::clone(&intake), sink, options, inbox, hold);
    let commands = Some(commands);
    let resource = SharedResource::default();
    let scope = Arc::new(Scope::ours(resource.clone(), Bytes::new()));
    let bench = Bench {
        intake,
        commands,
        exports,
        resource,
        scope,
        another: Arc::default(),
        senders: ["a", "b"].map(|via| Arc::new(Scope::of_others(Bytes::from(via)))),
        ids: AtomicU64::new(0),
        panics,
        seen,
        taken,
        turns: Arc::clone(&turns),
    };
    let mut work = Box::pin(async move { worker.supervise().await });
    let work = poll_fn(move |cx| {
        turns.fetch_add(1, Ordering::Relaxed);
        work.as_mut().poll(cx)
    });
    // The test first: what it does before it waits is there when the worker begins.
    let (result, ()) = timeout(Duration::from_secs(24 * 3600), join(test(bench), work))
        .await
        .expect("the test and the worker end");
    result
}

/// What a test holds of a worker.
pub(super) struct Bench {
    intake: Arc<Intake>,
    commands: Option<mpsc::UnboundedSender<Command>>,
    exports: mpsc::UnboundedReceiver<Export>,
    resource: SharedResource,
    scope: Arc<Scope>,
    another: Arc<Scope>,
    senders: [Arc<Scope>; 2],
    ids: AtomicU64,
    panics: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
    turns: Arc<AtomicU64>,
}

impl Bench {
    /// Ends spans that wait for others to go out with.
    pub(super) fn end_spans(&self, spans: usize) {
        (0..spans).for_each(|_| self.intake.push(&self.scope, &self.next_id()));
    }

    /// Ends spans that cannot go out in a request with those of the other methods.
    pub(super) fn end_spans_of_another(&self, spans: usize) {
        (0..spans).for_each(|_| self.intake.push(&self.another, &self.next_id()));
    }

    /// Ends spans each of which fills a request, so that all go out at once, one by one.
    pub(super) fn end_requests(&self, spans: usize) {
        for _ in 0..spans {
            let mut span = vec![7; CHUNK_BYTES];
            span[..6].copy_from_slice(&self.next_id());
            self.intake.push(&self.scope, &span);
        }
        self.intake.seal_all();
    }

    /// Ends a span that is too large to be taken.
    pub(super) fn end_giant(&self) {
        self.intake.push(&self.scope, &vec![7; BufferLimits::default().span_bytes + 1]);
    }

    /// Forwards a request with so many spans, of one of two senders. The receipt has what became of
    /// them, and the numbers of the moment at which it is called.
    pub(super) fn forward(
        &self,
        sender: usize,
        spans: usize,
    ) -> Result<oneshot::Receiver<(Settled, Stats)>, Refused> {
        let (tell, told) = oneshot::channel();
        let intake = Arc::clone(&self.intake);
        let receipt = Receipt::new(move |settled| {
            let _ = tell.send((settled, intake.stats()));
        });
        self.forward_with(sender, spans, receipt).map(|()| told)
    }

    pub(super) fn forward_with(
        &self,
        sender: usize,
        spans: usize,
        receipt: Receipt,
    ) -> Result<(), Refused> {
        let request = request_of((0..spans).map(|_| self.next_id().to_vec()));
        self.intake.forward(&self.senders[sender], request, spans as u64, Some(receipt))
    }

    /// Forwards a request with so many spans in a scope of its own.
    pub(super) fn forward_in(&self, via: String, spans: usize) -> Result<(), Refused> {
        let request = request_of((0..spans).map(|_| self.next_id().to_vec()));
        self.intake.forward(&Arc::new(Scope::of_others(via.into())), request, spans as u64, None)
    }

    /// The next export that reaches the sink.
    pub(super) async fn export(&mut self) -> Export {
        self.exports.recv().await.expect("a worker")
    }

    /// Whether no export has reached the sink that the test has not seen.
    pub(super) fn is_idle(&self) -> bool {
        self.exports.is_empty()
    }

    /// Lets time pass, and the worker do what it has to.
    pub(super) async fn pass(&self, time: Duration) {
        sleep(time).await;
        // Timers of the same moment fire in no particular order.
        tokio::task::yield_now().await;
    }

    pub(super) async fn flush(&self, deadline: Duration) -> Stats {
        self.start_flush(deadline).await.expect("a worker")
    }

    /// The answer has the numbers of the moment at which it is given.
    pub(super) fn start_flush(&self, deadline: Duration) -> oneshot::Receiver<Stats> {
        self.ask(Command::Flush, deadline)
    }

    pub(super) fn start_shutdown(&self, deadline: Duration) -> oneshot::Receiver<Stats> {
        self.ask(Command::Shutdown, deadline)
    }

    /// Says who the spans are from, and that it is known.
    pub(super) fn release(&self, resource: &'static str) {
        let field = [&[10, u8::try_from(resource.len()).unwrap()], resource.as_bytes()].concat();
        self.resource.set(field);
        self.commands.as_ref().expect("a worker").send(Command::Release).expect("a worker");
    }

    /// Lets the sink panic when it is asked next for its name, which is once a second.
    pub(super) fn panic_soon(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_panicked(&self) -> bool {
        !self.panics.load(Ordering::Relaxed)
    }

    /// Lets go of the worker's commands.
    pub(super) fn hang_up(&mut self) {
        self.commands = None;
    }

    pub(super) fn stats(&self) -> Stats {
        self.intake.stats()
    }

    /// Spans that the sink was asked to export, by its own count.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Spans that the sink has said to be delivered, by its own count.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How often the worker has run so far, or the test has.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub(super) fn bytes_used(&self) -> usize {
        self.intake.bytes_used()
    }

    /// What a span begins with that is like no other.
    fn next_id(&self) -> [u8; 6] {
        let [_, _, id @ ..] = self.ids.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        id
    }

    fn ask(&self, command: fn(Drain) -> Command, deadline: Duration) -> oneshot::Receiver<Stats> {
        let (tell, told) = oneshot::channel();
        let intake = Arc::clone(&self.intake);
        let done = Box::new(move || {
            let _ = tell.send(intake.stats());
        });
        let drain = Drain { deadline: Instant::now() + deadline, done };
        let commands = self.commands.as_ref().expect("a worker that can be reached");
        commands.send(command(drain)).expect("a worker");
        told
    }
}

/// An export that waits for what the test answers. Not answered, it hangs.
pub(super) struct Export {
    pub(super) spans: u64,
    pub(super) chunks: usize,
    /// Whose they are: `None` for our own.
    pub(super) via: Option<Bytes>,
    request: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

impl Export {
    /// Whether the spans are said to be from this resource.
    pub(super) fn is_from(&self, resource: &str) -> bool {
        self.request.windows(resource.len()).any(|part| part == resource.as_bytes())
    }

    /// Bytes of the request.
    pub(super) fn len(&self) -> usize {
        self.request.len()
    }

    /// How many spans had ended before each of its own.
    pub(super) fn ids(&self) -> Vec<u64> {
        let id = |id: Vec<u8>| id.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        ids(&self.request).into_iter().map(id).collect()
    }

    pub(super) fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

/// How an export ends.
pub(super) enum Answer {
    Outcome(Outcome),
    Panic,
}

impl Answer {
    pub(super) const DELIVERED: Self = Self::Outcome(Outcome::DELIVERED);

    pub(super) fn rejected(rejected: u64) -> Self {
        Self::Outcome(Outcome::Delivered { rejected, message: "no room".into() })
    }

    pub(super) fn failed() -> Self {
        Self::Outcome(Outcome::Failed(Failure::for_good("bad request")))
    }

    /// A failure that may pass.
    pub(super) fn refused() -> Self {
        Self::Outcome(Outcome::Failed(Failure::for_now("connection refused")))
    }

    /// One that is asked to wait.
    pub(super) fn asked(delay: Duration) -> Self {
        let then = Then::TryAgain { asked: Some(delay) };
        Self::Outcome(Outcome::Failed(Failure { reason: "throttled".into(), then }))
    }

    pub(super) fn too_large() -> Self {
        Self::Outcome(Outcome::Failed(Failure::too_large("message too large")))
    }
}

struct ScriptedSink {
    calls: mpsc::UnboundedSender<Export>,
    concurrency: usize,
    panics: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
    spans: Mutex<Spans>,
}

/// The spans that the sink knows, by their ids.
#[derive(Default)]
struct Spans {
    under_way: HashSet<Vec<u8>>,
    settled: HashSet<Vec<u8>>,
}

/// Holds the worker to its word: a span is in one export at a time, and in none once it is settled.
struct UnderWay<'a> {
    ids: Vec<Vec<u8>>,
    spans: &'a Mutex<Spans>,
    settled: bool,
}

impl<'a> UnderWay<'a> {
    fn begin(batch: &Batch, spans: &'a Mutex<Spans>) -> Self {
        let ids: Vec<_> = batch.requests().flat_map(|request| ids(&request)).collect();
        assert_eq!(ids.len() as u64, batch.spans());
        let mut known = spans.lock().unwrap();
        for id in &ids {
            assert!(!known.settled.contains(id), "sent again");
            assert!(known.under_way.insert(id.clone()), "sent twice at once");
        }
        drop(known);
        Self { ids, spans, settled: false }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut spans = self.spans.lock().unwrap();
        for id in std::mem::take(&mut self.ids) {
            spans.under_way.remove(&id);
            if self.settled {
                spans.settled.insert(id);
            }
        }
    }
}

/// A request of one resource with these spans.
pub(super) fn request_of(spans: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut request = Vec::new();
    spans.for_each(|span| put_bytes(&mut request, 2, &span));
    for field in [2, 1] {
        let inner = std::mem::take(&mut request);
        put_bytes(&mut request, field, &inner);
    }
    request
}

/// What each span of a request begins with.
fn ids(request: &[u8]) -> Vec<Vec<u8>> {
    let inner = |message, number| {
        Fields::new(message).filter_map(move |field| match field.unwrap() {
            (found, Value::Bytes(bytes)) if found == number => Some(bytes),
            _ => None,
        })
    };
    let scopes = inner(request, 1).flat_map(|resource| inner(resource, 2));
    scopes.flat_map(|scope| inner(scope, 2)).map(|span| span[..6].to_vec()).collect()
}

impl Sink for ScriptedSink {
    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        Box::pin(async {
            self.seen.fetch_add(batch.spans(), Ordering::Relaxed);
            let mut under_way = UnderWay::begin(batch, &self.spans);
            let (answer, answered) = oneshot::channel();
            let _ = self.calls.send(Export {
                spans: batch.spans(),
                chunks: batch.requests().count(),
                via: batch.via(),
                request: Vec::from(batch.request()).concat(),
                answer,
            });
            match answered.await {
                Ok(Answer::Outcome(outcome)) => {
                    if let Outcome::Delivered { rejected, .. } = outcome {
                        let taken = batch.spans().saturating_sub(rejected);
                        self.taken.fetch_add(taken, Ordering::Relaxed);
                        under_way.settled = true;
                    }
                    outcome
                }
                Ok(Answer::Panic) => panic!("a bug"),
                Err(_) => pending().await,
            }
        })
    }

    fn target(&self) -> &str {
        assert!(!self.panics.swap(false, Ordering::Relaxed), "a bug");
        "grpc://collector:4317"
    }
}

const CHUNK_BYTES: usize = 16 << 10;
