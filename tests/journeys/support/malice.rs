//! What hostile senders send.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A request with an attribute whose value is arrays in arrays.
pub(crate) fn deep(levels: usize) -> Vec<u8> {
    let field = |tag: u8, inner: &[u8]| {
        let mut out = vec![tag];
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.extend_from_slice(inner);
        out
    };
    let mut value = Vec::new();
    for _ in 0..levels {
        // An ArrayValue in an AnyValue, in an ArrayValue.
        value = field(0x0a, &field(0x2a, &value));
    }
    // Of an attribute of a resource.
    field(0x0a, &field(0x0a, &field(0x0a, &field(0x12, &field(0x2a, &value)))))
}
