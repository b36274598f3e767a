//! Who makes room when the memory is used up.

use super::bench::drive_with;
use super::*;
use crate::pipeline::options::{PipelineOptions, WhenFull};

#[tokio::test(start_paused = true)]
async fn when_full_the_newest_or_the_oldest_are_dropped() {
    // Spans of 16 KiB and a little.
    const BUDGET: usize = 40 * (16 << 10);
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let options =
            PipelineOptions { max_bytes: BUDGET, when_full, ..PipelineOptions::default() };
        drive_with(options, 1, None, async |mut bench| {
            let drops_oldest = when_full == WhenFull::DropOldest;
            bench.end_requests(1);
            let first = bench.export().await;
            bench.pass(Duration::from_millis(1)).await;
            for _ in 0..100 {
                bench.end_requests(1);
                bench.pass(Duration::from_millis(1)).await;
                assert!(bench.bytes_used() <= BUDGET);
            }
            let stats = bench.stats();
            let lost = stats.dropped.queue_full;
            let kept = if drops_oldest { 34 } else { 39 };
            let expected = Dropped { queue_full: 101 - kept, ..Dropped::default() };
            assert_eq!((stats.pending, stats.dropped), (kept, expected), "{when_full:?}");

            // The one under way stays.
            first.answer(Answer::asked(Duration::from_secs(5)));
            let flush = bench.start_flush(Duration::from_secs(60));
            let mut ids = Vec::new();
            for _ in 0..kept {
                let export = bench.export().await;
                ids.extend(export.ids());
                export.answer(Answer::DELIVERED);
            }
            let stats = flush.await.unwrap();
            assert_eq!((stats.delivered, stats.dropped.queue_full), (kept, lost));
            ids.sort_unstable();
            let newest = if drops_oldest { 101 - kept + 1 } else { 1 };
            let expected: Vec<_> = [0].into_iter().chain(newest..newest + kept - 1).collect();
            assert_eq!(ids, expected, "{when_full:?}");
            assert_eq!(bench.bytes_used(), 0);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn batches_that_wait_to_be_tried_again_are_older_than_what_was_never_tried() {
    const BUDGET: usize = 16 * (16 << 10);
    let options = PipelineOptions {
        max_bytes: BUDGET,
        when_full: WhenFull::DropOldest,
        ..PipelineOptions::default()
    };
    drive_with(options, 8, None, async |mut bench| {
        bench.end_requests(3);
        for _ in 0..3 {
            bench.export().await.answer(Answer::asked(Duration::from_secs(100)));
        }
        for _ in 0..30 {
            bench.pass(Duration::from_millis(1)).await;
            bench.end_requests(1);
        }
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(bench.stats().pending, 13);
        let first = bench.export().await;
        assert_eq!(first.ids(), [20], "the oldest that is left");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_span_that_finds_no_room_makes_the_worker_make_some() {
    const BUDGET: usize = 37_776;
    let options = PipelineOptions {
        max_bytes: BUDGET,
        when_full: WhenFull::DropOldest,
        ..PipelineOptions::default()
    };
    drive_with(options, 8, None, async |mut bench| {
        bench.end_requests(2);
        for _ in 0..2 {
            bench.export().await.answer(Answer::asked(Duration::from_secs(100)));
        }
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(bench.stats().pending, 2, "there is some room, and nobody is in its way");

        // Too few for a chunk of either scope, so that the worker hears nothing of them.
        bench.end_spans(400);
        bench.end_spans_of_another(400);
        let lost = bench.stats().dropped.queue_full;
        assert!(lost > 0 && lost < 400, "{lost}");
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(bench.stats().dropped.queue_full, lost + 1, "the oldest");
        bench.end_spans(100);
        assert_eq!(bench.stats().dropped.queue_full, lost + 1, "and there is room");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_leaves_no_time_to_make_room_is_counted_as_it_comes() {
    let options = PipelineOptions {
        max_bytes: 10 * (17 << 10),
        when_full: WhenFull::DropOldest,
        ..PipelineOptions::default()
    };
    drive_with(options, 8, None, async |mut bench| {
        // The worker does not come to its turn in between.
        bench.end_requests(50);
        let stats = bench.stats();
        assert_eq!((stats.pending, stats.dropped.queue_full), (10, 40));
        let mut shutdown = bench.start_shutdown(Duration::from_secs(60));
        let stats = loop {
            tokio::select! {
                biased;
                stats = &mut shutdown => break stats.unwrap(),
                export = bench.export() => export.answer(Answer::DELIVERED),
            }
        };
        assert_eq!(stats.accepted, stats.delivered + stats.dropped.queue_full);
        assert!(stats.dropped.queue_full > 40, "then it makes some");
    })
    .await;
}
