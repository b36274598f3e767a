//! What is there of TLS in a program that was built without.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::error::SinkError;
use super::exchange::Version;
use super::options::TlsOptions;
use super::stream::Io;

/// There is none.
#[derive(Debug)]
pub(crate) enum Tls {}

/// Nor this.
#[derive(Debug)]
pub(super) enum Session {}

impl Tls {
    pub(super) fn load(
        _: TlsOptions,
        _: &str,
        _: Version,
        _: Duration,
    ) -> Result<Arc<Self>, SinkError> {
        Err(SinkError::Unsupported(
            "this program was built without TLS: build it with the feature \"ring\" or \
             \"aws-lc-rs\" of tower-otlp",
        ))
    }

    pub(super) fn generation(&self) -> u64 {
        match *self {}
    }

    pub(super) async fn refresh_if_due(&self) {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "there is something to wait for with TLS")]
    pub(super) async fn connect(&self, _: Box<dyn Io>) -> Result<(Box<dyn Io>, Session), String> {
        match *self {}
    }
}

impl Session {
    pub(super) fn explain(&self, _: &io::Error) -> Option<String> {
        match *self {}
    }

    pub(super) fn explain_silence(&self) -> Option<String> {
        match *self {}
    }
}
