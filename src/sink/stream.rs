//! A connection that remembers what went wrong with it.
//!
//! HTTP libraries keep little of it: an alert that a peer sends after the handshake becomes a
//! broken pipe, or a stream that was reset. So it is written down here, where it comes by.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gather::Gather;
use super::proxy::WANTS_TLS;
use super::tls::Session;

/// What bytes go over.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to the collector, ready for HTTP.
pub(super) struct Stream {
    io: Gather<Box<dyn Io>>,
    /// `None` is plaintext.
    tls: Option<Session>,
    /// Whether the peer has said anything, or has ended the connection.
    heard: bool,
    trouble: Trouble,
}

/// What went wrong with a connection, in the operator's words; empty while nothing has.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<OnceLock<String>>);

impl Trouble {
    pub(super) fn words(&self) -> Option<String> {
        self.0.get().cloned()
    }

    /// The first trouble counts: others come of it.
    fn set(&self, words: String) {
        let _ = self.0.set(words);
    }
}

impl Stream {
    pub(super) fn new(io: Box<dyn Io>, tls: Option<Session>, trouble: Trouble) -> Self {
        Self { io: Gather::new(io), tls, heard: false, trouble }
    }

    fn has_heard(&mut self, bytes: &[u8]) {
        if std::mem::replace(&mut self.heard, true) {
            return;
        }
        match (&self.tls, bytes) {
            (None, [TLS_ALERT, ..]) => self.trouble.set(WANTS_TLS.to_owned()),
            (Some(tls), []) => self.ended_early(tls),
            _ => {}
        }
    }

    fn has_failed(&self, error: &io::Error) {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let Some(tls) = &self.tls else { return };
        if let Some(words) = tls.explain(error) {
            self.trouble.set(words);
        } else if !self.heard
            && matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            )
        {
            self.ended_early(tls);
        }
    }

    /// The peer has ended the connection after the handshake, without a word.
    fn ended_early(&self, tls: &Session) {
        if let Some(words) = tls.explain_silence() {
            self.trouble.set(words);
        }
    }

    /// Looks for the reason why nothing can be written: it has been sent before.
    fn look_for_reason(&mut self, cx: &mut Context<'_>) {
        if self.tls.is_none() {
            return;
        }
        for _ in 0..LAST_READS {
            let mut unread = [0; 1024];
            let mut unread = ReadBuf::new(&mut unread);
            match Pin::new(&mut self.io).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {}
                Poll::Ready(Err(error)) => return self.has_failed(&error),
                Poll::Ready(Ok(())) | Poll::Pending => return,
            }
        }
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &written {
            self.look_for_reason(cx);
            self.has_failed(error);
        }
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        match &read {
            Ok(()) => self.has_heard(&buf.filled()[before..]),
            Err(error) => self.has_failed(error),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.trouble.clone())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("is_tls", &self.tls.is_some())
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}

/// The first byte of a TLS record that holds an alert. No answer of HTTP begins like this.
const TLS_ALERT: u8 = 0x15;
/// A peer that goes on writing has not closed the connection.
const LAST_READS: usize = 16;
