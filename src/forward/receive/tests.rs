use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{FutureExt, StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;

use super::super::accounts::Accounts;
use super::super::limits::ForwardLimits;
use super::*;

const MOST: usize = 1000;

fn visit() -> Visit {
    let limits = ForwardLimits::default().message_bytes(MOST).bytes_in_flight_of_each(3 * MOST);
    Arc::new(Accounts::new(limits.resolve(1 << 20), Arc::default())).admit("alice").unwrap()
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &len, message].concat()
}

/// A body that comes in pieces of this size.
fn pieces(bytes: &[u8], size: usize) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
    let chunks: Vec<_> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
    StreamBody::new(stream::iter(chunks).map(|chunk| Ok(Frame::data(chunk))))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn one_message_is_read_however_it_comes() {
    const EARLY: Result<(bool, usize), &str> = Err("the message ends too early");
    const MORE: Result<(bool, usize), &str> = Err("there is more than one message");
    const HEAD: Result<(bool, usize), &str> = Err("the head of the message is malformed");
    const LONG: Result<(bool, usize), &str> = Err("message too large: the limit is 1000 bytes");
    let rows = [
        (frame(0, b"hello"), Ok((false, 5)), "a message"),
        (frame(1, b"hello"), Ok((true, 5)), "a compressed one"),
        (frame(0, b""), Ok((false, 0)), "an empty one"),
        (frame(0, &[7; MOST]), Ok((false, MOST)), "the longest"),
        (frame(0, &[7; MOST + 1]), LONG, "one byte more"),
        (Vec::new(), EARLY, "nothing"),
        (frame(0, b"hello")[..4].to_vec(), EARLY, "not even the head"),
        (frame(0, b"hello")[..9].to_vec(), EARLY, "not all of it"),
        (frame(0, b"hello").repeat(2), MORE, "two"),
        ([frame(0, b""), vec![0]].concat(), MORE, "the beginning of a second one"),
        (frame(2, b"hello"), HEAD, "a flag that there is not"),
        (b"\0\xff\xff\xff\xff".to_vec(), LONG, "a length of 4 GiB, and nothing of it"),
    ];
    for (bytes, expected, why) in rows {
        for size in [1, 2, 5, 7, 4096] {
            let visit = visit();
            let found = message(pieces(&bytes, size), &visit).now_or_never().unwrap();
            let found = found.map(|found| (found.is_compressed, found.bytes.bytes().len()));
            let found = found.map_err(|refusal| refusal.words());
            let found = found.as_ref().map(|found| *found).map_err(|words| &**words);
            assert_eq!(found, expected, "{why}, in pieces of {size}");
        }
    }
}

#[test]
fn a_length_is_believed_or_not_before_anything_else_comes() {
    let visit = visit();
    let head =
        stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"\0\0\0\x03\xe9")))]);
    let body = StreamBody::new(head.chain(stream::pending()));
    let refusal = message(body, &visit).now_or_never().expect("an answer at once").unwrap_err();
    assert_eq!(refusal.words(), "message too large: the limit is 1000 bytes");
}

#[test]
fn memory_is_taken_as_bytes_arrive() {
    let visit = visit();
    let mut received = Received::new(&visit);
    for _ in 0..10 {
        received.push(&[7; 10]).unwrap();
        let (len, capacity) = (received.bytes.len(), received.bytes.capacity());
        assert!(capacity <= 2 * len, "{capacity} for {len}");
        let mut rest = visit.hold();
        rest.grow(3 * MOST - capacity).expect("no more is held than is used");
        rest.grow(1).expect_err("nor less");
    }
    let most = received.most;
    received.push(&vec![7; most - 100]).unwrap();
    assert_eq!(received.bytes.capacity(), MOST);
    assert_eq!(received.push(&[7]).unwrap_err(), too_large(MOST));
}

#[tokio::test]
async fn room_that_a_message_has_not_needed_is_let_go_at_its_end() {
    const LEN: usize = 600;
    let text = [7; LEN];
    let visit = visit();
    // As when bytes come a few at a time, the last of which are a few too many for the room.
    let received = [
        body(pieces(&text, 100), &visit).await.unwrap(),
        message(pieces(&frame(0, &text), 100), &visit).await.unwrap().bytes,
    ];
    let packed = body(pieces(&gzip(&text), 100), &visit).await.unwrap();
    let unpacked = gunzip(&packed, &visit).await.unwrap();
    for received in received.iter().chain([&unpacked]) {
        assert_eq!((received.bytes.len(), received.bytes.capacity()), (LEN, LEN));
    }
    let held = 3 * LEN + packed.bytes.len();
    visit.hold().grow(3 * MOST - held).expect("no more is held than is used");
}

#[tokio::test]
async fn gzip_is_undone_up_to_the_limit() {
    let garbage = [gzip(b"hello"), b"garbage".to_vec()].concat();
    let two = [gzip(b"hello "), gzip(b"world")].concat();
    let invalid = "the message is not valid gzip";
    let large = "message too large: the limit is 1000 bytes";
    type Row<'a> = (Vec<u8>, Result<&'a [u8], &'a str>, &'a str);
    let rows: [Row<'_>; 8] = [
        (gzip(b"hello"), Ok(b"hello"), "a message"),
        (gzip(b""), Ok(b""), "an empty one"),
        (two, Ok(b"hello world"), "in two parts"),
        (gzip(&[7; MOST]), Ok(&[7; MOST]), "the longest"),
        (gzip(&[7; MOST + 1]), Err(large), "one byte more"),
        (gzip(b"hello")[..20].to_vec(), Err(invalid), "cut off"),
        (garbage, Err(invalid), "more than gzip"),
        (b"hello".to_vec(), Err(invalid), "none"),
    ];
    for (packed, expected, why) in rows {
        let visit = visit();
        let mut received = Received::new(&visit);
        received.push(&packed).unwrap();
        let found = gunzip(&received, &visit).await.map_err(|refusal| refusal.words());
        let found = found.as_ref().map(Received::bytes).map_err(|words| &**words);
        assert_eq!(found, expected, "{why}");
    }
}

#[tokio::test]
async fn a_bomb_takes_no_more_than_the_limit() {
    let bomb = gzip(&vec![0; 100 << 10]);
    assert!(bomb.len() < MOST);
    let visit = visit();
    let mut received = Received::new(&visit);
    received.push(&bomb).unwrap();
    assert_eq!(gunzip(&received, &visit).await.unwrap_err(), too_large(MOST));
    drop(received);
    visit.hold().grow(3 * MOST).expect("all is let go");
}

#[tokio::test]
async fn gzip_that_is_long_and_empty_leaves_others_their_turn() {
    let packed = hollow_gzip(100 << 10);
    let limits = ForwardLimits::default().message_bytes(1 << 20);
    let visit =
        Arc::new(Accounts::new(limits.resolve(32 << 20), Arc::default())).admit("alice").unwrap();
    let mut received = Received::new(&visit);
    received.push(&packed).unwrap();
    let mut turns = 0;
    let mut gunzip = pin!(gunzip(&received, &visit));
    let found = loop {
        match (&mut gunzip).now_or_never() {
            Some(found) => break found.unwrap(),
            None => turns += 1,
        }
    };
    assert_eq!(found.bytes(), b"");
    assert_eq!(turns, packed.len().div_ceil(SLICE));
}

#[test]
fn gzip_is_read_across_slices_wherever_they_end() {
    let text: Vec<u8> = (0..u16::MAX).flat_map(u16::to_le_bytes).collect();
    let packed = [gzip(&text[..5]), gzip(&text[5..])].concat();
    for size in [1, 2, 3, 7, 1000] {
        let mut decoder = MultiGzDecoder::new(Slices { rest: &packed, left: 0 });
        let mut found = Vec::new();
        while let Err(error) = decoder.read_to_end(&mut found) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "in slices of {size}");
            decoder.get_mut().left = size;
        }
        assert!(found == text, "in slices of {size}");
    }
}

/// Valid gzip of nothing, about so long: blocks of deflate that are empty.
fn hollow_gzip(len: usize) -> Vec<u8> {
    let empty = gzip(b"");
    let (head, tail) = empty.split_at(10);
    [head, &[0, 0, 0, 0xff, 0xff].repeat(len / 5), tail].concat()
}
