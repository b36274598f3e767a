//! A peer that is away, for a while or for good.

use super::bench::drive_retrying;
use super::*;
use crate::pipeline::options::RetryPolicy;

/// No pause but the one that the peer asks for.
const PROMPT: RetryPolicy = RetryPolicy {
    initial: Duration::ZERO,
    max: Duration::ZERO,
    give_up_after: Duration::from_secs(300),
};

#[tokio::test(start_paused = true)]
async fn retry_with_backoff_outlasts_an_outage_with_one_probe_at_a_time() {
    drive(8, async |mut bench| {
        bench.end_requests(20);
        let mut under_way = Vec::new();
        for _ in 0..8 {
            under_way.push(bench.export().await);
        }
        under_way.into_iter().for_each(|export| export.answer(Answer::refused()));
        let start = Instant::now();
        let mut probes = 0;
        while start.elapsed() < Duration::from_secs(200) {
            let probe = bench.export().await;
            bench.pass(Duration::from_secs(1)).await;
            assert!(bench.is_idle(), "one is under way");
            probe.answer(Answer::refused());
            probes += 1;
        }
        // Half of them are within the first half a minute.
        assert!(probes < 60, "{probes}");
        assert_eq!(bench.stats().pending, 20, "nothing is lost");

        bench.export().await.answer(Answer::DELIVERED);
        let back = Instant::now();
        for _ in 1..20 {
            bench.export().await.answer(Answer::DELIVERED);
        }
        assert!(back.elapsed() <= Duration::from_secs(30), "no longer than the longest pause");
        let stats = bench.flush(Duration::from_secs(1)).await;
        assert_eq!(stats, Stats { accepted: 20, delivered: 20, ..Stats::default() });
        assert_eq!(bench.seen(), 20 + 8 + probes);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn spans_that_end_while_the_peer_is_down_go_out_together() {
    drive(8, async |mut bench| {
        bench.end_spans(1);
        bench.export().await.answer(Answer::asked(Duration::from_secs(100)));
        for _ in 0..50 {
            bench.pass(Duration::from_secs(1)).await;
            bench.end_spans(2);
        }
        for (spans, why) in [(100, "first those that were not tried yet"), (1, "then the others")] {
            let export = bench.export().await;
            assert_eq!(export.spans, spans, "{why}");
            export.answer(Answer::DELIVERED);
        }
        bench.pass(Duration::from_secs(1)).await;
        assert_eq!(bench.stats().delivered, 101);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_batch_that_is_never_answered_does_not_hold_the_others() {
    drive_retrying(RetryPolicy::default(), async |mut bench| {
        const POISON: u64 = 3;
        bench.end_spans_of_another(POISON as usize);
        bench.end_requests(30);
        let start = Instant::now();
        let flush = bench.start_flush(Duration::from_secs(3600));
        let mut poisoned = 0;
        while bench.stats().delivered < 30 {
            let export = bench.export().await;
            let is_poisoned = export.spans == POISON;
            poisoned += u64::from(is_poisoned);
            export.answer(if is_poisoned { Answer::refused() } else { Answer::DELIVERED });
            bench.pass(Duration::ZERO).await;
        }
        // Each of its failures is a pause for all: a quarter of a second at most.
        let limit = Duration::from_millis(250) * (poisoned as u32 + 1);
        assert!(start.elapsed() <= limit, "{:?} with {poisoned}", start.elapsed());

        while bench.stats().pending > 0 {
            bench.export().await.answer(Answer::refused());
            bench.pass(Duration::ZERO).await;
        }
        let stats = flush.await.unwrap();
        let dropped = Dropped { retries_exhausted: POISON, ..Dropped::default() };
        assert_eq!(stats, Stats { accepted: 33, delivered: 30, dropped, ..Stats::default() });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn retry_info_is_obeyed_up_to_the_moment_at_which_the_batch_is_given_up() {
    // What the peer asks for each time, and after which seconds the attempts begin.
    let rows: [(u64, u64, &[u64], &str); 5] = [
        (4, 10, &[0, 4, 8, 10], "the last attempt is at the end"),
        (5, 10, &[0, 5, 10], "also when that is when it was asked for"),
        (1_000_000_000, 10, &[0, 10], "also when that is sooner than it was asked for"),
        (u64::MAX, 10, &[0, 10], "whatever is asked for"),
        (7, 0, &[0], "or there is one only"),
    ];
    for (asked, give_up_after, expected, why) in rows {
        let policy = RetryPolicy { give_up_after: Duration::from_secs(give_up_after), ..PROMPT };
        drive_retrying(policy, async |mut bench| {
            bench.end_requests(1);
            let start = Instant::now();
            let flush = bench.start_flush(Duration::from_secs(3600));
            for &seconds in expected {
                let export = bench.export().await;
                assert_eq!(start.elapsed().as_secs(), seconds, "{why}");
                assert_eq!(bench.stats().pending, 1, "{why}");
                export.answer(Answer::asked(Duration::from_secs(asked)));
            }
            let stats = flush.await.unwrap();
            let dropped = Dropped { retries_exhausted: 1, ..Dropped::default() };
            assert_eq!(stats, Stats { accepted: 1, dropped, ..Stats::default() }, "{why}");

            // The others are not given up with it, nor do they wait for ever.
            bench.end_requests(1);
            bench.export().await.answer(Answer::DELIVERED);
            assert!(start.elapsed().as_secs() <= 2 * give_up_after, "{why}");
            bench.pass(Duration::ZERO).await;
            assert_eq!(bench.stats().delivered, 1, "{why}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_attempt_is_at_the_end_to_the_millisecond_whether_the_peer_is_up_or_down() {
    let end = Duration::from_millis(10_300);
    for up in [false, true] {
        let policy = RetryPolicy { give_up_after: end, ..PROMPT };
        drive_retrying(policy, async |mut bench| {
            bench.end_requests(2);
            let start = Instant::now();
            let [first, second] = [bench.export().await, bench.export().await];
            second.answer(Answer::refused());
            let probe = bench.export().await;
            bench.pass(Duration::from_secs(1)).await;
            first.answer(Answer::asked(Duration::from_secs(1000)));
            bench.pass(Duration::from_millis(1)).await;
            probe.answer(if up { Answer::DELIVERED } else { Answer::failed() });
            if !up {
                bench.end_requests(1);
                bench.export().await.answer(Answer::asked(Duration::from_secs(1000)));
            }
            bench.export().await.answer(Answer::DELIVERED);
            assert_eq!(start.elapsed(), end, "up: {up}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn partial_success_is_never_retried_nor_is_what_is_refused_for_good() {
    for (answer, why) in [(Answer::rejected(5), "rejected"), (Answer::failed(), "refused")] {
        drive(8, async |mut bench| {
            bench.end_spans(5);
            bench.export().await.answer(answer);
            bench.pass(Duration::from_secs(3600)).await;
            assert!(bench.is_idle(), "{why}");
            let stats = bench.stats();
            assert_eq!(stats.rejected + stats.dropped.failed, 5, "{why}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn flush_reports_every_batch_and_cuts_the_pauses_short() {
    drive(8, async |mut bench| {
        bench.end_requests(4);
        let answers = [
            Answer::asked(Duration::from_secs(200)),
            Answer::DELIVERED,
            Answer::failed(),
            Answer::asked(Duration::from_secs(200)),
        ];
        for answer in answers {
            bench.export().await.answer(answer);
        }
        bench.pass(Duration::from_secs(1)).await;
        assert!(bench.is_idle(), "asked to wait");

        let start = Instant::now();
        let flush = bench.start_flush(Duration::from_secs(5));
        // One is enough to see that the peer is still away.
        bench.export().await.answer(Answer::asked(Duration::from_secs(100)));
        let stats = flush.await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(5), "not before its deadline");
        let dropped = Dropped { failed: 1, ..Dropped::default() };
        let expected = Stats { accepted: 4, delivered: 1, dropped, pending: 2, ..Stats::default() };
        assert_eq!(stats, expected);

        let start = Instant::now();
        let flush = bench.start_flush(Duration::from_secs(5));
        for _ in 0..2 {
            bench.export().await.answer(Answer::DELIVERED);
        }
        let stats = flush.await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(stats, Stats { delivered: 3, pending: 0, ..expected });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_each_batch_one_last_attempt_and_counts_the_rest() {
    let (told, bench) = drive(2, async |mut bench| {
        bench.end_requests(5);
        for _ in 0..2 {
            bench.export().await.answer(Answer::asked(Duration::from_secs(200)));
        }
        bench.pass(Duration::from_secs(1)).await;
        assert!(bench.is_idle(), "asked to wait");
        let start = Instant::now();
        let shutdown = bench.start_shutdown(Duration::from_secs(5));
        let twin = bench.start_shutdown(Duration::from_secs(60));
        let [first, second] = [bench.export().await, bench.export().await];
        first.answer(Answer::refused());
        second.answer(Answer::DELIVERED);
        for answer in [Answer::refused(), Answer::asked(Duration::MAX), Answer::failed()] {
            bench.export().await.answer(answer);
        }
        let told = shutdown.await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO, "nothing is left to wait for");
        assert_eq!(twin.await.unwrap(), told);
        (told, bench)
    })
    .await;
    let dropped = Dropped { shutdown: 3, failed: 1, ..Dropped::default() };
    let expected = Stats { accepted: 5, delivered: 1, dropped, ..Stats::default() };
    assert_eq!(told, expected);
    assert_eq!(bench.stats(), expected);
    assert_eq!(bench.seen(), 2 + 5, "each once more");
}

#[tokio::test(start_paused = true)]
async fn an_export_under_way_when_the_shutdown_comes_has_one_more() {
    let bench = drive(8, async |mut bench| {
        bench.end_requests(2);
        let [first, second] = [bench.export().await, bench.export().await];
        let shutdown = bench.start_shutdown(Duration::from_secs(5));
        bench.pass(Duration::from_secs(1)).await;
        first.answer(Answer::refused());
        second.answer(Answer::refused());
        bench.export().await.answer(Answer::DELIVERED);
        bench.export().await.answer(Answer::refused());
        shutdown.await.unwrap();
        bench
    })
    .await;
    let dropped = Dropped { shutdown: 1, ..Dropped::default() };
    let expected = Stats { accepted: 2, delivered: 1, dropped, ..Stats::default() };
    assert_eq!(bench.stats(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_nothing_of_what_waits_to_be_tried_again() {
    drive(1, async |mut bench| {
        bench.end_requests(3);
        bench.export().await.answer(Answer::asked(Duration::from_secs(50)));
        bench.pass(Duration::from_secs(49)).await;
        assert!(bench.is_idle(), "asked to wait");
        bench.export().await.answer(Answer::Panic);
        bench.pass(Duration::from_secs(1)).await;
        assert_eq!(bench.stats().dropped.panicked, 1);
        let flush = bench.start_flush(Duration::from_secs(60));
        bench.export().await.answer(Answer::DELIVERED);
        bench.export().await.answer(Answer::DELIVERED);
        let stats = flush.await.unwrap();
        assert_eq!((stats.delivered, stats.pending), (2, 0));
    })
    .await;
}
