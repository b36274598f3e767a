//! A connection whose small writes go out together.
//!
//! HTTP/2 writes frame by frame, of 16 KiB each where the peer takes no larger ones, and flushes
//! after each: a call of the operating system for every 35 spans. Here what is written in one turn
//! of the connection's task is kept together, and a flush in that turn asks for another turn, in
//! which there is nothing more to write, and the flush is one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Keeps up to [`MOST`] bytes of what is written until the task that writes has had its turn.
pub(super) struct Gather<T> {
    io: T,
    kept: BytesMut,
    /// Whether anything was written since the last flush.
    written: bool,
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, kept: BytesMut::new(), written: false }
    }

    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.kept))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.kept.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gather<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gather<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        if self.kept.len() + len > MOST {
            ready!(self.poll_empty(cx))?;
        }
        // Copied, it would only take longer.
        if len > MOST {
            return Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        }
        self.written = true;
        pieces.iter().for_each(|piece| self.kept.extend_from_slice(piece));
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.written) {
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_empty(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Four frames of HTTP/2, and their heads.
const MOST: usize = 66 << 10;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn what_is_written_in_one_turn_goes_out_in_the_next_and_what_is_large_at_once() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut gather = Gather::new(Written::default());
        let mut write = |gather: &mut Gather<Written>, len: usize| {
            let written = Pin::new(&mut *gather).poll_write(&mut cx, &vec![7; len]);
            assert!(matches!(written, Poll::Ready(Ok(all)) if all == len), "{written:?}");
            let flushed = Pin::new(gather).poll_flush(&mut cx);
            assert!(matches!(flushed, Poll::Ready(Ok(()))), "{flushed:?}");
        };
        (0..3).for_each(|_| write(&mut gather, 16 << 10));
        assert_eq!(gather.io.0, [0; 0], "all of a turn is kept");

        write(&mut gather, 20 << 10);
        assert_eq!(gather.io.0, [48 << 10], "but for what is too much");
        write(&mut gather, MOST + 1);
        assert_eq!(gather.io.0, [48 << 10, 20 << 10, MOST + 1], "in order, and not copied");

        write(&mut gather, 5);
        for _ in 0..2 {
            let flushed = Pin::new(&mut gather).poll_flush(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(flushed, Poll::Ready(Ok(()))), "{flushed:?}");
        }
        assert_eq!(gather.io.0[3..], [5], "once, when nothing was written before");
    }

    #[test]
    fn a_shutdown_leaves_nothing_behind() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut gather = Gather::new(Written::default());
        let _ = Pin::new(&mut gather).poll_write(&mut cx, b"bye");
        assert!(Pin::new(&mut gather).poll_shutdown(&mut cx).is_ready());
        assert_eq!(gather.io.0, [3]);
    }

    /// The sizes of what was written.
    #[derive(Default)]
    struct Written(Vec<usize>);

    impl AsyncWrite for Written {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
