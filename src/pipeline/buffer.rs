//! Where ended spans wait: sharded byte buffers under one budget.
//!
//! [`Intake::push`] is called on the thread that ends the span. It copies the span's bytes into a
//! buffer of that thread's shard, under a lock that no other thread usually wants, and never
//! waits for the network, the disk or the worker. When the budget is used up the span, being the
//! newest, is dropped and counted. Where the oldest are to be dropped instead, the worker does that
//! before the budget is used up.

#[cfg(any(feature = "forward", test))]
mod forward;
mod spare;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use bytes::Bytes;

#[cfg(any(feature = "forward", test))]
pub(crate) use self::forward::Refused;
use self::spare::{Spare, is_tight, with_room};
use super::batch::Chunk;
use super::ledger::{Claim, Ledger, Offered, Stats};
use super::options::WhenFull;
use super::scope::Scope;
use super::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Notify, thread_index, threads};
use super::worker::is_exporter;
use crate::record::clock::Clock;
use crate::record::wire;

/// Sizes of the buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BufferLimits {
    /// Bytes of spans that may wait or be under way in all.
    pub(crate) total_bytes: usize,
    pub(crate) when_full: WhenFull,
    /// Bytes at which a chunk is sealed.
    pub(crate) chunk_bytes: usize,
    /// Spans at which a chunk is sealed.
    pub(crate) chunk_spans: u64,
    /// Bytes of full chunks for which it is worth to make a request at once.
    pub(crate) request_bytes: usize,
    /// Spans of full chunks for which it is.
    pub(crate) request_spans: u64,
    /// Bytes of the largest span that is taken.
    pub(crate) span_bytes: usize,
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self {
            total_bytes: 32 << 20,
            when_full: WhenFull::default(),
            chunk_bytes: 256 << 10,
            chunk_spans: 512,
            request_bytes: 1 << 20,
            request_spans: 2048,
            span_bytes: (4 << 20) - (64 << 10),
        }
    }
}

/// The way into the pipeline, shared by everyone who ends spans.
pub(crate) struct Intake {
    shards: Box<[Mutex<Shard>]>,
    sealed: Mutex<Sealed>,
    /// Told when enough is sealed, or room must be made, or when a chunk is begun that is waited
    /// for.
    wake: Notify,
    /// Whether the worker waits for a chunk to be begun.
    dozing: AtomicBool,
    /// Locked last: no other lock is taken under it.
    spare: Mutex<Spare>,
    ledger: Arc<Ledger>,
    /// Requests that were not recorded although their callers wanted it.
    not_forced: AtomicU64,
    limits: BufferLimits,
    clock: Clock,
}

/// What the worker has not taken yet.
#[derive(Debug, Default)]
struct Sealed {
    chunks: Vec<Chunk>,
    spans: u64,
    bytes: usize,
}

// A shard alone on its cache lines: neighbours in one line would slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    offered: Offered,
    /// Bytes taken of the budget and not used yet, so that the budget, which all threads share,
    /// is not asked for each span.
    credit: usize,
    closed: bool,
    open: Vec<Chunk>,
    /// Whose chunk was full last, and its bytes: the next is likely to have as many, and would be
    /// copied again and again while it grows. Of one scope only, as nobody counts unused room.
    full: Option<(Weak<Scope>, usize)>,
}

impl Intake {
    pub(crate) fn new(limits: BufferLimits) -> Self {
        let shards = threads().next_power_of_two().min(MAX_SHARDS);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            sealed: Mutex::default(),
            wake: Notify::new(),
            dozing: AtomicBool::new(false),
            spare: Mutex::new(Spare::new(most_spare(limits))),
            ledger: Arc::new(Ledger::new(limits.total_bytes)),
            not_forced: AtomicU64::new(0),
            limits,
            clock: Clock::new(),
        }
    }

    /// One that takes nothing, as nobody would send it.
    pub(crate) fn closed() -> Self {
        let intake = Self::new(BufferLimits::default());
        intake.close();
        intake
    }

    /// Bytes of spans that may wait or be under way in all.
    #[cfg(feature = "forward")]
    pub(crate) fn max_bytes(&self) -> usize {
        self.limits.total_bytes
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes one ended span, the bytes of an OTLP `Span`, or counts it as dropped. What an exporter
    /// traces of itself is no span of the service, and is not counted.
    pub(crate) fn push(&self, scope: &Arc<Scope>, span: &[u8]) {
        if is_exporter() {
            return;
        }
        let needed = wire::delimited_len(SPANS, span.len());
        let mut shard = self.shard();
        shard.offered.accepted += 1;
        if shard.closed {
            shard.offered.late += 1;
            return;
        }
        if span.len() > self.limits.span_bytes {
            shard.offered.too_large += 1;
            return;
        }
        if !shard.reserve(&self.ledger, needed) {
            shard.offered.queue_full += 1;
            if self.limits.when_full == WhenFull::DropOldest {
                self.wake.notify_one();
            }
            return;
        }

        let mut index = shard.chunk(scope, self);
        // Sealed before it would grow past its size, so that its buffer never does.
        if !shard.open[index].bytes.is_empty()
            && shard.open[index].bytes.len() + needed > self.limits.chunk_bytes
        {
            self.seal_full(shard.take_full(index, self.limits));
            index = shard.chunk(scope, self);
        }
        let chunk = &mut shard.open[index];
        wire::put_len(&mut chunk.bytes, SPANS, span.len());
        chunk.bytes.extend_from_slice(span);
        chunk.claim.add(needed);
        if chunk.claim.spans() >= self.limits.chunk_spans {
            self.seal_full(shard.take_full(index, self.limits));
        }
    }

    /// Seals whatever is waiting, whatever its size.
    pub(super) fn seal_all(&self) {
        for shard in &self.shards {
            self.seal_shard(&mut lock(shard));
        }
    }

    /// Seals whatever is waiting and takes no more spans.
    pub(super) fn close(&self) {
        self.ledger.close();
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.closed = true;
            self.seal_shard(&mut shard);
        }
    }

    /// The chunks that have been sealed since the last call.
    pub(super) fn take_sealed(&self) -> Vec<Chunk> {
        std::mem::take(&mut *lock(&self.sealed)).chunks
    }

    /// Takes the buffer of a chunk that has gone out, if nobody has part of it any more.
    pub(super) fn recycle(&self, bytes: Bytes) {
        let full = self.limits.chunk_bytes;
        if let Ok(mut bytes) = bytes.try_into_mut()
            // Small ones are for the allocator.
            && (full / 4..=full).contains(&bytes.capacity())
        {
            bytes.clear();
            let refused = lock(&self.spare).put(bytes.into());
            drop(refused);
        }
    }

    /// Lets go of the memory that has not been needed since the last call.
    pub(super) fn tidy(&self) {
        let unused = lock(&self.spare).tidy();
        drop(unused);
    }

    /// A buffer for a chunk that is likely to have so many bytes.
    fn buffer(&self, bytes: usize) -> Vec<u8> {
        let spare = lock(&self.spare).take(bytes);
        spare.unwrap_or_else(|| with_room(bytes, self.limits.chunk_bytes))
    }

    /// Whether nothing waits. Then [`woken`](Self::woken) returns as soon as something does.
    pub(super) fn doze(&self) -> bool {
        // Before the locks: who begins a chunk after one was looked at finds it said.
        self.dozing.store(true, Ordering::Relaxed);
        let is_idle = self.shards.iter().all(|shard| lock(shard).open.is_empty())
            // What was begun before may be full by now, but not enough for a word.
            && lock(&self.sealed).chunks.is_empty();
        if !is_idle {
            self.dozing.store(false, Ordering::Relaxed);
        }
        is_idle
    }

    /// Waits until something has happened since the last call returned: a chunk was sealed ahead of
    /// its time, or full ones make a request, or a chunk was begun after a [`doze`](Self::doze), or
    /// room must be made.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Counts a request that is not recorded although its caller is.
    pub(crate) fn refuse_forced(&self) {
        self.not_forced.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats_and_offered().0
    }

    /// The stats, and what of them was known when the spans ended.
    pub(crate) fn stats_and_offered(&self) -> (Stats, Offered) {
        let mut offered = Offered::default();
        let stats = self.ledger.stats(|| {
            self.shards.iter().for_each(|shard| offered += lock(shard).offered);
            offered
        });
        (Stats { not_forced: self.not_forced.load(Ordering::Relaxed), ..stats }, offered)
    }

    /// Bytes by which the oldest that wait must become less, so that newer ones find room.
    pub(super) fn bytes_short(&self) -> usize {
        match self.limits.when_full {
            WhenFull::DropNewest => 0,
            WhenFull::DropOldest => self.ledger.bytes_short(),
        }
    }

    #[cfg(test)]
    pub(super) fn bytes_used(&self) -> usize {
        self.ledger.bytes_used()
    }

    fn seal_shard(&self, shard: &mut Shard) {
        self.ledger.give_back_bytes(std::mem::take(&mut shard.credit));
        for chunk in shard.open.drain(..) {
            self.seal(chunk);
        }
    }

    fn seal(&self, chunk: Chunk) {
        self.put_sealed(chunk);
        self.wake.notify_one();
    }

    /// Seals a chunk that waits no longer than others of its time, but for a request with others:
    /// each costs the worker and the peer more than the spans of a chunk do.
    fn seal_full(&self, chunk: Chunk) {
        let (spans, bytes) = self.put_sealed(chunk);
        let BufferLimits { chunk_spans, request_spans, chunk_bytes, request_bytes, .. } =
            self.limits;
        // Another one would not fit beside them.
        if spans + chunk_spans > request_spans || bytes + chunk_bytes > request_bytes {
            self.wake.notify_one();
        }
    }

    /// Returns how many spans are sealed now, and their bytes.
    fn put_sealed(&self, mut chunk: Chunk) -> (u64, usize) {
        // Chunks may wait long when the backend is down; the budget counts their bytes, and little
        // more is to be held.
        if !is_tight(&chunk.bytes) {
            chunk.bytes.shrink_to_fit();
        }
        let mut sealed = lock(&self.sealed);
        sealed.spans += chunk.claim.spans();
        sealed.bytes += chunk.bytes.len();
        sealed.chunks.push(chunk);
        (sealed.spans, sealed.bytes)
    }

    fn shard(&self) -> MutexGuard<'_, Shard> {
        lock(&self.shards[thread_index() & (self.shards.len() - 1)])
    }
}

impl fmt::Debug for Intake {
    /// Without the spans, which hold what clients sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Shard {
    fn reserve(&mut self, ledger: &Ledger, bytes: usize) -> bool {
        if self.credit < bytes {
            let missing = bytes - self.credit;
            if ledger.take_bytes(missing.max(CREDIT)) {
                self.credit += missing.max(CREDIT);
            } else if ledger.take_bytes(missing) {
                self.credit += missing;
            } else {
                return false;
            }
        }
        self.credit -= bytes;
        true
    }

    /// The open chunk of this scope. There are as many as scopes in use: a handful.
    fn chunk(&mut self, scope: &Arc<Scope>, intake: &Intake) -> usize {
        let known = self.open.iter().position(|chunk| Arc::ptr_eq(&chunk.scope, scope));
        known.unwrap_or_else(|| {
            let full = self.full.take_if(|(full, _)| full.as_ptr() == Arc::as_ptr(scope));
            let bytes = full.map_or_else(Vec::new, |(_, bytes)| intake.buffer(bytes));
            self.open.push(Chunk::new(scope, &intake.ledger, bytes));
            if intake.dozing.load(Ordering::Relaxed) && intake.dozing.swap(false, Ordering::Relaxed)
            {
                intake.wake.notify_one();
            }
            self.open.len() - 1
        })
    }

    fn take_full(&mut self, index: usize, limits: BufferLimits) -> Chunk {
        let chunk = self.open.swap_remove(index);
        // A single span may be larger than a chunk.
        let bytes = chunk.bytes.len().min(limits.chunk_bytes);
        self.full = Some((Arc::downgrade(&chunk.scope), bytes));
        chunk
    }
}

impl Chunk {
    fn new(scope: &Arc<Scope>, ledger: &Arc<Ledger>, bytes: Vec<u8>) -> Self {
        Self { scope: Arc::clone(scope), bytes, claim: Claim::new(Arc::clone(ledger)) }
    }
}

/// Locks what a panic cannot leave half done: every critical section here only moves values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Together they take no more than a sixteenth of what spans may take.
fn most_spare(limits: BufferLimits) -> usize {
    (limits.total_bytes / 16 / limits.chunk_bytes.max(1)).min(MAX_SPARE)
}

const MAX_SHARDS: usize = 16;
/// Buffers that are kept for later.
const MAX_SPARE: usize = 8;
/// Bytes of the budget that a shard takes at once.
const CREDIT: usize = 16 << 10;
/// Field of an OTLP `ScopeSpans`.
const SPANS: u32 = 2;

#[cfg(test)]
mod tests;
