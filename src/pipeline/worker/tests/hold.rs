//! A worker that has to wait for who the spans are from.

use proptest::prelude::*;
use tokio::runtime;
use tokio::sync::oneshot;

use super::bench::{Bench, drive_held, drive_with};
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn nothing_is_exported_before_it_is_known_who_the_spans_are_from() {
    drive_held(MINUTE, async |mut bench| {
        bench.end_spans(3);
        bench.pass(Duration::from_secs(10)).await;
        bench.end_requests(2);
        bench.pass(Duration::from_secs(49)).await;
        assert!(bench.is_idle(), "held");
        assert_eq!(bench.stats(), Stats { accepted: 5, pending: 5, ..Stats::default() });

        let start = Instant::now();
        bench.release("late");
        for spans in [3, 1, 1] {
            let export = bench.export().await;
            assert_eq!(export.spans, spans, "in the order in which they ended");
            assert!(export.is_from("late"), "although they had ended before");
            export.answer(Answer::DELIVERED);
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "at once");

        bench.end_requests(1);
        bench.release("later still");
        let next = bench.export().await;
        assert!(next.is_from("later still"), "and from then on");
        next.answer(Answer::DELIVERED);
        bench.pass(2 * MINUTE).await;
        let stats = bench.flush(Duration::ZERO).await;
        assert_eq!(stats, Stats { accepted: 6, delivered: 6, ..Stats::default() });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_held_goes_out_in_as_few_requests_as_what_ends_at_once() {
    type End = fn(&mut Bench) -> Option<oneshot::Receiver<Stats>>;
    let ends: [(End, &str); 4] = [
        (|_| None, "the time is over"),
        (
            |bench| {
                bench.release("late");
                None
            },
            "it is released",
        ),
        (|bench| Some(bench.start_flush(2 * MINUTE)), "a flush cuts nothing"),
        (|bench| Some(bench.start_shutdown(MINUTE)), "it is shut down"),
    ];
    for (end, why) in ends {
        drive_held(MINUTE, async |mut bench| {
            for second in 0..40 {
                bench.end_spans(2);
                bench.end_spans_of_another(1);
                bench.pass(Duration::from_secs(1)).await;
                if second % 10 == 5 {
                    let _ = bench.flush(Duration::ZERO).await;
                }
            }
            let told = end(&mut bench);
            for spans in [80, 40] {
                let export = bench.export().await;
                assert_eq!(export.spans, spans, "{why}");
                assert_eq!(export.chunks, 5, "only a flush seals, not the clock: {why}");
                export.answer(Answer::DELIVERED);
            }
            match told {
                Some(told) => assert_eq!(told.await.unwrap().delivered, 120, "{why}"),
                None => {
                    bench.pass(Duration::from_secs(2)).await;
                    assert!(bench.is_idle(), "{why}");
                    assert_eq!(bench.stats().delivered, 120, "{why}");
                }
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_over_spans_go_out_as_they_are() {
    for hold in [Duration::ZERO, Duration::from_millis(1500), MINUTE] {
        drive_held(hold, async |mut bench| {
            let start = Instant::now();
            bench.end_requests(1);
            let flush = bench.start_flush(2 * MINUTE);
            bench.export().await.answer(Answer::DELIVERED);
            assert_eq!(start.elapsed(), hold);
            assert_eq!(flush.await.unwrap().delivered, 1, "a flush waits for it");

            // Too late is no less welcome.
            bench.release("late");
            bench.end_requests(1);
            assert!(bench.export().await.is_from("late"));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_what_is_held_returns_at_its_deadline() {
    drive_held(MINUTE, async |mut bench| {
        bench.end_spans(2);
        let start = Instant::now();
        for _ in 0..2 {
            let stats = bench.flush(Duration::from_secs(5)).await;
            assert_eq!(stats, Stats { accepted: 2, pending: 2, ..Stats::default() });
        }
        assert_eq!(start.elapsed(), Duration::from_secs(10));

        let flush = bench.start_flush(MINUTE);
        bench.release("late");
        bench.export().await.answer(Answer::DELIVERED);
        assert_eq!(flush.await.unwrap().delivered, 2);
        assert_eq!(start.elapsed(), Duration::from_secs(10), "or when it is done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_what_may_never_be_known() {
    let bench = drive_held(MINUTE, async |mut bench| {
        bench.end_spans(2);
        bench.pass(Duration::from_secs(1)).await;
        let start = Instant::now();
        let shutdown = bench.start_shutdown(Duration::from_secs(5));
        bench.export().await.answer(Answer::DELIVERED);
        assert_eq!(shutdown.await.unwrap().delivered, 2);
        assert_eq!(start.elapsed(), Duration::ZERO);
        bench
    })
    .await;
    assert_eq!(bench.stats(), Stats { accepted: 2, delivered: 2, ..Stats::default() });
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_nobody_can_reach_ends_and_counts_what_it_held() {
    let bench = drive_held(MINUTE, async |mut bench| {
        bench.end_spans(2);
        bench.hang_up();
        bench
    })
    .await;
    let dropped = Dropped { shutdown: 2, ..Dropped::default() };
    assert_eq!(bench.stats(), Stats { accepted: 2, dropped, ..Stats::default() });
}

#[tokio::test(start_paused = true)]
async fn a_panic_neither_ends_the_wait_nor_begins_it_again() {
    drive_held(MINUTE, async |mut bench| {
        let start = Instant::now();
        bench.end_spans(2);
        bench.pass(Duration::from_millis(30_500)).await;
        bench.panic_soon();
        bench.pass(Duration::from_secs(1)).await;
        assert!(bench.has_panicked());
        bench.end_spans(1);
        let flush = bench.start_flush(2 * MINUTE);
        bench.pass(Duration::from_secs(28)).await;
        assert!(bench.is_idle(), "still held");

        bench.export().await.answer(Answer::DELIVERED);
        assert_eq!(start.elapsed(), MINUTE, "the rest of the time, and no more");
        let stats = flush.await.unwrap();
        assert_eq!(stats, Stats { accepted: 3, delivered: 3, ..Stats::default() }, "none is lost");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_the_first_export_does_not_hold_spans_again() {
    drive_held(MINUTE, async |mut bench| {
        bench.end_spans(1);
        bench.release("late");
        bench.export().await.answer(Answer::Panic);
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(bench.stats().dropped.panicked, 1);

        let start = Instant::now();
        bench.end_requests(1);
        bench.export().await.answer(Answer::DELIVERED);
        assert_eq!(start.elapsed(), Duration::ZERO);
    })
    .await;
}

/// What happens to a worker in between.
#[derive(Clone, Debug)]
enum Act {
    End(usize),
    EndLarge(usize),
    Pass(u64),
    Release,
    Panic,
    Answer,
    Flush,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..200_usize).prop_map(Act::End),
        2 => (0..4_usize).prop_map(Act::EndLarge),
        2 => (0..4000_u64).prop_map(Act::Pass),
        1 => Just(Act::Release),
        1 => Just(Act::Panic),
        2 => Just(Act::Answer),
        1 => Just(Act::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_while_spans_are_held_each_is_counted_and_the_budget_is_kept(
        acts in proptest::collection::vec(act(), 0..24),
        hold in 0..20_u64,
    ) {
        const BUDGET: usize = 40_000;
        let hold = Duration::from_secs(hold);
        let mut runtime = runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let options = PipelineOptions { max_bytes: BUDGET, ..PipelineOptions::default() };
        runtime.block_on(drive_with(options, 2, Some(hold), async |mut bench| {
            let until = Instant::now() + hold;
            let mut held = true;
            let mut ended = 0;
            for act in acts {
                match act {
                    Act::End(spans) => {
                        bench.end_spans(spans);
                        bench.end_spans_of_another(spans / 2);
                        ended += (spans + spans / 2) as u64;
                    }
                    Act::EndLarge(spans) => {
                        bench.end_requests(spans);
                        ended += spans as u64;
                    }
                    Act::Pass(millis) => bench.pass(Duration::from_millis(millis)).await,
                    Act::Release => {
                        bench.release("late");
                        held = false;
                        bench.pass(Duration::ZERO).await;
                    }
                    Act::Panic => bench.panic_soon(),
                    Act::Answer if bench.is_idle() => {}
                    Act::Answer => bench.export().await.answer(Answer::DELIVERED),
                    Act::Flush => drop(bench.flush(Duration::from_millis(10)).await),
                }
                let stats = bench.stats();
                let Stats { accepted, delivered, rejected, dropped, pending, .. } = stats;
                assert_eq!(accepted, delivered + rejected + dropped.total() + pending);
                // The ledger works the pending ones out. These are counted elsewhere.
                assert_eq!((accepted, delivered), (ended, bench.taken()));
                assert!(bench.seen() <= delivered + dropped.panicked + pending, "{stats}");
                assert!(bench.bytes_used() <= BUDGET);
                if held && Instant::now() < until {
                    assert!(bench.is_idle(), "held");
                    assert_eq!(accepted, dropped.queue_full + pending, "nothing else: {stats}");
                }
            }

            let mut shutdown = bench.start_shutdown(MINUTE);
            let told = loop {
                tokio::select! {
                    biased;
                    told = &mut shutdown => break told.unwrap(),
                    export = bench.export() => export.answer(Answer::DELIVERED),
                }
            };
            let Stats { accepted, delivered, dropped, pending, .. } = told;
            assert_eq!((accepted, delivered, pending), (ended, bench.taken(), 0));
            // A panic takes along what has been taken off the queue, even if the sink has not seen
            // it yet. During the shutdown it is counted as that.
            let lost = dropped.panicked + dropped.shutdown;
            assert!((delivered..=delivered + lost).contains(&bench.seen()), "{told}");
            assert_eq!(accepted, delivered + lost + dropped.queue_full, "{told}");
            assert_eq!(bench.bytes_used(), 0, "and the whole budget is free again");
        }));
    }
}
