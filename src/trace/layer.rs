//! [`TraceLayer`], and the settings that all its services share.

use std::sync::Arc;

use tower_layer::Layer;

use super::service::Trace;
use crate::context::ResponseHeader;
use crate::pipeline::{Intake, Scope};
use crate::record::SpanLimits;
use crate::sampling::SamplingRate;

/// A [`Layer`] that records a span for each request of the service it wraps.
///
/// Made by [`TraceLayer::server`]. See the [module documentation](crate::trace) for where to put
/// it and when exactly a span ends.
#[derive(Clone, Debug)]
pub struct TraceLayer {
    settings: Arc<Settings>,
}

/// What the services of one layer share.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) intake: Arc<Intake>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) limits: SpanLimits,
    pub(crate) recording: Recording,
    pub(crate) response_header: ResponseHeader,
}

/// Whether spans are recorded at all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Recording {
    /// No span is made; the context that came is handed through.
    Off,
    /// Spans are made, those of new traces at this rate.
    On(SamplingRate),
}

impl TraceLayer {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace::new(inner, Arc::clone(&self.settings))
    }
}
