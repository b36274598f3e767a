//! Requests that have all that OTLP has, and more: byte by byte, as they reach the collector.

use http_body_util::BodyExt;

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::script::{self, Script};

#[tokio::test]
async fn all_fields_of_otlp_and_unknown_ones_arrive_as_they_were_sent_but_for_the_stamp() {
    let sent = request_with(b"");
    let stamp = bytes(1, &[bytes(1, STAMP.as_bytes()), bytes(2, &bytes(1, b"alice"))].concat());
    let expected = request_with(&stamp);
    for is_grpc in [true, false] {
        let collector = Collector::start(Script::Ok);
        let url = if is_grpc { collector.grpc_url() } else { collector.http_url() };
        let tracing = tracing_to(&url);
        let forwarding = Forwarding::start(&by_name(&tracing)).await;

        let call = Request::post(EXPORT).header("content-type", "application/grpc");
        let framed = script::message(0, &sent);
        let call = call.header("who", "alice").body(Body::from(framed)).unwrap();
        let mut client = Client::connect(Version::HTTP_2, forwarding.grpc).await;
        let answer = client.send(call).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
        // One at a time, or else they may share an export.
        assert_eq!(tracing.flush(LONG).await, delivered(1));
        for (version, spans) in [(Version::HTTP_11, 2), (Version::HTTP_2, 3)] {
            let answer = forwarding.post(version, post("alice", PROTOBUF, sent.clone())).await;
            assert_eq!(answer.status().as_u16(), 200);
            assert_eq!(tracing.flush(LONG).await, delivered(spans));
        }

        let received: Vec<_> = collector.received().into_iter().map(|it| it.body).collect();
        assert_eq!(received.len(), 3, "to {url}");
        for (received, from) in received.iter().zip(["gRPC", "HTTP/1.1", "HTTP/2"]) {
            assert!(received == &expected, "from {from} to {url}: {received:02x?}");
        }
        assert_eq!(tracing.shutdown(LONG).await, delivered(3));
    }
}

/// A request with every field of OTLP, between unknown ones at every level. At the end of the
/// resource stands `stamp`.
fn request_with(stamp: &[u8]) -> Vec<u8> {
    let texts = |numbers: &[u32]| -> Vec<u8> {
        numbers.iter().flat_map(|&number| bytes(number, "sch\u{f6}n".as_bytes())).collect()
    };
    let entity = message(&[texts(&[1, 2, 3, 3, 4, 4])]);
    let resource = message(&[attributes(1, 2), uint(2, 5), bytes(3, &entity)]);
    let scope = message(&[texts(&[1, 2]), attributes(3, 2), uint(4, 6)]);
    let event = message(&[fixed64(1, 7), texts(&[2]), attributes(3, 1), uint(4, 8)]);
    let ids = || [bytes(1, &[1; 16]), bytes(2, &[2; 8]), bytes(3, b"vendor=state")].concat();
    let link = message(&[ids(), attributes(4, 1), uint(5, 9), fixed32(6, 0x301)]);
    let status = message(&[texts(&[2]), uint(3, 2)]);
    let span = message(&[
        ids(),
        bytes(4, &[4; 8]),
        texts(&[5]),
        uint(6, 3),
        fixed64(7, 1),
        fixed64(8, u64::MAX),
        attributes(9, 2),
        uint(10, 1),
        bytes(11, &event),
        bytes(11, &event),
        uint(12, 2),
        bytes(13, &link),
        uint(14, 3),
        bytes(15, &status),
        fixed32(16, 0x101),
    ]);
    let scope_spans = message(&[bytes(1, &scope), bytes(2, &span), texts(&[3])]);
    let resource = [&resource, stamp].concat();
    let group = message(&[bytes(1, &resource), bytes(2, &scope_spans), texts(&[3])]);
    message(&[bytes(1, &group)])
}

/// Attributes with values of every kind, in the field of this number.
fn attributes(number: u32, levels: u32) -> Vec<u8> {
    let mut values = vec![
        vec![],
        bytes(1, b"text"),
        uint(2, 1),
        uint(3, u64::MAX),
        fixed64(4, 0.5_f64.to_bits()),
        bytes(7, b"\0\xff"),
        uint(8, 1),
    ];
    if levels > 0 {
        values.push(bytes(5, &message(&[bytes(1, &message(&[bytes(1, b"in an array")]))])));
        values.push(bytes(6, &message(&[attributes(1, levels - 1)])));
    }
    let pair = |value| message(&[bytes(1, b"key"), bytes(2, &message(&[value])), uint(3, 4)]);
    values.into_iter().flat_map(|value| bytes(number, &pair(value))).collect()
}

/// These fields, between unknown ones of every wire type.
fn message(fields: &[Vec<u8>]) -> Vec<u8> {
    let unknown = || [uint(100, 1 << 40), bytes(101, b"\xff"), fixed32(102, 1), fixed64(103, 1)];
    [unknown().concat(), fields.concat(), unknown().concat()].concat()
}

fn uint(number: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value)].concat()
}

fn fixed64(number: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(number) << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

fn bytes(number: u32, value: &[u8]) -> Vec<u8> {
    let head = [varint(u64::from(number) << 3 | 2), varint(value.len() as u64)];
    [&head.concat(), value].concat()
}

fn fixed32(number: u32, value: u32) -> Vec<u8> {
    [varint(u64::from(number) << 3 | 5), value.to_le_bytes().to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
