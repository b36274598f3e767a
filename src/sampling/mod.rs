//! Who is recorded.
//!
//! | the parent | recorded |
//! |---|---|
//! | sampled, remote or local | always, whatever the rate, unless a remote one is over its limit |
//! | not sampled | never |
//! | none, or none that is believed: a trace starts here | as [`Sampling`] decides on the trace id |
//!
//! So a trace is recorded whole or not at all, and a caller who wants one request recorded end to
//! end needs no more than a sampled `traceparent`. This is the `ParentBased` sampler of the
//! OpenTelemetry specification with a rate in integers at its root.

mod budget;
mod per_million;
mod policy;
mod remote;
mod rules;

pub(crate) use budget::Budget;
pub(crate) use per_million::random_part;
pub use per_million::{RateOutOfRange, SamplingRate};
pub use policy::Sampling;
pub(crate) use policy::{Sampler, hand_on};
pub use remote::RemoteParent;
pub use rules::SamplingRule;
pub(crate) use rules::{Asked, grpc_service, has_prefix};
