//! In place of the metrics, where their cargo feature is off: nothing is ever measured.

use crate::trace::layer::Settings;
use crate::trace::semconv::{Outcome, RequestHead};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metrics {}

impl Metrics {
    #[cfg(feature = "reqwest")]
    pub(super) fn are_measured(self) -> bool {
        let Self {} = self;
        false
    }
}

#[derive(Debug)]
pub(in crate::trace) enum Measured {}

impl Measured {
    pub(in crate::trace) fn start(settings: &Settings, request: &RequestHead<'_>) -> Option<Self> {
        // Only metrics want it.
        let _ = request.length;
        let Metrics {} = settings.metrics;
        None
    }

    pub(in crate::trace) fn passed(&mut self, _: usize) {
        match *self {}
    }

    pub(in crate::trace) fn end(self, outcome: &Outcome<'_>, _: u64) {
        // Only metrics want it at the end.
        let _ = outcome.version;
        match self {}
    }
}
