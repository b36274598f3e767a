//! What a sink is asked to do, and what it answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::batch::Batch;

/// The way out of the process.
///
/// Called on the worker's runtime, where telemetry is suppressed. An implementation bounds its
/// own time and memory whatever its peer does, and must not block the thread.
pub(crate) trait Sink: Send + Sync {
    /// How many exports may be under way at once, however many the operator allows.
    fn concurrency(&self) -> usize {
        usize::MAX
    }

    /// Whether there is a way out already. While there is none, nothing is exported but at a
    /// shutdown; the pipeline is [told](super::Pipeline::look_at_sink) when that changes.
    fn is_ready(&self) -> bool {
        true
    }

    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

    /// Where the spans go, as the operator wrote it.
    fn target(&self) -> &str;
}

/// What a sink says of one batch.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The backend has all of it, but for `rejected` spans; `message` is what it said about it.
    Delivered { rejected: u64, message: String },
    /// The backend has none of it, or nobody knows.
    Failed(Failure),
}

impl Outcome {
    pub(crate) const DELIVERED: Self = Self::Delivered { rejected: 0, message: String::new() };
}

/// Why an export failed, in the operator's words, and what may still be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) then: Then,
}

/// What may still be tried with a batch that could not be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "_requests", test)),
    expect(dead_code, reason = "only a peer can find a request too large, or be away")
)]
pub(crate) enum Then {
    /// Nothing: it would fail again.
    GiveUp,
    /// The same later, and not before the time has passed that the peer asks for, if it does.
    TryAgain { asked: Option<Duration> },
    /// The same in smaller parts.
    Split,
}

impl Failure {
    /// One that would come again.
    pub(crate) fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), then: Then::GiveUp }
    }

    /// One that may pass.
    #[cfg(any(feature = "_requests", feature = "file", test))]
    pub(crate) fn for_now(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), then: Then::TryAgain { asked: None } }
    }

    /// More at once than the peer takes.
    #[cfg(any(feature = "_call", test))]
    pub(crate) fn too_large(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), then: Then::Split }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
