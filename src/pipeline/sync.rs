//! What threads share in the pipeline: locks and counters of std, or those of loom, which try every
//! order in which threads can come to them.

#[cfg(all(test, tower_otlp_loom))]
pub(super) use self::modelled::*;
#[cfg(not(all(test, tower_otlp_loom)))]
pub(super) use self::real::*;

#[cfg(not(all(test, tower_otlp_loom)))]
mod real {
    use std::sync::atomic::Ordering;
    pub(in crate::pipeline) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    pub(in crate::pipeline) use std::sync::{Mutex, MutexGuard};
    use std::thread;

    /// How many threads may run at once.
    pub(in crate::pipeline) fn threads() -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    /// A number of this thread; threads get successive ones, so that few share a shard.
    pub(in crate::pipeline) fn thread_index() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        // A span may end while its thread is being torn down: any shard will do then.
        INDEX.try_with(|index| *index).unwrap_or(0)
    }
}

#[cfg(all(test, tower_otlp_loom))]
mod modelled {
    use std::cell::Cell;

    pub(in crate::pipeline) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    pub(in crate::pipeline) use loom::sync::{Mutex, MutexGuard};

    /// Enough for threads that share a shard and for threads that do not.
    pub(in crate::pipeline) fn threads() -> usize {
        2
    }

    pub(in crate::pipeline) fn thread_index() -> usize {
        INDEX.with(Cell::get)
    }

    /// A model says which shard a thread has, as every run of it must be the same.
    pub(in crate::pipeline) fn set_thread_index(index: usize) {
        INDEX.with(|cell| cell.set(index));
    }

    loom::thread_local! {
        static INDEX: Cell<usize> = Cell::new(0);
    }
}
