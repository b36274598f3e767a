//! What the operator may set of the way out.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::batch::BatchLimits;
use super::buffer::BufferLimits;

/// How spans wait, how they go out together, and how often that is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PipelineOptions {
    /// Bytes of spans that may wait or be under way in all.
    pub(crate) max_bytes: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) batch: BatchLimits,
    /// How long a span waits at most for others to go out with.
    pub(crate) max_delay: Duration,
    /// Requests that may be under way at once.
    pub(crate) concurrency: NonZeroUsize,
    pub(crate) retry: RetryPolicy,
}

impl PipelineOptions {
    /// The buffers that go with them. A chunk is no larger than a request, and no more than what
    /// fits one waits for others, nor so much of what may wait in all that the oldest would make
    /// room too late.
    pub(super) fn buffer(&self) -> BufferLimits {
        let default = BufferLimits::default();
        BufferLimits {
            total_bytes: self.max_bytes,
            when_full: self.when_full,
            chunk_bytes: default.chunk_bytes.min(self.batch.bytes),
            chunk_spans: default.chunk_spans.min(self.batch.spans),
            request_bytes: default.request_bytes.min(self.batch.bytes).min(self.max_bytes / 16),
            request_spans: default.request_spans.min(self.batch.spans),
            span_bytes: default.span_bytes.min(self.batch.bytes),
        }
    }
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            max_bytes: 32 << 20,
            when_full: WhenFull::default(),
            batch: BatchLimits::default(),
            max_delay: Duration::from_secs(1),
            concurrency: NonZeroUsize::new(8).expect("eight is not zero"),
            retry: RetryPolicy::default(),
        }
    }
}

/// Which spans are lost when the memory for waiting ones is used up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Those that end while it is. The default.
    #[default]
    DropNewest,
    /// Those that have waited longest. The last eighth of the memory is kept free for those that
    /// end, by dropping the oldest, in the requests in which they wait, and by the exporter's
    /// thread: those that end are never kept waiting. What ends faster than that thread makes
    /// room, and what ends while all memory is taken by requests under way, is lost as it comes.
    DropOldest,
}

impl WhenFull {
    /// The words of the configuration.
    pub(crate) const WORDS: [(&str, Self); 2] =
        [("drop_newest", Self::DropNewest), ("drop_oldest", Self::DropOldest)];
}

/// How often an export is tried that failed for a reason that may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RetryPolicy {
    /// Longest pause before the second attempt.
    pub(crate) initial: Duration,
    /// Longest pause before any attempt, unless the peer asks for more.
    pub(crate) max: Duration,
    /// An attempt that fails this long after the first one is the last.
    pub(crate) give_up_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(250),
            max: Duration::from_secs(30),
            give_up_after: Duration::from_secs(300),
        }
    }
}
