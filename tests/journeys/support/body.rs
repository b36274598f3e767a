//! Response bodies that are watched, and bodies that the test conducts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body::{Frame, SizeHint};
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use super::spans::Moments;

/// What a test sends into a body: frames, or the error that ends it.
pub(crate) type Conductor = mpsc::UnboundedSender<io::Result<Frame<Bytes>>>;

/// A body of unknown length that says what the test tells it to, and ends when the test lets go.
pub(crate) fn conducted() -> (Conductor, Body) {
    let (conductor, mut frames) = mpsc::unbounded_channel();
    (conductor, Body::new(StreamBody::new(stream::poll_fn(move |cx| frames.poll_recv(cx)))))
}

/// A body of unknown length with these frames.
pub(crate) fn frames<const N: usize>(frames: [Frame<Bytes>; N]) -> Body {
    Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, io::Error>))))
}

pub(crate) fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

/// A body that marks the moment of each of its frames and of its error, and is otherwise the one it wraps.
pub(crate) struct Watched {
    inner: Body,
    moments: Moments,
}

impl Watched {
    pub(crate) fn body(inner: Body, moments: Moments) -> Body {
        Body::new(Self { inner, moments })
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        // Not at the end: whoever knows the length may ask for it much later.
        if let Poll::Ready(Some(_)) = frame {
            self.moments.mark();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
