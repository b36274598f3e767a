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

    pub(in crate::pipeline) use tokio::sync::Notify;

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
    use std::future::pending;
    use std::sync::atomic::Ordering;

    pub(in crate::pipeline) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    pub(in crate::pipeline) use loom::sync::{Mutex, MutexGuard};

    /// Enough for threads that share a shard and for threads that do not.
    pub(in crate::pipeline) fn threads() -> usize {
        2
    }

    /// tokio's, for one who waits.
    #[derive(Debug)]
    pub(in crate::pipeline) struct Notify {
        told: AtomicBool,
    }

    impl Notify {
        pub(in crate::pipeline) fn new() -> Self {
            Self { told: AtomicBool::new(false) }
        }

        pub(in crate::pipeline) fn notify_one(&self) {
            self.told.swap(true, Ordering::AcqRel);
        }

        /// Goes on when told before; models do not wait for it.
        pub(in crate::pipeline) async fn notified(&self) {
            if !self.told.swap(false, Ordering::AcqRel) {
                pending().await
            }
        }
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
