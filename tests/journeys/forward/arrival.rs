//! What arrives at the collector, and in whose name.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Version};
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::TraceLayer;

use super::*;
use crate::sinks::collector::{Collector, Received};
use crate::sinks::script::Script;

/// Spans of each sender, by name. Asserts that each says once who it is, and that no request has
/// spans of two.
fn by_sender(received: &[Received], key: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for received in received {
        let mut senders = Vec::new();
        for resource in &received.message.resource_spans {
            let attributes = &resource.resource.as_ref().unwrap().attributes;
            let stamps: Vec<_> = attributes.iter().filter(|it| it.key == key).collect();
            assert!(stamps.len() < 2, "{attributes:?}");
            let sender = match stamps.first() {
                Some(stamp) => match stamp.value.as_ref().unwrap().value.as_ref().unwrap() {
                    Value::StringValue(sender) => sender.clone(),
                    other => panic!("{other:?}"),
                },
                None => "ourselves".to_owned(),
            };
            let names = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            found.entry(sender.clone()).or_default().extend(names.map(|span| span.name.clone()));
            senders.push(sender);
        }
        senders.dedup();
        assert_eq!(senders.len(), 1, "spans of two in one request");
    }
    found.values_mut().for_each(|names| names.sort());
    found
}

fn names(number: u16, spans: u16) -> Vec<String> {
    (0..spans).map(|span| format!("{number}/{span}")).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn spans_arrive_in_the_name_of_their_sender_and_in_no_other() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    let forwarder = by_name(&tracing);
    let forwarding = Forwarding::start(&forwarder).await;

    export(forwarding.channel(), "alice", request(1, 3)).await.unwrap();
    let json = serde_json::to_vec(&request(2, 3)).unwrap();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let answer = forwarding.post(version, post("bob", JSON, json.clone())).await;
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"{}"[..]));
    }
    let mut packed = post("carol", PROTOBUF, gzip(&encoded(3, 2)));
    packed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let answer = forwarding.post(Version::HTTP_11, packed).await;
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b""[..]));
    // And one of our own.
    let service = service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    });
    let traced = TraceLayer::server(&tracing).layer(service);
    drop(traced.oneshot(Request::new(Body::empty())).await.unwrap());

    assert_eq!(tracing.flush(LONG).await, delivered(12));
    let received = collector.received();
    let mut bobs = names(2, 3);
    bobs.extend(names(2, 3));
    bobs.sort();
    let expected = [
        ("alice", names(1, 3)),
        ("bob", bobs),
        ("carol", names(3, 2)),
        ("ourselves", vec!["GET".to_owned()]),
    ];
    let expected = expected.map(|(sender, names)| (sender.to_owned(), names));
    assert_eq!(by_sender(&received, STAMP), BTreeMap::from(expected));

    let via = received[0].headers["tower-otlp-via"].clone();
    assert_eq!(via.len(), 16);
    assert!(received.iter().all(|it| it.headers.get_all("tower-otlp-via").iter().eq([&via])));
    let stats = forwarder.stats();
    assert_eq!((stats.requests, stats.taken, stats.spans), (4, 4, 11));
    assert_eq!(tracing.shutdown(LONG).await, delivered(12));
}

#[tokio::test]
async fn what_senders_say_of_themselves_under_that_key_is_removed() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.http_url());
    for key in [STAMP, "teleport.forwarded.for"] {
        let forwarder = by_name(&tracing).attribute(key);
        let forwarding = Forwarding::start(&forwarder).await;
        let spoof = || vec![text(key, "root"), text("kept", "yes"), text(key, "root")];
        let mut request = request(1, 1);
        let resource = &mut request.resource_spans[0];
        resource.resource.as_mut().unwrap().attributes.extend(spoof());
        let scope = &mut resource.scope_spans[0];
        scope.scope = Some(Default::default());
        scope.scope.as_mut().unwrap().attributes = spoof();
        let span = &mut scope.spans[0];
        span.attributes = spoof();
        span.events = vec![Event { attributes: spoof(), ..Event::default() }];
        span.links = vec![Link {
            trace_id: vec![3; 16],
            span_id: vec![4; 8],
            attributes: spoof(),
            ..Link::default()
        }];
        export(forwarding.channel(), "alice", request.clone()).await.unwrap();
        let before = collector.received().len();
        let _ = tracing.flush(LONG).await;
        let received = collector.received().pop().unwrap().message;
        assert!(before <= collector.received().len());

        let resource = &received.resource_spans[0];
        let scope = &resource.scope_spans[0];
        let span = &scope.spans[0];
        let kept = vec![text("kept", "yes")];
        let of_resource =
            vec![text("service.name", "tool"), text("kept", "yes"), text(key, "alice")];
        let mut found = resource.resource.as_ref().unwrap().attributes.clone();
        found.sort_by_key(|it| [&*it.key == key, it.key == "kept"]);
        assert_eq!(found, of_resource);
        assert_eq!(scope.scope.as_ref().unwrap().attributes, kept);
        assert_eq!(span.attributes, kept);
        assert_eq!(span.events[0].attributes, kept);
        assert_eq!(span.links[0].attributes, kept);
    }
    assert_eq!(tracing.shutdown(LONG).await, delivered(2));
}

#[tokio::test]
async fn a_call_may_be_compressed() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    let forwarding = Forwarding::start(&by_name(&tracing)).await;
    let message = gzip(&encoded(1, 500));
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let request = Request::post(EXPORT)
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip")
        .header("who", "alice")
        .body(Body::from([&[1][..], &len, &message].concat()))
        .unwrap();
    let mut client = Client::connect(Version::HTTP_2, forwarding.grpc).await;
    let answer = client.send(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(answer.to_bytes(), [0, 0, 0, 0, 0][..]);
    assert_eq!(tracing.shutdown(LONG).await, delivered(500));
    assert_eq!(collector.spans().len(), 500);
}

#[tokio::test]
async fn a_chain_of_forwarders_says_which_way_spans_came() {
    let collector = Collector::start(Script::Ok);
    let last = tracing_to(&collector.grpc_url());
    let second = Forwarding::start(&last.forwarder(SpanForwarder::allow_anonymous)).await;
    let first = tracing_to(&format!("http://{}/v1/traces", second.http));
    let forwarding = Forwarding::start(&by_name(&first)).await;

    export(forwarding.channel(), "alice", request(1, 2)).await.unwrap();
    assert_eq!(first.shutdown(LONG).await, delivered(2));
    assert_eq!(last.shutdown(LONG).await, delivered(2));
    let received = collector.received();
    assert_eq!(received.len(), 1);
    let via = received[0].headers["tower-otlp-via"].to_str().unwrap();
    let hops: Vec<_> = via.split(',').collect();
    assert_eq!(hops.len(), 2, "{via}");
    assert_ne!(hops[0], hops[1]);
    // What the first one has said of the sender, the second one cannot know.
    assert_eq!(by_sender(&received, STAMP).into_keys().collect::<Vec<_>>(), ["anonymous"]);
}
