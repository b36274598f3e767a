//! Counts what the calling thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

pub(crate) struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

fn count(bytes: usize) {
    // A thread that ends may allocate after its counter is gone.
    let _ = ALLOCATIONS.try_with(|counted| {
        let (allocations, total) = counted.get();
        counted.set((allocations + 1, total + bytes as u64));
    });
}

/// Allocations and bytes of one call on this thread, in the steady state.
pub(crate) fn per_call(mut call: impl FnMut()) -> (f64, f64) {
    const WARM_UP: u64 = 1_000;
    const CALLS: u64 = 10_000;
    (0..WARM_UP).for_each(|_| call());
    let before = ALLOCATIONS.get();
    (0..CALLS).for_each(|_| call());
    let after = ALLOCATIONS.get();
    let mean = |before: u64, after: u64| (after - before) as f64 / CALLS as f64;
    (mean(before.0, after.0), mean(before.1, after.1))
}
