//! How much senders may send.

use std::num::NonZeroU32;
use std::time::Duration;

/// How much a [`SpanForwarder`](crate::SpanForwarder) takes, of each identity and in all.
///
/// What is over a limit is refused, and the sender is told so, and when to try again.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use tower_otlp::{ForwardLimits, SpanForwarder, TracingService};
///
/// let (tracing, _spans) = TracingService::in_memory();
/// let limits = ForwardLimits::default()
///     .message_bytes(1 << 20)
///     .spans_per_second_of_each(NonZeroU32::new(500).unwrap());
/// let forwarder = tracing.forwarder(SpanForwarder::allow_anonymous).limits(limits);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForwardLimits {
    message_bytes: Option<usize>,
    spans_per_second: Option<NonZeroU32>,
    spans_per_second_of_each: Option<NonZeroU32>,
    bytes_in_flight: Option<usize>,
    bytes_in_flight_of_each: Option<usize>,
    requests: Option<usize>,
    requests_of_each: Option<usize>,
    receive_time: Option<Duration>,
    delivery_time: Option<Duration>,
    identities: Option<usize>,
}

impl ForwardLimits {
    /// Bytes of one message, compressed and decompressed: 4 MiB by default, which is what
    /// receivers of gRPC take unless they are told otherwise.
    #[must_use]
    pub fn message_bytes(self, bytes: usize) -> Self {
        Self { message_bytes: Some(bytes), ..self }
    }

    /// Spans a second of all senders together, and at most so many at once: 50000 by default.
    #[must_use]
    pub fn spans_per_second(self, spans: NonZeroU32) -> Self {
        Self { spans_per_second: Some(spans), ..self }
    }

    /// Spans a second of one identity, and at most so many at once: 10000 by default. A request
    /// of more can never be taken, and is refused as too large.
    #[must_use]
    pub fn spans_per_second_of_each(self, spans: NonZeroU32) -> Self {
        Self { spans_per_second_of_each: Some(spans), ..self }
    }

    /// Bytes of all senders that are being received, or wait to be exported, with all forwarders of
    /// the tracing service. Defaults to a half of
    /// [`QueueConfig::max_bytes`](crate::QueueConfig::max_bytes): the other half is for the spans
    /// of this program alone, however much others send.
    #[must_use]
    pub fn bytes_in_flight(self, bytes: usize) -> Self {
        Self { bytes_in_flight: Some(bytes), ..self }
    }

    /// The same for one identity: by default a quarter of those for all. Four that mean ill can use
    /// up what there is for all; then others are refused until spans are exported.
    ///
    /// While a message is read it takes two times its size, or up to four where it is JSON.
    /// One for which this is too little, whatever else is under way, is refused as too large, also
    /// below [`message_bytes`](Self::message_bytes). What waits counts as 1 KiB at least.
    #[must_use]
    pub fn bytes_in_flight_of_each(self, bytes: usize) -> Self {
        Self { bytes_in_flight_of_each: Some(bytes), ..self }
    }

    /// Requests of all senders at the same time: 256 by default.
    #[must_use]
    pub fn requests(self, requests: usize) -> Self {
        Self { requests: Some(requests), ..self }
    }

    /// Requests of one identity at the same time: by default a quarter of those for all, which is
    /// 64.
    #[must_use]
    pub fn requests_of_each(self, requests: usize) -> Self {
        Self { requests_of_each: Some(requests), ..self }
    }

    /// How long a request may take to arrive, from its head to the end of its body: 10 s by
    /// default.
    #[must_use]
    pub fn receive_time(self, time: Duration) -> Self {
        Self { receive_time: Some(time), ..self }
    }

    /// How long a sender is kept waiting for its spans to be delivered, with
    /// [`Acknowledge::WhenDelivered`](crate::Acknowledge::WhenDelivered): 30 s by default. Then it
    /// is told `UNAVAILABLE`, or 503: they are not delivered yet, and may still be. They go on
    /// waiting, and those that it sends again may arrive twice.
    #[must_use]
    pub fn delivery_time(self, time: Duration) -> Self {
        Self { delivery_time: Some(time), ..self }
    }

    /// Identities that are remembered at the same time: 1024 by default. One is remembered as long
    /// as something of it is under way, or would still count against its limits. Where all are, new
    /// ones are refused.
    #[must_use]
    pub fn identities(self, identities: usize) -> Self {
        Self { identities: Some(identities), ..self }
    }

    /// With the defaults for what is left out, where so many bytes of spans may wait in all.
    pub(super) fn resolve(self, queue_bytes: usize) -> Limits {
        let bytes_in_flight = self.bytes_in_flight.unwrap_or(queue_bytes / 2);
        let of_each = self.bytes_in_flight_of_each.unwrap_or(bytes_in_flight / 4);
        let requests = self.requests.unwrap_or(256);
        Limits {
            message_bytes: self.message_bytes.unwrap_or(4 << 20),
            spans_per_second: self.spans_per_second.unwrap_or(DEFAULT_SPANS),
            spans_per_second_of_each: self
                .spans_per_second_of_each
                .unwrap_or(DEFAULT_SPANS_OF_EACH),
            bytes_in_flight,
            bytes_in_flight_of_each: of_each,
            requests,
            requests_of_each: self.requests_of_each.unwrap_or_else(|| (requests / 4).max(1)),
            receive_time: self.receive_time.unwrap_or(Duration::from_secs(10)),
            delivery_time: self.delivery_time.unwrap_or(Duration::from_secs(30)),
            identities: self.identities.unwrap_or(1024),
        }
    }
}

/// [`ForwardLimits`] as they are in force.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) message_bytes: usize,
    pub(super) spans_per_second: NonZeroU32,
    pub(super) spans_per_second_of_each: NonZeroU32,
    pub(super) bytes_in_flight: usize,
    pub(super) bytes_in_flight_of_each: usize,
    pub(super) requests: usize,
    pub(super) requests_of_each: usize,
    pub(super) receive_time: Duration,
    pub(super) delivery_time: Duration,
    pub(super) identities: usize,
}

impl Limits {
    /// Spans that one request may have.
    pub(super) fn spans_at_once(&self) -> u64 {
        self.spans_per_second.min(self.spans_per_second_of_each).get().into()
    }
}

const DEFAULT_SPANS: NonZeroU32 = NonZeroU32::new(50_000).expect("not zero");
const DEFAULT_SPANS_OF_EACH: NonZeroU32 = NonZeroU32::new(10_000).expect("not zero");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_no_sender_has_more_than_a_quarter() {
        let rows = [
            (ForwardLimits::default(), (16 << 20, 4 << 20), (256, 64), "of the defaults"),
            (ForwardLimits::default().requests(100), (16 << 20, 4 << 20), (100, 25), "of others"),
            (ForwardLimits::default().requests(2), (16 << 20, 4 << 20), (2, 1), "but one request"),
            (ForwardLimits::default().bytes_in_flight(100), (100, 25), (256, 64), "of few bytes"),
        ];
        for (limits, bytes, requests, why) in rows {
            let limits = limits.resolve(32 << 20);
            let found = (limits.bytes_in_flight, limits.bytes_in_flight_of_each);
            assert_eq!(found, bytes, "{why}");
            assert_eq!((limits.requests, limits.requests_of_each), requests, "{why}");
        }
    }
}
