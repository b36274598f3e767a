use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind, TraceFlags};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

use super::super::buffer::{BufferLimits, Intake};
use super::super::ledger::{Claim, Dropped, Ledger, Offered};
use super::super::scope::SharedResource;
use super::*;
use crate::record::{SpanBuffer, SpanHead, SpanLimits, encode_resource, encode_scope};

#[test]
fn a_batch_has_all_that_waits_of_one_scope_and_fits() {
    // Scope, spans and bytes of each chunk; scope, chunks and spans of each batch.
    type Chunks<'a> = &'a [(usize, u64, usize)];
    type Batches<'a> = &'a [(usize, usize, u64)];
    let rows: [(Chunks<'_>, Batches<'_>, &str); 11] = [
        (&[], &[], "nothing waits"),
        (&[(0, 2, 10)], &[(0, 1, 2)], "one chunk"),
        (&[(0, 2, 10), (0, 3, 10), (0, 1, 10)], &[(0, 3, 6)], "all of one scope"),
        (&[(0, 6, 10), (0, 4, 10), (0, 1, 10)], &[(0, 2, 10), (0, 1, 1)], "ten spans are full"),
        (&[(0, 6, 10), (0, 5, 10)], &[(0, 1, 6), (0, 1, 5)], "eleven are too many"),
        (&[(0, 1, 60), (0, 1, 40), (0, 1, 1)], &[(0, 2, 2), (0, 1, 1)], "100 bytes are full"),
        (
            &[(0, 1, 500), (0, 50, 1), (0, 1, 1)],
            &[(0, 1, 1), (0, 1, 50), (0, 1, 1)],
            "a chunk that cannot be cut goes out alone",
        ),
        (
            &[(0, 1, 1), (1, 2, 1), (1, 3, 1), (0, 4, 1)],
            &[(0, 2, 5), (1, 2, 5)],
            "scopes are not mixed, and neither keeps the other apart",
        ),
        (
            &[(0, 9, 1), (1, 9, 1), (0, 3, 1), (1, 3, 1), (0, 3, 1)],
            &[(0, 1, 9), (1, 1, 9), (0, 2, 6), (1, 1, 3)],
            "what has waited longest goes first",
        ),
        (
            &[(0, 9, 1), (0, 3, 1), (1, 1, 1), (1, 1, 1)],
            &[(0, 1, 9), (0, 1, 3), (1, 2, 2)],
            "also when it is of the same scope again",
        ),
        (
            &[(0, 6, 10), (0, 6, 10), (0, 4, 10)],
            &[(0, 1, 6), (0, 2, 10)],
            "a smaller one does not overtake one that did not fit",
        ),
    ];
    // The rest is what stands before the spans.
    let limits = BatchLimits { spans: 10, bytes: 100 + 5 };
    // Scopes and chunks that are recognised by their bytes.
    let scopes = [0, 1].map(|n| Arc::new(Scope::ours(SharedResource::default(), vec![n])));
    for (chunks, expected, why) in rows {
        let ledger = Arc::new(Ledger::new(usize::MAX));
        let mut queue = Queue::default();
        for &(scope, spans, bytes) in chunks {
            let mut claim = Claim::new(Arc::clone(&ledger));
            (0..spans).for_each(|_| claim.add(0));
            // As one span, whatever the claim says, so that it cannot be cut.
            let bytes = vec![scope as u8; bytes];
            queue.push(Chunk { scope: Arc::clone(&scopes[scope]), bytes, claim });
        }
        let came = chunks.len() as u64;
        assert_eq!((queue.newest(), queue.oldest()), (came, (came > 0).then_some(1)), "{why}");
        let (mut batches, mut left) = (Vec::new(), Vec::from_iter(1..=came));
        while let Some(batch) = queue.take(limits) {
            let numbers = batch.numbers();
            assert_eq!(numbers.first(), Some(&batch.oldest()), "{why}");
            let mut pieces = batch.request();
            let scope = *pieces.pop_front().unwrap().last().unwrap();
            assert_eq!(pieces.len(), numbers.len(), "{why}");
            assert!(pieces.iter().flatten().all(|&byte| byte == scope), "{why}");
            assert!(numbers.is_sorted(), "none overtakes another of its scope: {why}");
            let of_scope = |&number: &u64| chunks[number as usize - 1].0 == usize::from(scope);
            assert!(numbers.iter().all(of_scope), "{why}");
            left.retain(|number| !numbers.contains(number));
            assert_eq!(queue.oldest(), left.iter().min().copied(), "{why}");
            assert_eq!(queue.is_empty(), left.is_empty(), "{why}");
            batches.push((usize::from(scope), numbers.len(), batch.spans()));
            batch.into_claims().for_each(|claim| claim.deliver(0));
        }
        assert!(left.is_empty(), "{why}");
        assert_eq!(batches, expected, "{why}");
        assert_eq!(
            ledger.stats(|| Offered { accepted: 99, ..Offered::default() }).dropped,
            Dropped::default(),
            "{why}"
        );
    }
}

#[test]
fn a_batch_is_one_request_and_so_is_each_of_its_chunks() {
    let resource = encode_resource(&[KeyValue::new("service.name", "shop")], "");
    let scope = encode_scope("tower-otlp", "1.2.3", &[], "https://example.org/1.0");
    let scope = Arc::new(Scope::ours(SharedResource::new(resource), scope));
    // So many that the lengths of the messages take one, two and three bytes.
    for spans in [1, 2, 5, 150, 700] {
        let intake = Intake::new(BufferLimits { chunk_spans: 300, ..BufferLimits::default() });
        let mut buffer = SpanBuffer::default();
        for id in 1..=spans {
            let head = SpanHead {
                trace_id: 7.into(),
                span_id: SpanId::from(id),
                flags: TraceFlags::SAMPLED,
                tracestate: "",
                parent: None,
                kind: SpanKind::Server,
                start_unix_nanos: id,
            };
            buffer.start(&head, SpanLimits::default());
            intake.push(&scope, buffer.finish_after(1));
        }
        intake.seal_all();
        let mut queue = queue_of(&intake);
        let batch = queue.take(BatchLimits::default()).unwrap();
        let numbers = batch.numbers();
        assert!(queue.is_empty());
        assert_eq!(numbers, Vec::from_iter(1..=spans.div_ceil(300)));

        let pieces = Vec::from(batch.request());
        let whole = ExportTraceServiceRequest::decode(&*pieces.concat()).unwrap();
        assert_eq!(ids(&whole), Vec::from_iter(1..=spans));

        let requests: Vec<_> = batch.requests().collect();
        assert_eq!(requests.len(), numbers.len());
        let each = requests
            .iter()
            .map(|request| ids(&ExportTraceServiceRequest::decode(&**request).unwrap()));
        assert_eq!(each.flatten().collect::<Vec<_>>(), Vec::from_iter(1..=spans));
    }
}

#[test]
fn a_batch_is_from_the_resource_at_the_time_at_which_it_was_made() {
    let intake = Intake::new(BufferLimits::default());
    let resource = SharedResource::new("of the first");
    let scope = Arc::new(Scope::ours(resource.clone(), Bytes::new()));
    let other = Arc::new(Scope::ours(SharedResource::new("other"), Bytes::new()));
    let batch_of = |scope| {
        intake.push(scope, b"a span");
        intake.seal_all();
        let mut queue = queue_of(&intake);
        move || queue.take(BatchLimits::default()).unwrap()
    };
    let tells = |batch: &Batch, text: &str| {
        let mut requests: Vec<_> = batch.requests().collect();
        requests.push(Vec::from(batch.request()).concat());
        requests.iter().all(|request| request.windows(text.len()).any(|it| it == text.as_bytes()))
    };

    let first = batch_of(&scope)();
    let mut take_second = batch_of(&scope);
    let mut take_other = batch_of(&other);
    resource.set("of the second");
    assert!(tells(&first, "of the first"), "also when it is sent once more");
    assert!(tells(&take_second(), "of the second"), "although its spans had ended before");
    assert!(tells(&take_other(), "other"), "another one is left alone");
}

#[test]
fn requests_of_others_go_out_as_they_are() {
    let intake = Intake::new(BufferLimits::default());
    let sender = Arc::new(Scope::of_others("a".into()));
    for request in ["first", "second"] {
        intake.forward(&sender, request.into(), 1, None).unwrap();
    }
    let mut queue = queue_of(&intake);
    let batch = queue.take(BatchLimits::default()).unwrap();
    assert_eq!(batch.request(), ["first", "second"]);
    assert_eq!(batch.requests().collect::<Vec<_>>(), [b"first".to_vec(), b"second".to_vec()]);
    assert_eq!((batch.len(), batch.spans()), (11, 2));
    assert!(queue.is_empty());
}

#[test]
fn a_batch_tells_through_whom_it_came() {
    let intake = Intake::new(BufferLimits::default());
    let resource = SharedResource::default();
    let scopes = ["web", "db"].map(|scope| Arc::new(Scope::ours(resource.clone(), scope)));
    let stranger = Arc::new(Scope::default());
    let sender = Arc::new(Scope::of_others("a, b".into()));
    let via = |scope: &Arc<Scope>| {
        intake.push(scope, b"a span");
        intake.seal_all();
        queue_of(&intake).take(BatchLimits::default()).unwrap().via()
    };
    assert!(scopes.iter().all(|scope| via(scope).is_none()), "there is no forwarder");
    resource.set_via("a".into());
    resource.set_via("b".into());
    assert!(scopes.iter().all(|scope| via(scope).as_deref() == Some(b"a")), "the first stays");
    assert_eq!(via(&stranger), None, "of another service");
    assert_eq!(via(&sender).as_deref(), Some(&b"a, b"[..]));
}

#[cfg(feature = "opentelemetry-sdk")]
#[test]
fn another_resource_of_a_service_goes_the_same_way() {
    let resource = SharedResource::default();
    let another = resource.another(&mut vec![KeyValue::new("service.name", "shop")], "");
    resource.set_via("a".into());
    let via = Scope::ours(another.clone(), Bytes::new()).via();
    assert_eq!(via.as_deref(), Some(&b"a"[..]));
    assert_ne!(another.get(), resource.get());
}

#[test]
fn scopes_without_number_are_taken_in_their_order() {
    const SCOPES: u64 = 20_000;
    let intake = Intake::new(BufferLimits { chunk_spans: 1, ..BufferLimits::default() });
    for id in 1..=SCOPES {
        let scope = Scope::ours(SharedResource::default(), id.to_be_bytes().to_vec());
        intake.push(&Arc::new(scope), &id.to_be_bytes());
    }
    let mut queue = queue_of(&intake);
    let taken = std::iter::from_fn(|| queue.take(BatchLimits::default()));
    let numbers: Vec<_> = taken.flat_map(|batch| batch.numbers()).collect();
    assert_eq!(numbers, Vec::from_iter(1..=SCOPES));
}

#[test]
fn of_requests_of_others_two_in_a_row_go_out_only_while_none_of_our_spans_wait() {
    // Whose the chunks are, in the order in which they come; the numbers of each batch.
    let rows: [(&str, &[&[u64]], &str); 7] = [
        ("abcd", &[&[1], &[2], &[3], &[4]], "others alone, in their order"),
        ("abcS", &[&[1], &[4], &[2], &[3]], "our spans wait for one of theirs"),
        ("abcST", &[&[1], &[4], &[2], &[5], &[3]], "two scopes of ours go by turns with theirs"),
        ("Sabc", &[&[1], &[2], &[3], &[4]], "what has waited longest is next"),
        ("STab", &[&[1], &[2], &[3], &[4]], "also of ours, twice"),
        ("abSaS", &[&[1, 4], &[3, 5], &[2]], "all of a scope, whoever's it is"),
        ("aSb", &[&[1], &[2], &[3]], "in their order, if that is fair"),
    ];
    for (chunks, expected, why) in rows {
        let mut scopes = HashMap::new();
        let ledger = Arc::new(Ledger::new(usize::MAX));
        let mut queue = Queue::default();
        for name in chunks.chars() {
            let scope = scopes.entry(name).or_insert_with(|| {
                Arc::new(match name {
                    'S' | 'T' => Scope::default(),
                    _ => Scope::of_others(Bytes::new()),
                })
            });
            let claim = Claim::new(Arc::clone(&ledger));
            queue.push(Chunk { scope: Arc::clone(scope), bytes: b"..".to_vec(), claim });
        }
        let mut left = Vec::from_iter(1..=chunks.len() as u64);
        for numbers in expected {
            assert_eq!(queue.oldest(), left.first().copied(), "{why}");
            let batch = queue.take(BatchLimits::default()).unwrap();
            assert_eq!(batch.numbers(), *numbers, "{why}");
            left.retain(|number| !numbers.contains(number));
        }
        assert!(queue.is_empty() && queue.oldest().is_none(), "{why}");
        assert!(queue.by_scope.is_empty(), "{why}");
    }
}

#[test]
fn what_makes_room_is_the_oldest_whoevers_it_is() {
    let intake = Intake::new(BufferLimits { chunk_spans: 1, ..BufferLimits::default() });
    let ours = Arc::new(Scope::default());
    for _ in 0..2 {
        let sender = Arc::new(Scope::of_others("a".into()));
        intake.forward(&sender, b"..".to_vec(), 1, None).unwrap();
        intake.push(&ours, b"..");
    }
    let mut queue = queue_of(&intake);
    assert_eq!(queue.take(BatchLimits::default()).unwrap().numbers(), [1]);
    let numbers = std::iter::from_fn(|| queue.take_oldest()).map(|part| part.number);
    assert_eq!(numbers.collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn a_request_stays_within_its_limit_whatever_stands_before_the_spans() {
    const LIMIT: usize = 10_000;
    for (resource, scope) in [(0, 0), (100, 20), (127, 128), (3000, 2000), (9_000, 900)] {
        let resource = SharedResource::new(vec![0; resource]);
        let scope = Arc::new(Scope::ours(resource, vec![0; scope]));
        for span in [1, 7, 100, 900] {
            let intake = Intake::new(BufferLimits { chunk_spans: 1, ..BufferLimits::default() });
            for _ in 0..2 * LIMIT / span {
                intake.push(&scope, &vec![0; span]);
            }
            let mut queue = queue_of(&intake);
            let limits = BatchLimits { bytes: LIMIT, ..BatchLimits::default() };
            let batch = queue.take(limits).unwrap();
            let numbers = batch.numbers();
            let len: usize = batch.request().iter().map(Bytes::len).sum();
            let fits = len <= LIMIT && len + span + 20 > LIMIT || numbers.len() == 4096;
            assert!(fits || numbers.len() == 1, "{len} bytes with spans of {span}");
        }
    }
}

fn queue_of(intake: &Intake) -> Queue {
    let mut queue = Queue::default();
    intake.take_sealed().into_iter().for_each(|chunk| queue.push(chunk));
    queue
}

/// The span ids of a request that must be of the shop's.
fn ids(request: &ExportTraceServiceRequest) -> Vec<u64> {
    let [ResourceSpans { resource: Some(resource), scope_spans, .. }] = &*request.resource_spans
    else {
        panic!("one resource, in {request:?}");
    };
    let service = resource.attributes[0].value.clone().unwrap().value;
    assert_eq!(resource.attributes[0].key, "service.name");
    assert_eq!(service, Some(StringValue("shop".into())));

    let [of_scope] = &**scope_spans else { panic!("one scope, in {request:?}") };
    let scope = of_scope.scope.as_ref().unwrap();
    let names = [&*scope.name, &*scope.version, &*of_scope.schema_url];
    assert_eq!(names, ["tower-otlp", "1.2.3", "https://example.org/1.0"]);

    let id = |span_id: &[u8]| u64::from_be_bytes(span_id.try_into().unwrap());
    of_scope.spans.iter().map(|span| id(&span.span_id)).collect()
}
