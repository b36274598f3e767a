//! [`ResponseBody`]: ends the span when the response has ended.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::exchange::End;
use super::observation::Observation;

pin_project! {
    /// Response body of [`Trace`](super::Trace).
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        // Absent when it has ended.
        #[pin]
        inner: Option<B>,
        observation: Observation,
        // Bytes to come, where that is known.
        left: Option<u64>,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            // Within the span, and before the span ends: what the body does and writes on its
            // way out belongs to it.
            let mut this = this.project();
            if this.inner.is_some() {
                this.observation.drop_within(|| this.inner.set(None));
            }
        }
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn new(inner: B, observation: Observation, left: Option<u64>) -> Self {
        Self { inner: Some(inner), observation, left }
    }
}

/// A body that belongs to no span, as other middleware makes one for an answer of its own.
impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::new(B::default(), Observation::Off, None)
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: fmt::Display + 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let entered = this.observation.enter();
        let polled = inner.as_mut().poll_frame(cx);
        // Asked here, because the answer is the body's code, too. Trailers may follow what is the
        // last by its length, so the body goes only when it says itself that it is over.
        let is_over = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || inner.is_end_stream(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_over {
            // Now, while its context is in force: it would have to be put in force once more.
            this.inner.set(None);
        }
        drop(entered);
        this.observation.leave();

        let frame = ready!(polled);
        if let Observation::Live(exchange) = this.observation {
            match &frame {
                None => this.observation.end(End::Complete),
                Some(Err(error)) => this.observation.fail(error),
                Some(Ok(frame)) => {
                    exchange.passed(frame);
                    if let Some(trailers) = frame.trailers_ref() {
                        this.observation.end(End::Trailers(trailers));
                    } else if is_last(frame, this.left) || is_over {
                        this.observation.end(End::Complete);
                    }
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Whether no byte is left after this frame.
fn is_last<D: Buf>(frame: &Frame<D>, left: &mut Option<u64>) -> bool {
    if let (Some(left), Some(data)) = (left.as_mut(), frame.data_ref()) {
        *left = left.saturating_sub(data.remaining() as u64);
    }
    *left == Some(0)
}
