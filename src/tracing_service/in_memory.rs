//! Tracing services whose spans go to a test.

use tokio::sync::mpsc;

use super::describe::warn;
use super::{StartError, TracingService};
use crate::config::env::{self, Variables};
use crate::config::{Destination, TracingServiceConfig};
use crate::pipeline::{BatchLimits, PipelineOptions};
use crate::record::RecordedSpan;
use crate::sampling::SamplingRate;
use crate::sink::memory::MemorySink;

impl TracingServiceConfig {
    /// Starts a tracing service whose spans go to the test that calls this, with whatever else
    /// is configured. The exporter URL is not used, and need not be set.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), but for the exporter.
    pub fn start_in_memory(
        self,
        service_name: &str,
    ) -> Result<(TracingService, InMemorySpans), StartError> {
        self.start_in_memory_with(&env::process, service_name)
    }

    pub(super) fn start_in_memory_with(
        self,
        variables: Variables<'_>,
        service_name: &str,
    ) -> Result<(TracingService, InMemorySpans), StartError> {
        let (sink, received) = MemorySink::new();
        // Each span goes out as it ends, in the order in which they do: a test waits for spans,
        // not for batches.
        let batch = BatchLimits { spans: 1, ..BatchLimits::default() };
        let options = PipelineOptions { batch, ..PipelineOptions::default() };
        let mut effective = self.with_environment(variables, service_name);
        effective.without_exporter();
        warn(&effective);
        let settings = effective.check()?;
        let (to, sink) = (Destination::Memory, Box::new(sink));
        let service = match settings {
            Some(settings) => TracingService::run(&effective, settings, to, sink, options)?,
            None => TracingService::disabled(effective.describe(None, to)),
        };
        Ok((service, InMemorySpans { received }))
    }
}

impl TracingService {
    /// A tracing service that records everything, for a test that wants to see the spans.
    ///
    /// # Panics
    ///
    /// When the operating system refuses a thread.
    ///
    /// # Example: what a service records
    ///
    /// ```
    /// # async fn run() {
    /// use http::{Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_otlp::{TraceLayer, TracingService};
    ///
    /// let (tracing, mut spans) = TracingService::in_memory();
    /// let service = service_fn(async |_: Request<String>| {
    ///     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    /// });
    /// let service = TraceLayer::server(&tracing).layer(service);
    ///
    /// service.oneshot(Request::new(String::new())).await.unwrap();
    ///
    /// let span = spans.next().await.unwrap();
    /// assert_eq!(span.name, "GET");
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run());
    /// ```
    pub fn in_memory() -> (Self, InMemorySpans) {
        TracingServiceConfig::default()
            .enabled(true)
            .sampling_rate_per_million(SamplingRate::ALWAYS.per_million())
            .start_in_memory("test")
            .expect("a thread for the exporter")
    }
}

/// The spans of a tracing service that exports to memory, as they would have arrived at a
/// backend: decoded from OTLP.
#[derive(Debug)]
pub struct InMemorySpans {
    pub(super) received: mpsc::UnboundedReceiver<RecordedSpan>,
}

impl InMemorySpans {
    /// The next span, in the order of export. Waits for it; `None` when the tracing service has
    /// been shut down and all its spans were returned.
    pub async fn next(&mut self) -> Option<RecordedSpan> {
        self.received.recv().await
    }

    /// The spans that have arrived and were not returned yet. For all that have ended, flush the
    /// service first.
    pub fn take(&mut self) -> Vec<RecordedSpan> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }
}
