//! Threads that push, settle, flush, close and count at once, in one order after the other.
//!
//! Each model is one small race of two or three threads. loom runs it again and again, each time in
//! another order, and with what a processor may make of it. The locks and counters of buffers and
//! ledger are loom's then, and tests of other modules would fail:
//!
//! ```text
//! RUSTFLAGS='--cfg tower_otlp_loom' cargo test --lib --no-default-features pipeline::models
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use loom::model::Builder;
use loom::thread;

use super::batch::Chunk;
use super::buffer::{BufferLimits, Intake, Refused};
use super::ledger::{Claim, Stats};
use super::options::WhenFull;
use super::receipt::{Receipt, Settled};
use super::scope::Scope;
use super::sync::{AtomicU64, set_thread_index};

#[test]
fn every_moment_shows_each_span_in_one_place() {
    // Whether both threads push into the same shard.
    for shards in [[0, 0], [0, 1]] {
        explore(move || {
            let pipeline = Model::new(BufferLimits { chunk_spans: 1, ..limits() });
            let pusher = pipeline.spawn(shards[0], |model| model.push());
            let worker = pipeline.spawn(shards[1], |model| {
                model.push();
                model.settle_sealed(|claim| claim.deliver(0));
            });

            let before = pipeline.stats();
            let after = pipeline.stats();
            assert!(before.accepted <= after.accepted, "{before:?} {after:?}");
            assert!(before.delivered <= after.delivered, "{before:?} {after:?}");
            pusher.join().unwrap();
            worker.join().unwrap();
            let stats = pipeline.stats();
            assert_eq!(stats.accepted, 2);
            assert!(stats.delivered >= 1, "what the worker itself had sealed: {stats:?}");
        });
    }
}

#[test]
fn every_moment_shows_each_span_in_one_place_however_it_is_settled() {
    let ways: [fn(Claim); 5] = [
        |mut claim| {
            let rest = claim.split_off(1, LEN);
            claim.deliver(1);
            rest.fail();
        },
        Claim::exhaust,
        Claim::refuse_as_too_large,
        Claim::evict,
        drop,
    ];
    for way in ways {
        explore(move || {
            let pipeline = Model::new(BufferLimits { span_bytes: SPAN.len(), ..limits() });
            let pusher = pipeline.spawn(0, |model| {
                model.push();
                model.intake.push(&model.scope, &[0; SPAN.len() + 1]);
                model.push();
            });
            let worker = pipeline.spawn(1, move |model| {
                model.intake.seal_all();
                model.settle_sealed(way);
            });
            pipeline.stats();
            pusher.join().unwrap();
            worker.join().unwrap();
            pipeline.intake.seal_all();
            pipeline.settle_sealed(way);
            let stats = pipeline.stats();
            assert_eq!((stats.accepted, stats.pending), (3, 0));
            assert_eq!(pipeline.intake.bytes_used(), 0);
        });
    }
}

#[test]
fn a_span_that_ends_during_the_shutdown_is_sealed_or_late() {
    for shards in [[0, 0], [0, 1]] {
        explore(move || {
            let pipeline = Model::new(limits());
            let pushers = shards.map(|shard| pipeline.spawn(shard, |model| model.push()));
            // As the worker ends.
            pipeline.intake.close();
            let sealed: u64 = pipeline.settle_sealed(|claim| claim.deliver(0));
            let last = pipeline.stats();
            assert_eq!(last.pending, 0, "nothing comes after the shutdown but late ones: {last:?}");

            for pusher in pushers {
                pusher.join().unwrap();
            }
            assert_eq!(pipeline.intake.take_sealed().len(), 0, "nobody would take it any more");
            let stats = pipeline.stats();
            assert_eq!((stats.accepted, stats.delivered, stats.pending), (2, sealed, 0));
            assert_eq!(stats.dropped.shutdown, 2 - sealed, "{stats:?}");
            assert_eq!(pipeline.intake.bytes_used(), 0);
        });
    }
}

#[test]
fn a_request_that_is_forwarded_during_the_shutdown_is_sealed_or_refused() {
    for shards in [[0, 0], [0, 1]] {
        explore(move || {
            let pipeline = Model::new(limits());
            let told = Arc::new(AtomicU64::new(0));
            let senders = shards.map(|shard| {
                let told = Arc::clone(&told);
                pipeline.spawn(shard, move |model| model.forward(&told).is_ok())
            });
            // As the worker ends.
            pipeline.intake.close();
            let sealed = pipeline.settle_sealed(|claim| claim.deliver(0));
            assert_eq!(pipeline.stats().pending, 0, "nothing comes after the shutdown");

            let taken = senders.map(|sender| u64::from(sender.join().unwrap()) * 2);
            let taken = taken.iter().sum();
            assert_eq!(pipeline.intake.take_sealed().len(), 0, "nobody would take it any more");
            let stats = pipeline.stats();
            assert_eq!((stats.accepted, stats.delivered, sealed), (taken, taken, taken));
            assert_eq!(told.load(Ordering::Acquire), taken, "and those who were taken are told");
            assert_eq!(pipeline.intake.bytes_used(), 0);
        });
    }
}

#[test]
fn a_sender_is_told_once_and_after_all_has_been_counted_wherever_the_halves_are_settled() {
    explore(|| {
        let pipeline = Model::new(limits());
        let told = Arc::new(AtomicU64::new(0));
        pipeline.forward(&told).unwrap();
        let mut claim = pipeline.intake.take_sealed().pop().unwrap().claim;
        let rest = claim.split_off(1, LEN);
        let other = pipeline.spawn(1, |_| rest.deliver(1));
        pipeline.stats();
        claim.deliver(0);
        let before = told.load(Ordering::Acquire);
        let stats = pipeline.stats();
        assert!(before == 0 || before == 2 && stats.pending == 0, "{before} of {stats:?}");
        other.join().unwrap();
        assert_eq!(told.load(Ordering::Acquire), 2);
        assert_eq!(pipeline.intake.bytes_used(), 0);
    });
}

#[test]
fn the_budget_is_never_exceeded_and_all_of_it_comes_back() {
    // Room for two spans, and for one and the bytes that a shard takes in advance.
    for total_bytes in [2 * LEN, 16 * 1024 + LEN] {
        explore(move || {
            let pipeline = Model::new(BufferLimits { total_bytes, ..limits() });
            let used = move |model: &Model| {
                let used = model.intake.bytes_used();
                assert!(used <= total_bytes, "{used} bytes of {total_bytes}");
            };
            let pushers = [0, 1].map(|shard| {
                pipeline.spawn(shard, move |model| {
                    (0..=shard).for_each(|_| model.push());
                    used(model);
                })
            });
            pipeline.intake.seal_all();
            pipeline.settle_sealed(|claim| claim.deliver(0));
            used(&pipeline);
            for pusher in pushers {
                pusher.join().unwrap();
            }
            let waiting = pipeline.stats().pending as usize * LEN;
            assert!(waiting <= pipeline.intake.bytes_used(), "each that waits has its bytes");
            pipeline.intake.seal_all();
            assert_eq!(pipeline.intake.bytes_used(), waiting, "and no others are held");
            pipeline.settle_sealed(|claim| claim.deliver(0));
            assert_eq!(pipeline.intake.bytes_used(), 0);
            assert_eq!(pipeline.stats().pending, 0);
        });
    }
}

#[test]
fn a_flush_finds_everything_that_was_pushed_before_it() {
    for shards in [[0, 0], [0, 1]] {
        explore(move || {
            // The second span of a shard seals the first one with it.
            let pipeline = Model::new(BufferLimits { chunk_spans: 2, ..limits() });
            let other = pipeline.spawn(shards[0], |model| model.push());
            let flusher = pipeline.spawn(shards[1], |model| {
                model.intake.push(&model.scope, MINE);
                // The worker does this, on its own thread: the command takes the push along.
                model.intake.seal_all();
                model.intake.take_sealed()
            });
            let found = flusher.join().unwrap();
            assert!(found.iter().any(has_mine), "{found:?}");
            other.join().unwrap();
            pipeline.intake.seal_all();
            let later = pipeline.intake.take_sealed();
            let spans = found.iter().chain(&later).map(|chunk| chunk.claim.spans());
            assert_eq!(spans.sum::<u64>(), 2, "and no span is found twice");
        });
    }
}

#[test]
fn the_oldest_make_room_when_it_runs_short() {
    explore(|| {
        let pipeline = Model::new(BufferLimits {
            total_bytes: 2 * LEN,
            when_full: WhenFull::DropOldest,
            chunk_spans: 1,
            request_spans: 1,
            ..limits()
        });
        let pushers = [0, 1].map(|shard| {
            pipeline.spawn(shard, move |model| (0..=shard).for_each(|_| model.push()))
        });
        // The worker, whenever it is woken.
        let mut waiting = VecDeque::new();
        let mut evicted = 0;
        let mut pass = || {
            waiting.extend(pipeline.intake.take_sealed());
            while pipeline.intake.bytes_short() > 0
                && let Some(Chunk { claim, .. }) = waiting.pop_front()
            {
                evicted += claim.spans();
                claim.evict();
            }
        };
        if pipeline.is_woken() {
            pass();
        }
        for pusher in pushers {
            pusher.join().unwrap();
        }
        while pipeline.is_woken() {
            pass();
        }

        assert_eq!(pipeline.intake.bytes_short(), 0, "there is room again");
        let waits: u64 = waiting.iter().map(|chunk| chunk.claim.spans()).sum();
        let stats = pipeline.stats();
        assert_eq!((stats.accepted, stats.pending), (3, waits));
        assert!(stats.dropped.queue_full >= evicted && evicted <= 2, "{evicted} of {stats:?}");
        assert_eq!(pipeline.intake.bytes_used(), waits as usize * LEN);
    });
}

#[test]
fn no_sealed_chunk_is_left_without_a_word_to_the_worker() {
    explore(|| {
        let limits = BufferLimits { chunk_spans: 1, request_spans: 1, ..limits() };
        let pipeline = Model::new(limits);
        let pushers = [0, 1].map(|shard| pipeline.spawn(shard, |model| model.push()));
        let mut taken = 0;
        if pipeline.is_woken() {
            taken += pipeline.settle_sealed(|claim| claim.deliver(0));
        }
        for pusher in pushers {
            pusher.join().unwrap();
        }
        while pipeline.is_woken() {
            taken += pipeline.settle_sealed(|claim| claim.deliver(0));
        }
        assert_eq!(taken, 2, "nobody calls again");
    });
}

#[test]
fn a_worker_that_dozes_hears_of_what_it_did_not_see() {
    // Spans that fill a chunk, which is never enough for a request.
    for chunk_spans in [1, 2] {
        explore(move || {
            let pipeline = Model::new(BufferLimits { chunk_spans, ..limits() });
            let pushers = [0, 1].map(|shard| pipeline.spawn(shard, |model| model.push()));
            let dozes = pipeline.intake.doze();
            for pusher in pushers {
                pusher.join().unwrap();
            }
            assert!(!dozes || pipeline.is_woken(), "nothing waits, it thought");
        });
    }
}

/// Runs a model in every order with up to three switches between threads that could have gone on.
/// `LOOM_MAX_PREEMPTIONS` is another number.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(model);
}

/// What the threads of a model share.
#[derive(Clone)]
struct Model {
    intake: Arc<Intake>,
    scope: Arc<Scope>,
}

impl Model {
    fn new(limits: BufferLimits) -> Self {
        Self { intake: Arc::new(Intake::new(limits)), scope: Arc::default() }
    }

    /// Runs a thread that pushes into this shard.
    fn spawn<T: 'static>(
        &self,
        shard: usize,
        run: impl FnOnce(&Self) -> T + 'static,
    ) -> thread::JoinHandle<T> {
        let model = self.clone();
        thread::spawn(move || {
            set_thread_index(shard);
            run(&model)
        })
    }

    fn push(&self) {
        self.intake.push(&self.scope, SPAN);
    }

    /// Forwards a request of two spans, and adds those that the receipt tells of.
    fn forward(&self, told: &Arc<AtomicU64>) -> Result<(), Refused> {
        let told = Arc::clone(told);
        let receipt = Receipt::new(move |Settled { delivered, rejected, refused, lost }| {
            told.fetch_add(delivered + rejected + refused + lost, Ordering::Release);
        });
        self.intake.forward(&self.scope, vec![0; 2 * LEN], 2, Some(receipt))
    }

    /// Whether the worker has been told since the last call.
    fn is_woken(&self) -> bool {
        self.intake.woken().now_or_never().is_some()
    }

    /// Settles all chunks that have been sealed, and says of how many spans.
    fn settle_sealed(&self, settle: impl Fn(Claim)) -> u64 {
        let mut spans = 0;
        for chunk in self.intake.take_sealed() {
            spans += chunk.claim.spans();
            settle(chunk.claim);
        }
        spans
    }

    /// The stats of this moment, which add up.
    fn stats(&self) -> Stats {
        let stats = self.intake.stats();
        let settled = stats.delivered + stats.rejected + stats.dropped.total();
        assert_eq!(stats.accepted, settled + stats.pending, "{stats:?}");
        stats
    }
}

fn has_mine(chunk: &Chunk) -> bool {
    chunk.bytes.windows(MINE.len()).any(|bytes| bytes == MINE)
}

fn limits() -> BufferLimits {
    BufferLimits { total_bytes: 1 << 20, chunk_bytes: 1 << 10, ..BufferLimits::default() }
}

const SPAN: &[u8] = b"span";
const MINE: &[u8] = b"mine";
/// Bytes of the budget that either takes.
const LEN: usize = SPAN.len() + 2;
