//! New trace and span ids.
//!
//! They have to be unique, and a trace id's last seven bytes uniformly random, because that is
//! what the random flag promises. They need not be secret: a trace id is shown to everyone it
//! passes. So a small fast generator per thread does, seeded from the operating system with 256
//! bits (128 on 32-bit machines), enough that threads and processes do not meet.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::{NonZeroU64, NonZeroU128};
use std::time::SystemTime;

use opentelemetry::trace::{SpanId, TraceId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// An id for a trace that starts here; its random flag may be set. Never zero.
pub(crate) fn new_trace_id() -> TraceId {
    TraceId::from(draw(SmallRng::random::<NonZeroU128>).get())
}

/// Ids for a trace that starts here and for its first span.
pub(crate) fn new_root() -> (TraceId, SpanId) {
    let (trace, span): (NonZeroU128, NonZeroU64) =
        draw(|generator| (generator.random(), generator.random()));
    (TraceId::from(trace.get()), SpanId::from(span.get()))
}

/// An id for a span. Never zero.
pub(crate) fn new_span_id() -> SpanId {
    SpanId::from(draw(SmallRng::random::<NonZeroU64>).get())
}

thread_local! {
    static GENERATOR: RefCell<SmallRng> = RefCell::new(seeded());
}

fn draw<T>(one: impl Fn(&mut SmallRng) -> T) -> T {
    GENERATOR
        .try_with(|generator| one(&mut generator.borrow_mut()))
        // Spans may still end while a thread's locals are destroyed.
        .unwrap_or_else(|_| one(&mut seeded()))
}

fn seeded() -> SmallRng {
    SmallRng::try_from_os_rng().unwrap_or_else(|_| {
        // Where the operating system denies us randomness (a strict sandbox), the keys that the
        // standard library hashes with and the clock must do: poor ids are better than a panic.
        SmallRng::seed_from_u64(RandomState::new().hash_one(SystemTime::now()))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn ids_do_not_repeat_within_or_across_threads() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(|| {
                    let ids = (0..1000).map(|_| (new_trace_id().to_bytes(), new_span_id()));
                    ids.collect::<Vec<_>>()
                })
            })
            .collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();

        assert_eq!(ids.iter().map(|(trace, _)| trace).collect::<HashSet<_>>().len(), 4000);
        assert_eq!(ids.iter().map(|(_, span)| span).collect::<HashSet<_>>().len(), 4000);
    }

    #[test]
    fn every_bit_of_a_trace_id_is_set_about_half_of_the_time() {
        let mut set = [0_u32; 128];
        for _ in 0..4096 {
            let id = u128::from_be_bytes(new_trace_id().to_bytes());
            for (bit, count) in set.iter_mut().enumerate() {
                *count += u32::from(id >> bit & 1 == 1);
            }
        }
        // Eight standard deviations: a fair bit is outside about once in 10^15 runs.
        for (bit, count) in set.into_iter().enumerate() {
            assert!(count.abs_diff(2048) < 256, "bit {bit} was set {count} times of 4096");
        }
    }

    #[test]
    fn a_thread_at_its_end_still_gets_ids() {
        struct DrawsOnDrop;
        impl Drop for DrawsOnDrop {
            fn drop(&mut self) {
                assert_ne!(new_trace_id(), TraceId::INVALID);
                assert_ne!(new_span_id(), SpanId::INVALID);
            }
        }
        thread_local!(static LATE: DrawsOnDrop = const { DrawsOnDrop });

        thread::spawn(|| {
            LATE.with(|_| ());
            new_trace_id()
        })
        .join()
        .unwrap();
    }
}
