//! What counts, for the operator.

use super::TracingService;
use crate::config::{Description, Effective, Settings};
use crate::pipeline;

impl TracingService {
    /// The configuration as it counts, and where each value comes from: the section or code, a
    /// variable of the environment, or a default. What is told by
    /// [`set_sampling`](Self::set_sampling) and
    /// [`set_resource_attributes`](Self::set_resource_attributes) later is not in it.
    ///
    /// # Example: a line in the log for each key
    ///
    /// ```
    /// use tower_otlp::TracingServiceConfig;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracing = TracingServiceConfig::disabled().start("checkout")?;
    /// assert_eq!(tracing.describe().to_string(), "enabled: no (configuration)");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn describe(&self) -> Description {
        self.description.clone()
    }
}

/// Tells that no trace begins here, where that may be a slip.
pub(super) fn warn_without_rate(settings: Settings<'_>) {
    if settings.rate_is_missing() {
        pipeline::warn(format_args!(
            "tracing is enabled without sampling_rate_per_million: no trace that starts here will \
             be recorded, only requests whose caller has sampled them",
        ));
    }
}

/// Tells of variables that do not have the effect that somebody may expect of them.
pub(super) fn warn(effective: &Effective) {
    for remark in &effective.remarks {
        pipeline::warn(format_args!("{remark}"));
    }
}
