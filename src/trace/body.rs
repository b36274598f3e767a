//! [`ResponseBody`]: ends the span when the response has ended.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::observation::Observation;
use super::span::End;

pin_project! {
    /// Response body of [`Trace`](super::Trace).
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        // Dropped before the span ends, so that what the body writes on its way out arrives.
        #[pin]
        inner: B,
        observation: Observation,
        // Bytes to come, where that is known.
        left: Option<u64>,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn new(inner: B, observation: Observation, left: Option<u64>) -> Self {
        Self { inner, observation, left }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: fmt::Display,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let entered = this.observation.enter();
        let polled = this.inner.as_mut().poll_frame(cx);
        drop(entered);
        this.observation.leave();

        let frame = ready!(polled);
        if let Observation::Sampled(_) = this.observation {
            match &frame {
                None => this.observation.end(End::Complete),
                Some(Err(error)) => this.observation.end(End::Error(error)),
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        this.observation.end(End::Trailers(trailers));
                    } else if is_last(frame, this.left) || this.inner.is_end_stream() {
                        this.observation.end(End::Complete);
                    }
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Whether no byte is left after this frame.
fn is_last<D: Buf>(frame: &Frame<D>, left: &mut Option<u64>) -> bool {
    if let (Some(left), Some(data)) = (left.as_mut(), frame.data_ref()) {
        *left = left.saturating_sub(data.remaining() as u64);
    }
    *left == Some(0)
}
