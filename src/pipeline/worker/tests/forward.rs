//! Whole requests of others: they go out whole, beside our own spans, and their senders are told.

use bytes::Bytes;

use super::bench::{drive_retrying, drive_with, request_of};
use super::*;
use crate::pipeline::batch::{Batch, BatchLimits};
use crate::pipeline::buffer::{BufferLimits, Refused};
use crate::pipeline::options::{PipelineOptions, RetryPolicy, WhenFull};
use crate::pipeline::receipt::{Receipt, Settled};
use crate::pipeline::scope::Scope;

const FOREVER: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_forwarded_request_goes_out_at_once_and_with_those_of_its_sender_alone() {
    drive(8, async |mut bench| {
        bench.pass(Duration::from_millis(1)).await;
        let start = Instant::now();
        bench.end_spans(3);
        bench.forward(0, 2).unwrap();
        bench.forward(1, 1).unwrap();
        bench.forward(0, 4).unwrap();
        bench.end_spans_of_another(1);
        // The ids are the numbers of the spans in their order.
        let expected = [("a", 2, vec![3, 4, 6, 7, 8, 9]), ("b", 1, vec![5])];
        for (sender, chunks, ids) in expected {
            let export = bench.export().await;
            assert_eq!(export.via.as_deref(), Some(sender.as_bytes()));
            assert_eq!((export.chunks, export.ids()), (chunks, ids), "of {sender}");
            export.answer(Answer::DELIVERED);
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "at once");

        let flush = bench.start_flush(FOREVER);
        for ids in [vec![0, 1, 2], vec![10]] {
            let export = bench.export().await;
            assert_eq!((export.via.as_deref(), export.ids()), (None, ids), "our own");
            export.answer(Answer::DELIVERED);
        }
        let stats = flush.await.unwrap();
        assert_eq!(stats, Stats { accepted: 11, delivered: 11, ..Stats::default() });
        assert_eq!(bench.bytes_used(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_in_scopes_without_number_delay_our_own_spans_by_one_export() {
    drive(1, async |mut bench| {
        let mut vias = Vec::new();
        for sender in 0..1000 {
            bench.forward_in(format!("{sender}"), 1).unwrap();
        }
        let under_way = bench.export().await;
        bench.end_requests(3);
        bench.pass(Duration::from_millis(1)).await;
        under_way.answer(Answer::DELIVERED);
        for _ in 0..6 {
            let export = bench.export().await;
            vias.push(export.via.as_ref().map(|via| String::from_utf8(via.to_vec()).unwrap()));
            export.answer(Answer::DELIVERED);
        }
        let expected = [None, Some("1"), None, Some("2"), None, Some("3")];
        assert_eq!(vias.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
        for _ in 4..1000 {
            bench.export().await.answer(Answer::DELIVERED);
        }
        let stats = bench.flush(FOREVER).await;
        assert_eq!(stats, Stats { accepted: 1003, delivered: 1003, ..Stats::default() });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_others_have_that_is_tried_again_delays_our_own_spans_by_one_export() {
    type Row = (fn() -> Answer, &'static str);
    let rows: [Row; 2] = [(Answer::refused, "for now"), (Answer::too_large, "as it is")];
    let retry =
        RetryPolicy { initial: Duration::ZERO, max: Duration::ZERO, ..RetryPolicy::default() };
    for (answer, why) in rows {
        let options = PipelineOptions { retry, ..PipelineOptions::default() };
        drive_with(options, 1, None, async |mut bench| {
            for sender in 0..20 {
                bench.forward_in(format!("{sender}"), 64).unwrap();
            }
            // Several that have failed before, when our own come.
            for _ in 0..2 {
                bench.export().await.answer(answer());
                bench.pass(Duration::from_millis(1)).await;
            }
            let under_way = bench.export().await;
            bench.end_requests(3);
            bench.pass(Duration::from_millis(1)).await;
            under_way.answer(answer());
            let mut are_ours = Vec::new();
            for _ in 0..6 {
                let export = bench.export().await;
                let is_ours = export.via.is_none();
                are_ours.push(is_ours);
                export.answer(if is_ours { Answer::DELIVERED } else { answer() });
            }
            assert_eq!(are_ours, [true, false].repeat(3), "refused {why}");

            let mut flush = bench.start_flush(FOREVER);
            let stats = loop {
                tokio::select! {
                    biased;
                    stats = &mut flush => break stats.unwrap(),
                    export = bench.export() => export.answer(Answer::DELIVERED),
                }
            };
            let expected = Stats { accepted: 1283, delivered: 1283, ..Stats::default() };
            assert_eq!(stats, expected, "refused {why}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_told_what_became_of_the_spans_once_they_are_counted() {
    let told = |delivered, rejected, refused, lost| Settled { delivered, rejected, refused, lost };
    let rows = [
        (Answer::DELIVERED, told(5, 0, 0, 0), "all taken"),
        (Answer::rejected(2), told(3, 2, 0, 0), "partly"),
        (Answer::rejected(9), told(0, 5, 0, 0), "more refused than there were"),
        (Answer::failed(), told(0, 0, 5, 0), "not taken, nor would it be"),
        (Answer::Panic, told(0, 0, 0, 5), "a bug in the sink"),
    ];
    for (answer, expected, why) in rows {
        drive(8, async |mut bench| {
            let mut receipt = bench.forward(0, 5).unwrap();
            let export = bench.export().await;
            bench.pass(FOREVER).await;
            assert!(receipt.try_recv().is_err(), "not yet: {why}");
            export.answer(answer);
            let (settled, stats) = receipt.await.unwrap();
            assert_eq!(settled, expected, "{why}");
            let counted = (stats.delivered, stats.rejected, stats.dropped.total());
            assert_eq!(
                counted,
                (settled.delivered, settled.rejected, settled.refused + settled.lost),
                "{why}"
            );
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_two_requests_in_one_export_has_its_own_receipt() {
    drive(8, async |mut bench| {
        let receipts = [3, 4].map(|spans| bench.forward(0, spans).unwrap());
        let export = bench.export().await;
        assert_eq!(export.spans, 7);
        export.answer(Answer::rejected(5));
        let told = futures_util::future::join_all(receipts).await;
        let told: Vec<_> = told.into_iter().map(|told| told.unwrap().0).collect();
        let expected = [
            Settled { rejected: 3, ..Settled::default() },
            Settled { delivered: 2, rejected: 2, ..Settled::default() },
        ];
        assert_eq!(told, expected, "whose they are, nobody knows: the number is right");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn message_too_large_is_bisected_down_to_single_spans_and_told_once() {
    // Spans, how many the peer takes at once, and the sizes of the requests that it sees.
    let rows: [(usize, u64, &[u64], &str); 5] = [
        (8, 8, &[8], "it fits"),
        (8, 4, &[8, 4, 4], "the halves fit"),
        (8, 3, &[8, 4, 2, 2, 4, 2, 2], "they do not"),
        (5, 2, &[5, 2, 3, 1, 2], "halves of an odd number"),
        (3, 0, &[3, 1, 2, 1, 1], "nothing fits"),
    ];
    for (spans, fit, expected, why) in rows {
        drive(1, async |mut bench| {
            let receipt = bench.forward(0, spans).unwrap();
            let mut ids = Vec::new();
            for &size in expected {
                let export = bench.export().await;
                assert_eq!(export.spans, size, "{why}");
                if export.spans <= fit.max(1) {
                    ids.extend(export.ids());
                }
                let fits = export.spans <= fit;
                export.answer(if fits { Answer::DELIVERED } else { Answer::too_large() });
            }
            assert_eq!(ids, Vec::from_iter(0..spans as u64), "in their order: {why}");
            let (settled, stats) = receipt.await.unwrap();
            let too_large = if fit == 0 { spans as u64 } else { 0 };
            let delivered = spans as u64 - too_large;
            let expected = Settled { delivered, refused: too_large, ..Settled::default() };
            assert_eq!(settled, expected, "{why}");
            let dropped = Dropped { too_large, ..Dropped::default() };
            let accepted = spans as u64;
            assert_eq!(stats, Stats { accepted, delivered, dropped, ..Stats::default() }, "{why}");
            assert_eq!(bench.bytes_used(), 0, "{why}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_halves_of_a_request_may_fare_differently() {
    drive(1, async |mut bench| {
        let receipt = bench.forward(0, 8).unwrap();
        for answer in [Answer::too_large(), Answer::rejected(1), Answer::failed()] {
            bench.export().await.answer(answer);
        }
        let told = receipt.await.unwrap().0;
        assert_eq!(told, Settled { delivered: 3, rejected: 1, refused: 4, lost: 0 });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_told() {
    let retry = RetryPolicy { give_up_after: Duration::from_secs(10), ..RetryPolicy::default() };
    drive_retrying(retry, async |mut bench| {
        let mut receipt = bench.forward(0, 3).unwrap();
        let told = loop {
            tokio::select! {
                biased;
                told = &mut receipt => break told.unwrap(),
                export = bench.export() => export.answer(Answer::refused()),
            }
        };
        assert_eq!(told.0, Settled { lost: 3, ..Settled::default() });
        assert_eq!(told.1.dropped, Dropped { retries_exhausted: 3, ..Dropped::default() });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_makes_room_for_newer_ones_is_told() {
    let options = PipelineOptions {
        max_bytes: 4000,
        when_full: WhenFull::DropOldest,
        ..PipelineOptions::default()
    };
    drive_with(options, 1, None, async |mut bench| {
        let _receipt = bench.forward(1, 1).unwrap();
        let _hangs = bench.export().await;
        let mut first = bench.forward(0, 30).unwrap();
        let mut refused = 0;
        let told = loop {
            bench.pass(Duration::from_millis(1)).await;
            match first.try_recv() {
                Ok(told) => break told,
                Err(_) => refused += u64::from(bench.forward(1, 30).is_err()),
            }
        };
        assert_eq!(told.0, Settled { lost: 30, ..Settled::default() });
        assert_eq!(told.1.dropped, Dropped { queue_full: 30, ..Dropped::default() });
        assert_eq!(refused, 0, "room was made before there was none");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tells_all_who_wait_and_refuses_those_who_come() {
    drive(1, async |mut bench| {
        let [under_way, waiting] = [0, 1].map(|sender| bench.forward(sender, 2).unwrap());
        let _hangs = bench.export().await;
        let shutdown = bench.start_shutdown(Duration::from_secs(1));
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(bench.forward(0, 9).unwrap_err(), Refused::Closed);
        let stats = shutdown.await.unwrap();
        let dropped = Dropped { shutdown: 4, ..Dropped::default() };
        assert_eq!(stats, Stats { accepted: 4, dropped, ..Stats::default() });
        for receipt in [under_way, waiting] {
            let told = receipt.await.unwrap().0;
            assert_eq!(told, Settled { lost: 2, ..Settled::default() });
        }
        assert_eq!(bench.forward(0, 9).unwrap_err(), Refused::Closed, "for good");
        assert_eq!(bench.stats(), stats, "what is refused is in no counter");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_panics_is_nobody_elses_trouble() {
    drive(8, async |mut bench| {
        for answer in [Answer::DELIVERED, Answer::Panic] {
            bench.forward_with(0, 2, Receipt::new(|_| panic!("a bug"))).unwrap();
            bench.export().await.answer(answer);
            // What is under way when the sink panics ends with it.
            bench.pass(Duration::from_millis(1)).await;
        }
        let receipt = bench.forward(0, 1).unwrap();
        bench.export().await.answer(Answer::DELIVERED);
        let (settled, stats) = receipt.await.unwrap();
        assert_eq!(settled, Settled { delivered: 1, ..Settled::default() });
        assert_eq!((stats.delivered, stats.dropped.panicked), (3, 2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_are_cut_ahead_of_time_by_bytes_and_by_spans() {
    // Each span takes eight bytes; what stands around those of a request, four or six.
    let rows = [
        (3, 4 << 20, vec![3; 20], "by spans"),
        (7, 4 << 20, vec![7, 7, 7, 7, 7, 7, 7, 7, 4], "by spans, with a rest"),
        (4096, 88, vec![10, 10, 1, 10, 1, 10, 10, 8], "by bytes, of which each has some around"),
        (1, 4 << 20, vec![1; 60], "one at a time"),
        (0, 0, vec![1; 60], "no less than that"),
        (4096, 4 << 20, vec![60], "not at all"),
    ];
    for (spans, bytes, expected, why) in rows {
        let batch = BatchLimits { spans, bytes };
        let intake = Intake::new(BufferLimits::default());
        let sender = Arc::new(Scope::of_others("a".into()));
        let request = request_of((0..60_u64).map(|id| id.to_be_bytes()[2..].to_vec()));
        intake.forward(&sender, request, 60, None).unwrap();
        let mut outbox = Outbox::new(&PipelineOptions { batch, ..PipelineOptions::default() });
        intake.take_sealed().into_iter().for_each(|chunk| outbox.push(chunk));
        let now = Instant::now();
        let exports = std::iter::from_fn(|| outbox.next(now, false));
        let batches: Vec<_> = exports.map(|export| export.batch).collect();
        let sizes: Vec<_> = batches.iter().map(Batch::spans).collect();
        assert_eq!(sizes, expected, "{why}");
        let mut lens = batches.iter().map(|batch| batch.request().iter().map(Bytes::len).sum());
        assert!(lens.all(|len: usize| len <= bytes || expected[0] == 1), "{why}");
        batches.into_iter().flat_map(Batch::into_claims).for_each(|claim| claim.deliver(0));
        assert_eq!(intake.stats(), Stats { accepted: 60, delivered: 60, ..Stats::default() });
        assert_eq!(intake.bytes_used(), 0, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_very_many_spans_is_cut_in_a_moment() {
    const SPANS: u64 = 20_000;
    let batch = BatchLimits { spans: 1, ..BatchLimits::default() };
    let intake = Intake::new(BufferLimits::default());
    let sender = Arc::new(Scope::of_others("a".into()));
    let request = request_of((0..SPANS).map(|_| Vec::new()));
    intake.forward(&sender, request, SPANS, None).unwrap();
    let mut outbox = Outbox::new(&PipelineOptions { batch, ..PipelineOptions::default() });
    intake.take_sealed().into_iter().for_each(|chunk| outbox.push(chunk));
    let now = Instant::now();
    let mut batches = 0;
    while let Some(export) = outbox.next(now, false) {
        assert_eq!(export.batch.spans(), 1);
        export.batch.into_claims().for_each(|claim| claim.deliver(0));
        batches += 1;
    }
    assert_eq!(batches, SPANS);
    assert_eq!((intake.stats().delivered, intake.bytes_used()), (SPANS, 0));
}
