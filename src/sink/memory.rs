//! Decoded spans for tests.

use std::future::{Future, ready};
use std::pin::Pin;

use tokio::sync::mpsc;

use crate::pipeline::{Batch, Failure, Outcome, Sink};
use crate::record::{RecordedSpan, decode};

/// Decodes what it is given and hands it to a test.
#[derive(Debug)]
pub(crate) struct MemorySink {
    spans: mpsc::UnboundedSender<RecordedSpan>,
}

impl MemorySink {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<RecordedSpan>) {
        let (spans, received) = mpsc::unbounded_channel();
        (Self { spans }, received)
    }

    fn deliver(&self, batch: &Batch) -> Outcome {
        for request in batch.requests() {
            match decode::traces(&request) {
                // A test that has let go of its end wants no more of them.
                Ok(spans) => spans.into_iter().for_each(|span| drop(self.spans.send(span))),
                Err(error) => {
                    return Outcome::Failed(Failure::for_good(format!("a span is {error}")));
                }
            }
        }
        Outcome::DELIVERED
    }
}

impl Sink for MemorySink {
    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        Box::pin(ready(self.deliver(batch)))
    }

    fn target(&self) -> &str {
        "memory"
    }
}
