//! An answer as a whole, and what requests are made of: the same over every connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::pipeline::Failure;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Answer {
    /// Reads an answer to its end, trailers included.
    ///
    /// # Errors
    ///
    /// When it breaks off, which may pass, or is of more than [`MAX_ANSWER`] bytes, which may where
    /// its status says so.
    pub(super) async fn read<B>(response: Response<B>) -> Result<Self, Failure>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = response.into_parts();
        let mut answer =
            Self { status: head.status, headers: head.headers, body: Vec::new(), trailers: None };
        let mut body = pin!(body);
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = frame.map_err(|error| Failure::for_now(explain(&*error.into())))?;
            match frame.into_data() {
                Ok(mut data) => {
                    if answer.body.len() + data.remaining() > MAX_ANSWER {
                        let reason = format!("the answer is larger than {MAX_ANSWER} bytes");
                        let failure = if may_pass(head.status) {
                            Failure::for_now
                        } else {
                            Failure::for_good
                        };
                        return Err(failure(reason));
                    }
                    while data.has_remaining() {
                        let part = data.chunk().len();
                        answer.body.extend_from_slice(data.chunk());
                        data.advance(part);
                    }
                }
                Err(frame) => answer.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(answer)
    }
}

/// Whether the same request may be answered well later (OTLP, "Failures"; for gRPC, "HTTP to gRPC
/// Status Code Mapping").
pub(super) fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// An error with its causes, each said once: hyper's own words are few.
pub(super) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What a peer says, short enough for a log line and on one line.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut quoted: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        quoted.push('…');
    }
    quoted
}

/// A request body of ready buffers.
#[derive(Debug)]
pub(crate) struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    pub(super) fn new(pieces: VecDeque<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.remaining() as u64).sum();
        Self { pieces, left }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

pub(super) const USER_AGENT: &str = concat!("tower-otlp/", env!("CARGO_PKG_VERSION"), " (Rust)");
/// An OTLP answer is a few bytes; one with an error, a few hundred.
pub(super) const MAX_ANSWER: usize = 64 << 10;
