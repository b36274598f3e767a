use tokio::sync::mpsc;

use crate::record::RecordedSpan;

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
