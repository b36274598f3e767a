//! What became of one forwarded request, for whoever waits to tell its sender.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use super::sync::Mutex;

/// Called once, when the last span of a forwarded request has its place in the ledger: on the
/// thread that settles it, and under no lock of the pipeline.
pub(crate) struct Receipt(Box<dyn FnOnce(Settled) + Send>);

/// Where the spans of a request have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) delivered: u64,
    /// By the backend, while it took others of the same request.
    pub(crate) rejected: u64,
    /// With all that they were sent with, in a way that would come again.
    pub(crate) refused: u64,
    /// For a reason of [`Dropped`](super::Dropped) that may pass.
    pub(crate) lost: u64,
}

/// What the claims of one request share. When the last of them goes away, the receipt is called.
#[derive(Debug)]
pub(super) struct Account(Mutex<(Settled, Option<Receipt>)>);

impl Receipt {
    #[cfg(any(feature = "forward", test))]
    pub(crate) fn new(done: impl FnOnce(Settled) + Send + 'static) -> Self {
        Self(Box::new(done))
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

impl Account {
    pub(super) fn new(receipt: Receipt) -> Self {
        Self(Mutex::new((Settled::default(), Some(receipt))))
    }

    /// Notes what the ledger has counted.
    pub(super) fn add(&self, Settled { delivered, rejected, refused, lost }: Settled) {
        let (settled, _) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        settled.delivered += delivered;
        settled.rejected += rejected;
        settled.refused += refused;
        settled.lost += lost;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (settled, receipt) = (inner.0, inner.1.take());
        drop(inner);
        if let Some(Receipt(done)) = receipt {
            // It wakes a task of the caller's, and this may be while a panic is cleaned up: another
            // one would end the program.
            let _ = catch_unwind(AssertUnwindSafe(|| done(settled)));
        }
    }
}
