//! A peer that finds requests too large, and requests that are never made too large.

use super::bench::drive_with;
use super::*;
use crate::pipeline::batch::{Batch, BatchLimits};
use crate::pipeline::buffer::BufferLimits;
use crate::pipeline::options::PipelineOptions;

#[tokio::test(start_paused = true)]
async fn message_too_large_is_bisected_down_to_single_spans() {
    // Spans, how many the peer takes at once, and the sizes of the requests that it sees.
    let rows: [(usize, u64, &[u64], &str); 6] = [
        (8, 8, &[8], "it fits"),
        (8, 7, &[8, 4, 4], "it does not"),
        (8, 4, &[8, 4, 4], "the halves fit exactly"),
        (8, 3, &[8, 4, 2, 2, 4, 2, 2], "they do not"),
        (5, 2, &[5, 2, 3, 1, 2], "halves of an odd number"),
        (3, 0, &[3, 1, 2, 1, 1], "nothing fits"),
    ];
    for (spans, fit, expected, why) in rows {
        drive(1, async |mut bench| {
            bench.end_spans(spans);
            let start = Instant::now();
            let flush = bench.start_flush(Duration::from_secs(60));
            let mut sizes = Vec::new();
            for _ in expected {
                let export = bench.export().await;
                sizes.push(export.spans);
                let fits = export.spans <= fit;
                export.answer(if fits { Answer::DELIVERED } else { Answer::too_large() });
            }
            assert_eq!(sizes, expected, "{why}");
            let stats = flush.await.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO, "{why}: no pause");
            let too_large = if fit == 0 { spans as u64 } else { 0 };
            let dropped = Dropped { too_large, ..Dropped::default() };
            let accepted = spans as u64;
            let delivered = accepted - too_large;
            assert_eq!(stats, Stats { accepted, delivered, dropped, ..Stats::default() }, "{why}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_giant_span_is_dropped_and_its_neighbours_arrive() {
    let bench = drive(8, async |mut bench| {
        bench.end_spans(3);
        bench.end_requests(1);
        bench.end_spans(4);
        let mut shutdown = bench.start_shutdown(Duration::from_secs(60));
        loop {
            tokio::select! {
                biased;
                _ = &mut shutdown => break,
                export = bench.export() => {
                    let is_giant = export.len() > 10_000;
                    export.answer(if is_giant { Answer::too_large() } else { Answer::DELIVERED });
                }
            }
        }
        bench
    })
    .await;
    let dropped = Dropped { too_large: 1, ..Dropped::default() };
    assert_eq!(bench.stats(), Stats { accepted: 8, delivered: 7, dropped, ..Stats::default() });
    assert_eq!(bench.bytes_used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_both_halves_and_for_no_other_chunk() {
    drive(8, async |mut bench| {
        bench.end_spans(4);
        let mut flush = bench.start_flush(Duration::from_secs(60));
        bench.export().await.answer(Answer::too_large());
        let [first, second] = [bench.export().await, bench.export().await];
        bench.end_requests(1);
        let _later = bench.export().await;
        second.answer(Answer::DELIVERED);
        bench.pass(Duration::from_secs(1)).await;
        assert!(flush.try_recv().is_err(), "half of it is left");
        first.answer(Answer::DELIVERED);
        let stats = flush.await.unwrap();
        assert_eq!((stats.delivered, stats.pending), (4, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_half_is_tried_again_as_any_batch_is() {
    drive(8, async |mut bench| {
        bench.end_spans(4);
        let flush = bench.start_flush(Duration::from_secs(3600));
        bench.export().await.answer(Answer::too_large());
        bench.export().await.answer(Answer::asked(Duration::from_secs(20)));
        bench.export().await.answer(Answer::DELIVERED);
        bench.export().await.answer(Answer::DELIVERED);
        assert_eq!(flush.await.unwrap().delivered, 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_are_cut_ahead_of_time_by_bytes_and_by_spans() {
    // Each span takes eight bytes; the envelope of a request, eight more at most.
    let rows = [
        (3, 4 << 20, 3, "by spans"),
        (4096, 88, 10, "by bytes"),
        (1, 4 << 20, 1, "one at a time"),
        (0, 0, 1, "no less than that"),
    ];
    for (spans, bytes, expected, why) in rows {
        let batch = BatchLimits { spans, bytes };
        // Chunks are larger than requests may be.
        let intake = Intake::new(BufferLimits::default());
        let scope = Arc::default();
        for id in 0..60_u64 {
            intake.push(&scope, &id.to_be_bytes()[2..]);
        }
        intake.seal_all();
        let mut outbox = Outbox::new(&PipelineOptions { batch, ..PipelineOptions::default() });
        intake.take_sealed().into_iter().for_each(|chunk| outbox.push(chunk));
        let now = Instant::now();
        let exports = std::iter::from_fn(|| outbox.next(now, false));
        let batches: Vec<_> = exports.map(|export| export.batch).collect();
        assert!(batches.iter().all(|batch| batch.spans() == expected), "{why}");
        let requests: Vec<_> = batches.iter().flat_map(Batch::requests).collect();
        assert!(requests.iter().all(|it| it.len() <= bytes || expected == 1), "{why}");
        assert_eq!(requests.len() as u64, 60 / expected, "{why}");
        batches.into_iter().flat_map(Batch::into_claims).for_each(|claim| claim.deliver(0));
        assert_eq!(intake.stats(), Stats { accepted: 60, delivered: 60, ..Stats::default() });
        assert_eq!(intake.bytes_used(), 0, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_large_requests_is_sent_smaller_ones_from_then_on() {
    const KIB: usize = 1 << 10;
    let batch = BatchLimits { bytes: 1 << 20, ..BatchLimits::default() };
    let intake = Intake::new(BufferLimits::default());
    let scope = Arc::default();
    let end = |spans: usize| {
        (0..spans).for_each(|_| intake.push(&scope, &[7; KIB]));
        intake.seal_all();
    };
    let mut outbox = Outbox::new(&PipelineOptions { batch, ..PipelineOptions::default() });
    let now = Instant::now();
    // The peer takes 100 KiB.
    let mut refused = [0; 3];
    for refused in &mut refused {
        end(2000);
        intake.take_sealed().into_iter().for_each(|chunk| outbox.push(chunk));
        while let Some(export) = outbox.next(now, false) {
            if export.batch.len() > 100 * KIB {
                *refused += 1;
                outbox.split(export).unwrap();
            } else {
                export.batch.into_claims().for_each(|claim| claim.deliver(0));
            }
        }
    }
    assert!(refused[0] > 0, "{refused:?}");
    assert_eq!(refused[1..], [0, 0], "it is not asked again");
    assert_eq!(intake.stats().delivered, 6000);
}

#[tokio::test(start_paused = true)]
async fn small_limits_of_a_request_are_kept_by_a_whole_worker() {
    let options = PipelineOptions::default();
    drive_with(options, 8, None, async |mut bench| {
        // 16 KiB a request in these tests.
        bench.end_spans(10_000);
        let shutdown = bench.start_shutdown(Duration::from_secs(60));
        let mut spans = 0;
        while spans < 10_000 {
            let export = bench.export().await;
            spans += export.spans;
            assert!(export.len() <= 16 << 10, "{}", export.len());
            export.answer(Answer::DELIVERED);
        }
        assert_eq!(shutdown.await.unwrap().delivered, 10_000);
    })
    .await;
}
