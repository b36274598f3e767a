#![doc = include_str!("forward.md")]

mod accounts;
mod answer;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod grpc;
mod http;
mod identity;
mod limits;
mod rate;
mod receive;
mod refusal;
mod settings;
mod tally;
mod via;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use ::http::request::Parts;

use self::accounts::Accounts;
pub use self::answer::{AnswerBody, AnswerFuture};
pub use self::grpc::GrpcForwarder;
pub use self::http::HttpForwarder;
pub use self::identity::Identity;
use self::identity::{ANONYMOUS, Identify};
pub use self::limits::ForwardLimits;
pub use self::settings::Acknowledge;
use self::settings::Settings;
use self::tally::Tally;
pub use self::tally::{ForwarderStats, Refused};
pub(crate) use self::via::Instance;
use crate::pipeline::Intake;

/// Takes the spans of other programs, and exports them with those of this one. Made by
/// [`TracingService::forwarder`](crate::TracingService::forwarder).
///
/// See the [module documentation](self) for where to mount it and what it answers. Cloning is
/// cheap; clones share their limits and counters.
#[derive(Clone)]
#[must_use = "a forwarder does nothing until one of its services is mounted"]
pub struct SpanForwarder {
    settings: Arc<Settings>,
}

impl SpanForwarder {
    /// Without an intake, tracing is disabled.
    pub(crate) fn new(
        intake: Option<Arc<Intake>>,
        instance: Instance,
        identify: Arc<dyn Fn(&Parts) -> Identity + Send + Sync>,
    ) -> Self {
        let identify: Identify = identify;
        let settings = Settings {
            accounts: Arc::new(accounts(intake.as_ref(), &instance, ForwardLimits::default())),
            intake,
            instance,
            identify,
            attribute: ATTRIBUTE.into(),
            acknowledge: Acknowledge::default(),
            tally: Arc::new(Tally::new()),
        };
        Self { settings: Arc::new(settings) }
    }

    /// Takes spans of everybody who can reach the service, and all of them in one name,
    /// `anonymous`, and within the limits of one identity.
    ///
    /// An argument for [`TracingService::forwarder`](crate::TracingService::forwarder).
    #[must_use]
    pub fn allow_anonymous(_: &Parts) -> Identity {
        Identity::allow(ANONYMOUS)
    }

    /// How much is taken. Services that were made before, and clones, keep the limits they have.
    ///
    /// Bytes are counted over all forwarders of a tracing service, and each compares them with its
    /// own limit; all else is counted from here on for this one and its clones.
    pub fn limits(self, limits: ForwardLimits) -> Self {
        let Settings { intake, instance, .. } = &*self.settings;
        let accounts = accounts(intake.as_ref(), instance, limits);
        self.with(|settings| settings.accounts = Arc::new(accounts))
    }

    /// The resource attribute that says who has sent the spans. Defaults to
    /// `tower_otlp.forwarded.for`; `teleport.forwarded.for` is what Teleport's auth service
    /// writes. An empty one is the default.
    ///
    /// Whatever senders write under this key, on resources, scopes, spans, events and links, is
    /// removed; so are maps under a front part of it that ends before a dot, as `teleport` here: a
    /// backend may flatten them to it.
    pub fn attribute(self, key: impl Into<Cow<'static, str>>) -> Self {
        let key = key.into();
        let key = if key.is_empty() { ATTRIBUTE.into() } else { key };
        self.with(|settings| settings.attribute = key)
    }

    /// When senders are told that their spans were taken. Defaults to
    /// [`Acknowledge::WhenQueued`].
    pub fn acknowledge(self, when: Acknowledge) -> Self {
        self.with(|settings| settings.acknowledge = when)
    }

    /// The service for OTLP/gRPC: `add_service` of tonic takes it, with the feature `tonic`.
    pub fn grpc(&self) -> GrpcForwarder {
        GrpcForwarder::new(Arc::clone(&self.settings))
    }

    /// The service for OTLP/HTTP: `route_service("/v1/traces", ..)` of axum takes it.
    pub fn http(&self) -> HttpForwarder {
        HttpForwarder::new(Arc::clone(&self.settings))
    }

    /// What was sent so far, by all senders, and what became of it. Cheap enough to be asked every
    /// second.
    #[must_use]
    pub fn stats(&self) -> ForwarderStats {
        self.settings.tally.stats()
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl fmt::Debug for SpanForwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanForwarder").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

fn accounts(intake: Option<&Arc<Intake>>, instance: &Instance, limits: ForwardLimits) -> Accounts {
    // Where tracing is disabled nothing is taken, whatever the limits are.
    let limits = limits.resolve(intake.map_or(0, |intake| intake.max_bytes()));
    Accounts::new(limits, instance.under_way())
}

const ATTRIBUTE: &str = "tower_otlp.forwarded.for";

#[cfg(test)]
mod tests;
