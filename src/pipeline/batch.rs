//! What is handed to a sink.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use opentelemetry::{Key, KeyValue};

use super::ledger::Claim;
use super::report::warn;
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

/// Chunks of one scope that go out in one request.
#[derive(Debug)]
pub(crate) struct Batch {
    scope: Arc<Scope>,
    /// As it was when the batch was made: all requests that are made of it, and any that are made
    /// once more, tell the same.
    resource: Bytes,
    chunks: Vec<Bytes>,
    len: usize,
    claim: Claim,
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
            // Receivers refuse messages above 4 MiB by default.
            bytes: 4 << 20,
        }
    }
}

impl Batch {
    /// Takes as many chunks off the front of a queue, in which all are of one scope, as fit one
    /// request, at least one, and tells their numbers. `None` when the queue is empty.
    pub(super) fn take(
        queue: &mut VecDeque<(u64, Chunk)>,
        limits: BatchLimits,
    ) -> Option<(Self, Vec<u64>)> {
        let (number, first) = queue.pop_front()?;
        let mut numbers = vec![number];
        let mut batch = Self {
            resource: first.scope.resource.get(),
            scope: first.scope,
            len: first.bytes.len(),
            chunks: vec![first.bytes.into()],
            claim: first.claim,
        };
        // No longer with fewer bytes of spans.
        let room = limits.bytes.saturating_sub(batch.envelope(limits.bytes).len());
        let fits = |batch: &Self, next: &Chunk| {
            batch.spans() + next.claim.spans() <= limits.spans
                && batch.len + next.bytes.len() <= room
        };
        while queue.front().is_some_and(|(_, next)| fits(&batch, next))
            && let Some((number, chunk)) = queue.pop_front()
        {
            numbers.push(number);
            batch.len += chunk.bytes.len();
            batch.chunks.push(chunk.bytes.into());
            batch.claim.absorb(chunk.claim);
        }
        Some((batch, numbers))
    }

    pub(crate) fn spans(&self) -> u64 {
        self.claim.spans()
    }

    /// The whole batch as one OTLP `ExportTraceServiceRequest`, in pieces.
    #[cfg(any(feature = "_client", test))]
    pub(crate) fn request(&self) -> VecDeque<Bytes> {
        let mut pieces = VecDeque::with_capacity(self.chunks.len() + 1);
        pieces.push_back(self.envelope(self.len).into());
        pieces.extend(self.chunks.iter().cloned());
        pieces
    }

    /// Each chunk as a request of its own.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Vec<u8>> {
        self.chunks.iter().map(|chunk| {
            let mut request = self.envelope(chunk.len());
            request.extend_from_slice(chunk);
            request
        })
    }

    pub(super) fn into_claim(self) -> Claim {
        self.claim
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
