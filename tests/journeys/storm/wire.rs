//! Where answers end in the bytes of a connection.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sinks::script::h2::{DATA, END_STREAM, HEADERS};
use crate::support::fault_proxy::Link;

/// A connection, as the collector knows it.
pub(super) struct Wire {
    link: Arc<Link>,
    written: Arc<AtomicU64>,
    /// How long the client waited before it could send anything.
    handshake: OnceLock<Duration>,
    /// By the number of the request: where its answer ended.
    ends: Mutex<HashMap<u32, u64>>,
}

impl Wire {
    pub(super) fn new(link: Arc<Link>) -> Arc<Self> {
        let (written, ends) = (Arc::default(), Mutex::default());
        Arc::new(Self { link, written, handshake: OnceLock::new(), ends })
    }

    /// The TLS handshake is over.
    pub(super) fn is_ready(&self) {
        let _ = self.handshake.set(self.link.began.elapsed());
    }

    pub(super) fn handshake(&self) -> Duration {
        self.handshake.get().copied().unwrap_or_default()
    }

    /// The answer to this request is written from now on.
    pub(super) fn begin(&self, request: u32) {
        self.ends().insert(request, UNKNOWN);
    }

    /// It ends with what has been written by now.
    pub(super) fn end(&self, request: u32) {
        self.ends().insert(request, self.written());
    }

    /// It does not end, for it could not be written.
    pub(super) fn fail(&self, request: u32) {
        self.ends().remove(&request);
    }

    pub(super) fn is_begun(&self, request: u32) -> bool {
        self.ends().get(&request) == Some(&UNKNOWN)
    }

    /// When the client was sent the whole answer to this request.
    pub(super) fn passed(&self, request: u32) -> Option<Instant> {
        self.link.passed(*self.ends().get(&request)?)
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<u32, u64>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
}

/// Counts what is written to a socket.
pub(super) struct Counted<S> {
    inner: S,
    written: Arc<AtomicU64>,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, wire: &Wire) -> Self {
        Self { inner, written: Arc::clone(&wire.written) }
    }
}

/// Reads along what an HTTP/2 server writes, and notes where its streams end.
pub(super) struct Tap<S> {
    inner: S,
    wire: Arc<Wire>,
    precision: Precision,
    head: Vec<u8>,
    /// Bytes of the frame's payload that are still to come.
    left: usize,
    /// Streams that end in a record of which the socket has not taken all yet.
    buffered: Vec<u32>,
}

/// What is known of where a byte is in the connection.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Precision {
    /// It is written as it is.
    Byte,
    /// It is in a record that is written as a whole.
    Record,
}

impl<S> Tap<S> {
    pub(super) fn new(inner: S, wire: Arc<Wire>, precision: Precision) -> Self {
        Self { inner, wire, precision, head: Vec::new(), left: 0, buffered: Vec::new() }
    }

    /// Reads on, and tells of the streams that end after how many of these bytes they do.
    fn read_along(&mut self, bytes: &[u8]) -> Vec<(u32, usize)> {
        let mut ended = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if self.head.len() < FRAME_HEAD {
                self.head.push(bytes[at]);
                at += 1;
                if self.head.len() < FRAME_HEAD {
                    continue;
                }
                let len = [0, self.head[0], self.head[1], self.head[2]];
                self.left = u32::from_be_bytes(len) as usize;
            }
            let piece = self.left.min(bytes.len() - at);
            self.left -= piece;
            at += piece;
            if self.left == 0 {
                let (kind, flags) = (self.head[3], self.head[4]);
                // With other kinds the flag means something else.
                if [DATA, HEADERS].contains(&kind) && flags & END_STREAM != 0 {
                    let stream = self.head[5..].try_into().expect("four bytes");
                    ended.push((u32::from_be_bytes(stream), at));
                }
                self.head.clear();
            }
        }
        ended
    }
}

impl<S: AsyncWrite + Unpin> Tap<S> {
    /// Waits until the socket has all records in which streams end, and notes where that was.
    fn poll_settle(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut HashMap<u32, u64>,
    ) -> Poll<io::Result<()>> {
        if !self.buffered.is_empty() {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            let end = self.wire.written();
            ends.extend(self.buffered.drain(..).map(|stream| (stream, end)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.written.fetch_add(written as u64, Ordering::Release);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Whoever asks whether an answer has passed waits until it is known where it ends.
        let wire = Arc::clone(&self.wire);
        let mut ends = wire.ends();
        // Nothing more before it is known where the last record ended.
        ready!(self.poll_settle(cx, &mut ends))?;
        let before = wire.written();
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        for (stream, after) in self.read_along(&bytes[..written]) {
            match self.precision {
                Precision::Byte => drop(ends.insert(stream, before + after as u64)),
                Precision::Record => self.buffered.push(stream),
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_settle(cx, &mut ends) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = Arc::clone(&self.wire);
        let mut ends = wire.ends();
        ready!(self.poll_settle(cx, &mut ends))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The end of an answer that has none yet.
const UNKNOWN: u64 = u64::MAX;
const FRAME_HEAD: usize = 9;
