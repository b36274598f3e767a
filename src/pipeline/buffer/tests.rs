use std::collections::HashSet;
use std::thread;

use super::super::ledger::Dropped;
use super::super::receipt::{Receipt, Settled};
use super::*;
use crate::record::walk::{Fields, Value};

#[test]
fn a_chunk_is_sealed_when_it_has_its_number_of_spans() {
    let intake = Intake::new(BufferLimits { chunk_spans: 3, ..BufferLimits::default() });
    let scope = Arc::default();
    let rows = [
        (2, vec![], "two of three"),
        (1, vec![3], "the third"),
        (5, vec![3], "three more, and two of the next"),
        (1, vec![3], "which is full again"),
        (7, vec![3, 3], "two at once"),
    ];
    for (spans, expected, why) in rows {
        push(&intake, &scope, spans);
        let sealed = intake.take_sealed();
        assert_eq!(sealed.iter().map(|c| c.claim.spans()).collect::<Vec<_>>(), expected, "{why}");
    }
}

#[test]
fn a_chunk_is_sealed_before_it_would_outgrow_its_bytes() {
    // Field number and length take two bytes each here.
    let rows: [(&[usize], &[usize], &str); 6] = [
        (&[8, 8], &[], "room for both"),
        (&[8, 8, 6], &[], "filled to the byte"),
        (&[8, 8, 7], &[20], "one byte too many"),
        (&[8, 8, 8, 8, 8], &[20, 20], "and again"),
        (&[100, 8], &[102], "one that is larger than a chunk is a chunk"),
        (&[8, 100, 8], &[10, 102], "and takes no others along"),
    ];
    for (spans, expected, why) in rows {
        let intake = Intake::new(BufferLimits { chunk_bytes: 28, ..BufferLimits::default() });
        let scope = Arc::default();
        spans.iter().for_each(|&len| intake.push(&scope, &vec![7; len]));
        let sealed = intake.take_sealed();
        assert_eq!(sealed.iter().map(|c| c.bytes.len()).collect::<Vec<_>>(), expected, "{why}");
        intake.seal_all();
        let all = sealed.into_iter().chain(intake.take_sealed());
        let all: Vec<_> = all.flat_map(|chunk| payloads(&chunk)).map(|span| span.len()).collect();
        assert_eq!(all, spans, "none is lost: {why}");
    }
}

#[test]
fn whatever_waits_is_sealed_on_request_and_nothing_is_sealed_twice() {
    let intake = Intake::new(BufferLimits::default());
    intake.seal_all();
    assert!(intake.take_sealed().is_empty(), "nothing waits");

    let scope = Arc::default();
    push(&intake, &scope, 2);
    assert!(intake.take_sealed().is_empty(), "two wait");
    intake.seal_all();
    intake.seal_all();
    let sealed = intake.take_sealed();
    assert_eq!(sealed.iter().map(|c| c.claim.spans()).collect::<Vec<_>>(), [2]);
    assert!(intake.take_sealed().is_empty(), "taken");
}

#[test]
fn spans_stay_in_the_order_in_which_they_ended() {
    let intake = Intake::new(BufferLimits { chunk_spans: 4, ..BufferLimits::default() });
    let scope = Arc::default();
    (0..10u64).for_each(|n| intake.push(&scope, &n.to_be_bytes()));
    intake.seal_all();
    let numbers: Vec<_> = intake.take_sealed().iter().flat_map(numbers).collect();
    assert_eq!(numbers, Vec::from_iter(0..10));
}

#[test]
fn each_scope_has_a_chunk_of_its_own() {
    let intake = Intake::new(BufferLimits { chunk_spans: 3, ..BufferLimits::default() });
    let [a, b] = [Arc::default(), Arc::default()];
    for (n, scope) in [&b, &a, &b, &a, &a].into_iter().enumerate() {
        intake.push(scope, &(n as u64).to_be_bytes());
    }
    let full = intake.take_sealed();
    assert_eq!(full.len(), 1, "that of a");
    assert!(Arc::ptr_eq(&full[0].scope, &a));
    assert_eq!(numbers(&full[0]), [1, 3, 4]);

    intake.seal_all();
    let rest = intake.take_sealed();
    assert_eq!(rest.len(), 1, "that of b");
    assert!(Arc::ptr_eq(&rest[0].scope, &b));
    assert_eq!(numbers(&rest[0]), [0, 2]);
}

#[test]
fn room_is_made_ahead_for_the_scope_that_filled_a_chunk_and_for_no_other() {
    let limits = BufferLimits { chunk_spans: 100, ..BufferLimits::default() };
    let intake = Intake::new(limits);
    let room = |scope: &Arc<Scope>| {
        let shard = intake.shard();
        let chunk = shard.open.iter().find(|chunk| Arc::ptr_eq(&chunk.scope, scope));
        chunk.map_or(0, |chunk| chunk.bytes.capacity())
    };
    let busy = Arc::default();
    push(&intake, &busy, 100);
    let [full] = &*intake.take_sealed() else { panic!("one chunk is full") };
    let len = full.bytes.len();

    // A program may have as many scopes as it likes, and nobody counts room that is not used.
    let others: Vec<Arc<Scope>> = (0..10).map(|_| Arc::default()).collect();
    for other in &others {
        push(&intake, other, 1);
        assert!(room(other) < len, "{} of {len}", room(other));
    }
    push(&intake, &busy, 1);
    assert!(room(&busy) >= len, "{} of {len}", room(&busy));
}

#[test]
fn the_buffer_of_what_has_gone_out_is_used_again() {
    let limits = BufferLimits { chunk_spans: 100, chunk_bytes: 2 << 10, ..BufferLimits::default() };
    let intake = Intake::new(limits);
    let scope = Arc::default();
    push(&intake, &scope, 100);
    let full = intake.take_sealed().remove(0).bytes.len();
    assert!((1 << 9..2 << 10).contains(&full), "worth it: {full}");
    // To be told from one that is made anew.
    let mut buffer = Vec::with_capacity(full + full / 16);
    buffer.resize(full, 7);
    let (told_by, gone) = (buffer.capacity(), Bytes::from(buffer));
    let under_way = gone.clone();
    intake.recycle(gone);
    push(&intake, &scope, 1);
    let begun = || intake.shard().open[0].bytes.capacity();
    assert_ne!(begun(), told_by, "somebody still has it");

    push(&intake, &scope, 99);
    intake.recycle(under_way);
    push(&intake, &scope, 1);
    assert_eq!(begun(), told_by, "nobody has it");
}

#[test]
fn buffers_of_chunks_that_are_full_by_their_bytes_are_used_again() {
    let limits = BufferLimits { chunk_bytes: 16 << 10, ..BufferLimits::default() };
    let intake = Intake::new(limits);
    let scope = Arc::default();
    let push = |spans: usize| (0..spans).for_each(|_| intake.push(&scope, &[7; 600]));
    // 27 fill a chunk. The first one has grown, the second was made with room, the third is begun.
    push(27 * 2 + 1);
    let second = intake.take_sealed().remove(1);
    let place = second.bytes.as_ptr();
    intake.recycle(second.bytes.into());
    push(27);
    assert_eq!(intake.shard().open[0].bytes.as_ptr(), place);
}

#[test]
fn a_span_larger_than_a_request_is_counted_and_leaves_the_others_alone() {
    let intake = Intake::new(BufferLimits { span_bytes: 8, ..BufferLimits::default() });
    let scope = Arc::default();
    for len in [8, 9, 1000, 0] {
        intake.push(&scope, &vec![7; len]);
    }
    let dropped = Dropped { too_large: 2, ..Dropped::default() };
    assert_eq!(intake.stats(), Stats { accepted: 4, dropped, pending: 2, ..Stats::default() });
    intake.seal_all();
    assert_eq!(payloads(&intake.take_sealed()[0]), [vec![7; 8], vec![]]);
}

#[test]
fn the_budget_is_used_and_freed_to_the_byte() {
    let scope = Arc::default();
    // Each span of 8 bytes takes 10.
    for (budget, fit) in [(30, 3), (39, 3), (40, 4), (9, 0)] {
        let intake = Intake::new(BufferLimits { total_bytes: budget, ..BufferLimits::default() });
        push(&intake, &scope, 5);
        let full = intake.stats();
        assert_eq!((full.pending, full.dropped.queue_full), (fit, 5 - fit), "of {budget} bytes");

        // Smaller ones fill what is left, to the last byte that a span can use.
        (0..10).for_each(|_| intake.push(&scope, b""));
        let small = (budget as u64 - 10 * fit) / 2;
        assert_eq!(intake.stats().pending, fit + small, "of {budget} bytes");

        intake.seal_all();
        assert_eq!(intake.ledger.bytes_used() as u64, 10 * fit + 2 * small, "of {budget} bytes");
        settle(intake.take_sealed());
        assert_eq!(intake.ledger.bytes_used(), 0, "of {budget} bytes");
        let stats = intake.stats();
        assert_eq!((stats.pending, stats.delivered), (0, fit + small), "of {budget} bytes");

        push(&intake, &scope, 5);
        assert_eq!(intake.stats().pending, fit, "{budget} bytes are there again");
    }
}

#[test]
fn when_the_budget_is_used_up_the_newest_is_dropped() {
    let intake = Intake::new(BufferLimits { total_bytes: 25, ..BufferLimits::default() });
    let scope = Arc::default();
    (0..5u64).for_each(|n| intake.push(&scope, &n.to_be_bytes()));
    intake.seal_all();
    assert_eq!(intake.take_sealed().iter().flat_map(numbers).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn what_a_shard_took_of_the_budget_and_did_not_use_is_given_back() {
    let intake = Intake::new(BufferLimits { total_bytes: 100_000, ..BufferLimits::default() });
    let scope = Arc::default();
    push(&intake, &scope, 1);
    assert_eq!(intake.ledger.bytes_used(), CREDIT, "taken for the spans to come");
    push(&intake, &scope, 5);
    assert_eq!(intake.ledger.bytes_used(), CREDIT, "which use it");
    intake.seal_all();
    assert_eq!(intake.ledger.bytes_used(), 60, "the rest is given back");

    intake.push(&scope, &vec![7; 50_000]);
    assert_eq!(intake.ledger.bytes_used(), 60 + 50_004, "a large one takes what it needs");
    push(&intake, &scope, 1);
    intake.close();
    assert_eq!(intake.ledger.bytes_used(), 60 + 50_004 + 10, "given back at the end, too");
    settle(intake.take_sealed());
    assert_eq!(intake.ledger.bytes_used(), 0);
}

#[test]
fn a_closed_intake_hands_out_what_waited_and_counts_the_rest_as_shut_down() {
    let intake = Intake::new(BufferLimits { span_bytes: 8, ..BufferLimits::default() });
    let scope = Arc::default();
    push(&intake, &scope, 2);
    intake.close();
    intake.push(&scope, b"a span");
    intake.push(&scope, b"too large, but that is not why");
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| push(&intake, &scope, 10));
        }
    });
    let dropped = Dropped { shutdown: 42, ..Dropped::default() };
    assert_eq!(intake.stats(), Stats { accepted: 44, dropped, pending: 2, ..Stats::default() });

    settle(intake.take_sealed());
    intake.seal_all();
    assert!(intake.take_sealed().is_empty(), "the refused ones are not kept");
    assert_eq!(intake.stats(), Stats { accepted: 44, dropped, delivered: 2, ..Stats::default() });
}

#[test]
fn a_forwarded_request_is_taken_whole_or_not_at_all() {
    let intake = Intake::new(BufferLimits { total_bytes: 100, ..BufferLimits::default() });
    let sender = Arc::new(Scope::of_others("a".into()));
    let (tell, told) = std::sync::mpsc::channel();
    let forward = |bytes, spans| {
        let tell = tell.clone();
        let receipt = Receipt::new(move |settled| tell.send(settled).unwrap());
        // As the one that sends it has it: with room for more.
        let mut request = Vec::with_capacity(1000);
        request.resize(bytes, 7);
        intake.forward(&sender, request, spans, Some(receipt))
    };
    let accepted = |accepted| Stats { accepted, pending: accepted, ..Stats::default() };
    let rows = [
        (60, 3, Ok(()), 60, 3, "there is room"),
        (41, 2, Err(Refused::Full), 60, 3, "for one byte less"),
        (40, 2, Ok(()), 100, 5, "to the last byte"),
        (1, 1, Err(Refused::Full), 100, 5, "there is none"),
        (0, 0, Ok(()), 100, 5, "nothing finds room"),
    ];
    for (bytes, spans, expected, used, in_all, why) in rows {
        assert_eq!(forward(bytes, spans), expected, "{why}");
        assert_eq!((intake.bytes_used(), intake.stats()), (used, accepted(in_all)), "{why}");
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Settled::default()], "of nothing, at once");

    let sealed = intake.take_sealed();
    let found: Vec<_> = sealed.iter().map(|it| (it.bytes.len(), it.claim.spans())).collect();
    assert_eq!(found, [(60, 3), (40, 2)], "each is a chunk");
    assert!(sealed.iter().all(|it| it.bytes.capacity() == it.bytes.len()), "and takes no more");
    assert!(sealed.iter().all(|it| Arc::ptr_eq(&it.scope, &sender)));
    settle(sealed);
    let delivered = |delivered| Settled { delivered, ..Settled::default() };
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [delivered(3), delivered(2)]);

    intake.close();
    for (bytes, spans) in [(10, 1), (200, 1), (0, 0)] {
        assert_eq!(forward(bytes, spans), Err(Refused::Closed));
    }
    let all = Stats { accepted: 5, delivered: 5, ..Stats::default() };
    assert_eq!((intake.bytes_used(), intake.stats()), (0, all));
    assert_eq!(Intake::closed().forward(&sender, vec![7], 1, None), Err(Refused::Closed));
    drop(tell);
    assert_eq!(told.iter().count(), 0, "who is refused is told by that alone");
}

#[test]
fn a_forwarded_request_leaves_what_waits_of_our_own_alone() {
    let intake = Intake::new(BufferLimits::default());
    let [ours, sender] = [Arc::default(), Arc::new(Scope::of_others("a".into()))];
    push(&intake, &ours, 2);
    intake.forward(&sender, vec![7; 10], 1, None).unwrap();
    let [forwarded] = &*intake.take_sealed() else { panic!("one chunk") };
    assert!(Arc::ptr_eq(&forwarded.scope, &sender));
    intake.seal_all();
    let [own] = &*intake.take_sealed() else { panic!("one chunk") };
    assert_eq!((Arc::ptr_eq(&own.scope, &ours), own.claim.spans()), (true, 2));
}

#[test]
fn of_many_threads_every_span_is_in_one_counter_and_every_thread_keeps_its_order() {
    const THREADS: u64 = 8;
    const SPANS: u64 = 5_000;
    let intake = Intake::new(BufferLimits {
        // Less than the threads make before the queue is emptied again.
        total_bytes: 64 << 10,
        chunk_spans: 16,
        span_bytes: 64,
        ..BufferLimits::default()
    });
    let scopes = [Arc::default(), Arc::default()];
    let mut delivered = Vec::new();
    thread::scope(|threads| {
        let pushing: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (intake, scope) = (&intake, &scopes[thread as usize % scopes.len()]);
                threads.spawn(move || {
                    for n in 0..SPANS {
                        intake.push(scope, &(thread << 32 | n).to_be_bytes());
                    }
                    intake.push(scope, &[0; 65]);
                })
            })
            .collect();
        while pushing.iter().any(|thread| !thread.is_finished()) {
            let Stats { accepted, delivered: done, rejected, dropped, pending, .. } =
                intake.stats();
            assert_eq!(accepted, done + rejected + dropped.total() + pending, "at any moment");
            assert!(intake.ledger.bytes_used() <= 64 << 10);
            let sealed = intake.take_sealed();
            delivered.extend(sealed.iter().flat_map(numbers));
            settle(sealed);
        }
    });
    intake.close();
    let rest = intake.take_sealed();
    delivered.extend(rest.iter().flat_map(numbers));
    settle(rest);
    push(&intake, &scopes[0], 3);

    let stats = intake.stats();
    let dropped = Dropped {
        too_large: THREADS,
        shutdown: 3,
        queue_full: stats.dropped.queue_full,
        ..Dropped::default()
    };
    let expected = Stats {
        accepted: THREADS * (SPANS + 1) + 3,
        delivered: THREADS * SPANS - dropped.queue_full,
        dropped,
        ..Stats::default()
    };
    assert_eq!(stats, expected);
    assert_eq!(intake.ledger.bytes_used(), 0);

    assert_eq!(delivered.len() as u64, stats.delivered);
    assert_eq!(HashSet::<_>::from_iter(&delivered).len(), delivered.len(), "each of them once");
    for thread in 0..THREADS {
        let of_thread = delivered.iter().filter(|&&span| span >> 32 == thread);
        assert!(of_thread.is_sorted(), "thread {thread}");
    }
}

/// Ends spans that take 10 bytes each.
fn push(intake: &Intake, scope: &Arc<Scope>, spans: usize) {
    (0..spans).for_each(|_| intake.push(scope, &[7; 8]));
}

fn settle(chunks: Vec<Chunk>) {
    chunks.into_iter().for_each(|chunk| chunk.claim.deliver(0));
}

/// The spans of a chunk, in their order.
fn payloads(chunk: &Chunk) -> Vec<Vec<u8>> {
    let span = |field| match field {
        Ok((SPANS, Value::Bytes(span))) => span.to_vec(),
        other => panic!("{other:?} in a chunk"),
    };
    Fields::new(&chunk.bytes).map(span).collect()
}

/// The spans of a chunk whose spans are numbers.
fn numbers(chunk: &Chunk) -> Vec<u64> {
    let number = |span: Vec<u8>| u64::from_be_bytes(span.try_into().unwrap());
    payloads(chunk).into_iter().map(number).collect()
}
