mod bench;
mod forward;
mod hold;
mod log;
mod outage;
mod pipeline;
mod room;
mod schedules;
mod split;

use std::collections::VecDeque;

use bench::{Answer, drive, drive_with, drive_with_requests};

use super::super::batch::BatchLimits;
use super::super::ledger::{Dropped, Stats};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_span_goes_out_within_a_second_without_being_asked_for() {
    drive(8, async |mut bench| {
        // Past the tick with which the worker starts.
        bench.pass(Duration::from_millis(1)).await;
        bench.end_spans(3);
        bench.pass(Duration::from_millis(998)).await;
        assert!(bench.is_idle(), "others may come");
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(bench.export().await.spans, 3);

        bench.pass(Duration::from_secs(5)).await;
        assert!(bench.is_idle(), "nothing is sent when there is nothing to send");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_nothing_comes_to_wakes_once_a_second_however_soon_spans_are_to_go_out() {
    for max_delay in [Duration::from_millis(20), Duration::from_secs(1), Duration::from_secs(3)] {
        let options = PipelineOptions { max_delay, ..PipelineOptions::default() };
        drive_with(options, 8, None, async |mut bench| {
            for _ in 0..2 {
                // It was busy until now.
                bench.end_spans(1);
                let start = Instant::now();
                bench.export().await.answer(Answer::DELIVERED);
                assert_eq!(start.elapsed(), max_delay, "not before others could have come");
                bench.pass(Duration::from_millis(1)).await;

                let before = bench.turns();
                bench.pass(Duration::from_secs(60)).await;
                let turns = bench.turns() - before;
                assert!((60..=62).contains(&turns), "{turns} with {max_delay:?}");
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn full_chunks_go_out_at_once_where_they_make_a_request_and_together_otherwise() {
    let batch = |spans| BatchLimits { spans, ..BatchLimits::default() };
    let options = |batch| PipelineOptions { batch, ..PipelineOptions::default() };
    let small = PipelineOptions { max_bytes: 128 << 10, ..PipelineOptions::default() };
    let rows = [
        (options(batch(4096)), 2048, "four chunks"),
        (options(batch(1000)), 512, "two chunks are too many for one"),
        (options(batch(512)), 512, "a chunk"),
        (small, 512, "another could take too much of the queue"),
    ];
    for (options, enough, why) in rows {
        drive_with_requests(options, async |mut bench| {
            let start = Instant::now();
            for (last, expected) in [(1, Duration::from_millis(500)), (0, Duration::from_secs(3))] {
                // The worker is awake.
                bench.end_spans(1);
                bench.pass(Duration::ZERO).await;
                bench.end_spans(enough - 2);
                bench.pass(Duration::from_millis(500)).await;
                assert!(bench.is_idle(), "one is missing: {why}");
                bench.end_spans(last);
                let mut left = enough - 1 + last;
                while left > 0 {
                    left -= usize::try_from(bench.export().await.spans).unwrap();
                }
                assert_eq!(start.elapsed(), expected, "with {last} more: {why}");
                bench.pass(Duration::from_millis(1500)).await;
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_exports_are_under_way_at_once_than_the_sink_can_take() {
    for concurrency in [1, 3, 8] {
        drive(concurrency, async |mut bench| {
            bench.end_requests(20);
            let mut under_way = VecDeque::new();
            for _ in 0..concurrency {
                under_way.push_back(bench.export().await);
            }
            for ended in concurrency..20 {
                bench.pass(Duration::from_secs(10)).await;
                assert!(bench.is_idle(), "{concurrency} are under way");
                // Whichever ends, another one begins.
                let export = match ended % 2 {
                    0 => under_way.pop_front(),
                    _ => under_way.pop_back(),
                };
                export.unwrap().answer(Answer::DELIVERED);
                under_way.push_back(bench.export().await);
            }
            under_way.into_iter().for_each(|export| export.answer(Answer::DELIVERED));
            let stats = bench.flush(Duration::from_secs(1)).await;
            assert_eq!(stats, Stats { accepted: 20, delivered: 20, ..Stats::default() });
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_an_export_is_what_is_counted() {
    let failed = |failed| Dropped { failed, ..Dropped::default() };
    let rows = [
        (Answer::DELIVERED, Stats { delivered: 5, ..Stats::default() }, "all taken"),
        (Answer::rejected(2), Stats { delivered: 3, rejected: 2, ..Stats::default() }, "partly"),
        (Answer::rejected(5), Stats { rejected: 5, ..Stats::default() }, "all refused"),
        (Answer::rejected(9), Stats { rejected: 5, ..Stats::default() }, "more than there were"),
        (Answer::failed(), Stats { dropped: failed(5), ..Stats::default() }, "not taken"),
        (
            Answer::Panic,
            Stats { dropped: Dropped { panicked: 5, ..Dropped::default() }, ..Stats::default() },
            "a bug in the sink",
        ),
    ];
    for (answer, expected, why) in rows {
        drive(8, async |mut bench| {
            bench.end_spans(5);
            bench.export().await.answer(answer);
            let stats = bench.flush(Duration::from_secs(1)).await;
            assert_eq!(stats, Stats { accepted: 5, ..expected }, "{why}");

            bench.end_spans(1);
            let flush = bench.start_flush(Duration::from_secs(1));
            bench.export().await.answer(Answer::DELIVERED);
            let stats = flush.await.unwrap();
            let delivered = expected.delivered + 1;
            assert_eq!(stats, Stats { accepted: 6, delivered, ..expected }, "and goes on: {why}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_with_nothing_to_do_returns_at_once() {
    drive(8, async |bench| {
        let start = Instant::now();
        assert_eq!(bench.flush(Duration::from_secs(10)).await, Stats::default());
        assert_eq!(bench.flush(Duration::ZERO).await, Stats::default());
        assert_eq!(start.elapsed(), Duration::ZERO);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_what_had_ended_before_it_and_for_nothing_else() {
    drive(8, async |mut bench| {
        bench.end_spans(2);
        bench.pass(Duration::from_secs(1)).await;
        let under_way = bench.export().await;
        bench.end_spans(3);
        let mut flush = bench.start_flush(Duration::from_secs(100));
        let flushed = bench.export().await;
        assert_eq!(flushed.spans, 3, "what waited goes out");
        bench.end_requests(1);
        let later = bench.export().await;

        later.answer(Answer::DELIVERED);
        bench.pass(Duration::from_secs(9)).await;
        assert!(flush.try_recv().is_err(), "a later one is not what it waits for");
        flushed.answer(Answer::DELIVERED);
        bench.pass(Duration::from_secs(9)).await;
        assert!(flush.try_recv().is_err(), "one was under way when it was asked for");

        bench.end_requests(1);
        let _hangs = bench.export().await;
        let start = Instant::now();
        under_way.answer(Answer::DELIVERED);
        let flushed = flush.await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        let expected = Stats { accepted: 7, delivered: 6, pending: 1, ..Stats::default() };
        assert_eq!(flushed, expected, "the last one is no concern of it");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_chunks_that_are_queued_and_may_go_out_with_later_ones() {
    drive(1, async |mut bench| {
        bench.end_requests(1);
        let first = bench.export().await;
        bench.end_spans(2);
        let mut flush = bench.start_flush(Duration::from_secs(100));
        bench.pass(Duration::from_secs(1)).await;
        bench.end_spans(3);
        bench.pass(Duration::from_secs(2)).await;
        first.answer(Answer::DELIVERED);
        let merged = bench.export().await;
        assert_eq!(merged.spans, 5, "in one batch");
        assert!(flush.try_recv().is_err());
        merged.answer(Answer::DELIVERED);
        let stats = flush.await.unwrap();
        assert_eq!(stats, Stats { accepted: 6, delivered: 6, ..Stats::default() });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_its_own_chunks_whatever_goes_out_with_them() {
    for panics in [false, true] {
        drive(1, async |mut bench| {
            bench.end_requests(1);
            let first = bench.export().await;
            bench.end_spans(2);
            bench.end_spans_of_another(4);
            let mut flush = bench.start_flush(Duration::from_secs(100));
            bench.pass(Duration::from_secs(1)).await;
            bench.end_spans(3);
            bench.pass(Duration::from_secs(1)).await;
            bench.end_spans_of_another(1);
            bench.pass(Duration::from_secs(1)).await;

            first.answer(Answer::DELIVERED);
            for spans in [5, 5] {
                assert!(flush.try_recv().is_err(), "{spans} are left");
                let merged = bench.export().await;
                assert_eq!(merged.spans, spans, "of one scope");
                merged.answer(if panics { Answer::Panic } else { Answer::DELIVERED });
            }
            let start = Instant::now();
            let stats = flush.await.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO);
            assert_eq!((stats.accepted, stats.pending), (11, 0));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_wait_for_what_another_scope_has_later() {
    drive(1, async |mut bench| {
        bench.end_requests(1);
        let first = bench.export().await;
        bench.end_spans(2);
        let flush = bench.start_flush(Duration::from_secs(100));
        bench.pass(Duration::from_secs(1)).await;
        bench.end_spans_of_another(4);
        bench.end_spans(3);
        bench.pass(Duration::from_secs(1)).await;
        first.answer(Answer::DELIVERED);
        bench.export().await.answer(Answer::DELIVERED);
        let stats = flush.await.unwrap();
        assert_eq!((stats.delivered, stats.pending), (6, 4));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_returns_at_its_deadline_and_what_it_waited_for_goes_on() {
    for deadline in [Duration::ZERO, Duration::from_millis(10_300)] {
        drive(8, async |mut bench| {
            bench.end_spans(3);
            let start = Instant::now();
            let stats = bench.flush(deadline).await;
            assert_eq!(stats, Stats { accepted: 3, pending: 3, ..Stats::default() });
            assert_eq!(start.elapsed(), deadline);

            bench.export().await.answer(Answer::DELIVERED);
            let stats = bench.flush(Duration::from_secs(1)).await;
            assert_eq!(stats, Stats { accepted: 3, delivered: 3, ..Stats::default() });
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn flushes_do_not_wait_for_each_other() {
    drive(8, async |mut bench| {
        bench.end_spans(1);
        let patient = bench.start_flush(Duration::from_secs(60));
        let first = bench.export().await;
        bench.end_spans(1);
        let twin = bench.start_flush(Duration::from_secs(60));
        let second = bench.export().await;

        let start = Instant::now();
        let stats = bench.flush(Duration::from_secs(5)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5), "the last one gives up first");
        assert_eq!(stats.pending, 2);
        first.answer(Answer::DELIVERED);
        assert_eq!(patient.await.unwrap().pending, 1, "that of the other");
        second.answer(Answer::DELIVERED);
        assert_eq!(twin.await.unwrap().pending, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_settles_all_and_what_ends_later_is_refused() {
    let (told, bench) = drive(1, async |mut bench| {
        bench.end_requests(2);
        bench.end_spans(3);
        let flush = bench.start_flush(Duration::from_secs(60));
        let shutdown = bench.start_shutdown(Duration::from_secs(60));
        let first = bench.export().await;
        bench.end_spans(4);
        first.answer(Answer::DELIVERED);
        bench.export().await.answer(Answer::failed());
        bench.export().await.answer(Answer::DELIVERED);
        flush.await.unwrap();
        (shutdown.await.unwrap(), bench)
    })
    .await;
    let dropped = Dropped { failed: 1, shutdown: 4, ..Dropped::default() };
    let expected = Stats { accepted: 9, delivered: 4, dropped, ..Stats::default() };
    assert_eq!(told, expected);
    assert_eq!(bench.stats(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_at_its_deadline_counts_what_is_left_and_ends_the_worker() {
    for deadline in [Duration::ZERO, Duration::from_millis(10_300)] {
        let (told, bench) = drive(2, async |mut bench| {
            bench.end_requests(5);
            let _hang = [bench.export().await, bench.export().await];
            bench.end_spans(6);
            let flush = bench.start_flush(Duration::from_secs(3600));
            let start = Instant::now();
            let shutdown = bench.start_shutdown(deadline);
            let told = [shutdown.await.unwrap(), flush.await.unwrap()];
            assert_eq!(start.elapsed(), deadline);
            (told, bench)
        })
        .await;
        let dropped = Dropped { shutdown: 11, ..Dropped::default() };
        let expected = Stats { accepted: 11, dropped, ..Stats::default() };
        assert_eq!(told, [expected; 2], "under way, queued and waiting");
        assert_eq!(bench.stats(), expected, "and that is final");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_nobody_can_reach_ends_and_leaves_nothing_pending() {
    let bench = drive(1, async |mut bench| {
        bench.end_requests(2);
        let _hangs = bench.export().await;
        bench.end_spans(3);
        bench.hang_up();
        bench
    })
    .await;
    bench.end_spans(1);
    let dropped = Dropped { shutdown: 6, ..Dropped::default() };
    assert_eq!(bench.stats(), Stats { accepted: 6, dropped, ..Stats::default() });
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_done_even_when_nobody_can_reach_the_worker_any_more() {
    let bench = drive(1, async |mut bench| {
        bench.end_requests(2);
        bench.end_spans(3);
        let _told = bench.start_shutdown(Duration::from_secs(60));
        bench.hang_up();
        for _ in 0..3 {
            bench.pass(Duration::from_secs(2)).await;
            bench.export().await.answer(Answer::DELIVERED);
        }
        bench
    })
    .await;
    assert_eq!(bench.stats(), Stats { accepted: 5, delivered: 5, ..Stats::default() });
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_the_exports_under_way_and_nothing_that_was_asked_for_is_forgotten() {
    let bench = drive(2, async |mut bench| {
        bench.end_requests(5);
        let mut flush = bench.start_flush(Duration::from_secs(60));
        let [_first, second] = [bench.export().await, bench.export().await];
        second.answer(Answer::Panic);
        let [third, fourth] = [bench.export().await, bench.export().await];
        assert_eq!(bench.stats().dropped.panicked, 2, "both that were under way");
        assert!(flush.try_recv().is_err(), "three are left");
        third.answer(Answer::DELIVERED);
        fourth.answer(Answer::DELIVERED);
        bench.export().await.answer(Answer::DELIVERED);
        let stats = flush.await.unwrap();
        assert_eq!((stats.delivered, stats.pending), (3, 0));

        bench.end_requests(3);
        let shutdown = bench.start_shutdown(Duration::from_secs(60));
        let [first, _second] = [bench.export().await, bench.export().await];
        first.answer(Answer::Panic);
        bench.export().await.answer(Answer::DELIVERED);
        shutdown.await.unwrap();
        bench
    })
    .await;
    let stats = bench.stats();
    assert_eq!((stats.delivered, stats.dropped.total(), stats.pending), (4, 4, 0));
}
