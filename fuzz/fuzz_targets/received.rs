//! What comes in pieces, as a message of gRPC or as a whole body, and then packed or not: it is
//! refused, or read as by somebody who has all of it at once.
//!
//! The first byte says how the rest is made and read, the second one how many bytes follow that are
//! sizes of pieces.
#![no_main]

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use tower_otlp::fuzzing::receive;

fuzz_target!(|input: &[u8]| {
    let [how, cuts, rest @ ..] = input else { return };
    let Some((cuts, bytes)) = rest.split_at_checked(usize::from(*cuts)) else { return };
    let is = |bit: u8| how & bit != 0;
    // No fuzzer guesses a checksum, nor often a length.
    let bytes = if is(PACK) { pack(bytes) } else { bytes.to_vec() };
    let bytes = if is(FRAME) { frame(is(PACK), &bytes) } else { bytes };
    let found = receive(pieces(&bytes, cuts), is(AS_CALL), is(IS_GZIP), MOST);
    let expected = read_at_once(&bytes, is(AS_CALL), is(IS_GZIP));
    match found {
        Ok(found) => assert_eq!(Some(found), expected),
        Err(reason) => {
            assert!(!reason.is_empty());
            assert_eq!(expected, None, "{reason}");
        }
    }
});

fn pieces<'a>(bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for cut in cuts {
        let (piece, left) = rest.split_at(rest.len().min(usize::from(*cut)));
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    pieces
}

fn read_at_once(bytes: &[u8], as_call: bool, is_gzip: bool) -> Option<Vec<u8>> {
    let (is_packed, message) = match bytes {
        _ if !as_call => (is_gzip, bytes),
        [flag @ 0..=1, a, b, c, d, message @ ..]
            if usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])) == Ok(message.len()) =>
        {
            // A call that is said to be packed may have a message that is not, but not otherwise.
            (*flag == 1, message)
        }
        _ => return None,
    };
    if message.len() > MOST || (is_packed && !is_gzip) {
        return None;
    }
    if !is_packed {
        return Some(message.to_vec());
    }
    let mut unpacked = Vec::new();
    let mut decoder = MultiGzDecoder::new(message).take(MOST as u64 + 1);
    decoder.read_to_end(&mut unpacked).ok()?;
    (unpacked.len() <= MOST).then_some(unpacked)
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn frame(is_packed: bool, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("no more than a fuzzer makes").to_be_bytes();
    [&[u8::from(is_packed)][..], &len, message].concat()
}

const PACK: u8 = 1;
const FRAME: u8 = 2;
const AS_CALL: u8 = 4;
const IS_GZIP: u8 = 8;
/// Bytes of a message. The fuzzer makes longer ones.
const MOST: usize = 1000;
