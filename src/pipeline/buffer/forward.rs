//! The way in for whole requests of others.

use std::sync::Arc;

use super::Intake;
use crate::pipeline::batch::Chunk;
use crate::pipeline::ledger::Claim;
use crate::pipeline::options::WhenFull;
use crate::pipeline::receipt::Receipt;
use crate::pipeline::scope::Scope;

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its bytes are more than the budget has left. Where the oldest make room, an eighth of the
    /// budget is kept free: one that is larger may find none before the backend takes spans.
    Full,
    /// The service is being shut down, or tracing is disabled.
    Closed,
}

impl Intake {
    /// Takes a whole request of somebody else's: `request` is one or more fields of an
    /// `ExportTraceServiceRequest` that has been found well-formed, of `spans` spans. It waits for
    /// nobody, neither here nor, as a span would, for others to go out with.
    ///
    /// All or nothing: what is taken is counted as accepted, and what is not taken is not counted
    /// anywhere. Then the receipt is let go of and never called. A request without spans is taken, and
    /// that is all that becomes of it.
    ///
    /// # Errors
    ///
    /// When the budget has no room for all of `request`, or after the shutdown has begun.
    pub(crate) fn forward(
        &self,
        sender: &Arc<Scope>,
        mut request: Vec<u8>,
        spans: u64,
        receipt: Option<Receipt>,
    ) -> Result<(), Refused> {
        // Here, and not where it is sealed: that is under the lock of a shard.
        request.shrink_to_fit();
        let bytes = request.len();
        let mut shard = self.shard();
        if shard.closed {
            return Err(Refused::Closed);
        }
        if !self.ledger.take_bytes(bytes) {
            if self.limits.when_full == WhenFull::DropOldest {
                self.wake.notify_one();
            }
            return Err(Refused::Full);
        }
        shard.offered.accepted += spans;
        let claim = Claim::of_request(Arc::clone(&self.ledger), spans, bytes, receipt);
        if spans > 0 {
            // Under the lock, as a shutdown takes what has been sealed after it has closed the shards.
            self.seal(Chunk { scope: Arc::clone(sender), bytes: request, claim });
        } else {
            // Not under it: the receipt is called.
            drop(shard);
            drop(claim);
        }
        Ok(())
    }
}
