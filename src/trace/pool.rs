//! Span buffers that wait to be used again, a few for each thread. Boxed, so that one moves by its
//! address: it goes from hand to hand several times in its life.

use std::cell::RefCell;

use crate::record::SpanBuffer;

pub(super) fn take() -> Box<SpanBuffer> {
    let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
    pooled.unwrap_or_else(|| Box::new(SpanBuffer::with_room(USUAL)))
}

/// Keeps the buffer, unless it has grown large or there are enough.
pub(super) fn give_back(buffer: Box<SpanBuffer>) {
    if buffer.capacity() <= MAX_CAPACITY {
        // Fails only while the thread is being torn down: then the buffer goes, too.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < MAX_POOLED {
                pool.push(buffer);
            }
        });
    }
}

thread_local! {
    #[expect(clippy::vec_box, reason = "a box is taken out and put back as it is")]
    static POOL: RefCell<Vec<Box<SpanBuffer>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers for one thread. More requests than this may be under way; they allocate.
const MAX_POOLED: usize = 128;
/// Bytes of a buffer that is kept: a few doublings of the usual, and a name.
const MAX_CAPACITY: usize = (4 << 10) + USUAL;
/// Bytes of most spans: a buffer that doubles until it has so many is moved again and again.
const USUAL: usize = 512;
