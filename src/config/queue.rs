use std::time::Duration;

use crate::pipeline::WhenFull;

/// How spans wait for their export, and how many go out together: `queue` in the section.
///
/// Setters keep what they are given; it is checked when the service starts.
///
/// ```
/// use std::time::Duration;
///
/// use tower_otlp::{QueueConfig, TracingServiceConfig, WhenFull};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = QueueConfig::default()
///     .max_bytes(64 << 20)
///     .max_delay(Duration::from_millis(200))
///     .when_full(WhenFull::DropOldest);
/// let config = TracingServiceConfig::new("grpc://collector".parse()?).queue(queue);
/// # let _ = config;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueConfig {
    pub(super) max_bytes: Option<usize>,
    pub(super) max_batch_spans: Option<u64>,
    pub(super) max_batch_bytes: Option<usize>,
    pub(super) max_delay: Option<Duration>,
    pub(super) when_full: Option<WhenFull>,
}

impl QueueConfig {
    /// Bytes of encoded spans that may wait or be under way in all: 1 MiB to 1 TiB, 32 MiB by
    /// default. What does not fit is dropped and counted as
    /// [`queue_full`](crate::Dropped::queue_full).
    #[must_use]
    pub fn max_bytes(self, bytes: usize) -> Self {
        Self { max_bytes: Some(bytes), ..self }
    }

    /// Spans that one request may hold: 1 to 65536, 4096 by default.
    #[must_use]
    pub fn max_batch_spans(self, spans: u64) -> Self {
        Self { max_batch_spans: Some(spans), ..self }
    }

    /// Bytes that one request may have before it is compressed: 64 KiB to 64 MiB, and not more
    /// than [`max_bytes`](Self::max_bytes). Defaults to 4 MiB less 64 KiB, because receivers refuse
    /// messages above 4 MiB unless they are told otherwise.
    #[must_use]
    pub fn max_batch_bytes(self, bytes: usize) -> Self {
        Self { max_batch_bytes: Some(bytes), ..self }
    }

    /// How long a span waits at most for others to go out with: 1 ms to a minute, 1 s by default.
    #[must_use]
    pub fn max_delay(self, delay: Duration) -> Self {
        Self { max_delay: Some(delay), ..self }
    }

    /// Which spans are lost when [`max_bytes`](Self::max_bytes) are used up. Defaults to
    /// [`WhenFull::DropNewest`].
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full: Some(when_full), ..self }
    }
}

/// How an export is tried again that failed for a reason that may pass: `retry` in the section.
///
/// Setters keep what they are given; it is checked when the service starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetryConfig {
    pub(super) initial: Option<Duration>,
    pub(super) max: Option<Duration>,
    pub(super) give_up_after: Option<Duration>,
}

impl RetryConfig {
    /// The longest pause before the second attempt: 1 ms to an hour, and not longer than
    /// [`max`](Self::max). Defaults to 250 ms.
    #[must_use]
    pub fn initial(self, pause: Duration) -> Self {
        Self { initial: Some(pause), ..self }
    }

    /// The longest pause before any attempt: 1 ms to an hour, 30 s by default.
    #[must_use]
    pub fn max(self, pause: Duration) -> Self {
        Self { max: Some(pause), ..self }
    }

    /// How long after the first attempt the last one may begin: up to 24 hours, 5 minutes by
    /// default. With zero there is one attempt.
    #[must_use]
    pub fn give_up_after(self, time: Duration) -> Self {
        Self { give_up_after: Some(time), ..self }
    }
}
