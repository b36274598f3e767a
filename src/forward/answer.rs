//! [`AnswerFuture`] and [`AnswerBody`]: what senders get.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};

use super::refusal::Refusal;
use crate::context::untraced;
use crate::record::wire;

/// Response future of the forwarder's services.
#[must_use = "futures do nothing unless polled"]
pub struct AnswerFuture {
    answer: Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>,
}

/// Response body of the forwarder's services.
#[derive(Debug)]
pub struct AnswerBody {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

/// What is to be said of spans that were taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Of those that were to be delivered first.
    pub(super) rejected: u64,
    pub(super) message: &'static str,
}

impl AnswerFuture {
    pub(super) fn new(answer: impl Future<Output = Response<AnswerBody>> + Send + 'static) -> Self {
        untraced::mark();
        Self { answer: Box::pin(answer) }
    }
}

impl Future for AnswerFuture {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        untraced::mark();
        self.answer.as_mut().poll(cx).map(Ok)
    }
}

impl Drop for AnswerFuture {
    fn drop(&mut self) {
        // Perhaps where it was never polled.
        untraced::mark();
    }
}

impl fmt::Debug for AnswerFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerFuture").finish_non_exhaustive()
    }
}

impl AnswerBody {
    pub(super) fn new(data: impl Into<Bytes>, trailers: Option<HeaderMap>) -> Self {
        Self { data: data.into(), trailers }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

impl Taken {
    /// As an `ExportTraceServiceResponse`.
    pub(super) fn to_protobuf(&self) -> Vec<u8> {
        let mut response = Vec::new();
        if self.rejected > 0 {
            let mut partial = Vec::new();
            wire::put_uint(&mut partial, REJECTED_SPANS, self.rejected);
            wire::put_bytes(&mut partial, ERROR_MESSAGE, self.message.as_bytes());
            wire::put_bytes(&mut response, PARTIAL_SUCCESS, &partial);
        }
        response
    }

    /// The same as OTLP/JSON.
    pub(super) fn to_json(&self) -> String {
        let Self { rejected, message } = self;
        match rejected {
            0 => "{}".to_owned(),
            // Integers of 64 bits are strings. The message is ours, and needs no escapes.
            _ => format!(
                r#"{{"partialSuccess":{{"rejectedSpans":"{rejected}","errorMessage":"{message}"}}}}"#
            ),
        }
    }
}

/// A refusal as a `google.rpc.Status`.
pub(super) fn status_protobuf(refusal: &Refusal) -> Vec<u8> {
    let mut status = Vec::new();
    wire::put_uint(&mut status, STATUS_CODE, refusal.code().into());
    wire::put_bytes(&mut status, STATUS_MESSAGE, refusal.words().as_bytes());
    if let Some(delay) = refusal.retry_after() {
        let mut any = Vec::new();
        wire::put_bytes(&mut any, ANY_TYPE_URL, b"type.googleapis.com/google.rpc.RetryInfo");
        wire::put_bytes(&mut any, ANY_VALUE, &retry_info(delay));
        wire::put_bytes(&mut status, STATUS_DETAILS, &any);
    }
    status
}

/// The same as JSON, without what HTTP has a header for.
pub(super) fn status_json(refusal: &Refusal) -> String {
    // As text, which cannot fail.
    let message = serde_json::Value::from(refusal.words().into_owned());
    format!(r#"{{"code":{},"message":{message}}}"#, refusal.code())
}

fn retry_info(delay: Duration) -> Vec<u8> {
    let mut duration = Vec::new();
    if delay.as_secs() > 0 {
        wire::put_uint(&mut duration, 1, delay.as_secs());
    }
    if delay.subsec_nanos() > 0 {
        wire::put_uint(&mut duration, 2, delay.subsec_nanos().into());
    }
    let mut info = Vec::new();
    wire::put_bytes(&mut info, RETRY_DELAY, &duration);
    info
}

/// Field of `ExportTraceServiceResponse`.
const PARTIAL_SUCCESS: u32 = 1;
/// Fields of `ExportTracePartialSuccess`.
const REJECTED_SPANS: u32 = 1;
const ERROR_MESSAGE: u32 = 2;
/// Fields of `google.rpc.Status`.
const STATUS_CODE: u32 = 1;
const STATUS_MESSAGE: u32 = 2;
const STATUS_DETAILS: u32 = 3;
/// Fields of `google.protobuf.Any`.
const ANY_TYPE_URL: u32 = 1;
const ANY_VALUE: u32 = 2;
/// Field of `google.rpc.RetryInfo`.
const RETRY_DELAY: u32 = 1;
