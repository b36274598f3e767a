//! OTLP/gRPC over a connection of our own.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::Uri;

use super::answer::Answer;
use super::call::{EXPORT, ExportCall, grpc_status_of, read};
use super::compress::Compressor;
use super::error::SinkError;
use super::exchange::{HttpClient, Version, client, exchange, scheme};
use super::options::ExportOptions;
use crate::grpc_status::GrpcStatus;
use crate::pipeline::{Batch, Failure, Outcome, Sink};

/// Exports to the OTLP `TraceService` of a collector.
#[derive(Debug)]
pub(crate) struct GrpcSink {
    client: HttpClient,
    service: ExportCall,
    compressor: Compressor,
    target: String,
}

impl GrpcSink {
    /// `authority` is `host:port`; `target` is the URL as the operator wrote it.
    ///
    /// # Errors
    ///
    /// When `authority` cannot be part of a URI, or TLS or the Unix domain socket cannot be used.
    pub(crate) fn new(
        authority: &str,
        options: &ExportOptions,
        target: String,
    ) -> Result<Self, SinkError> {
        let uri = Uri::builder().scheme(scheme(options)).authority(authority);
        let uri = uri.path_and_query(EXPORT).build()?;
        Ok(Self {
            client: client(Version::Http2, &uri, options)?,
            service: ExportCall::new(uri, &options.requests),
            compressor: Compressor::new(options.compression),
            target,
        })
    }

    async fn call(&self, batch: &Batch) -> Result<Outcome, Failure> {
        let message = batch.request();
        let Some(compressed) = self.compressor.gzip(&message).await else {
            return read(&self.send(0, message, batch).await?);
        };
        let answer = self.send(1, VecDeque::from([compressed]), batch).await?;
        if grpc_status_of(&answer).is_none_or(|(status, _)| status != GrpcStatus::UNIMPLEMENTED) {
            return read(&answer);
        }
        // Of the compression, or of the service as a whole.
        let outcome = read(&self.send(0, message, batch).await?)?;
        self.compressor.is_not_understood(&self.target);
        Ok(outcome)
    }

    async fn send(
        &self,
        compressed: u8,
        message: VecDeque<Bytes>,
        batch: &Batch,
    ) -> Result<Answer, Failure> {
        let request = self.service.request(compressed, message, batch.via(), &self.target).await?;
        exchange(&self.client, request).await
    }
}

impl Sink for GrpcSink {
    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        Box::pin(async { self.call(batch).await.unwrap_or_else(Outcome::Failed) })
    }

    fn target(&self) -> &str {
        &self.target
    }
}
