//! What is handed to a sink.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::ledger::Claim;
use super::scope::Scope;
use crate::record::walk::Fields;
use crate::record::{split, wire};

/// Encoded spans of one scope, in the order in which they ended or came.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) scope: Arc<Scope>,
    /// `spans` fields of an OTLP `ScopeSpans`; of others, fields of an `ExportTraceServiceRequest`.
    pub(super) bytes: Vec<u8>,
    pub(super) claim: Claim,
}

/// Spans of one [`Chunk`], once it is sealed: all of them, or those that fit a request.
#[derive(Debug)]
pub(super) struct Part {
    /// That of the chunk. Chunks are numbered as they come.
    pub(super) number: u64,
    pub(super) bytes: Bytes,
    pub(super) claim: Claim,
}

/// Spans of one scope that go out in one request.
#[derive(Debug)]
pub(crate) struct Batch {
    scope: Arc<Scope>,
    /// As it was when the batch was made: all requests that are made of it, and any that are made
    /// once more, tell the same. Empty for spans of others.
    resource: Bytes,
    /// At least one, the oldest first.
    parts: VecDeque<Part>,
    /// Bytes of spans.
    len: usize,
}

/// Most that one request carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    pub(crate) spans: u64,
    /// With what stands before the spans.
    pub(crate) bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            spans: 4096,
            // Receivers refuse messages above 4 MiB by default. The rest is for what one chunk, which
            // always goes, may have around it.
            bytes: (4 << 20) - (64 << 10),
        }
    }
}

impl Part {
    /// Keeps as many spans of the front as stay within these limits, but at least one, and returns
    /// the others, if there are any. It may take more than one cut until the limits are kept.
    fn cut(&mut self, scope: &Scope, bytes: usize, spans: u64) -> Option<Self> {
        match scope {
            Scope::Ours { .. } => self.cut_spans(bytes, spans),
            // What is cut is copied. With one request after the other cut off, the rest would be copied
            // for each of them; with halves, in which about so many fit, all is copied a few times.
            Scope::Others { .. } => {
                let (bytes, spans) = (bytes.max(1), spans.max(1));
                let half_bytes = (self.bytes.len() / 2).next_multiple_of(bytes);
                let half_spans = (self.claim.spans() / 2).next_multiple_of(spans);
                self.cut_request(bytes.max(half_bytes), spans.max(half_spans))
            }
        }
    }

    /// Keeps about half of the spans, and returns the others. `None` when they cannot be parted.
    fn halve(&mut self, scope: &Scope) -> Option<Self> {
        match scope {
            Scope::Ours { .. } => self.cut_spans(self.bytes.len() / 2, u64::MAX),
            Scope::Others { .. } => self.cut_request(usize::MAX, self.claim.spans() / 2),
        }
    }

    /// What both sides have of a request that is cut is in the budget once. It is little, or small
    /// beside what is cut.
    fn cut_request(&mut self, bytes: usize, spans: u64) -> Option<Self> {
        let split::Halves { first, spans, rest } = split::cut(&self.bytes, bytes, spans)?;
        let claim = self.claim.split_off(spans, first.len());
        self.bytes = first.into();
        Some(Self { number: self.number, bytes: rest.into(), claim })
    }

    fn cut_spans(&mut self, bytes: usize, spans: u64) -> Option<Self> {
        let mut fields = Fields::new(&self.bytes);
        let (mut kept, mut count) = (0, 0);
        while count < spans.max(1) && fields.next()?.is_ok() {
            let end = self.bytes.len() - fields.remaining();
            if count > 0 && end > bytes {
                break;
            }
            (kept, count) = (end, count + 1);
        }
        if kept == 0 || kept == self.bytes.len() {
            return None;
        }
        let rest = self.claim.split_off(count, kept);
        let claim = std::mem::replace(&mut self.claim, rest);
        let bytes = self.bytes.split_to(kept);
        let rest = std::mem::replace(self, Self { number: self.number, bytes, claim });
        Some(rest)
    }
}

impl Batch {
    /// Takes as many spans off the front of a queue, in which all are of one scope, as fit one
    /// request. Only what does not fit any goes out in one that is above the limit, alone: a span, or
    /// some of others that cannot be parted. `None` when the queue is empty.
    pub(super) fn take(
        scope: &Arc<Scope>,
        queue: &mut VecDeque<Part>,
        limits: BatchLimits,
    ) -> Option<Self> {
        let mut first = queue.pop_front()?;
        let mut batch = Self {
            resource: scope.resource(),
            scope: Arc::clone(scope),
            parts: VecDeque::new(),
            len: 0,
        };
        // No longer with fewer bytes of spans.
        let room = limits.bytes.saturating_sub(batch.envelope(limits.bytes).len());
        while (first.bytes.len() > room || first.claim.spans() > limits.spans)
            && let Some(rest) = first.cut(scope, room, limits.spans)
        {
            queue.push_front(rest);
        }
        let mut spans = first.claim.spans();
        batch.push(first);
        let fits = |next: &Part, spans, len| {
            spans + next.claim.spans() <= limits.spans && len + next.bytes.len() <= room
        };
        while queue.front().is_some_and(|next| fits(next, spans, batch.len))
            && let Some(next) = queue.pop_front()
        {
            spans += next.claim.spans();
            batch.push(next);
        }
        Some(batch)
    }

    /// Makes two of it, of about the same size. What cannot be parted is given back.
    pub(super) fn split(mut self) -> Result<[Self; 2], Self> {
        let rest = if self.parts.len() == 1 {
            match self.parts[0].halve(&self.scope) {
                Some(rest) => VecDeque::from([rest]),
                None => return Err(self),
            }
        } else {
            let half = self.len / 2;
            let mut len = 0;
            let first = self.parts.iter().take_while(|part| {
                let is_first_half = len < half;
                len += part.bytes.len();
                is_first_half
            });
            let first = first.count().clamp(1, self.parts.len() - 1);
            self.parts.split_off(first)
        };
        let (scope, resource) = (Arc::clone(&self.scope), self.resource.clone());
        let len = bytes_of(&rest);
        self.len = bytes_of(&self.parts);
        Ok([self, Self { scope, resource, parts: rest, len }])
    }

    /// Whether its spans are not of this program.
    pub(super) fn is_others(&self) -> bool {
        self.scope.is_others()
    }

    /// The number of its oldest chunk.
    pub(super) fn oldest(&self) -> u64 {
        self.parts.front().map_or(u64::MAX, |part| part.number)
    }

    /// The numbers of its chunks.
    #[cfg(test)]
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.parts.iter().map(|part| part.number).collect()
    }

    /// Bytes of its spans.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn spans(&self) -> u64 {
        self.parts.iter().map(|part| part.claim.spans()).sum()
    }

    fn push(&mut self, part: Part) {
        self.len += part.bytes.len();
        self.parts.push_back(part);
    }

    /// The whole batch as one OTLP `ExportTraceServiceRequest`, in pieces.
    #[cfg(any(feature = "_requests", test))]
    pub(crate) fn request(&self) -> VecDeque<Bytes> {
        let mut pieces = VecDeque::with_capacity(self.parts.len() + 1);
        if let Scope::Ours { .. } = *self.scope {
            pieces.push_back(self.envelope(self.len).into());
        }
        pieces.extend(self.parts.iter().map(|part| part.bytes.clone()));
        pieces
    }

    /// Through which forwarders its spans have come.
    #[cfg_attr(
        not(any(feature = "_requests", test)),
        expect(dead_code, reason = "only a peer is told")
    )]
    pub(crate) fn via(&self) -> Option<Bytes> {
        self.scope.via()
    }

    /// The spans of each chunk as a request of their own.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Vec<u8>> {
        self.parts.iter().map(|part| {
            let mut request = self.envelope(part.bytes.len());
            request.extend_from_slice(&part.bytes);
            request
        })
    }

    /// Its spans, chunk by chunk.
    pub(super) fn into_parts(self) -> impl Iterator<Item = Part> {
        self.parts.into_iter()
    }

    /// The claims of all its spans.
    pub(super) fn into_claims(self) -> impl Iterator<Item = Claim> {
        self.into_parts().map(|part| part.claim)
    }

    /// Everything of a request that stands before `len` bytes of spans. Nothing where they are of
    /// others.
    fn envelope(&self, len: usize) -> Vec<u8> {
        let Scope::Ours { scope, .. } = &*self.scope else { return Vec::new() };
        let resource = &self.resource;
        let scope_len = scope.len() + len;
        let resource_len = resource.len() + wire::delimited_len(SCOPE_SPANS, scope_len);
        let mut out = Vec::with_capacity(resource.len() + scope.len() + 24);
        wire::put_len(&mut out, RESOURCE_SPANS, resource_len);
        out.extend_from_slice(resource);
        wire::put_len(&mut out, SCOPE_SPANS, scope_len);
        out.extend_from_slice(scope);
        out
    }
}

fn bytes_of(parts: &VecDeque<Part>) -> usize {
    parts.iter().map(|part| part.bytes.len()).sum()
}

/// Field of an OTLP `ExportTraceServiceRequest`.
const RESOURCE_SPANS: u32 = 1;
/// Field of an OTLP `ResourceSpans`.
const SCOPE_SPANS: u32 = 2;
