//! Counts what the calling thread allocates, while that is asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Counting;

/// Off, so that what takes long is not the counting.
static ON: AtomicBool = AtomicBool::new(false);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[inline]
fn count() {
    if ON.load(Ordering::Relaxed) {
        // A thread that ends may allocate after its counter is gone.
        let _ = ALLOCATIONS.try_with(|counted| counted.set(counted.get() + 1));
    }
}

/// What this thread allocates in the meantime.
pub(crate) fn of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    ON.store(true, Ordering::Relaxed);
    work();
    ON.store(false, Ordering::Relaxed);
    ALLOCATIONS.get() - before
}
