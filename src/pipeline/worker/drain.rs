//! Someone waits for the pipeline to be empty.

use std::fmt;

use tokio::time::Instant;

/// What someone waits for, and until when.
pub(in crate::pipeline) struct Drain {
    pub(in crate::pipeline) deadline: Instant,
    /// Called when all is settled or the deadline has passed.
    pub(in crate::pipeline) done: Box<dyn FnOnce() + Send>,
}

/// A [`Drain`] that was asked for.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) drain: Drain,
    /// The newest chunk that it waits for.
    pub(super) until: u64,
    pub(super) ends_worker: bool,
}

impl Waiting {
    /// `oldest` is the oldest chunk of which not all is settled.
    pub(super) fn is_over(&self, oldest: Option<u64>, now: Instant) -> bool {
        oldest.is_none_or(|oldest| oldest > self.until) || self.drain.deadline <= now
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
