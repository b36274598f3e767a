//! What a tracing service is for a command-line tool: one run, one root span.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;

#[cfg(feature = "tonic")]
use super::channel::Forwarding;
use super::{StartError, TracingService};
#[cfg(feature = "file")]
use crate::config::Target;
use crate::config::{Destination, TracingServiceConfig, env};
use crate::context::TraceContext;
use crate::pipeline::Stats;
#[cfg(feature = "file")]
use crate::sink::file::FileSink;
use crate::trace::Recording;
pub(crate) use crate::trace::{CommandEnd, CommandSpan};

impl TracingServiceConfig {
    /// [`start`](Self::start), for somebody who waits for the program: if spans go to files, that
    /// one can be made is seen to now.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), in words.
    pub(crate) fn start_command(self, service_name: &str) -> Result<TracingService, String> {
        #[cfg(feature = "file")]
        if let Some(Target::File { directory, .. }) = self.target() {
            FileSink::try_out(directory).map_err(|failure| failure.to_string())?;
        }
        self.start(service_name).map_err(|error| error.to_string())
    }

    /// A service that has to be given a channel.
    ///
    /// # Errors
    ///
    /// Also when this build has no channels.
    pub(crate) fn start_command_over_channel(
        self,
        service_name: &str,
    ) -> Result<TracingService, StartError> {
        #[cfg(feature = "tonic")]
        return self.start_forwarding_later(service_name);
        #[cfg(not(feature = "tonic"))]
        {
            let _ = (self, service_name);
            Err(StartError::Unsupported(NOWHERE.to_owned()))
        }
    }
}

impl TracingService {
    /// One that records nothing.
    pub(crate) fn off() -> Self {
        let effective = TracingServiceConfig::disabled().with_environment(&env::process, "");
        Self::disabled(effective.describe(None, Destination::Exporter))
    }

    /// Starts the root span of a command; `None` when nothing is recorded.
    pub(crate) fn start_command_span(
        &self,
        name: &str,
        parent: Option<TraceContext>,
    ) -> Option<(CommandSpan, TraceContext, Context)> {
        let Recording::On(sampler) = &self.recording else { return None };
        let into = (Arc::clone(&self.intake), Arc::clone(&self.scope));
        let executable = env::executable_name();
        Some(CommandSpan::start(into, self.limits, sampler, name, executable.as_deref(), parent))
    }

    /// Why spans could not be delivered when they last could not.
    pub(crate) fn last_failure(&self) -> Option<Arc<String>> {
        self.pipeline.as_ref()?.last_failure()
    }

    /// Whether spans go over a channel, and none has been given.
    pub(crate) fn lacks_channel(&self) -> bool {
        #[cfg(feature = "tonic")]
        return matches!(&self.forwarding, Forwarding::Over(slot) if slot.is_empty());
        #[cfg(not(feature = "tonic"))]
        {
            let _ = self;
            false
        }
    }

    /// [`shutdown`](Self::shutdown) by somebody who shares the service.
    pub(crate) async fn shutdown_shared(&self, deadline: Duration) -> Stats {
        match &self.pipeline {
            Some(pipeline) => pipeline.shutdown(deadline).await,
            None => self.stats(),
        }
    }

    /// [`shutdown_blocking`](Self::shutdown_blocking) by somebody who shares the service.
    pub(crate) fn shutdown_shared_blocking(&self, deadline: Duration) -> Stats {
        match &self.pipeline {
            Some(pipeline) => pipeline.shutdown_blocking(deadline),
            None => self.stats(),
        }
    }
}

/// What `--trace` alone comes to in a build without channels.
#[cfg(all(not(feature = "tonic"), any(feature = "grpc", feature = "http", feature = "file")))]
const NOWHERE: &str = "without an exporter spans go over a channel, and this program was built \
                       without the feature \"tonic\" of tower-otlp: name one with --trace-exporter";
/// Here no exporter could be named either.
#[cfg(not(any(feature = "tonic", feature = "grpc", feature = "http", feature = "file")))]
const NOWHERE: &str = "there is no way for spans to leave this program: it was built without the \
                       features \"tonic\", \"grpc\", \"http\" and \"file\" of tower-otlp";
