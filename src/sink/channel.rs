//! OTLP/gRPC over a channel that the program has anyway.
//!
//! Connections, addresses and credentials are the channel's affair. So is the runtime: a call is a
//! task there, because what a channel spawns while it is called, such as a connection that others
//! use, too, must not end with the exporter. What is bounded here is time, and the answer.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use opentelemetry::context::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::Mutex as Turn;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_service::Service;

use super::answer::{Answer, Pieces, explain};
use super::call::{EXPORT, ExportCall, grpc_status_of, read};
use super::options::RequestOptions;
use crate::grpc_status::GrpcStatus;
use crate::pipeline::{Batch, Failure, Outcome, Sink};

/// Exports over the channel in its slot.
#[derive(Debug)]
pub(crate) struct ChannelSink {
    slot: Arc<Slot>,
    call: ExportCall,
    timeout: Duration,
    target: String,
}

impl ChannelSink {
    /// `target` is what the operator is told of the channel.
    pub(crate) fn new(slot: Arc<Slot>, options: &RequestOptions, target: String) -> Self {
        let call = ExportCall::new(Uri::from_static(EXPORT), options);
        Self { slot, call, timeout: options.timeout, target }
    }

    async fn attempt(&self, batch: &Batch) -> Result<Outcome, Failure> {
        let Some(channel) = self.slot.get() else {
            return Err(Failure::for_now("the program has not given it a channel"));
        };
        match timeout(self.timeout, self.call_over(&channel, batch)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let limit = self.timeout.as_secs_f64();
                Err(Failure::for_now(format!("no complete answer within {limit} s")))
            }
        }
    }

    async fn call_over(&self, channel: &Channel, batch: &Batch) -> Result<Outcome, Failure> {
        // Until one was answered well they go one by one: a server that takes no spans is to be
        // asked once, and not by all that wait.
        let _turn = match channel.takes_spans() {
            Some(_) => None,
            None => {
                let turn = channel.turn.lock().await;
                // Those that have waited go side by side once it is known.
                channel.takes_spans().is_none().then_some(turn)
            }
        };
        if channel.takes_spans() == Some(false) {
            return Err(Failure::for_good(TAKES_NONE));
        }
        let request = self.call.request(0, batch.request(), batch.via(), &self.target).await?;
        let answer = channel.exchange(request).await?;
        match grpc_status_of(&answer) {
            Some((GrpcStatus::UNIMPLEMENTED, _)) => {}
            None if answer.status == StatusCode::NOT_FOUND => {}
            Some((GrpcStatus::OK, _)) => {
                channel.says(YES);
                return read(&answer);
            }
            Some(_) | None => return read(&answer),
        }
        if channel.takes_spans() == Some(true) {
            // It has taken some. The next one to answer may be another server, or a proxy that is
            // between two.
            return Err(Failure::for_now(TAKES_NONE_NOW));
        }
        channel.says(NO);
        Err(Failure::for_good(TAKES_NONE))
    }
}

impl Sink for ChannelSink {
    fn is_ready(&self) -> bool {
        self.slot.get().is_some()
    }

    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        Box::pin(async { self.attempt(batch).await.unwrap_or_else(Outcome::Failed) })
    }

    fn target(&self) -> &str {
        &self.target
    }
}

/// Where a channel is put, before the first export or later.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Option<Arc<Channel>>>);

impl Slot {
    /// Puts a channel in place of an earlier one, which takes no more calls.
    pub(crate) fn put(&self, channel: Channel) {
        let earlier = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(channel.into());
        // Not under the lock: what a channel does when it is dropped is its own affair.
        drop(earlier);
    }

    #[cfg(feature = "clap")]
    pub(crate) fn is_empty(&self) -> bool {
        self.get().is_none()
    }

    fn get(&self) -> Option<Arc<Channel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A service of any type that carries calls.
pub(crate) struct Channel {
    call: Box<Call>,
    /// That of whoever gave the channel.
    runtime: Option<Handle>,
    takes_spans: AtomicU8,
    turn: Turn<()>,
}

type Call = dyn Fn(Request<Pieces>) -> Answering + Send + Sync;
type Answering = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;

impl Channel {
    /// `body` makes a request body of the service's type. Within a runtime calls are made there,
    /// and otherwise on the exporter's own.
    pub(crate) fn new<S, B, R>(service: S, body: fn(Pieces) -> B) -> Self
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        B: Send + 'static,
        R: Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let service = Mutex::new(service);
        let call = move |request: Request<Pieces>| -> Answering {
            // One that panicked while it was cloned may do so again, each time for itself.
            let mut service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move {
                let failed = |error: S::Error| Failure::for_now(explain(&*error.into()));
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
                let response = service.call(request.map(body)).await.map_err(failed)?;
                Answer::read(response).await
            })
        };
        Self {
            call: Box::new(call),
            runtime: Handle::try_current().ok(),
            takes_spans: AtomicU8::new(UNKNOWN),
            turn: Turn::default(),
        }
    }

    /// What the server has said, so far.
    fn takes_spans(&self) -> Option<bool> {
        match self.takes_spans.load(Ordering::Relaxed) {
            YES => Some(true),
            NO => Some(false),
            _ => None,
        }
    }

    fn says(&self, word: u8) {
        self.takes_spans.store(word, Ordering::Relaxed);
    }

    /// What panics in the channel, of which not all runs in the task, costs the one export.
    async fn exchange(&self, request: Request<Pieces>) -> Result<Answer, Failure> {
        let panicked = || Failure::for_now("the channel panicked");
        let call = catch_unwind(AssertUnwindSafe(|| (self.call)(request)));
        let call = call.map_err(|_| panicked())?;
        let Some(runtime) = &self.runtime else {
            let answer = AssertUnwindSafe(call).catch_unwind().await;
            return answer.unwrap_or_else(|_| Err(panicked()));
        };
        // That telemetry is suppressed goes with it.
        match Task(runtime.spawn(call.with_current_context())).await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => Err(panicked()),
            Err(_) => Err(Failure::for_now("the runtime of the channel has ended")),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("takes_spans", &self.takes_spans()).finish_non_exhaustive()
    }
}

/// A task that ends when nobody waits for it any more.
struct Task<T>(JoinHandle<T>);

impl<T> Future for Task<T> {
    type Output = <JoinHandle<T> as Future>::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether a server takes spans.
const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

const TAKES_NONE: &str = "the server there has no OTLP TraceService (UNIMPLEMENTED), so it \
                          forwards no spans, and is sent no more of them";
const TAKES_NONE_NOW: &str = "the server there has no OTLP TraceService (UNIMPLEMENTED), which it \
                              had before";
