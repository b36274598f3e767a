//! What both services do with a request, whichever way it came.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::accounts::{Accounts, Held, Visit};
use super::answer::Taken;
use super::identity::{Identify, identify};
use super::limits::Limits;
use super::receive::Received;
use super::refusal::Refusal;
use super::tally::{Counted, Tally};
use super::via::Instance;
use crate::pipeline::{Intake, Receipt, Refused, Settled};
use crate::record::incoming::{self, Invalid, Stamp, Stamped};
use crate::record::walk::{Fields, Value};

/// When a sender is told that its spans were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acknowledge {
    /// When they are in the memory of this program, which exports them as it does its own. The
    /// default: what is lost after that is lost to the sender, and counted here.
    #[default]
    WhenQueued,
    /// When the backend has them, or they are in a file. What the backend rejects or what is lost
    /// on the way there is told to the sender, as a partial success; when nothing arrives, and not
    /// because the backend refuses it for good, it may try again.
    ///
    /// A sender that does not wait so long will send the spans again, and they may arrive twice.
    /// The same after [`delivery_time`](crate::ForwardLimits::delivery_time): then it is told so.
    WhenDelivered,
}

/// What the services of one forwarder share.
#[derive(Clone)]
pub(super) struct Settings {
    /// Absent when tracing is disabled.
    pub(super) intake: Option<Arc<Intake>>,
    pub(super) instance: Instance,
    pub(super) identify: Identify,
    pub(super) attribute: Cow<'static, str>,
    pub(super) acknowledge: Acknowledge,
    pub(super) accounts: Arc<Accounts>,
    pub(super) tally: Arc<Tally>,
}

/// A request that may be read.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) visit: Visit,
    via: Bytes,
}

impl Settings {
    pub(super) fn limits(&self) -> &Limits {
        self.accounts.limits()
    }

    pub(super) fn count(&self) -> Counted<'_> {
        self.tally.count()
    }

    /// Checks how a request is made, unless nothing is taken at all.
    pub(super) fn check<T>(
        &self,
        counted: &mut Counted<'_>,
        check: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let checked = match self.intake {
            Some(_) => check(),
            None => Err(Refusal::Disabled),
        };
        checked.inspect_err(|refusal| counted.refused(refusal, None, 0))
    }

    /// Finds out who sends a request, and whether it may be read now.
    pub(super) fn admit(
        &self,
        counted: &mut Counted<'_>,
        parts: &Parts,
    ) -> Result<Admitted, Refusal> {
        let identity = identify(&self.identify, parts)
            .inspect_err(|refusal| counted.refused(refusal, None, 0))?;
        let admit = || {
            let via = self.instance.pass(&parts.headers)?;
            Ok(Admitted { visit: self.accounts.admit(&identity)?, via })
        };
        admit().inspect_err(|refusal| counted.refused(refusal, Some(&identity), 0))
    }

    /// Sends the spans of an `ExportTraceServiceRequest` on their way.
    pub(super) async fn take(
        &self,
        counted: &mut Counted<'_>,
        admitted: &Admitted,
        received: Received,
    ) -> Result<Taken, Refusal> {
        let stamped = self.stamp(&admitted.visit, &received);
        // Only its stamped copy goes on.
        drop(received);
        let (Stamped { request, spans }, held) = admitted.or_refuse(counted, stamped)?;
        if spans == 0 {
            counted.taken(0);
            return Ok(Taken::default());
        }
        let (tell, told) = oneshot::channel();
        let receipt = Receipt::new(move |settled| {
            drop(held);
            // Nobody may be waiting for it.
            let _ = tell.send(settled);
        });
        let queued = self.queue(admitted, request, spans, receipt);
        queued.inspect_err(|refusal| {
            counted.refused(refusal, Some(admitted.visit.identity()), spans);
        })?;
        counted.taken(spans);
        match self.acknowledge {
            Acknowledge::WhenQueued => Ok(Taken::default()),
            // A backend may be away for hours, and whoever waits has the place of a request.
            Acknowledge::WhenDelivered => match timeout(self.limits().delivery_time, told).await {
                Ok(Ok(settled)) => delivered(settled),
                // Without a word: whoever had the spans is gone, and so are they.
                Ok(Err(_)) => Err(Refusal::Lost),
                Err(_) => Err(Refusal::NotYet),
            },
        }
    }

    fn stamp(&self, visit: &Visit, received: &Received) -> Result<(Stamped, Held), Refusal> {
        let request = received.bytes();
        let most = visit.limits().spans_at_once();
        let resources = Fields::new(request)
            .map_while(Result::ok)
            .filter(|field| matches!(field, (RESOURCE_SPANS, Value::Bytes(_))))
            .count();
        let stamp_len = self.attribute.len() + visit.identity().len() + STAMP;
        let mut held = visit.hold();
        let at_most = request.len().saturating_add(resources.saturating_mul(stamp_len));
        held.grow(at_most.max(QUEUED))?;
        let stamp = Stamp::new(&self.attribute, visit.identity());
        let mut stamped = incoming::stamp(request, &stamp, most).map_err(|invalid| {
            let words = invalid.to_string().into();
            match invalid {
                Invalid::TooManySpans { .. } => Refusal::TooLarge(words),
                _ => Refusal::Invalid(words),
            }
        })?;
        stamped.request.shrink_to_fit();
        held.shrink_to(stamped.request.capacity().max(QUEUED));
        Ok((stamped, held))
    }

    fn queue(
        &self,
        Admitted { visit, via }: &Admitted,
        request: Vec<u8>,
        spans: u64,
        receipt: Receipt,
    ) -> Result<(), Refusal> {
        let Some(intake) = &self.intake else { return Err(Refusal::Disabled) };
        let scope = visit.scope(via)?;
        visit.take_spans(spans)?;
        intake.forward(&scope, request, spans, Some(receipt)).map_err(|refused| {
            visit.give_back_spans(spans);
            match refused {
                Refused::Full => Refusal::QueueFull,
                Refused::Closed => Refusal::ShutDown,
            }
        })
    }
}

impl Admitted {
    /// Counts a refusal as this sender's.
    pub(super) fn or_refuse<T>(
        &self,
        counted: &mut Counted<'_>,
        result: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        result.inspect_err(|refusal| counted.refused(refusal, Some(self.visit.identity()), 0))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

/// What is said of spans that the backend was to have first.
pub(super) fn delivered(settled: Settled) -> Result<Taken, Refusal> {
    let Settled { delivered, rejected, refused, lost } = settled;
    // To send them again may help, and doubles none. What is refused for good would come for ever.
    if delivered + rejected == 0 && lost > 0 {
        return Err(Refusal::Lost);
    }
    let rejected = rejected + refused;
    let message = match (rejected, lost) {
        (0, _) => "spans were lost on their way to the backend",
        (_, 0) => "spans were rejected by the backend",
        (_, _) => "spans were rejected by the backend, and others lost on their way to it",
    };
    Ok(Taken { rejected: rejected + lost, message })
}

/// Field of an OTLP `ExportTraceServiceRequest`.
const RESOURCE_SPANS: u32 = 1;
/// Bytes that a request counts as at least while it waits: what is around its spans takes memory,
/// too.
const QUEUED: usize = 1 << 10;
/// Most bytes that a stamp takes beside its key and its value: with the lengths of what it
/// stands in, which grow by it.
const STAMP: usize = 64;
