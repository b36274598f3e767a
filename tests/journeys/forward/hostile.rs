//! Senders who mean harm: each is answered within its bounds, and nobody else loses anything.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_otlp::{Acknowledge, ForwardLimits};

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::script::Script;
use crate::support::malice::{deep, gzip};

/// What a hostile sender does, and what it gets.
enum Attack {
    /// Sends this, and waits.
    Post(&'static str, Vec<(&'static str, &'static str)>, Vec<u8>, u16),
    /// Sends this over and over.
    Endless(&'static str, Vec<u8>, u16),
    Grpc(Vec<(&'static str, &'static str)>, Vec<u8>, &'static str),
    EndlessGrpc(Vec<u8>, &'static str),
    /// Says a little, and then nothing.
    SlowLoris,
    /// The same in a call: its head, and half of a message.
    SlowGrpc,
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &len, message].concat()
}

fn attacks() -> Vec<(Attack, &'static str)> {
    let endless = |byte| vec![byte; 16 << 10];
    let gz = || vec![("content-encoding", "gzip")];
    let bomb = gzip(&vec![0; 64 << 20]);
    vec![
        (Attack::SlowLoris, "a slow sender"),
        (Attack::SlowGrpc, "a slow sender over gRPC"),
        (Attack::Post(PROTOBUF, gz(), bomb.clone(), 413), "a bomb"),
        (Attack::Post(JSON, gz(), bomb.clone(), 413), "a bomb that should be JSON"),
        (Attack::Post(PROTOBUF, vec![], deep(5000), 400), "depth"),
        (
            Attack::Post(JSON, vec![], format!(r#"{{"x":{}"#, "[".repeat(64 << 10)).into(), 400),
            "depth in JSON",
        ),
        (Attack::Post(PROTOBUF, vec![], [10, 0].repeat(2 << 20), 413), "millions of resources"),
        (Attack::Endless(PROTOBUF, endless(0), 413), "no end"),
        (Attack::Endless(JSON, endless(b' '), 413), "no end in JSON"),
        (Attack::Grpc(vec![], b"\0\xff\xff\xff\xff".to_vec(), "8"), "a huge length"),
        (Attack::Grpc(vec![("grpc-encoding", "gzip")], frame(1, &bomb), "8"), "a bomb over gRPC"),
        (Attack::Grpc(vec![], frame(0, &deep(5000)), "3"), "depth over gRPC"),
        (Attack::EndlessGrpc(endless(0), "3"), "no end over gRPC"),
    ]
}

impl Attack {
    async fn run(self, forwarding: &Forwarding, why: &str) {
        match self {
            Self::Post(media_type, headers, body, expected) => {
                let mut request = post("mallory", media_type, body);
                for (name, value) in headers {
                    request.headers_mut().insert(name, value.parse().unwrap());
                }
                let answer = forwarding.post(Version::HTTP_2, request).await;
                assert_eq!(answer.status().as_u16(), expected, "{why}");
            }
            Self::Endless(media_type, chunk, expected) => {
                let mut client = Client::connect(Version::HTTP_2, forwarding.http).await;
                let answer = client.send(post("mallory", media_type, forever(chunk))).await;
                assert_eq!(answer.unwrap().status().as_u16(), expected, "{why}");
            }
            Self::Grpc(headers, body, expected) => {
                call(forwarding, headers, body.into(), expected, why).await;
            }
            Self::EndlessGrpc(chunk, expected) => {
                call(forwarding, vec![], forever(chunk), expected, why).await;
            }
            Self::SlowLoris => {
                let mut stream = TcpStream::connect(forwarding.http).await.unwrap();
                let head = "POST /v1/traces HTTP/1.1\r\nhost: h\r\nwho: mallory\r\n\
                            content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut answer = vec![0; 12];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, b"HTTP/1.1 408", "{why}");
            }
            Self::SlowGrpc => call(forwarding, vec![], half(&encoded(1, 100)), "4", why).await,
        }
    }
}

async fn call(
    forwarding: &Forwarding,
    headers: Vec<(&'static str, &'static str)>,
    body: Body,
    expected: &str,
    why: &str,
) {
    let mut request = Request::post(EXPORT).header("who", "mallory");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.header("content-type", "application/grpc").body(body).unwrap();
    let mut client = Client::connect(Version::HTTP_2, forwarding.grpc).await;
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], expected, "{why}");
    drop(answer.into_body().collect().await);
}

/// A framed message that stops in the middle.
fn half(message: &[u8]) -> Body {
    let mut framed = frame(0, message);
    framed.truncate(framed.len() / 2);
    let said = stream::iter([Ok::<_, std::io::Error>(framed)]);
    Body::from_stream(said.chain(stream::pending()))
}

fn forever(chunk: Vec<u8>) -> Body {
    let chunk = Bytes::from(chunk);
    Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())).boxed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_senders_are_answered_and_others_lose_nothing() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    // As many spans as one sender can send after one another.
    let spans = NonZeroU32::new(1_000_000).unwrap();
    let limits = ForwardLimits::default().spans_per_second(spans).spans_per_second_of_each(spans);
    let limits = limits.receive_time(Duration::from_secs(2));
    let forwarder = by_name(&tracing).limits(limits).acknowledge(Acknowledge::WhenDelivered);
    let forwarding = Forwarding::start(&forwarder).await;

    let channel = forwarding.channel();
    let over = Arc::new(AtomicBool::new(false));
    let are_over = Arc::clone(&over);
    let well_behaved = tokio::spawn(async move {
        let mut requests = 0_u64;
        loop {
            let told = export(channel.clone(), "alice", request(requests as u16, 10)).await;
            assert_eq!(told.unwrap(), ExportTraceServiceResponse::default());
            requests += 1;
            if are_over.load(Ordering::Relaxed) {
                break requests;
            }
        }
    });
    let attacks = attacks();
    let count = attacks.len() as u64;
    // One after the other: together they would only be refused for what they take up.
    for (attack, why) in attacks {
        timeout(LONG, attack.run(&forwarding, why)).await.expect(why);
    }
    over.store(true, Ordering::Relaxed);
    let requests = well_behaved.await.unwrap();

    let spans = 10 * requests;
    assert_eq!(tracing.shutdown(LONG).await, delivered(spans));
    assert_eq!(collector.spans().len() as u64, spans);
    let stats = forwarder.stats();
    assert_eq!((stats.requests, stats.taken, stats.spans), (requests + count, requests, spans));
    assert_eq!(stats.refused.total(), count);
    assert_eq!(stats.refused.timed_out, 2);
}

#[tokio::test]
async fn a_call_that_stops_half_way_is_answered_in_time_and_leaves_nothing_behind() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    // One request, and what it takes: a copy with the stamp beside what came.
    let message = encoded(1, 2000);
    let limits = ForwardLimits::default()
        .requests(1)
        .bytes_in_flight(2 * message.len() + 1000)
        .bytes_in_flight_of_each(2 * message.len() + 1000)
        .receive_time(Duration::from_secs(1));
    let forwarder = by_name(&tracing).limits(limits);
    let forwarding = Forwarding::start(&forwarder).await;

    let slow = Request::post(EXPORT).header("who", "mallory");
    let slow = slow.header("content-type", "application/grpc").body(half(&message)).unwrap();
    // The connection stays, and so does the stream, as far as the sender is concerned.
    let mut client = Client::connect(Version::HTTP_2, forwarding.grpc).await;
    let answer = client.send(slow).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
    let words = "the request did not arrive within 1 s";
    assert_eq!(answer.headers()["grpc-message"], words);

    for who in ["mallory", "alice"] {
        let told = export(forwarding.channel(), who, request(1, 2000)).await;
        assert_eq!(told.unwrap(), ExportTraceServiceResponse::default(), "{who}");
        // What waits counts, too.
        let _ = tracing.flush(LONG).await;
    }
    assert_eq!(tracing.shutdown(LONG).await, delivered(4000));
    let stats = forwarder.stats();
    assert_eq!((stats.requests, stats.taken, stats.refused.timed_out), (3, 2, 1));
}
