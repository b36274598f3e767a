//! What is handed to a sink.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use opentelemetry::{Key, KeyValue};

use super::ledger::Claim;
use super::report::warn;
use crate::record::walk::Fields;
use crate::record::{MAX_RESOURCE, encode_resource, fit_resource, wire};

/// Who made the spans: resource and instrumentation scope, encoded once.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) resource: SharedResource,
    /// Fields of an OTLP `ScopeSpans`, but its `spans`.
    pub(crate) scope: Bytes,
}

/// The resource of all who export in one name. It can be replaced while spans wait, and is looked
/// at when they are put into a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedResource(Arc<Mutex<Bytes>>);

impl SharedResource {
    /// One with these attributes, as far as there is room for them: what does not fit is left out
    /// of them, with a warning.
    pub(crate) fn of(attributes: &mut Vec<KeyValue>, schema_url: &str) -> Self {
        let resource = Self::default();
        resource.set_to(attributes, schema_url);
        resource
    }

    pub(crate) fn set_to(&self, attributes: &mut Vec<KeyValue>, schema_url: &str) {
        let left_out = fit_resource(attributes);
        if !left_out.is_empty() {
            warn(format_args!(
                "resource attributes are left out, because all together would take more than \
                 {MAX_RESOURCE} bytes: {:?}",
                left_out.iter().map(Key::as_str).collect::<Vec<_>>(),
            ));
        }
        self.set(encode_resource(attributes, schema_url));
    }

    /// Takes the fields of an OTLP `ResourceSpans`, but its `scope_spans`.
    #[cfg(test)]
    pub(crate) fn new(encoded: impl Into<Bytes>) -> Self {
        Self(Arc::new(Mutex::new(encoded.into())))
    }

    pub(crate) fn set(&self, encoded: impl Into<Bytes>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = encoded.into();
    }

    pub(crate) fn get(&self) -> Bytes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Encoded spans of one scope, in the order in which they ended.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) scope: Arc<Scope>,
    /// `spans` fields of an OTLP `ScopeSpans`.
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
    /// once more, tell the same.
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
    /// the others, if there are any.
    fn cut(&mut self, bytes: usize, spans: u64) -> Option<Self> {
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
    /// request. Only a span that does not fit any goes out in one that is above the limit, alone.
    /// `None` when the queue is empty.
    pub(super) fn take(
        scope: &Arc<Scope>,
        queue: &mut VecDeque<Part>,
        limits: BatchLimits,
    ) -> Option<Self> {
        let mut first = queue.pop_front()?;
        let mut batch = Self {
            resource: scope.resource.get(),
            scope: Arc::clone(scope),
            parts: VecDeque::new(),
            len: 0,
        };
        // No longer with fewer bytes of spans.
        let room = limits.bytes.saturating_sub(batch.envelope(limits.bytes).len());
        if first.bytes.len() > room || first.claim.spans() > limits.spans {
            first.cut(room, limits.spans).into_iter().for_each(|rest| queue.push_front(rest));
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

    /// Makes two of it, of about the same size. A single span is given back.
    pub(super) fn split(mut self) -> Result<[Self; 2], Self> {
        let half = self.len / 2;
        let rest = if self.parts.len() == 1 {
            match self.parts[0].cut(half, u64::MAX) {
                Some(rest) => VecDeque::from([rest]),
                None => return Err(self),
            }
        } else {
            let mut len = 0;
            let first = self.parts.iter().take_while(|part| {
                let is_first_half = len < half;
                len += part.bytes.len();
                is_first_half
            });
            let first = first.count().clamp(1, self.parts.len() - 1);
            self.parts.split_off(first)
        };
        let len = rest.iter().map(|part| part.bytes.len()).sum();
        self.len -= len;
        let (scope, resource) = (Arc::clone(&self.scope), self.resource.clone());
        Ok([self, Self { scope, resource, parts: rest, len }])
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
        pieces.push_back(self.envelope(self.len).into());
        pieces.extend(self.parts.iter().map(|part| part.bytes.clone()));
        pieces
    }

    /// The spans of each chunk as a request of their own.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Vec<u8>> {
        self.parts.iter().map(|part| {
            let mut request = self.envelope(part.bytes.len());
            request.extend_from_slice(&part.bytes);
            request
        })
    }

    /// The claims of all its spans.
    pub(super) fn into_claims(self) -> impl Iterator<Item = Claim> {
        self.parts.into_iter().map(|part| part.claim)
    }

    /// Everything of a request that stands before `len` bytes of spans.
    fn envelope(&self, len: usize) -> Vec<u8> {
        let (resource, scope) = (&self.resource, &self.scope.scope);
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

/// Field of an OTLP `ExportTraceServiceRequest`.
const RESOURCE_SPANS: u32 = 1;
/// Field of an OTLP `ResourceSpans`.
const SCOPE_SPANS: u32 = 2;
