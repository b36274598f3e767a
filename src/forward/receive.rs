//! Reading what a sender sends, and holding no more of it than it may.
//!
//! Memory is taken as bytes arrive, and never because somebody says how many there will be.

use std::io::{self, BufRead, ErrorKind, Read};
use std::pin::pin;

use bytes::Buf;
use flate2::bufread::MultiGzDecoder;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::yield_now;

use super::accounts::{Held, Visit};
use super::refusal::Refusal;

/// Bytes of a sender's, counted as such.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Vec<u8>,
    held: Held,
    most: usize,
}

/// The one message of a unary gRPC call.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) is_compressed: bool,
    pub(super) bytes: Received,
}

impl Received {
    pub(super) fn new(visit: &Visit) -> Self {
        Self { bytes: Vec::new(), held: visit.hold(), most: visit.limits().message_bytes }
    }

    /// Of bytes that were made of others: so many more are held before they are.
    pub(super) fn made(
        visit: &Visit,
        at_most: usize,
        make: impl FnOnce() -> Result<Vec<u8>, Refusal>,
    ) -> Result<Self, Refusal> {
        let mut made = Self::new(visit);
        made.held.grow(at_most)?;
        made.bytes = make()?;
        made.bytes.shrink_to_fit();
        let capacity = made.bytes.capacity();
        made.held.grow(capacity.saturating_sub(at_most))?;
        made.held.shrink_to(capacity);
        Ok(made)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let len = self.bytes.len() + bytes.len();
        if len > self.most {
            return Err(too_large(self.most));
        }
        if len > self.bytes.capacity() {
            let capacity = (self.bytes.capacity() * 2).clamp(len, self.most);
            self.held.grow(capacity - self.bytes.capacity())?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// All has come: room for more is let go.
    fn complete(mut self) -> Self {
        self.bytes.shrink_to_fit();
        self.held.shrink_to(self.bytes.capacity());
        self
    }
}

/// Reads a whole body.
pub(super) async fn body<B: Body>(body: B, visit: &Visit) -> Result<Received, Refusal> {
    let mut received = Received::new(visit);
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(unreadable()) };
        let Ok(mut data) = frame.into_data() else { continue };
        while data.has_remaining() {
            let chunk = data.chunk();
            let len = chunk.len();
            received.push(chunk)?;
            data.advance(len);
        }
    }
    Ok(received.complete())
}

/// Reads a body that is one message of gRPC.
pub(super) async fn message<B: Body>(body: B, visit: &Visit) -> Result<Message, Refusal> {
    let mut head = Head::default();
    let mut received = Received::new(visit);
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(unreadable()) };
        let Ok(mut data) = frame.into_data() else { break };
        while data.has_remaining() {
            let chunk = data.chunk();
            let taken = match head.length(received.most)? {
                None => head.fill(chunk),
                Some(len) => {
                    let taken = chunk.len().min(len - received.bytes.len());
                    received.push(&chunk[..taken])?;
                    taken
                }
            };
            if taken == 0 {
                return Err(Refusal::Invalid("there is more than one message".into()));
            }
            data.advance(taken);
        }
        // Before the next bytes come: what is too long by its own account is not waited for.
        head.length(received.most)?;
    }
    match head.length(received.most)? {
        Some(len) if len == received.bytes.len() => {
            Ok(Message { is_compressed: head.bytes[0] == 1, bytes: received.complete() })
        }
        _ => Err(Refusal::Invalid("the message ends too early".into())),
    }
}

/// What gzip makes of a message. It goes slice by slice: megabytes may have nothing in them, and
/// others must have their turn, among them whoever looks at the clock.
pub(super) async fn gunzip(packed: &Received, visit: &Visit) -> Result<Received, Refusal> {
    let mut received = Received::new(visit);
    let mut decoder = MultiGzDecoder::new(Slices { rest: packed.bytes(), left: 0 });
    let mut chunk = [0; SLICE];
    loop {
        match decoder.read(&mut chunk) {
            Ok(0) => return Ok(received.complete()),
            Ok(len) => received.push(&chunk[..len])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                yield_now().await;
                decoder.get_mut().left = SLICE;
            }
            Err(_) => return Err(Refusal::Invalid("the message is not valid gzip".into())),
        }
    }
}

/// Bytes that are handed out up to a slice, and then no more until the next one is allowed.
#[derive(Debug)]
struct Slices<'a> {
    rest: &'a [u8],
    left: usize,
}

impl BufRead for Slices<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 && !self.rest.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.rest[..self.left.min(self.rest.len())])
    }

    fn consume(&mut self, len: usize) {
        self.rest = &self.rest[len..];
        self.left -= len;
    }
}

impl Read for Slices<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(into)?;
        self.consume(len);
        Ok(len)
    }
}

/// The head of a gRPC message: whether it is compressed, and its length.
#[derive(Debug, Default)]
struct Head {
    bytes: [u8; 5],
    len: usize,
}

impl Head {
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        taken
    }

    /// The length of the message, once it is known.
    fn length(&self, most: usize) -> Result<Option<usize>, Refusal> {
        if self.len < self.bytes.len() {
            return Ok(None);
        }
        let [flag, length @ ..] = self.bytes;
        if flag > 1 {
            return Err(Refusal::Invalid("the head of the message is malformed".into()));
        }
        match usize::try_from(u32::from_be_bytes(length)) {
            Ok(len) if len <= most => Ok(Some(len)),
            _ => Err(too_large(most)),
        }
    }
}

pub(super) fn too_large(most: usize) -> Refusal {
    Refusal::TooLarge(format!("the limit is {most} bytes").into())
}

/// Its sender has gone, or what it sends is not as it says.
fn unreadable() -> Refusal {
    Refusal::Invalid("the body cannot be read".into())
}

/// Bytes that are decompressed at a time.
const SLICE: usize = 8 << 10;

#[cfg(test)]
mod tests;
